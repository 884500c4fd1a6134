"""The image's health check, by health files as the supervisor writes them."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from postroad.runtime import reasons
from postroad.supervisor.health import HealthFile

SCRIPT = Path(__file__).parents[2] / "rootfs" / "healthcheck"
Check = Callable[..., tuple[int, str]]


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """Run it, with these words, on a state with these reasons."""
    script = tmp_path / "healthcheck"
    script.write_text(SCRIPT.read_text().replace("/run/postroad/", f"{tmp_path}/"))

    def run(*words: str, state: str = "degraded", because: list[str]) -> tuple[int, str]:
        HealthFile(tmp_path / "health").write(state, [os.getpid()], "1 1 done", because)
        done = subprocess.run(["sh", script, *words], capture_output=True, text=True, check=False, timeout=30)
        assert not done.stderr
        return done.returncode, done.stdout

    return run


def test_a_server_that_is_ready_is_well(check: Check) -> None:
    assert check(state="ready", because=[]) == (0, "")
    assert check("live", state="ready", because=[]) == (0, "")


@pytest.mark.parametrize("reason", [reasons.NONE_SUCCEEDS, reasons.NOT_TRIED])
def test_no_restart_mends_a_delivery_that_fails(check: Check, reason: str) -> None:
    assert check(because=[reason]) == (1, f"degraded: {reason}\n")
    assert check("live", because=[reason]) == (0, "")
    assert check("live", "20", because=[reason]) == (0, ""), "a state that nobody was told of"


@pytest.mark.parametrize("words", [(), ("live",)])
def test_what_a_restart_mends_counts_always(check: Check, words: tuple[str, ...]) -> None:
    down = reasons.not_running("front")
    assert check(*words, because=[down, reasons.NONE_SUCCEEDS]) == (1, f"degraded: {down}\n")
    assert check(*words, state="starting", because=[]) == (1, "starting\n")
    assert check(*words, state="stopping", because=[reasons.NONE_SUCCEEDS])[0] == 1
