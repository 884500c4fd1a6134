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

from postroad.config.delivery import MOST_SHAPED, OutboundTls, Route, Smarthost
from postroad.config.mc import check_define_name, check_define_value, check_feature, check_raw
from postroad.config.names import (
    Address,
    DatabaseUrl,
    DomainName,
    EgressName,
    Host,
    Hostname,
    Listen,
    OldAddress,
    Recipient,
    Selector,
    Server,
    UserName,
    host_and_port,
)
from postroad.config.networks import IPAddress, Network, PublicAddress, is_too_wide
from postroad.config.section import FrozenMap, Section
from postroad.config.values import AbsolutePath, Duration, Port, Share, Size, WholeNumber, format_duration, refuse
from postroad.config.webhooks import MOST_WEBHOOKS, Webhook


class DomainDkim(Section):
    """The domain's own selector and key, where it has them."""

    selector: Selector | None = Field(None, description="Selector for this domain. Not set: that of `dkim.selector`.")
    key_file: AbsolutePath | None = Field(
        None,
        description="Private key (PEM) for this domain. Not set: one is made and kept in the state volume.",
    )


class Domain(Section):
    """A domain that may send."""

    name: DomainName = Field(
        description='The domain, or `"*"` for any, which needs `dkim.enabled: false`.', examples=["example.com"]
    )
    subdomains: bool = Field(
        False, description="Whether every name below the domain may send too, signed with its key."
    )
    dkim: DomainDkim = Field(default_factory=DomainDkim)

    def covers(self, name: str) -> bool:
        """Whether this entry lets a domain of that name send."""
        return self.name in {name, "*"} or (self.subdomains and name.endswith(f".{self.name}"))

    @model_validator(mode="after")
    def _any_is_any(self) -> Self:
        if self.name == "*" and (self.subdomains or self.dkim != DomainDkim()):
            refuse('"*" alone: it has no subdomains and no key of its own', found='"*" with other keys')
        return self


def _domain(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


DomainEntry = Annotated[Domain, BeforeValidator(_domain, json_schema_input_type=DomainName | Domain)]


class User(Section):
    """A client that authenticates (SMTP AUTH, RFC 4954)."""

    name: UserName = Field(
        description="What the client logs in as. A name without a realm is in that of `hostname`.", examples=["app"]
    )
    password_file: AbsolutePath = Field(
        description="File that holds the password, such as a secret's; the line break at its end is dropped.",
        examples=["/run/secrets/app_password"],
    )
    domains: tuple[DomainName, ...] = Field(
        ("*",),
        min_length=1,
        description='The sender domains that this user may use, of those in `domains`; `"*"`: all of them.',
    )

    def account(self, hostname: str) -> tuple[str, str]:
        """The user and the realm, as SASL keeps them."""
        user, _, realm = self.name.partition("@")
        return user, realm or hostname


class Clients(Section):
    """Who may hand over mail."""

    networks: tuple[Network, ...] = Field(
        ("auto",),
        description="Addresses and CIDRs whose hosts may send. `auto` stands for the container's own networks"
        " without their gateways, and without loopback and the container's own addresses.",
    )
    trust_gateway: bool = Field(
        False,
        description="Whether the networks' gateways and the container's own addresses may send too. Engines let clients"
        " from outside appear under one of them, so this can make an open relay.",
    )
    i_know_this_is_an_open_relay: bool = Field(
        False,
        description="Whether `networks` may hold everyone (`0.0.0.0/0`) or public ranges wider than /24 (IPv6: /64).",
    )

    users: tuple[User, ...] = Field(
        (), description="Who may send from anywhere, by name and password, once the connection is encrypted."
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
    """Where clients connect; `null` closes one."""

    smtp: Port | None = Field(
        25,
        description="Port for `clients.networks`, and for `clients.users` where `tls.smtp_starttls` offers STARTTLS.",
    )
    submission: Port | None = Field(587, description="Port for `clients.users` alone, after STARTTLS.")
    submissions: Port | None = Field(465, description="Port for `clients.users` alone, encrypted from the start.")

    @model_validator(mode="after")
    def _open(self) -> Self:
        ports: list[int] = []
        for name in type(self).model_fields:
            if (port := getattr(self, name)) in ports:
                refuse("each port once", at=(name,), found=str(port))
            ports += [port] if port else []
        if not ports:
            refuse("at least one port", found="null for each")
        return self


class Tls(Section):
    """What clients see of encryption (TLS 1.2 and up)."""

    certificate_file: AbsolutePath | None = Field(
        None,
        description="Certificate (PEM), those of its issuers after it. A changed file is noticed."
        " Not set: a self-signed one is made and kept in the state volume.",
    )
    key_file: AbsolutePath | None = Field(None, description="Private key (PEM) of the certificate.")
    smtp_starttls: Literal["auto", "always", "never"] = Field(
        "auto",
        description="Whether `listeners.smtp` offers STARTTLS. Many client libraries take an offer and then"
        " refuse a certificate that they can't verify. `auto`: only with a `certificate_file`.",
    )

    @property
    def on_smtp(self) -> bool:
        """Whether STARTTLS is offered, and so AUTH possible, on the ports for ``clients.networks``."""
        return self.smtp_starttls == "always" or (self.smtp_starttls == "auto" and self.certificate_file is not None)

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.certificate_file is None) != (self.key_file is None):
            missing = "key_file" if self.key_file is None else "certificate_file"
            refuse("both certificate_file and key_file, or neither", at=(missing,), found="null")
        return self


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
    algorithms: tuple[Literal["rsa", "ed25519"], ...] = Field(
        ("rsa",),
        description="What signs each message. `ed25519` (RFC 8463) comes beside `rsa`, with"
        " a key of its own under `SELECTOR-ed25519`: receivers verify the one that they know.",
    )

    @field_validator("algorithms")
    @classmethod
    def _with_rsa(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if "rsa" not in value or len(set(value)) != len(value):
            refuse("[rsa] or [rsa, ed25519], as many receivers verify rsa alone", found=str(list(value)))
        return value


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
    attempt_timeout: Duration = Field(
        timedelta(minutes=10),
        description="How long one attempt may take with one receiving server, from the connection to its last answer;"
        " one second more for each 10 KB that it takes. The message stays in the queue then.",
    )
    shutdown_grace: Duration = Field(
        timedelta(seconds=8),
        description="How long deliveries under way may go on at a stop. Docker kills the container after 10s,"
        " unless told otherwise.",
    )

    @property
    def goes_to_receivers(self) -> bool:
        """Whether any mail goes to recipients' own MX hosts, rather than all to smarthosts."""
        return self.smarthost is None or any(route.smarthost is None for route in self.routes)

    @model_validator(mode="after")
    def _few(self) -> Self:
        shaped = sum(route.shaped for route in self.routes)
        if shaped > MOST_SHAPED:
            refuse(
                f"at most {MOST_SHAPED} routes with limits of their own, as sendmail takes no more",
                at=("routes",),
                found=str(shaped),
            )
        seen: dict[object, int] = {}
        for i, route in enumerate(self.routes):
            first = seen.setdefault((frozenset(route.domains), frozenset(route.senders)), i)
            if route.shaped and first != i:
                refuse(f"other mail than that of routes[{first}], which is first", at=("routes", i), found="the same")
        return self


class Recipients(Section):
    """Who gets mail: for staging, where nothing may reach real people."""

    allow: tuple[Recipient, ...] = Field(
        (),
        description="The only addresses and domains that mail may go to. None: anywhere.",
        examples=[["example.com"]],
    )
    redirect_to: Address | None = Field(
        None,
        description="The mailbox that gets everything instead of the recipients, who are named in the header"
        " `X-Original-Recipients`.",
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.allow and self.redirect_to:
            refuse("allow or redirect_to, not both", found="both")
        return self


class Rewrite(Section):
    """Addresses that leave as others, in the envelope and in the header fields that hold addresses."""

    add_domain: DomainName | None = Field(
        None,
        description="Domain for addresses without one: `root` becomes `root@example.com`. Not set: such senders are"
        " refused.",
    )
    masquerade_domains: tuple[Host, ...] = Field(
        (), description="Hosts and domains, with all below them, whose addresses get the domain `masquerade_as`."
    )
    masquerade_as: DomainName | None = Field(None, description="The domain that takes their place.")
    addresses: Annotated[
        Mapping[OldAddress, Address], AfterValidator(FrozenMap), PlainSerializer(dict, return_type=dict[str, str])
    ] = Field(
        default_factory=lambda: FrozenMap({}),
        description="Addresses and what they become, such as `root@web1.internal: ops@example.com`. Applied last.",
    )
    sender: Address | None = Field(
        None,
        description="The one sender of everything: in the envelope and in From:, where the name stays. The address that"
        " was there is kept in the header `X-Original-From`.",
    )

    @property
    def changes_addresses(self) -> bool:
        """Whether an address may leave as another because of what it is."""
        return bool(self.add_domain or self.masquerade_domains or self.addresses)

    @field_validator("add_domain", "masquerade_as")
    @classmethod
    def _named(cls, value: str | None) -> str | None:
        if value == "*":
            refuse("a domain")
        return value

    @model_validator(mode="after")
    def _once(self) -> Self:
        if bool(self.masquerade_domains) != bool(self.masquerade_as):
            refuse("masquerade_domains and masquerade_as together", found="one of the two")
        for old, new in self.addresses.items():
            # an address passes the rules several times on its way
            if new.lower() in self.addresses or self.masquerades(new.rpartition("@")[2]):
                refuse("an address that is not itself rewritten", at=("addresses", old), found=new)
        return self

    def masquerades(self, domain: str) -> bool:
        """Whether addresses in this domain get another."""
        return domain != self.masquerade_as and any(
            domain == host or domain.endswith(f".{host}") for host in self.masquerade_domains
        )


class Limits(Section):
    """What one message may be, and one client may do."""

    message_size: Size = Field(25 * 2**20, description="Largest message taken, in its encoded form.")
    header_size: Size = Field(256 * 2**10, description="Largest header of a message, all its fields together.")
    recipients_per_message: WholeNumber = Field(100, ge=1, le=10_000, description="Most recipients of one message.")
    bad_recipients: WholeNumber = Field(
        20,
        ge=1,
        le=10_000,
        description="Most recipients of one message that may be refused; at the next one the connection is closed.",
    )
    connections_per_client: WholeNumber | None = Field(
        50, ge=1, le=10_000, description="Most connections at once from one address. `null`: any number."
    )
    connections_per_minute: WholeNumber | None = Field(
        None, ge=1, le=100_000, description="Most new connections in a minute from one address. `null`: any number."
    )
    messages_per_minute: WholeNumber | None = Field(
        None,
        ge=1,
        le=100_000,
        description="Most messages in a minute from one address, or from one user who authenticated, over all"
        " connections. `null`: any number.",
    )


class Dns(Section):
    """Whom `postroad dns` and `postroad doctor` ask. The mail goes by the container's own resolvers."""

    servers: tuple[IPAddress, ...] = Field((), description="Resolvers. None: those of the container.")
    egress: tuple[EgressName, ...] = Field(
        (
            "myip.opendns.com @resolver1.opendns.com",
            "o-o.myaddr.l.google.com TXT @ns1.google.com",
            "whoami.cloudflare CH TXT @one.one.one.one",
            "whoami.akamai.net @ns1-1.akamaitech.net",
        ),
        description="For `public_ip: auto`: names that answer with the address that asks, as `dig` takes them:"
        " the name, `TXT` unless it is an address record, `CH` for that class, and `@` its server."
        " What two of them agree on is believed.",
    )


class Doctor(Section):
    """What `postroad doctor` asks and where. Nothing is sent to any of them."""

    at_start: bool = Field(
        True,
        description="Whether the server has itself looked over, in the background, when it has started: a line in the"
        " log for each thing that fails.",
    )
    receivers: tuple[Hostname, ...] = Field(
        ("gmail.com", "outlook.com", "yahoo.com", "icloud.com"),
        description="Domains whose mail servers are connected to, to see whether port 25 and TLS work.",
    )
    dnsbls: tuple[Hostname, ...] = Field(
        ("zen.spamhaus.org", "bl.spamcop.net", "psbl.surriel.com"),
        description="Lists of blocked addresses (DNSBLs) to look the public addresses up in.",
    )
    ntp: tuple[Server, ...] = Field(
        ("time.cloudflare.com", "time.google.com", "169.254.169.123"),
        description="Time servers, names or addresses, to compare the clock with. The last one is EC2's own.",
    )


class Log(Section):
    """What is printed on standard output."""

    format: Literal["json", "text"] = Field("json", description="One JSON object a line, or text for people.")
    redact: Literal["none", "domain", "hash"] = Field(
        "none",
        description="What is printed of mail addresses: all, the domain (`***@example.com`), or a digest, the same one"
        " for the same address. The event store keeps them whole.",
    )


class Brake(Section):
    """When too much of a sender domain's mail bounces: hard bounces, in all that was delivered or bounced."""

    bounce_rate: Share | None = Field(
        None,
        description="From this rate on, and until it has fallen, mail from the domain gets a 451. `null`: never.",
        examples=["10%"],
    )
    warn_rate: Share | None = Field(0.05, description="From this rate on there is a warning event. `null`: never.")
    window: Duration = Field(timedelta(hours=1), description="Over how long.")
    minimum: WholeNumber = Field(
        100,
        ge=1,
        le=1_000_000,
        description="Below so many recipients within the window the rate says nothing.",
    )


class Events(Section):
    """What happened to each message, kept on the state volume for `postroad trace` and `postroad stats`."""

    enabled: bool = Field(True, description="Whether events are kept.")
    keep: Duration = Field(timedelta(days=30), description="How long.")
    max_size: Size = Field(2**30, description="Largest size of what is kept; the oldest goes first.")
    store: DatabaseUrl | None = Field(
        None,
        description="A PostgreSQL database to keep them in, without its password, and with libpq's parameters, such as"
        " `sslmode`. Not set: SQLite, on the state volume.",
        examples=["postgresql://postroad@db.example.com/postroad?sslmode=verify-full&sslrootcert=system"],
    )
    store_password_file: AbsolutePath | None = Field(
        None, description="File that holds the database's password, such as a secret's."
    )
    webhooks: tuple[Webhook, ...] = Field((), description="Who gets events as they happen.")
    brake: Brake = Field(default_factory=Brake)

    @field_validator("max_size")
    @classmethod
    def _room(cls, value: int) -> int:
        if value < 2**20:
            refuse("at least 1MiB")
        return value

    @model_validator(mode="after")
    def _kept(self) -> Self:
        if len(self.webhooks) > MOST_WEBHOOKS:
            refuse(f"at most {MOST_WEBHOOKS}", at=("webhooks",), found=str(len(self.webhooks)))
        names = [hook.name for hook in self.webhooks]
        for i, name in enumerate(names):
            if name in names[:i]:
                refuse("each name once", at=("webhooks", i, "name"), found=name)
        if names and not self.enabled:
            refuse("true where there are webhooks: their events wait in what is kept", at=("enabled",), found="false")
        if self.brake.window > self.keep:
            found = format_duration(self.brake.window)
            refuse(f"at most events.keep, which is {format_duration(self.keep)}", at=("brake", "window"), found=found)
        if self.store_password_file and not self.store:
            refuse("store_password_file only with store", at=("store_password_file",), found="it alone")
        return self


class Http(Section):
    """The port for monitoring: `/healthz`, `/readyz`, and `/metrics` for Prometheus. It needs `events.enabled`."""

    listen: Listen | None = Field(
        "0.0.0.0:8025", description="Address and port. Nothing there names a person. `null` closes it."
    )


class Soft(Section):
    """Mailboxes that are full or disabled, message after message. Off, since they may come back."""

    count: WholeNumber | None = Field(
        None,
        ge=1,
        le=1000,
        description="After so many messages that found it so, with none delivered, mail is refused. `null`: never.",
        examples=[5],
    )
    within: Duration = Field(timedelta(days=7), description="Within this time.")


class Suppression(Section):
    """Addresses whose mailbox a receiving server said not to exist: they get no more mail."""

    enabled: bool = Field(True, description="Whether mail to such an address is refused. Needs `events.enabled`.")
    keep: Duration = Field(timedelta(days=90), description="How long after the bounce.")
    soft: Soft = Field(default_factory=Soft)
    scope: Literal["all", "sender_domain"] = Field(
        "all",
        description="Whose mail to such an address is refused: that of all, or of the bounce's sender domain.",
    )
    never: tuple[Recipient, ...] = Field(
        (), description="Addresses and domains that are never put on the list.", examples=[["example.com"]]
    )


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
        ' An entry is a name, or a mapping with the keys below. `"*"` lifts the rule where `dkim.enabled` is false.',
        examples=[["example.com"]],
    )
    public_ip: tuple[PublicAddress, ...] = Field(
        ("auto",),
        min_length=1,
        description="The addresses that the world sees mail come from, such as a NAT gateway's. `auto` asks the DNS"
        " which they are.",
    )
    clients: Clients = Field(default_factory=Clients)
    listeners: Listeners = Field(default_factory=Listeners)
    tls: Tls = Field(default_factory=Tls)
    dkim: Dkim = Field(default_factory=Dkim)
    delivery: Delivery = Field(default_factory=Delivery)
    recipients: Recipients = Field(default_factory=Recipients)
    rewrite: Rewrite = Field(default_factory=Rewrite)
    limits: Limits = Field(default_factory=Limits)
    dns: Dns = Field(default_factory=Dns)
    doctor: Doctor = Field(default_factory=Doctor)
    suppression: Suppression = Field(default_factory=Suppression)
    events: Events = Field(default_factory=Events)
    http: Http = Field(default_factory=Http)
    log: Log = Field(default_factory=Log)
    sendmail: Sendmail = Field(default_factory=Sendmail)

    @field_validator("public_ip", mode="before")
    @classmethod
    def _one(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("domains")
    @classmethod
    def _once(cls, domains: tuple[Domain, ...]) -> tuple[Domain, ...]:
        seen: set[str] = set()
        for i, domain in enumerate(domains):
            if domain.name in seen:
                refuse("each domain once", at=(i,), found=domain.name)
            seen.add(domain.name)
        return domains

    @model_validator(mode="after")
    def _users(self) -> Self:
        seen: set[str] = set()
        for i, user in enumerate(self.clients.users):
            account = "@".join(user.account(self.hostname)).lower()
            if account in seen:
                refuse("each user once", at=("clients", "users", i, "name"), found=user.name)
            seen.add(account)
            for j, name in enumerate(user.domains):
                if name != "*" and not self.any_domain and not any(domain.covers(name) for domain in self.domains):
                    refuse(
                        'a domain that stands in domains, or "*"',
                        at=("clients", "users", i, "domains", j),
                        found=name,
                    )
        return self

    @model_validator(mode="after")
    def _each_port_once(self) -> Self:
        if self.http.listen:
            _, port = host_and_port(self.http.listen)
            for name, other in self.listeners:
                if other == port:
                    refuse(f"another port than listeners.{name}", at=("http", "listen"), found=self.http.listen)
        return self

    @model_validator(mode="after")
    def _any_domain_is_unsigned(self) -> Self:
        if self.dkim.enabled and self.any_domain:
            at = ("domains", next(i for i, domain in enumerate(self.domains) if domain.name == "*"))
            refuse(
                "the names of the domains, each of which gets a key; any domain only with dkim.enabled: false, for a"
                " smarthost that signs the mail itself",
                at=at,
                found='"*" while dkim.enabled is true',
            )
        return self

    @model_validator(mode="after")
    def _selectors_are_names(self) -> Self:
        for i, domain in enumerate(self.domains):
            selector = max(self.selectors(domain), key=len)
            if max(map(len, selector.split("."))) > 63:
                at = ("domains", i, "dkim", "selector") if domain.dkim.selector else ("dkim", "selector")
                refuse("55 characters at most with dkim.algorithms: [rsa, ed25519]", at=at, found=self.selector(domain))
        return self

    @model_validator(mode="after")
    def _one_sender_may_send(self) -> Self:
        sender = self.rewrite.sender
        if sender and not self.covers(sender.rpartition("@")[2]):
            refuse("an address in one of domains (by its name, not by *)", at=("rewrite", "sender"), found=sender)
        return self

    @property
    def suppresses(self) -> bool:
        """Whether mail to dead mailboxes is refused: bounces must be kept for that."""
        return self.suppression.enabled and self.events.enabled

    @property
    def brakes(self) -> bool:
        """Whether mail from a domain of which too much bounces is refused for a while."""
        return self.events.enabled and self.events.brake.bounce_rate is not None

    def covers(self, domain: str) -> bool:
        """Whether one of the named ``domains`` lets this one send."""
        return any(
            domain == each.name or (each.subdomains and domain.endswith(f".{each.name}")) for each in self.named_domains
        )

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

    def selectors(self, domain: Domain) -> dict[str, str]:
        """The selectors of all keys that sign this domain's mail, each with its algorithm."""
        selector = self.selector(domain)
        return {selector if name == "rsa" else f"{selector}-{name}": name for name in self.dkim.algorithms}
