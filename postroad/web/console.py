"""The console: signing in, and the overview. Plain HTML without scripts; what strangers wrote is text in it."""

import math
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import anyio.to_thread
import jinja2
from anyio import CapacityLimiter
from sqlalchemy import Engine
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from postroad.runtime import log
from postroad.runtime.web import Settings
from postroad.sendmail.files import TEMPLATES
from postroad.text import printable
from postroad.web import overview
from postroad.web.passwords import Password, Throttle
from postroad.web.sessions import LONGEST, Session, Sessions
from postroad.web.words import language, words

FOLDER = TEMPLATES / "console"
LARGEST_FORM = 4096
POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def _number(value: int) -> str:
    return f"{value:,}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _hour(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%m-%d %H:00")


_templates = jinja2.Environment(
    loader=jinja2.FileSystemLoader(FOLDER),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.filters.update({"number": _number, "percent": _percent, "hour": _hour, "printable": printable})


class Console:
    """The pages."""

    def __init__(
        self, settings: Settings, store: Callable[[], Engine], reads: CapacityLimiter, sessions: Sessions
    ) -> None:
        """Show this store to whoever knows the password in the settings."""
        self._settings, self._store, self._reads, self._sessions = settings, store, reads, sessions
        self._password = Password(settings.password)
        self._throttle = Throttle()
        self._checks = CapacityLimiter(1)
        self._secure = settings.tls or bool(settings.proxies)
        # a cookie of this name is taken by browsers from this host alone, over TLS alone
        self._cookie = "__Host-postroad" if self._secure else "postroad"
        sessions.belong_to(settings.password)

    def routes(self) -> list[Route]:
        """The paths of the pages."""
        return [
            Route("/", self.overview, methods=["GET"]),
            Route("/login", self.login, methods=["GET"]),
            Route("/login", self.sign_in, methods=["POST"]),
            Route("/logout", self.sign_out, methods=["POST"]),
            Route("/console.css", self.style, methods=["GET"]),
        ]

    async def overview(self, request: Request) -> Response:
        """The first page."""
        session = self._session(request)
        if session is None:
            return RedirectResponse("/login", 303)
        facts = await anyio.to_thread.run_sync(overview.read, self._store, limiter=self._reads)
        return self._page("overview.html.j2", request, session, facts=facts, chart=overview)

    async def login(self, request: Request) -> Response:
        """The form for the password."""
        if self._session(request) is not None:
            return RedirectResponse("/", 303)
        return self._page("login.html.j2", request)

    async def sign_in(self, request: Request) -> Response:
        """Check the password."""
        said = words(_language(request))
        form = await _form(request)
        if form is None or not _from_here(request):
            return self._page("login.html.j2", request, status=403, error=said["elsewhere"])
        client = self._client(request)
        wait = self._throttle.wait(client)
        if wait:
            seconds = math.ceil(wait)
            answer = self._page("login.html.j2", request, status=429, error=said["wait"].format(seconds))
            answer.headers["Retry-After"] = str(seconds)
            return answer
        fits = await anyio.to_thread.run_sync(self._password.fits, form.get("password", ""), limiter=self._checks)
        if not fits:
            log.tell("warning", f"web: a wrong password for the console from {client}")
            return self._page("login.html.j2", request, status=401, error=said["wrong"])
        self._throttle.forgive(client)
        log.tell("notice", f"web: signed in to the console from {client}")
        answer = RedirectResponse("/", 303)
        answer.set_cookie(
            self._cookie, self._sessions.begin(), max_age=int(LONGEST), path="/", secure=self._secure, httponly=True,
            samesite="strict",
        )  # fmt: skip
        return answer

    async def sign_out(self, request: Request) -> Response:
        """End the session."""
        session = self._session(request)
        form = await _form(request)
        if session is None or form is None or not _from_here(request) or form.get("form") != session.form:
            said = words(_language(request))
            return self._page("login.html.j2", request, status=403, error=said["elsewhere"])
        self._sessions.end(request.cookies[self._cookie])
        answer = RedirectResponse("/login", 303)
        answer.delete_cookie(self._cookie, path="/", secure=self._secure, httponly=True, samesite="strict")
        return answer

    async def style(self, _: Request) -> Response:
        """The style sheet."""
        return Response(_style(), media_type="text/css", headers=HEADERS)

    def _session(self, request: Request) -> Session | None:
        token = request.cookies.get(self._cookie, "")
        return self._sessions.of(token) if token else None

    def _client(self, request: Request) -> str:
        """The address of whoever asks; behind a proxy the one that the proxy saw, which is the last that is named."""
        address = request.client.host if request.client else ""
        forwarded = request.headers.getlist("x-forwarded-for")
        if self._settings.proxies and forwarded:
            address = forwarded[-1].rpartition(",")[2].strip()
        return printable(address)[:64]

    def _page(
        self, template: str, request: Request, session: Session | None = None, status: int = 200, **facts: Any
    ) -> Response:
        chosen = _language(request)
        text = _templates.get_template(template).render(
            language=chosen, words=words(chosen), hostname=self._settings.hostname, session=session,
            **{"error": "", **facts},
        )  # fmt: skip
        return HTMLResponse(text, status, headers=HEADERS | {"Vary": "Accept-Language, Cookie"})


def _language(request: Request) -> str:
    return language(request.headers.get("accept-language", ""))


def _from_here(request: Request) -> bool:
    """Whether a form was sent from a page of this site, as the browser says; a browser always says it."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("origin")
    return origin is not None and urlsplit(origin).netloc == request.headers.get("host")


async def _form(request: Request) -> dict[str, str] | None:
    """The values of a form; None where it is none, or too large."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        return None
    body = b""
    with anyio.move_on_after(10):
        async for chunk in request.stream():
            body += chunk
            if len(body) > LARGEST_FORM:
                return None
        try:
            return dict(parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=True, max_num_fields=10))
        except ValueError:
            return None
    return None


def _style() -> str:
    return (Path(FOLDER) / "console.css").read_text()
