"""Forms of the console: their values, and whether they were sent from a page of the console's."""

from collections.abc import Iterable
from urllib.parse import parse_qsl, urlsplit

import anyio
from starlette.requests import ClientDisconnect, Request

LARGEST_FORM = 4096
LARGEST_TEXT = 4 * 2**20
"""Octets of a form that holds a file."""
MOST_FIELDS = 2000
PATIENCE = 10
"""Seconds for a form to come."""


class Fields:
    """The values of a query or a form, each name any number of times."""

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        """Hold these."""
        self._values: dict[str, list[str]] = {}
        for name, value in pairs:
            self._values.setdefault(name, []).append(value)

    def one(self, name: str, default: str = "") -> str:
        """The first value of a name, without spaces around it."""
        return self._values.get(name, [default])[0].strip()

    def text(self, name: str) -> str:
        """The first value of a name, as it is."""
        return self._values.get(name, [""])[0]

    def all(self, name: str) -> list[str]:
        """All values of a name."""
        return self._values.get(name, [])


def from_here(request: Request) -> bool:
    """Whether a form was sent from a page of this site, as the browser says; a browser always says it."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("origin")
    return origin is not None and urlsplit(origin).netloc == request.headers.get("host")


async def form(request: Request, largest: int = LARGEST_FORM) -> Fields | None:
    """The values of a form; None where it is none, or too large."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        return None
    body = bytearray()
    with anyio.move_on_after(PATIENCE):
        try:
            async for chunk in request.stream():
                body += chunk
                if len(body) > largest:
                    return None
            pairs = parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=True, max_num_fields=MOST_FIELDS)
        except (ValueError, ClientDisconnect):
            return None
        return Fields(pairs)
    return None
