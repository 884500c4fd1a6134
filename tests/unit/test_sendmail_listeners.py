"""The doors as sendmail's options."""

from ipaddress import ip_network
from typing import Any

from postroad.config.model import Config
from postroad.sendmail.listeners import doors
from postroad.sendmail.networks import Surroundings

NOWHERE = Surroundings()
IPV6 = Surroundings(subnets=(ip_network("fd00:1::/64"),))


def config(**keys: Any) -> Config:
    return Config.model_validate({"hostname": "mail.example.com", "domains": ["example.com"], **keys})


def test_behind_smtp_there_are_inner_doors_only() -> None:
    inner = doors(config(listeners={"submission": None, "submissions": None}), NOWHERE)
    assert [door.partition("Port=")[2][:2] for door in inner] == ["1,", "2,", "3,"]
    assert all("Name=smtp, Family=inet," in door and "Addr=240.0.0.1" in door for door in inner)
    assert [door.partition("DeliveryMode=")[2] for door in inner] == ["interactive", "", "queueonly"]


def test_with_ipv6_the_inner_doors_are_of_the_family_that_the_others_are() -> None:
    assert all("Family=inet6," in door for door in doors(config(), IPV6))
    assert all("Addr=IPv6:::ffff:240.0.0.1" in door for door in doors(config(), IPV6)[:3])


def test_a_door_that_is_null_is_none() -> None:
    assert not any("Name=smtp" in door for door in doors(config(listeners={"smtp": None}), NOWHERE))
