"""Mailgun's events, from which Ghost counts deliveries and failures: ``GET /v3/{domain}/events``."""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Annotated, Any, Literal

from anyio import CapacityLimiter
from pydantic import BeforeValidator, Field, ValidationError
from sqlalchemy import Engine
from starlette.responses import JSONResponse, Response

from postroad.store import database, pages
from postroad.web import problems
from postroad.web.mailgun import see_that_it_is_there
from postroad.web.vendor import Asked, Endpoint, Form, refusal

MOST = 300
"""Events of a page, as at Mailgun."""
KINDS: Mapping[str, tuple[str, ...]] = {
    "accepted": ("accepted",), "delivered": ("delivered",), "failed": ("deferred", "bounced"),
    "rejected": ("rejected",), "opened": (), "clicked": (), "unsubscribed": (), "complained": (), "stored": (),
}  # fmt: skip
"""Our kinds for each of Mailgun's; some never happen."""
NAMES = {kind: name for name, kinds in KINDS.items() for kind in kinds}
SEVERITY = {"deferred": "temporary", "bounced": "permanent"}
Store = Callable[[], Engine]


def _moment(value: Any) -> float:
    """Seconds since the epoch, of a number or a date (RFC 5322)."""
    text = str(value)
    if re.fullmatch(r"\d{1,12}(\.\d{1,9})?", text, re.ASCII):
        return float(text)
    try:
        found: datetime = parsedate_to_datetime(text[:100])
        return found.timestamp()
    except (ValueError, OverflowError):
        raise ValueError("seconds since the epoch, or a date such as Thu, 26 Nov 2026 10:00:00 -0000") from None


def _words(separator: str, value: Any) -> tuple[str, ...]:
    return tuple(each.strip() for each in re.split(rf"\s+{separator}\s+", str(value)) if each.strip())


Moment = Annotated[float, BeforeValidator(_moment)]


class Query(Form):
    """The parameters of a request for events."""

    begin: Moment | None = None
    end: Moment | None = None
    ascending: Literal["yes", "no"] = "no"
    limit: int = Field(100, ge=1, le=MOST)
    event: Annotated[tuple[Literal[tuple(KINDS)], ...], BeforeValidator(partial(_words, "OR"))] = tuple(KINDS)  # type: ignore[valid-type]
    tags: Annotated[tuple[str, ...], BeforeValidator(partial(_words, "AND")), Field(max_length=10)] = ()
    recipient: Annotated[str, Field(max_length=320)] | None = None


def _events(store: Store, asked: Asked) -> Response:
    see_that_it_is_there(asked)
    query, after = _query(asked), _page(asked)
    kinds = [kind for name in query.event for kind in KINDS[name]]
    wanted = pages.WantedEvents(
        senders=asked.key.domains,
        kinds=kinds,
        since=query.begin,
        until=query.end,
        tags=query.tags,
        recipient=query.recipient.lower() if query.recipient else None,
    )
    engine = store()
    with database.told("read"):
        found = (
            pages.matching(engine, wanted, after, query.limit, newest_first=query.ascending == "no") if kinds else []
        )
    last = found[-1][0] if found else after
    return JSONResponse({"items": [_item(*each) for each in found], "paging": _paging(asked, last)})


def _query(asked: Asked) -> Query:
    given = dict(asked.request.query_params)
    if len(given) != len(asked.request.query_params.multi_items()):
        raise refusal("", "each parameter once")
    try:
        return Query.model_validate(given)
    except ValidationError as error:
        raise problems.of_validation(error) from None


def _page(asked: Asked) -> int | None:
    text = asked.request.path_params.get("page", "first")
    if text == "first":
        return None
    if not re.fullmatch(r"\d{1,18}", text, re.ASCII):
        raise refusal("page", "a page of an earlier answer")
    return int(text)


def _paging(asked: Asked, last: int | None) -> dict[str, str]:
    domain = asked.request.path_params["domain"]
    start = f"{asked.request.base_url}v3/{domain}/events"
    first = f"{start}/first"
    return {"first": first, "previous": first, "last": first, "next": first if last is None else f"{start}/{last}"}


def _item(number: int, moment: float, event: Mapping[str, Any]) -> dict[str, Any]:
    """An event as Mailgun tells it."""
    kind = event["event"]
    tags = event.get("tags", [])
    told: dict[str, Any] = {
        "event": NAMES[kind],
        "id": str(number),
        "timestamp": moment,
        "tags": [each for each in tags if "=" not in each],
        "user-variables": dict(each.split("=", 1) for each in tags if "=" in each),
        "message": {"headers": {"message-id": str(event.get("message_id") or "").strip("<>")}},
    }
    if event.get("recipient"):
        told |= {"recipient": event["recipient"], "recipient-domain": event["recipient"].rpartition("@")[2]}
    if kind in SEVERITY:
        told |= {"severity": SEVERITY[kind], "reason": event.get("class") or "generic"}
    reply = str(event.get("reply") or event.get("status") or "")
    if reply:
        code = int(reply[:3]) if re.match(r"[245]\d\d\b", reply, re.ASCII) else 0
        told["delivery-status"] = {"code": code, "message": reply, "enhanced-code": event.get("dsn") or ""}
    return told


def endpoints(store: Store, limiter: CapacityLimiter) -> list[Endpoint]:
    """The operation that reads events."""
    read, path = partial(_events, store), "/v3/{domain}/events"
    return [Endpoint("GET", each, "read", read, limiter, 0) for each in (path, f"{path}/{{page}}")]
