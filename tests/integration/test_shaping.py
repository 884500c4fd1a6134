"""Routes with limits: what the receiver sees."""

import json
import shlex
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from postroad.testing import PostroadContainer
from postroad.testing.received import ReceivedMessage
from tests.integration.conftest import Relays, letter, send, wait_until
from tests.internet.host import Host
from tests.internet.internet import Internet

until = partial(wait_until, timeout=40)

SINK = """
import json, socketserver, threading, time
lock, sessions = threading.Lock(), {}

def note(**what):
    with lock, open("/tmp/sink.log", "a") as log:
        log.write(json.dumps(what) + "\\n")

class Session(socketserver.StreamRequestHandler):
    def handle(self):
        rcpt, open_now = "", 0
        try:
            self.say("220 sink ESMTP")
            while line := self.rfile.readline():
                verb = line[:4].upper()
                if verb == b"RCPT":
                    rcpt = line.decode().split("<")[1].split(">")[0]
                    with lock:
                        sessions[self] = rcpt.partition("@")[2]
                        open_now = list(sessions.values()).count(sessions[self])
                if verb == b"RCPT" and rcpt.startswith("later"):
                    note(rcpt=rcpt, at=time.time(), open=open_now, put_off=True)
                    self.say("451 4.7.1 later")
                elif verb == b"RCPT" and rcpt.startswith("unknown"):
                    self.say("550 5.1.1 no such user")
                elif verb == b"DATA":
                    self.say("354 go on")
                    while self.rfile.readline() not in {b".\\r\\n", b""}:
                        pass
                    note(rcpt=rcpt, at=time.time(), open=open_now, put_off=False)
                    time.sleep(0.3)
                    self.say("250 2.0.0 taken")
                elif verb == b"QUIT":
                    self.say("221 bye")
                    return
                else:
                    self.say("250 2.0.0 ok")
        finally:
            with lock:
                sessions.pop(self, None)

    def say(self, text):
        self.wfile.write(text.encode() + b"\\r\\n")

class Server(socketserver.ThreadingTCPServer):
    daemon_threads = allow_reuse_address = True
    request_queue_size = 100

    def handle_error(self, *_):
        pass

open("/tmp/sink.log", "w").close()
Server(("", 25), Session).serve_forever()
"""


class Sink:
    """A slow receiver of all mail for some domains, which notes when a message came and how many connections with mail for its domain were open."""

    def __init__(self, host: Host) -> None:
        self.host = host
        host.container.exec_run(["python3", "-c", SINK], detach=True)
        host.run("role", "ready", "25")

    def seen(self, domain: str) -> list[dict[str, Any]]:
        """What came for a domain: ``rcpt``, ``at``, ``open`` connections, ``put_off``."""
        lines = map(json.loads, self.host.run("cat", "/tmp/sink.log").decode().splitlines())
        return [line for line in lines if line["rcpt"].endswith(f"@{domain}")]

    def taken(self, domain: str) -> list[float]:
        """When messages for a domain came, in seconds since the epoch."""
        return [line["at"] for line in self.seen(domain) if not line["put_off"]]


DOMAINS = ("narrow.example", "paced.example", "warm.example", "free.example", "later.example")


@pytest.fixture(scope="module")
def sink(internet: Internet) -> Sink:
    host = internet.add_app()
    for domain in DOMAINS:
        internet.add_zone(domain)
        internet.publish_host(f"mx.{domain}", host.address)
        internet.publish(domain, "MX", f"10 mx.{domain}")
    return Sink(host)


def narrow(*domains: str, most: int) -> dict[str, Any]:
    return {"domains": list(domains), "smarthost": None, "concurrency": most}


YESTERDAY = (datetime.now(UTC) - timedelta(days=1)).date()
PACED = {"domains": ["paced.example"], "smarthost": None, "rate": "6/minute"}
WARM = {
    "domains": ["warm.example"],
    "smarthost": None,
    "warm_up": {"since": str(YESTERDAY), "daily": [1, 3]},
}


class Settings:
    """The relay's file of settings."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def route(self, *routes: dict[str, Any]) -> None:
        # the same file: it is mounted
        # with a policy, which judges receivers as well before each delivery
        policy = {"domains": {"strict.example": "require"}}
        delivery = {"routes": routes, "tls": policy, "queue": {"retry": "1h"}}
        self.path.write_text(json.dumps({"delivery": delivery}))


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    found = Settings(tmp_path_factory.mktemp("shaping") / "config.yaml")
    found.path.parent.chmod(0o755)
    found.route(narrow("narrow.example", most=2), PACED, WARM, narrow("sender.example", most=1))
    return found


@pytest.fixture(scope="module")
def relay(relays: Relays, settings: Settings, sink: Sink) -> PostroadContainer:
    started = relays(mounts={str(settings.path): "/etc/postroad/config.yaml"})
    # a minute is long: what is to show it is under way while the other tests run
    for number in range(8):
        send(started, letter(To=f"u{number}@paced.example"))
    until(lambda: len(sink.taken("paced.example")) >= 6)
    return started


def listed(relay: PostroadContainer, domain: str) -> list[dict[str, Any]]:
    found = json.loads(relay.command("queue", "list", "--json", "--domain", domain))["messages"]
    assert isinstance(found, list)
    return found


def story(relay: PostroadContainer, message_id: str) -> list[dict[str, Any]]:
    """The events of a message so far."""
    return [event for event in relay.events() if event.get("message_id") == message_id]


def queue(relay: PostroadContainer, *words: str) -> tuple[int, str]:
    return relay.shell(f"COLUMNS=250 exec postroad queue {shlex.join(words)}")


def test_never_more_connections_at_once_and_others_go_by(relay: PostroadContainer, sink: Sink) -> None:
    for number in range(30):
        send(relay, letter(To=f"u{number}@narrow.example"))
    free = send(relay, letter(To="user@free.example"))
    until(lambda: len(sink.taken("narrow.example")) == 30)
    opened = Counter(each["open"] for each in sink.seen("narrow.example"))
    assert max(opened) == 2, opened
    (arrival,) = sink.taken("free.example")
    assert arrival < max(sink.taken("narrow.example"))  # all of these came before it
    assert "queued" not in {event["event"] for event in story(relay, free)}


def test_mail_with_room_leaves_at_once(relay: PostroadContainer, sink: Sink) -> None:
    message_id = send(relay, letter(To="quick@narrow.example"))
    began = time.time()
    assert [event["event"] for event in relay.follow(message_id)] == ["signed", "accepted", "queued", "delivered"]
    (arrival,) = [each["at"] for each in sink.seen("narrow.example") if each["rcpt"] == "quick@narrow.example"]
    assert arrival - began < 10


def test_one_message_for_several_ways(relay: PostroadContainer, sink: Sink, internet: Internet) -> None:
    message_id = send(relay, letter(To="mixed@free.example, mixed@narrow.example, user@rcpt.example"))
    internet.wait_for_message(message_id)
    wanted = {f"mixed@{domain}" for domain in ("free.example", "narrow.example")}
    until(lambda: wanted <= {each["rcpt"] for each in [*sink.seen("free.example"), *sink.seen("narrow.example")]})
    assert [event["recipients"] for event in story(relay, message_id) if event["event"] == "accepted"] == [3]
    until(lambda: sum(event["event"] == "delivered" for event in story(relay, message_id)) == 3)


def is_bounce(message_id: str, received: ReceivedMessage) -> bool:
    return received.sender == "" and message_id in str(received.raw)


def test_bounces_go_by_their_routes(relay: PostroadContainer, sink: Sink, internet: Internet) -> None:
    # the first is made in a run of the shaper's and goes at once, the second by the daemon
    for recipient in ("unknown@narrow.example", "unknown@rcpt.example"):
        message_id = send(relay, letter(To=recipient))
        bounce = internet.wait_for_message(partial(is_bounce, message_id), timeout=40)
        assert bounce.recipient == "app@sender.example"
    mailers = {e["mailer"] for e in relay.events() if e["event"] == "delivered" and e["recipient"] == bounce.recipient}
    assert mailers == {"route4"}
    assert "SYSERR" not in relay.log()


def test_flush_tries_what_was_put_off(relay: PostroadContainer, sink: Sink) -> None:
    def tries() -> int:
        return sum(each["put_off"] for each in sink.seen("narrow.example"))

    message_id = send(relay, letter(To="later@narrow.example"))
    queue_id = str(relay.wait_for(message_id, "deferred")["queue_id"])
    until(lambda: not any(found["active"] for found in listed(relay, "narrow.example")))
    for count, words in enumerate((("--all",), ("--domain", "narrow.example"), ("--id", queue_id)), 2):
        code, text = queue(relay, "flush", *words)
        assert (code, tries()) == (3, count), text
        assert "451 4.7.1 later" in text
    assert queue(relay, "delete", "--id", queue_id, "--yes")[0] == 0


def test_a_warm_up_has_its_number_today(relay: PostroadContainer, sink: Sink) -> None:
    for number in range(5):
        send(relay, letter(To=f"u{number}@warm.example"))
    until(lambda: len(sink.taken("warm.example")) == 3)
    relay.get_wrapped_container().restart()
    until(lambda: relay.log().count('"state": "ready"') == 2)
    # whoever runs the queue
    relay.shell("postroad queue flush --all; postroad queue drain --timeout 2s; postroad queue drain --undo")
    again = send(relay, letter(To="again@narrow.example"))
    relay.follow(again)
    assert len(sink.taken("warm.example")) == 3
    (one, two) = listed(relay, "warm.example")
    reason = f"waits for its turn: delivery.routes[2] (warm_up since {YESTERDAY})"
    assert one["reason"] == two["reason"]
    assert one["reason"].startswith(f"{reason}, queue group route-")
    assert (one["attempts"], one["next_try"]) == (0, None)
    assert reason in queue(relay, "list")[1]
    assert not [e for e in relay.events() if e["event"] == "deferred" and e["recipient"].endswith("@warm.example")]


def test_only_the_shaper_says_whose_turn_it_is(relay: PostroadContainer, sink: Sink) -> None:
    (one, _) = listed(relay, "warm.example")
    plan = "import json; p = json.load(open('/run/postroad/current/plan.json'))['processes']"
    run = "os.execve(s['argv'][0], [s['argv'][0], '-C', '/run/postroad/current/sendmail.cf', '-qf', '-qI' + sys.argv[1]], s['env'])"
    choose = "s = next(e for e in p if e['name'] == 'sendmail')"
    assert relay.shell(f'python3 -c "import os, sys; {plan}; {choose}; {run}" {one["queue_id"]}')[0] == 0
    assert "waits for its turn" in queue(relay, "list")[1]
    assert len(sink.taken("warm.example")) == 3


def test_a_shaper_that_dies_gives_no_more(relay: PostroadContainer, sink: Sink) -> None:
    before = len(sink.taken("narrow.example"))
    for number in range(12):
        send(relay, letter(To=f"v{number}@narrow.example"))
    until(lambda: len(sink.taken("narrow.example")) > before)
    find = "for p in /proc/[0-9]*; do grep -qsz postroad[.]shaper $p/cmdline && echo ${p#/proc/}; done | head -1"
    relay.shell(f"kill -9 $({find})")
    until(lambda: len(sink.taken("narrow.example")) == before + 12)
    assert max(each["open"] for each in sink.seen("narrow.example")[before:]) == 2
    assert "shaper killed by SIGKILL; it is started again" in relay.log()


def test_a_minute_has_its_number(relay: PostroadContainer, sink: Sink) -> None:
    wait_until(lambda: len(sink.taken("paced.example")) == 8, timeout=90)
    arrivals = sorted(sink.taken("paced.example"))
    assert all(later - first > 60 for first, later in zip(arrivals, arrivals[6:], strict=False)), arrivals
    assert arrivals[7] - arrivals[5] < 75, "not much later, either"


def test_a_reload_with_other_routes(relay: PostroadContainer, sink: Sink, settings: Settings) -> None:
    message_id = send(relay, letter(To="later@later.example"))
    relay.wait_for(message_id, "deferred")
    settings.route(narrow("narrow.example", most=2), narrow("later.example", most=1))
    relay.command("reload")
    # what waited for a route that is no more goes the usual way
    until(lambda: queue(relay, "flush", "--all") and len(sink.taken("warm.example")) == 5)
    # what had been tried before its route was there goes by it
    until(lambda: [each["put_off"] for each in sink.seen("later.example")] == [True, True], timeout=60)
    until(lambda: not any(found["active"] for found in listed(relay, "later.example")))
    settings.route()
    relay.command("reload")
    until(lambda: relay.shell("ls /var/spool/mqueue/*/qf*")[0] != 0)
    assert listed(relay, "later.example")
