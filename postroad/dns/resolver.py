"""DNS lookups, in parallel and bounded in time, whose answers distinguish every outcome.

resolver = Resolver(servers(), deadline=8)
address, policy = resolver.look_up([("mail.example.com", "A"), ("_dmarc.example.com", "TXT")])

Threads may share a ``Resolver``. It asks each question only once in its life: make a new one to see changes.
"""

import re
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Self, TypeAlias

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset

Question: TypeAlias = tuple[str, str]
"""A name, without the trailing dot, and a record type such as ``TXT``."""

RESOLV_CONF = Path("/etc/resolv.conf")
TIMEOUT = 3.0
TRY = 1.2
"""Seconds to wait for one server before the next is asked, or the same again: a datagram may be lost."""
GIVE_UP = 3
"""The DNS counts as dead, and is not asked again, when this many lookups got no answer and none got one before."""
LONGEST_CHAIN = 8
SIDE_BY_SIDE = 32


class Status(StrEnum):
    """The outcome of a question."""

    FOUND = "found"
    NXDOMAIN = "nxdomain"
    """The name does not exist (RFC 2308)."""
    NODATA = "nodata"
    """The name exists, without a record of this type."""
    SERVFAIL = "servfail"
    """The zone's servers can't be reached or are broken, or their DNSSEC signatures are invalid."""
    REFUSED = "refused"
    """The resolver refuses us, or this name: blocklists refuse public resolvers in this way."""
    TIMEOUT = "timeout"
    """No answer in time."""
    ERROR = "error"
    """An unusable answer: another response code, or no DNS message at all; ``detail`` says which."""


class Text(str):
    """A TXT value as text that keeps the character strings it was published as.

    The text is the strings joined; octets that are not UTF-8 become U+FFFD. Use ``strings`` to write the record back.
    """

    strings: tuple[bytes, ...]

    def __new__(cls, strings: Sequence[bytes]) -> Self:
        """Join the strings."""
        text = super().__new__(cls, b"".join(strings).decode(errors="replace"))
        text.strings = tuple(strings)
        return text

    def __getnewargs__(self) -> tuple[Sequence[bytes]]:  # type: ignore[override]
        """The arguments that a copy is made from."""
        return (self.strings,)


@dataclass(frozen=True)
class Answer:
    """What is known about a name and type.

    Attributes:
        name: the name that was asked for, in lower case without the trailing dot.
        type: the record type that was asked for.
        status: the outcome.
        values: the records, in a fixed order. TXT: the strings joined without a separator (RFC 7208, section 3.3), as
            ``Text``. Addresses: in their shortest form. MX: ``10 mx.example.com``. Names are in lower case without
            the trailing dot; the root is ``.``.
        aliases: the CNAME targets that were followed, in order; the records belong to the last one.
        ttl: seconds, the smallest along the chain; 0 if there is no record.
        authenticated: the resolver says that it validated the answer with DNSSEC (the AD bit).
        zone: the zone of the name, if the answer was negative or an SOA; else empty.
        server: the address that answered, or that was asked last.
        detail: what went wrong, in words, for any status that is not an answer.
    """

    name: str
    type: str
    status: Status
    values: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    ttl: int = 0
    authenticated: bool = False
    zone: str = ""
    server: str = ""
    detail: str = ""

    @property
    def found(self) -> bool:
        """Records exist."""
        return self.status is Status.FOUND

    @property
    def missing(self) -> bool:
        """It is certain that no records exist."""
        return self.status in {Status.NXDOMAIN, Status.NODATA}

    @property
    def unknown(self) -> bool:
        """Nobody answered, so records may or may not exist."""
        return not self.found and not self.missing


def servers(configured: Sequence[str] = (), resolv_conf: Path = RESOLV_CONF) -> tuple[str, ...]:
    """The resolvers' addresses: those configured, else, as in libc, the first three in ``resolv.conf`` or this host."""
    if configured:
        return tuple(configured)
    try:
        text = resolv_conf.read_text(errors="replace")
    except OSError:
        text = ""
    return tuple(re.findall(r"^nameserver[ \t]+([0-9A-Fa-f.:]+)", text, re.MULTILINE)[:3]) or ("127.0.0.1",)


class Resolver:
    """Asks recursive resolvers."""

    def __init__(self, servers: Sequence[str], *, timeout: float = TIMEOUT, deadline: float = 8.0) -> None:
        """Make a resolver.

        Args:
            servers: addresses of resolvers, in order of preference.
            timeout: seconds for one lookup, over all servers and all CNAMEs that it follows.
            deadline: seconds from now after which running lookups are cut off and new ones time out at once.
        """
        self.servers = tuple(servers)
        self._timeout = timeout
        self._end = time.monotonic() + deadline
        self._lock = threading.Lock()
        self._known: dict[Question, Future[Answer]] = {}
        self._answered = False
        self._silent = 0

    def query(self, name: str, rtype: str) -> Answer:
        """Look up one name; never raises for what the DNS says, and an invalid name gives ``ERROR``."""
        question = (name.lower().rstrip("."), rtype.upper())
        with self._lock:
            known = self._known.get(question)
            if known is None:
                mine: Future[Answer] = Future()
                self._known[question] = mine
        if known is not None:
            return known.result()
        try:
            mine.set_result(self._resolve(*question))
        except BaseException as error:
            mine.set_exception(error)
            raise
        return mine.result()

    def look_up(self, questions: Iterable[Question]) -> list[Answer]:
        """Look up several names in parallel; the answers are in the order of the questions."""
        wanted = list(questions)
        if not wanted:
            return []
        with ThreadPoolExecutor(min(len(wanted), SIDE_BY_SIDE)) as threads:
            return list(threads.map(lambda question: self.query(*question), wanted))

    def _resolve(self, name: str, rtype: str) -> Answer:
        if not self._answered and self._silent >= GIVE_UP:
            detail = f"no resolver has answered anything: {', '.join(self.servers)}"
            return Answer(name, rtype, Status.TIMEOUT, server=self.servers[0], detail=detail)
        answer = self._chased(name, rtype)
        with self._lock:
            self._answered = self._answered or answer.status is not Status.TIMEOUT
            self._silent += answer.status is Status.TIMEOUT
        return answer

    def _chased(self, name: str, rtype: str) -> Answer:
        end = min(self._end, time.monotonic() + self._timeout)
        answer = self._ask_servers(name, rtype, end)
        # a resolver follows CNAMEs itself, but one that also serves a zone stops at that zone's edge
        aliases = answer.aliases
        while answer.aliases and answer.status is Status.NODATA and not answer.zone and len(aliases) < LONGEST_CHAIN:
            answer = self._ask_servers(aliases[-1], rtype, end)
            aliases += answer.aliases
        return replace(answer, name=name, aliases=aliases)

    def _ask_servers(self, name: str, rtype: str, end: float) -> Answer:
        """The first answer of any server; else the last failure that a server reported."""
        worst = Answer(name, rtype, Status.TIMEOUT, server=self.servers[0], detail="no answer in time")
        silent = list(self.servers)
        while silent and (left := end - time.monotonic()) > 0:
            for server in tuple(silent):
                answer = ask(server, name, rtype, timeout=min(TRY, max(left, 0.01)))
                if not answer.unknown:
                    return answer
                if answer.status is not Status.TIMEOUT:
                    silent.remove(server)
                    worst = answer
                left = end - time.monotonic()
        return worst


def ask(server: str, name: str, rtype: str, *, timeout: float, rclass: str = "IN") -> Answer:
    """Ask one server once, over UDP and, if the answer is truncated, over TCP; never raises for what comes back.

    Args:
        server: its IP address.
        name: the name.
        rtype: the record type.
        timeout: seconds, for UDP and TCP each.
        rclass: ``CH`` for names such as ``whoami.cloudflare``.
    """
    try:
        query = dns.message.make_query(name.rstrip(".") + ".", rtype, rclass, use_edns=0, payload=1232)
        query.flags |= dns.flags.AD  # asks whether the answer was validated (RFC 6840, section 5.7)
        reply = _exchange(query, server, timeout)
        if reply.rcode() in {dns.rcode.FORMERR, dns.rcode.NOTIMP}:  # from before EDNS
            query.use_edns(False)
            reply = _exchange(query, server, timeout)
        return _read(name, rtype, reply, server)
    except dns.exception.Timeout:
        return Answer(name, rtype, Status.TIMEOUT, server=server, detail=f"{server} did not answer in time")
    except (dns.exception.DNSException, OSError, EOFError, ValueError) as error:
        return Answer(name, rtype, Status.ERROR, server=server, detail=f"{server}: {error or type(error).__name__}")


def _exchange(query: dns.message.Message, server: str, timeout: float) -> dns.message.Message:
    reply, _ = dns.query.udp_with_fallback(query, server, timeout=timeout, ignore_errors=True)
    return reply


def _read(name: str, rtype: str, reply: dns.message.Message, server: str) -> Answer:
    def answer(status: Status, detail: str = "") -> Answer:
        return Answer(name, rtype, status, server=server, detail=detail)

    code = reply.rcode()
    if code is dns.rcode.SERVFAIL:
        return answer(Status.SERVFAIL, f"{server} answered SERVFAIL")
    if code is dns.rcode.REFUSED:
        return answer(Status.REFUSED, f"{server} answered REFUSED")
    if code not in {dns.rcode.NOERROR, dns.rcode.NXDOMAIN}:
        return answer(Status.ERROR, f"{server} answered {dns.rcode.to_text(code)}")
    if not isinstance(reply, dns.message.QueryMessage):
        return answer(Status.ERROR, f"{server} answered something else")
    # read here and not by the library, which treats an NXDOMAIN with an answer as a broken message
    owner = reply.question[0].name
    ttls: list[int] = []
    aliases: list[str] = []
    records = reply.get_rrset(reply.answer, owner, reply.question[0].rdclass, reply.question[0].rdtype)
    while records is None and len(aliases) < LONGEST_CHAIN:
        alias = reply.get_rrset(reply.answer, owner, reply.question[0].rdclass, dns.rdatatype.CNAME)
        if alias is None:
            break
        owner = alias[0].target
        aliases.append(_name(owner))
        ttls.append(alias.ttl)
        records = reply.get_rrset(reply.answer, owner, reply.question[0].rdclass, reply.question[0].rdtype)
    zones = [rrset.name for rrset in (*reply.answer, *reply.authority) if rrset.rdtype == dns.rdatatype.SOA]
    status = Status.NXDOMAIN if code is dns.rcode.NXDOMAIN else Status.NODATA
    return Answer(
        name,
        rtype,
        Status.FOUND if records else status,
        values=tuple(sorted(map(_value, records))) if records else (),
        aliases=tuple(aliases),
        ttl=min([*ttls, records.ttl]) if records else 0,
        authenticated=bool(reply.flags & dns.flags.AD),
        zone=_name(zones[0]) if zones else "",
        server=server,
    )


def _name(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower() or "."


def _value(record: dns.rdata.Rdata) -> str:
    if record.rdtype == dns.rdatatype.TXT:
        return Text(record.strings)  # type: ignore[attr-defined]
    if record.rdtype == dns.rdatatype.MX:
        return f"{record.preference} {_name(record.exchange)}"  # type: ignore[attr-defined]
    if record.rdtype in {dns.rdatatype.PTR, dns.rdatatype.CNAME, dns.rdatatype.NS}:
        return _name(record.target)  # type: ignore[attr-defined]
    return record.to_text()
