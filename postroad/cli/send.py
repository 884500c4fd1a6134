"""``postroad send``."""

import json
import smtplib
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from pathlib import Path
from typing import Any, Self

import click

from postroad.cli import terminal
from postroad.cli.example import example
from postroad.cli.plain import plain
from postroad.cli.running import no_server
from postroad.config.load import load
from postroad.config.model import Config
from postroad.config.values import format_duration
from postroad.errors import PostroadError, plainly
from postroad.runtime.paths import FEED
from postroad.sendmail import session

DELIVERED, REFUSED, WAITS = 0, 1, 3
TEXT = """\
This message shows that mail from {hostname} arrives.

`postroad send` sent it at {date} from {sender}. In its source, the line Authentication-Results that your
mail server added should say spf=pass, dkim=pass and dmarc=pass.
"""


@click.command(epilog=example("send you@example.net"))
@click.argument("address")
@click.option("--from", "sender", help="The sender. Not given: postmaster of the first domain in the configuration.")
@click.option(
    "--timeout", type=click.FloatRange(1, 3600), default=60.0, show_default=True, help="Seconds to follow it."
)
@click.option("--json", "as_json", is_flag=True, help="Print the message's events as JSON.")
def command(address: str, sender: str | None, timeout: float, as_json: bool) -> int:
    """Send a test message through the running server and follow it to its end.

    Exit code 0: the receiving server took it. 1: it was refused. 3: it waits in the queue, or was not heard of in time.
    """
    config = load()
    message = letter(config, address, sender or config.postmaster)
    deadline = time.monotonic() + timeout
    story = Progress(str(message["Message-ID"]), config)
    console = terminal.console(soft_wrap=True, quiet=as_json)
    with console.status(f"Handing a message for {address} to the server"), MessageFeed(FEED) as feed:
        refusal = hand_over(config, message)
        if refusal:
            console.print(f"[red]✘[/] refused by this server: {plain(refusal)}")
            if as_json:
                click.echo(json.dumps({"events": [], "refused": refusal}))
            return REFUSED
        for event in feed.events(deadline):
            for line in story.tell(event):
                console.print(line)
            if story.code is not None:
                break
    if as_json:
        click.echo(json.dumps({"events": story.events}, indent=2))
    if story.code is None:
        console.print(f"[yellow]…[/] nothing more was heard of it within {timeout:g} s: the log will tell")
    if story.code != DELIVERED:
        console.print(advice(config))
    return WAITS if story.code is None else story.code


def advice(config: Config) -> str:
    """What to do about a message that was not delivered."""
    if config.hostname.endswith(("example.com", "example.net", "example.org")):  # RFC 2606
        return f"  {config.hostname} is an example: set hostname and domains to yours, then ask `postroad doctor`"
    return "  `postroad doctor` says what keeps mail from arriving, and what to do"


def letter(config: Config, recipient: str, sender: str) -> EmailMessage:
    """The test message."""
    message = EmailMessage()
    for field, address, before in (("From", sender, "Postroad <"), ("To", recipient, "<")):
        try:
            message[field] = f"{before}{address}>"
            fine = [found.addr_spec for found in message[field].addresses] == [address] and "@" in address
        except (ValueError, IndexError):  # line breaks; what Python's parser trips over
            fine = False
        if not fine:
            raise click.UsageError(f"not an address: {address}")
    date = format_datetime(datetime.now(UTC))  # formatdate() ends in -0000: a time zone that is not known
    message["Date"] = date
    message["Subject"] = f"Test message from {config.hostname}"
    message["Message-ID"] = make_msgid(domain=config.hostname)
    message["Auto-Submitted"] = "auto-generated"  # no vacation notices, please (RFC 3834)
    message.set_content(TEXT.format(hostname=config.hostname, date=date, sender=sender))
    return message


def hand_over(config: Config, message: EmailMessage) -> str:
    """Give the message to sendmail, by the rules for all clients; return why it was refused, else empty."""
    try:
        with session.LocalSession(config.hostname) as smtp:
            smtp.send_message(message)
    except session.NoSendmailError as error:
        raise no_server() from error
    except smtplib.SMTPRecipientsRefused as error:
        return "; ".join(f"{code} {_text(text)}" for code, text in error.recipients.values())
    except smtplib.SMTPResponseException as error:
        return f"{error.smtp_code} {_text(error.smtp_error)}"
    except (OSError, smtplib.SMTPException) as error:
        raise PostroadError(f"sendmail does not take the message: {plainly(error)}") from error
    return ""


def _text(text: bytes | str) -> str:
    return text.decode(errors="replace") if isinstance(text, bytes) else text


class MessageFeed:
    """The server's events from ``with`` on."""

    def __init__(self, path: Path) -> None:
        """Prepare to read from this socket."""
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)

    def __enter__(self) -> Self:
        try:
            self._socket.connect(str(self._path))
        except OSError as error:
            self._socket.close()
            raise no_server() from error
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def events(self, deadline: float) -> Iterator[dict[str, Any]]:
        """Each event as it comes, until ``deadline`` (as ``time.monotonic`` tells) or the server's end."""
        rest = b""
        while (left := deadline - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                data = self._socket.recv(1 << 16)
            except TimeoutError:
                return
            if not data:
                raise PostroadError("the server ended or closed the connection; see its log")
            *lines, rest = (rest + data).split(b"\n")
            yield from map(json.loads, lines)


class Progress:
    """What happens to one message, told line by line."""

    def __init__(self, message_id: str, config: Config) -> None:
        """Begin with its Message-ID."""
        self.events: list[dict[str, Any]] = []
        self.code: int | None = None
        """The exit code, once it is known."""
        self._message_id = message_id
        self._config = config
        self._ids: set[str] = set()
        self._signed = False
        self._tls: dict[object, dict[str, Any]] = {}

    def tell(self, event: dict[str, Any]) -> Iterator[str]:
        """The lines for one event, of this message or not."""
        kind = event["event"]
        if kind == "tls" and event.get("side") == "client":
            # it names no message; the process that delivers is the same
            self._tls[event.get("pid")] = event
            return
        if event.get("message_id") == self._message_id and "queue_id" in event:
            self._ids.add(event["queue_id"])
        if event.get("queue_id") not in self._ids or kind == "raw":
            return
        self.events.append(event)
        if kind == "accepted":
            yield f"[green]✔[/] accepted as {event['queue_id']}"
        elif kind == "signed":
            self._signed = True
            yield f"[green]✔[/] signed for {event.get('domain')}, selector {event.get('selector')}"
        elif kind == "redirected" and event["redirected_to"].lower() != event["recipient"].lower():
            yield f"[yellow]![/] goes to {plain(event['redirected_to'])} in place of {plain(event['recipient'])}"
        elif kind in {"delivered", "deferred", "bounced", "rejected"}:
            yield from self._attempted(kind, event)

    def _attempted(self, kind: str, event: dict[str, Any]) -> Iterator[str]:
        if self._config.dkim.enabled and not self._signed and kind == "delivered":
            yield "[yellow]![/] not signed: the sender's domain has no key here"
        host = plain(" ".join(filter(None, [event.get("relay_host"), _bracketed(event.get("relay_address"))])))
        tls = self._tls.get(event.get("pid"))
        if tls and tls.get("relay_host") in {event.get("relay_host"), None}:
            self.events.insert(-1, tls)
            seen = tls.get("tls_verify")
            verified = "verified" if seen == "OK" else f"not verified ({seen}), as is usual between mail servers"
            yield f"[green]✔[/] {plain(tls.get('tls_version'))} with {host}, its certificate {plain(verified)}"
        elif host and kind == "delivered":
            yield f"[yellow]![/] without TLS to {host}"
        reply = event.get("reply") or event.get("status") or "no reason given"
        if kind == "delivered":
            self.code = DELIVERED
            yield f"[green]✔[/] delivered to {host}: {plain(reply)}"
        elif kind == "deferred":
            self.code = WAITS
            retry = format_duration(self._config.delivery.queue.retry)
            yield f"[yellow]…[/] it waits{f', {host} did not take it' if host else ''}: {plain(reply)}"
            yield f"  tried again every {retry}, for {format_duration(self._config.delivery.queue.give_up_after)}"
        else:
            self.code = REFUSED
            yield f"[red]✘[/] {kind}{f' by {host}' if host else ''}: {plain(reply)}"


def _bracketed(text: str | None) -> str:
    return f"[{text}]" if text else ""
