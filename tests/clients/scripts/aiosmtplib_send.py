"""aiosmtplib: the text comes composed, as email.message makes it."""

import asyncio
import os
from email import message_from_bytes, policy
from pathlib import Path

import aiosmtplib

message = message_from_bytes(Path(os.environ["EML"]).read_bytes(), policy=policy.SMTP)


async def main() -> None:
    match os.environ["PORT"]:
        case "25":
            # <25>
            await aiosmtplib.send(message, hostname="postroad", port=25)
            # </25>
        case "587":
            # <587>
            await aiosmtplib.send(
                message,
                hostname="mail.example.com",
                port=587,
                username="app",
                password=os.environ["SMTP_PASSWORD"],
            )
            # </587>
        case "465":
            await aiosmtplib.send(
                message,
                hostname="mail.example.com",
                port=465,
                use_tls=True,
                username="app",
                password=os.environ["SMTP_PASSWORD"],
            )


asyncio.run(main())
