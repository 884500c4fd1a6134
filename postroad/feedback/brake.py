"""How much of each sender domain's mail bounces, and the domains that nothing is accepted from because of it.

Counted are recipients: hard bounces, in all that was delivered or bounced. What was refused at RCPT never was a
bounce, and mail of the null sender has no sender domain.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, and_, case, delete, func, insert, select, update

from postroad import system
from postroad.runtime.paths import BRAKED
from postroad.runtime.recording import BounceRates
from postroad.store import changes, database
from postroad.store.schema import BRAKES, EVENTS, IS_LATE

NORMAL, WARNING, BRAKE, RELEASED = "normal", "warning", "braked", "released"
RANK = (NORMAL, WARNING, BRAKE)
HOLD = 0.8
"""A state ends when the rate is below this part of the one at which it began, so that it does not come and go."""


class DomainRate(NamedTuple):
    """A domain's rate: ``bounced`` of ``ended`` recipients bounced hard; the ``state`` is one of ``RANK``.

    ``since`` is when the state began, in seconds since the epoch.
    """

    sender_domain: str
    state: str
    since: float
    bounced: int
    ended: int


def update_states(connection: Connection, settings: BounceRates, now: float) -> list[DomainRate]:
    """Count anew, and keep what has changed; return the domains whose state has."""
    begin = now - settings.window
    known = {row.sender_domain: row for row in connection.execute(select(BRAKES))}
    found = _counted(connection, begin)
    changed = []
    for domain in found.keys() | known.keys():
        row = known.get(domain)
        bounced, ended = found.get(domain, (0, 0))
        forgiven = row.counted_from if row and (row.counted_from or 0) > begin else None
        if forgiven:
            bounced, ended = _counted(connection, forgiven, domain).get(domain, (0, 0))
        before = row.state if row else NORMAL
        state = _state(before, bounced, ended, settings)
        which = BRAKES.c.sender_domain == domain
        if state != before:
            new = DomainRate(domain, state, now, bounced, ended)
            # as it was read: a person may have released it meanwhile
            unchanged = and_(which, BRAKES.c.state == before, BRAKES.c.since == row.since) if row else which
            if not connection.execute(update(BRAKES).where(unchanged).values(new._asdict())).rowcount:
                if row:
                    continue
                connection.execute(insert(BRAKES).values(new._asdict()))
            changed.append(new)
        elif row and state == NORMAL and not forgiven:
            connection.execute(delete(BRAKES).where(which, BRAKES.c.since == row.since))
    if changed:
        changes.note(connection, changes.BRAKES)
    return changed


def _counted(connection: Connection, begin: float, domain: str | None = None) -> dict[str, tuple[int, int]]:
    """By sender domain, how many recipients bounced hard and how many came to an end, from ``begin`` on."""
    hard = case((and_(EVENTS.c.kind == "bounced", EVENTS.c.hard.is_(True)), 1), else_=0)
    ended = case((IS_LATE, 0), else_=1)  # it was delivered before
    query = (
        select(EVENTS.c.sender_domain, func.sum(hard), func.sum(ended))
        .where(EVENTS.c.time >= begin, EVENTS.c.kind.in_(("delivered", "bounced")), EVENTS.c.sender_domain.is_not(None))
        .group_by(EVENTS.c.sender_domain)
    )
    if domain is not None:
        query = query.where(EVENTS.c.sender_domain == domain)
    # the delivery of what bounced late may have been before that time
    return {
        name: (int(bounced), max(int(bounced), int(ended)))
        for name, bounced, ended in connection.execute(query)
        if _is_domain(name)
    }


def _is_domain(name: str) -> bool:
    """Whether it can stand in a line of the map. A sender without a domain has his name there."""
    return "." in name and name.isascii() and name.isprintable() and " " not in name


def _state(before: str, bounced: int, ended: int, settings: BounceRates) -> str:
    for state, limit in ((BRAKE, settings.brake), (WARNING, settings.warn)):
        held = RANK.index(before) >= RANK.index(state)
        enough = bounced > 0 and (held or ended >= settings.minimum)
        if limit and enough and bounced / ended >= limit * (HOLD if held else 1) - 1e-9:
            return state
    return NORMAL


def rates(connection: Connection) -> list[DomainRate]:
    """The domains that are not normal, those longest so first."""
    columns = [BRAKES.c[name] for name in DomainRate._fields]
    rows = connection.execute(select(*columns).where(BRAKES.c.state != NORMAL).order_by(BRAKES.c.since))
    return [DomainRate(*row) for row in rows]


def release(connection: Connection, domains: Sequence[str]) -> list[DomainRate]:
    """Accept from these domains again, and count anew from now on; return those that were braked, as they were."""
    lower = {domain.lower() for domain in domains}
    found = [rate for rate in rates(connection) if rate.sender_domain in lower and rate.state == BRAKE]
    now = time.time()
    names = [rate.sender_domain for rate in found]
    connection.execute(
        update(BRAKES).where(BRAKES.c.sender_domain.in_(names)).values(state=NORMAL, since=now, counted_from=now)
    )
    if found:
        changes.note(connection, changes.BRAKES)
    return found


def publish(engine: Engine) -> None:
    """Write the map anew, for the next MAIL to see.

    The table is read under the lock, so the last writer's map is the newest.

    Raises:
        InstallError: it can't be written; sendmail goes on with the one before.
    """
    with system.locked(BRAKED.with_suffix(".lock")), engine.connect() as connection:
        braked = [rate for rate in rates(connection) if rate.state == BRAKE]
        system.write(BRAKED, "".join(f"{rate.sender_domain}\t{rate.bounced} of {rate.ended}\n" for rate in braked))


class BounceWatch:
    """Looks when something came to an end, and now and then while a domain is not normal; but not all the time."""

    LEAST, MOST = 1.0, 30.0
    """Seconds between two looks, at least, and at most while a domain is not normal."""
    SHARE = 20
    """A look takes a twentieth of the time at most: over much mail, there are fewer."""

    def __init__(self, engine: Engine, settings: BounceRates) -> None:
        self._engine, self._settings = engine, settings
        self._asked = True
        self._changed: list[DomainRate] = []
        self._published = False
        self._active = False
        self._looked, self._pause = float("-inf"), self.LEAST

    def note(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Note what has been written."""
        self._asked = self._asked or any(event["event"] in {"delivered", "bounced"} for event in events)

    def heed(self) -> None:
        """Bring the map up to date and look soon: another relay, or a command of one, has changed a state.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: the store can't be read.
            InstallError: the map can't be written.
        """
        self._asked = True
        publish(self._engine)

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
            changed = update_states(connection, self._settings, time.time())
            self._active = bool(rates(connection))
        self._looked = time.monotonic()
        self._pause = max(self.LEAST, self.SHARE * (self._looked - began))
        self._changed += changed  # told of when the map has it
        if self._changed or not self._published:
            self._published = False
            publish(self._engine)
            self._published = True
        changed, self._changed = self._changed, []
        return changed
