"""Mailgun, version 3: ``POST /v3/{domain}/messages`` and ``POST /v3/{domain}/messages.mime``."""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from anyio import CapacityLimiter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from postroad.web import delivering, forms, vendor
from postroad.web.delivering import Draft
from postroad.web.forms import FormField
from postroad.web.keys import Keys
from postroad.web.mailboxes import header_of, in_header, mailbox, mailboxes
from postroad.web.problems import Problem
from postroad.web.sending import MOST_RECIPIENTS, MessageByFields, RawMessage, Sender
from postroad.web.vendor import Asked, Claim, Endpoint, refusal

USER = "api"
LONGEST = 500
"""Octets of the Authorization header."""
STATUS: Mapping[str, int] = {
    "unauthorized": 401, "forbidden": 403, "not-found": 404, "too-slow": 408, "too-large": 413, "failed": 503,
    "unavailable": 503, "unknown": 504,
}  # fmt: skip
"""HTTP status by the kind of problem; all others are 400."""
NAMES = {"tags": "o:tag", "headers": "h:", "attachments": "attachment"}
NO, YES = frozenset(("no", "false", "0", "")), frozenset(("yes", "true", "1"))
OFF = {
    "o:tracking": "opens and clicks are not tracked",
    "o:tracking-clicks": "clicks are not tracked",
    "o:tracking-opens": "opens are not tracked",
    "o:require-tls": "see delivery.tls",
    "o:skip-verification": "see delivery.tls",
}
"""Options that may only be off, with the reasons."""
LISTS = ("to", "cc", "bcc")
ONE = ("from", "subject", "text", "html", "recipient-variables")
"""Fields that come once at most."""
VARIABLE = re.compile(
    r"%(recipient(?:\.[^%\s]{1,100})?|recipient_[a-z]{1,20}|(?:mailing_list_|tag_)?unsubscribe_(?:url|email))%"
)
"""Mailgun's own words in a text."""
OWN_UNSUBSCRIBE = re.compile(r",?\s*<%(?:tag_)?unsubscribe_email%>")
"""In List-Unsubscribe: an address of Mailgun's, beside those of the sender's own."""
Variables = Mapping[str, Mapping[str, Any]]


class Mailgun:
    """Speaks as Mailgun does."""

    def __init__(self, known: Keys) -> None:
        """For these keys."""
        self._known = known

    def claim(self, request: Request) -> Claim:
        """Whose key the request has, as the password of ``api``."""
        given = request.headers.getlist("authorization")
        scheme, _, rest = given[0].partition(" ") if len(given) == 1 and len(given[0]) <= LONGEST else ("", "", "")
        try:
            user, _, password = base64.b64decode(rest.strip(" "), validate=True).decode("latin-1").partition(":")
        except (binascii.Error, ValueError):
            user = password = ""
        key = self._known.known(password) if scheme.lower() == "basic" and user == USER else None
        if key is None:
            raise Problem(401, "unauthorized", "No valid key", "Invalid private key")
        return Claim(key)

    def refuse(self, problem: Problem) -> Response:
        """A ``message``."""
        headers = {name: value for name, value in problem.headers.items() if name == "Retry-After"}
        return JSONResponse({"message": vendor.said(problem)}, STATUS.get(problem.kind, 400), headers)


class _Request:
    """The form of a request, field by field."""

    def __init__(self, fields: list[FormField]) -> None:
        self.lists: dict[str, list[dict[str, str]]] = {name: [] for name in LISTS}
        self.words: dict[str, str] = {}
        self.headers: dict[str, str] = {}
        self.tags: list[str] = []
        self.files: list[dict[str, Any]] = []
        self.raw: bytes | None = None
        self.test = False
        for field in fields:
            self._take(field)

    def _take(self, field: FormField) -> None:
        name = field.name
        if name in {"attachment", "inline"}:
            self._file(field)
        elif name == "message":
            if self.raw is not None:
                raise refusal(name, "give it once")
            self.raw = field.content
        elif name in LISTS:
            self.lists[name] += mailboxes(field.text, name)
        elif name in ONE:
            self._once(self.words, name, field.text)
        elif name.startswith("h:"):
            self._once(self.headers, name[2:], field.text)
        elif name.startswith("v:"):
            self.tags.append(f"{name[2:]}={field.text}")
        elif name == "o:tag":
            self.tags.append(field.text)
        else:
            self._option(name, field.text.strip().lower())

    @staticmethod
    def _once(found: dict[str, str], name: str, text: str) -> None:
        if name.lower() in {each.lower() for each in found}:
            raise refusal(name[:100], "give it once")
        found[name] = text

    def _option(self, name: str, value: str) -> None:
        if name in OFF and value in NO:
            return
        if name == "o:dkim" and value in YES:
            return
        if name == "o:testmode" and value in YES | NO:
            self.test = value in YES
            return
        why = OFF.get(name, "this is not there")
        raise refusal(name[:100], f"a request without it: {why}")

    def _file(self, field: FormField) -> None:
        inline = field.name == "inline"
        self.files.append({
            "filename": field.filename, "content": field.content, "type": vendor.media_type(field.type),
            "content_id": field.filename if inline else None,
        })  # fmt: skip


def see_that_it_is_there(asked: Asked) -> None:
    """See that the domain in the path is one of the key's.

    Raises:
        Problem: it is not.
    """
    domain = asked.request.path_params["domain"].lower()
    if not asked.key.covers(domain):
        raise Problem(404, "not-found", "Not found", f"Domain not found: {domain[:255]} is none of this key's.")


def _read(asked: Asked) -> _Request:
    see_that_it_is_there(asked)
    try:
        return _Request(forms.read(asked.request.headers.get("content-type", ""), asked.body))
    except forms.FormError as error:
        raise refusal("", str(error)) from None


def _send(sender: Sender, asked: Asked) -> Response:
    given = _read(asked)
    if given.raw is not None:
        raise refusal("message", "MIME at /v3/DOMAIN/messages.mime")
    return _delivered(sender, asked, given, _drafts(given))


def _send_mime(sender: Sender, asked: Asked) -> Response:
    given = _read(asked)
    if given.raw is None:
        raise refusal("message", "the message as MIME")
    if given.words or given.headers or given.files or given.lists["cc"] or given.lists["bcc"]:
        raise refusal("message", "nothing beside it but to, and options")
    senders = in_header(header_of(given.raw), "From", "message")
    if not senders:
        raise refusal("message", "a message with a From:")
    body = vendor.made(
        RawMessage,
        {
            "raw": given.raw,
            "return_path": senders[0]["address"],
            "recipients": [each["address"] for each in given.lists["to"]],
            "tags": given.tags,
        },
        NAMES | {"recipients": "to", "raw": "message"},
    )
    return _delivered(sender, asked, given, [lambda: body])


def _delivered(sender: Sender, asked: Asked, given: _Request, drafts: list[Draft]) -> Response:
    delivering.check(asked.key, drafts)
    if given.test:
        return JSONResponse({"id": "<test@mode>", "message": "Queued. Thank you."})
    handed = delivering.deliver(sender, asked, drafts)
    found = next(each.id for each in handed if each.accepted)
    return JSONResponse({"id": f"<{found}>", "message": "Queued. Thank you."})


def _drafts(given: _Request) -> list[Draft]:
    """A message for all recipients, or with ``recipient-variables`` one for each."""
    text = given.words.get("recipient-variables")
    if not 0 < sum(map(len, given.lists.values())) <= MOST_RECIPIENTS:
        raise refusal("to", f"1 to {MOST_RECIPIENTS} recipients, with cc and bcc")
    if text is None:
        return [partial(_message, given, given.lists, None)]
    if given.lists["cc"] or given.lists["bcc"]:
        raise refusal("cc", "no cc and no bcc beside recipient-variables, as each recipient gets a message of its own")
    variables = _variables(text)
    return [partial(_message, given, {"to": [each]}, variables.get(each["address"], {})) for each in given.lists["to"]]


def _variables(text: str) -> Variables:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(isinstance(each, dict) for each in found.values()):
        raise refusal("recipient-variables", 'JSON such as {"you@example.net": {"name": "You"}}')
    return found


def _message(
    given: _Request, to: Mapping[str, list[dict[str, str]]], variables: Mapping[str, Any] | None
) -> MessageByFields:
    address = to["to"][0]["address"] if variables is not None else ""

    def filled(where: str, text: str) -> str:
        return VARIABLE.sub(lambda found: _value(where, found[1], address, variables), text)

    headers = {}
    for name, text in given.headers.items():
        others = OWN_UNSUBSCRIBE.sub("", text).strip(", ") if name.lower() == "list-unsubscribe" else ""
        headers[name] = filled(f"h:{name}", others or text)
    from_ = mailbox(given.words.get("from", ""), "from")
    return vendor.made(
        MessageByFields,
        {
            "from": from_,
            **to,
            "reply_to": [each for name in _named(headers, "reply-to") for each in mailboxes(headers.pop(name), name)],
            "subject": filled("subject", given.words.get("subject", "")),
            "text": filled("text", given.words["text"]) if "text" in given.words else None,
            "html": filled("html", given.words["html"]) if "html" in given.words else None,
            "headers": _without_sender(headers, from_),
            "attachments": given.files,
            "tags": given.tags,
        },
        NAMES,
    )


def _named(headers: Mapping[str, str], name: str) -> list[str]:
    return [each for each in headers if each.lower() == name]


def _without_sender(headers: Mapping[str, str], from_: Mapping[str, str]) -> dict[str, str]:
    """The fields without a Sender: that says no more than From: (RFC 5322, 3.6.2)."""
    found = dict(headers)
    for name in _named(headers, "sender"):
        if mailbox(found.pop(name), f"h:{name}")["address"].lower() != from_["address"].lower():
            raise refusal(f"h:{name}", "the address in from")
    return {name: value for name, value in found.items() if value}


def _value(where: str, name: str, address: str, variables: Mapping[str, Any] | None) -> str:
    """What stands for one of Mailgun's words."""
    kind, _, key = name.partition(".")
    if variables is not None and name in {"recipient", "recipient_email"}:
        return address
    value = variables.get(key) if variables is not None and kind == "recipient" else None
    if not isinstance(value, (str, int, float)):
        raise refusal(where, f"no %{name}%" + (f", which recipient-variables has not for {address}" if key else ""))
    return str(value)


def endpoints(sender: Sender, limiter: CapacityLimiter) -> list[Endpoint]:
    """The operations that send."""
    path = "/v3/{domain}/messages"
    return [
        Endpoint("POST", path, "send", partial(_send, sender), limiter, sender.largest),
        Endpoint("POST", f"{path}.mime", "send", partial(_send_mime, sender), limiter, sender.largest),
    ]
