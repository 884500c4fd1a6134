"""Nothing that people write ends in a traceback, or in a message that is not plain text."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from postroad.config.keys import keys
from postroad.config.load import load
from postroad.config.model import Config
from postroad.config.problems import describe
from postroad.errors import ConfigError


def check(path: Path | None, environ: dict[str, str]) -> None:
    """Load; whatever is wrong must be said in plain lines."""
    try:
        load(path, environ, Path("/nonexistent"))
    except ConfigError as error:
        text = str(error)
    else:
        return
    title, *lines = text.split("\n")
    assert title.endswith((f": {len(lines)} problems", ": 1 problem"))
    for line in lines:
        assert line.isprintable()
        assert len(line) < 1000
        for jargon in ("pydantic", "validation error", "Traceback", "NoneType", "Input should"):
            assert jargon not in line
    text.encode()


@pytest.mark.parametrize("path", ["a\0b", "a" * 5000, os.fsdecode(b"\xff\n")])
def test_a_file_that_cannot_be_named(path: str) -> None:
    check(None, {"POSTROAD_CONFIG": path})


LAUGHS = "".join(
    f"{chr(97 + i)}: &{chr(97 + i)} [{', '.join([f'*{chr(96 + i)}'] * 9) if i else 'lol'}]\n" for i in range(12)
)

WORDS = st.sampled_from([name for key in keys(Config) for name in key.path]) | st.text(max_size=8)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | WORDS
TREES = st.recursive(SCALARS, lambda x: st.lists(x, max_size=4) | st.dictionaries(WORDS, x, max_size=4), max_leaves=12)
SHAPED = st.fixed_dictionaries(
    {},
    optional={
        key.path[0]: TREES | st.dictionaries(st.sampled_from(sorted(key.section.model_fields)), TREES)
        if key.section
        else TREES
        for key in keys(Config)
        if len(key.path) == 1
    },
)

once = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)


@once
@given(st.text() | SHAPED.map(json.dumps) | TREES.map(json.dumps))
@example("[" * 5000)
@example("{a: " * 5000)
@example(LAUGHS)
@example(LAUGHS + "domains: *l\nlog: *l\nclients: {networks: *l}\n")
@example("&a {hostname: *a, domains: [*a], log: *a, sendmail: {defines: *a}}")
@example(f"listeners: {{smtp: {'9' * 5000}}}")
@example(f"limits: {{message_size: {'9' * 4000}}}")
@example('hostname: "\\ud800"\ndomains: ["\\ud800"]\n')
@example("!!set {hostname, domains}")
@example("hostname: !!binary aGVsbG8=\ndomains: !!set {a.b, c.d}\nlog: !!omap [a: b]\n")
@example("domains: !!pairs [a: b]\nhostname: !!timestamp 2001-01-01\n")
@example("%YAML 1.1\n%TAG ! tag:x,2000:\n---\nhostname: !x a")
@example("hostname: |\n  a\n  b\n")
def test_no_text_ends_in_a_traceback(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text, errors="replace")
    check(path, {})


VARIABLES = st.sampled_from(sorted({key.variable for key in keys(Config) if key.variable}))
NAMES = st.builds(
    lambda name, tail: name + tail, VARIABLES, st.sampled_from(["", "_FILE", "__X", "__0", "S"])
) | st.text(alphabet=st.characters(codec="ascii", exclude_characters="=\0"), max_size=8).map(
    lambda text: f"POSTROAD_{text}"
)
VALUES = (
    st.text(max_size=12)
    | SHAPED.map(json.dumps)
    | TREES.map(json.dumps)
    | st.sampled_from(["/", "/dev/null", "[" * 5000, "9" * 5000])
)


@once
@given(st.dictionaries(NAMES, VALUES, max_size=6))
@example({"POSTROAD_HOSTNAME": os.fsdecode(b"\xff"), "POSTROAD_DOMAINS": os.fsdecode(b"\xff,[")})
@example({"POSTROAD_HOSTNAME_FILE": os.fsdecode(b"/\xff\n"), "POSTROAD_NO\nPE": "x"})
@example({"POSTROAD_DOMAINS": "[NaN, Infinity, 1e999]", "POSTROAD_LIMITS__MESSAGE_SIZE": "9" * 5000})
def test_no_environment_ends_in_a_traceback(tmp_path: Path, environ: dict[str, str]) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("hostname: file.example.com\ndomains: [example.com]\n")
    check(path, environ)


@settings(deadline=None)
@given(st.integers() | st.floats() | st.text() | st.binary() | TREES)
@example(10**5000)
@example(float("nan"))
def test_anything_found_is_said_on_one_short_line(value: object) -> None:
    text = describe(value)
    assert text.isprintable()
    assert len(text) < 300
