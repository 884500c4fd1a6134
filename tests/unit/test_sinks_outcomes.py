"""What the front is told of attempts."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from postroad.events import model
from postroad.runtime import outcomes
from postroad.runtime.outcomes import Failure, Taken
from postroad.sinks.outcomes import OutcomesSink
from postroad.sinks.told import Told


@pytest.fixture
def hears(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(str(tmp_path / "outcomes"))
        made.setblocking(False)
        yield made


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[OutcomesSink]:
    made = OutcomesSink(tmp_path / "outcomes")
    made.enabled = True
    yield made
    made.close()


def attempt(kind: type[model.RecipientEvent] = model.Deferred, **fields: Any) -> Told:
    usual: dict[str, Any] = {
        "mailer": "mx",
        "relay_host": "mx.rcpt.example",
        "recipient": "user@RCPT.example",
        "attempt_delay": 7,
    }
    return Told(kind(time=0, **usual | fields))


def heard(hears: socket.socket) -> tuple[list[Taken], list[Failure]]:
    taken, failures = [], []
    try:
        while True:
            found = outcomes.read(hears.recv(1 << 20))
            taken += found[0]
            failures += found[1]
    except BlockingIOError:
        return taken, failures


def test_what_was_taken_is_counted_and_what_failed_is_told(sink: OutcomesSink, hears: socket.socket) -> None:
    sink.handle(
        [
            *[attempt(model.Delivered)] * 2,
            attempt(model.Delivered, attempt_delay=2),
            attempt(model.Delivered, relay_host=None, relay_address="203.0.113.5"),
            attempt(reply="421 no", status="Deferred: 421 no", dsn="4.0.0"),
            attempt(model.Bounced, reply="550 never", status="User unknown", dsn="5.1.1"),
        ]
    )
    assert heard(hears) == (
        [Taken("mx.rcpt.example", "rcpt.example", 3, 2.0), Taken("203.0.113.5", "rcpt.example", 1, 7.0)],
        [
            Failure("deferred", "mx.rcpt.example", "rcpt.example", "4.0.0", "421 no", "Deferred: 421 no", 7.0),
            Failure("bounced", "mx.rcpt.example", "rcpt.example", "5.1.1", "550 never", "User unknown", 7.0),
        ],
    )  # fmt: skip


@pytest.mark.parametrize(
    "told",
    [
        attempt(mailer="smarthost", reply="421 no"),
        attempt(mailer=None, reply="421 no"),
        attempt(relay_host=None, reply="421 no"),
        attempt(status="Deferred: Connection refused"),
        attempt(model.Queued),
        Told(model.Notice(time=0, message="x")),
    ],
)
def test_what_says_nothing_of_a_receiver(sink: OutcomesSink, hears: socket.socket, told: Told) -> None:
    sink.handle([told])
    assert heard(hears) == ([], [])


def test_many_at_once_are_several_datagrams(sink: OutcomesSink, hears: socket.socket) -> None:
    """As many as the socket holds until somebody reads (net.unix.max_dgram_qlen)."""
    sink.handle([attempt(reply=f"421 {i:03} " + "x" * 1000) for i in range(200)])
    _, failures = heard(hears)
    assert len(failures) == 200
    assert all(len(failure.reply) == 500 for failure in failures)


def test_without_a_front_nothing_happens(tmp_path: Path, hears: socket.socket) -> None:
    sink = OutcomesSink(tmp_path / "nobody")
    sink.handle([attempt(reply="421 no")])
    sink.enabled = True
    sink.handle([attempt(reply="421 no")])
    sink.close()
    assert heard(hears) == ([], [])


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b"[[], [[1]]]", b"[[[1]], []]", b"\xff"])
def test_what_is_no_datagram(data: bytes) -> None:
    with pytest.raises((ValueError, TypeError)):
        outcomes.read(data)
