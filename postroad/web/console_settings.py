"""The console's settings: each value in force with where it comes from, and a check of another configuration."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.routing import Route

from postroad.errors import PostroadError
from postroad.web import children
from postroad.web.console_forms import Fields
from postroad.web.desk import Desk, Visit

PATH = "/settings"
LARGEST = 2 << 20
"""Octets of a form with a configuration, of which 1 MiB is read."""


class Configuration:
    """The page."""

    def show(self, visit: Visit) -> Mapping[str, Any]:
        """The values in force."""
        return self._facts(bool(visit.query.one("all"))) | {"checked": None, "yaml": ""}

    def check(self, visit: Visit, form: Fields) -> Mapping[str, Any]:
        """What a start would say of this text."""
        text = form.text("yaml")
        code, _, err = children.answer("check", "-", given=text.replace("\r\n", "\n"))
        lines = [line.replace("/dev/stdin", "YAML") for line in children.said(err).splitlines() if line.strip()]
        warnings = [line.removeprefix("warning: ") for line in lines if line.startswith("warning: ")]
        problems = [line for line in lines if not line.startswith("warning: ")]
        checked = {"fine": code == 0, "problems": problems if code else [], "warnings": warnings}
        return self._facts(every=False) | {"checked": checked, "yaml": text}

    def _facts(self, every: bool) -> dict[str, Any]:
        try:
            found = json.loads(children.run("check", "--values", "--json"))["values"]
        except PostroadError as error:
            return {"trouble": str(error), "groups": {}, "every": every}
        groups: dict[str, list[dict[str, Any]]] = {}
        for each in found:
            if every or each["source"] is not None:
                top = each["key"].partition(".")[0].partition("[")[0]
                shown = json.dumps(each["value"], ensure_ascii=False)
                groups.setdefault(top, []).append({"key": each["key"], "value": shown, "source": each["source"]})
        return {"trouble": "", "groups": groups, "every": every}


def routes(desk: Desk) -> Sequence[Route]:
    """The paths of this page."""
    page = Configuration()
    return [
        desk.show(PATH, "settings.html.j2", page.show, operators=True, slow=True),
        desk.ask(f"{PATH}/check", "settings.html.j2", page.check, largest=LARGEST),
    ]
