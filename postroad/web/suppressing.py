"""``/v1/suppressions``: the addresses that get no more mail; what `postroad suppress` does."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Any

from anyio import CapacityLimiter
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Engine

from postroad.errors import PostroadError
from postroad.feedback import listing, suppression
from postroad.feedback.suppression import ALL, SuppressedAddress
from postroad.runtime import log
from postroad.runtime.web import ApiKey
from postroad.web import problems
from postroad.web.operations import Call, Operation

MOST = 1000


class SuppressionsQuery(BaseModel):
    """Which entries."""

    model_config = ConfigDict(extra="forbid")

    address: Annotated[str, Field(max_length=320)] | None = Field(None, description="Only of this address.")
    sender_domain: Annotated[str, Field(max_length=255)] | None = Field(
        None, description="Only for this sender domain."
    )
    offset: Annotated[int, Field(ge=0, le=10_000_000)] = Field(0, description="Entries to leave out, the newest first.")
    limit: Annotated[int, Field(ge=1, le=MOST)] = Field(100, description="Most entries.")


class Suppression(BaseModel):
    """An address that gets no more mail."""

    recipient: str = Field(description="The address.")
    reason: str = Field(description="The class of the bounce, or why a person put it there.")
    added: str = Field(description="Since when.")
    expires: str | None = Field(None, description="Until when; not there: for good.")
    detail: str | None = Field(None, description="What the receiver said. Only for keys of all domains or of this one.")
    sender_domain: str = Field(description="The sender domain whose mail is refused; empty: all.")


class SuppressionList(BaseModel):
    """Entries, the newest first."""

    suppressions: list[Suppression] = Field(description="The entries.")
    total: int = Field(description="How many there are, without `offset` and `limit`.")


class NewSuppressions(BaseModel):
    """Addresses that are to get no more mail."""

    model_config = ConfigDict(extra="forbid")

    addresses: Annotated[list[Annotated[str, Field(max_length=400)]], Field(min_length=1, max_length=MOST)] = Field(
        description="The addresses."
    )
    reason: Annotated[str, Field(max_length=100)] = Field("manual", description="Why, in a word.")
    days: Annotated[int, Field(ge=1, le=36_500)] | None = Field(None, description="For how long. Not given: for good.")
    sender_domain: Annotated[str, Field(max_length=255)] | None = Field(
        None, description="Only mail from this sender domain. A key of some domains has to give one of them."
    )


class RemovalQuery(BaseModel):
    """Which entries of an address."""

    model_config = ConfigDict(extra="forbid")

    sender_domain: Annotated[str, Field(max_length=255)] | None = Field(
        None, description="Only the entry for this sender domain. A key of some domains has to give one of them."
    )


class ChangedList(BaseModel):
    """What a change came to."""

    changed: int = Field(description="How many entries were added that were not there, or removed.")
    total: int = Field(description="How many addresses are suppressed now.")


class Suppressor:
    """Reads and changes the list."""

    def __init__(self, store: Callable[[], Engine]) -> None:
        """With this store."""
        self._store = store

    def list(self, call: Call) -> SuppressionList:
        """A part of the list."""
        query: SuppressionsQuery = call.query
        address = None if query.address is None else _checked("address", listing.address, query.address)
        domain = None if query.sender_domain is None else _checked("sender_domain", listing.domain, query.sender_domain)
        found = [
            entry
            for entry in listing.entries(self._store())
            if (entry.sender_domain == ALL or call.key.covers(entry.sender_domain))
            and address in {None, entry.recipient}
            and domain in {None, entry.sender_domain}
        ]
        part = found[query.offset : query.offset + query.limit]
        return SuppressionList(suppressions=[_shown(entry, call.key) for entry in part], total=len(found))

    def add(self, call: Call) -> ChangedList:
        """Put addresses on the list."""
        body: NewSuppressions = call.body
        domain = _domain(call.key, body.sender_domain, "#/sender_domain")
        now = time.time()
        until = now + timedelta(days=body.days).total_seconds() if body.days else None
        reason = listing.word(body.reason)
        entries = [
            SuppressedAddress(
                _checked(f"#/addresses/{i}", listing.address, each), reason, now, until, None, domain or ALL
            )
            for i, each in enumerate(body.addresses)
        ]
        changed = listing.change(self._store(), lambda connection: suppression.add(connection, entries))
        log.tell("notice", f"web: the key {call.key.name} suppressed {len(entries)} addresses")
        return ChangedList(changed=changed.number, total=changed.total)

    def remove(self, call: Call) -> ChangedList:
        """Take an address from the list."""
        query: RemovalQuery = call.query
        address = _checked("address", listing.address, call.path["address"])
        domain = _domain(call.key, query.sender_domain, "sender_domain")
        changed = listing.change(self._store(), lambda connection: suppression.remove(connection, [address], domain))
        if not changed.number:
            raise problems.not_found("This address is not on the list, or not for this sender domain.")
        log.tell("notice", f"web: the key {call.key.name} removed {changed.number} suppressions")
        return ChangedList(changed=changed.number, total=changed.total)


def _domain(key: ApiKey, given: str | None, pointer: str) -> str | None:
    """The sender domain of a change; None: not given.

    Raises:
        Problem: it is none, or the key may not change entries of it.
    """
    domain = None if given is None else _checked(pointer, listing.domain, given)
    if key.domains and not (domain and key.covers(domain)):
        raise problems.forbidden(
            f"The key {key.name} changes entries of its own domains alone: give one of them as sender_domain."
        )
    return domain


def _checked(pointer: str, check: Callable[[str], str], text: str) -> str:
    try:
        return check(text)
    except PostroadError as error:
        accepted = str(error).rpartition("(accepted: ")[2].removesuffix(")")
        raise problems.invalid([problems.Fault(pointer=pointer, detail=f"{accepted} or the like")]) from None


def _shown(entry: SuppressedAddress, key: ApiKey) -> Suppression:
    fields: dict[str, Any] = listing.fields(entry)
    if key.domains and entry.sender_domain == ALL:
        del fields["detail"]  # it may be about another's mail
    return Suppression.model_validate(fields)


def operations(store: Callable[[], Engine], limiter: CapacityLimiter) -> list[Operation]:
    """The operations of the suppression list."""
    suppressor = Suppressor(store)
    path, right = "/v1/suppressions", "suppressions"
    return [
        Operation(
            "GET", path, "listSuppressions", "List suppressed addresses", right, suppressor.list, SuppressionList,
            limiter, query=SuppressionsQuery,
        ),
        Operation(
            "POST", path, "addSuppressions", "Suppress addresses", right, suppressor.add, ChangedList, limiter,
            body=NewSuppressions,
        ),
        Operation(
            "DELETE", f"{path}/{{address:path}}", "removeSuppression", "Let an address get mail again", right,
            suppressor.remove, ChangedList, limiter, query=RemovalQuery, problems={404: "It is not on the list."},
        ),
    ]  # fmt: skip
