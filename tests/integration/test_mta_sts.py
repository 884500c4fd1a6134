"""MTA-STS (RFC 8461): what the policies of recipients' domains let through, and what happens when they can't be had."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from postroad.testing import ENDS, PostroadContainer
from tests.integration.conftest import Relays, deferred, letter, send, send_in_turn, story, wait_until
from tests.internet.host import Mx, Policies, Watch
from tests.internet.internet import Internet, Policy

UNTRUSTED = "expired or not signed by an authority we trust"
UNLISTED = "is not among the MX hosts in the MTA-STS policy of"

# domain: its MX hosts in order, its policy's mode and MX patterns, the policy host's certificate,
# and the end: delivered over TLS or in clear text, or what the reason for the delay says
TABLE = {
    "enforce": ("good", "enforce", "good.mx.sts.example", "good", "tls"),
    "any": ("good", "enforce", "*.mx.sts.example", "good", "tls"),
    "any-host-below": ("good", "enforce", "*.sts.example", "good", UNLISTED),
    "another-host": ("good", "enforce", "other.mx.sts.example", "good", UNLISTED),
    "a-part-of-the-name": ("good", "enforce", "od.mx.sts.example", "good", UNLISTED),
    "several": ("good", "enforce", "a.example *.b.example GOOD.mx.sts.example c.example", "good", "tls"),
    "untrusted": ("self-signed", "enforce", "*.mx.sts.example", "good", UNTRUSTED),
    "misnamed": (
        "wrong-name",
        "enforce",
        "*.mx.sts.example",
        "good",
        "is for other.wrong-name.mx.sts.example, not for",
    ),
    "clear": ("plain", "enforce", "*.mx.sts.example", "good", "does not offer STARTTLS"),
    "second-best": ("plain good", "enforce", "*.mx.sts.example", "good", "tls"),
    "first-unlisted": ("watch good", "enforce", "good.mx.sts.example", "good", "tls"),
    "testing": ("plain", "testing", "good.mx.sts.example", "good", "clear"),
    "none": ("plain", "none", "", "good", "clear"),
    "by-nobody": ("plain", "enforce", "good.mx.sts.example", "self-signed", "clear"),
    "by-another": ("plain", "enforce", "good.mx.sts.example", "wrong-name", "clear"),
    "by-an-old-one": ("plain", "enforce", "good.mx.sts.example", "expired", "clear"),
    # our own policy for it wins
    "excepted": ("plain", "enforce", "good.mx.sts.example", "good", "clear"),
    # goes to a smarthost, whatever its own policy
    "routed": ("plain", "enforce", "good.mx.sts.example", "good", "clear"),
}


@pytest.fixture(scope="module")
def watch(internet: Internet) -> Watch:
    return internet.add_watch("watch.mx.sts.example")


@pytest.fixture(scope="module")
def servers(internet: Internet, watch: Watch) -> dict[str, Mx]:
    return {
        name: internet.add_smarthost(f"{name}.mx.sts.example", certificate=name, tls=name != "plain")
        for name in ("good", "self-signed", "wrong-name", "plain")
    }


@pytest.fixture(scope="module")
def policies(internet: Internet, servers: dict[str, Mx]) -> Policies:
    """The policy host; the domains of the table, and their policies."""
    internet.add_zone("sts.example")
    publish_mx(internet, {name: row[0] for name, row in TABLE.items()})
    host = internet.add_policies()
    rows = TABLE.items()
    internet.publish_policies(
        host, *(Policy(f"{name}.sts.example", row[1], row[2].split(), row[3]) for name, row in rows)
    )
    return host


def publish_mx(internet: Internet, servers: Mapping[str, str]) -> None:
    """Publish each domain's servers, separated by spaces, in their order."""
    internet.publish_all(
        "MX",
        {
            f"{name}.sts.example": [f"{i}0 {server}.mx.sts.example" for i, server in enumerate(hosts.split(), 1)]
            for name, hosts in servers.items()
        },
    )


@pytest.fixture(scope="module")
def start(relays: Relays, policies: Policies, ca_file: str) -> Callable[..., PostroadContainer]:
    """Starts a relay that keeps to MTA-STS."""

    def start(
        *, tls: dict[str, Any] | None = None, delivery: dict[str, Any] | None = None, **config: Any
    ) -> PostroadContainer:
        wanted = {**(delivery or {}), "tls": {"mta_sts": True, "ca_file": "/ca.pem", **(tls or {})}}
        return relays(mounts={ca_file: "/ca.pem"}, delivery=wanted, **config)

    return start


@pytest.fixture(scope="module")
def relay(start: Callable[..., PostroadContainer]) -> PostroadContainer:
    return start(
        tls={"domains": {"excepted.sts.example": "opportunistic"}},
        delivery={
            "routes": [
                {
                    "domains": ["routed.sts.example"],
                    "smarthost": {"host": "plain.mx.sts.example", "port": 25, "tls": "none"},
                }
            ]
        },
    )


@pytest.mark.parametrize("name", TABLE)
def test_the_table(name: str, relay: PostroadContainer, internet: Internet) -> None:
    check(relay, internet, f"a@{name}.sts.example", TABLE[name][-1])


def check(relay: PostroadContainer, internet: Internet, recipient: str, end: str) -> None:
    message_id = send(relay, letter(To=recipient))
    if end in {"tls", "clear"}:
        event = next(event for event in relay.follow(message_id) if event["event"] in ENDS)
        assert event["event"] == "delivered", event
        assert bool(internet.wait_for_message(message_id).tls_version) == (end == "tls")
        return
    assert end in deferred(relay, message_id)
    assert not internet.messages(recipient)


def test_it_shows_that_it_is_on(relay: PostroadContainer) -> None:
    assert "keeping to recipients' MTA-STS policies" in relay.command("check")


def test_the_server_is_asked_for_by_its_name(relay: PostroadContainer, internet: Internet, watch: Watch) -> None:
    publish_mx(internet, {"named": "watch"})
    relay.follow(send(relay, letter(To="a@named.sts.example")))
    assert watch.server_names() == {"watch.mx.sts.example"}


def test_one_message_goes_where_it_may(relay: PostroadContainer, internet: Internet) -> None:
    # one connection, one envelope; the domain without a policy comes first
    publish_mx(internet, {"a-free": "self-signed"})
    domains = ["a-free.sts.example", "untrusted.sts.example"]
    message_id = send(relay, letter(), to_addrs=[f"two@{domain}" for domain in domains])
    relay.wait_for(message_id, "deferred")
    assert internet.wait_for_message(message_id).recipient == f"two@{domains[0]}"
    events = story(relay, message_id)
    assert {event["recipient"] for event in events if event["event"] == "deferred"} == {f"two@{domains[1]}"}
    assert not internet.messages(f"two@{domains[1]}")


def test_without_a_policy_host_there_is_no_policy(
    relay: PostroadContainer, internet: Internet, policies: Policies
) -> None:
    publish_mx(internet, {"unreachable": "plain"})
    internet.publish_policies(policies, Policy("unreachable.sts.example", "enforce", ["good.mx.sts.example"]))
    internet.publish("mta-sts.unreachable.sts.example", "A", internet.mx.address)  # nobody listens on 443 there
    check(relay, internet, "a@unreachable.sts.example", "clear")


def test_a_known_policy_outlives_its_host_and_a_restart(
    relay: PostroadContainer, internet: Internet, policies: Policies
) -> None:
    publish_mx(internet, {"known": "plain"})
    internet.publish_policies(policies, Policy("known.sts.example", "enforce", ["good.mx.sts.example"]))
    check(relay, internet, "a@known.sts.example", "does not offer STARTTLS")
    # as if somebody kept it from us
    internet.unpublish("_mta-sts.known.sts.example", "TXT")
    internet.unpublish("mta-sts.known.sts.example", "A")
    relay.get_wrapped_container().kill()
    relay.get_wrapped_container().start()
    wait_until(lambda: states(relay).count("ready") == 2, 60)
    check(relay, internet, "b@known.sts.example", "does not offer STARTTLS")


def test_dane_goes_first(
    start: Callable[..., PostroadContainer], internet: Internet, policies: Policies, servers: dict[str, Mx]
) -> None:
    internet.add_zone("dane-sts.example", signed=True)
    for name, tlsa in {"match": servers["self-signed"].tlsa(), "mismatch": "3 1 1 " + "0" * 64}.items():
        internet.publish_host(f"{name}.dane-sts.example", servers["self-signed"].address)
        internet.publish(f"_25._tcp.{name}.dane-sts.example", "TLSA", tlsa)
        internet.publish(f"to-{name}.dane-sts.example", "MX", f"10 {name}.dane-sts.example")
    internet.publish("forged.sts.example", "MX", "10 match.dane-sts.example")
    # what DANE vouches for needs no authority, and a policy is no way around DANE
    internet.publish_policies(
        policies,
        Policy("to-match.dane-sts.example", "enforce", ["other.dane-sts.example"]),
        Policy("to-mismatch.dane-sts.example", "testing", ["mismatch.dane-sts.example"]),
        Policy("forged.sts.example", "enforce", ["good.mx.sts.example"]),
    )
    resolver = internet.add_resolver("dane-sts.example")
    relay = start(tls={"policy": "dane"}, dkim={"enabled": False}, kwargs={"dns": [resolver.address]})
    check(relay, internet, "a@to-match.dane-sts.example", "tls")
    check(relay, internet, "a@to-mismatch.dane-sts.example", "DANE")
    # and where there is no DANE, the policy counts
    check(relay, internet, "d@enforce.sts.example", "tls")
    check(relay, internet, "d@untrusted.sts.example", UNTRUSTED)
    # also with a server that DANE has just vouched for, on behalf of another domain
    vouched, forged = ("a@to-match.dane-sts.example", "delivered"), ("a@forged.sts.example", UNTRUSTED)
    send_in_turn(relay, [forged, vouched, forged, vouched, vouched])


def test_while_policies_cannot_be_looked_up_mail_waits(relay: PostroadContainer, internet: Internet) -> None:
    # its database becomes a folder: the daemon dies at each start
    relay.shell("cd /var/lib/postroad && mv mta-sts.db aside && mkdir mta-sts.db")
    try:
        code, said = relay.shell("kill -9 $(grep -l 'postroad[.]mta_sts' /proc/[0-9]*/cmdline | cut -d/ -f3)")
        assert not code, said
        message_id = send(relay, letter(To="x@testing.sts.example"))
        assert "the MTA-STS policy of testing.sts.example can't be looked up now" in deferred(relay, message_id)
        wait_until(lambda: any("mta-sts.db can't be read" in str(event.get("message")) for event in relay.events()), 30)
        assert states(relay)[-1] == "degraded"
    finally:
        relay.shell("cd /var/lib/postroad && rm -r mta-sts.db && mv aside mta-sts.db")
    wait_until(lambda: states(relay)[-1] == "ready", 60)
    relay.shell(f"postroad queue flush --id {relay.wait_for(message_id, 'deferred')['queue_id']}")
    assert relay.follow(message_id)[-1]["event"] == "delivered"


def states(relay: PostroadContainer) -> list[str]:
    return [event["state"] for event in relay.events() if event["event"] == "state"]


@pytest.mark.usefixtures("policies")
def test_it_is_off_unless_asked_for(relays: Relays, internet: Internet) -> None:
    relay = relays()
    check(relay, internet, "off@clear.sts.example", "clear")
    assert "mta-sts" not in relay.shell("cat /run/postroad/current/plan.json")[1]
