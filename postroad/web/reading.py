"""``GET``: messages, events, counts; what `postroad trace` and `postroad stats` print."""

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from anyio import CapacityLimiter
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from sqlalchemy import Engine

from postroad.config.values import Duration, format_duration
from postroad.runtime.web import ApiKey
from postroad.store import database, pages, queries
from postroad.store.queries import Story
from postroad.web import problems
from postroad.web.operations import Call, Operation

MOST = 100
"""Messages of an answer; events ten times as many."""
SAME_ID = 20
"""Messages with one id: a Message-ID may be used again, and relays may have the same queue ids."""
Store = Callable[[], Engine]
"""Returns the event store, or raises PostroadError."""
Group = Literal["sender-domain", "recipient-domain", "provider", "class", "relay", "hour", "tag"]
Status = Literal["accepted", "queued", "deferred", "delivered", "bounced", "rejected"]


def _moment(value: Any) -> datetime:
    """A time such as ``2026-11-24T10:00:00Z`` (RFC 3339); without a zone it is in UTC."""
    try:
        found = datetime.fromisoformat(value if isinstance(value, str) and len(value) < 40 else "")
    except ValueError:
        raise ValueError("a time such as 2026-11-24T10:00:00Z") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _number(value: Any) -> int:
    if not isinstance(value, str) or not re.fullmatch(r"\d{1,18}", value, re.ASCII):
        raise ValueError("the cursor of an earlier answer")
    return int(value)


def _kinds(value: Any) -> tuple[str, ...]:
    found = tuple(value.split(",")) if isinstance(value, str) else ()
    if not 0 < len(found) <= 30 or not all(re.fullmatch(r"[a-z_-]{1,32}", each) for each in found):
        raise ValueError("kinds of events with commas between, such as delivered,bounced")
    return found


Moment = Annotated[
    datetime, BeforeValidator(_moment), WithJsonSchema({"type": "string", "format": "date-time"}, mode="validation")
]
Cursor = Annotated[int, BeforeValidator(_number), WithJsonSchema({"type": "string"}, mode="validation")]
Kinds = Annotated[tuple[str, ...], BeforeValidator(_kinds), WithJsonSchema({"type": "string"}, mode="validation")]
Text = Annotated[str, Field(min_length=1, max_length=320), AfterValidator(str.lower)]


class MessagesQuery(BaseModel):
    """Which messages."""

    model_config = ConfigDict(extra="forbid")

    address: Text | None = Field(None, description="From or to this address.")
    status: Status | None = Field(None, description="With this status.")
    class_: Text | None = Field(None, alias="class", description="Whose last failure has this class.")
    since: Moment | None = Field(None, description="Accepted at or after this time.")
    until: Moment | None = Field(None, description="Accepted before this time.")
    relay: Annotated[str, Field(max_length=64)] | None = Field(None, description="Handed to the relay of this name.")
    tag: Annotated[str, Field(min_length=1, max_length=300)] | None = Field(None, description="With this tag.")
    limit: Annotated[int, Field(ge=1, le=MOST)] = Field(20, description="Most messages.")
    cursor: Cursor | None = Field(None, description="`next` of the answer before.")


class EventsQuery(BaseModel):
    """Which events."""

    model_config = ConfigDict(extra="forbid")

    types: Kinds = Field((), description="Only of these kinds, with commas between, such as `delivered,bounced`.")
    after: Cursor | Literal["now"] = Field(
        0, description="`next` of the answer before. `now`: none yet, only where to go on. Not given: from the oldest."
    )
    limit: Annotated[int, Field(ge=1, le=10 * MOST)] = Field(MOST, description="Most events.")


class StatsQuery(BaseModel):
    """Which counts."""

    model_config = ConfigDict(extra="forbid")

    since: Duration = Field(timedelta(hours=24), description="How far back, such as `90s`, `24h` or `7d`.")
    by: Group = Field("sender-domain", description="What to group by.")


class MessageStory(BaseModel):
    """A message for one recipient, as `postroad trace --json` prints it."""

    queue_id: str | None = Field(None, description="Its queue id.")
    message_id: str | None = Field(None, description="Its Message-ID.")
    sender: str | None = Field(None, description="The sender in the envelope.")
    recipient: str | None = Field(None, description="The recipient; none while none is known.")
    relay: str | None = Field(None, description="The relay that it was handed to, where several share a database.")
    redirected_to: str | None = Field(None, description="The address that it goes to instead.")
    status: Status = Field(description="What became of it.")
    class_: str | None = Field(None, alias="class", description="The class of its last failure.")
    hard: bool | None = Field(None, description="Whether that was for good.")
    attempts: int = Field(description="Attempts at delivery.")
    first: str = Field(description="The time of its first event.")
    last: str = Field(description="The time of its last event.")
    tags: list[str] | None = Field(None, description="Its tags; not there where it has none.")
    events: list[dict[str, Any]] | None = Field(None, description="Its events, the oldest first; in a list not there.")


class MessageList(BaseModel):
    """Messages, the newest first; each recipient of one is an entry."""

    messages: list[MessageStory] = Field(description="The messages.")
    next: str | None = Field(None, description="`cursor` of the next request; not there where there is no more.")


class OneMessage(BaseModel):
    """A message: an entry a recipient."""

    messages: list[MessageStory] = Field(description="The message for each of its recipients.")


class NumberedEvent(BaseModel):
    """An event."""

    id: str = Field(description="Its number at this store.")
    data: dict[str, Any] = Field(description="The event as it was published: docs/events.md.")


class EventList(BaseModel):
    """Events, the oldest first."""

    events: list[NumberedEvent] = Field(description="The events.")
    next: str = Field(description="`after` of the next request.")


class Stats(BaseModel):
    """What `postroad stats --json` prints."""

    since: str = Field(description="How far back.")
    groups: list[dict[str, Any]] = Field(
        description="The largest first: `accepted`, `delivered`, `deferred` (attempts), `bounced`, `rejected`, "
        "`late` (the bounces of these that came back after the delivery), `complained`; `bounce_rate`, the share of "
        "bounces in what came to an end, and `complaint_rate`, that of complaints in what was delivered.",
    )
    total: dict[str, Any] = Field(description="The sums.")


class Reader:
    """Answers what is asked of the store."""

    def __init__(self, store: Store) -> None:
        """Read from this store."""
        self._store = store

    def messages(self, call: Call) -> MessageList:
        """A page of messages."""
        query: MessagesQuery = call.query
        wanted = pages.Wanted(
            senders=call.key.domains,
            address=query.address,
            since=query.since.timestamp() if query.since else None,
            until=query.until.timestamp() if query.until else None,
            status=query.status,
            reason=query.class_,
            relay=query.relay,
            tag=query.tag,
        )
        engine = self._store()
        with database.told("read"):
            found = pages.messages(engine, wanted, query.cursor, query.limit)
        stories = [_shown(story, events=False) for story in found.stories]
        return MessageList(messages=stories, next=None if found.before is None else str(found.before))

    def message(self, call: Call) -> OneMessage:
        """The message of an id."""
        what = call.path["id"]
        engine = self._store()
        with database.told("read"):
            stories = [story.own() for story in queries.by_id(engine, what, SAME_ID)]
        own = [_shown(story, events=True) for story in stories if _is_for(call.key, story)]
        if not own:
            raise problems.not_found("Nothing is known of a message with this id, or it is not for this key.")
        return OneMessage(messages=own)

    def events(self, call: Call) -> EventList:
        """A page of events."""
        query: EventsQuery = call.query
        after = None if isinstance(query.after, str) else query.after
        engine = self._store()
        with database.told("read"):
            found = pages.events(engine, call.key.domains, query.types, after, query.limit)
        return EventList(
            events=[NumberedEvent(id=str(number), data=event) for number, event in found.events], next=str(found.last)
        )

    def stats(self, call: Call) -> Stats:
        """Counts."""
        query: StatsQuery = call.query
        engine = self._store()
        with database.told("read"):
            rows = queries.counts(engine, time.time() - query.since.total_seconds(), query.by, call.key.domains)
        return Stats(since=format_duration(query.since), groups=rows, total=queries.total(rows))


def _is_for(key: ApiKey, story: Story) -> bool:
    return key.covers((story.sender or "").lower().rpartition("@")[2])


def _shown(story: Story, *, events: bool) -> MessageStory:
    fields = story.fields()
    return MessageStory.model_validate(fields if events else fields | {"events": None})


def operations(store: Store, limiter: CapacityLimiter) -> list[Operation]:
    """The operations that read."""
    reader = Reader(store)

    def operation(path: str, name: str, summary: str, function: Callable[[Call], Any], **more: Any) -> Operation:
        return Operation(
            method="GET",
            path=path,
            name=name,
            summary=summary,
            right="read",
            function=function,
            limiter=limiter,
            **more,
        )

    return [
        operation(
            "/v1/messages", "listMessages", "List messages", reader.messages, answer=MessageList, query=MessagesQuery
        ),
        operation(
            "/v1/messages/{id:path}",
            "getMessage",
            "What became of a message, by its queue id or Message-ID",
            reader.message,
            answer=OneMessage,
            problems={404: "Nothing is known of it."},
        ),
        operation(
            "/v1/events", "listEvents", "Read events in their order", reader.events, answer=EventList, query=EventsQuery
        ),
        operation(
            "/v1/stats", "getStats", "Count what became of messages", reader.stats, answer=Stats, query=StatsQuery
        ),
    ]
