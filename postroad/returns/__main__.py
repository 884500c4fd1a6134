"""``python -m postroad.returns``: takes what comes back to return addresses, and tells the log what it says.

A process of its own: its death or a flood changes nothing for mail that goes out. It relays nothing, answers nothing by
mail, and has no mailbox: a message becomes events, or is set aside where it can't be read. What people write goes to
the one address of ``returns.forward_to``, where it is set. The listening socket is its standard input, kept open by the
supervisor.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import ssl
import time
from typing import NoReturn
from urllib.parse import urlsplit

from postroad.errors import plainly
from postroad.events.syslog import Severity
from postroad.returns.forwarder import Forwarder
from postroad.returns.gate import Gate
from postroad.returns.reader import Reader
from postroad.returns.server import Connection, Handler
from postroad.returns.spool import Spool
from postroad.returns.web import Web, Wishes
from postroad.runtime import returning
from postroad.runtime.log import tell
from postroad.runtime.paths import CURRENT, RETURNS

PATIENCE = 5.0
"""Seconds to wait for a log that is full."""


def _tell(level: Severity, line: str) -> bool:
    return tell(level, line, PATIENCE)


def _log(level: Severity, line: str) -> None:
    tell(level, f"returns: {line}")


def _certificate() -> ssl.SSLContext | None:
    """TLS with the server's own certificate; None, and STARTTLS is not offered, where it can't be read."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(CURRENT / "tls" / "certificate.pem", CURRENT / "tls" / "key.pem")
    except (OSError, ssl.SSLError) as error:
        _log("err", f"STARTTLS is not offered: the certificate can't be read: {plainly(error)}")
        return None
    return context


class Returns:
    """The settings in force, and what serves by them."""

    def __init__(self) -> None:
        """Read the settings, and prepare.

        Raises:
            OSError, ValueError, InstallError: the settings, the key or the state volume can't be read.
        """
        self._settings = returning.load(CURRENT / returning.FILE)
        self._tls = _certificate()
        self._gate = Gate(self._settings.domain, (CURRENT / returning.KEY).read_bytes(), time.time)
        spool = Spool(RETURNS)
        # also where nothing is forwarded: what waited for it before is set aside
        self._forwarder = Forwarder(Spool(RETURNS, "forward"), self._gate, lambda: self._settings, _log)
        self._reader = Reader(spool, self._gate, _tell, forward=self._forwarder.takes)
        self._handler = Handler(self._gate, spool, self._reader.wake, _log)

    def reload(self) -> None:
        """Read the settings anew; sessions go on."""
        try:
            settings = returning.load(CURRENT / returning.FILE)
            self._gate.change(settings.domain, (CURRENT / returning.KEY).read_bytes())
        except (OSError, ValueError) as error:
            _log("err", f"the new settings can't be read, the old ones stay in force: {plainly(error)}")
            return
        self._settings, self._tls = settings, _certificate()

    async def serve(self, listener: socket.socket) -> NoReturn:
        """Serve until the process ends."""
        self._reader.start()
        self._forwarder.start()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, self.reload)
        link = self._settings.unsubscribing
        if link:  # another address is another plan, by which the process is started anew
            web = Web(self._path, lambda: self._gate.key, Wishes(_tell))
            await asyncio.start_server(web.serve, link.host, link.port, reuse_address=True)
        server = await loop.create_server(self._connection, sock=listener)
        async with server:
            await server.serve_forever()
        raise SystemExit(1)

    def _connection(self) -> Connection:
        return Connection(self._handler, self._settings.hostname, self._tls)

    def _path(self) -> str:
        link = self._settings.unsubscribing
        return urlsplit(link.url).path if link else ""


def main() -> NoReturn:
    """Serve until a signal ends the process; what was answered 250 is on the disk."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.umask(0o077)
    logging.disable()  # aiosmtpd tells each command
    with contextlib.suppress(OSError):
        os.nice(5)
    try:
        returns = Returns()
        asyncio.run(returns.serve(socket.socket(fileno=0)))
    except Exception as error:  # noqa: BLE001 - said in a line, and the supervisor tries again
        _log("err", f"can't go on: {error!r}")
    os._exit(1)


if __name__ == "__main__":
    main()
