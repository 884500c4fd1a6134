"""The listeners as sendmail's options."""

import errno
import socket
from ipaddress import ip_network
from typing import Any

import pytest

from postroad.config.model import Config
from postroad.sendmail.listeners import daemon_options, no_auth, unopenable
from postroad.sendmail.networks import Surroundings

NOWHERE = Surroundings()
IPV6 = Surroundings(subnets=(ip_network("fd00:1::/64"),))


def config(**keys: Any) -> Config:
    return Config.model_validate({"hostname": "mail.example.com", "domains": ["example.com"], **keys})


def test_behind_smtp_there_are_inner_doors_only() -> None:
    inner = daemon_options(config(listeners={"submission": None, "submissions": None}), NOWHERE)
    assert [options.partition("Port=")[2][:2] for options in inner] == ["1,", "2,", "3,", "4,", "5,"]
    assert all("Name=smtp, Family=inet," in options and "Addr=240.0.0.1" in options for options in inner)
    assert [options.partition("DeliveryMode=")[2] for options in inner] == ["interactive", "", *["queueonly"] * 3]


def test_with_ipv6_the_inner_doors_are_of_the_family_that_the_others_are() -> None:
    assert all("Family=inet6," in options for options in daemon_options(config(), IPV6))
    assert all("Addr=IPv6:::ffff:240.0.0.1" in options for options in daemon_options(config(), IPV6)[:5])


def test_a_door_that_is_null_is_none() -> None:
    assert not any("Name=smtp" in options for options in daemon_options(config(listeners={"smtp": None}), NOWHERE))


def test_a_port_that_is_not_ours_to_open_is_named_with_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    class Kernel(socket.socket):
        def bind(self, address: Any) -> None:
            if address[1] in {25, 465, 587}:
                raise PermissionError(errno.EACCES, "Permission denied")
            raise OSError(errno.EADDRINUSE, "Address already in use")

    monkeypatch.setattr("postroad.sendmail.listeners.socket.socket", Kernel)
    given = config(
        listeners={"smtp": 2525, "submission": 587, "submissions": None},
        http={"listen": "[::]:25"},
        peers={"port": 465, "secret_file": "/run/secrets/peers"},
    )
    said = unopenable(given)
    assert [each.partition(" can't be opened by this user")[0] for each in said] == [
        "listeners.submission: port 587",
        "peers.port: port 465",
        "http.listen: port 25",
    ]
    assert "net.ipv4.ip_unprivileged_port_start=25 " in said[0]
    assert "listeners.submission to a port from 1024 on" in said[0]


FIRST = "530 5.7.0 STARTTLS first: AUTH is taken over TLS only"
USERS = {"users": [{"name": "app", "password_file": "/run/secrets/app"}]}
PAIR = {"certificate_file": "/run/secrets/tls.crt", "key_file": "/run/secrets/tls.key"}


@pytest.mark.parametrize(
    ("tls", "offered"),
    [
        ({}, False),
        ({"smtp_starttls": "always"}, True),
        (PAIR, True),
        ({**PAIR, "smtp_starttls": "never"}, False),
    ],
)
def test_auth_is_possible_on_smtp_where_starttls_is(tls: dict[str, str], offered: bool) -> None:
    given = config(clients=USERS, tls=tls)
    assert given.tls.on_smtp is offered
    inner = daemon_options(given, NOWHERE)[:3]
    assert all("Name=smtp," in options and f", M={'E' if offered else 'EA'}, Addr=" in options for options in inner)


@pytest.mark.parametrize(
    ("keys", "answer"),
    [
        ({}, "503 5.3.3 AUTH not available: clients.users names nobody"),
        ({"clients": USERS, "tls": PAIR}, FIRST),
        (
            {"clients": USERS},
            f"{FIRST}, on port 587 (STARTTLS) or port 465 (TLS from the start), and 25 offers none (tls.smtp_starttls)",
        ),
        (
            {"clients": USERS, "listeners": {"submission": None, "submissions": 1465}},
            f"{FIRST}, on port 1465 (TLS from the start), and 25 offers none (tls.smtp_starttls)",
        ),
        (
            {"clients": USERS, "listeners": {"smtp": None}},
            f"{FIRST}, on port 587 (STARTTLS) or port 465 (TLS from the start)",
        ),
        (
            {"clients": USERS, "listeners": {"submission": None, "submissions": None}},
            f"{FIRST}, and 25 offers none (tls.smtp_starttls)",
        ),
    ],
)
def test_auth_in_clear_text_is_told_where_it_can_be_had(keys: dict[str, Any], answer: str) -> None:
    assert no_auth(config(**keys)) == answer
