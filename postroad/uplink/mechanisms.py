"""SASL mechanisms (RFC 4422) as a client: what is said, challenge by challenge. Pure."""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Callable, Iterable, Sequence

from postroad.uplink.scram import Client, ScramError


class MechanismError(Exception):
    """The server's side of a mechanism is wrong."""


class Exchange:
    """One authentication: ``initial``, then ``answer`` for each challenge."""

    initial: bytes | None = None
    """The initial response (RFC 4954, 4); None: the mechanism has none."""

    def answer(self, challenge: bytes) -> bytes:
        """What to say to a challenge.

        Raises:
            MechanismError: the server's side is wrong.
        """
        raise NotImplementedError

    def finished(self) -> None:
        """The server says that it is done.

        Raises:
            MechanismError: it has not proved what the mechanism has it prove.
        """


class Plain(Exchange):
    """RFC 4616."""

    def __init__(self, user: str, password: str) -> None:
        """Say both at once."""
        self.initial = f"\0{user}\0{password}".encode()

    def answer(self, _: bytes) -> bytes:
        """A server that asks takes no initial response."""
        return self.initial or b""


class Login(Exchange):
    """draft-murchison-sasl-login: name, then password, whatever the challenges say."""

    def __init__(self, user: str, password: str) -> None:
        """Say one after the other."""
        self._answers = [password.encode(), user.encode()]

    def answer(self, _: bytes) -> bytes:
        """The next of the two."""
        if not self._answers:
            raise MechanismError("the server asks for more than a name and a password")
        return self._answers.pop()


class CramMd5(Exchange):
    """RFC 2195."""

    def __init__(self, user: str, password: str) -> None:
        """Wait for the challenge."""
        self._user, self._password = user, password
        self._asked = False

    def answer(self, challenge: bytes) -> bytes:
        """The name and the digest."""
        if self._asked:
            raise MechanismError("the server asks twice")
        self._asked = True
        digest = hmac.new(self._password.encode(), challenge, hashlib.md5).hexdigest()
        return f"{self._user} {digest}".encode()


class Scram(Exchange):
    """RFC 5802, RFC 7677."""

    def __init__(self, hash_name: str, user: str, password: str) -> None:
        """Begin with our nonce."""
        self._client = Client(hash_name, user, password, secrets.token_urlsafe(24))
        self.initial = self._client.first()
        self._asked, self._verified = False, False

    def answer(self, challenge: bytes) -> bytes:
        """The proof, then an acknowledgement of the server's."""
        try:
            if not self._asked:
                self._asked = True
                return self._client.final(challenge)
            self.prove(challenge)
        except ScramError as error:
            raise MechanismError(str(error)) from error
        return b""

    def prove(self, final: bytes) -> None:
        """Take the server's proof.

        Raises:
            ScramError: it is none.
        """
        self._client.verify(final)
        self._verified = True

    def finished(self) -> None:
        """Only a server that knows the password is believed."""
        if not self._verified:
            raise MechanismError("the server does not prove that it knows the password")


class XOauth2(Exchange):
    """Google's and Microsoft's: https://developers.google.com/gmail/imap/xoauth2-protocol."""

    def __init__(self, user: str, token: str) -> None:
        """Say both at once."""
        self.initial = f"user={user}\1auth=Bearer {token}\1\1".encode()
        self.fault = b""

    def answer(self, challenge: bytes) -> bytes:
        """A challenge is why not; the refusal follows when it is acknowledged."""
        self.fault = challenge
        return b""


class OauthBearer(Exchange):
    """RFC 7628."""

    def __init__(self, user: str, token: str) -> None:
        """Say both at once."""
        name = user.replace("=", "=3D").replace(",", "=2C")
        self.initial = f"n,a={name},\1auth=Bearer {token}\1\1".encode()
        self.fault = b""

    def answer(self, challenge: bytes) -> bytes:
        """Likewise (3.2.3)."""
        self.fault = challenge
        return b"\1"


TOKENS: dict[str, Callable[[str, str], Exchange]] = {"XOAUTH2": XOauth2, "OAUTHBEARER": OauthBearer}
"""The mechanisms with an access token."""

ORDER: dict[str, Callable[[str, str], Exchange]] = {
    "SCRAM-SHA-256": lambda user, password: Scram("sha256", user, password),
    "SCRAM-SHA-1": lambda user, password: Scram("sha1", user, password),
    "CRAM-MD5": CramMd5,
    "PLAIN": Plain,
    "LOGIN": Login,
}
"""The mechanisms with a password, the best first."""
IN_CLEAR = frozenset(("PLAIN", "LOGIN"))
"""Those that send the password itself."""


def choose(offered: Sequence[str], known: Iterable[str] = ORDER) -> list[str]:
    """Which mechanisms may be tried, in order: the best that is offered, then those that send the password itself.

    A server may offer what it can't do for this account: it then has no password in the form that the mechanism needs.
    """
    found = [name for name in known if name in {each.upper() for each in offered}]
    return list(dict.fromkeys([*found[:1], *(name for name in found if name in IN_CLEAR)]))


def decoded(challenge: str) -> bytes:
    """A challenge as it came after ``334``.

    Raises:
        MechanismError: it is not base64.
    """
    try:
        return base64.b64decode(challenge, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MechanismError("a challenge is not base64") from error
