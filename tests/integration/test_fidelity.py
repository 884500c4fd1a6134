"""What is accepted arrives as it was sent, signed; what can't be is refused at once and for good."""

import os
import re
import smtplib
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from postroad.testing import PostroadContainer
from postroad.testing.received import ReceivedMessage
from tests.integration.conftest import HOSTNAME, Relays, wait_until
from tests.internet.host import Host
from tests.internet.internet import Internet
from tests.messages.compare import arrived, differences, perl_verdicts
from tests.messages.generate import message

CASES = Path(__file__).parents[1] / "messages"
COUNT = int(os.environ.get("POSTROAD_MESSAGES", "400"))
BATCH = 500
SEED = os.environ.get("POSTROAD_SEED", "1")

LONG = ["a" * 900, "b" * 1900, "\x80" * 100, "김치 " * 100, "x y " * 200, "(c)" * 100]

RIGHT = {
    "mime-no-closing-boundary": "arrives",
    "mime-part-without-header": "arrives",
    "mime-long-parameter": "arrives",
    "mime-long-part-header": "arrives",
    "header-line-of-5000": "X-SMTPAPI: has a line",
    "header-of-40-kb": "arrives",
    "from-long-encoded-name": "arrives",
    "to-group-with-space": "arrives",
    "received-30": "arrives",
    "forged-from-800-commas": "From:",
    "forged-two-domains": "From:",
}


@pytest.fixture(scope="module")
def relay(relays: Relays) -> PostroadContainer:
    return relays(limits={"connections_per_client": None})


@pytest.fixture(scope="module")
def record(relay: PostroadContainer) -> bytes:
    (value,) = relay.dkim_records().values()
    return value.encode()


def test_each_case_has_its_answer() -> None:
    assert sorted(RIGHT) == sorted(path.stem for path in CASES.glob("*.eml"))


@pytest.mark.parametrize("name", RIGHT)
def test_a_case(name: str, relay: PostroadContainer, record: bytes, internet: Internet) -> None:
    sent = (CASES / f"{name}.eml").read_bytes()
    with smtplib.SMTP(relay.host, relay.port, timeout=20) as smtp:
        if RIGHT[name] == "arrives":
            smtp.sendmail("app@sender.example", ["u@rcpt.example"], sent)
            received = internet.wait_for_message(f"<{name}@sender.example>")
            assert differences(sent, received, HOSTNAME, record) == []
        else:
            with pytest.raises(smtplib.SMTPDataError) as refused:
                smtp.sendmail("app@sender.example", ["u@rcpt.example"], sent)
            assert refused.value.smtp_code == 550
            assert RIGHT[name].encode() in refused.value.smtp_error


class Tally:
    """What became of the messages so far, told as it goes where there are many."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self._began = time.monotonic()
        self.arrived = 0
        self.refused: list[str] = []
        self.wrong: dict[int, list[str]] = {}

    def tell(self) -> None:
        done = self.arrived + len(self.refused)
        if COUNT <= BATCH:
            return
        seconds = time.monotonic() - self._began
        left = seconds / done * (COUNT - done)
        with self._capsys.disabled():
            sys.stdout.write(
                f"{done} of {COUNT} messages: {self.arrived} arrived, {len(self.refused)} refused, {len(self.wrong)} wrong"
                f"; {done / seconds:.0f} a second, {left / 60:.0f} minutes left\n"
            )
            sys.stdout.flush()


@pytest.mark.timeout(600 + COUNT)
def test_messages_at_random(
    relay: PostroadContainer, record: bytes, internet: Internet, app: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    """``make fidelity`` sends thousands."""
    tally = Tally(capsys)
    for first in range(0, COUNT, BATCH):
        known = len(internet.messages())
        sent: dict[int, bytes] = {}
        with smtplib.SMTP(relay.host, relay.port, timeout=60) as smtp:
            for number in range(first, min(first + BATCH, COUNT)):
                made = message(number, SEED)
                try:
                    smtp.sendmail("app@sender.example", ["u@rcpt.example"], made)
                except smtplib.SMTPDataError as error:
                    tally.refused.append(f"{error.smtp_code} {error.smtp_error!r}")
                else:
                    sent[number] = made
        wait_until(lambda known=known, sent=sent: len(internet.messages()) - known >= len(sent), 60 + len(sent) / 5)  # type: ignore[misc]
        came = by_case(internet.messages()[known:])
        assert came.keys() == sent.keys(), "what was refused did not arrive, and what was taken did"
        tally.arrived += len(came)
        verdicts = perl_verdicts(app, [arrived(came[number], HOSTNAME)[2] for number in sent])
        for (number, made), verdict in zip(sent.items(), verdicts, strict=True):
            said = differences(made, came[number], HOSTNAME, record)
            said += [] if verdict == "pass" else [f"Mail::DKIM says {verdict}"]
            if said:
                tally.wrong[number] = said
        tally.tell()
        assert len(tally.wrong) < 20, tally.wrong
    assert tally.wrong == {}
    refused = tally.refused
    assert all(re.match(r"550 b['\"]5\.", text) for text in refused), refused
    # refused for what the documentation says, and not too many of them
    reasons = {text.partition(": ")[2].split(" ")[0] for text in refused}
    assert reasons <= {"has", "holds", "must", "is"}, reasons
    assert tally.arrived > 0.9 * COUNT


def by_case(messages: Sequence[ReceivedMessage]) -> dict[int, ReceivedMessage]:
    pattern = re.compile(rb"^X-Case: (\d+)$", re.MULTILINE)
    pairs = ((pattern.search(each.raw), each) for each in messages)
    return {int(found[1]): each for found, each in pairs if found}


def test_what_waits_in_the_queue_leaves_as_it_came(relays: Relays, internet: Internet) -> None:
    host = "waits.sender.example"
    relay = relays(hostname=host, dkim={"selector": "waits"}, delivery={"queue": {"retry": "1s"}})
    (value,) = relay.dkim_records().values()
    sent: dict[int, bytes] = {}
    known = len(internet.messages())
    internet.mx.refuse()
    try:
        with smtplib.SMTP(relay.host, relay.port, timeout=60) as smtp:
            for number in range(1_000_000, 1_000_060):
                made = message(number, SEED)
                with suppress(smtplib.SMTPDataError):
                    smtp.sendmail("app@sender.example", ["u@rcpt.example"], made)
                    sent[number] = made
        wait_until(lambda: sum(event["event"] == "deferred" for event in relay.events()) >= len(sent), timeout=60)
    finally:
        internet.mx.accept()
    wait_until(lambda: len(internet.messages()) - known >= len(sent), timeout=90)
    came = by_case(internet.messages()[known:])
    wrong = {number: said for number, made in sent.items() if (said := differences(made, came[number], host, value.encode()))}  # fmt: skip
    assert not wrong, f"{len(wrong)} of {len(sent)}: {list(wrong.items())[:5]}"


def test_signatures_of_others_stay_where_they_are(relay: PostroadContainer, record: bytes, internet: Internet) -> None:
    """sendmail knows the field's name: by it bounces get theirs."""
    theirs = "v=1; a=rsa-sha256; d=other.example; s=s; h=from; bh=x; b=y"
    sent = (
        f"DKIM-Signature: {theirs}\r\nX-Theirs: yes\r\nFrom: app@sender.example\r\ndkim-signature: {theirs}z\r\n"
        "Subject: signed before\r\n\r\nbody\r\n"
    ).encode()
    with smtplib.SMTP(relay.host, relay.port, timeout=20) as smtp:
        smtp.sendmail("app@sender.example", ["u@rcpt.example"], sent)
    received = internet.wait_for_message(lambda message: b"\nX-Theirs: yes\n" in message.raw)
    assert [each for each in differences(sent, received, HOSTNAME, record) if not each.startswith("OpenDKIM")] == []


@pytest.mark.parametrize("quoted", [False, True])
@pytest.mark.parametrize("name", ["Content-Type", "Content-Disposition", "To", "Subject"])
def test_a_field_of_several_long_lines(name: str, quoted: bool, relay: PostroadContainer, record: bytes, internet: Internet) -> None:  # fmt: skip
    sign = '"' if quoted else ""
    marker = f"{name}-{quoted}"
    sent = f"X-Long: {marker}\r\nFrom: app@sender.example\r\n{name}: {sign}".encode() + b"\r\n ".join(
        line.encode("utf-8" if "김" in line else "latin-1") for line in LONG
    )
    sent += f"{sign}\r\n\r\nbody\r\n".encode()
    with smtplib.SMTP(relay.host, relay.port, timeout=20) as smtp:
        smtp.sendmail("app@sender.example", ["u@rcpt.example"], sent)
    received = internet.wait_for_message(lambda message: f"\nX-Long: {marker}\n".encode() in message.raw)
    assert differences(sent, received, HOSTNAME, record) == []
