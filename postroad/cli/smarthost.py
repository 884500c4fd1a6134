"""``postroad smarthost``."""

import json
from typing import Any

import click

from postroad.checks import smarthosts
from postroad.cli.example import example
from postroad.cli.plain import plain
from postroad.config.load import load
from postroad.sendmail import outbound
from postroad.uplink import oauth as tokens
from postroad.uplink.opening import token_context
from postroad.uplink.probe import Probe


@click.group()
def command() -> None:
    """The servers that mail is handed to."""


@command.command(epilog=example("smarthost check"))
@click.option("--recipient", help="Address to name in RCPT; postmaster of the first domain if left out.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(recipient: str | None, as_json: bool) -> int:
    """Connect to each smarthost, log in, and ask whether it takes mail; nothing is sent. Exit code 1: one does not."""
    found = smarthosts.probes(load(), recipient)
    if as_json:
        click.echo(json.dumps({"servers": [_fields(each) for each in found]}, indent=2))
    elif not found:
        click.echo("no smarthost is configured: mail goes to the recipients' own MX hosts")
    else:
        for each in found:
            _show(each)
    return 0 if all(each.takes_mail for each in found) else 1


@command.command(epilog=example("smarthost login"))
@click.argument("key", required=False)
def login(key: str | None) -> int:
    """Have a person agree in a browser, by a device code, that this server may send; the token is kept.

    KEY says for which smarthost, such as delivery.smarthost, where there are several.
    """
    config = load()
    secrets = outbound.credentials(config)
    servers = outbound.uplink_settings(config, secrets).servers
    able = {server.key: server for server in servers if server.oauth and server.oauth.device_url}
    wanted = [server for server in able.values() if key in {None, server.key}]
    if len(wanted) != 1:
        raise click.UsageError(f"name one of those with oauth.device_url: {', '.join(sorted(able)) or 'there is none'}")
    oauth = wanted[0].oauth
    assert oauth is not None  # noqa: S101 - looked at above
    post = tokens.poster(token_context(str(config.delivery.tls.ca_file or "")), wanted[0].proxy)
    try:
        code = tokens.device_code(oauth, post)
        click.echo(f"Open {plain(code.url)} as {plain(wanted[0].username)}, and enter the code {plain(code.user_code)}")
        tokens.wait_for_person(oauth, post, code)
    except tokens.TokenError as error:
        raise click.ClickException(plain(str(error))) from error
    click.echo("done: mail that waits goes out with the next run of the queue, or by `postroad queue flush`")
    return 0


def _show(found: Probe) -> None:
    server = found.server
    click.echo(f"{server.host} port {server.port} ({server.key})")
    if found.reason:
        click.echo(f"  fails     {plain(found.reason)}")
        if said := smarthosts.hint(found):
            click.echo(f"  hint      {said}")
        return
    verified = ", certificate verified" if server.verified else ""
    click.echo(f"  address   {found.address}")
    click.echo(f"  TLS       {found.tls + verified if found.tls else 'none'}")
    click.echo(f"  AUTH      {found.mechanism + ' as ' + plain(server.username) if found.mechanism else 'none'}")
    click.echo(f"  offers    {plain(', '.join(found.offers)) or 'nothing'}")
    for name, reply in (("MAIL", found.mail), ("RCPT", found.recipient)):
        if reply:
            click.echo(f"  {name}      {plain(reply.text)}")


def _fields(found: Probe) -> dict[str, Any]:
    server = found.server
    return {
        "host": server.host,
        "port": server.port,
        "key": server.key,
        "takes_mail": found.takes_mail,
        "reason": found.reason or None,
        "address": found.address or None,
        "tls": found.tls or None,
        "verified": bool(found.tls and server.verified),
        "mechanism": found.mechanism or None,
        "username": server.username or None,
        "offers": list(found.offers),
        "mail": found.mail.text if found.mail else None,
        "rcpt": found.recipient.text if found.recipient else None,
    }
