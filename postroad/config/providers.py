"""What well-known providers' servers are called, as data; the sources say where they say so."""

from dataclasses import dataclass
from typing import Literal

ProviderName = Literal["brevo", "google", "mailgun", "microsoft365", "naver", "postmark", "resend", "sendgrid", "ses"]


@dataclass(frozen=True)
class Preset:
    """A provider's server.

    Attributes:
        host: its name; ``{region}`` stands for the region.
        source: where the provider says so: read in November 2026, but where it says otherwise.
        region: the region where none is given; empty: one has to be given where the host has it.
        regions: the hosts of single regions.
        username: the user that all customers have; empty: each has its own.
        port: the one on which it says that there is TLS.
        by_address: whether user names are mail addresses.
    """

    host: str
    source: str
    region: str = ""
    regions: tuple[tuple[str, str], ...] = ()
    username: str = ""
    port: int = 587
    by_address: bool = False


PRESETS: dict[str, Preset] = {
    # of its port 587 it says "non-encrypted"
    "brevo": Preset("smtp-relay.brevo.com", "https://developers.brevo.com/docs/smtp-integration", port=465),
    "google": Preset("smtp.gmail.com", "https://support.google.com/a/answer/176600 (not confirmed)", by_address=True),
    "mailgun": Preset(
        "smtp.mailgun.org",
        "https://documentation.mailgun.com/docs/mailgun/user-manual/sending-messages/send-smtp",
        region="us",
        regions=(("us", "smtp.mailgun.org"), ("eu", "smtp.eu.mailgun.org")),
        by_address=True,
    ),
    "microsoft365": Preset(
        "smtp.office365.com",
        "https://learn.microsoft.com/exchange/mail-flow-best-practices/"
        "how-to-set-up-a-multifunction-device-or-application-to-send-email-using-microsoft-365-or-office-365"
        " (not confirmed)",
        by_address=True,
    ),
    "naver": Preset(
        "smtp.naver.com",
        "https://github.com/chatmail/provider-db/blob/master/_providers/naver.md (not Naver's own page)",
        port=465,
    ),
    "postmark": Preset(
        "smtp.postmarkapp.com",
        "https://postmarkapp.com/support/article/811-what-are-the-smtp-details-api-tokens-i-should-be-using",
    ),
    "resend": Preset("smtp.resend.com", "https://resend.com/changelog/smtp-service", username="resend"),
    "sendgrid": Preset(
        "smtp.sendgrid.net",
        "https://www.twilio.com/docs/sendgrid/for-developers/sending-email/integrating-with-the-smtp-api",
        username="apikey",
    ),
    "ses": Preset("email-smtp.{region}.amazonaws.com", "https://docs.aws.amazon.com/ses/latest/dg/smtp-connect.html"),
}
"""All of them take STARTTLS on port 587, or TLS from the first octet on 465."""


def host_of(provider: str, region: str | None) -> str | None:
    """The host of a provider's server in a region; None: there is none, or a region is missing."""
    preset = PRESETS[provider]
    wanted = region or preset.region
    if preset.regions:
        return dict(preset.regions).get(wanted)
    if "{region}" in preset.host:
        return preset.host.format(region=wanted) if wanted else None
    return None if region else preset.host


def regions_of(provider: str) -> str:
    """Which regions there are, in words."""
    preset = PRESETS[provider]
    if preset.regions:
        return " or ".join(name for name, _ in preset.regions)
    return "a region such as eu-west-1" if "{region}" in preset.host else "no region"
