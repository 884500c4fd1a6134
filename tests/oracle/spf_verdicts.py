"""The doctor's SPF verdicts beside those of another implementation, on records of ``spf_records``."""

from collections.abc import Callable, Sequence

from postroad.dns.spf_check import Result, Verdict, evaluate
from tests.oracle import spf_records
from tests.oracle.dns_table import TableResolver

Zone = dict[str, dict[str, list[str]]]
Cases = list[tuple[str, str]]


def compare(
    number: int, seed: int, theirs: Callable[[Zone, Cases], Sequence[str]]
) -> tuple[list[Verdict], list[tuple[object, ...]]]:
    """The doctor's verdicts, and where it passes over what the other calls an error: case, record, both verdicts."""
    made = spf_records.records(number, seed=seed)
    zone = spf_records.zone(made)
    cases = list(spf_records.cases(made))
    resolver = TableResolver(
        {name: {rtype: tuple(each) for rtype, each in types.items()} for name, types in zone.items()}
    )
    ours = [evaluate(resolver, *case, sender=f"app@{case[1]}", helo="mail.sender.example") for case in cases]
    wrong: list[tuple[object, ...]] = [
        (case[0], zone[case[1]]["TXT"], str(mine.result), other)
        for case, mine, other in zip(cases, ours, theirs(zone, cases), strict=True)
        if mine.result != other and mine.result is not Result.PERMERROR and not mine.disputed
    ]
    return ours, wrong
