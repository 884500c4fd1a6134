"""The suppression list as a vendor's client sees and changes it.

A key of all domains changes the entries for all senders, any other key those of its own domains.
"""

from collections.abc import Callable

from sqlalchemy import Engine

from postroad.errors import PostroadError
from postroad.feedback import listing, suppression
from postroad.feedback.suppression import ALL, SuppressedAddress
from postroad.runtime import log
from postroad.runtime.web import ApiKey
from postroad.web import problems
from postroad.web.vendor import refusal

Store = Callable[[], Engine]


def entries(store: Store, key: ApiKey) -> list[SuppressedAddress]:
    """What the key sees, newest first, an address once."""
    own = (each for each in listing.entries(store()) if each.sender_domain == ALL or key.covers(each.sender_domain))
    found: dict[str, SuppressedAddress] = {}
    for each in own:
        found.setdefault(each.recipient, each)
    return list(found.values())


def entry(store: Store, key: ApiKey, address: str) -> SuppressedAddress:
    """The newest entry of an address.

    Raises:
        Problem: there is none that the key sees.
    """
    found = next((each for each in entries(store, key) if each.recipient == address), None)
    if found is None:
        raise problems.not_found(f"Email address {address} does not exist on your suppression list.")
    return found


def domains(key: ApiKey) -> list[str]:
    """The sender domains whose entries the key changes."""
    return [each.name for each in key.domains] or [ALL]


def remove(store: Store, key: ApiKey, address: str) -> None:
    """Let an address get mail again.

    Raises:
        Problem: it is not on the list, or only another key may take it from there.
    """
    entry(store, key, address)
    wanted = domains(key) if key.domains else [None]
    changed = listing.change(
        store(), lambda connection: sum(suppression.remove(connection, [address], domain) for domain in wanted)
    )
    if not changed.number:
        raise problems.forbidden(
            f"{address} is suppressed for all senders, which a key of all domains removes, or `postroad suppress`."
        )
    log.tell("notice", f"web: the key {key.name} removed {changed.number} suppressions")


def plain(text: str, where: str) -> str:
    """An address in lower case.

    Raises:
        Problem: it is none.
    """
    try:
        return listing.address(text)
    except PostroadError:
        raise refusal(where, "an address such as user@example.com") from None
