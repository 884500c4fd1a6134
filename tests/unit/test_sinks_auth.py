"""Who is refused, when and for how long; that sendmail acts on it is shown in ``tests/integration/test_doors.py``."""

from pathlib import Path

import pytest

from postroad.events import model
from postroad.sinks import auth
from postroad.sinks.auth import FIRST, FREE, LONGEST, MEMORY, REMEMBERED, AuthSink
from postroad.sinks.told import Told


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "auth-refused"


def fail(sink: AuthSink, address: str | None, time: float = 0.0, *, success: bool = False) -> None:
    sink.handle([Told(model.Auth(time=time, client_address=address, success=success))])


def test_at_first_nobody_is_refused(path: Path) -> None:
    path.write_text("192.0.2.1\tyes\n")
    sink = AuthSink(path)
    assert path.read_text() == ""
    assert path.stat().st_mode & 0o777 == 0o600
    assert sink.deadline is None


def test_some_failures_are_free_and_the_next_is_not(path: Path) -> None:
    sink = AuthSink(path)
    for _ in range(5):  # the number that docs/security.md promises, whatever FREE is
        fail(sink, "192.0.2.1")
    assert path.read_text() == ""
    fail(sink, "192.0.2.1")
    assert path.read_text() == "192.0.2.1\tyes\n"
    assert sink.deadline == FIRST


def test_each_further_failure_doubles_the_time_up_to_a_limit(path: Path) -> None:
    sink = AuthSink(path)
    for _ in range(FREE):
        fail(sink, "192.0.2.1")
    times = []
    for _ in range(2000):  # 2**2000 is no float
        fail(sink, "192.0.2.1")
        times.append(sink.deadline)
    assert times[:7] == [15, 30, 60, 120, 240, 480, 900]
    assert times[-1] == LONGEST


def test_the_time_ends_but_the_count_stays_for_a_while(path: Path) -> None:
    sink = AuthSink(path)
    for _ in range(FREE + 1):
        fail(sink, "192.0.2.1")
    sink.expire(FIRST - 0.1)
    assert path.read_text()
    sink.expire(FIRST)
    assert path.read_text() == ""
    assert sink.deadline is None
    fail(sink, "192.0.2.1", FIRST + 1)
    assert sink.deadline == FIRST + 1 + 2 * FIRST
    sink.expire(1e9)
    fail(sink, "192.0.2.1", FIRST + 1 + MEMORY)
    assert path.read_text() == ""


def test_clients_do_not_answer_for_each_other(path: Path) -> None:
    sink = AuthSink(path)
    for time in (0, 5):
        for _ in range(FREE + 1):
            fail(sink, f"192.0.2.{time + 1}", time)
    assert path.read_text() == "192.0.2.1\tyes\n192.0.2.6\tyes\n"
    assert sink.deadline == FIRST
    sink.expire(FIRST)
    assert path.read_text() == "192.0.2.6\tyes\n"
    assert sink.deadline == 5 + FIRST


def test_a_public_ipv6_client_is_its_64_and_a_neighbour_is_itself(path: Path) -> None:
    sink = AuthSink(path)
    for host in range(FREE + 1):
        fail(sink, f"2a00:0:ab::{host}:1")
        fail(sink, "fd00:0:ab::1")
    assert path.read_text() == "IPv6:2a00:0:ab:0\tyes\nIPv6:fd00:0:ab:0:0:0:0:1\tyes\n"


def test_what_is_no_failure_does_not_count(path: Path) -> None:
    sink = AuthSink(path)
    for _ in range(FREE + 1):
        fail(sink, "192.0.2.1", success=True)
        fail(sink, None)
        sink.handle([Told(model.Rejected(time=0, client_address="192.0.2.1"))])
    assert path.read_text() == ""


def test_a_flood_of_addresses_stays_within_bounds(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "FREE", 0)
    sink = AuthSink(path)
    for number in range(REMEMBERED + 10):
        fail(sink, f"10.0.{number // 256}.{number % 256}")
    lines = path.read_text().splitlines()
    assert len(lines) == REMEMBERED
    assert lines[0] == "10.0.0.10\tyes"
