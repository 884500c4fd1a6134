"""``postroad dkim``."""

import json
import time
from collections.abc import Sequence

import click

from postroad.cli.example import example
from postroad.cli.plain import echo
from postroad.config.load import load
from postroad.config.model import Config
from postroad.dns import dkim_published
from postroad.dns.records import published_at
from postroad.errors import PostroadError
from postroad.runtime.paths import STATE
from postroad.secrets import keys as dkim
from postroad.secrets import rotation
from postroad.secrets.keys import PublishedKey, Stage


@click.group()
def command() -> None:
    """The DKIM keys."""


@command.command(name="list", epilog=example("dkim list"))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_keys(as_json: bool) -> None:
    """List the keys, with the TXT record that publishes each, and where each stands.

    A key is active (it signs), next (it signs when its record is seen), past (it signed, and mail that is on its way
    still needs its record) or over (its record may go).
    """
    config = load()
    found = dkim.published(config, STATE, time.time())
    keys = [_described(config, each) for each in found]
    if as_json:
        click.echo(json.dumps({"keys": keys}, indent=2))
        return
    for key in keys:
        echo(f"{key['name']}. TXT\n  {key['value'] or '(none)'}")
        if key["note"]:
            echo(f"  {key['stage']}: {key['note']}")


def _described(config: Config, each: PublishedKey) -> dict[str, str]:
    key = each.key
    value = "" if each.stage is Stage.OVER else dkim.record(dkim.read(key).decode())
    return {
        "domain": key.domain,
        "selector": key.selector,
        "stage": str(each.stage),
        "file": str(key.path),
        "name": published_at(config, key.name),
        "type": "TXT",
        "value": value,
        "note": _note(config, each, value),
    }


def _note(config: Config, each: PublishedKey, value: str) -> str:
    """Where a key stands, in words; empty for one that signs."""
    retired, end = map(rotation.date, each.until)
    if each.stage is Stage.NEXT:
        return f"signs as soon as its record is published; {dkim_published.seen(config, each.key.name, value)}"
    if each.stage is Stage.PAST:
        return f"signed until {retired}; keep the record until {end}"
    if each.stage is Stage.OVER:
        return f"signed until {retired}; remove the record, its key is removed"
    return ""


@command.command(epilog=example("dkim rotate --domain example.com"))
@click.option("--domain", "domains", multiple=True, metavar="NAME", help="Only this one; may be repeated.")
def rotate(domains: Sequence[str]) -> None:
    """Make the next key of each domain, and print the record to publish.

    It signs as soon as its record is seen by several resolvers, and not before: the server looks by itself, and goes
    on signing with the key in use. A key that waits for its record is not made anew.
    """
    config = load()
    ours = rotation.series(config, STATE)
    names = [name.lower().rstrip(".") for name in domains] or list(dict.fromkeys(each.domain for each in ours))
    for name in names:
        if not any(each.domain == name for each in ours):
            raise PostroadError(f"Postroad manages no key of {name}: `postroad dkim list` lists the keys")
    chosen = [each for each in ours if each.domain in names]
    if not chosen:
        raise PostroadError("Postroad manages no key here: dkim.enabled is false, or every key is given by key_file")
    for each in chosen:
        made = dkim.make_next(config, STATE, each, time.time())
        echo(f"{published_at(config, each.name(made.next))}. TXT\n  {dkim.series_record(each, made.next)}")
        echo(f"  next: {each.domain} is signed under {made.active} until several resolvers have this record")
