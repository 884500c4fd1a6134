"""What well-known providers' servers are called, as data; the sources say where they say so."""

from dataclasses import dataclass
from typing import Literal

ProviderName = Literal["brevo", "google", "mailgun", "microsoft365", "postmark", "resend", "sendgrid", "ses"]


@dataclass(frozen=True)
class Preset:
    """A provider's server.

    Attributes:
        host: its name; ``{region}`` stands for the region.
        source: where the provider says so.
        region: the region where none is given; empty: one has to be given where the host has it.
        regions: the hosts of single regions.
        username: the user that all customers have; empty: each has its own.
    """

    host: str
    source: str
    region: str = ""
    regions: tuple[tuple[str, str], ...] = ()
    username: str = ""


PRESETS: dict[str, Preset] = {
    "brevo": Preset("smtp-relay.brevo.com", "https://developers.brevo.com/docs/smtp-integration"),
    "google": Preset("smtp.gmail.com", "https://support.google.com/a/answer/176600"),
    "mailgun": Preset(
        "smtp.mailgun.org",
        "https://documentation.mailgun.com/docs/mailgun/user-manual/sending-messages/send-smtp",
        region="us",
        regions=(("us", "smtp.mailgun.org"), ("eu", "smtp.eu.mailgun.org")),
    ),
    "microsoft365": Preset(
        "smtp.office365.com",
        "https://learn.microsoft.com/exchange/mail-flow-best-practices/"
        "how-to-set-up-a-multifunction-device-or-application-to-send-email-using-microsoft-365-or-office-365",
    ),
    "postmark": Preset("smtp.postmarkapp.com", "https://postmarkapp.com/developer/user-guide/send-email-with-smtp"),
    "resend": Preset("smtp.resend.com", "https://resend.com/docs/send-with-smtp", username="resend"),
    "sendgrid": Preset(
        "smtp.sendgrid.net",
        "https://www.twilio.com/docs/sendgrid/for-developers/sending-email/integrating-with-the-smtp-api",
        username="apikey",
    ),
    "ses": Preset("email-smtp.{region}.amazonaws.com", "https://docs.aws.amazon.com/ses/latest/dg/smtp-connect.html"),
}
"""All of them take STARTTLS on port 587."""


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
