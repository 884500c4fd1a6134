"""Limits that relays share: what each may have, whoever is cut off, dies or comes back. The clock is the test's."""

import contextlib
import random
import tempfile
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, select
from sqlalchemy.exc import OperationalError

from postroad.runtime.sharing import KEEPS, LASTS, Part, Parts, Report, Use
from postroad.shaper.pace import DAY, Pace, RouteLimits
from postroad.shaper.parts import RouteParts
from postroad.store import budgets, database
from postroad.store.budgets import Budgets, Demand, divide
from postroad.store.schema import PARTS

NOON = 20_000 * DAY + DAY / 2
GROUP = "route-1"


class World:
    """A database that may be away, and a clock."""

    def __init__(self, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        self.engine, self.now, self.away, self.unsure = engine, 1000.0, False, False
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(budgets, "_clock", lambda _: self.now + NOON)
        writing = database.writing

        @contextmanager
        def reached(*given: Any) -> Iterator[Any]:
            if self.away:
                raise OperationalError("SELECT", {}, Exception("connection refused"))
            with writing(*given) as connection:
                yield connection
            if self.unsure:
                raise OperationalError("COMMIT", {}, Exception("connection lost"))

        monkeypatch.setattr(database, "writing", reached)

    def claimed(self, name: str) -> dict[int, int]:
        with self.engine.connect() as connection:
            return {row.holder: row.amount for row in connection.execute(select(PARTS).where(PARTS.c.name == name))}


class Relay:
    """A shaper's counts and parts, and the recorder's side of it."""

    def __init__(self, world: World, holder: int, **limits: Any) -> None:
        self.world, self.holder = world, holder
        self.limits = RouteLimits(**limits)
        self.waiting, self.needs = 0, 1
        self.pace = self._pace()
        self.budgets = Budgets(world.engine, holder)
        self.late: Parts | None = None

    def _pace(self) -> Pace:
        made = Pace(self.limits, lambda: self.world.now, lambda: self.world.now + NOON)
        self.parts = RouteParts(Path("none"), None, lambda: self.world.now)  # type: ignore[arg-type]
        self.parts.report = self._uses
        made.part = self.parts.of(GROUP)
        return made

    def _uses(self) -> list[Use]:
        return [replace(each, name=f"{GROUP} {each.name}") for each in self.pace.uses(self.waiting, self.needs)]

    def part(self, name: str = "connections") -> int:
        return self.pace.part(name, 1_000_000)

    def report(self) -> Report:
        """What the shaper answers to a question."""
        self.parts.heed(Parts(self.world.now, None))
        return Report(tuple(self.parts._uses()))

    def round(self, heard: bool = True) -> None:
        """A round; the shaper may not hear of its end, or only later."""
        began = self.world.now
        report = self.report()
        with contextlib.suppress(OperationalError):
            told = Parts(began, self.budgets.agree(report))
            if heard:
                self.parts.heed(told)
            else:
                self.late = told

    def restart(self) -> None:
        """Be a new shaper process, with the counts on the volume."""
        counts = self.pace.dump()
        self.pace = self._pace()
        self.pace.load(counts)
        self.late = None

    def begin(self, tries: int = 1) -> bool:
        if self.pace.connections > 0 and self.pace.allows(tries, counted=False):
            self.pace.begin(tries, tries)
            return True
        return False


@pytest.fixture
def world(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(engine, monkeypatch)


def relays(world: World, number: int = 3, **limits: Any) -> list[Relay]:
    return [Relay(world, 2 + i, **limits) for i in range(number)]


def rounds(world: World, *of: Relay, times: int = 4, apart: float = 2.0) -> None:
    for _ in range(times):
        for each in of:
            each.round()
        world.now += apart


DEMANDS = st.dictionaries(
    st.integers(2, 9), st.builds(Demand, st.integers(0, 40), st.integers(0, 20)), min_size=1, max_size=6
)


@given(st.integers(0, 30), DEMANDS, st.integers(0, 20))
def test_all_is_given_and_no_more(total: int, demands: dict[int, Demand], turn: int) -> None:
    found = divide(total, demands, turn)
    assert sum(found.values()) == total
    assert found.keys() == demands.keys()
    assert min(found.values()) >= 0


@pytest.mark.parametrize(
    ("total", "wants", "given"),
    [
        (6, [9, 9, 9], [2, 2, 2]),
        (6, [9, 0, 0], [4, 1, 1]),  # each has one for the time when it is cut off
        (6, [0, 0, 0], [2, 2, 2]),
        (10, [9, 2, 0], [7, 2, 1]),
        (10, [1, 1, 1], [4, 3, 3]),
        (1, [0, 9, 0], [0, 1, 0]),
        (2, [0, 9, 0], [0, 2, 0]),
        (0, [9, 9, 9], [0, 0, 0]),
    ],
)
def test_who_wants_has_it_and_the_rest_is_there_for_what_comes(total: int, wants: list[int], given: list[int]) -> None:
    assert list(divide(total, {i: Demand(each, 1) for i, each in enumerate(wants)}, 0).values()) == given


def test_each_has_its_turn_where_there_is_one_for_all() -> None:
    demands = {holder: Demand(5, 1) for holder in (2, 3, 4)}
    assert [[holder for holder, n in divide(1, demands, turn).items() if n] for turn in range(4)] == [
        [2],
        [3],
        [4],
        [2],
    ]


def test_a_message_that_needs_more_than_an_even_part_has_its_turn() -> None:
    demands = {2: Demand(9, 1), 3: Demand(9, 5), 4: Demand(9, 1)}
    assert divide(6, demands, 0) == {2: 2, 3: 2, 4: 2}
    assert divide(6, demands, 1)[3] == 5
    assert divide(6, {2: Demand(9, 1), 3: Demand(9, 20)}, 1) == {2: 0, 3: 6}


def test_parts_go_to_where_mail_waits(world: World) -> None:
    first, second, third = relays(world, concurrency=6)
    rounds(world, first)
    assert first.part() == 6
    rounds(world, first, second, third)
    assert [each.part() for each in (first, second, third)] == [2, 2, 2]
    second.waiting = 50
    rounds(world, first, second, third)
    assert [each.part() for each in (first, second, third)] == [1, 4, 1]
    assert all(second.begin() for _ in range(4))
    assert not second.begin()
    first.waiting = 50
    rounds(world, first, second, third)
    # second has four connections open: they are its own until they end
    assert (first.part(), world.claimed(f"{GROUP} connections")[3]) == (1, 4)
    for _ in range(4):
        second.pace.end(1)
    rounds(world, first, second, third)
    assert first.part() + second.part() == 5
    assert abs(first.part() - second.part()) == 1


def test_what_was_sent_counts_until_its_period_is_over(world: World) -> None:
    first, second = relays(world, 2, rate=(6, 60))
    first.waiting = 50
    rounds(world, first)
    assert sum(first.begin() for _ in range(9)) == 6
    for _ in range(6):
        first.pace.end(1)
    ended = world.now
    second.waiting = 50
    rounds(world, first, second)
    assert not second.begin()
    while world.now < ended + 59:
        rounds(world, first, second, times=1)
        assert not second.begin()
    rounds(world, first, second)
    assert sum(first.begin() for _ in range(9)) + sum(second.begin() for _ in range(9)) == 6


def test_a_warm_up_s_day_is_used_once_also_when_a_relay_is_gone(world: World) -> None:
    first, second = relays(world, 2, since=0, daily=(5,) * 100_000)
    first.waiting = 3
    rounds(world, first, second)
    assert sum(first.begin() for _ in range(3)) == 3
    rounds(world, first, second)
    second.waiting = 50
    rounds(world, second, times=100, apart=LASTS)
    assert sum(second.begin() for _ in range(9)) <= 2
    while (world.now + NOON) // DAY < 20_001:
        rounds(world, second, times=1, apart=600)
    rounds(world, second)
    assert sum(second.begin() for _ in range(9)) == 5


def test_a_relay_that_dies_leaves_the_others_what_it_does_not_keep_and_later_all(world: World) -> None:
    first, second = relays(world, 2, concurrency=6)
    first.waiting = second.waiting = 50
    rounds(world, first)
    assert first.part() == 6
    rounds(world, second)
    assert second.part() == 0  # the first has it all, and is not heard of any more
    rounds(world, second, times=int(LASTS), apart=1.0)
    assert second.part() == 0
    rounds(world, second, times=10, apart=1.0)
    # it was alone when it was heard of last, so it keeps all: it may only be cut off
    assert (first.part(), second.part()) == (6, 0)
    rounds(world, second, times=int(KEEPS / 60) + 2, apart=60.0)
    assert (first.part(), second.part()) == (0, 6)


def test_of_several_a_dead_one_s_surplus_is_another_s_after_a_minute(world: World) -> None:
    first, second, third = relays(world, concurrency=6)
    first.waiting = 50
    rounds(world, first, second, third)
    assert first.part() == 4
    second.waiting = 50
    rounds(world, second, third, times=int(LASTS / 2))
    assert second.part() == 1
    rounds(world, second, third, times=5)
    assert (first.part(), second.part()) == (2, 3)


def test_a_dead_relay_that_is_forgotten_leaves_all_it_has(world: World) -> None:
    first, second = relays(world, 2, concurrency=6)
    first.waiting = second.waiting = 50
    rounds(world, first)
    rounds(world, second)
    assert second.part() == 0
    assert budgets.forget(world.engine, [first.holder, 99]) == set(), "it was heard of a moment ago"
    rounds(world, second, times=40)
    assert second.part() == 0, "it keeps all for an hour, in case it is only cut off"
    assert budgets.forget(world.engine, [first.holder, second.holder]) == {first.holder}
    rounds(world, second, times=2)
    assert world.claimed(f"{GROUP} connections") == {second.holder: 6}
    assert second.part() == 6
    # it was only cut off: it has no more than the others leave
    first.parts.heed(Parts(world.now, ()))
    rounds(world, first, second)
    assert first.part() + second.part() == 6


def test_what_a_relay_sent_before_it_died_counts_though_it_is_forgotten(world: World) -> None:
    first, second = relays(world, 2, rate=(10, 600))
    first.waiting = second.waiting = 50
    rounds(world, first)
    assert [first.begin() for _ in range(11)].count(True) == 10
    rounds(world, first, second)
    died = world.now
    rounds(world, second, times=40)
    assert budgets.forget(world.engine, [first.holder]) == {first.holder}
    while not second.part("rate 600") and world.now < died + 2000:
        rounds(world, second, times=1, apart=5.0)
    assert died + 600 <= world.now <= died + 600 + LASTS + 20


def test_a_single_connection_s_holder_dies(world: World) -> None:
    first, second = relays(world, 2, concurrency=1)
    first.waiting = second.waiting = 50
    rounds(world, first, second)
    dead, other = (first, second) if first.part() else (second, first)
    rounds(world, other, times=26)
    assert (dead.part(), other.part()) == (1, 0)
    rounds(world, other, times=8)
    assert (dead.part(), other.part()) == (0, 1)


def test_while_the_database_is_away_all_go_on_with_an_even_part(world: World) -> None:
    first, second, third = both = relays(world, concurrency=6)
    second.waiting = 50
    rounds(world, *both)
    world.away = True
    rounds(world, *both, times=20)
    assert [each.part() for each in both] == [1, 4, 1]
    rounds(world, *both, times=20)
    assert [each.part() for each in both] == [1, 2, 1]
    assert first.parts.cut_off
    said = second.parts.complaint or ""
    assert "this relay keeps to its part, for up to 60 minutes: 2 of route-1 connections" in said
    world.away = False
    rounds(world, *both)
    assert [each.part() for each in both] == [1, 4, 1]
    assert second.parts.complaint is None
    world.away = True
    world.now += KEEPS
    assert [each.part() for each in both] == [0, 0, 0]
    assert (third.parts.complaint or "").endswith(
        "mail of these routes waits until the database and the recorder are back"
    )


def test_a_shaper_that_begins_anew_has_nothing_until_it_is_told(world: World) -> None:
    first, second = relays(world, 2, rate=(6, 60))
    first.waiting = 50
    rounds(world, first, second)
    assert sum(first.begin() for _ in range(9)) == 5
    first.restart()
    assert not first.begin()
    assert first.parts.complaint is None  # it has only just begun
    second.waiting = 50
    rounds(world, first, second)
    assert not first.begin()
    assert sum(second.begin() for _ in range(9)) == 1


def test_what_is_heard_late_counts_no_more(world: World) -> None:
    first, second = relays(world, 2, concurrency=6)
    first.waiting = 50
    first.round(heard=False)
    second.round()
    rounds(world, first, second)
    assert first.late is not None
    first.parts.heed(first.late)
    assert first.part() == 5


def test_a_relay_that_ends_lets_go(world: World) -> None:
    first, second, third = relays(world, concurrency=6)
    first.waiting = 50
    rounds(world, first, second, third)
    assert first.begin()
    first.parts.heed(Parts(world.now, ()))
    assert not first.begin()
    first.budgets.leave(first.report())
    third.budgets.leave(None)
    second.waiting = 50
    rounds(world, second)
    assert second.part() == 4  # one of the first's may still be open, and one the third's
    rounds(world, second, times=40)
    assert world.claimed(f"{GROUP} connections") == {3: 6}
    assert second.part() == 6


def test_a_route_that_is_no_more_is_the_others(world: World) -> None:
    first, second = relays(world, 2, concurrency=6)
    rounds(world, first, second)
    first.limits = first.pace.limits = RouteLimits(rate=(5, 60))
    first.parts.keep(())
    second.waiting = 50
    rounds(world, first, second, times=40)
    assert world.claimed(f"{GROUP} connections") == {3: 6}
    assert second.part() == 6


def test_a_server_that_was_slow_lets_nobody_have_what_another_still_has(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = all_ = relays(world, concurrency=6)
    first.waiting = second.waiting = 50
    rounds(world, first, third)
    assert first.part() == 5
    second.round()
    agree = Budgets._agree

    def slow(self: Budgets, *given: Any) -> Any:
        world.now += 2 * LASTS
        return agree(self, *given)

    with monkeypatch.context() as frozen:
        frozen.setattr(Budgets, "_agree", slow)
        second.round()
    for _ in range(90):
        second.round()
        assert sum(each.part() for each in all_) <= 6
        world.now += 1


def test_what_a_relay_that_is_cut_off_sent_at_last_counts_for_its_period(world: World) -> None:
    first, second, third = relays(world, rate=(6, 60))
    first.waiting = 50
    rounds(world, first, second, third)
    second.waiting = 50
    heard = world.now - 2
    while world.now < heard + LASTS - 2:
        rounds(world, second, third, times=1)
    assert sum(first.begin() for _ in range(9)) == 4
    sent = world.now
    while world.now < sent + 60:
        rounds(world, second, third, times=1)
        assert second.part("rate 60") <= 1
    rounds(world, second, third, times=5)
    assert second.part("rate 60") == 3


def test_what_a_shaper_keeps_counts_until_it_has_heard_of_less(world: World) -> None:
    first, second = relays(world, 2, concurrency=6)
    first.waiting = second.waiting = 50
    rounds(world, first)
    second.round()
    first.round(heard=False)
    for _ in range(100):
        second.round()
        assert first.part() + second.part() <= 6
        world.now += 2


def test_a_server_s_clock_that_is_set_forward_forgets_nobody(world: World) -> None:
    first, second = relays(world, 2, concurrency=6)
    rounds(world, first, second)
    with pytest.MonkeyPatch.context() as set_:
        set_.setattr(budgets, "_clock", lambda _: world.now + NOON + 2 * KEEPS)
        second.round()
    assert len(world.claimed(f"{GROUP} connections")) == 2


class Chance:
    """Three relays and a receiver, for a row of deeds."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.relays = relays(world, rate=(7, 60), concurrency=4, since=0, daily=(60,) * 100_000)
        self.cut: set[Relay] = set()
        self.open: list[tuple[Relay, int]] = []
        self.arrivals: list[float] = []

    def act(self, what: str, relay: Relay, tries: int) -> None:
        self.world.away = relay in self.cut
        relay.waiting, relay.needs = 20, tries
        getattr(self, what)(relay)

    def round(self, relay: Relay) -> None:
        relay.round()

    def lose(self, relay: Relay) -> None:
        """The shaper does not hear of its parts, or later."""
        relay.round(heard=False)

    def late(self, relay: Relay) -> None:
        if relay.late:
            relay.parts.heed(relay.late)

    def unsure(self, relay: Relay) -> None:
        """What was written is in the database, and its answer is lost."""
        self.world.unsure = True
        relay.round()
        self.world.unsure = False

    def cut_off(self, relay: Relay) -> None:
        self.cut.add(relay)

    def mend(self, relay: Relay) -> None:
        self.cut.discard(relay)

    def restart(self, relay: Relay) -> None:
        """Shaper and recorder; the connections of before have ended."""
        for each in [each for each in self.open if each[0] is relay]:
            self.open.remove(each)
            relay.pace.end(each[1])
        relay.restart()
        relay.budgets = Budgets(self.world.engine, relay.holder)

    def wait(self, _: Relay) -> None:
        """No connection lasts so long."""
        for _second in range(0, 32, 2):
            self.world.now += 2.0
            for each in self.relays:
                self.world.away = each in self.cut
                each.round()
            while self.open:
                self.end(self.open[0][0])

    def send(self, relay: Relay) -> None:
        while relay.begin(relay.needs):
            self.open.append((relay, relay.needs))
            self.arrivals += [self.world.now] * relay.needs
        assert len(self.open) <= 4

    def end(self, _: Relay) -> None:
        if self.open:
            relay, tries = self.open.pop(0)
            relay.pace.end(tries)


DEEDS = ["round"] * 6 + ["send"] * 6 + ["end"] * 4 + ["wait"] * 2
FAULTS = ["lose", "late", "unsure", "cut_off", "mend", "restart"]


@given(st.integers(0, 1 << 32), st.floats(0.02, 0.3))
@settings(max_examples=8, deadline=None)
def test_the_receiver_never_sees_more_than_the_limits_whatever_happens(seed: int, faults: float) -> None:
    dice = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as monkeypatch:
        engine = database.connect(Path(folder) / "events.db")
        PARTS.create(engine)
        chance = Chance(World(engine, monkeypatch))
        for _ in range(120):
            chance.world.now += dice.uniform(0, 0.1)
            what = dice.choice(FAULTS if dice.random() < faults else DEEDS)
            chance.act(what, dice.choice(chance.relays), dice.randint(1, 3))
        engine.dispose()
    arrivals = sorted(chance.arrivals)
    for number, arrival in enumerate(arrivals):
        assert bisect_left(arrivals, arrival + 60) - number <= 7
    days = Counter(int((NOON + arrival) // DAY) for arrival in arrivals)
    assert max(days.values(), default=0) <= 60


def test_the_server_s_clock_is_what_a_row_s_age_goes_by(engine: Engine) -> None:
    before = time.time()
    use = Use(f"{GROUP} connections", total=6, part=0, keeps=0, used=0, wants=0, needs=0, period=0.0)
    assert Budgets(engine, 2).agree(Report((use,))) == (Part(use.name, 6, 6),)
    with engine.connect() as connection:
        assert before - 5 <= connection.execute(select(PARTS.c.renewed)).scalar_one() <= time.time() + 5
