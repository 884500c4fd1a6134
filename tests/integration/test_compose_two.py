"""deploy/compose.two.yaml: two relays behind one name are replaced one after the other while a client sends."""

import json
import secrets
import shutil
import subprocess
import threading
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.documents import blocks, commands
from tests.integration.conftest import HOSTNAME, wait_until
from tests.integration.test_postgresql import Store, store
from tests.internet.host import Host, Postgres
from tests.internet.internet import TREE, Internet

__all__ = ["store"]
ROOT = Path(__file__).parents[2]
RELAYS = ("postroad-1", "postroad-2")
# smtplib at its defaults, a connection for each message, from several threads; a line a message
CLIENT = """
import smtplib, sys, threading
from email.message import EmailMessage
from email.utils import make_msgid
from pathlib import Path
stop = Path("/tmp/stop")
def run(number):
    while not stop.exists():
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = "app@sender.example", f"user-{number}@rcpt.example", "load"
        message["Message-ID"] = make_msgid(domain="sender.example")
        message.set_content("Hello.")
        said = "accepted"
        try:
            with smtplib.SMTP("postroad", timeout=30) as smtp:
                smtp.send_message(message)
        except (OSError, smtplib.SMTPException) as error:
            said = f"{type(error).__name__} {error}"
        print(message["Message-ID"], said, flush=True)
threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


class Project:
    """The compose file as it is, but in the pretend internet, with its database server and the image under test."""

    def __init__(self, image: str, internet: Internet, store: Store, folder: Path) -> None:
        (folder / "deploy").mkdir()
        (folder / "config").mkdir()
        folder.chmod(0o755)
        shutil.copy(ROOT / "deploy" / "compose.two.yaml", folder / "deploy")
        (block,) = [block.text for block in blocks("docs/scale.md") if block.text.startswith("peers:")]
        (folder / "config" / "config.yaml").write_text(f"hostname: {HOSTNAME}\ndomains: [sender.example]\n{block}")
        (folder / "config" / "peers_secret").write_text(f"{secrets.token_hex(32)}\n")
        (folder / "deploy" / "store_password").write_text(store.password)
        labels = "".join(f"      {name}: {value}\n" for name, value in TREE.items())
        url = f"postgresql://{store.name}@db.store.example/{store.name}?sslmode=disable"
        override = "services:\n  db: !reset null\n"
        for name in RELAYS:
            override += (
                f"  {name}:\n    image: {image}\n    build: !reset null\n    depends_on: !reset []\n"
                f"    dns: [{internet.dns.address}]\n    labels:\n{labels}"
                f"    environment:\n      POSTROAD_EVENTS__STORE: {url}\n"
            )
        override += f"networks:\n  default:\n    name: {internet.network}\n    external: true\n"
        (folder / "deploy" / "override.yaml").write_text(override)
        files = [f"--file={folder / 'deploy' / name}" for name in ("compose.two.yaml", "override.yaml")]
        self._compose = ["docker", "compose", f"--project-name=postroad-two-{secrets.token_hex(3)}", *files]

    def run(self, *words: str) -> str:
        done = subprocess.run([*self._compose, *words], capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    def postroad(self, relay: str, *words: str) -> str:
        return self.run("exec", "-T", relay, "postroad", *words)


@pytest.fixture
def project(image: str, internet: Internet, store: Store, tmp_path: Path) -> Iterator[Project]:
    made = Project(image, internet, store, tmp_path)
    try:
        made.run("up", "--detach", "--wait")
        yield made
    finally:
        made.run("down", "--volumes", "--timeout=20")


class Load:
    """A client that sends all the time by the relays' common name."""

    def __init__(self, app: Host) -> None:
        self._app = app
        self.said: list[tuple[str, str]] = []
        app.run("rm", "-f", "/tmp/stop")
        command = ["docker", "exec", app.name, "python3", "-c", CLIENT]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            message_id, _, said = line.strip().partition(" ")
            self.said.append((message_id, said))

    def goes_on(self, more: int = 20) -> None:
        """Wait until so many more messages were sent."""
        enough = len(self.said) + more
        wait_until(lambda: len(self.said) >= enough, 60)

    def end(self) -> None:
        self._app.run("touch", "/tmp/stop")
        self._thread.join(60)
        assert self._process.wait(10) == 0
        if self._process.stdout:
            self._process.stdout.close()


@pytest.mark.filterwarnings("default:measured: ")
def test_a_rolling_replacement_under_load_loses_and_repeats_nothing(
    project: Project, internet: Internet, app: Host, postgres: Postgres
) -> None:
    keys = [json.loads(project.postroad(relay, "dkim", "list", "--json"))["keys"] for relay in RELAYS]
    records = {key["name"]: key["value"] for found in keys for key in found}
    assert {*records} == {f"{relay}._domainkey.sender.example" for relay in RELAYS}
    internet.publish_sender(HOSTNAME, "192.0.2.1", dkim=records)
    load = Load(app)
    try:
        load.goes_on()
        for relay in (*RELAYS, *RELAYS):
            project.run("up", "--detach", "--wait", "--no-deps", "--force-recreate", relay)
            load.goes_on()
    finally:
        load.end()
    refused = [said for _, said in load.said if said != "accepted"]
    accepted = {message_id for message_id, said in load.said if said == "accepted"}

    def arrived() -> Counter[str]:
        return Counter(str(message.message_id) for message in internet.messages() if message.message_id in accepted)

    wait_until(lambda: len(arrived()) == len(accepted), 60)
    assert set(arrived().values()) == {1}
    assert not refused, f"{len(refused)} of {len(load.said)}: {Counter(refused)}"
    warnings.warn(f"measured: {len(accepted)} messages, four replacements, {len(refused)} refused", stacklevel=1)
    # both took part, and both keys sign well
    signed = [message for message in internet.messages() if message.message_id in accepted]
    assert {message.verdict("dkim") for message in signed} == {"pass"}
    groups = json.loads(project.postroad("postroad-2", "stats", "--by", "relay", "--json"))["groups"]
    assert {row["relay"] for row in groups} == {*RELAYS}


def test_the_queue_of_one_leaves_for_the_other(project: Project, internet: Internet, app: Host) -> None:
    """By the commands of docs/scale.md: from a relay that runs, and from a volume whose relay is gone."""
    prefix = "docker compose -f deploy/compose.two.yaml "
    running, left_behind = (
        each.removeprefix(prefix).split() for each in commands("docs/scale.md") if " queue evacuate " in each
    )
    records: dict[str, str] = {}
    for relay in RELAYS:
        keys = json.loads(project.postroad(relay, "dkim", "list", "--json"))["keys"]
        records |= {key["name"]: key["value"] for key in keys}
    internet.publish_sender(HOSTNAME, "192.0.2.1", dkim=records)

    def waiting(relay: str) -> list[str]:
        found = json.loads(project.postroad(relay, "queue", "list", "--json"))["messages"]
        return [each["queue_id"] for each in found if each["attempts"]]

    def put_off(name: str) -> None:
        script = "import smtplib; smtplib.SMTP('postroad-2').sendmail('app@sender.example', ['user@rcpt.example'],"
        text = f"From: app@sender.example\\r\\nTo: user@rcpt.example\\r\\nMessage-ID: <{name}>\\r\\n\\r\\nHi\\r\\n"
        app.run("python3", "-c", f"{script} '{text}')")
        wait_until(lambda: waiting("postroad-2"), 30)

    internet.mx.refuse()
    try:
        put_off("one@sender.example")
        project.run("exec", "-T", *running[1:])
        assert len(waiting("postroad-1")) == 1
        project.postroad("postroad-2", "queue", "drain", "--undo")
        put_off("two@sender.example")
        project.run("kill", "postroad-2")
        project.run("run", "-T", *left_behind[1:])
        assert len(waiting("postroad-1")) == 2
    finally:
        internet.mx.accept()
    project.postroad("postroad-1", "queue", "flush", "--all")
    for name in ("one", "two"):
        assert internet.wait_for_message(f"<{name}@sender.example>").verdict("dkim") == "pass"


def test_the_relays_of_the_page_are_listed_and_hold_nothing_without_limits(project: Project) -> None:
    prefix = "docker compose -f deploy/compose.two.yaml exec "
    listing, forgetting = (
        each.removeprefix(prefix).split() for each in commands("docs/scale.md") if " postroad relays " in each
    )
    # a relay is known once its recorder has begun
    wait_until(lambda: all(relay in project.run("exec", "-T", *listing) for relay in RELAYS), 60)
    with pytest.raises(AssertionError, match="postroad-2 holds no part of a limit"):
        project.run("exec", "-T", *forgetting)
