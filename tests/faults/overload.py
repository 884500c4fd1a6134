"""Too many clients, recipients, messages, and domains that are dead."""

import time
from collections.abc import Callable

from tests.faults.account import Load, Row, counted, settle
from tests.faults.bench import QUEUE, TOOLS, Bench, Relay, docker, wait_until
from tests.faults.model import Check
from tests.faults.watching import Watcher

Tell = Callable[[str], None]


class Memory(Watcher):
    """Watches a relay's memory, from ``with`` to its end."""

    def __init__(self, relay: Relay) -> None:
        super().__init__()
        self.relay = relay
        self.most = 0

    def look(self) -> None:
        self.most = max(self.most, self.relay.memory())

    @property
    def text(self) -> str:
        return f"{self.most / 2**20:.0f} MiB at most"


def spread(seconds: list[float]) -> str:
    """A few numbers for many."""
    ordered = sorted(seconds) or [0.0]
    return f"half within {ordered[len(ordered) // 2]:.1f} s, all within {ordered[-1]:.1f} s"


def connections(bench: Bench, row: Row, tell: Tell, short: bool) -> None:
    """Everybody at once, and all are served; one above the limit of a client is told so."""
    many = 50 if short else 500
    relay = bench.relay(limits={"connections_per_client": many + 50})
    tell(f"{many} connections at once")
    with Memory(relay) as memory:
        load = Load(bench, ["relay"], workers=many, rate=0, count=2 * many, timeout=300)
        load.wait(400)
        settle(row, bench, [relay], load, 240)
    row.injected = many
    row.notes += [spread([each["took"] for each in load.attempts if each["result"] == "accepted"]), memory.text]
    if row.accepted < 2 * many:
        row.faults.append(f"{2 * many - row.accepted} were not accepted")


def slowloris(bench: Bench, row: Row, tell: Tell, short: bool) -> None:
    """Somebody holds as many connections as he gets; others send as ever."""
    many = 60 if short else 300
    relay = bench.relay()
    attacker = f"{bench.internet.network}-slow"
    bench.start(attacker, ["slowloris", "relay", "25", str(many)], "--init")
    try:
        time.sleep(3)  # they come, and hold what they get
        tell(f"{many} clients that say a letter a second")
        with Memory(relay) as memory:
            load = Load(bench, ["relay"], count=30 if short else 300)
            load.wait()
    finally:
        docker("rm", "--force", attacker)
    settle(row, bench, [relay], load)
    row.injected = many
    row.notes += [spread([each["took"] for each in load.attempts if each["result"] == "accepted"]), memory.text]
    if row.accepted < len(load.attempts):
        row.faults.append(f"{len(load.attempts) - row.accepted} of others were not accepted")


RECIPIENTS = """
import smtplib, sys
count = int(sys.argv[1])
smtp = smtplib.SMTP("relay", timeout=600)
to = [f"user-{n}@rcpt.example" for n in range(count)]
text = "From: app@sender.example\\r\\nMessage-ID: <many@sender.example>\\r\\nX-Number: many-1\\r\\n\\r\\nHello.\\r\\n"
print(count - len(smtp.sendmail("app-many-1@sender.example", to, text)))
"""


def recipients(bench: Bench, row: Row, tell: Tell, short: bool) -> None:
    """One message for many; the rows count recipients."""
    many = 500 if short else 10_000
    relay = bench.relay(limits={"recipients_per_message": many})
    tell(f"a message for {many:,}")
    began = time.monotonic()
    with Memory(relay) as memory:
        row.accepted = int(docker("exec", bench.app, "python3", "-c", RECIPIENTS, str(many), timeout=700))
        taken = time.monotonic() - began

        def arrived() -> list[str]:
            return [entry["recipient"] for entry in bench.sink.log() if entry.get("number") == "many-1"]

        deadline = time.monotonic() + 300
        while len(set(copies := arrived())) < row.accepted and time.monotonic() < deadline:
            tell(f"{len(copies):,} of {many:,}")
            time.sleep(2)
    row.injected = 1
    row.delivered = len(set(copies))
    row.duplicated = len(copies) - row.delivered
    row.queued = sum(len(message["recipients"]) for message in relay.queue())
    row.lost = ["recipients"] * max(0, row.accepted - row.delivered - row.queued)
    row.notes += [
        f"recipients counted; taken in {taken:.1f} s, delivered after {time.monotonic() - began:.1f} s",
        memory.text,
    ]
    if row.accepted != many:
        row.faults.append(f"{many - row.accepted} recipients were refused")


def long_queue(bench: Bench, row: Row, tell: Tell, short: bool) -> None:
    """A relay starts on a queue that a long outage left; live mail goes through beside it."""
    many = 2_000 if short else 100_000
    config = {
        "delivery": {"queue": {"retry": "1h"}, "adaptive": False},  # the 421 of the outage would slow live mail, too
        "sendmail": {"defines": {"confMIN_QUEUE_AGE": "1h"}},
    }
    relay = bench.relay(**config)
    bench.sink.fail(1, "421")
    Load(bench, ["relay"], count=1, workers=1, domains=["rcpt.example"]).wait()
    wait_until(lambda: [each for each in relay.queue() if each["attempts"] and not each["active"]], 60, "a failed try")
    docker("stop", "--time=15", relay.name)
    tell(f"writing {many:,} messages")
    mount = f"--volume={relay.volumes[QUEUE]}:/queue"
    docker("run", "--rm", mount, TOOLS, "fill-queue", "/queue", str(many), timeout=600)
    bench.sink.behave()
    bench.sink.forget()
    tell("starting on them")
    began = time.monotonic()
    relay.recreate()
    started = time.monotonic() - began
    with Memory(relay) as memory:
        load = Load(bench, ["relay"], count=20 if short else 100)
        load.wait()
        settle(row, bench, [relay], load, 120)
        live = spread(delays(bench, load))
        tell("at rest")
        wait_until(lambda: _rests(relay), 300, "the end of the first queue run")
        before, at = relay.cpu(), time.monotonic()
        time.sleep(5 if short else 20)  # what is measured is a time at rest
        share = (relay.cpu() - before) / (time.monotonic() - at)
        listed = time.monotonic()
        waiting = len(relay.queue())
        listed = time.monotonic() - listed
    row.injected = many
    row.accepted += many
    row.queued += waiting
    row.lost += ["of the queue"] * (many - waiting)
    row.notes += [
        f"ready after {started:.1f} s; live mail: {live}; {memory.text}",
        f"{share:.1%} of a processor at rest; listed in {listed:.1f} s",
    ]


def _rests(relay: Relay) -> bool:
    """Whether it uses little of the processor for two seconds."""
    before = relay.cpu()
    time.sleep(2)  # what is measured is this time
    return relay.cpu() - before < 0.4


def delays(bench: Bench, load: Load) -> list[float]:
    """Seconds from each 250 to the arrival at the MX."""
    taken = {each["number"]: each["at"] for each in load.attempts if each["result"] == "accepted"}
    return [entry["at"] - taken[entry["number"]] for entry in bench.sink.log() if entry.get("number") in taken]


def dead_domains(bench: Bench, row: Row, tell: Tell, short: bool) -> None:
    """Half of the domains have an MX that never answers; mail to the other half goes on."""
    many = 60 if short else 1000
    hole = f"{bench.internet.network}-hole"
    drop = "iptables -A INPUT -p tcp --dport 25 -j DROP && exec sleep infinity"
    address = bench.start(hole, ["sh", "-c", drop], "--cap-add=NET_ADMIN", "--init")
    internet = bench.internet
    internet.add_zone("dead.example", "live.example")
    internet.publish_host("hole.dead.example", address)
    internet.publish("*.dead.example", "MX", "10 hole.dead.example.")
    internet.publish("*.live.example", "MX", "10 sink.rcpt.example.")
    domains = [f"d{number}.{'dead' if number % 2 else 'live'}.example" for number in range(many)]
    relay = bench.relay(delivery={"queue": {"retry": "20s"}})
    tell(f"{many:,} domains, half of them dead")
    try:
        with Memory(relay) as memory:
            load = Load(bench, ["relay"], domains=domains, count=many, rate=20, size=1000)
            load.wait(400)
            # once more, while the dead ones are tried again
            again = Load(
                bench, ["relay"], domains=[each for each in domains if "live" in each], count=many // 4, size=1000
            )
            again.wait(200)
            alive = {each["number"] for each in load.attempts if "live" in each["recipient"]}
            wait_until(lambda: _ended(bench, load, alive), 120, "the end of all to live domains")
            settle(row, bench, [relay], load, 1)
            settle(row, bench, [relay], again, 60)
    finally:
        docker("rm", "--force", hole)
    row.injected = many // 2
    row.notes += [
        f"mail to live domains: {spread(delays(bench, load))}",
        f"during queue runs: {spread(delays(bench, again))}",
        memory.text,
    ]


def _ended(bench: Bench, load: Load, numbers: set[str]) -> bool:
    arrived, bounced = counted(bench, load)
    return not numbers - arrived.keys() - bounced.keys()


FAULTS = [
    Check("connections", "500 connections at once", connections),
    Check("slowloris", "300 clients that say a letter a second, beside the load", slowloris),
    Check("recipients", "10,000 recipients of one message", recipients),
    Check("long-queue", "A queue of 100,000 messages", long_queue),
    Check("dead-domains", "1,000 domains, half of them with an MX that never answers", dead_domains),
]
