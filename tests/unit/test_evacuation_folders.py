"""A queue that leaves, between two folders: what is killed at any step, each message is in one of them, once."""

import errno
import fcntl
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from postroad.errors import PostroadError
from postroad.evacuation import places
from postroad.evacuation.leaving import Leaving
from postroad.evacuation.run import Evacuation, Left, Result
from postroad.evacuation.taking import RefusedError, Taking
from postroad.sendmail import queue
from tests.unit.test_sendmail_queue import ID, QF, put

GROUP = "route-0123abcd"
ACTS = ("rename", "replace", "link", "unlink", "fsync", "write")


class Direct:
    """A receiver in this process. What kills it looks to the sender like a connection that broke."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.taking = Taking(root)
        self.relay, self.host, self.name = places.identity(root), "other 2526", "other"
        self.told: list[str] = []

    def _served(self, act: Callable[[], Any]) -> Any:
        try:
            return act()
        except KilledError as error:
            raise ConnectionError("the other relay has gone") from error

    def offer(self, token: str, group: str, octets: bytes, body: Path) -> str:
        def take() -> str:
            data = body.read_bytes()
            path, new = self.taking.take(token, group, octets, io.BytesIO(data), len(data), lambda: True)
            if new:
                self.told.append(token)
            return path.name[2:]

        return str(self._served(take))

    def ask(self, token: str) -> str | None:
        return self.taking.known(token)

    def done(self, token: str) -> None:
        self._served(lambda: self.taking.forget(token))

    def inherit(self, token: str, name: str) -> None:
        self.taking.inherit(token, name)


class KilledError(BaseException):
    """The process is gone: nothing of it runs any more, not even what cleans up."""


class World:
    """Two queues: ``here`` leaves for ``there``."""

    def __init__(self, top: Path) -> None:
        self.here, self.there = top / "here", top / "there"
        self.left: list[Left] = []
        for each in (self.here, self.there):
            each.mkdir()

    def run(self) -> Result:
        """Both sides are started anew, and the evacuation is run."""
        Taking(self.there).settle()
        with places.alone(self.here):
            return Evacuation(self.here, Direct(self.there), self.left.append).run(lambda: False)

    def waiting(self, root: Path) -> list[str]:
        """The ids that sendmail sees in a queue, each with its body."""
        found = [path for path in queue.control_files(root) if path.name[:2] == "qf"]
        for path in found:
            assert path.with_name(f"df{path.name[2:]}").exists(), "a control file without its body is delivered empty"
        return sorted(path.name[2:] for path in found)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def files(root: Path) -> set[str]:
    """What is in a queue beside its messages and what it keeps for itself."""
    own = {places.IDENTITY, f".{places.IDENTITY}.lock", "lock", "host"}
    return {path.name for path in root.rglob("*") if path.is_file()} - own


def test_a_message_goes_as_it_is(world: World) -> None:
    put(world.here, QF.replace("MDef", "I259/1/77\nd/var/spool/mqueue\nMDef"), body="hello\r\n\x00\xff")
    assert world.run() == Result(left=1)
    (name,) = world.waiting(world.there)
    assert (world.there / f"qf{name}").read_bytes() == QF.encode(errors="surrogateescape"), "but for names of places"
    assert (world.there / f"df{name}").read_bytes() == "hello\r\n\x00\xff".encode()
    assert [(path.stat().st_mode & 0o777) for path in world.there.glob("?f*")] == [0o600, 0o600]
    assert not files(world.here)
    assert files(world.there) == {f"qf{name}", f"df{name}"}, "and nothing has to be remembered"
    (left,) = world.left
    assert (left.message.queue_id, left.queue_id, left.relay) == (ID, name, "other")
    assert (left.message.sender, left.message_id) == ("app@sender.example", "<1@sender.example>")
    assert left.message.recipients == ("u@other.example", "user@rcpt.example", '"a b"@rcpt.example')


def test_its_name_is_one_that_sendmail_never_gives(world: World) -> None:
    put(world.here)
    put(world.there, body="another one's\n")  # the same id: both relays have the same process ids
    world.run()
    (name,) = set(world.waiting(world.there)) - {ID}
    assert name[:8] == ID[:8], "the moment"
    assert name[8:].isdigit()
    assert len(name) == 18, "no process id has ten digits; sendmail takes no more"
    assert (world.there / f"df{ID}").read_text() == "another one's\n"


def test_a_route_with_limits_keeps_its_mail_where_the_other_relay_has_it_too(world: World) -> None:
    put(world.here / GROUP)
    assert world.run().left == 1
    assert len(world.waiting(world.there)) == 1
    assert not (world.there / GROUP).exists(), "the shaper moves it"
    put(world.here / GROUP)
    (world.there / GROUP).mkdir()
    assert world.run().left == 1
    (path,) = (world.there / GROUP).glob("qf*")
    assert path.with_name(f"df{path.name[2:]}").exists()


def test_what_is_delivered_at_the_moment_stays(world: World) -> None:
    path = put(world.here)
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert world.run() == Result(busy={ID})
    assert world.waiting(world.here) == [ID]
    assert world.run().left == 1


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        (f"qf{ID}", QF[:200], "damaged"),
        (f"Qf{ID}", QF, "lost"),
        (f"hf{ID}", QF, "quarantined"),
        (f"qf{ID}", QF.replace("V8", "V9"), "version"),
        (f"qf{ID}", QF.replace("S<app", "Croot:0:0:root\nS<app"), "line 'C'"),
        (f"qf{ID}", QF.replace("RPFD:<u@other.example>", "RPFD:|/bin/sh"), "no mail address"),
        (f"qf{ID}", QF.replace("RPFD:<u@other.example>", 'RPFD:<"|/bin/sh"@other.example>'), "no mail address"),
        (f"qf{ID}", QF.replace("RPFD:<u@other.example>", "RPFD: :include:/etc/passwd"), "no mail address"),
        (f"qf{ID}", QF.replace("S<app", "qspam\nS<app"), "line 'q'"),
        (f"qf{ID}", QF.replace("S<app", "S\n <app"), "line 'S' goes on"),
        (f"qf{ID}", QF + "RPFD:<more@rcpt.example>\n.\n", "line '.'"),
        ("qfABCDEFGHIJ", QF, "name"),
    ],
)
def test_what_can_not_go_stays_and_is_told(name: str, text: str, why: str, world: World) -> None:
    put(world.here, text, name)
    result = world.run()
    assert result.left == 0
    assert why in result.stayed[name[2:]]
    assert (world.here / name).exists()
    assert not files(world.there)


def test_the_receiver_looks_by_itself(world: World) -> None:
    taking = Taking(world.there)
    token = places.token("0" * 32, ID)
    with pytest.raises(RefusedError, match="line 'C'"):
        taking.take(
            token, "", QF.replace("S<app", "Croot\nS<app").encode(errors="replace"), io.BytesIO(), 0, lambda: True
        )
    for bad in ("../../etc/passwd", ID, f"{'0' * 32}.../x", f"{'0' * 32}.{ID}\n"):
        with pytest.raises(RefusedError, match="name"):
            taking.take(bad, "", QF.encode(errors="replace"), io.BytesIO(), 0, lambda: True)
        taking.forget(bad)
        assert taking.known(bad) is None
    assert not files(world.there)


def test_a_group_names_no_other_folder(world: World) -> None:
    (world.there.parent / "elsewhere").mkdir()
    octets = QF.encode(errors="replace")
    Taking(world.there).take(places.token("0" * 32, ID), "../elsewhere", octets, io.BytesIO(), 0, lambda: True)
    assert len(world.waiting(world.there)) == 1
    assert not list((world.there.parent / "elsewhere").iterdir())


def test_without_room_nothing_is_taken(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("postroad.evacuation.taking.MARGIN", 1 << 62)
    put(world.here)
    assert "no room" in world.run().stayed[ID]
    assert world.waiting(world.here) == [ID]
    assert files(world.here) == {f"qf{ID}", f"df{ID}"}


def test_a_volume_that_fills_up_takes_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    put(world.here)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("postroad.evacuation.taking._write_body", full)
        with pytest.raises(OSError, match="No space"):
            world.run()
    assert not world.waiting(world.here), "it is aside: the sender can't know"
    assert world.run().left == 1
    assert len(world.waiting(world.there)) == 1


def test_an_offer_of_an_older_session_comes_too_late(world: World) -> None:
    taking = Taking(world.there)
    token = places.token("0" * 32, ID)
    with pytest.raises(RefusedError, match="anew"):
        taking.take(token, "", QF.encode(errors="replace"), io.BytesIO(b"x"), 1, lambda: False)
    assert taking.known(token) is None
    assert not files(world.there)


def test_one_at_a_time(world: World) -> None:
    with places.alone(world.here), pytest.raises(PostroadError, match="already"), places.alone(world.here):
        pass


def test_what_another_relay_may_have_waits_for_its_answer(world: World, tmp_path: Path) -> None:
    path = put(world.here)
    third = tmp_path / "third"
    third.mkdir()
    Leaving(world.here).set_aside(path, world.here / f"df{ID}", places.identity(third), "third 2526")
    result = world.run()
    assert [each.queue_id for each in result.doubtful] == [ID]
    assert not world.waiting(world.here)
    assert not world.waiting(world.there)
    assert Leaving(world.here).host(places.identity(third)) == "third 2526"
    assert [message.note for message in queue.messages(world.here) if message.note.startswith("offered to")]
    # the relay that took it has left for this one
    token = places.token(places.identity(world.here), ID)
    Direct(world.there).inherit(token, "6AOALKBA9000000001")
    assert world.run() == Result(left=1)
    assert not files(world.here)


@pytest.mark.parametrize("kind", ["ef", "gf", "qf", "df"])
def test_no_id_is_taken_for_a_message(kind: str, world: World) -> None:
    """It is a random number in hexadecimal digits, and may begin as control files do."""
    receiver = "ef" * 16 if kind == "ef" else f"{kind}{'0' * 30}"
    path = put(world.here)
    Leaving(world.here).set_aside(path, world.here / f"df{ID}", receiver, "third 2526")
    assert [each.receiver for each in Leaving(world.here).messages()] == [receiver]
    assert [path.name for path in queue.control_files(world.here)] == [f"ef{ID}"]
    assert [each.queue_id for each in world.run().doubtful] == [ID]


def test_what_is_put_back_is_as_it_was(world: World) -> None:
    for folder in (world.here, world.here / GROUP):
        path = put(folder)
        before = {each.name: each.read_bytes() for each in folder.glob("?f*")}
        leaving = Leaving(world.here)
        aside = leaving.set_aside(path, folder / f"df{ID}", places.identity(world.there), "other 2526")
        assert not list(folder.glob("?f*"))
        leaving.put_back(aside)
        assert {each.name: each.read_bytes() for each in folder.glob("?f*")} == before
        assert not list(leaving.messages())
        for each in folder.glob("?f*"):
            each.unlink()


# --- killed at any step


class Killer:
    """Kills whoever acts below a folder, at the n-th act on its files."""

    def __init__(self, root: Path, at: int) -> None:
        self.root, self.left, self.dead = str(root), at, False

    def acts(self, path: object) -> None:
        """Somebody is about to act on a file."""
        if isinstance(path, int):
            path = Path(f"/proc/self/fd/{path}").readlink()
        if not str(path).startswith(self.root):
            return
        if self.left == 0:
            self.dead = True
        if self.dead:
            raise KilledError
        self.left -= 1


@contextmanager
def killed(root: Path, at: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Killer]:
    killer = Killer(root, at)
    with monkeypatch.context() as patched:
        for name in ACTS[:-1]:
            real = getattr(os, name)

            def act(path: Any, *more: Any, real: Callable[..., Any] = real, **named: Any) -> Any:
                killer.acts(path)
                return real(path, *more, **named)

            patched.setattr(os, name, act)
        yield killer


@pytest.mark.parametrize("victim", ["here", "there"])
def test_killed_at_any_step_each_message_is_there_once(
    victim: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill at each act on a file in turn, then a new start, and a run to the end."""
    steps = 0
    for at in range(1000):
        top = tmp_path / str(at)
        top.mkdir()
        world = World(top)
        for root in (world.here, world.there):
            places.identity(root)
        for number in range(2):
            put(world.here, name=f"qf6AOALKBA00004{number}", body=f"body {number}\n")
        with killed(getattr(world, victim), at, monkeypatch) as killer:
            try:
                world.run()
            except (KilledError, ConnectionError):
                pass
            except OSError as error:
                assert error.errno is None, error  # noqa: PT017 - a dead receiver is a broken connection
        steps = at
        # between the kill and the next run sendmail delivers what it sees, on both sides
        seen = [name for root in (world.here, world.there) for name in world.waiting(root)]
        assert len(seen) <= 2
        delivered = _deliver(world)
        result = world.run()
        assert not result.doubtful
        assert not result.stayed
        delivered += _deliver(world)
        assert sorted(delivered) == ["body 0\n", "body 1\n"], f"killed at act {at}"
        assert not files(world.here), f"killed at act {at}"
        assert not files(world.there), f"killed at act {at}"
        if not killer.dead:
            break
    assert steps > 20, "every act was one at which to die"


def _deliver(world: World) -> list[str]:
    """What sendmail would deliver from both queues now, and delete."""
    found = []
    for root in (world.here, world.there):
        for name in world.waiting(root):
            body = root / f"df{name}"
            found.append(body.read_text())
            (root / f"qf{name}").unlink()
            body.unlink()
    return found
