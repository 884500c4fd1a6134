"""The evaluator on the test suite of RFC 7208 (openspf.org, release 2014.04; its licence is beside it)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from postroad.dns.spf_check import evaluate
from tests.oracle.dns_table import TableResolver, Zone

SUITE = Path(__file__).parent.parent / "oracle" / "rfc7208-tests.yml"
NOT_OURS: dict[str, str] = {}
"""Cases that end otherwise here, and why."""


def values(record: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for rtype, value in record.items():
        if rtype in {"TXT", "SPF"}:
            yield rtype, "".join([value] if isinstance(value, str) else value)
        elif rtype == "MX":
            yield rtype, f"{value[0]} {value[1].lower().rstrip('.') or '.'}"
        elif rtype in {"PTR", "CNAME"}:
            yield rtype, value.lower().rstrip(".")
        else:
            yield rtype, value.lower()


def zone(data: dict[str, list[Any]]) -> Zone:
    """Zone data of the suite; an ``SPF`` record stands for a TXT record, unless the name has its own."""
    made: dict[str, dict[str, tuple[str, ...]]] = {}
    for name, records in data.items():
        found: dict[str, list[str]] = {}
        for record in records:
            if record == "TIMEOUT":
                found["TIMEOUT"] = []
            else:
                for rtype, value in values(record):
                    found.setdefault(rtype, []).append(value)
        if "TXT" not in found and "SPF" in found:
            found["TXT"] = found["SPF"]
        found.pop("SPF", None)
        made[name.lower().rstrip(".")] = {
            rtype: tuple(value for value in each if value != "NONE") for rtype, each in found.items()
        }
    return made


CASES = [
    pytest.param(zone(scenario["zonedata"]), case, id=name)
    for scenario in yaml.safe_load_all(SUITE.read_text())
    for name, case in scenario["tests"].items()
]


def test_the_suite_is_all_there() -> None:
    assert len(CASES) == 203


@pytest.mark.parametrize(("zone", "case"), CASES)
def test_results_are_the_suite_s(zone: Zone, case: dict[str, Any], request: pytest.FixtureRequest) -> None:
    sender = case["mailfrom"]
    domain = sender.rpartition("@")[2] or case["helo"]
    verdict = evaluate(
        TableResolver(zone), case["host"], domain, sender=sender if "@" in sender else "", helo=case["helo"]
    )
    wanted = case["result"] if isinstance(case["result"], list) else [case["result"]]
    assert verdict.result in wanted, f"{verdict.why}: {case.get('description')} ({case['spec']})"
