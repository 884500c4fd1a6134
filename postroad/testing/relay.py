"""The relay as a container of testcontainers.

with PostroadContainer({"hostname": "mail.example.com", "domains": ["example.com"]}) as relay:
    send(relay.host, relay.port, message)
    assert relay.follow(message["Message-ID"])[-1]["event"] == "delivered"
"""

import json
import shlex
import time
from collections.abc import Callable, Mapping
from typing import Any, Self

from testcontainers.core.container import DockerContainer

from postroad.config.model import Config

ENDS = frozenset({"delivered", "bounced", "rejected"})
"""The events after which nothing more happens to a recipient's copy of a message."""

HARDENED: Mapping[str, Any] = {"read_only": True, "cap_drop": ["ALL"], "security_opt": ["no-new-privileges:true"]}
TMPFS: Mapping[str, str] = {"/run/postroad": "mode=0700,uid=2525,gid=2525", "/tmp": ""}  # noqa: S108 - inside


class PostroadContainer(DockerContainer):
    """A relay, run as hardened as ``compose.yaml`` runs it, that is ready when ``with`` is entered."""

    def __init__(
        self,
        config: Mapping[str, Any] | Config,
        *,
        image: str = "postroad:latest",
        network: str | None = None,
        queue: str | None = None,
        state: str | None = None,
        **run: Any,
    ) -> None:
        """Prepare it.

        Args:
            config: as in ``config.yaml``. ``clients.trust_gateway`` is on unless it says otherwise: tests reach the
                relay through a published port, and so from the gateway's address. The doctor is off likewise.
            image: the image's tag.
            network: name of a Docker network to be in.
            queue: name of a volume for the queue, to keep it over several containers; else it goes with this one.
            state: likewise for the DKIM keys.
            run: more arguments of docker-py's ``containers.run``, such as ``dns=``.
        """
        super().__init__(image)
        self.with_kwargs(**HARDENED, **({"network": network} if network else {}), **run)
        self.tmpfs.update(TMPFS)
        for name, path in ((queue, "/var/spool/mqueue"), (state, "/var/lib/postroad")):
            if name:
                self.with_volume_mapping(name, path, "rw")
        values = config.model_dump(mode="json") if isinstance(config, Config) else dict(config)
        values["clients"] = {"trust_gateway": True, **values.get("clients", {})}
        values["doctor"] = {"at_start": False, "every": None, **values.get("doctor", {})}
        ports = {"smtp": 25, "submission": 587, "submissions": 465, **values.get("listeners", {})}
        self.listeners = {name: int(port) for name, port in ports.items() if port is not None}
        self.with_exposed_ports(*self.listeners.values())
        for key, value in values.items():
            self.with_env(f"POSTROAD_{key.upper()}", value if isinstance(value, str) else json.dumps(value))

    def start(self) -> Self:
        """Start it and wait until it takes mail.

        Raises:
            RuntimeError: it ended instead, for instance over its configuration; holds its log.
            TimeoutError: it was not ready within 30 s; holds its log.
        """
        super().start()
        try:
            self._await_ready(30)
        except BaseException:
            self.stop()
            self._container = None  # testcontainers stops what did not start once more
            raise
        return self

    def _await_ready(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        container = self.get_wrapped_container()
        while not any(event["event"] == "state" and event["state"] == "ready" for event in self.events()):
            container.reload()
            if container.status == "exited":
                raise RuntimeError(
                    f"the relay ended with exit code {container.attrs['State']['ExitCode']}:\n{self.log()}"
                )
            if time.monotonic() > deadline:
                raise TimeoutError(f"the relay was not ready within {timeout:g} s:\n{self.log()}")
            time.sleep(0.05)

    @property
    def host(self) -> str:
        """Where its port is published."""
        return str(self.get_container_host_ip())

    @property
    def port(self) -> int:
        """The port that is published for SMTP."""
        return self.port_of("smtp")

    def port_of(self, listener: str) -> int:
        """The port that is published for a listener: ``smtp``, ``submission`` or ``submissions``."""
        return int(self.get_exposed_port(self.listeners[listener]))

    @property
    def address(self) -> str:
        """Its IP address in the (first) network it is in."""
        container = self.get_wrapped_container()
        container.reload()
        return str(next(iter(container.attrs["NetworkSettings"]["Networks"].values()))["IPAddress"])

    def log(self) -> str:
        """All that it printed."""
        return b"".join(self.get_logs()).decode(errors="replace")

    def events(self) -> list[dict[str, Any]]:
        """The events it printed so far (``log.format: json``), in order."""
        # an error at start is plain text, and so is the last line of a container that is killed
        return [json.loads(line) for line in self.log().splitlines() if line.startswith("{") and line.endswith("}")]

    def follow(self, message_id: str, timeout: float = 30) -> list[dict[str, Any]]:
        """Wait for the end of a message: each of its recipients delivered, bounced or rejected.

        Args:
            message_id: its Message-ID, or its queue id.
            timeout: seconds.

        Returns:
            Its events, in order.

        Raises:
            TimeoutError: it has not ended within ``timeout`` seconds; names the events so far.
        """

        def ended(story: list[dict[str, Any]]) -> bool:
            begins = ("accepted", "taken_over")
            recipients = next((event.get("recipients", 1) for event in story if event["event"] in begins), 1)
            return sum(event["event"] in ENDS for event in story) >= recipients

        return self._await(message_id, ended, "end", timeout)

    def wait_for_event(self, kind: str, timeout: float = 30, **fields: object) -> dict[str, Any]:
        """Wait for the first event of this kind with these fields, such as ``reported`` of no message, and return it.

        Raises:
            TimeoutError: there was none within ``timeout`` seconds; holds the log.
        """
        wanted = {"event": kind, **fields}.items()
        deadline = time.monotonic() + timeout
        while True:
            for event in self.events():
                if all(event.get(name) == value for name, value in wanted):
                    return event
            if time.monotonic() > deadline:
                raise TimeoutError(f"no event {dict(wanted)} within {timeout:g} s:\n{self.log()}")
            time.sleep(0.05)

    def wait_until_suppressed(self, recipient: str, timeout: float = 30) -> None:
        """Wait until an address gets no more mail, which is a moment after the bounce or the complaint.

        Raises:
            TimeoutError: it still does after ``timeout`` seconds; says which addresses do not.
        """
        deadline = time.monotonic() + timeout
        while True:
            entries = json.loads(self.command("suppress", "list", "--json"))["suppressions"]
            suppressed = [entry["recipient"] for entry in entries]
            if recipient in suppressed:
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"{recipient} is not suppressed after {timeout:g} s; {suppressed} are")
            time.sleep(0.1)

    def wait_for(self, message_id: str, kind: str, timeout: float = 30) -> dict[str, Any]:
        """Wait for the first event of this kind, such as ``accepted``, of a message, and return it.

        Arguments and errors are ``follow``'s.
        """
        story = self._await(message_id, lambda story: any(event["event"] == kind for event in story), kind, timeout)
        return next(event for event in story if event["event"] == kind)

    def _await(
        self, message_id: str, enough: Callable[[list[dict[str, Any]]], bool], what: str, timeout: float
    ) -> list[dict[str, Any]]:
        began = time.monotonic()
        while True:
            events = self.events()
            # sendmail logs 100 bytes of a Message-ID; rejections may lack it, but not the queue id
            ids = {event.get("queue_id") for event in events if event.get("message_id") == message_id[:100]} | {
                message_id
            }
            story = [event for event in events if event.get("queue_id") in ids - {None}]
            if enough(story):
                return story
            waited = time.monotonic() - began
            if waited > timeout:
                raise TimeoutError(f"no {what} of {message_id} within {timeout:g} s; so far: {story}\n{self.log()}")
            time.sleep(min(max(0.05, waited / 10), 0.5))  # the whole log is read each time

    def command(self, *words: str) -> str:
        """Run ``postroad`` inside with these words and return what it printed.

        Raises:
            RuntimeError: it failed; holds what it printed.
        """
        code, text = self.shell(f"exec postroad {shlex.join(words)}")
        if code:
            raise RuntimeError(f"postroad {' '.join(words)} failed (exit {code}): {text}")
        return text

    def shell(self, script: str) -> tuple[int, str]:
        """Run a script inside with ``sh``; return its exit code and all that it printed."""
        code, output = self.get_wrapped_container().exec_run(["sh", "-c", script])
        return int(code or 0), b"".join([output] if isinstance(output, bytes) else output).decode(errors="replace")

    def dkim_records(self) -> dict[str, str]:
        """The TXT records to publish for its keys: name to value."""
        return {key["name"]: key["value"] for key in json.loads(self.command("dkim", "list", "--json"))["keys"]}
