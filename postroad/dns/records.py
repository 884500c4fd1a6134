"""The records to publish, computed from the configuration and a few facts. Pure."""

import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from postroad.config.model import Config
from postroad.dns import smarthosts, spf
from postroad.dns.dmarc_record import is_attempt, is_dmarc, mend, organizational, reporting_to
from postroad.dns.resolver import Answer, Question
from postroad.secrets import rotation

TTL = 3600
SPF = "v=spf1"
DMARC = "v=DMARC1"


@dataclass(frozen=True)
class Record:
    """A record to publish.

    Attributes:
        name: fully qualified, in lower case, without the trailing dot.
        type: A, AAAA, PTR, TXT, MX or CNAME.
        ttl: seconds.
        value: as in ``resolver.Answer``: a TXT value unsplit, names without the trailing dot.
        purpose: what it is for, in a few words that begin with its usual name, such as ``SPF``.
    """

    name: str
    type: str
    ttl: int
    value: str
    purpose: str


@dataclass(frozen=True)
class RecordFacts:
    """What the records depend on besides the configuration.

    Attributes:
        addresses: the public addresses of this host, IPv4 or IPv6.
        dkim: the TXT value of each key to publish, by its name (``SELECTOR._domainkey.DOMAIN``).
        existing: the DNS answers to ``questions``. An existing SPF or DMARC record is kept, and changed only where
            necessary. Without an answer the result is the record for a domain that has none.
        passing: (domain, address) pairs that existing SPF records already let pass, for example by an include.
        reports: the address for DMARC (and TLS) reports; empty means ``postmaster`` of each domain.
        tls_rpt: also ask receivers for TLS reports (RFC 8460).
    """

    addresses: tuple[str, ...]
    dkim: Mapping[str, str] = field(default_factory=dict)
    existing: Mapping[Question, Answer] = field(default_factory=dict)
    passing: frozenset[tuple[str, str]] = frozenset()
    reports: str = ""
    tls_rpt: bool = False


def expected(config: Config, facts: RecordFacts) -> list[Record]:
    """All records to publish, the host's first.

    The same name and type may occur several times for A, AAAA and MX; each kind of TXT record (SPF, DMARC ...) once.
    """
    made: dict[tuple[str, str, str], Record] = {}
    for record in (*_host(config, facts), *_domains(config, facts), *_returns(config, facts)):
        # a host that is a sender domain too has one SPF record, of the first kind
        key = (record.name, record.type, record.value[:6] if record.type == "TXT" else record.value)
        made.setdefault(key, record)
    return list(made.values())


def questions(config: Config, facts: RecordFacts) -> list[Question]:
    """What to look up before ``expected``: the records it returns, and those that its choices depend on."""
    found = {(record.name, record.type): None for record in expected(config, facts)}
    own = (config.returns.domain,) if config.returns.domain else ()
    for domain in (config.hostname, *own, *(domain.name for domain in config.named_domains)):
        found |= {(domain, rtype): None for rtype in ("SOA", "A", "AAAA", "MX", "TXT")}
        found |= {(f"_dmarc.{name}", "TXT"): None for name in (domain, organizational(domain))}
    return list(found)


def _host(config: Config, facts: RecordFacts) -> Iterator[Record]:
    host = config.hostname
    if not config.delivery.goes_to_receivers:
        return  # receivers only ever see the smarthost's name and address
    for address in facts.addresses:
        rtype = "A" if ipaddress.ip_address(address).version == 4 else "AAAA"
        yield Record(host, rtype, TTL, address, "host name: the name in HELO leads to the address that mail comes from")
    for address in facts.addresses:
        pointer = ipaddress.ip_address(address).reverse_pointer
        yield Record(pointer, "PTR", TTL, host, "reverse DNS: the address leads back to the name")
    if facts.addresses:
        text = _spf(facts, host, all_="-all")
        yield Record(host, "TXT", TTL, text, "SPF of the host: HELO, and bounces, whose sender is empty")


def _domains(config: Config, facts: RecordFacts) -> Iterator[Record]:
    for domain in config.named_domains:
        direct, through = config.delivery.goes_to_receivers, smarthosts.includes(config.delivery)
        if (direct and facts.addresses) or through:
            text = smarthosts.merge(_spf(facts, domain.name, all_="~all", direct=direct), through)
            yield Record(domain.name, "TXT", TTL, text, "SPF: who may send with this domain in the envelope")
        for name, value in facts.dkim.items():
            if name.endswith(f"._domainkey.{domain.name}"):
                yield Record(
                    published_at(config, name), "TXT", TTL, value, "DKIM: the key that signatures are verified with"
                )
        if config.dkim.enabled and config.dkim.cname:
            for base, algorithm in config.selectors(domain).items():
                rotates = algorithm != "rsa" or domain.dkim.key_file is None
                for selector in rotation.pair(base) if rotates else (base,):
                    name = f"{selector}._domainkey.{domain.name}"
                    purpose = "DKIM: leads to the key, or to the next one"
                    yield Record(name, "CNAME", TTL, published_at(config, name), purpose)
        reports = facts.reports or _reports(config, "dmarc") or f"postmaster@{domain.name}"
        policy = _dmarc(config, facts, domain.name)
        if policy or not published(facts, f"_dmarc.{organizational(domain.name)}", DMARC):
            policy = policy or f"v=DMARC1; p=none; rua=mailto:{reports}"
            yield Record(
                f"_dmarc.{domain.name}", "TXT", TTL, policy, "DMARC: what to do with mail that fails, and reports"
            )
        yield from _mx(config, facts, domain.name)
        if facts.tls_rpt:
            yield Record(
                f"_smtp._tls.{domain.name}",
                "TXT",
                TTL,
                f"v=TLSRPTv1; rua=mailto:{facts.reports or _reports(config, 'tlsrpt') or reports}",
                "TLS-RPT: reports on TLS to you",
            )


def _reports(config: Config, mailbox: str) -> str:
    """The address that ``returns`` takes reports at; empty where it is off."""
    return f"{mailbox}@{config.returns.domain}" if config.returns.domain else ""


def _returns(config: Config, facts: RecordFacts) -> Iterator[Record]:
    """The domain of return addresses: its MX leads here, and its SPF lets us send with such an address."""
    name = config.returns.domain
    if name is None:
        return
    mx = facts.existing.get((name, "MX"))
    for value in mx.values if mx and mx.found else (f"10 {config.hostname}",):
        yield Record(name, "MX", TTL, value, "MX: late bounces, complaints and reports come here")
    if facts.addresses and config.delivery.goes_to_receivers:
        yield Record(
            name, "TXT", TTL, _spf(facts, name, all_="-all"), "SPF: mail leaves with this domain as its sender"
        )
    for domain in config.named_domains:
        if not facts.reports and organizational(domain.name) != organizational(name):
            # RFC 7489, section 7.1: a domain has to agree to get reports about another organization's
            purpose = "DMARC: this domain agrees to get the reports"
            yield Record(f"{domain.name}._report._dmarc.{name}", "TXT", TTL, DMARC, purpose)


def published_at(config: Config, name: str) -> str:
    """The name at which to publish a key's record that receivers look up as ``SELECTOR._domainkey.DOMAIN``."""
    return f"{name}.{config.dkim.cname}" if config.dkim.cname else name


def _dmarc(config: Config, facts: RecordFacts, domain: str) -> str:
    """The published policy, which states its owner's wish, corrected if it is misspelt; empty if there is none.

    Its reports go to ``returns`` as well.
    """
    answer = facts.existing.get((f"_dmarc.{domain}", "TXT"))
    attempts = [mended for text in (answer.values if answer else ()) if is_attempt(text) and (mended := mend(text))]
    policy = next(iter([*published(facts, f"_dmarc.{domain}", DMARC), *attempts]), "")
    loop = _reports(config, "dmarc")
    return reporting_to(policy, loop) if policy and loop and not facts.reports else policy


def _spf(facts: RecordFacts, domain: str, *, all_: str, direct: bool = True) -> str:
    answer = facts.existing.get((domain, "TXT"))
    meant = [record for text in (answer.values if answer else ()) if (record := spf.attempted(text))]
    existing = [*published(facts, domain, SPF), *meant]
    merged = spf.merge(existing, (), all_=all_)
    missing = [
        address
        for address in facts.addresses
        if direct and (domain, address) not in facts.passing and not spf.covered(merged, address)
    ]
    return spf.merge(existing, missing, all_=all_)


def _mx(config: Config, facts: RecordFacts, domain: str) -> Iterator[Record]:
    """The published MX records; one to this host if the domain can't receive mail at all (RFC 5321, section 5.1).

    If all mail goes to smarthosts, this host needs no address in the DNS, so no MX points to it.

    Never a null MX (RFC 7505): receivers may refuse senders in a domain that has one (section 4.2).
    """
    answers = [facts.existing.get((domain, rtype)) for rtype in ("MX", "A", "AAAA")]
    if answers[0] and answers[0].found:
        for value in answers[0].values:
            yield Record(domain, "MX", TTL, value, "MX: where bounces go")
    elif config.delivery.goes_to_receivers and not any(answer and answer.found for answer in answers):
        purpose = (
            "MX: only if the domain has no mailboxes, as receivers refuse senders without one; else of the server that"
            " has them"
        )
        yield Record(domain, "MX", TTL, f"10 {config.hostname}", purpose)


def published(facts: RecordFacts, name: str, version: str) -> list[str]:
    """The published TXT records of a name that are of this version (``SPF``, ``DMARC`` ...)."""
    answer = facts.existing.get((name, "TXT"))
    return [text for text in (answer.values if answer else ()) if is_version(text, version)]


def is_version(text: str, version: str) -> bool:
    """Whether a TXT record begins with this version, as a whole term (SPF) or a whole tag (the others)."""
    if version == SPF:
        return spf.is_spf(text)
    return is_dmarc(text) if version == DMARC else re.match(f"{version}[ \t]*(;|$)", text) is not None
