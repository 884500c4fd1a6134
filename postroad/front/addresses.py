"""Addresses of clients: as sockets have them, as sendmail writes them."""

import socket
import struct
from typing import Any


def peer(name: Any) -> tuple[str, int]:
    """Address and port of a socket's name; an IPv4 address that is mapped into IPv6 is an IPv4 address."""
    host = str(name[0]).partition("%")[0]
    if host.startswith("::ffff:") and "." in host:
        host = host.removeprefix("::ffff:")
    return host, int(name[1])


def as_sendmail(addr: str) -> str:
    """The address as it stands in sendmail's ``${client_addr}``."""
    if ":" not in addr:
        return addr
    groups = struct.unpack(">8H", socket.inet_pton(socket.AF_INET6, addr))
    return "IPv6:" + ":".join(f"{group:x}" for group in groups)
