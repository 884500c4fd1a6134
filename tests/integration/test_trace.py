"""What happened to each message is there seconds later, and after the container is gone."""

import json
import smtplib
from collections.abc import Callable
from functools import partial
from typing import Any

from postroad.testing import PostroadContainer
from tests.integration.conftest import Relays, letter, send, wait_until
from tests.internet.internet import Internet

wait_for = partial(wait_until, timeout=20)


def messages(relay: PostroadContainer, what: str) -> list[dict[str, Any]]:
    _, text = relay.shell(f"postroad trace --json '{what}'")
    return list(json.loads(text)["messages"]) if text.startswith("{") else []  # the recorder has not begun yet


def gaps(relay: PostroadContainer, what: str) -> list[dict[str, Any]]:
    _, text = relay.shell(f"postroad trace --json '{what}'")
    return list(json.loads(text)["gaps"])


def status(relay: PostroadContainer, what: str) -> dict[str, str]:
    return {message["recipient"]: message["status"] for message in messages(relay, what)}


def test_each_recipient_s_end_is_told(relay: PostroadContainer) -> None:
    to = ["user@rcpt.example", "unknown-1@rcpt.example", "tempfail-1@rcpt.example"]
    message_id = send(relay, letter(), to_addrs=to)
    expected = dict(zip(to, ("delivered", "bounced", "deferred"), strict=True))
    wait_for(lambda: status(relay, message_id) == expected)
    (bounce,) = messages(relay, "Unknown-1@rcpt.example")
    assert (bounce["class"], bounce["hard"]) == ("userunknown", True)
    assert "accepted" in [event["event"] for event in bounce["events"]]
    assert {event["class"] for event in bounce["events"] if event["event"] == "bounced"} == {"userunknown"}
    assert messages(relay, "tempfail-1@rcpt.example")[0]["hard"] is False
    text = relay.command("trace", bounce["queue_id"])
    assert "bounced (userunknown, hard)" in text
    assert "app@sender.example → unknown-1@rcpt.example" in text
    code, text = relay.shell("postroad trace nobody@nowhere.example")
    assert (code, text.strip()) == (1, "nothing is known of nobody@nowhere.example")
    groups = json.loads(relay.command("stats", "--json"))["groups"]
    assert [row["bounced"] for row in groups if row["sender_domain"] == "sender.example"] == [1]
    assert "sender.example" in relay.command("stats")


def test_a_new_container_knows_it_still(start_relay: Relays, volumes: Callable[[str], str]) -> None:
    state, queue = volumes("state"), volumes("queue")
    first = start_relay(state=state, queue=queue)
    message_id = send(first, letter())
    first.follow(message_id)
    first.get_wrapped_container().stop(timeout=20)
    second = start_relay(state=state, queue=queue)
    wait_for(lambda: status(second, message_id) == {"user@rcpt.example": "delivered"})
    assert not gaps(second, message_id)


def test_a_kill_loses_no_event_and_is_told(
    start_relay: Relays, volumes: Callable[[str], str], internet: Internet
) -> None:
    state, queue = volumes("state"), volumes("queue")
    first = start_relay(state=state, queue=queue)
    sent = [send(first, letter(To=f"kill-{number}@rcpt.example")) for number in range(20)]
    wait_for(lambda: sum(event["event"] == "delivered" for event in first.events()) >= 5)
    first.get_wrapped_container().kill("KILL")
    first.get_wrapped_container().wait()
    told = {event["message_id"] for event in first.events() if event["event"] == "delivered"}
    second = start_relay(state=state, queue=queue)
    for message_id in sent:
        internet.wait_for_message(message_id, timeout=60)
    wait_for(lambda: gaps(second, "kill-0@rcpt.example"))
    ends = {
        message["message_id"] for message in messages(second, "app@sender.example") if message["status"] == "delivered"
    }
    assert told <= ends


def test_the_recorder_s_death_is_no_matter_for_mail(start_relay: Relays, internet: Internet) -> None:
    relay = start_relay()
    wait_for(lambda: status(relay, "app@sender.example") is not None)
    relay.shell("for p in /proc/[0-9]*; do grep -qs postroad.recorder $p/cmdline && kill -9 ${p#/proc/}; done")
    wait_for(lambda: "recorder killed by SIGKILL" in relay.log())
    assert relay.shell("/usr/local/lib/postroad/healthcheck")[0] == 0
    message_id = send(relay, letter())
    internet.wait_for_message(message_id)
    wait_for(lambda: status(relay, message_id) == {"user@rcpt.example": "delivered"})
    assert not any(event.get("state") == "degraded" for event in relay.events())


def test_mail_flows_while_the_state_volume_is_full(start_relay: Relays, internet: Internet) -> None:
    relay = start_relay(tmpfs={"/var/lib/postroad/events": "uid=2525,gid=2525,size=2m"})
    first = send(relay, letter())
    wait_for(lambda: status(relay, first) == {"user@rcpt.example": "delivered"})
    relay.shell("cat /dev/zero > /var/lib/postroad/events/full")
    for number in range(30):  # what the page that is begun still takes
        message_id = send(relay, letter(Subject=f"{number}"))
    internet.wait_for_message(message_id)
    wait_for(lambda: "No space left on device" in relay.log())
    relay.shell("rm /var/lib/postroad/events/full")
    later: list[str] = []

    def known() -> bool:  # not the first one, if the journal had just failed
        later.append(send(relay, letter()))
        return any(status(relay, each) == {"user@rcpt.example": "delivered"} for each in later[-3:])

    wait_for(known, timeout=60)
    assert "journal in /var/lib/postroad/events is written again" in relay.log()
    assert any(gap["lost"] for gap in gaps(relay, first))


def test_nothing_is_kept_where_events_are_off(start_relay: Relays) -> None:
    relay = start_relay(events={"enabled": False})
    relay.follow(send(relay, letter()))
    assert "no such file" in relay.shell("ls /var/lib/postroad/events")[1].lower()
    code, text = relay.shell("postroad trace app@sender.example")
    assert code == 1
    assert "events.enabled" in text


def refused(relay: PostroadContainer, recipient: str, sender: str = "app@sender.example") -> tuple[int, str]:
    with smtplib.SMTP(relay.host, relay.port, timeout=20) as smtp:
        smtp.ehlo()
        smtp.mail(sender)
        code, text = smtp.rcpt(recipient)
        return code, text.decode()


def test_a_dead_mailbox_is_suppressed_and_a_new_container_knows(
    start_relay: Relays, volumes: Callable[[str], str]
) -> None:
    state = volumes("state")
    relay = start_relay(state=state, suppression={"never": ["unknown-vip@rcpt.example"]})
    to = [
        "Unknown-2@rcpt.example",
        "unknown-vip@rcpt.example",
        "reply-550-5.7.1@rcpt.example",
        "tempfail-2@rcpt.example",
    ]
    message_id = send(relay, letter(), to_addrs=to)
    wait_for(lambda: "unknown-2@rcpt.example" in relay.command("suppress", "list", "--json"))
    wait_for(lambda: len([1 for each in status(relay, message_id).values() if each == "bounced"]) == 3)
    # the list is in the store before the map that sendmail asks
    wait_for(lambda: refused(relay, "UNKNOWN-2@rcpt.example")[0] == 550)
    code, text = refused(relay, "UNKNOWN-2@rcpt.example")
    assert code == 550
    assert "is suppressed (userunknown): postroad suppress remove lifts it" in text
    assert [refused(relay, each)[0] for each in to[1:]] == [250, 250, 250]
    wait_for(lambda: "suppressed" in [each["class"] for each in messages(relay, "unknown-2@rcpt.example")])
    relay.get_wrapped_container().stop(timeout=20)
    again = start_relay(state=state)
    assert refused(again, "unknown-2@rcpt.example")[0] == 550
    assert "1 removed; 0 addresses" in again.command("suppress", "remove", "Unknown-2@rcpt.example")
    assert refused(again, "unknown-2@rcpt.example")[0] == 250
    assert again.shell("postroad suppress remove unknown-2@rcpt.example")[0] == 1


def test_the_list_goes_out_and_comes_in(start_relay: Relays) -> None:
    relay = start_relay()
    relay.command("suppress", "add", "A@list.example", "b@list.example", "--reason", "complaint", "--days", "30")
    exported = relay.command("suppress", "export")
    assert "a@list.example,complaint," in exported
    assert refused(relay, "a@list.example") == (
        550,
        "5.1.1 <a@list.example>... this address is suppressed (complaint): postroad suppress remove lifts it",
    )
    relay.command("suppress", "remove", "a@list.example", "b@list.example")
    assert refused(relay, "a@list.example")[0] == 250
    relay.shell(f"printf %s '{exported}' > /tmp/list.csv")
    assert "2 of 2 added" in relay.command("suppress", "import", "/tmp/list.csv")
    assert relay.command("suppress", "export") == exported
    ses = {
        "SuppressedDestinationSummaries": [
            {"EmailAddress": "S@list.example", "Reason": "BOUNCE", "LastUpdateTime": "2026-01-02T03:04:05Z"}
        ]
    }
    relay.shell(f"printf %s '{json.dumps(ses)}' > /tmp/ses.json")
    assert "1 of 1 added" in relay.command("suppress", "import", "/tmp/ses.json")
    assert refused(relay, "s@list.example")[0] == 550
    code, text = relay.shell("printf 'c@list.example\nnobody\n' | postroad suppress import")
    assert code == 1
    assert "not an address: 'nobody'" in text
    assert refused(relay, "c@list.example")[0] == 250


def test_a_hundred_thousand_addresses(relay: PostroadContainer) -> None:
    code, text = relay.shell(
        "i=0; while [ $i -lt 100000 ]; do echo u$i@many.example; i=$((i+1)); done > /tmp/many; postroad suppress import /tmp/many"
    )
    assert code == 0, text
    assert refused(relay, "u99999@many.example")[0] == 550
    assert refused(relay, "u100000@many.example")[0] == 250


def test_a_list_that_can_t_be_read_lets_nothing_through(start_relay: Relays) -> None:
    relay = start_relay()
    relay.shell("rm /var/lib/postroad/suppressed.db")
    assert refused(relay, "user@rcpt.example")[0] == 451


def test_a_list_for_each_sender_domain_and_full_mailboxes(start_relay: Relays) -> None:
    relay = start_relay(
        domains=["sender.example", "two.sender.example"],
        suppression={"scope": "sender_domain", "soft": {"count": 2}},
        rewrite={"masquerade_domains": ["two.sender.example"], "masquerade_as": "sender.example"},
    )
    to = ["unknown-5@rcpt.example", "full-5@rcpt.example"]
    send(relay, letter(), to_addrs=to, from_addr="app@two.sender.example")
    send(relay, letter(), to_addrs=to[1:], from_addr="app@two.sender.example")
    wait_for(lambda: len(json.loads(relay.command("suppress", "list", "--json"))["suppressions"]) == 2)
    found = json.loads(relay.command("suppress", "list", "--json"))["suppressions"]
    assert {(each["recipient"], each["reason"], each["sender_domain"]) for each in found} == {
        (to[0], "userunknown", "two.sender.example"), (to[1], "mailboxfull", "two.sender.example"),
    }  # fmt: skip
    for recipient in to:
        # the list is in the store before the map that sendmail asks
        wait_for(lambda: refused(relay, recipient, "App@Two.Sender.example")[0] == 550)  # noqa: B023 - in this round
        assert refused(relay, recipient)[0] == 250
        assert refused(relay, recipient, "")[0] == 250
    relay.command("suppress", "add", to[0], "--domain", "Sender.example")
    assert "(manual)" in refused(relay, to[0])[1]
    exported = relay.command("suppress", "export")
    assert "1 removed" in relay.command("suppress", "remove", to[0], "--domain", "two.sender.example")
    assert refused(relay, to[0], "app@two.sender.example")[0] == 250
    assert refused(relay, to[0])[0] == 550
    relay.shell(f"printf '{exported}' > /tmp/list.csv")
    assert "1 of 3 added" in relay.command("suppress", "import", "/tmp/list.csv")
    assert refused(relay, to[0], "app@two.sender.example")[0] == 550
    assert exported.splitlines()[:1] == relay.command("suppress", "export", "--domain", "one.example").splitlines()
    relay.shell("echo c@list.example | postroad suppress import --domain one.example")
    (listed,) = json.loads(relay.command("suppress", "list", "--json", "--domain", "One.example"))["suppressions"]
    assert (listed["recipient"], listed["sender_domain"]) == ("c@list.example", "one.example")
    assert "2 removed" in relay.command("suppress", "remove", to[0])
    assert refused(relay, to[0])[0] == refused(relay, to[0], "app@two.sender.example")[0] == 250
    rows = json.loads(relay.command("stats", "--by", "provider", "--json"))["groups"]
    assert {row["provider"]: row["bounced"] for row in rows} == {"other": 1, None: 0}
