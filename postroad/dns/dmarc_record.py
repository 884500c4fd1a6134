"""DMARC policy records (RFC 7489, sections 6.3, 6.4 and 6.6.3), checked as receivers check them."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from urllib.parse import urlsplit

from publicsuffixlist import PublicSuffixList

from postroad.dns import tag_list
from postroad.dns.tag_list import shown

POLICIES = ("none", "quarantine", "reject")
"""Mildest first."""

_VERSION = re.compile(r"v[ \t]*=[ \t]*DMARC1[ \t]*(?:;|$)")
_ATTEMPT = re.compile(r"\W*v?\W*dmarc", re.IGNORECASE)
_FORMS: Mapping[str, tuple[re.Pattern[str], str]] = {
    "adkim": (re.compile("[rs]", re.IGNORECASE), "r or s"),
    "aspf": (re.compile("[rs]", re.IGNORECASE), "r or s"),
    "pct": (re.compile(r"100|[0-9]{1,2}|0[0-9]{2}"), "a number from 0 to 100"),
    "ri": (re.compile(r"[0-9]+"), "a number of seconds"),
    "fo": (re.compile(r"[01ds](?:[ \t]*:[ \t]*[01ds])*", re.IGNORECASE), "0, 1, d or s, separated by colons"),
    "rf": (re.compile(r"[a-z0-9-]+(?:[ \t]*:[ \t]*[a-z0-9-]+)*", re.IGNORECASE), "names of formats"),
}
_ADDRESS = re.compile(r"[^@\s,!;:]+@(?P<domain>[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+)")


@dataclass(frozen=True)
class Policy:
    """What a policy record asks of receivers.

    Attributes:
        p: the policy for the domain itself.
        sp: the policy for subdomains that have no record of their own.
        strict_dkim: the signature's domain must equal that of ``From:``; the same organization is not enough.
        strict_spf: likewise for the envelope sender's domain.
        rua: the domains that receive aggregate reports.
        doubts: grammar faults for which receivers may ignore the tag, or the record.
    """

    p: str
    sp: str
    strict_dkim: bool
    strict_spf: bool
    rua: tuple[str, ...]
    doubts: tuple[str, ...]


def is_dmarc(text: str) -> bool:
    """Whether a TXT value is a DMARC record; receivers discard all other values first (section 6.6.3)."""
    return _VERSION.match(text) is not None


def is_attempt(text: str) -> bool:
    """Whether a TXT value was meant as a DMARC record but is not one."""
    return not is_dmarc(text) and _ATTEMPT.match(text) is not None


def parse(text: str) -> Policy:
    """Parse a record.

    Raises:
        ValueError: receivers can't follow it: no tag list, no valid ``p=``, or an invalid ``sp=``; says which.
    """
    tags = tag_list.parse(text)
    if "p" not in tags:
        raise ValueError("it has no policy (p=)")
    for name in ("p", "sp"):
        if tags.get(name, "none").lower() not in POLICIES:
            raise ValueError(f"{shown(f'{name}={tags[name]}')} is not a policy; use one of {', '.join(POLICIES)}")
    policy = tags["p"].lower()
    return Policy(
        policy,
        tags.get("sp", policy).lower(),
        tags.get("adkim", "r").lower() == "s",
        tags.get("aspf", "r").lower() == "s",
        tuple(match["domain"].lower() for uri in _uris(tags, "rua") if (match := _ADDRESS.search(uri))),
        (*_strict(text), *_doubts(tags)),
    )


def _uris(tags: Mapping[str, str], name: str) -> list[str]:
    return [uri.strip() for uri in tags[name].split(",")] if name in tags else []


def _strict(text: str) -> Iterator[str]:
    if not text.startswith("v=DMARC1"):
        yield "spaces around the = of v=, so OpenDMARC does not recognize the record"


def _doubts(tags: Mapping[str, str]) -> Iterator[str]:
    if list(tags)[1] != "p":
        yield "p= is not the second tag, right after v="
    for name, (form, wanted) in _FORMS.items():
        if name in tags and not form.fullmatch(tags[name]):
            yield f"{shown(f'{name}={tags[name]}')}: expected {wanted}"
    for name in ("rua", "ruf"):
        for uri in _uris(tags, name):
            if wrong := _bad_uri(uri):
                yield f"{name}: {shown(uri)}: {wrong}"


def _bad_uri(uri: str) -> str:
    plain, mark, size = uri.partition("!")
    if mark and not re.fullmatch("[0-9]+[kmgt]?", size, re.IGNORECASE):
        return "a size, such as 10m, comes after the !"
    if _ADDRESS.fullmatch(plain):
        return f"an address without mailto:; write mailto:{plain}"
    scheme = urlsplit(plain).scheme.lower() if ":" in plain else ""
    if scheme != "mailto":
        return "not a mailto: URI, so no reports are sent"
    return "" if _ADDRESS.fullmatch(plain[len("mailto:") :]) else "no mail address after mailto:"


def mend(text: str) -> str:
    """A value meant as a DMARC record, with its version corrected; empty if more than the version is wrong."""
    _, _, rest = text.partition(";")
    mended = f"v=DMARC1;{rest}" if rest.startswith(" ") else f"v=DMARC1; {rest}"
    try:
        parse(mended)
    except ValueError:
        return ""
    return mended


def reporting_to(text: str, address: str) -> str:
    """A record that asks for aggregate reports to an address as well; unchanged where it does, or is invalid.

    Receivers send to two addresses at least (section 6.2).
    """
    try:
        parse(text)
    except ValueError:
        return text
    uris = _uris(tag_list.parse(text), "rua")
    if any(uri.partition("!")[0].lower() == f"mailto:{address}".lower() for uri in uris):
        return text
    if not uris:
        return text.rstrip(" \t;") + f"; rua=mailto:{address}"
    return re.sub(r"(;[ \t]*rua[ \t]*=[^;]*?)[ \t]*(?=;|$)", rf"\g<1>,mailto:{address}", text, count=1)


@cache
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList()


def organizational(domain: str) -> str:
    """The organizational domain, by the Public Suffix List (section 3.2); its record covers its subdomains."""
    if domain.count(".") < 2:
        return domain
    return _suffixes().privatesuffix(domain) or domain
