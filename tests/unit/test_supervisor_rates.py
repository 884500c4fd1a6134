"""Messages counted over a sliding minute, and the netstrings that ask for it."""

import contextlib
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroad.supervisor.rates import LONGEST, Rates, RateThread, respond


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def netstring(text: str) -> bytes:
    return b"%d:%s," % (len(text.encode()), text.encode())


@given(st.lists(st.floats(0, 20), max_size=60), st.integers(1, 9))
def test_no_minute_has_more_than_the_limit(waits: list[float], limit: int) -> None:
    clock = Clock()
    rates = Rates(clock)
    passed: list[float] = []
    for wait in waits:
        clock.now += wait
        recent = [time for time in passed if time > clock.now - 60]
        answer = rates.answer(f"{limit} address 192.0.2.1")
        assert answer == ("OK FEW" if len(recent) < limit else "OK MORE")
        if answer == "OK FEW":
            passed.append(clock.now)


def test_clients_do_not_count_for_each_other_and_are_forgotten() -> None:
    clock = Clock()
    rates = Rates(clock)
    assert [rates.answer(f"1 address {who}") for who in ("a", "b", "a")] == ["OK FEW", "OK FEW", "OK MORE"]
    clock.now += 61
    assert rates.answer("1 user a") == "OK FEW"
    assert list(rates._seen) == ["user a"]


@pytest.mark.parametrize("key", ["", "x", "1", "x address a", "-1 address a", "\u0661 address a"])
def test_a_senseless_key_gets_no_count(key: str) -> None:
    assert Rates().answer(key).startswith("PERM")


def test_questions_are_answered_as_they_become_whole() -> None:
    rates = {"rate": Rates().answer}
    question = netstring("rate 2 address 192.0.2.1")
    assert respond(question[:-1], rates) == (question[:-1], b"")
    assert respond(question + question + question[:5], rates) == (question[:5], b"6:OK FEW,6:OK FEW,")
    assert respond(question, rates) == (b"", b"7:OK MORE,")


@pytest.mark.parametrize("data", [b"x:", b"-1:,", b"3:abcd", b"9999999:", b"1" * (LONGEST + 20)])
def test_what_is_no_netstring_ends_the_connection(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - any
        respond(data, {"rate": Rates().answer})


@given(st.binary(max_size=60))
def test_no_bytes_do_harm(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        respond(data, {"rate": Rates().answer})


def test_the_thread_serves_several_and_survives_nonsense(tmp_path: Path) -> None:
    path = tmp_path / "rates"
    RateThread(path).start()
    clients = [socket.socket(socket.AF_UNIX) for _ in range(3)]
    for client in clients:
        client.settimeout(10)
        client.connect(str(path))
    clients[1].sendall(netstring("guess 192.0.2.1 right app"))
    assert clients[1].recv(100) == b"7:OK FREE,"
    clients[1].sendall(netstring("other x"))
    assert clients[1].recv(100) == b"16:PERM no such map,"
    clients[0].sendall(b"nonsense:")
    assert clients[0].recv(100) == b""
    for client, answer in zip(clients[1:], (b"6:OK FEW,", b"7:OK MORE,"), strict=True):
        client.sendall(netstring("rate 1 address a"))
        assert client.recv(100) == answer
    for client in clients:
        client.close()
