"""Each command's example on the real image; what a command says where no server runs, and to root."""

import re
import subprocess

import click
import pytest

from postroad.testing import PostroadContainer
from tests.integration.conftest import Relays
from tests.internet.internet import Internet
from tests.unit.test_cli_help import LEAVES, example

CODES = {
    "send": {0, 1, 3},
    "trace": {0, 1},
    "doctor": {0, 1},
    "dns": {0, 1},
    "render": {0, 1},
    "queue flush": {0, 3},
    "queue abort": {0, 1},
    "smarthost login": {2},  # no smarthost here has oauth.device_url
    "queue evacuate": {2},  # no peers here
    "relays forget": {1},  # nor other relays
}
CODES |= {name: {0, 1} for name in ("brake release", "suppress remove", "webhook replay", "webhook test")}
"""The exit codes that an example may have, where they depend on what there is: docs/trouble.md has their meaning."""
MINIMAL = ("--env=POSTROAD_HOSTNAME=mail.a.example", "--env=POSTROAD_DOMAINS=a.example")


@pytest.fixture(scope="module")
def relay(relays: Relays, internet: Internet) -> PostroadContainer:
    """A relay as the examples have it."""
    internet.add_mx("example.net")
    found = relays(hostname="mail.example.com", domains=["example.com"], publish=False)
    found.shell("postroad suppress add gone@example.net")
    return found


@pytest.mark.parametrize(
    ("words", "command"),
    [each for each in LEAVES if each[0] not in {("run",), ("queue", "drain")}],
    ids=lambda each: " ".join(each) if isinstance(each, tuple) else "",
)
def test_the_example_works(words: tuple[str, ...], command: click.Command, relay: PostroadContainer) -> None:
    line = re.sub(
        r"^docker compose (exec|run --rm)( -T)?( --no-deps)? postroad (postroad )?", "postroad ", example(command)
    )
    relay.shell("mkdir -p /tmp/old; echo gone@example.net >/tmp/list.csv")
    relay.shell("echo '-e ALLOWED_SENDER_DOMAINS=example.com' >/tmp/old/compose.yaml")
    code, text = relay.shell(f"cd /tmp && {line}")
    assert code in CODES.get(" ".join(words), {0}), f"{line}\n{text}"
    assert "Traceback" not in text
    assert text.strip() or words == ("render",)  # nothing differs


def test_the_example_of_drain_works_and_is_undone(relay: PostroadContainer) -> None:
    code, text = relay.shell("postroad queue drain --timeout 10m")
    assert code in {0, 3}, text
    code, text = relay.shell("postroad queue drain --undo")
    assert code == 0, text


def alone(image: str, *words: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run a command in a container without a server."""
    return subprocess.run(
        ["docker", "run", "--rm", "--network=none", *MINIMAL, *options, image, *words],
        capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    "words", [("send", "a@b.example"), ("reload",), ("queue", "flush", "--all"), ("webhook", "list")]
)
def test_without_a_server_a_command_says_where_to_run_it(words: tuple[str, ...], image: str) -> None:
    done = alone(image, *words)
    assert done.returncode == 1, done.stderr
    named = " ".join(word for word in words if word.isalpha())
    assert f"no server runs here: run `docker compose exec postroad postroad {named} ...`" in done.stderr


@pytest.mark.parametrize("words", [("trace", "a@b.example"), ("stats",), ("suppress", "list"), ("brake", "list")])
def test_without_events_a_command_says_where_to_run_it(words: tuple[str, ...], image: str) -> None:
    done = alone(image, *words)
    assert done.returncode == 1, done.stderr
    assert "run this in the server's container (`docker compose exec postroad postroad ...`)" in done.stderr


def test_the_queue_of_a_volume_is_not_said_to_be_draining(image: str) -> None:
    done = alone(image, "queue", "list")
    assert done.returncode == 0, done.stderr
    assert "no server runs here: this is what the volume holds" in done.stdout
    assert "draining" not in done.stdout


@pytest.mark.parametrize("words", [(), ("check",), ("run",)])
def test_root_is_told_what_to_change(words: tuple[str, ...], image: str) -> None:
    done = alone(image, *words, options=("--user=root",))
    assert done.returncode == 2, done.stdout
    assert "this runs as root, which Postroad refuses. Take `user:` out of the compose file" in done.stderr
