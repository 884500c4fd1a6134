"""What arrived, beside what was sent."""

import base64
from collections.abc import Sequence

import dkim

from postroad.testing.received import ReceivedMessage
from tests.internet.host import Host


def fields(header: bytes) -> list[bytes]:
    """A header's fields as they stand, folded; lines end with LF."""
    found: list[bytes] = []
    for line in header.split(b"\n"):
        if line[:1] in {b" ", b"\t"} and found:
            found[-1] += b"\n" + line
        elif line:
            found.append(line)
    return found


def name(field: bytes) -> str:
    """A field's name in lower case."""
    return field.partition(b":")[0].strip().lower().decode("latin-1")


def arrived(received: ReceivedMessage, hostname: str) -> tuple[list[bytes], bytes, bytes]:
    """The fields that stand below the one of ``hostname``'s, Received:; the body; and all as it came over the wire."""
    head, _, body = received.raw.partition(b"\n\n")
    if received.raw.startswith(b"\n"):
        head, body = b"", received.raw[1:]
    every = fields(head)
    by = f"by {hostname} ".encode()
    ours = next(at for at, field in enumerate(every) if name(field) == "received" and by in field)
    wire = b"\n".join([*every[ours:], b"", body]).replace(b"\n", b"\r\n")
    return every[ours + 1 :], body, wire


def perl_verdicts(host: Host, messages: Sequence[bytes]) -> list[str]:
    """What Perl's Mail::DKIM says of messages as they came over the wire, such as ``pass``, by a host of the internet."""
    lines = b"".join(base64.b64encode(message) + b"\n" for message in messages)
    return host.run("verify-perl", stdin=lines, timeout=60 + len(messages) / 10).decode().splitlines()


def differences(sent: bytes, received: ReceivedMessage, hostname: str, record: bytes | None) -> list[str]:
    """In what a message that arrived is another than was sent, or does not verify at dkimpy and at the MX's OpenDKIM.

    Bcc: goes, and Date: and Message-ID: come where they were missing, as the documentation says.

    Args:
        sent: the message; lines end with CRLF.
        received: what the MX has.
        hostname: the relay's.
        record: the key's TXT record; None where the relay does not sign.
    """
    head, _, body = (b"\r\n" + sent).partition(b"\r\n\r\n")
    wanted = [field for field in fields(head.replace(b"\r\n", b"\n")) if name(field) not in {"bcc", "resent-bcc"}]
    found, found_body, wire = arrived(received, hostname)
    if record is not None and found and name(found[0]) == "dkim-signature":
        found = found[1:]
    present = {name(field) for field in wanted}
    found = [field for field in found if name(field) in present or name(field) not in {"date", "message-id"}]
    wrong = []
    if found != wanted:
        pairs = [(old, new) for old, new in zip(wanted, found, strict=False) if old != new]
        wrong.append(f"{len(wanted)} fields sent, {len(found)} arrived; the first that differs: {pairs[:1]}")
    if found_body != body.replace(b"\r\n", b"\n"):
        wrong.append(f"the body: {body[:300]!r} ({len(body)}) became {found_body[:300]!r} ({len(found_body)})")
    if record is not None:
        if received.verdict("dkim") != "pass":
            wrong.append(f"OpenDKIM says dkim={received.verdict('dkim')}")
        try:
            if not dkim.verify(wire, dnsfunc=lambda _name, timeout=5: record):
                wrong.append("dkimpy does not verify it")
        except dkim.DKIMException as error:
            wrong.append(f"dkimpy: {error}")
    return wrong
