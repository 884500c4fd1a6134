"""What holds for the tests themselves: they wait for what has to happen, and not for a time that is hoped to be enough."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
FOREVER = 20.0
"""Seconds from which on a sleep stands for something that hangs until the test ends it."""
SLEEP = re.compile(r"\bsleep\b[ (]+([0-9.]+)(?!\*)\b")


def fixed_sleeps(source: str) -> Iterator[int]:
    """The lines with a sleep that is no part of a loop, nor ended by the test, nor said to be what is tested.

    A comment on the line says that: a server that is slow, a load that goes on, a time that has to pass.
    """
    lines = source.splitlines()
    tree = ast.parse(source)
    parts = {id(part) for each in ast.walk(tree) if isinstance(each, ast.JoinedStr) for part in each.values}
    polls = {id(inner) for loop in ast.walk(tree) if isinstance(loop, ast.While) for inner in ast.walk(loop)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and re.fullmatch(r"(time|asyncio)\.sleep", ast.unparse(node.func)):
            given = node.args[0]
            seconds = given.value if isinstance(given, ast.Constant) else FOREVER if "**" in ast.unparse(given) else 1.0
            at_random = "uniform(" in ast.unparse(given)  # a moment at random is what the test is about
            fixed = id(node) not in polls and 0 < float(str(seconds)) < FOREVER and not at_random
            if fixed and "#" not in lines[node.lineno - 1]:
                yield node.lineno
        elif isinstance(node, ast.expr) and id(node) not in parts and (text := _text(node)):
            # what runs in a container: a loop there waits as well
            for found in SLEEP.finditer(text):
                said = lines[node.lineno - 1] if node.lineno == node.end_lineno else ""
                line = said + text[: found.end()].rpartition("\n")[2] + text[found.end() :].partition("\n")[0]
                if not re.search(r"\b(while|until)\b", text) and float(found[1]) < FOREVER and "#" not in line:
                    yield node.lineno


def _text(node: ast.AST) -> str:
    """A string's text; of one with fields all parts of it."""
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) for part in node.values if isinstance(part, ast.Constant))
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


@pytest.mark.parametrize(
    "path", sorted(each for each in TESTS.rglob("*.py") if "scripts" not in each.parts), ids=lambda path: path.name
)
def test_no_test_waits_for_a_fixed_time(path: Path) -> None:
    if path != Path(__file__):
        assert list(fixed_sleeps(path.read_text())) == [], (
            "wait for a condition, or say in a comment why time has to pass"
        )


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("time.sleep(2)", [1]),
        ("if 1:\n    time.sleep(pause)", [2]),
        ("for _ in range(3):\n    time.sleep(0.1)", [2]),
        ("await_ = asyncio.sleep(0.2)", [1]),
        ("shell('(sleep 2; echo y)')", [1]),
        ("script = '''\ntime.sleep(0.5)\n'''", [1]),
        ("time.sleep(2)  # a server that is slow", []),
        ("while not ready():\n    time.sleep(0.1)", []),
        ("time.sleep(60)", []),
        ("time.sleep(10**6)", []),
        ("time.sleep(rng.uniform(1, 2))", []),
        ("script = 'time.sleep(10**6)'", []),
        ("script = f'while True:\\n {x}\\n time.sleep(0.1)'", []),
        ("script = f'{x}\\n time.sleep(0.1)'", [1]),
        ("asyncio.sleep(0)", []),
        ("shell('until ready; do sleep 0.1; done')", []),
        ("shell('sleep 600')", []),
        ("script = '''\ntime.sleep(0.5)  # slow\n'''", []),
    ],
)
def test_what_counts_as_one(source: str, lines: list[int]) -> None:
    assert list(fixed_sleeps(source)) == lines
