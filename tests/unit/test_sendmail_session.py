"""A session with sendmail on two pipes, where a program of the test's stands in for it."""

import signal
import smtplib
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from postroad.runtime import plan
from postroad.sendmail import session
from postroad.sendmail.session import LocalSession, NoSendmailError
from tests.unit import supervision

SENDMAIL = f"""#!{sys.executable}
import os, sys, time
print("220 hi " + " ".join(sys.argv[1:]), flush=True)
for line in sys.stdin:
    verb, _, rest = line.strip().partition(" ")
    if verb == "WAIT":
        time.sleep(60)
    print(f"{{221 if verb == 'QUIT' else 250}} {{verb}} {{os.environ.get('HERE')}}", flush=True)
    if verb == "QUIT":
        break
"""


@pytest.fixture
def sendmail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "sendmail"
    program.write_text(SENDMAIL)
    program.chmod(0o755)
    made = supervision.plan(supervision.process("sendmail", argv=(str(program), "-bD"), env={"HERE": "yes"}))
    monkeypatch.setattr(session, "CURRENT", tmp_path)
    monkeypatch.setattr(plan, "load", lambda path: {tmp_path / plan.FILE: made}[path])
    return program


def test_it_is_a_session_of_the_configuration_in_force(sendmail: Path) -> None:
    with LocalSession("mail.x.example") as smtp:
        assert smtp.local_hostname == "mail.x.example"
        assert smtp.docmd("NOOP") == (250, b"NOOP yes")
        process: Any = smtp.sock._process  # type: ignore[union-attr]
        assert process.poll() is None
    assert process.wait(5) == 0


def test_it_ends_after_its_time(sendmail: Path) -> None:
    with pytest.raises(smtplib.SMTPServerDisconnected):
        LocalSession("mail.x.example", longest=0.5).docmd("WAIT")


def test_who_does_not_end_after_quit_is_killed(sendmail: Path) -> None:
    smtp = LocalSession("mail.x.example", timeout=0.1)
    process: Any = smtp.sock._process  # type: ignore[union-attr]
    smtp.putcmd("WAIT")
    smtp.close()
    assert process.poll() == -signal.SIGKILL


def test_where_no_server_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(session, "CURRENT", tmp_path)
    with pytest.raises(NoSendmailError, match="no server runs here"):
        LocalSession("mail.x.example")
    empty = SimpleNamespace(processes=())
    monkeypatch.setattr(plan, "load", lambda _: empty)
    with pytest.raises(NoSendmailError, match="no server runs here"):
        LocalSession("mail.x.example")
