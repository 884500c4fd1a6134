"""The place where faults are injected: the pretend internet, an MX that can fail, an app that counts, and the relay."""

import json
import os
import random
import secrets
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")  # its image is in a registry; we remove what we make

from docker.types import EndpointConfig
from testcontainers.core.container import DockerContainer

from postroad.testing import PostroadContainer
from tests.internet.internet import LABEL, TREE, Internet
from tests.internet.internet import build_image as build_internet

TOOLS = f"{os.environ.get('POSTROAD_INTERNET_IMAGE', 'postroad-internet')}-tools"
HEALTHCHECK = "/usr/local/lib/postroad/healthcheck"
MOUNTS = (
    "--cap-add=SYS_ADMIN",
    "--cap-add=SYS_PTRACE",
    "--security-opt=seccomp=unconfined",
    "--security-opt=apparmor=unconfined",
)
"""What a container needs to change another's mounts."""
QUEUE, STATE = "/var/spool/mqueue", "/var/lib/postroad"

_Value = TypeVar("_Value")


def build_images() -> None:
    """Build the images around the relay; quick when nothing changed."""
    build_internet()
    folder = Path(__file__).parent / "image"
    subprocess.run(["docker", "build", "--quiet", "--tag", TOOLS, folder], check=True, stdout=subprocess.DEVNULL)


def docker(*argv: str, check: bool = True, timeout: float = 120) -> str:
    """Run the Docker client and return its standard output.

    Raises:
        RuntimeError: it failed, and ``check`` is set; says what it wrote.
    """
    done = subprocess.run(
        ["docker", *argv], capture_output=True, text=True, errors="replace", timeout=timeout, check=False
    )
    if check and done.returncode:
        raise RuntimeError(
            f"docker {' '.join(argv)[:200]} failed (exit {done.returncode}): {done.stderr or done.stdout}"
        )
    return done.stdout


def docker_logs(name: str) -> str:
    """All that a container printed, to either stream."""
    done = subprocess.run(["docker", "logs", name], capture_output=True, text=True, errors="replace", check=False)
    return done.stdout + done.stderr


def wait_until(happened: Callable[[], _Value], timeout: float, what: str) -> _Value:
    """Ask again and again until the answer is true, or the time in seconds is over; return it."""
    deadline = time.monotonic() + timeout
    while not (value := happened()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not happen within {timeout:g} s")
        time.sleep(0.1)
    return value


class Relay:
    """A relay on volumes of its own, which comes back under the same name after whatever was done to it."""

    def __init__(
        self,
        bench: "Bench",
        config: Mapping[str, Any],
        *,
        alias: str = "relay",
        volumes: Mapping[str, str] = {},
        folders: Mapping[str, str] = {},
        **run: Any,
    ) -> None:
        """Prepare it.

        Args:
            bench: where.
            config: over a minimal configuration.
            alias: its name in the network.
            volumes: mount path to the name of a volume that is there already; else it makes its own.
            folders: folders here to where the container has them, to read.
            run: more of docker-py's ``containers.run``.
        """
        self.bench = bench
        self.config = {
            "hostname": "mail.sender.example",
            "domains": ["sender.example"],
            "delivery": {"queue": {"retry": "3s"}},
            **config,
        }
        self.alias = alias
        self.volumes = {path: volumes.get(path) or bench.volume() for path in (QUEUE, STATE)}
        self.folders = folders
        self.run = run
        self.on_start: Callable[[], None] = lambda: None
        """Called when a new container has begun, before it is waited for."""
        self.container: PostroadContainer | None = None

    def create(self) -> None:
        """Make a container and wait until it is ready."""
        where = EndpointConfig(self.bench.internet._client.api.api_version, aliases=[self.alias])
        self.container = PostroadContainer(
            self.config,
            image=self.bench.image,
            network=self.bench.internet.network,
            networking_config={self.bench.internet.network: where},
            dns=[self.bench.internet.dns.address],
            labels={LABEL: self.bench.internet.network, **TREE},
            queue=self.volumes[QUEUE],
            state=self.volumes[STATE],
            **self.run,
        )
        for source, target in self.folders.items():
            self.container.with_volume_mapping(source, target, "ro")
        DockerContainer.start(self.container)
        self.on_start()
        self.container._await_ready(60)

    @property
    def name(self) -> str:
        assert self.container
        return str(self.container.get_wrapped_container().name)

    def shell(self, script: str, *, user: str = "") -> tuple[int, str]:
        """Run a script inside; its exit code and all that it printed. Nothing where the container does not run."""
        words = ["docker", "exec", *(["--user", user] if user else []), self.name, "sh", "-c", script]
        done = subprocess.run(words, capture_output=True, text=True, errors="replace", timeout=120, check=False)
        return done.returncode, done.stdout + done.stderr

    def running(self) -> bool:
        return docker("inspect", "--format={{.State.Running}}", self.name).strip() == "true"

    def healthy(self) -> bool:
        """Whether it takes mail: what receivers do to what it has taken does not count."""
        code, said = self.shell(HEALTHCHECK)
        return code == 0 or said.startswith("degraded: delivery: ")

    def revive(self) -> None:
        """Start it where it has ended, as a restart policy would."""
        if not self.running():
            docker("start", self.name)

    def back(self, timeout: float = 90) -> None:
        """Wait until it takes mail, and start it where it has ended."""

        def serves() -> bool:
            self.revive()
            return self.healthy()

        try:
            wait_until(serves, timeout, "the relay's return")
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{docker('logs', '--tail=50', self.name, check=False)}") from error

    def recreate(self) -> None:
        """Put another container in its place, on the same volumes."""
        self.remove()
        self.create()

    def remove(self) -> None:
        if self.container and self.container._container:
            self.container.stop()

    def pids(self) -> list[int]:
        """The supervisor's, the signer's, sendmail's; nothing where they can't be read."""
        code, text = self.shell("head -n 1 /run/postroad/health")
        return [int(pid) for pid in text.split()[1:]] if code == 0 else []

    def host_pid(self) -> str:
        """The supervisor's process id outside of the container."""
        return docker("inspect", "--format={{.State.Pid}}", self.name).strip()

    def memory(self) -> int:
        """Octets that its processes have for themselves, by its control group (version 1 or 2): no cached files."""
        _, text = self.shell("cat /sys/fs/cgroup/memory/memory.stat /sys/fs/cgroup/memory.stat 2>/dev/null")
        fields = dict(line.split() for line in text.splitlines())
        return int(fields.get("total_rss") or fields.get("anon") or 0)

    def cpu(self) -> float:
        """Seconds of processor time that it has used."""
        one, two = "/sys/fs/cgroup/cpuacct/cpuacct.usage", "/sys/fs/cgroup/cpu.stat"
        _, text = self.shell(f"cat {one} 2>/dev/null || awk '/usage_usec/ {{ print $2 * 1000 }}' {two}")
        return float(text) / 1e9

    def queue(self) -> list[dict[str, Any]]:
        """What waits: ``postroad queue list --json``."""
        for _ in range(5):
            code, text = self.shell("exec postroad queue list --json")
            if code == 0:
                return list(json.loads(text)["messages"])
            time.sleep(2)  # a limit may still be felt
        raise RuntimeError(f"postroad queue list failed (exit {code}): {text}")

    def log(self) -> str:
        return docker_logs(self.name)


class Sink:
    """The MX that takes the load's mail, and fails as it is told."""

    def __init__(self, name: str) -> None:
        self.name = name

    def fail(self, share: float, *kinds: str) -> None:
        """From now on, do this to a share of the transactions."""
        self.put("faults", json.dumps({"share": share, "kinds": kinds}))

    def put(self, name: str, text: str) -> None:
        """Write a file that it reads."""
        docker("exec", self.name, "sh", "-c", f"echo '{text}' > /run/sink/new; mv /run/sink/new /run/sink/{name}")

    def behave(self) -> None:
        docker("exec", self.name, "rm", "-f", "/run/sink/faults")

    def log(self) -> list[dict[str, Any]]:
        """What it took and how it failed, so far."""
        lines = docker("exec", self.name, "cat", "/run/sink/log").splitlines()
        found = []
        for line in lines:
            with suppress(ValueError):  # it was killed while it wrote
                found.append(json.loads(line))
        return found

    def forget(self) -> None:
        docker("exec", self.name, "truncate", "--size=0", "/run/sink/log")

    def iptables(self, *rule: str) -> None:
        """Change the filter of its own network namespace."""
        docker("run", "--rm", f"--network=container:{self.name}", "--cap-add=NET_ADMIN", TOOLS, "iptables", *rule)


class Bench:
    """Everything but the relay, from ``with`` to its end."""

    def __init__(self, image: str, seed: int) -> None:
        self.image = image
        self.seed = seed
        self.rng = random.Random(seed)
        self.internet = Internet(f"postroad-faults-{secrets.token_hex(3)}")
        self.sink = Sink(f"{self.internet.network}-sink")
        self.app = f"{self.internet.network}-client"
        self.relays: list[Relay] = []
        self.ends: list[Callable[[], object]] = []
        """What ends the loads: one that outlived its fault would go on under the next."""
        self._volumes: list[str] = []
        self._stack = ExitStack()

    @property
    def client(self) -> list[str]:
        """What begins a command of the client's."""
        return ["docker", "exec", "--interactive", self.app]

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self.internet)
            stack.callback(self._clear)
            address = self.start(self.sink.name, ["sink"], "--env=MX_HOSTNAME=sink.rcpt.example")
            self.start(self.app, ["sleep", "infinity"], "--init", "--ulimit=nofile=8192")
            self.internet.publish_host("sink.rcpt.example", address)
            for domain in ("rcpt.example", "sender.example"):
                self.internet.publish(domain, "MX", "10 sink.rcpt.example.")
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def start(self, name: str, command: Iterable[str], *options: str) -> str:
        """Start a container of the tools' image in the network, under an address that it keeps; return that."""
        address = str(self.internet._subnets[0][next(self.internet._numbers)])
        labels = [f"--label={key}={value}" for key, value in {LABEL: self.internet.network, **TREE}.items()]
        docker(
            "run", "--detach", f"--name={name}", f"--network={self.internet.network}", f"--ip={address}",
            f"--dns={self.internet.dns.address}", *labels, *options, TOOLS, *command,
        )  # fmt: skip
        return address

    def tool(self, *argv: str, options: Iterable[str] = (), timeout: float = 120) -> str:
        """Run a command of the tools' image to its end."""
        return docker("run", "--rm", *options, TOOLS, *argv, timeout=timeout)

    def volume(self, *options: str) -> str:
        """Make a volume; it goes with the bench."""
        name = f"{self.internet.network}-{secrets.token_hex(3)}"
        labels = [f"--label={key}={value}" for key, value in TREE.items()]
        docker("volume", "create", *labels, *options, name)
        self._volumes.append(name)
        return name

    def relay(self, **config: Any) -> Relay:
        """Start a relay; ``alias``, ``volumes``, ``folders`` and ``run`` go to ``Relay``, the rest is its configuration."""
        more = {key: config.pop(key) for key in ("alias", "volumes", "folders") if key in config}
        relay = Relay(
            self, {key: value for key, value in config.items() if key != "run"}, **more, **config.get("run", {})
        )
        self.relays.append(relay)
        relay.create()
        return relay

    def clear(self) -> None:
        """Remove the relays and forget what came."""
        self._clear()
        self.sink.behave()
        self.sink.forget()

    def _clear(self) -> None:
        for end in self.ends:
            with suppress(RuntimeError, subprocess.SubprocessError):  # its fault knows already
                end()
        self.ends = []
        for relay in self.relays:
            relay.remove()
        self.relays = []
        for name in self._volumes:
            docker("volume", "rm", "--force", name, check=False)
        self._volumes = []
