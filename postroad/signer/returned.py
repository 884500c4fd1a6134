"""The return addresses that mail leaves with. sendmail asks for one by a socket map, before each delivery.

So the message in the queue keeps the sender that the app gave it: a bounce that sendmail makes goes there, and rules,
log and events know no other. Where the signer does not answer, mail leaves with that sender, too.
"""

from dataclasses import dataclass
from pathlib import Path

from postroad.runtime import return_address, returning, unsubscribing
from postroad.runtime.return_address import ReturnAddressError
from postroad.runtime.unsubscribing import Wish

Fields = tuple[tuple[bytes, bytes], ...]
"""Names and values with the white space that leads them."""


@dataclass(frozen=True)
class ReturnAddresses:
    """Whose mail leaves with a return address, and the key."""

    settings: returning.Settings
    key: bytes

    @classmethod
    def load(cls, generation: Path) -> "ReturnAddresses | None":
        """Read a generation's settings, and the key; None where return addresses are off.

        Raises:
            OSError, ValueError: they can't be read.
        """
        file = generation / returning.FILE
        return cls(returning.load(file), (generation / returning.KEY).read_bytes()) if file.exists() else None

    def local_part(self, asked: str, now: float) -> bytes:
        """The local part for a message; empty where it keeps its sender.

        Args:
            asked: ``QUEUE_ID@SENDER_DOMAIN``; the domain may end in a dot.
            now: seconds since the epoch.
        """
        queue_id, _, domain = asked.replace(" ", "").partition("@")
        if not domain or not self.settings.covers(domain.lower().rstrip(".")):
            return b""
        day = return_address.issued(queue_id, return_address.day_of(now))
        try:
            return return_address.local_part(self.key, self.settings.domain, queue_id, day).encode("ascii")
        except ReturnAddressError:
            return b""

    def unsubscribe_fields(self, sender: str, recipients: list[str], names: set[bytes]) -> Fields:
        """The fields of one-click unsubscribing (RFC 8058) for a message; none where it gets none.

        A message to several has none: whoever follows the link would speak for the others.

        Args:
            sender: the envelope sender, in lower case.
            recipients: likewise the recipients.
            names: of the fields that the message has, in lower case.
        """
        link, domain = self.settings.unsubscribing, sender.rpartition("@")[2]
        if link is None or len(recipients) != 1 or not recipients[0] or b"list-unsubscribe" in names:
            return ()
        if not domain or not link.covers(domain):
            return ()
        url = f"{link.url}/{unsubscribing.token(self.key, Wish(recipients[0], domain))}"
        if len(url) > unsubscribing.LONGEST:
            return ()
        return (
            (b"List-Unsubscribe", f" <{url}>".encode("ascii")),
            (b"List-Unsubscribe-Post", b" List-Unsubscribe=One-Click"),
        )
