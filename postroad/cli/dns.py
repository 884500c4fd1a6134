"""``postroad dns``."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict

import click
import dns.name
import dns.reversename

from postroad.cli.example import example
from postroad.cli.plain import echo
from postroad.config.load import load
from postroad.config.model import Config
from postroad.dns import egress, formats, smarthosts
from postroad.dns.providers import reverse_name_steps
from postroad.dns.records import RecordFacts
from postroad.dns.resolver import Resolver, servers
from postroad.dns.survey import Planned, RecordState, survey
from postroad.errors import PostroadError
from postroad.runtime.paths import STATE
from postroad.secrets import keys as dkim
from postroad.text import printable

TEXTS: dict[str, Callable[[Sequence[Planned]], str]] = {
    "bind": formats.bind,
    "cloudflare": formats.cloudflare,
    "route53": formats.route53,
    "terraform": formats.terraform,
}
THEIRS = "All mail goes to smarthosts: their addresses count, so this host needs no A, PTR and SPF record."
COLOURS = {
    RecordState.ADD: "yellow",
    RecordState.CHANGE: "yellow",
    RecordState.PRESENT: "green",
    RecordState.UNKNOWN: "red",
}


@click.command(epilog=example("dns --format route53"))
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", *sorted(TEXTS), "json"]),
    default="table",
    show_default=True,
    help="route53: a change batch; terraform: aws_route53_record; cloudflare: for its import.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("--zone", help="Only the records that belong into this zone.")
@click.option("--reports", metavar="ADDRESS", default="", help="Who gets DMARC reports.  [default: postmaster@DOMAIN]")
@click.option("--tls-rpt", is_flag=True, help="Also the record that asks for reports on TLS (RFC 8460).")
def command(form: str, as_json: bool, zone: str | None, reports: str, tls_rpt: bool) -> int:
    """Print the records to publish, for the host and each domain, and which of them are there.

    The exit code is 1 where something could not be found out: what is printed then lacks it.
    """
    form = "json" if as_json else form
    config = load()
    direct = config.delivery.goes_to_receivers
    resolver = Resolver(servers([str(address) for address in config.dns.servers]))
    found = egress.find(config, resolver) if direct else None
    addresses, sentence = (found.addresses, found.sentence) if found else ((), THEIRS)
    keys, problems = _keys(config)
    if direct and not addresses:
        problems.append(f"{sentence}: set public_ip; A, PTR and SPF records are left out")
    facts = RecordFacts(addresses=addresses, dkim=keys, reports=reports, tls_rpt=tls_rpt)
    planned = survey(config, facts, Resolver(servers([str(address) for address in config.dns.servers])))
    problems += [note for each in planned if each.state is RecordState.UNKNOWN for note in each.notes[:1]]
    zones = list(dict.fromkeys(each.zone for each in planned))
    if zone:
        zone = zone.lower().rstrip(".")
        if zone not in zones:
            raise PostroadError(f"no record belongs to the zone {zone}; the zones are {', '.join(zones)}")
        planned = tuple(each for each in planned if each.zone == zone)
    if form == "json":
        click.echo(json.dumps({"address": sentence, "records": list(map(_described, planned))}, indent=2))
    elif form == "table":
        echo(sentence)
        _table(planned, config)
        for line in smarthosts.advice(config.delivery):
            click.echo(f"\n{line}")
    else:
        if form == "route53":
            planned = _one_zone(planned)
        click.echo(TEXTS[form](planned), nl=False)
    for problem in dict.fromkeys(problems):
        echo(f"postroad: {problem}", err=True)
    return 1 if problems else 0


def _described(each: Planned) -> dict[str, object]:
    """A record for programs, with what is published in its place."""
    about = {"state": str(each.state), "zone": each.zone, "replaces": each.replaces, "notes": each.notes}
    return asdict(each.record) | about


def _keys(config: Config) -> tuple[dict[str, str], list[str]]:
    """The DKIM records by name, and what is wrong with keys that have none."""
    records, problems = {}, []
    for each in dkim.published(config, STATE, time.time()):
        key = each.key
        if key.given or key.path.exists():
            records[key.name] = dkim.record(dkim.read(key).decode())
        elif each.stage is not dkim.Stage.OVER:
            problems.append(
                f"{key.domain} has no DKIM key yet, one is made when the server starts: run this in its container"
            )
    return records, problems


def _one_zone(planned: Sequence[Planned]) -> tuple[Planned, ...]:
    """The records without those of reverse zones, if others are left: a change batch is for one zone.

    Raises:
        PostroadError: they are of several zones.
    """
    zones = list(dict.fromkeys(each.zone for each in planned if not each.zone.endswith(".arpa")))
    if len(zones) > 1:
        raise PostroadError(f"a change batch covers one zone: choose one with --zone: {', '.join(zones)}")
    return tuple(each for each in planned if each.zone in zones) if zones else tuple(planned)


def _table(planned: Sequence[Planned], config: Config) -> None:
    """A block for each record: values are too long for columns, and are for copying."""
    for each in planned:
        record = each.record
        state = click.style(f"{each.state:<10}", fg=COLOURS[each.state])
        click.echo(f"\n{state} {printable(record.name)}  {record.type}  {record.ttl}")
        click.echo(f"           {click.style(printable(record.value), bold=True)}")
        echo(f"           {record.purpose}")
        for value in each.replaces:
            echo(f"           instead of: {printable(value)}")
        for note in each.notes:
            echo(f"           {printable(note)}")
    asked = [each.record for each in planned if each.record.type == "PTR" and each.state is not RecordState.PRESENT]
    for record in asked:
        address = str(dns.reversename.to_address(dns.name.from_text(record.name)))
        echo(f"\nThe PTR record of {address} is set by whoever gave you the address:")
        for provider, text in reverse_name_steps(address, config.hostname):
            echo(f"  {provider:<8} {text}")
