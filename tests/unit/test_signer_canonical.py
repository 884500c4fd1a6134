"""The relaxed canonicalization, against RFC 6376's own examples and dkimpy's."""

import hashlib

import dkim.canonicalization
import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroad.signer import canonical
from tests.growth import TIMES, in_proportion

Relaxed = dkim.canonicalization.Relaxed


def hashed(*pieces: bytes) -> bytes:
    body = canonical.BodyHash()
    for piece in pieces:
        body.update(piece)
    return body.digest()


def test_the_example_of_rfc_6376() -> None:
    # section 3.4.5
    assert canonical.header(b"A", b" X\r\n") == b"a:X"
    assert canonical.header(b"B", b" Y\t\r\n\tZ  \r\n") == b"b:Y Z"
    assert hashed(b" C \r\nD \t E\r\n\r\n\r\n") == hashlib.sha256(b" C\r\nD E\r\n").digest()


def test_an_empty_body() -> None:
    for body in (b"", b"\r\n", b"\r\n\r\n", b" \r\n\t\r\n"):
        assert hashed(body) == hashlib.sha256(b"").digest()


parts = st.lists(
    st.sampled_from([b"a", b"b c", b" ", b"\t", b"  ", b"\r\n", b"\r\n\r\n", b"\0", b"\xe9", b"."]), max_size=30
)


@given(parts, st.lists(st.integers(0, 60)))
def test_as_dkimpy_does_in_whatever_pieces(text: list[bytes], cuts: list[int]) -> None:
    body = b"".join([*text, b"\r\n"])  # as every message over SMTP ends
    at, pieces = 0, []
    for cut in sorted(cuts):
        pieces.append(body[at:cut] if cut > at else b"")
        at = max(at, cut)
    assert hashed(*pieces, body[at:]) == hashlib.sha256(Relaxed.canonicalize_body(body)).digest()


@given(st.lists(st.sampled_from([b"a", b" ", b"\t", b"\r\n ", b"\r\n\t", b"\xe9", b":"]), max_size=30))
def test_a_field_as_dkimpy_does(text: list[bytes]) -> None:
    value = b"".join(text)
    ((name, expected),) = Relaxed.canonicalize_headers([(b"Sub-Ject", value + b"\r\n")])
    assert canonical.header(b"Sub-Ject", value) + b"\r\n" == name + b":" + expected


@pytest.mark.parametrize("unit", [b"\r\n", b" ", b" \r\n", b"x", b"\t \t", b"a "])
def test_no_body_takes_long(unit: bytes) -> None:
    def read(number: int) -> None:
        body = unit * number
        hashed(*(body[at : at + 65536] for at in range(0, len(body), 65536)))

    assert in_proportion(read, (1 << 21) // len(unit) // TIMES)
