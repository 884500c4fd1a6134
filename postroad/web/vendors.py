"""The routes of the vendors' APIs that the settings name."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from anyio import CapacityLimiter
from sqlalchemy import Engine
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from postroad.web import (
    mailgun,
    mailgun_events,
    mailgun_suppressions,
    postmark,
    problems,
    sendgrid,
    ses,
    ses_suppressions,
)
from postroad.web.keys import Keys
from postroad.web.operations import Budget
from postroad.web.sending import Sender
from postroad.web.vendor import Asked, Endpoint, Vendor, route, serve

SCHEMES = {"sendgrid": "bearer", "mailgun": "basic"}
"""How the vendors below ``/v3`` are sent their keys."""


class Limiters(NamedTuple):
    """How many calls run at once."""

    reads: CapacityLimiter
    sends: CapacityLimiter


class Served(NamedTuple):
    """A vendor's API."""

    vendor: Vendor
    endpoints: list[Endpoint]


def routes(
    names: Sequence[str],
    known: Keys,
    budget: Budget,
    sender: Sender,
    store: Callable[[], Engine],
    limiters: Limiters,
) -> list[Route]:
    """The routes of these vendors."""
    made: dict[str, Callable[[], Served]] = {
        "ses": lambda: Served(
            ses.Ses(known),
            [
                *ses.endpoints(sender, limiters.sends),
                *ses_suppressions.endpoints(store, limiters.reads),
                *ses.others(limiters.reads),
            ],
        ),
        "sendgrid": lambda: Served(sendgrid.SendGrid(known), sendgrid.endpoints(sender, limiters.sends)),
        "mailgun": lambda: Served(
            mailgun.Mailgun(known),
            [
                *mailgun.endpoints(sender, limiters.sends),
                *mailgun_events.endpoints(store, limiters.reads),
                *mailgun_suppressions.endpoints(store, limiters.reads),
            ],
        ),
        "postmark": lambda: Served(postmark.Postmark(known), postmark.endpoints(sender, limiters.sends)),
    }
    found, known_by = [], {}
    for name in names:
        served = made[name]()
        share = budget.share(sender.largest) if name == "ses" else budget
        found += [route(served.vendor, endpoint, share) for endpoint in served.endpoints]
        if name in SCHEMES:
            known_by[SCHEMES[name]] = served.vendor
    return [*found, *([_others(known_by, budget, limiters.reads)] if known_by else [])]


def _others(vendors: Mapping[str, Vendor], budget: Budget, limiter: CapacityLimiter) -> Route:
    """All else below ``/v3``, which two vendors have: the scheme of a request's key tells whose answer it wants."""

    async def served(request: Request) -> Response:
        scheme = request.headers.get("authorization", "").partition(" ")[0].lower()
        vendor = vendors.get(scheme) or next(iter(vendors.values()))
        return await serve(vendor, Endpoint(request.method, "/v3/", "", _nothing, limiter, 0), budget, request)

    return Route("/v3/{rest:path}", served, methods=["GET", "POST", "PUT", "PATCH", "DELETE"])


def _nothing(_: Asked) -> Response:
    raise problems.not_found("This endpoint is not there: docs/vendors.md says which are.")
