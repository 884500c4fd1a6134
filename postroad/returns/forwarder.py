"""The thread that hands on what people wrote, by a sendmail session of its own for each.

What waits for it has a spool of its own, so that a sendmail that is slow or refuses holds up no bounce.
"""

import smtplib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from postroad.errors import PostroadError, plainly
from postroad.returns import forwarding
from postroad.returns.found import UnreadableError
from postroad.returns.gate import Gate
from postroad.returns.spool import Spool, Waiting
from postroad.runtime.log import Tell
from postroad.runtime.returning import Settings
from postroad.sendmail.session import LocalSession

RETRY = 60.0
"""Seconds after which a sendmail that does not take a message for now is asked again."""
GIVE_UP = 24 * 3600.0
"""Seconds for which it is asked."""
LONGEST_SESSION = 120.0


@dataclass(frozen=True)
class Answer:
    """What sendmail answered: SMTP's code, and a text; code 0: it could not be asked."""

    code: int
    text: str


HandOver = Callable[[str, str, bytes], Answer]
"""Takes our host name, a recipient and a message."""


def hand_over(hostname: str, to: str, letter: bytes) -> Answer:
    """Give sendmail a message with an empty envelope sender: its rules, limits and suppressions hold."""
    options = [] if letter.isascii() else ["BODY=8BITMIME"]
    try:
        with LocalSession(hostname, longest=LONGEST_SESSION) as smtp:
            smtp.sendmail("", [to], letter, options)
    except smtplib.SMTPRecipientsRefused as error:
        return _answer(*error.recipients[to])
    except smtplib.SMTPResponseException as error:
        return _answer(error.smtp_code, error.smtp_error)
    except (OSError, smtplib.SMTPException, PostroadError) as error:
        return Answer(0, f"sendmail can't be asked: {plainly(error)}")
    return Answer(250, "")


def _answer(code: int, text: bytes | str) -> Answer:
    said = text.decode(errors="replace") if isinstance(text, bytes) else text
    return Answer(code, f"{code} {' '.join(said.split())}")


class Forwarder(threading.Thread):
    """Hands on message after message."""

    def __init__(
        self,
        spool: Spool,
        gate: Gate,
        settings: Callable[[], Settings],
        log: Tell,
        hand_over: HandOver = hand_over,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Prepare; ``start`` begins.

        Args:
            spool: what waits to be handed on.
            gate: how many may be, and what their addresses mean.
            settings: gives those in force.
            log: takes a level and a line.
            hand_over: gives sendmail a message.
            clock: seconds since the epoch.
        """
        super().__init__(name="forwarder", daemon=True)
        self._spool, self._gate, self._settings, self._log = spool, gate, settings, log
        self._hand_over, self._clock = hand_over, clock
        self._arrived = threading.Event()
        self._arrived.set()  # an earlier process may have left some
        self._said = ""

    def takes(self, waiting: Waiting) -> bool:
        """Keep what a person may have written, to hand it on; False where it is not handed on.

        Raises:
            InstallError: it can't be written.
        """
        to = self._settings().forwarding
        if to is None:
            return False
        why = forwarding.unfit(waiting, to.to)
        if not why and not self._gate.forwards(waiting.peer):
            why = "too many in this hour"
        sent = (waiting.sender, list(waiting.recipients), waiting.peer, waiting.content)
        if not why and not self._spool.put(*sent, self._clock()):
            why = "too much waits"
        if why:
            self._log("notice", f"what was written here is set aside, and not forwarded: {why}")
            return False
        self._arrived.set()
        return True

    def run(self) -> None:
        """Hand on for as long as the process lives."""
        while True:
            self._arrived.wait()
            self._arrived.clear()
            try:
                while (done := self.forward_one()) is not None:
                    if not done:
                        time.sleep(RETRY)
            except (OSError, PostroadError) as error:
                self._say(f"what is to be forwarded can't be read from the state volume: {plainly(error)}")
                time.sleep(RETRY)
                self._arrived.set()

    def forward_one(self) -> bool | None:
        """Hand on the oldest message; False where it has to wait, None where there is none.

        Raises:
            OSError, InstallError: the spool can't be read or written.
        """
        waiting = self._spool.oldest()
        if waiting is None:
            return None
        settings = self._settings()
        to = settings.forwarding
        since = waiting.path.stat().st_mtime
        if to is None:
            self._give_up(waiting, "returns.forward_to was taken away")
            return True
        try:
            about = next((each for name in waiting.recipients if (each := self._gate.queue_id(name))), None)
            letter = forwarding.letter(waiting, about, settings, datetime.fromtimestamp(self._clock(), UTC))
        except Exception as error:  # noqa: BLE001 - from the net: nothing in it may end the thread
            self._give_up(waiting, str(error) if isinstance(error, UnreadableError) else repr(error))
            return True
        waiting = replace(waiting, path=self._spool.readable(waiting.path))
        answer = self._hand_over(settings.hostname, to.to, letter)
        if answer.code == 250:
            self._said = ""
            self._spool.done(waiting.path)
        elif answer.code >= 500 or self._clock() - since > GIVE_UP:
            self._give_up(waiting, answer.text)
        else:
            self._say(f"what was written here waits to be forwarded: {answer.text}")
            return False
        return True

    def _give_up(self, waiting: Waiting, why: str) -> None:
        self._spool.done(waiting.path, keep=True)
        self._log("warning", f"what was written here is set aside, and not forwarded: {why}")

    def _say(self, line: str) -> None:
        """Say a thing once, while it lasts."""
        if line != self._said:
            self._said = line
            self._log("warning", line)
