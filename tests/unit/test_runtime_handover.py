"""What an installation writes, its process reads as the same; anything else is refused, and no secret is in the error."""

import json
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pytest

from postroad.runtime import front, handover, plan, recording, shaping, signing
from postroad.runtime.handover import SettingsError
from tests.unit import supervision
from tests.unit.handed import HOOK, RECORDING

DOMAIN = signing.SenderDomain("sender.example", subdomains=True)
WHOLE = (
    replace(
        RECORDING,
        store=recording.DatabaseServer("postgresql://db/postroad", "hunter2"),
        http=("::", 8025),
        suppression=recording.SuppressionRules(90.0, "sender_domain", ("vip@rcpt.example",), 3, 60.0),
        webhooks=(replace(HOOK, secrets=("aHVudGVyMg==",)), HOOK),
    ),
    RECORDING,
    shaping.Settings(
        prefix="route-", retry=300.0, tell=(90.0,), by_domain=True, shared=True, sendmail="/sendmail",
        env={"PATH": "/bin"},
        routes=(
            shaping.ShapedRoute("route-1", one_way=True, concurrency=None, rate=(100, 60), since=0, daily=()),
            shaping.ShapedRoute("route-2", one_way=False, concurrency=2, rate=None, since=20000, daily=(50, 100)),
        ),
    ),
    front.Settings(
        hostname="mail.sender.example", inet6=True, early=False, transparent=False, connections_per_client=None,
        connections_per_minute=60, concurrency=40, reuses=True, idle=300.0, starttls=True, split=True, retry=300.0, tell=(9.0,),
        adaptive=True, sendmail="/sendmail", env={},
    ),
    signing.Settings(
        hostname="mail.sender.example", domains=(DOMAIN,), users={"app": (DOMAIN,), "any": ()},
        rewriting=signing.Rewriting("", ("x.example",), "", {"a@x.example": "b@x.example"}, ""),
        keys=(signing.DkimKey("sender.example", False, "s1", "dkim/a.pem"),),
    ),
    supervision.plan(
        supervision.process("sendmail", ports=(25, 587), essential=False),
        supervision.process("front", listens=("inet6", 25), unix_listeners=("/run/front",)),
    ),
)  # fmt: skip


@pytest.mark.parametrize("settings", WHOLE, ids=lambda each: each.__class__.__module__.rpartition(".")[2])
def test_what_is_written_is_read_as_the_same(tmp_path: Path, settings: Any) -> None:
    (tmp_path / "settings").write_text(handover.dumps(settings))
    assert handover.load(type(settings), tmp_path / "settings") == settings


@pytest.mark.parametrize("module", [recording, shaping])
def test_a_generation_holds_them(tmp_path: Path, module: Any) -> None:
    whole = next(each for each in WHOLE if isinstance(each, module.Settings))
    (tmp_path / module.FILE).write_text(handover.dumps(whole))
    assert module.load(tmp_path) == whole


@pytest.mark.parametrize("module", [front, signing, plan])
def test_a_file_holds_them(tmp_path: Path, module: Any) -> None:
    kind = module.Plan if module is plan else module.Settings
    whole = next(each for each in WHOLE if isinstance(each, kind))
    (tmp_path / module.FILE).write_text(handover.dumps(whole))
    assert module.load(tmp_path / module.FILE) == whole


def every_field(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = []
    if isinstance(value, dict):
        found += [(*path, key) for key in value]
        found += [each for key in value for each in every_field(value[key], (*path, key))]
    elif isinstance(value, list):
        found += [each for i, one in enumerate(value) for each in every_field(one, (*path, i))]
    return found


@pytest.mark.parametrize("settings", WHOLE, ids=lambda each: each.__class__.__module__.rpartition(".")[2])
def test_each_field_has_to_be_there_and_no_other(settings: Any) -> None:
    text = handover.dumps(settings)
    for path in every_field(json.loads(text)):
        if {"env", "users", "addresses", "watched"} & set(path[:-1]):
            continue  # its keys are free
        for act in ("missing", "unknown"):
            data = json.loads(text)
            there = data
            for step in path[:-1]:
                there = there[step]
            if act == "missing":
                del there[path[-1]]
            else:
                there["new"] = 1
            with pytest.raises(SettingsError, match=f"{act} fields \\['(new|{path[-1]})'\\]"):
                handover.loads(type(settings), json.dumps(data))


@dataclass(frozen=True)
class Inner:
    number: int


@dataclass(frozen=True)
class Outer:
    text: str
    real: float
    switch: bool
    maybe: int | None
    pair: tuple[str, int] | tuple[()]
    many: tuple[Inner, ...]
    named: dict[str, Inner]
    word: Literal["a", "b"]


GOOD: dict[str, Any] = {
    "text": "t", "real": 1.5, "switch": True, "maybe": None, "pair": ["a", 1], "many": [{"number": 1}], "named": {"x": {"number": 2}}, "word": "b",
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"text": 1}, r"^f\.text: str wanted, int found$"),
        ({"text": None}, r"^f\.text: str wanted, NoneType found$"),
        ({"real": "1"}, r"^f\.real: float wanted"),
        ({"real": True}, r"^f\.real: float wanted"),
        ({"switch": 1}, r"^f\.switch: bool wanted"),
        ({"maybe": True}, r"^f\.maybe: "),
        ({"maybe": "1"}, r"^f\.maybe: "),
        ({"pair": ["a"]}, r"^f\.pair: "),
        ({"pair": ["a", 1, 2]}, r"^f\.pair: "),
        ({"pair": "a"}, r"^f\.pair: "),
        ({"many": {"number": 1}}, r"^f\.many: "),
        ({"many": [{"number": 1}, {"number": "1"}]}, r"^f\.many\[1\]\.number: int wanted, str found$"),
        ({"many": [1]}, r"^f\.many\[0\]: Inner wanted, int found$"),
        ({"named": {"x": {"number": None}}}, r"^f\.named\['x'\]\.number: "),
        ({"named": [1]}, r"^f\.named: "),
        ({"word": "c"}, r"^f\.word: "),
    ],
)
def test_another_type_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        handover.loads(Outer, json.dumps(GOOD | changes), "f")


def test_an_int_is_a_float_and_an_empty_tuple_one_of_two() -> None:
    read = handover.loads(Outer, json.dumps(GOOD | {"real": 2, "pair": [], "maybe": 3}))
    assert (read.real, type(read.real), read.pair, read.maybe) == (2.0, float, (), 3)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"'])
def test_what_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=r"^f"):
        handover.loads(Outer, text, "f")


def test_no_secret_is_shown() -> None:
    secret = WHOLE[0]
    assert "hunter2" not in repr(secret)
    assert "aHVudGVyMg" not in repr(secret)
    data = json.loads(handover.dumps(secret))
    data["store"]["password"] = ["hunter2"]
    with pytest.raises(SettingsError) as caught:
        handover.loads(recording.Settings, json.dumps(data))
    assert "hunter2" not in str(caught.value)


def test_every_dataclass_that_is_handed_over_is_frozen() -> None:
    for whole in WHOLE:
        with pytest.raises(AttributeError):
            setattr(whole, fields(whole)[0].name, "x")
        assert is_dataclass(whole)


def test_an_error_names_the_file_it_is_about(tmp_path: Path) -> None:
    (tmp_path / "shaping.json").write_text("{}")
    with pytest.raises(SettingsError, match=r"^shaping\.json: missing fields"):
        shaping.load(tmp_path)
    with pytest.raises(SettingsError, match=r"^settings\.word: .*Literal.* wanted, str found$"):
        handover.loads(Outer, json.dumps(GOOD | {"word": "c"}))
    with pytest.raises(SettingsError, match=r"^settings\.text: str wanted"):
        handover.loads(Outer, json.dumps(GOOD | {"text": None}))
