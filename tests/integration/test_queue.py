"""``postroad queue``: what waits, and what can be done about it."""

import json
import shlex
import smtplib
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from postroad.testing import PostroadContainer
from tests.integration.conftest import Relays, away, letter, send, story, wait_until
from tests.internet.internet import Internet

until = partial(wait_until, timeout=30)


@pytest.fixture(scope="module")
def relay(relays: Relays) -> PostroadContainer:
    """The daemon's own queue runs are far away."""
    return relays(delivery={"queue": {"retry": "4h"}})


@pytest.fixture(autouse=True)
def _empty(relay: PostroadContainer) -> Iterator[None]:
    yield
    relay.shell("rm -rf /var/spool/mqueue/*; printf 'mail\\tyes\\n' > /run/postroad/acceptance")


def run(relay: PostroadContainer, *words: str) -> tuple[int, str]:
    return relay.shell(f"COLUMNS=250 exec postroad queue {shlex.join(words)}")


def listed(relay: PostroadContainer, *words: str) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = json.loads(relay.command("queue", "list", "--json", *words))["messages"]
    return messages


def waits(relay: PostroadContainer, recipient: str, sender: str = "app@sender.example") -> tuple[str, str]:
    """A message that was put off: its Message-ID and queue id."""
    message_id = send(relay, letter(To=recipient), from_addr=sender)
    queue_id = str(relay.wait_for(message_id, "deferred")["queue_id"])
    until(lambda: not any(found["active"] for found in listed(relay)))
    return message_id, queue_id


def test_list(relay: PostroadContainer) -> None:
    assert "the queue is empty" in run(relay, "list")[1]
    _, queue_id = waits(relay, "tempfail@rcpt.example")
    (message,) = listed(relay)
    assert message.pop("age") in range(60)
    assert message.pop("arrived") <= message.pop("last_try") < message.pop("next_try")
    assert message.pop("priority") > 0
    assert "451 4.7.1" in message.pop("reason")
    assert message == {
        "queue_id": queue_id,
        "sender": "app@sender.example",
        "recipients": ["tempfail@rcpt.example"],
        "size": 7,
        "attempts": 1,
        "active": False,
        "note": None,
    }
    code, text = run(relay, "list")
    assert code == 0
    header, line, slowed = text.strip().splitlines()
    assert "rcpt.example is slowed" in slowed, "the MX says: try again later"
    assert header.split() == ["id", "age", "sender", "recipients", "tries", "next", "try", "reason"]
    for word in (queue_id, "app@sender.example", "tempfail@rcpt.example", "in 3h", "451 4.7.1"):
        assert word in line
    for option, value, number in (
        ("--domain", "RCPT.example", 1),
        ("--sender", "<app@sender.example>", 1),
        ("--domain", "example", 0),
        ("--sender", "<>", 0),
    ):
        assert len(listed(relay, option, value)) == number, value


def test_flush(relay: PostroadContainer, internet: Internet) -> None:
    with away(internet):
        (first, first_id), (second, _) = waits(relay, "one@rcpt.example"), waits(relay, "two@rcpt.example")
        code, text = run(relay, "flush", "--all")
        assert code == 3, text
        assert "0 messages left the queue" in text
        assert "2 still waiting" in text
        assert f"{first_id} from <app@sender.example> to one@rcpt.example: Deferred: Connection refused" in text
        assert [message["attempts"] for message in listed(relay)] == [2, 2]
    # the MX may still be busy with its reload
    until(lambda: "1 message left the queue" in run(relay, "flush", "--id", first_id)[1])
    assert [message["recipients"] for message in listed(relay)] == [["two@rcpt.example"]]
    assert "no such message" in run(relay, "flush", "--domain", "other.example")[1]
    until(lambda: run(relay, "flush", "--domain", "Rcpt.example")[0] == 0)
    for message_id in (first, second):
        assert internet.wait_for_message(message_id).verdict("dkim") == "pass"
        assert story(relay, message_id)[-1]["event"] == "delivered", "the run logs as the daemon does"
    code, text = run(relay, "flush", "--id", first_id)
    assert (code, "no message" in text) == (1, True)


def test_delete(relay: PostroadContainer) -> None:
    # so many recipients that it stays one message
    many = [f"tempfail-{number}@rcpt.example" for number in range(20)]
    _, both_id = waits(relay, ", ".join([*many, "tempfail@sender.example"]))
    _, queue_id = waits(relay, "tempfail@rcpt.example")
    code, text = run(relay, "delete", "--domain", "rcpt.example")
    assert (code, "nothing was deleted" in text) == (2, True), text
    assert queue_id in text
    code, text = run(relay, "delete", "--id", queue_id, "--id", "6AAAAAAAAAAAAA", "--yes")
    assert (code, "no message 6AAAAAAAAAAAAA waits; nothing was deleted" in text) == (1, True)
    assert len(listed(relay)) == 2
    code, text = run(relay, "delete", "--domain", "rcpt.example", "--yes")
    assert code == 0, text
    assert "1 message for other domains, too: kept" in text
    assert "1 deleted, 0 kept (in delivery)" in text
    assert [message["queue_id"] for message in listed(relay)] == [both_id]
    assert queue_id not in relay.shell("ls /var/spool/mqueue")[1]
    said = f"queue: deleted {queue_id} from <app@sender.example> to tempfail@rcpt.example"
    until(lambda: any(event.get("message") == said for event in relay.events()))
    assert run(relay, "delete", "--all", "--yes")[0] == 0
    assert relay.shell("ls /var/spool/mqueue") == (0, "")


ANSWERS = """
import os, pty, sys
pid, terminal = pty.fork()
if not pid:
    os.execvp(sys.argv[2], sys.argv[2:])
answer, said = sys.argv[1].encode() + b"\\n", b""
while True:
    try:
        data = os.read(terminal, 1000)
    except OSError:  # it has ended
        break
    said += data
    if b"[y/N]" in said and answer:
        os.write(terminal, answer)
        answer = b""
print(said.decode())
"""
"""Answers a command that asks on a terminal, once it has asked."""


@pytest.mark.parametrize(("answer", "left"), [("n", 1), ("y", 0)])
def test_delete_asks(answer: str, left: int, relay: PostroadContainer) -> None:
    waits(relay, "tempfail@rcpt.example")
    _, text = relay.shell(f"python3 -c '{ANSWERS}' {answer} postroad queue delete --all")
    assert "Delete 1 message for good?" in text
    assert len(listed(relay)) == left


def test_what_is_being_delivered_is_not_deleted(relay: PostroadContainer, internet: Internet) -> None:
    internet.mx.pause()
    try:
        message_id = send(relay, letter())
        until(lambda: any(message["active"] for message in listed(relay)))
        code, text = run(relay, "delete", "--all", "--yes")
        assert code == 3, text
        assert "0 deleted, 1 kept (in delivery)" in text
    finally:
        internet.mx.unpause()
    assert internet.wait_for_message(message_id).body == b"Hello.\n"


def test_drain(relay: PostroadContainer, internet: Internet) -> None:
    with away(internet):
        message_id, queue_id = waits(relay, "one@rcpt.example")
        host = (relay.host, relay.port)
        with smtplib.SMTP(*host, timeout=20) as session, smtplib.SMTP(*host, timeout=20) as further:
            session.ehlo()
            further.ehlo()
            further.mail("app@sender.example")
            further.rcpt("user@rcpt.example")
            code, text = run(relay, "drain", "--timeout", "3s")
            assert code == 3, text
            assert "1 message left after 3s" in text
            assert queue_id in text
            code, reply = session.mail("app@sender.example")
            assert (code, b"being drained" in reply) == (421, True)
            code, reply = further.docmd("data")
            assert (code, b"being drained" in reply) == (421, True)
        with pytest.raises(smtplib.SMTPConnectError) as refused:
            smtplib.SMTP(relay.host, relay.port, timeout=20)
        assert refused.value.smtp_code == 421
        assert "draining" in run(relay, "list")[1]
        assert json.loads(relay.command("queue", "list", "--json"))["draining"] is True
    code, text = run(relay, "drain", "--timeout", "60s")
    assert code == 0, text
    assert "the queue is empty" in text
    internet.wait_for_message(message_id)
    assert "taken again" in run(relay, "drain", "--undo")[1]
    internet.wait_for_message(send(relay, letter()))
    assert "draining" not in run(relay, "list")[1]


def test_what_cannot_be_read_is_no_yes(relay: PostroadContainer) -> None:
    for breakage in ("rm /run/postroad/acceptance", "echo rubbish > /run/postroad/acceptance"):
        relay.shell(breakage)
        with pytest.raises(smtplib.SMTPConnectError, match="421"):
            smtplib.SMTP(relay.host, relay.port, timeout=20)


HOSTILE = """\
V8
T1795515680
K0
N0
P1
M\x1b[31mred\x07 [bold]\x9b2J\r
S<a\x1b]0;x\x07@sender.example>
RPFD:<[/]\x1b[2J@rcpt.example>
H??From: app@sender.example
.
"""


def test_what_others_wrote_gives_the_terminal_no_orders(relay: PostroadContainer) -> None:
    data = HOSTILE.encode().hex()
    write = f"import pathlib; pathlib.Path('/var/spool/mqueue/qf6AOALKBA000041').write_bytes(bytes.fromhex('{data}'))"
    assert relay.shell(f'python3 -c "{write}"; touch /var/spool/mqueue/df6AOALKBA000041')[0] == 0
    for words in ("list", "list --json", "delete --all --yes"):
        _, text = relay.shell(f"postroad queue {words}")
        assert "6AOALKBA000041" in text, text
        assert not {char for char in text if not char.isprintable()} - {"\n"}
    until(lambda: "deleted 6AOALKBA000041" in relay.log())
    assert "\x1b" not in relay.log()


@pytest.mark.parametrize("words", [("flush", "--all"), ("drain",)])
def test_without_a_server(words: tuple[str, ...], relay: PostroadContainer) -> None:
    script = f"mv /run/postroad/health /tmp/; postroad queue {shlex.join(words)}; code=$?; mv /tmp/health /run/postroad/; exit $code"
    code, text = relay.shell(script)
    assert (code, "no server runs here" in text) == (1, True), text


def test_a_restart_takes_messages_again(relay: PostroadContainer) -> None:
    relay.shell("printf 'mail\\tno\\n' > /run/postroad/acceptance")
    assert json.loads(relay.command("queue", "list", "--json"))["draining"] is True
    relay.get_wrapped_container().restart()
    until(lambda: relay.log().count('"state": "ready"') == 2)
    assert json.loads(relay.command("queue", "list", "--json"))["draining"] is False
