"""The suppression list as SES has it: put, get, list and delete suppressed destinations."""

import time
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal

from anyio import CapacityLimiter
from pydantic import Field, ValidationError
from starlette.responses import Response

from postroad.feedback import listing, suppression
from postroad.feedback.suppression import SuppressedAddress
from postroad.runtime import log
from postroad.web import problems, suppressed, vendor
from postroad.web.ses import PREFIX, answer
from postroad.web.suppressed import Store
from postroad.web.vendor import Asked, Endpoint, Form, refusal

MOST = 1000
REASONS = {"BOUNCE": "bounce", "COMPLAINT": "complaint"}
"""The reason that the list has for each of SES'."""
PATH = f"{PREFIX}/suppression/addresses"
NO_TENANT = {"TenantName": "there are no tenants: each has a key of its own"}


class Put(Form):
    """The body of ``PutSuppressedDestination``."""

    ABSENT = NO_TENANT

    address: str = Field(alias="EmailAddress", max_length=320)
    reason: Literal["BOUNCE", "COMPLAINT"] = Field(alias="Reason")


class Query(Form):
    """The parameters of ``ListSuppressedDestinations``."""

    ABSENT = NO_TENANT

    reasons: list[Literal["BOUNCE", "COMPLAINT"]] = Field(default=[], alias="Reason")
    since: datetime | None = Field(None, alias="StartDate")
    until: datetime | None = Field(None, alias="EndDate")
    after: int = Field(0, alias="NextToken", ge=0, le=10_000_000)
    size: int = Field(100, alias="PageSize", ge=1, le=MOST)


def _put(store: Store, asked: Asked) -> Response:
    given = vendor.parsed(Put, asked.body)
    address, now, reason = _address(given.address), time.time(), REASONS[given.reason]
    entries = [SuppressedAddress(address, reason, now, None, None, domain) for domain in suppressed.domains(asked.key)]
    listing.change(store(), lambda connection: suppression.add(connection, entries))
    log.tell("notice", f"web: the key {asked.key.name} suppressed 1 address")
    return answer({})


def _get(store: Store, asked: Asked) -> Response:
    found = suppressed.entry(store, asked.key, _address(asked.request.path_params["address"]))
    return answer({"SuppressedDestination": _summary(found)})


def _list(store: Store, asked: Asked) -> Response:
    query = _query(asked)
    since, until = _seconds(query.since, 0.0), _seconds(query.until, float("inf"))
    found = [
        each
        for each in suppressed.entries(store, asked.key)
        if since <= each.added < until and (not query.reasons or _reason(each) in query.reasons)
    ]
    end = query.after + query.size
    more = {"NextToken": str(end)} if end < len(found) else {}
    return answer({"SuppressedDestinationSummaries": [_summary(each) for each in found[query.after : end]]} | more)


def _delete(store: Store, asked: Asked) -> Response:
    suppressed.remove(store, asked.key, _address(asked.request.path_params["address"]))
    return answer({})


def _address(text: str) -> str:
    return suppressed.plain(text, "EmailAddress")


def _query(asked: Asked) -> Query:
    given: dict[str, Any] = {}
    for name, value in asked.request.query_params.multi_items():
        if name == "Reason":
            given.setdefault(name, []).append(value)
        elif name in given:
            raise refusal(name[:100], "give it once")
        else:
            given[name] = value
    try:
        return Query.model_validate(given)
    except ValidationError as error:
        raise problems.of_validation(error) from None


def _reason(entry: SuppressedAddress) -> str:
    return "COMPLAINT" if entry.reason == "complaint" else "BOUNCE"


def _summary(entry: SuppressedAddress) -> dict[str, Any]:
    return {"EmailAddress": entry.recipient, "Reason": _reason(entry), "LastUpdateTime": round(entry.added, 3)}


def _seconds(moment: datetime | None, otherwise: float) -> float:
    if moment is None:
        return otherwise
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def endpoints(store: Store, limiter: CapacityLimiter) -> list[Endpoint]:
    """The operations of the suppression list."""
    right, one = "suppressions", f"{PATH}/{{address:path}}"
    return [
        Endpoint("PUT", PATH, right, partial(_put, store), limiter),
        Endpoint("GET", PATH, right, partial(_list, store), limiter, 0),
        Endpoint("GET", one, right, partial(_get, store), limiter, 0),
        Endpoint("DELETE", one, right, partial(_delete, store), limiter, 0),
    ]
