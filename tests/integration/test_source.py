"""Where connections come from: addresses of one's own for some mail, proxies, a client's certificate."""

import ipaddress
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from postroad.testing import PostroadContainer
from postroad.testing.received import ReceivedMessage
from tests.integration.conftest import Relays, deferred, letter, secrets_folder, send
from tests.internet.host import Mx, Proxy
from tests.internet.internet import IMAGE, TREE, Internet

SMTP = "smtp.source.example"
PROXY = "proxy.source.example"
LOGIN = {"username": "app", "password_file": "/secrets/app"}

ADD = """
import fcntl, socket, struct, sys
for number, address in enumerate(sys.argv[2:], 1):
    for request, text in ((0x8916, address), (0x891C, sys.argv[1])):  # SIOCSIFADDR, SIOCSIFNETMASK
        name = f"eth0:{number}".encode()
        asked = struct.pack("16sH2s4s8s", name, socket.AF_INET, b"", socket.inet_aton(text), b"")
        fcntl.ioctl(socket.socket(), request, asked)
"""


@pytest.fixture(scope="module")
def upstream(internet: Internet) -> Mx:
    return internet.add_smarthost(SMTP, user="app:right")


@pytest.fixture(scope="module")
def proxy(internet: Internet) -> Proxy:
    return internet.add_proxy(PROXY)


@pytest.fixture(scope="module")
def safe(internet: Internet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = secrets_folder(tmp_path_factory, internet, app="right", proxy="s3cret", wrong="wrong")
    certificate, key = internet.client_certificate("relay.sender.example")
    (folder / "client.pem").write_bytes(certificate)
    (folder / "client.key").write_bytes(key)
    return folder


@pytest.fixture
def start(start_relay: Relays, safe: Path) -> Callable[..., PostroadContainer]:
    def start(**delivery: Any) -> PostroadContainer:
        return start_relay(
            mounts={str(safe): "/secrets"},
            delivery={"tls": {"ca_file": "/secrets/ca.pem"}, "queue": {"retry": "1s"}, **delivery},
        )

    return start


def client_of(message: ReceivedMessage) -> str:
    """The address that a message came from, as the server saw it."""
    found = re.search(r"\[(?:IPv6:)?([0-9a-f.:]+)\]", str(message.message["Received"]))
    assert found is not None
    return found[1]


def give_addresses(relay: PostroadContainer, internet: Internet, *addresses: str) -> None:
    """Give a relay further addresses of its network."""
    helper = ["docker", "run", "--rm", f"--network=container:{relay.get_wrapped_container().id}", "--cap-add=NET_ADMIN"]
    helper += [*(f"--label={name}={value}" for name, value in TREE.items()), "--entrypoint=python3", IMAGE]
    subprocess.run([*helper, "-c", ADD, str(internet.subnet.netmask), *addresses], check=True)


def test_each_route_has_its_own_address(start: Any, upstream: Mx, internet: Internet) -> None:
    first, second, third, fourth = (str(internet.subnet[-2 - number]) for number in range(4))  # Docker begins elsewhere
    internet.add_mx("a.source.example", "b.source.example")
    smarthost = {"host": SMTP, **LOGIN}
    relay = start(
        bind=[first],
        routes=[
            {"domains": ["a.source.example"], "smarthost": None, "bind": [second]},
            {"domains": ["b.source.example"], "smarthost": None, "bind": [third], "rate": "100/minute"},
            {"domains": ["c.source.example"], "smarthost": smarthost, "bind": [fourth]},
            {"domains": ["d.source.example"], "smarthost": smarthost},
        ],
    )
    # not an address of the container yet: mail waits
    assert f"{first} is no address of this container" in relay.log()
    waiting = send(relay, letter())
    deferred(relay, waiting)
    give_addresses(relay, internet, first, second, third, fourth)
    assert client_of(internet.wait_for_message(waiting, timeout=90)) == first
    wanted = {"a": second, "b": third, "c": fourth, "d": first}
    for _ in range(2):
        for name, address in wanted.items():
            message = internet.wait_for_message(send(relay, letter(To=f"user@{name}.source.example")))
            assert client_of(message) == address, name
            assert message.verdict("dkim") == "pass"
        assert client_of(internet.wait_for_message(send(relay, letter()))) == first


def test_ipv4_goes_first_where_it_is_preferred(image: str) -> None:
    """To MX hosts and to a smarthost; a host with IPv6 alone is reached all the same."""
    with Internet(ipv6=True) as dual:
        relays = Relays(image, dual)
        dual.add_smarthost(SMTP)
        dual.add_mx("six.example")
        dual.publish_host("mx.six.example", dual.hosts[-1].addresses[1])
        route = {"domains": ["c.source.example"], "smarthost": {"host": SMTP, "port": 25, "tls": "none"}}
        with relays.stack:
            for prefer, version in (("ipv4", 4), ("auto", 6)):
                relay = relays(delivery={"prefer": prefer, "queue": {"retry": "1s"}, "routes": [route]})
                wanted = {"rcpt.example": version, "c.source.example": version, "six.example": 6}
                for domain, expected in wanted.items():
                    message = dual.wait_for_message(send(relay, letter(To=f"user@{domain}")))
                    assert ipaddress.ip_address(client_of(message)).version == expected, (prefer, domain)


PROXIES: dict[str, dict[str, Any]] = {
    "http": {"proxy": f"http://{PROXY}:3128"},
    "socks5": {"proxy": f"socks5://{PROXY}:1081"},
    "socks5-password": {
        "proxy": {"url": f"socks5://{PROXY}:1080", "username": "app", "password_file": "/secrets/proxy"}
    },
}


@pytest.mark.parametrize("way", PROXIES)
def test_a_smarthost_behind_a_proxy(way: str, start: Any, upstream: Mx, proxy: Proxy, internet: Internet) -> None:
    relay = start(smarthost={"host": SMTP, "port": 465, **LOGIN}, **PROXIES[way])
    message_id = send(relay, letter())
    message = internet.wait_for_message(message_id)
    assert (message.mx, message.verdict("dkim")) == (SMTP, "pass")
    assert client_of(message) == proxy.address
    delivered = relay.follow(message_id)[-1]
    assert (delivered["relay_host"], delivered["relay_address"]) == (SMTP, proxy.address)
    assert SMTP in proxy.logs()  # by its name: the relay needs no DNS for it
    code, said = relay.shell("postroad smarthost check")
    assert code == 0, said
    assert "s3cret" not in relay.log() + said + relay.shell("cat /proc/[0-9]*/cmdline | tr '\\0' ' '")[1]


def test_a_proxy_that_refuses_makes_mail_wait(start: Any, upstream: Mx, proxy: Proxy) -> None:
    wrong = {"url": f"socks5://{PROXY}:1080", "username": "app", "password_file": "/secrets/wrong"}
    relay = start(smarthost={"host": SMTP, **LOGIN}, proxy=wrong)
    assert f"421 4.4.1 {SMTP} can't be reached through the proxy {PROXY}: " in deferred(relay, send(relay, letter()))
    # a port that the proxy lets nobody connect to
    relay = start(smarthost={"host": SMTP, "port": 2525, **LOGIN}, proxy=f"http://{PROXY}:3128")
    assert f"can't be reached through the proxy {PROXY}: " in deferred(relay, send(relay, letter()))


@pytest.mark.parametrize("port", [587, 465])
def test_a_server_that_wants_our_certificate(port: int, start: Any, internet: Internet) -> None:
    host = f"p{port}.certificates.example"
    internet.add_smarthost(host, user="app:unused", client_certificates=True)
    relay = start(smarthost={"host": host, "port": port})
    assert "No client certificate presented" in deferred(relay, send(relay, letter()))
    shown = {"certificate_file": "/secrets/client.pem", "key_file": "/secrets/client.key"}
    relay = start(smarthost={"host": host, "port": port, **shown})
    message = internet.wait_for_message(send(relay, letter()))
    assert message.mx == host
    received = str(message.message["Received"])
    assert 'Client CN "relay.sender.example"' in received
    assert "verified OK" in received
    code, said = relay.shell("postroad smarthost check")
    assert code == 0, said
