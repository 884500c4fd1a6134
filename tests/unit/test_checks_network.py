"""The checks that speak to others: what they make of each answer. Servers are sockets of the test; time is given."""

import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import pytest

from postroad.checks import (
    blocklists,
    clients,
    clock,
    helo,
    port25,
    receivers,
    resolvers,
    smarthost_session,
    smarthosts,
    starttls,
    volumes,
)  # fmt: skip
from postroad.checks.context import CheckFacts, Late, Task
from postroad.checks.receivers import AttemptStage, Visit
from postroad.dns.resolver import Answer, Status
from postroad.errors import InstallError
from postroad.runtime.uplink import Server
from postroad.sendmail import networks
from postroad.uplink.probe import Probe
from postroad.uplink.replies import Reply
from tests.unit.checking import ADDRESS, DEAD, Zone, context, levels
from tests.unit.test_uplink_session import make_certificate
from tests.unit.whole import Whole

pytestmark = pytest.mark.usefixtures("whole_findings")

REVERSED = "10.113.0.203"
LISTS: dict[str, Any] = {"doctor": {"dnsbls": ["bl.example"]}}
WORKS: Zone = {"2.0.0.127.bl.example": {"A": ("127.0.0.2",)}}
"""What a list that answers us says of its test entries."""


@pytest.mark.parametrize(
    ("zone", "level"),
    [
        (WORKS, "ok"),
        (WORKS | {f"{REVERSED}.bl.example": {"A": ("127.0.0.4",), "TXT": ("why",)}}, "error"),
        (WORKS | {f"{REVERSED}.bl.example": {"A": ("127.255.255.254",)}}, "info"),
        (WORKS | {f"{REVERSED}.bl.example": {"A": ("192.0.2.1",)}}, "info"),
        (WORKS | {f"{REVERSED}.bl.example": DEAD}, "info"),
        (WORKS | {"1.0.0.127.bl.example": {"A": ("127.0.0.2",)}}, "info"),
        ({"2.0.0.127.bl.example": {"A": ("127.255.255.254",)}}, "info"),
        ({"2.0.0.127.bl.example": DEAD}, "info"),
        ({}, "info"),
    ],
)
def test_a_blocklist(zone: Zone, level: str) -> None:
    (found,) = blocklists.run(context(zone, **LISTS))
    assert str(found.level) == level
    assert found.unknown == (level == "info")
    if level == "error":
        assert found.seen == "127.0.0.4 why"


def test_a_list_of_ipv4_addresses_says_nothing_of_ipv6() -> None:
    facts = CheckFacts((ADDRESS, "2001:db8::10"), {})
    (found,) = blocklists.run(context(WORKS, facts=facts, **LISTS))
    assert (str(found.level), found.seen) == ("ok", f"{ADDRESS} at bl.example, 2001:db8::10 at bl.example")
    assert blocklists.entry("2001:db8::1", "bl.example").startswith("1.0.0.0.0.0.")
    assert list(blocklists.run(context(WORKS, doctor={"dnsbls": []}))) == []


@pytest.mark.parametrize(
    ("offsets", "level", "said"),
    [
        ({"a": 0.2}, "ok", "the clock is right"),
        ({"a": 29.9}, "ok", "the clock is right"),
        ({"a": 30.0}, "warning", "the clock is 30 s behind"),
        ({"a": -299.0}, "warning", "the clock is 299 s ahead"),
        ({"a": -300.0}, "error", "the clock is 300 s ahead"),
        ({"a": 4000.0, "b": -0.1}, "ok", "the clock is right"),
        ({"a": 20.0, "b": -40.0}, "ok", "the clock is right"),
        ({"a": ConnectionRefusedError(111, "Connection refused")}, "info", "can't be compared"),
        ({"a": 4000.0, "b": TimeoutError()}, "error", "the clock is 4000 s behind"),
        ({"a": TimeoutError(), "b": ValueError("it does not know the time")}, "info", "can't be compared"),
    ],
)
def test_the_clock(
    monkeypatch: pytest.MonkeyPatch, offsets: dict[str, float | Exception], level: str, said: str
) -> None:
    servers = {f"192.0.2.{number}": value for number, value in enumerate(offsets.values(), 1)}

    def offset(address: str, timeout: float) -> float:
        found = servers[address]
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(clock, "offset", offset)
    ((found, message),) = levels(clock, context({}, doctor={"ntp": list(servers)}))
    assert (found, said in message) == (level, True), message


def test_a_time_server_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "offset", lambda address, timeout: {"192.0.2.1": 0.0}[address])
    zone: Zone = {"ntp.example": {"A": ("192.0.2.1",)}}
    assert levels(clock, context(zone, doctor={"ntp": ["ntp.example"]}))[0][0] == "ok"
    assert levels(clock, context({}, doctor={"ntp": ["ntp.example"]}))[0][0] == "info"
    assert levels(clock, context({}, doctor={"ntp": []})) == []


class TimeServer:
    """Stands in for the socket that asks a time server; ``ahead`` is its clock beside ours."""

    def __init__(self, ahead: float, **changes: Any) -> None:
        self.ahead, self.changes = ahead, changes

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def settimeout(self, seconds: float) -> None:
        assert seconds > 0

    def connect(self, where: tuple[str, int]) -> None:
        assert where[1] == 123

    def send(self, packet: bytes) -> None:
        assert (len(packet), packet[0]) == (48, 0x23)
        self.cookie = packet[40:]

    def recv(self, most: int) -> bytes:
        now = struct.pack("!II", int(time.time() + self.ahead + clock.EPOCH) % 2**32, 0)
        mode, stratum = self.changes.get("mode", 4), self.changes.get("stratum", 2)
        reply: bytes = bytes([0x20 | mode, stratum]) + bytes(22) + self.changes.get("cookie", self.cookie) + now + now
        return reply[: self.changes.get("length", 48)]


def test_what_a_time_server_says(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(server: TimeServer, address: str = "192.0.2.1", family: int = socket.AF_INET) -> float:
        kinds = {(family, socket.SOCK_DGRAM): server}
        monkeypatch.setattr(socket, "socket", lambda *kind: kinds[kind])
        return clock.offset(address, 1)

    assert ask(TimeServer(0), "2001:db8::1", socket.AF_INET6) == pytest.approx(0, abs=2)
    assert ask(TimeServer(1000)) == pytest.approx(1000, abs=2)
    assert ask(TimeServer(-1000)) == pytest.approx(-1000, abs=2)
    for wrong in ({"mode": 3}, {"stratum": 0}, {"stratum": 16}, {"cookie": bytes(8)}, {"length": 47}):
        with pytest.raises(ValueError, match="does not know the time"):
            ask(TimeServer(0, **wrong))


def visit(name: str, stage: AttemptStage, *, refused: bool = False) -> Visit:
    return Visit(name, stage, f"mx.{name}", "192.0.2.1", "said", refused)


VERIFIED = visit("good", AttemptStage.VERIFIED)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([], []),
        ([VERIFIED], [("ok", "port 25 leaves")]),
        ([visit("a", AttemptStage.NO_NAME)], [("warning", "is not known")]),
        ([visit("a", AttemptStage.NO_HOST)], [("warning", "is not known")]),
        ([visit("a", AttemptStage.NOT_CONNECTED)], [("error", "no receiver can be reached")]),
        ([visit("a", AttemptStage.CONNECTED)], [("error", "no receiver greets")]),
        ([visit("a", AttemptStage.CONNECTED, refused=True)], [("ok", "leaves"), ("warning", "does not let this host in")]),
        ([visit("a", AttemptStage.GREETED)], [("ok", "port 25 leaves")]),
        ([VERIFIED, visit("a", AttemptStage.NO_NAME)], [("ok", "leaves"), ("warning", "can't be found")]),
        ([VERIFIED, visit("a", AttemptStage.NOT_CONNECTED)], [("ok", "leaves"), ("warning", "a can't be reached")]),
        ([VERIFIED, visit("a", AttemptStage.CONNECTED)], [("ok", "leaves"), ("warning", "does not greet in time")]),
        ([VERIFIED, visit("a", AttemptStage.NO_TLS)], [("ok", "leaves")]),
    ],
)  # fmt: skip
def test_port_25(found: list[Visit], expected: list[tuple[str, str]]) -> None:
    said = [(str(each.level), each.message) for each in port25.judge(found, on_aws=False)]
    assert [level for level, _ in said] == [level for level, _ in expected]
    assert all(part in message for (_, message), (_, part) in zip(said, expected, strict=True)), said


def test_the_receivers_are_asked_for_port_25(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(port25, "visits", lambda _: [visit("a", AttemptStage.NOT_CONNECTED)])
    monkeypatch.setattr(port25, "on_aws", lambda: True)
    (found,) = port25.run(context({}))
    assert (found.level, "aws-request" in found.fix) == ("error", True)


def test_port_25_on_aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    closed = [visit("a", AttemptStage.NOT_CONNECTED)]
    (there,), (elsewhere,) = (list(port25.judge(closed, on_aws=on_aws)) for on_aws in (True, False))
    assert "postroad aws-request" in there.fix
    assert "aws-request" not in elsewhere.fix
    monkeypatch.setattr(port25, "VENDOR", tmp_path / "sys_vendor")
    assert not port25.on_aws()
    (tmp_path / "sys_vendor").write_text("Amazon EC2\n")
    assert port25.on_aws()


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([], []),
        ([visit("a", AttemptStage.GREETED)], []),
        ([VERIFIED], [("ok", "TLS to receivers works")]),
        ([visit("a", AttemptStage.UNVERIFIED)], [("error", "no receiver can be reached over TLS")]),
        ([VERIFIED, visit("a", AttemptStage.NO_TLS)], [("ok", "works"), ("warning", "a offers no TLS")]),
        ([VERIFIED, visit("a", AttemptStage.TLS_FAILED)], [("ok", "works"), ("warning", "TLS that does not work")]),
        ([VERIFIED, visit("a", AttemptStage.UNVERIFIED)], [("ok", "works"), ("warning", "can't be trusted")]),
    ],
)
def test_starttls(found: list[Visit], expected: list[tuple[str, str]]) -> None:
    said = [(str(each.level), each.message) for each in starttls.judge(found)]
    assert [level for level, _ in said] == [level for level, _ in expected]
    assert all(part in message for (_, message), (_, part) in zip(said, expected, strict=True)), said


def test_where_all_mail_goes_to_smarthosts() -> None:
    made = context({}, delivery={"smarthost": {"host": "smtp.sendgrid.net"}})
    assert [level for level, _ in levels(port25, made)] == ["info"]
    assert levels(starttls, made) == []


MX: Zone = {"a.example": {"MX": ("20 late.a.example", "10 mx.a.example")}, "mx.a.example": {"A": ("192.0.2.1",)}}


@pytest.mark.parametrize(
    ("zone", "stage", "host", "address"),
    [
        (MX, AttemptStage.NOT_CONNECTED, "mx.a.example", "192.0.2.1"),
        ({"a.example": {"A": ("192.0.2.2",)}}, AttemptStage.NOT_CONNECTED, "a.example", "192.0.2.2"),
        (MX | {"mx.a.example": {"AAAA": ("2001:db8::1",)}}, AttemptStage.NOT_CONNECTED, "mx.a.example", "2001:db8::1"),
        (MX | {"mx.a.example": {"TXT": ("x",)}}, AttemptStage.NO_HOST, "mx.a.example", ""),
        (MX | {"mx.a.example": DEAD}, AttemptStage.NO_NAME, "mx.a.example", ""),
        (MX | {"mx.a.example": {"AAAA": DEAD["TIMEOUT"]}}, AttemptStage.NO_NAME, "mx.a.example", ""),
        ({"a.example": DEAD}, AttemptStage.NO_NAME, "", ""),
    ],
)
def test_where_a_receiver_is(
    monkeypatch: pytest.MonkeyPatch, whole: Whole, zone: Zone, stage: AttemptStage, host: str, address: str
) -> None:
    def unreachable(where: tuple[str, int], timeout: float) -> socket.socket:
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(socket, "create_connection", unreachable)
    (found,) = receivers.visits(context(zone, doctor={"receivers": ["a.example"]}))
    whole.add(str(found))
    assert (found.stage, found.host, found.address) == (stage, host, address)
    assert found.refused == (stage is AttemptStage.NOT_CONNECTED)


@pytest.mark.parametrize(
    ("replies", "stage", "detail", "refused"),
    [
        (["554 go\r\n"], AttemptStage.CONNECTED, "554 go", True),
        (["220 hi\r\n", "550 who\r\n"], AttemptStage.GREETED, "550 who", True),
        (["220 hi\r\n", "250 SIZE\r\n"], AttemptStage.NO_TLS, "no STARTTLS", False),
        (["220 hi\r\n", "250-x\r\n250 STARTTLS\r\n", "454 not now\r\n"], AttemptStage.TLS_FAILED, "454 not now", False),
        (["220 hi\r\n", "250-x\r\n250 STARTTLS\r\n", "220 go\r\nno TLS"], AttemptStage.TLS_FAILED, "", False),
        (["220 hi\r\n"], AttemptStage.GREETED, "", False),
        ([""], AttemptStage.CONNECTED, "Connection unexpectedly closed", False),
    ],
)
def test_how_far_a_session_comes(
    monkeypatch: pytest.MonkeyPatch, replies: list[str], stage: AttemptStage, detail: str, refused: bool
) -> None:
    ours, theirs = socket.socketpair()

    def serve() -> None:
        with theirs:
            for number, reply in enumerate(replies):
                if number:
                    theirs.recv(600)
                theirs.sendall(reply.encode())

    server = threading.Thread(target=serve)
    server.start()
    monkeypatch.setattr(socket, "create_connection", lambda where, timeout: ours)
    (found,) = receivers.visits(context(MX, doctor={"receivers": ["a.example"]}))
    server.join(5)
    assert (found.stage, detail in found.detail, found.refused) == (stage, True, refused), found
    assert str(found).startswith("mx.a.example [192.0.2.1]: ")


@pytest.mark.parametrize(
    ("name", "stage", "detail"),
    [
        ("mx.a.example", AttemptStage.VERIFIED, "TLSv1.3"),
        ("mx.b.example", AttemptStage.UNVERIFIED, "Hostname mismatch, certificate is not valid for 'mx.a.example'."),
    ],
)
def test_whose_certificate_a_receiver_has(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, stage: AttemptStage, detail: str
) -> None:
    made = make_certificate(tmp_path / "mx.pem", f"DNS:{name}")
    served, trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context(cafile=str(made))
    served.load_cert_chain(made)
    ours, theirs = socket.socketpair()

    def serve() -> None:
        theirs.sendall(b"220 hi\r\n")
        theirs.recv(600)
        theirs.sendall(b"250-x\r\n250 STARTTLS\r\n")
        theirs.recv(600)
        theirs.sendall(b"220 go\r\n")
        with suppress(OSError), served.wrap_socket(theirs, server_side=True) as tls:
            tls.recv(1)

    server = threading.Thread(target=serve)
    server.start()
    asked: list[tuple[object, float]] = []

    def connect(where: object, timeout: float) -> socket.socket:
        asked.append((where, timeout))
        return ours

    monkeypatch.setattr(socket, "create_connection", connect)
    monkeypatch.setattr(receivers.ssl, "create_default_context", lambda: trusting)  # type: ignore[attr-defined]
    (found,) = receivers.visits(context(MX, doctor={"receivers": ["a.example"]}))
    server.join(5)
    assert found == Visit("a.example", stage, "mx.a.example", "192.0.2.1", detail)
    ((where, timeout),) = asked
    assert where == ("192.0.2.1", 25)
    assert 0 < timeout <= receivers.CONNECT


def test_a_receiver_that_takes_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def late(self: object, timeout: float) -> Visit:
        raise Late

    monkeypatch.setattr(receivers, "_visit", lambda made, domain: VERIFIED)
    monkeypatch.setattr(Task, "result", late)
    (found,) = receivers.visits(context({}, doctor={"receivers": ["a.example"]}))
    assert found == Visit("a.example", AttemptStage.CONNECTED, detail="it takes too long to answer")


@pytest.mark.parametrize(
    ("statuses", "validates", "expected"),
    [
        ([Status.FOUND], True, ["ok"]),
        ([Status.FOUND], False, ["ok", "info"]),
        ([Status.FOUND, Status.TIMEOUT], True, ["warning", "ok"]),
        ([Status.SERVFAIL, Status.TIMEOUT], True, ["error", "error"]),
    ],
)
def test_resolvers(
    monkeypatch: pytest.MonkeyPatch, statuses: list[Status], validates: bool, expected: list[str]
) -> None:
    servers = {f"192.0.2.{number}": status for number, status in enumerate(statuses)}

    def ask(server: str, name: str, rtype: str, timeout: float) -> Answer:
        assert (name, rtype) == (".", "SOA")
        return Answer(name, rtype, servers[server], authenticated=validates, server=server)

    monkeypatch.setattr(resolvers, "ask", ask)
    made = context({})
    made.resolver.servers = tuple(servers)
    assert [level for level, _ in levels(resolvers, made)] == expected


def test_the_name_in_helo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(helo, "CURRENT", tmp_path)
    assert levels(helo, context({})) == [], "no server runs here"
    greets = {25: "mail.x.example"}
    monkeypatch.setattr(helo, "greeting", lambda port, timeout: greets[port])
    file = tmp_path / "sendmail.cf"
    file.write_text("Djmail.x.example\nO HeloName=Mail.X.example\n")
    assert levels(helo, context({})) == [("ok", "the server calls itself mail.x.example")]
    greets[25] = "other.example"
    assert levels(helo, context({})) == [("error", "the server calls itself other.example, and not mail.x.example")]
    greets[25] = ""
    assert levels(helo, context({}))[0][0] == "ok", "it did not greet in time: its rules count"
    file.write_text("Djmail.x.example\nO HeloName=other.example\n")
    assert levels(helo, context({}))[0][0] == "error"
    assert helo.helo_name("Dja.example\n") == "a.example"
    assert helo.helo_name("# O HeloName=a\n") == ""


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("220 Mail.x.example ESMTP", "mail.x.example"),
        ("220-mail.x.example", "mail.x.example"),
        ("421 mail.x", ""),
        ("", ""),
    ],
)
def test_a_greeting(monkeypatch: pytest.MonkeyPatch, line: str, name: str) -> None:
    ours, theirs = socket.socketpair()
    monkeypatch.setattr(socket, "create_connection", lambda where, timeout: ours)
    theirs.sendall(f"{line}\r\n".encode())
    theirs.shutdown(socket.SHUT_WR)
    assert helo.greeting(25, 5) == name
    theirs.close()
    assert helo.greeting(25, 5) == "", "a closed socket is no server"


MOUNTS = """\
22 1 0:1 / / rw - overlay overlay rw
23 22 8:1 /var/lib/docker/volumes/queue/_data /var/spool/mqueue rw,relatime master:1 - ext4 /dev/sda rw
24 22 8:1 / /state rw - tmpfs tmpfs rw
"""


def test_mounts() -> None:
    found = volumes.parse(MOUNTS)
    assert found["/var/spool/mqueue"] == volumes.Mount("ext4", "/var/lib/docker/volumes/queue/_data")
    assert found["/state"].type == "tmpfs"
    assert volumes.parse(MOUNTS + MOUNTS.splitlines()[1].replace("ext4", "xfs"))["/var/spool/mqueue"].type == "xfs"


GOOD: dict[str, Any] = {"writable": True, "room": 2**31, "part": 0.5, "files": 10**6}
MOUNT = volumes.Mount("ext4", "/volumes/queue/_data")


@pytest.mark.parametrize(
    ("mount", "changes", "level", "said"),
    [
        (MOUNT, {}, "ok", "is a volume with room"),
        (MOUNT, {"files": None}, "ok", "is a volume with room"),
        (MOUNT, {"writable": False}, "error", "can't be written"),
        (None, {}, "error", "would be lost with the container"),
        (volumes.Mount("tmpfs", "/"), {}, "error", "is tmpfs"),
        (volumes.Mount("overlay", "/"), {}, "error", "is overlay"),
        (MOUNT, {"room": 100 * 2**20 - 1}, "error", "is full"),
        (MOUNT, {"room": 100 * 2**20, "part": 0.05}, "warning", "nearly full"),
        (MOUNT, {"room": 2**30 - 1, "part": 0.1}, "ok", "is a volume with room"),
        (MOUNT, {"room": 2**30, "part": 0.01}, "ok", "is a volume with room"),
        (MOUNT, {"files": 999}, "error", "is full"),
        (MOUNT, {"files": 1000}, "warning", "nearly full"),
        (MOUNT, {"files": 10_000}, "ok", "is a volume with room"),
        (volumes.Mount("ext4", f"/volumes/{'0' * 64}/_data"), {}, "warning", "is a volume without a name"),
        (volumes.Mount("ext4", f"/volumes/{'0' * 63}/_data"), {}, "ok", "is a volume with room"),
    ],
)
def test_a_volume(mount: volumes.Mount | None, changes: dict[str, Any], level: str, said: str) -> None:
    found = volumes.judge(Path("/queue"), "the queue", mount, **{**GOOD, **changes})
    assert (str(found.level), said in found.message) == (level, True), found


def test_both_volumes_are_looked_at(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"1 1 0:1 / {tmp_path} rw - tmpfs tmpfs rw\n")
    for name, value in (("MOUNTS", mounts), ("QUEUE", tmp_path), ("STATE", tmp_path)):
        monkeypatch.setattr(volumes, name, value)
    found = levels(volumes, context({}))
    assert [level for level, _ in found] == ["error", "error"]
    assert [message.split(" would")[0] for _, message in found] == ["the queue", "the DKIM keys"]


def test_who_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    warnings: list[str] = []
    monkeypatch.setattr(clients, "surroundings", lambda: None)
    monkeypatch.setattr(clients, "network_warnings", lambda config, around: warnings)
    monkeypatch.setattr(networks, "trusted", lambda nets, around, gateways: ["10.0.0.0/24"])
    assert levels(clients, context({})) == [("ok", "trusted by address: 10.0.0.0/24")]
    warnings.append("clients.networks: auto trusts nobody: name the networks")
    (found,) = clients.run(context({}))
    assert (found.level, found.message, found.fix) == (
        "warning", "clients.networks: auto trusts nobody", "name the networks",
    )  # fmt: skip


def server(host: str = "smtp.a.example", password: str = "") -> Server:
    return Server(
        id="abc123", key="delivery.smarthost", host=host, port=587, tls="verify", username="u", password=password,
        certificate="", oauth=None,
    )  # fmt: skip


def told(found: Iterable[Probe] | Exception, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    def probes(config: object, within: float) -> list[Probe]:
        assert 0 < within <= smarthost_session.MOST
        if isinstance(found, Exception):
            raise found
        return list(found)

    monkeypatch.setattr(smarthost_session, "probes", probes)
    return levels(smarthost_session, context({}))


def test_sessions_with_smarthosts(monkeypatch: pytest.MonkeyPatch) -> None:
    taken, no = Reply(250, ("ok",)), Reply(550, ("5.7.1 no",))
    good = Probe(server(), tls="TLSv1.3", mechanism="PLAIN", mail=taken, recipient=taken)
    assert told([good], monkeypatch) == [("ok", "smtp.a.example port 587 takes our mail")]
    refused = Probe(server(), tls="TLSv1.3", mechanism="PLAIN", mail=taken, recipient=no)
    assert told([refused], monkeypatch) == [("warning", "smtp.a.example port 587 lets us in and refuses a transaction")]
    wrong = Probe(server(), reason="refused the password")
    assert told([wrong], monkeypatch) == [("error", "smtp.a.example port 587 does not take our mail")]
    assert told(InstallError("password_file: it is empty"), monkeypatch)[0][0] == "error"
    assert told([], monkeypatch) == []


def test_a_hint_for_a_secret_access_key() -> None:
    host = "email-smtp.eu-west-1.amazonaws.com"
    key, password = server(host, "k" * 40), server(host, "p" * 44)
    assert "secret access key" in smarthosts.hint(Probe(key, reason="no"))
    assert smarthosts.hint(Probe(password, reason="no")) == ""
    assert smarthosts.hint(Probe(key)) == ""
    assert smarthosts.hint(Probe(server("smtp.a.example", "k" * 40), reason="no")) == ""
