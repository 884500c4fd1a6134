"""What the uplink is told: written by an installation, read by the uplink. Standard library only.

sendmail hands a session for a smarthost to the uplink by a host name of our own (``events/relays.py``).
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

PORT = 1
"""The TCP port that stands for the uplink in sendmail's mailers; a receiving server's is 25."""


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
        password: likewise.
        certificate: path of a client certificate with its key, PEM, below the generation's folder; empty: none.
    """

    id: str
    key: str
    host: str
    port: int
    tls: str
    username: str
    password: str
    certificate: str

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


def dumps(settings: Settings) -> str:
    """Settings as JSON."""
    return json.dumps(asdict(settings), indent=1) + "\n"


def load(path: Path) -> Settings:
    """Read settings that ``dumps`` made.

    Raises:
        OSError: the file can't be read.
        ValueError, TypeError, KeyError: it is something else.
    """
    data: dict[str, Any] = json.loads(path.read_text())
    return Settings(data["hostname"], data["authorities"], tuple(Server(**server) for server in data["servers"]))
