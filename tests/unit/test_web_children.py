"""Commands that the console runs: they get the container's variables, end in time, and say what is wrong."""

import os
import sys
from pathlib import Path

import pytest

from postroad import system
from postroad.errors import CommandError, PostroadError
from postroad.web import children
from postroad.web.children import Runner, Task
from tests.unit.console import Commands, until


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    return Commands(tmp_path, monkeypatch)


def python(*words: str) -> list[str]:
    return [sys.executable, "-c", *words]


def test_a_command_s_output_and_what_it_says_of_errors(commands: Commands) -> None:
    commands.answer("dns", "records\n")
    assert children.run("dns", "--json", given="x") == "records\n"
    assert (commands.calls, commands.given) == ([["dns", "--json"]], ["x"])
    commands.answer("dns", "", "Usage: postroad dns\nTry it\n\npostroad: no zone\nError: none\n", 2)
    with pytest.raises(PostroadError, match="no zone\nnone"):
        children.run("dns")
    commands.answer("dns", "", "", 7)
    with pytest.raises(PostroadError, match=r"postroad dns failed \(exit 7\)"):
        children.run("dns")


def test_a_runner_runs_one_at_a_time_and_keeps_what_was_printed(commands: Commands) -> None:
    commands.answer("doctor", '{"a": 1}\nno JSON\n[1]\n{"b": 2}\n', "postroad: half\n", 1)
    ended: list[Task] = []
    runner = Runner("doctor", then=ended.append)
    assert runner.begin("operator")
    assert runner.task
    begun = runner.task
    assert not runner.begin("another") or not begun.runs
    until(lambda: not begun.runs)
    assert ended == [begun]
    assert children.objects(begun.lines) == [{"a": 1}, {"b": 2}]
    assert (begun.by, begun.code, begun.error, begun.runs) == ("operator", 1, "half", False)
    assert runner.begin("another")


def test_what_a_command_is_kept_for_is_kept_before_others_see_its_end(commands: Commands) -> None:
    commands.answer("doctor", "{}\n")
    seen: list[bool] = []
    runner = Runner("doctor", then=lambda task: seen.append(task.runs))
    runner.begin("operator")
    until(lambda: runner.task and not runner.task.runs)
    assert seen == [True]


def test_a_command_that_can_not_be_started_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "COMMAND", ("/nowhere/postroad",))
    runner = Runner("doctor")
    assert runner.begin("operator")
    until(lambda: runner.task and not runner.task.runs)
    assert runner.task
    assert "could not be started" in runner.task.error
    with pytest.raises(CommandError):
        children.run("doctor")


def test_lines_are_told_as_they_come(tmp_path: Path) -> None:
    # it goes on only once its first line was seen
    path = tmp_path / "seen"
    code = (
        "import os, sys, time\nprint(sys.stdin.read(), flush=True)\n"
        f"while not os.path.exists({str(path)!r}): time.sleep(0.01)\nprint('two'); sys.stderr.write('e'); sys.exit(3)"
    )
    lines: list[str] = []

    def tell(line: str) -> None:
        lines.append(line)
        path.touch()

    assert system.follow(python(code), dict(os.environ), "one", tell, 30) == (3, "e")
    assert lines == ["one", "two"]


def test_a_command_that_does_not_end_is_killed() -> None:
    code, _ = system.follow(python("import time; time.sleep(60)"), dict(os.environ), "x" * 200_000, print, 0.2)
    assert code == -9


def test_the_container_s_variables_are_those_of_the_supervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "health").write_text("ready 42\n")
    (tmp_path / "42").mkdir()
    (tmp_path / "42" / "environ").write_bytes(b"POSTROAD_HOSTNAME=mail.example.com\0A=b=c\0\0")
    monkeypatch.setattr(children, "HEALTH", tmp_path / "health")
    monkeypatch.setattr(children, "PROC", tmp_path)
    found = children.environment()
    assert (found["POSTROAD_HOSTNAME"], found["A"]) == ("mail.example.com", "b=c")
    assert Path(found["PYTHONPATH"], "postroad", "cli", "__main__.py").exists()
    monkeypatch.setattr(children, "HEALTH", tmp_path / "none")
    monkeypatch.setenv("POSTROAD_X", "y")
    assert children.environment()["POSTROAD_X"] == "y"


def test_it_is_the_command_line() -> None:
    assert "Usage: postroad" in children.run("--help")
