"""What a route's limits let through, by a clock of the test's own."""

import json
from bisect import bisect_left

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroad.shaper.pace import DAY, FINENESS, MOST_AT_ONCE, Pace, RouteLimits

NOON = 20_000 * DAY + DAY / 2


class Clock:
    """An even clock and a wall clock that show the same, ``apart`` from each other."""

    def __init__(self, apart: float = NOON) -> None:
        self.now, self.apart = 1000.0, apart

    def even(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now + self.apart

    def pace(self, **limits: object) -> Pace:
        return Pace(RouteLimits(**limits), self.even, self.wall)  # type: ignore[arg-type]


@given(
    st.lists(st.tuples(st.floats(0, 20), st.floats(0, 30), st.integers(1, 3)), max_size=60),
    st.integers(3, 9),
    st.randoms(use_true_random=False),
)
def test_no_minute_at_the_receiver_has_more_than_the_rate(
    steps: list[tuple[float, float, int]], most: int, random: object
) -> None:
    clock = Clock()
    pace = clock.pace(rate=(most, 60))
    arrivals: list[float] = []
    running: list[tuple[float, int]] = []
    for wait, length, tries in steps:
        then = clock.now + wait
        for end, number in sorted(running):
            if end <= then:
                clock.now = end
                pace.end(number)
                running.remove((end, number))
        clock.now = then
        if pace.allows(tries, counted=False):
            pace.begin(tries, fresh=tries)
            running.append((then + length, tries))
            # somewhere within its try, but within the same part of a period as its end counts as its end
            arrivals += [random.uniform(then, then + length) for _ in range(tries)]  # type: ignore[attr-defined]
    arrivals.sort()
    for number, arrival in enumerate(arrivals):
        assert bisect_left(arrivals, arrival + 60) - number <= most


def test_what_is_let_through_is_no_less_than_the_rate() -> None:
    clock = Clock()
    pace = clock.pace(rate=(100, 60))
    passed = 0
    for _ in range(6000):
        clock.now += 0.1
        while pace.allows(1, counted=False):
            pace.begin(1, 1)
            pace.end(1)
            passed += 1
    assert passed >= 10 * 100 * (1 - 2 / FINENESS)
    assert len(pace._recent) <= FINENESS + 2


def test_connections() -> None:
    clock = Clock()
    pace = clock.pace(concurrency=2)
    assert pace.connections == 2
    pace.begin(5, 5)
    pace.begin(1, 1)
    assert pace.connections == 0
    pace.end(5)
    assert pace.connections == 1
    assert clock.pace().connections == MOST_AT_ONCE
    assert clock.pace().allows(10**9, counted=False)


def test_each_day_of_a_warm_up_has_its_number() -> None:
    clock = Clock()
    pace = clock.pace(since=20_000, daily=(2, 3))
    passed = []
    for _ in range(3):
        count = 0
        while count < 10 and pace.open_today and pace.allows(1, counted=False):
            pace.begin(1, 1)
            pace.end(1)
            count += 1
        passed.append(count)
        clock.now += DAY
    assert passed == [2, 3, 10]


def test_before_a_warm_up_begins_nothing_goes() -> None:
    pace = Clock().pace(since=20_001, daily=(2,))
    assert (pace.open_today, pace.allows(1, counted=False)) == (False, False)


def test_a_message_counts_once_a_day() -> None:
    pace = Clock().pace(since=20_000, daily=(1,))
    pace.begin(1, fresh=1)
    pace.end(1)
    assert not pace.allows(1, counted=False)
    assert pace.allows(1, counted=True)


@pytest.mark.parametrize("limits", [{"rate": (3, 60)}, {"since": 20_000, "daily": (3,)}])
def test_a_message_of_more_tries_than_all_there_are_goes_alone(limits: dict[str, object]) -> None:
    pace = Clock().pace(**limits)
    assert pace.allows(5, counted=False)
    assert not pace.allows(5, counted=False, besides=1)
    pace.begin(5, 5)
    pace.end(5)
    assert not pace.allows(1, counted=False)


def test_several_of_one_run_count_together() -> None:
    pace = Clock().pace(rate=(3, 60))
    assert [pace.allows(1, counted=False, besides=number) for number in range(4)] == [True, True, True, False]


def test_a_restart_gives_no_more() -> None:
    clock = Clock()
    pace = clock.pace(rate=(3, 60), since=20_000, daily=(3,))
    pace.begin(1, 1)
    pace.end(1)
    clock.now += 30
    pace.begin(1, 1)  # and is cut off
    kept = json.loads(json.dumps(pace.dump()))
    later = Clock(apart=NOON + 1000)  # another boot: the even clock began anew
    later.now = clock.now - 1000 + 10
    again = later.pace(rate=(3, 60), since=20_000, daily=(3,))
    again.load(kept)
    assert again.allows(1, counted=False)
    assert not again.allows(2, counted=False)
    later.now += 25  # the first has run out, the one that was cut off has not
    assert again.allows(2, counted=True)
    assert not again.allows(3, counted=True)
    assert not again.allows(2, counted=False)


def test_a_clock_that_was_set_back_opens_nothing_and_holds_nothing_for_long() -> None:
    clock = Clock()
    pace = clock.pace(rate=(1, 60))
    pace.begin(1, 1)
    pace.end(1)
    back = Clock(apart=NOON - 3600)
    again = back.pace(rate=(1, 60))
    again.load(pace.dump())
    assert not again.allows(1, counted=False)
    back.now += 61
    assert again.allows(1, counted=False)


def test_what_is_not_known_counts_as_used_up() -> None:
    clock = Clock()
    pace = clock.pace(rate=(5, 60), since=20_000, daily=(3, 3))
    pace.fill()
    assert not pace.allows(1, counted=True)
    clock.now += 61
    assert pace.allows(1, counted=True)
    assert not pace.allows(1, counted=False)
    clock.now += DAY
    assert pace.allows(1, counted=False)


def test_a_run_that_never_began_gives_back_what_it_took_and_no_more() -> None:
    pace = Clock().pace(daily=(5,), since=20_000)
    pace.begin(3, fresh=3)
    pace.undo(3, fresh=3)
    assert pace.dump()["sent"] == 0
    pace.begin(2, fresh=2)
    pace.end(2)
    pace.begin(1, fresh=1)
    pace.undo(1, fresh=1)
    assert pace.dump()["sent"] == 2
    pace.undo(3, fresh=3)
    assert pace.dump()["sent"] == 0, "never less than nothing"


def test_a_period_is_over_when_it_has_passed_and_not_before() -> None:
    clock = Clock()
    pace = clock.pace(rate=(2, 60))
    pace.begin(2, fresh=2)
    pace.end(2)
    clock.now += 59.999
    assert not pace.allows(1, counted=False)
    clock.now += 0.001
    assert pace.allows(2, counted=False)


def test_what_ends_within_a_part_of_a_period_is_kept_as_one_and_what_ends_later_is_not() -> None:
    clock = Clock()
    pace = clock.pace(rate=(1000, 60))
    for wait in (0.0, 0.03, 0.0299, 0.001, 30.0):
        clock.now += wait
        pace.begin(1, fresh=1)
        pace.end(1)
    # a part is 0.06 s from its first end on: the third is within it, the fourth is not
    assert [count for _, count in pace.dump()["recent"]] == [3, 1, 1]


def test_without_a_rate_nothing_is_kept_of_what_has_ended() -> None:
    pace = Clock().pace(daily=(5,), since=20_000)
    pace.begin(1, fresh=1)
    pace.end(1)
    assert pace.dump()["recent"] == []


def test_a_cap_of_one_lets_a_message_of_more_transactions_through_alone() -> None:
    pace = Clock().pace(daily=(1,), since=20_000)
    assert pace.allows(3, counted=False)
    pace.begin(1, fresh=1)
    assert not pace.allows(3, counted=False)


def test_counts_that_are_not_known_are_the_whole_rate_and_the_whole_day() -> None:
    clock = Clock()
    pace = clock.pace(rate=(2, 60), daily=(7,), since=20_000)
    pace.fill()
    kept = pace.dump()
    assert (kept["sent"], [count for _, count in kept["recent"]]) == (7, [2])
    unlimited = clock.pace(rate=(2, 60))
    unlimited.fill()
    assert unlimited.dump()["sent"] == 0


def test_the_day_is_a_whole_number() -> None:
    assert Clock().pace().dump()["day"] == 20_000
