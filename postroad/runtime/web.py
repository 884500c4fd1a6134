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
        digest: SHA-256 of the key, in hexadecimal.
        rights: ``send``, ``read``, ``suppressions``.
        domains: the sender domains that it is for; empty: all.
        login: the user that its messages are sent as, with the realm; empty: it sends nothing.
        password: that user's, in base64, since it may be any octets.
        secret: the key itself, where SES' signatures are to be verified with it; else empty, and it is nowhere.
    """

    name: str
    digest: str
    rights: tuple[str, ...]
    domains: tuple[SenderDomain, ...]
    login: str
    password: str = field(repr=False)
    secret: str = field(default="", repr=False)

    def covers(self, domain: str) -> bool:
        """Whether it is for mail from this domain, in lower case."""
        return not self.domains or any(each.covers(domain) for each in self.domains)


@dataclass(frozen=True)
class Oidc:
    """An identity provider by which people sign in to the console; secret.

    Attributes:
        issuer: its URL.
        url: the console's, where browsers reach it.
        client_id: the client's id at the provider; client_secret: its secret.
        claim: the claim of which operators and viewers are values.
        operators: who may change things.
        viewers: who may look; ``*`` is everybody.
        ca: the authorities of its certificate, as PEM; empty: the system's.
    """

    issuer: str
    url: str
    client_id: str
    claim: str
    operators: tuple[str, ...]
    viewers: tuple[str, ...]
    ca: str
    client_secret: str = field(repr=False)


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
        viewer_password: that of viewers, or its hash; empty: there is none.
        oidc: the identity provider for the console; None: there is none.
        redact: what the log shows of addresses, as ``log.redact`` has it; viewers of the console see no more.
        retry: seconds between two queue runs.
        waiting_reasons: why mail that was never tried waits, by the name of its queue group.
        vendors: those whose API is answered as well, as in the configuration.
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
    viewer_password: str = field(default="", repr=False)
    oidc: Oidc | None = None
    redact: str = "none"
    retry: float = 300.0
    waiting_reasons: dict[str, str] = field(default_factory=dict)
    vendors: tuple[str, ...] = ()


def load(generation: Path) -> Settings:
    """Read the settings of a generation.

    Raises:
        OSError: the file can't be read.
        ValueError: it holds something else.
    """
    return handover.load(Settings, generation / FILE)
