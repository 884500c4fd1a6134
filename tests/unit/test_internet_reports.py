"""What the pretend internet's receivers send back is what the relay reads: internet/image/reports.py."""

import email
import email.policy
import importlib
from types import ModuleType

import pytest

from postroad.returns import dmarc, unpacking
from postroad.returns.found import Bounce, Complaint, Failure
from postroad.returns.reading import read
from tests.documents import ROOT

MX = "mx.y.example"
RAW = b"""Return-Path: <b1@bounces.x.example>
X-Original-To: complain@y.example
Authentication-Results: mx.y.example; spf=pass smtp.mailfrom=b1@bounces.x.example
Authentication-Results: mx.y.example;
\tdkim=pass (2048-bit key) header.d=x.example; dkim=fail header.d=z.example
Authentication-Results: other.example; dmarc=pass
Received: from mail.x.example (mail.x.example [192.0.2.25])
\t(using TLSv1.3 with cipher X)
\tby mx.y.example (Postfix) with ESMTPS id 1
DKIM-Signature: v=1; d=x.example; s=s1; b=abc
From: =?utf-8?q?App?= <app@x.example>
Subject: caf\xc3\xa9
Message-ID: <1@x.example>

Hi
"""


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "internet/image"))
    return importlib.import_module("reports")


@pytest.fixture
def taken(reports: ModuleType) -> object:
    return reports.Taken(RAW, "b1@bounces.x.example", "complain@y.example", "192.0.2.25")


def test_what_a_receiver_found(taken: object) -> None:
    found = taken.found  # type: ignore[attr-defined]
    assert (found["mx"], found["tls"], found["recipient"]) == (MX, "TLSv1.3", "complain@y.example")
    assert found["sender"] == "b1@bounces.x.example"
    assert found["verdicts"] == {"dkim": "pass", "spf": "pass"}, "of several the first, and nobody else's"
    assert ("Subject", "café") in found["headers"]


def test_a_bounce(reports: ModuleType, taken: object) -> None:
    reply = "550 5.1.1 <complain@y.example>: User unknown"
    assert read(reports.bounce(taken, MX)) == Bounce((Failure(("complain@y.example",), "5.1.1", reply, None),))


def test_a_complaint(reports: ModuleType, taken: object) -> None:
    complaint = Complaint("abuse", "complain@y.example", ("b1@bounces.x.example",), "<1@x.example>", MX)
    assert read(reports.complaint(taken, MX, "abuse@bounces.x.example")) == complaint


@pytest.mark.parametrize(
    ("altered", "dkim", "spf", "disposition"),
    [
        (RAW, True, True, "none"),
        (RAW.replace(b"d=x.example;", b"d=z.example;"), False, True, "none"),
        (RAW.replace(b"=pass", b"=fail"), False, False, "reject"),
        (RAW.replace(b"app@x.example", b"app@other.example"), False, False, "reject"),
    ],
)
def test_an_aggregate_report(reports: ModuleType, altered: bytes, dkim: bool, spf: bool, disposition: str) -> None:
    taken = reports.Taken(altered, "b1@bounces.x.example", "dmarc-report@y.example", "192.0.2.25")
    content = reports.dmarc(taken, MX, "dmarc@bounces.x.example", "reject")
    (attached,) = email.message_from_bytes(content, policy=email.policy.default).iter_attachments()
    report = dmarc.read(unpacking.unpack(attached.get_content()))
    (row,) = report.rows
    assert (report.organization, report.policy) == (MX, "reject")
    assert (row.source, row.count, row.disposition, row.dkim, row.spf) == ("192.0.2.25", 1, disposition, dkim, spf)
