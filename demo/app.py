"""The demo's app: it knows only that mail goes to postroad:25. Prints the Message-ID and the session's times."""

import json
import smtplib
import time
from email.message import EmailMessage
from email.utils import make_msgid

message = EmailMessage()
message["From"] = "Sender's shop <orders@sender.example>"
message["To"] = "customer@rcpt.example"
message["Subject"] = "Your order is on its way ✓"
message["Message-ID"] = make_msgid(domain="sender.example")
message.set_content("Thank you! It should be with you on Thursday.\n")

began = time.time()
with smtplib.SMTP("postroad", 25, timeout=10) as smtp:
    smtp.send_message(message)
print(json.dumps({"message_id": message["Message-ID"], "began": began, "done": time.time()}))
