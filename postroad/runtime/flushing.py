"""What a command asks of the shaper: to try messages now, whatever their next try. Standard library only.

The command sends the request on the shaper's socket and closes its side; the shaper closes the connection once the
messages were tried, or wait for a limit.
"""

import json
from collections.abc import Iterable

LARGEST = 1 << 24
"""Octets of a request."""


def request(ids: Iterable[str] | None) -> bytes:
    """The request for these messages, by sendmail's ids; None: for all."""
    return json.dumps({"ids": None if ids is None else sorted(ids)}).encode()


def read(data: bytes) -> frozenset[str] | None:
    """The messages of a request; None: all.

    Raises:
        ValueError: it is no such request.
    """
    try:
        ids = json.loads(data)["ids"]
        return None if ids is None else frozenset(map(str, ids))
    except (TypeError, KeyError) as error:
        raise ValueError("no request to flush") from error
