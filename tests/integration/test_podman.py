"""Rootless Podman, whose ways of forwarding a port show strangers as neighbours, or as the container itself.

``dev/podman`` sets it up where it is missing: as root on Debian or Ubuntu.
"""

import json
import re
import secrets
import smtplib
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.documents import commands as of_page
from tests.integration.conftest import wait_until

ROOT = Path(__file__).parents[2]
PODMAN = str(ROOT / "dev" / "podman")
CONFIG = {"HOSTNAME": "mail.example.com", "DOMAINS": "example.com", "DOCTOR__AT_START": "false"}
LOW_PORTS = "--sysctl=net.ipv4.ip_unprivileged_port_start=25"
VOLUMES = {"queue": "/var/spool/mqueue", "state": "/var/lib/postroad"}
ASK = (
    "import smtplib, sys\n"
    "smtp = smtplib.SMTP(sys.argv[1], 25, timeout=10)\n"
    "smtp.ehlo(); smtp.mail('app@example.com'); code, text = smtp.rcpt('user@rcpt.example')\n"
    "print(code, text.decode())"
)


def podman(*words: str, check: bool = True) -> str:
    done = subprocess.run([PODMAN, *words], capture_output=True, text=True, timeout=120, check=False)
    assert not check or done.returncode == 0, (words, done.stderr)
    return (done.stdout if check else done.stdout + done.stderr).strip()


@pytest.fixture(scope="module")
def loaded(image: str) -> Iterator[str]:
    """The image under test, in Podman's storage."""
    name = f"localhost/postroad:test-{secrets.token_hex(3)}"
    subprocess.run(["docker", "tag", image, name], check=True)
    try:
        with subprocess.Popen(["docker", "save", name], stdout=subprocess.PIPE) as saved:
            done = subprocess.run([PODMAN, "load"], stdin=saved.stdout, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        yield name
        podman("rmi", "--force", name)
    finally:
        subprocess.run(["docker", "rmi", name], check=True, capture_output=True)


Start = Callable[..., "Relay"]


class Relay:
    """A container of Podman's that runs the image."""

    def __init__(self, name: str) -> None:
        self.name = name

    def log(self) -> str:
        return podman("logs", self.name, check=False)

    def messages(self) -> list[str]:
        events = (json.loads(line) for line in self.log().splitlines() if line.startswith("{"))
        return [str(event.get("message", event.get("state", ""))) for event in events]

    def await_ready(self) -> None:
        wait_until(lambda: "ready" in self.messages(), timeout=60)


def remove(name: str) -> None:
    """Podman gives up where a container ends between its signals ("container state improper: stopped")."""
    wait_until(lambda: not podman("ps", "--all", "--quiet", f"--filter=name={name}") or podman("rm", "--force", "--time=1", "--volumes", name, check=False) == name)  # fmt: skip


@pytest.fixture
def start(loaded: str) -> Iterator[Start]:
    """Runs relays: ``start(options of podman run, keys of the configuration=)``."""
    with ExitStack() as stack:

        def run(*options: str, **config: str) -> Relay:
            name = f"postroad-test-{secrets.token_hex(3)}"
            keys = [f"--env=POSTROAD_{key}={value}" for key, value in (CONFIG | config).items()]
            stack.callback(remove, name)
            podman("run", "--detach", f"--name={name}", *keys, *options, loaded)
            return Relay(name)

        yield run


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def own_address() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing; tells the address that this host goes out with
        return str(probe.getsockname()[0])


def answers(port: int, *hosts: str) -> dict[str, tuple[int, str]]:
    """What is said to RCPT to clients on this host, through the published port."""

    def ask(host: str) -> tuple[int, str]:
        with smtplib.SMTP(host, port, timeout=10) as smtp:
            smtp.ehlo()
            smtp.mail("app@example.com")
            code, text = smtp.rcpt("user@rcpt.example")
        return code, text.decode()

    return {host: ask(host) for host in hosts}


# the port's handler, and as whom it shows a client on this host's loopback, and one at this host's own address
WAYS = {
    "rootlessport": ((), "10.0.2.100", "10.0.2.100"),
    "slirp4netns": (("--network=slirp4netns:port_handler=slirp4netns",), "10.0.2.2", own_address()),
}


@pytest.mark.parametrize("way", WAYS)
def test_who_comes_through_the_published_port_is_a_stranger(way: str, start: Start) -> None:
    options, loopback, own = WAYS[way]
    port = free_port()
    relay = start(*options, LOW_PORTS, f"--publish={port}:25")
    relay.await_ready()
    said = answers(port, "127.0.0.1", own_address())
    assert [code for code, _ in said.values()] == [550, 550], said
    assert [text.split("relaying denied: ")[1].split()[0] for _, text in said.values()] == [loopback, own]
    assert any("auto stands for nobody behind a rootless engine's port forwarding" in each for each in relay.messages())
    sent = podman("exec", relay.name, "postroad", "send", "user@rcpt.example", "--timeout=1", check=False)
    assert "accepted as" in sent, sent


def test_pasta_shows_loopback_as_loopback_and_copies_the_host_s_network(start: Start) -> None:
    """As Podman from 4.4 on runs pasta; the one of Debian 12 knows none, so it is attached by hand."""
    port = free_port()
    relay = start("--network=none", LOW_PORTS)
    relay.await_ready()
    pid = podman("inspect", "--format={{.State.Pid}}", relay.name)
    subprocess.run([PODMAN, "--pasta", "--config-net", "-t", f"{port}:25", "-u", "none", "-T", "none", "-U", "none", pid],
                   check=True, capture_output=True, timeout=60)  # fmt: skip
    wait_until(lambda: any(each.startswith("reloaded (") for each in relay.messages()), timeout=60)
    ((code, text),) = answers(port, "127.0.0.1").values()
    assert (code, "relaying denied: 127.0.0.1 is not in" in text) == (550, True), text
    trusted = podman("exec", relay.name, "cat", "/run/postroad/current/access")
    assert "RELAY" not in trusted
    assert f"Connect:{own_address()}\tOK" in trusted


def test_who_trusts_the_gateway_trusts_whoever_comes_through_the_port(start: Start) -> None:
    port = free_port()
    start(LOW_PORTS, f"--publish=127.0.0.1:{port}:25", CLIENTS__TRUST_GATEWAY="true").await_ready()
    assert answers(port, "127.0.0.1")["127.0.0.1"][0] == 250


def test_a_port_that_cannot_be_opened_is_told_with_what_to_set(start: Start) -> None:
    relay = start()
    assert wait_until(
        lambda: podman("inspect", "--format={{.State.Status}} {{.State.ExitCode}}", relay.name) == "exited 2"
    )
    assert "listeners.smtp: port 25 can't be opened by this user: set the sysctl" in relay.log()
    assert "net.ipv4.ip_unprivileged_port_start=25 for" in relay.log()


def test_the_other_way_that_the_error_names_works(start: Start) -> None:
    port = free_port()
    listeners = {"LISTENERS__SMTP": "2525", "LISTENERS__SUBMISSION": "null", "LISTENERS__SUBMISSIONS": "null"}
    start(f"--publish={port}:2525", **listeners).await_ready()
    assert answers(port, "127.0.0.1")["127.0.0.1"][0] == 550


QUADLET = """
set -e
apt-get update -qq >/dev/null 2>&1
cd /tmp
apt-get download -qq podman >/dev/null 2>&1
dpkg-deb -x podman_*.deb here
QUADLET_UNIT_DIRS=/units here/usr/libexec/podman/quadlet -dryrun -user 2>/dev/null
"""


@pytest.fixture(scope="module")
def commands() -> list[list[str]]:
    """What systemd would run of the units in ``deploy/podman``, by the generator of Debian 13's Podman."""
    argv = ["docker", "run", "--rm", f"--volume={ROOT / 'deploy' / 'podman'}:/units:ro", "debian:trixie-slim"]
    done = subprocess.run([*argv, "bash", "-c", QUADLET], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return [line.split()[1:] for line in re.findall(r"^ExecStart=/usr/bin/(podman .*)$", done.stdout, re.MULTILINE)]


def test_the_quadlet_runs_as_printed(commands: list[list[str]], loaded: str) -> None:
    *made, run = sorted(commands, key=lambda words: words[0] == "run")
    assert sorted(words[0] for words in made) == ["network", "volume", "volume"]
    # what only systemd can do, and names that another run of this test may have
    mark = secrets.token_hex(3)
    words = [word.replace("systemd-postroad", f"postroad-test-{mark}") for word in run]
    words = [word for word in words if not word.startswith(("--cidfile", "--cgroups", "--sdnotify"))]
    name = words[words.index("--name") + 1] = f"postroad-test-{mark}"
    assert words[-1] == "localhost/postroad:latest"
    network = words[words.index("--network") + 1]
    port = free_port()
    with ExitStack() as stack:
        for each in made:
            thing = each[-1].replace("systemd-postroad", f"postroad-test-{mark}")
            podman(*(word for word in each[:-1] if word != "--ignore"), thing)  # 4.3 knows it for neither
            stack.callback(podman, each[0], "rm", "--force", thing)
        stack.callback(podman, "rm", "--force", "--time=1", name)
        podman(*words[:-1], f"--publish={port}:25", loaded)
        relay = Relay(name)
        relay.await_ready()
        # an app in the network, by the container's name
        said = podman("run", "--rm", f"--network={network}", "--entrypoint=python3", loaded, "-c", ASK, name)
        assert said.startswith("250"), said
        assert [code for code, _ in answers(port, "127.0.0.1", own_address()).values()] == [550, 550]
        assert podman("exec", name, "id", "-u") == "2525"
        before = podman("exec", name, "postroad", "dkim", "list", "--json")
        started = time.monotonic()
        podman("stop", name)
        assert time.monotonic() - started < 15
        podman(*words[:-1], loaded)
        relay.await_ready()
        assert podman("exec", name, "postroad", "dkim", "list", "--json") == before


def test_the_commands_of_the_page(loaded: str) -> None:
    """docs/podman.md, "Try it": as printed, but for names that another run may have, and the image under test."""
    made, run, sent = [command for command in of_page("docs/podman.md") if command.startswith("podman ")]
    name = f"postroad-test-{secrets.token_hex(3)}"

    def words(command: str) -> list[str]:
        own = {"mail": name, "postroad": name, "localhost/postroad:latest": loaded}
        own |= {f"{volume}:{path}": f"{name}-{volume}:{path}" for volume, path in VOLUMES.items()}
        return [own.get(word, word) for word in command.split()[1:]]

    with ExitStack() as stack:
        stack.callback(podman, "network", "rm", "--force", name)
        stack.callback(podman, "volume", "rm", "--force", *(f"{name}-{volume}" for volume in VOLUMES))
        stack.callback(podman, "rm", "--force", "--time=1", name)
        podman(*words(made))
        podman(*words(run))
        Relay(name).await_ready()
        # "postroad" is the container's name, and then the command's
        said = podman("exec", name, *sent.split()[3:], "--timeout", "1", check=False)
        assert "accepted" in said, said
