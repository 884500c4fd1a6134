"""Bounces that sendmail makes: which are ours, and their signatures."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import dkim
import pytest

from postroad.runtime.signing import DkimKey
from postroad.signer import judge
from postroad.signer.bounces import MapSession, clock
from postroad.signer.judge import Judge
from postroad.signer.keys import PrivateKey
from tests.unit.test_signer_policy import PLAIN
from tests.unit.test_signer_sign import record, rsa  # noqa: F401 - a fixture

ID = "6AQ7sdUD000094"
HOST = "mail.x.example"
CONTROL = b"""V8
T1795679535
Frns
$_localhost
SMAILER-DAEMON@mail.x.example
rRFC822; a@x.example
RPF:<a@x.example>
H??Received: from localhost (localhost)
\tby mail.x.example (8.18.1/8.18.1) id 6AQ7sdUD000094;
\tThu, 26 Nov 2026 07:52:15 GMT
H?D?Date: Thu, 26 Nov 2026 07:52:15 GMT
H?F?From: Mail Delivery Subsystem <MAILER-DAEMON@mail.x.example>
H??To: <a@x.example>
H??Content-Type: multipart/report; report-type=delivery-status;
\tboundary="x"
H??Subject: Returned mail: see transcript for details
.
"""
BODY = b"This is a MIME-encapsulated message\n\n--x\n  8 bits: \xe9 \n\n\n"


def keep(queue: Path, control: bytes = CONTROL, folder: str = "") -> None:
    (queue / folder).mkdir(exist_ok=True)
    (queue / folder / f"qf{ID}").write_bytes(control)
    (queue / folder / f"df{ID}").write_bytes(BODY)


def signer(rsa: bytes, *domains: str, hostname: str = HOST) -> tuple[Judge, list[str]]:  # noqa: F811
    lines: list[str] = []
    keys = tuple(DkimKey(domain, False, "s1", domain) for domain in domains)
    settings = replace(PLAIN, hostname=hostname, keys=keys)
    return Judge(settings, {each: PrivateKey(rsa) for each in domains}, lambda _, text: lines.append(text)), lines


@pytest.mark.parametrize("folder", ["", "shaped1"])
def test_a_bounce_is_signed_as_it_leaves(folder: str, rsa: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811 # fmt: skip
    monkeypatch.setattr(judge, "QUEUE", tmp_path)
    keep(tmp_path, folder=folder)
    made, _ = signer(rsa, "x.example", "y.example")
    value = made.bounce(ID)
    assert not set(value) & set(b" \t\r\n")
    assert len(value) < 998
    head, _, _ = CONTROL[CONTROL.index(b"H??Received") :].partition(b"\n.\n")
    lines = [line.partition(b"?")[2].partition(b"?")[2] if line[:1] == b"H" else line for line in head.split(b"\n")]
    sent = b"\r\n".join([b"DKIM-Signature: " + value, *lines, b"", BODY.replace(b"\n", b"\r\n")])
    published = record(rsa)
    assert dkim.verify(sent, dnsfunc=lambda name, timeout=5: published if name == b"s1._domainkey.x.example." else b"")
    assert not dkim.verify(sent.replace(b"Returned", b"Other"), dnsfunc=lambda _name, timeout=5: published)


def test_one_that_is_tried_again_keeps_its_signature(rsa: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811 # fmt: skip
    monkeypatch.setattr(judge, "QUEUE", tmp_path)
    keep(tmp_path, CONTROL.replace(b"H??To", b"H?${bounce_signature}?DKIM-Signature: v=1;b=x\nH??To"))
    assert signer(rsa, "x.example")[0].bounce(ID) == b"v=1;b=x"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"SMAILER-DAEMON@mail.x.example", b"S<a@x.example>"),
        (b"SMAILER-DAEMON@mail.x.example", b"SMAILER-DAEMON@mail.x.example.evil.example"),
        (b"Frns", b"Fns"),
        (b"<MAILER-DAEMON@mail", b"<ceo@mail"),
        (b"<MAILER-DAEMON@mail", b"<ceo@x.example>, <MAILER-DAEMON@mail"),
        (b"H??To", b"H??From: ceo@x.example\nH??To"),
        (b"H?F?From", b"H??X-From"),
        (b"Subsystem <", b"<ceo@evil.example> <"),
    ],
)
def test_what_is_no_bounce_of_ours_gets_no_signature(
    old: bytes, new: bytes, rsa: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:  # fmt: skip
    monkeypatch.setattr(judge, "QUEUE", tmp_path)
    assert old in CONTROL
    keep(tmp_path, CONTROL.replace(old, new))
    assert signer(rsa, "x.example")[0].bounce(ID) == b""


def test_without_a_key_for_the_host_s_domain_or_without_files_there_is_none(
    rsa: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:  # fmt: skip
    monkeypatch.setattr(judge, "QUEUE", tmp_path)
    keep(tmp_path)
    assert signer(rsa, "y.example", "ail.x.example")[0].bounce(ID) == b""
    made, lines = signer(rsa, "x.example")
    assert made.bounce("6AQ7sdUD000095") == made.bounce("../../etc/passwd") == b""
    assert lines == []
    (tmp_path / f"df{ID}").unlink()
    assert made.bounce(ID) == b""
    assert "a bounce can't be signed" in lines[0]


def test_the_socket_map() -> None:
    session = MapSession({b"bounce": lambda key: f"value of {key}".encode() if key == ID else b""})
    asked = b"21:bounce %s,9:other xyz," % ID.encode()
    said = [session.feed(asked[at : at + 1]) for at in range(len(asked))]
    assert b"".join(each or b"" for each in said) == b"26:OK value of %s,9:NOTFOUND ," % ID.encode()
    assert session.feed(b"x" * 10_001) is None


def test_the_socket_map_takes_what_comes_as_it_comes() -> None:
    session = MapSession({b"bounce": lambda key: key.encode("latin-1")})
    # two questions and a half in one piece, and the rest of it; a key may have spaces, and octets of any kind
    assert session.feed(b"8:bounce a,12:bounce b c \xe9,8:bou") == b"4:OK a,8:OK b c \xe9,"
    assert session.feed(b"nce d,") == b"4:OK d,"
    assert session.feed(b"x" * 10_000) == b"", "no more than that is kept"
    assert session.feed(b"x") is None


def test_the_clock_tells_the_time_as_sendmail_writes_it() -> None:
    said = MapSession({b"clock": clock}).feed(b"9:clock now,")
    assert said is not None
    moment = datetime.strptime(said.decode(), "32:OK %a, %d %b %Y %H:%M:%S GMT,").replace(tzinfo=UTC)
    assert abs((moment - datetime.now(UTC)).total_seconds()) < 60
