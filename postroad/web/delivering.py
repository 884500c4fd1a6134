"""The messages of a vendor's request, handed over: one, or a thousand, each in its turn."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from postroad.runtime.web import ApiKey
from postroad.store.tags import Tagged
from postroad.web import sending
from postroad.web.operations import SMALL
from postroad.web.problems import Problem
from postroad.web.sending import MessageByFields, RawMessage, Sender
from postroad.web.submission import LOST, Outcome
from postroad.web.vendor import Asked, said

AT_ONCE = 4
"""Sessions with the relay's listener for the messages of one request."""
MOST_NAMED = 20
"""Addresses that a refusal names."""
PARTLY = "partly"
Draft = Callable[[], MessageByFields | RawMessage]
"""Makes a message, the same one each time: a thousand of one request are never all in memory."""


def check_sender(key: ApiKey, body: MessageByFields | RawMessage) -> None:
    """See that a message is the key's to send, as vendors have a refusal for that alone. The relay sees to it, too.

    Raises:
        Problem: it is not.
    """
    address = body.return_path if isinstance(body, RawMessage) else body.from_.address
    if not key.covers(address.lower().rpartition("@")[2]):
        raise Problem(
            403, "sender", "Not a sender of this key", f"The key {key.name} does not send from {address}: see web.keys."
        )


@dataclass(frozen=True)
class Handed:
    """A message that was handed over, with what became of each recipient."""

    message_id: str
    outcomes: Mapping[str, Outcome]

    @property
    def accepted(self) -> bool:
        """Whether somebody gets it."""
        return any(each.accepted for each in self.outcomes.values())

    @property
    def id(self) -> str:
        """Its Message-ID without the brackets, or else its queue id."""
        queue_ids = [each.queue_id for each in self.outcomes.values() if each.queue_id]
        return self.message_id.strip("<>") or (queue_ids[0] if queue_ids else "")


def check(key: ApiKey, drafts: Iterable[Draft]) -> None:
    """See that each message can be made, and is the key's to send: none leaves where one is not.

    Raises:
        Problem: one can't.
    """
    for draft in drafts:
        check_sender(key, draft())


def deliver(sender: Sender, asked: Asked, drafts: Sequence[Draft]) -> list[Handed]:
    """Hand over the messages of one request, in their order; more than one only after ``check``.

    Those of a large request go one after the other: each is in memory several times while it is on its way.

    Raises:
        Problem: nobody gets any of them, or some recipients have to be tried again.
    """
    if len(drafts) == 1:
        found = [hand_over(sender, asked.key, drafts[0]())]
    else:
        ids = [sender.new_id() for _ in drafts]
        sender.keep_tags(_tagged(message_id, draft()) for message_id, draft in zip(ids, drafts, strict=True))
        with ThreadPoolExecutor(AT_ONCE if len(asked.body) <= SMALL else 1) as pool:
            found = list(pool.map(partial(_attempt, sender, asked.key), drafts, ids))
    judge(found)
    return found


def _tagged(message_id: str, body: MessageByFields | RawMessage) -> Tagged:
    sender = body.return_path if isinstance(body, RawMessage) else body.return_path or body.from_.address
    return Tagged(message_id, sender, body.tags)


def judge(handed: Sequence[Handed]) -> None:
    """See that nothing is left that the client has to try again.

    Recipients that were refused for good, beside others that were accepted, are no failure to the vendors, which accept
    first and bounce later: events tell of them.

    Raises:
        Problem: nobody gets any of the messages, or some recipients have to be tried again.
    """
    told = [(address, outcome) for each in handed for address, outcome in each.outcomes.items()]
    if not any(outcome.accepted for _, outcome in told):
        sending.answer(dict(told), handed[0].message_id or None)
    left = [address for address, outcome in told if outcome is LOST or not (outcome.accepted or outcome.permanent)]
    if left:
        taken = sum(outcome.accepted for _, outcome in told)
        names = ", ".join(left[:MOST_NAMED]) + (f" and {len(left) - MOST_NAMED} more" if len(left) > MOST_NAMED else "")
        raise Problem(
            422,
            PARTLY,
            "Taken in part",
            f"Accepted for {taken} of {len(told)} recipients. Send it again to these alone: {names}.",
        )


def hand_over(sender: Sender, key: ApiKey, body: MessageByFields | RawMessage) -> Handed:
    """Hand over one message.

    Raises:
        Problem: it can't be made, is not the key's to send, or the relay takes nothing.
    """
    check_sender(key, body)
    letter = sender.raw(body) if isinstance(body, RawMessage) else sender.composed(body)
    sender.keep_tags([letter])
    return Handed(letter.message_id, sender.hand_over(key, letter))


def _attempt(sender: Sender, key: ApiKey, draft: Draft, message_id: str) -> Handed:
    """One of several messages: what is wrong with it is its recipients' outcome."""
    body = draft()
    if isinstance(body, RawMessage):
        raise TypeError("of several messages each is made of fields")
    recipients = [each.address for each in (*body.to, *body.cc, *body.bcc)]
    try:
        letter = sender.composed(body, message_id)
    except Problem as problem:
        return Handed("", dict.fromkeys(recipients, Outcome(554, said(problem))))
    try:
        return Handed(message_id, sender.hand_over(key, letter))
    except Problem as problem:
        return Handed("", dict.fromkeys(recipients, Outcome(421, problem.detail)))
