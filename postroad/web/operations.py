"""What an operation of the API is, and how a request becomes a call of it.

Routes and the OpenAPI document are both made from ``Operation``.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import anyio.to_thread
from anyio import CapacityLimiter
from pydantic import BaseModel, RootModel, ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from postroad.errors import PostroadError
from postroad.runtime.web import ApiKey
from postroad.web import keys, problems

PATIENCE = 60.0
"""Seconds for a client to send the body of its request."""
MOST_OCTETS = 64 * 2**20
"""Octets of all bodies that are held at once; further requests are answered 503."""
SMALL = 2**20
"""Octets of a body that holds no message."""


@dataclass(frozen=True)
class Call:
    """A request that may be served."""

    key: ApiKey
    path: Mapping[str, str]
    query: Any
    body: Any
    raw: bytes


@dataclass(frozen=True)
class Operation:
    """An operation of the API.

    Attributes:
        method: HTTP's.
        path: with parameters in braces.
        name: ``operationId``.
        summary: what it does, in a line.
        right: what a key needs for it.
        function: does it, in a thread; it raises ``Problem``.
        answer: what it returns.
        status: of the answer.
        query: the parameters behind the ``?``.
        body: the JSON of the request.
        problems: further HTTP statuses with their reasons.
        limiter: how many calls run at once.
        largest: octets of the body.
    """

    method: str
    path: str
    name: str
    summary: str
    right: str
    function: Callable[[Call], BaseModel]
    answer: type[BaseModel]
    limiter: CapacityLimiter
    status: int = 200
    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    problems: Mapping[int, str] = field(default_factory=dict)
    largest: int = SMALL


class Budget:
    """The octets of bodies that are held at once."""

    def __init__(self, most: int = MOST_OCTETS, whole: "Budget | None" = None) -> None:
        """Hold so many at most, as a part of the whole where there is one."""
        self._most, self._held, self._whole = most, 0, whole

    def share(self, most: int) -> "Budget":
        """A part of it for bodies that are held before it is known whose they are."""
        return Budget(most, self)

    def take(self, octets: int) -> None:
        """Hold more.

        Raises:
            Problem: it would be too much.
        """
        if self._held + octets > self._most:
            raise problems.unavailable("Too many large requests are under way.", 5)
        if self._whole is not None:
            self._whole.take(octets)
        self._held += octets

    def give(self, octets: int) -> None:
        """Hold less."""
        self._held -= octets
        if self._whole is not None:
            self._whole.give(octets)


def route(operation: Operation, known: keys.Keys, budget: Budget) -> Route:
    """The route of an operation."""

    async def endpoint(request: Request) -> Response:
        key = known.of(request)  # before anything of the request is read
        keys.need(key, operation.right)
        query = _query(request, operation.query)
        raw = bytearray()
        try:
            if operation.body:
                _see_that_it_is_json(request)
                await read(request, raw, operation.largest, budget)
            call = partial(_call, operation, key, dict(request.path_params), query, bytes(raw))
            content = await anyio.to_thread.run_sync(call, limiter=operation.limiter)
        finally:
            budget.give(len(raw))
        return Response(content, operation.status, media_type="application/json")

    return Route(operation.path, endpoint, methods=[operation.method], name=operation.name)


def _call(operation: Operation, key: ApiKey, path: dict[str, str], query: Any, raw: bytes) -> str:
    """The JSON that answers a request; runs in a thread, as large JSON takes its time."""
    try:
        body = operation.body.model_validate_json(raw) if operation.body else None
    except ValidationError as error:
        # a root model's first part is the name of the form that the body has
        form = issubclass(operation.body, RootModel) if operation.body else False
        raise problems.of_validation(error, 1 if form else 0) from None
    try:
        answer = operation.function(Call(key, path, query, body, raw))
    except PostroadError as error:  # the store: a person at the server can act on it
        raise problems.unavailable(str(error)) from error
    return answer.model_dump_json(by_alias=True, exclude_none=True)


def _query(request: Request, model: type[BaseModel] | None) -> Any:
    names = [name for name, _ in request.query_params.multi_items()]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise problems.invalid([problems.Fault(pointer=name[:100], detail="give it once") for name in twice])
    if model is None:
        if names:
            raise problems.invalid([problems.Fault(pointer=names[0][:100], detail="there is no such parameter")])
        return None
    try:
        return model.model_validate(dict(request.query_params))
    except ValidationError as error:
        raise problems.of_validation(error) from None


def _see_that_it_is_json(request: Request) -> None:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise problems.Problem(415, "media-type", "Not JSON", "Send the body as `Content-Type: application/json`.")


async def read(request: Request, raw: bytearray, largest: int, budget: Budget) -> None:
    """Read the body into ``raw``, whose octets the budget counts.

    Raises:
        Problem: it is too large, too slow, or does not come whole.
    """
    if int(request.headers.get("content-length", "0")) > largest:  # h11 has seen to it that it is a number
        raise problems.too_large(largest)
    try:
        async with asyncio.timeout(PATIENCE):
            async for chunk in request.stream():
                if len(raw) + len(chunk) > largest:
                    raise problems.too_large(largest)
                budget.take(len(chunk))
                raw += chunk
    except TimeoutError:
        raise problems.Problem(
            408, "too-slow", "Too slow", f"The body did not come within {PATIENCE:g} seconds.", {"Connection": "close"}
        ) from None
    except ClientDisconnect:
        raise problems.Problem(400, "gone", "Cut off", "The body did not come whole.") from None
