"""The servers of well-known providers, as data, with the page of each provider that names them."""

from dataclasses import dataclass
from typing import Literal

ProviderName = Literal["brevo", "google", "mailgun", "microsoft365", "naver", "postmark", "resend", "sendgrid", "ses"]


@dataclass(frozen=True)
class Preset:
    """A provider's server.

    Attributes:
        host: its name; ``{region}`` stands for the region.
        source: the provider's page that names the server, read in November 2026 unless the entry says otherwise.
        region: the default region; if empty, a host with ``{region}`` needs one to be configured.
        regions: the hosts of single regions.
        username: the user name that all customers share; empty if each has its own.
        port: the port on which the provider documents TLS.
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
    # Brevo calls its port 587 "non-encrypted"
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
"""All of them accept STARTTLS on port 587, or TLS from the first octet on 465."""


def host_of(provider: str, region: str | None) -> str | None:
    """The host of a provider's server in a region; None if there is none, or if a region is needed."""
    preset = PRESETS[provider]
    wanted = region or preset.region
    if preset.regions:
        return dict(preset.regions).get(wanted)
    if "{region}" in preset.host:
        return preset.host.format(region=wanted) if wanted else None
    return None if region else preset.host


def regions_of(provider: str) -> str:
    """The regions that exist, in words."""
    preset = PRESETS[provider]
    if preset.regions:
        return " or ".join(name for name, _ in preset.regions)
    return "a region such as eu-west-1" if "{region}" in preset.host else "no region"
