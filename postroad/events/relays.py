"""Servers of smarthosts, as sendmail knows them: by names of ours, behind which the uplink is.

The name of such a server is ``HOST.ID.uplink``, ID being six hexadecimal digits: ``preload/uplink.c`` reads the ID from
it. What people read has the server's own name.
"""

import ipaddress
import re
from collections import OrderedDict
from contextlib import suppress

REMEMBERED = 1000
"""Sessions."""

_INNER = re.compile(r"(?P<host>[^\s\[\]]{1,253})\.(?P<id>[0-9a-f]{6})\.uplink\.?(?![\w.-])")
_SESSION = re.compile(r"session pid=(?P<pid>\d{1,10}) id=(?P<id>[0-9a-f]{6}) address=(?P<address>[0-9a-fA-F.:]{1,45})")


def inner_name(host: str, server_id: str) -> str:
    """The name by which sendmail knows a server of a smarthost; an IPv6 address has dashes there."""
    return f"{host.replace(':', '-')}.{server_id}.uplink"


def plain(text: str) -> str:
    """A text of sendmail's with the servers' own names."""
    return _INNER.sub(r"\g<host>", text) if ".uplink" in text else text


def session(pid: int, server_id: str, address: str) -> str:
    """The uplink's line, from which ``Relays`` learns to which address a session of sendmail's has come."""
    return f"session pid={pid} id={server_id} address={address}"


class Relays:
    """The addresses behind the last sessions with smarthosts."""

    def __init__(self) -> None:
        """Begin without any."""
        self._addresses: OrderedDict[tuple[int | None, str], str] = OrderedDict()

    def learn(self, text: str) -> bool:
        """Take a line of the uplink's; False: it is another one."""
        match = _SESSION.fullmatch(text)
        if match is None:
            return False
        key = int(match["pid"]), match["id"]
        self._addresses.pop(key, None)
        self._addresses[key] = match["address"]
        if len(self._addresses) > REMEMBERED:
            self._addresses.popitem(last=False)
        return True

    def of(self, pid: int | None, host: str | None, address: str | None) -> tuple[str | None, str | None]:
        """A relay's name and address as they are, given those that the process of this id knows."""
        match = _INNER.fullmatch(host) if host else None
        if match is None:
            return host, address
        name, found = match["host"], self._addresses.get((pid, match["id"]))
        for literal in (name, name.replace("-", ":")):
            with suppress(ValueError):
                own = str(ipaddress.ip_address(literal))
                return None, found or own
        return name, found
