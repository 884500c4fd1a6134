"""The doors as sendmail's options."""

import errno
import socket
from ipaddress import ip_network
from typing import Any

import pytest

from postroad.config.model import Config
from postroad.sendmail.listeners import bulk, doors, no_auth, unopenable
from postroad.sendmail.networks import Surroundings

NOWHERE = Surroundings()


def config(**keys: Any) -> Config:
    return Config.model_validate({"hostname": "mail.example.com", "domains": ["example.com"], **keys})


def test_bulk_is_closed_unless_it_has_a_port() -> None:
    assert bulk(config(), NOWHERE) == ()
    assert "bulk" not in " ".join(doors(config(listeners={"bulk": 2526}), NOWHERE))


def test_bulk_differs_from_smtp_in_its_port_and_name_only() -> None:
    users = [{"name": "app", "password_file": "/run/secrets/app"}]
    for keys in ({}, {"clients": {"users": users}}):
        for around in (NOWHERE, Surroundings(subnets=(ip_network("fd00:1::/64"),))):
            given = config(listeners={"bulk": 2526}, **keys)
            (_, door, *_) = bulk(given, around)
            smtp = doors(given, around)[0]
            assert door == "DaemonPortOptions=" + smtp.replace("smtp", "bulk").replace("Port=25,", "Port=2526,")


def test_a_message_in_memory_alone_is_delivered_before_it_is_answered() -> None:
    options = bulk(config(listeners={"bulk": 2526}), NOWHERE)
    assert {"SuperSafe=interactive", "DeliveryMode=interactive"} <= set(options)


def test_a_port_that_is_not_ours_to_open_is_named_with_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    class Kernel(socket.socket):
        def bind(self, address: Any) -> None:
            if address[1] in {25, 465, 587}:
                raise PermissionError(errno.EACCES, "Permission denied")
            raise OSError(errno.EADDRINUSE, "Address already in use")

    monkeypatch.setattr("postroad.sendmail.listeners.socket.socket", Kernel)
    given = config(listeners={"smtp": 2525, "submission": 587, "submissions": None}, http={"listen": "[::]:25"})
    said = unopenable(given)
    assert [each.partition(" can't be opened by this user")[0] for each in said] == [
        "listeners.submission: port 587",
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
def test_auth_is_possible_on_smtp_and_bulk_where_starttls_is(tls: dict[str, str], offered: bool) -> None:
    given = config(clients=USERS, tls=tls, listeners={"bulk": 2526})
    assert given.tls.on_smtp is offered
    for door in (doors(given, NOWHERE)[0], bulk(given, NOWHERE)[1]):
        assert door.endswith("M=E" if offered else "M=EA")


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
