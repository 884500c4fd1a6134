"""The application: routes, and what all answers have in common."""

from collections.abc import Callable, Sequence
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from postroad.runtime.web import Settings
from postroad.web import openapi, problems
from postroad.web.keys import Keys
from postroad.web.operations import Budget, Operation, route

HEADERS = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)
"""Header fields of every answer."""


class Hardened:
    """Adds ``HEADERS`` to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        """Around this application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *HEADERS]
            await send(message)

        await self._app(scope, receive, sent)


class ProxiesOnly:
    """Answers proxies alone, as others would send keys in the clear."""

    def __init__(self, app: ASGIApp, proxies: Sequence[str]) -> None:
        """For clients in these networks."""
        self._app = app
        self._proxies = [ip_network(each) for each in proxies]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse."""
        client = scope.get("client")
        if client and self._is_proxy(client[0]):
            await self._app(scope, receive, send)
            return
        problem = problems.Problem(
            403, "not-a-proxy", "Not a proxy", "Plain HTTP is answered to the addresses in web.proxies alone."
        )
        await problem.response()(scope, receive, send)

    def _is_proxy(self, host: str) -> bool:
        try:
            address = ip_address(host)
        except ValueError:
            return False
        if isinstance(address, IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        return address.is_loopback or any(address in network for network in self._proxies)


def make(
    settings: Settings,
    operations: Sequence[Operation],
    pages: Sequence[Route] = (),
    vendors: Callable[[Keys, Budget], list[Route]] = lambda *_: [],
) -> ASGIApp:
    """The application for these settings: the API, the vendors' and the console's pages where there are any."""
    known, budget = Keys(settings.keys), Budget()
    described = openapi.document(operations)

    def document(_: Request) -> Response:
        return JSONResponse(described)

    middleware = [Middleware(ProxiesOnly, proxies=settings.proxies)] if settings.proxies else []
    made = Starlette(
        routes=[
            Route("/v1/openapi.json", document, methods=["GET"]),
            *(route(each, known, budget) for each in operations),
            *pages,
            *vendors(known, budget),
        ],
        middleware=middleware,
        exception_handlers={
            problems.Problem: _problem,
            HTTPException: _http,
            500: _bug,
        },
    )
    return Hardened(made)  # around all of it: Starlette answers a bug outside of its middleware


def _problem(_: Request, problem: Any) -> Response:
    return problem.response()  # type: ignore[no-any-return]


def _http(_: Request, error: Any) -> Response:
    """What the router refuses: 404 and 405."""
    found = problems.not_found("There is no such path: see /v1/openapi.json.")
    if error.status_code == 405:
        detail = "There is no such method at this path: see /v1/openapi.json."
        found = problems.Problem(405, "method", "Method not allowed", detail, dict(error.headers or {}))
    return found.response()


def _bug(_: Request, __: Exception) -> Response:
    """A bug of ours: its traceback is in the log."""
    return problems.Problem(500, "bug", "Internal error", "The server's log says more.").response()
