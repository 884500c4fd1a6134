"""One receiver that asks for less: the state machine, with a clock of the test's."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroad.front import slowing
from postroad.front.profiles import Profile
from postroad.front.slowing import (
    AGAIN,
    CUT,
    FINAL,
    FORGET,
    LONGEST_PAUSE,
    MOST_CONNECTIONS,
    ROUND,
    ROUNDS,
    SHORT_PAUSE,
    Receiver,
    Refusal,
    Signal,
    Standing,
)
from postroad.runtime.slowed import SlowedReceiver

YAHOO = Profile("yahoo", ("yahoodns.net",), messages=20, connections=8, pause=1800)


def receiver(profile: Profile = Profile("rcpt.example")) -> Receiver:  # noqa: B008 - frozen
    return Receiver(profile)


def refusal(signal: Signal = Signal.RATE, **given: object) -> Refusal:
    reason = "blocked" if signal is Signal.BLOCK else "speeding"
    return Refusal(signal, reason, "450 4.7.1 no", **given)  # type: ignore[arg-type]


def takes(found: Receiver, number: int, begin: float, seconds: float) -> float:
    """So many messages, evenly; when the last was taken."""
    for i in range(number):
        found.took(1, begin + seconds * i / number)
    return begin + seconds


def test_nothing_is_held_back_before_it_says_something() -> None:
    found = receiver()
    takes(found, 500, 0, 5)
    assert (found.standing, found.room(20, 5)) == (Standing.FREE, 20)


def test_three_quarters_of_the_rate_at_which_it_took_mail() -> None:
    found = receiver()
    now = takes(found, 600, 0, 60)
    (change,) = found.refused(refusal(), now)
    assert (change.kind, change.receiver, change.reason, change.reply) == (
        "slowed",
        "rcpt.example",
        "speeding",
        "450 4.7.1 no",
    )
    assert found.rate == pytest.approx(10 * CUT, rel=0.05)
    assert change.rate == found.rate


def test_a_burst_counts_as_no_more_than_it_was() -> None:
    """300 messages in three seconds say nothing of the hundred a second that they were."""
    found = receiver()
    now = takes(found, 300, 0, 3)
    found.refused(refusal(), now)
    assert found.rate <= 300 / slowing.LEAST_WINDOW


def test_what_was_under_way_cuts_once() -> None:
    found = receiver()
    now = takes(found, 600, 0, 60)
    found.refused(refusal(), now)
    rate = found.rate
    for i in range(50):
        assert found.refused(refusal(), now + i / 50) == []
    assert found.refused(refusal(age=30.0), now + ROUND + 1) == []
    assert found.rate == rate
    found.refused(refusal(), now + ROUND + 2)
    assert found.rate < rate


def test_it_gets_a_little_more_every_ten_seconds_and_only_if_it_is_wanted() -> None:
    found = receiver()
    now = takes(found, 600, 0, 60)
    found.refused(refusal(), now)
    rate = found.rate
    found.tick(now + 30)
    assert found.rate == rate
    rates = []
    for i in range(1, 40):
        found.room(1000, now + 30 + i * 10 - 1)
        found.tick(now + 30 + i * 10)
        rates.append(found.rate)
    steps = [after - before for before, after in pairwise(rates)]
    assert all(0 < step <= rate / CUT * slowing.FAST + 1e-9 for step in steps)
    assert min(steps) < max(steps) / 2  # slowly, near what it refused


def test_where_nothing_is_known_the_rate_is_found_by_doubling() -> None:
    found = receiver()
    found.refused(refusal(), 0)
    assert found.rate == slowing.FIRST
    found.room(100, 9)
    found.tick(10)
    assert found.rate == 2 * slowing.FIRST


def test_so_many_messages_as_the_rate_allows() -> None:
    found = receiver()
    now = takes(found, 600, 0, 60)
    found.refused(refusal(), now)
    sent, end = 0, now + 100
    while now < end:
        number = found.room(20, now)
        if number:
            found.began(number, now)
            found.ended()
            sent += number
        now += 0.2
    assert sent == pytest.approx(100 * found.rate, rel=0.15)


def test_as_many_connections_as_it_took() -> None:
    found = receiver()
    found.refused(refusal(Signal.CONNECTIONS, connections=10), 100)
    assert found.connections == 9
    for i in range(6):
        found.refused(refusal(Signal.CONNECTIONS, connections=10), 100 + i / 10)
    assert found.connections == 3
    found.running = 3
    assert found.room(20, 110) == 0
    found.running = 2
    assert found.room(20, 110) == 20
    found.tick(100.5 + slowing.MORE_CONNECTIONS)
    assert found.connections == 4


def test_never_less_than_one_connection() -> None:
    found = receiver()
    for i in range(50):
        found.refused(refusal(Signal.CONNECTIONS, connections=2), i / 100)
    assert found.connections == 1


def test_greylisting_is_no_limit() -> None:
    found = receiver()
    for i in range(ROUNDS):
        found.refused(refusal(Signal.GREYLISTED), i * 10)
    assert found.rate >= slowing.FIRST


def test_greylisting_pauses_nobody_and_returns_late() -> None:
    found = receiver()
    for i in range(3 * ROUNDS):
        found.refused(refusal(Signal.GREYLISTED), i * 10)
    assert found.standing is Standing.SLOWED
    assert found.returns_late
    found.refused(refusal(), 500)
    assert not found.returns_late


def test_what_was_under_way_ends_no_pause() -> None:
    found = receiver()
    found.refused(refusal(Signal.BLOCK), 100)
    assert found.took(1, 100.9) == []
    assert found.took(1, 130, age=29.5) == []
    assert found.answered(102, age=5) == []
    assert found.refused(refusal(Signal.BLOCK, age=100), found.until + 50) == []
    assert found.standing is Standing.PAUSED
    assert [change.kind for change in found.took(1, 130, age=28)] == ["resumed"]


def test_what_a_profile_knows_is_kept_to() -> None:
    found = receiver(YAHOO)
    found.refused(refusal(), 0)
    assert found.connections == 8
    found.rate = math.inf
    assert found.room(100, 1) == 20


def test_a_block_pauses_and_each_time_longer() -> None:
    found = receiver(YAHOO)
    (change,) = found.refused(refusal(Signal.BLOCK), 0)
    assert (change.kind, change.until) == ("paused", 1800)
    assert found.refused(refusal(Signal.BLOCK), 5) == []  # was under way
    assert found.room(20, 1799) == 0
    now, lasted = 1800.0, []
    for _ in range(6):
        assert found.room(20, now) == 1
        found.began(1, now)
        assert found.room(20, now + AGAIN + 1) == 0  # one alone
        found.ended()
        (change,) = found.refused(refusal(Signal.BLOCK), now + 1)
        assert change.until is not None
        lasted.append(change.until - now - 1)
        now = change.until
    assert lasted == [3600, 7200, 7200, 7200, 7200, 7200]
    assert lasted[-1] == LONGEST_PAUSE


def test_a_message_that_tells_nothing_is_followed_by_another() -> None:
    found = receiver()
    found.refused(refusal(Signal.BLOCK), 0)
    found.began(found.room(20, 600), 600)
    found.ended()
    assert found.room(20, 600 + AGAIN - 1) == 0
    assert found.room(20, 600 + AGAIN) == 1


def test_after_a_pause_it_begins_low() -> None:
    found = receiver()
    now = takes(found, 600, 0, 60)
    found.refused(refusal(), now)
    found.refused(refusal(Signal.BLOCK), now + 10)
    now = found.until
    found.began(found.room(20, now), now)
    (change,) = found.took(1, now + 1)
    assert (change.kind, change.until) == ("resumed", None)
    assert change.lasted == now + 1 - 60
    assert (found.standing, found.connections) == (Standing.SLOWED, 1)
    assert found.rate == pytest.approx(5, rel=0.05)


def test_a_refusal_of_the_message_itself_ends_a_pause_too() -> None:
    found = receiver()
    found.refused(refusal(Signal.BLOCK), 0)
    assert [change.kind for change in found.answered(601)] == ["resumed"]


def test_a_block_for_good_has_to_be_said_more_than_once() -> None:
    found = receiver()
    for _ in range(FINAL - 1):
        assert found.refused(refusal(Signal.BLOCK, final=True), 1) == []
    found.took(1, 2)
    for _ in range(FINAL - 1):
        assert found.refused(refusal(Signal.BLOCK, final=True), 3) == []
    for _ in range(5):
        assert found.refused(refusal(Signal.BLOCK, final=True, alone=False), 3) == []
    assert [change.kind for change in found.refused(refusal(Signal.BLOCK, final=True), 4)] == ["paused"]


def test_rounds_of_refusals_with_nothing_taken_pause_it_for_a_minute() -> None:
    found = receiver()
    changes = []
    for i in range(ROUNDS + 1):
        changes = found.refused(refusal(Signal.LATER), i * 10)
    assert [change.kind for change in changes] == ["paused"]
    assert found.until == ROUNDS * 10 + SHORT_PAUSE


def test_an_hour_without_a_refusal_ends_it() -> None:
    found = receiver()
    found.refused(refusal(), 0)
    assert found.tick(FORGET - 1) == []
    (change,) = found.tick(FORGET)
    assert (change.kind, change.connections, change.rate, change.lasted) == ("resumed", None, None, FORGET)
    assert (found.standing, found.room(20, FORGET)) == (Standing.FREE, 20)


def test_it_is_free_where_it_takes_four_times_what_it_refused() -> None:
    found = receiver()
    now = takes(found, 600, 0, 60)
    found.refused(refusal(), now)
    changes: list[slowing.Change] = []
    begun = now
    while not changes and now < begun + FORGET - 10:
        found.room(10_000, now)
        now += 1
        changes = found.tick(now)
    assert [change.kind for change in changes] == ["resumed"]


def test_it_is_told_again_only_where_the_rate_has_halved() -> None:
    found = receiver()
    now = takes(found, 600, 0, 60)
    told = [found.refused(refusal(), now)]
    for _ in range(ROUNDS - 1):
        now += 10
        told.append(found.refused(refusal(), now))
    assert [len(changes) for changes in told] == [1, 0, 0, 1]


def test_over_a_restart() -> None:
    kept = SlowedReceiver("x", "mx.x", "paused", 1000, 2000, "blocked", "421 no", 3, 0.5, 0.7, 2, 0, ())
    found = receiver()
    found.restore(kept, 50, -1000.0)
    assert (found.standing, found.since, found.until) == (Standing.PAUSED, 0, 1000)
    assert (found.connections, found.rate, found.memory) == (3, 0.5, (0.7, 2))
    found.restore(kept, 50, 100_000.0)  # the clock was set back
    assert found.until == 50 + LONGEST_PAUSE


EVENTS = st.lists(
    st.tuples(
        st.floats(0, 400),
        st.one_of(
            st.sampled_from([*Signal]),
            st.sampled_from(["took", "answered", "tick", "run", "end"]),
        ),
        st.integers(0, 120),
        st.booleans(),
    ),
    max_size=80,
)


def happens(found: Receiver, what: object, number: int, now: float, *, final: bool) -> list[slowing.Change]:
    if isinstance(what, Signal):
        return found.refused(refusal(what, connections=number, final=final), now)
    if what == "run":
        runs(found, number, now)
    if what == "end":
        found.ended()
    return {
        "took": lambda: found.took(number, now),
        "answered": lambda: found.answered(now),
        "tick": lambda: found.tick(now),
    }.get(str(what), list)()


def runs(found: Receiver, number: int, now: float) -> None:
    room, running = found.room(number, now), found.running
    assert 0 <= room <= max(number, 1)
    if found.standing is Standing.SLOWED and room:
        assert running < found.connections
        assert found.rate == math.inf or room <= max(1.0, found.rate * slowing.AHEAD)
    if found.standing is Standing.PAUSED and room:
        assert room == 1
        assert now >= found.until
    if room:
        found.began(room, now)


@given(EVENTS, st.sampled_from([Profile("x"), YAHOO]))
def test_whatever_happens(events: list[tuple[float, object, int, bool]], profile: Profile) -> None:
    """There is always a way on: at least one connection, a rate, an end of each pause; and never more than that."""
    found, now = receiver(profile), 0.0
    for wait, what, number, final in events:
        now += wait
        before = found.standing
        changes = happens(found, what, number, now, final=final)
        assert 1 <= found.connections <= MOST_CONNECTIONS
        assert found.rate >= slowing.LEAST
        assert found.running >= 0
        assert found.standing is not Standing.PAUSED or found.until <= now + LONGEST_PAUSE
        assert found.standing is not Standing.FREE or found.room(20, now) == 20
        assert changes or found.standing is before, "each change of standing is told"
        assert all((change.until is not None) == (change.kind == "paused") for change in changes)


@given(st.lists(st.sampled_from([*Signal]), min_size=1, max_size=30))
def test_it_always_ends(signals: list[Signal]) -> None:
    """Whatever it has said: an hour after the last refusal and a message that it took, it is as any other."""
    found, now = receiver(), 0.0
    for signal in signals:
        now += 20
        found.refused(refusal(signal, connections=3), now)
    now = max(now, found.until)
    found.took(1, now)
    found.tick(now + FORGET)
    assert found.standing is Standing.FREE
