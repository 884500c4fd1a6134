"""An SMTP session with a sendmail of our own, without a network.

``sendmail -bs`` reads the configuration in force, so rules, limits, suppression and the milter are those of the daemon,
and it queues where the daemon does. Only who can start a process as its user gets there: no address has to be trusted,
and no socket guarded.
"""

import contextlib
import smtplib
import subprocess
import threading
from typing import Any

from postroad import system
from postroad.errors import PostroadError
from postroad.runtime import plan
from postroad.runtime.paths import CURRENT


class NoSendmailError(PostroadError):
    """No server is installed here."""


class LocalSession(smtplib.SMTP):
    """With sendmail on two pipes: to its rules, a client on a socket would be one with an address."""

    def __init__(self, name: str, timeout: float = 30, longest: float | None = None) -> None:
        """Start sendmail and read its greeting.

        Args:
            name: what to say in EHLO.
            timeout: seconds for sendmail to end after QUIT.
            longest: seconds that the session may take in all, after which sendmail is killed; None: no limit.

        Raises:
            NoSendmailError: no server runs here.
            CommandError: sendmail can't be started.
            smtplib.SMTPException: it greets with an error.
        """
        self._patience, self._longest = timeout, longest
        super().__init__("sendmail", 25, name)

    def _get_socket(self, host: str, port: int, timeout: float) -> Any:  # smtplib's own hook for other transports
        return _Pipes(self._patience, self._longest)


class _Pipes:
    """What smtplib uses of a socket."""

    def __init__(self, patience: float, longest: float | None) -> None:
        try:
            daemon = next(each for each in plan.load(CURRENT / plan.FILE).processes if each.name == "sendmail")
        except (OSError, ValueError, StopIteration) as error:
            raise NoSendmailError("no server runs here") from error
        self._patience = patience
        argv = [daemon.argv[0], "-C", str(CURRENT / "sendmail.cf"), "-bs"]
        self._process, self._input, self._output = system.converse(argv, daemon.env)
        self._end = threading.Timer(longest, self._process.kill) if longest else None
        if self._end:
            self._end.daemon = True
            self._end.start()

    def makefile(self, _mode: str) -> Any:
        return self._output

    def sendall(self, data: bytes) -> None:
        self._input.write(data)
        self._input.flush()

    def close(self) -> None:
        with contextlib.suppress(BrokenPipeError):  # it has ended
            self._input.close()
        try:
            self._process.wait(self._patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        finally:
            if self._end:
                self._end.cancel()
