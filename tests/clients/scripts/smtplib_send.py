"""Python's smtplib: the text comes composed, as email.message makes it."""

import os
from email import message_from_bytes, policy
from pathlib import Path

message = message_from_bytes(Path(os.environ["EML"]).read_bytes(), policy=policy.SMTP)

match os.environ["PORT"]:
    case "25":
        # <25>
        import smtplib

        with smtplib.SMTP("postroad", 25) as smtp:
            smtp.send_message(message)
        # </25>
    case "587":
        # <587>
        import os
        import smtplib
        import ssl

        with smtplib.SMTP("mail.example.com", 587) as smtp:
            smtp.starttls(context=ssl.create_default_context())
            smtp.login("app", os.environ["SMTP_PASSWORD"])
            smtp.send_message(message)
        # </587>
    case "465":
        import smtplib
        import ssl

        with smtplib.SMTP_SSL("mail.example.com", 465, context=ssl.create_default_context()) as smtp:
            smtp.login("app", os.environ["SMTP_PASSWORD"])
            smtp.send_message(message)
