"""What the documents say is done, as somebody does it who has a clone and reads them."""

import json
import os
import re
import secrets
import shutil
import ssl
import subprocess
import urllib.request
import venv
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from postroad.testing.received import ReceivedMessage
from tests.documents import DOCUMENTS, INSIDE, ROOT, STARTS, blocks, commands, elsewhere
from tests.internet.internet import IMAGE as INTERNET_IMAGE
from tests.internet.internet import PUBLIC_IMAGE, TREE, Internet

RECIPIENTS = ("example.net", "gmail.com")
"""The domains of the addresses in the documents."""

LOOKS = re.compile(r"postroad (dns|doctor)\b")
"""Commands whose exit code says what they found out there."""

pytestmark = pytest.mark.timeout(600)  # an image is built


def snippets(document: str) -> list[str]:
    """A document's compose files."""
    return [block.text for block in blocks(document) if block.language == "yaml" and "compose.yaml" in block.text]


class Reader:
    """Somebody in a folder with a clone in ``postroad/``, on a host whose Internet is the pretend one."""

    def __init__(self, folder: Path, internet: Internet) -> None:
        """Make the clone; only the image's name and the network in it are the test's."""
        self.folder = folder
        self.clone = folder / "postroad"
        self.internet = internet
        self.project = f"postroad-test-docs-{secrets.token_hex(3)}"
        self.image = f"{self.project}:latest"
        words = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
        names = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for name in filter(None, names.split("\0")):
            if (ROOT / name).is_file():  # a deleted one is still listed
                (self.clone / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self.clone / name)
        text = (self.clone / "compose.yaml").read_text()
        assert text.count("image: postroad:latest\n") == 1
        text = text.replace("image: postroad:latest\n", f"image: {self.image}\n    dns: [{internet.dns.address}]\n")
        text = re.sub(r"^  (queue|state):$", rf"  \1: {{labels: {json.dumps(TREE)}}}", text, flags=re.MULTILINE)
        text += f"\nnetworks:\n  default: {{name: {internet.network}, external: true}}\n"
        (self.clone / "compose.yaml").write_text(text)
        bundles = (*map(os.environ.get, ("CA_BUNDLE", "SSL_CERT_FILE")), "/etc/ssl/certs/ca-certificates.crt")
        bundle = next((each for each in bundles if each and Path(each).is_file()), "/dev/null")
        self.before = {message.message_id for message in internet.messages()}
        self.environment = {**os.environ, "COMPOSE_PROJECT_NAME": self.project, "CA_BUNDLE": bundle}

    def run(self, command: str, folder: Path | None = None, *, codes: tuple[int, ...] = (0,), **variables: str) -> str:
        """Run a command as it is printed, in the clone or another folder, and return what it said."""
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=folder or self.clone,
            env={**self.environment, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=500,
        )
        assert done.returncode in codes, f"{command}\nexit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def publish(self, folder: Path | None = None) -> None:
        """Publish the records that ``postroad dns`` lists, of the server that runs now."""
        container = self.run("docker compose ps --quiet postroad", folder).strip()
        form = f"{{{{(index .NetworkSettings.Networks {json.dumps(self.internet.network)}).IPAddress}}}}"
        address = subprocess.run(
            ["docker", "inspect", "--format", form, container], capture_output=True, text=True, check=True
        ).stdout.strip()
        keys = json.loads(self.run("docker compose exec -T postroad postroad dkim list --json", folder))["keys"]
        self.internet.publish_sender(
            "mail.example.com", address, domains=("example.com",), dkim={key["name"]: key["value"] for key in keys}
        )

    def follow(self, document: str, folder: Path | None = None) -> dict[str, str]:
        """Run a document's commands in turn; return what each said."""
        said = {}
        for command in commands(document):
            if elsewhere(command):
                continue
            said[command] = self.run(command, folder, codes=(0, 1) if LOOKS.search(command) else (0,))
            if " up " in command:
                self.publish(folder)
        return said

    def arrived(self, match: Callable[[ReceivedMessage], bool]) -> ReceivedMessage:
        """The first such message since the reader began: other tests send to the same addresses."""
        return self.internet.wait_for_message(lambda each: each.message_id not in self.before and match(each))

    def leave(self) -> None:
        """Remove what was started, and the image."""
        label = f"label=com.docker.compose.project={self.project}"
        for kind, remove in (("container", "rm --force --volumes"), ("network", "rm"), ("volume", "rm")):
            some = "--all" if kind == "container" else ""
            self.run(f"docker {kind} ls {some} --quiet --filter {label} | xargs -r docker {kind} {remove}")
        self.run(f"docker image rm --force {self.image}", codes=(0, 1))


@pytest.fixture
def reader(tmp_path: Path, internet: Internet) -> Iterator[Reader]:
    found = Reader(tmp_path, internet)
    try:
        yield found
    finally:
        found.leave()


@pytest.fixture(scope="module")
def receivers(internet: Internet) -> Iterator[Internet]:
    """The pretend internet with MX hosts for the addresses in the documents."""
    internet.add_mx(*RECIPIENTS)
    yield internet
    internet.hosts.pop().container.remove(force=True)


@pytest.fixture
def app(internet: Internet) -> Iterator[None]:
    """The image ``your-app`` of the snippets."""
    subprocess.run(["docker", "tag", INTERNET_IMAGE, "your-app"], check=True)
    yield
    subprocess.run(["docker", "image", "rm", "your-app"], check=True, capture_output=True)


def test_the_readme_from_its_first_line(reader: Reader, receivers: Internet, image: str) -> None:
    said = reader.follow("README.md")
    (sent,) = [text for command, text in said.items() if " send " in command]
    assert "delivered to mx.example.net" in sent
    got = reader.arrived(lambda message: message.recipient == "you@example.net")
    assert got.verdict("dkim") == got.verdict("spf") == "pass"
    # and what the other documents tell about the server that now runs
    for document in DOCUMENTS:
        for command in commands(document):
            if command.startswith(INSIDE) and document not in STARTS:
                reader.run(command, codes=(0, 1) if LOOKS.search(command) else (0,))


def test_the_first_message_where_nobody_is_let_out_on_port_25(reader: Reader, receivers: Internet, image: str) -> None:
    """What a laptop at home sees: names are found, and no connection to port 25 is answered."""
    up, send = [command for command in commands("README.md") if not elsewhere(command)]
    reader.run(up)
    mx = receivers.hosts[-1]
    mx.stop()
    try:
        said = reader.run(send, codes=(3,))
    finally:
        mx.start()
    assert "it waits, mx.example.net" in said
    assert "mail.example.com is an example: set hostname and domains to yours" in said


def test_up_waits_for_a_few_seconds_only(reader: Reader, image: str) -> None:
    reader.run("docker compose build")
    reader.run("docker compose up -d --wait")
    (container,) = reader.run("docker compose ps --quiet postroad").split()
    text = subprocess.run(["docker", "inspect", container], capture_output=True, text=True, check=True).stdout
    checks = json.loads(text)[0]["Config"]["Healthcheck"]
    # an engine before 25 makes its first check after this long, and has no other interval for a start
    assert checks["Interval"] == 1_000_000_000
    log = subprocess.run(["docker", "logs", container], capture_output=True, text=True, check=True).stdout
    assert any(event.get("state") == "ready" for event in map(json.loads, log.splitlines()))


@pytest.mark.usefixtures("app", "image")
@pytest.mark.parametrize("document", ["README.md", "docs/compose.md"])
def test_the_own_compose_file(document: str, reader: Reader, receivers: Internet) -> None:
    (reader.folder / "compose.yaml").write_text(snippets(document)[0])
    (sent,) = [said for said in reader.follow("docs/compose.md", reader.folder).values() if "signed" in said]
    assert "delivered to mx.example.net" in sent
    script = "import smtplib; smtplib.SMTP('postroad', 25).sendmail('app@example.com', ['you@example.net'], 'From: app@example.com\\n\\nHi')"
    reader.run(f'docker compose exec -T app python3 -c "{script}"', reader.folder)
    reader.arrived(lambda message: message.sender == "app@example.com")


@pytest.mark.usefixtures("image")
def test_the_own_compose_file_with_settings_of_its_own(reader: Reader, receivers: Internet) -> None:
    network = f"networks: {{default: {{name: {receivers.network}, external: true}}}}\n"
    (reader.folder / "compose.yaml").write_text(snippets("docs/compose.md")[1] + network)
    (reader.folder / "mail").mkdir(mode=0o755)
    (reader.folder / "mail" / "config.yaml").write_text("listeners: {submission: 2587}\n")
    (reader.clone / "config" / "config.yaml").write_text("hostname: mail.clone.example\ndomains: [clone.example]\n")
    reader.run("docker compose build", reader.clone)
    reader.run("docker compose up -d --wait", reader.folder)
    said = reader.run("docker compose exec -T postroad postroad check", reader.folder)
    assert "\nmail.example.com: " in said
    assert "2587" in reader.run("docker compose exec -T postroad cat /run/postroad/current/plan.json", reader.folder)


@pytest.mark.usefixtures("image")
@pytest.mark.parametrize("document", ["docs/aws.md", pytest.param("docs/aws.ko.md", marks=pytest.mark.long)])
def test_the_way_to_the_inbox_on_aws(document: str, reader: Reader, receivers: Internet) -> None:
    said = reader.follow(document)
    assert "delivered to mx.example.net" in next(text for command, text in said.items() if " send " in command)
    assert json.loads((reader.clone / "batch.json").read_text())["Changes"]
    # what it says about the address, where the DNS can't tell it
    with (reader.clone / ".env").open("a") as file:
        (line,) = set(re.findall(r"`(POSTROAD_PUBLIC_IP=\S+)`", (ROOT / "docs/aws.md").read_text()))
        file.write(f"{line}\n")
    assert f"`{line}`" in (ROOT / document).read_text()
    reader.run("docker compose up -d --wait")
    assert "it leaves as 203.0.113.10" in reader.run("docker compose exec -T postroad postroad dns", codes=(0, 1))


@pytest.mark.usefixtures("image")
def test_the_default_compose_file_overrules_no_mounted_file(reader: Reader) -> None:
    (reader.clone / "config" / "config.yaml").write_text("hostname: mail.mine.example\ndomains: [mine.example]\n")
    reader.run("docker compose build")
    check = "docker compose run --rm -T postroad check"
    assert "mail.mine.example: " in reader.run(check)
    # variables of the shell do not arrive, those of .env do, and win
    assert "mail.mine.example: " in reader.run(check, POSTROAD_HOSTNAME="mail.shell.example")
    (reader.clone / ".env").write_text("POSTROAD_HOSTNAME=mail.env.example\nCOMPOSE_PROFILES=\nANYTHING=1\n")
    assert "mail.env.example: " in reader.run(check)
    # a variable that is no key is told, wherever it stands
    (reader.clone / ".env").write_text("POSTROAD_HOSTNAM=mail.env.example\n")
    assert "POSTROAD_HOSTNAM" in reader.run(check, codes=(2,))


@pytest.mark.usefixtures("image")
def test_an_image_of_a_clone_that_only_its_owner_may_read(reader: Reader) -> None:
    """Root's umask is 077 on hardened hosts; the server runs as another user."""
    for path in reader.clone.rglob("*"):
        path.chmod(0o700 if path.is_dir() else path.stat().st_mode & 0o700)
    reader.run("docker compose build")
    run = "docker compose run --rm -T --no-deps --volume /dev/null:/none"
    said = reader.run(f"{run} -e POSTROAD_CONFIG= postroad check", codes=(0, 1, 2))
    assert "Traceback" not in said
    assert "config.yaml" in said  # all that it can't read is the mounted file, and it says so


@pytest.mark.usefixtures("internet", "image")
def test_the_examples_in_testing_md_run(reader: Reader) -> None:
    build, build_internet, install, *_ = commands("docs/testing.md")
    reader.run(build, reader.folder)
    # other trees' suites may use the name that the page has
    reader.run(build_internet.replace("postroad-internet ", f"{PUBLIC_IMAGE} "), reader.folder)
    environment = reader.folder / "environment"
    venv.create(environment, symlinks=True)
    # the same resolver of packages as everywhere here, in place of pip's, which a bare python3 lacks
    uv = shutil.which("uv") or str(ROOT / ".tools/bin/uv")
    reader.run(install.replace("pip install", f"{uv} pip install --quiet"), reader.folder, VIRTUAL_ENV=str(environment))
    examples = [block.text for block in blocks("docs/testing.md") if block.language == "python"]
    for number, code in enumerate(examples):
        # the images under test are these, not the names that others use
        own = code.replace("PostroadContainer({", f'PostroadContainer(image="{reader.image}", config={{')
        own = own.replace("internet.relay(CONFIG)", f'internet.relay(CONFIG, image="{reader.image}")')
        own = own.replace(
            'Internet("example.net")', f'Internet("example.net", image="{PUBLIC_IMAGE}", labels={json.dumps(TREE)})'
        )
        (reader.folder / f"test_{number}.py").write_text(own)
    said = reader.run(f"{environment}/bin/pytest -q test_*.py", reader.folder, TESTCONTAINERS_RYUK_DISABLED="true")
    assert f"{len(examples)} passed" in said


def test_the_compose_file_in_testing_md(reader: Reader, image: str) -> None:
    (text,) = snippets("docs/testing.md")
    # another tree's suite may have the page's, and Docker may have given it to any network of the suite's
    free = f"10.{secrets.randbelow(200) + 54}.{secrets.randbelow(256)}."
    for theirs, ours in {
        "image: postroad-internet": f"image: {PUBLIC_IMAGE}",
        "image: postroad:latest": f"image: {image}",
        "172.30.53.": free,
        "8025:8025": "127.0.0.1::8025",
    }.items():
        assert theirs in text
        text = text.replace(theirs, ours)
    (reader.folder / "compose.yaml").write_text(text)
    up, publish, send = commands("docs/testing.md")[-3:]
    reader.run(up, reader.folder)
    assert "published: example.com TXT" in reader.run(publish, reader.folder)
    assert "delivered to mx.example.net" in reader.run(send, reader.folder)
    (url,) = re.findall(r"`http://localhost:8025(/\S+=\S+)`", (ROOT / "docs/testing.md").read_text())
    address = reader.run("docker compose port internet 8025", reader.folder).strip()
    with urllib.request.urlopen(f"http://{address}{url}", timeout=30) as answer:
        (received,) = json.load(answer)
    assert (received["verdicts"], received["tls"]) == ({"dkim": "pass", "spf": "pass"}, "TLSv1.3")
    keys = re.findall(r"`(\w+)`", (ROOT / "docs/testing.md").read_text().rpartition("| key | is |")[2])
    assert set(received) <= set(keys)


@pytest.mark.usefixtures("internet", "image")
def test_the_way_from_another_image(reader: Reader) -> None:
    old = reader.clone / "old"
    old.mkdir()
    (old / "compose.yaml").write_text(
        "services:\n  mail:\n    image: boky/postfix\n    environment:\n      ALLOWED_SENDER_DOMAINS: example.com\n"
        "      RELAYHOST: '[smtp.example.net]:587'\n      RELAYHOST_USERNAME: app\n      RELAYHOST_PASSWORD: 'old secret'\n"
        "    volumes: [./keys:/etc/opendkim/keys]\n"
    )
    build, migrate, copy, check, again = commands("docs/moving.md")
    reader.run(build)
    reader.run(migrate)
    assert "old secret" not in (reader.clone / "migrated.yaml").read_text()
    reader.run(copy)
    said = reader.run(check, codes=(2,))  # the files are not there yet, and it names each
    assert "/run/secrets/smarthost_password" in said
    assert "/run/secrets/dkim_example.com" in said
    (own,) = [block.text for block in blocks("docs/moving.md") if block.language == "yaml"]
    (reader.folder / "compose.yaml").write_text(own)
    (reader.folder / "smarthost_password").write_text("old secret\n")
    key = reader.run("docker compose run --rm -T --no-deps --entrypoint openssl postroad genrsa 2048")
    (reader.folder / "dkim_example.com.private").write_text(key[key.index("-----BEGIN") :])
    for name in ("smarthost_password", "dkim_example.com.private"):
        (reader.folder / name).chmod(0o444)
    said = reader.run(again, reader.folder)
    assert "mail.example.com: " in said
    assert said.count("warning") == 0, said


@pytest.mark.usefixtures("internet", "image")
def test_secrets_as_permissions_md_mounts_them(reader: Reader) -> None:
    compose, config = [block.text for block in blocks("docs/permissions.md") if block.language == "yaml"]
    (reader.folder / "compose.yaml").write_text(compose)
    (reader.clone / "config" / "config.yaml").write_text(
        f"hostname: mail.example.com\ndomains: [example.com]\n{config}"
    )
    reader.run("docker compose build", reader.clone)
    written, owner, mode = commands("docs/permissions.md")
    check = "docker compose run --rm -T postroad check"
    reader.run(f"umask 077; {written}", reader.folder)
    said = reader.run(check, reader.folder, codes=(2,))  # root's, and nobody else's
    assert "/run/secrets/app_password can't be read by uid 2525" in said
    # the test is root already, where the page has sudo
    reader.run(owner.removeprefix("sudo "), reader.folder)
    reader.run(mode.removeprefix("sudo "), reader.folder)
    assert "mail.example.com: " in reader.run(check, reader.folder)


@pytest.mark.usefixtures("internet", "image")
def test_the_console_as_its_page_sets_it_up(reader: Reader) -> None:
    config, compose, *_ = [block.text for block in blocks("docs/console.md") if block.language == "yaml"]
    # the port that is printed may be another program's on this host
    (reader.folder / "compose.yaml").write_text(compose.replace('"8080:8080"', '"127.0.0.1::8080"'))
    (reader.clone / "config" / "config.yaml").write_text(
        f"hostname: mail.example.com\ndomains: [example.com]\n{config}"
    )
    reader.run("docker compose build", reader.clone)
    for command in commands("docs/console.md"):
        reader.run(command.removeprefix("sudo "), reader.folder)
    port = reader.run("docker compose port postroad 8080", reader.folder).strip().rsplit(":", 1)[1]
    # the relay's own certificate, as the page on TLS says
    with urllib.request.urlopen(f"https://127.0.0.1:{port}/", context=ssl._create_unverified_context()) as answer:
        assert 'id="password"' in answer.read().decode()


@pytest.mark.usefixtures("image")
def test_a_backup_is_restored_on_another_host(
    reader: Reader, receivers: Internet, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """docs/upgrade.md, from its first command to its last, the second half on a host that has the clone and the backup only."""
    steps = [
        command for command in commands("docs/upgrade.md") if command != "git pull"
    ]  # a test's clone has no remote
    half = steps.index(next(step for step in steps if "-xzf" in step)) - 1
    before, after = steps[:half], steps[half:]
    assert [step.split()[2] for step in before] == ["build", "run", "up", "stop", "run", "start", "exec"]
    reader.run("docker compose up -d --build --wait")
    mx = receivers.hosts[-1]
    mx.stop()
    try:
        reader.run("docker compose exec -T postroad postroad send you@example.net --timeout 20", codes=(3,))
        keys = "docker compose exec -T postroad postroad dkim list --json"
        published = json.loads(reader.run(keys))
        for step in before:
            reader.run(step)
        waiting = json.loads(reader.run("docker compose exec -T postroad postroad queue list --json"))["messages"]
        reader.run("docker compose down")
        other = Reader(tmp_path_factory.mktemp("other"), receivers)
        try:
            shutil.copy2(reader.clone / "backup.tar.gz", other.clone)
            said = [other.run(step, codes=(0, 1) if LOOKS.search(step) else (0,)) for step in after]
            assert waiting[0]["queue_id"] in said[-2]
            assert json.loads(other.run(keys)) == published
        finally:
            other.publish()
            mx.start()
            other.run("docker compose exec -T postroad postroad queue flush --all", codes=(0, 3))
            other.leave()
    finally:
        mx.start()
    got = reader.arrived(lambda message: message.recipient == "you@example.net")
    assert got.verdict("dkim") == "pass"
