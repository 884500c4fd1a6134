"""OAuth 2 tokens (RFC 6749) that renew themselves: client credentials, refresh tokens, Google's service accounts.

A refresh token that the server turns is kept on the state volume, and goes on to count as long as the file that it
began with stays the same. Tokens are in no text of an error.
"""

import asyncio
import base64
import hashlib
import http.client
import json
import socket
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from python_socks import ProxyConnectionError, ProxyError, ProxyTimeoutError
from python_socks.sync import Proxy

from postroad import system
from postroad.errors import InstallError, plainly
from postroad.runtime.uplink import OAuth
from postroad.signer.keys import PrivateKey, SigningError
from postroad.uplink.replies import printable

WITHIN = 15.0
"""Seconds for an answer of the token server's next octets."""
LARGEST = 1 << 17
"""Octets of an answer."""
MARGIN = 60.0
"""Seconds before its end at which a token is not used any more: clocks differ, and sessions take time."""
USUAL_LIFE = 300.0
"""Seconds for which a token counts whose server does not say how long it lives."""
LONGEST_WORDS = 200

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"


PASSING = frozenset(("temporarily_unavailable", "slow_down", "authorization_pending"))
"""OAuth's words for what may be otherwise in a moment (RFC 6749, 4.1.2.1; RFC 8628, 3.5)."""


class TokenError(Exception):
    """There is no token to be had.

    Attributes:
        lasting: nothing but a change of the configuration, or a person, helps.
        code: OAuth's word for it; may be empty.
    """

    def __init__(self, reason: str, *, lasting: bool, code: str = "") -> None:
        """Tell why."""
        super().__init__(reason)
        self.lasting, self.code = lasting, code


@dataclass(frozen=True)
class Answer:
    """What a token server grants.

    Attributes:
        access: the access token.
        life: seconds for which it counts.
        refresh: another refresh token; empty: the one before goes on to count.
    """

    access: str
    life: float
    refresh: str


Post = Callable[[str, Mapping[str, str]], tuple[int, bytes]]
"""Posts a form to a URL; the status and the body."""


def poster(context: ssl.SSLContext, proxy: str = "") -> Post:
    """Post over TLS, without redirects, and through no proxy but the one with this URL."""

    class _Connection(http.client.HTTPSConnection):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            if proxy:
                self._create_connection = _through(proxy)

    class _Https(urllib.request.HTTPSHandler):
        def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
            return self.do_open(_Connection, req, context=context)

    class _None(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: Any) -> None:
            return None

    opener = urllib.request.build_opener(_Https(context=context), urllib.request.ProxyHandler({}), _None())

    def post(url: str, form: Mapping[str, str]) -> tuple[int, bytes]:
        asked = urllib.request.Request(  # noqa: S310 - the configuration takes https only
            url, urllib.parse.urlencode(form).encode(), {"Accept": "application/json"}
        )
        try:
            with opener.open(asked, timeout=WITHIN) as answer:
                return answer.status, answer.read(LARGEST)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read(LARGEST)

    return post


def _through(proxy: str) -> Callable[..., socket.socket]:
    def connect(address: tuple[str, int], timeout: float, *_: Any) -> socket.socket:
        try:
            return Proxy.from_url(proxy, rdns=True).connect(address[0], address[1], timeout=timeout)
        except (ProxyError, ProxyTimeoutError, ProxyConnectionError) as error:
            raise OSError(f"through the proxy: {plainly(error)}") from error

    return connect


def ask(post: Post, url: str, form: Mapping[str, str]) -> dict[str, Any]:
    """Post a form; what is granted, as JSON has it.

    Raises:
        TokenError: it is not, or nobody answers.
    """
    host = urllib.parse.urlsplit(url).hostname
    try:
        status, body = post(url, form)
    except (OSError, ValueError) as error:
        why = getattr(error, "reason", None) or error
        raise TokenError(f"{host} gives no token: it can't be reached: {printable(str(why))}", lasting=False) from error
    try:
        found = json.loads(body)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise TokenError(f"{host} gives no token: HTTP status {status}, and no JSON", lasting=False)
    if status == 200 and "error" not in found:
        return found
    code = printable(str(found.get("error", "")))[:60]
    words = printable(str(found.get("error_description", "")))[:LONGEST_WORDS]
    said = ": ".join(filter(None, (code or f"HTTP status {status}", words)))
    # RFC 6749, 5.2: 400 and 401 are for what is wrong with the request
    lasting = status in {400, 401, 403} and code not in {
        "temporarily_unavailable",
        "slow_down",
        "authorization_pending",
    }
    raise TokenError(f"{host} gives no token: {said}", lasting=lasting, code=code)


def granted(found: Mapping[str, Any], url: str) -> Answer:
    """What a token server's JSON grants.

    Raises:
        TokenError: no token.
    """
    access, refresh = found.get("access_token"), found.get("refresh_token")
    if not isinstance(access, str) or not access or not access.isprintable():
        raise TokenError(f"{urllib.parse.urlsplit(url).hostname} gives no token: there is none in it", lasting=False)
    try:
        life = float(found.get("expires_in", USUAL_LIFE))
    except (TypeError, ValueError):
        life = USUAL_LIFE
    return Answer(access, life, refresh if isinstance(refresh, str) else "")


def assertion(oauth: OAuth, now: float) -> str:
    """A service account's signed claim (RFC 7523, 2.1), as Google wants it.

    Raises:
        TokenError: its key is none.
    """
    claims = {"iss": oauth.client_id, "sub": oauth.subject, "scope": oauth.scope, "aud": oauth.token_url}
    claims |= {"iat": int(now), "exp": int(now) + 3600}  # type: ignore[dict-item]
    text = ".".join(map(_part, ({"alg": "RS256", "typ": "JWT"}, claims)))
    try:
        signature = PrivateKey(oauth.private_key.encode()).sign(text.encode())
    except SigningError as error:
        raise TokenError(f"the service account's key is {error}", lasting=True) from error
    return f"{text}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def _part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


class Tokens:
    """The access token of one account, and how the next one is had."""

    def __init__(self, oauth: OAuth, post: Post) -> None:
        """Begin without one."""
        self._oauth, self._post = oauth, post
        self._access, self._until = "", 0.0
        self._lock = asyncio.Lock()

    async def access(self, unless: str = "") -> str:
        """An access token that counts, and is not ``unless``.

        Raises:
            TokenError: there is none to be had.
        """
        async with self._lock:  # a queue of messages asks once
            if not self._access or self._access == unless or time.monotonic() >= self._until:
                answer = await asyncio.to_thread(self._renew)
                self._access = answer.access
                self._until = time.monotonic() + max(answer.life - MARGIN, answer.life / 2)
            return self._access

    def _renew(self) -> Answer:
        oauth = self._oauth
        if oauth.grant != "refresh_token":
            form = {"grant_type": "client_credentials"} | client(oauth) | {"scope": oauth.scope}
            if oauth.private_key:
                form = {"grant_type": JWT_BEARER, "assertion": assertion(oauth, time.time())}
            return self._ask(form)
        try:
            system.folder(Path(oauth.state).parent)
            # a server may take each refresh token once: `postroad smarthost check` may be asking, too
            with system.locked(Path(f"{oauth.state}.lock")):
                form = {"grant_type": "refresh_token", "refresh_token": current(oauth)} | client(oauth)
                answer = self._ask(form | {"scope": oauth.scope})
                if answer.refresh:
                    keep(oauth, answer.refresh)
        except (InstallError, OSError) as error:
            raise TokenError(f"the refresh token can't be kept: {plainly(error)}", lasting=True) from error
        return answer

    def _ask(self, form: Mapping[str, str]) -> Answer:
        url = self._oauth.token_url
        return granted(ask(self._post, url, {name: value for name, value in form.items() if value}), url)


def client(oauth: OAuth) -> dict[str, str]:
    """Who asks (RFC 6749, 2.3.1)."""
    return {
        name: value for name, value in (("client_id", oauth.client_id), ("client_secret", oauth.client_secret)) if value
    }


def current(oauth: OAuth) -> str:
    """The refresh token that counts now.

    Raises:
        TokenError: there is none yet.
    """
    try:
        kept = json.loads(Path(oauth.state).read_text())
        if kept["began_with"] == _mark(oauth.refresh_token):
            return str(kept["refresh_token"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    if not oauth.refresh_token:
        raise TokenError("there is no token yet: run `postroad smarthost login`", lasting=True)
    return oauth.refresh_token


def keep(oauth: OAuth, refresh: str) -> None:
    """Keep a refresh token on the state volume, for our user alone.

    Raises:
        InstallError: it can't be written.
    """
    text = json.dumps({"began_with": _mark(oauth.refresh_token), "refresh_token": refresh})
    system.write(Path(oauth.state), text)


def _mark(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest() if token else ""


@dataclass(frozen=True)
class DeviceCode:
    """What a person is told, and how its end is asked for (RFC 8628, 3.2).

    Attributes:
        code: the secret half.
        user_code: what the person enters.
        url: where.
        wait: seconds between two questions.
        until: when it ends, on ``time.monotonic``'s clock.
    """

    code: str
    user_code: str
    url: str
    wait: float
    until: float


def device_code(oauth: OAuth, post: Post) -> DeviceCode:
    """Ask for a code that a person enters.

    Raises:
        TokenError: there is none.
    """
    found = ask(post, oauth.device_url, client(oauth) | ({"scope": oauth.scope} if oauth.scope else {}))
    try:
        return DeviceCode(
            str(found["device_code"]),
            str(found["user_code"]),
            str(found.get("verification_uri") or found["verification_url"]),
            max(1.0, float(found.get("interval", 5))),
            time.monotonic() + float(found.get("expires_in", 900)),
        )
    except (KeyError, TypeError, ValueError) as error:
        host = urllib.parse.urlsplit(oauth.device_url).hostname
        raise TokenError(f"{host} gives no code: its answer lacks {error}", lasting=True) from error


def wait_for_person(oauth: OAuth, post: Post, code: DeviceCode, sleep: Callable[[float], None] = time.sleep) -> None:
    """Wait until the person has entered it, and keep the refresh token.

    Raises:
        TokenError: the person did not, or there is no refresh token.
        InstallError: it can't be kept.
    """
    wait = code.wait
    form = {"grant_type": DEVICE_CODE, "device_code": code.code} | client(oauth)
    while True:
        sleep(wait)
        try:
            answer = granted(ask(post, oauth.token_url, form), oauth.token_url)
            break
        except TokenError as error:
            if error.lasting or time.monotonic() + wait > code.until:
                raise
            wait += 5.0 if error.code == "slow_down" else 0.0
    if not answer.refresh:
        raise TokenError("there is no refresh token in it: does the scope ask for one (offline_access)?", lasting=True)
    keep(oauth, answer.refresh)
