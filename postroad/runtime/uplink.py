"""What the uplink is told: written by an installation, read by the uplink. Standard library only.

sendmail hands a session for a smarthost to the uplink by a host name of our own (``events/relays.py``).
"""

from dataclasses import dataclass
from pathlib import Path

from postroad.runtime import handover

FILE = "uplink.json"
PORT = 1
"""The TCP port that stands for the uplink in sendmail's mailers; a receiving server's is 25."""


@dataclass(frozen=True)
class OAuth:
    """How access tokens are had (RFC 6749); secret.

    Attributes:
        grant: ``client_credentials``, ``refresh_token`` or ``service_account``.
        token_url: where tokens are asked for.
        device_url: where a person's device code is asked for (RFC 8628); empty: nowhere.
        client_id: who asks; of a service account its address.
        client_secret: may be empty.
        scope: what for; may be empty.
        refresh_token: the one to begin with; empty: that of ``postroad smarthost login``.
        private_key: a service account's, PEM; else empty.
        subject: who the service account speaks for.
        state: path of the file that keeps the refresh token that counts now.
    """

    grant: str
    token_url: str
    device_url: str
    client_id: str
    client_secret: str
    scope: str
    refresh_token: str
    private_key: str
    subject: str
    state: str


@dataclass(frozen=True)
class Server:
    """One server of a smarthost, and how it is spoken to; secret.

    Attributes:
        id: six hexadecimal digits that follow from all the rest but the secrets, so that a session which sendmail began
            before a reload never reaches another account after it.
        key: where the configuration has it.
        host: its name, or its address.
        port: its TCP port.
        tls: ``implicit``, ``verify``, ``require`` or ``none``.
        username: for AUTH; empty: none.
        password: likewise; empty where there is ``oauth``.
        certificate: path of a client certificate with its key, PEM, below the generation's folder; empty: none.
        oauth: how access tokens are had; None: there is a password, or nothing.
        bind: the addresses that connections come from, one a family; a single IPv4 one: IPv6 is not used.
        prefer: ``auto``, ``ipv4`` or ``ipv6``: which addresses are tried first.
        proxy: the URL of a proxy, with its credentials; empty: none.
    """

    id: str
    key: str
    host: str
    port: int
    tls: str
    username: str
    password: str
    certificate: str
    oauth: OAuth | None = None
    bind: tuple[str, ...] = ()
    prefer: str = "auto"
    proxy: str = ""

    @property
    def verified(self) -> bool:
        """Whether its certificate is verified."""
        return self.tls in {"implicit", "verify"}


@dataclass(frozen=True)
class Settings:
    """All that the uplink needs to know; secret.

    Attributes:
        hostname: our name in EHLO.
        authorities: path of certificates to trust besides the system's, below the generation's folder; empty: none.
        servers: the servers of all smarthosts.
    """

    hostname: str
    authorities: str
    servers: tuple[Server, ...]


def load(path: Path) -> Settings:
    """Read the settings.

    Raises:
        OSError: the file can't be read.
        ValueError: it holds something else.
    """
    return handover.load(Settings, path)
