"""`postroad queue evacuate`, between a queue of the test's own and a relay that serves on a socket of its own."""

import fcntl
import os
import socket
import threading
import time
from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import click
import pytest

from postroad.cli import evacuate as module
from postroad.cli import running
from postroad.config.load import load
from postroad.evacuation import client, doubts, places
from postroad.evacuation.leaving import Leaving
from postroad.evacuation.taking import Taking
from postroad.runtime import acceptance, log
from postroad.supervisor import alone
from tests.unit.commands import run
from tests.unit.test_evacuation_folders import files
from tests.unit.test_evacuation_network import SECRET, World, pem, until
from tests.unit.test_sendmail_queue import ID, QF, put

__all__ = ["pem"]


class Here(World):
    """The world of two queues, as the command sees it."""

    def __init__(self, top: Path, pem: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(top, pem)
        self.said: list[str] = []
        self.accepts: list[bool] = [True]
        self.serves = False
        (top / "secret").write_text(f"{SECRET}\n")
        (top / "config.yaml").write_text(
            f"hostname: mail.example.com\ndomains: [sender.example]\n"
            f"peers: {{port: {self.port}, secret_file: {top}/secret}}\n"
        )
        (top / "log").write_text("")
        self.config = load(top / "config.yaml", environ={}, secrets_dir=top / "none")
        for where, name, value in (
            (module, "QUEUE", self.here),
            (module, "LOG_SOCKET", top / "log"),
            (module, "load", lambda: self.config),
            (module, "SETTLE", 0.02),
            (module, "PAUSE", 0.02),
            (running, "is_running", lambda: self.serves),
            (log, "tell", self.tell),
            (acceptance, "set_accepting", self.accepts.append),
        ):
            monkeypatch.setattr(where, name, value)

    def tell(self, _: str, text: str, **__: Any) -> bool:
        self.said.append(text)
        return True


@pytest.fixture
def here(tmp_path: Path, pem: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Here]:
    made = Here(tmp_path, pem, monkeypatch)
    yield made
    made.close()


def evacuate(*words: str, to: str = "127.0.0.1", given: str | None = None) -> tuple[int, str]:
    code, out, error = run("queue", "evacuate", "--to", to, *words, given=given)
    return code, out + error


def test_a_volume_that_was_left_behind(here: Here) -> None:
    (here.here.parent / "log").unlink()  # no server runs here
    put(here.here)
    put(here.here / "route-0123abcd", name="qf6AOALKBA000042")
    put(here.here, "", "tf6AOALKBA000043", body=None)  # half-written: nobody was told that it was taken
    code, out = evacuate()
    assert code == 0, out
    assert "2 messages handed over to 127.0.0.1" in out
    assert "nothing waits here any more" in out
    assert len(here.waiting(here.there)) == 2
    assert here.accepts == [True]
    assert not here.said


def test_a_server_takes_no_new_messages_and_logs_what_leaves(here: Here) -> None:
    here.serves = True
    put(here.here)
    assert evacuate()[0] == 0
    assert here.accepts == [True, False]
    (line,) = here.said
    (name,) = here.waiting(here.there)
    assert line.startswith("evacuated {")
    for part in (f'"queue_id": "{ID}"', '"to_relay": "there"', f'"to_queue_id": "{name[2:]}"', '"recipients": 3'):
        assert part in line


@pytest.fixture
def server(here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TextIOWrapper]:
    """The lock of a server in another container, which has the same volumes."""
    monkeypatch.setattr(alone, "STATE", tmp_path)
    with (tmp_path / alone.LOCK).open("w") as file:
        file.write("mail-3\n")
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file


def test_a_server_that_stops_in_another_container_is_waited_for(here: Here, server: TextIOWrapper) -> None:
    """It takes messages until its end: none of them is left behind."""

    def take_and_end() -> None:
        put(here.here)
        fcntl.flock(server, fcntl.LOCK_UN)

    threading.Timer(0.3, take_and_end).start()
    code, out = evacuate("--timeout", "10s")
    assert (code, len(here.waiting(here.there))) == (0, 1)
    assert out.startswith("the server in container mail-3 has these volumes: waiting for its end\n")
    assert out.count("mail-3") == 1


@pytest.mark.usefixtures("server")
def test_a_server_that_goes_on_in_another_container_keeps_its_queue(here: Here) -> None:
    put(here.here)
    code, out = evacuate("--timeout", "1s")
    assert (code, len(here.waiting(here.here))) == (3, 1)
    assert "the server in container mail-3 still has these volumes" in out


@pytest.mark.usefixtures("server")
def test_our_own_server_has_its_volumes(here: Here) -> None:
    here.serves = True
    put(here.here)
    assert evacuate("--timeout", "10s")[0] == 0


def test_an_empty_queue(here: Here) -> None:
    assert evacuate() == (0, "0 messages handed over to 127.0.0.1\n✔ nothing waits here any more\n")


def test_what_is_in_delivery_is_waited_for(here: Here) -> None:
    path = put(here.here)
    file = path.open()
    fcntl.flock(file, fcntl.LOCK_EX)
    threading.Timer(0.2, file.close).start()
    assert evacuate("--timeout", "10s")[0] == 0
    assert here.waiting(here.there)


def test_what_is_in_delivery_for_too_long_stays(here: Here) -> None:
    with put(here.here).open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        code, out = evacuate("--timeout", "1s")
    assert code == 3
    assert "1 message left here: run the command again" in out


def test_what_can_not_go_is_named(here: Here) -> None:
    put(here.here, QF.replace("V8", "V7"))
    put(here.here, name="qf6AOALKBA000042")
    code, out = evacuate()
    assert code == 3
    assert f"{ID} stays: its version is not V8" in out
    assert "1 message handed over" in out


def test_a_relay_that_is_away_for_a_moment(here: Here, pem: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(here.here)
    real, tries = client.open_session, [0]

    def open_session(*args: Any, **more: Any) -> Any:
        tries[0] += 1
        if tries[0] < 3:
            raise ConnectionError("it is away")
        return real(*args, **more)

    monkeypatch.setattr(module, "open_session", open_session)
    assert evacuate()[0] == 0
    assert tries[0] >= 3


def test_a_relay_that_does_not_answer_at_all(here: Here) -> None:
    here.close()
    put(here.here)
    code, out = evacuate("--timeout", "1s")
    assert code == 3
    assert "can't be reached" in out
    assert here.waiting(here.here) == [f"qf{ID}"]


def test_a_relay_that_says_nothing_takes_no_more_than_the_time_there_is(here: Here) -> None:
    put(here.here)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        code, out = evacuate("--timeout", "1s", to=f"127.0.0.1:{silent.getsockname()[1]}")
    assert code == 3
    assert time.monotonic() - began < 5
    assert "can't be reached" in out
    assert here.waiting(here.here) == [f"qf{ID}"]


def test_a_relay_with_another_secret_is_not_tried_again(here: Here) -> None:
    put(here.here)
    (here.here.parent / "secret").write_text("another secret of forty characters, or so\n")
    code, out = evacuate()
    assert code == 1
    assert "does not know the secret" in out
    assert here.waiting(here.here) == [f"qf{ID}"]


@pytest.mark.parametrize(
    ("secret", "why"), [("short", "less than 32 characters"), ("", "is empty"), (None, "is not there")]
)
def test_a_secret_that_is_none(secret: str | None, why: str, here: Here) -> None:
    path = here.here.parent / "secret"
    path.write_text(secret) if secret is not None else path.unlink()
    code, out = evacuate()
    assert code == 2
    assert f"At 'peers.secret_file': {path}" in out
    assert why in out


def test_without_a_secret_nothing_leaves(here: Here) -> None:
    here.config = here.config.model_copy(update={"peers": type(here.config.peers)()})
    put(here.here)
    assert "peers.port is not set" in evacuate()[1]
    code, out = evacuate(to=f"127.0.0.1:{here.port}")
    assert code == 1
    assert "At 'peers.secret_file': not set" in out
    assert here.waiting(here.here)


@pytest.mark.parametrize(
    ("target", "found"),
    [
        ("relay.example", ("relay.example", 2526)),
        ("relay.example:99", ("relay.example", 99)),
        ("192.0.2.1:99", ("192.0.2.1", 99)),
        ("2001:db8::1", ("2001:db8::1", 2526)),
        ("[2001:db8::1]", ("2001:db8::1", 2526)),
        ("[2001:db8::1]:99", ("2001:db8::1", 99)),
    ],
)
def test_addresses(target: str, found: tuple[str, int], here: Here) -> None:
    peers = here.config.peers.model_copy(update={"port": 2526})
    assert module._address(target, here.config.model_copy(update={"peers": peers})) == found


@pytest.mark.parametrize("target", ["relay.example:0", "relay.example:x", "relay.example:65536"])
def test_no_addresses(target: str, here: Here) -> None:
    with pytest.raises(click.UsageError, match="HOST:PORT"):
        module._address(target, here.config)


def test_one_at_a_time(here: Here) -> None:
    with places.alone(here.here):
        code, out = evacuate()
    assert code == 1
    assert "already" in out


def test_where_there_is_no_queue(here: Here) -> None:
    os.rename(here.here, here.here.parent / "gone")  # noqa: PTH104 - it is not the object under test
    assert "mount the queue's volume" in evacuate()[1]


@pytest.mark.parametrize("words", [[], ["--to", "x", "--take-back"]])
def test_one_of_both(words: list[str], here: Here) -> None:
    assert "either --to or --take-back" in run("queue", "evacuate", *words).error


# --- what was offered before


def aside(here: Here, receiver: str, host: str) -> None:
    path = put(here.here)
    Leaving(here.here).set_aside(path, here.here / f"df{ID}", receiver, host)


def test_what_was_offered_to_a_relay_that_is_there_still_is_asked_about(here: Here, tmp_path: Path, pem: Path) -> None:
    """The relay of the first call is not that of the second: it has one of the messages, and not the other."""
    (tmp_path / "third").mkdir()
    third = World(tmp_path / "third", pem)
    third_id = places.identity(third.there)
    aside(here, third_id, f"127.0.0.1 {third.port}")
    third.taking.inherit(places.token(places.identity(here.here), ID), "6AOALKBA9000000001")
    path = put(here.here, name="qf6AOALKBA000042")
    Leaving(here.here).set_aside(path, here.here / "df6AOALKBA000042", third_id, f"127.0.0.1 {third.port}")
    code, out = evacuate()
    assert code == 0, out
    assert "2 messages handed over" in out
    assert len(here.waiting(here.there)) == 1
    assert not files(here.here)
    until(lambda: not list(third.taking.entries()))
    third.close()


def test_what_was_offered_to_a_relay_that_is_gone_is_told_and_taken_back_by_hand(here: Here) -> None:
    aside(here, "b" * 32, "127.0.0.1 1")
    code, out = evacuate()
    assert code == 3
    assert "1 message may be at the relay that was reached at 127.0.0.1:1" in out
    assert not here.waiting(here.there)
    refused = run("queue", "evacuate", "--take-back")
    assert "add --yes" in refused.error
    assert not here.waiting(here.here)
    assert "1 message put back" in run("queue", "evacuate", "--take-back", "--yes").out
    assert here.waiting(here.here) == [f"qf{ID}"]
    assert "nothing to take back" in run("queue", "evacuate", "--take-back").out
    assert evacuate()[0] == 0


def test_what_a_relay_does_not_have_is_put_back_by_a_server_that_starts_again(here: Here) -> None:
    aside(here, places.identity(here.there), f"127.0.0.1 {here.port}")
    own = places.identity(here.here)
    assert doubts.settle(here.here, "a wrong secret of forty characters, or so", own, "x", here.left.append) == 1
    assert doubts.settle(here.here, SECRET, own, "x", here.left.append) == 0
    assert here.waiting(here.here) == [f"qf{ID}"]
    assert not here.left


def test_entries_go_along(here: Here) -> None:
    """Who handed over to this relay, and was killed before it heard so, asks the next one."""
    token = places.token("c" * 32, ID)
    Taking(here.here).inherit(token, "6AOALKBA9000000001")
    assert evacuate()[0] == 0
    assert here.taking.known(token) == "6AOALKBA9000000001"


def test_what_was_taken_and_has_no_place_yet_leaves_too(here: Here) -> None:
    taking, token = Taking(here.here), places.token("c" * 32, ID)
    (here.here / "taken" / "new" / f"{token}.qf").write_text(QF, errors="replace")
    (here.here / "taken" / "new" / f"{token}.df").write_text("x")
    taking._enter(token, "6AOALKBA9000000001", here.here)
    code, out = evacuate()
    assert code == 0
    assert "1 message handed over" in out
    assert len(here.waiting(here.there)) == 1
