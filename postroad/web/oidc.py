"""Signing in by an identity provider: OpenID Connect's code flow with PKCE (RFC 7636).

The ID token comes from the provider itself, over TLS that is verified, in answer to our client's secret. Then that TLS
vouches for it, and its signature need not be checked (OpenID Connect Core, 3.1.3.7, 6.): a library that could check it
would take 20 MiB of this process.
"""

import base64
import hashlib
import hmac
import http.client
import json
import secrets
import ssl
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn
from urllib.parse import urlencode, urlsplit

from postroad.errors import PostroadError
from postroad.runtime.web import Oidc
from postroad.text import printable
from postroad.uplink import oauth
from postroad.web.sessions import RefusedError, Role

WITHIN = 10.0
"""Seconds for an answer of the provider's."""
LARGEST = 1 << 20
LONGEST_VISIT = 600.0
"""Seconds that somebody may stay at the provider."""
MOST_VISITS = 1000
KNOWN = 3600.0
"""Seconds for which what discovery tells is kept."""
SKEW = 60.0
"""Seconds by which clocks may differ."""
EVERYBODY = "*"

Get = Callable[[str], tuple[int, bytes]]
"""Gets a URL; the status and the body."""


@dataclass(frozen=True)
class SignIn:
    """Somebody who may sign in, and what for."""

    role: Role
    name: str


@dataclass(frozen=True)
class _Visit:
    """Somebody who was sent to the provider: secrets that his way back has to bring."""

    cookie: str
    nonce: str
    verifier: str
    begun: float


class Provider:
    """An identity provider."""

    def __init__(self, settings: Oidc, post: oauth.Post | None = None, get: Get | None = None) -> None:
        """By these settings; nothing is asked yet. ``post`` and ``get`` stand in for HTTP over TLS."""
        self._settings = settings
        self._get = get or _getter(_context(settings.ca))
        self._post = post or oauth.poster(_context(settings.ca))
        self._found: dict[str, Any] = {}
        self._asked = float("-inf")
        self._visits: OrderedDict[str, _Visit] = OrderedDict()

    @property
    def host(self) -> str:
        """The provider's name, for people."""
        return urlsplit(self._settings.issuer).hostname or ""

    def begin(self) -> tuple[str, str]:
        """Where to send somebody who wants to sign in, and the cookie that he has to come back with.

        Raises:
            PostroadError: the provider can't be asked.
        """
        found = self._discovered()
        state, cookie, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(4))
        visit = _Visit(cookie, nonce, verifier, time.monotonic())
        self._visits[state] = visit
        if len(self._visits) > MOST_VISITS:
            self._visits.popitem(last=False)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(visit.verifier.encode()).digest()).rstrip(b"=").decode()
        query = {
            "response_type": "code",
            "client_id": self._settings.client_id,
            "redirect_uri": self._redirect,
            "scope": "openid email profile",
            "state": state,
            "nonce": visit.nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        endpoint = found["authorization_endpoint"]
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}", visit.cookie

    def finish(self, query: Mapping[str, str], cookie: str) -> SignIn:
        """Who has come back from the provider with this query and this cookie.

        Raises:
            RefusedError: nobody who may sign in.
            PostroadError: the provider can't be asked.
        """
        visit = self._visits.pop(query.get("state", ""), None)  # each once
        if visit is None or time.monotonic() - visit.begun > LONGEST_VISIT:
            raise RefusedError("the provider's answer belongs to no visit, or came too late")
        if not hmac.compare_digest(visit.cookie.encode(), cookie.encode(errors="replace")):
            raise RefusedError("the provider's answer belongs to another browser")
        if said := query.get("error"):
            raise RefusedError(f"the provider says {printable(said)[:100]}")
        if query.get("iss", self._settings.issuer) != self._settings.issuer:  # RFC 9207
            raise RefusedError("the answer is of another issuer")
        form = {
            "grant_type": "authorization_code",
            "code": query.get("code", ""),
            "redirect_uri": self._redirect,
            "client_id": self._settings.client_id,
            "client_secret": self._settings.client_secret,
            "code_verifier": visit.verifier,
        }
        try:
            answer = oauth.ask(self._post, self._discovered()["token_endpoint"], form)
        except oauth.TokenError as error:
            raise PostroadError(str(error)) from error
        return self._judged(_claims(answer.get("id_token")), visit.nonce)

    @property
    def _redirect(self) -> str:
        return f"{self._settings.url}/oidc"

    def _discovered(self) -> dict[str, Any]:
        """What the provider says of itself (OpenID Connect Discovery 1.0)."""
        if time.monotonic() - self._asked < KNOWN:
            return self._found
        url = f"{self._settings.issuer.rstrip('/')}/.well-known/openid-configuration"
        try:
            status, body = self._get(url)
            found = json.loads(body) if status == 200 else None
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise PostroadError(f"{self.host} can't be asked: {printable(error)}") from error
        if not isinstance(found, dict) or found.get("issuer") != self._settings.issuer:
            raise PostroadError(f"{url} tells of no issuer {self._settings.issuer}: correct web.oidc.issuer")
        for name in ("authorization_endpoint", "token_endpoint"):
            if not str(found.get(name)).startswith("https://"):
                raise PostroadError(f"{url} has no {name} over https")
        self._found, self._asked = found, time.monotonic()
        return found

    def _judged(self, claims: Mapping[str, Any], nonce: str) -> SignIn:
        """Who the claims of an ID token are about (OpenID Connect Core, 3.1.3.7), if he may sign in."""
        settings, now = self._settings, time.time()
        audience = claims.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        expires = claims.get("exp")
        for wrong, what in (
            (claims.get("iss") != settings.issuer, "it is of another issuer"),
            (settings.client_id not in audiences, "it is for another client"),
            (claims.get("azp", settings.client_id) != settings.client_id, "it is for another client"),
            (len(audiences) > 1 and "azp" not in claims, "it is for several clients"),
            (not _is_number(expires) or float(expires or 0) < now - SKEW, "it has expired"),
            (not hmac.compare_digest(str(claims.get("nonce")).encode(), nonce.encode()), "it is of another visit"),
        ):
            if wrong:
                raise RefusedError(f"the provider's ID token does not count: {what}")
        return self._allowed(claims)

    def _allowed(self, claims: Mapping[str, Any]) -> SignIn:
        settings = self._settings
        value = claims.get(settings.claim)
        values = {each for each in (value if isinstance(value, list) else [value]) if isinstance(each, str) and each}
        if settings.claim == "email" and claims.get("email_verified") is not True:
            values = set()
        name = printable(
            next(filter(None, (claims.get("email"), claims.get("preferred_username"), claims.get("sub"))), "")
        )
        if values & set(settings.operators):
            return SignIn(Role.OPERATOR, name[:100])
        if values & set(settings.viewers) or EVERYBODY in settings.viewers:
            return SignIn(Role.VIEWER, name[:100])
        raise RefusedError(f"{name[:100]} is neither in web.oidc.operators nor in web.oidc.viewers")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _claims(token: object) -> dict[str, Any]:
    """The claims of an ID token, a JWT (RFC 7519)."""
    try:
        _, payload, _ = str(token).split(".")
        found = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except ValueError:
        found = None
    return found if isinstance(found, dict) else _no_token()


def _no_token() -> NoReturn:
    raise RefusedError("the provider gives no ID token")


def _context(authorities: str) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=authorities or None)


def _getter(context: ssl.SSLContext) -> Get:
    """Get over TLS, without redirects."""

    def get(url: str) -> tuple[int, bytes]:
        parts = urlsplit(url)
        connection = http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=WITHIN, context=context)
        try:
            connection.request("GET", parts.path or "/", headers={"Accept": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read(LARGEST)
        finally:
            connection.close()

    return get
