from postroad.checks import reverse
from tests.integration.checks.conftest import SIX, Examine, levels
from tests.internet.internet import Internet

ZONE = "100.51.198.in-addr.arpa"


def publish(zones: Internet, number: int, *names: str) -> str:
    zones.add_zone(ZONE, "rev.example")
    zones.publish(f"{number}.{ZONE}", "PTR", *(f"{name}." for name in names))
    return f"198.51.100.{number}"


def test_right(zones: Internet, examine: Examine) -> None:
    address = publish(zones, 1, "mail.rev.example")
    zones.add_zone("8.b.d.0.1.0.0.2.ip6.arpa")
    zones.publish(
        "0.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa", "PTR", "mail.rev.example."
    )
    assert levels(examine(reverse, "rev.example", addresses=[address, SIX])) == ["ok", "ok"]


def test_missing_and_wrong(zones: Internet, examine: Examine) -> None:
    wrong = publish(zones, 2, "ip-2.provider.example")
    missing = publish(zones, 3)
    findings = examine(reverse, "rev.example", addresses=[wrong, missing])
    assert levels(findings) == ["error", "error"]
    assert [finding.seen for finding in findings] == ["ip-2.provider.example", "no PTR record (nxdomain)"]
    record = findings[0].record
    assert record
    assert (record.name, record.type, record.value) == (f"2.{ZONE}", "PTR", "mail.rev.example")


def test_another_name_that_leads_here_is_half_right(zones: Internet, examine: Examine) -> None:
    address = publish(zones, 4, "nat.rev.example")
    zones.publish("nat.rev.example", "A", address)
    (finding,) = examine(reverse, "rev.example", addresses=[address])
    assert (finding.level, finding.seen) == ("warning", "nat.rev.example")


def test_several_names(zones: Internet, examine: Examine) -> None:
    address = publish(zones, 5, "mail.rev.example", "www.rev.example")
    (finding,) = examine(reverse, "rev.example", addresses=[address])
    assert (finding.level, "2 reverse names" in finding.message) == ("warning", True)
