import pytest

from postroad.checks import mx
from tests.integration.checks.conftest import ADDRESS, SILENT, Examine
from tests.internet.internet import Internet


@pytest.mark.parametrize(
    ("name", "records", "level", "said"),
    [
        ("right", {"MX": ["10 in.mx-check.example."]}, "ok", "10 in.mx-check.example"),
        ("ours", {"MX": ["10 mail.ours.mx-check.example."]}, "info", "which takes none"),
        ("null", {"MX": ["0 ."]}, "warning", "null MX"),
        ("null-and-more", {"MX": ["0 .", "10 in.mx-check.example."]}, "warning", "a null MX beside others"),
        ("an-address", {"MX": ["10 203.0.113.10."]}, "warning", "is an address"),
        ("an-alias", {"MX": ["10 alias.mx-check.example."]}, "warning", "is an alias (CNAME)"),
        ("none", {}, "error", "nowhere to go"),
        ("address", {"A": [ADDRESS]}, "info", "goes to its address"),
        ("six", {"AAAA": ["2001:db8::1"]}, "info", "goes to its address"),
        ("dead", {"MX": ["10 gone.mx-check.example."]}, "error", "no MX of"),
        ("half-dead", {"MX": ["10 gone.mx-check.example.", "20 in.mx-check.example."]}, "ok", "somewhere"),
        ("elsewhere", {"MX": ["10 mail.servfail.example."]}, "ok", "somewhere"),  # it can't be told: not ours
    ],
)
def test_each_domain(
    name: str, records: dict[str, list[str]], level: str, said: str, zones: Internet, examine: Examine
) -> None:
    zones.add_zone("mx-check.example")
    zones.publish("in.mx-check.example", "A", ADDRESS)
    zones.publish("alias.mx-check.example", "CNAME", "in.mx-check.example.")
    for rtype, values in records.items():
        zones.publish(f"{name}.mx-check.example", rtype, *values)
    (finding,) = examine(mx, f"{name}.mx-check.example")
    assert finding.level == level
    assert said in f"{finding.message} {finding.seen}"
    if name == "none":
        assert finding.record
        assert finding.record.type == "MX"


def test_no_answer_is_not_taken_for_an_absence(examine: Examine) -> None:
    for domain, servers in (("servfail.example", []), ("closed.example", []), ("x.example", [SILENT])):
        (finding,) = examine(mx, domain, servers=servers, limit=4)
        assert (finding.level, finding.record) == ("warning", None), domain
