"""Which addresses may send: the container's own networks, over IPv4 and IPv6, and nobody through a gateway."""

import ipaddress
import json
import secrets
import smtplib
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from postroad.testing import PostroadContainer
from tests.integration.conftest import HOSTNAME, Relays, letter, wait_until
from tests.internet.host import Host
from tests.internet.internet import TREE, Internet

CLOSED = {"trust_gateway": False}

ASK = """
import smtplib, sys
try:
    with smtplib.SMTP(sys.argv[1], int(sys.argv[2]), timeout=10) as smtp:
        smtp.ehlo()
        smtp.mail(sys.argv[3])
        code, text = smtp.rcpt("user@rcpt.example")
    print(code, text.decode())
except OSError as error:
    print(error)
"""

SEND = """
import smtplib, sys
with smtplib.SMTP(sys.argv[1], 25, timeout=10) as smtp:
    smtp.sendmail("app@sender.example", ["user@rcpt.example"], sys.argv[2])
"""


def ask(client: Host, host: str, port: int = 25, sender: str = "app@sender.example") -> str:
    """The reply to RCPT of a client that is a container."""
    return client.run("python3", "-c", ASK, host, str(port), sender).decode()


def asked_here(host: str, port: int, sender: str = "app@sender.example") -> tuple[int, bytes]:
    """The reply to RCPT of this test, which is on the host."""
    with smtplib.SMTP(host, port, timeout=10) as smtp:
        smtp.ehlo()
        smtp.mail(sender)
        return smtp.rcpt("user@rcpt.example")


def addresses(relay: PostroadContainer) -> tuple[str, str, str]:
    """The relay's IPv4 and IPv6 address, and its IPv6 gateway."""
    container = relay.get_wrapped_container()
    container.reload()
    network = next(iter(container.attrs["NetworkSettings"]["Networks"].values()))
    return network["IPAddress"], network["GlobalIPv6Address"], network["IPv6Gateway"]


@pytest.fixture(scope="module")
def internet6() -> Iterator[Internet]:
    with Internet(f"postroad-test6-{secrets.token_hex(3)}", ipv6=True) as pretend:
        yield pretend


@pytest.fixture
def start_relay6(image: str, internet6: Internet) -> Iterator[Relays]:
    relays = Relays(image, internet6)
    with relays.stack:
        yield relays


def test_an_ipv6_neighbour_may_send_and_the_ipv6_gateway_may_not(start_relay6: Relays, internet6: Internet) -> None:
    relay = start_relay6(clients=CLOSED)
    v4, address, gateway = addresses(relay)
    client = internet6.add_app()
    for own in (v4, address):
        message = letter()
        client.run("python3", "-c", SEND, own, message.as_string())
        internet6.wait_for_message(str(message["Message-ID"]))
    assert asked_here(v4, 25)[0] == 550
    with socket.create_connection((address, 25)) as probe:
        assert probe.getsockname()[0] == gateway
    code, text = asked_here(address, 25)
    assert code == 550
    assert b"clients.trust_gateway" in text

    def seen() -> list[str]:
        return [event["client_address"] for event in relay.events() if event["event"] == "rejected"]

    wait_until(lambda: len(seen()) == 2)
    assert ipaddress.ip_address(seen()[-1].removeprefix("IPv6:")) == ipaddress.ip_address(gateway)


def test_the_ipv6_gateway_may_send_where_it_is_trusted(start_relay6: Relays) -> None:
    assert asked_here(addresses(start_relay6(publish=False))[1], 25)[0] == 250


def test_all_of_ipv6_may_send_where_that_is_said(start_relay6: Relays, internet6: Internet) -> None:
    clients = {"networks": ["::/0"], "i_know_this_is_an_open_relay": True}
    relay = start_relay6(publish=False, clients={**clients, "trust_gateway": False})
    client = internet6.add_app()
    v4, v6, _ = addresses(relay)
    # one socket takes both
    assert ask(client, v6).startswith("250")
    assert ask(client, v4).startswith("550")


@pytest.fixture
def stranger(internet: Internet) -> Iterator[Host]:
    """A container in a Docker network that the relay is not in."""
    with Internet(f"postroad-test-other-{secrets.token_hex(3)}") as other:
        yield other.add_app()


@pytest.mark.parametrize("trust", [False, True])
def test_a_stranger_through_the_published_port_needs_trust_gateway(
    trust: bool, start_relay: Relays, stranger: Host
) -> None:
    relay = start_relay(publish=False, clients={"trust_gateway": trust})
    stranger.container.reload()
    (bridge,) = stranger.container.attrs["NetworkSettings"]["Networks"].values()
    host = bridge["Gateway"]
    answer = ask(stranger, host, relay.port)
    assert answer.startswith("250" if trust else "550"), answer
    assert trust or ("clients.trust_gateway" in answer and "AUTH" in answer)


def test_an_ipv6_stranger_whom_docker_forwards_to_ipv4_may_not_send(start_relay: Relays) -> None:
    relay = start_relay(publish=False, clients=CLOSED)
    container = relay.get_wrapped_container()
    container.reload()
    (port,) = [x["HostPort"] for x in container.attrs["NetworkSettings"]["Ports"]["25/tcp"] if x["HostIp"] == "::"]
    code, text = asked_here("::1", int(port))
    assert code == 550
    assert b"clients.trust_gateway" in text


@pytest.fixture
def composed(image: str, tmp_path: Path) -> Iterator[tuple[str, int]]:
    """The default ``compose.yaml`` with port 25 published on all addresses: its container, and the port here."""
    labelled = {"labels": TREE}
    # a free port of this host; no restart that would outlive the test; ready is noticed at once
    changes = {"image": image, "ports": ["25"], "restart": "no", "healthcheck": {"interval": "1s"}}
    override = {
        "services": {"postroad": {**changes, **labelled}},
        "networks": {"default": labelled},
        "volumes": {"queue": labelled, "state": labelled},
    }
    (tmp_path / "override.json").write_text(json.dumps(override))
    project = f"postroad-test-compose-{secrets.token_hex(3)}"
    files = [f"--file={Path(__file__).parents[2] / 'compose.yaml'}", f"--file={tmp_path / 'override.json'}"]

    def compose(*words: str) -> str:
        argv = ["docker", "compose", f"--project-name={project}", *files, *words]
        return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=120).stdout

    try:
        compose("up", "--detach", "--wait", "--no-build", "--pull=never")
        published = json.loads(compose("ps", "--format=json"))["Publishers"]
        (port,) = [each["PublishedPort"] for each in published if each["URL"] == "0.0.0.0" and each["TargetPort"] == 25]
        yield f"{project}-postroad-1", port
    finally:
        compose("down", "--volumes", "--timeout=1")


def test_the_default_compose_file_with_port_25_published_on_all_addresses_is_no_open_relay(
    composed: tuple[str, int], stranger: Host
) -> None:
    container, port = composed
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing; tells the address that this host goes out with
        own = probe.getsockname()[0]
    stranger.container.reload()
    (bridge,) = stranger.container.attrs["NetworkSettings"]["Networks"].values()
    senders = ("app@example.com", "postmaster@mail.example.com", "root@localhost", "a@elsewhere.example", "")
    for sender in senders:
        for host in ("127.0.0.1", own, bridge["Gateway"]):
            code, text = asked_here(host, port, sender)
            assert code == 550 or (code == 503 and b"MAIL" in text), (host, sender, code, text)
        answer = ask(stranger, bridge["Gateway"], port, sender)
        assert answer.startswith(("550", "503")), answer
    # not for want of a sender that may send
    assert b"clients.trust_gateway" in asked_here("127.0.0.1", port, "app@example.com")[1]
    log = subprocess.run(["docker", "logs", container], check=True, capture_output=True, text=True, timeout=60).stdout
    assert not [event for event in map(json.loads, log.splitlines()) if event["event"] == "accepted"]


@pytest.mark.parametrize("networks", [["auto"], ["auto", "127.0.0.0/8"]])
def test_in_the_host_s_network_this_host_may_send_where_loopback_is_named(networks: list[str], image: str) -> None:
    with socket.socket() as probe:
        probe.bind(("", 0))
        port = probe.getsockname()[1]
    relay = PostroadContainer(
        {
            "hostname": HOSTNAME,
            "domains": ["sender.example"],
            "clients": {"networks": networks},
            "listeners": {"smtp": port, "submission": None, "submissions": None},
        },
        image=image,
        network="host",
        labels=TREE,
    )
    relay.ports.clear()
    with relay:
        named = len(networks) > 1
        assert asked_here("127.0.0.1", port)[0] == (250 if named else 550)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(("192.0.2.1", 9))  # sends nothing; tells the address that this host goes out with
            own = probe.getsockname()[0]
        code, text = asked_here(own, port)
        assert code == 550
        assert b"clients.networks" in text
        assert ("auto stands for nobody here" in relay.log()) is not named
        assert f"relaying for postroad send{', 127.0.0.0/8' if named else ''};" in relay.log()


def test_a_network_named_in_the_configuration_may_send_and_its_neighbours_may_not(
    start_relay: Relays, app: Host
) -> None:
    relay = start_relay(publish=False, clients={"networks": [f"{app.address}/32"], "trust_gateway": False})
    assert ask(app, relay.address).startswith("250")
    assert asked_here(relay.address, 25)[0] == 550
    relay = start_relay(publish=False, clients={"networks": ["203.0.113.0/30"], "trust_gateway": False})
    assert ask(app, relay.address).startswith("550")


def test_a_range_that_takes_too_many_entries_stops_the_start(image: str) -> None:
    relay = PostroadContainer(
        {"hostname": HOSTNAME, "domains": ["sender.example"], "clients": {"networks": ["2001:db8::/33"]}},
        image=image,
        labels=TREE,
    )
    with pytest.raises(RuntimeError, match="exit code 2"):
        relay.start()
