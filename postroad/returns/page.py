"""What the link of one-click unsubscribing answers (RFC 8058): HTTP requests in, answers out. No I/O.

Only POST unsubscribes: programs that look at links (scanners, previews) ask with GET, and get a page with a button.
"""

import html
from collections.abc import Callable

from postroad.runtime import unsubscribing
from postroad.runtime.unsubscribing import TokenError, Wish
from postroad.runtime.whole_request import WholeRequest

LARGEST = 16 * 1024
"""Octets of a request, with its body."""
WORDS = (b"List-Unsubscribe", b"One-Click")
"""What a mail program posts, as a form of either kind (RFC 8058, section 3.2); the page's button posts the same."""

_HEAD = '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
_POLICY = "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"


class Request(WholeRequest):
    """A request for a link, or what a mail program posts there."""

    def __init__(self, request: bytes, path: str, key: bytes, act: Callable[[Wish], bool]) -> None:
        """Answer.

        Args:
            request: the request, with its body.
            path: what the path of a link begins with, such as ``/unsubscribe``.
            key: signs links.
            act: keeps a wish; False where it can't now.
        """
        self._base, self._key, self._act = path.rstrip("/"), key, act
        super().__init__(request)

    def do_GET(self) -> None:  # noqa: N802
        """Show what the link does, with a button that does it."""
        wish = self._wish()
        if wish:
            what = f"{html.escape(wish.domain)} to {html.escape(wish.recipient)}"
            button = (
                f'<form method="post"><input type="hidden" name="List-Unsubscribe" value="One-Click">'
                f"<p>Stop mail from {what}?</p><button>Stop</button></form>"
            )
            self._say(200, button)

    do_HEAD = do_GET  # noqa: N815

    def do_POST(self) -> None:  # noqa: N802
        """Unsubscribe."""
        wish = self._wish()
        if wish is None:
            return
        body = self._request.partition(b"\r\n\r\n")[2]
        if not all(word in body for word in WORDS):
            self._say(400, "<p>This address takes List-Unsubscribe=One-Click alone.</p>")
        elif self._act(wish):
            domain, recipient = html.escape(wish.domain), html.escape(wish.recipient)
            self._say(200, f"<p>No more mail from {domain} goes to {recipient}.</p>")
        else:
            self._say(503, "<p>Please try again in a minute.</p>")

    def log_message(self, *_: object) -> None:
        """Say nothing: a link names a person."""

    def _wish(self) -> Wish | None:
        path = self.path.partition("?")[0]
        begins, _, text = path.rpartition("/")
        if begins == self._base:
            try:
                return unsubscribing.read(self._key, text)
            except TokenError:
                pass
        self._say(404, "<p>There is no such link.</p>")
        return None

    def _say(self, code: int, text: str) -> None:
        body = f"{_HEAD}<title>Mail</title>{text}\n".encode()
        self.send_response(code)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", _POLICY)
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def is_whole(request: bytes) -> bool:
    """Whether a request has come whole, with as much body as it announces."""
    head, end, body = request.partition(b"\r\n\r\n")
    if not end:
        return False
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            digits = value.strip()
            return not digits.isdigit() or len(digits) > 9 or len(body) >= int(digits)
    return b"\r\ntransfer-encoding" not in head.lower() or body.endswith(b"0\r\n\r\n")
