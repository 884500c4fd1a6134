"""Networks that may relay."""

from ipaddress import ip_network

import pytest
from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from postroad.config.model import Clients, Config, Dns
from postroad.config.networks import access_entries, is_too_wide, parse_network


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("10.1.2.3", "10.1.2.3/32"),
        ("172.16.0.0/255.240.0.0", "172.16.0.0/12"),
        ("fd00::/8", "fd00::/8"),
        ("FD00::1", "fd00::1/128"),
    ],
)
def test_an_address_or_cidr_is_a_network(text: str, network: str) -> None:
    assert parse_network(text) == ip_network(network)


@pytest.mark.parametrize(
    "value",
    [
        "10.1.2.3/8",
        "fd00::1/64",
        "::ffff:10.0.0.1",
        "fe80::1%eth0",
        "AUTO",
        "",
        "10",
        "10.0.0.0/33",
        10,
        b"\n\0\0\0",
        None,
    ],
)
def test_other_things_are_not(value: object) -> None:
    with pytest.raises(PydanticCustomError):
        parse_network(value)


@pytest.mark.parametrize(
    ("network", "too_wide"),
    [
        ("0.0.0.0/0", True),
        ("::/0", True),
        ("0.0.0.0/1", True),
        ("8.8.8.0/24", False),
        ("8.8.8.0/23", True),
        ("10.0.0.0/8", False),
        ("10.0.0.0/7", True),  # half of it is public
        ("172.16.0.0/12", False),
        ("192.168.0.0/16", False),
        ("100.64.0.0/10", False),
        ("127.0.0.0/8", False),
        ("169.254.0.0/16", False),
        ("fd00::/8", False),
        ("fe80::/10", False),
        ("::1", False),
        ("2a00:1450:4001::/64", False),
        ("2a00:1450:4001::/63", True),
        ("::/1", True),
    ],
)
def test_what_makes_an_open_relay(network: str, too_wide: bool) -> None:
    assert is_too_wide(ip_network(network)) is too_wide


def test_an_open_relay_needs_saying_so() -> None:
    with pytest.raises(ValidationError, match="i_know_this_is_an_open_relay"):
        Clients.model_validate({"networks": ["0.0.0.0/0"]})
    clients = Clients.model_validate({"networks": ["0.0.0.0/0"], "i_know_this_is_an_open_relay": True})
    assert clients.networks == (ip_network("0.0.0.0/0"),)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("auto", ("auto",)),
        ("203.0.113.10", ("203.0.113.10",)),
        (["203.0.113.10", "2001:DB8::10"], ("203.0.113.10", "2001:db8::10")),
        (["auto", "203.0.113.10"], ("auto", "203.0.113.10")),
        ("172.18.0.2", ("172.18.0.2",)),
    ],
)
def test_public_addresses(value: str | list[str], found: tuple[str, ...]) -> None:
    config = Config.model_validate({"hostname": "mail.example.com", "domains": ["example.com"], "public_ip": value})
    assert tuple(map(str, config.public_ip)) == found


@pytest.mark.parametrize(
    "value",
    [
        "127.0.0.1",
        "::1",
        "fe80::1",
        "0.0.0.0",
        "224.0.0.1",
        "::ffff:192.0.2.1",
        "1",
        1,
        None,
        [],
    ],
)
def test_addresses_that_nobody_can_see(value: object) -> None:
    with pytest.raises(ValidationError):
        Config.model_validate({"hostname": "mail.example.com", "domains": ["example.com"], "public_ip": value})


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("MyIP.opendns.com @resolver1.opendns.com", "myip.opendns.com @resolver1.opendns.com"),
        ("o-o.myaddr.l.google.com TXT @ns1.google.com", "o-o.myaddr.l.google.com TXT @ns1.google.com"),
        ("whoami.cloudflare CH TXT @2606:4700:4700::1111", "whoami.cloudflare CH TXT @2606:4700:4700::1111"),
    ],
)
def test_names_that_tell_the_address(text: str, found: str) -> None:
    assert Dns(egress=(text,)).egress == (found,)


@pytest.mark.parametrize(
    "text",
    [
        "myip.opendns.com",
        "@192.0.2.1",
        "a.example @300.1.1.1",
        "a.example A @192.0.2.1",
        "a.example @-x.example",
        "a.example CH @192.0.2.1",
    ],
)
def test_names_that_tell_nothing(text: str) -> None:
    with pytest.raises(ValidationError):
        Dns(egress=(text,))


@pytest.mark.parametrize(
    ("network", "entries"),
    [
        ("10.0.0.0/8", 1),
        ("172.16.0.0/12", 16),
        ("0.0.0.0/0", 256),
        ("fc00::/7", 512),
        ("fd00:8000::/20", 4096),
        ("::/0", 1),
    ],
)
def test_the_entries_of_a_range(network: str, entries: int) -> None:
    assert access_entries(ip_network(network)) == entries
    assert parse_network(network) == ip_network(network)


@pytest.mark.parametrize(
    ("network", "instead"), [("fd00:8000::/19", "/20s"), ("2001:db8::/33", "/36s"), ("::/3", "/4s")]
)
def test_a_range_of_too_many_entries_is_refused_with_what_to_write(network: str, instead: str) -> None:
    with pytest.raises(PydanticCustomError, match=instead):
        parse_network(network)
