"""A route with limits, and the messages of its next queue run. Standard library only."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from postroad.shaper.messages import ShapedMessage
from postroad.shaper.pace import DAY, Pace
from postroad.shaper.waiting import RouteQueue

MOST_IN_A_RUN = 12
"""Messages of one run: so many share a connection, and a process."""
AHEAD = 200
"""Messages that are looked at for some that can share a connection with the first."""


@dataclass
class LimitedRoute:
    """A route with limits.

    Attributes:
        group: the name of its queue group.
        pace: its counts.
        waiting: its messages.
    """

    group: str
    pace: Pace
    waiting: RouteQueue

    def take(self, running: int, is_free: Callable[[ShapedMessage], bool]) -> list[ShapedMessage]:
        """Remove and return the messages of the next run; empty if the limits leave no room.

        Args:
            running: how many of its messages are being tried.
            is_free: whether a run would take a message; the rest wait on.
        """
        chosen: list[ShapedMessage] = []
        back: list[ShapedMessage] = []
        left = len(self.waiting.entries) - running
        # as many at once as there may be, rather than one after the other
        most = min(MOST_IN_A_RUN, -(-left // max(1, self.pace.connections)))
        tries = 0
        for message in self.waiting.due(time.time(), self.pace.open_today):
            if len(chosen) + len(back) > AHEAD:
                back.append(message)
                break
            if chosen and not _share(chosen[0], message):
                back.append(message)
                continue
            if not self.pace.allows(message.tries, message.counted(midnight()), tries):
                back.append(message)
                break
            if not is_free(message):
                back.append(message)
                continue
            chosen.append(message)
            tries += message.tries
            if message.domain is None or len(chosen) >= most:
                break
        for message in back:
            if message.queue_id in self.waiting.entries:
                self.waiting.put(message)
        return chosen

    def late(self, running: dict[str, str]) -> Iterator[list[ShapedMessage]]:
        """Messages whose senders are due a delay warning, by folder, at most one run's worth in each."""
        late = [each for each in self.waiting.to_tell(time.time()) if each.queue_id not in running]
        for folder in {message.path.parent for message in late}:
            here = [message for message in late if message.path.parent == folder]
            for message in here[MOST_IN_A_RUN:]:
                self.waiting.put(message)
            yield here[:MOST_IN_A_RUN]


def _share(first: ShapedMessage, other: ShapedMessage) -> bool:
    """Whether two messages can go over one connection, in one run."""
    return other.domain is not None and other.domain == first.domain and other.path.parent == first.path.parent


def midnight() -> float:
    """When today began (UTC), in seconds since the epoch."""
    return time.time() // DAY * DAY
