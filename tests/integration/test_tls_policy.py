"""TLS with recipients' MX hosts: what each policy lets through, and what it keeps in the queue."""

import pytest

from postroad.testing import ENDS, PostroadContainer
from tests.integration.conftest import Relays, deferred, letter, send, send_in_turn, story
from tests.internet.host import Mx, Resolver
from tests.internet.internet import Internet

# server: policy: delivered over TLS, delivered in clear text, or what the reason for the delay says
TABLE = {
    "good": {"opportunistic": "tls", "require": "tls", "verify": "tls"},
    "wildcard": {"verify": "tls"},
    "expired": {"opportunistic": "tls", "require": "tls", "verify": "expired or not signed by an authority we trust"},
    "self-signed": {
        "opportunistic": "tls",
        "require": "tls",
        "verify": "expired or not signed by an authority we trust",
    },
    "wrong-name": {"opportunistic": "tls", "require": "tls", "verify": "is for other.wrong-name.mx.example, not for"},
    "plain": {"opportunistic": "clear", "require": "does not offer STARTTLS", "verify": "does not offer STARTTLS"},
    "handshake-fails": {
        "opportunistic": "clear",
        "require": "did not get through the TLS handshake",
        "verify": "did not get through the TLS handshake",
    },
    "starttls-refused": {
        "opportunistic": "clear",
        "require": "does not take STARTTLS now",
        "verify": "does not take STARTTLS now",
    },
}
WATCHED = {"handshake-fails", "starttls-refused"}
CELLS = [(server, policy, end) for server, row in TABLE.items() for policy, end in row.items()]


@pytest.fixture(scope="module")
def relay(relays: Relays, internet: Internet, ca_file: str) -> PostroadContainer:
    """A relay with a domain, and so a policy, for each cell of the table."""
    for server in TABLE:
        host = f"{server}.mx.example"
        if server in WATCHED:
            internet.add_watch(host, behaviour=server)
        elif server == "plain":
            internet.add_smarthost(host, tls=False)
        else:
            internet.add_smarthost(host, certificate=server)
    for server, policy, _ in CELLS:
        internet.add_zone(f"{policy}.{server}.example")
        internet.publish(f"{policy}.{server}.example", "MX", f"10 {server}.mx.example")
    internet.publish("other.wrong-name.mx.example", "MX", "10 wrong-name.mx.example")
    policies = {f"{policy}.{server}.example": policy for server, policy, _ in CELLS}
    # the policy of all other domains refuses everything: none of the cells is its doing
    return relays(
        mounts={ca_file: "/ca.pem"},
        delivery={
            "tls": {
                "ca_file": "/ca.pem",
                "policy": "dane-only",
                "domains": {**policies, "other.wrong-name.mx.example": "verify"},
            }
        },
    )


@pytest.mark.parametrize(("server", "policy", "end"), CELLS, ids=[f"{server}-{policy}" for server, policy, _ in CELLS])
def test_the_table(server: str, policy: str, end: str, relay: PostroadContainer, internet: Internet) -> None:
    check(relay, internet, f"a@{policy}.{server}.example", end, watched=server in WATCHED)


def check(relay: PostroadContainer, internet: Internet, recipient: str, end: str, *, watched: bool = False) -> None:
    message_id = send(relay, letter(To=recipient))
    if end in {"tls", "clear"}:
        event = next(event for event in relay.follow(message_id) if event["event"] in ENDS)
        assert event["event"] == "delivered", event
        if not watched:
            assert bool(internet.wait_for_message(message_id).tls_version) == (end == "tls")
        return
    assert end in deferred(relay, message_id)
    assert not internet.messages(recipient)


def test_a_certificate_for_the_domain_itself_will_do(relay: PostroadContainer, internet: Internet) -> None:
    check(relay, internet, "a@other.wrong-name.mx.example", "tls")


def test_one_message_goes_where_it_may(relay: PostroadContainer, internet: Internet) -> None:
    # one connection, one envelope, two recipients of different policies
    internet.add_zone("both.example")
    domains = ["opportunistic.self-signed.example", "verify.self-signed.example"]
    message_id = send(relay, letter(), to_addrs=[f"two@{domain}" for domain in domains])
    relay.wait_for(message_id, "deferred")
    assert internet.wait_for_message(message_id).recipient == f"two@{domains[0]}"
    events = story(relay, message_id)
    assert {event["recipient"] for event in events if event["event"] == "deferred"} == {f"two@{domains[1]}"}


def test_each_message_of_a_session_is_judged(relay: PostroadContainer) -> None:
    """A connection that is there from the message before is good for what it is, whoever opened it."""
    free, bound = ("opportunistic", "delivered"), ("verify", "")
    steps = [
        (f"turn@{policy}.{server}.example", end or TABLE[server]["verify"])
        for server in ("self-signed", "wrong-name", "plain", "expired")
        for policy, end in (free, bound, free, free, bound, bound)
    ]
    send_in_turn(relay, steps)


def test_a_policy_for_all_and_for_what_is_below(relays: Relays, internet: Internet, ca_file: str) -> None:
    relay = relays(
        mounts={ca_file: "/ca.pem"},
        delivery={
            "tls": {
                "policy": "require",
                "domains": {
                    ".self-signed.example": "verify",
                    ".plain.example": "verify",
                    "OPPORTUNISTIC.plain.example": "opportunistic",
                },
            }
        },
    )
    check(relay, internet, "b@opportunistic.self-signed.example", "not signed by an authority we trust")
    check(relay, internet, "b@opportunistic.plain.example", "clear")
    check(relay, internet, "b@require.plain.example", "needs TLS (verify)")
    check(relay, internet, "b@opportunistic.expired.example", "tls")
    # the test authority is not trusted here
    check(relay, internet, "b@verify.self-signed.example", "not signed by an authority we trust")


@pytest.fixture(scope="module")
def resolver(internet: Internet) -> Resolver:
    """Two signed zones and one that is not, each with an MX, and a resolver that checks."""
    internet.add_zone("signed.example", signed=True)
    hosts: dict[str, Mx] = {}
    for name in ("match", "mismatch", "plain"):
        hosts[name] = internet.add_smarthost(f"{name}.signed.example", certificate="self-signed", tls=name != "plain")
    internet.add_zone("unsigned.example")
    for name, host in hosts.items():
        internet.publish(f"to-{name}.signed.example", "MX", f"10 {name}.signed.example")
        tlsa = hosts["match"].tlsa() if name == "mismatch" else host.tlsa()
        internet.publish(f"_25._tcp.{name}.signed.example", "TLSA", tlsa)
    # no TLSA records in a signed zone; records that no signature vouches for
    internet.publish_host("none.signed.example", hosts["match"].address)
    internet.publish("to-none.signed.example", "MX", "10 none.signed.example")
    internet.publish_host("mx.unsigned.example", hosts["match"].address)
    internet.publish("unsigned.example", "MX", "10 mx.unsigned.example")
    internet.publish("_25._tcp.mx.unsigned.example", "TLSA", hosts["mismatch"].tlsa())
    for name in ("match", "mismatch"):
        internet.publish(f"to-{name}.unsigned.example", "MX", f"10 {name}.signed.example")
    # the resolver has another key for this one, and so answers SERVFAIL
    internet.add_zone("bogus.example", signed=True)
    internet.publish("bogus.example", "MX", "10 mx.unsigned.example")
    return internet.add_resolver("signed.example", bogus=["bogus.example"])


DANE = {
    "to-match.signed.example": {"dane": "tls", "dane-only": "tls"},
    "to-mismatch.signed.example": {"dane": "DANE", "dane-only": "DANE"},
    "to-plain.signed.example": {"dane": "DANE", "dane-only": "DANE"},
    "to-none.signed.example": {"dane": "tls", "dane-only": "TLSA"},
    "unsigned.example": {"dane": "tls", "dane-only": "TLSA"},
    # signed TLSA records of a server that somebody may have put into an MX record without a signature
    "to-match.unsigned.example": {"dane": "tls", "dane-only": "TLSA"},
    "to-mismatch.unsigned.example": {"dane": "tls", "dane-only": "TLSA"},
    "bogus.example": {"dane": "lookup", "dane-only": "lookup"},
}


@pytest.fixture(scope="module")
def by_dane(relays: Relays, resolver: Resolver) -> dict[str, PostroadContainer]:
    return {
        policy: relays(kwargs={"dns": [resolver.address]}, delivery={"tls": {"policy": policy}})
        for policy in ("dane", "dane-only")
    }


@pytest.mark.parametrize(
    ("domain", "policy", "end"), [(domain, policy, end) for domain, row in DANE.items() for policy, end in row.items()]
)
def test_dane(domain: str, policy: str, end: str, by_dane: dict[str, PostroadContainer], internet: Internet) -> None:
    check(by_dane[policy], internet, f"{policy}@{domain}", end)


@pytest.mark.parametrize("policy", ["dane", "dane-only"])
def test_dane_is_asked_for_each_message(policy: str, by_dane: dict[str, PostroadContainer]) -> None:
    """One client's, in one session: a connection to the same server may be there from the message before."""
    domains = ("to-match.signed", "to-match.unsigned", "to-mismatch.unsigned", "to-mismatch.signed")
    ends = {domain: DANE[f"{domain}.example"][policy] for domain in domains}
    pairs = [domain for first in domains for second in domains for domain in (first, second)]
    steps = [(f"turn@{domain}.example", "delivered" if ends[domain] == "tls" else ends[domain]) for domain in pairs]
    send_in_turn(by_dane[policy], steps)


def test_dane_is_asked_for_each_domain_of_a_message(by_dane: dict[str, PostroadContainer]) -> None:
    domains = ["to-match.signed.example", "to-match.unsigned.example"]
    # more recipients than the front makes messages of
    to = [f"{number}@{domain}" for domain in domains for number in range(15)]
    relay = by_dane["dane-only"]
    message_id = send(relay, letter(), to_addrs=to)
    relay.wait_for(message_id, "delivered", timeout=60)
    relay.wait_for(message_id, "deferred", timeout=60)
    events = story(relay, message_id)
    for kind, domain in zip(("delivered", "deferred"), domains, strict=True):
        assert {event["recipient"].partition("@")[2] for event in events if event["event"] == kind} == {domain}


def test_without_a_resolver_that_checks_there_is_no_dane(
    relays: Relays, resolver: Resolver, internet: Internet
) -> None:
    relay = relays(delivery={"tls": {"policy": "dane-only"}})
    check(relay, internet, "c@to-match.signed.example", "TLSA")
