"""What receivers' reports say (DMARC, TLS, complaints), in sentences. Pure but for the one query."""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, select

from postroad.store import queries
from postroad.store.schema import EVENTS

WINDOW = 14 * 86_400.0
"""Seconds of which reports count."""
MOST_ROWS = 20_000
LITTLE = 0.01
"""A share of failures from our own addresses that nobody needs to look at: a message altered on its way."""
FEW = 10
"""Messages from an address of others below which nothing is said."""
ENOUGH = 1000
"""Recipients below which a complaint rate is no more than a hint."""

Row = dict[str, Any]


class Weight(StrEnum):
    """How bad it is, by the names of the doctor's levels; never ``error``, as anybody can send a report."""

    OK = "ok"
    INFO = "info"
    WARNING = "warning"


@dataclass(frozen=True)
class Statement:
    """One thing that reports say: a sentence, the figures behind it, and what to do."""

    weight: Weight
    text: str
    seen: str
    fix: str = ""


def rows(connection: Connection, now: float) -> list[Row]:
    """The reports' lines of the last two weeks, the oldest first; of many the newest."""
    found = connection.execute(
        select(EVENTS.c.data)
        .where(EVENTS.c.kind == "reported", EVENTS.c.time >= now - WINDOW)
        .order_by(EVENTS.c.id.desc())
        .limit(MOST_ROWS)
    )
    return [json.loads(row.data) for row in reversed(found.all())]


def dmarc_domains(found: Iterable[Row]) -> set[str]:
    """The domains, in lower case, that DMARC reports are about."""
    return {row.get("domain") or "" for row in found if row.get("report") == "dmarc"}


@dataclass
class _Count:
    """Messages or sessions of one kind, by the time that reports are about."""

    total: int = 0
    failed: int = 0
    by_begin: dict[int, list[int]] = field(default_factory=dict)

    def add(self, begin: int, number: int, *, failed: bool) -> None:
        day = self.by_begin.setdefault(begin, [0, 0])
        day[0] += number
        day[1] += number if failed else 0
        self.total += number
        self.failed += number if failed else 0

    @property
    def share(self) -> float:
        return self.failed / self.total if self.total else 0.0

    @property
    def since(self) -> int:
        """When the failures began that go on: after the last time without any."""
        began = 0
        for begin in sorted(self.by_begin):
            if not self.by_begin[begin][1]:
                began = 0
            elif not began:
                began = begin
        return began


def statements(
    found: Iterable[Row], is_ours: Callable[[str], bool], addresses: Collection[str], now: float
) -> list[Statement]:
    """What reports say, the worst first.

    Args:
        found: the reports' lines.
        is_ours: whether a domain, in lower case, is one that sends here; lines about others say nothing.
        addresses: the public addresses that our mail leaves from; empty where they are not known.
        now: seconds since the epoch.
    """
    found = [row for row in found if is_ours(row.get("domain") or "")]
    dmarc = [row for row in found if row.get("report") == "dmarc"]
    tls = [row for row in found if row.get("report") == "tls"]
    made = [*_of_ours(dmarc, addresses, now), *_of_others(dmarc, addresses, now), *_of_tls(tls, now)]
    order = list(Weight)
    return sorted(made, key=lambda each: -order.index(each.weight))


def complaints(counts: Mapping[str, Any]) -> Statement | None:
    """What the complaints of that time come to, of the counts of ``store.queries``; None: nobody complained."""
    complained, delivered, rate = counts["complained"], counts["delivered"], counts["complaint_rate"]
    if not complained:
        return None
    said = f"{complained} of {delivered} recipients called mail from here spam in two weeks ({rate:.2%})"
    seen = (
        f"Gmail and Yahoo want less than {queries.SPAM_WARN:.1%}, and treat mail as spam from {queries.SPAM_ACT:.1%} on"
    )
    if delivered < ENOUGH or rate < queries.SPAM_WARN:
        return Statement(Weight.INFO, said, seen)
    fix = "see which domain's mail it is (postroad stats), and send less to people who did not ask for it"
    return Statement(Weight.WARNING, said, seen, fix)


def _of_ours(dmarc: Sequence[Row], addresses: Collection[str], now: float) -> Iterator[Statement]:
    """Mail from our own addresses: by domain, receiver and method."""
    domains = {row["domain"]: _Count() for row in dmarc if row.get("source") in addresses}
    for domain, whole in domains.items():
        ours = [row for row in dmarc if row["domain"] == domain and row.get("source") in addresses]
        for row in ours:
            whole.add(row.get("begin") or 0, row["count"], failed=not (row.get("dkim") or row.get("spf")))
        bad = False
        for method, check in (("dkim", "DKIM"), ("spf", "SPF")):
            for organization in dict.fromkeys(row.get("organization") or "?" for row in ours):
                count = _counted(ours, organization, method)
                if count.share <= LITTLE:
                    continue
                bad = True
                said = f"{organization} saw {_share(count.share)} of the mail of {domain} from here fail {check}"
                seen = f"{count.failed} of {count.total} messages; {_sources(ours, organization, method)}"
                yield Statement(Weight.WARNING, said + _since(count.since, now), seen, f"look at the check `{method}`")
        if not bad:
            who = len({row.get("organization") for row in ours})
            receivers = "one receiver" if who == 1 else f"{who} receivers"
            said = f"{receivers} reported {whole.total} messages of {domain} from here in two weeks: DKIM and SPF pass"
            yield Statement(Weight.OK, said, f"{whole.failed} of {whole.total} failed both")


def _counted(ours: Sequence[Row], organization: str, method: str) -> _Count:
    count = _Count()
    for row in ours:
        if (row.get("organization") or "?") == organization:
            count.add(row.get("begin") or 0, row["count"], failed=not row.get(method))
    return count


def _sources(ours: Sequence[Row], organization: str, method: str) -> str:
    names = {row["source"] for row in ours if (row.get("organization") or "?") == organization and not row.get(method)}
    return f"from {', '.join(sorted(names))}"


def _of_others(dmarc: Sequence[Row], addresses: Collection[str], now: float) -> Iterator[Statement]:
    """Mail in our name from addresses that are not ours, and that nothing vouches for."""
    if not addresses:
        return
    counts: dict[tuple[str, str], _Count] = {}
    reporters: dict[tuple[str, str], set[str]] = {}
    for row in dmarc:
        if row.get("source") in addresses or row.get("dkim") or row.get("spf"):
            continue
        key = (row["domain"], row.get("source") or "?")
        counts.setdefault(key, _Count()).add(row.get("begin") or 0, row["count"], failed=True)
        reporters.setdefault(key, set()).add(row.get("organization") or "?")
    for (domain, source), count in sorted(counts.items(), key=lambda item: -item[1].total)[:5]:
        if count.total < FEW:
            continue
        who = ", ".join(sorted(reporters[domain, source]))
        said = f"{source}, which is no address of ours, sends as {domain}, and fails DKIM and SPF"
        fix = "if that is a service of yours, add it to SPF and let it sign; else a DMARC policy of quarantine stops it"
        yield Statement(Weight.INFO, said + _since(count.since, now), f"{count.total} messages, by {who}", fix)


def _of_tls(tls: Sequence[Row], now: float) -> Iterator[Statement]:
    """TLS of those who send to our domains."""
    counts: dict[tuple[str, str], _Count] = {}
    why: dict[tuple[str, str], dict[str, int]] = {}
    for row in tls:
        key = (row.get("domain") or "?", row.get("organization") or "?")
        failed = row.get("result") != "success"
        counts.setdefault(key, _Count()).add(row.get("begin") or 0, row["count"], failed=failed)
        if failed:
            what = " at ".join(filter(None, (row.get("result"), row.get("source"))))
            whys = why.setdefault(key, {})
            whys[what] = whys.get(what, 0) + row["count"]
    for (domain, organization), count in counts.items():
        if count.share <= LITTLE:
            continue
        reasons = ", ".join(sorted(why[domain, organization], key=lambda what: -why[domain, organization][what])[:3])
        said = f"{organization} could not use TLS for {_share(count.share)} of its sessions with the MX of {domain}"
        seen = f"{count.failed} of {count.total} sessions: {reasons}"
        yield Statement(
            Weight.WARNING, said + _since(count.since, now), seen, "look at the MX's certificate, and at its policy"
        )


def _share(share: float) -> str:
    return f"{share:.1%}" if share < 0.1 else f"{share:.0%}"


def _since(begin: int, now: float) -> str:
    """Since when, as people say it; empty where it is not known."""
    if not begin or begin > now:
        return ""
    day = datetime.fromtimestamp(begin, UTC)
    recent = now - begin < 6 * 86_400
    return f" since {day:%A}" if recent else f" since {day.day} {day:%B}"
