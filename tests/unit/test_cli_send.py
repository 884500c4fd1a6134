"""What `postroad send` says of the events of its message, one by one."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest
from rich.text import Text

from postroad.cli import send
from postroad.cli.send import DELIVERED, Progress, letter
from postroad.config.model import Config
from tests.unit.commands import run

CONFIG = Config.model_validate({"hostname": "mail.example.com", "domains": ["example.com"]})


def said(*events: dict[str, Any]) -> tuple[list[str], int | None]:
    progress = Progress("<1@example.com>", CONFIG)
    about = {"message_id": "<1@example.com>", "queue_id": "q1"}
    lines = [line for event in events for line in progress.tell(about | event)]
    return [Text.from_markup(line).plain for line in lines], progress.code


def test_a_redirected_recipient_is_told_where_the_mail_goes() -> None:
    lines, code = said(
        {"event": "signed", "domain": "example.com", "selector": "s1"},
        {"event": "redirected", "recipient": "you@example.net", "redirected_to": "qa@example.com"},
        {"event": "accepted"},
        {"event": "delivered", "recipient": "you@example.net", "relay_host": "mx.example.com", "reply": "Ok"},
    )
    assert lines == [
        "✔ signed for example.com, selector s1",
        "! goes to qa@example.com in place of you@example.net",
        "✔ accepted as q1",
        "! without TLS to mx.example.com",
        "✔ delivered to mx.example.com: Ok",
    ]
    assert code == DELIVERED


def test_events_of_other_messages_say_nothing() -> None:
    assert said({"event": "accepted", "message_id": "<2@example.com>", "queue_id": "q2"}) == ([], None)


def test_the_date_of_the_test_message_names_its_time_zone() -> None:
    message = letter(CONFIG, "you@example.net", "app@example.com")
    assert str(message["Date"]).endswith(" +0000")
    assert str(message["Date"]) in message.get_content()


def test_programs_are_told_why_a_message_was_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(send, "load", lambda: CONFIG)
    monkeypatch.setattr(send, "hand_over", lambda *_: "553 5.7.1 not yours")
    monkeypatch.setattr(send, "FEED", tmp_path / "feed")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "feed"))
        listener.listen()
        code, out, _ = run("send", "--json", "you@example.net")
    assert (code, json.loads(out)) == (1, {"events": [], "refused": "553 5.7.1 not yours"})
