"""What a check is given and what it finds."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from postroad.checks.context import Context
    from postroad.dns.records import Record
    from postroad.dns.resolver import Answer


class Level(StrEnum):
    """How bad it is: only ``error`` fails the doctor."""

    OK = "ok"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True)
class Finding:
    """What one check saw of one thing.

    Attributes:
        id: the check's, such as ``spf``; a check that looks at several domains has a finding for each.
        level: how bad it is.
        message: what is so, in a sentence that names the domain, host or file.
        seen: the evidence: the record, the reply, the number; may be empty.
        fix: what to do next; empty where nothing is to be done.
        record: the record to publish, where that is the fix.
        unknown: it could not be found out what is so.
    """

    id: str
    level: Level
    message: str
    seen: str = ""
    fix: str = ""
    record: "Record | None" = None
    unknown: bool = False

    def to_dict(self) -> dict[str, object]:
        """As published: ``id``, ``level``, ``message``, ``seen``, ``fix``, and ``record`` where there is one."""
        fields: dict[str, object] = {
            "id": self.id,
            "level": str(self.level),
            "message": self.message,
            "seen": self.seen,
            "fix": self.fix,
        }
        if self.record:
            fields["record"] = {"name": self.record.name, "type": self.record.type, "value": self.record.value}
        return fields


def unanswered(check: str, answer: "Answer") -> Finding:
    """The finding where the DNS gave no answer: whether the record is there is not known."""
    return Finding(
        check,
        Level.WARNING,
        f"{answer.name} {answer.type} can't be looked up",
        answer.detail or str(answer.status),
        "look at the name servers of its zone, and at the check `resolver`",
        unknown=True,
    )


class Check(Protocol):
    """A module of this package: one check."""

    ID: str
    """Its name in ``--only`` and in findings."""

    SHORT: bool
    """Whether it is part of the short form that runs when the server has started."""

    def run(self, context: "Context") -> Iterable[Finding]:
        """Look, and say what there is. Ends before ``context.left`` is 0; what it raises becomes a finding."""
