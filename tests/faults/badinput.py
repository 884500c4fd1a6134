"""What nobody should send: to the doors of the running image, to the configuration's loader, the log's parser, the renderer."""

import json
import re
import subprocess
import sys
from collections.abc import Callable

from postroad.events import model
from tests.faults.account import Load, Row, settle
from tests.faults.bench import Bench, Relay, docker
from tests.faults.model import Check

MARK = "f0rged"
OWN = (
    "event",
    "time",
    "program",
    "pid",
    "queue_id",
    "mailer",
    "relay_host",
    "relay_address",
    "dsn",
    "listener",
    "client_address",
)
"""Fields that hold what our own daemons say, and nothing that a client chose."""


def kinds(of: type[model.Event] = model.Event) -> set[str]:
    """The kinds of event that there are."""
    return {of.kind}.union(*(kinds(each) for each in of.__subclasses__()))


def doors(bench: Bench, row: Row, tell: Callable[[str], None], short: bool) -> None:
    """Send malformed sessions, beside a client that is as it should be; then look at everything for their traces."""
    wanted = 300 if short else 100_000
    # some file that is there: nobody knows the password, and AUTH is offered
    relay = bench.relay(clients={"users": [{"name": "app", "password_file": "/etc/hostname"}]})
    before = relay.pids()
    load = Load(bench, ["relay"], rate=5, workers=2)
    seed = str(bench.rng.randrange(10**6))
    talker = f"{bench.internet.network}-doors"
    bench.start(talker, ["doors", "relay", seed, str(wanted)], "--init")
    tell(f"{wanted:,} inputs")
    docker("wait", talker, timeout=1200)
    said = json.loads(docker("logs", talker).splitlines()[-1])
    docker("rm", "--force", talker)
    load.stop()
    settle(row, bench, [relay], load)
    row.injected = said["inputs"]
    row.notes.append(f"{said['sessions']:,} sessions, {said['accepted']:,} of their messages accepted")
    row.faults += [f"a session hangs: {hang}" for hang in said["hangs"]]
    if relay.pids() != before:
        row.faults.append("a daemon was started anew")
    row.faults += traces(relay)


def traces(relay: Relay) -> list[str]:
    """What malformed input left where it must not: in the log's shape, in fields of our own, in rendered files."""
    found, known = [], kinds()
    for line in relay.log().splitlines():
        if not re.fullmatch(r"[ -~]+", line):
            found.append(f"not plain: {line!r:.200}")
            continue
        try:
            event = json.loads(line)
        except ValueError:
            found.append(f"no JSON: {line:.200}")
            continue
        if event["event"] not in known:
            found.append(f"of no kind: {line:.200}")
        found += [f"forged {name}: {line:.300}" for name in OWN if MARK in str(event.get(name, ""))]
    code, difference = relay.shell("exec postroad render --diff")
    if code or difference:
        found.append(f"rendered files differ: {difference:.300}")
    return found[:20]


def generated(bench: Bench, row: Row, tell: Callable[[str], None], short: bool) -> None:
    """Have hypothesis generate many more examples than ``make test`` does."""
    tell("hypothesis")
    profile = "postroad" if short else "many"
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "hypothesis", "--timeout=1200"]
    done = subprocess.run(
        [*words, f"--hypothesis-profile={profile}", "--hypothesis-show-statistics", "tests/unit"],
        capture_output=True, text=True, timeout=1200, check=False,
    )  # fmt: skip
    row.injected = sum(map(int, re.findall(r"(\d+) passing,", done.stdout)))
    row.notes.append("nothing is sent: generated configurations, log lines and values to render")
    if done.returncode:
        row.faults.append(f"pytest ended with exit code {done.returncode}: {done.stdout[-1500:]}")


FAULTS = [
    Check("doors", "Malformed SMTP sessions to 25, 587 and 465; each command or line counts", doors),
    Check("generated", "Generated input to the configuration's loader, the log's parser, the renderer", generated),
]
