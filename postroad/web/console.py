"""The console: signing in and out, the overview, and the list of the other pages."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio.to_thread
from anyio import CapacityLimiter
from sqlalchemy import Engine
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from postroad.errors import PostroadError
from postroad.events import own
from postroad.runtime import log
from postroad.runtime.web import Settings
from postroad.web import (
    console_domains,
    console_messages,
    console_queue,
    console_send,
    console_settings,
    console_suppressions,
    console_webhooks,
    overview,
)
from postroad.web.console_forms import form, from_here
from postroad.web.desk import HEADERS, Desk, Visit, language_of
from postroad.web.passwords import Password, Throttle
from postroad.web.render import FOLDER
from postroad.web.sessions import LONGEST, RefusedError, Role, Sessions
from postroad.web.words import words

if TYPE_CHECKING:
    from postroad.web.oidc import Provider

LONGEST_VISIT = 600.0
"""Seconds for which the cookie of somebody who is at the identity provider lasts."""
FILES = {"/console.css": "text/css", "/console.js": "text/javascript", "/console.svg": "image/svg+xml"}
"""What pages load, beside themselves: files of the templates' folder."""
SECTIONS: tuple[Callable[[Desk], Sequence[Route]], ...] = (
    console_messages.routes,
    console_queue.routes,
    console_suppressions.routes,
    console_domains.routes,
    console_webhooks.routes,
    console_send.routes,
    console_settings.routes,
)
"""All pages but the overview."""


class Console:
    """The pages."""

    def __init__(
        self, settings: Settings, store: Callable[[], Engine], reads: CapacityLimiter, sessions: Sessions
    ) -> None:
        """Show this store to whoever knows the password in the settings."""
        self._desk = Desk(settings, store, reads, sessions)
        passwords = {Role.OPERATOR: settings.password, Role.VIEWER: settings.viewer_password}
        self._passwords = {role: Password(password) for role, password in passwords.items() if password}
        self._hours = overview.counts()
        self._throttle = Throttle()
        self._checks, self._asking = CapacityLimiter(1), CapacityLimiter(4)
        self._provider = _provider(settings)
        sessions.belong_to("\0".join([*passwords.values(), repr(settings.oidc)]))

    def routes(self) -> list[Route]:
        """The paths of the pages."""
        return [
            self._desk.show("/", "overview.html.j2", self._overview),
            Route("/login", self.login, methods=["GET"]),
            Route("/login", self.sign_in, methods=["POST"]),
            Route("/logout", self.sign_out, methods=["POST"]),
            *([Route("/oidc/begin", self.leave, methods=["GET"])] if self._provider else []),
            *([Route("/oidc", self.come_back, methods=["GET"])] if self._provider else []),
            *(Route(path, self.file, methods=["GET"]) for path in FILES),
            *(route for page in SECTIONS for route in page(self._desk)),
        ]

    def _overview(self, _: Visit) -> Mapping[str, Any]:
        facts = overview.read(self._desk.store, self._hours)
        return {"facts": facts, "chart": overview, "steps": console_domains.steps() if facts.first_steps else ()}

    async def login(self, request: Request) -> Response:
        """The form for the password."""
        if self._desk.session(request) is not None:
            return RedirectResponse("/", 303)
        return self._login(request)

    def _login(self, request: Request, status: int = 200, error: str = "") -> Response:
        provider = self._provider.host if self._provider else ""
        return self._desk.page(
            "login.html.j2", request, status=status, error=error, provider=provider, password=bool(self._passwords)
        )

    async def sign_in(self, request: Request) -> Response:
        """Check the password."""
        said = words(language_of(request))
        given = await form(request)
        if given is None or not from_here(request):
            return self._login(request, status=403, error=said["elsewhere"])
        client = self._desk.client(request)
        wait = self._throttle.wait(client)
        if wait:
            seconds = math.ceil(wait)
            answer = self._login(request, status=429, error=said["wait"].format(seconds))
            answer.headers["Retry-After"] = str(seconds)
            return answer
        role = await anyio.to_thread.run_sync(self._role, given.text("password"), limiter=self._checks)
        if role is None:
            log.tell("warning", f"web: a wrong password for the console from {client}")
            return self._login(request, status=401, error=said["wrong"])
        self._throttle.forgive(client)
        return self._begin(RedirectResponse("/", 303), client, role, str(role))

    def _begin(self, answer: Response, client: str, role: Role, name: str) -> Response:
        """The answer with the cookie of a session that begins."""
        log.tell("notice", own.console(name, client, "signed_in"), 1.0)
        answer.set_cookie(
            self._desk.cookie,
            self._desk.sessions.begin(role, name),
            max_age=int(LONGEST),
            path="/",
            secure=self._desk.secure,
            httponly=True,
            samesite="strict",
        )
        return answer

    async def leave(self, request: Request) -> Response:
        """Send somebody to the identity provider."""
        assert self._provider  # noqa: S101 - else there is no such route
        wait = self._throttle.wait(self._desk.client(request))
        if wait:
            return self._login(request, 429, words(language_of(request))["wait"].format(math.ceil(wait)))
        try:
            url, cookie = await anyio.to_thread.run_sync(self._provider.begin, limiter=self._asking)
        except PostroadError as error:
            log.tell("warning", f"web: {error}")
            return self._login(request, 503, words(language_of(request))["provider_away"])
        answer = RedirectResponse(url, 303, headers=HEADERS)
        # Lax: it comes back by a link of the provider's
        answer.set_cookie(
            self._way, cookie, max_age=int(LONGEST_VISIT), path="/", secure=self._desk.secure, httponly=True,
            samesite="lax",
        )  # fmt: skip
        return answer

    async def come_back(self, request: Request) -> Response:
        """Somebody who comes back from the identity provider."""
        assert self._provider  # noqa: S101 - else there is no such route
        client, said = self._desk.client(request), words(language_of(request))
        finish = partial(self._provider.finish, dict(request.query_params), request.cookies.get(self._way, ""))
        try:
            found = await anyio.to_thread.run_sync(finish, limiter=self._asking)
        except PostroadError as error:
            refused = isinstance(error, RefusedError)
            log.tell("warning", f"web: nobody was signed in to the console from {client}: {error}")
            answer = self._login(request, 403 if refused else 503, said["not_let_in" if refused else "provider_away"])
        else:
            self._throttle.forgive(client)
            # a page and no redirect: the session's cookie is not sent on a way that began at another site
            answer = self._begin(self._desk.page("welcome.html.j2", request), client, found.role, found.name)
        answer.delete_cookie(self._way, path="/", secure=self._desk.secure, httponly=True, samesite="lax")
        return answer

    @property
    def _way(self) -> str:
        """The name of the cookie for the way to the identity provider and back."""
        return f"{self._desk.cookie}-way"

    def _role(self, given: str) -> Role | None:
        """Whose password this is; None: nobody's. It takes as long whoever's it is."""
        fits = [role for role, password in self._passwords.items() if password.fits(given)]
        return fits[0] if fits else None

    async def sign_out(self, request: Request) -> Response:
        """End the session."""
        session = self._desk.session(request)
        given = await form(request)
        if session is None or given is None or not from_here(request) or given.one("form") != session.form:
            said = words(language_of(request))
            return self._login(request, status=403, error=said["elsewhere"])
        self._desk.sessions.end(request.cookies[self._desk.cookie])
        answer = RedirectResponse("/login", 303)
        answer.delete_cookie(self._desk.cookie, path="/", secure=self._desk.secure, httponly=True, samesite="strict")
        return answer

    async def file(self, request: Request) -> Response:
        """The style sheet, or the script."""
        path = request.url.path
        return Response((FOLDER / path.removeprefix("/")).read_text(), media_type=FILES[path], headers=HEADERS)


def _provider(settings: Settings) -> "Provider | None":
    """The identity provider; None where none is configured."""
    if settings.oidc is None:
        return None
    from postroad.web import oidc  # noqa: PLC0415 - it takes memory that most consoles need not have

    return oidc.Provider(settings.oidc)
