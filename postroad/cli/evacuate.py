"""``postroad queue evacuate``: hands all that waits to another relay."""

import socket
import sys
import time
from contextlib import suppress
from datetime import timedelta

import click
from rich.console import Console

from postroad.cli import running, terminal
from postroad.cli.example import example
from postroad.cli.plain import echo, plain
from postroad.cli.times import duration
from postroad.config.load import load
from postroad.config.model import Config
from postroad.errors import PostroadError
from postroad.evacuation import doubts, places
from postroad.evacuation.client import TIMEOUT, Session, open_session
from postroad.evacuation.leaving import Leaving
from postroad.evacuation.run import Evacuation, Left, Result, event
from postroad.evacuation.taking import Taking
from postroad.runtime import acceptance, log
from postroad.runtime.paths import LOG_SOCKET, QUEUE
from postroad.secrets import peers
from postroad.sendmail import queue
from postroad.supervisor import alone

EMPTY, LEFT = 0, 3
SETTLE = 1.0
"""Seconds for which nothing must wait: a session may have been in the middle of a message."""
PAUSE = 1.0
"""Seconds between two runs over the queue, and between two attempts to reach the other relay."""
SHOWN = 10
"""Messages that stayed and are named."""


@click.command("evacuate", epilog=example("queue evacuate --to postroad-0.example.com"))
@click.option("--to", "target", metavar="HOST[:PORT]", help="The other relay. Without a port: our own `peers.port`.")
@click.option("--timeout", default="10m", show_default=True, callback=duration, help="How long to try, such as 90s.")
@click.option("--take-back", is_flag=True, help="Put back what was offered to a relay that is gone for good.")
@click.option("--yes", is_flag=True, help="Don't ask (with --take-back).")
def command(target: str | None, timeout: timedelta, take_back: bool, yes: bool) -> int:
    """Hand all that waits to another relay, which delivers it: before this one goes for good.

    Each message goes as it is, signed, with its age and its tries. A server that runs here takes no new messages from
    then on, as with `queue drain`. Without one this is for a volume that was left behind; it waits for the end of a
    server that has the volumes in another container. If it is interrupted, run it again, to the same relay.

    Exit code 0: nothing waits any more. 3: some messages stay.
    """
    if bool(target) == take_back:
        raise click.UsageError("give either --to or --take-back")
    if not QUEUE.is_dir():
        raise PostroadError(f"{QUEUE} is not there: mount the queue's volume")
    console = terminal.console()
    if take_back:
        return _take_back(console, yes=yes)
    return _Command(load(), str(target), timeout, console).run()


class _Command:
    """One call of the command."""

    def __init__(self, config: Config, target: str, timeout: timedelta, console: Console) -> None:
        self._host, self._port = _address(target, config)
        secret = peers.secret(config)
        if secret is None:
            raise PostroadError(
                "At 'peers.secret_file': not set: name the file with the secret that the other relay has, too"
            )
        self._secret = secret
        self._timeout, self._console = timeout, console
        self._own = places.identity(QUEUE)
        self._told = LOG_SOCKET.exists()  # else no server runs here, and so no log
        self._left = 0

    def run(self) -> int:
        """Hand over until nothing waits, only what can't go is left, or the time is over; the exit code."""
        deadline = time.monotonic() + self._timeout.total_seconds()
        if running.is_running():
            acceptance.set_accepting(False)
            self._console.print("no new messages are taken from now on; `postroad queue drain --undo` ends that")
        elif (name := self._await_server(deadline)) is not None:
            self._console.print(f"[red]✘[/] the server in container {plain(name)} still has these volumes")
            return LEFT
        with places.alone(QUEUE), self._console.status("") as status:
            _settle()
            quiet: float | None = None
            while True:
                status.update(f"Handing over: {self._left} handed over")
                result, failed = self._once(deadline)
                now = time.monotonic()
                if failed is None and not result.busy:
                    if result.stayed or result.doubtful:
                        break
                    quiet = None if result.left else quiet or now
                    if quiet and now - quiet >= SETTLE:
                        break
                else:
                    quiet = None
                if now >= deadline:
                    break
                time.sleep(min(PAUSE if failed or result.busy else SETTLE / 4, max(0.0, deadline - now)))
        return self._tell_end(result, failed)

    def _await_server(self, deadline: float) -> str | None:
        """Wait for the end of a server that has the volumes, in another container; who has them when the time is over.

        It may just be stopping, as where an orchestrator puts this command in its place, and takes messages until then.
        """
        told = False
        while (name := alone.holder()) is not None and time.monotonic() < deadline:
            if not told:
                told = True
                self._console.print(f"the server in container {plain(name)} has these volumes: waiting for its end")
            time.sleep(SETTLE / 4)
        return name

    def _once(self, deadline: float) -> tuple[Result, OSError | None]:
        """A run over the queue; and why it ended early."""
        try:
            # a relay that says nothing does not keep us beyond our time
            step = min(TIMEOUT, max(1.0, deadline - time.monotonic()))
            with open_session(
                self._host, self._port, self._secret, self._own, socket.gethostname(), timeout=step
            ) as session:
                doubts.settle(QUEUE, self._secret, self._own, socket.gethostname(), self._tell, but=session.relay)
                result = Evacuation(QUEUE, session, self._tell).run(lambda: time.monotonic() >= deadline)
                _pass_on(session)
                return result, None
        except OSError as error:
            return Result(), error

    def _tell(self, left: Left) -> None:
        self._left += 1
        if self._told:
            self._told = log.tell("notice", event(left), patience=1.0)
            if not self._told:
                echo("postroad: the log takes no lines now: what leaves from now on is not logged here", err=True)

    def _tell_end(self, result: Result, failed: OSError | None) -> int:
        show = self._console.print
        show(f"{_count(self._left)} handed over to {plain(self._host)}")
        if failed is not None:
            show(f"[red]✘[/] {plain(str(failed))}")
        for queue_id, why in list(result.stayed.items())[:SHOWN]:
            show(f"  {plain(queue_id)} stays: {plain(why)}")
        if len(result.stayed) > SHOWN:
            show(f"  and {len(result.stayed) - SHOWN} more stay: `postroad queue list`")
        for receiver in sorted({each.receiver for each in result.doubtful}):
            number = sum(each.receiver == receiver for each in result.doubtful)
            at = Leaving(QUEUE).host(receiver).replace(" ", ":") or "an unknown host"
            show(
                f"  {_count(number)} may be at the relay that was reached at {plain(at)} before: run `postroad queue"
                f" evacuate --to {plain(at)}`, or, if it is gone for good, `--take-back`"
            )
        waiting = sum(path.name.startswith("qf") for path in queue.control_files(QUEUE))
        if waiting or result.stayed or result.doubtful or failed is not None:
            show(f"[yellow]…[/] {_count(waiting)} left here: run the command again")
            return LEFT
        show("[green]✔[/] nothing waits here any more")
        return EMPTY


def _address(target: str, config: Config) -> tuple[str, int]:
    """Host and port of the other relay."""
    host, colon, port = target.rpartition(":")
    if not colon or target.endswith("]") or (":" in host and not host.endswith("]")):
        host, port = target, ""  # a name, or an IPv6 address
    if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise click.UsageError("--to takes HOST or HOST:PORT")
    if not port and config.peers.port is None:
        raise click.UsageError("--to needs HOST:PORT where our own peers.port is not set")
    return host.strip("[]"), int(port) if port else int(config.peers.port or 0)


def _settle() -> None:
    """Put into the queue what was taken from other relays and has no place there yet; a server does so at its start."""
    with suppress(places.BusyError), places.alone(QUEUE, places.TAKEN):
        Taking(QUEUE).settle()


def _pass_on(session: Session) -> None:
    """What other relays' messages were called here: who asks about them will ask there."""
    for token, name in Taking(QUEUE).entries():
        session.inherit(token, name)


def _take_back(console: Console, *, yes: bool) -> int:
    with places.alone(QUEUE):
        leaving = Leaving(QUEUE)
        found = list(leaving.messages())
        if not found:
            console.print("no message was offered to another relay: nothing to take back")
            return EMPTY
        if not yes:
            if not sys.stdin.isatty():
                raise click.UsageError("there is no terminal to ask for confirmation: add --yes; nothing was done")
            click.confirm(
                f"Put {_count(len(found))} back into the queue? If the other relay has them, they are delivered twice",
                abort=True,
            )
        for aside in found:
            leaving.put_back(aside)
        leaving.tidy()
    console.print(f"{_count(len(found))} put back into the queue")
    return EMPTY


def _count(number: int) -> str:
    return f"{number} message{'' if number == 1 else 's'}"
