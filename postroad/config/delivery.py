"""Where mail goes, and how safe the way there must be: smarthosts, routes, outbound TLS."""

import ipaddress
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, PlainSerializer, field_validator, model_validator

from postroad.config.names import DomainPattern, ServerName
from postroad.config.section import FrozenMap, Section
from postroad.config.values import AbsolutePath, Day, RateValue, WholeNumber, format_rate, refuse

MOST_SMARTHOSTS = 12
"""sendmail knows 25 mailers, each smarthost is one, and ten are taken; the others are for what may come."""

MOST_MAILERS = 15
"""Smarthosts and shaped routes together: each is a mailer."""


def _port(value: int) -> int:
    if value == 465:
        refuse("a port with STARTTLS, such as 587: sendmail can't begin a connection with TLS, as port 465 wants it")
    return value


class Smarthost(Section):
    """A server that takes our mail and delivers it."""

    host: ServerName = Field(
        description="The server's name, or its address. The name's A and AAAA records are used, not its MX.",
        examples=["smtp.example.net"],
    )
    port: Annotated[WholeNumber, AfterValidator(_port)] = Field(
        587, ge=1, le=65535, description="The server's port.", examples=[2587]
    )
    fallback: ServerName | None = Field(
        None,
        description="A second server, with the same port and credentials. It is used while the first can't be reached "
        "or has no valid certificate.",
        examples=["smtp2.example.net"],
    )
    tls: Literal["verify", "require", "none"] = Field(
        "verify",
        description="`verify`: STARTTLS, and a valid certificate for `host` (or `fallback`). `require`: STARTTLS with"
        " any certificate. `none`: no TLS.",
    )
    username: str | None = Field(
        None,
        min_length=1,
        description="User for AUTH (PLAIN, LOGIN or CRAM-MD5); only with `tls: verify`.",
        examples=["app"],
    )
    password_file: AbsolutePath | None = Field(
        None, description="File that holds the password.", examples=["/run/secrets/smarthost"]
    )

    @model_validator(mode="after")
    def _safe(self) -> Self:
        if (self.username is None) != (self.password_file is None):
            missing = "username" if self.username is None else "password_file"
            refuse("username and password_file together, or neither", at=(missing,), found="one alone")
        if self.tls != "verify":
            if self.username is not None:
                refuse(
                    "verify where there is a username: the password would go to anybody", at=("tls",), found=self.tls
                )
            return self
        for key in ("host", "fallback"):
            name = getattr(self, key)
            if name is not None and is_address(name):
                refuse("a name, as certificates are for names", at=(key,), found=name)
        return self

    @property
    def servers(self) -> tuple[str, ...]:
        """The servers, in the order in which they are tried."""
        return (self.host,) if self.fallback is None else (self.host, self.fallback)


def is_address(host: str) -> bool:
    """Whether this is an IP address, not a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class WarmUp(Section):
    """Limits per day for a new address, so that receivers get to know it."""

    since: Day = Field(description="The first day, in UTC. Before it, mail waits.", examples=["2026-11-24"])
    daily: tuple[Annotated[WholeNumber, Field(ge=1, le=10**7)], ...] = Field(
        min_length=1,
        max_length=366,
        description="Most messages on the first day, on the second, and so on. Further ones wait for the next day. "
        "After the last day there is no limit.",
        examples=[[50, 100, 200, 400]],
    )


class Route(Section):
    """Some mail that goes another way, or with limits."""

    domains: tuple[DomainPattern, ...] = Field(
        (),
        description="The recipients' domains. `.example.com` stands for all names below it. Empty: all.",
        examples=[["example.net", ".example.org"]],
    )
    senders: tuple[DomainPattern, ...] = Field(
        (),
        description="The domains of envelope senders, written likewise. Empty: all, and bounces, which have no sender.",
        examples=[["news.example.com"]],
    )
    smarthost: Smarthost | None = Field(
        description="The server that this mail goes to. `null`: the recipients' MX hosts.", examples=[None]
    )

    concurrency: WholeNumber | None = Field(
        None,
        ge=1,
        le=100,
        description="Most connections at once. Further messages wait. `null`: no limit.",
        examples=[2],
    )
    rate: RateValue | None = Field(
        None,
        description="Most delivery attempts within a minute, hour or day. Further messages wait. `null`: no limit.",
        examples=["100/minute"],
    )
    warm_up: WarmUp | None = Field(
        None,
        description="A limit per day that grows, for a new address. Further messages wait for the next day. `null`: "
        "no limit.",
        examples=[{"since": "2026-11-24", "daily": [50, 100, 200, 400]}],
    )

    @property
    def shaped(self) -> bool:
        """Whether its mail goes no faster than it is told to."""
        return bool(self.concurrency or self.rate or self.warm_up)

    @property
    def shape(self) -> str:
        """What it is told, in a few words."""
        limits = (
            f"{self.concurrency} at once" if self.concurrency else "",
            format_rate(self.rate) if self.rate else "",
            f"warm_up since {self.warm_up.since}" if self.warm_up else "",
        )
        return ", ".join(filter(None, limits))

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.domains and not self.senders:
            refuse("domains or senders; for all mail set delivery.smarthost", at=("domains",), found="neither")
        return self


TlsPolicy = Literal["opportunistic", "require", "verify", "dane", "dane-only"]


class OutboundTls(Section):
    """TLS with recipients' MX hosts. A smarthost has its own key `tls`."""

    policy: TlsPolicy = Field(
        "opportunistic",
        description="TLS with recipients' MX hosts. `opportunistic`: TLS where it works, else clear text. `require`: "
        "always TLS. `verify`: TLS, with a valid certificate for the MX host or the domain. `dane`: as "
        "the domain's TLSA records say, else opportunistic. `dane-only`: only with TLSA records. Mail "
        "that can't be sent so waits in the queue.",
    )
    domains: Annotated[
        Mapping[DomainPattern, TlsPolicy],
        AfterValidator(FrozenMap),
        PlainSerializer(dict, return_type=dict[str, str]),
    ] = Field(
        default_factory=lambda: FrozenMap({}),
        description="Policies for single recipients' domains. `.example.com` stands for all names below it; the "
        "longest match wins.",
        examples=[{"example.net": "verify", ".example.org": "require"}],
    )
    mta_sts: bool = Field(
        False,
        description="Whether the MTA-STS policies of recipients' domains are obeyed (RFC 8461), except for those in "
        "`domains`. While a policy can't be looked up, mail to its domain waits.",
    )
    ca_file: AbsolutePath | None = Field(
        None,
        description="File with certificates (PEM) of authorities to trust besides the system's.",
        examples=["/run/secrets/ca.pem"],
    )

    @model_validator(mode="after")
    def _used(self) -> Self:
        if self.mta_sts and self.policy == "dane-only":
            refuse("mta_sts: false with policy: dane-only, as DANE goes first", at=("mta_sts",), found="true")
        return self

    @field_validator("domains", mode="before")
    @classmethod
    def _lower(cls, domains: object) -> object:
        # two spellings of one name would be two keys, and the order of a mapping would choose
        if isinstance(domains, Mapping):
            seen: set[str] = set()
            for name in domains:
                if isinstance(name, str) and (folded := name.lower()) in seen:
                    refuse("each domain once", found=folded)
                seen.add(str(name).lower())
        return domains

    @property
    def dane(self) -> bool:
        """Whether TLSA records are to be looked up."""
        return not {"dane", "dane-only"}.isdisjoint({self.policy, *self.domains.values()})
