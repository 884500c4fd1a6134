"""What has changed from one regular look of the doctor's to the next. Pure.

A check fails where a finding is an error. What can't be found out changes nothing: an error that was there before stays
until a look can tell.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from postroad.checks.model import Finding, Level
from postroad.runtime.looks import Look, Standing


@dataclass(frozen=True)
class FindingChange:
    """A finding that was not an error before, or a check that fails no longer.

    Attributes:
        finding: the error, or for a check that fails no longer what is so now.
        failed_for: seconds; None where it fails.
    """

    finding: Finding
    failed_for: int | None = None

    def fields(self) -> dict[str, str | int | None]:
        """Those of the event ``doctor``."""
        each = self.finding
        if self.failed_for is not None:
            return {"check": each.id, "level": "ok", "message": each.message, "failed_for": self.failed_for}
        record = f"{each.record.name} {each.record.type} {each.record.value}" if each.record else None
        return {
            "check": each.id,
            "level": "error",
            "message": each.message,
            "seen": each.seen or None,
            "fix": each.fix or None,
            "record": record,
        }


def key(finding: Finding) -> str:
    """What is the same for the same fault at the next look: numbers are not, such as the seconds a clock is off."""
    return re.sub(r"(?<![\w.:])\d+(?![\w.:])", "#", finding.message)


def compare(
    before: Look, found: Mapping[str, Sequence[Finding]], now: float, *, blind: bool = False
) -> tuple[Look, list[FindingChange]]:
    """What a look found beside the one before: what to remember, and what has changed.

    Args:
        before: the last look.
        found: each check's findings, by its id.
        now: seconds since the epoch.
        blind: the public address is not known, so checks without findings do not tell that all is well.
    """
    checks: dict[str, Standing] = {}
    changes: list[FindingChange] = []
    for name, findings in found.items():
        old = before.checks.get(name, Standing())
        if not findings:
            if blind and old.errors:
                checks[name] = old
            continue
        errors = {key(each): each for each in findings if each.level is Level.ERROR and not each.unknown}
        unknown = tuple(dict.fromkeys(key(each) for each in findings if each.unknown))
        # what could not be found out then, either, does not explain that an error is gone
        kept = [each for each in old.errors if each not in errors] if {*unknown} - {*old.unknown} else []
        new = [each for text, each in errors.items() if text not in old.errors]
        failing = (*errors, *kept)
        changes += map(FindingChange, new)
        if old.errors and not failing:
            changes.append(FindingChange(_well(name, findings), max(0, round(now - old.since))))
        checks[name] = Standing(
            failing,
            sum(each.level is Level.WARNING for each in findings),
            old.unknown if kept else unknown,
            (old.since or now) if failing else 0.0,
        )
    return Look(now, checks), changes


def _well(check: str, findings: Sequence[Finding]) -> Finding:
    return next((each for each in findings if each.level is Level.OK), Finding(check, Level.OK, "nothing fails now"))
