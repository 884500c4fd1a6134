"""The containers of a run: receivers, an app that sends, and the relays, on a Docker network that leads nowhere."""

import contextlib
import io
import ipaddress
import json
import socket
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import docker
from docker.errors import ContainerError, ImageNotFound, NotFound
from docker.models.containers import Container
from docker.types import IPAMConfig, IPAMPool

from bench.cgroup import Cgroup
from bench.contenders import PEERS_IMAGE, RELAY_HOST, SELECTOR, Contender
from bench.figures import LostError
from bench.scenarios import BASE, DEAD, LIVE, SENDER_DOMAIN, Scenario
from postroad.testing import HARDENED, TMPFS
from tests.internet.internet import TREE

HERE = Path(__file__).parent
TOOLS_IMAGE = "postroad-bench-tools"
LABEL = "postroad.bench"
"""On all that a run makes in Docker: another tree's runs are left alone, and `make down` knows TREE."""
LABELS = {LABEL: str(HERE.parent), **TREE}

_READY_SECONDS = 60
_UID = 2525  # Postroad's


class BenchError(Exception):
    """The benchmark can't go on; says why, for people."""


@dataclass
class Relay:
    """A contender's container that takes mail."""

    contender: Contender
    container: Container
    address: str
    group: Cgroup
    ready_seconds: float

    def remove(self) -> None:
        """Remove it, with its volumes."""
        with contextlib.suppress(NotFound):
            self.container.remove(force=True, v=True)


def docker_command(*words: str, timeout: float = 120) -> str:
    """Run docker and return what it printed.

    Raises:
        BenchError: it failed; holds what it complained of.
        subprocess.TimeoutExpired: it was not done after ``timeout`` seconds.
    """
    done = subprocess.run(["docker", *words], capture_output=True, text=True, timeout=timeout, check=False)
    if done.returncode:
        raise BenchError(f"docker {' '.join(words[:6])} failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def build_images() -> None:
    """Build the tools and the peers; quick where nothing changed."""
    for tag, directory in ((TOOLS_IMAGE, "tools"), (PEERS_IMAGE, "peers")):
        docker_command("buildx", "build", "--quiet", "--load", "--tag", tag, str(HERE / directory), timeout=900)


class Lab:
    """All of it but the relays is there when ``with`` is entered; everything is gone when it is left."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        try:
            self._client = docker.from_env()
            self._stack.callback(self._client.close)
            self.clean()
            self._stack.callback(self.clean)
            self._directory = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="postroad-bench-")))
            self.key = subprocess.run(
                ["openssl", "genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
                capture_output=True,
                check=True,
                timeout=60,
            ).stdout
            self._make_network()
            self._start_surroundings()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def clean(self) -> None:
        """Remove what this tree's runs made in Docker, killed ones' too."""
        mine: dict[str, str | list[str] | bool] = {"label": f"{LABEL}={LABELS[LABEL]}"}
        for container in self._client.containers.list(all=True, filters=mine, ignore_removed=True):
            with contextlib.suppress(NotFound):
                container.remove(force=True, v=True)
        for network in self._client.networks.list(filters=mine):
            with contextlib.suppress(NotFound):
                network.remove()

    def public_key(self) -> bytes:
        """The value of the TXT record that verifies the contenders' signatures (RFC 6376, section 3.6.1)."""
        pem = subprocess.run(
            ["openssl", "rsa", "-pubout"], input=self.key, capture_output=True, check=True, timeout=10
        ).stdout
        return b"v=DKIM1; k=rsa; p=" + b"".join(pem.splitlines()[1:-1])

    def _make_network(self) -> None:
        # Docker grants fixed addresses only in a subnet that was asked for: let it pick a free one, then ask for that.
        # Containers get the upper half, the receivers' many addresses are in the lower one.
        probe = self._client.networks.create("postroad-bench-probe", labels=LABELS)
        probe.reload()
        self._subnet = ipaddress.IPv4Network(probe.attrs["IPAM"]["Config"][0]["Subnet"])
        probe.remove()
        pool = IPAMPool(str(self._subnet), str([*self._subnet.subnets(1)][1]), str(self._subnet[1]))
        self._network = self._client.networks.create(
            f"postroad-bench-{self._subnet.network_address}",
            ipam=IPAMConfig(pool_configs=[pool]),
            internal=True,
            labels=LABELS,
        ).name

    def _start_surroundings(self) -> None:
        live = [str(self._subnet[10 + number]) for number, _ in enumerate(LIVE)]
        dead = [str(self._subnet[50 + number]) for number, _ in enumerate(DEAD)]
        self._relay_host = str(self._subnet[2])
        self._all_live, self._all_dead = [self._relay_host, *live], dead
        names = [f"--host-record={RELAY_HOST},{self._relay_host}"]
        for domain, address in zip([*LIVE, *DEAD], [*live, *dead], strict=True):
            names += [f"--mx-host={domain},mx.{domain},10", f"--host-record=mx.{domain},{address}"]
        # Names it does not know do not exist: nothing is asked outside, and nothing waits for an answer.
        # Addresses are never looked up by name again: the cache costs all the same.
        words = ["dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts", "--user=root", "--address=/#/", *names]
        prefix = self._subnet.prefixlen
        add = "; ".join(f"ip address add {address}/{prefix} dev eth0" for address in [*self._all_live, *dead])
        self.outside = self._run(["sh", "-c", f'set -e; {add}; exec "$@"', "sh", *words], cap_add=["NET_ADMIN"])
        self.app = self._run(["sleep", "infinity"], init=True)
        # not by way of Docker's own resolver, which asks nobody on behalf of an internal network
        self._resolver = self._directory / "resolv.conf"
        self._resolver.write_text(f"nameserver {self._address(self.outside)}\n")
        self._resolver.chmod(0o644)
        self._directory.chmod(0o755)

    def _run(self, command: Sequence[str], **options: Any) -> Container:
        return self._client.containers.run(
            TOOLS_IMAGE, list(command), detach=True, network=self._network, labels=LABELS, **options
        )

    def _address(self, container: Container) -> str:
        container.reload()
        return str(container.attrs["NetworkSettings"]["Networks"][self._network]["IPAddress"])

    def group(self, container: Container) -> Cgroup:
        """A container's control group."""
        container.reload()
        return Cgroup.of(int(container.attrs["State"]["Pid"]))

    def knows(self, contender: Contender) -> bool:
        """Whether the contender's image takes its configuration.

        Raises:
            BenchError: it does not, and the contender is not an optional one.
        """
        if not contender.is_postroad:
            return True
        try:
            environment = _as_text(contender.environment(BASE))
            self._client.containers.run(
                contender.image, ["check"], environment=environment, remove=True, labels=LABELS, network_mode="none"
            )
        except ContainerError as error:
            if contender.optional:
                return False
            said = str(error).strip()
            raise BenchError(f"{contender.image} does not take the benchmark's configuration: {said}") from error
        except ImageNotFound as error:
            raise BenchError(f"no image {contender.image}: `make image` builds it") from error
        return True

    def start(self, contender: Contender, scenario: Scenario) -> Relay:
        """Start one, set up for a scenario, and wait until it takes mail.

        Raises:
            BenchError: it does not within a minute; holds its log.
        """
        options: dict[str, Any] = {**HARDENED, "tmpfs": dict(TMPFS)} if contender.is_postroad else {}
        container = self._client.containers.create(
            contender.image,
            list(contender.command) or None,
            environment=_as_text(contender.environment(scenario)),
            network=self._network,
            labels=LABELS,
            volumes={str(self._resolver): {"bind": "/etc/resolv.conf", "mode": "ro"}},
            **options,
        )
        try:
            if contender.is_postroad:
                path = f"dkim/{SENDER_DOMAIN}/{SELECTOR}.private"
                container.put_archive("/var/lib/postroad", _archive(path, self.key, owner=_UID))
            else:
                container.put_archive("/etc/bench", _archive("dkim.pem", self.key, owner=0))
            container.start()
            container.reload()
            began = _seconds(container.attrs["State"]["StartedAt"])
            address = self._address(container)
            _await_mail(container, address, contender.port, scenario.domains[0])
            ready = time.time() - began
            return Relay(contender, container, address, self.group(container), ready)
        except BaseException:
            with contextlib.suppress(NotFound):
                container.remove(force=True, v=True)
            raise

    @contextlib.contextmanager
    def started(self, contender: Contender, scenario: Scenario) -> Iterator[Relay]:
        """A relay of the contender's that is there for a ``with``."""
        relay = self.start(contender, scenario)
        try:
            yield relay
        finally:
            relay.remove()

    @contextlib.contextmanager
    def receiving(self, run: str, scenario: Scenario, expected: int, timeout: int) -> Iterator["Receiver"]:
        """Receivers that end when ``expected`` messages of the run came, or after ``timeout`` seconds."""
        words = [run, str(expected), str(timeout), str(scenario.delay_ms), str(int(scenario.tls)), *self._all_live]
        if scenario.receivers == "mx-half-dead":
            words += ["--", *self._all_dead]
        process = subprocess.Popen(
            ["docker", "exec", "--interactive", str(self.outside.name), "sink", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with process:
            try:
                yield Receiver(process)
            finally:
                if process.stdin:
                    process.stdin.close()  # ends those that still wait

    def generate(self, relay: Relay, run: str, scenario: Scenario, timeout: int) -> dict[str, Any]:
        """Send a scenario's messages, and return what the generator says of them (``tools/generate.c``).

        Raises:
            LostError: it was not done after ``timeout`` seconds.
        """
        sizes = ",".join(map(str, scenario.sizes or (scenario.size,)))
        numbers = [scenario.sessions, scenario.messages, sizes, int(scenario.reuse), scenario.rate]
        words = ["generate", relay.address, str(relay.contender.port), run, *map(str, numbers), *scenario.domains]
        try:
            said = docker_command("exec", str(self.app.name), "timeout", str(timeout), *words, timeout=timeout + 30)
        except BenchError as error:
            raise LostError(f"messages were not taken within {timeout} s: {error}") from error
        done: dict[str, Any] = json.loads(said)
        return done

    @contextlib.contextmanager
    def traced(self, relay: Relay) -> Iterator[Path]:
        """The file that the relay's forks and fsyncs are written to while in ``with``; whole when it is left."""
        calls = "fork,vfork,clone,clone3,fsync,fdatasync,sync_file_range,syncfs,sync"
        script = (
            'set -- $(cd /proc; for p in [0-9]*; do [ "$p" = $$ ] || [ ! -e "$p/exe" ] || printf " -p %s" "$p"; done); '
            f'exec strace -f -qq -e signal=none -e trace={calls} -o /out/trace "$@"'
        )
        out = self._directory / relay.contender.name
        out.mkdir(exist_ok=True)
        tracer = self._client.containers.run(
            TOOLS_IMAGE,
            ["sh", "-c", script],
            detach=True,
            network_mode="none",
            labels=LABELS,
            pid_mode=f"container:{relay.container.id}",
            cap_add=["SYS_PTRACE"],
            security_opt=["seccomp=unconfined", "apparmor=unconfined"],
            volumes={str(out): {"bind": "/out", "mode": "rw"}},
        )
        try:
            _await_tracing(tracer, relay)
            yield out / "trace"
            tracer.kill("INT")
            tracer.wait(timeout=30)
        finally:
            tracer.remove(force=True)


class Receiver:
    """The receivers of one run. They end when their time is over, or their standard input."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        if self._read(line=True) != "ready\n":
            raise BenchError(f"the receivers did not start: {self._complaint()}")

    def report(self) -> dict[str, Any]:
        """Wait for their end, and return what they say (``tools/sink.c``)."""
        text = self._read()
        if self._process.wait(timeout=15):
            raise BenchError(f"the receivers ended with exit code {self._process.returncode}: {self._complaint()}")
        report: dict[str, Any] = json.loads(text)
        return report

    def _read(self, *, line: bool = False) -> str:
        # not communicate(), which would close their standard input
        pipe = self._process.stdout
        return "" if pipe is None else pipe.readline() if line else pipe.read()

    def _complaint(self) -> str:
        return self._process.stderr.read() if self._process.stderr else ""


def _as_text(environment: dict[str, Any]) -> dict[str, str]:
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in environment.items()}


def _archive(path: str, content: bytes, owner: int) -> bytes:
    """A tar archive with one file that its owner alone may read, and the directories above it."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for parent in [*Path(path).parents][-2::-1]:
            entry = tarfile.TarInfo(str(parent))
            entry.type, entry.mode, entry.uid, entry.gid = tarfile.DIRTYPE, 0o700, owner, owner
            tar.addfile(entry)
        entry = tarfile.TarInfo(path)
        entry.size, entry.mode, entry.uid, entry.gid = len(content), 0o400, owner, owner
        tar.addfile(entry, io.BytesIO(content))
    return made.getvalue()


def _seconds(timestamp: str) -> float:
    """Docker's timestamps, such as 2026-01-02T03:04:05.123456789Z, as seconds since the epoch."""
    whole, _, fraction = timestamp.rstrip("Z").partition(".")
    return time.mktime(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) - time.timezone + float(f"0.{fraction or 0}")


def _await_mail(container: Container, address: str, port: int, domain: str) -> None:
    """Wait until the server judges a recipient: it may listen before it does.

    Postroad refuses this one, since this host is the network's gateway; "not now" is what it would say too early.
    """
    deadline = time.monotonic() + _READY_SECONDS
    lines = ["EHLO app.example", f"MAIL FROM:<app@{SENDER_DOMAIN}>", f"RCPT TO:<probe@{domain}>", "QUIT"]
    said = "nothing"
    while True:
        with contextlib.suppress(OSError), socket.create_connection((address, port), timeout=5) as connection:
            file = connection.makefile("rw", newline="\r\n")
            answers = [_answer(file)]
            for line in lines:
                file.write(f"{line}\r\n")
                file.flush()
                answers.append(_answer(file))
            said = answers[3]
            if said.startswith(("250", "550 5.7.1")):
                return
        container.reload()
        if container.status != "running" or time.monotonic() > deadline:
            log = container.logs(tail=20).decode(errors="replace")
            raise BenchError(f"{container.name} does not take mail; it said {said!r}, and its log ends:\n{log}")
        time.sleep(0.005)


def _answer(file: Any) -> str:
    while (line := str(file.readline()))[3:4] == "-":
        pass
    if not line:
        raise ConnectionError("the connection ended")
    return line


def _await_tracing(tracer: Container, relay: Relay) -> None:
    """Wait until strace has all of the relay's processes."""
    deadline = time.monotonic() + 30
    relay.container.reload()
    pids = [words[1] for words in relay.container.top()["Processes"]]
    while True:
        waiting = [pid for pid in pids if _tracer_of(pid) == 0]
        tracer.reload()
        if not waiting:
            return
        if tracer.status != "running" or time.monotonic() > deadline:
            raise BenchError(f"strace did not attach: {tracer.logs(tail=5).decode(errors='replace')}")
        time.sleep(0.05)


def _tracer_of(pid: str) -> int:
    """The process that traces this one; -1 where it has gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return -1
    return next(int(line.split()[1]) for line in lines if line.startswith("TracerPid:"))
