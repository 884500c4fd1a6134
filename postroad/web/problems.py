"""Refusals of the API, as problem details (RFC 9457)."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.responses import JSONResponse

MEDIA_TYPE = "application/problem+json"
TYPES = "urn:postroad:problem:"
MOST_FAULTS = 20
"""Faults of one request that are listed."""


class Fault(BaseModel):
    """What is wrong with one value of a request."""

    pointer: str = Field(description="The value: a JSON pointer into the body, or the name of a parameter.")
    detail: str = Field(description="What is accepted.")


class ProblemDetails(BaseModel):
    """Why a request was refused (RFC 9457)."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description=f"The kind of problem, as `{TYPES}KIND`.")
    title: str = Field(description="The kind of problem in words, always the same for one kind.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What is wrong with this request, and what to do.")
    faults: list[Fault] | None = Field(None, description="What is wrong with which values.")


class Problem(Exception):  # noqa: N818 - the field's noun
    """A request that is refused; ``kind`` is the last word of its type, ``more`` are members beside the usual ones."""

    def __init__(
        self, status: int, kind: str, title: str, detail: str, headers: dict[str, str] | None = None, **more: Any
    ) -> None:
        """Refuse a request."""
        super().__init__(detail)
        self.status, self.kind, self.title, self.detail = status, kind, title, detail
        self.headers, self.more = headers or {}, more

    def members(self) -> dict[str, Any]:
        """The problem as JSON has it."""
        usual = {"type": TYPES + self.kind, "title": self.title, "status": self.status, "detail": self.detail}
        return usual | self.more

    def response(self) -> JSONResponse:
        """The answer to the request."""
        return JSONResponse(self.members(), self.status, self.headers, MEDIA_TYPE)


def unauthorized() -> Problem:
    """The request has no key, or one that is not known."""
    return Problem(
        401,
        "unauthorized",
        "No valid key",
        "Send a key of web.keys as `Authorization: Bearer KEY`.",
        {"WWW-Authenticate": 'Bearer realm="postroad"'},
    )


def forbidden(detail: str) -> Problem:
    """The key is not for that."""
    return Problem(403, "forbidden", "Not allowed with this key", detail)


def not_found(detail: str) -> Problem:
    """There is no such thing, or it is not for this key."""
    return Problem(404, "not-found", "Not found", detail)


def too_large(limit: int) -> Problem:
    """The message, or the request, has more octets than it may."""
    return Problem(413, "too-large", "Too large", f"At most {limit} octets are accepted (limits.message_size).")


def unavailable(detail: str, after: int = 30) -> Problem:
    """It can't be done now; ``after`` so many seconds it may be tried again."""
    return Problem(503, "unavailable", "Not possible now", detail, {"Retry-After": str(after)})


def invalid(faults: list[Fault]) -> Problem:
    """Values of the request are not what is accepted."""
    found = [fault.model_dump() for fault in faults[:MOST_FAULTS]]
    return Problem(422, "invalid", "Invalid request", f"{faults[0].pointer}: {faults[0].detail}", faults=found)


def of_validation(error: ValidationError, skip: int = 0) -> Problem:
    """What pydantic found, without the first ``skip`` parts of the paths; the values themselves are not repeated."""
    faults = []
    for details in error.errors(include_url=False, include_input=False):
        if details["type"] == "json_invalid":
            return Problem(400, "not-json", "Not JSON", "The body is not JSON in UTF-8.")
        path = "/".join(str(part).replace("~", "~0").replace("/", "~1") for part in details["loc"][skip:])
        faults.append(Fault(pointer=f"#/{path}"[:200], detail=details["msg"].removeprefix("Value error, ")))
    return invalid(faults)
