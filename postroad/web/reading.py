"""``GET``: counts."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Any, Literal

from anyio import CapacityLimiter
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Engine

from postroad.config.values import Duration, format_duration
from postroad.store import database, queries
from postroad.web.operations import Call, Operation

Group = Literal["sender-domain", "recipient-domain", "provider", "class", "relay", "hour"]


class StatsQuery(BaseModel):
    """Which counts."""

    model_config = ConfigDict(extra="forbid")

    since: Duration = Field(timedelta(hours=24), description="How far back, such as `90s`, `24h` or `7d`.")
    by: Group = Field("sender-domain", description="What to group by.")


class Stats(BaseModel):
    """What `postroad stats --json` prints."""

    since: str = Field(description="How far back.")
    groups: list[dict[str, Any]] = Field(
        description="The largest first: `accepted`, `delivered`, `deferred` (attempts), `bounced`, `rejected`, and "
        "`bounce_rate`, the share of bounces in what came to an end.",
    )
    total: dict[str, Any] = Field(description="The sums.")


Store = Annotated[Callable[[], Engine], "returns the event store, or raises PostroadError"]


def operations(store: Store, limiter: CapacityLimiter) -> list[Operation]:
    """The operations that read."""

    def stats(call: Call) -> Stats:
        query: StatsQuery = call.query
        engine = store()
        with database.told("read"):
            rows = queries.counts(engine, time.time() - query.since.total_seconds(), query.by, call.key.domains)
        return Stats(since=format_duration(query.since), groups=rows, total=queries.total(rows))

    return [
        Operation(
            "GET", "/v1/stats", "getStats", "Count what became of messages", "read", stats, Stats, limiter,
            query=StatsQuery,
        ),
    ]  # fmt: skip
