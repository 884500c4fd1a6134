"""All receivers together, and what 10,000 messages take with models of big ones (tests/receivers.py)."""

import pytest

from postroad.events.classify import classify
from postroad.front import adaptive, profiles
from postroad.front.adaptive import Receivers, signal_of
from postroad.front.slowing import FINAL, Change, Signal
from postroad.runtime.outcomes import Failure, Taken
from tests import receivers as models

FAST = "450 4.7.1 too many messages from you, slow down"
BLOCKED = "421 4.7.0 temporarily blocked"


def failure(host: str, domain: str, reply: str, kind: str = "deferred") -> Failure:
    return Failure(kind, host, domain, None, reply, None, 0.0)


class Told:
    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.direct = 0
        self.receivers = Receivers(self.changes.append, lambda _: self.direct)

    @property
    def kinds(self) -> list[tuple[str, str]]:
        return [(change.kind, change.receiver) for change in self.changes]


@pytest.fixture
def told() -> Told:
    return Told()


# --- who


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("gmail-smtp-in.l.google.com", "gmail"), ("ASPMX.L.GOOGLE.COM.", "gmail"),
        ("outlook-com.olc.protection.outlook.com", "outlook"),
        ("example-com.mail.protection.outlook.com", "exchange-online"),
        ("mta7.am0.yahoodns.net", "yahoo"), ("mx1.naver.com", "naver"), ("evilyahoodns.net", "evilyahoodns.net"),
        ("mx1.example.net", "example.net"), ("mx2.in.example.net", "in.example.net"), ("example.net", "example.net"),
        ("example.co.kr", "example.co.kr"), ("mx.example.co.kr", "example.co.kr"), ("mail.firm.de", "firm.de"),
        ("203.0.113.5", "203.0.113.5"), ("2001:db8::25", "2001:db8::25"), ("localhost", "localhost"),
    ],
)  # fmt: skip
def test_who_receives(host: str, name: str) -> None:
    assert profiles.of_host(host).name == name


def test_the_profiles_are_sound() -> None:
    names = [profile.name for profile in profiles.PROFILES]
    assert len(set(names)) == len(names) >= 10
    assert all(profile.hosts and profile.source for profile in profiles.PROFILES)
    ends = [end for profile in profiles.PROFILES for end in profile.hosts]
    assert all(profiles.of_host(end) is profiles.of_host(f"mx.{end}") for end in ends)
    domains = [domain for profile in profiles.PROFILES for domain in profile.domains]
    assert len(set(domains)) == len(domains)


# --- what replies say


@pytest.mark.parametrize(
    ("reply", "signal"),
    [
        (FAST, Signal.RATE), ("421-4.7.28 Gmail has detected an unusual rate of mail", Signal.RATE),
        ("421-4.7.26 Your email has been rate limited because it is unauthenticated. Gmail requires all", Signal.RATE),
        ("550-5.7.26 Your email has been blocked because it is unauthenticated. Gmail requires all", None),
        ("450 4.2.0 Greylisted, come back in 300 seconds", Signal.GREYLISTED),
        ("421 4.7.0 too many connections from your host", Signal.CONNECTIONS),
        ("452 4.5.3 too many recipients", None), ("450-4.2.1 The user you are trying to contact is receiving mail too quickly", None),
        ("421 4.3.2 service shutting down", Signal.LATER), ("451 4.3.0 try again later", Signal.LATER),
        ("451 4.3.0 a local error in processing", None), ("550 5.3.0 try again later", None),
        (BLOCKED, Signal.BLOCK), ("421 4.7.0 [TSS04] Messages temporarily deferred", Signal.BLOCK),
        ("550 5.1.1 no such user", None), ("452 4.2.2 mailbox full", None), ("550 5.7.1 looks like spam", None),
        ("brrr", None), ("", None),
    ],
)  # fmt: skip
def test_what_a_reply_says(reply: str, signal: Signal | None) -> None:
    kind = "deferred" if reply.startswith("4") else "bounced"
    assert signal_of(classify(kind, None, reply, None), reply) is signal


# --- together


def test_all_domains_behind_the_same_hosts_and_no_other(told: Told) -> None:
    receivers = told.receivers
    receivers.took(Taken("mx1.rcpt.example", "one.example", 1, 0.0), 0)
    receivers.took(Taken("mx.other.example", "other.example", 1, 0.0), 0)
    assert receivers.room("two.example", 20, 0) == 20
    receivers.failed(failure("mx2.rcpt.example", "two.example", BLOCKED), 1)
    assert told.kinds == [("paused", "rcpt.example")]
    assert [receivers.is_held(f"{name}.example") for name in ("one", "two", "other", "unknown")] == [
        True,
        True,
        False,
        False,
    ]
    assert [receivers.room(f"{name}.example", 20, 2) for name in ("one", "two", "other", "unknown")] == [0, 0, 20, 20]


def test_a_domain_of_a_profile_is_known_before_its_first_message(told: Told) -> None:
    told.receivers.failed(failure("alt1.aspmx.l.google.com", "firm.example", BLOCKED), 0)
    assert told.receivers.is_held("gmail.com")
    assert told.receivers.name("gmail.com") == "gmail"
    assert told.receivers.name("firm.example") == "gmail"


def test_the_limit_counts_for_all_domains_together(told: Told) -> None:
    receivers = told.receivers
    for domain in ("one.example", "two.example"):
        receivers.took(Taken("mx.rcpt.example", domain, 1, 0.0), 0)
    told.direct = 3
    receivers.failed(failure("mx.rcpt.example", "one.example", "421 too many connections"), 1)
    assert told.changes[0].connections == 3  # of four, one was refused
    began = [receivers.began(domain, 1, 2) for domain in ("one.example", "two.example", "one.example")]
    assert began == ["rcpt.example"] * 3
    assert receivers.room("two.example", 20, 2) == 0
    receivers.ended("rcpt.example")
    assert receivers.room("two.example", 20, 2) == 20


def test_a_run_for_a_receiver_that_was_not_known_takes_no_place(told: Told) -> None:
    assert told.receivers.began("one.example", 5, 0) == ""
    told.receivers.ended("")
    told.receivers.failed(failure("mx.rcpt.example", "one.example", "421 too many connections"), 1)
    assert told.receivers.room("one.example", 20, 2) == 20


def test_a_block_for_good_may_be_what_one_customer_wants(told: Told) -> None:
    refused = failure("mx.rcpt.example", "one.example", "550 5.7.1 your IP is blocked", "bounced")
    told.receivers.took(Taken("mx.rcpt.example", "two.example", 1, 0.0), 0)
    for i in range(2 * FINAL):
        told.receivers.failed(refused, i)
    assert told.kinds == []


def test_a_block_for_good_of_the_only_domain_is_one(told: Told) -> None:
    for i in range(FINAL):
        told.receivers.failed(failure("mx.rcpt.example", "one.example", "550 5.7.1 your IP is blocked", "bounced"), i)
    assert told.kinds == [("paused", "rcpt.example")]


def test_a_refusal_of_a_message_is_no_reason(told: Told) -> None:
    for reply in ("550 5.1.1 no such user", "452 4.2.2 mailbox full", "554 5.7.1 spam"):
        told.receivers.failed(failure("mx.rcpt.example", "one.example", reply, "bounced"), 0)
    assert told.kinds == []


def test_while_it_is_off_nothing_is_held(told: Told) -> None:
    told.receivers.failed(failure("mx.rcpt.example", "one.example", BLOCKED), 0)
    told.receivers.enabled = False
    told.receivers.free_all()
    assert not told.receivers.is_held("one.example")
    told.receivers.failed(failure("mx.rcpt.example", "one.example", BLOCKED), 1)
    assert told.receivers.room("one.example", 20, 2) == 20


def test_what_is_remembered_is_bounded(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adaptive, "REMEMBERED", 10)
    monkeypatch.setattr(adaptive, "DOMAINS", 20)
    told.receivers.failed(failure("mx.first.example", "first.example", BLOCKED), 0)
    for i in range(100):
        told.receivers.took(Taken(f"mx.r{i}.example", f"r{i}.example", 1, 0.0), i)
        told.receivers.took(Taken("mx.first.example", "first.example", 0, 0.0), i) if i == 99 else None
    assert len(told.receivers._receivers) <= 10
    assert len(told.receivers._domains) <= 20


def test_one_that_is_held_is_not_forgotten(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adaptive, "REMEMBERED", 2)
    told.receivers.failed(failure("mx.first.example", "first.example", BLOCKED), 0)
    for i in range(20):
        told.receivers.took(Taken(f"mx.r{i}.example", f"r{i}.example", 1, 0.0), i)
    assert told.receivers.is_held("first.example")
    told.receivers.tick(700)


# --- 10,000 messages


@pytest.mark.parametrize("number", range(5), ids=[model.domain for model in models.models()])
def test_ten_thousand_messages(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """No slower than 1.2 times the receiver's own limit, and a tenth of the refusals, within the same time."""
    with_ = models.models()[number]
    found = models.Relay(with_, adaptive=True).simulate()
    assert found.seconds <= 1.2 * with_.least
    monkeypatch.setattr(models, "GIVE_UP", max(found.seconds, 3000.0))
    without = models.models()[number]
    models.Relay(without, adaptive=False).simulate()
    assert found.refusals * 10 <= without.refusals
    assert found.told[0].kind == "slowed"
