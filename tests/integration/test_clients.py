"""Clients at their defaults: what apps send with, called as its own page says, has its mail delivered.

``tests/clients`` holds the image, a script a client, and the messages.
"""

import json
import os
import re
import secrets
import smtplib
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

import docker
import pytest
from docker.models.containers import Container

from postroad.testing import PostroadContainer
from postroad.testing.received import ReceivedMessage
from tests.clients.messages import MESSAGES, Given
from tests.integration.authority import Authority
from tests.integration.conftest import HOSTNAME, Relays, wait_until
from tests.internet.host import Host
from tests.internet.internet import LABEL, TREE, Internet
from tests.messages.compare import arrived, differences, perl_verdicts

FOLDER = Path(__file__).parents[1] / "clients"
IMAGE = os.environ.get("POSTROAD_CLIENTS_IMAGE", "postroad-clients")
PASSWORD = "pass word/of+the:app"
CLIENTS = [
    "action_mailer", "aiosmtplib", "curl", "django", "email_sender", "jakarta_mail", "msmtp", "net_smtp", "nodemailer",
    "phpmailer", "ruby_mail", "s-nail", "smtplib", "swaks", "symfony_mailer",
]  # fmt: skip
APPS = ["gitlab", "keycloak", "laravel", "nextcloud", "php_mail", "spring", "wordpress"]
"""Apps whose settings docs/apps.md shows; each by the library that it sends with, set up by its settings as it does."""
NO_HTML = {"s-nail"}
NO_NAMES_OVER_255_OCTETS = {"s-nail"}  # it attaches files


@dataclass(frozen=True)
class Job:
    client: str
    port: int
    message: str

    @property
    def sender(self) -> str:
        return "app@sender.example" if self.port == 25 else "app@example.com"

    @property
    def recipient(self) -> str:
        return f"{self.client}-{self.port}-{self.message}@inbox.example"

    def __str__(self) -> str:
        return f"{self.client}-{self.port}-{self.message}"


ON_25 = [
    Job(client, 25, message)
    for client in CLIENTS
    for message in MESSAGES
    if not (client in NO_NAMES_OVER_255_OCTETS and message == "name")
]
ON_25 += [Job(app, 25, "scripts") for app in APPS]
WITH_AUTH = [Job(client, port, "scripts") for port in (587, 465) for client in CLIENTS]
WITH_AUTH += [Job(app, 587, "scripts") for app in APPS]
Results = dict[Job, tuple[int, str]]


@pytest.fixture(scope="module")
def clients(internet: Internet, relay: PostroadContainer, secured: PostroadContainer) -> Iterator[Container]:
    """The clients' container, in which ``postroad`` is the relay at its defaults, and ``mail.example.com`` the other."""
    yield from place(internet, {"postroad": relay.address, "mail.example.com": secured.address})


def place(internet: Internet, hosts: Mapping[str, str]) -> Iterator[Container]:
    """A container of the clients, in which these hosts have these addresses."""
    subprocess.run(["docker", "build", "--quiet", "--tag", IMAGE, FOLDER], check=True, stdout=subprocess.DEVNULL)
    client = docker.from_env()
    container = client.containers.run(
        IMAGE,
        detach=True,
        init=True,
        name=f"{internet.network}-clients-{secrets.token_hex(2)}",
        labels={LABEL: internet.network, **TREE},
        network=internet.network,
        dns=[internet.dns.address],
        extra_hosts=dict(hosts),
        environment={"SMTP_PASSWORD": PASSWORD},
    )
    yield container
    container.remove(force=True)
    client.close()


@pytest.fixture(scope="module")
def relay(relays: Relays, internet: Internet) -> PostroadContainer:
    """A relay at its defaults, and a receiver that asks for DMARC."""
    internet.add_mx("inbox.example", dmarc=True)
    started = relays()
    internet.publish("_dmarc.sender.example", "TXT", "v=DMARC1; p=reject; adkim=s; aspf=s")
    return started


@pytest.fixture(scope="module")
def authority(image: str, tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(image, tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def secured(relays: Relays, internet: Internet, authority: Authority) -> PostroadContainer:
    """A relay with a certificate and a user, for other domains than the first one's."""
    authority.issue("mail", "mail.example.com")
    password = authority.path("app")
    password.write_text(PASSWORD)
    password.chmod(0o444)
    started = relays(
        hostname="mail.example.com",
        domains=["example.com"],
        clients={"users": [{"name": "app", "password_file": "/pki/app"}]},
        tls={"certificate_file": "/pki/mail.pem", "key_file": "/pki/mail.key"},
        mounts={str(authority.folder): "/pki"},
        publish=False,
    )
    internet.publish_sender("mail.example.com", started.address, domains=["example.com"], dkim=started.dkim_records())
    internet.publish("_dmarc.example.com", "TXT", "v=DMARC1; p=reject; adkim=s; aspf=s")
    return started


def run(clients: Container, jobs: Sequence[Job]) -> Results:
    """Run them side by side; their exit codes and what they wrote."""
    given = [
        {
            "client": job.client,
            "port": job.port,
            "message": job.message,
            "sender": job.sender,
            "recipient": job.recipient,
        }
        for job in jobs
    ]
    done = subprocess.run(
        ["docker", "exec", "-i", str(clients.name), "./run"],
        input=json.dumps(given), text=True, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return {job: (code, text) for job, (code, text) in zip(jobs, json.loads(done.stdout), strict=True)}


@pytest.fixture(scope="module")
def on_25(clients: Container) -> Results:
    return run(clients, ON_25)


@pytest.fixture(scope="module")
def untrusting(clients: Container) -> Results:
    """What becomes of them before the system trusts the authority."""
    return run(clients, [job for job in WITH_AUTH if job.port == 587])


@pytest.fixture(scope="module")
def with_auth(clients: Container, authority: Authority, untrusting: Results) -> Results:
    """What becomes of them where the system trusts the authority, as it trusts public ones."""
    put = "cat >/usr/local/share/ca-certificates/test.crt && update-ca-certificates"
    subprocess.run(
        ["docker", "exec", "-i", str(clients.name), "sh", "-c", put],
        input=authority.path("ca.pem").read_bytes(), check=True, capture_output=True,
    )  # fmt: skip
    return run(clients, WITH_AUTH)


@pytest.mark.parametrize("job", ON_25, ids=str)
def test_on_port_25_without_a_word_about_tls(job: Job, on_25: Results, internet: Internet) -> None:
    arrived_whole(job, on_25, internet)


@pytest.fixture(scope="module")
def recorded(internet: Internet) -> Iterator[list[bytes]]:
    """What the clients write, octet for octet."""
    watch = internet.add_watch("in.watch.example", behaviour="no-starttls")
    for container in place(internet, {"postroad": watch.address}):
        results = run(container, ON_25)
        assert {str(job): said for job, (code, said) in results.items() if code} == {}
        yield watch.messages()


def test_what_they_write_arrives_octet_for_octet(
    recorded: list[bytes], relay: PostroadContainer, internet: Internet, app: Host
) -> None:
    assert len(recorded) == len(ON_25)
    (record,) = relay.dkim_records().values()
    sent = [f"X-Case: {number}\r\n".encode() + message for number, message in enumerate(recorded)]
    with smtplib.SMTP(relay.host, relay.port, timeout=60) as smtp:
        for message in sent:
            smtp.sendmail("app@sender.example", ["octets@inbox.example"], message)

    def came() -> dict[int, ReceivedMessage]:
        new = internet.messages("octets@inbox.example")
        pairs = ((re.search(rb"^X-Case: (\d+)$", each.raw, re.MULTILINE), each) for each in new)
        return {int(found[1]): each for found, each in pairs if found}

    arrived_ = wait_until(lambda: found if len(found := came()) == len(sent) else {}, 60)
    wrong = {
        str(ON_25[number]): said
        for number, message in enumerate(sent)
        if (said := differences(message, arrived_[number], HOSTNAME, record.encode()))
    }
    assert wrong == {}
    assert set(perl_verdicts(app, [arrived(each, HOSTNAME)[2] for each in arrived_.values()])) == {"pass"}


def test_nobody_gives_a_password_to_an_unknown_server(untrusting: Results, secured: PostroadContainer) -> None:
    assert [str(job) for job, (code, _) in untrusting.items() if code == 0] == []


@pytest.mark.parametrize("job", WITH_AUTH, ids=str)
def test_with_a_password_over_verified_tls(job: Job, with_auth: Results, internet: Internet) -> None:
    arrived_whole(job, with_auth, internet)


def arrived_whole(job: Job, results: Results, internet: Internet) -> None:
    code, said = results[job]
    assert code == 0, said
    received = internet.wait_for_message(lambda message: message.recipient == job.recipient)
    verdicts = {method: received.verdict(method) for method in ("dkim", "spf", "dmarc")}
    assert verdicts == dict.fromkeys(verdicts, "pass"), received.raw.decode(errors="replace")
    assert received.sender == job.sender
    check(job, MESSAGES[job.message], received.message)


def check(job: Job, given: Given, message: EmailMessage) -> None:
    """That all of a message is there."""
    assert message["Subject"].strip() == given.subject
    texts: dict[str, str] = {}
    files: dict[str, bytes] = {}
    for part in message.walk():
        if part.get_content_maintype() == "multipart":
            continue
        if name := part.get_filename():
            files[name] = part.get_payload(decode=True)  # type: ignore[assignment]
        if part.get_content_maintype() == "text":
            # UTF-8, also where it is not said, as of iCalendar (RFC 5545, section 3.1.4)
            payload = part.get_payload(decode=True)
            assert isinstance(payload, bytes)
            texts.setdefault(part.get_content_type(), payload.decode())
    assert texts["text/plain"].splitlines() == given.text.splitlines()
    if given.html and job.client not in NO_HTML:
        assert texts["text/html"].strip() == given.html.strip()
    if given.invite:
        assert texts["text/calendar"].split() == given.invite.split()
    assert {name: files.get(name) for name, _ in given.files} == dict(given.files)


def test_a_pool_sends_over_connections_that_stay_open(clients: Container) -> None:
    results = run(clients, [Job("nodemailer_pool", 25, "scripts")])
    assert [code for code, _ in results.values()] == [0], results


def test_a_client_that_asks_before_each_message_is_not_slowed_down(relay: PostroadContainer) -> None:
    """``isConnected()`` of Java's pools is a NOOP; sendmail lets one wait seconds, then minutes, after twenty of them."""
    with smtplib.SMTP(relay.host, relay.port, timeout=5) as smtp:
        smtp.ehlo()
        for _ in range(40):
            assert smtp.noop()[0] == 250
            assert smtp.mail("app@sender.example")[0] == 250
            assert smtp.rset()[0] == 250
