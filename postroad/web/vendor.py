"""Endpoints that speak as a vendor's API does: what all of them have in common.

A vendor's request becomes messages of our own model, which go the way of ``POST /v1/messages``. What a vendor has and
the relay has not is refused, never left out in silence. Each vendor tells a ``Problem`` in its own form.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Protocol, TypeVar

import anyio.to_thread
from anyio import CapacityLimiter
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from postroad.errors import PostroadError
from postroad.runtime.web import ApiKey
from postroad.web import keys, problems
from postroad.web.operations import SMALL, Budget, read
from postroad.web.problems import Fault, Problem


@dataclass(frozen=True)
class Claim:
    """The key that a request is said to be of; ``verify`` sees to it, with the body, and raises ``Problem``."""

    key: ApiKey
    verify: Callable[[bytes], None] = lambda _: None


@dataclass(frozen=True)
class Asked:
    """A request that may be served."""

    key: ApiKey
    request: Request
    body: bytes


class Vendor(Protocol):
    """How a vendor is spoken with."""

    def claim(self, request: Request) -> Claim:
        """Whose request it is, before its body is read.

        Raises:
            Problem: there is no key, or none that is known.
        """

    def refuse(self, problem: Problem) -> Response:
        """A refusal in the vendor's form."""


@dataclass(frozen=True)
class Endpoint:
    """An operation of a vendor's.

    Attributes:
        method: HTTP's.
        path: as Starlette has it.
        right: what a key needs for it; empty: nothing.
        function: does it, in a thread; raises ``Problem``.
        limiter: how many calls run at once.
        largest: octets of the body; 0: there is none.
    """

    method: str
    path: str
    right: str
    function: Callable[[Asked], Response]
    limiter: CapacityLimiter
    largest: int = SMALL


def route(vendor: Vendor, endpoint: Endpoint, budget: Budget) -> Route:
    """The route of an endpoint."""

    async def served(request: Request) -> Response:
        return await serve(vendor, endpoint, budget, request)

    return Route(endpoint.path, served, methods=[endpoint.method], name=f"{endpoint.method} {endpoint.path}")


async def serve(vendor: Vendor, endpoint: Endpoint, budget: Budget, request: Request) -> Response:
    """The answer to a request."""
    raw = bytearray()
    try:
        claim = vendor.claim(request)
        if endpoint.largest:
            await read(request, raw, endpoint.largest, budget)
        call = partial(_serve, endpoint, claim, request, bytes(raw))
        return await anyio.to_thread.run_sync(call, limiter=endpoint.limiter)
    except Problem as problem:
        return vendor.refuse(problem)
    finally:
        budget.give(len(raw))


def _serve(endpoint: Endpoint, claim: Claim, request: Request, body: bytes) -> Response:
    claim.verify(body)
    if endpoint.right:
        keys.need(claim.key, endpoint.right)
    try:
        return endpoint.function(Asked(claim.key, request, body))
    except PostroadError as error:  # the store: a person at the server can act on it
        raise problems.unavailable(str(error)) from error


class Form(BaseModel):
    """JSON of a vendor's, by the vendor's names; an unknown one is refused.

    ``ABSENT`` has the names of what the vendor has and the relay has not, with the reasons: there, nothing but null,
    false and empty values is accepted.
    """

    model_config = ConfigDict(extra="forbid", validate_by_alias=True, validate_by_name=False)

    ABSENT: ClassVar[Mapping[str, str]] = {}

    @model_validator(mode="before")
    @classmethod
    def _without_the_absent(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        if found := [f"{name}: {why}" for name, why in cls.ABSENT.items() if value.get(name)]:
            raise ValueError("; ".join(found))
        return {name: each for name, each in value.items() if name not in cls.ABSENT}


Model = TypeVar("Model", bound=BaseModel)


def parsed(model: type[Model], body: bytes) -> Model:
    """A body in JSON.

    Raises:
        Problem: it is something else.
    """
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise problems.of_validation(error) from None


def refusal(where: str, accepted: str) -> Problem:
    """The refusal of a value, by its vendor's name."""
    return problems.invalid([Fault(pointer=where, detail=accepted)])


def media_type(text: str | None) -> str:
    """A media type without its parameters, in lower case."""
    return (text or "").partition(";")[0].strip().lower() or "application/octet-stream"


def made(model: type[Model], given: Mapping[str, Any], names: Mapping[str, str]) -> Model:
    """A message of our own model; what is wrong with it is told by the vendor's names, of which ``names`` has some.

    Raises:
        Problem: a value is not accepted.
    """
    try:
        return model.model_validate(given)
    except ValidationError as error:
        found = problems.of_validation(error)
        faults = [
            Fault(pointer=_renamed(each["pointer"], names), detail=each["detail"]) for each in found.more["faults"]
        ]
        raise problems.invalid(faults) from None


def _renamed(pointer: str, names: Mapping[str, str]) -> str:
    first, *rest = pointer.removeprefix("#/").split("/")
    return "/".join([names.get(first, first), *rest])


def said(problem: Problem) -> str:
    """A refusal in one text."""
    faults = problem.more.get("faults") or []
    return "; ".join(_told(each["pointer"].removeprefix("#/"), each["detail"]) for each in faults) or problem.detail


def _told(where: str, detail: str) -> str:
    return f"{where}: {detail}" if where else detail
