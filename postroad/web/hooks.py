"""``/v1/webhooks``: what `postroad webhook` prints and does."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Self

from anyio import CapacityLimiter
from pydantic import BaseModel, ConfigDict, Field, model_validator
from sqlalchemy import Engine

from postroad.runtime import log, recording
from postroad.runtime.web import ApiKey
from postroad.store import database
from postroad.web import problems
from postroad.web.operations import Call, Operation
from postroad.webhooks import managing, outbox

MOST = 1000
Name = Annotated[str, Field(min_length=1, max_length=32)]


class WebhookState(BaseModel):
    """A webhook, as `postroad webhook list --json` prints it."""

    name: str = Field(description="Its name.")
    url: str | None = Field(None, description="Where its events go; not there: it is configured no more.")
    types: list[str] = Field(description="The kinds of events that it gets.")
    pending: int = Field(description="Events that wait.")
    dead: int = Field(description="Dead letters.")
    delivered: int = Field(description="Events that it took.")
    lost: int = Field(description="Events that had to go, as too many waited.")
    failed: int = Field(description="Attempts that failed.")
    oldest: str | None = Field(None, description="The time of the oldest event that waits.")
    error: str | None = Field(None, description="Why the last failed attempt failed.")
    failed_at: str | None = Field(None, description="The time of that attempt.")


class WebhookList(BaseModel):
    """All webhooks."""

    webhooks: list[WebhookState] = Field(description="The webhooks.")


class DeadQuery(BaseModel):
    """Which dead letters."""

    model_config = ConfigDict(extra="forbid")

    webhook: Name | None = Field(None, description="Only this one's.")
    limit: Annotated[int, Field(ge=1, le=MOST)] = Field(100, description="Most dead letters, the newest first.")


class DeadLetter(BaseModel):
    """An event that was given up."""

    id: str = Field(description="Its id, which the receiver knows it by.")
    webhook: str = Field(description="The webhook.")
    type: str = Field(description="The CloudEvent's type.")
    attempts: int = Field(description="How often it was posted.")
    added: str | None = Field(None, description="Since when.")
    failed: str | None = Field(None, description="The time of the last attempt.")
    error: str | None = Field(None, description="Why that failed.")
    event: dict[str, Any] = Field(description="The event.")


class DeadLetters(BaseModel):
    """Dead letters, the newest first."""

    dead: list[DeadLetter] = Field(description="The dead letters.")


class Replay(BaseModel):
    """Which dead letters are to be posted again."""

    model_config = ConfigDict(extra="forbid")

    ids: Annotated[list[Annotated[str, Field(max_length=36)]], Field(min_length=1, max_length=MOST)] | None = Field(
        None, description="Their ids; or else `all`."
    )
    all: bool = Field(False, description="All of them.")
    webhook: Name | None = Field(None, description="Only this one's.")

    @model_validator(mode="after")
    def _either(self) -> Self:
        if (self.ids is not None) == self.all:
            raise ValueError("either ids or all")
        return self


class Replayed(BaseModel):
    """What a replay came to."""

    replayed: int = Field(description="How many dead letters wait to be posted again.")


class TestEvent(BaseModel):
    """Where a test event goes."""

    __test__ = False
    model_config = ConfigDict(extra="forbid")

    webhook: Name = Field(description="The webhook's name.")


class TestAnswer(BaseModel):
    """What the receiver of a test event answered."""

    __test__ = False

    name: str = Field(description="The webhook.")
    id: str = Field(description="The event's id.")
    status: int | None = Field(None, description="The HTTP status; not there: there was no answer.")
    error: str | None = Field(None, description="Why it was not taken; not there: it was.")
    seconds: float = Field(description="How long that took.")


class Hooks:
    """Tells of webhooks."""

    def __init__(self, store: Callable[[], Engine], generation: Path) -> None:
        """Those of this generation's settings."""
        self._store, self._generation = store, generation

    def states(self, call: Call) -> WebhookList:
        """All webhooks."""
        _see_that_it_is_for_all(call.key)
        engine = self._store()
        with database.told("read"):
            found = managing.states(engine, self._settings().webhooks)
        return WebhookList.model_validate({"webhooks": found})

    def dead(self, call: Call) -> DeadLetters:
        """Dead letters."""
        _see_that_it_is_for_all(call.key)
        query: DeadQuery = call.query
        engine = self._store()
        with database.told("read"):
            found = outbox.dead(engine, query.webhook, query.limit)
        return DeadLetters.model_validate({"dead": [managing.letter(entry) for entry in found]})

    def replay(self, call: Call) -> Replayed:
        """Post dead letters again."""
        _see_that_it_is_for_all(call.key)
        body: Replay = call.body
        engine = self._store()
        with database.told("written"), database.writing(engine) as connection:
            number = outbox.replay(connection, body.ids, body.webhook)
        log.tell("notice", f"web: the key {call.key.name} has {number} dead letters posted again")
        return Replayed(replayed=number)

    def test(self, call: Call) -> TestAnswer:
        """Post a test event."""
        _see_that_it_is_for_all(call.key)
        body: TestEvent = call.body
        settings = self._settings()
        hook = next((each for each in settings.webhooks if each.name == body.webhook), None)
        if hook is None:
            raise problems.not_found("There is no webhook of this name.")
        log.tell("notice", f"web: the key {call.key.name} posts a test event to the webhook {hook.name}")
        return TestAnswer.model_validate(managing.ping(hook, settings.hostname))

    def _settings(self) -> recording.Settings:
        return recording.load(self._generation)


def _see_that_it_is_for_all(key: ApiKey) -> None:
    if key.domains:
        raise problems.forbidden(
            f'Webhooks tell of all sender domains, and the key {key.name} is for some: see web.keys[].domains ("*").'
        )


def operations(store: Callable[[], Engine], generation: Path, limiter: CapacityLimiter) -> list[Operation]:
    """The operations of the webhooks."""
    hooks = Hooks(store, generation)
    path, right = "/v1/webhooks", "webhooks"
    return [
        Operation("GET", path, "listWebhooks", "List webhooks", right, hooks.states, WebhookList, limiter),
        Operation(
            "GET", f"{path}/dead", "listDeadLetters", "List events that were given up", right, hooks.dead, DeadLetters,
            limiter, query=DeadQuery,
        ),
        Operation(
            "POST", f"{path}/replay", "replayDeadLetters", "Post dead letters again", right, hooks.replay, Replayed,
            limiter, body=Replay,
        ),
        Operation(
            "POST", f"{path}/test", "testWebhook", "Post a test event", right, hooks.test, TestAnswer, limiter,
            body=TestEvent, problems={404: "There is no such webhook."},
        ),
    ]  # fmt: skip
