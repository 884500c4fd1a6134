"""What the front counts: connections, sessions, runs of the queue."""

from dataclasses import astuple
from pathlib import Path

import pytest

from postroad.front.limits import REMEMBERED, WINDOW, ConnectionCounts
from postroad.front.runs import BATCH, LATE, LONG, PASSES, PER_DOMAIN, SLOW, WHOLE, Run, Runs
from postroad.runtime.bounds import LEAST, LEAST_CLIENTS, MOST, MOST_CLIENTS, _limit, bounds


def test_connections_are_counted_by_address() -> None:
    counts = ConnectionCounts()
    assert [counts.begin("a", at) for at in (0.0, 1.0)] == [(1, 1), (2, 2)]
    assert counts.begin("b", 1.0) == (1, 1)
    counts.end("a")
    assert counts.begin("a", WINDOW + 0.5) == (2, 2)  # the first is out of the window
    counts.end("a")
    counts.end("a")
    counts.end("b")
    counts.forget(3 * WINDOW)
    assert counts.open == {}
    assert counts._began == {}


def test_bounds_follow_what_the_container_may_use() -> None:
    assert bounds(None, None).sessions == MOST
    assert bounds(None, 100).sessions == 30
    assert LEAST < bounds(128 << 20, None).sessions < 20
    assert bounds(1 << 20, 10).sessions == LEAST
    for each in (bounds(None, None), bounds(128 << 20, 100), bounds(1 << 20, 10)):
        assert 0 < each.background < each.sessions
        assert each.delivering < each.sessions  # there is always room to accept
        assert each.runs + each.sessions <= 170


@pytest.mark.parametrize("most", [8, 9, 40, 100, 190])
@pytest.mark.parametrize("memory", [None, 128 << 20])
def test_bounds_follow_delivery_concurrency(most: int, memory: int | None) -> None:
    found, usual = bounds(memory, None, most), bounds(memory, None)
    assert found.delivering + found.background + found.runs <= most
    assert memory or found.delivering + found.background + found.runs >= min(most, 180)
    assert min(found.delivering, found.background, found.domain) >= 1
    assert found.runs >= 3  # one for domains that are quick, slow, and unknown
    assert found.domain <= max(1, most // 6)
    for name in ("delivering", "background", "runs", "domain"):
        assert getattr(found, name) <= getattr(usual, name)
    assert (found.sessions, found.clients, found.direct) == (usual.sessions, usual.clients, usual.direct)


class Started:
    """Runs that were started, in order."""

    def __init__(self, most: int) -> None:
        self.runs: list[Run] = []
        self.spare = 0
        self.under_way = Runs(most, self._start, lambda: self.spare)

    def _start(self, run: Run) -> bool:
        self.runs.append(run)
        return True

    @property
    def domains(self) -> list[str]:
        return [run.domain for run in self.runs]


def test_a_message_leaves_at_once_where_there_is_room() -> None:
    started = Started(8)
    started.under_way.add("A1", ["rcpt.example", "other.example"], 0.0)
    assert [run.ids for run in started.runs] == [["A1"]]
    assert started.under_way.waiting == 0


def test_messages_of_a_domain_share_runs() -> None:
    started = Started(8)
    started.under_way.took("rcpt.example", 0.1)
    for number in range(PER_DOMAIN + 3 * BATCH):
        started.under_way.add(f"A{number}", ["rcpt.example"], 0.0)
    assert len(started.runs) == PER_DOMAIN
    assert started.under_way.waiting == 3 * BATCH
    started.under_way.ended(started.runs[0], 1.0)
    assert len(started.runs[-1].ids) == BATCH


def test_slow_and_unknown_domains_leave_room_for_those_that_are_quick() -> None:
    started = Started(6)
    started.under_way.took("quick.example", 1.0)
    for number in range(100):
        for _ in range(3):
            started.under_way.add(f"S{number}", [f"slow{number}.example"], 2.0)
    assert len(started.under_way.running) == 4  # one each
    started.under_way.fill(2.0 + 2 * SLOW)
    assert len(started.under_way.running) == 4
    started.under_way.add("Q1", ["quick.example"], 30.0)
    assert started.under_way.running[-1].ids == ["Q1"]


def test_runs_may_have_room_that_others_leave() -> None:
    started = Started(6)
    for number in range(100):
        started.under_way.add(f"A{number}", [f"{number}.example"], 2.0)
    assert len(started.under_way.running) == 4  # two are for domains that are quick
    assert started.under_way.borrowed == 0
    started.spare = 24
    started.under_way.fill(3.0)
    assert len(started.under_way.running) == 20
    assert started.under_way.borrowed == 14
    started.spare = 0
    started.under_way.ended(started.runs[0], 4.0)
    assert len(started.under_way.running) == 19  # none in its place


def test_a_domain_that_is_slow_leaves_room_for_those_that_are_not_known() -> None:
    started = Started(6)
    for number in range(50):
        started.under_way.took(f"slow{number}.example", 2 * SLOW)
        started.under_way.add(f"S{number}", [f"slow{number}.example"], 2.0)
    assert len(started.under_way.running) == 2
    started.under_way.add("N1", ["new.example"], 30.0)
    assert started.under_way.running[-1].ids == ["N1"]


@pytest.mark.parametrize(
    ("seconds", "helped", "quick"),
    [
        (SLOW - 0.1, False, True),
        (SLOW, False, False),
        (SLOW, True, True),
        (LONG - 0.1, True, True),
        (LONG, True, False),
    ],
)
def test_a_run_that_has_delivered_may_take_longer(seconds: float, helped: bool, quick: bool) -> None:
    started = Started(8)
    started.under_way.add("A1", ["rcpt.example"], 0.0)
    started.under_way.ended(started.runs[0], seconds, helped=helped)
    assert started.under_way.is_quick("rcpt.example") is quick


def test_a_run_that_goes_on_counts_as_slow_before_it_ends() -> None:
    started = Started(8)
    started.under_way.took("rcpt.example", 1.0)
    started.under_way.add("A1", ["rcpt.example"], 0.0)
    started.under_way.fill(LONG)
    assert started.under_way.is_quick("rcpt.example")
    started.under_way.fill(LONG + 0.1)
    assert not started.under_way.is_quick("rcpt.example")


def test_a_run_that_can_not_be_started_takes_no_room() -> None:
    runs = Runs(4, lambda _: False)
    for number in range(10):
        runs.add(f"A{number}", [f"{number}.example"], 0.0)
    assert runs.running == []
    assert runs.waiting == 0


def test_what_is_due_waits_and_runs_once_only() -> None:
    started = Started(8)
    started.under_way.due([("A1", "rcpt.example"), ("A2", "rcpt.example")], 0.0)
    assert [run.ids for run in started.runs] == [["A1", "A2"]]
    started.under_way.due([("A1", "rcpt.example"), ("A3", "rcpt.example")], 1.0)
    assert started.under_way.waiting == 1  # the domain has one run while it is not known to be quick
    started.under_way.ended(started.runs[0], 2.0)
    assert started.runs[-1].ids == ["A3"]
    started.under_way.ended(started.runs[-1], 3.0)
    started.under_way.due([("A1", "rcpt.example")], 300.0)
    assert started.runs[-1].ids == ["A1"]


def test_only_a_domain_of_which_nothing_is_known_is_probed() -> None:
    started = Started(8)
    started.under_way.took("quick.example", 1.0)
    started.under_way.took("slow.example", 2 * SLOW)
    for domain in ("quick.example", "slow.example", "new.example"):
        started.under_way.add(domain, [domain], 0.0)
    assert [run.probes for run in started.runs] == [False, False, True]


def test_what_a_run_has_passed_over_runs_again_a_few_times() -> None:
    started = Started(8)
    started.under_way.add("A1", ["rcpt.example"], 0.0)
    for _ in range(PASSES):
        run = started.runs[-1]
        assert started.under_way.passed_over(run, lambda _: True) == ["A1"]
        started.under_way.ended(run, 0.1)
        started.under_way.add("A1", ["rcpt.example"], 0.2)
    assert len(started.runs) == PASSES + 1
    assert started.under_way.passed_over(started.runs[-1], lambda _: True) == []


def test_what_a_run_has_tried_or_what_was_only_due_is_not_run_again_at_once() -> None:
    started = Started(8)
    started.under_way.add("A1", ["rcpt.example"], 0.0)
    assert started.under_way.passed_over(started.runs[0], lambda _: False) == []
    started.under_way.due([("B1", "other.example")], 0.0)
    assert started.under_way.passed_over(started.runs[1], lambda _: True) == []


def test_one_run_takes_the_whole_of_a_long_queue() -> None:
    started = Started(8)
    many = [(f"A{number}", f"{number}.example") for number in range(WHOLE)]
    started.under_way.due(many, 0.0)
    assert [run.whole for run in started.under_way.running].count(True) == 1
    started.under_way.due(many, 1.0)
    assert [run.whole for run in started.under_way.running].count(True) == 1
    assert len(started.under_way.running) <= 8
    started.under_way.fill(5 * SLOW)
    assert not started.under_way.is_quick("")
    started.under_way.ended(started.runs[0], 5 * SLOW)


def test_addresses_that_have_sent_mail_are_remembered_up_to_a_number() -> None:
    counts = ConnectionCounts()
    for number in range(REMEMBERED + 1):
        counts.sent(str(number))
    assert not counts.has_sent("0")
    assert counts.has_sent("1")


@pytest.mark.parametrize(
    ("memory", "processes", "deliveries", "expected"),
    [
        # sessions, delivering, domain, own, busy, runs, clients, direct, background
        (None, None, None, (150, 100, 30, 75, 75, 16, 5000, 500, 75)),
        (256 << 20, None, None, (81, 54, 16, 40, 40, 10, 2097, 40, 40)),
        (128 << 20, 100, None, (14, 9, 2, 7, 7, 3, 1048, 10, 7)),
        (None, None, 40, (150, 20, 6, 75, 75, 5, 5000, 500, 15)),
        (None, None, 79, (150, 40, 12, 75, 75, 9, 5000, 500, 30)),
        (1, 1, None, (10, 6, 2, 5, 5, 3, 100, 10, 5)),
    ],
)
def test_all_bounds(
    memory: int | None, processes: int | None, deliveries: int | None, expected: tuple[int, ...]
) -> None:
    assert astuple(bounds(memory, processes, deliveries)) == expected


def test_the_limits_of_a_container(tmp_path: Path) -> None:
    two, one = tmp_path / "memory.max", tmp_path / "memory.limit_in_bytes"
    assert _limit((str(two), str(one))) is None
    one.write_text("9223372036854771712\n")
    assert _limit((str(two), str(one))) is None
    one.write_text("134217728\n")
    assert _limit((str(two), str(one))) == 134217728
    two.write_text("max\n")
    assert _limit((str(two), str(one))) is None


def test_clients_are_as_many_as_memory_allows() -> None:
    assert bounds(None, None).clients == MOST_CLIENTS
    assert LEAST_CLIENTS < bounds(128 << 20, None).clients < MOST_CLIENTS
    assert bounds(1 << 20, None).clients == LEAST_CLIENTS
    assert bounds(None, 100).direct == 15
    assert bounds(1 << 20, 10).direct == LEAST


class Limits:
    """One receiver, all of whose domains begin with x."""

    def __init__(self) -> None:
        self.held = {"x"}
        self.left = 3
        self.ended_runs: list[str] = []

    def room(self, domain: str, most: int, _: float) -> int:
        return min(most, self.left) if domain.startswith("x") else most

    def began(self, domain: str, number: int, _: float) -> str:
        if not domain.startswith("x"):
            return ""
        self.left -= number
        return "x"

    def ended(self, receiver: str) -> None:
        self.ended_runs.append(receiver)


def test_a_receiver_that_gets_less_holds_up_nobody_else() -> None:
    started: list[Run] = []
    limits = Limits()
    runs = Runs(8, lambda run: not started.append(run), limits=limits)  # type: ignore[func-returns-value]
    for i in range(5):
        runs.add(f"x{i}", ["x1.example"], 0)
    runs.add("y", ["y.example"], 0)
    assert [(run.domain, run.ids) for run in started] == [("x1.example", ["x0"]), ("y.example", ["y"])]
    runs.took("x1.example", 1)
    runs.fill(1)
    assert [run.ids for run in started[2:]] == [["x1", "x2"]]
    assert limits.left == 0
    runs.ended(started[0], 1)
    assert limits.ended_runs == ["x"]
    assert runs.waits_for(lambda domain: domain == "x1.example") == 2
    limits.left = 5
    runs.fill(2)
    assert started[-1].ids == ["x3", "x4"]


def test_a_run_that_can_t_be_started_gives_its_place_back() -> None:
    limits = Limits()
    runs = Runs(8, lambda _: False, limits=limits)
    runs.add("x0", ["x1.example"], 0)
    assert limits.ended_runs == ["x"]


def test_no_run_of_all_while_a_receiver_gets_less() -> None:
    started: list[Run] = []
    limits = Limits()
    runs = Runs(8, lambda run: not started.append(run), limits=limits)  # type: ignore[func-returns-value]
    runs.due([(str(i), "x.example") for i in range(WHOLE)], 0)
    assert not any(run.whole for run in started)
    limits.held.clear()
    runs.due([(f"a{i}", "y.example") for i in range(WHOLE)], 0)
    assert any(run.whole for run in started)


def test_whose_sender_is_due_word_is_tried_in_any_case() -> None:
    started: list[Run] = []
    limits = Limits()
    limits.left = 0
    runs = Runs(8, lambda run: not started.append(run), limits=limits)  # type: ignore[func-returns-value]
    late = [(f"x{i}", "x1.example") for i in range(BATCH + 5)]
    runs.late(late)
    runs.due([*late, ("other", "x1.example")], 0)
    assert [len(run.ids) for run in started] == [BATCH]
    runs.fill(LATE - 1)
    assert len(started) == 1, "one connection tells that it takes none"
    runs.fill(LATE)
    assert [len(run.ids) for run in started] == [BATCH, 5]
