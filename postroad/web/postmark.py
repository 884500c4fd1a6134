"""Postmark: ``POST /email`` and ``POST /email/batch``."""

import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, ClassVar

from anyio import CapacityLimiter
from pydantic import Field, TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from postroad.runtime import refusals
from postroad.runtime.web import ApiKey
from postroad.web import delivering, problems, vendor
from postroad.web.compose import Octets
from postroad.web.delivering import Handed
from postroad.web.keys import Keys
from postroad.web.mailboxes import mailbox, mailboxes
from postroad.web.problems import Problem
from postroad.web.sending import MessageByFields, Sender
from postroad.web.vendor import Asked, Claim, Endpoint, Form, refusal

TOKEN = "x-postmark-server-token"
MOST = 500
"""Messages of a batch."""
STREAM = "outbound"
CODES: Mapping[str, tuple[int, int]] = {
    "unauthorized": (401, 10), "forbidden": (401, 10), "sender": (422, 400), "not-json": (422, 402),
    "too-large": (413, 300), "too-slow": (408, 300), "templates": (422, 1101), "batch": (422, 410),
    "failed": (503, 100), "unavailable": (503, 100), "unknown": (504, 100),
}  # fmt: skip
"""HTTP status and error code by the kind of problem; all others are 422 and 300, an invalid request."""
INACTIVE = 406
INACTIVE_CLASS = refusals.CLASSES[refusals.SUPPRESSED]
NAMES = {
    "from": "From", "to": "To", "cc": "Cc", "bcc": "Bcc", "reply_to": "ReplyTo", "subject": "Subject",
    "text": "TextBody", "html": "HtmlBody", "attachments": "Attachments", "headers": "Headers", "tags": "Tag",
}  # fmt: skip


class _Header(Form):
    name: str = Field(alias="Name")
    value: str = Field(alias="Value")


class _Attachment(Form):
    name: str = Field(alias="Name")
    content: Octets = Field(alias="Content")
    type: str | None = Field(None, alias="ContentType")
    content_id: str | None = Field(None, alias="ContentID")


class Email(Form):
    """The body of ``POST /email``."""

    ABSENT: ClassVar[Mapping[str, str]] = {
        "TrackOpens": "opens are not tracked: leave it out, or set it to false",
        "TemplateId": "templates are not kept here",
        "TemplateAlias": "templates are not kept here",
        "TemplateModel": "templates are not kept here",
    }

    from_: str = Field(alias="From")
    to: str | None = Field(None, alias="To")
    cc: str | None = Field(None, alias="Cc")
    bcc: str | None = Field(None, alias="Bcc")
    reply_to: str | None = Field(None, alias="ReplyTo")
    subject: str | None = Field(None, alias="Subject")
    text: str | None = Field(None, alias="TextBody")
    html: str | None = Field(None, alias="HtmlBody")
    tag: str | None = Field(None, alias="Tag")
    metadata: dict[str, str] | None = Field(None, alias="Metadata")
    headers: list[_Header] | None = Field(None, alias="Headers")
    attachments: Annotated[list[_Attachment], Field(max_length=100)] | None = Field(None, alias="Attachments")
    links: str | None = Field(None, alias="TrackLinks")
    stream: str | None = Field(None, alias="MessageStream")


class Postmark:
    """Speaks as Postmark does."""

    def __init__(self, known: Keys) -> None:
        """For these keys."""
        self._known = known

    def claim(self, request: Request) -> Claim:
        """Whose token the request has."""
        given = request.headers.getlist(TOKEN)
        key = self._known.known(given[0]) if len(given) == 1 else None
        if key is None:
            raise Problem(
                401, "unauthorized", "No valid key", "Bad or missing Server API token: send a key of web.keys."
            )
        return Claim(key)

    def refuse(self, problem: Problem) -> Response:
        """``ErrorCode`` and ``Message``."""
        headers = {name: value for name, value in problem.headers.items() if name == "Retry-After"}
        return JSONResponse(_error(problem), CODES.get(problem.kind, (422, 300))[0], headers)


def _error(problem: Problem) -> dict[str, Any]:
    told = problem.more.get("recipients") or []
    inactive = [each["address"] for each in told if each.get("class") == INACTIVE_CLASS]
    if inactive and len(inactive) == len(told):
        text = "You tried to send to recipient(s) that have been marked as inactive. Found inactive addresses:"
        why = "Inactive recipients are on the relay's suppression list."
        return {"ErrorCode": INACTIVE, "Message": f"{text} {', '.join(inactive)}. {why}"}
    return {"ErrorCode": CODES.get(problem.kind, (422, 300))[1], "Message": vendor.said(problem)}


def _send(sender: Sender, asked: Asked) -> Response:
    return JSONResponse(_sent(sender, asked.key, vendor.parsed(Email, asked.body)))


def _batch(sender: Sender, asked: Asked) -> Response:
    try:
        given = TypeAdapter(list[Any]).validate_json(asked.body)
    except ValidationError as error:
        raise problems.of_validation(error) from None
    if len(given) > MOST:
        raise Problem(422, "batch", "Too many messages", f"At most {MOST} messages are accepted in a batch.")
    with ThreadPoolExecutor(delivering.AT_ONCE) as pool:
        return JSONResponse(list(pool.map(partial(_of_batch, sender, asked.key), given)))


def _of_batch(sender: Sender, key: ApiKey, given: Any) -> dict[str, Any]:
    """What became of one message of a batch."""
    try:
        try:
            email = Email.model_validate(given)
        except ValidationError as error:
            raise problems.of_validation(error) from None
        return _sent(sender, key, email)
    except Problem as problem:
        return _error(problem)


def _sent(sender: Sender, key: ApiKey, email: Email) -> dict[str, Any]:
    handed = delivering.hand_over(sender, key, _message(email))
    delivering.judge([handed])
    named = {name: text for name, text in (("To", email.to), ("Cc", email.cc), ("Bcc", email.bcc)) if text}
    return named | {
        "SubmittedAt": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "MessageID": str(uuid.UUID(handed.id.partition("@")[0])),
        "ErrorCode": 0,
        "Message": _remark(handed),
    }


def _remark(handed: Handed) -> str:
    refused = ", ".join(address for address, outcome in handed.outcomes.items() if not outcome.accepted)
    return f"Message OK, but will not deliver to these inactive addresses: {refused}." if refused else "OK"


def _message(email: Email) -> MessageByFields:
    if (email.links or "None").lower() != "none":
        raise refusal("TrackLinks", "None, as clicks are not tracked")
    if (email.stream or STREAM).lower() != STREAM:
        raise refusal("MessageStream", f"{STREAM}, as there are no others")
    pairs = email.headers or []
    headers = {pair.name: pair.value for pair in pairs}
    if len(headers) != len(pairs):
        raise refusal("Headers", "each field once")
    lists = {"to": email.to, "cc": email.cc, "bcc": email.bcc, "reply_to": email.reply_to}
    tags = [*([email.tag] if email.tag else []), *(f"{name}={value}" for name, value in (email.metadata or {}).items())]
    return vendor.made(
        MessageByFields,
        {
            "from": mailbox(email.from_, "From"),
            **{name: mailboxes(text or "", NAMES[name]) for name, text in lists.items()},
            "subject": email.subject or "",
            "text": email.text,
            "html": email.html,
            "headers": headers,
            "attachments": [_attachment(each) for each in email.attachments or []],
            "tags": tags,
        },
        NAMES,
    )


def _attachment(each: _Attachment) -> dict[str, Any]:
    content_id = (each.content_id or "").removeprefix("cid:") or None
    return {
        "filename": each.name, "content": each.content, "type": vendor.media_type(each.type), "content_id": content_id,
    }  # fmt: skip


def _templates(_: Asked) -> Response:
    raise Problem(422, "templates", "No templates", "Templates are not kept here: send the bodies by POST /email.")


def _nothing(_: Asked) -> Response:
    raise problems.not_found("This endpoint is not there: docs/vendors.md says which are.")


def endpoints(sender: Sender, limiter: CapacityLimiter) -> list[Endpoint]:
    """The operations that send."""
    templates = [
        Endpoint("POST", f"/email/{name}", "send", _templates, limiter, sender.largest)
        for name in ("withTemplate", "withTemplate/", "batchWithTemplates", "batchWithTemplates/")
    ]
    return [
        Endpoint("POST", "/email", "send", partial(_send, sender), limiter, sender.largest),
        Endpoint("POST", "/email/batch", "send", partial(_batch, sender), limiter, sender.largest),
        *templates,
        Endpoint("POST", "/email/{rest:path}", "", _nothing, limiter, 0),
    ]
