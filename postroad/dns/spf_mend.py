"""Corrects terms of SPF records that break the grammar but whose meaning is clear."""

import ipaddress
import re
from collections.abc import Iterator

from postroad.dns.spf_grammar import faults

_RENAMED = {"ipv4": "ip4", "ip": "ip4", "ipv6": "ip6"}
_PARTS = re.compile(r"(?P<sign>[+?~-]?)(?:(?P<name>[A-Za-z][A-Za-z0-9]*):)?(?P<value>.*)", re.DOTALL)


def mend(text: str) -> str:
    """The corrected term if its meaning is clear; else, and if it follows the grammar, the term unchanged."""
    if not faults(f"v=spf1 {text}"):
        return text
    return next((meant for meant in _guesses(text.strip(",;\"'")) if not faults(f"v=spf1 {meant}")), text)


def _guesses(text: str) -> Iterator[str]:
    yield text
    match = _PARTS.fullmatch(text)
    if not match:
        return
    sign, name, value = match["sign"], (match["name"] or "").lower(), match["value"]
    address, slash, length = value.partition("/")
    mechanism = _RENAMED.get(name, name)
    if mechanism in {"", "ip4", "ip6", "a", "mx"} and (version := _version(address)):
        # an address after a mechanism for domains, or for the other IP version
        yield f"{sign}ip{version}:{address}{slash}{_prefix(length, version)}"
    if mechanism in {"a", "mx"}:
        yield f"{sign}{mechanism}:{re.sub(r':[0-9]+$', '', value)}"
        yield f"{sign}{mechanism}:{address}/{_prefix(length, 4)}"


def _version(text: str) -> int:
    try:
        return ipaddress.ip_address(text.strip("[]")).version
    except ValueError:
        return 0


def _prefix(text: str, version: int) -> str:
    """A prefix length, converted from a netmask, or without leading zeros."""
    if version == 4 and "." in text:
        try:
            return str(ipaddress.IPv4Network(f"0.0.0.0/{text}").prefixlen)
        except ValueError:
            return text
    return text.lstrip("0") or text[-1:]
