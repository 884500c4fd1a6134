"""Django: the settings, and EmailMultiAlternatives."""

import base64
import json
import os
from pathlib import Path

from django.conf import settings

match os.environ["PORT"]:
    case "25":
        # <25>
        EMAIL_HOST = "postroad"
        # </25>
        settings.configure(EMAIL_HOST=EMAIL_HOST)
    case "587":
        # <587>
        EMAIL_HOST = "mail.example.com"
        EMAIL_PORT = 587
        EMAIL_USE_TLS = True
        EMAIL_HOST_USER = "app"
        EMAIL_HOST_PASSWORD = os.environ["SMTP_PASSWORD"]
        # </587>
        settings.configure(
            EMAIL_HOST=EMAIL_HOST,
            EMAIL_PORT=EMAIL_PORT,
            EMAIL_USE_TLS=EMAIL_USE_TLS,
            EMAIL_HOST_USER=EMAIL_HOST_USER,
            EMAIL_HOST_PASSWORD=EMAIL_HOST_PASSWORD,
        )
    case "465":
        settings.configure(
            EMAIL_HOST="mail.example.com",
            EMAIL_PORT=465,
            EMAIL_USE_SSL=True,
            EMAIL_HOST_USER="app",
            EMAIL_HOST_PASSWORD=os.environ["SMTP_PASSWORD"],
        )

from django.core.mail import EmailMultiAlternatives
from django.core.mail.message import sanitize_address

given = json.loads(Path(os.environ["MESSAGE"]).read_text())
message = EmailMultiAlternatives(
    given["subject"],
    given["text"],
    sanitize_address((given["from_name"], os.environ["FROM"]), "utf-8"),
    [sanitize_address((given["to_name"], os.environ["TO"]), "utf-8")],
)
if given["html"]:
    message.attach_alternative(given["html"], "text/html")
if given["invite"]:
    message.attach_alternative(given["invite"], "text/calendar; method=REQUEST")
for file in given["attachments"]:
    message.attach(file["name"], base64.b64decode(file["content"]), file["type"])
message.send()
