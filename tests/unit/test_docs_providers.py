"""Each provider's block in docs/smarthost.md reaches a server that offers what the provider's does.

The offers are those that the providers' own pages and public transcripts show; nothing here talks to a provider.
"""

import asyncio
import base64
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from postroad.config.model import Config
from postroad.runtime.uplink import Server
from postroad.sendmail import outbound
from postroad.sendmail.outbound import Secrets
from postroad.uplink.accounts import Account
from postroad.uplink.oauth import Tokens
from postroad.uplink.opening import Access, contexts
from postroad.uplink.session import Way
from tests.documents import blocks
from tests.unit.test_uplink_session import (  # noqa: F401 - a fixture
    Client,
    Peer,
    a_session,
    certificate,
    serving,
)

BEFORE_TLS = "250-provider\r\n250-8BITMIME\r\n250 STARTTLS"
OFFERS = {
    "ses": "AUTH PLAIN LOGIN",
    "google": "AUTH LOGIN PLAIN XOAUTH2 PLAIN-CLIENTTOKEN OAUTHBEARER XOAUTH",
    "microsoft365": "AUTH LOGIN XOAUTH2",
    "mailgun": "AUTH PLAIN LOGIN",
    "sendgrid": "AUTH PLAIN LOGIN\r\n250-AUTH=PLAIN LOGIN",
}
"""What each offers after STARTTLS."""
SAID = {
    "ses": ("PLAIN", b"\0AKIAEXAMPLE\0secret"),
    "google": ("PLAIN", b"\0noreply@example.com\0secret"),
    "microsoft365": ("XOAUTH2", b"user=noreply@example.com\1auth=Bearer token\1\1"),
    "mailgun": ("PLAIN", b"\0postmaster@mg.example.com\0secret"),
    "sendgrid": ("PLAIN", b"\0apikey\0secret"),
}
"""What the provider is to be told."""
HOSTS = {
    "ses": "email-smtp.eu-west-1.amazonaws.com",
    "google": "smtp.gmail.com",
    "microsoft365": "smtp.office365.com",
    "mailgun": "smtp.mailgun.org",
    "sendgrid": "smtp.sendgrid.net",
}


class Granted:
    """A token server that grants."""

    async def access(self, unless: str = "") -> str:
        return "token" if unless != "token" else "another"


def shown() -> dict[str, dict[str, Any]]:
    """The first block of each provider on the page."""
    found: dict[str, dict[str, Any]] = {}
    for block in blocks("docs/smarthost.md"):
        values = yaml.safe_load(block.text) if block.language == "yaml" else {}
        provider = values.get("delivery", {}).get("smarthost", {}).get("provider")
        if provider:
            found.setdefault(provider, values)
    return found


def server_of(values: dict[str, Any]) -> Server:
    """The server that the block makes the uplink connect to."""
    config = Config.model_validate({"hostname": "mail.example.com", "domains": ["example.com"], **values})
    assert config.delivery.smarthost
    secrets = {each: Secrets("secret", b"", None) for each in config.delivery.smarthost.servers}
    (server,) = outbound.uplink_settings(config, secrets).servers
    return server


def test_each_provider_has_its_block() -> None:
    assert set(shown()) == set(OFFERS)


@pytest.mark.parametrize("provider", OFFERS)
def test_the_block_sends_through_a_server_that_offers_what_the_provider_does(
    provider: str, certificate: Path  # noqa: F811
) -> None:  # fmt: skip
    server = server_of(shown()[provider])
    assert (server.host, server.port, server.tls) == (HOSTS[provider], 587, "verify")

    async def script(peer: Peer) -> None:
        await peer.say("220 provider ESMTP")
        await peer.answer(BEFORE_TLS)
        await peer.starttls()
        await peer.answer(f"250-provider\r\n250-{OFFERS[provider]}\r\n250 8BITMIME")
        await peer.answer("235 2.7.0 welcome")
        await peer.answer("250 2.1.0 sender ok")

    async def all_of_it() -> None:
        async with serving(script, certificate) as (port, peers):
            here = replace(server, host="localhost", port=port)
            tokens = cast("Tokens", Granted()) if provider == "microsoft365" else None
            access = Access(contexts(str(certificate))(here, ""), tokens)
            async with a_session(Way(here, access, Account())) as client:
                await talk(client, peers)

    async def talk(client: Client, peers: list[Peer]) -> None:
        assert await client.ask() == "220 provider ESMTP"
        assert await client.ask("EHLO inner") == "250-provider\n250 8BITMIME"
        assert await client.ask("MAIL FROM:<a@example.com>") == "250 2.1.0 sender ok"
        mechanism, credentials = SAID[provider]
        auth = peers[0].heard[3]
        assert auth.startswith(f"AUTH {mechanism} "), peers[0].heard
        assert base64.b64decode(auth.rpartition(" ")[2]) == credentials

    asyncio.run(all_of_it())
