"""``postroad dkim``."""

import json

import click

from postroad.cli.example import example
from postroad.config.load import load
from postroad.runtime.paths import STATE
from postroad.secrets import keys as dkim


@click.group()
def command() -> None:
    """The DKIM keys."""


@command.command(name="list", epilog=example("dkim list"))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_keys(as_json: bool) -> None:
    """List the keys, with the TXT record that publishes each."""
    keys = [
        {
            "domain": key.domain,
            "selector": key.selector,
            "file": str(key.path),
            "name": f"{key.selector}._domainkey.{key.domain}",
            "type": "TXT",
            "value": dkim.record(dkim.read(key).decode()),
        }
        for key in dkim.wanted(load(), STATE)
    ]
    if as_json:
        click.echo(json.dumps({"keys": keys}, indent=2))
    else:
        for key in keys:
            click.echo(f"{key['name']}. TXT\n  {key['value']}")
