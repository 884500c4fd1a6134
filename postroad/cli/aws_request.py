"""``postroad aws-request``."""

import json

import click

from postroad.cli.example import example
from postroad.cli.plain import echo
from postroad.config.load import load
from postroad.dns import aws, egress, instance
from postroad.dns.resolver import Resolver, servers


@click.command(epilog=example("aws-request --per-day 5000"))
@click.option("--use-case", default="", help="What your app sends, and to whom, in a sentence or two.")
@click.option("--per-day", type=click.IntRange(1), help="How many messages a day, at most.")
@click.option("--region", default="", help="The AWS region, where the instance's metadata can't be read.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(use_case: str, per_day: int | None, region: str, as_json: bool) -> None:
    """Print the text for AWS's form that lifts the limit on port 25 and sets the reverse name.

    What has to be filled in by hand stands in [brackets].
    """
    config = load()
    found = egress.find(config, Resolver(servers([str(address) for address in config.dns.servers])))
    this = instance.ask()
    request = aws.request(config, found, this, use_case=use_case, per_day=per_day, region=region)
    if as_json:
        click.echo(json.dumps({"requests": [request]}, indent=2))
    else:
        echo(aws.text(request))
