"""Smarthosts with access tokens: a real Postfix with Dovecot behind it, and a token server of the tests."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from postroad.testing import PostroadContainer
from tests.integration.conftest import Relays, deferred, end_sessions, letter, secrets_folder, send, wait_until
from tests.internet.host import Mx
from tests.internet.internet import Internet

HOST = "smtp.token.example"
TOKEN = f"https://{HOST}/token"


@pytest.fixture(scope="module")
def upstream(internet: Internet) -> Mx:
    return internet.add_smarthost(HOST, user="app:unused", tokens=True)


@pytest.fixture(scope="module")
def safe(internet: Internet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return secrets_folder(tmp_path_factory, internet, secret="s3cret-of-the-client", refresh="first")


@pytest.fixture
def start(start_relay: Relays, safe: Path, upstream: Mx) -> Callable[..., PostroadContainer]:
    upstream.grant()

    def start(port: int = 587, state: str | None = None, **oauth: Any) -> PostroadContainer:
        smarthost = {
            "host": HOST,
            "port": port,
            "username": "app",
            "oauth": {"token_url": TOKEN, "client_id": "postroad", **oauth},
        }
        wanted: dict[str, Any] = {"state": state} if state else {}
        return start_relay(
            mounts={str(safe): "/secrets"},
            delivery={"tls": {"ca_file": "/secrets/ca.pem"}, "queue": {"retry": "1s"}, "smarthost": smarthost},
            **wanted,
        )

    return start


SECRET = {"client_secret_file": "/secrets/secret"}


def test_client_credentials_that_expire_and_are_refused(start: Any, upstream: Mx, internet: Internet) -> None:
    upstream.grant(life=20)
    relay = start(port=465, **SECRET)
    message = internet.wait_for_message(send(relay, letter()))
    assert (message.mx, message.verdict("dkim")) == (HOST, "pass")
    assert "Authenticated sender: app" in str(message.message["Received"])
    asked = len(upstream.granted())
    # a token that was revoked, or whose end a wrong clock misses, is had anew in the same session
    upstream.grant(revoked=True)
    end_sessions(relay)
    internet.wait_for_message(send(relay, letter()))
    assert len(upstream.granted()) == asked + 1
    # and the token server refuses: mail waits, with its words, and goes out when it grants again
    upstream.grant(error="invalid_client", revoked=True)
    end_sessions(relay)
    message_id = send(relay, letter())
    reason = deferred(relay, message_id)
    assert f"421 4.7.0 {HOST} can't be logged in to: {HOST} gives no token: invalid_client: the test says so" in reason
    upstream.grant()
    internet.wait_for_message(message_id, timeout=90)
    shown = [relay.log(), relay.shell("cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ | tr '\\0' ' '")[1]]
    shown.append(relay.shell("find /run/postroad/current/ -type f ! -name uplink.json -exec cat {} +")[1])
    for text in shown:
        assert "s3cret-of-the-client" not in text
        assert "Bearer" not in text


def test_a_refresh_token_that_turns_is_kept_over_a_new_container(
    start: Any, upstream: Mx, internet: Internet, volumes: Callable[[str], str]
) -> None:
    state = volumes("state")
    for number in (1, 2):
        relay = start(state=state, refresh_token_file="/secrets/refresh")
        internet.wait_for_message(send(relay, letter()))
        turned = [line.split()[1] for line in upstream.granted() if line.startswith("refresh_token")]
        assert turned[0] == "first"
        assert len(set(turned)) == len(turned) == number  # each counts once
        kept = relay.shell("stat -c '%a %U' /var/lib/postroad/oauth/*.json")[1].split()
        assert kept == ["600", "smmta"]
        relay.get_wrapped_container().stop()


def test_a_person_logs_in_by_a_device_code(start: Any, upstream: Mx, internet: Internet) -> None:
    relay = start(device_url=f"https://{HOST}/device")
    message_id = send(relay, letter())
    assert "there is no token yet: run `postroad smarthost login`" in deferred(relay, message_id)
    container = str(relay.get_wrapped_container().id)
    login = ["docker", "exec", container, "postroad", "smarthost", "login"]
    with subprocess.Popen(login, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as person:
        wait_until(lambda: any("device_code" in line for line in upstream.granted()), 30)
        upstream.grant(agreed=True)
        said, _ = person.communicate(timeout=60)
    assert person.returncode == 0, said
    assert f"Open https://{HOST}/go as app, and enter the code WDJB" in said
    internet.wait_for_message(message_id, timeout=90)


def test_check_looks_at_each_server(start: Any, upstream: Mx) -> None:
    relay = start(**SECRET)
    code, said = relay.shell("postroad smarthost check")
    assert code == 0, said
    for text in (
        f"{HOST} port 587 (delivery.smarthost)",
        "certificate verified",
        "XOAUTH2 as app",
        "SIZE",
        "MAIL      250",
        "RCPT      250",
    ):
        assert text in said
    assert "STARTTLS" not in said
    code, said = relay.shell("postroad doctor --only smarthost-session")
    assert code == 0, said
    upstream.grant(error="invalid_client")
    code, said = relay.shell("postroad smarthost check")
    assert code == 1
    assert "gives no token: invalid_client" in said
    code, said = relay.shell("postroad doctor --only smarthost-session")
    assert code == 1
    assert "does not take our mail" in said
