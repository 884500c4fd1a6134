"""The limits that relays share by the database: each has a part of them, and all parts together keep to the limit.

Each relay has a row for each limit: what it may have at most, as far as the others know. A relay takes only what no row
holds, and its row shrinks only when its shaper has said that it keeps to less. A row that was not renewed for ``LASTS``
shrinks to what its relay keeps while it is cut off, and goes after ``KEEPS``; both later by the limit's period, as what
was sent before still counts at the receiver.
"""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, Float, cast, delete, extract, func, insert, select, update

from postroad.runtime.sharing import KEEPS, LASTS, Part, Report, Use
from postroad.store import database
from postroad.store.schema import PARTS

MARGIN = 2.0
"""Seconds more than its holder has, until a part is another's."""
TURN = 30.0
"""Seconds, and twice the limit's period, for which one relay comes first where there is not enough for all."""
BUDGETS = 0x706F7376
"""The advisory lock of whoever divides limits."""


@dataclass(frozen=True)
class Demand:
    """What a relay would use of a limit, and what its next message takes."""

    wants: int
    needs: int


def divide(total: int, demands: Mapping[int, Demand], turn: int) -> dict[int, int]:
    """How much of a limit each relay should have, by the relays' numbers; all of it is given.

    Each gets one where that is possible, so that it has something when it is cut off, then what it wants as evenly as
    possible; the rest is there for what comes next. ``turn`` says who comes first where that does not come out even,
    and gets what it needs for one message.
    """
    ring = sorted(demands)
    ring = ring[turn % len(ring) :] + ring[: turn % len(ring)]
    wants = {each: min(total, max(0, demands[each].wants)) for each in ring}
    given = dict.fromkeys(ring, int(total >= len(ring)))
    first = ring[0]
    needs = min(wants[first], demands[first].needs)
    if needs > _filled(total, wants, given)[first]:
        rest = {each: want for each, want in wants.items() if each != first}
        base = dict.fromkeys(rest, int(total - needs >= len(rest)))
        return _spread(total, {first: needs} | _filled(total - needs, rest, base))
    return _spread(total, _filled(total, wants, given))


def _filled(total: int, wants: Mapping[int, int], given: Mapping[int, int]) -> dict[int, int]:
    """What is given already and, of what is left, what each wants, as evenly as possible."""
    found = dict(given)
    left = total - sum(found.values())
    open_ = sorted((each for each in found if wants[each] > found[each]), key=lambda each: wants[each])
    while open_ and left >= len(open_):
        more = min(left // len(open_), wants[open_[0]] - found[open_[0]])
        for each in open_:
            found[each] += more
        left -= more * len(open_)
        open_ = [each for each in open_ if wants[each] > found[each]]
    for each in [each for each in found if each in open_][:left]:
        found[each] += 1
    return found


def _spread(total: int, given: Mapping[int, int]) -> dict[int, int]:
    """What is given and what is left of it, evenly."""
    each, more = divmod(total - sum(given.values()), len(given))
    return {holder: amount + each + (i < more) for i, (holder, amount) in enumerate(given.items())}


@dataclass(frozen=True)
class Held:
    """What a relay has of a limit.

    Attributes:
        holder: the number of its journal.
        name: the limit's.
        amount: what it may have at most.
        keeps: what it may still have while it is cut off; 0: it has let go.
        renewed: when it was heard of last, by the server's clock: seconds since the epoch.
    """

    holder: int
    name: str
    amount: int
    keeps: int
    renewed: float


def held(connection: Connection) -> list[Held]:
    """What all relays have."""
    return [
        Held(row.holder, row.name, row.amount, row.keeps, row.renewed)
        for row in connection.execute(select(PARTS).order_by(PARTS.c.holder, PARTS.c.name))
    ]


def forget(engine: Engine, holders: Collection[int]) -> set[int]:
    """Let go of the parts of relays that are gone for good, as they would have done at their stop.

    Others have these parts after ``LASTS``, and the limit's period, from when the relay was heard of last. One that was
    heard of within ``LASTS`` keeps its own.

    Returns:
        The relays that were let go of.

    Raises:
        SQLAlchemyError: the store can't be written.
    """
    with database.writing(engine, BUDGETS) as connection:
        clock = _clock(connection)
        of = PARTS.c.holder.in_(holders)
        heard = connection.execute(select(PARTS.c.holder, func.max(PARTS.c.renewed)).where(of).group_by(PARTS.c.holder))
        gone = {holder for holder, renewed in heard if clock - renewed >= LASTS}
        connection.execute(update(PARTS).where(PARTS.c.holder.in_(gone)).values(keeps=0, wants=0, needs=0))
    return gone


class Budgets:
    """The limits as one relay takes part in them."""

    def __init__(self, engine: Engine, holder: int) -> None:
        """Take part as this ``holder``, the number of the relay's journal."""
        self._engine, self._holder = engine, holder
        self._seen: dict[tuple[str, int], tuple[int, float]] = {}
        self.silent: dict[int, dict[str, int]] = {}
        """What is held by relays that were not heard of for ``LASTS``, by their numbers and the limits' names."""

    def agree(self, report: Report) -> tuple[Part, ...]:
        """Renew this relay's rows, after what its shaper has reported; return its parts.

        Raises:
            SQLAlchemyError: the store can't be asked. What the shaper has then goes on to its end.
        """
        with database.writing(self._engine, BUDGETS) as connection:
            return self._agree(connection, report)

    def _agree(self, connection: Connection, report: Report) -> tuple[Part, ...]:
        clock = _clock(connection)
        rows = connection.execute(select(PARTS)).all()
        self._note(rows)
        self.silent = {}
        parts = []
        for use in report.uses:
            same = [row for row in rows if row.name == use.name]
            parts.append(self._part(connection, use, same, clock))
        gone = {row.name for row in rows if row.holder == self._holder} - {use.name for use in report.uses}
        self._leave(connection, gone)
        for row in rows:
            self._forget(connection, row, clock)
        return tuple(parts)

    def _part(self, connection: Connection, use: Use, rows: Sequence[Any], clock: float) -> Part:
        """Our part of one limit, written into our row."""
        demands = {self._holder: Demand(use.wants, use.needs)}
        others = 0
        for row in rows:
            if row.holder == self._holder:
                continue
            lapsed = self._unrenewed(row) >= LASTS + use.period + MARGIN
            amount = min(row.amount, row.keeps) if lapsed else row.amount
            if amount < row.amount:
                connection.execute(update(PARTS).where(*_which(row)).values(amount=amount))
            if lapsed and amount:
                self.silent.setdefault(row.holder, {})[use.name] = amount
            demands[row.holder] = Demand(0, 0) if lapsed else Demand(row.wants, row.needs)
            others += amount
        aim = divide(use.total, demands, int(clock // (TURN + 2 * use.period)))[self._holder]
        # what the shaper may have until it hears otherwise, and what it has had lately
        held = max(use.part, use.used)
        amount = held + max(0, min(aim - held, use.total - others - held))
        keeps = use.total // len(demands)
        values = {
            "amount": amount, "keeps": max(keeps, use.keeps), "wants": use.wants, "needs": use.needs,
            "period": use.period, "renewed": clock,
        }  # fmt: skip
        mine = (PARTS.c.name == use.name, PARTS.c.holder == self._holder)
        grown = update(PARTS).where(*mine).values(renewals=PARTS.c.renewals + 1, **values)
        if not connection.execute(grown).rowcount:
            connection.execute(insert(PARTS).values(name=use.name, holder=self._holder, renewals=1, **values))
        return Part(use.name, min(aim, amount), keeps)

    def _note(self, rows: Sequence[Any]) -> None:
        """Note since when each row has not been renewed, by our own clock."""
        now = time.monotonic()
        before, self._seen = self._seen, {}
        for row in rows:
            seen = before.get((row.name, row.holder))
            renewed = seen is None or seen[0] != row.renewals
            self._seen[row.name, row.holder] = (row.renewals, now) if renewed or seen is None else seen

    def _unrenewed(self, row: Any) -> float:
        """Seconds for which we have seen that a row was not renewed."""
        return time.monotonic() - self._seen[row.name, row.holder][1]

    def _forget(self, connection: Connection, row: Any, clock: float) -> None:
        """Remove the row of a relay that is gone for good.

        The server's clock says so, since ours begins anew with the process; ours, too, as a server's may be set.
        """
        old = clock - row.renewed >= (KEEPS if row.keeps else LASTS) + row.period + MARGIN
        if old and self._unrenewed(row) >= LASTS + row.period + MARGIN:
            unchanged = (*_which(row), PARTS.c.renewals == row.renewals)
            connection.execute(delete(PARTS).where(*unchanged))

    def _leave(self, connection: Connection, names: set[str]) -> None:
        """Let go of limits that the shaper has no more: others have our part after ``LASTS``."""
        mine = (PARTS.c.name.in_(names), PARTS.c.holder == self._holder, PARTS.c.keeps > 0)
        if names:
            connection.execute(update(PARTS).where(*mine).values(keeps=0, wants=0, needs=0))

    def leave(self, report: Report | None) -> None:
        """Let go of all limits. The shaper must have no parts by now.

        Args:
            report: what it has used; None: not known, up to what it had.

        Raises:
            SQLAlchemyError: the store can't be written.
        """
        with database.writing(self._engine, BUDGETS) as connection:
            for use in report.uses if report else ():
                mine = (PARTS.c.name == use.name, PARTS.c.holder == self._holder)
                connection.execute(update(PARTS).where(*mine).values(amount=use.used))
            names = connection.execute(select(PARTS.c.name).where(PARTS.c.holder == self._holder)).scalars()
            self._leave(connection, set(names))


def _which(row: Any) -> tuple[Any, ...]:
    return (PARTS.c.name == row.name, PARTS.c.holder == row.holder)


def _clock(connection: Connection) -> float:
    """Seconds since the epoch by the server's clock, which all relays see."""
    if not database.is_server(connection):
        return time.time()
    return float(connection.execute(select(cast(extract("epoch", func.clock_timestamp()), Float))).scalar_one())
