"""MTA-STS (RFC 8461) and TLS-RPT (RFC 8460) of the own domains: whether senders can read what is published."""

import re
import socket
import ssl
from collections.abc import Iterator
from http.client import HTTPException, HTTPSConnection

from postroad.checks.context import Context
from postroad.checks.model import Finding, Level, unanswered
from postroad.dns.resolver import Answer
from postroad.dns.tag_list import parse, shown
from postroad.errors import plainly

ID = "mta-sts"
SHORT = False

LARGEST = 65536
"""Octets of a policy: as many as senders read."""
TIMEOUT = 3.0


def run(context: Context) -> Iterator[Finding]:
    """Up to two findings for each domain; none where neither is published, which is fine."""
    for domain in context.config.named_domains:
        reports, policy, mx = context.resolver.look_up(
            [(f"_smtp._tls.{domain.name}", "TXT"), (f"_mta-sts.{domain.name}", "TXT"), (domain.name, "MX")]
        )
        yield from _reports(reports)
        yield from _policy(context, domain.name, policy, mx)


def _reports(answer: Answer) -> Iterator[Finding]:
    records = [text for text in answer.values if re.match(r"v=TLSRPTv1[ \t]*(;|$)", text)]
    meant = [text for text in answer.values if text not in records and re.match(r"\W*v\W*tlsrpt", text, re.IGNORECASE)]
    if not records and not meant:
        return
    wrong = _wrong_reports([*records, *meant]) if not meant else "begins with `v=TLSRPTv1;`, in these letters"
    if wrong:
        what = f"the TLS-RPT record {answer.name} is not used: {wrong}"
        yield Finding(ID, Level.WARNING, what, "; and ".join([*records, *meant]), "mend the TXT record")
    else:
        yield Finding(ID, Level.OK, f"TLS-RPT: reports are asked for at {answer.name}", records[0])


def _wrong_reports(records: list[str]) -> str:
    if len(records) > 1:
        return f"there are {len(records)}"
    try:
        rua = parse(records[0]).get("rua", "")
    except ValueError as error:
        return str(error)
    uris = [uri.strip() for uri in rua.split(",")]
    odd = [uri for uri in uris if not re.fullmatch(r"(mailto:[^@\s]+@[^@\s]+|https://\S+)", uri)]
    return f"rua: {shown(odd[0])} is no mailto: and no https: URI" if odd else ""


def _policy(context: Context, domain: str, answer: Answer, mx: Answer) -> Iterator[Finding]:
    records = [text for text in answer.values if re.match(r"v=STSv1[ \t]*(;|$)", text)]
    meant = [text for text in answer.values if text not in records and re.match(r"\W*v\W*sts", text, re.IGNORECASE)]
    if not records and not meant:
        return
    fix = "mend it, and give the record a new id; until then senders go on as if there were no policy"
    seen = "; and ".join([*records, *meant])
    if len(records) != 1 or not re.search(r";[ \t]*id[ \t]*=[ \t]*[A-Za-z0-9]{1,32}[ \t]*(;|$)", records[0]):
        wanted = "one TXT record, `v=STSv1; id=LETTERS-AND-DIGITS`, is wanted"
        what = f"the MTA-STS record {answer.name} is not used: {wanted}"
        yield Finding(ID, Level.WARNING, what, seen, fix)
        return
    host = f"mta-sts.{domain}"
    addresses = context.resolver.look_up([(host, "A"), (host, "AAAA")])
    if all(each.unknown for each in addresses):
        yield unanswered(ID, addresses[0])
        return
    try:
        text = fetch(host, [value for each in addresses for value in each.values], min(TIMEOUT, context.left / 2))
    except (OSError, HTTPException, ValueError) as error:
        what = f"the MTA-STS policy https://{host}/.well-known/mta-sts.txt can't be read"
        yield Finding(ID, Level.WARNING, what, plainly(error), fix)
        return
    wrong = judge(text, [value.split()[1] for value in mx.values])
    if wrong:
        yield Finding(ID, Level.WARNING, f"the MTA-STS policy of {domain} {wrong}", text[:200], fix)
    else:
        yield Finding(ID, Level.OK, f"the MTA-STS policy of {domain} can be read and covers its MX", seen)


def fetch(host: str, addresses: list[str], timeout: float) -> str:
    """The policy, as a sender reads it: no redirect is followed (section 3.3).

    Raises:
        OSError, HTTPException, ValueError: it can't be had; says why.
    """
    if not addresses:
        raise ValueError(f"{host} has no address")
    context = ssl.create_default_context()
    with socket.create_connection((addresses[0], 443), timeout) as plain:
        connection = HTTPSConnection(host, timeout=timeout)
        connection.sock = context.wrap_socket(plain, server_hostname=host)
        connection.request("GET", "/.well-known/mta-sts.txt")
        answer = connection.getresponse()
        body = answer.read(LARGEST + 1)
    if answer.status != 200:
        raise ValueError(f"it answers {answer.status} {answer.reason}")
    if len(body) > LARGEST:
        raise ValueError(f"it is longer than {LARGEST} octets")
    return body.decode(errors="replace")


def judge(text: str, hosts: list[str]) -> str:
    """What is wrong with a policy, as the end of a sentence; empty: nothing.

    Args:
        text: the policy (section 3.2).
        hosts: the domain's MX hosts.
    """
    lines = [line.partition(":") for line in text.splitlines() if line.strip()]
    pairs = [(key.strip(), value.strip()) for key, _, value in lines]
    values = dict(reversed(pairs))  # of a key that comes twice the first counts
    patterns = [value.lower() for key, value in pairs if key == "mx"]
    mode = values.get("mode", "")
    if values.get("version") != "STSv1":
        return "has no line `version: STSv1`"
    if mode not in {"enforce", "testing", "none"}:
        return f"has no mode that exists: {shown(mode)}"
    if not re.fullmatch(r"[0-9]{1,10}", values.get("max_age", "")):
        return "has no max_age in seconds"
    if mode != "none" and not patterns:
        return "names no mx"
    left = [host for host in hosts if mode != "none" and not any(_matches(pattern, host) for pattern in patterns)]
    return f"does not name the MX {', '.join(left)}: senders that follow it can't reach it" if left else ""


def _matches(pattern: str, host: str) -> bool:
    """A ``*.`` stands for one label (section 4.1)."""
    return host.partition(".")[2] == pattern[2:] if pattern.startswith("*.") else host == pattern
