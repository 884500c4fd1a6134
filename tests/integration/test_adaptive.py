"""Receivers that ask for less get less, and nobody else: what they see."""

import itertools
import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from postroad.testing import PostroadContainer
from tests.integration.conftest import Relays, letter, send, wait_until
from tests.internet.host import Host
from tests.internet.internet import Internet

until = partial(wait_until, timeout=60)

RECEIVER = """
import json, socketserver, threading, time
lock, open_now, taken = threading.Lock(), set(), []

def mode():
    return json.load(open("/tmp/mode"))

def note(**what):
    with lock, open("/tmp/log", "a") as log:
        log.write(json.dumps(what) + "\\n")

class Session(socketserver.StreamRequestHandler):
    def handle(self):
        rcpt, wanted = "", mode()
        with lock:
            open_now.add(self)
            number = len(open_now)
        try:
            if number > wanted.get("connections", 1000):
                note(refused="connections", open=number, at=time.time())
                self.say("421 4.7.0 Too many connections from your host")
                return
            self.say("220 receiver ESMTP")
            while line := self.rfile.readline():
                verb = line[:4].upper()
                if verb == b"RCPT":
                    rcpt = line.decode().split("<")[1].split(">")[0]
                    if words := self.words(mode()):
                        note(rcpt=rcpt, refused=words, open=number, at=time.time())
                        self.say(words)
                        if words.startswith("421"):
                            return
                        continue
                elif verb == b"DATA":
                    self.say("354 go on")
                    while self.rfile.readline() not in {b".\\r\\n", b""}:
                        pass
                    with lock:
                        taken.append(time.time())
                    note(rcpt=rcpt, open=number, at=time.time())
                    time.sleep(0.2)
                elif verb == b"QUIT":
                    self.say("221 bye")
                    return
                self.say("250 2.0.0 ok")
        finally:
            with lock:
                open_now.discard(self)

    def words(self, wanted):
        if wanted.get("blocks"):
            return "421 4.7.0 203.0.113.5 is temporarily blocked, come back later"
        most = wanted.get("a_minute")
        with lock:
            if most and sum(at > time.time() - 60 for at in taken) >= most:
                return "450 4.7.1 Too many messages from you, slow down"
        return ""

    def say(self, text):
        self.wfile.write(text.encode() + b"\\r\\n")

class Server(socketserver.ThreadingTCPServer):
    daemon_threads = allow_reuse_address = True
    request_queue_size = 200

    def handle_error(self, *_):
        pass

Server(("", 25), Session).serve_forever()
"""


class Receiver:
    """A receiver of mail for some domains, behind two MX hosts; it notes what came and what it refused."""

    def __init__(self, internet: Internet, host: Host, name: str) -> None:
        self.host, self.name = host, name
        self.domains = tuple(f"{number}-{name}.example" for number in ("one", "two"))
        self.be()
        host.run("sh", "-c", ": >/tmp/log")
        internet.add_zone(f"{name}.example", *self.domains)
        for number in (1, 2):
            internet.publish_host(f"mx{number}.{name}.example", host.address)
        internet.publish(self.domains[0], "MX", f"10 mx1.{name}.example")
        internet.publish(self.domains[1], "MX", f"10 mx2.{name}.example")
        host.container.exec_run(["python3", "-c", RECEIVER], detach=True)
        host.run("role", "ready", "25")

    def be(self, **mode: Any) -> None:
        """Be like this from now on: ``connections`` at once, messages ``a_minute``, ``blocks``."""
        self.host.run("sh", "-c", 'printf %s "$1" >/tmp/new && mv /tmp/new /tmp/mode', "-", json.dumps(mode))

    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.host.run("cat", "/tmp/log").decode().splitlines()]

    def taken(self, domain: str) -> int:
        return sum(each.get("rcpt", "").endswith(f"@{domain}") for each in self.log() if "refused" not in each)

    def refused(self) -> list[dict[str, Any]]:
        return [each for each in self.log() if "refused" in each]


NUMBERS = itertools.count(1)


@pytest.fixture
def receiver(internet: Internet) -> Iterator[Receiver]:
    host = internet.add_app()
    yield Receiver(internet, host, f"asks{next(NUMBERS)}")
    host.stop()


def told(relay: PostroadContainer, kind: str) -> list[dict[str, Any]]:
    return [event for event in relay.events() if event["event"] == kind]


def listed(relay: PostroadContainer) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(relay.command("queue", "list", "--json"))
    return found


def both(relay: PostroadContainer, receiver: Receiver) -> None:
    """A message for each of its domains, and both arrive."""
    for domain in receiver.domains:
        send(relay, letter(To=f"first@{domain}"))
    until(lambda: all(receiver.taken(domain) for domain in receiver.domains))


OWN = {"sendmail": {"local_config": "# sessions of sendmail itself, which deliver in the background"}}


@pytest.mark.parametrize("config", [{}, OWN], ids=["front", "background"])
def test_a_block_pauses_all_that_is_behind_it_and_nobody_else(
    start_relay: Relays, receiver: Receiver, internet: Internet, config: dict[str, Any]
) -> None:
    relay = start_relay(**config)
    both(relay, receiver)
    receiver.be(blocks=True)
    one, two = receiver.domains
    refused = send(relay, letter(To=f"blocked@{one}"))
    assert "temporarily blocked" in relay.wait_for(refused, "deferred")["reply"]
    (paused,) = until(lambda: told(relay, "paused"))
    assert (paused["receiver"], paused["reason"]) == (f"{receiver.name}.example", "blocked")
    assert paused["until"] > paused["time"]
    seen = len(receiver.log())
    for number in range(5):
        send(relay, letter(To=f"waits{number}@{two}"))
    other = send(relay, letter(To="user@rcpt.example"))
    internet.wait_for_message(other)
    until(lambda: len(listed(relay)["messages"]) == 6)
    found = listed(relay)
    (listing,) = found["receivers"]
    assert (listing["standing"], listing["until"]) == ("paused", paused["until"])
    reasons = [each["reason"] for each in found["messages"] if each["recipients"][0].startswith("waits")]
    assert all(reason.startswith("waits for its turn: ") for reason in reasons), reasons
    assert len(receiver.log()) == seen, "nothing more was tried"
    receiver.be()
    relay.shell("postroad queue flush --all")
    until(lambda: receiver.taken(two) == 6)
    assert until(lambda: told(relay, "resumed"))[0]["receiver"] == f"{receiver.name}.example"
    until(lambda: not listed(relay)["messages"])


@pytest.mark.timeout(300)
def test_never_more_connections_than_it_takes(start_relay: Relays, receiver: Receiver) -> None:
    relay = start_relay(delivery={"queue": {"retry": "20s"}})
    both(relay, receiver)
    receiver.be(connections=2)
    one, two = receiver.domains
    for number in range(60):
        send(relay, letter(To=f"u{number}@{(one, two)[number % 2]}"))
    until(lambda: told(relay, "slowed"))
    until(lambda: receiver.taken(one) + receiver.taken(two) == 62, timeout=150)
    refused = receiver.refused()
    assert 0 < len(refused) < 60
    last = max(each["at"] for each in refused)
    assert sum(each["at"] < last for each in receiver.log()) < len(receiver.log()), "refusals ended before the mail"
    assert told(relay, "slowed")[0]["reason"] == "toomanyconn"
    assert not told(relay, "paused")


@pytest.mark.long
@pytest.mark.timeout(400)  # 72 messages are two minutes' worth, and one more of a pause
def test_a_rate_that_it_takes(start_relay: Relays, receiver: Receiver) -> None:
    relay = start_relay(delivery={"queue": {"retry": "20s"}})
    both(relay, receiver)
    receiver.be(a_minute=30)
    one, two = receiver.domains
    for number in range(70):
        send(relay, letter(To=f"u{number}@{(one, two)[number % 2]}"))
    until(lambda: told(relay, "slowed"))
    until(lambda: receiver.taken(one) + receiver.taken(two) == 72, timeout=240)
    assert told(relay, "slowed")[0]["reason"] == "speeding"
    # tried each 20 s, the 42 that are too many would be refused three times before the first minute is over
    assert len(receiver.refused()) < 70


def test_turned_off_each_message_is_tried(start_relay: Relays, receiver: Receiver) -> None:
    relay = start_relay(delivery={"adaptive": False})
    both(relay, receiver)
    receiver.be(blocks=True)
    for number in range(3):
        relay.wait_for(send(relay, letter(To=f"u{number}@{receiver.domains[number % 2]}")), "deferred")
    assert len(receiver.refused()) == 3
    assert not told(relay, "paused")
    assert listed(relay)["receivers"] == []


def test_a_restart_forgets_nothing(start_relay: Relays, receiver: Receiver) -> None:
    relay = start_relay()
    both(relay, receiver)
    receiver.be(blocks=True)
    relay.wait_for(send(relay, letter(To=f"u@{receiver.domains[0]}")), "deferred")
    until(lambda: told(relay, "paused"))
    relay.get_wrapped_container().restart()
    until(lambda: sum(event.get("state") == "ready" for event in relay.events()) == 2)
    seen = len(receiver.log())
    send(relay, letter(To=f"later@{receiver.domains[1]}"))
    (before,) = until(lambda: listed(relay)["receivers"])
    assert before["standing"] == "paused"
    assert before["until"] == told(relay, "paused")[0]["until"]
    until(lambda: len(listed(relay)["messages"]) == 2)
    assert len(receiver.log()) == seen
