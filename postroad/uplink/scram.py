"""SCRAM (RFC 5802, RFC 7677) as a client, without channel binding. Pure."""

import base64
import binascii
import hashlib
import hmac
import re
import stringprep
import unicodedata

MOST_ITERATIONS = 1_000_000
"""A server that asks for more wants to keep us busy: RFC 7677 asks for 4,096, OWASP for 600,000."""

_FIRST = re.compile(r"r=([^,]+),s=([^,]+),i=([1-9][0-9]{0,9})(?:,.*)?")


class ScramError(Exception):
    """The server does not keep to the rules, or does not know the password itself."""


class Client:
    """One authentication."""

    def __init__(self, hash_name: str, user: str, password: str, nonce: str) -> None:
        """Begin.

        Args:
            hash_name: hashlib's name: ``sha1`` or ``sha256``.
            user: who we are.
            password: the password.
            nonce: printable ASCII without commas, another one each time.
        """
        self._hash, self._password, self._nonce = hash_name, prepared(password), nonce
        name = prepared(user).replace("=", "=3D").replace(",", "=2C")
        self._bare = f"n={name},r={nonce}"
        self._signature = b""

    def first(self) -> bytes:
        """What we begin with."""
        return f"n,,{self._bare}".encode()

    def final(self, challenge: bytes) -> bytes:
        """The answer to the server's first message.

        Raises:
            ScramError: it is not well-formed, or meant for somebody else.
        """
        text = _text(challenge)
        match = _FIRST.fullmatch(text)
        if match is None or not match[1].startswith(self._nonce) or match[1] == self._nonce:
            raise ScramError("the challenge is not one of SCRAM's, or not for us")
        iterations = int(match[3])
        if iterations > MOST_ITERATIONS:
            raise ScramError(f"the server asks for {iterations} iterations")
        try:
            salt = base64.b64decode(match[2], validate=True)
        except binascii.Error as error:
            raise ScramError("the salt is not base64") from error
        salted = hashlib.pbkdf2_hmac(self._hash, self._password.encode(), salt, iterations)
        without = f"c=biws,r={match[1]}"
        said = f"{self._bare},{text},{without}".encode()
        key = self._hmac(salted, b"Client Key")
        signature = self._hmac(hashlib.new(self._hash, key).digest(), said)
        proof = bytes(a ^ b for a, b in zip(key, signature, strict=True))
        self._signature = self._hmac(self._hmac(salted, b"Server Key"), said)
        return f"{without},p={base64.b64encode(proof).decode()}".encode()

    def verify(self, final: bytes) -> None:
        """See whether the server knows the password, too.

        Raises:
            ScramError: it does not.
        """
        wanted = f"v={base64.b64encode(self._signature).decode()}"
        if not self._signature or not hmac.compare_digest(_text(final).partition(",")[0], wanted):
            raise ScramError("the server does not prove that it knows the password")

    def _hmac(self, key: bytes, text: bytes) -> bytes:
        return hmac.digest(key, text, self._hash)


def prepared(text: str) -> str:
    """Text as SASLprep (RFC 4013, 2.1 and 2.2) has it; what that prohibits is left for the server to refuse."""
    if text.isascii():
        return text
    spaces = "".join(" " if stringprep.in_table_c12(each) else each for each in text)
    return unicodedata.normalize("NFKC", "".join(each for each in spaces if not stringprep.in_table_b1(each)))


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ScramError("the server's message is not UTF-8") from error
