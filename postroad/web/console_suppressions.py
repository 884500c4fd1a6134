"""The console's suppression list: search, add, remove, import, export; what `postroad suppress` does."""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Engine
from starlette.routing import Route

from postroad.commands import suppressions
from postroad.errors import PostroadError
from postroad.feedback import listing, suppression
from postroad.feedback.suppression import SuppressedAddress
from postroad.web.console_forms import LARGEST_TEXT, Fields
from postroad.web.desk import Desk, Visit
from postroad.web.words import Own

MOST = 100
"""Entries of a page."""
LONGEST_DAYS = 36_500
LARGEST = 1 << 20
"""Octets of a form with addresses to add."""
PATH = "/suppressions"


class Suppressions:
    """The page."""

    def __init__(self, store: Callable[[], Engine]) -> None:
        """Of this store."""
        self._store = store

    def list(self, visit: Visit) -> Mapping[str, Any]:
        """The list, the newest first."""
        part, offset = visit.query.one("q").lower(), _number(visit.query.one("offset"), 10_000_000)
        found = [entry for entry in listing.entries(self._store()) if part in entry.recipient]
        return {
            "asked": part,
            "total": len(found),
            "entries": [_row(visit, entry) for entry in found[offset : offset + MOST]],
            "before": None if not offset else max(0, offset - MOST),
            "after": offset + MOST if offset + MOST < len(found) else None,
        }

    def add(self, visit: Visit, form: Fields) -> str:
        """Put addresses on the list."""
        days = form.one("days")
        if days and not 0 < _number(days, LONGEST_DAYS + 1) <= LONGEST_DAYS:
            raise PostroadError(visit.words["whole_days"])
        now = time.time()
        until = now + timedelta(days=int(days)).total_seconds() if days else None
        reason, domain = listing.word(form.one("reason") or "manual"), listing.domain(form.one("sender_domain"))
        found = [
            SuppressedAddress(listing.address(line), reason, now, until, None, domain)
            for line in form.text("addresses").splitlines()
            if line.strip()
        ]
        if not found:
            raise PostroadError(visit.words["no_address"])
        self._add(visit, found, "suppress_add")
        return PATH

    def remove(self, visit: Visit, form: Fields) -> str:
        """Take an entry from the list."""
        address, domain = listing.address(form.one("address")), listing.domain(form.one("sender_domain"))
        changed = listing.change(self._store(), lambda connection: suppression.remove(connection, [address], domain))
        if changed.number:
            visit.record("suppress_remove", f"{address}{f' for {domain}' if domain else ''}")
            visit.session.tell("done", visit.words["removed"].format(address))
        else:
            visit.session.tell("failed", visit.words["not_on_list"].format(address))
        return PATH

    def take(self, visit: Visit, form: Fields) -> str:
        """Add the addresses of a file."""
        found = suppressions.imported(form.text("list"), listing.domain(form.one("sender_domain")))
        self._add(visit, found, "suppress_import")
        return PATH

    def export(self, visit: Visit) -> tuple[str, str, str]:
        """The list as a file."""
        found = listing.entries(self._store())
        visit.record("suppress_export", f"{len(found)} entries")
        return "suppressions.csv", "text/csv", suppressions.exported(found)

    def _add(self, visit: Visit, found: Sequence[SuppressedAddress], action: str) -> None:
        changed = listing.change(self._store(), lambda connection: suppression.add(connection, found))
        visit.record(action, f"{len(found)} addresses: {', '.join(each.recipient for each in found[:20])}")
        visit.session.tell("done", visit.words["added"].format(changed.number, len(found), changed.total))


def _row(visit: Visit, entry: SuppressedAddress) -> dict[str, Any]:
    fields = listing.fields(entry)
    seen = visit.seen({"recipient": fields["recipient"], "reply": fields["detail"] or ""})
    return fields | {"address": Own(entry.recipient), "shown": seen["recipient"], "detail": seen["reply"]}


def _number(text: str, most: int) -> int:
    """A number from 0 to ``most``; 0 for what is none."""
    return min(int(text), most) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def routes(desk: Desk) -> Sequence[Route]:
    """The paths of this page."""
    page = Suppressions(desk.store)
    return [
        desk.show(PATH, "suppressions.html.j2", page.list),
        desk.act(f"{PATH}/add", page.add, PATH, largest=LARGEST),
        desk.act(f"{PATH}/remove", page.remove, PATH),
        desk.act(f"{PATH}/import", page.take, PATH, largest=LARGEST_TEXT),
        desk.file(f"{PATH}/export", page.export),
    ]
