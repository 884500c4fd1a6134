"""The configuration: every key with its type, default and meaning.

A new key is one field here: the environment variable, the example file, the JSON schema, the reference page
and the error messages follow from it, and ``Section`` checks its value for what m4 could take for a quote.
"""

import re
from collections.abc import Mapping
from datetime import timedelta
from ipaddress import ip_address
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from postroad import domains
from postroad.config.delivery import MOST_SHAPED, Bind, OutboundTls, ProxyEntry, Route, Smarthost
from postroad.config.mc import check_define_name, check_define_value, check_feature, check_raw
from postroad.config.names import (
    Address,
    DatabaseUrl,
    DomainName,
    DomainPattern,
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
from postroad.config.web import Web
from postroad.config.webhooks import MOST_WEBHOOKS, Webhook


class DomainDkim(Section):
    """A selector and key of the domain's own."""

    selector: Selector | None = Field(
        None, description="The selector of this domain's key. Not set: `dkim.selector`.", examples=["mail"]
    )
    key_file: AbsolutePath | None = Field(
        None,
        description="File with this domain's RSA private key (PEM). Not set: a key is made and kept in the state "
        "volume.",
        examples=["/run/secrets/dkim_example.com"],
    )


class Domain(Section):
    """A domain that may send."""

    name: DomainName = Field(
        description='The domain. `"*"` stands for any domain, and needs `dkim.enabled: false`.',
        examples=["example.com"],
    )
    subdomains: bool = Field(
        False,
        description="Whether all names below the domain may send too. Their mail is signed with the domain's key.",
    )
    dkim: DomainDkim = Field(default_factory=DomainDkim)

    def covers(self, name: str) -> bool:
        """Whether this entry lets a domain of that name send."""
        return domains.may_send(name, self.name, self.subdomains)

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
        description="The name that the client logs in with. `@` and `hostname` may follow it: `app` and "
        "`app@mail.example.com` are one user.",
        examples=["app"],
    )
    password_file: AbsolutePath = Field(
        description="File that holds the password. The line break at its end is dropped.",
        examples=["/run/secrets/app_password"],
    )
    domains: tuple[DomainName, ...] = Field(
        ("*",),
        min_length=1,
        description='The domains that this user may send as; each has to be in `domains`. `"*"` stands for all of '
        "them. Other senders get a 550.",
        examples=[["example.com"]],
    )

    def account(self, hostname: str) -> tuple[str, str]:
        """The user and the realm, as SASL keeps them."""
        user, _, realm = self.name.partition("@")
        return user, realm or hostname


class Clients(Section):
    """Who may send through this server."""

    networks: tuple[Network, ...] = Field(
        ("auto",),
        description="Addresses and networks that may send without a password. `auto`: the container's private "
        "networks, without their gateways. Others get `550 relaying denied`.",
        examples=[["auto", "10.1.0.0/16"]],
    )
    trust_gateway: bool = Field(
        False,
        description="Whether the gateways and the container's own addresses may send too. Behind some engines every "
        "outsider has such an address: with a published port this makes an open relay.",
    )
    i_know_this_is_an_open_relay: bool = Field(
        False,
        description="Whether `networks` may hold `0.0.0.0/0` or public networks wider than /24 (IPv6: /64). Strangers "
        "there can send through you.",
    )

    users: tuple[User, ...] = Field(
        (),
        description="Clients that may send from anywhere, with a name and a password, over TLS only.",
        examples=[[{"name": "app", "password_file": "/run/secrets/app_password"}]],
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
    """The ports that clients connect to. `null` closes a port."""

    smtp: Port | None = Field(
        25,
        description="Port for `clients.networks`. Users can log in here too, where `tls.smtp_starttls` offers "
        "STARTTLS.",
        examples=[2525],
    )
    submission: Port | None = Field(
        587,
        description="Port for `clients.users`, with STARTTLS. Nobody sends here without a password.",
        examples=[2587],
    )
    submissions: Port | None = Field(
        465,
        description="Port for `clients.users`, with TLS from the start. Nobody sends here without a password.",
        examples=[2465],
    )

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
    """TLS with clients, from version 1.2 on."""

    certificate_file: AbsolutePath | None = Field(
        None,
        description="File with the certificate (PEM), followed by its issuers'. A changed file is put in force within "
        "15 seconds. Not set: a self-signed one is made, which clients do not trust.",
        examples=["/run/secrets/tls.pem"],
    )
    key_file: AbsolutePath | None = Field(
        None, description="File with the certificate's private key (PEM).", examples=["/run/secrets/tls.key"]
    )
    smtp_starttls: Literal["auto", "always", "never"] = Field(
        "auto",
        description="Whether `listeners.smtp` offers STARTTLS. Many mail libraries accept the offer, and then fail if "
        "they can't verify the certificate. `auto`: only with a `certificate_file`.",
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
    """DKIM signatures, by which receivers know that the mail is yours."""

    enabled: bool = Field(
        True, description="Whether outgoing mail is signed. While it is, mail that can't be signed is refused."
    )
    selector: Selector = Field(
        "postroad",
        description="The selector of new keys: a key is published at `SELECTOR._domainkey.DOMAIN`.",
        examples=["mail"],
    )
    key_bits: Annotated[
        WholeNumber,
        AfterValidator(_key_bits),
        WithJsonSchema({"type": "integer", "enum": [2048, 3072, 4096]}),
    ] = Field(
        2048,
        description="Length of new RSA keys, in bits. Some DNS providers take no TXT record longer than one of 2048.",
    )
    algorithms: tuple[Literal["rsa", "ed25519"], ...] = Field(
        ("rsa",),
        description="Which signatures a message gets. `ed25519` (RFC 8463) is added to `rsa`, with its own key under "
        "`SELECTOR-ed25519`. Receivers check the one they know.",
        examples=[["rsa", "ed25519"]],
    )
    rotate: Duration | None = Field(
        None,
        description="How long a key signs before the next one is made. The next one signs when its record is published,"
        " and not before. `null`: only `postroad dkim rotate` makes one.",
        examples=["180d"],
    )
    overlap: Duration = Field(
        timedelta(days=7),
        description="How long the record of a key has to stay published after the key signed for the last time. After "
        "it `postroad dkim list` says that the record can go. Where `delivery.queue.give_up_after` is "
        "longer, that counts.",
        examples=["14d"],
    )
    cname: Hostname | None = Field(
        None,
        description="A DNS zone of yours that holds the key records of all domains. Each domain then has CNAME records"
        " that lead there and never change, even when a new key takes over.",
        examples=["keys.example.net"],
    )
    resolvers: tuple[IPAddress, ...] = Field(
        tuple(map(ip_address, ("1.1.1.1", "8.8.8.8", "9.9.9.9"))),
        description="Public DNS resolvers that are asked whether the record of the next key is published, besides those"
        " of `dns.servers` or the container. The key signs once two resolvers have the record and no other "
        "lacks it.",
        examples=[["192.0.2.53", "198.51.100.53"]],
    )

    @field_validator("algorithms")
    @classmethod
    def _with_rsa(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if "rsa" not in value or len(set(value)) != len(value):
            refuse("[rsa] or [rsa, ed25519], as many receivers verify rsa alone", found=str(list(value)))
        return value


class Queue(Section):
    """What happens to mail that can't be delivered at once."""

    retry: Duration = Field(
        timedelta(minutes=5),
        description="How long a message waits after a failed attempt. Then it is tried again.",
        examples=["10m"],
    )
    warn_after: Duration | None = Field(
        timedelta(hours=4),
        description="After this time the sender gets a notice that the message still waits. `null`: no notice.",
        examples=["1d"],
    )
    give_up_after: Duration = Field(
        timedelta(days=5),
        description="After this time the message is returned to its sender as a bounce. Longer than `warn_after`.",
        examples=["2d"],
    )

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
    """How mail leaves this server."""

    smarthost: Smarthost | None = Field(
        None,
        description="The server that takes all mail and delivers it. `null`: mail goes straight to the recipients' MX "
        "hosts.",
        examples=[{"host": "smtp.example.net", "username": "app", "password_file": "/run/secrets/smarthost"}],
    )
    routes: tuple[Route, ...] = Field(
        (),
        description="Exceptions: mail for some domains, or from some, goes to another server or has limits. The first "
        "route whose `domains` and `senders` both match is taken.",
        examples=[[{"domains": ["example.net"], "smarthost": None, "rate": "100/minute"}]],
    )
    prefer: Literal["auto", "ipv4", "ipv6"] = Field(
        "auto",
        description="Which of a server's addresses are tried first. `ipv4`: with MX hosts, IPv6 only where a host has"
        " no IPv4 address. `ipv6`: IPv6, then IPv4. `auto`: likewise, and IPv4 alone where this container has no way to"
        " IPv6; with smarthosts in the order of the system (RFC 6724).",
        examples=["ipv4"],
    )
    bind: Bind = Field(
        (),
        description="The addresses of this host from which mail leaves: at most one IPv4 and one IPv6. With an IPv4"
        " address alone, IPv6 is not used. Empty: the system chooses.",
        examples=[["203.0.113.10"]],
    )
    proxy: ProxyEntry | None = Field(
        None,
        description="A proxy through which smarthosts are reached: its URL, or a mapping with credentials. Never used"
        " for MX hosts.",
        examples=["socks5://proxy.example.net:1080"],
    )
    tls: OutboundTls = Field(default_factory=OutboundTls)
    queue: Queue = Field(default_factory=Queue)
    adaptive: bool = Field(
        True,
        description="Whether a receiver that asks for less gets less: one that answers too fast, too many connections, "
        "try later, or blocks, by the words of its replies. All domains behind its MX hosts share that.",
        examples=[False],
    )
    concurrency: WholeNumber | None = Field(
        None,
        ge=8,
        le=1000,
        description="Most deliveries under way at once, all receivers together. Further messages wait in the queue. A"
        " receiver that is slow has at most a sixth of them. `null`: what the container's memory and processes allow,"
        " about 190 where they have no limit. For a single receiver: `concurrency` of a route.",
        examples=[40],
    )
    attempt_timeout: Duration = Field(
        timedelta(minutes=10),
        description="How long one delivery attempt may take, from the connection to the last answer, plus one second "
        "for each 10 KB. After it the connection is closed, and the message waits.",
        examples=["5m"],
    )
    shutdown_grace: Duration = Field(
        timedelta(seconds=8),
        description="How long deliveries may go on when the container is stopped. What is not delivered by then stays "
        "in the queue. Docker kills the container after 10 seconds unless `stop_grace_period` says "
        "otherwise.",
        examples=["30s"],
    )

    @property
    def goes_to_receivers(self) -> bool:
        """Whether any mail goes to recipients' own MX hosts, rather than all to smarthosts."""
        return self.smarthost is None or any(route.smarthost is None for route in self.routes)

    @model_validator(mode="after")
    def _few(self) -> Self:
        shaped = sum(route.shaped or route.binds_mx for route in self.routes)
        if shaped > MOST_SHAPED:
            refuse(
                f"at most {MOST_SHAPED} routes with limits or addresses of their own, as sendmail takes no more",
                at=("routes",),
                found=str(shaped),
            )
        seen: dict[object, int] = {}
        for i, route in enumerate(self.routes):
            first = seen.setdefault((frozenset(route.domains), frozenset(route.senders)), i)
            if route.shaped and first != i:
                refuse(
                    f"other domains or senders than routes[{first}], which takes this mail first, so the limits here"
                    " would never apply",
                    at=("routes", i),
                    found="the same domains and senders",
                )
        return self


class Recipients(Section):
    """Who may get mail. For staging, where no real person should."""

    allow: tuple[Recipient, ...] = Field(
        (),
        description="Only these addresses and domains get mail. A message to any other is refused with a 550. Empty: "
        "everybody gets mail.",
        examples=[["example.com"]],
    )
    redirect_to: Address | None = Field(
        None,
        description="All mail goes to this mailbox instead. The header `X-Original-Recipients` names the real "
        "recipients.",
        examples=["qa@example.com"],
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.allow and self.redirect_to:
            refuse("allow or redirect_to, not both", found="both")
        return self


class Rewrite(Section):
    """Addresses that are changed before the mail leaves, in the envelope and in the header."""

    add_domain: DomainName | None = Field(
        None,
        description="Domain for addresses that have none: `root` becomes `root@example.com`. Not set: such senders "
        "get a 553.",
        examples=["example.com"],
    )
    masquerade_domains: tuple[Host, ...] = Field(
        (),
        description="Hosts and domains, with all names below them, whose addresses get the domain `masquerade_as`.",
        examples=[["web1", "internal.example.com"]],
    )
    masquerade_as: DomainName | None = Field(
        None,
        description="The domain that addresses in `masquerade_domains` get instead of their own.",
        examples=["example.com"],
    )
    addresses: Annotated[
        Mapping[OldAddress, Address], AfterValidator(FrozenMap), PlainSerializer(dict, return_type=dict[str, str])
    ] = Field(
        default_factory=lambda: FrozenMap({}),
        description="Single addresses and their replacements, applied after `add_domain` and `masquerade_as`.",
        examples=[{"root@web1.internal": "ops@example.com"}],
    )
    sender: Address | None = Field(
        None,
        description="One sender for everything, in the envelope and in From:. The name in From: stays, and the old "
        "address is kept in the header `X-Original-From`.",
        examples=["noreply@example.com"],
    )

    hide_client: bool = Field(
        False,
        description="Whether the `Received:` field that is added here leaves out the client's name and address, such as"
        " an app's private one.",
    )

    @property
    def changes_addresses(self) -> bool:
        """Whether any rule may change an address depending on the address itself."""
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
            # an address passes the rules several times during delivery
            if new.lower() in self.addresses or self.masquerades(new.rpartition("@")[2]):
                refuse("an address that is not itself rewritten", at=("addresses", old), found=new)
        return self

    def masquerades(self, domain: str) -> bool:
        """Whether addresses in this domain are masqueraded."""
        return domain != self.masquerade_as and any(domains.is_within(domain, host) for host in self.masquerade_domains)


class Limits(Section):
    """Limits for one message, and for one client."""

    message_size: Size = Field(
        25 * 2**20,
        description="Largest message as it is transferred, where attachments are a third larger than on disk. A larger "
        "one gets a 552.",
        examples=["50MiB"],
    )
    header_size: Size = Field(
        256 * 2**10,
        description="Largest header of a message, all fields together. A larger one gets a 552.",
        examples=["512KiB"],
    )
    recipients_per_message: WholeNumber = Field(
        100,
        ge=1,
        le=10_000,
        description="Most recipients of one message. Further ones get a 452, and libraries send them in another "
        "message.",
        examples=[500],
    )
    bad_recipients: WholeNumber = Field(
        20,
        ge=1,
        le=10_000,
        description="Most refused recipients of one message. At the next one the client gets a 421, and the "
        "connection is closed.",
        examples=[50],
    )
    connections_per_client: WholeNumber | None = Field(
        50,
        ge=1,
        le=10_000,
        description="Most open connections from one address. Further ones get a 421. `null`: no limit.",
        examples=[100],
    )
    connections_per_minute: WholeNumber | None = Field(
        None,
        ge=1,
        le=100_000,
        description="Most new connections from one address within a minute. Further ones get a 421. `null`: no limit.",
        examples=[600],
    )
    messages_per_minute: WholeNumber | None = Field(
        None,
        ge=1,
        le=100_000,
        description="Most messages within a minute from one address, or from one user, over all connections. Further "
        "ones get a 451. `null`: no limit.",
        examples=[300],
    )
    idle: Duration = Field(
        timedelta(minutes=5),
        ge=timedelta(seconds=10),
        le=timedelta(hours=1),
        description="How long a client may say nothing. After it the client gets a 421, and its connection is closed. "
        "From 10s to 1h.",
        examples=["10m"],
    )


class Dns(Section):
    """The DNS servers that `postroad dns` and `postroad doctor` use. Mail delivery uses the container's."""

    servers: tuple[IPAddress, ...] = Field(
        (),
        description="DNS servers for `postroad dns` and `postroad doctor`. Empty: the container's.",
        examples=[["192.0.2.53"]],
    )
    egress: tuple[EgressName, ...] = Field(
        (
            "myip.opendns.com @resolver1.opendns.com",
            "o-o.myaddr.l.google.com TXT @ns1.google.com",
            "whoami.cloudflare CH TXT @one.one.one.one",
            "whoami.akamai.net @ns1-1.akamaitech.net",
        ),
        description="DNS names that return your public address, for `public_ip: auto`. They are written as for `dig`: "
        "the name, `TXT` or `CH TXT` if it is no address record, `@` and the server. An address counts when"
        " two answers agree.",
    )


LONGEST_RETURNS_DOMAIN = 189
"""Characters: an address has 254 at most (RFC 5321, 4.5.3.1.3), a return address 64 before its @."""

SHORTEST_LOOK, LONGEST_LOOK = timedelta(seconds=10), timedelta(days=1)


def _doctor_interval(value: timedelta) -> timedelta:
    if not SHORTEST_LOOK <= value <= LONGEST_LOOK:
        refuse(
            f"from {format_duration(SHORTEST_LOOK)} to {format_duration(LONGEST_LOOK)}", found=format_duration(value)
        )
    return value


DoctorInterval = Annotated[Duration, AfterValidator(_doctor_interval)]


class Doctor(Section):
    """The doctor: checks of everything that decides whether mail arrives. It sends no mail."""

    at_start: bool = Field(
        True,
        description="Whether the doctor runs once after a start, in the background. Each failure is a line in the log.",
    )
    every: DoctorInterval | None = Field(
        timedelta(hours=1),
        description="How often the doctor runs again. A check that begins to fail, or no longer fails, is an event"
        " (`doctor`). From 10s to 1d; `null`: never.",
    )
    receivers: tuple[Hostname, ...] = Field(
        ("gmail.com", "outlook.com", "yahoo.com", "icloud.com"),
        description="Domains whose mail servers are used to test port 25 and TLS. No mail is sent.",
    )
    dnsbls: tuple[Hostname, ...] = Field(
        ("zen.spamhaus.org", "bl.spamcop.net", "psbl.surriel.com"),
        description="DNS blocklists (DNSBLs) in which our public addresses are looked up.",
    )
    ntp: tuple[Server, ...] = Field(
        ("time.cloudflare.com", "time.google.com", "169.254.169.123"),
        description="Time servers to compare the clock with. 169.254.169.123 is the one of Amazon EC2.",
    )


class Log(Section):
    """What is printed on standard output."""

    format: Literal["json", "text"] = Field(
        "json", description="`json`: one JSON object per line. `text`: a line for people."
    )
    redact: Literal["none", "domain", "hash"] = Field(
        "none",
        description="How mail addresses are printed. `none`: in full. `domain`: `***@example.com`. `hash`: a digest, "
        "always the same for the same address. The event store keeps the full address.",
    )


class Brake(Section):
    """A brake for domains whose mail bounces too much, or is called spam too often, as `returns` learns."""

    bounce_rate: Share | None = Field(
        None,
        description="At this share of hard bounces in finished mail the domain's mail gets a 451, until it has fallen. "
        "`null`: never.",
        examples=["10%"],
    )
    warn_rate: Share | None = Field(
        0.05, description="At this rate a `bounce_rate` event is written. `null`: never.", examples=["3%"]
    )
    window: Duration = Field(
        timedelta(hours=1),
        description="The time over which the rate is counted. Older mail does not count.",
        examples=["2h"],
    )
    minimum: WholeNumber = Field(
        100,
        ge=1,
        le=1_000_000,
        description="Fewest recipients in the window. With fewer there is no rate, and nothing happens.",
        examples=[50],
    )
    complaint_rate: Share | None = Field(
        None,
        description="At this share of complaints in delivered mail the domain's mail gets a 451, until it has fallen. "
        "`null`: never. Gmail and Yahoo treat mail as spam from 0.3 % on.",
        examples=["0.3%"],
    )
    complaint_warn_rate: Share | None = Field(
        0.001,
        description="At this complaint rate a `complaint_rate` event is written. `null`: never. Gmail and Yahoo want "
        "less than 0.1 %.",
        examples=["0.2%"],
    )
    complaint_window: Duration = Field(
        timedelta(days=1),
        description="The time over which the complaint rate is counted. People complain hours after a delivery.",
        examples=["3d"],
    )
    complaint_minimum: WholeNumber = Field(
        1000,
        ge=1,
        le=1_000_000,
        description="Fewest recipients in that time. With fewer there is no complaint rate, and nothing happens.",
        examples=[500],
    )


class Events(Section):
    """What happened to each message, kept for `postroad trace`, `postroad stats` and metrics."""

    enabled: bool = Field(
        True,
        description="Whether events are kept. Without them there is no `trace`, no `stats`, no metrics and no "
        "suppression list.",
    )
    keep: Duration = Field(
        timedelta(days=30),
        description="How long an event is kept. Then it is deleted, and `postroad trace` does not find it any more.",
        examples=["90d"],
    )
    max_size: Size = Field(
        2**30,
        description="Largest size of the database. When it is full, the oldest events are deleted.",
        examples=["500MiB"],
    )
    store: DatabaseUrl | None = Field(
        None,
        description="A PostgreSQL database for the events, without its password; libpq's parameters may follow the "
        "`?`. Not set: SQLite on the state volume.",
        examples=["postgresql://postroad@db.example.com/postroad?sslmode=verify-full&sslrootcert=system"],
    )
    store_password_file: AbsolutePath | None = Field(
        None, description="File that holds the database's password.", examples=["/run/secrets/postroad_db"]
    )
    webhooks: tuple[Webhook, ...] = Field(
        (),
        description="Servers that get events as they happen, by HTTPS.",
        examples=[[{"name": "app", "url": "https://app.example.com/postroad", "secret_file": "/run/secrets/webhook"}]],
    )
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
        for name in ("window", "complaint_window"):
            window = getattr(self.brake, name)
            if window > self.keep and name in self.brake.model_fields_set:
                most = f"at most events.keep, which is {format_duration(self.keep)}"
                refuse(most, at=("brake", name), found=format_duration(window))
        if self.store_password_file and not self.store:
            refuse("store_password_file only with store", at=("store_password_file",), found="it alone")
        return self


class Http(Section):
    """The port for monitoring: `/healthz`, `/readyz`, and `/metrics` for Prometheus. Needs `events.enabled`."""

    listen: Listen | None = Field(
        "0.0.0.0:8025",
        description="Address and port for monitoring. It shows no mail address. `null`: no such port.",
        examples=["127.0.0.1:8025"],
    )


class Peers(Section):
    """Other relays of yours. A relay that leaves hands its queue to one of them: `postroad queue evacuate`."""

    port: Port | None = Field(
        None,
        description="Port at which other relays hand over their queue, encrypted. Who does not know the secret gets"
        " nothing in. `null`: no such port.",
        examples=[2527],
    )
    secret_file: AbsolutePath | None = Field(
        None,
        description="File that holds the secret, one for all relays: a line of at least 32 characters, such as"
        " `openssl rand -hex 32` prints.",
        examples=["/run/secrets/postroad_peers"],
    )

    @model_validator(mode="after")
    def _closed(self) -> Self:
        if self.port and not self.secret_file:
            refuse("a file: without a secret anybody could hand over mail", at=("secret_file",), found="null")
        return self


class Soft(Section):
    """Mailboxes that fail for a while, such as full ones. Off by default, since they may work again."""

    count: WholeNumber | None = Field(
        None,
        ge=1,
        le=1000,
        description="After this many failures in a row, with no delivery between them, the address gets no more mail. "
        "`null`: never.",
        examples=[5],
    )
    within: Duration = Field(
        timedelta(days=7), description="The time in which failures count. Older ones do not.", examples=["14d"]
    )


class Suppression(Section):
    """Addresses that get no more mail, because a receiver said that the mailbox does not exist."""

    enabled: bool = Field(
        True, description="Whether mail to dead mailboxes is refused with a 550. Needs `events.enabled`."
    )
    keep: Duration = Field(
        timedelta(days=90),
        description="How long an address stays on the list after its bounce. Then mail to it is tried again.",
        examples=["180d"],
    )
    soft: Soft = Field(default_factory=Soft)
    scope: Literal["all", "sender_domain"] = Field(
        "all",
        description="Which senders can no longer reach the address. `all`: every sender. `sender_domain`: senders of "
        "the domain whose mail bounced.",
    )
    never: tuple[Recipient, ...] = Field(
        (), description="Addresses and domains that are never put on the list.", examples=[["example.com"]]
    )


def _link(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme != "https" or not parts.hostname or parts.query or parts.fragment or "@" in parts.netloc:
        refuse("an HTTPS URL such as https://bounces.example.com/unsubscribe, without a user, `?` or `#`")
    if len(value) > 200 or not re.fullmatch(r"[!-~]+", value):
        refuse("a URL of at most 200 ASCII characters, others as %XX")
    return value.rstrip("/")


class Unsubscribe(Section):
    """One-click unsubscribing (RFC 8058), which Gmail and Yahoo want in bulk mail."""

    domains: tuple[DomainPattern, ...] = Field(
        (),
        description="Sender domains whose mail to a single recipient gets a `List-Unsubscribe` field, unless it has "
        "one. `.example.com` stands for all names below it. Empty: none.",
        examples=[["news.example.com"]],
    )
    url: Annotated[str, AfterValidator(_link)] | None = Field(
        None,
        description="Where the links lead: the HTTPS address that your proxy passes on to `listen`.",
        examples=["https://bounces.example.com/unsubscribe"],
    )
    listen: Listen = Field(
        "0.0.0.0:8026",
        description="Address and port that answers the links, by HTTP.",
        examples=["127.0.0.1:8026"],
    )

    @model_validator(mode="after")
    def _linked(self) -> Self:
        if self.domains and self.url is None:
            refuse("the HTTPS URL that links lead to, where there are domains", at=("url",), found="null")
        return self


class Returns(Section):
    """What comes back after a receiver took a message: late bounces, complaints, reports. Needs `events.enabled`."""

    domain: Hostname | None = Field(
        None,
        description="A domain for this alone, best below a domain that sends. Mail then leaves with an address in it "
        "as the envelope sender, and what receivers send there becomes events. `postroad dns` has its records. "
        "`null`: off.",
        examples=["bounces.example.com"],
    )
    listen: Port = Field(
        2526,
        description="Port for mail to that domain, from anybody. Publish it as port 25 of the host that the domain's "
        "MX names.",
        examples=[2527],
    )
    senders: tuple[DomainPattern, ...] = Field(
        (),
        description="Sender domains whose mail gets such an envelope sender. `.example.com` stands for all names below "
        "it. Empty: all.",
        examples=[["example.com", ".example.com"]],
    )
    key_file: AbsolutePath | None = Field(
        None,
        description="File with the key that signs the addresses, 32 characters or more, such as `openssl rand -base64 "
        "32` makes. For relays that share the domain. Not set: a key is made and kept in the state volume.",
        examples=["/run/secrets/returns_key"],
    )
    forward_to: Address | None = Field(
        None,
        description="An address of another domain that gets what people write: replies to return addresses, and mail "
        "to `abuse@` and `postmaster@` of the domain, attached to a message of ours. Bounces, automatic replies and "
        "reports are not forwarded. `null`: such mail is set aside in the state volume.",
        examples=["replies@example.com"],
    )
    unsubscribe: Unsubscribe = Field(default_factory=Unsubscribe)

    @model_validator(mode="after")
    def _forwarded_elsewhere(self) -> Self:
        if self.forward_to is None:
            return self
        if self.domain is None:
            refuse("a domain for return addresses, where there is forward_to", at=("domain",), found="null")
        if self.forward_to.rpartition("@")[2] == self.domain:
            refuse(
                "an address of another domain than returns.domain, where there are no mailboxes",
                at=("forward_to",),
                found=self.forward_to,
            )
        return self

    @model_validator(mode="after")
    def _linked_where_it_is_answered(self) -> Self:
        if self.unsubscribe.domains and self.domain is None:
            refuse("a domain for return addresses, where there are unsubscribe.domains", at=("domain",), found="null")
        return self


DefineName = Annotated[str, AfterValidator(check_define_name)]
DefineValue = Annotated[
    str,
    BeforeValidator(
        lambda value: str(value) if isinstance(value, int) else value, json_schema_input_type=str | int | bool
    ),
    AfterValidator(check_define_value),
]


class Sendmail(Section):
    """Raw m4 for sendmail.mc, at your own risk. Slips that m4 would swallow are refused."""

    raw = frozenset({"defines", "features", "local_config"})

    defines: Annotated[
        Mapping[DefineName, DefineValue],
        AfterValidator(FrozenMap),
        PlainSerializer(dict, return_type=dict[str, str]),
    ] = Field(
        default_factory=lambda: FrozenMap({}),
        description="`define`s for sendmail.mc. The values are raw m4.",
        examples=[{"confMAX_DAEMON_CHILDREN": 200}],
    )
    features: tuple[Annotated[str, AfterValidator(check_feature)], ...] = Field(
        (),
        description="`FEATURE`s for sendmail.mc: a name, or a name and its arguments, such as ``greet_pause, `5000'``.",
        examples=[["redirect"]],
    )
    local_config: Annotated[str, AfterValidator(check_raw)] = Field(
        "",
        description="Text for the end of sendmail.mc, such as `LOCAL_CONFIG` with rules. Raw m4.",
        examples=["LOCAL_CONFIG\nC{Friends} example.net\n"],
    )


class Config(Section):
    """Postroad's configuration."""

    hostname: Hostname = Field(
        description="The name of this server, in full: its greeting (HELO), headers, and the reverse DNS of its "
        "address.",
        examples=["mail.example.com"],
    )
    domains: tuple[DomainEntry, ...] = Field(
        min_length=1,
        description="The domains that mail may come from, in the envelope and in From:. Each gets a DKIM key. An "
        'entry is a name, or a mapping with the keys below. Other senders get a 550. `"*"` allows any '
        "domain, and needs `dkim.enabled: false`.",
        examples=[["example.com"]],
    )
    public_ip: tuple[PublicAddress, ...] = Field(
        ("auto",),
        min_length=1,
        description="The addresses that receivers see our mail come from, such as a NAT gateway's. `auto`: found by "
        "DNS.",
        examples=[["203.0.113.10"]],
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
    returns: Returns = Field(default_factory=Returns)
    events: Events = Field(default_factory=Events)
    http: Http = Field(default_factory=Http)
    web: Web | None = Field(
        None,
        description="The HTTP API and the console, by a process of its own. `null`: there is none.",
        examples=[
            {
                "keys": [
                    {"name": "board", "key_file": "/run/secrets/board_api_key", "domains": ["*"], "rights": ["read"]}
                ]
            }
        ],
    )
    peers: Peers = Field(default_factory=Peers)
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
        taken = {port: f"listeners.{name}" for name, port in self.listeners if port}
        returns, links = self.returns, self.returns.unsubscribe
        wanted: tuple[tuple[tuple[str, ...], str | int | None], ...] = (
            (("http", "listen"), self.http.listen),
            (("web", "listen"), self.web.listen if self.web else None),
            (("peers", "port"), self.peers.port),
            (("returns", "listen"), returns.listen if returns.domain else None),
            (("returns", "unsubscribe", "listen"), links.listen if links.domains else None),
        )
        for at, listen in wanted:
            if listen:
                port = host_and_port(listen)[1] if isinstance(listen, str) else listen
                if port in taken:
                    refuse(f"another port than {taken[port]}", at=at, found=str(listen))
                taken[port] = ".".join(at)
        return self

    @model_validator(mode="after")
    def _keys_have_users(self) -> Self:
        if not self.web:
            return self
        if not self.events.enabled:
            refuse("events.enabled: true, as the API reads events", at=("web",), found="events.enabled: false")
        users = {user.name for user in self.clients.users}
        for i, key in enumerate(self.web.keys):
            if key.user and key.user not in users:
                refuse("a user of clients.users", at=("web", "keys", i, "user"), found=key.user)
            if "send" in key.rights and not (self.listeners.submission or self.listeners.submissions):
                refuse(
                    "listeners.submission or listeners.submissions, by which the API hands messages over",
                    at=("web", "keys", i, "rights"),
                    found="send, and neither of them",
                )
            for j, name in enumerate(key.domains):
                if name != "*" and not self.any_domain and not any(domain.covers(name) for domain in self.domains):
                    refuse('a domain that stands in domains, or "*"', at=("web", "keys", i, "domains", j), found=name)
        return self

    @model_validator(mode="after")
    def _returns_have_a_domain_of_their_own(self) -> Self:
        domain = self.returns.domain
        if domain is None:
            return self
        if not self.events.enabled:
            refuse("true where returns.domain is set: it makes events", at=("events", "enabled"), found="false")
        if self.returns.unsubscribe.domains and not self.suppression.enabled:
            at = ("suppression", "enabled")
            refuse("true where there are returns.unsubscribe.domains", at=at, found="false")
        if domain == self.hostname or any(each.name == domain for each in self.domains):
            what = "hostname" if domain == self.hostname else "one of domains"
            refuse(
                f"a domain that is not {what}, as only bounces and reports are taken there",
                at=("returns", "domain"),
                found=domain,
            )
        if len(domain) > LONGEST_RETURNS_DOMAIN:
            refuse(f"at most {LONGEST_RETURNS_DOMAIN} characters", at=("returns", "domain"), found=domain)
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
    def _keys_overlap(self) -> Self:
        rotate = self.dkim.rotate
        if rotate and rotate <= max(self.dkim.overlap, self.delivery.queue.give_up_after):
            refuse(
                "longer than dkim.overlap and delivery.queue.give_up_after, or null",
                at=("dkim", "rotate"),
                found=format_duration(rotate),
            )
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
    def shares_limits(self) -> bool:
        """Whether other relays may share the limits of routes, by the database."""
        return self.events.enabled and self.events.store is not None

    @property
    def brakes(self) -> bool:
        """Whether mail from a domain with too many bounces or complaints is refused for a while."""
        brake = self.events.brake
        return self.events.enabled and (brake.bounce_rate is not None or brake.complaint_rate is not None)

    def covers(self, domain: str) -> bool:
        """Whether one of the named ``domains`` lets this one send."""
        return any(each.covers(domain) for each in self.named_domains)

    @property
    def named_domains(self) -> tuple[Domain, ...]:
        """The domains without ``*``: those that have a key."""
        return tuple(domain for domain in self.domains if domain.name != "*")

    @property
    def postmaster(self) -> str:
        """Who sends what is written here: the postmaster of the first domain, or of the host where any may send."""
        domains = self.named_domains
        return f"postmaster@{domains[0].name if domains else self.hostname}"

    @property
    def any_domain(self) -> bool:
        """Whether mail may be sent as any domain."""
        return any(domain.name == "*" for domain in self.domains)

    def senders(self, names: tuple[str, ...]) -> list[tuple[str, bool]]:
        """These of ``domains``, each with whether the names below it count, too; none for ``*``, which is any."""
        below = {domain.name for domain in self.domains if domain.subdomains}
        return [] if "*" in names else [(name, name in below) for name in names]

    def selector(self, domain: Domain) -> str:
        """The selector of this domain's RSA key."""
        return domain.dkim.selector or self.dkim.selector

    def selectors(self, domain: Domain) -> dict[str, str]:
        """The selectors of all keys that sign this domain's mail, each with its algorithm."""
        selector = self.selector(domain)
        return {selector if name == "rsa" else f"{selector}-{name}": name for name in self.dkim.algorithms}
