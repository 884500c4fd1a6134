"""``events.webhooks[]``: where events are posted."""

import ipaddress
import re
from datetime import timedelta
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from postroad.config.addresses import reach
from postroad.config.names import LABEL, DomainPattern, check_server
from postroad.config.section import Section
from postroad.config.values import AbsolutePath, Duration, refuse

LONGEST_URL = 2048
MOST_WEBHOOKS = 20
EventType = Literal[
    "accepted", "rejected", "signed", "queued", "deferred", "delivered", "bounced", "complained", "unsubscribed",
    "notified", "reported", "bounce_rate", "complaint_rate", "slowed", "paused", "resumed", "doctor", "gap"
]  # fmt: skip
URL = "a URL such as https://app.example.com/postroad"


def _url(value: str) -> str:
    if len(value) > LONGEST_URL or not re.fullmatch(r"[!-~]+", value):
        refuse(f"{URL}, of at most {LONGEST_URL} ASCII characters, others as %XX")
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        refuse(URL)
    if parts.scheme not in {"https", "http"} or not parts.hostname or parts.port == 0:
        refuse(URL)
    if "@" in parts.netloc:
        refuse(f"{URL}, without a user and a password: the signature tells who we are", found="a URL with a user in it")
    if parts.fragment:
        refuse(f"{URL}, without what begins with #")
    check_server(parts.hostname)
    return value


def _name(value: str) -> str:
    if len(value) > 32 or not LABEL.fullmatch(value):
        refuse("a name such as app: letters in lower case, digits, hyphens; 32 characters at most")
    return value


class Webhook(Section):
    """A receiver of events, by HTTPS POST, signed."""

    name: Annotated[
        str,
        AfterValidator(_name),
        WithJsonSchema({"type": "string", "maxLength": 32, "pattern": f"^{LABEL.pattern}$"}),
    ] = Field(
        description="The webhook's name in commands and metrics. Pending events belong to the name; the `url` may "
        "change.",
        examples=["app"],
    )
    url: Annotated[str, AfterValidator(_url)] = Field(
        description="Where events are posted. `http://` needs `allow_private`, and works with private addresses only.",
        examples=["https://app.example.com/postroad"],
    )
    secret_file: AbsolutePath = Field(
        description="File that holds the secret of the signature, in base64, with or without `whsec_` before it; "
        "`openssl rand -base64 32` makes one. With several lines, each gives a signature: so a secret can "
        "be replaced.",
        examples=["/run/secrets/webhook"],
    )
    types: tuple[EventType, ...] = Field(
        ("delivered", "deferred", "bounced"),
        min_length=1,
        description="The kinds of events that are posted.",
        examples=[["delivered", "bounced"]],
    )
    senders: tuple[DomainPattern, ...] = Field(
        (),
        description="Only events of messages from these domains. `.example.com` stands for all names below it. Empty: "
        "all.",
        examples=[["example.com"]],
    )
    recipients: tuple[DomainPattern, ...] = Field(
        (),
        description="Only events about recipients in these domains, written likewise. Empty: all.",
        examples=[["example.net"]],
    )
    allow_private: bool = Field(
        False,
        description="Whether the receiver may have a private address (10.0.0.0/8, 127.0.0.1, fc00::/7 and so on), as "
        "a service beside this one has. Link-local addresses, where clouds keep metadata, stay refused.",
    )
    ca_file: AbsolutePath | None = Field(
        None,
        description="File with certificates (PEM) of authorities to trust besides the system's.",
        examples=["/run/secrets/ca.pem"],
    )
    give_up_after: Duration = Field(
        timedelta(days=1),
        description="How long an event is retried. After it the event is a dead letter: `postroad webhook dead` lists "
        "it.",
        examples=["3d"],
    )

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        parts = urlsplit(self.url)
        if parts.scheme == "http" and not self.allow_private:
            refuse("https://; http:// only with allow_private, to a private address", at=("url",), found=self.url)
        try:
            ipaddress.ip_address(parts.hostname or "")
        except ValueError:
            return self
        found = reach(parts.hostname or "")
        if found == "never":
            refuse("another address: no receiver can be there", at=("url",), found=self.url)
        if found == "private" and not self.allow_private:
            refuse("a public address, or allow_private: true", at=("url",), found=self.url)
        if found == "public" and parts.scheme == "http":
            refuse("https://: http:// is for private addresses only", at=("url",), found=self.url)
        return self
