"""``postroad relays``: who shares the database, and a relay that is forgotten."""

import json
import time

import pytest
from sqlalchemy import Engine, insert

from postroad.store import budgets, database
from postroad.store.schema import PARTS, RELAYS
from tests.unit.commands import run

LONG_AGO = 600.0
CONNECTIONS = "route-5f7aef8e connections"


@pytest.fixture(autouse=True)
def store(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """The store in force."""
    monkeypatch.setattr(database, "existing", lambda: engine)
    return engine


def relay(engine: Engine, number: int, name: str) -> None:
    with engine.begin() as connection:
        connection.execute(insert(RELAYS).values(id=number, name=name))


def part(engine: Engine, holder: int, ago: float, amount: int = 4, keeps: int = 2) -> None:
    with engine.begin() as connection:
        connection.execute(
            insert(PARTS).values(
                name=CONNECTIONS, holder=holder, amount=amount, keeps=keeps, wants=0, needs=0, period=0.0, renewals=7,
                renewed=time.time() - ago,
            )
        )  # fmt: skip


def kept(engine: Engine) -> dict[int, int]:
    with engine.connect() as connection:
        return {each.holder: each.keeps for each in budgets.held(connection)}


def test_each_relay_is_listed_with_what_it_holds(engine: Engine) -> None:
    relay(engine, 3, "mail-2")
    relay(engine, 2, "mail-1")
    part(engine, 2, 0.0)
    part(engine, 9, LONG_AGO, amount=1)
    head, *rows = [line.split() for line in run("relays", "list").out.splitlines()]
    assert head[:2] == ["relay", "number"]
    assert [row[:2] for row in rows] == [["9", "9"], ["mail-1", "2"], ["mail-2", "3"]]
    assert rows[1][-4:] == ["4", "of", *CONNECTIONS.split()]
    assert rows[2][2:] == ["-", "-"]
    found = json.loads(run("relays", "list", "--json").out)["relays"]
    assert found[1]["parts"] == [{"limit": CONNECTIONS, "amount": 4, "keeps": 2}]
    assert found[0]["heard"] < found[1]["heard"]
    assert found[2] == {"relay": "mail-2", "number": 3, "heard": None, "parts": []}


def test_a_store_that_nobody_shares() -> None:
    assert run("relays", "list").out == "no relay shares this store: events.store is not set\n"


def test_a_relay_that_is_gone_is_forgotten(engine: Engine) -> None:
    relay(engine, 2, "mail-1")
    relay(engine, 3, "mail-2")
    part(engine, 2, 0.0)
    part(engine, 3, LONG_AGO)
    code, out, _ = run("relays", "forget", "mail-2", "--yes")
    assert (code, out.partition(":")[0]) == (0, "mail-2 is forgotten")
    assert kept(engine) == {2: 2, 3: 0}


def test_one_that_was_heard_of_is_not(engine: Engine) -> None:
    relay(engine, 2, "mail-1")
    part(engine, 2, 5.0)
    code, _, error = run("relays", "forget", "mail-1", "--yes")
    assert (code, kept(engine)) == (1, {2: 2})
    assert "so it runs: stop it first" in error


def test_of_two_with_one_name_only_the_dead_one_goes(engine: Engine) -> None:
    """As where a host came back with new volumes."""
    for number, ago in ((2, LONG_AGO), (3, 1.0)):
        relay(engine, number, "mail-1")
        part(engine, number, ago)
    code, out, _ = run("relays", "forget", "mail-1", "--yes")
    assert (code, kept(engine)) == (0, {2: 0, 3: 2})
    assert "another relay of this name runs" in out


def test_a_number_names_one_of_several_with_one_name(engine: Engine) -> None:
    for number in (2, 3):
        relay(engine, number, "mail-1")
        part(engine, number, LONG_AGO)
    assert run("relays", "forget", "3", "--yes").code == 0
    assert kept(engine) == {2: 2, 3: 0}


def test_what_can_t_be_forgotten(engine: Engine) -> None:
    relay(engine, 2, "mail-1")
    assert run("relays", "forget", "mail-1", "--yes")[:2] == (1, "mail-1 holds no part of a limit\n")
    code, _, error = run("relays", "forget", "mail-7", "--yes")
    assert (code, "no relay mail-7 has used this database" in error) == (1, True)


def test_nothing_is_forgotten_unasked(engine: Engine) -> None:
    relay(engine, 2, "mail-1")
    part(engine, 2, LONG_AGO)
    code, _, error = run("relays", "forget", "mail-1")
    assert (code, kept(engine)) == (2, {2: 2})
    assert "add --yes" in error
