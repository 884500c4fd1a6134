"""A message to a return address, or to ``abuse@``: what it says. Pure, total and bounded."""

from postroad.returns import bounces, complaints, message, replies
from postroad.returns.found import Other, Returned, UnreadableError


def read(content: bytes) -> Returned:
    """Read a message. Never raises: what can't be read is ``Other("unreadable")``, and all else ``Other("written")``.

    The order decides: a bounce may call itself an automatic reply, as Exim's does, and a complaint may hold a bounce.
    """
    try:
        parsed = message.parse(content)
        found = complaints.read(parsed) or bounces.of_status(parsed) or bounces.of_text(parsed) or replies.read(parsed)
    except UnreadableError as error:
        return Other("unreadable", str(error))
    except Exception as error:  # noqa: BLE001 - from the net: nothing in it may end the process
        return Other("unreadable", f"it can't be read: {type(error).__name__}")
    return found or Other("written", message.subject(parsed))
