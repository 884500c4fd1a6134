"""Whether the server that runs says the configured name, in its greeting and, by its rules, in HELO."""

import re
import socket
from collections.abc import Iterator

from postroad.checks.context import Context
from postroad.checks.model import Finding, Level
from postroad.runtime.paths import CURRENT

ID = "helo"
SHORT = True


def run(context: Context) -> Iterator[Finding]:
    """One finding."""
    host = context.config.hostname
    try:
        text = (CURRENT / "sendmail.cf").read_text()
    except OSError:
        return  # no server runs here, so there is no name to compare
    says = helo_name(text)
    if says == host:
        port = context.config.listeners.smtp or context.config.listeners.submission
        says = (port and greeting(port, context.left)) or host
    if says == host:
        yield Finding(ID, Level.OK, f"the server calls itself {host}")
        return
    yield Finding(
        ID,
        Level.ERROR,
        f"the server calls itself {says}, and not {host}",
        says,
        "let it read its configuration again: postroad reload; if that is it already, look at sendmail.defines",
    )


def helo_name(cf: str) -> str:
    """The name that a sendmail.cf says in HELO: HeloName, or else ``$j`` (Operations Guide, 5.6)."""
    name = re.search(r"^O HeloName=(\S+)", cf, re.MULTILINE) or re.search(r"^Dj(\S+)", cf, re.MULTILINE)
    return name[1].lower() if name else ""


def greeting(port: int, timeout: float) -> str:
    """The name in the server's 220 line; empty if it does not greet in time."""
    try:
        with socket.create_connection(("127.0.0.1", port), min(timeout, 5)) as client:
            line = client.makefile("rb").readline(600).decode(errors="replace")
            client.sendall(b"QUIT\r\n")
            client.recv(600)
    except OSError:
        return ""
    match = re.match(r"220[ -](\S+)", line)
    return match[1].lower() if match else ""
