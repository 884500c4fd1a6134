"""Where connections come from: `bind`, `prefer` and `proxy`, for MX hosts and smarthosts."""

from datetime import date
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from postroad.config.delivery import MOST_SHAPED
from postroad.config.model import Config
from postroad.runtime.uplink import Server
from postroad.sendmail import outbound

SMARTHOST = {"host": "smtp.example.net", "tls": "none"}


def config(**delivery: Any) -> Config:
    values = {"hostname": "mail.example.com", "domains": ["example.com"], "delivery": delivery}
    return Config.model_validate(values)


def servers(config: Config) -> tuple[Server, ...]:
    return outbound.uplink_settings(config, outbound.credentials(config)).servers


def test_a_route_has_its_own_address_at_the_same_smarthost() -> None:
    route = {"senders": ["a.example"], "smarthost": SMARTHOST, "bind": ["192.0.2.11", "2001:db8::11"]}
    same = {"senders": ["b.example"], "smarthost": SMARTHOST}
    wanted = config(smarthost=SMARTHOST, bind=["192.0.2.10"], prefer="ipv4", routes=[route, same])
    assert [(each.bind, each.prefer) for each in servers(wanted)] == [
        (("192.0.2.10",), "ipv4"),
        (("192.0.2.11", "2001:db8::11"), "ipv4"),
    ]
    assert [rules.target for rules in outbound.routes(wanted.delivery)] == [2, 1, 1]
    assert not outbound.bound(wanted.delivery)


def test_another_way_to_a_server_is_another_server() -> None:
    """A session that sendmail has begun before a reload is not taken on from another address, or past the proxy."""
    ways: list[dict[str, Any]] = [
        {},
        {"bind": ["192.0.2.10"]},
        {"prefer": "ipv4"},
        {"proxy": "http://proxy.example.net:3128"},
    ]
    ids = [servers(config(smarthost=SMARTHOST, **way))[0].id for way in ways]
    assert len(set(ids)) == len(ways)


def test_a_proxys_password_is_quoted(tmp_path: Path) -> None:
    (tmp_path / "proxy").write_text("p@ss/word\n")
    proxy = {"url": "socks5://proxy.example.net:1080", "username": "app", "password_file": f"{tmp_path}/proxy"}
    wanted = config(smarthost=SMARTHOST, proxy=proxy)
    assert servers(wanted)[0].proxy == "socks5://app:p%40ss%2Fword@proxy.example.net:1080"
    assert tmp_path / "proxy" in outbound.secret_files(wanted.delivery)
    assert servers(config(smarthost=SMARTHOST, proxy="http://10.0.0.1:3128/"))[0].proxy == "http://10.0.0.1:3128"


def test_routes_to_mx_hosts_with_an_address_have_a_mailer_each() -> None:
    routes: list[dict[str, Any]] = [
        {"senders": ["a.example"], "smarthost": None, "bind": ["192.0.2.11"]},
        {"domains": ["b.example"], "smarthost": None, "rate": "1/minute"},
        {"domains": ["c.example"], "smarthost": None, "rate": "1/minute", "bind": ["192.0.2.12"]},
    ]
    delivery = config(routes=routes).delivery
    assert [rules.target for rules in outbound.routes(delivery)] == ["route1", "route2", "route3", 0]
    assert [(each.mailer, each.address, each.shaped) for each in outbound.bound(delivery)] == [
        ("route1", "192.0.2.11", False),
        ("route3", "192.0.2.12", True),
    ]
    many = [{**routes[0], "senders": [f"d{number}.example"]} for number in range(MOST_SHAPED + 1)]
    with pytest.raises(ValidationError, match="routes"):
        config(routes=many)


@pytest.mark.parametrize(
    ("delivery", "reaches_ipv6", "alone"),
    [
        ({}, True, False),
        ({}, False, True),
        ({"prefer": "ipv6"}, False, False),
        ({"prefer": "ipv4"}, True, False),
        ({"bind": ["192.0.2.10"]}, True, True),
        ({"bind": ["192.0.2.10", "2001:db8::10"]}, True, False),
        ({"bind": ["2001:db8::10"]}, True, False),
    ],
)
def test_whether_ipv6_is_used_with_mx_hosts(delivery: dict[str, Any], reaches_ipv6: bool, alone: bool) -> None:
    assert outbound.mx_by_ipv4_alone(config(**delivery).delivery, reaches_ipv6=reaches_ipv6) is alone


def test_an_address_of_somebody_else_is_told_of() -> None:
    route = {"senders": ["a.example"], "smarthost": None, "bind": ["192.0.2.11"]}
    delivery = config(bind=["192.0.2.10"], routes=[route]).delivery
    own = (ip_address("192.0.2.10"),)
    assert outbound.warnings(delivery, date(2026, 11, 26), own) == (
        "delivery.routes[0].bind: 192.0.2.11 is no address of this container: mail waits until it is one",
    )
    assert outbound.warnings(delivery, date(2026, 11, 26)) == ()
    assert outbound.warnings(delivery, date(2026, 11, 26), (ip_address("192.0.2.11"),)) == (
        "delivery.bind: 192.0.2.10 is no address of this container: mail waits until it is one",
    )


WARM_UP = "delivery.routes[0].warm_up begins on 2026-12-10: until then its mail waits"


@pytest.mark.parametrize(
    ("today", "said"),
    [
        ("2026-12-10", ()),
        ("2026-12-09", (WARM_UP,)),
        ("2026-12-05", (WARM_UP,)),
        (
            "2026-12-04",
            (f"{WARM_UP}, and comes back after 5d (delivery.queue.give_up_after)",),
        ),
    ],
)
def test_a_warm_up_that_has_not_begun_is_told_of(today: str, said: tuple[str, ...]) -> None:
    route = {"senders": ["a.example"], "smarthost": None, "warm_up": {"since": "2026-12-10", "daily": [50]}}
    assert outbound.warnings(config(routes=[route]).delivery, date.fromisoformat(today)) == said


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"bind": ["192.0.2.10", "192.0.2.11"]}, "at most one IPv4 and one IPv6 address"),
    ({"routes": [{"senders": ["a.example"], "smarthost": None, "bind": ["2001:db8::1"]}]}, "one IPv4 address where"),
    (
        {"routes": [{"senders": ["a.example"], "smarthost": None, "bind": ["192.0.2.1", "2001:db8::1"]}]},
        "one IPv4 address where",
    ),
    ({"proxy": "socks4://proxy.example.net:1080"}, "a URL such as"),
    ({"proxy": "socks5://proxy.example.net"}, "a URL such as"),
    ({"proxy": "socks5://app:secret@proxy.example.net:1080"}, "without a password"),
    ({"proxy": "http://proxy.example.net:99999"}, "a URL such as"),
    ({"proxy": "http://proxy.example.net:3128/path"}, "a URL such as"),
    ({"proxy": {"url": "http://proxy.example.net:3128", "username": "app"}}, "username and password_file together"),
]


@pytest.mark.parametrize(("delivery", "said"), REFUSED)
def test_what_is_refused(delivery: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as error:
        config(**delivery)
    assert any(said in str(each.get("ctx", {}).get("accepted", "")) for each in error.value.errors())
