"""TLS reports of our own: what is counted, who wants it, and that the reader of others' reads ours."""

import email
import email.policy
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from postroad.cli import tls_report as cli
from postroad.config.model import Config
from postroad.feedback import tls_report
from postroad.feedback.tls_report import DomainSessions, sessions
from postroad.journal.reader import Batch, Position
from postroad.recorder import writer
from postroad.returns import telling, tlsrpt
from postroad.store import database
from tests.oracle.dns_table import TableResolver
from tests.unit.handed import RECORDING

DAY = datetime(2026, 11, 25, tzinfo=UTC)
Event = dict[str, Any]


def tls(pid: int, host: str = "mx.y.example", verify: str = "FAIL", side: str = "client") -> Event:
    return {"event": "tls", "pid": pid, "side": side, "relay_host": host, "tls_verify": verify}


def end(pid: int, kind: str = "delivered", to: str = "u@y.example", host: str = "mx.y.example", **fields: Any) -> Event:
    return {"event": kind, "pid": pid, "recipient": to, "mailer": "mx", "relay_host": host, **fields}


def counts(*events: Event) -> dict[str, tuple[int, int, dict[tuple[str, str], int]]]:
    return {domain: (each.successful, each.dane, dict(each.failed)) for domain, each in sessions(events).items()}


def test_a_session_counts_once_whatever_goes_through_it() -> None:
    assert counts(tls(1), end(1), end(1, to="v@Y.example."), end(1, "bounced", to="w@y.example")) == {
        "y.example": (1, 0, {})
    }


def test_two_domains_of_one_session_count_each() -> None:
    assert counts(tls(1), end(1), end(1, to="u@z.example")) == {"y.example": (1, 0, {}), "z.example": (1, 0, {})}


def test_the_next_session_of_a_process_is_another() -> None:
    assert counts(tls(1), end(1), tls(1), end(1)) == {"y.example": (2, 0, {})}
    assert counts(tls(1), end(1), tls(2, verify="TRUSTED"), end(2)) == {"y.example": (2, 1, {})}


def test_mail_without_tls() -> None:
    assert counts(end(1)) == {"y.example": (0, 0, {("starttls-not-supported", "mx.y.example"): 1})}
    assert counts(tls(1, "mx.other.example"), end(1)) == counts(end(1))
    assert counts(tls(1, side="server"), end(1)) == counts(end(1))


@pytest.mark.parametrize(
    ("status", "result"),
    [
        ("y.example needs TLS (require): mx.y.example does not offer STARTTLS", "starttls-not-supported"),
        (
            "y.example needs TLS (verify): mx has a certificate that is expired or not signed by",
            "certificate-not-trusted",
        ),
        (
            "the certificate of mx is for other.example, not for the MX host or for y.example",
            "certificate-host-mismatch",
        ),
        ("y.example needs DANE (dane-only): no TLSA records of mx", "dnssec-invalid"),
        ("y.example needs TLS (require): mx did not get through the TLS handshake", "validation-failure"),
    ],
)
def test_what_waits_for_tls(status: str, result: str) -> None:
    assert counts(end(1, "deferred", status=status)) == {"y.example": (0, 0, {(result, "mx.y.example"): 1})}


@pytest.mark.parametrize(
    "event",
    [
        end(1, "deferred", reply="452 4.2.2 mailbox full"),
        end(1, mailer="smarthost"),
        end(1, host="1.uplink"),
        end(1, host=""),
        end(1, to=""),
    ],
)
def test_what_says_nothing(event: Event) -> None:
    assert counts(event) == {}


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        (["v=TLSRPTv1; rua=mailto:r@y.example"], ["r@y.example"]),
        (["v=spf1 -all", "v=TLSRPTv1;rua=mailto:r%2Bt@y.example,https://y.example/x,mailto:s@z.example;"], ["r+t@y.example", "s@z.example"]),
        (["v=TLSRPTv1; rua=https://y.example/x"], []),
        (["v=TLSRPTv1; rua=mailto:r@y.example", "v=TLSRPTv1; rua=mailto:s@y.example"], []),
        (["v=TLSRPTv2; rua=mailto:r@y.example"], []),
        (["v=TLSRPTv1; rua=mailto:r@y.example%0d%0aBcc:x@z.example"], []),
        (["v=TLSRPTv1; rua=mailto:a b@y.example, mailto:"], []),
        (["v=TLSRPTv1"], []),
        ([], []),
    ],
)  # fmt: skip
def test_who_wants_reports(texts: list[str], found: list[str]) -> None:
    assert tls_report.recipients(texts) == found


RESULTS = st.sampled_from(["starttls-not-supported", "certificate-expired", "validation-failure"])


@given(
    st.integers(0, 10**6),
    st.dictionaries(st.tuples(RESULTS, st.sampled_from(["mx1.y.example", "mx2.y.example"])), st.integers(1, 999)),
)
def test_the_reader_of_others_reports_reads_ours(successful: int, failed: dict[tuple[str, str], int]) -> None:
    seen = DomainSessions(successful)
    seen.failed.update(failed)
    made = tls_report.report("y.example", seen, DAY, "mail.x.example", "postmaster@x.example")
    found = tlsrpt.read(json.dumps(made).encode())
    assert (found.organization, found.begin, found.end) == (
        "mail.x.example",
        int(DAY.timestamp()),
        int(DAY.timestamp()) + 86_399,
    )
    (policy,) = found.policies
    assert (policy.domain, policy.successful, policy.failed) == ("y.example", successful, sum(failed.values()))
    assert {(each.result, each.mx): each.count for each in policy.failures} == failed


def test_the_letter() -> None:
    seen = sessions([tls(1), end(1), end(2)])["y.example"]
    made = tls_report.report("y.example", seen, DAY, "mail.x.example", "postmaster@x.example")
    message = tls_report.letter(made, "r@y.example", "postmaster@x.example", DAY)
    content = message.as_bytes(policy=email.policy.SMTP)
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "tlsrpt"
    assert message["TLS-Report-Domain"] == "y.example"
    assert message["TLS-Report-Submitter"] == "mail.x.example"
    (attachment,) = message.iter_attachments()
    assert attachment.get_content_type() == "application/tlsrpt+gzip"
    assert attachment.get_filename() == "mail.x.example!y.example!1795564800!1795651199.json.gz"
    told = telling.told(["tlsrpt@bounces.y.example"], content, lambda _: None)
    assert not told.keep
    assert ['"starttls-not-supported"' in line for line in told.lines] == [True, False]


class TestTheCommand:
    """From the store and the DNS to messages."""

    @pytest.fixture
    def sent(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
        engine = database.connect(tmp_path / "events.db")
        database.upgrade(engine)
        events = [tls(1), end(1), end(2, to="u@z.example", host="mx.z.example")]
        stamped = tuple(event | {"time": "2026-11-25T10:00:00Z"} for event in events)
        writer.write(engine, Batch((*stamped, end(3) | {"time": "2026-11-26T00:00:00Z"}), Position("j", 1)), RECORDING)
        monkeypatch.setattr(database, "existing", lambda: engine)
        monkeypatch.setattr(cli, "load", lambda: Config(hostname="mail.x.example", domains=("x.example",)))
        zone = {"_smtp._tls.y.example": {"TXT": ("v=TLSRPTv1; rua=mailto:r@y.example",)}}
        monkeypatch.setattr(cli, "Resolver", lambda _: TableResolver(zone))
        sent: list[tuple[str, str]] = []

        def hand_over(_: Config, message: Any) -> str:
            sent.append((message["To"], message["From"]))
            return "" if len(sent) < 2 else "550 no"

        monkeypatch.setattr(cli, "hand_over", hand_over)
        return sent

    def run(self, *words: str) -> tuple[Any, str]:
        result = CliRunner().invoke(cli.command, ["--day", "2026-11-25", *words], standalone_mode=False)
        assert result.exception is None, result.output
        return result.return_value, result.output

    def test_it_tells_and_sends_only_where_told_to(self, sent: list[tuple[str, str]]) -> None:
        assert self.run() == (0, "y.example: 1 sessions with TLS, 0 without, to r@y.example\n")
        assert sent == []
        assert self.run("--send")[0] == 0
        assert sent == [("r@y.example", "postmaster@x.example")]
        code, output = self.run("--send")
        assert (code, "r@y.example: 550 no" in output) == (1, True)

    def test_as_json(self, sent: list[tuple[str, str]]) -> None:
        (report,) = json.loads(self.run("--json")[1])
        assert report["policies"][0]["policy"]["policy-domain"] == "y.example"
        assert sent == []
