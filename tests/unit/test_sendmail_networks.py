"""Networks as access-map keys, and what a container's routing tables say."""

import ipaddress
from collections.abc import Iterable, Mapping
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroad.config.model import Config
from postroad.config.networks import access_entries
from postroad.errors import InstallError
from postroad.runtime.attached import Tables
from postroad.sendmail import networks as render
from postroad.sendmail.files import files
from postroad.sendmail.networks import Address, Network, Surroundings, access_key, access_keys, trusted


def surroundings(
    route: str,
    ipv6_route: str = "",
    mtu: Mapping[str, int] | None = None,
    *,
    own: Iterable[str] = (),
    taps: Iterable[str] = (),
    answers: Mapping[tuple[str, str], str] | None = None,
) -> Surroundings:
    """As ``networks.surroundings``, with the link-layer address of each (interface, address) that answers."""
    fours = [f"|-- {address}\n   /32 host LOCAL\n" for address in own if ":" not in address]
    sixes = [f"{ip_address(address).packed.hex()} 02 40 00 80 eth0\n" for address in own if ":" in address]
    links = {"172.20.0.1": "host", "192.168.0.1": "host"} if answers is None else None

    def neighbours(interface: str, addresses: Iterable[Address]) -> dict[Address, str]:
        found = {
            each: (links or {}).get(str(each)) or (answers or {}).get((interface, str(each))) for each in addresses
        }
        return {each: link for each, link in found.items() if link}

    tables = Tables(route, ipv6_route, "".join(fours), "".join(sixes), dict(mtu or {}), frozenset(taps))
    return render.surroundings(tables, neighbours)


ROUTE = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010014AC\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t000014AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
eth1\t0000A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
"""
IPV6_ROUTE = """\
fd000001000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0
fe800000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 fd000001000000000000000000000001 00000400 00000001 00000000 00000003     eth0
00000000000000000000000000000001 80 00000000000000000000000000000000 00 00000000000000000000000000000000 00000000 00000002 00000000 80200001       lo
ff000000000000000000000000000000 08 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0
"""


def networks(
    bits: int, step: int, kind: type[ipaddress.IPv4Network] | type[ipaddress.IPv6Network]
) -> st.SearchStrategy[Network]:
    """Networks of any prefix length that stands for at most 256 keys."""
    lengths = [length for length in range(1, bits + 1) if -length % step <= 8]
    return st.builds(
        lambda number, length: kind((number >> (bits - length) << (bits - length), length)),
        st.integers(0, 2**bits - 1),
        st.sampled_from(lengths),
    )


def matches(key: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """As sendmail looks an address up: the whole, then with one part after another taken off its end."""
    whole = access_key(address)
    return whole == key or whole.startswith(key + (":" if address.version == 6 else "."))


@given(
    network=st.one_of(networks(32, 8, ipaddress.IPv4Network), networks(128, 16, ipaddress.IPv6Network)), data=st.data()
)
def test_the_keys_of_a_network_match_its_addresses_and_no_others(network: Network, data: st.DataObject) -> None:
    keys = list(access_keys(network))
    assert len(set(keys)) == len(keys) == access_entries(network)
    first, last = int(network.network_address), int(network.broadcast_address)
    inside = data.draw(st.integers(first, last))
    kind = type(network.network_address)
    for number in (first, inside, last):
        assert sum(matches(key, kind(number)) for key in keys) == 1
    for number in (first - 1, last + 1):
        if 0 <= number < 2**network.max_prefixlen:
            assert not any(matches(key, kind(number)) for key in keys)


@pytest.mark.parametrize(
    ("network", "count", "first"),
    [
        ("172.16.0.0/12", 16, "172.16"),
        ("10.0.0.0/8", 1, "10"),
        ("192.0.2.128/25", 128, "192.0.2.128"),
        ("192.0.2.7/32", 1, "192.0.2.7"),
        ("fd00:1::/64", 1, "IPv6:fd00:1:0:0"),
        ("fd00::/8", 256, "IPv6:fd00"),
        ("::/0", 1, "IPv6"),
        ("0.0.0.0/0", 256, "0"),
        ("2001:db8::1/128", 1, "IPv6:2001:db8:0:0:0:0:0:1"),
    ],
)
def test_known_networks(network: str, count: int, first: str) -> None:
    keys = list(access_keys(ip_network(network)))
    assert (len(keys), keys[0]) == (count, first)


def test_subnets_and_gateways_are_read_from_the_routing_tables() -> None:
    around = surroundings(ROUTE, IPV6_ROUTE)
    assert around.subnets == (ip_network("172.20.0.0/16"), ip_network("192.168.0.0/24"), ip_network("fd00:1::/64"))
    # no route leads through the second network's gateway: the host, which has the first one's, answers there as well
    assert set(around.gateways) == {ip_address("172.20.0.1"), ip_address("192.168.0.1"), ip_address("fd00:1::1")}
    assert around.has_ipv6


def test_a_torn_line_of_the_routing_tables_is_left_alone() -> None:
    whole, torn = ROUTE.splitlines(), "eth7 000014AC 010014AC 0003 0 0 0"
    found = surroundings("\n".join([whole[0], torn, *whole[1:]]), f"fd00 40\n{IPV6_ROUTE}")
    assert found == surroundings(ROUTE, IPV6_ROUTE)
    loopback = IPV6_ROUTE.splitlines()[0].replace("fd000001", "fd000009").replace("eth0", "lo")
    assert surroundings(ROUTE, f"{loopback}\n{IPV6_ROUTE}") == surroundings(ROUTE, IPV6_ROUTE)


def test_auto_grants_no_public_network() -> None:
    around = Surroundings(subnets=(ip_network("198.41.0.0/24"), ip_network("10.1.0.0/16")))
    assert trusted(["auto", ip_network("203.0.113.0/30")], around) == (
        ip_network("10.1.0.0/16"),
        ip_network("203.0.113.0/30"),
    )


def test_no_networks_means_nobody() -> None:
    assert trusted([], surroundings(ROUTE, "")) == ()
    assert trusted(["auto"], surroundings("", "")) == ()


def routes(*lines: str) -> str:
    """``/proc/net/route`` of interface, destination, gateway, flags and mask each."""
    rows = (line.split() for line in lines)
    return "header\n" + "".join(f"{i}\t{d}\t{g}\t{f}\t0\t0\t0\t{m}\t0\t0\t0\n" for i, d, g, f, m in rows)


# a service with a published port and an overlay of its own: eth0 ingress, eth1 docker_gwbridge, eth2 the overlay
SWARM = routes(
    "eth1 00000000 010012AC 0003 00000000",
    "eth0 0000000A 00000000 0001 00FFFFFF",
    "eth1 000012AC 00000000 0001 0000FFFF",
    "eth2 0001000A 00000000 0001 00FFFFFF",
)


def test_auto_grants_no_overlay_of_swarm_since_one_may_be_its_ingress() -> None:
    around = surroundings(SWARM, "", {"eth0": 1450, "eth1": 1500, "eth2": 1450, "lo": 65536})
    assert around.overlays == (ip_network("10.0.0.0/24"), ip_network("10.0.1.0/24"))
    assert trusted(["auto"], around) == (ip_network("172.18.0.0/16"),)
    assert ip_address("10.0.0.1") in around.gateways
    named = ip_network("10.0.1.0/24")
    assert trusted(["auto", named], around) == (ip_network("172.18.0.0/16"), named)


def test_the_usual_ingress_network_is_known_whatever_its_packets() -> None:
    assert surroundings(SWARM, "", {}).overlays == (ip_network("10.0.0.0/24"),)


def test_a_bridge_with_that_subnet_is_no_ingress_network() -> None:
    around = surroundings(
        routes("eth0 00000000 0100000A 0003 00000000", "eth0 0000000A 00000000 0001 00FFFFFF"), "", {"eth0": 1400}
    )
    assert trusted(["auto"], around) == (ip_network("10.0.0.0/24"),)


def test_an_internal_network_beside_another_is_granted() -> None:
    around = surroundings(ROUTE, "", {"eth0": 1500, "eth1": 1500})
    assert ip_network("192.168.0.0/24") in trusted(["auto"], around)


TWO = routes(
    "eth0 00000000 010014AC 0003 00000000",
    "eth0 000014AC 00000000 0001 0000FFFF",
    "eth1 0000A8C0 00000000 0001 00FFFFFF",
)


@pytest.mark.parametrize(
    ("answers", "router"),
    [
        # the host answers on this bridge for its address on the other one, too
        ({"172.20.0.1": "host", "192.168.0.1": "host"}, "192.168.0.1"),
        ({"172.20.0.1": "host", "192.168.0.254": "host", "192.168.0.1": "app"}, "192.168.0.254"),
        # its address here is neither the first nor the last
        ({"172.20.0.1": "host"}, None),
        ({"172.20.0.1": "host", "192.168.0.1": "app", "192.168.0.254": "another"}, None),
        # nobody here is known to be the host
        ({"192.168.0.1": "host"}, None),
        ({}, None),
    ],
)
def test_a_second_network_is_granted_where_its_router_is_known(answers: dict[str, str], router: str | None) -> None:
    around = surroundings(TWO, own=["192.168.0.9"], answers={("eth1", each): link for each, link in answers.items()})
    granted = ip_network("192.168.0.0/24") in trusted(["auto"], around)
    assert granted is (router is not None)
    assert (router is None) or ip_address(router) in around.gateways
    assert around.unrouted == (() if granted else (ip_network("192.168.0.0/24"),))
    told = warned(around)
    assert granted or (len(told) == 1 and "192.168.0.0/24, whose router is unknown" in told[0])


def test_the_first_address_is_a_neighbour_where_a_route_names_another_router() -> None:
    """Docker gives it to the first container of a network that was made with another --gateway."""
    around = surroundings(routes("eth0 00000000 FE0014AC 0003 00000000", "eth0 000014AC 00000000 0001 00FFFFFF"))
    assert around.gateways == (ip_address("172.20.0.254"),)
    assert trusted(["auto"], around) == (ip_network("172.20.0.0/24"),)


def test_our_own_address_is_no_router() -> None:
    answers = {("eth1", "172.20.0.1"): "host", ("eth1", "192.168.0.1"): "host"}
    around = surroundings(TWO, own=["192.168.0.1"], answers=answers)
    assert around.unrouted == (ip_network("192.168.0.0/24"),)


def test_a_network_that_leads_nowhere_has_the_router_that_answers() -> None:
    alone = routes("eth1 0000A8C0 00000000 0001 00FFFFFF")
    assert surroundings(alone, answers={("eth1", "192.168.0.1"): "x"}).subnets == (ip_network("192.168.0.0/24"),)
    assert surroundings(alone, answers={}).subnets == ()


def test_own_addresses_are_no_neighbours() -> None:
    """Podman's rootlessport shows clients from anywhere under one of them."""
    around = surroundings(ROUTE, IPV6_ROUTE, own=["127.0.0.1", "172.20.0.9", "::1", "fd00:1::9"])
    assert around.own == (ip_address("172.20.0.9"), ip_address("fd00:1::9"))
    lines = access({"networks": ["auto"]}, around)
    assert {"Connect:172.20.0.9\tOK", "Connect:IPv6:fd00:1:0:0:0:0:0:9\tOK", "Connect:172.20\tRELAY"} <= {*lines}
    assert not any("Connect:127" in line for line in lines)
    lines = access({"networks": ["auto", "127.0.0.0/8", "::1"], "trust_gateway": True}, around)
    assert {"Connect:127\tRELAY", "Connect:IPv6:0:0:0:0:0:0:0:1\tRELAY"} <= {*lines}
    assert not any(line.endswith("OK") for line in lines)


TAP = routes("tap0 00000000 0202000A 0003 00000000", "tap0 0002000A 00000000 0001 00FFFFFF")


def test_behind_a_tap_nobody_is_a_neighbour() -> None:
    """slirp4netns keeps the addresses of clients, of which some may be in its own range; pasta copies the host's subnet."""
    around = surroundings(TAP, own=["10.0.2.100"], taps=["tap0"])
    assert (around.subnets, around.taps) == ((), (ip_network("10.0.2.0/24"),))
    assert trusted(["auto"], around) == ()
    assert access({}, around) == ["Connect:10.0.2.2\tOK", "Connect:10.0.2.100\tOK"]
    # on demand, those whom port forwarding shows, and no others of that range
    assert access({"trust_gateway": True}, around) == [
        "Connect:10.0.2.2\tRELAY",
        "Connect:10.0.2.100\tRELAY",
    ]
    (told,) = warned(around)
    assert "rootless engine" in told


def warned(around: Surroundings, *, kubernetes: bool = False, **clients: object) -> list[str]:
    values = {"hostname": "mail.example.com", "domains": ["example.com"], "clients": clients}
    return render.warnings(Config.model_validate(values), around, kubernetes=kubernetes)


def test_where_auto_trusts_nobody_or_a_part_it_is_told() -> None:
    pod = surroundings(routes("eth0 00000000 010101A9 0003 00000000", "eth0 010101A9 00000000 0005 FFFFFFFF"))
    node = surroundings(routes("eth0 00000000 0102F40A 0003 00000000", "eth0 0002F40A 00000000 0001 00FFFFFF"))
    (told,) = warned(pod, kubernetes=True)
    assert "stands for no pod here" in told
    assert "10.244.0.0/16" in told
    (told,) = warned(node, kubernetes=True)
    assert "10.244.2.0/24, the pods of this node alone" in told
    assert warned(node) == []
    (told,) = warned(Surroundings())
    assert "stands for nobody here" in told
    assert "127.0.0.0/8" in told
    for networks in ([], ["10.244.0.0/16"], ["auto", "10.244.0.0/16"]):
        assert warned(pod, kubernetes=True, networks=networks) == []


def test_auto_refuses_a_subnet_of_too_many_entries() -> None:
    with pytest.raises(InstallError, match="16384 entries"):
        trusted(["auto"], Surroundings(subnets=(ip_network("fd00::/50"),)))


def access(clients: dict[str, object], around: Surroundings | None = None) -> list[str]:
    config = Config.model_validate({"hostname": "mail.example.com", "domains": ["example.com"], "clients": clients})
    around = around or surroundings(ROUTE, "")
    rendered = {file.path: file.text for file in files(config, [], around, base=Path("/x"))}
    return [line for line in rendered["access"].splitlines() if not line.startswith("#")]


def test_networks_that_overlap_give_each_key_once() -> None:
    lines = access({"networks": ["auto", "172.16.0.0/12", "172.20.0.0/15"]})
    keys = [line.split()[0] for line in lines]
    assert sorted(keys) == sorted(set(keys))
    assert "Connect:172.20\tRELAY" in lines


def test_a_gateway_that_is_named_as_a_network_stays_untrusted() -> None:
    (router,) = [str(each) for each in surroundings(ROUTE, "").gateways if str(each).startswith("172.")]
    assert [line for line in access({"networks": [router]}) if router in line] == [f"Connect:{router}\tOK"]
    assert [line for line in access({"networks": [router], "trust_gateway": True}) if router in line] == [
        f"Connect:{router}\tRELAY"
    ]


@pytest.mark.parametrize(
    ("routes", "reaches"),
    [
        ((), False),
        ((1, 3, 4), False),  # link-local, loopback, multicast
        ((0,), True),
        ((2,), True),  # a default route alone, as where addresses are /128
    ],
)
def test_ipv6_is_reached_by_a_route_that_leads_out(routes: tuple[int, ...], reaches: bool) -> None:
    lines = IPV6_ROUTE.splitlines(keepends=True)
    assert surroundings(ROUTE, "".join(lines[i] for i in routes)).reaches_ipv6 is reaches
