"""Messages that were offered to a relay which did not answer any more: that relay is asked, and no other."""

from collections.abc import Callable
from pathlib import Path

from postroad.evacuation.client import RefusedPeerError, open_session
from postroad.evacuation.leaving import GONE, KIND, Leaving
from postroad.evacuation.run import Evacuation, Left, Result


def settle(root: Path, secret: str, own: str, name: str, tell: Callable[[Left], None], but: str = "") -> int:
    """Delete what these relays have, and put back into the queue what they don't have; return how many are unclear.

    Args:
        root: the queue's folder; nobody else may be handing over its messages.
        secret: what all relays know.
        own: the id of the queue.
        name: what we call ourselves.
        tell: what to do with each message that another relay has.
        but: the id of a relay that is left alone.

    Raises:
        OSError: files can't be moved.
    """
    leaving = Leaving(root)
    unclear = 0
    for receiver in sorted({each.receiver for kind in (KIND, GONE) for each in leaving.messages(kind)} - {but}):
        host, _, port = leaving.host(receiver).rpartition(" ")
        try:
            with open_session(host, int(port), secret, own, name, wanted=receiver) as session:
                Evacuation(root, session, tell).take_back(Result())
        except (OSError, RefusedPeerError, ValueError):
            unclear += sum(each.receiver == receiver for each in leaving.messages())
    return unclear
