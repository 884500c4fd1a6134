"""``python -m postroad.uplink``: takes sessions for smarthosts from sendmail, on a unix socket for our user alone.

SIGHUP reads the generation in force; sessions under way go on, and servers of the generation before are still known to
those that sendmail begins with its old rules.
"""

import asyncio
import contextlib
import os
import resource
import signal
import socket
import struct
from concurrent.futures import ThreadPoolExecutor

from postroad.events import relays
from postroad.events.syslog import Severity, tell
from postroad.runtime import uplink as told
from postroad.runtime.paths import CURRENT, LOG_SOCKET, UPLINK
from postroad.uplink.opening import Opened, accesses
from postroad.uplink.session import Session, Way

MOST = 1000
"""Sessions at once; sendmail's processes are fewer."""
BACKLOG = 1024
HEADER_WITHIN = 5.0
"""Seconds until sendmail has said which server it wants: preload/uplink.c does so at once."""
LOOKUPS = 32
"""Names that are looked up at once."""
PATIENCE = 1.0
"""Seconds for which a log that does not read is waited for."""


class Uplink:
    """The servers, and the sessions with them."""

    def __init__(self) -> None:
        """Read the settings.

        Raises:
            OSError, ValueError, TypeError, KeyError: they can't be read.
        """
        self._ways: dict[str, Way] = {}
        self._hostname = ""
        self._sessions: set[asyncio.Task[None]] = set()
        self._read()

    def _read(self) -> None:
        generation = CURRENT.resolve()
        settings = told.load(generation / told.FILE)
        authorities = str(generation / settings.authorities) if settings.authorities else ""
        access = accesses(authorities)
        wanted = {
            server.id: Way.make(
                server, access(server, str(generation / server.certificate) if server.certificate else "")
            )
            for server in settings.servers
        }
        before = {key: way for key, way in self._ways.items() if key in self._current}
        self._ways, self._current, self._hostname = before | wanted, frozenset(wanted), settings.hostname

    _current: frozenset[str] = frozenset()

    def reload(self) -> None:
        """Read the settings anew."""
        try:
            self._read()
        except Exception as error:  # noqa: BLE001 - those that were in force stay
            _say("err", f"uplink: the new settings can't be read, the old ones stay in force: {error!r}")

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one session of sendmail's."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - asyncio calls this in one
        self._sessions.add(task)
        try:
            await self._serve(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass  # one of both went away
        except Exception as error:  # noqa: BLE001 - one session's: sendmail tries again
            _say("err", f"uplink: a session is ended: {error!r}")
        finally:
            self._sessions.discard(task)
            with contextlib.suppress(OSError, TimeoutError):
                writer.close()
                async with asyncio.timeout(HEADER_WITHIN):
                    await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pid, uid, _ = struct.unpack(
            "iII", writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        )
        if uid != os.geteuid():
            return
        async with asyncio.timeout(HEADER_WITHIN):
            header = await reader.readline()
        if not header:
            return  # the supervisor, which looks whether somebody accepts
        wanted = header.decode("ascii", "replace").strip()

        def opened(server: told.Server, session: Opened) -> None:
            _tell_of(pid, server, session)

        session = Session(self._hostname, reader, writer, _say, opened)
        way = self._ways.get(wanted)
        if len(self._sessions) > MOST:
            await session.refuse("4.3.2", f"more than {MOST} sessions with smarthosts at once")
        elif way is None:
            await session.refuse("4.3.2", "the configuration has changed meanwhile: this is tried again")
        else:
            await session.serve(way)


def _say(level: Severity, text: str) -> None:
    tell(LOG_SOCKET, level, text)


def _tell_of(pid: int, server: told.Server, session: Opened) -> None:
    """Tell the log where sendmail's session has come, and how it is encrypted, in sendmail's words."""
    tell(LOG_SOCKET, "info", relays.session(pid, server.id, session.address), PATIENCE, program="uplink")
    if session.tls:
        version, cipher, bits = session.tls
        verify = "OK" if server.verified else "NOT"
        relay = f"{server.host} [{session.address}]"
        text = f"relay={relay}, version={version}, verify={verify}, cipher={cipher}, bits={bits}/{bits}"
        tell(LOG_SOCKET, "info", f"STARTTLS=client, {text}", PATIENCE, program="sendmail")


async def _run() -> None:
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(LOOKUPS))
    uplink = Uplink()
    UPLINK.unlink(missing_ok=True)
    server = await asyncio.start_unix_server(uplink.accept, UPLINK, backlog=BACKLOG)
    loop.add_signal_handler(signal.SIGHUP, uplink.reload)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, os._exit, 0)  # sendmail tries again what was under way
    async with server:
        await server.serve_forever()


def main() -> int:
    """Serve until told to stop."""
    os.umask(0o077)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        asyncio.run(_run())
    except Exception as error:  # noqa: BLE001 - said in a line, and the supervisor tries again
        _say("err", f"uplink: can't start: {error!r}")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
