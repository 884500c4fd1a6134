"""Whether SPF lets the providers of smarthosts send: their servers' addresses count, and not this host's."""

from collections.abc import Iterator

from postroad.checks.context import Context
from postroad.checks.model import Finding, Level, unanswered
from postroad.dns import smarthosts
from postroad.dns.spf import is_spf

ID = "smarthost"
SHORT = True


def run(context: Context) -> Iterator[Finding]:
    """One finding for each provider and domain; one for each server whose provider is not known."""
    for host in smarthosts.hosts(context.config.delivery):
        provider = smarthosts.provider(host)
        if provider is None:
            yield Finding(
                ID,
                Level.INFO,
                f"mail leaves through {host}: SPF has to let its servers send, and it signs with its own keys",
                fix="ask the provider which include SPF needs, and which DKIM records to publish",
            )
            continue
        for domain in context.config.named_domains:
            yield _of(context, provider, domain.name)


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
