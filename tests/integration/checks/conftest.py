"""Checks run in this process, against the pretend internet's DNS server and hosts."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from postroad.checks.context import CheckFacts, Context
from postroad.checks.model import Check, Finding
from postroad.config.model import Config
from postroad.dns.resolver import Resolver
from tests.internet.host import Host
from tests.internet.internet import Internet

ADDRESS = "203.0.113.10"
SIX = "2001:db8::10"
SILENT = "192.0.2.53"
"""A resolver that does not answer: nobody has this address (RFC 5737)."""

Examine = Callable[..., list[Finding]]


@pytest.fixture
def examine(zones: Internet) -> Examine:
    """Run a check: ``examine(check, domain, addresses=, dkim=, servers=, limit=, config=)``."""

    def run(
        check: Check,
        domain: str = "sender.example",
        *,
        addresses: Sequence[str] = (ADDRESS,),
        dkim: Mapping[str, str] | None = None,
        coming: Mapping[str, str] | None = None,
        past: Mapping[str, tuple[str, str, str]] | None = None,
        servers: Sequence[str] = (),
        limit: float = 9,
        config: Mapping[str, Any] | None = None,
    ) -> list[Finding]:
        values = {"hostname": f"mail.{domain}", "domains": [domain], **(config or {})}
        context = Context(
            Config.model_validate(values),
            Resolver(servers or [zones.dns.address], timeout=2.5, deadline=limit - 2),
            lambda: CheckFacts(tuple(addresses), dkim or {}, coming=coming or {}, past=past or {}),
            deadline=time.monotonic() + limit,
        )
        return list(check.run(context))

    return run


def levels(findings: Sequence[Finding]) -> list[str]:
    return [str(finding.level) for finding in findings]


SERVER = """
import socket, ssl, subprocess, sys, time
mode = sys.argv[1]
listener = socket.create_server(("", 25), backlog=0 if mode == "drops" else 50)
if mode == "drops":
    # nobody accepts: once the queue is full, the kernel drops what comes, as a firewall does
    full = [socket.socket() for _ in range(3)]
    for each in full:
        each.setblocking(False)
        each.connect_ex(("127.0.0.1", 25))
    print("up")
    time.sleep(10**6)
if mode in ("self-signed", "slow"):
    subprocess.run(
        "openssl req -quiet -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=mx"
        " -keyout /tmp/key.pem -out /tmp/cert.pem", shell=True, check=True)
print("up")
kept = []
while True:
    client, _ = listener.accept()
    if mode == "hangs":
        kept.append(client)  # open, and nothing is said
        continue
    if mode == "slow":
        time.sleep(1.5)
    greeting = {"blocks": "554 5.7.1 you are on our list", "busy": "421 4.3.2 come back later"}.get(mode, "220 mx ESMTP")
    try:
        client.sendall(greeting.encode() + b"\\r\\n")
        file = client.makefile("rb")
        while line := file.readline():
            word = line.split()[0].upper()
            if word == b"EHLO":
                offers = b"" if mode == "plain" else b"250-STARTTLS\\r\\n"
                client.sendall(b"250-mx\\r\\n" + offers + b"250 8BITMIME\\r\\n")
            elif word == b"STARTTLS":
                client.sendall(b"220 go\\r\\n")
                if mode == "bad-tls":
                    client.sendall(b"this is no TLS at all, whatever you may think\\r\\n" * 20)
                elif mode in ("self-signed", "slow"):
                    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                    context.load_cert_chain("/tmp/cert.pem", "/tmp/key.pem")
                    context.wrap_socket(client, server_side=True)
                break
            else:
                client.sendall(b"250 ok\\r\\n")
    except OSError:
        pass
    client.close()
"""


@pytest.fixture(scope="session")
def receivers(zones: Internet) -> Internet:
    """Domains below ``receivers.example``, each with a mail server that behaves in its own way."""
    zones.add_zone("receivers.example")
    for mode in ("drops", "hangs", "slow", "blocks", "busy", "plain", "bad-tls", "self-signed"):
        host = zones.add_app()
        serve(host, SERVER, mode)
        publish_receiver(zones, mode, host.address)
    publish_receiver(zones, "refuses", zones.add_app().address)
    publish_receiver(zones, "other-name", zones.mx.address)
    zones.publish("right.receivers.example", "MX", "10 mx.rcpt.example.")
    zones.publish("gone.receivers.example", "MX", "10 nobody.receivers.example.")
    zones.publish("broken.receivers.example", "MX", "10 mail.servfail.example.")
    return zones


def publish_receiver(zones: Internet, name: str, address: str) -> None:
    zones.publish(f"{name}.receivers.example", "MX", f"10 mx-{name}.receivers.example.", "90 mx.rcpt.example.")
    zones.publish(f"mx-{name}.receivers.example", "A", address)


@pytest.fixture
def trusted(internet: Internet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process trust the certificates of the pretend internet, and no others."""
    (tmp_path / "ca.pem").write_bytes(internet.ca_certificate())
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))


def serve(host: Host, script: str, *arguments: str) -> None:
    """Run a Python server in a container; returns when it has printed a line."""
    start = 'python3 -u -c "$@" >/tmp/said 2>&1 & until [ -s /tmp/said ]; do sleep 0.05; done; grep -q ^up /tmp/said || cat /tmp/said'
    host.run("bash", "-c", start, "-", script, *arguments)
