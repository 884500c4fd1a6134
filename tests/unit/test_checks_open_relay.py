"""Whether a stranger could relay: what is asked, of whom, and what each answer leads to. Fails closed."""

import ipaddress
import re
import socketserver
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from postroad import system
from postroad.checks import open_relay
from postroad.config.model import Config
from postroad.errors import CommandError
from postroad.runtime import plan
from postroad.sendmail.networks import Surroundings
from tests.unit import supervision
from tests.unit.checking import context, levels

pytestmark = pytest.mark.usefixtures("whole_findings")

AROUND = Surroundings(
    subnets=(ipaddress.ip_network("10.1.0.0/24"),),
    gateways=(ipaddress.ip_address("10.1.0.1"),),
    own=(ipaddress.ip_address("10.1.0.5"),),
)
ANSWERS = {True: "$# error $@ 5 . 7 . 1 $: 550 no", False: "OK"}


def config(**values: Any) -> Config:
    return context({}, **values).config


def rules(refuses: Callable[[str, str, str], bool]) -> Callable[..., tuple[int, str, str]]:
    """sendmail's test mode, where check_rcpt decides by client, sender and recipient."""

    def capture(argv: list[str], *, stdin: str, env: object, timeout: float) -> tuple[int, str, str]:
        said = []
        client = sender = ""
        for line in stdin.splitlines():
            if line.startswith(".D{client_addr}"):
                client = line.removeprefix(".D{client_addr}")
            elif line.startswith("check_mail"):
                sender = line[12:-1]
                said.append("> check_mail         returns: < >")
            elif line.startswith("check_rcpt"):
                said.append(f"> check_rcpt         returns: {ANSWERS[refuses(client, sender, line[12:-1])]}")
        return 0, "\n".join(said), ""

    return capture


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Let a server run whose rules answer like that, and whose ports are tried with this outcome."""
    monkeypatch.setattr(open_relay, "CURRENT", tmp_path)
    monkeypatch.setattr(open_relay, "surroundings", lambda: AROUND)
    monkeypatch.setattr(plan, "load", lambda path: supervision.plan(supervision.process("sendmail")))

    def let(capture: Callable[..., Any], live: Any = ((), ())) -> None:
        monkeypatch.setattr(system, "capture", capture)
        monkeypatch.setattr(open_relay, "try_ports", lambda *given, timeout: tuple(map(list, live)))

    return let


def strangers_only(client: str, sender: str, recipient: str) -> bool:
    return client != open_relay.ITSELF


def test_no_stranger_can_relay(runs: Callable[..., None]) -> None:
    runs(rules(strangers_only))
    assert levels(open_relay, context({})) == [("ok", "no stranger can relay")]


@pytest.mark.parametrize("allow", [["staging.example"], ["qa@staging.example"]])
def test_a_relay_for_few_recipients_is_asked_for_those(runs: Callable[..., None], allow: list[str]) -> None:
    """Everybody else is refused to all, strangers or not: that says nothing."""
    runs(rules(lambda client, sender, to: strangers_only(client, sender, to) or not to.endswith("@staging.example")))
    assert levels(open_relay, context({}, recipients={"allow": allow})) == [("ok", "no stranger can relay")]
    runs(rules(lambda client, sender, to: not to.endswith("@staging.example")))
    assert levels(open_relay, context({}, recipients={"allow": allow}))[0][0] == "error"


def test_one_hole_is_an_open_relay(runs: Callable[..., None]) -> None:
    runs(rules(lambda client, sender, to: strangers_only(client, sender, to) and (client, to) != ("10.1.0.1", to)))
    (found,) = open_relay.run(context({}))
    assert (str(found.level), "this is an open relay" in found.message) == ("error", True)
    assert "from 10.1.0.1, MAIL FROM:<app@x.example>" in found.seen

    runs(rules(lambda client, sender, to: client != open_relay.ITSELF and not to.startswith("@")))
    assert levels(open_relay, context({}))[0][0] == "error", "one form of address is enough"


def failing(*_: object, **__: object) -> tuple[int, str, str]:
    raise CommandError("sendmail: did not end within 1 s")


@pytest.mark.parametrize(
    "capture",
    [
        rules(lambda *_: True),  # even of ourselves: then its refusals say nothing
        lambda *_, **__: (1, "", "no such file"),
        lambda *_, **__: (0, "> check_mail returns: OK", ""),
        failing,
    ],
)
def test_rules_that_do_not_answer_are_no_proof(runs: Callable[..., None], capture: Callable[..., Any]) -> None:
    runs(capture)
    found = levels(open_relay, context({}))
    assert [level for level, _ in found] == ["error"]
    assert "can't be asked who may relay" in found[0][1]


def test_what_the_ports_say(runs: Callable[..., None]) -> None:
    accepted, refused = (
        open_relay.RelayAttempt("127.0.0.2 to port 25", "a", "b", reply) for reply in ("250 ok", "550 no")
    )
    runs(rules(strangers_only), ([refused], ["port 587: timed out"]))
    assert [level for level, _ in levels(open_relay, context({}))] == ["warning", "ok"]
    runs(rules(strangers_only), ([refused, accepted], []))
    assert [level for level, _ in levels(open_relay, context({}))] == ["error"]
    made = context({})
    made.short = True  # after a start the ports are not tried
    assert [level for level, _ in levels(open_relay, made)] == ["ok"]


def test_a_gateway_that_is_trusted_is_said(runs: Callable[..., None]) -> None:
    runs(rules(strangers_only))
    trusting: dict[str, Any] = {"clients": {"networks": ["auto"], "trust_gateway": True}}
    assert [level for level, _ in levels(open_relay, context({}, **trusting))] == ["warning", "ok"]


def test_where_no_server_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(open_relay, "CURRENT", tmp_path / "none")
    assert [level for level, _ in levels(open_relay, context({}))] == ["error"]


def test_who_is_tried() -> None:
    found = set(map(str, open_relay.outsiders(config(clients={"networks": ["10.0.0.0/16"]}), AROUND)))
    assert {"9.255.255.255", "10.1.0.0", "10.1.0.1", "10.1.0.5", "8.8.4.4", "127.0.0.1", "::1"} <= found
    assert "10.0.255.255" not in found
    trusting = config(clients={"networks": ["auto"], "trust_gateway": True})
    assert "10.1.0.1" not in set(map(str, open_relay.outsiders(trusting, AROUND)))
    everyone = config(clients={"networks": ["0.0.0.0/0"], "i_know_this_is_an_open_relay": True})
    assert "8.8.4.4" in set(map(str, open_relay.outsiders(everyone, AROUND))), "what is too wide is no trust"


def test_the_ends_of_all_addresses_have_nobody_beyond() -> None:
    ends = ["0.0.0.0/24", "255.255.255.0/24", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ff00/120"]
    found = list(map(str, open_relay.outsiders(config(clients={"networks": ends}), AROUND)))
    assert {"0.0.1.0", "255.255.254.255", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:feff"} <= set(found)
    assert not {"255.255.255.255", "0.0.0.0", "::"} & set(found)


def test_what_sendmail_is_asked() -> None:
    """As a stranger whose name, by his own DNS, is the best that he can claim."""
    assert open_relay.script([("192.0.2.1", "a@x.example", "v@y.example")]).splitlines() == [
        ".D{client_resolve}FORGED", ".D{client_name}localhost", ".D{client_addr}192.0.2.1", ".D{mail_addr}a@x.example",
        ".Dfa@x.example", "check_mail <a@x.example>", "check_rcpt <v@y.example>", "/quit",
    ]  # fmt: skip


def test_as_whom_and_to_whom() -> None:
    own = config(domains=["x.example", "y.example"])
    assert open_relay.senders(own) == ["app@x.example", "app@y.example", "postmaster@mail.x.example", "", open_relay.STRANGE_SENDER]  # fmt: skip
    everyone = config(domains=["*"], dkim={"enabled": False}, delivery={"smarthost": {"host": "smtp.a.example"}})
    assert open_relay.senders(everyone)[0] == "app@mail.x.example"
    assert len(set(open_relay.recipients(own))) == 11
    assert "victim%postroad-test.example@mail.x.example" in open_relay.recipients(everyone)


class Speaks(socketserver.StreamRequestHandler):
    """SMTP: RCPT is answered as the server says; it hangs up after so many refusals."""

    def handle(self) -> None:
        server = cast("Any", self.server)
        self.wfile.write(b"220 hi\r\n")
        refused = 0
        while line := self.rfile.readline():
            verb = re.sub(rb"\W.*", b"", line, flags=re.DOTALL).upper()
            reply = b"221 bye" if verb == b"QUIT" else server.replies.get(verb, b"250 ok")
            self.wfile.write(reply + b"\r\n")
            refused += reply.startswith(b"5")
            if verb == b"QUIT" or refused >= server.patience:
                return


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Speaks) as server:
        made: Any = server
        made.replies, made.patience = {}, 99
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        number = server.server_address[1]
        monkeypatch.setattr(open_relay, "reachable", lambda sockets: [("127.0.0.1", number)])
        yield SimpleNamespace(number=number, server=made)
        server.shutdown()


def tried(port: SimpleNamespace, **values: Any) -> tuple[list[str], list[str]]:
    listening = config(listeners={"smtp": port.number}, **values)
    attempts, untried = open_relay.try_ports(listening, ["a@x.example", ""], ["v@y.example", "w@y.example"], timeout=5)
    return [each.reply for each in attempts], untried


def test_a_port_that_relays(port: SimpleNamespace) -> None:
    assert tried(port) == (["250 ok", "250 ok"], []), "it stops at the first that is taken; nothing is sent"


def test_a_port_that_refuses(port: SimpleNamespace) -> None:
    port.server.replies = {b"RCPT": b"550 no"}
    assert tried(port) == (["550 no"] * 4, [])
    port.server.replies = {b"MAIL": b"530 no"}
    assert tried(port) == (["530 no"] * 2, [])
    port.server.replies, port.server.patience = {b"RCPT": b"550 no"}, 1
    replies, untried = tried(port)
    assert (set(replies), untried) == ({"550 no"}, []), "it hung up, but after it had refused"


def test_every_port_counts_and_a_reply_of_several_lines_is_one(
    port: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_relay, "reachable", lambda sockets: [("127.0.0.1", port.number)] * 2)
    port.server.replies = {b"MAIL": b"530-no\r\n530 never"}
    assert tried(port) == (["530 no never"] * 4, [])


def test_a_port_that_can_not_be_tried(port: SimpleNamespace) -> None:
    port.server.replies, port.server.patience = {b"EHLO": b"554 no", b"HELO": b"554 no"}, 1
    attempts, untried = tried(port)
    assert attempts == []
    assert untried[0].startswith(f"port {port.number}: ")
    _, untried = tried(port, clients={"networks": ["127.0.0.0/8"]})
    assert untried == ["127.0.0.2 is in clients.networks, so nobody in here is a stranger"]
