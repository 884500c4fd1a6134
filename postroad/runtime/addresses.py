"""IP addresses as sendmail writes them. Standard library only."""

import socket
import struct


def as_sendmail(addr: str) -> str:
    """The address as it stands in sendmail's ``${client_addr}`` and in the access map.

    IPv6 is tagged, uncompressed and without leading zeros.
    """
    if ":" not in addr:
        return addr
    groups = struct.unpack(">8H", socket.inet_pton(socket.AF_INET6, addr))
    return "IPv6:" + ":".join(f"{group:x}" for group in groups)
