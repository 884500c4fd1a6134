"""The demo's app: knows nothing but that mail goes to postroad:25."""

import smtplib
import sys
from email.message import EmailMessage

message = EmailMessage()
message["From"] = "Sender's shop <orders@sender.example>"
message["To"] = "customer@rcpt.example"
message["Subject"] = "Your order is on its way ✓"
message["Message-ID"] = sys.argv[1]
message.set_content("Thank you! It should be with you on Thursday.\n")

with smtplib.SMTP("postroad", 25, timeout=10) as smtp:
    smtp.send_message(message)
