"""The doctor beside receivers' own programs, in a pretend internet: one real message for each state of the DNS."""

import ipaddress
import json
import os
import secrets
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import dkim

from postroad.checks import dkim as dkim_check
from postroad.checks import dmarc, hostname, mx, reverse, spf
from postroad.checks.context import CheckFacts, Context
from postroad.checks.model import Check, Finding, Level
from postroad.config.model import Config
from postroad.dns.resolver import Resolver
from tests.internet.host import Host
from tests.internet.internet import LABEL, TREE, Internet
from tests.oracle.states import HOST, KEY_NAME, State, right

IMAGE = os.environ.get("POSTROAD_RECEIVERS_IMAGE", "postroad-receivers")
CHECKS = cast(
    "Mapping[str, Sequence[Check]]",
    {"host": (hostname, reverse), "spf": (spf,), "dkim": (dkim_check,), "dmarc": (dmarc,), "mx": (mx,)},
)
RECEIVERS: Mapping[str, Sequence[str]] = {
    "host": ("postfix client", "postfix helo"),
    "spf": ("policyd-spf", "libspf2", "rspamd spf"),
    "dkim": ("opendkim", "dkimpy", "rspamd dkim"),
    "dmarc": ("opendmarc", "rspamd dmarc"),
    "mx": ("postfix sender",),
}
SILENT = """
import socket, time
silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
silent.bind(("", 53))
open("/tmp/up", "w")
time.sleep(10**6)
"""


@dataclass(frozen=True)
class Row:
    """What came of one state.

    Attributes:
        state: it.
        receivers: the verdict of each that looks at its aspect, such as ``permerror``; for people the others' as well.
        level: the worst that the doctor finds of the aspect.
        findings: what it says.
        record: the name of the record that differs from the right ones; empty where none does.
    """

    state: State
    receivers: Mapping[str, str]
    everything: Mapping[str, str]
    level: Level
    findings: Sequence[Finding]
    records: Sequence[str]

    @property
    def agrees(self) -> bool:
        """Green where all of them pass, and nowhere else; what is at fault is named."""
        passes = [verdict == "pass" for verdict in self.receivers.values()]
        green = self.level in {Level.OK, Level.INFO}
        return green == all(passes) and (green or self.names_the_record)

    @property
    def names_the_record(self) -> bool:
        said = " ".join(f"{each.message} {each.seen} {each.record.name if each.record else ''}" for each in self._bad)
        return any(name in said for name in self.records)

    @property
    def _bad(self) -> list[Finding]:
        return [each for each in self.findings if each.level not in {Level.OK, Level.INFO}]

    def __str__(self) -> str:
        said = "; ".join(f"{each.message} [{each.seen[:100]}]" for each in self._bad)
        theirs = ", ".join(f"{name}: {verdict}" for name, verdict in self.receivers.items())
        return f"{self.state.name}: {self.level} ({said or 'nothing to mend'}) | {theirs}"


@contextmanager
def receivers(internet: Internet) -> Iterator[Host]:
    """The container with the receivers' programs, on the network of an Internet."""
    folder = Path(__file__).parent
    subprocess.run(["docker", "build", "--quiet", "--tag", IMAGE, folder], check=True, stdout=subprocess.DEVNULL)
    name = f"{internet.network}-receivers"
    container = internet._client.containers.create(
        IMAGE, name=name, labels={LABEL: internet.network, **TREE}, network=internet.network, dns=[internet.dns.address],
        environment={"DNS_SERVER": internet.dns.address}, cap_add=["NET_ADMIN"], init=True,
        sysctls={"net.ipv6.conf.all.disable_ipv6": "0", "net.ipv6.conf.lo.disable_ipv6": "0"},
    )  # fmt: skip
    host = Host(container, [""])
    try:
        host.start()
        host.run("receivers", "ready", timeout=300)
        yield host
    finally:
        container.remove(force=True)


def publish(internet: Internet, host: Host, states: Sequence[State]) -> list[dict[str, str]]:
    """Put the records of all states into the DNS, a zone each; the values that each state's records are made of."""
    key, other = (_key(host) for _ in range(2))
    given = []
    for number, state in enumerate(states, start=1):
        four = str(ipaddress.IPv4Address("198.18.0.0") + 256 + number)
        six = str(ipaddress.IPv6Address("2001:db8:57::") + number)
        values = {
            "d": f"s{number}.example", "four": four, "six": six, "key": _public(host, key), "other_key": _public(host, other),
            "private": key, "name": f"s{number}",
            "four_pointer": ipaddress.ip_address(four).reverse_pointer, "six_pointer": ipaddress.ip_address(six).reverse_pointer,
            "four_reversed": ".".join(reversed(four.split("."))),
        }  # fmt: skip
        values["cut_key"] = values["key"][:100]
        values["s"] = state.sender.format(**values)
        given.append(values)
    silent = internet.add_app()
    silent.run("sh", "-c", f"python3 -c '{SILENT}' >/dev/null 2>&1 & until [ -e /tmp/up ]; do sleep 0.05; done")
    internet.add_zone("18.198.in-addr.arpa", "7.5.0.0.8.b.d.0.1.0.0.2.ip6.arpa", *(values["d"] for values in given))
    internet.add_zone_with("servfail.example", '{ type secondary; primaries { 127.0.0.9 port 9; }; file "servfail"; };')
    internet.add_zone_with("silent.example", f"{{ type static-stub; server-addresses {{ {silent.address}; }}; }};")
    for state, values in zip(states, given, strict=True):
        lines: dict[bool, list[str]] = {
            True: [],
            False: [],
        }  # an update is for one zone: the reverse ones, or the state's
        for owner, records in {**right(), **state.changes}.items():
            name, rtype = owner.format(**values).split()
            lines[name.endswith(".arpa")] += [_line(name, rtype, record.format(**values)) for record in records]
        reverse = [line + "\nsend" for line in lines[True]]
        internet.dns.run("zone", "update", "\n".join([*reverse, *lines[False], "send"]))
    return given


def _line(name: str, rtype: str, value: str) -> str:
    if rtype == "TXT":
        data = value.encode()
        parts = [data[start : start + 255] for start in range(0, len(data), 255)]
        value = " ".join(
            '"' + "".join(chr(byte) if 35 <= byte < 127 and byte != 92 else f"\\{byte:03}" for byte in part) + '"'
            for part in parts
        )
    return f"add {name}. 60 {rtype} {value}"


def _key(host: Host) -> str:
    return host.run("openssl", "genrsa", "-traditional", "2048").decode()


def _public(host: Host, private: str) -> str:
    script = 'printf %s "$1" | openssl rsa -pubout -outform DER 2>/dev/null | base64 -w0'
    return host.run("sh", "-c", script, "-", private).decode()


def compare(internet: Internet, host: Host, states: Sequence[State]) -> list[Row]:
    """Publish all states, send a message for each, run the doctor on each; a row for each, in their order."""
    given = publish(internet, host, states)
    wanted = [
        {
            "name": values["name"], "address": values["six" if state.six else "four"], "helo": state.helo.format(**values),
            "sender": f"app@{values['s']}", "message": _message(state, values),
        }
        for state, values in zip(states, given, strict=True)
    ]  # fmt: skip
    done = subprocess.run(
        ["docker", "exec", "-i", host.name, "judge"], input=json.dumps(wanted).encode(), capture_output=True, check=False, timeout=1500,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(done.stderr.decode()[-3000:])
    verdicts = json.loads(done.stdout)
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda pair: examine(internet, *pair), zip(states, given, strict=True)))
    return [
        _row(state, values, verdicts[values["name"]], findings)
        for state, values, findings in zip(states, given, found, strict=True)
    ]


def _row(state: State, values: Mapping[str, str], verdicts: Mapping[str, str], findings: Sequence[Finding]) -> Row:
    theirs = {receiver: verdicts[receiver] for receiver in RECEIVERS[state.aspect]}
    order = list(Level)
    records = [owner.format(**values).split()[0] for owner in state.changes]
    # a wrong address shows at the host's name, or at the address that it is of
    records += [values["six" if state.six else "four"]] if state.aspect == "host" else []
    return Row(state, theirs, verdicts, max((each.level for each in findings), key=order.index), findings, records)


def _message(state: State, values: Mapping[str, str]) -> str:
    sender = values["s"]
    text = f"From: app@{sender}\r\nTo: user@rcpt.example\r\nSubject: {state.name}\r\nMessage-ID: <{values['name']}@{sender}>\r\nDate: Thu, 26 Nov 2026 00:00:00 +0000\r\n\r\nHello\r\n"
    signature: bytes = dkim.sign(
        text.encode(),
        b"s1",
        sender.encode(),
        values["private"].encode(),
        include_headers=[b"from", b"to", b"subject", b"message-id"],
    )
    return signature.decode() + text


def examine(internet: Internet, state: State, values: Mapping[str, str]) -> list[Finding]:
    """What the doctor's checks of the state's aspect find for the address that sends."""
    name = KEY_NAME.format(**values)
    facts = CheckFacts((values["six" if state.six else "four"],), {name: f"v=DKIM1; k=rsa; p={values['key']}"})
    config: dict[str, Any] = {
        "hostname": HOST.format(**values),
        "domains": [{"name": values["s"], "dkim": {"selector": "s1"}}],
    }
    began = time.monotonic()
    context = Context(
        Config.model_validate(config),
        Resolver([internet.dns.address], timeout=2.5, deadline=7),
        lambda: facts,
        deadline=began + 9,
    )
    found = [finding for check in CHECKS[state.aspect] for finding in check.run(context)]
    if state.aspect == "spf":
        # the host's own record is not the state's
        found = [finding for finding in found if HOST.format(**values) not in finding.message] or found
    return found


@contextmanager
def world() -> Iterator[tuple[Internet, Host]]:
    """A pretend internet with the receivers in it."""
    with Internet(f"postroad-oracle-{secrets.token_hex(3)}") as internet, receivers(internet) as host:
        yield internet, host
