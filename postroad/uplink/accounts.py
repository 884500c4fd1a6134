"""What is known of the account at a server: refused for now, or out of quota. Pure: whoever calls has the clock."""

from dataclasses import dataclass

FIRST_PAUSE, LONGEST_PAUSE = 5.0, 60.0
"""Seconds without another guess after the credentials were refused; twice as many each time. A queue of messages would
else be as many wrong guesses, for which providers lock accounts."""
QUOTA_PAUSE = 900.0
"""Seconds for which an account without quota is left alone."""


TRY_WITHIN = 60.0
"""Seconds for which one session tries, while the others wait for what that brings."""


@dataclass
class Account:
    """One server's.

    Attributes:
        refusal: why it is left alone, in the words of a reply; empty: it is not.
        until: when it is tried again, on the caller's clock.
    """

    refusal: str = ""
    until: float = 0.0
    _pause: float = FIRST_PAUSE
    _tried: float = -TRY_WITHIN

    def rests(self, now: float) -> str:
        """Why the account can't be used now; empty: it may be tried, by one when its time is up."""
        if not self.refusal:
            return ""
        if now < self.until or now < self._tried + TRY_WITHIN:
            return self.refusal
        self._tried = now
        return ""

    def left_alone(self, now: float) -> str:
        """Why nobody may log in now, not even who may try; empty: somebody may."""
        return self.refusal if now < self.until else ""

    def refused(self, now: float, refusal: str) -> bool:
        """The credentials are refused; whether that, or why, is news."""
        if not self.refusal or now >= self.until:
            self.until = now + self._pause
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
        return self._rest(refusal)

    def has_no_quota(self, now: float, refusal: str) -> bool:
        """The quota is used up; whether that, or why, is news."""
        self.until = now + QUOTA_PAUSE
        return self._rest(refusal)

    def put_off(self) -> None:
        """A try came to nothing for another reason: the next one may try at once."""
        self._tried = -TRY_WITHIN

    def works(self, now: float) -> bool:
        """A session was opened; whether it was left alone before. One that was begun earlier proves nothing."""
        if not self.refusal or now < self.until:
            return False
        self.refusal, self.until, self._pause, self._tried = "", 0.0, FIRST_PAUSE, -TRY_WITHIN
        return True

    def _rest(self, refusal: str) -> bool:
        news, self.refusal, self._tried = refusal != self.refusal, refusal, -TRY_WITHIN
        return news
