"""Mailgun's lists of addresses that get no more mail, of which Ghost takes those that are to get mail again."""

from functools import partial

from anyio import CapacityLimiter
from starlette.responses import JSONResponse, Response

from postroad.web import suppressed
from postroad.web.mailgun import see_that_it_is_there
from postroad.web.suppressed import Store
from postroad.web.vendor import Asked, Endpoint

LISTS = ("bounces", "complaints", "unsubscribes")
"""All are one list here."""


def _remove(store: Store, asked: Asked) -> Response:
    see_that_it_is_there(asked)
    address = suppressed.plain(asked.request.path_params["address"], "address")
    suppressed.remove(store, asked.key, address)
    return JSONResponse({"address": address, "message": "The address has been removed from the suppression list"})


def endpoints(store: Store, limiter: CapacityLimiter) -> list[Endpoint]:
    """The operation that removes an address."""
    remove = partial(_remove, store)
    return [
        Endpoint("DELETE", f"/v3/{{domain}}/{name}/{{address:path}}", "suppressions", remove, limiter, 0)
        for name in LISTS
    ]
