"""Addresses of clients: as sockets have them, as sendmail writes them."""

from typing import Any

from postroad.runtime.addresses import as_sendmail

__all__ = ["as_sendmail", "peer"]


def peer(name: Any) -> tuple[str, int]:
    """Address and port of a socket's name; an IPv4 address that is mapped into IPv6 is an IPv4 address."""
    host = str(name[0]).partition("%")[0]
    if host.startswith("::ffff:") and "." in host:
        host = host.removeprefix("::ffff:")
    return host, int(name[1])
