"""Postroad's own Python, run in the relay's container: it sees the DNS as the relay does."""

import json
import shlex
from typing import Any

from postroad.testing import PostroadContainer

PYTHON = "PYTHONPATH=/opt/postroad /opt/postroad/venv/bin/python3"
SCRIPT = """
import dataclasses, json, sys, time
given = json.loads(sys.argv[1])
def run(given):
{body}
def plain(value):
    return {{**dataclasses.asdict(value), "unknown": value.unknown}} if hasattr(value, "unknown") else dataclasses.asdict(value)
print(json.dumps(run(given), default=plain))
"""


def inside(relay: PostroadContainer, body: str, given: Any = None) -> Any:
    """Run the body of a function of ``given`` inside; its result may hold dataclasses, which come as dicts."""
    script = SCRIPT.format(body="\n".join(f"    {line}" for line in body.strip().splitlines()))
    code, text = relay.shell(f"{PYTHON} -W error -c {shlex.quote(script)} {shlex.quote(json.dumps(given))}")
    assert code == 0, text
    return json.loads(text)


LOOK_UP = """
from postroad.dns.resolver import Resolver
resolver = Resolver(given["servers"], timeout=given.get("timeout", 3), deadline=given.get("deadline", 8))
began = time.monotonic()
answers = resolver.look_up(given["questions"])
return [answers, time.monotonic() - began]
"""
