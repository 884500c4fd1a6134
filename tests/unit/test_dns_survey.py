"""What `postroad dns` plans where the records that are there are wrong, on a DNS in a dictionary."""

import pytest

from postroad.config.model import Config
from postroad.dns.records import RecordFacts
from postroad.dns.survey import Planned, RecordState, survey
from tests.oracle.dns_table import TableResolver

pytestmark = pytest.mark.usefixtures("whole_records")

ADDRESS = "203.0.113.10"
CONFIG = Config.model_validate({"hostname": "mail.x.example", "domains": ["x.example"]})


def planned(name: str, *texts: str) -> Planned:
    there = TableResolver({name: {"TXT": texts}})
    (found,) = [
        each
        for each in survey(CONFIG, RecordFacts((ADDRESS,)), there)
        if (each.record.name, each.record.type) == (name, "TXT")
    ]
    return found


@pytest.mark.parametrize(
    ("texts", "value", "said"),
    [
        (["v=spf1 ip4:10.0.0.0/255.0.0.0 -all"], f"v=spf1 ip4:{ADDRESS} ip4:10.0.0.0/8 -all", "Added: "),
        ([f"v=spf1 ip4:{ADDRESS}/032 -all"], f"v=spf1 ip4:{ADDRESS}/32 -all", "Added: "),
        (
            ["v=spf1 nonsense -all"],
            f"v=spf1 ip4:{ADDRESS} nonsense -all",
            "Correct this by hand, because receivers treat",
        ),
        (
            [f"v=spf1 ip4:{ADDRESS} a/0 -all"],
            f"v=spf1 ip4:{ADDRESS} a/0 -all",
            "Not all receivers accept it: term 2, `a/0`",
        ),
        (["v=spf1 +all"], "v=spf1 +all", "lets anyone send"),
        (["v=spf1; mx -all", "verify=1"], f"v=spf1 ip4:{ADDRESS} mx -all", "Added: "),
    ],
)
def test_spf(texts: list[str], value: str, said: str) -> None:
    found = planned("x.example", *texts)
    assert found.record.value == value
    assert said in " ".join(found.notes)
    assert found.replaces == (() if value in texts else (texts[0],))
    assert found.state is (RecordState.PRESENT if value in texts else RecordState.CHANGE)
    assert found.beside == tuple(texts[1:])


@pytest.mark.parametrize(
    ("text", "value", "said"),
    [
        ("v=dmarc1; p=reject", "v=DMARC1; p=reject", ""),
        ("v=DMARC1; p=deny", "v=DMARC1; p=deny", "Correct this by hand, because receivers can't follow it: `p=deny`"),
        ("v=DMARC1; p=none; pct=200", "v=DMARC1; p=none; pct=200", "some receivers then ignore the record: `pct=200`"),
        ("v=DMARC1; p=none", "v=DMARC1; p=none", "p=quarantine, then p=reject"),
    ],
)
def test_dmarc(text: str, value: str, said: str) -> None:
    found = planned("_dmarc.x.example", text)
    assert found.record.value == value
    assert said in " ".join(found.notes)
    assert found.replaces == (() if value == text else (text,))
