"""Providers' servers by the providers' names."""

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from postroad.checks.smarthosts import hint
from postroad.config.delivery import Smarthost
from postroad.config.providers import PRESETS
from postroad.dns import smarthosts
from postroad.runtime.uplink import Server
from postroad.uplink.probe import Probe


@pytest.mark.parametrize(
    ("values", "host", "username"),
    [
        ({"provider": "ses", "region": "eu-west-1"}, "email-smtp.eu-west-1.amazonaws.com", None),
        ({"provider": "mailgun"}, "smtp.mailgun.org", None),
        ({"provider": "mailgun", "region": "eu"}, "smtp.eu.mailgun.org", None),
        ({"provider": "sendgrid", "password_file": "/p"}, "smtp.sendgrid.net", "apikey"),
        ({"provider": "resend", "username": "other", "password_file": "/p"}, "smtp.resend.com", "other"),
        ({"provider": "google", "port": 465}, "smtp.gmail.com", None),
    ],
)
def test_what_a_provider_stands_for(values: dict[str, object], host: str, username: str | None) -> None:
    found = Smarthost.model_validate(values)
    assert (found.host, found.username) == (host, username)
    assert found.security == ("implicit" if found.port == 465 else "verify")
    assert Smarthost.model_validate(found.model_dump()) == found


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "host, or a provider"),
        ({"provider": "ses"}, "a region such as eu-west-1"),
        ({"provider": "mailgun", "region": "ap"}, "us or eu"),
        ({"provider": "google", "region": "eu"}, "no region"),
        ({"provider": "google", "host": "smtp.example.net"}, "provider or host"),
        ({"provider": "nobody"}, "provider"),
    ],
)
def test_what_it_does_not(values: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Smarthost.model_validate(values)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_has_a_source(name: str) -> None:
    preset = PRESETS[name]
    assert preset.source.startswith("https://")
    if name not in {"resend", "naver"}:
        assert smarthosts.provider(preset.host.format(region="eu-west-1"))


def test_the_documentation_names_each_preset() -> None:
    text = (Path(__file__).parents[2] / "docs" / "smarthost.md").read_text()
    told = text.partition("`provider` stands for `host` and `port`:")[2].partition("(with its region)")[0]
    assert set(re.findall(r"`(\w+)`", told)) == set(PRESETS)


def test_a_secret_key_is_no_smtp_password() -> None:
    def probe(password: str, host: str = "email-smtp.eu-west-1.amazonaws.com", reason: str = "refuses") -> Probe:
        return Probe(Server("0a1b2c", "delivery.smarthost", host, 587, "verify", "AKIA", password, ""), reason)

    assert "SMTP password" in hint(probe("x" * 40))
    assert not hint(probe("x" * 44))
    assert not hint(probe("x" * 40, "smtp.example.net"))
    assert not hint(probe("x" * 40, reason=""))


@pytest.mark.parametrize(
    ("host", "username", "said"),
    [
        ("smtp.sendgrid.net", "app", "all customers of smtp.sendgrid.net log in as apikey"),
        ("smtp.sendgrid.net", "apikey", ""),
        ("smtp.eu.mailgun.org", "postmaster", "user names at smtp.eu.mailgun.org are mail addresses"),
        ("smtp.gmail.com", "app@example.com", ""),
        ("smtp.example.net", "app", ""),
    ],
)
def test_a_provider_s_form_of_user_names(host: str, username: str, said: str) -> None:
    server = Server("0a1b2c", "delivery.smarthost", host, 587, "verify", username, "x", "")
    assert hint(Probe(server, "refuses the credentials")).startswith(said)
    assert bool(hint(Probe(server, "refuses the credentials"))) == bool(said)
    assert not hint(Probe(server))


def test_a_provider_may_stand_for_another_port() -> None:
    brevo = Smarthost.model_validate({"provider": "brevo", "username": "app", "password_file": "/run/secrets/app"})
    assert (brevo.port, brevo.security) == (465, "implicit")
    other = {"provider": "brevo", "port": 587, "username": "app", "password_file": "/run/secrets/app"}
    assert Smarthost.model_validate(other).security == "verify"
