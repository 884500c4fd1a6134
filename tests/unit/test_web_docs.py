"""docs/api.md: its configuration loads, its requests are made, its answers are what the API says, nothing is left out."""

import json
import re
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from postroad.config.load import read_all
from postroad.web import app, operations, problems, reading, sending, server, suppressing
from postroad.web.services import Services
from tests.documents import ROOT, blocks
from tests.unit import api
from tests.unit.listener import Listener

PAGE = "docs/api.md"
TEXT = (ROOT / PAGE).read_text()
JSON = [json.loads(block.text) for block in blocks(PAGE) if block.language == "json"]


def of(member: str) -> dict[str, Any]:
    (found,) = [each for each in JSON if member in each]
    return dict(found)


def test_its_configuration_loads(tmp_path: Path) -> None:
    (text,) = [block.text for block in blocks(PAGE) if block.language == "yaml"]
    (tmp_path / "config.yaml").write_text(f"hostname: mail.example.com\ndomains: [example.com]\n{text}")
    config = read_all(tmp_path / "config.yaml", {}, tmp_path / "none").config
    assert config.web
    assert config.web.tls


def test_its_requests_are_made(calls: api.Api, listener: Listener) -> None:
    for member in ("from", "raw"):
        assert calls.post("/v1/messages", of(member)).status_code == 202
    assert [each.recipients for each in listener.taken] == [["you@example.net"]] * 2


def test_its_answer_is_the_api_s(calls: api.Api) -> None:
    found, shown = calls.post("/v1/messages", of("from")).json(), of("message_id")
    assert shape(found) == shape(shown)
    assert shown["recipients"][0]["reply"] == found["recipients"][0]["reply"].replace(found["id"], shown["id"])


def shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: shape(each) for name, each in value.items()}
    return [shape(each) for each in value] if isinstance(value, list) else type(value)


def test_its_problem_is_the_api_s(engine: Engine) -> None:
    assert api.of(engine).get("/v1/stats", api.SHOP).json() == of("type")


def test_every_operation_is_in_its_table() -> None:
    made = {
        f"{each.method} {each.path.replace(':path', '')}": each.right
        for each in Services(api.SETTINGS, ROOT).operations()
    }
    rows = re.findall(r"^\| `((?:GET|POST|DELETE) /v1/\S+)` \| (?:`(\w+)`|none) \|", TEXT, re.MULTILINE)
    assert dict(rows) == made | {"GET /v1/openapi.json": ""}


def test_every_kind_of_problem_is_in_its_table() -> None:
    sources = [
        Path(module.__file__ or "").read_text() for module in (app, operations, problems, reading, sending, suppressing)
    ]
    said = [found for text in sources for found in re.findall(r"Problem\(\s*(\d{3}),\s*\"?([\w-]+)\"?,", text)]
    kinds = {(int(status), sending.UNKNOWN if kind == "UNKNOWN" else kind) for status, kind in said}
    rows = re.findall(r"^\| ([\d, ]+) \| ((?:`[a-z-]+`(?:, )?)+) \|", TEXT, re.MULTILINE)
    told = {kind for _, cell in rows for kind in re.findall(r"`([a-z-]+)`", cell)}
    assert told == {kind for _, kind in kinds}
    statuses = {int(status) for cell, _ in rows for status in cell.split(", ")}
    assert statuses == {status for status, _ in kinds}


def test_its_bounds_are_those_in_force() -> None:
    assert f"{server.MOST} connections at once" in TEXT
    assert server.PATIENCE == 10
    assert operations.PATIENCE == 60
    assert f"{sending.MOST_RECIPIENTS:,} recipients at most" in TEXT
