"""All receivers: which domain belongs to whom, what was heard of each, and what may go to it. Pure.

The rules that classify bounces (``events/classify.py``) say what a reply means.
"""

import re
from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import lru_cache

from postroad.events.classify import Classification, classify
from postroad.front import profiles
from postroad.front.slowing import BLOCKS, Change, Receiver, Refusal, Signal, Standing
from postroad.runtime.outcomes import Failure, Taken
from postroad.runtime.slowed import SlowedReceiver

REMEMBERED = 1000
"""Receivers; those that are slowed are never forgotten."""
DOMAINS = 20_000
"""Domains of which it is known who receives their mail."""
OF_A_MAILBOX = frozenset({"gmail-recipient-rate", "qq-recipient-rate"})
"""Rules of replies that speak of one mailbox and not of us."""
RATE_LIMITED = frozenset({"not-authenticated-yet", "not-encrypted"})
"""Rules of replies that let less pass of what is not authenticated or encrypted (Gmail's 421 4.7.26 and kin)."""

_LATER = re.compile(r"\A4.*\b(?:later|again|busy|overload|load)", re.DOTALL | re.IGNORECASE)
_of_host = lru_cache(4096)(profiles.of_host)


def signal_of(found: Classification, reply: str) -> Signal | None:
    """What a reply says of how much is sent; None: nothing."""
    if found.rule in OF_A_MAILBOX:
        return None
    if found.reason in BLOCKS:
        return Signal.BLOCK
    if found.reason == "speeding" or (found.rule in RATE_LIMITED and reply.startswith("4")):
        return Signal.GREYLISTED if found.rule == "greylisting" else Signal.RATE
    if found.reason == "toomanyconn":
        return None if "recipient" in reply.lower() else Signal.CONNECTIONS
    if found.reason == "systemerror" and (reply.startswith("421") or _LATER.match(reply)):
        return Signal.LATER
    return None


class Receivers:
    """The receivers."""

    def __init__(self, tell: Callable[[Change], None], in_flight: Callable[[Callable[[str], bool]], int]) -> None:
        """Begin without any.

        Args:
            tell: told of each change of a receiver's standing.
            in_flight: how many deliveries are under way, runs aside, for the domains that a function says yes to.
        """
        self.held: set[str] = set()
        """The names of those that are slowed or paused."""
        self.enabled = True
        self._tell, self._in_flight = tell, in_flight
        self._receivers: OrderedDict[str, Receiver] = OrderedDict()
        self._domains: OrderedDict[str, str] = OrderedDict()

    # --- who

    def name(self, domain: str) -> str:
        """The receiver of a domain's mail; empty: not known."""
        known = self._domains.get(domain)
        if known is None and (profile := profiles.of_domain(domain)) is not None:
            return profile.name
        return known or ""

    def _of(self, host: str, domain: str) -> Receiver:
        profile = _of_host(host)
        if domain:
            self._domains[domain] = profile.name
            self._domains.move_to_end(domain)
            if len(self._domains) > DOMAINS:
                self._domains.popitem(last=False)
        receiver = self._receivers.get(profile.name)
        if receiver is None:
            self._make_room()
            receiver = self._receivers[profile.name] = Receiver(profile)
        self._receivers.move_to_end(profile.name)
        return receiver

    def _make_room(self) -> None:
        if len(self._receivers) >= REMEMBERED:
            free = (name for name, each in self._receivers.items() if name not in self.held and not each.running)
            if (oldest := next(free, None)) is not None:
                del self._receivers[oldest]

    def _held_one(self, domain: str) -> Receiver | None:
        name = self.name(domain) if self.held else ""
        return self._receivers.get(name) if name in self.held else None

    def is_held(self, domain: str) -> bool:
        """Whether the receiver of this domain's mail is slowed or paused."""
        return self._held_one(domain) is not None

    def comes_again_soon(self, domain: str, since: float) -> bool:
        """Whether what this domain's receiver has put off since then may wait for its turn again.

        Only what it put off to get less: what it refuses for another reason is tried again when any message would be.
        """
        receiver = self._held_one(domain)
        return receiver is not None and not receiver.returns_late and receiver.last_refusal > since

    # --- what was heard

    def took(self, taken: Taken, now: float) -> None:
        """A server has taken messages."""
        receiver = self._of(taken.host, taken.domain)
        self._changed(receiver, receiver.took(taken.number, now, taken.seconds))

    def failed(self, failure: Failure, now: float) -> None:
        """A server has refused a message."""
        receiver = self._of(failure.host, failure.domain)
        found = classify(failure.kind, failure.dsn, failure.reply, failure.status, failure.host)
        signal = signal_of(found, failure.reply) if self.enabled else None
        if signal is None:
            self._changed(receiver, receiver.answered(now, failure.seconds))
            return
        name, final = receiver.profile.name, failure.kind == "bounced"
        others = (
            final
            and signal is Signal.BLOCK
            and any(known == name and domain != failure.domain for domain, known in self._domains.items())
        )
        refusal = Refusal(
            signal,
            found.reason,
            failure.reply,
            connections=receiver.running + self._in_flight(lambda domain: self.name(domain) == name) + 1,
            final=final,
            alone=not others,
            age=failure.seconds,
        )
        self._changed(receiver, receiver.refused(refusal, now))

    def _changed(self, receiver: Receiver, changes: list[Change]) -> None:
        name = receiver.profile.name
        if receiver.standing is Standing.FREE:
            self.held.discard(name)
        else:
            self.held.add(name)
        for change in changes:
            self._tell(change)

    def tick(self, now: float) -> None:
        """Give more to those that have said nothing for a while; called every second."""
        for name in tuple(self.held):
            receiver = self._receivers[name]
            self._changed(receiver, receiver.tick(now))

    def free_all(self) -> None:
        """Treat all receivers as any other."""
        for name in self.held:
            del self._receivers[name]
        self.held.clear()

    # --- what may go

    def room(self, domain: str, most: int, now: float) -> int:
        """How many of so many messages for a domain a run may have now."""
        receiver = self._held_one(domain)
        return most if receiver is None else receiver.room(most, now)

    def began(self, domain: str, number: int, now: float) -> str:
        """A run of so many messages has begun for this domain; the name of its receiver, empty if it is not known."""
        name = self.name(domain)
        receiver = self._receivers.get(name)
        if receiver is None:
            return ""
        receiver.began(number, now)
        return name

    def ended(self, receiver: str) -> None:
        """A run for this receiver has ended."""
        if found := self._receivers.get(receiver):
            found.ended()

    # --- over a restart

    def those_held(self) -> Iterator[tuple[Receiver, list[str]]]:
        """The receivers that are slowed or paused, with the domains known to be theirs."""
        for name in sorted(self.held):
            receiver = self._receivers[name]
            domains = {domain for domain, known in self._domains.items() if known == name} | {*receiver.profile.domains}
            yield receiver, sorted(domains)

    def restore(self, kept: SlowedReceiver, now: float, offset: float) -> None:
        """Take a receiver over from before a restart; ``offset`` as in ``Receiver.restore``."""
        receiver = self._of(kept.host, "")
        for domain in kept.domains:
            self._of(kept.host, domain)
        receiver.restore(kept, now, offset)
        self._changed(receiver, [])
