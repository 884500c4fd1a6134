"""What is made of the names' answers; that they are asked is tested in tests/integration."""

import pytest

from postroad.config.model import Config
from postroad.dns.egress import Egress, Saying, agreed, find
from postroad.dns.resolver import Resolver


def said(*addresses: str, version: int = 4) -> list[Saying]:
    return [Saying(f"name{number}.example @192.0.2.1", version, address) for number, address in enumerate(addresses)]


@pytest.mark.parametrize(
    ("sayings", "address"),
    [
        ([], ""),
        (said("203.0.113.10"), ""),
        (said("203.0.113.10", "203.0.113.11"), ""),
        (said("203.0.113.11", "203.0.113.10", "203.0.113.10"), "203.0.113.10"),
        (said("", ""), ""),
        (said("203.0.113.10") + said("203.0.113.10", version=6), ""),
    ],
)
def test_two_must_agree(sayings: list[Saying], address: str) -> None:
    assert agreed(sayings, 4) == address


def test_what_is_configured_is_not_asked_for() -> None:
    config = Config.model_validate(
        {"hostname": "mail.example.com", "domains": ["example.com"], "public_ip": ["2001:db8::10", "203.0.113.10"]}
    )
    found = find(config, Resolver((), deadline=0))
    assert (found.addresses, found.source, found.sayings) == (("203.0.113.10", "2001:db8::10"), "configured", ())


@pytest.mark.parametrize(
    ("egress", "sentence"),
    [
        (
            Egress(("203.0.113.10",), "dns", ("10.0.3.7",)),
            "this host is 10.0.3.7; it leaves as 203.0.113.10 (as the DNS says)",
        ),
        (Egress(("203.0.113.10",), "configured", ("203.0.113.10",)), "this host is 203.0.113.10"),
        (
            Egress(("203.0.113.10",), "instance metadata", ("10.0.3.7",)),
            "this host is 10.0.3.7; it leaves as 203.0.113.10 (says instance metadata)",
        ),
        (
            Egress((), "", ("10.0.3.7",), (Saying("a.example @192.0.2.1", 4, problem="no answer in time"),)),
            "this host is 10.0.3.7; which address it leaves as is not known (a.example @192.0.2.1: no answer in time)",
        ),
    ],
)
def test_in_a_sentence(egress: Egress, sentence: str) -> None:
    assert egress.sentence == sentence
