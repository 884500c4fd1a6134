"""SPF as a receiver evaluates it: each verdict is held against that of pyspf, which the receiving MX uses."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from postroad.testing import PostroadContainer
from tests.integration.inside import inside
from tests.internet.internet import Internet

ADDRESS = "203.0.113.10"
SIX = "2001:db8::10"
EVALUATE = """
from postroad.dns.resolver import Resolver
from postroad.dns.spf_check import evaluate
verdicts = []
for address, domain in given["cases"]:
    resolver = Resolver(given["servers"], deadline=20)
    verdicts.append(evaluate(resolver, address, domain, sender=f"app@{domain}", helo="mail.sender.example"))
return verdicts
"""
COST = """
from postroad.dns.resolver import Resolver
from postroad.dns.spf_check import cost
return [cost(Resolver(given["servers"], deadline=20), record, domain) for record, domain in given["cases"]]
"""
ORACLE = """
import json, sys, warnings
warnings.simplefilter("ignore")
import spf
cases = json.loads(sys.argv[1])
print(json.dumps([spf.check2(i=address, s=f"app@{domain}", h="mail.sender.example")[0] for address, domain in cases]))
"""
RECORDS: dict[str, Sequence[str]] = {
    # name below spf.example: its TXT records
    "ip4": ["v=spf1 ip4:203.0.113.0/24 -all"],
    "ip6": ["v=spf1 ip6:2001:db8::/32 ~all"],
    "capitals": ["V=SPF1 IP4:203.0.113.10 -ALL"],
    "neutral": ["v=spf1 ?all"],
    "open-end": ["v=spf1 ip4:192.0.2.1"],
    "minus": ["v=spf1 -ip4:203.0.113.10 +all"],
    "a": ["v=spf1 a -all"],
    "a-length": ["v=spf1 a:near.spf.example/24 -all"],
    "a-lengths": ["v=spf1 a:near.spf.example/24//64 -all"],
    "mx": ["v=spf1 mx -all"],
    "mx-other": ["v=spf1 mx:mx.spf.example -all"],
    "include": ["v=spf1 include:ip4.spf.example -all"],
    "include-fails": ["v=spf1 include:minus.spf.example ~all"],
    "include-none": ["v=spf1 include:nothing.spf.example -all"],
    "redirect": ["v=spf1 redirect=ip4.spf.example"],
    "redirect-none": ["v=spf1 redirect=nothing.spf.example"],
    "redirect-all": ["v=spf1 ?all redirect=ip4.spf.example"],
    "exists": ["v=spf1 exists:%{ir}.list.spf.example -all"],
    "exists-long": ["v=spf1 exists:%{l}.%{d2}.%{v}.spf.example -all"],
    "ptr": ["v=spf1 ptr:host.spf.example -all"],
    "two": ["v=spf1 ip4:203.0.113.10 -all", "v=spf1 -all"],
    "other-text": ["some-site-verification=1", "v=spf1 ip4:203.0.113.10 -all", "v=spf10 -all"],
    "unknown-term": ["v=spf1 ipv4:203.0.113.10 -all"],
    "unknown-modifier": ["v=spf1 moo=cow ip4:203.0.113.10 -all"],
    "bad-network": ["v=spf1 ip4:203.0.113.300 -all"],
    "bad-length": ["v=spf1 a/33 -all"],
    "bad-macro": ["v=spf1 exists:%{z}.spf.example -all"],
    "empty-include": ["v=spf1 include: -all"],
    "ten": [f"v=spf1 {' '.join(f'a:a{number}.spf.example' for number in range(10))} ip4:203.0.113.10 -all"],
    "eleven": [f"v=spf1 {' '.join(f'a:a{number}.spf.example' for number in range(11))} ip4:203.0.113.10 -all"],
    "eleven-after": [f"v=spf1 ip4:203.0.113.10 {' '.join(f'a:a{number}.spf.example' for number in range(11))} -all"],
    "nested-eleven": ["v=spf1 include:ten.spf.example -all"],
    "loop": ["v=spf1 include:loop2.spf.example -all"],
    "loop2": ["v=spf1 include:loop.spf.example -all"],
    "itself": ["v=spf1 redirect=itself.spf.example"],
    "void-two": ["v=spf1 a:v1.spf.example a:v2.spf.example ip4:203.0.113.10 -all"],
    "void-three": ["v=spf1 a:v1.spf.example a:v2.spf.example mx:v3.spf.example ip4:203.0.113.10 -all"],
    "broken": ["v=spf1 include:www.spf-broken.example -all"],
    "broken-after": ["v=spf1 ip4:203.0.113.10 include:www.spf-broken.example -all"],
    "split": [f"v=spf1 {' '.join(f'ip4:192.0.2.{number}' for number in range(30))} ip4:203.0.113.10 -all"],
    "none": ["no record of this kind"],
}


@pytest.fixture(scope="module")
def zones(internet: Internet) -> Internet:
    internet.add_zone("spf.example", "113.0.203.in-addr.arpa")
    for name, texts in RECORDS.items():
        internet.publish(f"{name}.spf.example", "TXT", *texts)
    internet.publish("a.spf.example", "A", "192.0.2.7", ADDRESS)
    internet.publish("a.spf.example", "AAAA", SIX)
    internet.publish("near.spf.example", "A", "203.0.113.99")
    internet.publish("near.spf.example", "AAAA", "2001:db8::99")
    internet.publish("mx.spf.example", "MX", "10 near.spf.example.", "20 a.spf.example.")
    internet.publish("10.113.0.203.list.spf.example", "A", "127.0.0.2")
    internet.publish("app.spf.example.in-addr.spf.example", "A", "127.0.0.2")
    internet.publish("10.113.0.203.in-addr.arpa", "PTR", "www.host.spf.example.")
    internet.publish("www.host.spf.example", "A", ADDRESS)
    for number in range(11):
        internet.publish(f"a{number}.spf.example", "A", f"192.0.2.{number}")
    internet.dns.run(
        "rndc",
        "addzone",
        "spf-broken.example",
        '{ type secondary; primaries { 127.0.0.9 port 9; }; file "spf-broken"; };',
    )
    return internet


def run(relay: PostroadContainer, internet: Internet, body: str, cases: Sequence[Any]) -> list[dict[str, Any]]:
    result: list[dict[str, Any]] = inside(relay, body, {"servers": [internet.dns.address], "cases": cases})
    return result


def test_verdicts_are_those_of_a_receiver(relay: PostroadContainer, zones: Internet) -> None:
    cases = [
        (address, f"{name}.spf.example") for name in (*RECORDS, "nothing") for address in (ADDRESS, SIX, "198.51.100.1")
    ]
    theirs = json.loads(zones.mx.run("python3", "-c", ORACLE, json.dumps(cases)))
    ours = [verdict["result"] for verdict in run(relay, zones, EVALUATE, cases)]
    # pyspf takes SERVFAIL for "no record" and so comes to permerror; section 5 says temperror
    expected = {
        case: "temperror" if verdict == "permerror" and case[1].startswith("broken") else verdict
        for case, verdict in zip(cases, theirs, strict=True)
    }
    assert dict(zip(cases, ours, strict=True)) == expected
    assert set(ours) == {"none", "neutral", "pass", "fail", "softfail", "temperror", "permerror"}


def test_a_verdict_says_why(relay: PostroadContainer, zones: Internet) -> None:
    names = ["include", "two", "eleven", "broken", "none"]
    verdicts = run(relay, zones, EVALUATE, [(ADDRESS, f"{name}.spf.example") for name in names])
    for verdict, why in zip(
        verdicts,
        ["include:ip4.spf.example", "2 SPF records", "more than 10 DNS lookups", "SERVFAIL", "no SPF record"],
        strict=True,
    ):
        assert why in verdict["why"]
    assert [verdict["lookups"] for verdict in verdicts[:2]] == [1, 0]


@pytest.mark.parametrize(
    ("name", "lookups", "problem"),
    [
        ("ip4", 0, ""),
        ("include", 1, ""),
        ("ten", 10, ""),
        ("eleven-after", 11, "11 DNS lookups"),
        ("nested-eleven", 11, "11 DNS lookups"),
        ("loop", 12, "a loop: loop.spf.example -> loop2.spf.example -> loop.spf.example"),
        ("itself", 11, "a loop"),
        ("include-none", 1, "leads to no SPF record"),
        ("broken-after", 1, "can't be looked up"),
        ("unknown-term", 0, "term 1, `ipv4:203.0.113.10`: not an SPF mechanism; is ip4 meant?"),
    ],
)
def test_lookups_are_counted_to_the_end(
    relay: PostroadContainer, zones: Internet, name: str, lookups: int, problem: str
) -> None:
    (found,) = run(relay, zones, COST, [(RECORDS[name][0], f"{name}.spf.example")])
    assert found["lookups"] == lookups
    assert problem in found["problem"]
    assert bool(problem) == bool(found["problem"])


def test_a_tree_without_end_is_counted_in_time(relay: PostroadContainer, zones: Internet) -> None:
    for number in range(12):
        wide = " ".join(f"include:tree{number + 1}.spf.example" for _ in range(8))
        zones.publish(f"tree{number}.spf.example", "TXT", f"v=spf1 {wide} -all")
    (found,) = run(relay, zones, COST, [("v=spf1 include:tree0.spf.example -all", "spf.example")])
    assert found["lookups"] > 10
    assert found["problem"]
