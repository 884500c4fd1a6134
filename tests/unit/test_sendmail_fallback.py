"""A smarthost's fallback: the same credentials by a name, a server of its own by any other key."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from postroad.config.model import Config
from postroad.dns import smarthosts
from postroad.runtime.uplink import Server
from postroad.sendmail import outbound


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    for name in ("one", "two"):
        (tmp_path / name).write_text(f"password of {name}\n")
    return tmp_path


def config(secrets: Path, fallback: Any, **fields: Any) -> Config:
    first = {"host": "smtp.example.net", "port": 2525, "username": "app", "password_file": f"{secrets}/one"}
    smarthost = {**first, "fallback": fallback, **fields}
    values = {"hostname": "mail.example.com", "domains": ["example.com"], "delivery": {"smarthost": smarthost}}
    return Config.model_validate(values)


def servers(config: Config) -> tuple[Server, ...]:
    return outbound.uplink_settings(config, outbound.credentials(config)).servers


@pytest.mark.parametrize("fallback", ["smtp2.example.net", {"host": "smtp2.example.net"}])
def test_a_name_alone_has_the_same_port_and_credentials(secrets: Path, fallback: Any) -> None:
    wanted = config(secrets, fallback)
    first, second = servers(wanted)
    assert (first.host, second.host) == ("smtp.example.net", "smtp2.example.net")
    for server in (first, second):
        assert (server.port, server.username, server.password) == (2525, "app", "password of one")
        assert server.key == "delivery.smarthost"
    assert first.id != second.id
    assert smarthosts.hosts(wanted.delivery) == ["smtp.example.net"]


def test_a_server_of_its_own_takes_nothing_from_the_first(secrets: Path) -> None:
    own = {"provider": "mailgun", "username": "other", "password_file": f"{secrets}/two"}
    wanted = config(secrets, own)
    first, second = servers(wanted)
    assert (second.host, second.port, second.tls) == ("smtp.mailgun.org", 587, "verify")
    assert (second.username, second.password) == ("other", "password of two")
    assert second.key == "delivery.smarthost.fallback"
    assert (first.username, first.password, first.key) == ("app", "password of one", "delivery.smarthost")
    # another provider: SPF has to include both
    assert smarthosts.hosts(wanted.delivery) == ["smtp.example.net", "smtp.mailgun.org"]
    assert {secrets / "one", secrets / "two"} <= set(outbound.secret_files(wanted.delivery))


def test_a_server_of_its_own_without_credentials_gets_none(secrets: Path) -> None:
    _, second = servers(config(secrets, {"host": "smtp2.example.net", "port": 25}))
    assert (second.port, second.username, second.password) == (25, "", "")


def test_the_same_server_twice_is_one_account(secrets: Path) -> None:
    """As the first of one smarthost and the fallback of another: wrong guesses are counted together."""
    first = {"host": "a.example.net", "username": "app", "password_file": f"{secrets}/one"}
    second = {"host": "b.example.net", "username": "app", "password_file": f"{secrets}/two"}
    route = {"domains": ["example.org"], "smarthost": {**second, "fallback": first}}
    values = {"hostname": "mail.example.com", "domains": ["example.com"], "delivery": {"routes": [route]}}
    values["delivery"]["smarthost"] = {**first, "fallback": second}  # type: ignore[index]
    found = Config.model_validate(values)
    assert [server.host for server in servers(found)] == ["a.example.net", "b.example.net"]
    assert [server.key for server in servers(found)] == ["delivery.smarthost", "delivery.smarthost.fallback"]


def test_the_two_forms_of_a_fallback_are_two_smarthosts(secrets: Path) -> None:
    first = {"host": "a.example.net", "username": "app", "password_file": f"{secrets}/one"}
    own = {"host": "b.example.net", "port": 587}
    route = {"domains": ["example.org"], "smarthost": {**first, "fallback": own}}
    values = {"hostname": "mail.example.com", "domains": ["example.com"], "delivery": {"routes": [route]}}
    values["delivery"]["smarthost"] = {**first, "fallback": "b.example.net"}  # type: ignore[index]
    found = servers(Config.model_validate(values))
    assert [(server.host, server.username) for server in found] == [
        ("a.example.net", "app"),
        ("b.example.net", "app"),
        ("b.example.net", ""),
    ]
    assert found[-1].key == "delivery.routes[0].smarthost.fallback"


@pytest.mark.parametrize(
    ("fallback", "said"),
    [
        ("192.0.2.1", "a name, as certificates are for names"),
        ({"host": "192.0.2.1", "port": 25}, "a name, as certificates are for names"),
        ({"port": 25}, "host, or a provider"),
        ({"host": "smtp2.example.net", "username": "app"}, "username and password_file together"),
        ({"host": "smtp2.example.net", "fallback": "smtp3.example.net"}, "Extra inputs"),
    ],
)
def test_what_is_none_is_refused(secrets: Path, fallback: Any, said: str) -> None:
    with pytest.raises(ValidationError) as error:
        config(secrets, fallback)
    problems = error.value.errors()
    assert any(said in str(each.get("ctx", {}).get("accepted", "")) + each["msg"] for each in problems), problems


def test_an_address_is_taken_where_nothing_is_verified(secrets: Path) -> None:
    wanted = config(secrets, "192.0.2.1", tls="none", username=None, password_file=None)
    assert [server.tls for server in servers(wanted)] == ["none", "none"]
