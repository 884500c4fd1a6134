"""Our evaluator on generated SPF records, to be held against what others say of the same."""

from collections.abc import Sequence
from dataclasses import dataclass

from postroad.dns.spf_check import Result, Verdict, evaluate
from tests.oracle import spf_records
from tests.oracle.dns_table import TableResolver


@dataclass(frozen=True)
class Judged:
    """So many records, made by the seed, and what we say of each for each client.

    Attributes:
        zone: the names that they speak of, and their own.
        cases: (address, domain).
        verdicts: ours, in the order of the cases.
    """

    zone: dict[str, dict[str, list[str]]]
    cases: Sequence[tuple[str, str]]
    verdicts: Sequence[Verdict]

    def wrong(self, theirs: Sequence[str]) -> list[tuple[str, str, str, str]]:
        """Where these verdicts differ from ours without a word: (address, record, ours, theirs).

        We may be the stricter (``permerror``), and may warn that receivers differ.
        """
        return [
            (address, self.zone[domain]["TXT"][0], str(mine.result), other)
            for (address, domain), mine, other in zip(self.cases, self.verdicts, theirs, strict=True)
            if mine.result != other and mine.result is not Result.PERMERROR and not mine.disputed
        ]


def judge(count: int, seed: int) -> Judged:
    """Make the records and evaluate them."""
    made = spf_records.records(count, seed)
    zone = spf_records.zone(made)
    cases = list(spf_records.cases(made))
    resolver = TableResolver(
        {name: {rtype: tuple(each) for rtype, each in types.items()} for name, types in zone.items()}
    )
    verdicts = [evaluate(resolver, *case, sender=f"app@{case[1]}", helo="mail.sender.example") for case in cases]
    return Judged(zone, cases, verdicts)
