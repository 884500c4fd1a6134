"""Mail from the demo's app for as long as the container runs, about one message a second: what the console shows.

How a recipient begins decides what the receiver does: docs/testing.md.
"""

import itertools
import random
import smtplib
import time
from email.message import EmailMessage
from email.utils import make_msgid

RECIPIENTS = {"customer": 84, "greylist": 6, "unknown": 4, "full-": 2, "tempfail": 2, "blocked": 2}
"""How local parts begin, and their part of a hundred."""

for number in itertools.count(1):
    (begins,) = random.choices(list(RECIPIENTS), list(RECIPIENTS.values()))
    message = EmailMessage()
    message["From"] = "Sender's shop <orders@sender.example>"
    message["To"] = f"{begins}{number}@rcpt.example"
    message["Subject"] = f"Your order {number}"
    message["Message-ID"] = make_msgid(domain="sender.example")
    message.set_content("Thank you! It should be with you on Thursday.\n")
    try:
        with smtplib.SMTP("postroad", 25, timeout=10) as smtp:
            smtp.send_message(message)
    except (OSError, smtplib.SMTPException) as error:
        print(error, flush=True)
    time.sleep(random.expovariate(1))
