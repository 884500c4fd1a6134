"""``POST /v1/messages``: messages of fields or raw, handed to the relay's listener, once for each idempotency key."""

import hashlib
import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from email import policy
from email.errors import MessageError
from email.parser import BytesHeaderParser
from types import MappingProxyType
from typing import Annotated, Any, Literal

from anyio import CapacityLimiter
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    RootModel,
    Tag,
    WithJsonSchema,
)
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from postroad.errors import PostroadError
from postroad.runtime import log, refusals
from postroad.runtime.web import ApiKey, Settings
from postroad.store import database, requests, tags
from postroad.store.tags import Tagged
from postroad.web import compose, problems
from postroad.web.compose import Attachment, Content, Envelope, Headers, Line, Octets, Recipient, line
from postroad.web.operations import SMALL, Call, Operation
from postroad.web.problems import ProblemDetails
from postroad.web.submission import LOST, Outcome, Submission, UnavailableError

MOST_RECIPIENTS = 1000
AGAIN = 60
"""Seconds after which a message that was refused for now may be tried again."""


def _key(value: str) -> str:
    if not re.fullmatch(r"[!-~]{1,255}", value):
        raise ValueError("1 to 255 ASCII characters without spaces")
    return value


IdempotencyKey = Annotated[
    str, AfterValidator(_key), WithJsonSchema({"type": "string", "pattern": "^[!-~]{1,255}$"}, mode="validation")
]
Recipients = Annotated[list[Recipient], Field(max_length=MOST_RECIPIENTS)]
Tags = Annotated[list[Annotated[str, Field(min_length=1, max_length=300), AfterValidator(line)]], Field(max_length=30)]
TAGS = "Words of your choice, by which messages are found and counted; receivers do not see them."
ONCE = (
    "Any text of your choice: within 24 hours, a further request with the same one is answered like the first and"
    " sends nothing."
)


class MessageByFields(BaseModel):
    """A message by its fields; the API makes the MIME."""

    model_config = ConfigDict(extra="forbid", validate_by_alias=True, validate_by_name=False)

    from_: Recipient = Field(alias="from", description="Who it is from. The domain has to be one of the key's user.")
    to: Recipients = Field(default=[], description="Recipients in the field To:.")
    cc: Recipients = Field(default=[], description="Recipients in the field Cc:.")
    bcc: Recipients = Field(default=[], description="Recipients that no field names.")
    reply_to: Annotated[list[Recipient], Field(max_length=20)] = Field(default=[], description="The field Reply-To:.")
    subject: Annotated[Line, Field(max_length=900)] = Field("", description="The field Subject:.")
    text: Content | None = Field(None, description="The body as plain text.")
    html: Content | None = Field(None, description="The body as HTML.")
    attachments: Annotated[list[Attachment], Field(max_length=100)] = Field(default=[], description="Files.")
    headers: Headers = Field(default={}, description="Further header fields, each with its value.")
    return_path: Envelope | None = Field(
        None, description="The sender in the envelope, to which bounces go. Not given: the address in `from`."
    )
    tags: Tags = Field(default=[], description=TAGS)
    idempotency_key: IdempotencyKey | None = Field(None, description=ONCE)


class RawMessage(BaseModel):
    """A message as MIME, which leaves as it is."""

    model_config = ConfigDict(extra="forbid")

    raw: Octets = Field(description="The message with its header, in base64. Line ends are all CRLF or all LF.")
    return_path: Envelope = Field(description="The sender in the envelope, to which bounces go.")
    recipients: Annotated[list[Envelope], Field(min_length=1, max_length=MOST_RECIPIENTS)] = Field(
        description="The recipients in the envelope."
    )
    tags: Tags = Field(default=[], description=TAGS)
    idempotency_key: IdempotencyKey | None = Field(None, description=ONCE)


def _form(value: Any) -> str:
    return "raw" if isinstance(value, dict) and "raw" in value else "fields"


class Message(
    RootModel[
        Annotated[
            Annotated[MessageByFields, Tag("fields")] | Annotated[RawMessage, Tag("raw")],
            Discriminator(_form),
        ]
    ]
):
    """A message: by its fields, or raw."""


class RecipientResult(BaseModel):
    """What became of one recipient."""

    address: str = Field(description="The recipient.")
    status: Literal["accepted", "refused", "failed", "unknown"] = Field(
        description="`accepted`: the relay has the message on its disk. `refused`: for good. `failed`: for now, "
        "another try may succeed. `unknown`: the connection to the relay broke before it answered."
    )
    id: str | None = Field(None, description="The message's queue id at the relay.")
    code: int | None = Field(None, description="The SMTP reply's code.")
    reply: str = Field(description="The SMTP reply's text.")
    class_: str | None = Field(None, alias="class", description="Why, where the relay's own rules refused it.")
    problem: ProblemDetails | None = Field(
        None, description="Not accepted: the problem that a request for this recipient alone would have come to."
    )


class Accepted(BaseModel):
    """A message that the relay took for one recipient at least."""

    id: str = Field(description="Its queue id, for `GET /v1/messages/{id}`.")
    message_id: str | None = Field(None, description="Its Message-ID; none where a raw message has none.")
    recipients: list[RecipientResult] = Field(description="What became of each recipient, in the request's order.")


@dataclass(frozen=True)
class Letter:
    """A message with its envelope, ready to be handed over.

    Attributes:
        sender: the envelope's, to which bounces go.
        recipients: likewise, each once.
        message: with CRLF at each line's end.
        message_id: its Message-ID; empty where a raw message has none.
        tags: what it is to be found by.
    """

    sender: str
    recipients: list[str]
    message: bytes
    message_id: str
    tags: tuple[str, ...] = ()


class Sender:
    """Sends messages."""

    def __init__(self, settings: Settings, store: Callable[[], Engine], submission: Submission) -> None:
        """Send with these."""
        self._settings, self._store, self._submission = settings, store, submission
        self.largest = settings.message_size * 3 // 2 + SMALL  # base64 takes a third more
        """Octets of a request."""

    def send(self, call: Call) -> Accepted:
        """Send the message of a request.

        Raises:
            Problem: it was refused.
            PostroadError: the store, which a request with an idempotency key needs, can't be reached.
        """
        body: MessageByFields | RawMessage = call.body.root
        letter = self.raw(body) if isinstance(body, RawMessage) else self.composed(body)

        def hand_over() -> Accepted:
            self.keep_tags([letter])
            return answer(self.hand_over(call.key, letter), letter.message_id or None)

        if body.idempotency_key is None:
            return hand_over()
        return self._once(call, body.idempotency_key, letter.message_id, hand_over)

    def new_id(self) -> str:
        """A Message-ID."""
        return f"<{uuid.uuid4().hex}@{self._settings.hostname}>"

    def composed(self, body: MessageByFields, message_id: str | None = None) -> Letter:
        """The message of fields, with the envelope.

        Raises:
            Problem: it can't be made, or is too large.
        """
        recipients = _each_once(each.address for each in (*body.to, *body.cc, *body.bcc))
        message_id = message_id or self.new_id()
        sender = body.return_path or body.from_.address
        return self._sound(Letter(sender, recipients, _composed(body, message_id), message_id, tuple(body.tags)))

    def raw(self, body: RawMessage) -> Letter:
        """The message that is MIME already, with the envelope.

        Raises:
            Problem: it could not arrive as it is, or is too large.
        """
        message = _with_crlf(body.raw)
        message_id = _message_id(message)
        if body.tags and not message_id:  # the relay would give it one, which nobody knows before
            message_id = self.new_id()
            message = f"Message-ID: {message_id}\r\n".encode() + message
        recipients = _each_once(body.recipients)
        return self._sound(Letter(body.return_path, recipients, message, message_id, tuple(body.tags)))

    def keep_tags(self, messages: Iterable[Letter | Tagged]) -> None:
        """Keep the tags of messages that are about to be handed over; where that fails, they leave without."""
        tagged = [Tagged(each.message_id, each.sender, each.tags) for each in messages if each.tags]
        if not tagged:
            return
        try:
            tags.put(self._store(), tagged)
        except (PostroadError, SQLAlchemyError) as error:
            why = database.reason(error) if isinstance(error, SQLAlchemyError) else error
            log.tell("warning", f"web: the tags of {len(tagged)} messages could not be kept: {why}")

    def _sound(self, letter: Letter) -> Letter:
        if not 0 < len(letter.recipients) <= MOST_RECIPIENTS:
            raise problems.invalid(
                [problems.Fault(pointer="#/to", detail=f"1 to {MOST_RECIPIENTS} recipients, with cc and bcc")]
            )
        if len(letter.message) > self._settings.message_size:
            raise problems.too_large(self._settings.message_size)
        return letter

    def hand_over(self, key: ApiKey, letter: Letter) -> dict[str, Outcome]:
        """Hand a message to the relay; return what became of each recipient.

        Raises:
            Problem: the relay takes nothing.
        """
        try:
            return self._submission.hand_over(key, letter.sender, letter.recipients, letter.message)
        except UnavailableError as error:
            log.tell("warning", f"web: {error}")
            raise problems.unavailable("The relay takes no messages just now; its log says why.") from error

    def _once(self, call: Call, key: str, message_id: str, hand_over: Callable[[], Accepted]) -> Accepted:
        engine, name = self._store(), call.key.name
        digest = hashlib.sha256(call.raw).hexdigest()
        with database.told("written"):
            before = requests.begin(engine, name, key, digest, message_id)
        if before is not None:
            return _again(before, digest)
        try:
            found = hand_over()
        except problems.Problem as problem:
            if problem.kind != UNKNOWN:
                with database.told("written"):
                    requests.abandon(engine, name, key)
            raise
        try:
            requests.finish(engine, name, key, found.model_dump_json(by_alias=True))
        except SQLAlchemyError as error:  # the message is on its way all the same
            log.tell("warning", f"web: an answer could not be kept: {database.reason(error)}")
        return found


UNKNOWN = "unknown"


def _again(before: requests.Request, digest: str) -> Accepted:
    """The answer to a request that came before."""
    if before.digest != digest:
        raise problems.Problem(
            422,
            "idempotency-key",
            "Another request",
            "This idempotency_key was used within 24 hours for a request with another body: give each its own.",
        )
    if before.answer is None:
        about = f" Its Message-ID is {before.message_id}." if before.message_id else ""
        raise problems.Problem(
            409,
            "under-way",
            "Under way",
            "A request with this idempotency_key is under way, or broke off, so that nobody knows whether its message"
            f" was accepted.{about} Look for it before you send it with another key.",
            {"Retry-After": "5"},
        )
    return Accepted.model_validate_json(before.answer)


def _each_once(addresses: Iterable[str]) -> list[str]:
    return list({address.lower(): address for address in addresses}.values())


def _with_crlf(raw: bytes) -> bytes:
    """The message with CRLF at each line's end.

    Raises:
        Problem: its line ends are mixed, so it could not arrive as it is, or it holds a NUL.
    """
    if b"\r" not in raw:
        raw = raw.replace(b"\n", b"\r\n")
    pairs = raw.count(b"\r\n")
    if raw.count(b"\r") != pairs or raw.count(b"\n") != pairs or b"\0" in raw:
        detail = "a message whose line ends are all CRLF or all LF, without NUL"
        raise problems.invalid([problems.Fault(pointer="#/raw", detail=detail)])
    return raw


def _message_id(message: bytes) -> str:
    """The Message-ID of a raw message; empty where there is none."""
    found = BytesHeaderParser(policy=policy.compat32).parsebytes(message)["Message-ID"]
    return " ".join(str(found or "").split())[:600]


def _composed(body: MessageByFields, message_id: str) -> bytes:
    if body.text is None and body.html is None:
        raise problems.invalid([problems.Fault(pointer="#/text", detail="text, html or both")])
    fields = compose.Fields(
        from_=body.from_,
        to=body.to,
        cc=body.cc,
        reply_to=body.reply_to,
        subject=body.subject,
        text=body.text,
        html=body.html,
        attachments=body.attachments,
        headers=body.headers,
    )
    try:
        return compose.message(fields, message_id)
    except (ValueError, LookupError, MessageError) as error:
        detail = "other values: no message can be made of these"
        raise problems.invalid([problems.Fault(pointer="#", detail=detail)]) from error


def answer(outcomes: Mapping[str, Outcome], message_id: str | None) -> Accepted:
    """What a request is answered for what became of each recipient.

    Raises:
        Problem: the message was taken for none.
    """
    results = [_result(address, outcome) for address, outcome in outcomes.items()]
    queue_ids = [each.id for each in results if each.status == "accepted" and each.id]
    if any(each.status == "accepted" for each in results):
        return Accepted(id=queue_ids[0] if queue_ids else "", message_id=message_id, recipients=results)
    more: dict[str, Any] = {"recipients": [each.model_dump(by_alias=True, exclude_none=True) for each in results]}
    said = {each.reply for each in results}
    detail = said.pop() if len(said) == 1 else "No recipient was accepted: recipients tells why."
    states = {each.status for each in results}
    worst = next(status for status in ("unknown", "failed", "refused") if status in states)
    if worst == "unknown":
        detail = f"The relay did not answer: the message may have been accepted. Its Message-ID is {message_id}."
        more["message_id"] = message_id
    raise _problem(worst, detail, more)


def _problem(status: str, detail: str, more: Mapping[str, Any] = MappingProxyType({})) -> problems.Problem:
    """Why a message was not accepted for recipients of this status."""
    if status == "unknown":
        return problems.Problem(504, UNKNOWN, "Not known", detail, **more)
    if status == "failed":
        return problems.Problem(503, "failed", "Refused for now", detail, {"Retry-After": str(AGAIN)}, **more)
    return problems.Problem(422, "refused", "Refused by the relay", detail, **more)


def _result(address: str, outcome: Outcome) -> RecipientResult:
    status = "accepted" if outcome.accepted else "refused" if outcome.permanent else "failed"
    status = "unknown" if outcome is LOST else status
    return RecipientResult.model_validate(
        {
            "address": address,
            "status": status,
            "problem": None if status == "accepted" else _problem(status, outcome.reply).members(),
            "id": outcome.queue_id,
            "code": outcome.code or None,
            "reply": outcome.reply,
            "class": refusals.class_of(f"{outcome.code} {outcome.reply}"),
        }
    )


def operations(sender: Sender, limiter: CapacityLimiter) -> list[Operation]:
    """The operation that sends."""
    return [
        Operation(
            "POST",
            "/v1/messages",
            "sendMessage",
            "Send a message",
            "send",
            sender.send,
            Accepted,
            limiter,
            status=202,
            body=Message,
            largest=sender.largest,
            problems={
                409: "A request with the same idempotency_key is under way.",
                413: "The message is too large.",
                422: "A value is not what is accepted, or the relay refused the message for all recipients.",
                504: "The relay did not answer; the message may have been accepted.",
            },
        ),
    ]
