"""Where values come from, and which of them wins."""

import errno
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from postroad.config import load as loading
from postroad.config.load import load
from postroad.config.model import Config
from postroad.config.problems import explain
from postroad.config.section import Section
from postroad.config.sources import layers
from postroad.config.yamlfile import LARGEST_FILE, parse
from postroad.errors import ConfigError

LEAST = "hostname: file.example.com\ndomains: [example.com]\n"

Load = Callable[..., Config]


@pytest.fixture
def given_file(tmp_path: Path) -> Load:
    """Loads YAML text with variables and secrets."""

    def run(text: str | None = LEAST, secrets: dict[str, str] | None = None, **environ: str) -> Config:
        path = tmp_path / "config.yaml"
        if text is not None:
            path.write_text(text)
        folder = tmp_path / "secrets"
        folder.mkdir(exist_ok=True)
        for name, value in (secrets or {}).items():
            (folder / name).write_text(value)
        return load(path if text is not None else None, environ, folder)

    return run


def test_the_order_in_which_they_win(given_file: Load, tmp_path: Path) -> None:
    (tmp_path / "name").write_text("named.example.com\n")
    secrets = {"postroad_hostname": "secret.example.com\n"}
    named = {"POSTROAD_HOSTNAME_FILE": str(tmp_path / "name")}
    assert given_file().hostname == "file.example.com"
    assert given_file(secrets=secrets).hostname == "secret.example.com"
    assert given_file(secrets=secrets, **named).hostname == "named.example.com"
    assert given_file(secrets=secrets, **named, POSTROAD_HOSTNAME="env.example.com").hostname == "env.example.com"


def test_the_environment_is_enough(given_file: Load, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(loading, "DEFAULT_PATH", tmp_path / "nowhere.yaml")
    config = given_file(None, POSTROAD_HOSTNAME="env.example.com", POSTROAD_DOMAINS="example.com,example.net")
    assert [domain.name for domain in config.domains] == ["example.com", "example.net"]
    with pytest.raises(ConfigError, match=r"nowhere.yaml \(not there\): 2 problems"):
        given_file(None)


def test_this_process_is_the_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(LEAST)
    for name in [name for name in os.environ if name.startswith("POSTROAD_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("POSTROAD_CONFIG", str(tmp_path / "c.yaml"))
    monkeypatch.setenv("POSTROAD_LOG__FORMAT", "text")
    assert load().log.format == "text"


def test_a_file_that_is_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file"):
        load(tmp_path / "nowhere.yaml", {})
    with pytest.raises(ConfigError, match="there is no such file"):
        load(None, {"POSTROAD_CONFIG": str(tmp_path / "nowhere.yaml")})


@pytest.mark.parametrize(
    ("environ", "path", "value"),
    [
        ({"POSTROAD_DELIVERY__QUEUE__RETRY": "10m"}, ("delivery", "queue", "retry"), "10m"),
        ({"postroad_delivery__queue__retry": "10m"}, ("delivery", "queue", "retry"), "10m"),
        ({"POSTROAD_DELIVERY__QUEUE__WARN_AFTER": "null"}, ("delivery", "queue", "warn_after"), None),
        ({"POSTROAD_DELIVERY": '{"queue": {"retry": "10m"}}'}, ("delivery", "queue", "retry"), "10m"),
        ({"POSTROAD_DELIVERY": '{"queue": {"retry": 600}}'}, ("delivery", "queue", "retry"), "10m"),
        ({"POSTROAD_CLIENTS__NETWORKS": "auto, 10.0.0.0/8,"}, ("clients", "networks"), ["auto", "10.0.0.0/8"]),
        ({"POSTROAD_CLIENTS__NETWORKS": '["10.0.0.0/8"]'}, ("clients", "networks"), ["10.0.0.0/8"]),
        ({"POSTROAD_CLIENTS__NETWORKS": "[]"}, ("clients", "networks"), []),
        ({"POSTROAD_CLIENTS__TRUST_GATEWAY": "true"}, ("clients", "trust_gateway"), True),
        ({"POSTROAD_LISTENERS__SMTP": "2525"}, ("listeners", "smtp"), 2525),
        ({"POSTROAD_DKIM__KEY_BITS": "4096"}, ("dkim", "key_bits"), 4096),
        ({"POSTROAD_LIMITS__MESSAGE_SIZE": "1MiB"}, ("limits", "message_size"), "1MiB"),
        ({"POSTROAD_LOG__FORMAT": ""}, ("log", "format"), "json"),
        ({"POSTROAD_SENDMAIL__DEFINES": '{"confMAX_HOP": 9}'}, ("sendmail", "defines"), {"confMAX_HOP": "9"}),
        ({"POSTROAD_SENDMAIL__LOCAL_CONFIG": "C{x}a\n"}, ("sendmail", "local_config"), "C{x}a\n"),
        (
            {"POSTROAD_DOMAINS": "*", "POSTROAD_DKIM__ENABLED": "false"},
            ("domains",),
            [{"name": "*", "subdomains": False, "dkim": {"selector": None, "key_file": None}}],
        ),
    ],
    ids=lambda value: ascii(value).replace("\\", ""),
)
def test_a_variable(given_file: Load, environ: dict[str, str], path: tuple[str, ...], value: Any) -> None:
    found = given_file(**environ).model_dump(mode="json")
    for part in path:
        found = found[part]
    assert found == value


def test_a_mapping_and_a_key_in_it_add_up(given_file: Load) -> None:
    # whichever comes first in the environment
    config = given_file(
        POSTROAD_DELIVERY__QUEUE__RETRY="10m", POSTROAD_DELIVERY__QUEUE='{"retry": "1m", "give_up_after": "1d"}'
    )
    assert config.delivery.queue.model_dump(mode="json") == {"retry": "10m", "warn_after": "4h", "give_up_after": "1d"}


def test_mappings_are_merged_and_lists_replaced(given_file: Load) -> None:
    text = LEAST + "delivery: {queue: {retry: 1m}, shutdown_grace: 5s}\nclients: {networks: [10.0.0.0/8]}\n"
    config = given_file(text, POSTROAD_DELIVERY__QUEUE__RETRY="2m", POSTROAD_CLIENTS__NETWORKS="auto")
    assert config.model_dump(mode="json")["delivery"]["shutdown_grace"] == "5s"
    assert config.model_dump(mode="json")["delivery"]["queue"]["retry"] == "2m"
    assert config.clients.networks == ("auto",)


def test_names_that_are_not_keys(given_file: Load) -> None:
    assert given_file(POSTROAD_FQDN="x", POSTROAD_LOG_SOCKET="/x", POSTROADS="x") == given_file()


@pytest.mark.parametrize("service", ["POSTROAD", "POSTROAD_METRICS", "POSTROAD_SMTP_2"])
def test_service_links_of_kubernetes_are_no_settings(given_file: Load, service: str) -> None:
    """As kubelet names them (pkg/kubelet/envvars), for each service of the namespace."""
    links = {
        f"{service}_SERVICE_HOST": "10.0.0.1",
        f"{service}_SERVICE_PORT": "25",
        f"{service}_SERVICE_PORT_SMTP": "25",
        f"{service}_SERVICE_PORT_SMTP_TLS": "465",
        f"{service}_PORT": "tcp://10.0.0.1:25",
        f"{service}_PORT_25_TCP": "tcp://10.0.0.1:25",
        f"{service}_PORT_25_TCP_PROTO": "tcp",
        f"{service}_PORT_25_TCP_PORT": "25",
        f"{service}_PORT_25_TCP_ADDR": "10.0.0.1",
        f"{service}_PORT_53_UDP": "udp://[fd00::1]:53",
    }
    assert given_file(**links) == given_file()


def test_what_only_looks_like_a_service_link_is_a_setting_or_an_error(given_file: Load) -> None:
    smarthost = {"POSTROAD_DELIVERY__SMARTHOST__HOST": "smtp.example.net"}
    way = given_file(POSTROAD_DELIVERY__SMARTHOST__PORT="2525", **smarthost).delivery.smarthost
    assert way is not None
    assert way.port == 2525
    for name, value in (
        ("POSTROAD_SMARTHOST_PORT", "587"),
        ("POSTROAD_PORT", "25"),
        ("POSTROAD_DELIVERY__SMARTHOSTS__PORT", "tcp://10.0.0.1:25"),
        ("POSTROAD_DELIVERY__SMARTHOSTS__SERVICE_HOST", "10.0.0.1"),
    ):
        with pytest.raises(ConfigError, match=f"At '{name}': unknown variable"):
            given_file(**{name: value})


def test_a_secret_that_is_no_key_is_left_alone(given_file: Load) -> None:
    assert given_file(secrets={"postroad_app_password": "x", "POSTROAD_LOG__FORMAT": "text\r\n"}).log.format == "text"


def test_files_that_cannot_be_read(given_file: Load, tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff")
    (tmp_path / "large").write_bytes(b"a" * (2**20 + 1))
    names = {"HOSTNAME": "binary", "LOG__FORMAT": "large", "DKIM__SELECTOR": "nowhere", "DOMAINS": "."}
    with pytest.raises(ConfigError) as caught:
        given_file(
            POSTROAD_DKIM__ENABLED_FILE="a\0b", **{f"POSTROAD_{x}_FILE": str(tmp_path / y) for x, y in names.items()}
        )
    for words in ("is not UTF-8", "larger than 1 MiB", "No such file", "Is a directory", "embedded null byte"):
        assert words in str(caught.value)


class Account(Section):
    """Keys of the kind that later sections have."""

    key_file: Path | None = None
    password: SecretStr = SecretStr("")
    port: int = 1


class Other(Section):
    """A model with a secret in it."""

    account: Account = Account()


def test_a_key_that_ends_in_file_keeps_its_variable(tmp_path: Path) -> None:
    (tmp_path / "pass").write_text("hunter2\n")
    environ = {"POSTROAD_ACCOUNT__KEY_FILE": "/nowhere", "POSTROAD_ACCOUNT__PASSWORD_FILE": str(tmp_path / "pass")}
    (environment, named, _), problems = layers(Other, environ, tmp_path / "secrets")
    assert not problems
    assert environment.values == {"account": {"key_file": "/nowhere"}}
    assert named.values == {"account": {"password": "hunter2"}}


def test_a_secret_is_not_shown() -> None:
    values = {"account": {"password": ["hunter2"], "port": "x"}}
    with pytest.raises(ValidationError) as caught:
        Other.model_validate(values)
    assert explain(caught.value, values, model=Other) == [
        "At 'account.password': found a value that is not shown; accepted: text",
        "At 'account.port': found 'x'; accepted: a whole number",
    ]


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    for data, words in (
        (b"a: 1\nb: \xff", "At line 2: text that is not UTF-8"),
        (b"#" * (LARGEST_FILE + 1), "larger than 1 MiB"),
    ):
        path.write_bytes(data)
        with pytest.raises(ConfigError, match=words):
            load(path, {})
    with pytest.raises(ConfigError, match="can't be read: Is a directory"):
        load(tmp_path, {})


def test_a_file_of_somebody_else_says_whose_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("hostname: mail.example.com\n")
    path.chmod(0o600)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setattr(os, "getuid", lambda: 2525)
    owned = f"can't be read by uid 2525: .*chown 2525 .*it belongs to uid {path.stat().st_uid}, mode 0600"
    with pytest.raises(ConfigError, match=f"{re.escape(str(path))}(?s:.)*{owned}"):
        load(path, {})
    with pytest.raises(ConfigError, match=f"POSTROAD_HOSTNAME_FILE.*{re.escape(str(path))} {owned}"):
        load(None, {"POSTROAD_HOSTNAME_FILE": str(path)})


def test_plain_values_are_those_of_yaml_1_2() -> None:
    text = "{a: no, b: 1:30, c: 010, d: 2024-01-01, e: 12, f: true, g: ~, h: '', i: 1.5, j: -3, k: 0x1f, l: .inf}"
    assert parse(text).values == {
        "a": "no",
        "b": "1:30",
        "c": "010",
        "d": "2024-01-01",
        "e": 12,
        "f": True,
        "g": None,
        "h": "",
        "i": 1.5,
        "j": -3,
        "k": "0x1f",
        "l": float("inf"),
    }


def test_anchors_are_fine(given_file: Load) -> None:
    assert given_file("hostname: &x a.example\ndomains: [*x]\n").domains[0].name == "a.example"
