"""What a relay does when others change the lists: the connection is pretended, test_postgresql_sharing.py has real ones."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import psycopg
import pytest

from postroad.errors import PostroadError
from postroad.store import changes, database, watch
from postroad.store.watch import ChangeWatch


class EndError(BaseException):
    """In place of for ever."""


class Pretended:
    """A connection on which the numbers are those of the list, one after the other; then it is lost."""

    def __init__(self, *numbers: Mapping[str, int], hears: bool = True) -> None:
        self.hears = hears
        self._numbers = [*numbers]

    def numbers(self) -> Mapping[str, int]:
        if not self._numbers:
            raise psycopg.OperationalError("the connection is lost")
        return self._numbers.pop(0)

    def wait(self) -> None:
        """Something may have been heard."""


class Case:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, *connections: Pretended | Exception) -> None:
        self.acted: list[str] = []
        self.told: list[str] = []
        self._connections = [*connections]
        self.error: Exception | None = None
        acts = {subject: self._act(subject) for subject in (changes.SUPPRESSIONS, changes.BRAKES)}
        engine = database.connect_server("postgresql://relay@db.example/mail", None)
        self.watch = ChangeWatch(engine, acts, lambda level, text: self.told.append(f"{level} {text}"))
        monkeypatch.setattr(watch, "connected", self._connected)
        monkeypatch.setattr(time, "sleep", lambda _: None)

    def _act(self, subject: str) -> Callable[[], None]:
        def act() -> None:
            self.acted.append(subject)
            if self.error:
                raise self.error

        return act

    @contextmanager
    def _connected(self, _: object) -> Iterator[Pretended]:
        if not self._connections:
            raise EndError
        found = self._connections.pop(0)
        if isinstance(found, Exception):
            raise found
        yield found

    def run(self) -> None:
        with pytest.raises(EndError):
            self.watch._run()


BOTH = ["suppressions", "brakes"]


def test_only_what_has_changed_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(
        monkeypatch, Pretended({}, {}, {"suppressions": 1}, {"suppressions": 1}, {"suppressions": 1, "brakes": 7})
    )
    case.run()
    assert case.acted == [*BOTH, "suppressions", "brakes"]
    assert case.told == []


def test_all_is_read_again_whenever_the_server_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    away = psycopg.OperationalError("connection refused")
    case = Case(monkeypatch, Pretended({"brakes": 1}), away, away, Pretended({"brakes": 2}))
    case.run()
    assert case.acted == BOTH * 2


def test_without_notifications_it_looks_and_says_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(monkeypatch, *(Pretended({}, {"suppressions": 1}, hears=False) for _ in range(2)))
    case.run()
    assert case.acted == [*BOTH, "suppressions"] * 2
    (told,) = case.told
    assert told.startswith("info postgresql://relay@db.example/mail passes on no notifications")
    assert told.endswith("looked for every 1 s")


@pytest.mark.parametrize("error", [PostroadError("no space left"), OSError(28, "no space left")])
def test_a_list_that_can_t_be_written_is_told_once_and_tried_again(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    case = Case(monkeypatch, *(Pretended({}) for _ in range(3)))
    case.error = error
    case.run()
    assert case.acted == ["suppressions"] * 3
    (told,) = case.told
    assert told.startswith("err the lists of this relay can't be brought up to date: ")


def test_a_bug_does_not_end_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    case = Case(monkeypatch, ValueError("a bug"), Pretended({}))
    case.run()
    assert case.acted == BOTH
    assert "ValueError: a bug" in capsys.readouterr().err
