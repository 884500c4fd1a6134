"""Verdicts of pyspf on a DNS held in a dictionary."""

import ipaddress
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from unittest import mock

from tests.oracle.dns_table import TableResolver

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it is older than the Python that compiles it
    import spf


def verdicts(zone: Mapping[str, Mapping[str, Sequence[str]]], cases: Iterable[tuple[str, str]]) -> list[str]:
    """The result for each (address, domain)."""
    resolver = TableResolver(
        {name: {rtype: tuple(each) for rtype, each in types.items()} for name, types in zone.items()}
    )

    def look_up(name: str, rtype: str, *_: Any, **__: Any) -> Iterator[tuple[tuple[str, str], Any]]:
        if rtype in {"SPF", "CNAME"}:
            return
        answer = resolver.query(name, rtype)
        for value in answer.values:
            yield (name, rtype), _data(rtype, value)

    with mock.patch.object(spf, "DNSLookup", look_up):
        return [
            spf.check2(i=address, s=f"app@{domain}", h="mail.sender.example", querytime=0)[0]
            for address, domain in cases
        ]


def _data(rtype: str, value: str) -> Any:
    """As pyspf's own look-up gives it."""
    if rtype == "TXT":
        return (value.encode(),)
    if rtype == "MX":
        preference, host = value.split()
        return (int(preference), host)
    return str(ipaddress.ip_address(value)) if rtype in {"A", "AAAA"} else value
