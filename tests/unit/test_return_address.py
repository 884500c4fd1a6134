"""Return addresses: what was signed is read again, and nothing else."""

import base64
import hashlib
import hmac
import string
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from postroad.runtime import return_address
from postroad.runtime.return_address import ReturnAddress, ReturnAddressError, issued, local_part, read

KEY, DOMAIN, DAY = b"k" * 32, "bounces.x.example", 20783
QUEUE_ID = "6AQ7sdUD000094"
IDS = st.text(string.ascii_letters + string.digits, min_size=8, max_size=26)


@given(IDS, st.integers(0, 65_535 - 41), st.integers(-1, 40), st.randoms())
@example("a" * 26, 0, 0, None)
def test_what_was_signed_is_read_again_whatever_a_receiver_does_to_its_case(
    queue_id: Any, day: Any, age: Any, random: Any
) -> None:
    local = local_part(KEY, DOMAIN, queue_id, day)
    assert len(local) <= return_address.LONGEST_LOCAL
    assert local.isascii()
    assert local.isalnum(), "nothing that a filter, a form or a shell could take for something else"
    changed = "".join(random.choice((c, c.upper())) for c in local) if random else local.upper()
    assert read(KEY, DOMAIN, changed, day + age) == ReturnAddress(queue_id, day)


@given(st.integers(0, 60), st.sampled_from("abcdefghijklmnopqrstuvwxyz234567"))
def test_one_other_character_and_it_is_refused(place: Any, other: Any) -> None:
    local = local_part(KEY, DOMAIN, QUEUE_ID, DAY)
    place %= len(local)
    changed = local[:place] + other + local[place + 1 :]
    if changed != local:
        with pytest.raises(ReturnAddressError):
            read(KEY, DOMAIN, changed, DAY)


def test_base32_has_one_spelling() -> None:
    """Bits at the end that mean nothing would let one address be written in several ways."""
    local = local_part(KEY, DOMAIN, QUEUE_ID + "a", DAY)

    assert len(local[1:]) * 5 % 8, "this length has such bits"
    found = []
    for last in "abcdefghijklmnopqrstuvwxyz234567":
        try:
            found.append(read(KEY, DOMAIN, local[:-1] + last, DAY))
        except ReturnAddressError:
            continue
    assert len(found) == 1


@given(st.one_of(st.text(max_size=80), st.text("abcdefghijklmnopqrstuvwxyz234567", max_size=64).map("b".__add__)))
@example("")
@example("b")
@example("\N{LATIN SMALL LETTER LONG S}" * 40)
@example("b" + "a" * 43)
def test_anything_else_is_refused_by_one_error(text: Any) -> None:
    with pytest.raises(ReturnAddressError):
        read(KEY, DOMAIN, text, DAY)


@pytest.mark.parametrize("cut", range(1, 48))
def test_a_shortened_address_is_refused(cut: Any) -> None:
    local = local_part(KEY, DOMAIN, QUEUE_ID, DAY)
    with pytest.raises(ReturnAddressError):
        read(KEY, DOMAIN, local[:-cut], DAY)


@pytest.mark.parametrize(
    ("key", "domain", "today", "why"),
    [
        (b"x" * 32, DOMAIN, DAY, "not signed"),
        (KEY, "bounces.y.example", DAY, "not signed"),
        (KEY, DOMAIN, DAY + 41, "too old"),
        (KEY, DOMAIN, DAY - 2, "too old"),
    ],
)
def test_another_key_domain_or_time(key: Any, domain: Any, today: Any, why: Any) -> None:
    with pytest.raises(ReturnAddressError, match=why):
        read(key, domain, local_part(KEY, DOMAIN, QUEUE_ID, DAY), today)


def test_a_tag_is_hmac_sha256_of_all_that_the_address_says() -> None:
    """Computed the long way, so that addresses of an earlier version are still read."""
    content = DAY.to_bytes(2, "big") + QUEUE_ID.encode()
    tag = hmac.new(KEY, b"return\0" + DOMAIN.encode() + b"\0" + content, hashlib.sha256).digest()[:10]
    assert local_part(KEY, DOMAIN, QUEUE_ID, DAY) == "b" + base64.b32encode(content + tag).decode().strip("=").lower()


@pytest.mark.parametrize("queue_id", ["", "short", "a" * 27, "6AQ7sdUD00009\n", "6AQ7sdUD 00094", "6AQ7sdUD00009é"])
def test_what_is_no_queue_id_gets_no_address(queue_id: Any) -> None:
    with pytest.raises(ReturnAddressError):
        local_part(KEY, DOMAIN, queue_id, DAY)


@pytest.mark.parametrize(
    ("queue_id", "today", "day"),
    [
        ("6AQ7sdUD000094", "2026-11-26", "2026-11-26"),
        ("6AQ7sdUD000094", "2026-12-01", "2026-11-26"),
        ("6BV7sdUD000094", "2027-01-03", "2026-12-31"),
        ("6AQ7sdUD000094", "2027-06-01", "2027-06-01"),  # from where it would have ended
        ("6AQ7sdUD000094", "2026-11-20", "2026-11-20"),  # the clock was set back
        ("????????", "2026-11-20", "2026-11-20"),
        ("zzzzzzzz", "2026-11-20", "2026-11-20"),
        ("", "2026-11-20", "2026-11-20"),
    ],
)
def test_a_message_keeps_its_day(queue_id: Any, today: Any, day: Any) -> None:
    """Else an attempt after midnight would be greylisted anew."""
    number = {
        name: return_address.day_of(datetime.fromisoformat(name).replace(tzinfo=UTC).timestamp())
        for name in (today, day)
    }
    assert issued(queue_id, number[today]) == number[day]
