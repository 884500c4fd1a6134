"""``postroad check`` and a start find the same: files, volumes, keys, what sendmail refuses; each named, all at once."""

import json
import secrets
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import HOSTNAME, Relays
from tests.internet.host import Postgres

HARDENED = (
    *("--read-only", "--cap-drop=ALL", "--network=none", "--env=POSTROAD_CLIENTS__NETWORKS=10.0.0.0/8"),
    *("--tmpfs=/run/postroad:mode=0700,uid=2525,gid=2525", "--tmpfs=/tmp"),
)
CLOSED = (
    "can't be read by uid 2525: run `chown 2525 FILE && chmod 0400 FILE` on the host, FILE being what is mounted there"
    " (it belongs to uid 0, mode 0400)"
)
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(image: str) -> Iterator[Run]:
    """Run the image to its end; options of ``docker run`` first, the words for ``postroad`` last."""
    names = []

    def start(options: tuple[str, ...], *words: str) -> subprocess.CompletedProcess[str]:
        names.append(f"postroad-test-{secrets.token_hex(4)}")
        named = (f"--env=POSTROAD_HOSTNAME={HOSTNAME}", "--env=POSTROAD_DOMAINS=sender.example")
        return subprocess.run(
            ["docker", "run", "--rm", f"--name={names[-1]}", *HARDENED, *named, *options, image, *words],
            capture_output=True, text=True, timeout=90, check=False,
        )  # fmt: skip

    yield start
    for name in names:  # one that started, and should not have
        subprocess.run(["docker", "rm", "--force", "--volumes", name], capture_output=True, check=False)


@pytest.fixture
def wrong(tmp_path: Path) -> tuple[str, ...]:
    """Options with something wrong about each file."""
    for name, text, mode in (
        ("closed", "secret", 0o400),
        ("empty", "", 0o444),
        ("text", "no key at all", 0o444),
    ):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(mode)
    tmp_path.chmod(0o755)
    smarthost = {"host": "smtp.example.net", "username": "app", "password_file": "/files/closed"}
    hook = {"name": "app", "url": "https://app.example.com/", "secret_file": "/files/empty"}
    settings = {
        "DOMAINS": [{"name": "sender.example", "dkim": {"key_file": "/files/text"}}],
        "CLIENTS__USERS": [{"name": "app", "password_file": "/files/none"}],
        "DELIVERY": {"smarthost": smarthost, "tls": {"ca_file": "/files/text"}},
        "EVENTS__WEBHOOKS": [hook],
        "EVENTS__STORE": "postgresql://postroad@db.store.example/postroad",
        "EVENTS__STORE_PASSWORD_FILE": "/files",
    }
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in settings.items()}
    return (f"--volume={tmp_path}:/files:ro", *(f"--env=POSTROAD_{key}={text}" for key, text in texts.items()))


@pytest.mark.parametrize("words", [("check",), ("run",)])
def test_all_files_that_can_not_be_used_are_told_at_once(run: Run, wrong: tuple[str, ...], words: tuple[str]) -> None:
    ended = run(wrong, *words)
    assert ended.returncode == 2, ended
    for said in (
        "postroad: 6 problems:\n",
        "\nAt 'domains[0].dkim.key_file': /files/text is not a private key",
        "\nAt 'clients.users[0].password_file': /files/none is not there",
        f"\nAt 'delivery.smarthost.password_file': /files/closed {CLOSED}\n",
        "\nAt 'delivery.tls.ca_file': /files/text holds no certificate",
        "\nAt 'events.webhooks[0].secret_file': /files/empty is empty",
        "\nAt 'events.store_password_file': /files is a folder, not a file",
    ):
        assert said in ended.stderr


@pytest.mark.parametrize("words", [("check",), ("run",)])
def test_a_volume_that_belongs_to_root_is_told_with_the_line_that_mends_it(
    run: Run, volumes: Callable[[str], str], image: str, words: tuple[str]
) -> None:
    name = volumes("roots")

    # Docker gives an empty volume the owner that the folder has in the image
    script = "touch /var/lib/postroad/restored && chown -R 0:0 /var/lib/postroad"
    subprocess.run(
        [
            "docker",
            "run",
            "--rm",
            "--user=0",
            "--entrypoint=sh",
            f"--volume={name}:/var/lib/postroad",
            image,
            "-c",
            script,
        ],
        check=True,
    )
    ended = run((f"--volume={name}:/var/lib/postroad", "--tmpfs=/var/spool/mqueue:uid=0,mode=0755"), *words)
    assert ended.returncode == 2
    line = f"chown -R 2525:2525 \"$(docker volume inspect --format '{{{{.Mountpoint}}}}' {name})\""
    assert (
        "/var/lib/postroad (the volume for keys) can't be written by uid 2525 (it belongs to uid 0, mode 07"
        in ended.stderr
    )
    assert f"run `{line}` on the host" in ended.stderr
    assert "/var/spool/mqueue (the mail queue) can't be written by uid 2525" in ended.stderr
    # the line does it
    subprocess.run(["sh", "-c", line], check=True)
    assert run((f"--volume={name}:/var/lib/postroad",), "check").returncode == 0


def test_what_sendmail_refuses_is_found_without_a_start(run: Run) -> None:
    ended = run(("--env=POSTROAD_SENDMAIL__LOCAL_CONFIG=LOCAL_CONFIG\nQnonsense\n",), "check")
    assert ended.returncode == 2
    assert "the rendered configuration is refused" in ended.stderr


def test_a_check_changes_nothing_and_names_where_values_are_from(start_relay: Relays) -> None:
    relay = start_relay(
        publish=False, delivery={"routes": [{"domains": ["x.example"], "smarthost": None, "concurrency": 1}]}
    )
    look = (
        "find /run/postroad/ -path '*check*'; readlink /run/postroad/current; find /run/postroad/current/ -exec stat -c"
        " '%n %Y' {} +; find /var/lib/postroad/dkim /var/lib/postroad/tls /var/spool/mqueue -type f -exec cksum {} +"
    )
    before = relay.shell(look)
    assert "hostname mail.sender.example from POSTROAD_HOSTNAME in the environment" in relay.command("check")
    assert relay.shell(look) == before
    log = [event.get("message", "") for event in relay.events()]
    sources = "hostname mail.sender.example from POSTROAD_HOSTNAME in the environment; domains sender.example from"
    assert f"{sources} POSTROAD_DOMAINS in the environment" in log


def test_a_fresh_container_passes_and_keeps_nothing(run: Run, volumes: Callable[[str], str]) -> None:
    state = volumes("fresh")
    mounted = f"--volume={state}:/var/lib/postroad"
    ended = run((mounted, "--env=POSTROAD_CLIENTS__NETWORKS=10.0.0.0/8"), "check")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert run((mounted, "--entrypoint=find"), "/var/lib/postroad").stdout == "/var/lib/postroad\n"


def test_networks_that_trust_nobody_are_a_warning(run: Run) -> None:
    ended = run(("--env=POSTROAD_CLIENTS__NETWORKS=auto",), "check")
    assert ended.returncode == 0
    assert "warning: clients.networks: auto stands for nobody here" in ended.stderr


def test_a_store_that_can_not_be_reached_is_a_warning(start_relay: Relays, postgres: Postgres) -> None:
    url = "postgresql://postroad@db.store.example/postroad?connect_timeout=2"
    relay = start_relay(publish=False, events={"store": url})
    code, text = relay.shell("POSTROAD_EVENTS__STORE=postgresql://postroad@127.0.0.1:9/postroad postroad check")
    assert code == 0
    assert "warning: At 'events.store': postgresql://postroad@127.0.0.1:9/postroad can't be used: " in text
    assert "connection refused" in text.lower()
