from pathlib import Path

import pytest

from postroad import system
from postroad.runtime import attached
from postroad.runtime.attached import Tables
from postroad.supervisor import watch
from postroad.supervisor.watch import FileWatch

NEVER = float("inf")


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "INTERVAL", 0.0)


def test_a_change_is_told_once(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("a")
    look = FileWatch({str(path): system.status(str(path))}, NEVER)
    assert look.reason() == ""
    path.write_text("other")
    assert look.reason() == f"{path} changed"
    assert look.reason() == ""


def test_a_change_between_reading_and_the_first_look_counts(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("a")
    look = FileWatch({str(path): "what it was"}, NEVER)
    assert look.reason()


def test_a_file_that_goes_and_comes(tmp_path: Path) -> None:
    path = tmp_path / "key"
    look = FileWatch({str(path): system.status(str(path))}, NEVER)
    assert look.reason() == ""
    path.write_text("a")
    assert look.reason()
    path.unlink()
    assert look.reason()


def test_a_link_counts_as_what_it_leads_to(tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / name).write_text(name)
    link = tmp_path / "link"
    link.symlink_to("old")
    look = FileWatch({str(link): system.status(str(link))}, NEVER)
    system.point(link, tmp_path / "new")
    assert look.reason()


def test_what_is_due_is_told_once() -> None:
    look = FileWatch({}, 1.0)
    assert look.reason() == "the validity of the certificate changed"
    assert look.reason() == ""


def test_it_does_not_look_all_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "INTERVAL", 15.0)
    look = FileWatch({str(tmp_path / "key"): "before"}, NEVER)
    assert 14 < look.wait <= 15
    assert look.reason() == ""


ROUTE = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\neth0\t000014AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\n"
SIX = "fd000001000000000000000000000000 40 0 00 0 00000100 {uses} {uses} 00000001 eth0\n"
OWN = "|-- 172.20.0.{last}\n   /32 host LOCAL\n"


def test_another_network_or_address_is_told_and_a_packet_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Tables(ROUTE, SIX.format(uses="01"), OWN.format(last=2))
    look = FileWatch({}, NEVER, before.fingerprint)
    for now, told in (
        (Tables(ROUTE, SIX.format(uses="02"), OWN.format(last=2) * 2), ""),
        (
            Tables(ROUTE + ROUTE.splitlines()[1].replace("eth0", "eth1"), SIX.format(uses="02"), OWN.format(last=2)),
            "yes",
        ),
        (before, "yes"),
        (Tables(ROUTE, SIX.format(uses="01"), OWN.format(last=3)), "yes"),
    ):
        monkeypatch.setattr(attached, "read", lambda now=now: now)
        assert look.reason() == ("the networks of this container changed" if told else "")
        assert look.reason() == ""
