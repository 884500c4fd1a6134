"""The doors as sendmail's options."""

import errno
import socket
from ipaddress import ip_network
from typing import Any

import pytest

from postroad.config.model import Config
from postroad.sendmail.listeners import bulk, doors, unopenable
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
