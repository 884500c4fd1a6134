"""Does what comes back find its way: the DNS as a dictionary, and a listener that runs."""

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from postroad.checks import returns, spf
from postroad.checks.model import Level
from tests.unit.checking import ADDRESS, DEAD, Zone, context, levels
from tests.unit.test_returns_server import DOMAIN, Running, running, tls  # noqa: F401 - fixtures

pytestmark = pytest.mark.usefixtures("whole_findings")

HERE: Zone = {DOMAIN: {"MX": ("20 other.x.example", "10 mail.x.example")}, "mail.x.example": {"A": ("127.0.0.1",)}}


def found(zone: Zone) -> Any:
    (finding,) = returns.run(context(zone, returns={"domain": DOMAIN}))
    return finding


def test_without_returns_there_is_nothing_to_say() -> None:
    assert list(returns.run(context({}))) == []


@pytest.mark.parametrize(
    ("zone", "level", "said"),
    [
        ({DOMAIN: {}}, Level.ERROR, "has no MX"),
        ({DOMAIN: DEAD}, Level.WARNING, "can't be looked up"),
        ({DOMAIN: {"MX": ("10 mail.x.example",)}}, Level.ERROR, "has no address"),
        ({DOMAIN: {"MX": ("10 mail.x.example",)}, "mail.x.example": DEAD}, Level.WARNING, "can't be looked up"),
    ],
)
def test_what_the_dns_says(zone: Zone, level: Level, said: str) -> None:
    finding = found(zone)
    assert finding.level is level
    assert said in finding.message
    if said == "has no MX":
        assert (finding.record.name, finding.record.type, finding.record.value) == (DOMAIN, "MX", "10 mail.x.example")


def test_our_own_listener(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setattr(returns, "PORT", running.port)
    finding = found(HERE)
    assert finding.level is Level.OK, finding
    assert running.waiting() == []


def test_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        monkeypatch.setattr(returns, "PORT", closed.getsockname()[1])
    finding = found(HERE)
    assert (finding.level, finding.unknown) == (Level.WARNING, True)
    assert "2526" in finding.fix


@pytest.fixture
def catch_all() -> Iterator[int]:
    """A server that takes every address."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = server.accept()
        with connection, connection.makefile("rwb") as lines:
            lines.write(b"220 other\r\n")
            lines.flush()
            for _ in lines:
                lines.write(b"250 ok\r\n")
                lines.flush()

    thread = threading.Thread(target=serve)
    thread.start()
    yield server.getsockname()[1]
    thread.join(10)
    server.close()


def test_another_server_answers(catch_all: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(returns, "PORT", catch_all)
    finding = found(HERE)
    assert finding.level is Level.ERROR
    assert "another server" in finding.message


def test_spf_of_the_domain_of_return_addresses_counts() -> None:
    record = (f"v=spf1 ip4:{ADDRESS} -all",)
    zone: Zone = {"x.example": {"TXT": record}, "mail.x.example": {"TXT": record}}
    made = levels(spf, context(zone, returns={"domain": DOMAIN}))
    assert ("error", f"{DOMAIN} has no SPF record") in made
    assert not any(DOMAIN in said for _, said in levels(spf, context(zone)))
