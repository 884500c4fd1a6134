"""Keycloak: a realm's smtpServer, and Jakarta Mail's properties made of it as its DefaultEmailSenderProvider does."""

import json
import os
import subprocess

if os.environ["PORT"] == "25":
    realm = """
<25>
{
  "smtpServer": {
    "host": "postroad",
    "port": "25",
    "from": "login@example.com"
  }
}
</25>
"""
else:
    realm = """
<587>
{
  "smtpServer": {
    "host": "mail.example.com",
    "port": "587",
    "from": "login@example.com",
    "starttls": "true",
    "auth": "true",
    "user": "app",
    "password": "${SMTP_PASSWORD}"
  }
}
</587>
"""
lines = [line for line in realm.splitlines() if not line.startswith(("<", "</"))]
server = json.loads("\n".join(lines))["smtpServer"]
properties = {f"mail.smtp.{name}": server[name] for name in ("host", "port", "auth") if name in server}
if server.get("starttls") == "true":
    properties |= {"mail.smtp.starttls.enable": "true", "mail.smtp.ssl.checkserveridentity": "true"}
if "user" in server:
    properties |= {"mail.user": server["user"], "mail.password": os.environ["SMTP_PASSWORD"]}
words = [f"-D{name}={value}" for name, value in properties.items()]
java = ["java", "-XX:TieredStopAtLevel=1", "-cp", ".:/usr/share/java/*", *words, "SendByProperties"]
raise SystemExit(subprocess.run(java, check=False).returncode)
