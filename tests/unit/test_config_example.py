"""What is generated from the model is what is in the repository, and does what it says."""

import json
import re
from pathlib import Path
from typing import Annotated, Any

import jsonschema
import pytest
import yaml
from pydantic import TypeAdapter

from dev.config_files import example, files, main
from dev.config_reference import reference
from dev.config_schema import schema
from postroad.config.keys import ConfigKey, keys
from postroad.config.load import load
from postroad.config.model import Config

TOP = Path(__file__).parents[2]


@pytest.mark.parametrize("path", files(), ids=str)
def test_the_generated_file_is_current(path: Path) -> None:
    assert (TOP / path).read_text() == files()[path], "run python -m dev.config_files"


def test_the_example_is_the_defaults() -> None:
    least = {"hostname": "mail.example.com", "domains": ["example.com"]}
    assert load(TOP / "config.example.yaml", {}, Path("/nonexistent")) == Config.model_validate(least)


def test_the_example_has_every_key() -> None:
    text = example()
    for key in keys(Config):
        assert re.search(rf"^[# ]*{key.path[-1]}:", text, re.MULTILINE), key.name


def test_the_commented_entry_of_a_list_loads_too() -> None:
    entry = "\n".join(
        line.removeprefix("# ") for line in example().split("domains: [example.com]\n")[1].split("\n\n")[0].splitlines()
    )
    config = Config.model_validate({"hostname": "mail.example.com", **yaml.safe_load(entry)})
    assert [domain.name for domain in config.domains] == ["example.com"]


def test_the_reference_has_every_key_and_variable() -> None:
    text = reference()
    for key in keys(Config):
        assert f"| `{key.name}` |" in text
        assert not key.variable or f"| `{key.variable}` |" in text


GOOD = [
    yaml.safe_load(example()),
    {"hostname": "a.b", "domains": [{"name": "b.c", "subdomains": True, "dkim": {"key_file": "/x"}}]},
    {"hostname": "a.b", "domains": ["b.c", "*"], "dkim": {"enabled": False}},
    {"hostname": "a.b", "domains": ["b.c"], "delivery": {"queue": {"warn_after": None, "retry": 60}}},
    {"hostname": "a.b", "domains": ["b.c"], "sendmail": {"defines": {"confMAX_HOP": 30}, "features": ["redirect"]}},
    {"hostname": "a.b", "domains": ["b.c"], "limits": {"message_size": 1000}, "clients": {"networks": ["auto"]}},
]

BAD = [
    {},
    {"hostname": "a.b", "domains": []},
    {"hostname": "a", "domains": ["b.c"]},
    {"hostname": "a.b", "domains": ["b.c"], "log": {"format": "xml"}},
    {"hostname": "a.b", "domains": ["b.c"], "dkim": {"key_bits": 1024}},
    {"hostname": "a.b", "domains": ["b.c"], "listeners": {"smtp": 0}},
    {"hostname": "a.b", "domains": ["b.c"], "limits": {"message_size": "25 megs"}},
    {"hostname": "a.b", "domains": [{"dkim": {}}]},
    {"hostname": "a.b", "domains": ["b.c"], "nope": 1},
]


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize("values", GOOD, ids=json.dumps)
def test_the_schema_takes_what_loads(values: dict[str, Any]) -> None:
    jsonschema.validate(values, schema())
    Config.model_validate(values)


@pytest.mark.parametrize("values", BAD, ids=json.dumps)
def test_the_schema_refuses_what_does_not(values: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(values, schema())
    with pytest.raises(ValueError, match="validation error"):
        Config.model_validate(values)


def test_defaults_in_the_schema_are_as_people_write_them() -> None:
    queue = schema()["$defs"]["Queue"]["properties"]
    assert {name: entry["default"] for name, entry in queue.items()} == {
        "retry": "5m",
        "warn_after": "4h",
        "give_up_after": "5d",
    }


def test_writing_and_checking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["--check"]) == 1
    assert "config.example.yaml is not what the model says" in capsys.readouterr().err
    assert main([]) == 0
    assert main(["--check"]) == 0
    assert Path("config.example.yaml").stat().st_mode & 0o777 == 0o644


LEAVES = [key for key in keys(Config) if key.section is None]


@pytest.mark.parametrize("key", LEAVES, ids=lambda key: key.name)
def test_each_key_has_an_example_where_its_type_does_not_say_it_all(key: ConfigKey) -> None:
    kind: Any = key.field.annotation
    for each in key.field.metadata:
        kind = Annotated[kind, each]
    adapter = TypeAdapter(kind)
    entry = adapter.json_schema()
    choices = entry.get("anyOf", [entry])
    says_it_all = any("enum" in each or each.get("type") == "boolean" for each in choices)
    its_default_does = key.name.startswith(("doctor.", "dns.egress"))
    assert key.field.examples or says_it_all or its_default_does
    for shown in key.field.examples or ():
        adapter.validate_python(shown)


@pytest.mark.parametrize("key", list(keys(Config)), ids=lambda key: key.name)
def test_each_key_has_whole_sentences(key: ConfigKey) -> None:
    text = key.field.description or (key.section.__doc__ if key.section else "") or ""
    assert re.match(r"[A-Z`]", text), text
    assert text.rstrip("`").endswith((".", "`")), text
    assert len(text) > 15, text
