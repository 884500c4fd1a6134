"""What the process ``web`` is told: written by an installation, read by the process. Standard library only."""

from dataclasses import dataclass, field
from pathlib import Path

from postroad.runtime import handover
from postroad.runtime.signing import SenderDomain

FILE = "web.json"


@dataclass(frozen=True)
class ApiKey:
    """A key of the API; secret.

    Attributes:
        name: its name in messages.
        digest: SHA-256 of the key, in hexadecimal; the key itself is nowhere.
        rights: ``send``, ``read``, ``suppressions``.
        domains: the sender domains that it is for; empty: all.
        login: the user that its messages are sent as, with the realm; empty: it sends nothing.
        password: that user's, in base64, since it may be any octets.
    """

    name: str
    digest: str
    rights: tuple[str, ...]
    domains: tuple[SenderDomain, ...]
    login: str
    password: str = field(repr=False)

    def covers(self, domain: str) -> bool:
        """Whether it is for mail from this domain, in lower case."""
        return not self.domains or any(each.covers(domain) for each in self.domains)


@dataclass(frozen=True)
class Settings:
    """All that the process needs to know; secret.

    Attributes:
        hostname: the relay's.
        host: the IP address to listen on.
        port: its TCP port.
        tls: whether it speaks TLS, with the generation's certificate.
        proxies: networks that alone are answered; empty: everybody.
        keys: who may call.
        submission: the TCP port of the relay's own listener to which messages go; 0: there is none.
        implicit: whether that port speaks TLS from the first octet, and not after STARTTLS.
        message_size: most octets of a message.
        password: the console's, or its argon2id hash; empty: there is no console.
    """

    hostname: str
    host: str
    port: int
    tls: bool
    proxies: tuple[str, ...]
    keys: tuple[ApiKey, ...]
    submission: int
    implicit: bool
    message_size: int
    password: str = field(default="", repr=False)


def load(generation: Path) -> Settings:
    """Read the settings of a generation.

    Raises:
        OSError: the file can't be read.
        ValueError: it holds something else.
    """
    return handover.load(Settings, generation / FILE)
