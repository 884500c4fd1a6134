"""A small DNS held in a dictionary, which our evaluator, pyspf and libspf2 ask alike.

It stands in for a server: thousands of records are judged in a few seconds. Real lookups are in tests/integration.
"""

import ipaddress
from collections.abc import Iterable, Mapping
from typing import TypeAlias

from postroad.dns.resolver import Answer, Question, Resolver, Status

Zone: TypeAlias = Mapping[str, Mapping[str, tuple[str, ...]]]
"""Names in lower case, to types, to values as a ``resolver.Answer`` holds them. The type ``TIMEOUT`` answers nothing."""


class TableResolver(Resolver):
    """Answers from a table, as a ``Resolver`` would."""

    def __init__(self, zone: Zone) -> None:
        super().__init__(["192.0.2.53"])
        self._zone = zone

    def query(self, name: str, rtype: str) -> Answer:
        name = name.lower().rstrip(".")
        if too_long(name):
            return Answer(name, rtype, Status.ERROR, detail="no name")
        asked = name
        aliases: list[str] = []
        while (
            (here := self._zone.get(asked)) is not None and rtype not in here and "CNAME" in here and len(aliases) < 8
        ):
            asked = here["CNAME"][0].lower().rstrip(".")
            aliases.append(asked)
        if here is None:
            status = Status.TIMEOUT if asked.startswith("error.") else Status.NXDOMAIN
            return Answer(name, rtype, status, aliases=tuple(aliases))
        values = here.get(rtype, ())
        if values == ("TIMEOUT",) or (not values and "TIMEOUT" in here):
            return Answer(name, rtype, Status.TIMEOUT, aliases=tuple(aliases), detail="no answer in time")
        return Answer(name, rtype, Status.FOUND if values else Status.NODATA, values, tuple(aliases))

    def look_up(self, questions: Iterable[Question]) -> list[Answer]:
        return [self.query(*question) for question in questions]


def too_long(name: str) -> bool:
    """Whether a name can't be asked for: the real resolver answers ``ERROR`` then."""
    labels = name.split(".")
    return len(name) > 253 or not all(0 < len(label) <= 63 for label in labels)


def pointer(address: str) -> str:
    return ipaddress.ip_address(address).reverse_pointer
