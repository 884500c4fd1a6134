"""The image's health check as the engine runs it: quick at the start, quick to notice, and seldom started in between."""

import subprocess
import time
from typing import Any

from postroad.testing import PostroadContainer
from tests.integration.conftest import Relays, wait_until

HEALTHCHECK = "/usr/local/lib/postroad/healthcheck"
NONE = {"healthcheck": {"test": ["NONE"]}}


def health(relay: PostroadContainer) -> dict[str, Any]:
    """What the engine says of the container's health."""
    container = relay.get_wrapped_container()
    container.reload()
    return dict(container.attrs["State"]["Health"])


def test_the_engine_sees_the_start_within_seconds_and_a_failure_too(start_relay: Relays) -> None:
    relay = start_relay(publish=False)
    wait_until(lambda: health(relay)["Status"] == "healthy", 10)
    # the supervisor can't start the daemon again while it is stopped, nor tell the health check
    relay.get_wrapped_container().kill("SIGSTOP")
    pid = relay.shell("head -n 1 /run/postroad/health | cut -d' ' -f3")[1].strip()
    relay.shell(f"kill -9 {pid}")
    wait_until(lambda: health(relay)["Status"] == "unhealthy", 60)
    assert health(relay)["Log"][-1]["Output"].strip().endswith((" is dead", " is gone"))
    relay.get_wrapped_container().kill("SIGCONT")
    wait_until(lambda: health(relay)["Status"] == "healthy", 30)


def test_only_the_first_check_of_a_state_answers_at_once(start_relay: Relays) -> None:
    relay = start_relay(publish=False, kwargs=NONE)

    def seconds(*words: str) -> float:
        began = time.monotonic()
        assert relay.shell(" ".join([HEALTHCHECK, *words])) == (0, "")
        return time.monotonic() - began

    seconds("20")  # it would be 20 if it did not answer at once, and the next would not watch
    assert seconds("5") >= 5
    assert seconds() < 5, "without a number it never watches"
    relay.shell("sed -i s/ready/ready/ /run/postroad/health")
    assert seconds("20") < 5, "a state that nobody was told of"


def test_a_check_that_watches_answers_when_something_dies(start_relay: Relays) -> None:
    relay = start_relay(publish=False, kwargs=NONE)
    relay.shell(f"{HEALTHCHECK} 20")
    argv = ["docker", "exec", str(relay.get_wrapped_container().id), HEALTHCHECK, "600"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as watching:
        wait_until(lambda: "600" in relay.shell("cat /proc/[0-9]*/cmdline | tr '\\0' ' '")[1])
        relay.shell("sed -i s/ready/degraded/ /run/postroad/health")
        assert watching.communicate(timeout=30)[0] == "degraded\n"
        assert watching.returncode == 1
