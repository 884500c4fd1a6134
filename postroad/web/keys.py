"""Who calls: the key of a request."""

import hashlib
from collections.abc import Iterable

from starlette.requests import Request

from postroad.runtime.web import ApiKey
from postroad.web import problems

LONGEST = 300
"""Octets of the header field; a key has 255 at most."""


class Keys:
    """The keys that may call."""

    def __init__(self, keys: Iterable[ApiKey]) -> None:
        """Know these keys by their digests."""
        self._known = {key.digest: key for key in keys}
        self._named = {key.name: key for key in self._known.values()}

    def known(self, text: str) -> ApiKey | None:
        """The key of this text; None where there is none.

        A digest is looked up: how long that takes tells nothing of a key.
        """
        return self._known.get(hashlib.sha256(text.encode("latin-1", "replace")).hexdigest())

    def named(self, name: str) -> ApiKey | None:
        """The key of this name; None where there is none."""
        return self._named.get(name)

    def of(self, request: Request) -> ApiKey:
        """The key of a request, from its ``Authorization: Bearer``.

        Raises:
            Problem: there is no key, more than one, or one that is not known.
        """
        given = request.headers.getlist("authorization")
        if len(given) != 1 or len(given[0]) > LONGEST:
            raise problems.unauthorized()
        scheme, _, key = given[0].partition(" ")
        found = self.known(key.strip(" "))
        if scheme.lower() != "bearer" or found is None:
            raise problems.unauthorized()
        return found


def need(key: ApiKey, right: str) -> None:
    """See that a key has a right.

    Raises:
        Problem: it has not.
    """
    if right not in key.rights:
        raise problems.forbidden(f"The key {key.name} has no right `{right}`: see web.keys[].rights.")
