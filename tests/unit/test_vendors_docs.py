"""docs/vendors.md: its configuration loads, and its snippets send, with the vendors' own SDKs."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any, get_args
from urllib.parse import urlsplit

import boto3
import pytest
from postmarker.core import PostmarkClient
from sendgrid import SendGridAPIClient
from sendgrid.helpers.mail import Mail

from postroad.config.load import read_all
from postroad.config.web import Vendor
from tests.documents import ROOT, Block, blocks
from tests.unit import npm, vendors
from tests.unit.vendors import Relay

PAGE = "docs/vendors.md"
TEXT = (ROOT / PAGE).read_text()
ADDRESS = "https://mail.example.com:8080"


def snippets(language: str) -> list[Block]:
    return [block for block in blocks(PAGE) if block.language == language]


def title(block: Block) -> str:
    return str(re.findall(r"^## (.*)$", TEXT[: TEXT.index(block.text)], re.MULTILINE)[-1])


def test_its_configuration_loads_with_every_vendor(tmp_path: Path) -> None:
    (block,) = snippets("yaml")
    (tmp_path / "config.yaml").write_text(f"hostname: mail.example.com\ndomains: [example.com]\n{block.text}")
    config = read_all(tmp_path / "config.yaml", {}, tmp_path / "none").config
    assert config.web
    assert set(config.web.vendors) == set(vendors.VENDORS) == set(get_args(Vendor))


def test_each_vendor_has_its_section() -> None:
    names = set(get_args(Vendor))
    assert {each.lower() for each in re.findall(r"^## (.*)$", TEXT, re.MULTILINE)} == names


@pytest.mark.parametrize("block", snippets("python"), ids=title)
def test_its_python_sends(block: Block, relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTROAD_KEY", vendors.SHOP)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    names: dict[str, Any] = {
        "os": os, "boto3": boto3, "Mail": Mail, "SendGridAPIClient": SendGridAPIClient, "PostmarkClient": PostmarkClient,
    }  # fmt: skip
    assert ADDRESS in block.text
    exec(block.text.replace(ADDRESS, relay.url).replace("@example.com", "@sender.example"), names)
    assert sent(relay)


IMPORTS = """
import { createRequire } from "node:module";
const require = createRequire(import.meta.url);
const { SESv2Client, SendEmailCommand } = require("@aws-sdk/client-sesv2");
const sgMail = require("@sendgrid/mail");
const FormData = require("form-data");
const Mailgun = require("mailgun.js").default ?? require("mailgun.js");
const { ServerClient } = require("postmark");
"""
PLAIN = {'requestHost: "mail.example.com:8080"': 'requestHost: "HOST", useHttps: false', ADDRESS: "http://HOST"}
"""What differs in a test, which has no certificate."""


@pytest.mark.node
@pytest.mark.parametrize("block", snippets("js"), ids=title)
def test_its_javascript_sends(block: Block, relay: Relay) -> None:
    text = block.text
    for shown, plain in PLAIN.items():
        text = text.replace(shown, plain)
    assert text != block.text
    text = text.replace("HOST", urlsplit(relay.url).netloc).replace("example.com", "sender.example")
    ran = subprocess.run(
        ["node", "--input-type=module"], cwd=npm.FOLDER, input=IMPORTS + text, capture_output=True, text=True,
        timeout=120, check=False, env={**os.environ, "POSTROAD_KEY": vendors.SHOP},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert sent(relay)


def sent(relay: Relay) -> bool:
    (taken,), (message,) = relay.taken, relay.messages
    assert (taken.sender, taken.recipients) == ("shop@sender.example", ["you@example.net"])
    assert message["Subject"] == "Your order"
    return True


def test_ghost_s_configuration_is_its_own() -> None:
    (block,) = snippets("json")
    assert set(json.loads(block.text)["bulkEmail"]["mailgun"]) == {"baseUrl", "apiKey", "domain"}


def test_the_environment_alone_is_enough_for_ses(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "AWS_ENDPOINT_URL_SESV2": relay.url,
        "AWS_ACCESS_KEY_ID": "shop",
        "AWS_SECRET_ACCESS_KEY": vendors.SHOP,
        "AWS_DEFAULT_REGION": "eu-west-1",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
        assert f"`{name}`" in TEXT
    boto3.session.Session().client("sesv2").send_email(
        FromEmailAddress="shop@sender.example",
        Destination={"ToAddresses": ["you@example.net"]},
        Content={"Simple": {"Subject": {"Data": "x"}, "Body": {"Text": {"Data": "y"}}}},
    )
    assert len(relay.taken) == 1
