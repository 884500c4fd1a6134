"""The console's messages: a search, and the story of one as a timeline."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, get_args
from urllib.parse import urlencode

from pydantic import ValidationError
from sqlalchemy import Engine
from starlette.routing import Route

from postroad.config.values import format_duration
from postroad.events.classify import RULES
from postroad.runtime import refusals
from postroad.store import database, pages, queries, relays, tls
from postroad.store.queries import Story
from postroad.times import stamp
from postroad.web import reading
from postroad.web.desk import Desk, NothingThereError, Visit
from postroad.web.words import Own

MOST = 50
MOST_GAPS = 10
RECENT = 24 * 3600.0
"""Seconds for which a message without an end is looked at again and again."""
REASONS = (*dict.fromkeys((*RULES.reasons, "undefined", *refusals.CLASSES.values())),)
"""The classes of failures: of receivers, and of the relay's own rules."""
STATUSES = get_args(reading.Status)
STEPS = frozenset(
    ("accepted", "signed", "redirected", "queued", "deferred", "delivered", "bounced", "rejected", "notified",
     "disconnected")
)  # fmt: skip
"""Events that have a word of their own."""
FACTS = (
    "listener", "protocol", "size", "recipients", "domain", "selector", "redirected_to", "dsn", "class", "ruleset",
)  # fmt: skip
"""Fields of events that are told."""
OVER = frozenset(("delivered", "bounced", "rejected"))


@dataclass(frozen=True)
class Step:
    """A step of a message: what happened, with whom, in whose words."""

    kind: str
    word: str
    time: str
    host: str
    said: str
    facts: Sequence[tuple[str, str]] = field(default_factory=tuple)


class Messages:
    """The pages."""

    def __init__(self, store: Callable[[], Engine]) -> None:
        """Of this store."""
        self._store = store

    def search(self, visit: Visit) -> Mapping[str, Any]:
        """A page of messages."""
        asked = {name: visit.query.one(name) for name in ("q", "status", "class", "since", "until", "relay")}
        facts: dict[str, Any] = {
            "asked": asked, "statuses": STATUSES, "reasons": REASONS, "stories": (), "more": "", "faults": (),
            "relays": (),
        }  # fmt: skip
        given = {name: value for name, value in asked.items() if value and name != "q"}
        if cursor := visit.query.one("cursor"):
            given["cursor"] = cursor
        if "@" in asked["q"] and not asked["q"].startswith("<"):
            given["address"] = asked["q"]
        try:
            query = reading.MessagesQuery.model_validate(given)
        except ValidationError as error:
            said = [f"{each['loc'][0]}: {each['msg'].removeprefix('Value error, ')}" for each in error.errors()]
            return facts | {"faults": said}
        engine = self._store()
        with database.told("read"):
            with engine.connect() as connection:
                facts["relays"] = sorted(set(relays.names(connection).values()))
            stories, before = _found(engine, query, asked["q"])
        if before is not None:
            facts["more"] = Own(urlencode({**{k: v for k, v in asked.items() if v}, "cursor": before}))
        return facts | {"stories": [_row(visit, story) for story in stories]}

    def story(self, visit: Visit) -> Mapping[str, Any]:
        """What became of a message, for each of its recipients."""
        engine = self._store()
        with database.told("read"):
            found = [story.own() for story in queries.by_id(engine, visit.path["id"], reading.SAME_ID)]
            if not found:
                raise NothingThereError
            sessions = [tls.of_attempts(engine, story.events) for story in found]
            gaps = [
                gap
                for gap in queries.gaps(engine, min(story.first for story in found))
                if gap.since < max(story.last for story in found) + RECENT
            ]
        now = time.time()
        return {
            "stories": [_told(visit, story, own) for story, own in zip(found, sessions, strict=True)],
            "gaps": [{"since": stamp(gap.since), "until": stamp(gap.until)} for gap in gaps[:MOST_GAPS]],
            "waits": any(story.status not in OVER and now - story.last < RECENT for story in found),
        }


def _found(engine: Engine, query: reading.MessagesQuery, what: str) -> tuple[list[Story], int | None]:
    """The messages, newest first, and where the next page begins; by an id there is one page."""
    if what and query.address is None:
        return list(reversed([story.own() for story in queries.by_id(engine, what, MOST)])), None
    wanted = pages.Wanted(
        address=query.address,
        since=query.since.timestamp() if query.since else None,
        until=query.until.timestamp() if query.until else None,
        status=query.status,
        reason=query.class_,
        relay=query.relay,
    )
    found = pages.messages(engine, wanted, query.cursor, MOST)
    if not found.stories and found.before is None and query.cursor is None and what:
        return list(reversed([story.own() for story in queries.by_id(engine, what, MOST)])), None
    return found.stories, found.before


def _row(visit: Visit, story: Story) -> dict[str, Any]:
    fields = {name: value for name, value in story.fields().items() if name != "events"}
    # a client that was refused before its message had an id has no page of its own
    said = str(visit.seen(story.events[-1]).get("reply") or "") if story.events else ""
    return visit.seen(fields) | {
        "id": Own(story.queue_id or story.message_id or ""),
        "said": said,
        "redirected_to": visit.seen({"redirected_to": _elsewhere(story)})["redirected_to"],
    }


def _elsewhere(story: Story) -> str | None:
    """The other address that a recipient's mail goes to; None: it is the same one."""
    other = story.redirected_to
    return other if other and other.lower() != (story.recipient or "").lower() else None


def _told(visit: Visit, story: Story, sessions: Mapping[int, dict[str, Any]]) -> dict[str, Any]:
    return _row(visit, story) | {
        "advice": visit.words.get(f"class_{story.reason}", "") if story.reason else "",
        "steps": [_step(visit, event, sessions.get(i)) for i, event in enumerate(story.events)],
    }


def _step(visit: Visit, event: Mapping[str, Any], session: Mapping[str, Any] | None) -> Step:
    seen = visit.seen(event)
    kind = str(event["event"])
    address = seen.get("relay_address") or seen.get("client_address")
    host = " ".join(
        str(each) for each in (seen.get("relay_host") or seen.get("client_name"), f"[{address}]" if address else "")
        if each
    )  # fmt: skip
    facts = []
    if session is not None:
        verified = "" if session.get("tls_verify") == "OK" else f", {visit.words['not_verified']}"
        facts.append(("tls", f"{session.get('tls_version')} {session.get('tls_cipher')}{verified}"))
    shown = [name for name in FACTS if name in seen and not (name == "class" and kind == "rejected")]
    facts += [(f"fact_{name}", str(seen[name])) for name in shown]
    delays = [name for name in ("delay", "attempt_delay") if event.get(name)]
    facts += [(f"fact_{name}", format_duration(timedelta(seconds=int(event[name])))) for name in delays]
    said = seen.get("reply") or seen.get("status") or seen.get("notification") or ""
    return Step(kind, f"step_{kind}" if kind in STEPS else "", _moment(event), host, str(said), tuple(facts))


def _moment(event: Mapping[str, Any]) -> str:
    try:
        return datetime.fromisoformat(str(event.get("time"))).strftime("%Y-%m-%d %H:%M:%S")
    except ValueError:
        return ""


def routes(desk: Desk) -> list[Route]:
    """The paths of these pages."""
    messages = Messages(desk.store)
    return [
        desk.show("/messages", "messages.html.j2", messages.search),
        desk.show("/messages/{id:path}", "message.html.j2", messages.story),
    ]
