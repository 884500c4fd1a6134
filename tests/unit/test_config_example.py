"""What is generated from the model is what is in the repository, and does what it says."""

import json
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any

import jsonschema
import pytest
import yaml
from pydantic import TypeAdapter

from dev import since
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


PARTS = {
    part.partition("`")[0]: part
    for part in re.split(
        r"^#{3,4} `", reference().partition("## Keys\n")[2].partition("\n## Raw m4")[0], flags=re.MULTILINE
    )[1:]
}
"""The reference's part of each key."""


def in_reference(name: str) -> str:
    """The part of a key, or of the same key in the section that the page refers to."""
    if name not in PARTS:
        above = next(
            above for above in PARTS if name.startswith(f"{above}.") and "It has the same keys as" in PARTS[above]
        )
        (twin,) = re.findall(r"It has the same keys as \[`(.+?)`\]", PARTS[above])
        return in_reference(twin + name.removeprefix(above))
    return PARTS[name]


@pytest.mark.parametrize("key", list(keys(Config)), ids=lambda key: key.name)
def test_the_reference_tells_every_key(key: ConfigKey) -> None:
    part = in_reference(key.name)
    assert not key.variable or f"`{key.variable}`" in part or key.name not in PARTS
    assert re.search(r" · since \d+\.\d+\.\d+\b|^since ", part, re.MULTILINE), part
    if key.section is None:
        (example,) = re.findall(r"^```yaml\n(.*?)^```$", part, re.DOTALL | re.MULTILINE)
        assert re.search(rf"^[ -]*{key.path[-1]}:", example, re.MULTILINE)
        Config.model_validate({"hostname": "mail.example.com", "domains": ["example.com"], **yaml.safe_load(example)})


BOUNDED = re.compile(r"^(duration|size|rate|share|\d+ to \d+|whole number)\b")


def test_a_key_with_a_bound_says_what_happens_there() -> None:
    held = 0
    for name, part in PARTS.items():
        facts = next(line for line in part.splitlines() if "since " in line and " · " in line)
        if BOUNDED.match(facts) and not name.startswith("listeners.") and not name.endswith(".port"):
            text = part.split("\n\n")[1]
            said = [each for each in re.split(r"(?<=\.) (?=[A-Z`])", text) if not each.startswith("`null`")]
            # at the bound: either a sentence of its own after what the key is, or one that begins with the bound
            assert len(said) > 1 or re.match(r"(After|At|With) ", text), f"{name}: {text}"
            held += 1
    assert held > 20


def test_a_new_key_gets_the_release_that_comes_next() -> None:
    log = "# Changelog\n\n## Unreleased\n\n- x\n\n## 0.2.0 (2027-01-02)\n\n## 0.1.0\n"
    assert since.releases(log) == ["0.2.0", "0.1.0"]
    assert since.ledger(["a", "b"], {"a": "0.1.0", "gone": "0.1.0"}, log, "0.3.0") == {"a": "0.1.0", "b": "0.3.0"}
    # nothing new asks for nothing
    assert since.ledger(["a"], {"a": "0.1.0"}, log, "0.2.0") == {"a": "0.1.0"}
    with pytest.raises(ValueError, match=r"0\.2\.0 is out already: raise project\.version"):
        since.ledger(["b"], {}, log, "0.2.0")


def test_each_key_is_from_a_release_of_the_changelog_or_from_the_next() -> None:
    written = tomllib.loads((TOP / since.LEDGER).read_text())
    log = (TOP / "CHANGELOG.md").read_text()
    next_one = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]["version"]
    assert list(written) == [key.name for key in keys(Config)]
    assert set(written.values()) <= {*since.releases(log), next_one}
    for release in set(written.values()) - set(since.releases(log)):
        assert f"{release} is the next release; it is not out yet." in reference()
        assert "## Unreleased" in log


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
    {"hostname": "a.b", "domains": ["b.c"], "limits": {"connections_per_client": 0}},
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
