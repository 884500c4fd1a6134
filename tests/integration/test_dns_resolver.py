"""Lookups against a real DNS server, in each of the ways they can end."""

from typing import Any

import pytest

from postroad.testing import PostroadContainer
from tests.integration.inside import LOOK_UP, inside
from tests.internet.host import Dns
from tests.internet.internet import Internet

NOBODY = "127.0.0.9"
"""No server listens here, inside the relay's container."""
LONG = "v=DKIM1; k=rsa; p=" + "".join(f"{number:04d}" for number in range(150))


@pytest.fixture(scope="module")
def zones(internet: Internet) -> Internet:
    internet.add_zone("there.example", "elsewhere.example", "refused.example")
    internet.publish("there.example", "A", "192.0.2.1", "192.0.2.2")
    internet.publish("there.example", "MX", "20 mx2.there.example.", "10 MX1.there.example.")
    internet.publish("there.example", "TXT", "v=spf1 -all", 'with "quotes" and \\', ttl=45)
    internet.publish("six.there.example", "AAAA", "2001:db8:0:0:0:0:0:1")
    internet.publish("1.2.0.192.in-addr.arpa.there.example", "PTR", "There.example.")
    internet.publish("long.elsewhere.example", "TXT", LONG)
    internet.publish("key.there.example", "CNAME", "middle.there.example.")
    internet.publish("middle.there.example", "CNAME", "long.elsewhere.example.")
    internet.publish("dangling.there.example", "CNAME", "nothing.elsewhere.example.")
    internet.publish("ring.there.example", "CNAME", "ring2.there.example.")
    internet.publish("ring2.there.example", "CNAME", "ring.there.example.")
    # larger than a datagram may be: it comes over TCP
    internet.publish("large.there.example", "TXT", *(f"{number:02d} {'x' * 200}" for number in range(20)))
    rndc = internet.dns.run
    # a secondary whose primary is nowhere: SERVFAIL
    rndc("rndc", "addzone", "broken.example", '{ type secondary; primaries { 127.0.0.9 port 9; }; file "broken"; };')
    rndc(
        "rndc",
        "modzone",
        "refused.example",
        '{ type primary; file "/var/cache/bind/refused.example.zone"; allow-query { none; }; };',
    )
    return internet


def look_up(
    relay: PostroadContainer, internet: Internet, *questions: tuple[str, str], **more: Any
) -> list[dict[str, Any]]:
    given = {"servers": [internet.dns.address], "questions": questions, **more}
    answers: list[dict[str, Any]] = inside(relay, LOOK_UP, given)[0]
    return answers


@pytest.mark.parametrize(
    ("name", "rtype", "values"),
    [
        ("there.example", "A", ["192.0.2.1", "192.0.2.2"]),
        ("THERE.example.", "a", ["192.0.2.1", "192.0.2.2"]),
        ("there.example", "MX", ["10 mx1.there.example", "20 mx2.there.example"]),
        ("there.example", "TXT", ["v=spf1 -all", 'with "quotes" and \\']),
        ("six.there.example", "AAAA", ["2001:db8::1"]),
        ("1.2.0.192.in-addr.arpa.there.example", "PTR", ["there.example"]),
        ("long.elsewhere.example", "TXT", [LONG]),
        ("large.there.example", "TXT", [f"{number:02d} {'x' * 200}" for number in range(20)]),
    ],
)
def test_records_are_found(relay: PostroadContainer, zones: Internet, name: str, rtype: str, values: list[str]) -> None:
    (answer,) = look_up(relay, zones, (name, rtype))
    assert (answer["status"], sorted(answer["values"])) == ("found", sorted(values))
    assert (answer["name"], answer["type"]) == (name.lower().rstrip("."), rtype.upper())
    assert answer["ttl"] == (45 if (answer["name"], answer["type"]) == ("there.example", "TXT") else 0)
    assert not answer["authenticated"]


@pytest.mark.parametrize(
    ("name", "status", "zone"),
    [
        ("nobody.there.example", "nxdomain", "there.example"),
        ("six.there.example", "nodata", "there.example"),
        ("not-registered.example", "nxdomain", "."),
        ("www.broken.example", "servfail", ""),
        ("www.refused.example", "refused", ""),
    ],
)
def test_what_is_not_there_is_told_apart(
    relay: PostroadContainer, zones: Internet, name: str, status: str, zone: str
) -> None:
    (answer,) = look_up(relay, zones, (name, "A"))
    assert (answer["status"], answer["values"], answer["zone"]) == (status, [], zone)
    assert answer["unknown"] == (status in {"servfail", "refused"})
    assert bool(answer["detail"]) == answer["unknown"]


def test_aliases_are_followed(relay: PostroadContainer, zones: Internet) -> None:
    key, dangling, ring = look_up(
        relay, zones, ("key.there.example", "TXT"), ("dangling.there.example", "A"), ("ring.there.example", "A")
    )
    assert (key["status"], key["values"]) == ("found", [LONG])
    assert key["aliases"] == ["middle.there.example", "long.elsewhere.example"]
    assert (dangling["status"], dangling["aliases"]) == ("nxdomain", ["nothing.elsewhere.example"])
    assert ring["status"] != "found"


def test_a_name_that_is_none(relay: PostroadContainer, zones: Internet) -> None:
    answers = look_up(relay, zones, ("a..example", "A"), (f"{'x' * 64}.example", "A"), ("there.example", "NONSENSE"))
    assert [answer["status"] for answer in answers] == ["error"] * 3


def test_no_server_is_no_answer(relay: PostroadContainer, zones: Internet) -> None:
    question = {"servers": [NOBODY], "questions": [("there.example", "A")], "timeout": 1}
    ((answer,), _) = inside(relay, LOOK_UP, question)
    assert (answer["status"], answer["server"]) == ("timeout", NOBODY)


def test_the_next_server_is_asked(relay: PostroadContainer, zones: Internet) -> None:
    question = {"servers": [NOBODY, zones.dns.address], "questions": [("there.example", "A")]}
    ((answer,), _) = inside(relay, LOOK_UP, question)
    assert (answer["status"], answer["server"]) == ("found", zones.dns.address)


def test_a_silent_server_costs_a_bounded_time_for_all_names_together(relay: PostroadContainer, zones: Internet) -> None:
    silent = zones._add_host(Dns)
    silent.pause()
    try:
        questions = [(f"name{number}.there.example", "TXT") for number in range(30)]
        given = {"servers": [silent.address], "questions": questions, "timeout": 1, "deadline": 60}
        answers, seconds = inside(relay, LOOK_UP, given)
        assert {answer["status"] for answer in answers} == {"timeout"}
        assert seconds < 10, "one after the other they take 30 s"
        _, seconds = inside(relay, LOOK_UP, {**given, "timeout": 30, "deadline": 1})
        assert seconds < 10, "the deadline is for all of them"
        given = {"servers": [silent.address, zones.dns.address], "questions": [("there.example", "A")]}
        ((answer,), seconds) = inside(relay, LOOK_UP, given)
        assert answer["status"] == "found"
    finally:
        silent.unpause()


def test_each_question_is_asked_once(relay: PostroadContainer, zones: Internet) -> None:
    body = """
from postroad.dns.resolver import Resolver
from postroad.dns import resolver as module
asked = []
real = module.ask
module.ask = lambda server, name, *rest, **more: (asked.append(name), real(server, name, *rest, **more))[1]
resolver = Resolver(given)
answers = resolver.look_up([("there.example", "A")] * 20 + [("There.Example.", "a")])
return [len(asked), len({answer.values for answer in answers})]
"""
    assert inside(relay, body, [zones.dns.address]) == [1, 1]
