import pytest

from postroad.checks import clock
from tests.integration.checks.conftest import Examine, serve
from tests.internet.host import Host
from tests.internet.internet import Internet

SERVER = """
import socket, struct, sys, time
offset, mode = float(sys.argv[1]), sys.argv[2]
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("", 123))
print("up")
while True:
    query, client = server.recvfrom(512)
    now = time.time() + offset + 2208988800
    stamp = struct.pack("!II", int(now) % 2**32, int(now % 1 * 2**32))
    cookie = bytes(8) if mode == "forged" else query[40:48]
    stratum = 0 if mode == "unsynchronised" else 2
    server.sendto(bytes([0x24, stratum, 0, 0]) + bytes(20) + cookie + stamp + stamp, client)
"""


@pytest.fixture(scope="module")
def hosts(zones: Internet) -> dict[str, Host]:
    made = {name: zones.add_app() for name in ("right", "ahead", "behind", "far", "forged", "unsynchronised", "closed")}
    for name, offset in (
        ("right", 0),
        ("ahead", -60),
        ("behind", 60),
        ("far", 4000),
        ("forged", 0),
        ("unsynchronised", 0),
    ):
        serve(made[name], SERVER, str(offset), name)
    zones.add_zone("time.example")
    zones.publish("right.time.example", "A", made["right"].address)
    return made


@pytest.mark.parametrize(
    ("names", "level", "said"),
    [
        (["right"], "ok", "is right"),
        (["ahead"], "warning", "60 s ahead"),
        (["behind"], "warning", "60 s behind"),
        (["far"], "error", "4000 s behind"),
        (["right", "far"], "ok", "is right"),
        (["forged"], "info", "does not know the time"),
        (["unsynchronised"], "info", "does not know the time"),
        (["closed"], "info", "refused"),
        (["closed", "right"], "ok", "is right"),
        (["192.0.2.123"], "info", "can't be compared"),
        (["right.time.example"], "ok", "is right"),
        (["servfail.example"], "info", "SERVFAIL"),
    ],
)
def test_each_server(names: list[str], level: str, said: str, hosts: dict[str, Host], examine: Examine) -> None:
    servers = [hosts[name].address if name in hosts else name for name in names]
    (finding,) = examine(clock, config={"doctor": {"ntp": servers}})
    assert (finding.level, said in f"{finding.message} {finding.seen}") == (level, True), finding


def test_nothing_to_ask(examine: Examine) -> None:
    assert examine(clock, config={"doctor": {"ntp": []}}) == []
