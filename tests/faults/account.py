"""The load, and the account of every message that was answered 250."""

import json
import secrets
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tests.faults.bench import Bench


class Holder(Protocol):
    """A relay as the account sees it: ``bench.Relay``, or another that can be asked the same."""

    @property
    def alias(self) -> str: ...

    def shell(self, script: str) -> tuple[int, str]: ...

    def queue(self) -> list[dict[str, Any]]: ...

    def log(self) -> str: ...


class Load:
    """A client in the network that sends numbered messages until it is stopped."""

    def __init__(self, bench: Bench, hosts: list[str], **how: Any) -> None:
        """Begin; ``how`` is over the client's arguments (``image/client``)."""
        self.run = secrets.token_hex(3)
        given = {"hosts": hosts, "run": self.run, "rate": 20, "workers": 4, "retry": False, "size": 60000, **how}
        given["seed"] = bench.rng.randrange(1000)
        self.attempts: list[dict[str, Any]] = []
        self.may_die = False  # the client, with its container
        # its standard input is what ends it
        self._client = subprocess.Popen(
            [*bench.client, "client", json.dumps(given)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        bench.ends.append(self.stop)

    def _read(self) -> None:
        assert self._client.stdout
        self.attempts.extend(map(json.loads, self._client.stdout))

    @property
    def accepted(self) -> int:
        return sum(each["result"] == "accepted" for each in list(self.attempts))

    @property
    def failed(self) -> int:
        """Attempts that were not accepted."""
        return sum(each["result"] != "accepted" for each in list(self.attempts))

    def stop(self, timeout: float = 120) -> None:
        """Let the messages under way end, and the client with them."""
        assert self._client.stdin
        if not self._client.stdin.closed:
            self._client.stdin.close()
        self.wait(timeout)

    def wait(self, timeout: float = 120) -> None:
        """Wait until the client has ended by itself."""
        code = self._client.wait(timeout)
        self._reader.join()
        for stream in (self._client.stdin, self._client.stdout):
            if stream:
                stream.close()
        if code and not self.may_die:
            raise RuntimeError(f"the client failed (exit {code})")


@dataclass
class Row:
    """What a fault did: a line of the table.

    Attributes:
        name: the fault's name for ``FAULTS=``.
        fault: what was done.
        injected: how often.
        accepted: messages answered 250.
        delivered: of these, those that arrived whole.
        bounced: those that came back as a bounce.
        queued: those that still wait.
        duplicated: copies that arrived besides the first.
        lost: accepted, and none of these. Numbers of messages.
        unanswered: messages whose text was sent whole and that got no answer.
        arrived: of these, those that arrived nevertheless.
        refused: attempts that were answered 4xx or 5xx.
        notes: what else was seen.
        faults: what must not be, besides a loss.
        seconds: how long it took.
        gone: recipients of messages that stood on a volume that was destroyed.
    """

    name: str
    fault: str
    injected: int = 0
    accepted: int = 0
    delivered: int = 0
    bounced: int = 0
    queued: int = 0
    duplicated: int = 0
    lost: list[str] = field(default_factory=list)
    unanswered: int = 0
    arrived: int = 0
    refused: int = 0
    notes: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0
    gone: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not self.lost and not self.faults


def settle(row: Row, bench: Bench, relays: Sequence[Holder], load: Load, timeout: float = 60) -> None:
    """Wait until all that was accepted has ended, or the time is over, and fill the row in."""
    deadline = time.monotonic() + timeout
    accepted = {each["number"]: each for each in load.attempts if each["result"] == "accepted"}
    flushed = time.monotonic()
    while True:
        arrived, bounced = counted(bench, load)
        open_ = accepted.keys() - arrived.keys() - bounced.keys()
        if not open_ or time.monotonic() > deadline:
            break
        if time.monotonic() > flushed + 10:  # its own runs come every few seconds; this one leaves nothing out
            flushed = time.monotonic()
            for relay in relays:
                relay.shell("timeout 30 postroad queue flush --all")
        time.sleep(0.5)
    # with a note: damaged, or set aside, and so not delivered by anybody
    waiting = {
        address for relay in relays for each in relay.queue() if not each["note"] for address in each["recipients"]
    }
    own = {address.partition("@")[0].removeprefix("app-") for address in waiting}  # of bounces that wait themselves
    queued = {number for number in open_ if number in own or accepted[number]["recipient"] in waiting}
    arrived, bounced = counted(bench, load)  # what was delivered since
    open_ -= arrived.keys() | bounced.keys()
    row.accepted += len(accepted)
    row.delivered += len(accepted.keys() & arrived.keys())
    row.bounced += len((accepted.keys() & bounced.keys()) - arrived.keys())
    row.queued += len(open_ & queued)
    row.lost += [f"{number} ({accepted[number]['queue_id']})" for number in sorted(open_ - queued)]
    row.duplicated += sum(arrived.values()) - len(arrived)
    unanswered = {each["number"] for each in load.attempts if each["result"] == "unanswered"} - accepted.keys()
    row.unanswered += len(unanswered)
    row.arrived += len(unanswered & (arrived.keys() | bounced.keys()))
    row.refused += sum(each["result"] == "refused" for each in load.attempts)
    wrong = [
        number for number in accepted.keys() & bounced.keys() if not accepted[number]["recipient"].startswith("unknown")
    ]
    if wrong:
        row.faults.append(f"{len(wrong)} bounced though their mailbox is there")
    entries = bench.sink.log()
    if unsigned := sum(
        entry.get("signed") is False for entry in entries if str(entry.get("number", "")).startswith(load.run)
    ):
        row.faults.append(f"{unsigned} arrived unsigned")
    if torn := sum(entry.get("whole") is False for entry in entries):
        row.faults.append(f"{torn} arrived damaged")
    for relay in relays:
        if "Traceback" in relay.log():
            row.faults.append(f"a traceback in the log of {relay.alias}")


def counted(bench: Bench, load: Load) -> tuple[Mapping[str, int], Mapping[str, int]]:
    """How often each number arrived whole, and how often it came back."""
    arrived: Counter[str] = Counter()
    bounced: Counter[str] = Counter()
    for entry in bench.sink.log():
        if "recipient" not in entry:
            continue
        if entry["number"].startswith(f"{load.run}-") and entry["whole"] and entry["sender"]:
            arrived[entry["number"]] += 1
        elif not entry["sender"] and entry["recipient"].startswith(f"app-{load.run}-"):
            bounced[entry["recipient"].partition("@")[0].removeprefix("app-")] += 1
    return arrived, bounced
