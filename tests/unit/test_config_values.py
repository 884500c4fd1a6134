"""Durations, sizes and DNS names as people write them."""

from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from postroad.config.names import check_name, is_name, to_ascii
from postroad.config.values import (
    LARGEST,
    Rate,
    format_duration,
    format_rate,
    format_size,
    parse_day,
    parse_duration,
    parse_rate,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("5m", 300),
        ("4h", 14400),
        ("1h30m", 5400),
        ("5d", 432000),
        ("1d1h1m1s", 90061),
        ("300", 300),
        (300, 300),
        (timedelta(minutes=5), 300),
        ("365d", 365 * 86400),
    ],
)
def test_a_duration_is_read(text: object, seconds: int) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5 m",
        "m",
        "5M",
        "1.5h",
        "m5",
        "5m5h",
        "\u0665m",
        "-5m",
        "1e3",
        "366d",
        "0s",
        "999999999d",
        "9" * 5000,
        True,
        1.5,
        None,
        0,
        -1,
        10**30,
        timedelta(milliseconds=1500),
        [],
        {},
    ],
)
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(PydanticCustomError):
        parse_duration(text)


@settings(deadline=None)
@given(st.integers(1, 365 * 86400))
def test_a_printed_duration_reads_back(seconds: int) -> None:
    value = timedelta(seconds=seconds)
    assert parse_duration(format_duration(value)) == value


@pytest.mark.parametrize(
    ("value", "text"), [(300, "5m"), (5400, "1h30m"), (90, "1m30s"), (14400, "4h"), (432000, "5d")]
)
def test_a_duration_is_printed_short(value: int, text: str) -> None:
    assert format_duration(timedelta(seconds=value)) == text


@pytest.mark.parametrize(
    ("text", "octets"),
    [
        ("25MiB", 26214400),
        ("25mib", 26214400),
        ("25Mi", 26214400),
        ("10MB", 10_000_000),
        ("10 MB", 10_000_000),
        ("500k", 500_000),
        ("1g", 10**9),
        ("7B", 7),
        ("1000", 1000),
        (1000, 1000),
    ],
)
def test_a_size_is_read(text: object, octets: int) -> None:
    assert parse_size(text) == octets


@pytest.mark.parametrize(
    "text",
    ["", "MiB", "25MiB junk", "25Mbit", "25 i", "1.5G", "-1", "\u0663k", "2GiB", "9" * 400, 0, -1, True, 1.0, None, []],
)
def test_what_is_no_size_is_refused(text: object) -> None:
    with pytest.raises(PydanticCustomError):
        parse_size(text)


@settings(deadline=None)
@given(st.integers(1, LARGEST))
def test_a_printed_size_reads_back(octets: int) -> None:
    assert parse_size(format_size(octets)) == octets


@pytest.mark.parametrize(
    ("octets", "text"),
    [(26214400, "25MiB"), (10_000_000, "10MB"), (500_000, "500kB"), (1023, "1023B"), (2**30, "1GiB")],
)
def test_a_size_is_printed_short(octets: int, text: str) -> None:
    assert format_size(octets) == text


@pytest.mark.parametrize(
    "name", ["a.b", "Mail.Example.COM", "xn--strae-oqa.example", "1.example", f"{'a' * 63}.example"]
)
def test_a_domain_name_is_lower_cased(name: str) -> None:
    assert check_name(name, "example.com") == name.lower()


LONG = ".".join(["a" * 60] * 5)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "com",
        ".",
        "a..b",
        ".a.b",
        "a.b.",
        "-a.b",
        "a-.b",
        "a_b.c",
        "a b.c",
        "a.b:25",
        "1.2.3.4",
        "[1.2.3.4]",
        "::1",
        "1.2",
        f"{'a' * 64}.example",
        LONG,
        "é.example",
        "exam\u202eple.com",
        "*.a.b",
        "a@b.c",
        "a.b\n",
    ],
)
def test_what_is_no_domain_name_is_refused(name: str) -> None:
    with pytest.raises(PydanticCustomError):
        check_name(name, "example.com")


def test_the_ascii_form_keeps_the_sharp_s() -> None:
    # IDNA 2008; the 2003 rules make another person's domain of it
    assert to_ascii("Straße.example") == "xn--strae-oqa.example"
    assert to_ascii("BÜCHER.Example") == "xn--bcher-kva.example"


@settings(deadline=None)
@given(st.text())
def test_a_name_is_accepted_only_as_plain_dns(text: str) -> None:
    try:
        name = check_name(text, "example.com")
    except PydanticCustomError:
        return
    assert is_name(name)
    assert name.encode("ascii").replace(b".", b"").replace(b"-", b"").isalnum()


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("100/minute", Rate(100, 60)),
        ("5000 per hour", Rate(5000, 3600)),
        ("1/day", Rate(1, 86400)),
    ],
)
def test_a_rate_is_read(text: str, rate: Rate) -> None:
    assert parse_rate(text) == rate
    assert parse_rate(format_rate(rate)) == rate


@pytest.mark.parametrize(
    "text", ["", "100", 100, "0/minute", "1/second", "10000001/day", "-1/day", "1.5/day", "1 / day", "1/Day"]
)
def test_what_is_no_rate_is_refused(text: object) -> None:
    with pytest.raises(PydanticCustomError):
        parse_rate(text)


def test_a_day_is_read() -> None:
    assert parse_day("2026-11-24") == date(2026, 11, 24)
    for text in ("20261124", "2026-W48-2", "2026-13-01", 20261124, None, "today"):
        with pytest.raises(PydanticCustomError):
            parse_day(text)
