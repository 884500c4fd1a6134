"""Sends one message from an app through the relay to a real MX in a pretend internet, and shows what arrived."""

import json
import os
import subprocess
import sys
import time
from datetime import datetime
from email.utils import make_msgid

from tests.internet.internet import Internet, build_image

NETWORK = "postroad-demo"
HEALTHCHECK = "/usr/local/lib/postroad/healthcheck"


def docker(*words: str, **environment: str) -> str:
    """Run docker and return what it printed.

    Raises:
        SystemExit: it failed; holds what it complained of.
    """
    done = subprocess.run(
        ["docker", *words], env={**os.environ, **environment}, check=False, text=True, capture_output=True, timeout=120
    )
    if done.returncode:
        raise SystemExit(f"demo: docker {' '.join(words)} failed:\n{done.stderr}")
    return done.stdout


def compose(*words: str, dns: str = "127.0.0.1") -> str:
    """Run docker compose over the user's file and the demo's."""
    return docker("compose", "-p", NETWORK, "-f", "compose.yaml", "-f", "demo/compose.yaml", *words, DEMO_DNS=dns)


def demo() -> int:
    """Run it; return 0 if the message arrived signed and with SPF passing."""
    print("demo: the pretend internet: a DNS server and an MX that checks DKIM and SPF")
    build_image()
    internet = Internet(NETWORK).__enter__()
    print("demo: the relay, from compose.yaml, and an app beside it")
    compose("up", "--detach", "--no-build", "--quiet-pull", dns=internet.dns.address)
    compose("exec", "-T", "postroad", "sh", "-c", f"until {HEALTHCHECK} > /dev/null 2>&1; do sleep 0.1; done")
    relay = json.loads(docker("inspect", f"{NETWORK}-postroad-1"))[0]
    keys = json.loads(compose("exec", "-T", "postroad", "postroad", "dkim", "list", "--json"))["keys"]
    internet.publish_sender(
        "mail.sender.example",
        relay["NetworkSettings"]["Networks"][NETWORK]["IPAddress"],
        dkim={key["name"]: key["value"] for key in keys},
    )
    print("demo: the app sends a message")
    message_id = make_msgid(domain="sender.example")
    began = time.time()
    compose("exec", "-T", "app", "python3", "/app.py", message_id)
    handed_over = time.time()
    received = internet.wait_for_message(message_id)
    print("\nWhat the MX received:\n")
    for name in ("Return-Path", "Received", "Authentication-Results", "DKIM-Signature", "From", "To", "Subject"):
        for value in received.message.get_all(name, []):
            print(f"  {name}: {' '.join(str(value).split())}")
    host = relay["HostConfig"]
    print("\nWhat the relay logged:\n")
    logged = docker("logs", f"{NETWORK}-postroad-1").splitlines()
    print("\n".join(f"  {line}" for line in logged if message_id in line))
    started = datetime.fromisoformat(relay["State"]["StartedAt"][:23] + "+00:00")
    ready = next(event["time"] for event in map(json.loads, logged) if event.get("state") == "ready")
    memory = docker("stats", "--no-stream", "--format", "{{.MemUsage}}", f"{NETWORK}-postroad-1").split()[0]
    passed = received.verdict("dkim") == received.verdict("spf") == "pass" and bool(received.tls_version)
    host = relay["HostConfig"]
    print(
        f"\n  user {relay['Config']['User']}; read-only root: {host['ReadonlyRootfs']}; dropped: {host['CapDrop']}"
        f"\n  the app waited {handed_over - began:.2f} s; the MX had it after {received.delivered_at - began:.2f} s"
        f"\n  ready {(datetime.fromisoformat(ready) - started).total_seconds():.2f} s after the container started"
        f"; {memory} of memory in use now"
        f"\n  {received.tls_version or 'no TLS'}  dkim={received.verdict('dkim')}  spf={received.verdict('spf')}"
    )
    print("\nLook around with `docker compose -p postroad-demo logs`; `make down` removes it all.")
    return 0 if passed else 1


def down() -> int:
    """Remove everything that the demo made."""
    compose("down", "--volumes", "--timeout", "5")
    Internet(NETWORK).close()
    return 0


if __name__ == "__main__":
    sys.exit(down() if sys.argv[1:] == ["down"] else demo())
