"""The records to publish for a configuration: pure, from the configuration and a few facts."""

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from postroad.config.model import Config
from postroad.dns import spf
from postroad.dns.resolver import Answer, Question

TTL = 3600


@dataclass(frozen=True)
class Record:
    """A record to publish.

    Attributes:
        name: fully qualified, in lower case, without the dot at its end.
        type: A, AAAA, PTR, TXT or MX.
        ttl: seconds.
        value: as ``resolver.Answer`` holds it: a TXT value unsplit, names without the dot at their end.
        purpose: what it is for, in a few words, beginning with the name people know it by, such as ``SPF``.
    """

    name: str
    type: str
    ttl: int
    value: str
    purpose: str


@dataclass(frozen=True)
class Facts:
    """What the records depend on besides the configuration.

    Attributes:
        addresses: the addresses the world sees this host under, IPv4 or IPv6.
        dkim: the TXT value of each key in use, by its name (``SELECTOR._domainkey.DOMAIN``).
        existing: what the DNS answered to ``questions``; an SPF or DMARC record that exists is kept and, if it must
            be, changed. Without an answer the record is what it would be for a domain that has none.
        reports: the address for DMARC (and TLS) reports; empty: ``postmaster`` of each domain.
        tls_rpt: also ask receivers for reports on TLS (RFC 8460).
    """

    addresses: tuple[str, ...]
    dkim: Mapping[str, str] = field(default_factory=dict)
    existing: Mapping[Question, Answer] = field(default_factory=dict)
    reports: str = ""
    tls_rpt: bool = False


def expected(config: Config, facts: Facts) -> list[Record]:
    """All records to publish, the host's first; the same name and type comes twice only for A and AAAA."""
    made: dict[tuple[str, str, str], Record] = {}
    for record in (*_host(config, facts), *_domains(config, facts)):
        key = (record.name, record.type, record.value if record.type in {"A", "AAAA"} else record.value[:6])
        made.setdefault(key, record)
    return list(made.values())


def questions(config: Config, facts: Facts) -> list[Question]:
    """What to look up before ``expected``: its own names and types, and those that its choices depend on."""
    found = {(record.name, record.type): None for record in expected(config, facts)}
    for domain in (config.hostname, *(domain.name for domain in config.named_domains)):
        found |= {(domain, rtype): None for rtype in ("SOA", "A", "AAAA", "MX", "TXT")}
        found |= {(f"_dmarc.{parent}", "TXT"): None for parent in _up(domain)}
    return list(found)


def _host(config: Config, facts: Facts) -> Iterator[Record]:
    host = config.hostname
    for address in facts.addresses:
        rtype = "A" if ipaddress.ip_address(address).version == 4 else "AAAA"
        yield Record(host, rtype, TTL, address, "host name: the name in HELO leads to the address that mail comes from")
    for address in facts.addresses:
        pointer = ipaddress.ip_address(address).reverse_pointer
        yield Record(pointer, "PTR", TTL, host, "reverse DNS: the address leads back to the name")
    text = spf.merge(_txt(facts, host, "v=spf1"), facts.addresses, all_="-all")
    yield Record(host, "TXT", TTL, text, "SPF of the host: HELO, and bounces, whose sender is empty")


def _domains(config: Config, facts: Facts) -> Iterator[Record]:
    for domain in config.named_domains:
        text = spf.merge(_txt(facts, domain.name, "v=spf1"), facts.addresses, all_="~all")
        yield Record(domain.name, "TXT", TTL, text, "SPF: who may send with this domain in the envelope")
        key = f"{config.selector(domain)}._domainkey.{domain.name}"
        if key in facts.dkim:
            yield Record(key, "TXT", TTL, facts.dkim[key], "DKIM: the key that signatures are verified with")
        reports = facts.reports or f"postmaster@{domain.name}"
        if not any(_txt(facts, f"_dmarc.{parent}", "v=dmarc1") for parent in _up(domain.name)[1:]):
            # one that is there says what its owner wants
            policy = _txt(facts, f"_dmarc.{domain.name}", "v=dmarc1") or f"v=DMARC1; p=none; rua=mailto:{reports}"
            yield Record(
                f"_dmarc.{domain.name}", "TXT", TTL, policy, "DMARC: what to do with mail that fails, and reports"
            )
        if not _received(facts, domain.name):
            yield Record(
                domain.name,
                "MX",
                TTL,
                f"10 {config.hostname}",
                "MX: receivers refuse senders whose domain takes no mail; better is the server that has your mailboxes",
            )
        if facts.tls_rpt:
            yield Record(
                f"_smtp._tls.{domain.name}",
                "TXT",
                TTL,
                f"v=TLSRPTv1; rua=mailto:{reports}",
                "TLS-RPT: reports on TLS to you",
            )


def _received(facts: Facts, domain: str) -> bool:
    """Whether mail to the domain is known to have somewhere to go: its MX, or itself (RFC 5321, section 5.1)."""
    answers = [facts.existing.get((domain, rtype)) for rtype in ("MX", "A", "AAAA")]
    return any(answer and answer.found for answer in answers)


def _txt(facts: Facts, name: str, version: str) -> str:
    """The first TXT record of a name that begins with this version; empty if there is none."""
    answer = facts.existing.get((name, "TXT"))
    return next((text for text in (answer.values if answer else ()) if text.lower().startswith(version)), "")


def _up(domain: str) -> list[str]:
    """A domain and those above it that a DMARC record may be at, down to two labels."""
    labels = domain.split(".")
    return [".".join(labels[start:]) for start in range(max(1, len(labels) - 1))]
