"""Whether the smarthosts take our mail: a session with each, with TLS and AUTH, in which nothing is sent."""

from collections.abc import Iterator

from postroad.checks.context import Context
from postroad.checks.model import Finding, Level
from postroad.checks.smarthosts import probes
from postroad.errors import InstallError
from postroad.uplink.probe import Probe

ID = "smarthost-session"
SHORT = False

MOST = 6.0
"""Seconds for a session: the doctor is done within ten."""


def run(context: Context) -> Iterator[Finding]:
    """One finding for each server; none where there is no smarthost."""
    try:
        found = probes(context.config, within=min(MOST, context.left))
    except InstallError as error:
        yield Finding(ID, Level.ERROR, "what the smarthosts are told can't be read", str(error), "postroad check")
        return
    for each in found:
        yield judge(each)


def judge(found: Probe) -> Finding:
    """What this session says."""
    server = found.server
    name = f"{server.host} port {server.port}"
    if found.reason:
        fix = f"look at {server.key}; until then its mail waits, and none bounces. postroad smarthost check tries again"
        return Finding(ID, Level.ERROR, f"{name} does not take our mail", f"{server.host} {found.reason}", fix)
    how = ", ".join(filter(None, (found.tls or "clear text", found.mechanism)))
    refused = next((reply for reply in (found.mail, found.recipient) if reply and reply.code >= 300), None)
    if refused:
        fix = "it may take other senders and recipients: ask its provider, or try postroad smarthost check --recipient"
        return Finding(ID, Level.WARNING, f"{name} lets us in and refuses a transaction", refused.text, fix)
    return Finding(ID, Level.OK, f"{name} takes our mail", how)
