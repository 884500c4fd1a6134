"""The console's test message: `postroad send`, whose message is then followed on its own page."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from sqlalchemy import Engine
from starlette.routing import Route

from postroad.errors import PostroadError
from postroad.feedback import listing
from postroad.store import database, queries
from postroad.web import children
from postroad.web.console_forms import Fields
from postroad.web.desk import Desk, Visit
from postroad.web.words import Own

PATH = "/send"
FOLLOWED = "2"
"""Seconds for which the command itself follows the message; its page goes on."""
STORED = 5.0
"""Seconds to wait for the store to know of the message."""
LOOK = 0.2


class Trial:
    """The page."""

    def __init__(self, store: Callable[[], Engine]) -> None:
        """With this store."""
        self._store = store

    def show(self, visit: Visit) -> Mapping[str, Any]:
        """The form."""
        return {"to": Own(visit.query.one("to")[:320])}

    def send(self, visit: Visit, form: Fields) -> str:
        """Send a test message."""
        recipient, sender = listing.address(form.one("to")), form.one("sender")
        words = ["--from", listing.address(sender)] if sender else []
        _, out, err = children.answer("send", "--json", "--timeout", FOLLOWED, *words, "--", recipient)
        try:
            answer = json.loads(out)
        except ValueError:
            raise PostroadError(children.said(err) or visit.words["sent_unknown"]) from None
        if answer.get("refused"):
            raise PostroadError(visit.words["refused"].format(answer["refused"]))
        visit.record("send", recipient)
        queue_id = next((each["queue_id"] for each in answer["events"] if each.get("queue_id")), None)
        if queue_id is None or not self._is_stored(queue_id):
            visit.session.tell("done", visit.words["sent_unknown"])
            return f"/messages?q={quote(recipient, safe='')}"
        visit.session.tell("done", visit.words["sent"].format(queue_id))
        return f"/messages/{quote(queue_id, safe='')}"

    def _is_stored(self, queue_id: str) -> bool:
        """Whether the store knows the message, after a moment."""
        engine, end = self._store(), time.monotonic() + STORED
        while time.monotonic() < end:
            with database.told("read"):
                if queries.by_id(engine, queue_id, 1):
                    return True
            time.sleep(LOOK)
        return False


def routes(desk: Desk) -> Sequence[Route]:
    """The paths of this page."""
    page = Trial(desk.store)
    return [
        desk.show(PATH, "send.html.j2", page.show, operators=True),
        desk.act(PATH, page.send, PATH),
    ]
