"""``deploy/swarm/stack.yaml`` in a lab of several engines, with the pretend internet around it.

The stack is deployed as docs/scale.md says. Images stand in for those of a registry, and the configuration has a route with
a limit and a webhook besides.
"""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Self

import psycopg
import yaml
from psycopg import sql

from tests.documents import commands
from tests.faults.bench import TOOLS, Bench, build_images, docker, wait_until
from tests.integration.test_webhooks import HOST as HOOKS
from tests.internet.internet import IMAGE as INTERNET
from tests.scale.lab import Engine, Lab

ROOT = Path(__file__).parents[2]
STACK = "mail"
"""The stack's name in docs/scale.md."""
PROMETHEUS = f"{INTERNET}-prometheus"
RELAYS, LEAVING, DATABASE = f"{STACK}_postroad", f"{STACK}_leaving", f"{STACK}_db"
LIMITED = "limited.example"
RATE, CONCURRENCY = 90, 4
"""The limits of the route for that domain: messages a minute, and connections."""


def build() -> None:
    """Build the images around the relay; quick when nothing changed."""
    build_images()
    docker("build", "--quiet", "--tag", PROMETHEUS, str(Path(__file__).parent / "image"), timeout=600)


class Member:
    """A relay: the task of the service on a node, as it is now."""

    def __init__(self, engine: Engine, container: str) -> None:
        self.engine = engine
        self.container = container

    @property
    def alias(self) -> str:
        return self.engine.name

    def shell(self, script: str) -> tuple[int, str]:
        """Run a script inside; its exit code and all that it printed."""
        words = self.engine.command("exec", self.container, "sh", "-c", script)
        done = subprocess.run(words, capture_output=True, text=True, errors="replace", timeout=120, check=False)
        return done.returncode, done.stdout + done.stderr

    def queue(self) -> list[dict[str, Any]]:
        """What waits: ``postroad queue list --json``.

        Raises:
            RuntimeError: it can't be asked.
        """
        code, said = self.shell("exec postroad queue list --json")
        if code:
            raise RuntimeError(f"postroad queue list at {self.alias} failed ({code}): {said}")
        return list(json.loads(said)["messages"])

    def log(self) -> str:
        done = subprocess.run(
            self.engine.command("logs", self.container), capture_output=True, text=True, errors="replace", check=False
        )
        return done.stdout + done.stderr

    def healthy(self) -> bool:
        form = "--format={{.State.Health.Status}}"
        return self.engine.run("inspect", form, self.container, check=False).strip() == "healthy"


class Site(Bench):
    """The engines, the stack in them, and the pretend internet, from ``with`` to its end."""

    def __init__(self, image: str, seed: int, engines: int, members: int) -> None:
        """Have so many engines, of which the first ``members`` have a relay."""
        super().__init__(image, seed)
        self.lab = Lab(engines)
        self.members = set(range(1, members + 1))
        """The nodes that are to have a relay."""
        self._folder = Path(tempfile.mkdtemp(prefix="postroad-scale-"))
        self._image = f"{image}-swarm"
        """What the stack's relays are made of: another name for the image at each update."""

    def __enter__(self) -> Self:
        super().__enter__()
        try:
            self._begin()
        except BaseException:
            self._stack.close()
            raise
        return self

    def _begin(self) -> None:
        self._stack.callback(shutil.rmtree, self._folder, ignore_errors=True)
        self.hooks = self.internet.add_hooks(HOOKS)
        self.internet.add_zone(LIMITED)
        self.internet.publish(LIMITED, "MX", "10 sink.rcpt.example.")
        self._stack.enter_context(self.lab)
        self._load_images()
        self._write()
        self.lab.label(1, postroad_store="yes")
        for number in self.members:
            self.lab.label(number, postroad="relay")
        self.deploy()
        self._make_database()
        self.await_members()
        wait_until(lambda: self.lab.manager.containers(service_name=f"{STACK}_app"), 120, "the start of the app")

    def _load_images(self) -> None:
        for engine in self.lab.engines:
            engine.load(self.image)
        for image in (INTERNET, TOOLS, PROMETHEUS):
            self.lab.manager.load(image)
        self._tag(self._image)

    def _tag(self, name: str) -> None:
        for engine in self.lab.engines:
            engine.run("tag", self.image, name)

    def _write(self) -> None:
        """Put the files where docs/scale.md has them, make the secrets by its commands, and say what stands in."""
        deploy = self._folder / "deploy"
        shutil.copytree(ROOT / "deploy" / "swarm", deploy / "swarm")
        shutil.copytree(ROOT / "deploy" / "prometheus", deploy / "prometheus")
        for command in commands("docs/scale.md"):
            if command.startswith("openssl ") and "deploy/swarm/" in command:
                subprocess.run(["bash", "-c", command], cwd=self._folder, check=True, capture_output=True)
        route = {"domains": [LIMITED], "smarthost": None, "rate": f"{RATE}/minute", "concurrency": CONCURRENCY}
        hook = {
            "name": "ok", "url": f"http://{HOOKS}/ok", "secret_file": "/run/secrets/peers_secret",
            "types": ["delivered", "bounced"], "allow_private": True,
        }  # fmt: skip
        config = {
            "hostname": "mail.sender.example",
            "domains": [{"name": "sender.example", "dkim": {"key_file": "/run/secrets/dkim_key"}}],
            "delivery": {"queue": {"retry": "5s"}, "routes": [route]},
            "events": {"webhooks": [hook]},
        }
        (self._folder / "config").mkdir()
        (self._folder / "config" / "config.yaml").write_text(yaml.safe_dump(config))
        dns = [self.internet.dns.address]
        here = {"placement": {"constraints": ["node.labels.postroad-store == yes"]}}
        override = {
            "version": "3.9",
            "services": {
                "postroad": {"dns": dns},
                "leaving": {"dns": dns},
                "db": {
                    "command": ["postgres"],
                    "environment": {"PG_HOSTNAME": "db"},
                    "ports": [{"target": 5432, "published": 5432, "mode": "host"}],
                },
                # it counts what it was answered, so it must not be on a node that is cut off
                "app": {"deploy": here},
            },
        }
        (deploy / "override.yaml").write_text(yaml.safe_dump(override))

    def deploy(self) -> None:
        """Deploy the stack, or what has changed of it."""
        images = {
            "POSTROAD_IMAGE": self._image, "POSTGRES_IMAGE": INTERNET, "PROMETHEUS_IMAGE": PROMETHEUS,
            "APP_IMAGE": TOOLS,
        }  # fmt: skip
        files = [f"--compose-file={self._folder / 'deploy' / name}" for name in ("swarm/stack.yaml", "override.yaml")]
        words = self.lab.manager.command("stack", "deploy", "--resolve-image=never", *files, STACK)
        done = subprocess.run(
            words, env=os.environ | images, capture_output=True, text=True, timeout=120, check=False
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"docker stack deploy failed ({done.returncode}): {done.stderr}{done.stdout}")

    def update(self) -> None:
        """Deploy the relays from another image, one after the other, and wait for the end."""
        self._image = f"{self._image}-next"
        self._tag(self._image)
        self.deploy()
        form = "--format={{.Spec.TaskTemplate.ContainerSpec.Image}} {{if .UpdateStatus}}{{.UpdateStatus.State}}{{end}}"

        def over() -> bool:
            state = self.lab.manager.run("service", "inspect", form, RELAYS).strip()
            if state.endswith("paused"):
                raise RuntimeError(f"the update has failed: {self.lab.manager.run('service', 'ps', RELAYS)}")
            return state == f"{self._image} completed"

        wait_until(over, 300, "the end of the update")

    def _make_database(self) -> None:
        """What PostgreSQL's own image does by its variables."""
        password = (self._folder / "deploy" / "swarm" / "store_password").read_text().strip()
        wait_until(lambda: self.lab.manager.containers(service_name=DATABASE), 120, "the start of the database")

        def connected() -> psycopg.Connection | None:
            url = f"postgresql://postgres:superuser@{self.lab.manager.address}/postgres"
            try:
                return psycopg.connect(url, autocommit=True, connect_timeout=3)
            except psycopg.OperationalError:
                return None

        found = wait_until(connected, 60, "an answer of the database")
        assert found
        with found as connection:
            role = sql.SQL("CREATE ROLE postroad LOGIN PASSWORD {}").format(sql.Literal(password))
            connection.execute(role)
            connection.execute("CREATE DATABASE postroad OWNER postroad TEMPLATE template0")

    @property
    def client(self) -> list[str]:
        (container, *_) = self.lab.manager.containers(service_name=f"{STACK}_app")
        return self.lab.manager.command("exec", "--interactive", container)

    def relays_now(self) -> list[Member]:
        """The relays that are to run, as the manager says, where they do."""
        words = ("service", "ps", "--no-trunc", "--filter=desired-state=running", "--format={{.ID}} {{.Node}}", RELAYS)
        nodes = {engine.name: engine for engine in self.lab.engines}
        found = []
        for line in sorted(self.lab.manager.run(*words).splitlines(), key=lambda line: line.split()[1]):
            task, node = line.split()
            if nodes[node].number in self.members:
                found += [Member(nodes[node], each) for each in nodes[node].containers(task_id=task)]
        return found

    def await_members(self, timeout: float = 180) -> list[Member]:
        """Wait until each node that is to have a relay has a healthy one, and no other has; return them."""

        def all_well() -> list[Member]:
            found = self.relays_now()
            numbers = [each.engine.number for each in found]
            return found if set(numbers) == self.members and all(each.healthy() for each in found) else []

        try:
            return wait_until(all_well, timeout, "the start of all relays")
        except TimeoutError as error:
            state = self.lab.manager.run("service", "ps", "--no-trunc", RELAYS, check=False)
            logs = "".join(each.log()[-3000:] for each in self.relays_now())
            raise TimeoutError(f"{error}\n{state}\n{logs}") from error

    def scale(self, count: int) -> None:
        """Have so many relays: nodes join, or leave for good, the last ones first, as docs/scale.md says."""
        for engine in self.lab.engines:
            if len(self.members) < count and engine.number not in self.members:
                self.members.add(engine.number)
                self.lab.label(engine.number, postroad="relay")
        self.await_members()
        for number in sorted(self.members, reverse=True)[: len(self.members) - count]:
            self._leave(number)

    def _leave(self, number: int) -> None:
        node = self.lab.engine(number).name
        words = ("service", "ps", LEAVING, f"--filter=node={node}", "--format={{.ID}} {{.CurrentState}}")
        before = {line.split()[0] for line in self.lab.manager.run(*words).splitlines()}
        self.members.discard(number)
        self.lab.label(number, postroad="leaving")

        def done() -> bool:
            lines = [line.split() for line in self.lab.manager.run(*words).splitlines()]
            return any(line[1] == "Complete" for line in lines if line[0] not in before)

        try:
            wait_until(done, 240, f"the departure of {node}")
        except TimeoutError as error:
            state = self.lab.manager.run("service", "ps", "--no-trunc", LEAVING, check=False)
            said = self.lab.manager.run("service", "logs", "--raw", LEAVING, check=False, timeout=30)
            raise TimeoutError(f"{error}\n{state}\n{said[-3000:]}") from error
        self.lab.label(number, postroad="")

    def node_state(self, number: int) -> str:
        """``Ready`` or ``Down``, as the manager sees it."""
        node = self.lab.engine(number).name
        return self.lab.manager.run("node", "ls", f"--filter=name={node}", "--format={{.Status}}").strip()

    def logs(self) -> str:
        """What the relays printed, also those that were replaced, on the nodes that are members."""
        label = f"--filter=label=com.docker.swarm.service.name={RELAYS}"
        found = ""
        for number in sorted(self.members):
            engine = self.lab.engine(number)
            for container in engine.run("ps", "--all", "--quiet", label).split():
                found += Member(engine, container).log()
        return found

    def scraped(self) -> int:
        """How many relays Prometheus gets metrics of."""
        script = (
            "import json, urllib.request as r;"
            "t = json.load(r.urlopen('http://prometheus:9090/api/v1/targets', timeout=10))['data']['activeTargets'];"
            "print(sum(each['health'] == 'up' for each in t))"
        )
        done = subprocess.run([*self.client, "python3", "-c", script], capture_output=True, text=True, check=False)
        return int(done.stdout) if done.returncode == 0 else -1
