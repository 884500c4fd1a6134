"""``web.*``: the HTTP API and the console."""

import ipaddress
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from postroad.config.names import LABEL, DomainName, Listen, UserName, host_and_port
from postroad.config.networks import Network
from postroad.config.section import Section
from postroad.config.values import AbsolutePath, refuse

MOST_KEYS = 100
Right = Literal["send", "read", "suppressions", "webhooks"]
Vendor = Literal["ses", "sendgrid", "mailgun", "postmark"]


def _name(value: str) -> str:
    if len(value) > 32 or not LABEL.fullmatch(value):
        refuse("a name such as shop: letters in lower case, digits, hyphens; 32 characters at most")
    return value


class ApiKey(Section):
    """A key of the HTTP API: who may call it, and for what."""

    name: Annotated[
        str,
        AfterValidator(_name),
        WithJsonSchema({"type": "string", "maxLength": 32, "pattern": f"^{LABEL.pattern}$"}),
    ] = Field(description="The key's name in messages of the API and in the log.", examples=["shop"])
    key_file: AbsolutePath = Field(
        description="File that holds the key, which clients send as `Authorization: Bearer KEY`; `openssl rand -hex 32`"
        " makes one. 32 characters at least.",
        examples=["/run/secrets/shop_api_key"],
    )
    user: UserName | None = Field(
        None,
        description="The user of `clients.users` that messages of this key are sent as: the user's domains and limits "
        "count. Not set: the key sends nothing.",
        examples=["app"],
    )
    domains: tuple[DomainName, ...] = Field(
        (),
        description='The sender domains whose messages and suppressions this key sees; `"*"`: all. Only without '
        "`user`, whose domains count else.",
        examples=[["example.com"]],
    )
    rights: tuple[Right, ...] = Field(
        ("send",),
        min_length=1,
        description="What the key may do. `send`: send messages. `read`: read messages, events and counts. "
        "`suppressions`: read and change the suppression list. `webhooks`: see webhooks and their dead letters, "
        "replay, test; only with all domains.",
        examples=[["read", "suppressions"]],
    )

    @model_validator(mode="after")
    def _whose(self) -> Self:
        if self.user and self.domains:
            refuse("user or domains, not both: the user's domains count", at=("domains",), found="both")
        if "send" in self.rights and not self.user:
            refuse("a user of clients.users, as whom the key's messages are sent", at=("user",), found="null")
        if not self.user and not self.domains:
            refuse('domains such as [example.com] or ["*"], where there is no user', at=("domains",), found="none")
        return self


def _issuer(value: str) -> str:
    if not value.startswith("https://") or any(char in value for char in "?#@"):
        refuse("the issuer's URL, such as https://id.example.com, as its discovery document has it")
    return value


def _url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"https", "http"} or not parts.hostname or parts.path not in {"", "/"} or parts.query:
        refuse("a URL such as https://mail.example.com:8080, without a path")
    if parts.scheme == "http" and parts.hostname not in {"localhost", "127.0.0.1"}:
        refuse("https://, as a browser would send the code in the clear", found="http://")
    return value.rstrip("/")


class Oidc(Section):
    """Signing in to the console by an identity provider (OpenID Connect): the code flow with PKCE."""

    issuer: Annotated[str, AfterValidator(_issuer), Field(max_length=500)] = Field(
        description="The provider's issuer. `/.well-known/openid-configuration` below it says the rest.",
        examples=["https://id.example.com/realms/main"],
    )
    url: Annotated[str, AfterValidator(_url), Field(max_length=300)] = Field(
        description="Where browsers reach the console. The provider has to allow the redirect to `/oidc` below it.",
        examples=["https://mail.example.com:8080"],
    )
    client_id: Annotated[str, Field(min_length=1, max_length=300)] = Field(
        description="The client's id at the provider.", examples=["postroad"]
    )
    client_secret_file: AbsolutePath = Field(
        description="File that holds the client's secret.", examples=["/run/secrets/oidc"]
    )
    claim: Annotated[str, Field(min_length=1, max_length=100)] = Field(
        "email",
        description="The claim of the ID token that `operators` and `viewers` name values of: one, or a list such as"
        " groups. `email` counts if `email_verified` is true.",
        examples=["groups"],
    )
    operators: tuple[Annotated[str, Field(min_length=1, max_length=320)], ...] = Field(
        (), description="Who may change things.", examples=[["ops@example.com"]]
    )
    viewers: tuple[Annotated[str, Field(min_length=1, max_length=320)], ...] = Field(
        (),
        description='Who may look, and sees no mail addresses; `"*"`: whoever the provider lets in.',
        examples=[["support@example.com"]],
    )
    ca_file: AbsolutePath | None = Field(
        None,
        description="Certificates (PEM) of the authorities that the provider's certificate is checked against. Not set:"
        " the system's.",
        examples=["/etc/postroad/id-ca.pem"],
    )

    @model_validator(mode="after")
    def _somebody(self) -> Self:
        if not self.operators and not self.viewers:
            refuse("operators, viewers, or both", at=("operators",), found="nobody")
        if "*" in self.operators:
            refuse("names, as everybody could change things", at=("operators",), found='"*"')
        return self


class Web(Section):
    """The HTTP API and the console, by a process of its own. Not set: there is none. Needs `events.enabled`."""

    listen: Listen = Field(
        "127.0.0.1:8080",
        description="Address and port of the API and the console. They speak TLS with the relay's certificate, except"
        " on a loopback address or with `proxies`.",
        examples=["0.0.0.0:8080"],
    )
    proxies: tuple[Network, ...] = Field(
        (),
        description="Addresses and networks of reverse proxies that speak TLS in place of this process. With these it"
        " speaks plain HTTP, and answers nobody else.",
        examples=[["172.20.0.0/16"]],
    )
    password_file: AbsolutePath | None = Field(
        None,
        description="File that holds the password of the console, of 12 characters at least, or its argon2id hash"
        " (`$argon2id$...`). Not set: there is no console.",
        examples=["/run/secrets/console_password"],
    )
    viewer_password_file: AbsolutePath | None = Field(
        None,
        description="File that holds another password of the console, or its hash: whoever signs in with it changes"
        " nothing, and sees mail addresses as `log.redact` shows them, or else only their domains. Needs"
        " `password_file`.",
        examples=["/run/secrets/console_viewer_password"],
    )
    oidc: Oidc | None = Field(
        None,
        description="Signing in to the console by an identity provider, beside `password_file` or in place of it.",
        examples=[
            {
                "issuer": "https://id.example.com/realms/main",
                "url": "https://mail.example.com:8080",
                "client_id": "postroad",
                "client_secret_file": "/run/secrets/oidc",
                "operators": ["ops@example.com"],
            }
        ],
    )
    keys: tuple[ApiKey, ...] = Field(
        (),
        description="Who may call the API. Empty: nobody.",
        examples=[[{"name": "shop", "key_file": "/run/secrets/shop_api_key", "user": "app"}]],
    )
    vendors: tuple[Vendor, ...] = Field(
        (),
        description="Vendors whose API is answered too, for apps that keep their SDK and change the address and the key"
        " alone. With `ses` the process keeps the keys themselves, as signatures are verified with them.",
        examples=[["ses"]],
    )

    @property
    def tls(self) -> bool:
        """Whether the API speaks TLS."""
        host, _ = host_and_port(self.listen)
        return not self.proxies and not ipaddress.ip_address(host).is_loopback

    @model_validator(mode="after")
    def _callable(self) -> Self:
        for i, vendor in enumerate(self.vendors):
            if vendor in self.vendors[:i]:
                refuse("each vendor once", at=("vendors", i), found=vendor)
        if self.vendors and not self.keys:
            refuse("keys, without which nobody may call a vendor's API", at=("keys",), found="none")
        return self

    @model_validator(mode="after")
    def _closed(self) -> Self:
        if not self.keys and not self.password_file and not self.oidc:
            refuse("keys for the API, password_file or oidc for the console, or both", found="none of them")
        if self.viewer_password_file and not self.password_file:
            refuse(
                "it with password_file, for somebody who may change things",
                at=("viewer_password_file",),
                found="it alone",
            )
        if len(self.keys) > MOST_KEYS:
            refuse(f"at most {MOST_KEYS}", at=("keys",), found=str(len(self.keys)))
        names = [key.name for key in self.keys]
        for i, name in enumerate(names):
            if name in names[:i]:
                refuse("each name once", at=("keys", i, "name"), found=name)
        for i, network in enumerate(self.proxies):
            if network == "auto":
                refuse("an address or a network of proxies", at=("proxies", i), found="auto")
            if network.prefixlen == 0:
                refuse(
                    "the proxies' own networks, as everybody could call without TLS",
                    at=("proxies", i),
                    found=str(network),
                )
        return self
