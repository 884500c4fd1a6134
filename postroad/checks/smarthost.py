"""Whether SPF lets the providers of smarthosts send: their servers' addresses count, and not this host's."""

from collections.abc import Iterator

from postroad.checks.context import Context
from postroad.checks.model import Finding, Level, unanswered
from postroad.dns import smarthosts
from postroad.dns.spf import is_spf

ID = "smarthost"
SHORT = True


def run(context: Context) -> Iterator[Finding]:
    """For each server what SPF lacks of its provider, a finding a domain, and one of whose signature counts."""
    for host in smarthosts.hosts(context.config.delivery):
        provider = smarthosts.provider(host)
        if provider is None:
            yield Finding(
                ID,
                Level.INFO,
                f"mail leaves through {host}: SPF has to let its servers send, and it signs with its own keys",
                fix="ask the provider which include SPF needs, and which DKIM records to publish",
            )
        else:
            for domain in context.config.named_domains:
                yield _of(context, provider, domain.name)
        yield _aligned(host, provider, signed=context.config.dkim.enabled)


def _aligned(host: str, provider: smarthosts.Provider | None, *, signed: bool) -> Finding:
    """Whose signature makes that From: is aligned (RFC 7489, 3.1): the envelope's domain may become the provider's."""
    name, where = (provider.name, f" ({provider.dkim})") if provider else (host, "")
    theirs = f"let {name} sign with each domain of `domains`{where}"
    if not signed:
        what = f"mail through {name} is not signed here: it passes DMARC only by a signature of {name}'s"
        return Finding(ID, Level.WARNING, what, "dkim.enabled: false", f"{theirs}, or turn dkim.enabled on")
    if provider and provider.rewrites:
        what = f"{name} writes {provider.rewrites} anew, which breaks the signature that is made here"
        return Finding(ID, Level.INFO, what, "mail passes DMARC by the signature of the provider", theirs)
    what = f"mail through {name} is signed here, with the domain in From:, by which it passes DMARC"
    return Finding(ID, Level.OK, what, f"unless {name} changes what is signed")


def _of(context: Context, provider: smarthosts.Provider, domain: str) -> Finding:
    answer = context.resolver.query(domain, "TXT")
    if answer.unknown:
        return unanswered(ID, answer)
    records = [text for text in answer.values if is_spf(text)]
    if len(records) == 1 and smarthosts.included(records[0], provider.include):
        return Finding(ID, Level.OK, f"SPF of {domain} includes that of {provider.name}", records[0])
    return Finding(
        ID,
        Level.WARNING,
        f"SPF of {domain} does not include that of {provider.name}, which sends its mail",
        "; ".join(records) or f"no TXT record with v=spf1 ({answer.status})",
        f"publish this record, and the DKIM records that {provider.name} shows ({provider.dkim})",
        context.record(domain, "TXT", "v=spf1"),
    )
