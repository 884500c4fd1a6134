"""What `docker logs` shows of addresses where `log.redact` is set: no mailbox's name."""

import re
import smtplib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from postroad.testing import PostroadContainer
from tests.integration.conftest import Relays, letter, send, wait_until
from tests.integration.test_doors import enter
from tests.integration.test_trace import messages, refused, wait_for

MARK = "zq7"
"""In every mailbox's name here."""
SENDER = f"app-{MARK}@sender.example"
TO = [f"{name}-{MARK}@rcpt.example" for name in ("user", "unknown", "tempfail")]


@pytest.fixture
def password(tmp_path: Path) -> Path:
    tmp_path.chmod(0o755)
    path = tmp_path / "app"
    path.write_text("a password")
    path.chmod(0o444)
    return path


def use(relay: PostroadContainer) -> None:
    """Let happen what names addresses: delivery, bounce, delay, refusals, AUTH that works and that does not."""
    with enter(relay, "submission") as smtp:
        smtp.login(f"login-{MARK}@sender.example", "a password")
        message = letter(From=f"App <{SENDER}>")
        smtp.sendmail(SENDER, TO, message.as_string())
    with enter(relay, "submission") as smtp, pytest.raises(smtplib.SMTPAuthenticationError):
        smtp.login(f"typo-{MARK}@sender.example", "wrong")
    wait_for(lambda: f"unknown-{MARK}@rcpt.example" in relay.shell("postroad suppress list --json")[1])
    wait_for(lambda: refused(relay, TO[1], SENDER)[0] == 550)  # the map follows the list
    assert refused(relay, f'"quoted {MARK}"@rcpt.example', SENDER)[0] == 250
    assert refused(relay, f"no-domain-{MARK}", SENDER)[0] == 553
    assert refused(relay, f"{MARK}@a@rcpt.example", SENDER)[0] in {250, 553}
    with smtplib.SMTP(relay.host, relay.port, timeout=20) as smtp:
        smtp.ehlo()
        assert smtp.mail(f"stranger-{MARK}@elsewhere.example")[0] == 550
        assert smtp.mail(f"no-domain-{MARK}")[0] == 553
        assert smtp.mail(SENDER)[0] == 250
        smtp.rcpt(TO[0])
        assert smtp.data(letter(From=f"{MARK}@elsewhere.example").as_string())[0] == 550
    ends = {"delivered", "bounced", "deferred"}
    message_id = str(message["Message-ID"])
    wait_for(lambda: {each["status"] for each in messages(relay, message_id)} >= ends)
    assert {each["recipient"] for each in messages(relay, message_id)} == set(TO)  # the store knows them


def test_no_mailbox_s_name_is_in_the_container_s_log(
    start_relay: Relays, password: Path, volumes: Callable[[str], str]
) -> None:
    config: dict[str, Any] = {
        "clients": {"users": [{"name": f"login-{MARK}@sender.example", "password_file": "/run/secrets/app"}]},
        "mounts": {str(password.parent): "/run/secrets"},
        "state": volumes("state"),
    }
    relay = start_relay(log={"redact": "hash"}, **config)
    use(relay)
    kinds = {"accepted", "delivered", "bounced", "deferred", "rejected", "auth"}
    wait_until(lambda: kinds <= {event["event"] for event in relay.events()})
    relay.get_wrapped_container().stop(timeout=20)
    assert MARK not in relay.log().lower()
    (delivered,) = [event for event in relay.events() if event["event"] == "delivered" and event["sender"]]
    assert delivered["recipient"].startswith("#")
    assert len(delivered["sender"]) == 17

    bounced = [event for event in relay.events() if event["event"] == "bounced"]
    assert all(re.search(r"<#[0-9a-f]{16}>: Recipient address rejected", event["reply"]) for event in bounced)

    again = start_relay(log={"redact": "hash"}, **config)
    again.follow(send(again, letter(), from_addr=SENDER, to_addrs=TO[:1]))
    (event,) = [event for event in again.events() if event["event"] == "delivered"]
    assert (event["recipient"], event["sender"]) == (delivered["recipient"], delivered["sender"])
