"""Sessions at the listeners that sendmail itself has: how many there are, and who makes room."""

import pytest

from postroad.supervisor.sessions import COMING, GRACE, REMEMBERED, Sessions


class World:
    """Processes that live until they are ended, and a clock."""

    def __init__(self, most: int) -> None:
        self.now = 0.0
        self.alive: dict[int, str] = {}
        self.ended: list[int] = []
        self.sessions = Sessions(most, lambda: self.now, lambda pid: self.alive.get(pid, ""), self._end)

    def _end(self, pid: int) -> None:
        self.ended.append(pid)
        del self.alive[pid]

    def begin(self, pid: int, address: str, limit: int = 0) -> str:
        self.alive[pid] = f"{pid} {self.now}"
        return self.sessions.answer(pid, f"{limit} {address}")


def test_a_client_has_as_many_as_its_limit() -> None:
    world = World(100)
    assert [world.begin(pid, "192.0.2.1", 3) for pid in range(4)] == ["OK IN"] * 3 + ["OK CLIENT"]
    assert world.begin(10, "192.0.2.2", 3) == "OK IN"
    assert world.ended == []
    del world.alive[1]  # it has ended
    assert world.begin(5, "192.0.2.1", 3) == "OK IN"


def test_the_one_that_has_not_logged_in_for_longest_makes_room() -> None:
    world = World(100)
    for pid in range(3):
        world.begin(pid, "192.0.2.1", 3)
        world.now += 1
    world.sessions.login(0)
    assert world.begin(3, "192.0.2.1", 3) == "OK CLIENT"
    world.now += GRACE
    assert world.begin(4, "192.0.2.1", 3) == "OK IN"
    assert world.ended == [1]


def test_all_together_have_a_bound_of_which_a_quarter_is_for_addresses_that_are_known() -> None:
    world = World(8)
    world.begin(1, "192.0.2.9")
    world.sessions.login(1)
    del world.alive[1]
    assert [world.begin(pid, f"198.51.100.{pid}") for pid in range(2, 9)] == ["OK IN"] * 6 + ["OK ALL"]
    assert [world.begin(pid, "192.0.2.9") for pid in range(20, 23)] == ["OK IN"] * 2 + ["OK ALL"]
    world.now += GRACE + 1
    assert world.begin(30, "192.0.2.9") == "OK IN"
    assert world.ended == [2]


def test_a_process_with_the_number_of_another_is_not_taken_for_it() -> None:
    world = World(100)
    world.begin(1, "192.0.2.1", 1)
    world.alive[1] = "somebody else"
    assert world.begin(2, "192.0.2.1", 1) == "OK IN"


def test_known_addresses_are_remembered_up_to_a_number() -> None:
    world = World(4)
    for number in range(REMEMBERED + 1):
        world.begin(1, f"10.0.{number // 256}.{number % 256}")
        world.sessions.login(1)
    assert "10.0.0.0" not in world.sessions._known
    assert "10.0.0.1" in world.sessions._known
    world.sessions.login(99)  # of nobody's: port 25


@pytest.mark.parametrize("key", ["", "x", "5", "x 192.0.2.1", "5 a"])
def test_a_senseless_key_gets_nobody_in(key: str) -> None:
    assert World(4).sessions.answer(1, key).startswith("PERM")


def test_who_knocks_counts_until_it_is_a_session_or_has_come_to_nothing() -> None:
    world = World(8)
    assert [world.sessions.knock(f"198.51.100.{number}") for number in range(7)] == ["OK IN"] * 6 + ["OK ALL"]
    assert world.begin(1, "198.51.100.0") == "OK IN"
    assert world.sessions.knock("198.51.100.9") == "OK ALL"
    world.now += COMING + 1
    assert world.sessions.knock("198.51.100.9") == "OK IN"
    assert world.sessions.knock("nowhere").startswith("PERM")


def test_an_address_is_one_however_it_is_written() -> None:
    world = World(100)
    assert world.begin(1, "192.0.2.1", 1) == "OK IN"
    assert world.begin(2, "::ffff:192.0.2.1", 1) == "OK CLIENT"
    assert world.begin(3, "IPv6:2001:db8::1", 1) == "OK IN"
    assert world.begin(4, "2001:DB8:0::1", 1) == "OK CLIENT"


def test_the_log_says_now_and_then_that_clients_are_turned_away() -> None:
    said: list[str] = []
    sessions = Sessions(4, lambda: 0.0, lambda _: "1", lambda _: None, lambda _, text: said.append(text))
    answers = [sessions.knock("192.0.2.1") for _ in range(9)]
    assert answers == ["OK IN"] * 3 + ["OK ALL"] * 6
    assert said == ["587 and 465: all 3 sessions are taken, further clients are turned away (421)"]
