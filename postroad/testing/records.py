"""Records as nsupdate reads them. Pure."""

import ipaddress

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


def reverse_zone(net: IPNetwork) -> str:
    """The zone of a network's reverse names; it may be wider than the network."""
    labels = net.network_address.reverse_pointer.split(".")
    # cuts are at octets (IPv4) or nibbles (IPv6)
    bits = 8 if net.version == 4 else 4
    return ".".join(labels[(net.max_prefixlen - net.prefixlen + bits - 1) // bits :])


def version(address: str) -> int:
    """4 or 6."""
    return ipaddress.ip_address(address).version


def record_set(name: str, rtype: str, *values: str, ttl: int = 0) -> str:
    """The nsupdate lines that replace a record set, sent on their own: an update covers one zone."""
    owner = name.rstrip(".") + "."
    lines = [f"delete {owner} {rtype}"]
    lines += [f"add {owner} {ttl} {rtype} {_quoted(value) if rtype == 'TXT' else value}" for value in values]
    return "\n".join([*lines, "send"])


def _quoted(text: str) -> str:
    """A TXT value as character strings of at most 255 bytes (RFC 1035, section 3.3)."""
    data = text.encode()
    chunks = [data[start : start + 255] for start in range(0, len(data), 255)]
    return " ".join('"' + "".join(map(_escaped, chunk)) + '"' for chunk in chunks)


def _escaped(byte: int) -> str:
    return chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\{byte:03}"
