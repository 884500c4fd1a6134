"""What the process ``returns`` and the signer are told of return addresses: written by an installation.

Standard library only.
"""

from dataclasses import dataclass
from pathlib import Path

from postroad import domains
from postroad.runtime import handover

FILE = "returns.json"
KEY = "returns.key"
"""The key that signs return addresses and links, beside it."""


@dataclass(frozen=True)
class Unsubscribing:
    """One-click unsubscribing.

    Attributes:
        senders: domains of senders whose mail has the link, ``.example.com`` for all below it.
        url: what a link begins with, without a slash at its end.
        host: the IP address to listen on; ``port`` likewise.
    """

    senders: tuple[str, ...]
    url: str
    host: str
    port: int

    def covers(self, sender_domain: str) -> bool:
        """Whether mail from a domain, in lower case, has the link."""
        return any(domains.fits(sender_domain, pattern) for pattern in self.senders)


@dataclass(frozen=True)
class Forwarding:
    """Handing on what people write.

    Attributes:
        to: the one address that gets it.
        sender: the address in From:, of a domain that may send.
    """

    to: str
    sender: str


@dataclass(frozen=True)
class Settings:
    """All that they need to know.

    Attributes:
        hostname: what this server calls itself.
        domain: the domain of return addresses, in lower case.
        senders: domains of senders whose mail has such an address, ``.example.com`` for all below it; empty: all.
        unsubscribing: one-click unsubscribing; None: off.
        forwarding: handing on what people write; None: off.
    """

    hostname: str
    domain: str
    senders: tuple[str, ...]
    unsubscribing: Unsubscribing | None = None
    forwarding: Forwarding | None = None

    def covers(self, sender_domain: str) -> bool:
        """Whether mail from a domain, in lower case, has a return address."""
        return not self.senders or any(domains.fits(sender_domain, pattern) for pattern in self.senders)


def load(path: Path) -> Settings:
    """Read the settings.

    Raises:
        OSError: the file can't be read.
        ValueError: it holds something else.
    """
    return handover.load(Settings, path)
