"""The image under test, the pretend internet around it, and relays in it.

Whatever a failed test's containers printed is part of its report.
"""

import json
import os
import secrets
import smtplib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from email.message import EmailMessage
from email.utils import make_msgid
from pathlib import Path
from typing import Any, TypeVar

import pytest
from docker.errors import APIError

os.environ.setdefault(
    "TESTCONTAINERS_RYUK_DISABLED", "true"
)  # its image is in a registry; fixtures remove what they make

from postroad.testing import PostroadContainer
from tests.internet.host import Host, Postgres
from tests.internet.internet import TREE, Internet, build_image

HOSTNAME = "mail.sender.example"
TEST_MODE = f"POSTROAD_FQDN={HOSTNAME} LD_PRELOAD=/usr/local/lib/postroad/preload.so /usr/sbin/sendmail -bt"
"""Asks sendmail's rules in a relay; with the host's name as the server has it, for which sendmail else waits a minute."""


@pytest.fixture(scope="session")
def image() -> str:
    """The built image's tag; ``make test`` has just built it."""
    return os.environ.get("POSTROAD_IMAGE", "postroad:latest")


@pytest.fixture(scope="session")
def internet() -> Iterator[Internet]:
    build_image()
    with Internet(f"postroad-test-{secrets.token_hex(3)}") as pretend:
        yield pretend


@pytest.fixture(scope="session")
def app(internet: Internet) -> Host:
    """A container beside the relay, to run senders in: it is no gateway."""
    return internet.add_app()


@pytest.fixture(scope="session")
def postgres(internet: Internet) -> Postgres:
    """A PostgreSQL server, ``db.store.example``."""
    return internet.add_postgres("db.store.example")


@pytest.fixture(scope="session")
def zones(internet: Internet) -> Internet:
    """The pretend internet, with names that can't be looked up: ``servfail.example`` and ``closed.example`` (REFUSED)."""
    internet.add_zone("closed.example")
    # a secondary whose primary is nowhere
    lame = '{ type secondary; primaries { 127.0.0.9 port 9; }; file "servfail"; };'
    internet.add_zone_with("servfail.example", lame)
    closed = '{ type primary; file "/var/cache/bind/closed.example.zone"; allow-query { none; }; };'
    internet.dns.run("rndc", "modzone", "closed.example", closed)
    return internet


@pytest.fixture(scope="module")
def ca_file(internet: Internet, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file with the certificate of the authority that signs those of the MX hosts, for a container to read."""
    path: Path = tmp_path_factory.mktemp("authority") / "ca.pem"
    path.write_bytes(internet.ca_certificate())
    path.parent.chmod(0o755)
    return str(path)


StartRelay = Callable[..., PostroadContainer]


class Relays:
    """Starts relays for one test, or one module, and removes them at its end."""

    def __init__(self, image: str, internet: Internet) -> None:
        self.image = image
        self.internet = internet
        self.stack = ExitStack()
        self.started: list[PostroadContainer] = []

    def __call__(self, *, publish: bool = True, **config: Any) -> PostroadContainer:
        """Start one; ``publish`` its address, SPF and DKIM records. ``config`` is over a minimal configuration.

        A key that is None there is left out. ``queue``, ``state``, ``kwargs``, ``tmpfs`` (path to options),
        ``mounts`` (path here to path inside) and ``shared`` (likewise, which it may write) go to the container.
        """
        run: dict[str, Any] = {key: config.pop(key) for key in ("queue", "state") if key in config}
        run.update(config.pop("kwargs", {}))
        mounts, shared, tmpfs = (config.pop(key, {}) for key in ("mounts", "shared", "tmpfs"))
        wanted = {"hostname": HOSTNAME, "domains": ["sender.example"], **config}
        relay = PostroadContainer(
            {key: value for key, value in wanted.items() if value is not None},
            image=self.image,
            network=self.internet.network,
            dns=run.pop("dns", [self.internet.dns.address]),
            labels=TREE,
            **run,
        )
        relay.tmpfs.update(tmpfs)
        for source, target in mounts.items():
            relay.with_volume_mapping(source, target, "ro")
        for source, target in shared.items():
            relay.with_volume_mapping(source, target, "rw")
        self.stack.enter_context(relay)
        self.started.append(relay)  # one that did not start is gone, and its error holds its log
        if publish:
            self.internet.publish_sender(config.get("hostname") or HOSTNAME, relay.address, dkim=relay.dkim_records())
        return relay


@pytest.fixture
def start_relay(image: str, internet: Internet, request: pytest.FixtureRequest) -> Iterator[Relays]:
    relays = Relays(image, internet)
    with relays.stack:
        request.node.stash[RELAYS] = relays.started
        yield relays


@pytest.fixture(scope="module")
def relays(image: str, internet: Internet, request: pytest.FixtureRequest) -> Iterator[Relays]:
    """Starts relays that a module's tests share."""
    made = Relays(image, internet)
    with made.stack:
        request.node.stash[RELAYS] = made.started
        yield made


@pytest.fixture(scope="module")
def relay(relays: Relays) -> PostroadContainer:
    """A relay with the shortest configuration, shared by a module's tests."""
    return relays()


@pytest.fixture(scope="module")
def volumes() -> Iterator[Callable[[str], str]]:
    """Names for volumes that outlive a container; they are removed at the end."""
    import docker  # noqa: PLC0415

    client = docker.from_env()
    made: list[str] = []

    def name(purpose: str) -> str:
        made.append(f"postroad-test-{purpose}-{secrets.token_hex(3)}")
        client.volumes.create(made[-1], labels=TREE)
        return made[-1]

    yield name
    for each in made:
        client.volumes.get(each).remove(force=True)
    client.close()


@contextmanager
def away(internet: Internet) -> Iterator[None]:
    """The MX takes no connections."""
    internet.mx.refuse()
    try:
        yield
    finally:
        internet.mx.accept()


def letter(**headers: str) -> EmailMessage:
    """A message from app@sender.example to user@rcpt.example."""
    message = EmailMessage()
    for field, value in {
        "From": "App <app@sender.example>",
        "To": "user@rcpt.example",
        "Subject": "test",
        "Message-ID": make_msgid(domain="sender.example"),
        **headers,
    }.items():
        message[field.replace("_", "-")] = value
    message.set_content("Hello.\n")
    return message


def send(relay: PostroadContainer, message: EmailMessage, **arguments: Any) -> str:
    """Hand a message to the relay; return its Message-ID."""
    with smtplib.SMTP(relay.host, relay.port, timeout=20) as smtp:
        smtp.send_message(message, **arguments)
    return str(message["Message-ID"])


def deferred(relay: PostroadContainer, message_id: str) -> str:
    """Wait until the message was put off; return the reason. Nothing was delivered or bounced."""
    event = relay.wait_for(message_id, "deferred")
    assert not {"delivered", "bounced"} & {other["event"] for other in story(relay, message_id)}
    return str(event.get("status") or event["reply"])


def signal_daemon(relay: PostroadContainer, module: str, signal: str) -> None:
    """Send a daemon of ours a signal, as soon as there is one; ``/proc`` tells which process it is."""
    look = f"tr '\\0' ' ' <$p/cmdline 2>/dev/null | grep -q 'm [p]ostroad.{module}'"
    script = f"none=1; for p in /proc/[0-9]*; do {look} && kill -{signal} ${{p#/proc/}} && none=0; done; exit $none"
    wait_until(lambda: relay.shell(script)[0] == 0, 30)


def end_sessions(relay: PostroadContainer) -> None:
    """End the sessions that sendmail keeps open with receivers, by those that the front keeps with sendmail."""
    signal_daemon(relay, "front", "HUP")


def front(relay: PostroadContainer) -> dict[str, int]:
    """What the front says of itself."""
    ask = "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/run/postroad/front'); print(s.recv(999).decode())"
    figures: dict[str, int] = json.loads(relay.shell(f'python3 -c "{ask}"')[1])
    return figures


def opened(relay: PostroadContainer) -> int:
    """How many sessions of sendmail's the front has opened; waits until none of them is in use."""

    def free() -> int:
        figures = front(relay)
        return 0 if figures["busy"] or figures["delivering"] else figures["opened"]

    return wait_until(free, 60)


def end_of(relay: PostroadContainer, message_id: str) -> dict[str, Any] | None:
    """What has become of a message so far: the first event that says it was delivered, bounced or deferred."""
    ids = {event.get("queue_id") for event in relay.events() if event.get("message_id") == message_id}
    events = (event for event in relay.events() if event.get("queue_id") in ids - {None})
    return next((event for event in events if event["event"] in {"delivered", "bounced", "deferred"}), None)


def send_in_turn(relay: PostroadContainer, steps: Sequence[tuple[str, str]]) -> None:
    """One client's messages in one session of sendmail's, as long as they are delivered, and in the next then.

    ``steps``: a recipient, and an event or what the reason for a delay says.
    """
    again = 0
    with smtplib.SMTP(relay.host, relay.port, timeout=20) as smtp:
        for number, (recipient, end) in enumerate(steps):
            before = opened(relay)
            smtp.send_message(message := letter(To=recipient))
            message_id = str(message["Message-ID"])
            event = wait_until(lambda: end_of(relay, message_id), 60)  # noqa: B023 - called here
            assert event is not None
            where = f"{number}: {recipient} after {steps[number - 1][0] if number else 'none'}: {event}"
            if end in {"delivered", "bounced", "deferred"}:
                assert event["event"] == end, where
            else:
                assert event["event"] == "deferred", where
                assert end in str(event.get("status") or event["reply"]), where
            again += opened(relay) == before
    assert again, "no session was used again"


def secrets_folder(factory: pytest.TempPathFactory, internet: Internet, **files: str) -> Path:
    """A folder for ``/secrets``: the test authority (``ca.pem``), and files with a line each."""
    folder = factory.mktemp("secrets")
    folder.chmod(0o755)
    (folder / "ca.pem").write_bytes(internet.ca_certificate())
    for name, text in files.items():
        (folder / name).write_text(f"{text}\n")
    return folder


_Value = TypeVar("_Value")


def wait_until(happened: Callable[[], _Value], timeout: float = 15) -> _Value:
    """Ask again and again until the answer is true, or the time in seconds is over; return it."""
    began = time.monotonic()
    while not (value := happened()):
        waited = time.monotonic() - began
        assert waited < timeout, f"did not happen within {timeout:g} s"
        time.sleep(min(max(0.05, waited / 10), 0.5))  # to ask is often a process in a container
    return value


def story(relay: PostroadContainer, message_id: str) -> list[dict[str, Any]]:
    """The events of a message so far."""
    return [event for event in relay.events() if event.get("message_id") == message_id]


RELAYS = pytest.StashKey[list[PostroadContainer]]()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Add the containers' logs to the report of a test that failed."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if report.failed:
        for node in item.listchain():
            relays = node.stash.get(RELAYS, [])
            for number, started in enumerate(relays):
                try:
                    text = started.log() if started._container else "(not running)"
                except APIError:  # gone, or going
                    text = "(it did not start, or the test removed it)"  # why it did not is in the error
                report.sections.append((f"relay {number} of {node.name}", text[-8000:]))
        internet = getattr(item, "funcargs", {}).get("internet")
        if internet:
            with suppress(APIError):
                report.sections.append(("pretend internet", internet.logs()[-8000:]))
