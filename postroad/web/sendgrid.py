"""SendGrid, version 3: ``POST /v3/mail/send``."""

import re
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, ClassVar

from anyio import CapacityLimiter
from pydantic import Field, field_validator
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from postroad.web import delivering, vendor
from postroad.web.compose import Octets
from postroad.web.keys import Keys
from postroad.web.problems import Problem
from postroad.web.sending import MOST_RECIPIENTS, MessageByFields, Sender
from postroad.web.vendor import Asked, Claim, Endpoint, Form, refusal

PATH = "/v3/mail/send"
STATUS: Mapping[str, int] = {
    "unauthorized": 401, "forbidden": 403, "sender": 403, "not-found": 404, "too-slow": 408, "too-large": 413,
    "failed": 503, "unavailable": 503, "unknown": 504,
}  # fmt: skip
"""HTTP status by the kind of problem; all others are 400."""
NAMES = {"to": "personalizations.to", "cc": "personalizations.cc", "bcc": "personalizations.bcc", "tags": "categories",
         "text": "content", "html": "content"}  # fmt: skip
NO_TEMPLATES = "templates are not kept here: send subject and content"
AT_ONCE = "a message leaves at once"


class _Person(Form):
    email: str
    name: str | None = None

    def mailbox(self) -> dict[str, str]:
        """As our own model has it."""
        return {"address": self.email, "name": self.name or ""}


People = Annotated[list[_Person], Field(max_length=MOST_RECIPIENTS)]
Words = dict[str, str]


class _Personalization(Form):
    ABSENT: ClassVar[Mapping[str, str]] = {"dynamic_template_data": NO_TEMPLATES, "send_at": AT_ONCE}

    to: Annotated[People, Field(min_length=1)]
    cc: People = Field(default=[])
    bcc: People = Field(default=[])
    from_: _Person | None = Field(None, alias="from")
    subject: str | None = None
    headers: Words = Field(default={})
    substitutions: Words = Field(default={})
    custom_args: Words = Field(default={})


class _Content(Form):
    type: str
    value: str


class _Attachment(Form):
    content: Octets
    filename: str
    type: str | None = None
    disposition: str | None = None  # with a content_id and HTML it is inline
    content_id: str | None = None


class MailSend(Form):
    """The body of ``POST /v3/mail/send``."""

    ABSENT: ClassVar[Mapping[str, str]] = {
        "template_id": NO_TEMPLATES,
        "sections": NO_TEMPLATES,
        "send_at": AT_ONCE,
        "batch_id": AT_ONCE,
        "asm": "there are no unsubscribe groups: send a List-Unsubscribe field",
        "ip_pool_name": "there are no pools: see delivery.routes",
    }

    personalizations: Annotated[list[_Personalization], Field(min_length=1, max_length=MOST_RECIPIENTS)]
    from_: _Person = Field(alias="from")
    reply_to: _Person | None = None
    reply_to_list: list[_Person] = Field(default=[], max_length=20)
    subject: str | None = None
    content: Annotated[list[_Content], Field(min_length=1, max_length=2)]
    attachments: list[_Attachment] = Field(default=[], max_length=100)
    headers: Words = Field(default={})
    categories: list[str] | str = Field(default=[])
    custom_args: Words = Field(default={})
    mail_settings: dict[str, dict[str, Any]] = Field(default={})
    tracking_settings: dict[str, dict[str, Any]] = Field(default={})

    @field_validator("tracking_settings")
    @classmethod
    def _none(cls, value: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        if any(each.get("enable") or each.get("enable_text") for each in value.values()):
            raise ValueError("opens and clicks are not tracked: leave it out, or set enable to false")
        return value

    @field_validator("mail_settings")
    @classmethod
    def _sandbox_alone(cls, value: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        if found := [name for name, each in value.items() if name != "sandbox_mode" and each.get("enable")]:
            raise ValueError(f"{found[0]} is not there: leave it out, or set enable to false")
        return value

    @property
    def sandbox(self) -> bool:
        """Whether the request is only to be looked at."""
        return bool(self.mail_settings.get("sandbox_mode", {}).get("enable"))


class SendGrid:
    """Speaks as SendGrid does."""

    def __init__(self, known: Keys) -> None:
        """For these keys."""
        self._known = known

    def claim(self, request: Request) -> Claim:
        """Whose key the request has."""
        return Claim(self._known.of(request))

    def refuse(self, problem: Problem) -> Response:
        """``errors``, each with a message and a field."""
        status = STATUS.get(problem.kind, 400)
        faults = problem.more.get("faults") or [{"detail": problem.detail, "pointer": ""}]
        if problem.kind == "unauthorized":
            faults = [{"detail": "The provided authorization grant is invalid, expired, or revoked", "pointer": ""}]
        if problem.kind == "sender":
            faults[0]["pointer"] = "from"
        errors = [
            {"message": each["detail"], "field": _field(each["pointer"]) or None, "help": None} for each in faults
        ]
        headers = {name: value for name, value in problem.headers.items() if name == "Retry-After"}
        return JSONResponse({"errors": errors}, status, headers)


def _field(pointer: str) -> str:
    return pointer.removeprefix("#/").replace("/", ".")


def _send(sender: Sender, asked: Asked) -> Response:
    given = vendor.parsed(MailSend, asked.body)
    if sum(len(each.to) + len(each.cc) + len(each.bcc) for each in given.personalizations) > MOST_RECIPIENTS:
        raise refusal("personalizations", f"at most {MOST_RECIPIENTS} recipients in all")
    drafts = [partial(_message, given, each) for each in given.personalizations]
    delivering.check(asked.key, drafts)
    if given.sandbox:
        return Response(status_code=200)
    handed = delivering.deliver(sender, asked, drafts)
    return Response(status_code=202, headers={"X-Message-Id": next(each.id for each in handed if each.accepted)})


def _message(given: MailSend, each: _Personalization) -> MessageByFields:
    replies = ([given.reply_to] if given.reply_to else []) + given.reply_to_list
    categories = [given.categories] if isinstance(given.categories, str) else given.categories
    fields: dict[str, Any] = {
        "from": (each.from_ or given.from_).mailbox(),
        "to": [person.mailbox() for person in each.to],
        "cc": [person.mailbox() for person in each.cc],
        "bcc": [person.mailbox() for person in each.bcc],
        "reply_to": [person.mailbox() for person in replies],
        "subject": _filled(each.subject or given.subject or "", each.substitutions),
        "headers": given.headers | each.headers,
        "attachments": [
            {"filename": file.filename, "content": file.content, "type": vendor.media_type(file.type),
             "content_id": file.content_id or None}
            for file in given.attachments
        ],
        "tags": [*categories, *(f"{name}={value}" for name, value in (given.custom_args | each.custom_args).items())],
    }  # fmt: skip
    for part in given.content:
        name = {"text/plain": "text", "text/html": "html"}.get(part.type.partition(";")[0].strip().lower())
        if name is None or name in fields:
            raise refusal("content", "text/plain, text/html or both, each once")
        fields[name] = _filled(part.value, each.substitutions)
    return vendor.made(MessageByFields, fields, NAMES)


def _filled(text: str, substitutions: Words) -> str:
    """The text with the words of one personalization, each in place of its name."""
    if not substitutions:
        return text
    names = "|".join(re.escape(name) for name in sorted(substitutions, key=len, reverse=True) if name)
    return re.sub(names, lambda found: substitutions[found[0]], text) if names else text


def endpoints(sender: Sender, limiter: CapacityLimiter) -> list[Endpoint]:
    """The operation that sends."""
    return [Endpoint("POST", PATH, "send", partial(_send, sender), limiter, sender.largest)]
