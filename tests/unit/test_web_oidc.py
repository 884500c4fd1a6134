"""Signing in by an identity provider: who is let in, and each answer of the provider's that does not count."""

import base64
import hashlib
import json
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlsplit

import pytest
from sqlalchemy import Engine

from postroad.config.model import Config
from postroad.errors import InstallError, PostroadError
from postroad.runtime import log
from postroad.runtime.web import Oidc
from postroad.secrets import api_keys
from postroad.web import oidc
from postroad.web.oidc import Provider, SignIn
from postroad.web.sessions import RefusedError, Role
from tests.unit import api
from tests.unit.console import WITH, page
from tests.unit.test_uplink_session import make_certificate

ISSUER = "https://id.example.com/realm"
SETTINGS = Oidc(
    issuer=ISSUER, url="https://mail.example.com:8080", client_id="postroad", claim="email",
    operators=("ops@example.com",), viewers=("support@example.com",), ca="", client_secret="s3cret",
)  # fmt: skip
DISCOVERED = {
    "issuer": ISSUER,
    "authorization_endpoint": "https://id.example.com/authorize",
    "token_endpoint": "https://id.example.com/token",
}


class World:
    """A provider that answers as a test wants."""

    def __init__(self, settings: Oidc = SETTINGS) -> None:
        self.discovered: Any = DISCOVERED
        self.status = 200
        self.claims: dict[str, Any] = {}
        self.answer: Any = None
        self.asked: list[tuple[str, Mapping[str, str]]] = []
        self.got: list[str] = []
        self.nonce = ""
        self.provider = Provider(settings, self.post, self.get)

    def get(self, url: str) -> tuple[int, bytes]:
        self.got.append(url)
        return self.status, self.discovered if isinstance(self.discovered, bytes) else json.dumps(
            self.discovered
        ).encode()

    def post(self, url: str, form: Mapping[str, str]) -> tuple[int, bytes]:
        self.asked.append((url, form))
        usual = {
            "iss": ISSUER, "aud": "postroad", "exp": time.time() + 300, "nonce": self.nonce, "sub": "17",
            "email": "ops@example.com", "email_verified": True,
        }  # fmt: skip
        given = {name: value() if callable(value) else value for name, value in {**usual, **self.claims}.items()}
        claims = {name: value for name, value in given.items() if value is not None}
        return 200, json.dumps({"id_token": token(claims)} if self.answer is None else self.answer).encode()

    def begin(self) -> tuple[dict[str, str], str]:
        """The query with which somebody goes to the provider, and his cookie."""
        url, cookie = self.provider.begin()
        query = dict(parse_qsl(urlsplit(url).query))
        self.nonce = query["nonce"]
        return query, cookie

    def sign_in(self, **query: str) -> SignIn:
        sent, cookie = self.begin()
        return self.provider.finish({"state": sent["state"], "code": "c0de", **query}, cookie)


def token(claims: Mapping[str, Any]) -> str:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'RS256'})}.{part(claims)}.c2ln"


def test_somebody_goes_and_comes_back() -> None:
    world = World()
    sent, cookie = world.begin()
    assert sent["client_id"] == "postroad"
    assert sent["redirect_uri"] == "https://mail.example.com:8080/oidc"
    assert (sent["response_type"], sent["code_challenge_method"]) == ("code", "S256")
    assert "openid" in sent["scope"].split()
    found = world.provider.finish({"state": sent["state"], "code": "c0de"}, cookie)
    assert found == SignIn(Role.OPERATOR, "ops@example.com")
    ((url, form),) = world.asked
    assert url == "https://id.example.com/token"
    assert (form["code"], form["client_secret"], form["redirect_uri"]) == ("c0de", "s3cret", sent["redirect_uri"])
    challenge = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=").decode()
    assert sent["code_challenge"] == challenge
    assert world.got == [f"{ISSUER}/.well-known/openid-configuration"], "it is asked once"


@pytest.mark.parametrize(
    ("settings", "claims", "role"),
    [
        ({}, {}, Role.OPERATOR),
        ({}, {"email": "support@example.com"}, Role.VIEWER),
        ({"viewers": ("*",)}, {"email": "anybody@example.com"}, Role.VIEWER),
        ({"viewers": ("*",)}, {"email_verified": False}, Role.VIEWER),
        ({"claim": "groups", "operators": ("admins",)}, {"groups": ["users", "admins"]}, Role.OPERATOR),
        ({"claim": "sub", "operators": ("17",)}, {}, Role.OPERATOR),
        ({}, {"aud": ["postroad", "other"], "azp": "postroad"}, Role.OPERATOR),
        ({}, {"exp": lambda: time.time() - 30}, Role.OPERATOR),
    ],
)
def test_who_is_let_in(settings: dict[str, Any], claims: dict[str, Any], role: Role) -> None:
    world = World(replace(SETTINGS, **settings))
    world.claims = claims
    assert world.sign_in().role is role


@pytest.mark.parametrize(
    "claims",
    [
        {"email": "stranger@example.com"},
        {"email": "OPS@example.com"},
        {"email": ""},
        {"email": None},
        {"email": ["x"]},
        {"email": {"ops@example.com": 1}},
        {"email_verified": False},
        {"email_verified": None},
        {"email_verified": "true"},
        {"iss": "https://evil.example"},
        {"iss": None},
        {"aud": "other"},
        {"aud": []},
        {"aud": None},
        {"aud": ["postroad", "other"]},
        {"aud": ["postroad", "other"], "azp": "other"},
        {"azp": "other"},
        {"exp": 1},
        {"exp": None},
        {"exp": "9999999999"},
        {"exp": True},
        {"nonce": "another"},
        {"nonce": None},
    ],
)
def test_who_is_not(claims: dict[str, Any]) -> None:
    world = World()
    world.claims = claims
    with pytest.raises(RefusedError):
        world.sign_in()


@pytest.mark.parametrize("answer", [{}, {"id_token": ""}, {"id_token": "a.b"}, {"id_token": "a.!!.c"}, {"id_token": 7},
                                    {"id_token": "a.WzFd.c"}, {"id_token": "a./w.c"}])  # fmt: skip
def test_what_is_no_token_lets_nobody_in(answer: object) -> None:
    world = World()
    world.answer = answer
    with pytest.raises(RefusedError, match="no ID token"):
        world.sign_in()


def test_what_the_provider_refuses_is_told() -> None:
    world = World()
    world.answer = {"error": "invalid_grant", "error_description": "no such code"}
    with pytest.raises(PostroadError, match=r"id\.example\.com gives no token: invalid_grant: no such code"):
        world.sign_in()
    with pytest.raises(RefusedError, match="access_denied"):
        world.sign_in(error="access_denied")
    with pytest.raises(RefusedError, match="another issuer"):
        world.sign_in(iss="https://evil.example")


def test_an_answer_counts_once_in_the_browser_that_asked_and_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    sent, cookie = world.begin()
    for state, given in (("another", cookie), ("", cookie)):
        with pytest.raises(RefusedError, match="belongs to no visit"):
            world.provider.finish({"state": state, "code": "c"}, given)
    with pytest.raises(RefusedError, match="another browser"):
        world.provider.finish({"state": sent["state"], "code": "c"}, "another")
    with pytest.raises(RefusedError, match="belongs to no visit"):
        world.provider.finish({"state": sent["state"], "code": "c"}, cookie)
    monkeypatch.setattr(oidc, "LONGEST_VISIT", -1.0)
    with pytest.raises(RefusedError, match="too late"):
        world.sign_in()
    assert world.asked == []


def test_visits_are_forgotten_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oidc, "MOST_VISITS", 2)
    world = World()
    sent, cookie = world.begin()
    for _ in range(2):
        world.begin()
    with pytest.raises(RefusedError):
        world.provider.finish({"state": sent["state"]}, cookie)


@pytest.mark.parametrize(
    ("status", "found", "why"),
    [
        (500, DISCOVERED, "tells of no issuer"),
        (200, b"<html>", "can't be asked"),
        (200, [], "tells of no issuer"),
        (200, DISCOVERED | {"issuer": "https://evil.example"}, "tells of no issuer"),
        (200, DISCOVERED | {"token_endpoint": "http://id.example.com/token"}, "no token_endpoint over https"),
        (200, DISCOVERED | {"authorization_endpoint": "javascript:alert(1)"}, "no authorization_endpoint over https"),
        (200, {"issuer": ISSUER}, "no authorization_endpoint"),
    ],
)
def test_a_provider_that_tells_something_else_is_not_used(status: int, found: Any, why: str) -> None:
    world = World()
    world.status, world.discovered = status, found
    with pytest.raises(PostroadError, match=why):
        world.provider.begin()


def test_a_provider_that_is_away_is_told() -> None:
    with pytest.raises(PostroadError, match=r"127\.0\.0\.1 can't be asked"):
        Provider(replace(SETTINGS, issuer="https://127.0.0.1:9")).begin()


class RealProvider(BaseHTTPRequestHandler):
    """Over TLS: discovery, and a token for a code."""

    claims: ClassVar[dict[str, Any]] = {}
    forms: ClassVar[list[dict[str, str]]] = []
    redirects: ClassVar[bool] = False

    def do_GET(self) -> None:
        issuer = f"https://localhost:{self.server.server_address[1]}"  # type: ignore[index]
        if self.redirects:
            self.send_response(302)
            self.send_header("Location", f"{issuer}/elsewhere")
            self.end_headers()
            return
        self._answer(
            {"issuer": issuer, "authorization_endpoint": f"{issuer}/authorize", "token_endpoint": f"{issuer}/token"}
        )

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.forms.append(dict(parse_qsl(body)))
        self._answer({"id_token": token(self.claims)})

    def _answer(self, content: object) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Silent(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """A client that does not trust it goes away."""


@pytest.fixture
def real(tmp_path: Path) -> Iterator[Oidc]:
    """The settings of a provider that listens."""
    made = make_certificate(tmp_path / "id.pem", "DNS:localhost")
    text = made.read_text()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made)
    server = Silent(("127.0.0.1", 0), RealProvider)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    RealProvider.forms, RealProvider.redirects = [], False
    issuer = f"https://localhost:{server.server_address[1]}"
    yield replace(SETTINGS, issuer=issuer, ca=text[: text.index("-----BEGIN PRIVATE")])
    server.shutdown()
    server.server_close()


def test_a_real_provider_is_asked_over_tls(real: Oidc) -> None:
    provider = Provider(real)
    url, cookie = provider.begin()
    sent = dict(parse_qsl(urlsplit(url).query))
    RealProvider.claims = {
        "iss": real.issuer, "aud": "postroad", "exp": time.time() + 60, "nonce": sent["nonce"],
        "email": "ops@example.com", "email_verified": True,
    }  # fmt: skip
    assert provider.finish({"state": sent["state"], "code": "c0de"}, cookie).role is Role.OPERATOR
    assert RealProvider.forms[0]["code"] == "c0de"


def test_a_provider_whose_certificate_is_another_s_is_not_asked(real: Oidc) -> None:
    with pytest.raises(PostroadError, match="certificate verify failed"):
        Provider(replace(real, ca="")).begin()
    with pytest.raises(PostroadError, match=r"can't be asked.*127\.0\.0\.1"):
        Provider(replace(real, issuer=real.issuer.replace("localhost", "127.0.0.1"))).begin()


def test_a_provider_that_leads_elsewhere_is_not_followed(real: Oidc) -> None:
    RealProvider.redirects = True
    with pytest.raises(PostroadError, match="tells of no issuer"):
        Provider(real).begin()


# --- in the console


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr(log, "tell", lambda _, text, *__: found.append(text))
    return found


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    monkeypatch.setattr(oidc, "Provider", lambda _: made.provider)
    return made


def test_the_console_lets_in_whom_the_provider_knows(engine: Engine, world: World, said: list[str]) -> None:
    made = api.of(engine, replace(WITH, password="", oidc=SETTINGS))
    found = page(made.client.get("/login"))
    assert "Sign in with id.example.com" in found.text
    assert not found.having("input", type="password")
    answer = made.client.get("/oidc/begin", follow_redirects=False)
    assert answer.headers["location"].startswith("https://id.example.com/authorize?")
    cookie = answer.headers["set-cookie"].lower()
    assert all(word in cookie for word in ("httponly", "samesite=lax", "max-age=600"))
    query = dict(parse_qsl(urlsplit(answer.headers["location"]).query))
    world.nonce = query["nonce"]
    found = page(made.client.get("/oidc", params={"state": query["state"], "code": "c"}))
    assert found.having("meta", content="0; url=/")
    assert '"by": "ops@example.com"' in said[-1]
    assert made.client.get("/messages", follow_redirects=False).status_code == 200
    assert made.client.get("/settings", follow_redirects=False).status_code != 403


def test_the_console_turns_away_whom_it_does_not_know(engine: Engine, world: World, said: list[str]) -> None:
    made = api.of(engine, replace(WITH, oidc=SETTINGS))
    answer = made.client.get("/oidc", params={"state": "x", "code": "c"})
    assert answer.status_code == 403
    assert "You may not sign in here" in page(answer).text
    assert "belongs to no visit" in said[-1]
    assert made.client.get("/messages", follow_redirects=False).status_code == 303
    world.status = 500
    answer = made.client.get("/oidc/begin")
    assert answer.status_code == 503
    assert "does not answer as it should" in page(answer).text
    for _ in range(4):
        made.client.get("/oidc/begin")
    assert made.client.get("/oidc/begin").status_code == 429


def test_without_a_provider_there_is_no_way_to_one(engine: Engine) -> None:
    client = api.of(engine, WITH).client
    assert {client.get(path).status_code for path in ("/oidc", "/oidc/begin")} == {404}
    assert "Sign in with" not in client.get("/login").text


# --- its secret


def test_the_secret_and_the_authorities_are_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3cret\n")
    section = {
        "issuer": ISSUER, "url": "https://mail.example.com", "client_id": "postroad", "operators": ["ops@example.com"],
        "client_secret_file": str(tmp_path / "secret"),
    }  # fmt: skip
    about = {"hostname": "m.example.com", "domains": ["example.com"]}
    config = Config.model_validate({**about, "web": {"oidc": section}})
    assert api_keys.oidc(config) == ("s3cret", "")
    assert api_keys.files(config) == [tmp_path / "secret"]
    assert api_keys.oidc(Config.model_validate(about)) == ("", "")
    (tmp_path / "secret").unlink()
    with pytest.raises(InstallError, match=r"At 'web\.oidc\.client_secret_file'"):
        api_keys.oidc(config)
