"""What is accepted arrives as it was sent, signed; what can't be is refused at once and for good."""

import os
import re
import smtplib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from postroad.testing import PostroadContainer
from tests.integration.conftest import HOSTNAME, Relays, wait_until
from tests.internet.host import Host
from tests.internet.internet import Internet
from tests.internet.received import ReceivedMessage
from tests.messages.compare import arrived, differences, perl_verdicts
from tests.messages.generate import message

CASES = Path(__file__).parents[1] / "messages"
COUNT = int(os.environ.get("POSTROAD_MESSAGES", "400"))
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


def by_field(internet: Internet, field: str) -> Callable[[], dict[str, ReceivedMessage]]:
    pattern = re.compile(rf"^{field}: (.*)$".encode(), re.MULTILINE)

    def read() -> dict[str, ReceivedMessage]:
        pairs = ((pattern.search(each.raw), each) for each in internet.messages())
        return {found[1].decode().strip(): each for found, each in pairs if found}

    return read


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


def test_messages_at_random(relay: PostroadContainer, record: bytes, internet: Internet, app: Host) -> None:
    """``make fidelity`` sends thousands."""
    sent: dict[str, bytes] = {}
    refused: dict[str, str] = {}
    read = by_field(internet, "X-Case")
    with smtplib.SMTP(relay.host, relay.port, timeout=60) as smtp:
        for number in range(COUNT):
            made = message(number, SEED)
            try:
                smtp.sendmail("app@sender.example", ["u@rcpt.example"], made)
            except smtplib.SMTPDataError as error:
                refused[str(number)] = f"{error.smtp_code} {error.smtp_error!r}"
            else:
                sent[str(number)] = made
    came = wait_until(lambda: found if sent.keys() <= (found := read()).keys() else {}, timeout=60 + COUNT / 10)
    assert not refused.keys() & came.keys()
    wrong = {
        number: said for number, made in sent.items() if (said := differences(made, came[number], HOSTNAME, record))
    }
    assert not wrong, f"{len(wrong)} of {len(sent)}: {list(wrong.items())[:5]}"
    verdicts = perl_verdicts(app, [arrived(came[number], HOSTNAME)[2] for number in sent])
    assert len(verdicts) == len(sent)
    assert {number: said for number, said in zip(sent, verdicts, strict=True) if said != "pass"} == {}
    assert all(re.match(r"550 b['\"]5\.", text) for text in refused.values()), refused
    # refused for what the documentation says, and not too many of them
    assert {text.partition(": ")[2].split(" ")[0] for text in refused.values()} <= {"has", "holds", "must", "is"}, (
        refused
    )
    assert len(sent) > 0.9 * COUNT


def test_what_waits_in_the_queue_leaves_as_it_came(relays: Relays, internet: Internet) -> None:
    host = "waits.sender.example"
    relay = relays(hostname=host, dkim={"selector": "waits"}, delivery={"queue": {"retry": "1s"}})
    (value,) = relay.dkim_records().values()
    read, sent = by_field(internet, "X-Case"), {}
    internet.mx.refuse()
    try:
        with smtplib.SMTP(relay.host, relay.port, timeout=60) as smtp:
            for number in range(1_000_000, 1_000_060):
                made = message(number, SEED)
                with suppress(smtplib.SMTPDataError):
                    smtp.sendmail("app@sender.example", ["u@rcpt.example"], made)
                    sent[str(number)] = made
        wait_until(lambda: sum(event["event"] == "deferred" for event in relay.events()) >= len(sent), timeout=60)
    finally:
        internet.mx.accept()
    came = wait_until(lambda: found if sent.keys() <= (found := read()).keys() else {}, timeout=90)
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
