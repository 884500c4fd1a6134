"""Where sendmail, by the preloaded library (``preload/log.c``), and our own processes log to: a FIFO, a socket."""

import contextlib
import fcntl
import os
import re
import select
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from postroad import sockets

Severity = Literal["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"]
LEVELS: tuple[Severity, ...] = get_args(Severity)  # by severity (RFC 5424, 6.2.1)
MAIL = 2  # the facility (likewise)

_DATAGRAM = re.compile(rb"<(\d{1,3})>([^\s\[\]:]{1,64})(?:\[(\d{1,10})\])?: ?(.*)", re.DOTALL)
_LARGEST = 1 << 17  # the library sends 64 KiB at most
_WAITING = 1 << 20  # octets in the FIFO
_PART = 1 << 16  # likewise, a read: what becomes of them has to fit into the buffers of the feed's clients
F_SETPIPE_SZ = 1031  # linux/fcntl.h
_OWN = 2000  # of a line of ours: less than PIPE_BUF, so that it is written whole
_BATCH = 1000  # lines a read: the caller gets to do other things under a flood, too


@dataclass(frozen=True, slots=True)
class LogLine:
    """One syslog message; ``time`` is when it was received, in seconds since the epoch."""

    time: float
    facility: int
    severity: int
    program: str
    pid: int | None
    text: str

    @property
    def level(self) -> str:
        """The severity's name."""
        return LEVELS[self.severity]


def parse_datagram(data: bytes, time: float) -> LogLine:
    r"""Read ``<priority>program[pid]: text``; anything else becomes the text of a line by ``unknown``. Never raises.

    Bytes that are not UTF-8 are shown as ``\xNN``.
    """
    match = _DATAGRAM.fullmatch(data)
    if match is None or int(match[1]) > 191:  # facility 23, severity 7
        return LogLine(time, 1, 5, "unknown", None, data.decode(errors="backslashreplace"))
    priority, program, pid, text = match.groups()
    return LogLine(
        time,
        int(priority) >> 3,
        int(priority) & 7,
        program.decode(errors="backslashreplace"),
        int(pid) if pid else None,
        text.decode(errors="backslashreplace"),
    )


def format_datagram(level: Severity, text: str, program: str = "postroad") -> bytes:
    """A line of Postroad's own, from this process, as ``parse_datagram`` reads it: facility mail, a level's name."""
    return f"<{MAIL << 3 | LEVELS.index(level)}>{program}[{os.getpid()}]: {text}".encode()


def tell(path: Path, level: Severity, message: str, patience: float = 0.0, program: str = "postroad") -> bool:
    """Give the log at ``path`` such a line; it may be lost (False): a full one is waited for so many seconds.

    It goes into the FIFO, among those of sendmail's: in the socket it could overtake them.
    """
    line = format_datagram(level, message.replace("\n", " "), program)[:_OWN]
    try:
        fifo = os.open(fifo_of(path), os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # there is none, or nobody reads it
        return _send(path, line, patience)
    try:
        if _put(fifo, line):
            return True
        if not patience:
            return False
        poll = select.poll()
        poll.register(fifo, select.POLLOUT)
        poll.poll(patience * 1000)
        return _put(fifo, line)
    finally:
        os.close(fifo)


def fifo_of(path: Path) -> Path:
    """The FIFO beside a log socket; preload/log.c has the same rule."""
    return path.with_name(f"{path.name}.fifo")


def _put(fifo: int, line: bytes) -> bool:
    try:
        os.write(fifo, line + b"\0")
    except OSError:
        return False
    return True


def _send(path: Path, line: bytes, patience: float) -> bool:
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
            log.settimeout(patience)
            log.connect(str(path))
            log.send(line)
    except OSError:
        return False
    return True


class LogSocket:
    """The bound socket; it must exist before the programs start, or they log to nobody.

    A unix datagram queue holds ``net.unix.max_dgram_qlen`` messages whatever the size of the buffers, and a sender
    waits for a second at most before it drops a line: read without delay.
    """

    def __init__(self, path: Path) -> None:
        """Bind the socket at ``path``, for this user only, in place of whatever a former run left there.

        Raises:
            OSError: the socket can't be made there.
        """
        self._path = path
        self._socket = sockets.bound(path, socket.SOCK_DGRAM)
        self._fifo_path = fifo_of(path)
        self._fifo_path.unlink(missing_ok=True)
        os.mkfifo(self._fifo_path, 0o600)
        # for writing, too: it never ends then
        self.fifo = os.open(self._fifo_path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        """The descriptor of the FIFO beside it, where lines wait until somebody has time for them."""
        with contextlib.suppress(OSError):  # not all that this user may have (fs.pipe-user-pages-soft)
            fcntl.fcntl(self.fifo, F_SETPIPE_SZ, _WAITING)
        self._begun = b""
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)
        self._buffer = memoryview(bytearray(_LARGEST))

    def fileno(self) -> int:
        """The descriptor, for select() and its kind."""
        return self._socket.fileno()

    def read(self, timeout: float | None = 0) -> list[LogLine]:
        """The lines that have come, oldest first; at most 1,000 in one call.

        Waits up to ``timeout`` seconds for the first one, without limit where that is None.
        """
        lines: list[LogLine] = []
        if not self._poll.poll(None if timeout is None else timeout * 1000):
            return lines
        while len(lines) < _BATCH:
            try:
                size = self._socket.recv_into(self._buffer)
            except BlockingIOError:
                break
            lines.append(parse_datagram(bytes(self._buffer[:size]), time.time()))
        return lines

    def read_fifo(self) -> list[LogLine]:
        """The lines that wait in the FIFO, oldest first; some of them, where there are many."""
        try:
            data = self._begun + os.read(self.fifo, _PART)
        except BlockingIOError:
            return []
        *whole, self._begun = data.split(b"\0")
        now = time.time()
        return [parse_datagram(line, now) for line in whole]

    def close(self) -> None:
        """Close the socket and remove it from the file system."""
        if self.fifo >= 0:
            os.close(self.fifo)
            self.fifo = -1
        self._fifo_path.unlink(missing_ok=True)
        self._socket.close()
        self._path.unlink(missing_ok=True)
