"""The console's domains: the records to publish with their state, the keys, the doctor; by the commands themselves."""

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from starlette.routing import Route

from postroad import system
from postroad.config.names import is_name
from postroad.errors import InstallError, PostroadError
from postroad.runtime import log
from postroad.runtime.paths import CONSOLE
from postroad.times import stamp
from postroad.web import children
from postroad.web.children import Runner, Task
from postroad.web.console_forms import Fields
from postroad.web.desk import Desk, NothingThereError, Visit

PATH = "/domains"
FORMATS: Mapping[str, tuple[str, str]] = {
    "bind": ("records.zone", "text/plain"),
    "cloudflare": ("records-cloudflare.zone", "text/plain"),
    "route53": ("records-route53.json", "application/json"),
    "terraform": ("records.tf", "text/plain"),
}
"""What records can be kept as: the file's name and its media type."""
STATES: Mapping[str, str] = {
    "to add": "record_add", "to change": "record_change", "is there": "record_present", "can't tell": "record_unknown",
}  # fmt: skip
STAGES = ("active", "next", "past", "over")
PORT_25 = "port-25"
"""The doctor's check of the port that receivers listen on."""
LEVELS = ("error", "warning", "info", "ok")
"""Of findings, the worst first."""


class Domains:
    """The page."""

    def __init__(self) -> None:
        """Nothing was looked up yet."""
        self._lock = threading.Lock()
        self.records = Runner("dns", "--json")
        self.keys = Runner("dkim", "list", "--json")
        self.doctor = Runner("doctor", "--json-lines", then=keep)

    def show(self, visit: Visit) -> Mapping[str, Any]:
        """Records, keys and findings, as they were found last."""
        if self.records.task is None and visit.session.operates:
            self._look(visit.session.name)
        records, keys, doctor = self.records.task, self.keys.task, self.doctor.task
        looks = any(task is not None and task.runs for task in (records, keys, doctor))
        found = _whole(records)
        planned = [_record(each) for each in found.get("records", ())]
        return {
            "at": stamp(records.begun) if records else None,
            "looks": looks,
            "waits": records is not None and records.runs,
            "trouble": [task.error for task in (records, keys) if task and task.error],
            "address": found.get("address", ""),
            "zones": list(dict.fromkeys(each["zone"] for each in planned)),
            "records": planned,
            "missing": sum(each["state"] != "record_present" for each in planned),
            "keys": _whole(keys).get("keys", ()),
            "formats": FORMATS,
            "doctor": _progress(doctor),
            "kept": kept(),
        }

    def _look(self, by: str) -> None:
        self.records.begin(by)
        self.keys.begin(by)

    def look(self, visit: Visit, _: Fields) -> str:
        """Look at the DNS again."""
        self._look(visit.session.name)
        return PATH

    def examine(self, visit: Visit, _: Fields) -> str:
        """Ask the doctor."""
        if self.doctor.begin(visit.session.name):
            visit.record("doctor")
        return f"{PATH}#doctor"

    def rotate(self, visit: Visit, form: Fields) -> str:
        """Make the next key of a domain."""
        domain = form.one("domain").lower()
        if not is_name(domain):
            raise NothingThereError
        said = children.run("dkim", "rotate", "--domain", domain)
        visit.record("dkim_rotate", domain)
        visit.session.tell("done", f"{visit.words['rotated'].format(domain)}\n{said.strip()}")
        self._look(visit.session.name)
        return PATH

    def download(self, visit: Visit) -> tuple[str, str, str]:
        """The records as a file."""
        form, zone = visit.query.one("format"), visit.query.one("zone")
        if form not in FORMATS or (zone and not is_name(zone)):
            raise NothingThereError
        name, kind = FORMATS[form]
        code, out, err = children.answer("dns", "--format", form, *(["--zone", zone] if zone else []))
        if not out:
            raise PostroadError(children.said(err) or f"postroad dns failed (exit {code})")
        return name, kind, out


def _whole(task: Task | None) -> dict[str, Any]:
    """The JSON that a command has printed; empty as long as it runs, or where it failed."""
    if task is None or task.runs:
        return {}
    try:
        found = json.loads("\n".join(task.lines))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _record(each: Mapping[str, Any]) -> dict[str, Any]:
    return dict(each) | {"state": STATES.get(str(each["state"]), "record_unknown")}


def _progress(task: Task | None) -> dict[str, Any] | None:
    """How far a run of the doctor is; None: there is none under way, and none that failed."""
    if task is None or (not task.runs and not (task.error and not task.lines)):
        return None
    objects = children.objects(task.lines)
    every = objects[0].get("checks", []) if objects else []
    done = [each["check"] for each in objects[1:] if "check" in each]
    left = [each for each in every if each not in done]
    return {"runs": task.runs, "done": len(done), "of": len(every), "left": left, "error": task.error, "by": task.by}


# --- what the doctor found, kept


def _findings(task: Task) -> list[dict[str, Any]]:
    return [finding for each in children.objects(task.lines)[1:] for finding in each.get("findings", ())]


def keep(task: Task) -> None:
    """Keep what a run of the doctor found, and with it what the run before found."""
    findings = _findings(task)
    if not findings:
        return
    runs = [{"at": task.begun, "by": task.by, "findings": findings}, *_runs()[:1]]
    try:
        system.write(CONSOLE, json.dumps({"doctor": runs}))
    except InstallError as error:
        log.tell("warning", f"web: what the doctor found is not kept: {error}")


def _runs() -> list[dict[str, Any]]:
    try:
        found = json.loads(CONSOLE.read_text())["doctor"]
        return [each for each in found if {"at", "by", "findings"} <= each.keys()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []


def kept() -> dict[str, Any] | None:
    """What the doctor found last, the worst first, and what has changed since the time before; None: nothing."""
    runs = _runs()
    if not runs:
        return None
    now = {_identity(each): each for each in runs[0]["findings"]}
    before = {_identity(each): each for each in runs[1]["findings"]} if len(runs) > 1 else None
    found = sorted(runs[0]["findings"], key=lambda each: LEVELS.index(each["level"]))
    return {
        "at": stamp(runs[0]["at"]),
        "by": runs[0]["by"],
        "before": stamp(runs[1]["at"]) if len(runs) > 1 else None,
        "findings": [each | {"new": before is not None and _identity(each) not in before} for each in found],
        "gone": [] if before is None else [each for known, each in before.items() if known not in now],
        "counts": {level: sum(each["level"] == level for each in found) for level in LEVELS},
    }


def _identity(finding: Mapping[str, Any]) -> tuple[str, str, str]:
    return finding["id"], finding["level"], finding.get("key", finding["message"])


def steps() -> list[tuple[str, str, bool]]:
    """The first steps, in their order: the name of their word, where they are done, and whether they are.

    The doctor tells, where it was asked here.
    """
    found = kept()
    failed = [each for each in found["findings"] if each["level"] == "error"] if found else []
    known = found is not None
    return [
        ("step_records", PATH, known and not any(each.get("record") for each in failed)),
        ("step_port", f"{PATH}#doctor", known and not any(each["id"] == PORT_25 for each in failed)),
        ("step_send", "/send", False),
    ]


def routes(desk: Desk) -> Sequence[Route]:
    """The paths of this page."""
    page = Domains()
    acts: tuple[tuple[str, Callable[[Visit, Fields], str]], ...] = (
        ("look", page.look), ("doctor", page.examine), ("rotate", page.rotate),
    )  # fmt: skip
    return [
        desk.show(PATH, "domains.html.j2", page.show),
        desk.file(f"{PATH}/records", page.download),
        *(desk.act(f"{PATH}/{name}", do, PATH) for name, do in acts),
    ]
