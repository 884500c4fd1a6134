"""Who has to wait, when and for how long; that the listeners act on it is shown in ``tests/integration/test_doors.py``."""

import pytest

from postroad.supervisor.guesses import FIRST, FREE, FREE_IN_ALL, LONGEST, MEMORY, REMEMBERED, Guesses, of


class World:
    def __init__(self) -> None:
        self.now = 0.0
        self.said: list[str] = []
        self.guesses = Guesses(lambda _, text: self.said.append(text), lambda: self.now)

    def fail(self, number: int = 1, user: str = "app", address: str = "192.0.2.1") -> list[str]:
        return [self.guesses.answer(f"{address} wrong {user}") for _ in range(number)]

    def waits(self, user: str = "app", address: str = "192.0.2.1") -> bool:
        return self.guesses.answer(f"{address} right {user}") == "OK WAIT"


@pytest.fixture
def world() -> World:
    return World()


def test_some_failures_are_free_and_the_next_is_not(world: World) -> None:
    world.fail(5)  # the number that docs/security.md promises, whatever FREE is
    assert not world.waits()
    assert world.said == []
    world.fail()
    assert world.waits()
    assert world.waits("app@mail.sender.example")
    world.fail(3)
    assert len(world.said) == 1
    assert "192.0.2.1" in world.said[0]


def test_nobody_else_waits(world: World) -> None:
    world.fail(FREE + 1)
    assert not world.waits("shop")
    assert not world.waits(address="192.0.2.2")


def test_an_address_waits_after_far_more(world: World) -> None:
    for number in range(100):
        world.fail(user=f"u{number}")
    assert not world.waits("app")
    assert FREE_IN_ALL == 100
    world.fail(user="another")
    assert world.waits("app")
    assert world.waits("")
    assert not world.waits(address="192.0.2.2")


def test_each_further_failure_doubles_the_time_up_to_a_limit(world: World) -> None:
    world.fail(FREE)
    for number in range(12):
        world.fail()
        wait = min(FIRST * 2**number, LONGEST)
        world.now += wait - 0.1
        assert world.waits()
        world.now += 0.1
        assert not world.waits()
    world.fail(5000)  # 2**5000 is no float
    assert world.waits()


def test_a_right_one_neither_counts_nor_forgives(world: World) -> None:
    world.fail(FREE)
    assert not any(world.waits() for _ in range(20))
    world.fail()
    assert world.waits()


def test_the_count_is_forgotten_without_a_failure(world: World) -> None:
    world.fail(FREE)
    world.now += MEMORY
    world.fail(FREE)
    assert not world.waits()
    world.fail()
    assert world.waits()


def test_what_is_remembered_has_its_bound(world: World) -> None:
    world.fail(FREE + 1)
    for number in range(REMEMBERED):
        world.fail(user=f"u{number}", address=f"10.0.{number >> 8}.{number & 255}")
    assert len(world.guesses._failures) == REMEMBERED
    assert not world.waits()


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2600:1f18:1:2:3::4", "2600:1f18:1:2::/64"),
        ("2600:1f18:1:2:ffff::9", "2600:1f18:1:2::/64"),
        ("fd00::1:2", "fd00::1:2"),
        ("::1", "::1"),
    ],
)
def test_who_counts_as_one(address: str, client: str) -> None:
    assert of(address) == client


@pytest.mark.parametrize("key", ["", "x", "192.0.2.1", "192.0.2.1 maybe app", "mail.example wrong app"])
def test_what_makes_no_sense_lets_nobody_in(world: World, key: str) -> None:
    assert world.guesses.answer(key).startswith("PERM")
