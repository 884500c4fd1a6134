"""How sendmail writes its lines, after its source (``sm_syslog``, ``str2prt``, ``logdelivery``): the parser's other half."""

BUFFER = 1024  # SYSLOG_BUFSIZE
PREFIX = 12  # SyslogPrefixLen: what syslog puts before the text


def printable(text: str) -> str:
    """Bytes that are not printable ASCII as escapes, a backslash as two (``str2prt``)."""
    named = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
    return "".join(
        named.get(chr(byte)) or (chr(byte) if 32 <= byte < 127 else f"\\{byte:03o}") for byte in text.encode()
    )


def in_pieces(queue_id: str, text: str, size: int) -> list[str]:
    """Cut after the last comma or space that fits, or anywhere if there is none (``sm_syslog``)."""
    pieces: list[str] = []
    while len(text) > size:
        at = max(text.rfind(",", 0, size), text.rfind(" ", 0, size)) + 1 or size
        pieces.append(f"{queue_id}[{len(pieces) + 1}]: {text[:at]} ...")
        text = text[at:]
    return [*pieces, f"{queue_id}[{len(pieces) + 1}]: {text}"]


def log(queue_id: str, text: str) -> list[str]:
    """The line, or the pieces of it."""
    text = printable(text)
    room = BUFFER - len(queue_id) - PREFIX
    return [f"{queue_id}: {text}"] if len(text) + 1 < room else in_pieces(queue_id, text, room - 12)


def log_delivery(queue_id: str, recipients: list[str], rest: str) -> list[str]:
    """Lines ``to=<a>,<b>`` and the rest; a list that is too long is broken at any comma (``logdelivery``)."""
    found: list[str] = []
    remaining, room = ",".join(f"<{each}>" for each in recipients), BUFFER - 100 - len(rest)
    while len(remaining) >= room and (at := remaining.rfind(",", 1, room + 1)) > 0:
        found += log(queue_id, f"to={remaining[: at + 1]} [more]{rest}")
        remaining = remaining[at + 1 :]
    return found + log(queue_id, f"to={remaining[: max(room, 0)]}{rest}")
