"""A message of a route with limits, as the shaper sees it. Standard library only."""

from dataclasses import dataclass
from pathlib import Path

from postroad.sendmail import queue

RECIPIENTS_AT_ONCE = 100
"""Most recipients of one transaction: sendmail's default for a mailer (``r=``)."""


@dataclass
class ShapedMessage:
    """A message that waits.

    Attributes:
        path: its control file.
        domain: what its recipients have in common: messages of one domain share a connection. None: nothing.
        tries: how many transactions an attempt makes at most.
        arrived: when it was accepted, in seconds since the epoch.
        last_try: when it was tried last, or accepted.
        attempts: how often it was tried.
        due: when to try it.
        place: its number in the order of those that are due; 0: it is not among them.
    """

    path: Path
    domain: str | None
    tries: int
    arrived: float
    last_try: float
    attempts: int
    due: float
    place: int = 0

    @property
    def queue_id(self) -> str:
        """The id that sendmail gave it."""
        return self.path.name[2:]

    def counted(self, today: float) -> bool:
        """Whether it was tried since this midnight, in seconds since the epoch."""
        return self.attempts > 0 and self.last_try >= today

    def next_warning(self, limits: tuple[float, ...]) -> float:
        """When the next delay warning to the sender is due; infinity if none remains.

        Args:
            limits: seconds after which a sender is told that a message waits, and after which it comes back.
        """
        times = [self.arrived + limit for limit in limits]
        return min((then for then in times if then > self.last_try), default=float("inf"))


def read(path: Path, retry: float, one_way: bool, by_domain: bool) -> ShapedMessage | None:
    """A message from its control file; None if the file is gone.

    Args:
        path: the control file.
        retry: seconds between two tries.
        one_way: all goes to one server, whatever the domains.
        by_domain: recipients' domains are those that mail goes to.
    """
    message = queue.read(path)
    if message is None:
        return None
    domains = [recipient.rpartition("@")[2].lower() for recipient in message.recipients]
    servers = {""} if one_way else set(domains)
    tries = sum(-(-(len(domains) if one_way else domains.count(each)) // RECIPIENTS_AT_ONCE) for each in servers)
    try:
        written = path.stat().st_mtime  # finer than what stands in it
    except OSError:
        return None
    last_try = float(message.last_try or 0)
    return ShapedMessage(
        path=path,
        domain=next(iter(servers)) if len(servers) == 1 and (one_way or by_domain) else None,
        tries=max(1, tries),
        arrived=float(message.arrived or written),
        last_try=last_try,
        attempts=message.attempts,
        due=last_try + retry if message.attempts else written,
    )
