"""The HTTP API of a relay: messages by it are held to the relay's rules and arrive signed; it ends and comes back alone."""

import base64
import http.client
import json
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from postroad.testing import PostroadContainer
from tests.integration.authority import Authority
from tests.integration.conftest import RELAYS, Relays, signal_daemon, wait_until
from tests.internet.internet import Internet

HOST = "mail.sender.example"
KEYS = {"shop": "shop" + "s" * 40, "board": "board" + "b" * 40, "news": "news" + "n" * 40}
PASSWORD = "correct horse battery"
CONFIG: dict[str, Any] = {
    "domains": ["sender.example", "other.example"],
    "clients": {
        "trust_gateway": False,
        "users": [
            {"name": "app", "password_file": "/secrets/app", "domains": ["sender.example"]},
            {"name": "news", "password_file": "/secrets/app", "domains": ["other.example"]},
        ],
    },
    "tls": {"certificate_file": "/secrets/good.pem", "key_file": "/secrets/good.key"},
    "web": {
        "listen": "0.0.0.0:8080",
        "password_file": "/secrets/console",
        "keys": [
            {"name": "shop", "key_file": "/secrets/shop", "user": "app", "rights": ["send", "read"]},
            {"name": "news", "key_file": "/secrets/news", "user": "news"},
            {"name": "board", "key_file": "/secrets/board", "domains": ["*"], "rights": ["read", "suppressions"]},
        ],
    },
}
MESSAGE = {"from": "Shop <shop@sender.example>", "to": ["user@rcpt.example"], "subject": "Grüße", "text": "Hello\n.\n"}


@pytest.fixture(scope="module")
def folder(image: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("secrets")
    Authority(image, made).issue("good")
    for name, text in {"app": "app's password", "console": PASSWORD, **KEYS}.items():
        (made / name).write_text(f"{text}\n")
        (made / name).chmod(0o444)
    return made


@pytest.fixture(scope="module")
def api(image: str, internet: Internet, folder: Path, request: pytest.FixtureRequest) -> Iterator[PostroadContainer]:
    internet.add_zone("other.example")
    relays = Relays(image, internet)
    with relays.stack:
        request.node.stash[RELAYS] = relays.started
        yield relays(**CONFIG, mounts={str(folder): "/secrets"})


class Connection(http.client.HTTPSConnection):
    """With the relay's address, and the name in its certificate."""

    def __init__(self, relay: PostroadContainer, context: ssl.SSLContext) -> None:
        super().__init__(HOST, 8080, timeout=60, context=context)
        self._verified = context
        self._relay = relay

    def connect(self) -> None:
        plain = socket.create_connection((self._relay.address, 8080), timeout=60)
        self.sock = self._verified.wrap_socket(plain, server_hostname=HOST)


def call(
    relay: PostroadContainer, folder: Path, method: str, path: str, body: Any = None, key: str = "shop"
) -> tuple[int, Any]:
    connection = Connection(relay, ssl.create_default_context(cafile=folder / "ca.pem"))
    headers = {"Authorization": f"Bearer {KEYS.get(key, key)}"} | ({"Content-Type": "application/json"} if body else {})
    try:
        connection.request(method, path, json.dumps(body) if body else None, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def sent(relay: PostroadContainer, folder: Path, key: str = "shop", **changes: Any) -> tuple[int, Any]:
    return call(relay, folder, "POST", "/v1/messages", MESSAGE | changes, key)


def test_a_message_arrives_signed_and_its_story_is_told(
    api: PostroadContainer, folder: Path, internet: Internet
) -> None:
    status, answer = sent(api, folder)
    assert status == 202, answer
    received = internet.wait_for_message(answer["message_id"])
    assert received.verdict("dkim") == "pass"
    assert received.message["Subject"] == "Grüße"
    found = wait_until(lambda: delivered(api, folder, answer["id"]))
    assert found["messages"][0]["recipient"] == "user@rcpt.example"


def delivered(relay: PostroadContainer, folder: Path, queue_id: str) -> Any:
    status, answer = call(relay, folder, "GET", f"/v1/messages/{queue_id}")
    return answer if status == 200 and answer["messages"][0]["status"] == "delivered" else None


def test_a_raw_message_leaves_as_it_is(api: PostroadContainer, folder: Path, internet: Internet) -> None:
    raw = b"From: shop@sender.example\r\nTo: user@rcpt.example\r\nMessage-ID: <raw-1@sender.example>\r\nDate: Thu, 26 Nov 2026"
    raw += b" 10:00:00 +0000\r\nSubject: raw\r\nX-Odd:   spaces \t stay\r\n\r\n.\r\n..\r\nbody\r\n"
    given = {
        "raw": base64.b64encode(raw).decode(),
        "return_path": "shop@sender.example",
        "recipients": ["user@rcpt.example"],
    }
    status, answer = call(api, folder, "POST", "/v1/messages", given)
    assert (status, answer["message_id"]) == (202, "<raw-1@sender.example>")
    assert internet.wait_for_message("<raw-1@sender.example>").raw.endswith(raw.replace(b"\r\n", b"\n"))


@pytest.mark.parametrize(
    ("key", "changes"),
    [
        ("shop", {"from": "shop@other.example"}),
        ("shop", {"return_path": "shop@other.example"}),
        ("shop", {"from": "shop@stranger.example"}),
        ("news", {}),
    ],
)
def test_nobody_sends_as_somebody_else(api: PostroadContainer, folder: Path, key: str, changes: dict[str, Any]) -> None:
    status, answer = sent(api, folder, key, **changes)
    assert (status, answer["type"]) == (422, "urn:postroad:problem:refused"), answer


def test_more_recipients_than_a_message_may_have_are_several(api: PostroadContainer, folder: Path) -> None:
    everybody = [f"user-{number}@rcpt.example" for number in range(1000)]
    status, answer = sent(api, folder, to=[], bcc=everybody)
    assert status == 202, answer
    assert [each["address"] for each in answer["recipients"]] == everybody
    assert {each["status"] for each in answer["recipients"]} == {"accepted"}
    assert len({each["id"] for each in answer["recipients"]}) == 10


def test_a_suppressed_address_is_refused_and_the_others_get_it(api: PostroadContainer, folder: Path) -> None:
    path = "/v1/suppressions"
    status, answer = call(api, folder, "POST", path, {"addresses": ["gone@rcpt.example"]}, "board")
    assert (status, answer["changed"]) == (200, 1)
    status, answer = sent(api, folder, to=["gone@rcpt.example", "user@rcpt.example"])
    assert status == 202
    assert [(each["status"], each.get("class")) for each in answer["recipients"]] == [
        ("refused", "suppressed"),
        ("accepted", None),
    ]
    assert call(api, folder, "DELETE", f"{path}/gone@rcpt.example", key="board")[0] == 200
    assert sent(api, folder, to=["gone@rcpt.example"])[0] == 202


def test_a_request_is_made_once(api: PostroadContainer, folder: Path) -> None:
    first, second = (sent(api, folder, idempotency_key="order-1") for _ in range(2))
    assert first == second
    assert sent(api, folder, idempotency_key="order-1", subject="other")[0] == 422


def test_a_key_is_needed(api: PostroadContainer, folder: Path) -> None:
    assert call(api, folder, "GET", "/v1/stats", key="wrong" * 10)[0] == 401
    assert call(api, folder, "GET", "/v1/stats", key="board")[0] == 200
    assert call(api, folder, "GET", "/v1/stats", key="news")[0] == 403


def test_the_console_opens_by_its_password(api: PostroadContainer, folder: Path) -> None:
    def ask(method: str, path: str, body: str | None = None, **headers: str) -> tuple[int, str, str]:
        connection = Connection(api, ssl.create_default_context(cafile=folder / "ca.pem"))
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            cookie = (answer.getheader("Set-Cookie") or "").partition(";")[0]
            return answer.status, cookie, answer.read().decode()
        finally:
            connection.close()

    form = {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"}
    assert ask("GET", "/")[0] == 303
    assert ask("POST", "/login", "password=wrong+password", **form)[0] == 401
    status, cookie, _ = ask("POST", "/login", f"password={PASSWORD.replace(' ', '+')}", **form)
    assert status == 303
    assert cookie.startswith("__Host-postroad=")
    status, _, text = ask("GET", "/", Cookie=cookie)
    assert status == 200
    assert "Overview" in text
    assert "@rcpt.example" not in text


def test_its_death_changes_nothing_for_mail_and_it_comes_back(api: PostroadContainer, folder: Path) -> None:
    signal_daemon(api, "web", "KILL")

    def back() -> bool:
        try:
            return call(api, folder, "GET", "/v1/stats")[0] == 200
        except OSError:
            return False

    wait_until(back, timeout=30)
    assert sent(api, folder)[0] == 202
    assert api.get_wrapped_container().status == "running"


def test_without_it_there_is_no_process(start_relay: Relays) -> None:
    relay = start_relay(publish=False)
    assert "postroad.web" not in relay.shell("cat /proc/[0-9]*/cmdline")[1]
