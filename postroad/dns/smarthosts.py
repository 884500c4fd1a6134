"""What smarthosts' providers need published: their servers send, so their SPF includes and DKIM keys count."""

from dataclasses import dataclass

from postroad import domains
from postroad.config.model import Delivery


@dataclass(frozen=True)
class Provider:
    """A provider.

    Attributes:
        name: the provider's name.
        include: the domain that its customers include in their SPF records.
        dkim: where the provider shows which DKIM records to publish.
        rewrites: the fields signed here that it rewrites; empty if none are known.
    """

    name: str
    include: str
    dkim: str
    rewrites: str = ""


PROVIDERS = {
    # https://docs.aws.amazon.com/ses/latest/dg/header-fields.html
    "amazonaws.com": Provider(
        *("Amazon SES", "amazonses.com", "the SES console, Identities, DKIM (three CNAME records)"),
        rewrites="Date and Message-ID",
    ),
    "brevo.com": Provider("Brevo", "spf.brevo.com", "Senders, Domains & Dedicated IPs"),
    "gmail.com": Provider("Google Workspace", "_spf.google.com", "the admin console, Gmail, Authenticate email"),
    "mailgun.org": Provider("Mailgun", "mailgun.org", "Sending, Domains, DNS records"),
    "mailjet.com": Provider("Mailjet", "spf.mailjet.com", "Sender domains & addresses"),
    "mandrillapp.com": Provider("Mailchimp Transactional", "spf.mandrillapp.com", "Sending Domains"),
    "office365.com": Provider("Microsoft 365", "spf.protection.outlook.com", "Defender, Email authentication, DKIM"),
    "outlook.com": Provider("Microsoft 365", "spf.protection.outlook.com", "Defender, Email authentication, DKIM"),
    "postmarkapp.com": Provider("Postmark", "spf.mtasv.net", "Sender Signatures, DNS settings"),
    "sendgrid.net": Provider("SendGrid", "sendgrid.net", "Sender Authentication, Authenticate your domain"),
    "sparkpostmail.com": Provider("SparkPost", "sparkpostmail.com", "Sending Domains"),
}
"""The known providers, by the suffix of their servers' names."""


def hosts(delivery: Delivery) -> list[str]:
    """The smarthosts that mail leaves through, each once; a fallback with the same credentials counts as the same."""
    named = filter(None, [delivery.smarthost, *(route.smarthost for route in delivery.routes)])
    servers = (server for each in named for server in each.servers[: 2 if each.has_own_fallback else 1])
    return list(dict.fromkeys(server.host for server in servers))


def provider(host: str) -> Provider | None:
    """The provider that a server belongs to; None if it is not known."""
    return next((found for end, found in PROVIDERS.items() if domains.is_within(host, end)), None)


def includes(delivery: Delivery) -> list[str]:
    """The includes that SPF records need for the known providers."""
    found = [provider(host) for host in hosts(delivery)]
    return list(dict.fromkeys(each.include for each in found if each))


def included(record: str, include: str) -> bool:
    """Whether an SPF record has this include itself, or redirects to it."""
    terms = {term.lower().removeprefix("+") for term in record.split()[1:]}
    return not terms.isdisjoint({f"include:{include}", f"redirect={include}"})


def merge(record: str, wanted: list[str]) -> str:
    """An SPF record with these includes added at the front; those that it already has stay where they are."""
    missing = [f"include:{include}" for include in wanted if not included(record, include)]
    version, *terms = record.split()
    return " ".join([version, *missing, *terms]) if missing else record


def advice(delivery: Delivery) -> list[str]:
    """What to do at each provider, one line each."""
    lines = []
    for host in hosts(delivery):
        found = provider(host)
        if found:
            lines.append(f"{host} is {found.name}: publish the DKIM records that it shows, too ({found.dkim}).")
        else:
            lines.append(
                f"{host}: ask its provider which include SPF needs (include:...), and which DKIM records to publish."
                " These are not shown here."
            )
    return lines
