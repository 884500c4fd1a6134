"""What is done to the stack under load, and the account of it: a row each."""

import json
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from tests.faults.account import Load, Row, counted, settle
from tests.faults.bench import wait_until
from tests.scale.judge import WINDOW, most_within, wrong_posts
from tests.scale.site import CONCURRENCY, DATABASE, LIMITED, RATE, Site

Tell = Callable[[str], None]

PROMISED = 2.0
"""Seconds in which each relay knows an address that one has suppressed."""
POSTED = 150.0
"""Seconds until the last event is posted: a lease of a relay that is gone lasts a minute."""
AWAY = 60.0
"""Seconds for which the database is away."""
DOMAINS = ["rcpt.example"] * 7 + [LIMITED]

WATCH = """
import json, smtplib, socket, sys, time
address, number = sys.argv[1], int(sys.argv[2])
hosts, sessions, deadline = [], {}, time.monotonic() + 180
while len(hosts) != number and time.monotonic() < deadline:
    hosts = sorted({found[4][0] for found in socket.getaddrinfo("postroad", 25, type=socket.SOCK_STREAM)})
    time.sleep(0.2)
for host in hosts:
    sessions[host] = smtplib.SMTP(host, timeout=20)
    sessions[host].ehlo("app")
print(len(hosts), flush=True)
seen = {}
while len(seen) < len(hosts):
    for host, smtp in sessions.items():
        if host not in seen:
            smtp.docmd("MAIL", "FROM:<app@sender.example>")
            if smtp.docmd("RCPT", f"TO:<{address}>")[0] == 550:
                seen[host] = time.time()
            smtp.docmd("RSET")
    time.sleep(0.02)
print(json.dumps(seen), flush=True)
"""
"""Asks each relay for an address, again and again, until all refuse it; prints how many they are, and when each did."""


@dataclass
class Turn:
    """A row's turn: the stack under load."""

    site: Site
    row: Row
    load: Load
    tell: Tell

    def goes_on(self, more: int = 30) -> None:
        """Wait until so many more messages were accepted."""
        enough = self.load.accepted + more
        wait_until(lambda: self.load.accepted >= enough, 120, f"the acceptance of {more} more messages")

    def did(self, what: str) -> None:
        """Count it, and say so."""
        self.row.injected += 1
        self.tell(f"{what}; {self.load.accepted} accepted")


@dataclass(frozen=True)
class Deed:
    """Something that is done to the stack.

    Attributes:
        name: what the command line calls it.
        title: what the table calls it.
        do: does it, while mail goes on.
        final: it can't be undone, so nothing comes after it.
    """

    name: str
    title: str
    do: Callable[[Turn], None]
    final: bool = False


def update(turn: Turn) -> None:
    """All relays are replaced, one after the other."""
    turn.site.update()
    turn.did("all relays replaced")


def scaling(*counts: int) -> Callable[[Turn], None]:
    """Relays join, and leave with their queues."""

    def do(turn: Turn) -> None:
        turn.site.sink.fail(0.3, "421")  # so that there is something to hand over
        for count in counts:
            turn.site.scale(count)
            turn.did(f"{count} relays")
            turn.goes_on()

    return do


def cut(turn: Turn) -> None:
    """A node is cut off until the Swarm has given it up, and comes back."""
    number = max(turn.site.members)
    turn.site.lab.cut(number)
    try:
        wait_until(lambda: turn.site.node_state(number) == "Down", 120, "the Swarm's notice of it")
        turn.did(f"node {number} cut off")
        turn.goes_on()
    finally:
        turn.site.lab.mend(number)
    wait_until(lambda: turn.site.node_state(number) == "Ready", 120, "the node's return")


def restart_database(turn: Turn) -> None:
    """The database is killed, and the Swarm starts it again."""
    (container,) = turn.site.lab.manager.containers(service_name=DATABASE)
    turn.site.lab.manager.run("kill", container)
    wait_until(
        lambda: turn.site.lab.manager.containers(service_name=DATABASE) not in ([], [container]),
        120,
        "the database's return",
    )
    turn.did("the database restarted")
    turn.goes_on()


def take_database_away(turn: Turn) -> None:
    """The database is away for a minute."""
    manager = turn.site.lab.manager
    manager.run("service", "scale", "--detach", f"{DATABASE}=0")
    wait_until(lambda: not manager.containers(service_name=DATABASE), 60, "the database's end")
    until = time.monotonic() + AWAY
    turn.did("the database is away")
    wait_until(lambda: time.monotonic() > until, AWAY + 10, "the minute's end")
    turn.goes_on()
    manager.run("service", "scale", "--detach", f"{DATABASE}=1")
    wait_until(lambda: manager.containers(service_name=DATABASE), 120, "the database's return")


def lose(turn: Turn) -> None:
    """A node is lost with its volumes; the others are told, and have its part of the limits."""
    site, number = turn.site, max(turn.site.members)
    site.sink.fail(0.3, "421")  # so that something waits on the volume
    turn.goes_on(60)
    site.lab.cut(number)
    (lost,) = [each for each in site.relays_now() if each.engine.number == number]
    name = lost.alias
    waiting = lost.queue()
    site.lab.engine(number).destroy()
    site.members.discard(number)
    site.sink.behave()
    turn.row.gone = [address for each in waiting for address in each["recipients"]]
    turn.did(f"node {number} lost, and {len(waiting)} messages on its volume")
    wait_until(lambda: site.node_state(number) == "Down", 120, "the Swarm's notice of it")
    site.lab.manager.run("node", "rm", "--force", name)
    other = site.relays_now()[0]
    said = ""

    def forgotten() -> bool:
        nonlocal said
        code, said = other.shell(f"postroad relays forget {name} --yes")
        return code == 0

    try:
        wait_until(forgotten, 120, f"postroad relays forget {name}")
    except TimeoutError as error:
        raise TimeoutError(f"{error}: {said}") from error

    def all_theirs() -> bool:
        found = json.loads(other.shell("postroad relays list --json")[1])["relays"]
        parts = [part for each in found if each["relay"] != name for part in each["parts"]]
        return sum(int(part["amount"]) for part in parts if part["limit"].endswith("connections")) == CONCURRENCY

    wait_until(all_theirs, 60, "the others' use of the whole limit of connections")
    turn.goes_on()


def deeds(members: int, engines: int) -> list[Deed]:
    """What can be done to a stack with so many relays on so many engines."""
    counts = (engines, 2, members) if engines > members else (members - 1, members)
    way = " → ".join(str(each) for each in (members, *counts))
    return [
        Deed("update", "rolling update", update),
        Deed("scale", f"scale {way}; who leaves hands over its queue", scaling(*counts)),
        Deed("cut", "a node cut off until it is given up, and mended", cut),
        Deed("db-restart", "the database killed, and started again", restart_database),
        Deed("db-away", "the database away for a minute", take_database_away),
        Deed("lost", "a node lost for good, with its volumes", lose, final=True),
    ]


def run(deed: Deed, site: Site, tell: Tell) -> Row:
    """Do one under load, and account for it."""
    row = Row(deed.name, deed.title)
    began = time.monotonic()
    site.sink.behave()
    site.sink.forget()
    site.hooks.run("sh", "-c", ": >/run/hooks/log")
    tell("waiting for all relays")
    site.await_members()
    load = Load(site, ["postroad"], domains=DOMAINS, rate=12, timeout=10)
    turn = Turn(site, row, load, tell)
    try:
        turn.goes_on()
        deed.do(turn)
        turn.goes_on()
    finally:
        load.stop()
    site.sink.behave()
    tell("waiting for the end of every message")
    relays = site.await_members()
    settle(row, site, relays, load, 300)
    if unsent := sum(each["result"] == "unsent" for each in load.attempts):
        row.notes.append(f"{unsent} attempts reached no relay")
    _what_is_gone(row)
    _webhooks(row, site, load)
    _limits(row, site)
    _suppression(row, site)
    wait_until(lambda: site.scraped() == len(site.members), 180, "Prometheus's scrapes of all relays")
    if "Traceback" in site.logs():
        row.faults.append("a traceback in the log of a relay, perhaps of one that was replaced")
    row.seconds = round(time.monotonic() - began, 1)
    return row


def _what_is_gone(row: Row) -> None:
    """Tell what stood on a volume that was destroyed apart from what is lost."""
    numbers = {address.partition("@")[0].partition("-")[2] for address in row.gone}
    gone = [each for each in row.lost if each.split()[0] in numbers]
    row.lost = [each for each in row.lost if each not in gone]
    if row.gone:
        row.notes.append(f"{len(gone)} stood only on the volume that was destroyed")


def _webhooks(row: Row, site: Site, load: Load) -> None:
    """Each end of a message is posted once."""
    accepted = {each["number"] for each in load.attempts if each["result"] == "accepted"}
    arrived, bounced = counted(site, load)
    wanted = {(f"<{number}@sender.example>", "delivered") for number in accepted & arrived.keys()}
    wanted |= {(f"<{number}@sender.example>", "bounced") for number in accepted & bounced.keys() - arrived.keys()}

    def all_came() -> bool:
        return not wrong_posts(site.hooks.requests("/ok"), wanted)[0]

    with suppress(TimeoutError):
        wait_until(all_came, POSTED, "the last post")
    missing, twice = wrong_posts(site.hooks.requests("/ok"), wanted)
    if missing and row.gone:
        # events stand on the state volume until they are in the database
        row.notes.append(f"{len(missing)} events were lost with the state volume")
    elif missing:
        row.faults.append(f"{len(missing)} ends of messages were not posted, such as {sorted(missing)[:3]}")
    if twice:
        row.faults.append(f"{len(twice)} ends of messages were posted more than once, such as {sorted(twice)[:3]}")
    row.notes.append(f"{len(wanted) - len(missing)} webhooks")


def _limits(row: Row, site: Site) -> None:
    """The receiver saw no more than the rate, from all relays together."""
    taken = [each["at"] for each in site.sink.log() if str(each.get("recipient", "")).endswith(f"@{LIMITED}")]
    most = most_within(taken, WINDOW)
    row.notes.append(f"{most} of {RATE} a minute")
    if most > RATE:
        row.faults.append(f"{most} messages came within a minute, where the rate is {RATE}")


def _suppression(row: Row, site: Site) -> None:
    """An address that one relay suppresses is refused by all in time."""
    # a relay that was cut off hears of changes again once it has found the database: this is no measure yet
    _seconds_until_all_refuse(site, 180)
    slowest = _seconds_until_all_refuse(site, 30)
    row.notes.append(f"suppressed everywhere in {slowest:.1f} s")
    if slowest > PROMISED:
        row.faults.append(f"an address was suppressed everywhere only after {slowest:.1f} s")


def _seconds_until_all_refuse(site: Site, timeout: float) -> float:
    """Suppress an address at one relay; the time until all refuse it.

    Raises:
        RuntimeError: they do not.
    """
    first = site.relays_now()[0]
    address = f"gone-{time.time_ns()}@rcpt.example"
    words = [*site.client, "python3", "-c", WATCH, address, str(len(site.members))]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as watch:
        assert watch.stdout
        killer = threading.Timer(timeout + 200, watch.kill)
        killer.start()
        try:
            if (number := watch.stdout.readline().strip()) != str(len(site.members)):
                raise RuntimeError(f"the name postroad leads to {number} relays: {watch.stdout.read()[-500:]}")
            code, said = first.shell(f"postroad suppress add {address}")
            added = time.time()
            line = watch.stdout.readline()
            if code or not line.startswith("{"):
                raise RuntimeError(f"not all refuse {address}: {said[-200:]} {line}{watch.stdout.read()[-500:]}")
        finally:
            killer.cancel()
            watch.kill()
    return max(0.0, max(map(float, json.loads(line).values())) - added)
