"""``delivery.*``: where mail goes and how the connection is secured. Smarthosts, routes, outbound TLS."""

import ipaddress
from collections.abc import Mapping
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, field_validator, model_validator

from postroad.config.names import DomainPattern, ServerName
from postroad.config.networks import IPAddress
from postroad.config.providers import PRESETS, ProviderName, host_of, regions_of
from postroad.config.section import FrozenMap, Section
from postroad.config.values import AbsolutePath, Day, RateValue, WholeNumber, format_rate, refuse

MOST_SHAPED = 14
"""The most routes with limits, or with their own address to MX hosts: each is a mailer, of which sendmail has 25, and
eleven are taken."""

IMPLICIT_PORT = 465
"""The port on which servers expect TLS from the first octet (RFC 8314, 3.3)."""

TlsMode = Literal["implicit", "verify", "require", "none"]


def _https(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme != "https" or not parts.hostname or parts.username or parts.fragment:
        refuse("a URL that begins with https://")
    return value


HttpsUrl = Annotated[str, AfterValidator(_https)]


def _one_of_each(addresses: tuple[IPAddress, ...]) -> tuple[IPAddress, ...]:
    if len({address.version for address in addresses}) < len(addresses):
        refuse("at most one IPv4 and one IPv6 address; other mail's are set in delivery.routes[].bind")
    return addresses


Bind = Annotated[tuple[IPAddress, ...], AfterValidator(_one_of_each)]
"""The source addresses of outgoing connections."""


def _proxy_url(value: str) -> str:
    accepted = "a URL such as socks5://proxy.example.net:1080 or http://proxy.example.net:3128, without a password"
    parts = urlsplit(value)
    try:
        port = parts.port
    except ValueError:
        port = None
    if parts.scheme not in {"socks5", "http"} or not parts.hostname or port is None or not port:
        refuse(accepted)
    if "@" in parts.netloc or parts.path.strip("/") or parts.query or parts.fragment:
        refuse(accepted)
    return f"{parts.scheme}://{parts.netloc}"


class Proxy(Section):
    """A proxy through which smarthosts, and their token servers, are reached."""

    url: Annotated[str, AfterValidator(_proxy_url)] = Field(
        description="`socks5://HOST:PORT`, or `http://HOST:PORT` for one that takes CONNECT. It looks the servers'"
        " names up.",
        examples=["socks5://proxy.example.net:1080"],
    )
    username: str | None = Field(
        None, min_length=1, max_length=255, description="User at the proxy. `null`: none.", examples=["app"]
    )
    password_file: AbsolutePath | None = Field(
        None, description="File that holds the password at the proxy.", examples=["/run/secrets/proxy"]
    )

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.username is None) != (self.password_file is None):
            missing = "username" if self.username is None else "password_file"
            refuse("username and password_file together, or neither", at=(missing,), found="one alone")
        return self


def _proxy(value: object) -> object:
    return {"url": value} if isinstance(value, str) else value


ProxyEntry = Annotated[Proxy, BeforeValidator(_proxy, json_schema_input_type=str | Proxy)]


class OAuth(Section):
    """Access tokens in place of a password (XOAUTH2, OAUTHBEARER). They renew themselves.

    With `refresh_token_file` or `device_url` a person has agreed once; with `service_account_file` (Google) or the
    client's secret alone (Microsoft 365) nobody needs to.
    """

    token_url: HttpsUrl | None = Field(
        None,
        description="The provider's URL that gives out tokens. `null`: the one in the service account's file.",
        examples=["https://login.microsoftonline.com/TENANT/oauth2/v2.0/token"],
    )
    device_url: HttpsUrl | None = Field(
        None,
        description="The provider's URL where `postroad smarthost login` gets a code, which a person then enters in a "
        "browser.",
        examples=["https://login.microsoftonline.com/TENANT/oauth2/v2.0/devicecode"],
    )
    client_id: str | None = Field(
        None, min_length=1, description="The application's id, from the provider's console.", examples=["postroad"]
    )
    client_secret_file: AbsolutePath | None = Field(
        None, description="File that holds the application's secret.", examples=["/run/secrets/client_secret"]
    )
    scope: str | None = Field(
        None,
        min_length=1,
        description="What the token allows, in the provider's words. `null`: Gmail's for a service account, else none.",
        examples=["https://mail.google.com/"],
    )
    refresh_token_file: AbsolutePath | None = Field(
        None,
        description="File that holds the refresh token to begin with. The provider's next ones are kept on the state"
        " volume, until this file holds another.",
        examples=["/run/secrets/refresh_token"],
    )
    service_account_file: AbsolutePath | None = Field(
        None,
        description="A Google service account's key (JSON), with domain-wide delegation for `username`.",
        examples=["/run/secrets/google.json"],
    )

    @property
    def grant(self) -> Literal["client_credentials", "refresh_token", "service_account"]:
        """The OAuth grant by which tokens are obtained."""
        if self.service_account_file:
            return "service_account"
        return "refresh_token" if self.refresh_token_file or self.device_url else "client_credentials"

    @model_validator(mode="after")
    def _one_grant(self) -> Self:
        if self.grant == "service_account":
            for key in ("client_id", "client_secret_file", "refresh_token_file", "device_url"):
                if getattr(self, key) is not None:
                    refuse("service_account_file alone, with scope at most", at=(key,), found="both")
            return self
        for key in ("token_url", "client_id"):
            if getattr(self, key) is None:
                refuse(f"{key}, or a service_account_file", at=(key,), found="none")
        if self.grant == "client_credentials" and self.client_secret_file is None:
            refuse(
                "client_secret_file, refresh_token_file or device_url", at=("client_secret_file",), found="none of them"
            )
        return self


class SmarthostServer(Section):
    """A server that takes our mail and delivers it, and how it is spoken to."""

    provider: ProviderName | None = Field(
        None,
        description="A well-known provider. Its server and port need not be named then, nor a `username` that all its "
        "customers share. `null`: none.",
        examples=["ses"],
    )
    region: str | None = Field(
        None,
        pattern=r"^[a-z0-9-]{2,32}$",
        description="The provider's region: needed for `ses`; `eu` for `mailgun`.",
        examples=["eu-west-1"],
    )
    host: ServerName = Field(
        "",
        validate_default=False,
        description="The server: a name, whose A and AAAA records count (not MX), or an address. Left out with"
        " `provider`.",
        examples=["smtp.example.net"],
    )
    port: WholeNumber = Field(587, ge=1, le=65535, description="The server's port.", examples=[465])
    tls: TlsMode | None = Field(
        None,
        description="`implicit`: TLS from the first octet, and a valid certificate for `host`."
        " `verify`: STARTTLS, and such a certificate. `require`: STARTTLS with any certificate. `none`: no TLS."
        " `null`: `implicit` on port 465, else `verify`.",
        examples=["implicit"],
    )
    username: str | None = Field(
        None,
        min_length=1,
        max_length=255,
        description="User for AUTH (SCRAM-SHA-256, SCRAM-SHA-1, CRAM-MD5, PLAIN or LOGIN); only with a verified"
        " certificate.",
        examples=["app"],
    )
    password_file: AbsolutePath | None = Field(
        None, description="File that holds the password.", examples=["/run/secrets/smarthost"]
    )
    oauth: OAuth | None = Field(
        None,
        description="Access tokens in place of the password. `null`: none.",
        examples=[
            {
                "token_url": "https://login.microsoftonline.com/TENANT/oauth2/v2.0/token",
                "client_id": "postroad",
                "client_secret_file": "/run/secrets/client_secret",
            }
        ],
    )
    certificate_file: AbsolutePath | None = Field(
        None,
        description="Client certificate (PEM), with its chain, for servers that ask for one.",
        examples=["/run/secrets/client.pem"],
    )
    key_file: AbsolutePath | None = Field(
        None, description="The client certificate's private key (PEM).", examples=["/run/secrets/client.key"]
    )

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, values: object) -> object:
        """Fill in a provider's host, port and shared user name."""
        name = values.get("provider") if isinstance(values, Mapping) else None
        if not isinstance(values, Mapping) or not isinstance(name, str) or name not in PRESETS:
            return values
        region = values.get("region")
        host = host_of(name, region if isinstance(region, str) else None)
        if values.get("host") not in {None, "", host}:
            refuse("provider or host", at=("host",), found="both")
        if host is None:
            refuse(f"{regions_of(name)} with provider: {name}", at=("region",), found=str(region or "none"))
        username = PRESETS[name].username
        filled: dict[str, object] = {"username": username} if username and values.get("password_file") else {}
        if PRESETS[name].port != cls.model_fields["port"].default:
            filled["port"] = PRESETS[name].port
        return {"host": host, **filled, **{key: value for key, value in values.items() if key != "host"}}

    @model_validator(mode="after")
    def _safe(self) -> Self:
        if not self.host:
            refuse("host, or a provider", at=("host",), found="neither")
        if self.oauth is not None and (self.username is None or self.password_file is not None):
            refuse("oauth with a username and without a password_file", at=("oauth",), found="other keys")
        pairs = [("certificate_file", "key_file"), *([] if self.oauth else [("username", "password_file")])]
        for one, other in pairs:
            if (getattr(self, one) is None) != (getattr(self, other) is None):
                missing = one if getattr(self, one) is None else other
                refuse(f"{one} and {other} together, or neither", at=(missing,), found="one alone")
        if self.security == "none" and self.certificate_file is not None:
            refuse("no certificate_file where there is no TLS", at=("certificate_file",), found="tls: none")
        if self.username is not None and not self.verified:
            refuse(
                "verify or implicit where there is a username: the password would go to anybody",
                at=("tls",),
                found=self.security,
            )
        return self

    @property
    def security(self) -> TlsMode:
        """How the connection is protected."""
        return self.tls or ("implicit" if self.port == IMPLICIT_PORT else "verify")

    @property
    def verified(self) -> bool:
        """Whether the server's certificate is verified, its name included."""
        return self.security in {"implicit", "verify"}


def _fallback(value: object) -> object:
    return {"host": value} if isinstance(value, str) else value


class Smarthost(SmarthostServer):
    """A server that takes our mail and delivers it, and one for when that does not."""

    fallback: (
        Annotated[
            SmarthostServer, BeforeValidator(_fallback, json_schema_input_type=ServerName | SmarthostServer | None)
        ]
        | None
    ) = Field(
        None,
        description="A second server, for when the first can't be reached, has no valid certificate or refuses the"
        " credentials. A name, or `host` alone: on the same port and with the same credentials. With any other of"
        " the smarthost's keys: a server of its own, which takes nothing from the first.",
        examples=["smtp2.example.net"],
    )

    @property
    def has_own_fallback(self) -> bool:
        """Whether the fallback has a port and credentials of its own."""
        return self.fallback is not None and self.fallback.model_fields_set != {"host"}

    @property
    def servers(self) -> tuple[SmarthostServer, ...]:
        """The servers, in the order in which they are tried."""
        first = SmarthostServer.model_construct(
            self.model_fields_set - {"fallback"}, **{name: getattr(self, name) for name in SmarthostServer.model_fields}
        )
        if self.fallback is None:
            return (first,)
        if self.has_own_fallback:
            return first, self.fallback
        return first, first.model_copy(update={"host": self.fallback.host})

    @model_validator(mode="after")
    def _named(self) -> Self:
        for key, server in zip((("host",), ("fallback",)), self.servers, strict=False):
            if server.verified and is_address(server.host):
                refuse("a name, as certificates are for names", at=key, found=server.host)
        return self


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
    """Some mail that goes to another server, or with limits."""

    domains: tuple[DomainPattern, ...] = Field(
        (),
        description="Domains of recipients whose mail takes this route. `.example.com` stands for all names below it. "
        "Empty: all.",
        examples=[["example.net", ".example.org"]],
    )
    senders: tuple[DomainPattern, ...] = Field(
        (),
        description="Domains of envelope senders whose mail takes this route, written likewise. Empty: all, and "
        "bounces, which have no sender.",
        examples=[["news.example.com"]],
    )
    smarthost: Smarthost | None = Field(
        description="The server that mail of this route goes to. `null`: the recipients' MX hosts.", examples=[None]
    )

    bind: Bind = Field(
        (),
        description="The addresses of this host from which this mail leaves, in place of `delivery.bind`: with a"
        " smarthost likewise, without one a single IPv4 address. Empty: those of `delivery.bind`.",
        examples=[["203.0.113.11"]],
    )
    concurrency: WholeNumber | None = Field(
        None,
        ge=1,
        le=100,
        description="Most connections at once, of all relays that share a database (`events.store`). Further messages "
        "wait. `null`: no limit.",
        examples=[2],
    )
    rate: RateValue | None = Field(
        None,
        description="Most delivery attempts within any minute, hour or day, by all relays that share a database. "
        "Further messages wait. `null`: no limit.",
        examples=["100/minute"],
    )
    warm_up: WarmUp | None = Field(
        None,
        description="A limit per day that grows, for a new address, of all relays that share a database. "
        "Further messages wait for the next day. `null`: no limit.",
        examples=[{"since": "2026-11-24", "daily": [50, 100, 200, 400]}],
    )

    @property
    def shaped(self) -> bool:
        """Whether the route has a limit on its mail."""
        return bool(self.concurrency or self.rate or self.warm_up)

    @property
    def binds_mx(self) -> bool:
        """Whether its mail goes to MX hosts from an address of its own."""
        return bool(self.bind) and self.smarthost is None

    @property
    def shape(self) -> str:
        """The route's limits, in a few words."""
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
        if self.binds_mx and [address.version for address in self.bind] != [4]:
            refuse(
                "one IPv4 address where there is no smarthost: sendmail can't choose an IPv6 one for some mail only",
                at=("bind",),
                found=", ".join(map(str, self.bind)),
            )
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
        # two spellings of one name would be two keys, and their order would decide which one applies
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
