"""A smarthost whose uplink is killed, whose password is changed, whose tokens end; all mail goes through it."""

import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from tests.faults.account import Load, Row, settle
from tests.faults.bench import Bench, Relay, docker, wait_until
from tests.faults.model import Check
from tests.faults.processes import VICTIM

HOST = "sink.rcpt.example"
PASSWORD = {"username": "app", "password_file": "/secrets/password"}
TOKEN_LIFE = 6
"""Seconds; a token is used for half of them."""

Tell = Callable[[str], None]


@contextmanager
def loaded(bench: Bench, row: Row, tell: Tell, **smarthost: Any) -> Iterator[tuple[Relay, Load]]:
    """A relay under load, whose mail all goes through the smarthost; at the end every message has come to one."""
    tell("starting a relay")
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        folder.chmod(0o755)
        (folder / "ca.pem").write_text(docker("exec", bench.sink.name, "cat", "/run/sink/cert.pem"))
        (folder / "password").write_text("right\n")
        (folder / "secret").write_text("s3cret\n")
        bench.sink.put("password", "right")
        bench.sink.put("token", f'{{"life": {TOKEN_LIFE}}}')
        relay = bench.relay(
            folders={str(folder): "/secrets"},
            delivery={
                "queue": {"retry": "3s"},
                "tls": {"ca_file": "/secrets/ca.pem"},
                "smarthost": {"host": HOST, "port": 465, "fallback": None, **smarthost},
            },
        )
        load = Load(bench, ["relay"])
        try:
            wait_until(lambda: load.accepted > 20, 60, "the load")
            yield relay, load
        finally:
            load.stop()
        tell("waiting for the end of every message")
        relay.back()
        settle(row, bench, [relay], load, 120)
        if not row.accepted:
            row.faults.append("nothing was accepted: this shows nothing")
        if row.bounced > unknown(load):
            row.faults.append(f"{row.bounced - unknown(load)} bounced that only had to wait")


def unknown(load: Load) -> int:
    """How many of the accepted messages are for mailboxes that the smarthost refuses."""
    return sum(each["result"] == "accepted" and str(each["recipient"]).startswith("unknown") for each in load.attempts)


def said(bench: Bench, **entry: object) -> int:
    """How often the smarthost has noted this."""
    return sum(all(each.get(name) == value for name, value in entry.items()) for each in bench.sink.log())


def kill_uplink(bench: Bench, row: Row, tell: Tell, short: bool) -> None:
    rng, times = random.Random(bench.rng.random()), 3 if short else 12
    with loaded(bench, row, tell, **PASSWORD) as (relay, load):
        for row.injected in range(1, times + 1):
            tell(f"{row.injected} of {times}, {load.accepted} accepted")
            time.sleep(rng.uniform(0.1, 1.5))
            wait_until(partial(_killed, relay), 60, "its death")
    steps = Counter(each["left"] for each in bench.sink.log() if "left" in each)
    row.notes.append("its sessions were at " + ", ".join(f"{name} {count}" for name, count in steps.most_common()))
    if not steps:
        row.faults.append("no session was under way when it was killed: this shows nothing")


def _killed(relay: Relay) -> bool:
    relay.back()  # one that keeps dying ends the container
    return not relay.shell(VICTIM.replace("$1", "postroad[.]uplink"))[0]


def change_password(bench: Bench, row: Row, tell: Tell, short: bool) -> None:
    times = 1 if short else 5
    with loaded(bench, row, tell, **PASSWORD) as (_, load):
        for row.injected in range(1, times + 1):
            tell(f"{row.injected} of {times}, {load.accepted} accepted")
            before, accepted = said(bench, auth=False), load.accepted
            bench.sink.put("password", "another")
            wait_until(lambda: said(bench, auth=False) > before, 60, "a refusal")  # noqa: B023 - called at once
            wait_until(lambda: load.accepted > accepted + 40, 60, "more load")  # noqa: B023
            bench.sink.put("password", "right")
            welcome = said(bench, auth=True)
            wait_until(lambda: said(bench, auth=True) > welcome, 120, "a login")  # noqa: B023
    row.notes.append(f"{said(bench, auth=False)} wrong guesses")


def expire(bench: Bench, row: Row, tell: Tell, short: bool) -> None:
    times = 2 if short else 12
    oauth = {"token_url": f"https://{HOST}/token", "client_id": "postroad", "client_secret_file": "/secrets/secret"}
    with loaded(bench, row, tell, username="app", oauth=oauth) as (_, load):
        for row.injected in range(1, times + 1):
            tell(f"{row.injected} of {times}, {load.accepted} accepted")
            before = said(bench, token="granted")
            wait_until(lambda: said(bench, token="granted") > before, 60, "another token")  # noqa: B023
            if row.injected % 2 == 0:  # and now and then the token server refuses, while the token ends
                bench.sink.put("token", '{"error": "invalid_client"}')
                refused = said(bench, token="invalid_client")
                wait_until(partial(_more, bench, refused), 60, "a refusal")
                bench.sink.put("token", f'{{"life": {TOKEN_LIFE}}}')
    row.notes.append(f"{said(bench, token='granted')} tokens")


def _more(bench: Bench, before: int) -> bool:
    return said(bench, token="invalid_client") > before


CHECKS = [
    Check("uplink", "`kill -9` of the uplink, whatever its sessions are at; all mail by a smarthost", kill_uplink),
    Check("smarthost-password", "The smarthost's password is another one for a while", change_password),
    Check("token-expires", "Access tokens end, and the token server refuses for a while", expire),
]
