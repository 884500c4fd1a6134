"""Whether mail to each sender's domain has somewhere to go: bounces and replies, and receivers look at it."""

import ipaddress
from collections.abc import Iterator, Sequence

from postroad.checks.context import Context
from postroad.checks.model import Finding, Level, unanswered
from postroad.dns.resolver import Answer

ID = "mx"
SHORT = False


def run(context: Context) -> Iterator[Finding]:
    """One finding for each domain."""
    for domain in context.config.named_domains:
        yield _of(context, domain.name)


def _of(context: Context, domain: str) -> Finding:
    answers = context.resolver.look_up([(domain, rtype) for rtype in ("MX", "A", "AAAA")])
    unknown = [answer for answer in answers if answer.unknown]
    if unknown:
        return unanswered(ID, unknown[0])
    hosts = [value.split()[1] for value in answers[0].values]
    if not hosts:
        return _without(context, domain, answers)
    seen = ", ".join(answers[0].values)
    odd = _odd(context, domain, hosts, seen)
    if odd:
        return odd
    found = context.resolver.look_up([(host, rtype) for host in hosts for rtype in ("A", "AAAA")])
    if not any(answer.found or answer.unknown for answer in found):
        fix = "mend the MX record, or its hosts' addresses"
        return Finding(ID, Level.ERROR, f"no MX of {domain} has an address", seen, fix)
    aliases = ", ".join(dict.fromkeys(answer.name for answer in found if answer.aliases))
    if aliases:
        what = f"an MX of {domain} is an alias (CNAME), which some servers refuse (RFC 2181, 10.3): {aliases}"
        return Finding(ID, Level.WARNING, what, seen, "let the MX name the host that the alias leads to")
    return Finding(ID, Level.OK, f"mail to {domain} has somewhere to go", seen)


def _odd(context: Context, domain: str, hosts: Sequence[str], seen: str) -> Finding | None:
    """What there is to say of the MX records by themselves, before their hosts are looked up."""
    has_mailboxes = "publish the MX of the server that has your mailboxes"
    if hosts == ["."]:
        what = f"{domain} says that it takes no mail: bounces and replies are lost, and some refuse its senders"
        return Finding(ID, Level.WARNING, what, f"{seen} (null MX, RFC 7505)", has_mailboxes)
    if "." in hosts:
        what = f"{domain} has a null MX beside others: receivers may take it for a domain without mail (RFC 7505)"
        return Finding(ID, Level.WARNING, what, seen, "remove the null MX, `0 .`")
    addresses = [host for host in hosts if _is_address(host)]
    if addresses:
        what = f"an MX of {domain} is an address, where a host name belongs: no mail gets there (RFC 1035, 3.3.9)"
        return Finding(ID, Level.WARNING, what, seen, f"name the host of {addresses[0]} instead")
    if hosts == [context.config.hostname]:
        # whether that has an address is the check `hostname`'s to say
        what = f"mail to {domain} goes to this server, which takes none: bounces and replies are lost"
        return Finding(ID, Level.INFO, what, seen, f"{has_mailboxes}, if there is one")
    return None


def _is_address(host: str) -> bool:
    try:
        return bool(ipaddress.ip_address(host))
    except ValueError:
        return False


def _without(context: Context, domain: str, answers: Sequence[Answer]) -> Finding:
    """A domain without MX: its address stands in (RFC 5321, section 5.1)."""
    if answers[1].found or answers[2].found:
        return Finding(ID, Level.INFO, f"mail to {domain} goes to its address: it has no MX")
    return Finding(
        ID,
        Level.ERROR,
        f"mail to {domain} has nowhere to go: bounces and replies are lost, and receivers refuse its senders",
        f"no MX record ({answers[0].status}), no address",
        "publish the MX of the server that has the domain's mailboxes; if it has none, the record of this server, which"
        " takes no mail: receivers accept the domain then, and replies are lost",
        context.record(domain, "MX"),
    )
