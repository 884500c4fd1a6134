"""The return addresses that sendmail asks the signer for."""

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from postroad.runtime import return_address, returning
from postroad.runtime.handover import dumps
from postroad.runtime.returning import Unsubscribing
from postroad.runtime.unsubscribing import LONGEST
from postroad.signer.bounces import MapSession
from postroad.signer.judge import Judge
from postroad.signer.returned import ReturnAddresses
from tests.unit.test_signer_policy import PLAIN

KEY, ID, DOMAIN = b"k" * 32, "6AQ7sdUD000094", "bounces.x.example"
NOW = 1_795_700_000.0


def addresses(*senders: str) -> ReturnAddresses:
    return ReturnAddresses(returning.Settings("mail.x.example", DOMAIN, senders), KEY)


def test_a_link_that_would_be_too_long_is_left_out() -> None:
    linked = Unsubscribing(("x.example",), "https://b.example/u", "127.0.0.1", 8026)
    found = replace(addresses(), settings=replace(addresses().settings, unsubscribing=linked))
    long = max(range(800), key=lambda length: length if _link(found, length) else 0)
    assert len(_link(found, long)) - len(" <>") <= LONGEST
    assert not _link(found, long + 1)


def _link(found: ReturnAddresses, length: int) -> bytes:
    fields = found.unsubscribe_fields("a@x.example", [f"{'r' * length}@y.example"], set())
    return fields[0][1] if fields else b""


@pytest.mark.parametrize(
    ("senders", "asked", "given"),
    [
        ((), f"{ID}@x.example.", True),
        ((), f"{ID}@X.Example", True),
        ((), f"{ID} @ x . example .", True),
        (("x.example",), f"{ID}@x.example.", True),
        (("x.example",), f"{ID}@app.x.example.", False),
        ((".x.example",), f"{ID}@app.x.example.", True),
        ((".x.example",), f"{ID}@x.example.", False),
        ((), ID, False),
        ((), "", False),
        ((), "@x.example", False),
        ((), "no id@x.example", False),
    ],
)
def test_whose_mail_has_one(senders: tuple[str, ...], asked: str, given: bool) -> None:
    local = addresses(*senders).local_part(asked, NOW).decode()
    assert bool(local) is given
    if given:
        found = return_address.read(KEY, DOMAIN, local, return_address.day_of(NOW))
        assert found.queue_id == ID


def test_each_attempt_has_the_same_one() -> None:
    """Greylisting knows a message by its sender."""
    found = addresses()
    days = {found.local_part(f"{ID}@x.example", NOW + days * 86_400) for days in range(6)}
    assert len(days) == 1


def test_as_sendmail_asks(tmp_path: Path) -> None:
    (tmp_path / returning.FILE).write_text(dumps(addresses().settings))
    (tmp_path / returning.KEY).write_bytes(KEY)
    found = ReturnAddresses.load(tmp_path)
    assert found == addresses()
    judge = Judge(PLAIN, {}, lambda *_: None, found)
    session = MapSession({b"returns": judge.return_address})
    asked = f"returns {ID}@x.example."
    answer = session.feed(f"{len(asked)}:{asked},".encode())
    day = return_address.issued(ID, return_address.day_of(time.time()))
    local = return_address.local_part(KEY, DOMAIN, ID, day)
    assert answer == f"{len(local) + 3}:OK {local},".encode()


def test_off_is_no_file_and_no_address(tmp_path: Path) -> None:
    assert ReturnAddresses.load(tmp_path) is None
    judge = Judge(PLAIN, {}, lambda *_: None)
    assert (
        MapSession({b"returns": judge.return_address}).feed(b"32:returns 6AQ7sdUD000094@x.example.,") == b"9:NOTFOUND ,"
    )


def test_a_key_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / returning.FILE).write_text(dumps(addresses().settings))
    with pytest.raises(OSError, match="key"):
        ReturnAddresses.load(tmp_path)
    (tmp_path / returning.FILE).write_text(json.dumps({"domain": 1}))
    with pytest.raises(ValueError, match=returning.FILE):
        ReturnAddresses.load(tmp_path)
