"""What the providers behind smarthosts want to be published: their servers send, so their SPF and DKIM count."""

from dataclasses import dataclass

from postroad import domains
from postroad.config.model import Delivery


@dataclass(frozen=True)
class Provider:
    """A provider.

    Attributes:
        name: what it is called.
        include: the domain that its customers include in their SPF records.
        dkim: where it says which DKIM records to publish.
        rewrites: the fields that it writes anew of those that are signed here; empty: none that is known.
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
"""The providers that are known, by what their servers' names end in."""


def hosts(delivery: Delivery) -> list[str]:
    """The servers that mail leaves through, each once; a fallback with the same credentials is the same provider's."""
    named = filter(None, [delivery.smarthost, *(route.smarthost for route in delivery.routes)])
    servers = (server for each in named for server in each.servers[: 2 if each.has_own_fallback else 1])
    return list(dict.fromkeys(server.host for server in servers))


def provider(host: str) -> Provider | None:
    """Whose server this is; None: not known."""
    return next((found for end, found in PROVIDERS.items() if domains.is_within(host, end)), None)


def includes(delivery: Delivery) -> list[str]:
    """What SPF records have to include for the providers that are known."""
    found = [provider(host) for host in hosts(delivery)]
    return list(dict.fromkeys(each.include for each in found if each))


def included(record: str, include: str) -> bool:
    """Whether an SPF record names the include itself, or redirects to it."""
    terms = {term.lower().removeprefix("+") for term in record.split()[1:]}
    return not terms.isdisjoint({f"include:{include}", f"redirect={include}"})


def merge(record: str, wanted: list[str]) -> str:
    """An SPF record with these includes first; those that it has stay where they are."""
    missing = [f"include:{include}" for include in wanted if not included(record, include)]
    version, *terms = record.split()
    return " ".join([version, *missing, *terms]) if missing else record


def advice(delivery: Delivery) -> list[str]:
    """What there is to do at each provider, a line each."""
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
