import pytest

from postroad.checks import blocklists
from tests.integration.checks.conftest import ADDRESS, SILENT, SIX, Examine, levels
from tests.internet.internet import Internet

SIX_TEST = "2.0.0.0.0.0.f.7.f.f.f.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0"
SIX_ENTRY = "0.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2"
ENTRY = "10.113.0.203"


@pytest.fixture(scope="module")
def lists(zones: Internet) -> Internet:
    zones.add_zone("bl.example")
    entries = {
        "clean": {"2.0.0.127": "127.0.0.2"},
        "listed": {"2.0.0.127": "127.0.0.2", ENTRY: "127.0.0.4"},
        "refuses": {"2.0.0.127": "127.255.255.254", ENTRY: "127.255.255.254"},
        "silent-refusal": {},
        "world": {"2.0.0.127": "127.0.0.2", "1.0.0.127": "127.0.0.2", ENTRY: "127.0.0.2"},
        "parked": {"2.0.0.127": "198.51.100.80", ENTRY: "198.51.100.80", "1.0.0.127": "198.51.100.80"},
        "both": {"2.0.0.127": "127.0.0.2", SIX_TEST: "127.0.0.2", SIX_ENTRY: "127.0.0.3"},
    }
    for name, answers in entries.items():
        for entry, answer in answers.items():
            zones.publish(f"{entry}.{name}.bl.example", "A", answer)
    zones.publish(f"{ENTRY}.listed.bl.example", "TXT", "seen sending spam, https://bl.example/why")
    return zones


def config(*names: str) -> dict[str, object]:
    return {"doctor": {"dnsbls": [name if "." in name else f"{name}.bl.example" for name in names]}}


def test_clean(lists: Internet, examine: Examine) -> None:
    (finding,) = examine(blocklists, config=config("clean"))
    assert (finding.level, finding.seen) == ("ok", f"{ADDRESS} at clean.bl.example")


def test_listed(lists: Internet, examine: Examine) -> None:
    listed, clean = examine(blocklists, config=config("clean", "listed"))
    assert levels([listed, clean]) == ["error", "ok"]
    assert listed.message == f"{ADDRESS} is on the blocklist listed.bl.example"
    assert listed.seen == "127.0.0.4 seen sending spam, https://bl.example/why"


@pytest.mark.parametrize("name", ["refuses", "silent-refusal", "world", "parked", "servfail.example", "closed.example"])
def test_a_list_that_does_not_tell_is_not_taken_for_clean(name: str, lists: Internet, examine: Examine) -> None:
    (finding,) = examine(blocklists, config=config(name))
    assert (finding.level, "does not tell" in finding.message) == ("info", True)


def test_no_answer(examine: Examine) -> None:
    (finding,) = examine(blocklists, config=config("clean"), servers=[SILENT], limit=5)
    assert finding.level == "info"


def test_ipv6(lists: Internet, examine: Examine) -> None:
    four_only, both = (examine(blocklists, addresses=[SIX], config=config(name)) for name in ("clean", "both"))
    assert levels(four_only) == ["ok"]
    assert levels(both) == ["error"]
