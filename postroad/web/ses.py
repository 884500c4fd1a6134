"""Amazon SES, API version 2: ``SendEmail``, and the four operations of the suppression list (``ses_suppressions.py``).

The forms are those of the service model ``sesv2-2019-09-27``.
"""

import json
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, ClassVar

from anyio import CapacityLimiter
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from postroad.web import delivering, sigv4, vendor
from postroad.web.compose import Octets
from postroad.web.keys import Keys
from postroad.web.mailboxes import header_of, in_header, mailbox
from postroad.web.problems import Problem
from postroad.web.sending import MessageByFields, RawMessage, Sender
from postroad.web.vendor import Asked, Claim, Endpoint, Form, refusal

PREFIX = "/v2/email"
SERVICE = "ses"
CODES: Mapping[str, tuple[int, str]] = {
    "forbidden": (403, "AccessDeniedException"),
    "sender": (400, "MessageRejected"),
    "refused": (400, "MessageRejected"),
    delivering.PARTLY: (400, "MessageRejected"),
    "failed": (429, "TooManyRequestsException"),
    "not-found": (404, "NotFoundException"),
    "too-slow": (408, "RequestTimeoutException"),
    "unavailable": (503, "ServiceUnavailableException"),
    "unknown": (504, "ServiceUnavailableException"),
}
"""HTTP status and error by the kind of problem; all others are ``BadRequestException``."""
NAMES = {
    "from": "FromEmailAddress", "to": "Destination.ToAddresses", "cc": "Destination.CcAddresses",
    "bcc": "Destination.BccAddresses", "reply_to": "ReplyToAddresses", "subject": "Content.Simple.Subject.Data",
    "text": "Content.Simple.Body.Text.Data", "html": "Content.Simple.Body.Html.Data", "tags": "EmailTags",
    "headers": "Content.Simple.Headers", "attachments": "Content.Simple.Attachments",
    "return_path": "FeedbackForwardingEmailAddress", "recipients": "Destination",
}  # fmt: skip
RAW = "Content.Raw.Data"
NO_ARN = "there are no ARNs: the key says who sends"
NO_SET = "there are no configuration sets: events go to events.webhooks"


class _Text(Form):
    data: str = Field(alias="Data")
    charset: str | None = Field(None, alias="Charset")  # of what SES would write: it is always UTF-8 here


class _Body(Form):
    text: _Text | None = Field(None, alias="Text")
    html: _Text | None = Field(None, alias="Html")


class _Pair(Form):
    name: str = Field(alias="Name")
    value: str = Field(alias="Value")


class _Attachment(Form):
    ABSENT: ClassVar[Mapping[str, str]] = {"ContentDescription": "it has no place here"}

    content: Octets = Field(alias="RawContent")
    filename: str = Field(alias="FileName")
    type: str | None = Field(None, alias="ContentType")
    content_id: str | None = Field(None, alias="ContentId")
    disposition: str | None = Field(None, alias="ContentDisposition")  # with a ContentId and HTML it is INLINE
    encoding: str | None = Field(None, alias="ContentTransferEncoding")  # always base64 here


class _Simple(Form):
    subject: _Text = Field(alias="Subject")
    body: _Body = Field(alias="Body")
    headers: list[_Pair] | None = Field(None, alias="Headers")
    attachments: list[_Attachment] | None = Field(None, alias="Attachments")


class _Raw(Form):
    data: Octets = Field(alias="Data")


class _Content(Form):
    ABSENT: ClassVar[Mapping[str, str]] = {"Template": "templates are not kept here: give Simple or Raw"}

    simple: _Simple | None = Field(None, alias="Simple")
    raw: _Raw | None = Field(None, alias="Raw")


Addresses = Annotated[list[str] | None, Field(max_length=1000)]


class _Destination(Form):
    to: Addresses = Field(None, alias="ToAddresses")
    cc: Addresses = Field(None, alias="CcAddresses")
    bcc: Addresses = Field(None, alias="BccAddresses")


class SendEmail(Form):
    """The body of ``SendEmail``."""

    ABSENT: ClassVar[Mapping[str, str]] = {
        "FromEmailAddressIdentityArn": NO_ARN,
        "FeedbackForwardingEmailAddressIdentityArn": NO_ARN,
        "ConfigurationSetName": NO_SET,
        "ConfigurationOverrides": NO_SET,
        "EndpointId": "there are no endpoints: there is one relay",
        "TenantName": "there are no tenants: each has a key of its own",
        "ListManagementOptions": "there are no contact lists",
    }

    from_: str | None = Field(None, alias="FromEmailAddress")
    destination: _Destination = Field(default_factory=_Destination, alias="Destination")
    reply_to: Addresses = Field(None, alias="ReplyToAddresses")
    feedback: str | None = Field(None, alias="FeedbackForwardingEmailAddress")
    content: _Content = Field(alias="Content")
    tags: list[_Pair] | None = Field(None, alias="EmailTags")


class Ses:
    """Speaks as SES does."""

    def __init__(self, known: Keys) -> None:
        """For these keys: the access key ID is a key's name, the secret access key the key itself."""
        self._known = known

    def claim(self, request: Request) -> Claim:
        """Whose signature the request has; it is proven with the body."""
        headers = request.scope["headers"]
        try:
            found = sigv4.claim(headers, SERVICE)
        except sigv4.SignatureError as error:
            raise _unsigned(error) from None
        key = self._known.named(found.access_key)
        if key is None or not key.secret:
            raise _unsigned(
                sigv4.SignatureError(
                    "UnrecognizedClientException",
                    "The security token included in the request is invalid: the access key ID is the name of a key in"
                    " web.keys.",
                )
            )
        return Claim(key, partial(_verify, found, key.secret, request))

    def refuse(self, problem: Problem) -> Response:
        """An error of the REST-JSON protocol."""
        status, code = CODES.get(problem.kind, (400, "BadRequestException"))
        code = problem.more.get("code", code)
        told = problem.status if "code" in problem.more else status
        headers = {"x-amzn-ErrorType": code} | {k: v for k, v in problem.headers.items() if k == "Retry-After"}
        return answer({"message": vendor.said(problem)}, told, headers)


def _unsigned(error: sigv4.SignatureError) -> Problem:
    return Problem(403, "unauthorized", "Not signed by a known key", str(error), code=error.code)


def _verify(found: sigv4.Claim, secret: str, request: Request, body: bytes) -> None:
    scope = request.scope
    came = sigv4.SignedRequest(scope["method"], scope["raw_path"], scope["query_string"], scope["headers"], body)
    try:
        sigv4.verify(found, secret, came)
    except sigv4.SignatureError as error:
        raise _unsigned(error) from None


def answer(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """An answer of the protocol."""
    return Response(json.dumps(content), status, headers, media_type="application/json")


def _send(sender: Sender, asked: Asked) -> Response:
    given = vendor.parsed(SendEmail, asked.body)
    simple, raw = given.content.simple, given.content.raw
    if (simple is None) == (raw is None):
        raise refusal("Content", "either Simple or Raw")
    body = _raw(given, raw.data) if raw else _simple(given)
    handed = delivering.deliver(sender, asked, [lambda: body])
    return answer({"MessageId": handed[0].id})


def _simple(given: SendEmail) -> MessageByFields:
    simple = given.content.simple
    if not given.from_ or simple is None:
        raise refusal("FromEmailAddress", "the sender's mailbox")
    text, html = simple.body.text, simple.body.html
    fields: dict[str, Any] = {
        "from": mailbox(given.from_, NAMES["from"]),
        "subject": simple.subject.data,
        "text": text.data if text else None,
        "html": html.data if html else None,
        "headers": _headers(simple.headers or []),
        "attachments": [
            {"filename": each.filename, "content": each.content, "type": vendor.media_type(each.type),
             "content_id": each.content_id}
            for each in simple.attachments or []
        ],
        "return_path": mailbox(given.feedback, NAMES["return_path"])["address"] if given.feedback else None,
        "tags": _tags(given),
    }  # fmt: skip
    lists = {"to": given.destination.to, "cc": given.destination.cc, "bcc": given.destination.bcc}
    for name, texts in (lists | {"reply_to": given.reply_to}).items():
        fields[name] = [mailbox(each, NAMES[name]) for each in texts or []]
    return vendor.made(MessageByFields, fields, NAMES)


def _headers(pairs: list[_Pair]) -> dict[str, str]:
    found = {pair.name: pair.value for pair in pairs}
    if len(found) != len(pairs):
        raise refusal(NAMES["headers"], "each field once")
    return found


def _tags(given: SendEmail) -> list[str]:
    return [f"{pair.name}={pair.value}" for pair in given.tags or []]


def _raw(given: SendEmail, data: bytes) -> RawMessage:
    header = header_of(data)
    own = [name for name in header if name.lower().startswith("x-ses-")]
    if own:
        raise refusal(RAW, f"a header without {own[0][:80]}: what SES does for it is not there")
    if given.reply_to:
        raise refusal("ReplyToAddresses", "a Reply-To in the raw message")
    lists = given.destination.to, given.destination.cc, given.destination.bcc
    named = [mailbox(each, "Destination")["address"] for texts in lists for each in texts or []]
    feedback = mailbox(given.feedback, NAMES["return_path"]) if given.feedback else None
    from_ = mailbox(given.from_, NAMES["from"]) if given.from_ else None
    senders = [each for each in (feedback, from_, *in_header(header, "From", RAW)) if each]
    if not senders:
        raise refusal("FromEmailAddress", "a sender here, or in From: of the raw message")
    recipients = named or [each["address"] for name in ("To", "Cc", "Bcc") for each in in_header(header, name, RAW)]
    given_raw = {"raw": data, "return_path": senders[0]["address"], "recipients": recipients, "tags": _tags(given)}
    return vendor.made(RawMessage, given_raw, NAMES)


def endpoints(sender: Sender, limiter: CapacityLimiter) -> list[Endpoint]:
    """The operation that sends."""
    send = partial(_send, sender)
    return [Endpoint("POST", f"{PREFIX}/outbound-emails", "send", send, limiter, sender.largest)]


def others(limiter: CapacityLimiter) -> list[Endpoint]:
    """All that SES has beside; it comes last."""
    path = f"{PREFIX}/{{rest:path}}"
    return [
        *(Endpoint(method, path, "", _other, limiter, 0) for method in ("GET", "DELETE")),
        *(Endpoint(method, path, "", _other, limiter) for method in ("POST", "PUT", "PATCH")),
    ]


def _other(_: Asked) -> Response:
    detail = "Of SES there are SendEmail and the operations of suppressed destinations here."
    raise Problem(404, "not-found", "No such operation", detail, code="UnknownOperationException")
