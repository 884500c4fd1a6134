"""What a reply means; the lookups themselves are tested against a real server, in tests/integration."""

import time
from pathlib import Path
from unittest import mock

import dns.flags
import dns.message
import pytest

from postroad.dns.resolver import GIVE_UP, Answer, Resolver, Status, _read, servers

HEAD = "id 1\nopcode QUERY\nrcode {code}\nflags QR RD RA{flags}\n;QUESTION\nwww.example. IN A\n"


def reply(answer: str = "", authority: str = "", code: str = "NOERROR", flags: str = "") -> Answer:
    text = HEAD.format(code=code, flags=flags) + f";ANSWER\n{answer}\n;AUTHORITY\n{authority}\n"
    return _read("www.example", "A", dns.message.from_text(text), "192.0.2.53")


def test_validated_by_the_resolver() -> None:
    assert reply("www.example. 60 IN A 192.0.2.1", flags=" AD").authenticated
    assert not reply("www.example. 60 IN A 192.0.2.1").authenticated


def test_the_smallest_ttl_on_the_way() -> None:
    answer = reply(
        "www.example. 300 IN CNAME a.example.\na.example. 20 IN CNAME b.example.\nb.example. 60 IN A 192.0.2.1"
    )
    assert (answer.status, answer.ttl, answer.aliases) == (Status.FOUND, 20, ("a.example", "b.example"))


def test_no_such_name_at_the_end_of_an_alias() -> None:
    soa = "example. 60 IN SOA ns.example. h.example. 1 1 1 1 1"
    answer = reply("www.example. 60 IN CNAME gone.example.", soa, code="NXDOMAIN")
    assert (answer.status, answer.aliases, answer.zone) == (Status.NXDOMAIN, ("gone.example",), "example")


@pytest.mark.parametrize(
    ("code", "status"), [("SERVFAIL", "servfail"), ("REFUSED", "refused"), ("NOTAUTH", "error"), ("YXDOMAIN", "error")]
)
def test_codes(code: str, status: str) -> None:
    answer = reply(code=code)
    assert (answer.status, answer.unknown, answer.found, answer.missing) == (status, True, False, False)
    assert code in answer.detail


def test_records_of_another_name_count_for_nothing() -> None:
    assert reply("other.example. 60 IN A 192.0.2.1").status is Status.NODATA


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "nameserver 192.0.2.1\n# nameserver 192.0.2.9\n\tnameserver 192.0.2.8\nnameserver\t2001:db8::1\n",
            ("192.0.2.1", "2001:db8::1"),
        ),
        ("".join(f"nameserver 192.0.2.{number}\n" for number in range(5)), ("192.0.2.0", "192.0.2.1", "192.0.2.2")),
        ("search example\noptions ndots:0\n", ("127.0.0.1",)),
    ],
)
def test_resolv_conf(tmp_path: Path, text: str, found: tuple[str, ...]) -> None:
    (tmp_path / "resolv.conf").write_text(text)
    assert servers((), tmp_path / "resolv.conf") == found
    assert servers(["192.0.2.53"], tmp_path / "resolv.conf") == ("192.0.2.53",)
    assert servers((), tmp_path / "none") == ("127.0.0.1",)


def test_after_the_deadline_nothing_is_asked() -> None:
    answer = Resolver(["127.0.0.1"], deadline=0).query("example.com", "A")
    assert (answer.status, answer.unknown) == (Status.TIMEOUT, True)
    assert Resolver(["127.0.0.1"]).look_up([]) == []


class Clock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.now = time.monotonic()

    def monotonic(self) -> float:
        return self.now

    def passes(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("postroad.dns.resolver.time", made)
    return made


def test_a_dead_dns_is_not_asked_for_ever(clock: Clock) -> None:
    resolver = Resolver(["192.0.2.53"], timeout=0.05)
    asked = []

    def ask(server: str, name: str, rtype: str, **_: object) -> Answer:
        asked.append(name)
        clock.passes(0.03)
        return Answer(name, rtype, Status.TIMEOUT)

    with mock.patch("postroad.dns.resolver.ask", ask):
        for number in range(20):
            assert resolver.query(f"n{number}.example", "A").status is Status.TIMEOUT
    assert {*asked} == {f"n{number}.example" for number in range(GIVE_UP)}
    assert "no resolver has answered anything" in resolver.query("n9.example", "A").detail


def test_one_that_answers_is_asked_on(clock: Clock) -> None:
    resolver = Resolver(["192.0.2.53"], timeout=0.05)
    silent = {f"n{number}.example" for number in range(10)}

    def ask(server: str, name: str, rtype: str, **_: object) -> Answer:
        clock.passes(0.03)
        return Answer(name, rtype, Status.TIMEOUT if name in silent else Status.NXDOMAIN)

    with mock.patch("postroad.dns.resolver.ask", ask):
        assert resolver.query("there.example", "A").missing
        for name in sorted(silent):
            resolver.query(name, "A")
        assert resolver.query("also.example", "A").missing
