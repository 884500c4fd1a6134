"""How much of each sender domain's mail bounces or is called spam, and the domains that are braked because of it.

Counted are recipients: hard bounces, in all that was delivered or bounced; complaints, in what was delivered. What was
refused at RCPT never was a bounce, and mail of the null sender has no sender domain.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Engine, Table, and_, case, delete, func, insert, or_, select, update

from postroad import system
from postroad.events import own
from postroad.runtime.paths import BRAKED
from postroad.runtime.recording import BrakeRules
from postroad.store import changes, database
from postroad.store.schema import BRAKES, COMPLAINT_BRAKES, EVENTS, IS_COMPLAINT, IS_LATE

NORMAL, WARNING, BRAKE, RELEASED = "normal", "warning", "braked", "released"
RANK = (NORMAL, WARNING, BRAKE)
HOLD = 0.8
"""A state ends when the rate is below this part of the one at which it began, so that it does not come and go."""


@dataclass(frozen=True, eq=False)
class Cause:
    """What a domain is warned of or braked for: so many of so many recipients.

    Attributes:
        name: for programs.
        counts: the names of the two numbers, in events and in the table.
        words: what so many did, for the client of a braked domain; sendmail drops spaces beside signs.
        raised_by: the kinds of events after which the rate, or what it is a rate of, may be higher.
        counted, of: which events make the numbers.
        table: the domains that are not normal, or were.
        line: the event of a state, the domain, both numbers and perhaps the window in seconds.
    """

    name: str
    counts: tuple[str, str]
    words: str
    raised_by: frozenset[str]
    counted: ColumnElement[bool]
    of: ColumnElement[bool]
    table: Table
    line: Callable[[str, str, int, int, float | None], str]


_DELIVERED = EVENTS.c.kind == "delivered"
BOUNCES = Cause(
    name="bounces",
    counts=("bounced", "ended"),
    words="bounced",
    raised_by=frozenset(("delivered", "bounced")),
    counted=and_(EVENTS.c.kind == "bounced", EVENTS.c.hard.is_(True)),
    of=or_(_DELIVERED, and_(EVENTS.c.kind == "bounced", ~IS_LATE)),  # what is late was delivered before
    table=BRAKES,
    line=own.bounce_rate,
)
COMPLAINTS = Cause(
    name="complaints",
    counts=("complained", "delivered"),
    words="were called spam",
    raised_by=frozenset(("complained",)),
    counted=IS_COMPLAINT,
    of=_DELIVERED,
    table=COMPLAINT_BRAKES,
    line=own.complaint_rate,
)
CAUSES = (BOUNCES, COMPLAINTS)


class DomainRate(NamedTuple):
    """A domain's rate: it counts for ``number`` of ``total`` recipients; the ``state`` is one of ``RANK``.

    ``since`` is when the state began, in seconds since the epoch.
    """

    cause: Cause
    sender_domain: str
    state: str
    since: float
    number: int
    total: int

    def line(self, window: float | None = None) -> str:
        """The line of the log that makes an event of it."""
        return self.cause.line(self.state, self.sender_domain, self.number, self.total, window)


def update_states(connection: Connection, cause: Cause, rules: BrakeRules, now: float) -> list[DomainRate]:
    """Count anew, and keep what has changed; return the domains whose state has."""
    begin, table = now - rules.window, cause.table
    known = {row.sender_domain: row for row in connection.execute(select(table))}
    found = _counted(connection, cause, begin)
    changed = []
    for domain in found.keys() | known.keys():
        row = known.get(domain)
        number, total = found.get(domain, (0, 0))
        forgiven = row.counted_from if row and (row.counted_from or 0) > begin else None
        if forgiven:
            number, total = _counted(connection, cause, forgiven, domain).get(domain, (0, 0))
        before = row.state if row else NORMAL
        state = _state(before, number, total, rules)
        which = table.c.sender_domain == domain
        if state != before:
            new = dict(zip(cause.counts, (number, total), strict=True)) | {"state": state, "since": now}
            # as it was read: a person may have released it meanwhile
            unchanged = and_(which, table.c.state == before, table.c.since == row.since) if row else which
            if not connection.execute(update(table).where(unchanged).values(new)).rowcount:
                if row:
                    continue
                connection.execute(insert(table).values(new | {"sender_domain": domain}))
            changed.append(DomainRate(cause, domain, state, now, number, total))
        elif row and state == NORMAL and not forgiven:
            connection.execute(delete(table).where(which, table.c.since == row.since))
    if changed:
        changes.note(connection, changes.BRAKES)
    return changed


def _counted(
    connection: Connection, cause: Cause, begin: float, domain: str | None = None
) -> dict[str, tuple[int, int]]:
    """By sender domain, how many recipients count, and of how many, from ``begin`` on."""
    number, total = (func.sum(case((meant, 1), else_=0)) for meant in (cause.counted, cause.of))
    kinds = {"delivered", *cause.raised_by}
    query = (
        select(EVENTS.c.sender_domain, number, total)
        .where(EVENTS.c.time >= begin, EVENTS.c.kind.in_(kinds), EVENTS.c.sender_domain.is_not(None))
        .group_by(EVENTS.c.sender_domain)
    )
    if domain is not None:
        query = query.where(EVENTS.c.sender_domain == domain)
    # the delivery of what came back late may have been before that time
    return {
        name: (int(number), max(int(number), int(total)))
        for name, number, total in connection.execute(query)
        if _is_domain(name)
    }


def _is_domain(name: str) -> bool:
    """Whether it can stand in a line of the map. A sender without a domain has his name there."""
    return "." in name and name.isascii() and name.isprintable() and " " not in name


def _state(before: str, number: int, total: int, rules: BrakeRules) -> str:
    for state, limit in ((BRAKE, rules.brake), (WARNING, rules.warn)):
        held = RANK.index(before) >= RANK.index(state)
        enough = number > 0 and (held or total >= rules.minimum)
        if limit and enough and number / total >= limit * (HOLD if held else 1) - 1e-9:
            return state
    return NORMAL


def rates(connection: Connection, causes: Sequence[Cause] = CAUSES) -> list[DomainRate]:
    """The domains that are not normal, those longest so first."""
    found = []
    for cause in causes:
        columns = [cause.table.c[name] for name in ("sender_domain", "state", "since", *cause.counts)]
        rows = connection.execute(select(*columns).where(cause.table.c.state != NORMAL))
        found += [DomainRate(cause, *row) for row in rows]
    return sorted(found, key=lambda rate: (rate.since, rate.sender_domain))


def release(connection: Connection, domains: Sequence[str]) -> list[DomainRate]:
    """Accept from these domains again, and count anew from now on; return those that were braked, as they were."""
    lower = {domain.lower() for domain in domains}
    found = [rate for rate in rates(connection) if rate.sender_domain in lower and rate.state == BRAKE]
    now = time.time()
    for rate in found:
        table = rate.cause.table
        connection.execute(
            update(table)
            .where(table.c.sender_domain == rate.sender_domain)
            .values(state=NORMAL, since=now, counted_from=now)
        )
    if found:
        changes.note(connection, changes.BRAKES)
    return found


def publish(engine: Engine) -> None:
    """Write the map anew, for the next MAIL to see.

    The tables are read under the lock, so the last writer's map is the newest.

    Raises:
        InstallError: it can't be written; sendmail goes on with the one before.
    """
    with system.locked(BRAKED.with_suffix(".lock")), engine.connect() as connection:
        braked = [rate for rate in rates(connection) if rate.state == BRAKE]
        system.write(
            BRAKED,
            "".join(f"{rate.sender_domain}\t{rate.number} of {rate.total} {rate.cause.words}\n" for rate in braked),
        )


class BrakeWatch:
    """Looks at the rates of one cause when they may be higher, and now and then while a domain is not normal."""

    LEAST, MOST = 1.0, 30.0
    """Seconds between two looks, at least, and at most while a domain is not normal."""
    SHARE = 20
    """A look takes a twentieth of the time at most: over much mail, there are fewer."""

    def __init__(self, engine: Engine, cause: Cause, rules: BrakeRules) -> None:
        self._engine, self._cause, self._rules = engine, cause, rules
        self.window = rules.window
        self._asked = True
        self._changed: list[DomainRate] = []
        self._published = False
        self._active = False
        self._looked, self._pause = float("-inf"), self.LEAST

    def note(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Note what has been written."""
        self._asked = self._asked or any(event["event"] in self._cause.raised_by for event in events)

    def heed(self) -> None:
        """Look soon: another relay, or a command of one, has changed a state."""
        self._asked = True

    def wait(self, most: float) -> float:
        """Seconds until the next look, at most ``most``."""
        if not (self._asked or self._active):
            return most
        pause = self._pause if self._asked else max(self._pause, self.MOST)
        return min(most, max(0.0, self._looked + pause - time.monotonic()))

    def update(self) -> list[DomainRate]:
        """Look, if it is time; return the domains whose state has changed.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: the store can't be read or written.
            InstallError: the map can't be written.
        """
        if self.wait(1.0) > 0:
            return []
        began = time.monotonic()
        self._asked = False
        with database.writing(self._engine) as connection:
            changed = update_states(connection, self._cause, self._rules, time.time())
            self._active = bool(rates(connection, [self._cause]))
        self._looked = time.monotonic()
        self._pause = max(self.LEAST, self.SHARE * (self._looked - began))
        self._changed += changed  # told of when the map has it
        if self._changed or not self._published:
            self._published = False
            publish(self._engine)
            self._published = True
        changed, self._changed = self._changed, []
        return changed
