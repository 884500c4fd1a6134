"""What the signer is told: written by an installation, read by the signer. Standard library only."""

from dataclasses import dataclass
from pathlib import Path

from postroad import domains
from postroad.runtime import handover

FILE = "signer.json"


@dataclass(frozen=True)
class SenderDomain:
    """A domain, and whether those below it count, too."""

    name: str
    subdomains: bool

    def covers(self, name: str) -> bool:
        """Whether a domain of that name, in lower case, is meant."""
        return domains.may_send(name, self.name, self.subdomains)


@dataclass(frozen=True)
class DkimKey:
    """A DKIM key.

    Attributes:
        domain: ``d=`` of the signature, and the domain whose senders it signs.
        subdomains: senders in its subdomains are signed with it, too.
        selector: ``s=`` of the signature.
        file: the private key, PEM, below the generation's folder.
    """

    domain: str
    subdomains: bool
    selector: str
    file: str


@dataclass(frozen=True)
class Rewriting:
    """Addresses that leave as others, as ``rewrite`` of the configuration has them; empty where they do not."""

    add_domain: str
    masquerade_domains: tuple[str, ...]
    masquerade_as: str
    addresses: dict[str, str]
    sender: str


@dataclass(frozen=True)
class Settings:
    """All that the signer needs to know.

    Attributes:
        hostname: the realm of users without one.
        domains: who may send; ``*`` for any.
        users: the domains that each user may send as, by name; users of our own realm without it. No others are.
        rewriting: addresses that leave as others.
        keys: with what is signed; none where DKIM is off.
    """

    hostname: str
    domains: tuple[SenderDomain, ...]
    users: dict[str, tuple[SenderDomain, ...]]
    rewriting: Rewriting
    keys: tuple[DkimKey, ...]


def load(path: Path) -> Settings:
    """Read the settings.

    Raises:
        OSError: the file can't be read.
        ValueError: it holds something else.
    """
    return handover.load(Settings, path)
