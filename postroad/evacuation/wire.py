"""How two relays talk: TLS, a secret that both know, then a JSON object a line, with octets after some of them.

Each side proves that it knows the secret by a digest over both sides' random numbers and the server's certificate (the
channel binding tls-server-end-point, RFC 5929). So the certificate need not be trusted: whoever sits between the two
has another one, and its digests are wrong on both sides. The client proves first: a stranger learns nothing.
"""

import hashlib
import hmac
import json
import secrets
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from postroad.evacuation import places

VERSION = 1
"""The first thing that each side says: a relay of a later version may speak otherwise."""
LONGEST = 1 << 16
"""Octets of a line."""
CHUNK = 1 << 16
LARGEST_CONTROL = 1 << 24
LARGEST_BODY = 1 << 40


class WireError(ConnectionError):
    """The other side does not keep to the protocol, or does not know the secret."""


@dataclass
class Wire:
    """A connection in TLS, on which both sides know the digest of the server's certificate."""

    connection: ssl.SSLSocket
    certificate: bytes

    def __post_init__(self) -> None:
        self.file: BinaryIO = self.connection.makefile("rb")

    def say(self, **fields: Any) -> None:
        """Send an object.

        Raises:
            OSError: the connection has ended.
        """
        self.connection.sendall(json.dumps(fields).encode() + b"\n")

    def hear(self) -> dict[str, Any]:
        """The other side's next object.

        Raises:
            WireError: it says something else, or has gone.
            OSError: the connection has ended.
        """
        line = self.file.readline(LONGEST)
        if not line.endswith(b"\n"):
            raise WireError("the connection ended" if not line else "a line is too long, or was cut off")
        try:
            said = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise WireError("what it says is not JSON") from error
        if not isinstance(said, dict):
            raise WireError("what it says is no object")
        return said

    def read(self, size: int) -> bytes:
        """Exactly so many octets.

        Raises:
            WireError: the connection ended before.
        """
        data = self.file.read(size)
        if len(data) != size:
            raise WireError("the connection ended within a message")
        return data

    def send_file(self, path: Path, size: int) -> None:
        """Send a file, which has ``size`` octets.

        Raises:
            OSError: it can't be read, or is shorter; or the connection has ended.
        """
        with path.open("rb") as file:
            while size and (part := file.read(min(size, CHUNK))):
                self.connection.sendall(part)
                size -= len(part)
        if size:
            raise OSError(f"{path} is shorter than it was")

    def close(self) -> None:
        """End the connection at once."""
        self.file.close()
        self.connection.close()


def text(said: dict[str, Any], name: str) -> str:
    """A field that has to be text.

    Raises:
        WireError: it is something else.
    """
    value = said.get(name)
    if not isinstance(value, str):
        raise WireError(f"{name} is not there")
    return value


def identity(said: dict[str, Any]) -> str:
    """The id of the other side's queue, of which names of folders are made.

    Raises:
        WireError: it is none.
    """
    found = text(said, "queue")
    if not places.is_identity(found):
        raise WireError("its queue has no id")
    return found


def number(said: dict[str, Any], name: str, most: int) -> int:
    """A field that has to be a whole number from 0 to ``most``.

    Raises:
        WireError: it is something else.
    """
    value = said.get(name)
    if type(value) is not int or not 0 <= value <= most:
        raise WireError(f"{name} is no number, or out of bounds")
    return value


def nonce() -> str:
    """A random number that is used once."""
    return secrets.token_hex(32)


def proof(secret: str, side: str, nonces: tuple[str, str], certificate: bytes) -> str:
    """What shows that a side knows the secret.

    Args:
        secret: it.
        side: ``client`` or ``server``.
        nonces: the client's and the server's.
        certificate: the digest of the server's certificate, as this side sees it.
    """
    said = "\n".join(("postroad peers", str(VERSION), side, *nonces, certificate.hex()))
    return hmac.new(secret.encode(), said.encode(), hashlib.sha256).hexdigest()


def is_proof(said: str, expected: str) -> bool:
    """Whether a proof is right; takes the same time for each wrong one."""
    return hmac.compare_digest(said.encode(), expected.encode())


def digest(certificate: bytes) -> bytes:
    """The digest of a certificate in DER."""
    return hashlib.sha256(certificate).digest()


def first_certificate(pem: str) -> bytes:
    """The first certificate of a PEM text, which may hold other things, in DER.

    Raises:
        ValueError: it has none.
    """
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    return ssl.PEM_cert_to_DER_cert(pem[pem.index(begin) : pem.index(end) + len(end)])


def client_context() -> ssl.SSLContext:
    """TLS of the side that connects."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # the proofs are about the certificate: a name and an authority would say less
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS of the side that is connected to.

    Raises:
        OSError: the files can't be read, or hold something else.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(certificate, key)
    return context


def connect(address: tuple[Any, ...], family: int, timeout: float) -> Wire:
    """Connect to a relay, and encrypt.

    Raises:
        OSError: it can't be reached, or does not speak TLS.
    """
    plain = socket.socket(family, socket.SOCK_STREAM)
    try:
        plain.settimeout(timeout)
        plain.connect(address)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = client_context().wrap_socket(plain)
    except BaseException:
        plain.close()
        raise
    certificate = connection.getpeercert(binary_form=True)
    if certificate is None:
        connection.close()
        raise WireError("it has no certificate")
    return Wire(connection, digest(certificate))
