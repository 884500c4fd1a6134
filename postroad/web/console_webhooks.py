"""The console's webhooks: what waits, dead letters, posting them again, a test event."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Engine
from starlette.routing import Route

from postroad.errors import PostroadError
from postroad.runtime import recording
from postroad.runtime.paths import CURRENT
from postroad.runtime.recording import Hook
from postroad.store import database
from postroad.web import children
from postroad.web.console_forms import Fields
from postroad.web.desk import Desk, NothingThereError, Visit
from postroad.web.words import Own
from postroad.webhooks import managing, outbox

PATH = "/webhooks"
MOST = 200
"""Dead letters that the page shows."""
LARGEST = 64 * 1024


class Webhooks:
    """The page."""

    def __init__(self, store: Callable[[], Engine]) -> None:
        """Of this store."""
        self._store = store

    def show(self, visit: Visit) -> Mapping[str, Any]:
        """Each webhook, and the dead letters."""
        engine = self._store()
        with database.told("read"):
            found = managing.states(engine, _configured())
            letters = outbox.dead(engine, None, MOST)
        return {
            "hooks": [_hook(visit, each) for each in found],
            "dead": [_letter(visit, managing.letter(entry)) for entry in letters],
            "live": any(each["pending"] for each in found),
        }

    def replay(self, visit: Visit, form: Fields) -> str:
        """Post dead letters again: those of the chosen ids, or all of a webhook."""
        ids, name = form.all("id"), form.one("webhook")
        if not ids and not name:
            raise PostroadError(visit.words["none_chosen"])
        with database.told("written"), database.writing(self._store()) as connection:
            number = outbox.replay(connection, ids or None, None if ids else name)
        visit.record("webhook_replay", f"{number} dead letters{'' if ids else f' of {name}'}")
        visit.session.tell("done", visit.words["replayed"].format(number))
        return PATH

    def test(self, visit: Visit, form: Fields) -> str:
        """Post a test event, and tell what the receiver answers."""
        name = form.one("webhook")
        if name not in {hook.name for hook in _configured()}:
            raise NothingThereError
        code, out, err = children.answer("webhook", "test", "--json", "--", name)
        try:
            (answer,) = json.loads(out)["answers"]
        except (ValueError, KeyError, TypeError):
            raise PostroadError(children.said(err) or f"postroad webhook test failed (exit {code})") from None
        visit.record("webhook_test", name)
        if answer["error"]:
            visit.session.tell("failed", visit.words["event_refused"].format(name, answer["error"]))
        else:
            taken = visit.words["event_taken"].format(name, answer["status"], answer["seconds"])
            visit.session.tell("done", taken)
        return PATH


def _configured() -> tuple[Hook, ...]:
    try:
        return recording.load(CURRENT).webhooks
    except FileNotFoundError:
        return ()


def _hook(visit: Visit, state: Mapping[str, Any]) -> dict[str, Any]:
    """A webhook; its URL, which may hold what only its receiver knows, for operators alone."""
    seen = visit.seen({"status": state["error"] or ""})
    return dict(state) | {
        "name": Own(state["name"]),
        "configured": state["url"] is not None,
        "url": state["url"] if visit.session.operates else None,
        "error": seen["status"],
    }


def _letter(visit: Visit, letter: Mapping[str, Any]) -> dict[str, Any]:
    event = visit.seen(letter["event"])
    return dict(letter) | {
        "kind": letter["event"]["event"],
        "recipient": event.get("recipient") or "",
        "error": visit.seen({"status": letter["error"] or ""})["status"],
        "event": None,
    }


def routes(desk: Desk) -> Sequence[Route]:
    """The paths of this page."""
    page = Webhooks(desk.store)
    return [
        desk.show(PATH, "webhooks.html.j2", page.show),
        desk.act(f"{PATH}/replay", page.replay, PATH, largest=LARGEST),
        desk.act(f"{PATH}/test", page.test, PATH),
    ]
