"""DKIM key records (RFC 6376, section 3.6.1; RFC 8463 for Ed25519), checked as verifiers check them."""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from postroad.dns import tag_list
from postroad.dns.tag_list import shown

ED25519_OCTETS = 32
_WORDS = re.compile(r"[A-Za-z0-9*]([A-Za-z0-9-]*[A-Za-z0-9])?")


@dataclass(frozen=True)
class KeyRecord:
    """What a key record says.

    Attributes:
        kind: the key's type, ``rsa`` or ``ed25519`` (or one that verifiers do not know).
        key: the public key, in DER for RSA; empty if it is revoked.
        hashes: the hash algorithms that signatures may use; empty means any.
        services: what the key is for; ``*`` or ``email`` include mail.
        flags: ``y`` is test mode, ``s`` allows no subdomain in ``i=``.
        doubts: what some verifiers refuse, in words.
    """

    kind: str
    key: bytes
    hashes: frozenset[str]
    services: frozenset[str]
    flags: frozenset[str]
    doubts: tuple[str, ...] = field(default=(), compare=False)


def parse(text: str) -> KeyRecord:
    """Parse a TXT value.

    Raises:
        ValueError: it breaks the grammar; the message says where.
    """
    tags = tag_list.parse(text)
    if tags.get("v", "DKIM1") != "DKIM1":
        raise ValueError(f"it has another version: {shown('v=' + tags['v'])} instead of v=DKIM1")
    if "p" not in tags:
        raise ValueError("it has no key (p=)")
    try:
        key = base64.b64decode("".join(tags["p"].split()), validate=True)
    except (ValueError, binascii.Error) as error:
        raise ValueError(f"the key (p=) is not base64: {error}") from None
    record = KeyRecord(
        tags.get("k", "rsa"),
        key,
        _words(tags, "h", ""),
        _words(tags, "s", "*"),
        _words(tags, "t", ""),
        tuple(_doubts(tags)),
    )
    if key and record.kind == "rsa" and not modulus_bits(key):
        raise ValueError("the key (p=) is not an RSA key")
    if key and record.kind == "ed25519" and len(key) != ED25519_OCTETS:
        raise ValueError(f"the key (p=) has {len(key)} octets; an Ed25519 key has {ED25519_OCTETS}")
    return record


def _doubts(tags: Mapping[str, str]) -> Iterator[str]:
    if "v" in tags and next(iter(tags)) != "v":
        yield "v= is not the first tag"
    if tags.get("s", "*") not in {"*", "email"}:
        yield f"{shown('s=' + tags['s'])}: dkimpy takes it only as * or email"


def _words(tags: Mapping[str, str], name: str, default: str) -> frozenset[str]:
    words = [word.strip() for word in tags.get(name, default).split(":")]
    for word in words:
        if name in tags and not _WORDS.fullmatch(word):
            raise ValueError(f"{shown(f'{name}={tags[name]}')}: expected words separated by colons")
    return frozenset(word for word in words if word)


def modulus_bits(key: bytes) -> int:
    """The length in bits of an RSA key in DER, SubjectPublicKeyInfo or RSAPublicKey; 0 if it is neither."""
    try:
        tag, body, _ = _element(key)
        first, inner, rest = _element(body)
        if (tag, first) == (0x30, 0x30):  # an algorithm, and then a bit string that holds the RSAPublicKey
            _, bits, _ = _element(rest)
            _, body, _ = _element(bits[1:])
            first, inner, rest = _element(body)
        exponent, _, _ = _element(rest)
    except IndexError:
        return 0
    return int.from_bytes(inner, "big").bit_length() if (tag, first, exponent) == (0x30, 2, 2) else 0


def _element(data: bytes) -> tuple[int, bytes, bytes]:
    """The first DER element: its tag, its content, and the rest of the data."""
    size, start = data[1], 2
    if size & 0x80:
        start += size & 0x7F
        size = int.from_bytes(data[2:start], "big")
    if start + size > len(data):
        raise IndexError
    return data[0], data[start : start + size], data[start + size :]
