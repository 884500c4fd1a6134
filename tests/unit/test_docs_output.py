"""Every block of output in the documents is what the code prints for the data named here; none is without.

A block of output is fenced as ``text``, or as ``json`` where it is for programs. Blocks in other languages are commands,
configurations and snippets, which other tests hold: ``LANGUAGES`` says which.
"""

import json
import re
import time
from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from rich.console import Console

from postroad.checks import __main__ as checks
from postroad.checks import spf
from postroad.checks.model import Finding, Level
from postroad.cli import active, doctor, trace
from postroad.commands import queue as queue_messages
from postroad.config.model import Config
from postroad.dns.egress import Egress
from postroad.events import model
from postroad.runtime import refusals
from postroad.runtime.attempts import Attempt
from postroad.sendmail import listeners
from postroad.sendmail import queue as queue_files
from postroad.store import database, queries
from postroad.webhooks import envelope
from tests.documents import DOCUMENTS, HELD, ROOT, Block, blocks
from tests.golden.test_golden import rendered
from tests.unit import test_uplink_session
from tests.unit.test_checks_spf import context
from tests.unit.test_sendmail_queue import ID, put

BLOCKS = [block for document in DOCUMENTS for block in blocks(document)]
OUTPUTS = [block for block in BLOCKS if block.language in {"text", "json"} and block.document not in HELD]
LANGUAGES = {
    "sh": "tests/unit/test_docs.py: each command is run by tests/integration/test_docs.py, or tests/documents.py says by what",
    "yaml": "tests/unit/test_docs.py: it loads, or stands in a document of STARTS or HELD",
    "bash": "tests/integration/test_alone.py: docs/running.md",
    "python": "tests/integration/test_docs.py: docs/testing.md",
}
"""Languages of blocks that are no output, outside of the documents of ``HELD``."""
EVENTS = "docs/events.md"
"""Its examples: tests/unit/test_events_docs.py compares each with a recorded one, or with the fields of its kind."""


def of_egress() -> str:
    return Egress(("203.0.113.10",), "dns", ("172.18.0.2",)).sentence


def of_spf() -> str:
    (bad,) = [
        each
        for each in spf.run(context("v=spf1 mx a ip4:10.0.0.0/255.255.255.0 ip4:203.0.113.10 -all"))
        if each.level == "error"
    ]
    message = bad.message.replace("x.example", "example.com")
    console = Console(width=130, highlight=False)
    with console.capture() as got:
        doctor.show([Finding(bad.id, bad.level, message)], console)
    return got.get().partition("\n\n")[0]


def of_trace(monkeypatch: pytest.MonkeyPatch) -> str:
    story = queries.Story("6AOAEf0b000054", "<1@example.com>", "app@example.com", "you@example.net")
    story.take(1.0, {"event": "accepted", "time": "2026-11-24T10:14:41.590Z", "client_address": "172.27.0.4"})
    reply = {"relay_host": "mx.example.net", "reply": "Ok: queued as BBF5254A621"}
    story.take(2.0, {"event": "delivered", "time": "2026-11-24T10:14:41.702Z", **reply})
    monkeypatch.setattr(database, "existing", lambda: None)
    monkeypatch.setattr(database, "told", lambda _: nullcontext())
    monkeypatch.setattr(queries, "trace", lambda *_: [story])
    monkeypatch.setattr(queries, "gaps", lambda *_: [])
    return CliRunner().invoke(trace.command, ["you@example.net"], catch_exceptions=False).output


def rule(text: str, *values: str, case: str) -> str:
    """The answer of the rule in sendmail.mc that says this text, with values in the place of its ``$1``, ``$2``."""
    (mc,) = [file.text for file in rendered(case) if file.path == "sendmail.mc"]
    (line,) = [line for line in mc.splitlines() if text in line and "$#error" in line]
    dsn, said = re.findall(r"\$#error \$@ (\S+) \$: (.*)", line)[0]
    words = re.findall(r'"([^"]*)"|(\$\d)', said)
    answer = "".join(quoted or values[int(number[1]) - 1] for quoted, number in words)
    return f"{answer[:3]} {dsn}{answer[3:]}"


def of_suppressed() -> str:
    return rule(refusals.SUPPRESSED, "", "userunknown", case="minimal").replace(
        "5.1.1 ", "5.1.1 <gone@example.net>... "
    )


def of_braked() -> str:
    return rule(refusals.BRAKED, "example.com", "12 of 110 bounced", case="limits")


certificate = test_uplink_session.certificate


def of_smarthost(certificate: Path) -> str:
    async def script(peer: test_uplink_session.Peer) -> None:
        await test_uplink_session.good(peer, answer)
        while await peer.hear():
            await peer.say(answer)

    answer = "535 5.7.8 Error: authentication failed"
    return test_uplink_session.refusal(script, certificate).replace("localhost", "smtp.example.net")


def of_port(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(listeners, "_is_forbidden", lambda _, port: port == 25)
    config = Config.model_validate({"hostname": "mail.example.com", "domains": ["example.com"]})
    (line,) = listeners.unopenable(config)
    return f"postroad: {line}"


def of_queue(tmp_path: Path) -> dict[str, Any]:
    text = queue_files_text()
    put(tmp_path, text)
    (message,) = queue_files.messages(tmp_path)
    assert message.arrived is not None
    return {
        "draining": False,
        "messages": [queue_messages.as_dict(message, timedelta(minutes=5), message.arrived + 20, {})],
    }


def queue_files_text() -> str:
    lines = [
        "V8",
        "T1795515680",
        "K1795515680",
        "N1",
        "P90074",
        "MDeferred: Connection refused by mx.example.net.",
        "Fs",
    ]
    lines += ["S<app@example.com>", "rRFC822; user@example.net", "RPFD:<user@example.net>", "H??Subject: x", "."]
    return "\n".join(lines) + "\n"


def of_attempts(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    attempt = Attempt(41, ID, "mx.example.net", "192.0.2.25", 25, 1795515680.0, 5120, "DATA status")
    monkeypatch.setattr(active, "under_way", lambda: [attempt])
    monkeypatch.setattr(time, "time", lambda: 1795515692.0)
    said: list[str] = []
    monkeypatch.setattr(click, "echo", said.append)
    active.show(as_json=True)
    return dict(json.loads(said[0]))


def of_webhook() -> dict[str, Any]:
    event: dict[str, Any] = {"event": "bounced", "time": "2026-11-24T05:03:53.381Z", "queue_id": "6AO53rYh003503"}
    event |= {"recipient": "nouser@rcpt.example", "class": "userunknown", "hard": True}
    return dict(json.loads(envelope.body("mail.example.com", "0f0e8a1c-5d7b-4f6e-9a53-0d1c2b3a4f5e", 0.0, event)))


def of_notice() -> dict[str, Any]:
    message = "port 25 does not leave this network: no receiver can be reached"
    said = (ROOT / "postroad/checks/port25.py").read_text()
    assert message.partition("no receiver ")[0] in said
    assert "can be reached" in said
    finding = Finding("port-25", Level.ERROR, message, seen="gmail.com: timed out", fix="ask the provider to open it")
    return {"event": model.Notice.kind, "program": "postroad", "level": "error", "message": checks.line(finding)}


PRODUCERS: dict[tuple[str, str], Callable[..., Any]] = {
    ("docs/aws.md", "this host is"): of_egress,
    ("docs/aws.ko.md", "this host is"): of_egress,
    ("docs/doctor.md", "level"): of_spf,
    ("docs/doctor.md", '{"event": "notice"'): of_notice,
    ("docs/feedback.md", "delivered"): of_trace,
    ("docs/feedback.md", "550 5.1.1"): of_suppressed,
    ("docs/feedback.md", "451 4.7.1"): of_braked,
    ("docs/podman.md", "postroad: listeners.smtp"): of_port,
    ("docs/queue.md", '{"draining"'): of_queue,
    ("docs/queue.md", '{"attempts"'): of_attempts,
    ("docs/smarthost.md", "421 4.7.0"): of_smarthost,
    ("docs/webhooks.md", '{"specversion"'): of_webhook,
}
"""What prints a block, by its document and how it begins."""


def producer(block: Block) -> Callable[..., Any] | None:
    found = [
        made
        for (document, start), made in PRODUCERS.items()
        if document == block.document and block.text.startswith(start)
    ]
    return found[0] if len(found) == 1 else None


def same(shown: Any, printed: Any) -> bool:
    """Whether a block shows what is printed, to where it breaks off with ``...``."""
    if isinstance(printed, str) and isinstance(shown, str):
        lines = [line.rstrip() for line in printed.strip("\n").splitlines()]
        wanted = [line.rstrip() for line in shown.strip("\n").splitlines()]
        if wanted and wanted[-1].endswith(" ..."):
            return (
                len(lines) >= len(wanted)
                and lines[: len(wanted) - 1] == wanted[:-1]
                and lines[len(wanted) - 1].startswith(wanted[-1][:-4])
            )
        return lines == wanted
    if isinstance(printed, dict) and isinstance(shown, dict):
        return list(shown) == list(printed) and all(same(shown[key], printed[key]) for key in shown)
    return bool(shown == printed)


def test_each_block_has_a_language_that_a_test_holds() -> None:
    for block in BLOCKS:
        if block.document not in HELD and block.language not in {"text", "json"}:
            assert block.language in LANGUAGES, (
                f"{block.document}: nothing holds a block in {block.language or 'no language'}: {block.text[:60]}"
            )
    for document in DOCUMENTS:
        bare = re.sub(r"^```\w+\n.*?^```$", "", (ROOT / document).read_text(), flags=re.DOTALL | re.MULTILINE)
        assert "```" not in bare, f"{document}: a fence without a language"
        assert not re.search(r"\n\n    \S", bare), f"{document}: an indented block; fence it, with its language"


@pytest.mark.parametrize("block", OUTPUTS, ids=lambda block: f"{block.document}-{block.text[:24]}")
def test_each_block_of_output_is_what_the_code_prints(block: Block, request: pytest.FixtureRequest) -> None:
    if block.document == EVENTS:
        held = (ROOT / "tests/unit/test_events_docs.py").read_text()
        assert "test_the_example_is_a_real_one" in held
        return
    made = producer(block)
    assert made, f"{block.document}: nothing prints this, so nothing keeps it true: {block.text[:80]}"
    wanted = made.__code__.co_varnames[: made.__code__.co_argcount]
    printed = made(**{name: request.getfixturevalue(name) for name in wanted})
    shown = json.loads(block.text) if block.language == "json" else block.text
    assert same(shown, printed), f"{block.document} shows\n{shown}\nand this is printed:\n{printed}"


def test_every_producer_has_its_block() -> None:
    used = {producer(block) for block in OUTPUTS}
    assert set(PRODUCERS.values()) <= used


def test_a_block_that_differs_is_told() -> None:
    assert same("a\nb ...\n", "a\nbc d\ne")
    assert not same("a\nc ...\n", "a\nbc d")
    assert not same("a", "a\nb")
    assert not same({"a": 1}, {"a": 1, "b": 2})
