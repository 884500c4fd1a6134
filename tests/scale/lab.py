"""A Swarm of several engines on one machine, each in a network namespace and with a host name of its own.

with Lab(3) as lab:
    lab.engines[0].run("node", "ls")
    lab.cut(2)

Scheduling, overlay networks, rolling updates and the loss of a node are the engines' own; nothing is simulated. A bridge
stands for the network between the hosts, which also leads to the host's own Docker networks, and so to the pretend
internet. Needs root, or sudo without a password; dockerd, iproute2 and iptables.

Where the kernel has no IPVS, services need ``endpoint_mode: dnsrr``. ``ip netns exec`` would mount /sys anew, without
control groups, so ``nsenter`` starts the engines.
"""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

BRIDGE = "postroad-swarm"
SUBNET = "10.66.0"
"""The hosts' addresses: .1 is this machine's, and node N has .10+N."""
OWN, LOCAL, OVERLAYS = "10.65.0.1/24", "10.67.0.0/16", "10.68.0.0/16"
"""Where each engine, and the Swarm, takes networks from: none of the host's own."""
SUDO = () if os.geteuid() == 0 else ("sudo", "--non-interactive")
OFFLINE = ("env", "DOCKER_SERVICE_PREFER_OFFLINE_IMAGE=1")
"""No registry is asked for an image that is there."""
ENV = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}
"""``ip`` and ``iptables`` are there, which is not on every root's PATH."""


def run(*words: str, check: bool = True, timeout: float = 120) -> str:
    """Run a command; return what it printed.

    Raises:
        RuntimeError: it failed; says why.
    """
    done = subprocess.run(
        words, capture_output=True, text=True, errors="replace", timeout=timeout, check=False, env=ENV
    )
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(words)[:200]} failed ({done.returncode}): {done.stderr or done.stdout}")
    return done.stdout


def root(*words: str, check: bool = True, timeout: float = 120) -> str:
    """``run`` as root."""
    return run(*SUDO, *words, check=check, timeout=timeout)


def _kill(pids: Iterable[int]) -> None:
    if words := [str(pid) for pid in pids]:
        root("kill", "-KILL", *words, check=False)  # some may have ended


class Engine:
    """An engine, and the host that it stands for."""

    def __init__(self, number: int, top: Path) -> None:
        self.number = number
        self.name = f"node-{number}"
        self.address = f"{SUBNET}.{10 + number}"
        self.folder = top / str(number)
        self.namespace = f"{BRIDGE}-{number}"
        self.link = f"pr-swarm-{number}"
        self.socket = self.folder / "docker.sock"
        self._process: subprocess.Popen[bytes] | None = None

    def command(self, *words: str) -> list[str]:
        """A Docker command at this engine."""
        return ["docker", "--host", f"unix://{self.socket}", *words]

    def run(self, *words: str, check: bool = True, timeout: float = 120) -> str:
        """Run it; return what it printed."""
        return run(*self.command(*words), check=check, timeout=timeout)

    def start(self) -> None:
        """Make the host and start its engine."""
        self.folder.mkdir()
        root("ip", "netns", "add", self.namespace)
        root("ip", "link", "add", self.link, "type", "veth", "peer", "name", "eth0", "netns", self.namespace)
        root("ip", "link", "set", self.link, "master", BRIDGE, "up")
        for words in (
            f"addr add {self.address}/24 dev eth0",
            "link set eth0 up",
            "link set lo up",
            f"route add default via {SUBNET}.1",
        ):
            root("ip", "-n", self.namespace, *words.split())
        options = [f"--host=unix://{self.socket}", f"--data-root={self.folder}/data", f"--exec-root={self.folder}/exec"]
        options += [f"--pidfile={self.folder}/pid", f"--bip={OWN}", f"--default-address-pool=base={LOCAL},size=24"]
        inside = ["unshare", "--uts", "sh", "-c", 'hostname "$0" && exec dockerd "$@"', self.name, *options]
        with (self.folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [*SUDO, "nsenter", f"--net=/var/run/netns/{self.namespace}", *OFFLINE, *inside],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env=ENV,
            )  # fmt: skip

    def await_ready(self) -> None:
        """Wait until it answers.

        Raises:
            RuntimeError: it does not; says what it wrote.
        """
        deadline = time.monotonic() + 60
        while subprocess.run(self.command("info"), capture_output=True, check=False).returncode:
            ended = self._process is None or self._process.poll() is not None
            if ended or time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} does not answer: {(self.folder / 'log').read_text()[-3000:]}")
            time.sleep(0.2)

    def load(self, image: str) -> None:
        """Copy an image of the host's engine to it."""
        with subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE) as saved:
            subprocess.run(self.command("load", "--quiet"), stdin=saved.stdout, check=True, capture_output=True)
        if saved.returncode:
            raise RuntimeError(f"docker save {image} failed ({saved.returncode})")

    def containers(self, **labels: str) -> list[str]:
        """The ids of the containers that run here and that the Swarm has labelled so: ``service_name``, ``task_id``."""
        words = [f"--filter=label=com.docker.swarm.{name.replace('_', '.')}={value}" for name, value in labels.items()]
        return self.run("ps", "--quiet", "--no-trunc", *words).split()

    def destroy(self) -> None:
        """Take it away at once, as a host that burns: its containers and volumes are gone, and nobody was told."""
        if not self.folder.exists():
            return
        with suppress(RuntimeError, subprocess.TimeoutExpired):
            pids = self._processes()
            # it takes the tasks' containers away at once; without this, new ones would come
            self.run("swarm", "leave", "--force", check=False, timeout=60)
            _kill(pids)
            if found := self.run("ps", "--all", "--quiet", timeout=30).split():
                self.run("rm", "--force", "--volumes", *found, timeout=60)
        _kill(self._left())
        if self._process:
            self._process.wait(30)
        mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for path in reversed([each for each in mounts if each.startswith(f"{self.folder}/")]):
            root("umount", "--lazy", path, check=False)
        root("ip", "link", "del", self.link, check=False)
        root("ip", "netns", "del", self.namespace, check=False)
        root("rm", "-rf", str(self.folder), check=False)

    def _processes(self) -> list[int]:
        """The first process of each container that runs here."""
        found = self.run("ps", "--quiet", timeout=30).split()
        said = self.run("inspect", "--format={{.State.Pid}}", *found, timeout=30) if found else ""
        return [int(pid) for pid in said.split() if pid != "0"]

    def _left(self) -> list[int]:
        """The engine, containerd, and what that started."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                if f"{self.folder}/".encode() in path.read_bytes():
                    found.append(int(path.parent.name))
        return found


class Lab:
    """The hosts and the network between them, from ``with`` to its end."""

    def __init__(self, count: int) -> None:
        """Have so many engines; the first is the manager."""
        self._top = Path(tempfile.mkdtemp(prefix="postroad-swarm-"))
        self.engines = [Engine(number, self._top) for number in range(1, count + 1)]
        self._rules = [
            # bridged packets pass the host's filter, where Docker drops them
            ["FORWARD", "-i", BRIDGE, "-o", BRIDGE, "-j", "ACCEPT"],
            # to the pretend internet, on a network of the host's engine
            ["DOCKER-USER", "-i", BRIDGE, "-j", "ACCEPT"],
        ]

    @property
    def manager(self) -> Engine:
        return self.engines[0]

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self) -> None:
        if Path("/sys/class/net", BRIDGE).exists():
            raise RuntimeError(f"there is a lab on this machine already, or what one left: ip link show {BRIDGE}")
        root("ip", "link", "add", BRIDGE, "type", "bridge")
        root("ip", "addr", "add", f"{SUBNET}.1/24", "dev", BRIDGE)
        root("ip", "link", "set", BRIDGE, "up")
        for rule in self._rules:
            root("iptables", "--wait", "-I", *rule)
        for engine in self.engines:
            engine.start()
        for engine in self.engines:
            engine.await_ready()
        self.manager.run(
            "swarm", "init", f"--advertise-addr={self.manager.address}",
            f"--default-addr-pool={OVERLAYS}", "--default-addr-pool-mask-length=24",
        )  # fmt: skip
        token = self.manager.run("swarm", "join-token", "--quiet", "worker").strip()
        for engine in self.engines[1:]:
            words = ("swarm", "join", f"--token={token}", f"--advertise-addr={engine.address}")
            engine.run(*words, f"{self.manager.address}:2377")

    def close(self) -> None:
        """Remove everything."""
        for engine in reversed(self.engines):
            engine.destroy()
        for rule in self._rules:
            root("iptables", "--wait", "-D", *rule, check=False)
        root("ip", "link", "del", BRIDGE, check=False)
        shutil.rmtree(self._top, ignore_errors=True)

    def engine(self, number: int) -> Engine:
        return self.engines[number - 1]

    def cut(self, number: int) -> None:
        """Cut a host off: nothing passes between it and anybody."""
        root("ip", "link", "set", self.engine(number).link, "nomaster")

    def mend(self, number: int) -> None:
        """Let it back."""
        root("ip", "link", "set", self.engine(number).link, "master", BRIDGE)

    def label(self, number: int, **labels: str) -> None:
        """Label a node; an empty value removes the label."""
        words = [
            f"--label-add={name}={value}" if value else f"--label-rm={name}"
            for name, value in ((name.replace("_", "-"), value) for name, value in labels.items())
        ]
        self.manager.run("node", "update", *words, self.engine(number).name)
