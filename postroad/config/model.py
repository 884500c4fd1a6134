"""The configuration: every key with its type, default and meaning.

A new key is one field here: the environment variable, the example file, the JSON schema, the reference page
and the error messages follow from it, and ``Section`` checks its value for what m4 could take for a quote.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from postroad.config.delivery import MOST_SMARTHOSTS, OutboundTls, Route, Smarthost
from postroad.config.mc import check_define_name, check_define_value, check_feature, check_raw
from postroad.config.names import DomainName, Hostname, Selector
from postroad.config.networks import Network, is_too_wide
from postroad.config.section import FrozenMap, Section
from postroad.config.values import AbsolutePath, Duration, Size, WholeNumber, format_duration, refuse


class DomainDkim(Section):
    """The domain's own selector and key, where it has them."""

    selector: Selector | None = Field(None, description="Selector for this domain. Not set: that of `dkim.selector`.")
    key_file: AbsolutePath | None = Field(
        None,
        description="Private key (PEM) for this domain. Not set: one is made and kept in the state volume.",
    )


class Domain(Section):
    """A domain that may send."""

    name: DomainName = Field(description='The domain, or `"*"` for any.', examples=["example.com"])
    subdomains: bool = Field(
        False, description="Whether every name below the domain may send too, signed with its key."
    )
    dkim: DomainDkim = Field(default_factory=DomainDkim)

    @model_validator(mode="after")
    def _any_is_any(self) -> Self:
        if self.name == "*" and (self.subdomains or self.dkim != DomainDkim()):
            refuse('"*" alone: it has no subdomains and no key of its own', found='"*" with other keys')
        return self


def _domain(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


DomainEntry = Annotated[Domain, BeforeValidator(_domain, json_schema_input_type=DomainName | Domain)]


class Clients(Section):
    """Who may hand over mail."""

    networks: tuple[Network, ...] = Field(
        ("auto",),
        description="Addresses and CIDRs whose hosts may send. `auto` stands for the container's own networks"
        " without their gateways.",
    )
    trust_gateway: bool = Field(
        False,
        description="Whether the networks' gateways may send too. Docker lets clients from outside appear"
        " under a gateway's address, so this can make an open relay.",
    )
    i_know_this_is_an_open_relay: bool = Field(
        False,
        description="Whether `networks` may hold everyone (`0.0.0.0/0`) or public ranges wider than /24 (IPv6: /64).",
    )

    @model_validator(mode="after")
    def _closed(self) -> Self:
        if not self.i_know_this_is_an_open_relay:
            wide = [str(x) for x in self.networks if x != "auto" and is_too_wide(x)]
            if wide:
                refuse(
                    "private networks, or public ones no wider than /24 (IPv6: /64), as strangers could"
                    " send through you; set clients.i_know_this_is_an_open_relay: true if that is meant",
                    at=("networks",),
                    found=", ".join(wide),
                )
        return self


class Listeners(Section):
    """Where clients connect."""

    smtp: WholeNumber = Field(25, ge=1, le=65535, description="Port for SMTP.")


def _key_bits(value: int) -> int:
    if value not in {2048, 3072, 4096}:
        why = "; receivers may take 1024 for no signature (RFC 8301)" if value == 1024 else ""
        refuse(f"2048, 3072 or 4096{why}")
    return value


class Dkim(Section):
    """Signing, so that receivers know the mail is yours."""

    enabled: bool = Field(True, description="Whether to sign. What can't be signed is then not sent.")
    selector: Selector = Field(
        "postroad", description="Selector: the key is published at `SELECTOR._domainkey.DOMAIN`."
    )
    key_bits: Annotated[
        WholeNumber,
        AfterValidator(_key_bits),
        WithJsonSchema({"type": "integer", "enum": [2048, 3072, 4096]}),
    ] = Field(
        2048,
        description="Bits of the RSA keys that are made. Some providers' TXT records hold 2048 at most.",
    )


class Queue(Section):
    """What happens to mail that can't be delivered at once."""

    retry: Duration = Field(timedelta(minutes=5), description="How often deferred mail is tried again.")
    warn_after: Duration | None = Field(
        timedelta(hours=4),
        description="When the sender is told that a message is still waiting. `null`: never.",
    )
    give_up_after: Duration = Field(timedelta(days=5), description="When a message is returned to its sender.")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        name = "give_up_after" if self.warn_after is None else "warn_after"
        limit = self.warn_after or self.give_up_after
        if self.warn_after is not None and self.warn_after >= self.give_up_after:
            refuse(
                f"less than give_up_after, which is {format_duration(self.give_up_after)}, or null",
                at=("warn_after",),
                found=format_duration(self.warn_after),
            )
        if self.retry > limit:
            refuse(
                f"at most {name}, which is {format_duration(limit)}",
                at=("retry",),
                found=format_duration(self.retry),
            )
        return self


class Delivery(Section):
    """How mail leaves."""

    smarthost: Smarthost | None = Field(
        None, description="The server that all mail goes to. `null`: mail goes to the recipients' own MX hosts."
    )
    routes: tuple[Route, ...] = Field(
        (), description="Mail with a way of its own: the first whose `domains` and `senders` both fit wins."
    )
    tls: OutboundTls = Field(default_factory=OutboundTls)
    queue: Queue = Field(default_factory=Queue)
    shutdown_grace: Duration = Field(
        timedelta(seconds=8),
        description="How long deliveries under way may go on at a stop. Docker kills the container after 10s,"
        " unless told otherwise.",
    )

    @model_validator(mode="after")
    def _few(self) -> Self:
        several = {route.smarthost for route in self.routes} | {self.smarthost}
        count = len(several - {None})
        if count > MOST_SMARTHOSTS:
            refuse(
                f"at most {MOST_SMARTHOSTS} different smarthosts, as sendmail takes no more",
                at=("routes",),
                found=str(count),
            )
        return self


class Limits(Section):
    """What one message may be."""

    message_size: Size = Field(25 * 2**20, description="Largest message taken, in its encoded form.")
    recipients_per_message: WholeNumber = Field(100, ge=1, le=10_000, description="Most recipients of one message.")


class Log(Section):
    """What is printed on standard output."""

    format: Literal["json", "text"] = Field("json", description="One JSON object a line, or text for people.")


DefineName = Annotated[str, AfterValidator(check_define_name)]
DefineValue = Annotated[
    str,
    BeforeValidator(
        lambda value: str(value) if isinstance(value, int) else value, json_schema_input_type=str | int | bool
    ),
    AfterValidator(check_define_value),
]


class Sendmail(Section):
    """The escape hatch: raw m4 for sendmail.mc, checked for slips, at your own risk."""

    raw = frozenset({"defines", "features", "local_config"})

    defines: Annotated[
        Mapping[DefineName, DefineValue],
        AfterValidator(FrozenMap),
        PlainSerializer(dict, return_type=dict[str, str]),
    ] = Field(
        default_factory=lambda: FrozenMap({}),
        description="`define`s of sendmail's m4 files, such as `confMAX_HOP: 30`. Values are raw m4.",
    )
    features: tuple[Annotated[str, AfterValidator(check_feature)], ...] = Field(
        (), description="`FEATURE`s: a name, or a name and its arguments, such as ``greet_pause, `5000'``."
    )
    local_config: Annotated[str, AfterValidator(check_raw)] = Field(
        "", description="Text for the end of sendmail.mc, such as `LOCAL_CONFIG` and rules. Raw m4."
    )


class Config(Section):
    """Postroad's configuration."""

    hostname: Hostname = Field(
        description="The name this server goes by: in HELO, in headers, in the reverse DNS of its address.",
        examples=["mail.example.com"],
    )
    domains: tuple[DomainEntry, ...] = Field(
        min_length=1,
        description="The domains we may send as, in the envelope and the From: header. Each gets a DKIM key."
        ' An entry is a name, or a mapping with the keys below; `"*"` lifts the rule.',
        examples=[["example.com"]],
    )
    clients: Clients = Field(default_factory=Clients)
    listeners: Listeners = Field(default_factory=Listeners)
    dkim: Dkim = Field(default_factory=Dkim)
    delivery: Delivery = Field(default_factory=Delivery)
    limits: Limits = Field(default_factory=Limits)
    log: Log = Field(default_factory=Log)
    sendmail: Sendmail = Field(default_factory=Sendmail)

    @field_validator("domains")
    @classmethod
    def _once(cls, domains: tuple[Domain, ...]) -> tuple[Domain, ...]:
        seen: set[str] = set()
        for i, domain in enumerate(domains):
            if domain.name in seen:
                refuse("each domain once", at=(i,), found=domain.name)
            seen.add(domain.name)
        return domains

    @property
    def named_domains(self) -> tuple[Domain, ...]:
        """The domains without ``*``: those that have a key."""
        return tuple(domain for domain in self.domains if domain.name != "*")

    @property
    def any_domain(self) -> bool:
        """Whether mail may be sent as any domain."""
        return any(domain.name == "*" for domain in self.domains)

    def selector(self, domain: Domain) -> str:
        """The selector that this domain is signed under."""
        return domain.dkim.selector or self.dkim.selector
