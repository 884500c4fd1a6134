"""The kinds of value a key can hold, and the one way to refuse one."""

import re
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any, NamedTuple, NoReturn

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

DURATION = re.compile(r"(?:([0-9]{1,9})d)?(?:([0-9]{1,9})h)?(?:([0-9]{1,9})m)?(?:([0-9]{1,9})s)?")
SIZE = re.compile(r"([0-9]{1,15}) ?(?:([kmg])(i?))?b?", re.IGNORECASE)
SHARE = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,2})?) ?%")
RATE = re.compile(r"([0-9]{1,9})(?:/| per )(minute|hour|day)")
PERIODS = {"minute": 60, "hour": 3600, "day": 86400}
DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
LONGEST = timedelta(days=365)
LARGEST = 2**31 - 1


def refuse(accepted: str, *, hint: str = "", at: tuple[str | int, ...] = (), found: str | None = None) -> NoReturn:
    """Refuse the value that is being validated.

    Args:
        accepted: what would be accepted instead, as the end of "accepted: ...".
        hint: continues ``accepted`` with text derived from the value, and so is not shown for a secret.
        at: the rest of the key's path if the error belongs deeper, such as ``("retry",)`` or ``(2,)``.
        found: what was found, in words, if not the value itself.
    """
    raise PydanticCustomError(
        "refused", "{accepted}{hint}", {"accepted": accepted, "hint": hint, "at": at, "found": found}
    )


def parse_duration(value: Any) -> timedelta:
    """A duration from ``1h30m``, ``90s``, ``5d``, or a number of seconds; from 1 s to 365 d."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 9:
        value = int(value)
    if isinstance(value, timedelta):
        found = value
    elif isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 10**9:
        found = timedelta(seconds=value)
    elif isinstance(value, str) and value and (match := DURATION.fullmatch(value)):
        days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
        # computed in seconds, because timedelta overflows at 10**9 days
        total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
        found = timedelta(seconds=min(total, 10**9))
    else:
        refuse("a duration such as 90s, 5m, 1h30m or 5d, or a number of seconds")
    if not timedelta(seconds=1) <= found <= LONGEST or found.microseconds:
        refuse("a duration from 1s to 365d, in whole seconds")
    return found


def format_duration(value: timedelta) -> str:
    """The shortest form that ``parse_duration`` reads back to the same, such as ``1h30m``."""
    rest = int(value.total_seconds())
    text = ""
    for unit, seconds in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, seconds)
        text += f"{count}{unit}" if count else ""
    return text or "0s"


def parse_size(value: Any) -> int:
    """Octets from ``25MiB`` (powers of 1024), ``10MB`` or ``500k`` (powers of 1000), or a number; below 2 GiB."""
    if isinstance(value, str) and (match := SIZE.fullmatch(value)):
        count, prefix, binary = match.groups()
        power = " kmg".index((prefix or " ").lower())
        value = int(count) * (1024 if binary else 1000) ** power
    if not isinstance(value, int) or isinstance(value, bool):
        refuse("a size such as 25MiB, 10MB or 500k, or a number of bytes")
    if not 1 <= value <= LARGEST:
        refuse("a size from 1 byte to less than 2GiB")
    return value


def format_size(value: int) -> str:
    """The shortest form that ``parse_size`` reads back to the same, such as ``25MiB``."""
    for base, suffix in ((1024, "iB"), (1000, "B")):
        for power in (3, 2, 1):
            if value and value % base**power == 0:
                prefix = " kMG"[power] if base == 1000 else " KMG"[power]
                return f"{value // base**power}{prefix}{suffix}"
    return f"{value}B"


def parse_share(value: Any) -> float:
    """A share from ``5%`` or ``0.5%``; above 0 %, at most 100 %. A bare number is refused as ambiguous."""
    if not isinstance(value, str) or not (match := SHARE.fullmatch(value)):
        refuse("a share such as 5% or 0.5%")
    found = float(match[1]) / 100
    if not 0 < found <= 1:
        refuse("a share above 0% and up to 100%")
    return found


def format_share(value: float) -> str:
    """The form that ``parse_share`` reads back to the same, such as ``5%``."""
    return f"{round(value * 100, 2):g}%"


class Rate(NamedTuple):
    """A number of messages within a period.

    Attributes:
        most: the most messages in a period, from 1.
        seconds: the length of the period: a minute, an hour or a day.
    """

    most: int
    seconds: int


def parse_rate(value: Any) -> Rate:
    """A rate from ``100/minute``, ``5000/hour`` or ``20000/day``; from 1 to 10,000,000. A bare number is refused."""
    if isinstance(value, Rate):
        return value
    if not isinstance(value, str) or not (match := RATE.fullmatch(value)):
        refuse("a rate such as 100/minute, 5000/hour or 20000/day")
    found = Rate(int(match[1]), PERIODS[match[2]])
    if not 1 <= found.most <= 10**7:
        refuse("a rate of 1 to 10000000")
    return found


def format_rate(value: Rate) -> str:
    """The form that ``parse_rate`` reads back to the same, such as ``100/minute``."""
    period = next(name for name, seconds in PERIODS.items() if seconds == value.seconds)
    return f"{value.most}/{period}"


def parse_day(value: Any) -> date:
    """A day from ``2026-11-24`` (ISO 8601)."""
    if isinstance(value, date):
        return value
    try:
        if isinstance(value, str) and DAY.fullmatch(value):
            return date.fromisoformat(value)
    except ValueError:
        pass
    refuse("a day such as 2026-11-24")


def _no_truth(value: Any) -> Any:
    # pydantic converts true to 1, so `smtp: true` would be port 1
    return refuse("a whole number") if isinstance(value, bool) else value


def _absolute(value: Path) -> Path:
    if not value.is_absolute():
        refuse("an absolute path, such as /run/secrets/key")
    return value


Duration = Annotated[
    timedelta,
    PlainValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema(
        {
            "$comment": "duration",
            "type": ["string", "integer"],
            "pattern": r"^([0-9]+|([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?)$",
        }
    ),
]
"""A span of time; written ``5m``, ``1h30m`` or a number of seconds, held as a timedelta."""

Size = Annotated[
    int,
    PlainValidator(parse_size),
    PlainSerializer(format_size, return_type=str),
    WithJsonSchema({"$comment": "size", "type": ["string", "integer"], "pattern": r"^[0-9]+ ?([kKmMgG]i?)?[bB]?$"}),
]
"""A number of octets; written ``25MiB``, ``10MB``, ``500k`` or plain, held as an int."""

Share = Annotated[
    float,
    PlainValidator(parse_share),
    PlainSerializer(format_share, return_type=str),
    WithJsonSchema({"$comment": "share", "type": "string", "pattern": r"^[0-9]{1,3}([.][0-9]{1,2})? ?%$"}),
]
"""A share; written ``5%``, held as 0.05."""

RateValue = Annotated[
    Rate,
    PlainValidator(parse_rate),
    PlainSerializer(format_rate, return_type=str),
    WithJsonSchema({"$comment": "rate", "type": "string", "pattern": r"^[0-9]{1,9}(/| per )(minute|hour|day)$"}),
]
"""Messages within a span of time; written ``100/minute``, held as a Rate."""

Day = Annotated[
    date,
    PlainValidator(parse_day),
    PlainSerializer(lambda value: value.isoformat(), return_type=str),
    WithJsonSchema({"$comment": "day", "type": "string", "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"}),
]
"""A day; written ``2026-11-24``, held as a date."""

WholeNumber = Annotated[int, BeforeValidator(_no_truth)]
"""An int; give bounds with ``Field(ge=..., le=...)``."""

Port = Annotated[int, Field(ge=1, le=65535), BeforeValidator(_no_truth)]
"""A TCP port."""

AbsolutePath = Annotated[
    Path,
    AfterValidator(_absolute),
    WithJsonSchema({"$comment": "absolute path", "type": "string", "pattern": "^/"}),
]
"""An absolute path inside the container. The model doesn't check the file."""
