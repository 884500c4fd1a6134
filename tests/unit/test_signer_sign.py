"""Signatures, by an independent verifier."""

import subprocess
from collections.abc import Callable

import dkim
import pytest

from postroad.signer.canonical import BodyHash
from postroad.signer.keys import PrivateKey, SigningError
from postroad.signer.sign import OVERSIGNED, signature

Headers = list[tuple[bytes, bytes]]


def generate(*options: str) -> bytes:
    return subprocess.run(["openssl", "genpkey", *options], capture_output=True, check=True).stdout


@pytest.fixture(scope="module")
def rsa() -> bytes:
    return generate("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048")


def record(pem: bytes) -> bytes:
    der = subprocess.run(
        ["openssl", "pkey", "-pubout", "-outform", "DER"], input=pem, capture_output=True, check=True
    ).stdout
    import base64  # noqa: PLC0415

    if len(der) < 100:  # RFC 8463: the key alone
        return b"v=DKIM1; k=ed25519; p=" + base64.b64encode(der[-32:])
    return b"v=DKIM1; k=rsa; p=" + base64.b64encode(der)


def signed(pem: bytes, headers: Headers, body: bytes, now: float = 1.5e9) -> bytes:
    hashed = BodyHash()
    hashed.update(body)
    value = signature(PrivateKey(pem), "x.example", "s1", headers, hashed.digest(), now)
    lines = [(b"DKIM-Signature", value), *headers]
    return b"".join(name + b":" + text.replace(b"\n", b"\r\n") + b"\r\n" for name, text in lines) + b"\r\n" + body


def passes(message: bytes, pem: bytes) -> bool:
    return bool(
        dkim.verify(
            message, dnsfunc=lambda name, timeout=5: record(pem) if name == b"s1._domainkey.x.example." else b""
        )
    )


HEADERS: Headers = [
    (b"Received", b" from a\n\tby b"),
    (b"From", b" App <a@x.example>"),
    (b"TO", b"\tb@y.example,\n c@y.example"),
    (b"Resent-From", b" one@x.example"),
    (b"Resent-From", b" two@x.example"),
    (b"Subject", b" a  b\n  c "),
    (b"Date", b" Thu, 26 Nov 2026 04:00:00 +0000"),
    (b"MIME-Version", b" 1.0"),
]
BODY = b"Hello  there \r\n\r\nbye\r\n\r\n"


def test_dkimpy_verifies_rsa(rsa: bytes) -> None:
    message = signed(rsa, HEADERS, BODY)
    assert b"a=rsa-sha256; c=relaxed/relaxed; d=x.example; s=s1" in message
    assert passes(message, rsa)
    assert not passes(message.replace(b"bye", b"buy"), rsa)


def test_a_whole_body_is_needed_for_nothing(rsa: bytes) -> None:
    assert passes(signed(rsa, HEADERS, b""), rsa)


@pytest.mark.parametrize(
    "field",
    [
        b"From: e@evil.example",
        b"Subject: x",
        b"Reply-To: x@evil.example",
        b"Cc: x@x",
        b"Date: now",
        b"Content-Type: text/html",
    ],
)
@pytest.mark.parametrize(
    "change",
    [
        lambda text, field: field + b"\r\n" + text,
        lambda text, field: text.replace(b"\r\n\r\n", b"\r\n" + field + b"\r\n\r\n", 1),
    ],
)
def test_no_field_can_be_added_on_the_way(field: bytes, change: Callable[[bytes, bytes], bytes], rsa: bytes) -> None:
    assert not passes(change(signed(rsa, HEADERS, BODY), field), rsa)


@pytest.mark.parametrize("name", [b"From", b"TO", b"Resent-From", b"Subject", b"Date", b"MIME-Version"])
def test_what_is_signed_is_not_changed_on_the_way(name: bytes, rsa: bytes) -> None:
    message = signed(rsa, HEADERS, BODY)
    start = message.index(b"\r\n" + name + b":") + 2
    assert not passes(message[: start + len(name) + 2] + b"X" + message[start + len(name) + 2 :], rsa)


def test_a_date_that_is_not_there_may_come(rsa: bytes) -> None:
    message = signed(rsa, [field for field in HEADERS if field[0] != b"Date"], BODY)
    assert passes(b"Date: Thu, 26 Nov 2026 04:00:00 +0000\r\n" + message, rsa)


def test_from_is_oversigned() -> None:
    assert b"from" in OVERSIGNED


def test_dkimpy_verifies_ed25519() -> None:
    pem = generate("-algorithm", "ED25519")
    message = signed(pem, HEADERS, BODY)
    assert b"a=ed25519-sha256;" in message
    assert passes(message, pem)
    assert not passes(message.replace(b"bye", b"buy"), pem)


@pytest.mark.parametrize("pem", [b"", b"x", b"-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n"])
def test_what_is_no_key_is_refused(pem: bytes) -> None:
    with pytest.raises(SigningError):
        PrivateKey(pem)


def test_a_key_of_another_kind_or_with_a_passphrase_is_refused(rsa: bytes) -> None:
    with pytest.raises(SigningError):
        PrivateKey(generate("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"))
    closed = subprocess.run(
        ["openssl", "pkey", "-aes128", "-passout", "pass:x"], input=rsa, capture_output=True, check=True
    ).stdout
    with pytest.raises(SigningError):
        PrivateKey(closed)
