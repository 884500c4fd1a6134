"""What a receiver sends back after it took a message: a bounce, a complaint, a DMARC aggregate report. Pure."""

import gzip
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate, make_msgid, parseaddr
from functools import cached_property
from xml.sax.saxutils import escape

import received


@dataclass(frozen=True)
class Taken:
    """A message that was taken.

    Attributes:
        raw: as it was filed, lines ending in LF.
        sender: the envelope's; ``recipient`` likewise.
        client: the IP address that it came from.
    """

    raw: bytes
    sender: str
    recipient: str
    client: str

    @property
    def header(self) -> str:
        """The message's header."""
        return self.raw.partition(b"\n\n")[0].decode("utf-8", "replace") + "\n"

    @cached_property
    def found(self) -> received.Found:
        """What the receiver found."""
        return received.found(self.raw)

    @property
    def domain(self) -> str:
        """The domain in From:."""
        author = next((value for name, value in self.found["headers"] if name.lower() == "from"), "")
        return parseaddr(author)[1].rpartition("@")[2].lower()


def bounce(taken: Taken, mx: str) -> bytes:
    """A delivery status notification (RFC 3464): the mailbox turned out not to exist."""
    fields = (
        f"Reporting-MTA: dns; {mx}\n\n"
        f"Final-Recipient: rfc822; {taken.recipient}\nAction: failed\nStatus: 5.1.1\n"
        f"Diagnostic-Code: smtp; 550 5.1.1 <{taken.recipient}>: User unknown\n"
    )
    words = f"<{taken.recipient}>: User unknown. The message was taken, and could not be filed."
    head = {"From": f"MAILER-DAEMON@{mx}", "To": taken.sender, "Subject": "Undelivered Mail Returned to Sender"}
    return _report(taken, head, words, "delivery-status", fields)


def complaint(taken: Taken, mx: str, to: str) -> bytes:
    """A report of a feedback loop to an address, in the Abuse Reporting Format (RFC 5965)."""
    fields = (
        f"Feedback-Type: abuse\nUser-Agent: pretend-internet/1\nVersion: 1\nOriginal-Mail-From: <{taken.sender}>\n"
        f"Original-Rcpt-To: <{taken.recipient}>\nArrival-Date: {formatdate()}\nReporting-MTA: dns; {mx}\n"
        f"Source-IP: {taken.client}\nReported-Domain: {taken.domain}\n"
    )
    words = f"<{taken.recipient}> says that this message is spam."
    head = {"From": f"feedback@{mx}", "To": to, "Subject": "Complaint about a message"}
    return _report(taken, head, words, "feedback-report", fields)


def _report(taken: Taken, head: Mapping[str, str], words: str, kind: str, fields: str) -> bytes:
    lines = [
        *(f"{name}: {value}" for name, value in head.items()),
        f"Date: {formatdate()}",
        f"Message-ID: {make_msgid(domain=head['From'].rpartition('@')[2])}",
        "Auto-Submitted: auto-generated",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/report; report-type={kind}; boundary="=pretend"',
        "",
        "--=pretend",
        "Content-Type: text/plain; charset=utf-8",
        "",
        words,
        "",
        "--=pretend",
        f"Content-Type: message/{kind}",
        "",
        fields,
        "--=pretend",
        "Content-Type: text/rfc822-headers",
        "",
        taken.header,
        "--=pretend--",
        "",
    ]
    return "\n".join(lines).encode()


def dmarc(taken: Taken, mx: str, to: str, policy: str) -> bytes:
    """An aggregate report (RFC 7489, appendix C) of this one message; ``policy`` is the published ``p=``."""
    verdicts = taken.found["verdicts"]
    signers = [_tag(value, "d") for name, value in taken.found["headers"] if name.lower() == "dkim-signature"]
    aligned = {"dkim": signers, "spf": [taken.sender.rpartition("@")[2]]}
    dkim, spf = (
        "pass" if verdicts.get(method) == "pass" and any(_aligned(name, taken.domain) for name in names) else "fail"
        for method, names in aligned.items()
    )
    disposition = "none" if "pass" in {dkim, spf} else policy
    begin = int(time.time()) // 86400 * 86400
    end = begin + 86399
    report_id = make_msgid(domain=mx).strip("<>")
    text = f"""<?xml version="1.0" encoding="UTF-8"?>
<feedback>
  <version>1.0</version>
  <report_metadata>
    <org_name>{escape(mx)}</org_name><email>dmarc@{escape(mx)}</email><report_id>{escape(report_id)}</report_id>
    <date_range><begin>{begin}</begin><end>{end}</end></date_range>
  </report_metadata>
  <policy_published><domain>{escape(taken.domain)}</domain><p>{escape(policy)}</p><pct>100</pct></policy_published>
  <record>
    <row><source_ip>{escape(taken.client)}</source_ip><count>1</count>
      <policy_evaluated><disposition>{escape(disposition)}</disposition><dkim>{dkim}</dkim><spf>{spf}</spf></policy_evaluated>
    </row>
    <identifiers><header_from>{escape(taken.domain)}</header_from></identifiers>
    <auth_results>
      <spf><domain>{escape(aligned["spf"][0])}</domain><result>{escape(verdicts.get("spf", "none"))}</result></spf>
    </auth_results>
  </record>
</feedback>
"""
    message = EmailMessage()
    message["From"], message["To"] = f"dmarc@{mx}", to
    message["Subject"] = f"Report domain: {taken.domain} Submitter: {mx} Report-ID: <{report_id}>"
    message["Date"], message["Message-ID"] = formatdate(), f"<{report_id}>"
    message.set_content("This is a DMARC aggregate report.\n")
    name = f"{mx}!{taken.domain}!{begin}!{end}.xml.gz"
    message.add_attachment(gzip.compress(text.encode()), maintype="application", subtype="gzip", filename=name)
    return message.as_bytes()


def _aligned(domain: str, author: str) -> bool:
    """Relaxed alignment, near enough: one is the other, or below it, or both are below the same two labels."""
    one, other = domain.lower().rstrip("."), author.lower().rstrip(".")
    return bool(one) and one.split(".")[-2:] == other.split(".")[-2:]


def _tag(text: str, name: str) -> str:
    tags = dict(part.strip().split("=", 1) for part in text.split(";") if "=" in part)
    return tags.get(name, "").strip()
