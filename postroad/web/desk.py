"""What all pages of the console have in common: who asks, how a page is answered."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import anyio.to_thread
from anyio import CapacityLimiter
from sqlalchemy import Engine
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from postroad.errors import PostroadError, plainly
from postroad.events import own
from postroad.runtime import log
from postroad.runtime.paths import REDACTION_KEY
from postroad.runtime.web import Settings
from postroad.sinks.redact import Redactor
from postroad.text import printable
from postroad.web.console_forms import LARGEST_FORM, Fields, form, from_here
from postroad.web.render import Renderer
from postroad.web.sessions import Session, Sessions
from postroad.web.words import Own, language, words

LIVE = "postroad-live"
"""A header field of the requests by which a page renews itself: nobody uses the session with them."""
POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self';"
    " frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
PAGES: tuple[tuple[str, str], ...] = (
    ("/", "overview"),
    ("/messages", "messages"),
    ("/queue", "queue_page"),
    ("/suppressions", "suppressions"),
    ("/domains", "domains"),
    ("/webhooks", "webhooks"),
    ("/send", "send_page"),
    ("/settings", "settings"),
)
"""The pages that every page leads to: path, and the name of its word."""
OPERATORS_PAGES = frozenset({"/send", "/settings"})
"""Those of them that are for operators alone."""


class NothingThereError(Exception):
    """There is no such thing to show."""


@dataclass(frozen=True)
class Visit:
    """A request of somebody who is signed in.

    Attributes:
        session: his.
        words: in his language.
        client: the address that he comes from.
        path: the parts of the path that the route names.
        query: what stands behind the ``?``.
        redactor: hides addresses from a viewer.
    """

    session: Session
    words: Mapping[str, str]
    client: str
    path: Mapping[str, str]
    query: Fields
    redactor: Redactor

    def record(self, action: str, message: str = "") -> None:
        """Let an event say who did this."""
        log.tell("notice", own.console(self.session.name, self.client, action, printable(message)), 1.0)

    def seen(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """An event's fields, or the like, as whoever asks may see them."""
        return dict(fields) if self.session.operates else self.redactor.fields(fields)


class Desk:
    """Answers for the pages."""

    def __init__(
        self, settings: Settings, store: Callable[[], Engine], reads: CapacityLimiter, sessions: Sessions
    ) -> None:
        """For whoever has one of these sessions."""
        self.settings, self.store, self.sessions = settings, store, sessions
        self._reads, self._acts = reads, CapacityLimiter(4)
        self._redactor = _redactor(settings.redact)
        self._renderer = Renderer(settings.hostname, self._redactor)
        self.secure = settings.tls or bool(settings.proxies)
        # a cookie of this name is taken by browsers from this host alone, over TLS alone
        self.cookie = "__Host-postroad" if self.secure else "postroad"

    # --- pages

    def show(
        self,
        path: str,
        template: str,
        read: Callable[[Visit], Mapping[str, Any]],
        *,
        operators: bool = False,
        slow: bool = False,
    ) -> Route:
        """The route of a page, whose facts are read in a thread.

        ``operators``: for nobody else; ``slow``: a command tells the facts, which keeps no reader of the store waiting.
        """

        async def endpoint(request: Request) -> Response:
            session = self.session(request)
            if session is None:
                return RedirectResponse("/login", 303)
            if operators and not session.operates:
                return self.refusal(request, session, 403, "not_allowed")
            visit = self._visit(request, session)
            try:
                facts = await anyio.to_thread.run_sync(read, visit, limiter=self._acts if slow else self._reads)
            except NothingThereError:
                return self.refusal(request, session, 404, "not_there")
            except (PostroadError, OSError) as error:
                return self.page("trouble.html.j2", request, session, 503, trouble=plainly(error))
            return self.page(template, request, session, **facts)

        return Route(path, endpoint, methods=["GET"])

    def act(self, path: str, do: Callable[[Visit, Fields], str], back: str, *, largest: int = LARGEST_FORM) -> Route:
        """The route of a form that changes something, in a thread: ``do`` returns the path to go to then.

        Where it raises PostroadError or OSError, that is told on the page ``back``.
        """

        async def answer(request: Request, visit: Visit, given: Fields) -> Response:
            try:
                then = await anyio.to_thread.run_sync(do, visit, given, limiter=self._acts)
            except (PostroadError, OSError) as error:
                visit.session.tell("failed", plainly(error))
                then = back
            return RedirectResponse(then, 303)

        return self._form(path, answer, largest)

    def ask(self, path: str, template: str, do: Callable[[Visit, Fields], Mapping[str, Any]], *, largest: int) -> Route:
        """The route of a form that changes nothing, and is answered by a page with the facts of ``do``."""

        async def answer(request: Request, visit: Visit, given: Fields) -> Response:
            try:
                facts = await anyio.to_thread.run_sync(do, visit, given, limiter=self._acts)
            except (PostroadError, OSError) as error:
                return self.page("trouble.html.j2", request, visit.session, 503, trouble=plainly(error))
            return self.page(template, request, visit.session, **facts)

        return self._form(path, answer, largest)

    def _form(self, path: str, answer: Callable[[Request, Visit, Fields], Awaitable[Response]], largest: int) -> Route:
        """The route of an operator's form, which was sent from a page of ours with the session's own token."""

        async def endpoint(request: Request) -> Response:
            session = self.session(request)
            if session is None:
                return RedirectResponse("/login", 303)
            if not session.operates:
                return self.refusal(request, session, 403, "not_allowed")
            given = await form(request, largest)
            if given is None or not from_here(request) or given.one("form") != session.form:
                return self.refusal(request, session, 403, "elsewhere")
            try:
                return await answer(request, self._visit(request, session), given)
            except NothingThereError:
                return self.refusal(request, session, 404, "not_there")

        return Route(path, endpoint, methods=["POST"])

    def file(self, path: str, read: Callable[[Visit], tuple[str, str, str]]) -> Route:
        """The route of a file for operators to keep: ``read`` returns its name, media type and text, in a thread."""

        async def endpoint(request: Request) -> Response:
            session = self.session(request)
            if session is None:
                return RedirectResponse("/login", 303)
            if not session.operates:
                return self.refusal(request, session, 403, "not_allowed")
            try:
                name, kind, text = await anyio.to_thread.run_sync(
                    read, self._visit(request, session), limiter=self._acts
                )
            except NothingThereError:
                return self.refusal(request, session, 404, "not_there")
            except (PostroadError, OSError) as error:
                return self.page("trouble.html.j2", request, session, 503, trouble=plainly(error))
            headers = HEADERS | {"Content-Disposition": f'attachment; filename="{name}"'}
            return Response(text, media_type=kind, headers=headers)

        return Route(path, endpoint, methods=["GET"])

    def page(
        self, template: str, request: Request, session: Session | None = None, status: int = 200, **facts: Any
    ) -> Response:
        """A page, in the language of whoever asks."""
        text = self._renderer.html(
            template,
            language_of(request),
            redacted=session is not None and not session.operates,
            **{
                "session": session,
                "here": Own(request.url.path),
                "pages": [each for each in PAGES if session and (session.operates or each[0] not in OPERATORS_PAGES)],
                "error": "",
                "notices": session.told() if session and LIVE not in request.headers else [],
                **facts,
            },
        )
        return HTMLResponse(text, status, headers=HEADERS | {"Vary": "Accept-Language, Cookie"})

    def refusal(self, request: Request, session: Session, status: int, word: str) -> Response:
        """A page that says no, in a word of the catalogue."""
        said = words(language_of(request))[word]
        return self.page("trouble.html.j2", request, session, status, trouble=said)

    # --- who asks

    def session(self, request: Request) -> Session | None:
        """The session of a request."""
        token = request.cookies.get(self.cookie, "")
        return self.sessions.of(token, uses=LIVE not in request.headers) if token else None

    def client(self, request: Request) -> str:
        """The address of whoever asks; behind a proxy the one that the proxy saw, which is the last that is named."""
        address = request.client.host if request.client else ""
        forwarded = request.headers.getlist("x-forwarded-for")
        if self.settings.proxies and forwarded:
            address = forwarded[-1].rpartition(",")[2].strip()
        return printable(address)[:64]

    def _visit(self, request: Request, session: Session) -> Visit:
        return Visit(
            session,
            words(language_of(request)),
            self.client(request),
            request.path_params,
            Fields(request.query_params.multi_items()),
            self._redactor,
        )


def _redactor(mode: str) -> Redactor:
    """What hides addresses from viewers: as ``log.redact`` does in the log, or else all but their domains."""
    if mode != "hash":
        return Redactor("domain")
    try:
        return Redactor(mode, REDACTION_KEY.read_bytes())
    except OSError:
        return Redactor(mode)  # which leaves nothing of them


def language_of(request: Request) -> str:
    """The language of whoever asks."""
    return language(request.headers.get("accept-language", ""))
