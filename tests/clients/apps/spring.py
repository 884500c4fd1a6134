"""Spring Boot: application.properties, and Jakarta Mail's properties made of them as its MailSenderPropertiesConfiguration does."""

import os
import re
import subprocess

if os.environ["PORT"] == "25":
    text = """
# <25>
spring.mail.host=postroad
spring.mail.port=25
# </25>
"""
else:
    text = """
# <587>
spring.mail.host=mail.example.com
spring.mail.port=587
spring.mail.username=app
spring.mail.password=${SMTP_PASSWORD}
spring.mail.properties[mail.smtp.auth]=true
spring.mail.properties[mail.smtp.starttls.required]=true
spring.mail.properties[mail.smtp.ssl.checkserveridentity]=true
# </587>
"""
given = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
properties = {"mail.smtp.host": given["spring.mail.host"], "mail.smtp.port": given["spring.mail.port"]}
for name, value in given.items():
    if match := re.fullmatch(r"spring\.mail\.properties\[(.*)\]", name):
        properties[match[1]] = value
if "spring.mail.username" in given:
    properties |= {"mail.user": given["spring.mail.username"], "mail.password": os.environ["SMTP_PASSWORD"]}
words = [f"-D{name}={value}" for name, value in properties.items()]
java = ["java", "-XX:TieredStopAtLevel=1", "-cp", ".:/usr/share/java/*", *words, "SendByProperties"]
raise SystemExit(subprocess.run(java, check=False).returncode)
