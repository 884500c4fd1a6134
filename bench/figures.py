"""Pure: what the generator and the sink said, into figures; and figures of several rounds into one."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any


class LostError(Exception):
    """A round is no measurement: messages were lost, came twice or came unsigned. Says which."""


@dataclass(frozen=True)
class Spread:
    """A figure of several rounds.

    Attributes:
        median: its median.
        low: the least.
        high: the greatest.
        rounds: how many.
    """

    median: float
    low: float
    high: float
    rounds: int

    def __str__(self) -> str:
        if self.rounds == 1:
            return number(self.median)
        return f"{number(self.median)} ({number(self.low)}–{number(self.high)})"  # noqa: RUF001 - a range


def number(value: float) -> str:
    """Three digits that count: 0.0123, 1.23, 12.3, 123, 1230."""
    if value == 0 or not math.isfinite(value):
        return str(int(value)) if math.isfinite(value) else "-"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{digits}f}"


def spread(values: Iterable[float]) -> Spread | None:
    """Median and spread; None where there are no values."""
    known = sorted(values)
    return Spread(median(known), known[0], known[-1], len(known)) if known else None


def ratio(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Spread | None:
    """Ours over theirs, by repetition: those of one repetition ran beside each other, on the machine as it was then."""
    return spread(ours[key] / theirs[key] for key in ours.keys() & theirs.keys() if theirs[key])


def percentile(values: Sequence[float], percent: float) -> float:
    """The least value that so many percent of all do not exceed (nearest rank)."""
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def check(generated: Mapping[str, Any], received: Mapping[str, Any], arriving: set[int], *, verified: bool) -> None:
    """See that every message was accepted, that those that could arrive did so once, and signed.

    ``verified``: whether the first one's signature is good.

    Raises:
        LostError: not so.
    """
    refused = [number for number, _, _, accepted in generated["messages"] if not accepted]
    came = [number for number, *_ in received["messages"]]
    unsigned = [number for number, _, _, is_signed in received["messages"] if not is_signed]
    faults = {
        "not accepted": refused,
        "lost": sorted(arriving - {*came} - {*refused}),
        "twice": sorted({number for number in came if came.count(number) > 1} if len({*came}) < len(came) else set()),
        "unsigned": unsigned,
        "not sent": sorted({*came} - arriving),
    }
    said = [f"{what}: {len(numbers)} ({str(numbers[:5])[1:-1]})" for what, numbers in faults.items() if numbers]
    if received["strangers"]:
        said.append(f"of another round: {received['strangers']}")
    if not verified:
        said.append("the first one's signature does not verify")
    if said:
        raise LostError("; ".join(said))


def times(generated: Mapping[str, Any], received: Mapping[str, Any]) -> dict[str, float]:
    """What the clocks say of one round.

    Returns:
        ``rate``: messages a second that arrived, from the first one's begin to the last one's arrival.
        ``accept_p50``, ``accept_p99``, ``accept_p999``: milliseconds that an app waited for a message.
        ``transit_p50``, ``transit_p99``: milliseconds from DATA until the receiver had it all.
    """
    waited = [waited / 1e6 for _, _, waited, accepted in generated["messages"] if accepted]
    transit = [(came - sent) / 1e6 for _, sent, came, _ in received["messages"]]
    last = max(came for _, _, came, _ in received["messages"])
    first = min(begun for _, begun, _, _ in generated["messages"])
    return {
        "rate": len(transit) / ((last - first) / 1e9),
        "accept_p50": percentile(waited, 50),
        "accept_p99": percentile(waited, 99),
        "accept_p999": percentile(waited, 99.9),
        "transit_p50": percentile(transit, 50),
        "transit_p99": percentile(transit, 99),
    }


def by_program(
    before: Mapping[tuple[int, str], float], after: Mapping[tuple[int, str], float], total: float
) -> dict[str, float]:
    """What each program used between two looks at the processes that are there, out of a total.

    What those used that had ended by the second look is under ``gone``.
    """
    used: dict[str, float] = {}
    for (pid, name), seconds in after.items():
        used[name] = used.get(name, 0.0) + seconds - before.get((pid, name), 0.0)
    return {**used, "gone": max(0.0, total - sum(used.values()))}


def count_calls(trace: str) -> dict[str, int]:
    """Count in strace's output what starts a process, threads apart, and what waits for the disk."""
    forks = [
        line
        for line in trace.splitlines()
        if re.search(r"\b(v?fork|clone3?)\(", line) and "CLONE_THREAD" not in line and "ERESTART" not in line
    ]
    return {
        "forks": len(forks),
        "fsyncs": len(re.findall(r"\b(?:f(?:data)?sync|sync_file_range|syncfs|sync)\(", trace)),
    }
