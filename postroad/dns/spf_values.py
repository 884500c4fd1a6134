"""The values of SPF terms (RFC 7208, section 12): networks, prefix lengths, domain-specs."""

import ipaddress
import re

from postroad.dns import macros

QUAD = re.compile(r"[0-9]+(?:\.[0-9]+){3}")
_NETWORK = re.compile(r"(?P<address>[^/]*)(?:/(?P<length>.*))?", re.DOTALL)
_TOP = re.compile(r"\.(?:[A-Za-z0-9]*[A-Za-z][A-Za-z0-9]*|[A-Za-z0-9]+-[A-Za-z0-9-]*[A-Za-z0-9])\.?$")
_MACRO_END = re.compile(rf"(?:{macros.MACRO})$", re.IGNORECASE)


class FaultError(ValueError):
    """What is wrong with one term, in words."""


def prefix_length(text: str, most: int) -> int:
    """The prefix length in the text after a ``/``, at most ``most`` bits.

    Raises:
        FaultError: the text is not such a number.
    """
    if not re.fullmatch(r"[0-9]+", text):
        if QUAD.fullmatch(text):
            raise FaultError("a prefix length, not a netmask, comes after the /")
        raise FaultError(
            f"a prefix length (0 to {most}) must come after the /" if text else "no prefix length after the /"
        )
    if text != "0" and text.startswith("0"):
        raise FaultError("a prefix length has no leading zero")
    if len(text) > 3 or int(text) > most:
        raise FaultError(f"a prefix length is at most {most} here")
    return int(text)


def network(name: str, rest: str) -> str:
    """The network of ``ip4`` or ``ip6``, as ``ipaddress`` writes it."""
    example = "192.0.2.0/24" if name == "ip4" else "2001:db8::/32"
    match = _NETWORK.fullmatch(rest.removeprefix(":"))
    assert match  # noqa: S101 - the pattern takes any text
    if not rest.startswith(":") or not match["address"]:
        raise FaultError(f"no network; write for example {name}:{example}")
    address = _ip4(match["address"]) if name == "ip4" else _ip6(match["address"])
    most = address.max_prefixlen
    if match["length"] is not None and name == "ip4" and match["length"].startswith("/"):
        raise FaultError("ip4 has one prefix length, after one /")
    bits = most if match["length"] is None else prefix_length(match["length"], most)
    return str(ipaddress.ip_network((address, bits), strict=False))


def _ip4(text: str) -> ipaddress.IPv4Address:
    if ":" in text and _is_ip6(text):
        raise FaultError("an IPv6 network; write ip6:")
    if ":" in text:
        raise FaultError("a port, or another :, has no place in a network")
    octets = text.split(".")
    if not all(octet.isdigit() for octet in octets):
        raise FaultError(
            "no IPv4 address; for a name write a:NAME" if re.search("[A-Za-z]", text) else "no IPv4 address"
        )
    if len(octets) != 4:
        raise FaultError(f"an IPv4 address has four numbers, this has {len(octets)}")
    for octet in octets:
        if len(octet) > 1 and octet.startswith("0"):
            raise FaultError(f"a number of an address has no leading zero: {octet[:8]}")
        if len(octet) > 3 or int(octet) > 255:
            raise FaultError(f"a number of an address is at most 255, and not {octet[:8]}")
    return ipaddress.IPv4Address(text)


def _ip6(text: str) -> ipaddress.IPv6Address:
    if QUAD.fullmatch(text):
        raise FaultError("an IPv4 network; write ip4:")
    if text.startswith("["):
        raise FaultError("an IPv6 address has no brackets here")
    if not _is_ip6(text):
        raise FaultError("no IPv6 address")
    return ipaddress.IPv6Address(text)


def _is_ip6(text: str) -> bool:
    try:
        return "%" not in text and bool(ipaddress.IPv6Address(text))
    except ValueError:
        return False


def macro_string(text: str) -> None:
    """Check the macros in a text.

    Raises:
        FaultError: one is not a macro.
    """
    try:
        macros.check(text)
    except macros.MacroError as error:
        raise FaultError(str(error)) from None


def domain_spec(name: str, text: str, sign: str) -> str:
    """A domain-spec (section 7.1), which must end in a valid top-level label or in a macro."""
    if not text:
        raise FaultError(f"no domain; write {name}{sign}DOMAIN")
    macro_string(text)
    if _MACRO_END.search(text) or _TOP.search(text):
        return text
    raise FaultError(_no_domain(name, text))


def _no_domain(name: str, text: str) -> str:
    before, slash, after = text.partition("/")
    if QUAD.fullmatch(before) or _is_ip6(before.strip("[]")):
        return f"an address, where a domain belongs; write ip{6 if ':' in before else 4}:{text}"
    if re.search(r":[0-9]+$", text):
        return "a port has no place after a domain"
    if slash:
        return _bad_length(after) if name in {"a", "mx"} else f"{name} takes no prefix length and no path"
    _, dot, top = text.rstrip(".").rpartition(".")
    if not dot:
        return "not a complete domain name: it has only one label"
    return f"no domain name: no domain ends in .{top[:20]}" if top else "no domain name"


def _bad_length(text: str) -> str:
    """What is wrong with the text after the first ``/`` of ``a`` and ``mx``."""
    try:
        prefix_length(text.lstrip("/").partition("/")[0], 128)
    except FaultError as fault:
        return str(fault)
    return "prefix lengths are written /IPV4 or /IPV4//IPV6"
