"""``web.*``: the HTTP API and the console."""

import ipaddress
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from postroad.config.names import LABEL, DomainName, Listen, UserName, host_and_port
from postroad.config.networks import Network
from postroad.config.section import Section
from postroad.config.values import AbsolutePath, refuse

MOST_KEYS = 100
Right = Literal["send", "read", "suppressions"]


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
        "`suppressions`: read and change the suppression list.",
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
    keys: tuple[ApiKey, ...] = Field(
        (),
        description="Who may call the API. Empty: nobody.",
        examples=[[{"name": "shop", "key_file": "/run/secrets/shop_api_key", "user": "app"}]],
    )

    @property
    def tls(self) -> bool:
        """Whether the API speaks TLS."""
        host, _ = host_and_port(self.listen)
        return not self.proxies and not ipaddress.ip_address(host).is_loopback

    @model_validator(mode="after")
    def _closed(self) -> Self:
        if not self.keys and not self.password_file:
            refuse("keys for the API, password_file for the console, or both", found="neither of them")
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
