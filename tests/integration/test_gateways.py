"""Networks that are connected while the relay runs, and gateways at unusual addresses: strangers come from there."""

import contextlib
import ipaddress
import json
import secrets
import smtplib
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from postroad.testing import PostroadContainer
from tests.integration.conftest import Relays, wait_until
from tests.integration.test_networks import CLOSED, ask, asked_here
from tests.internet.host import Host
from tests.internet.internet import IMAGE, TREE, Internet

SUBNETS = ipaddress.ip_network("10.213.0.0/16")
Network = Callable[..., str]


def docker(*words: str) -> str:
    return subprocess.run(["docker", *words], check=True, capture_output=True, text=True, timeout=60).stdout.strip()


@pytest.fixture
def network() -> Iterator[Network]:
    """Makes Docker networks whose gateway has the given number in the subnet; removes them at the end."""
    made: list[str] = []

    def make(gateway: int, *options: str) -> str:
        name = f"postroad-test-gateway-{secrets.token_hex(3)}"
        labels = [f"--label={key}={value}" for key, value in TREE.items()]
        for subnet in map(str, SUBNETS.subnets(new_prefix=24)):
            address = ipaddress.ip_network(subnet)[gateway]
            words = [*labels, *options, f"--subnet={subnet}", f"--gateway={address}", name]
            if not subprocess.run(["docker", "network", "create", *words], capture_output=True, check=False).returncode:
                made.append(name)
                return name
        raise AssertionError(f"no free subnet in {SUBNETS}")

    yield make
    for name in made:
        for container in json.loads(docker("network", "inspect", name))[0]["Containers"]:
            subprocess.run(["docker", "network", "disconnect", "--force", name, container], check=False)
        docker("network", "rm", name)


@pytest.fixture
def neighbour() -> Iterator[Callable[[str], Host]]:
    """Runs an app in a network; removes it at the end."""
    made: list[str] = []

    def run(network: str) -> Host:
        labels = [f"--label={key}={value}" for key, value in TREE.items()]
        made.append(docker("run", "--detach", f"--network={network}", *labels, "--entrypoint=sleep", IMAGE, "infinity"))
        return Host(Named(made[-1]), [address_in(made[-1], network)])  # type: ignore[arg-type]

    yield run
    for container in made:
        docker("rm", "--force", container)


class Named:
    """As much of docker-py's container as ``Host.run`` needs."""

    def __init__(self, name: str) -> None:
        self.name = name


def address_in(container: str, network: str) -> str:
    networks: dict[str, Any] = json.loads(docker("inspect", container))[0]["NetworkSettings"]["Networks"]
    return str(networks[network]["IPAddress"])


def connect(relay: PostroadContainer, network: str) -> str:
    """Connect a relay that runs; return its address there as soon as it has read its networks anew."""
    name = str(relay.get_wrapped_container().name)
    before = noticed(relay)
    docker("network", "connect", network, name)
    wait_until(lambda: noticed(relay) > before, timeout=60)
    return address_in(name, network)


def noticed(relay: PostroadContainer) -> int:
    return sum(event.get("message", "").startswith("reloaded (") for event in relay.events())


@pytest.mark.parametrize("gateway", [1, pytest.param(254, marks=pytest.mark.long)])
def test_a_network_that_is_connected_while_it_runs_is_granted_without_its_gateway(
    gateway: int, start_relay: Relays, network: Network, neighbour: Callable[[str], Host]
) -> None:
    relay = start_relay(publish=False, clients=CLOSED)
    second = network(gateway)
    app = neighbour(second)
    address = connect(relay, second)
    assert "the networks of this container changed" in relay.log()
    assert ask(app, address).startswith("250")
    # this test is on the host, which is the gateway there
    code, text = asked_here(address, 25)
    assert (code, f"{address.rpartition('.')[0]}.{gateway} is not in".encode() in text) == (550, True), text
    docker("network", "disconnect", second, str(relay.get_wrapped_container().name))
    wait_until(lambda: "relaying for" in relay.log() and address.rpartition(".")[0] not in policy(relay), timeout=60)


def policy(relay: PostroadContainer) -> str:
    return str([event["message"] for event in relay.events() if "relaying for" in event.get("message", "")][-1])


@pytest.mark.parametrize("options", [(), ("--internal",)])
def test_a_second_network_whose_gateway_can_be_anywhere_is_not_granted(
    options: tuple[str, ...], start_relay: Relays, network: Network, neighbour: Callable[[str], Host]
) -> None:
    relay = start_relay(publish=False, clients=CLOSED)
    second = network(77, *options)
    app = neighbour(second)
    address = connect(relay, second)
    code, text = asked_here(address, 25)
    assert (code, b".77 is not in" in text) == (550, True), text
    assert ask(app, address).startswith("550")
    assert "whose router is unknown" in relay.log()
    found = json.loads(relay.shell("postroad doctor --only clients --json")[1])["checks"]
    assert [(each["level"], "whose router is unknown" in each["message"]) for each in found] == [("warning", True)]


def test_a_first_network_with_a_gateway_of_its_own_is_granted_without_it(
    image: str, network: Network, neighbour: Callable[[str], Host], internet: Internet
) -> None:
    first = network(77)
    app = neighbour(first)
    relay = PostroadContainer(
        {"hostname": "mail.sender.example", "domains": ["sender.example"], "clients": CLOSED},
        image=image, network=first, labels=TREE,
    )  # fmt: skip
    with relay:
        assert ask(app, relay.address).startswith("250")
        strangers(relay, internet)


def strangers(relay: PostroadContainer, elsewhere: Internet) -> None:
    """Nobody who comes through the published port may send: from loopback, the host's address, another network."""
    host = str(next(iter(json.loads(docker("network", "inspect", elsewhere.network))))["IPAM"]["Config"][0]["Gateway"])
    for address in ("127.0.0.1", host):
        code, text = asked_here(address, relay.port)
        assert code == 550, (address, text)
    assert ask(elsewhere.add_app(), host, relay.port).startswith("550")
    # the container's own name for itself, over loopback and its own address
    for inside in ("127.0.0.1", relay.address):
        _, said = relay.shell(f"python3 -c '{INSIDE}' {inside}")
        assert said.startswith("550"), said


INSIDE = (
    "import smtplib, sys\n"
    "smtp = smtplib.SMTP(sys.argv[1], 25, timeout=10)\n"
    "smtp.ehlo(); smtp.mail(\"app@sender.example\"); code, text = smtp.rcpt(\"user@rcpt.example\")\n"
    "print(code, text.decode())"
)  # fmt: skip


def test_the_port_that_moves_to_a_second_network_stays_closed(
    start_relay: Relays, network: Network, internet: Internet
) -> None:
    """Docker publishes ports through the network that has the default route: when that one goes, through another."""
    relay = start_relay(publish=False, clients=CLOSED)
    connect(relay, network(77))
    strangers(relay, internet)
    before = noticed(relay)
    docker("network", "disconnect", internet.network, str(relay.get_wrapped_container().name))
    deadline = time.monotonic() + 60
    while noticed(relay) == before:
        assert time.monotonic() < deadline
        with contextlib.suppress(
            smtplib.SMTPServerDisconnected
        ):  # sendmail starts itself anew when it reads its networks
            code, text = asked_here("127.0.0.1", relay.port)
            assert code == 550, text
    assert asked_here("127.0.0.1", relay.port)[0] == 550


def test_loopback_is_trusted_where_it_is_named(start_relay: Relays) -> None:
    relay = start_relay(publish=False, clients={**CLOSED, "networks": ["auto", "127.0.0.0/8"]})
    assert relay.shell(f"python3 -c '{INSIDE}' 127.0.0.1")[1].startswith("250")
    assert relay.shell(f"python3 -c '{INSIDE}' {relay.address}")[1].startswith("550")
