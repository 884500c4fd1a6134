"""What the rules say of a receiver is of this message, whatever became of another one, or of another recipient, in the same process."""

import smtplib
import ssl
from pathlib import Path

import pytest

from postroad.testing import PostroadContainer
from tests.integration.conftest import Relays, letter, send, wait_until
from tests.internet.internet import Internet

USER = "app", "a password"
REFUSED = '"user@elsewhere.example"@mail.sender.example'
"""A recipient that is refused for good at RCPT."""


@pytest.fixture(scope="module")
def relay(relays: Relays, internet: Internet, tmp_path_factory: pytest.TempPathFactory) -> PostroadContainer:
    folder: Path = tmp_path_factory.mktemp("secrets")
    folder.chmod(0o755)
    (folder / "app").write_text(USER[1])
    (folder / "app").chmod(0o444)
    internet.add_watch("mx.clear.example", behaviour="no-starttls")
    internet.add_mx("lenient.example", "strict.example", tls=False)
    internet.publish("clear.example", "MX", "10 mx.clear.example.")
    policy = {"domains": {"clear.example": "require", "strict.example": "require"}}
    return relays(
        publish=False,
        domains=["sender.example", "clear.example"],
        dkim={"enabled": False},
        clients={"users": [{"name": USER[0], "password_file": "/run/secrets/app"}]},
        delivery={"tls": policy, "queue": {"retry": "4h"}},
        mounts={str(folder): "/run/secrets"},
    )


def test_a_message_that_is_put_off_does_not_bounce_after_one_that_did(relay: PostroadContainer) -> None:
    for number in range(3):
        failed = send(relay, letter(), to_addrs=[f"unknown-{number}@rcpt.example"])
        relay.wait_for(failed, "bounced")
        put_off = send(relay, letter(), to_addrs=[f"user-{number}@clear.example"])
        assert _fate(relay, put_off) == {f"user-{number}@clear.example": {"deferred"}}


def test_a_bounce_that_is_put_off_is_not_lost(relay: PostroadContainer) -> None:
    """The process that has just seen a receiver refuse a message delivers its bounce as well."""
    message = letter(From="app@clear.example", To="unknown@rcpt.example")
    failed = send(relay, message, from_addr="app@clear.example", to_addrs=["unknown@rcpt.example"])
    notified = relay.wait_for(failed, "notified")["notification_id"]
    last = wait_until(lambda: _ends(relay, notified))
    assert [(event["event"], event["dsn"]) for event in last] == [("deferred", "4.7.0")]
    assert "needs TLS (require)" in str(last[0]["status"])
    assert notified in relay.command("queue", "list")


@pytest.mark.parametrize("listener", ["smtp", "submission"])
def test_of_several_recipients_each_has_its_own_verdict(relay: PostroadContainer, listener: str) -> None:
    to = [f"unknown-{listener}@rcpt.example", "user@clear.example"]  # once it has bounced, it is suppressed
    assert _fate(relay, _hand_over(relay, listener, to)) == {to[0]: {"bounced"}, to[1]: {"deferred"}}


@pytest.mark.parametrize("listener", ["smtp", "submission"])
def test_a_recipient_that_was_refused_says_nothing_of_the_next(relay: PostroadContainer, listener: str) -> None:
    sent = _hand_over(relay, listener, [REFUSED, "user@clear.example"])
    assert _fate(relay, sent) == {"user@clear.example": {"deferred"}}


def test_of_several_domains_at_one_receiver_each_has_its_own_verdict(relay: PostroadContainer) -> None:
    """They go in one transaction, in which a refusal comes before the verdict."""
    to = ["unknown@lenient.example", "user@strict.example", "user@lenient.example"]
    fate = _fate(relay, _hand_over(relay, "submission", to))
    assert fate == {to[0]: {"bounced"}, to[1]: {"deferred"}, to[2]: {"delivered"}}


def test_a_message_after_a_refused_one_in_the_same_session(relay: PostroadContainer) -> None:
    with _session(relay, "submission") as smtp:
        assert smtp.mail("app@stranger.example")[0] == 550
        smtp.rset()
        sent = letter(To="user@clear.example")
        smtp.send_message(sent)
    assert _fate(relay, sent["Message-ID"]) == {"user@clear.example": {"deferred"}}


def _session(relay: PostroadContainer, listener: str) -> smtplib.SMTP:
    smtp = smtplib.SMTP(relay.host, relay.port_of(listener), timeout=20)
    if listener == "submission":
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        smtp.starttls(context=context)
        smtp.login(*USER)
    return smtp


def _hand_over(relay: PostroadContainer, listener: str, to: list[str]) -> str:
    """Send a message to several, of whom the first may be refused; return its Message-ID."""
    message = letter(To=to[-1])
    with _session(relay, listener) as smtp:
        smtp.ehlo()
        assert smtp.mail("app@sender.example")[0] == 250
        codes = [smtp.docmd("RCPT", f"TO:<{each}>")[0] for each in to]
        assert codes == [550 if each == REFUSED else 250 for each in to]
        assert smtp.data(message.as_string())[0] == 250
    return str(message["Message-ID"])


def _ends(relay: PostroadContainer, queue_id: str) -> list[dict[str, object]]:
    last = {"deferred", "bounced", "delivered"}
    return [each for each in relay.events() if each.get("queue_id") == queue_id and each["event"] in last]


def _fate(relay: PostroadContainer, message_id: str) -> dict[str, set[str]]:
    """What became of each recipient of a message, once something has of all of them."""
    fates: dict[str, set[str]] = {}

    def of_all() -> bool:
        ids = {event.get("queue_id") for event in relay.events() if event.get("message_id") == message_id}
        accepted = [e for e in relay.events() if e["event"] == "accepted" and e.get("message_id") == message_id]
        fates.clear()
        for queue_id in filter(None, ids):
            for event in _ends(relay, queue_id):
                fates.setdefault(str(event["recipient"]), set()).add(str(event["event"]))
        return bool(accepted) and len(fates) >= accepted[0]["recipients"]

    wait_until(of_all, 30)
    return fates
