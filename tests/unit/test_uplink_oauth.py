"""Access tokens: which are asked for, when anew, what is kept, and that none is in a text."""

import asyncio
import base64
import json
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from postroad.config.delivery import OAuth as Wanted
from postroad.config.delivery import Smarthost
from postroad.errors import InstallError
from postroad.runtime.uplink import OAuth
from postroad.secrets import oauth as secrets
from postroad.uplink import mechanisms, oauth
from postroad.uplink.oauth import TokenError, Tokens

URL = "https://login.example/token"


class TokenServer:
    """Answers what it is told to, and remembers the forms."""

    def __init__(self, *answers: tuple[int, Any] | OSError) -> None:
        self.answers = list(answers)
        self.forms: list[dict[str, str]] = []
        self.urls: list[str] = []

    def __call__(self, url: str, form: Mapping[str, str]) -> tuple[int, bytes]:
        self.urls.append(url)
        self.forms.append(dict(form))
        answer = self.answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        status, body = answer
        return status, body if isinstance(body, bytes) else json.dumps(body).encode()


def token(access: str, refresh: str = "", life: object = 3600) -> tuple[int, dict[str, object]]:
    found: dict[str, object] = {"access_token": access, "token_type": "Bearer", "expires_in": life}
    return 200, found | ({"refresh_token": refresh} if refresh else {})


def wanted(tmp_path: Path, **changed: str) -> OAuth:
    fields = {
        "grant": "client_credentials",
        "token_url": URL,
        "device_url": "",
        "client_id": "app",
        "client_secret": "s3cret",
    }
    fields |= {
        "scope": "smtp",
        "refresh_token": "",
        "private_key": "",
        "subject": "",
        "state": str(tmp_path / "o" / "t.json"),
    }
    return OAuth(**(fields | changed))


def run(tokens: Tokens, *unless: str) -> list[str]:
    async def ask() -> list[str]:
        return [await tokens.access(each) for each in unless or ("",)]

    return asyncio.run(ask())


def test_client_credentials_and_a_token_that_is_kept_while_it_counts(tmp_path: Path) -> None:
    server = TokenServer(token("one"), token("two"))
    tokens = Tokens(wanted(tmp_path), server)
    assert run(tokens, "", "", "other", "one", "one") == ["one", "one", "one", "two", "two"]
    assert server.forms == 2 * [
        {"grant_type": "client_credentials", "client_id": "app", "client_secret": "s3cret", "scope": "smtp"}
    ]


def test_many_who_ask_at_once_ask_the_server_once(tmp_path: Path) -> None:
    server = TokenServer(token("one"))

    async def ask() -> set[str]:
        tokens = Tokens(wanted(tmp_path), server)
        return set(await asyncio.gather(*(tokens.access() for _ in range(50))))

    assert asyncio.run(ask()) == {"one"}
    assert len(server.forms) == 1


def test_a_token_is_renewed_before_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    server = TokenServer(token("one"), token("two", life="x"), token("three", life=20))
    tokens = Tokens(wanted(tmp_path), server)
    assert run(tokens) == ["one"]
    now[0] += 3600 - oauth.MARGIN - 1
    assert run(tokens) == ["one"]
    now[0] += 1
    assert run(tokens) == ["two"]
    now[0] += oauth.USUAL_LIFE
    assert run(tokens) == ["three"]  # a short life: half of it
    now[0] += 9
    assert run(tokens) == ["three"]


def test_a_refresh_token_that_turns_is_kept_until_the_file_is_another(tmp_path: Path) -> None:
    first = wanted(tmp_path, grant="refresh_token", refresh_token="r1")
    server = TokenServer(token("a1", "r2"), token("a2", "r3"))
    tokens = Tokens(first, server)
    assert run(tokens, "", "a1") == ["a1", "a2"]
    assert [form["refresh_token"] for form in server.forms] == ["r1", "r2"]
    assert oauth.current(first) == "r3"
    # after a restart, too; another file begins anew
    assert oauth.current(wanted(tmp_path, grant="refresh_token", refresh_token="fresh")) == "fresh"
    assert Path(first.state).stat().st_mode & 0o777 == 0o600
    assert "r1" not in Path(first.state).read_text()


def test_a_refresh_token_that_can_not_be_kept_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "o").write_text("no folder")
    with pytest.raises(TokenError, match="can't be kept") as caught:
        run(Tokens(wanted(tmp_path, grant="refresh_token", refresh_token="r1"), TokenServer(token("a1", "r2"))))
    assert caught.value.lasting


@pytest.mark.parametrize(
    ("answer", "lasting", "said"),
    [
        (
            (400, {"error": "invalid_grant", "error_description": "AADSTS700082: expired\r\nTrace ID: 1"}),
            *(True, "login.example gives no token: invalid_grant: AADSTS700082: expired Trace ID: 1"),
        ),
        ((401, {"error": "invalid_client"}), True, "login.example gives no token: invalid_client"),
        ((503, b"<html>"), False, "login.example gives no token: HTTP status 503, and no JSON"),
        ((400, {"error": "temporarily_unavailable"}), False, "login.example gives no token: temporarily_unavailable"),
        ((302, {}), False, "login.example gives no token: HTTP status 302"),
        ((200, {"token_type": "Bearer"}), False, "login.example gives no token: there is none in it"),
        ((200, {"access_token": "a\nb"}), False, "login.example gives no token: there is none in it"),
        ((200, ["x"]), False, "login.example gives no token: HTTP status 200, and no JSON"),
        (OSError("timed out"), False, "login.example gives no token: it can't be reached: timed out"),
    ],
)
def test_what_a_token_server_says_instead(answer: Any, lasting: bool, said: str, tmp_path: Path) -> None:
    tokens = Tokens(wanted(tmp_path, grant="refresh_token", refresh_token="r-secret"), TokenServer(answer))
    with pytest.raises(TokenError) as caught:
        run(tokens)
    assert str(caught.value) == said
    assert caught.value.lasting == lasting
    for each in ("r-secret", "s3cret"):
        assert each not in str(caught.value)


def test_a_service_account_signs_its_claim(tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
    server = TokenServer(token("one"))
    account = wanted(
        tmp_path,
        grant="service_account",
        private_key=key.read_text(),
        subject="u@d.example",
        client_id="sa@x",
        client_secret="",
    )
    assert run(Tokens(account, server)) == ["one"]
    (form,) = server.forms
    assert form["grant_type"] == oauth.JWT_BEARER
    assert form.keys() == {"grant_type", "assertion"}
    head, claims, signature = form["assertion"].split(".")

    def part(text: str) -> bytes:
        return base64.urlsafe_b64decode(text + "==")

    assert json.loads(part(head)) == {"alg": "RS256", "typ": "JWT"}
    found = json.loads(part(claims))
    assert {name: found[name] for name in ("iss", "sub", "scope", "aud")} == {
        "iss": "sa@x",
        "sub": "u@d.example",
        "scope": "smtp",
        "aud": URL,
    }
    assert found["exp"] - found["iat"] == 3600
    assert abs(found["iat"] - time.time()) < 60
    (tmp_path / "text").write_bytes(f"{head}.{claims}".encode())
    (tmp_path / "signature").write_bytes(part(signature))
    public = subprocess.run(["openssl", "pkey", "-in", key, "-pubout"], check=True, capture_output=True).stdout
    (tmp_path / "public").write_bytes(public)
    verify = ["openssl", "dgst", "-sha256", "-verify", "public", "-signature", "signature", "text"]
    assert b"Verified OK" in subprocess.run(verify, check=True, capture_output=True, cwd=tmp_path).stdout


def test_a_person_logs_in_by_a_device_code(tmp_path: Path) -> None:
    device = wanted(tmp_path, grant="refresh_token", device_url="https://login.example/device", client_secret="")
    with pytest.raises(TokenError, match="postroad smarthost login"):
        oauth.current(device)
    code = {"device_code": "d", "user_code": "ABCD", "verification_uri": "https://login.example/go", "interval": 2}
    server = TokenServer(
        (200, code), (400, {"error": "authorization_pending"}), (400, {"error": "slow_down"}), token("a", "r1")
    )
    shown = oauth.device_code(device, server)
    assert (shown.user_code, shown.url) == ("ABCD", "https://login.example/go")
    slept: list[float] = []
    oauth.wait_for_person(device, server, shown, slept.append)
    assert slept == [2, 2, 7]
    assert server.urls == ["https://login.example/device", URL, URL, URL]
    assert server.forms[0] == {"client_id": "app", "scope": "smtp"}
    assert server.forms[-1] == {"grant_type": oauth.DEVICE_CODE, "device_code": "d", "client_id": "app"}
    assert oauth.current(device) == "r1"


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([(400, {"error": "access_denied"})], "access_denied"),
        ([(400, {"error": "expired_token"})], "expired_token"),
        ([token("a")], "no refresh token"),
    ],
)
def test_a_person_who_does_not(answers: list[Any], said: str, tmp_path: Path) -> None:
    device = wanted(tmp_path, grant="refresh_token", device_url="https://login.example/device")
    code = oauth.DeviceCode("d", "ABCD", "https://login.example/go", 1, time.monotonic() + 100)
    with pytest.raises(TokenError, match=said):
        oauth.wait_for_person(device, TokenServer(*answers), code, lambda _: None)
    late = oauth.DeviceCode("d", "ABCD", "https://login.example/go", 1, time.monotonic())
    with pytest.raises(TokenError, match="authorization_pending"):
        oauth.wait_for_person(device, TokenServer((400, {"error": "authorization_pending"})), late, lambda _: None)


def test_mechanisms_with_a_token() -> None:
    # https://developers.google.com/gmail/imap/xoauth2-protocol
    said = "dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRjMk52YjNSbGNrQmhkSFJoZG1semRHRXVZMjl0Q2cBAQ=="
    google = mechanisms.XOauth2("someuser@example.com", "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg")
    assert google.initial == base64.b64decode(said)
    assert google.answer(b'{"status":"401"}') == b""
    # RFC 7628, 4.1, without host and port
    bearer = mechanisms.OauthBearer("a,b=c@example.com", "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==")
    assert bearer.initial == b"n,a=a=2Cb=3Dc@example.com,\1auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\1\1"
    assert bearer.answer(b"{}") == b"\1"
    assert mechanisms.choose(["PLAIN", "OAUTHBEARER", "xoauth2"], mechanisms.TOKENS) == ["XOAUTH2"]


def read(tmp_path: Path, **fields: Any) -> OAuth:
    return secrets.read("delivery.smarthost.oauth", "u@d.example", Wanted.model_validate(fields))


def put(tmp_path: Path, name: str, text: str) -> str:
    (tmp_path / name).write_text(text)
    return str(tmp_path / name)


def test_what_is_read_of_files(tmp_path: Path) -> None:
    found = read(tmp_path, token_url=URL, client_id="app", client_secret_file=put(tmp_path, "s", "secret\n"))
    assert (found.grant, found.client_secret, found.refresh_token) == ("client_credentials", "secret", "")
    found = read(tmp_path, token_url=URL, client_id="app", refresh_token_file=put(tmp_path, "r", "1//refresh\n"))
    assert (found.grant, found.refresh_token) == ("refresh_token", "1//refresh")
    key = {"client_email": "sa@x.example", "private_key": "PEM", "token_uri": URL, "other": 1}
    found = read(tmp_path, service_account_file=put(tmp_path, "g", json.dumps(key)))
    assert (found.grant, found.token_url, found.client_id) == ("service_account", URL, "sa@x.example")
    assert (found.scope, found.subject) == (secrets.GOOGLE_SCOPE, "u@d.example")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("client_secret_file", "", "is empty"),
        ("client_secret_file", "two words", "holds something else"),
        ("refresh_token_file", "ü", "holds something else"),
        ("service_account_file", "{", "is not JSON"),
        ("service_account_file", "{}", "no client_email and private_key"),
        ("service_account_file", '{"client_email": "a", "private_key": "b", "token_uri": "http://x"}', "https://"),
    ],
)
def test_files_that_hold_something_else(name: str, text: str, said: str, tmp_path: Path) -> None:
    others = {} if name == "service_account_file" else {"token_url": URL, "client_id": "app"}
    with pytest.raises(InstallError, match=f"^At 'delivery.smarthost.oauth.{name}': .*{said}"):
        read(tmp_path, **others, **{name: put(tmp_path, "f", text)})


def test_credentials_of_one_kind() -> None:
    tokens = {"token_url": URL, "client_id": "app", "client_secret_file": "/s"}
    good = {"host": "smtp.example.net", "username": "u", "oauth": tokens}
    assert Smarthost.model_validate(good).security == "verify"
    bad: list[Callable[[], object]] = [
        lambda: Smarthost.model_validate(good | {"password_file": "/p"}),
        lambda: Smarthost.model_validate(good | {"username": None}),
        lambda: Smarthost.model_validate(good | {"tls": "require"}),
        lambda: Smarthost.model_validate(good | {"oauth": tokens | {"token_url": "http://login.example/"}}),
        lambda: Smarthost.model_validate(good | {"oauth": {"token_url": URL, "client_id": "app"}}),
        lambda: Smarthost.model_validate(good | {"oauth": {"client_id": "app", "client_secret_file": "/s"}}),
        lambda: Smarthost.model_validate(good | {"oauth": tokens | {"service_account_file": "/g"}}),
    ]
    for each in bad:
        with pytest.raises(ValueError, match=r"oauth with|https://|verify or|token_url|client_secret_file|alone"):
            each()
