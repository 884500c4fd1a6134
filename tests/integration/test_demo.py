"""``demo/run``: again at once, after it was cut short, after what an engine leaves that was restarted."""

import os
import re
import secrets
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.documents import ROOT
from tests.integration.conftest import wait_until
from tests.integration.test_console_browser import chromium
from tests.internet.internet import PUBLIC_IMAGE

__all__ = ["chromium"]

KINDS = {"container": ["--all"], "network": [], "volume": []}


class Demo:
    """The demo under a name of its own."""

    def __init__(self, image: str) -> None:
        self.project = f"postroad-test-demo-{secrets.token_hex(3)}"
        own = {"DEMO_PROJECT": self.project, "POSTROAD_IMAGE": image, "POSTROAD_INTERNET_IMAGE": PUBLIC_IMAGE}
        self.environment = {**os.environ, **own, "DEMO_CONSOLE_PORT": "0"}

    def begin(self, *words: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            # whoever runs the suite in the background has it ignored
            ["env", "--default-signal=INT", ROOT / "demo/run", *words],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *words: str) -> str:
        with self.begin(*words) as process:
            said = process.communicate(timeout=150)[0]
        assert process.returncode == 0, said
        return said

    def left(self, *kinds: str) -> list[str]:
        """The ids of what there is of it."""
        label = f"--filter=label=com.docker.compose.project={self.project}"
        return [line for kind in kinds for line in docker(kind, "ls", "--quiet", label, *KINDS[kind]).split()]


def docker(*words: str) -> str:
    return subprocess.run(["docker", *words], check=True, capture_output=True, text=True, timeout=60).stdout


@pytest.fixture
def demo(image: str) -> Iterator[Demo]:
    made = Demo(image)
    try:
        yield made
    finally:
        made.run("down")
        Path(tempfile.gettempdir(), f"{made.project}.lock").unlink(missing_ok=True)
        assert made.left(*KINDS) == []


def test_again_at_once_and_after_a_restart_of_the_engine(demo: Demo) -> None:
    assert "dkim=pass  spf=pass" in demo.run()
    assert "dkim=pass  spf=pass" in demo.run()
    # containers that stopped with the engine, of a network that is not theirs any more
    containers = demo.left("container")
    docker("kill", *containers)
    for container in containers:
        docker("network", "disconnect", "--force", f"{demo.project}_default", container)
    docker("network", "rm", f"{demo.project}_default")
    assert "dkim=pass  spf=pass" in demo.run()


@pytest.mark.parametrize(("cut", "containers"), [(signal.SIGINT, 1), (signal.SIGKILL, 3)])
def test_after_an_interruption(demo: Demo, cut: signal.Signals, containers: int) -> None:
    with demo.begin() as process:
        wait_until(lambda: len(demo.left("container")) >= containers, 60)
        os.killpg(process.pid, cut)
        said = process.communicate(timeout=60)[0]
    assert process.returncode in {130, -cut}, said
    assert cut == signal.SIGKILL or "`make demo` begins anew" in said
    assert "dkim=pass  spf=pass" in demo.run()


def test_the_console_shows_what_the_app_sends(demo: Demo, chromium: Browser) -> None:
    found = re.search(r"The console: (https://127\.0\.0\.1:\d+/)   password: (\S+)", demo.run("console"))
    assert found
    page = chromium.new_context(ignore_https_errors=True).new_page()  # of the relay's own certificate, as is said
    page.goto(found[1])
    page.fill("#password", found[2])
    page.keyboard.press("Enter")
    page.wait_for_url(found[1])
    page.goto(f"{found[1]}messages")
    wait_until(lambda: page.reload() and page.get_by_text("customer").count() > 1, 60)
