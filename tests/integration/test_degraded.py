"""The server says that it is in trouble, and why, where mail does not leave or something runs short; else it does not."""

import json
import subprocess
from functools import partial

import pytest

from postroad.runtime.reasons import NONE_SUCCEEDS, NOT_TRIED
from postroad.testing import PostroadContainer
from tests.integration.conftest import Relays, letter, send, wait_until
from tests.integration.test_health import HEALTHCHECK
from tests.integration.test_http import get
from tests.internet.internet import Internet

QUICK = {"queue": {"retry": "10s"}}
"""Two retry intervals are half a minute then, which is the least."""


def ready(relay: PostroadContainer) -> tuple[str, list[str]]:
    """What /readyz says; the image's health check has to agree."""
    code, text = get(relay, "/readyz")
    said = json.loads(text)
    assert code == (200 if said["status"] == "ready" else 503)
    return said["status"], said["reasons"]


def degraded_by(relay: PostroadContainer, reason: str) -> bool:
    return ready(relay) == ("degraded", [reason])


@pytest.mark.long
def test_several_receivers_fail_and_none_takes_mail(start_relay: Relays, internet: Internet) -> None:
    internet.add_mx("two.example")
    internet.publish("two.example", "MX", "10 mx.two.example.")
    relay = start_relay(publish=False, delivery=QUICK)
    other = start_relay(publish=False, delivery=QUICK)
    send(relay, letter(), to_addrs=["tempfail@rcpt.example", "tempfail@two.example"])
    for _ in range(2):  # its only receiver is down
        send(other, letter(), to_addrs=["tempfail@rcpt.example"])
    wait_until(partial(degraded_by, relay, NONE_SUCCEEDS), 90)
    assert relay.shell(HEALTHCHECK) == (1, f"degraded: {NONE_SUCCEEDS}\n")
    assert get(relay, "/healthz")[0] == 200, "whoever restarts what is not alive gains nothing here"
    assert 'postroad_degraded{cause="deliveries"} 1.0' in get(relay, "/metrics")[1]
    assert any(event.get("message") == NONE_SUCCEEDS for event in relay.events())
    assert ready(other) == ("ready", [])
    send(relay, letter())
    wait_until(lambda: ready(relay) == ("ready", []))
    assert relay.shell(HEALTHCHECK)[0] == 0


HOLD = """
import fcntl, glob, sys
held = [open(name, "r+") for name in glob.glob("/var/spool/mqueue/qf*")]
for each in held: fcntl.flock(each, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def inside(relay: PostroadContainer, script: str) -> subprocess.Popen[str]:
    """Run Python in the container until it has printed a line; it ends with its standard input."""
    argv = ["docker", "exec", "--interactive", str(relay.get_wrapped_container().id), "python3", "-c", script]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline()
    return process


@pytest.mark.long
def test_mail_is_due_and_nobody_tries_it(start_relay: Relays, internet: Internet) -> None:
    internet.add_zone("away.example")
    internet.publish_host("mx.away.example", str(internet.subnet[-9]))  # nobody's: no receiver has asked for less
    internet.publish("away.example", "MX", "10 mx.away.example.")
    relay = start_relay(publish=False, delivery=QUICK)
    message = send(relay, letter(), to_addrs=["user@away.example"])
    relay.wait_for(message, "deferred")
    with inside(relay, HOLD) as held:  # sendmail passes over it
        wait_until(partial(degraded_by, relay, NOT_TRIED), 90)
        assert 'postroad_degraded{cause="queue"} 1.0' in get(relay, "/metrics")[1]
        assert get(relay, "/healthz")[0] == 200
        assert held.stdin
        held.stdin.close()
        held.wait(10)
    wait_until(lambda: ready(relay) == ("ready", []), 60)


PROCESSES = """
import os, select, sys
wait, keep = os.pipe()
limit = int(open("/sys/fs/cgroup/pids/pids.max" if os.path.isdir("/sys/fs/cgroup/pids") else "/sys/fs/cgroup/pids.max").read())
def used(): return int(open("/sys/fs/cgroup/pids/pids.current" if os.path.isdir("/sys/fs/cgroup/pids") else "/sys/fs/cgroup/pids.current").read())
def fill():
    while used() < limit * 0.955:
        if os.fork() == 0:
            os.close(keep)
            os.read(wait, 1)
            os._exit(0)
fill()
print("there", flush=True)
while not select.select([sys.stdin], [], [], 0.1)[0]:
    fill()  # others have ended
"""
MEMORY = """
import os, sys
one = "/sys/fs/cgroup/memory/memory."
old = os.path.exists(one + "stat")
limit = int(open(one + "limit_in_bytes" if old else "/sys/fs/cgroup/memory.max").read())
def used():
    fields = dict(line.split() for line in open(one + "stat" if old else "/sys/fs/cgroup/memory.stat"))
    now = int(open(one + "usage_in_bytes" if old else "/sys/fs/cgroup/memory.current").read())
    return now - sum(int(fields.get(("total_" if old else "") + name, 0)) for name in ("active_file", "inactive_file", "slab_reclaimable"))
held = []
while used() < limit * 0.96:
    held.append(b"x" * 300_000)
print("there", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize(
    ("option", "script", "reason", "cause"),
    [
        ({"pids_limit": 300}, PROCESSES, "processes are near their limit (pids): it is 300", "processes"),
        ({"mem_limit": "192m", "memswap_limit": "192m"}, MEMORY, "memory is near its limit: it is 192 MiB", "memory"),
    ],
    ids=["processes", "memory"],
)
def test_something_runs_short(
    option: dict[str, object], script: str, reason: str, cause: str, start_relay: Relays
) -> None:
    relay = start_relay(publish=False, kwargs=option)
    send(relay, letter())
    wait_until(lambda: ready(relay) == ("ready", []))
    with inside(relay, script) as there:
        wait_until(partial(degraded_by, relay, reason), 60)
        code, said = relay.shell(HEALTHCHECK)
        assert (code, said) == (1, f"degraded: {reason}\n")
        assert f'postroad_degraded{{cause="{cause}"}} 1.0' in get(relay, "/metrics")[1]
        assert there.stdin
        there.stdin.close()
    wait_until(lambda: ready(relay) == ("ready", []), 90)
