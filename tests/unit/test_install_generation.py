"""A generation: built aside, judged by programs, swapped in last. m4 and sendmail are the test's."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from postroad import system
from postroad.errors import CommandError, InstallError
from postroad.install import daemons, generation, summary
from postroad.runtime import attached, front, plan, recording, shaping, signing
from tests.unit.test_install_daemons import ROUTES, loaded, material

CF = "\n".join([*(f"{field} x" for field in generation._DEFAULT_FIELDS), "H?D?Date: $a", ""])


class World:
    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.top = tmp_path
        self.ran: list[tuple[str, ...]] = []
        self.refuses = ""
        self.cf = CF
        self.whole = system.run
        self.run = tmp_path / "run"
        for name in ("run", "mqueue", "state"):
            (tmp_path / name).mkdir(mode=0o700)
        for module, name, value in (
            (generation, "RUN", self.run),
            (generation, "CURRENT", self.run / "current"),
            (generation, "QUEUE", tmp_path / "mqueue"),
            (generation, "STATE", tmp_path / "state"),
            (generation, "SUPPRESSED", tmp_path / "state" / "suppressed"),
            (generation, "BRAKED", tmp_path / "state" / "braked"),
            (generation, "REDACTION_KEY", tmp_path / "state" / "redaction.key"),
            (generation, "gather", lambda *_, **__: material(passwords={b"u": b"p"}, authorities="CA")),
            (daemons, "QUEUE", tmp_path / "mqueue"),
            (summary, "RUN", self.run),
            (summary, "EVENTS", tmp_path / "state" / "events"),
            (attached, "read", attached.Tables),
            (system, "run", self.system_run),
            (system, "write_database", lambda path, _: path.write_text("db")),
        ):
            monkeypatch.setattr(module, name, value)

    def system_run(self, argv: Sequence[str], **keys: Any) -> str:
        if argv[0] == "openssl":
            return str(self.whole(argv, **keys))
        self.ran.append(tuple(argv))
        if self.refuses and self.refuses in argv[0]:
            raise CommandError(f"{argv[0]} refuses")
        return self.cf if argv[0] == "m4" else ""

    def install(self, text: str = "") -> list[str]:
        return generation.install(loaded(self.top, text))

    @property
    def current(self) -> Path:
        return (self.run / "current").resolve()

    @property
    def folders(self) -> list[str]:
        return sorted(each.name for each in self.run.iterdir() if each.name != "current")


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


def test_a_generation_holds_what_each_process_reads(world: World) -> None:
    assert world.install(ROUTES) == []
    assert plan.load(world.current / plan.FILE).processes
    assert recording.load(world.current).hostname == "mail.example.com"
    assert len(shaping.load(world.current).routes) == 2
    assert front.load(world.current / front.FILE).hostname == "mail.example.com"
    assert signing.load(world.current / signing.FILE).hostname == "mail.example.com"
    assert json.loads((world.current / "config.json").read_text())["hostname"] == "mail.example.com"
    assert (world.current / "ca.pem").read_text() == "CA"
    assert len(list((world.top / "mqueue").glob("route-*"))) == 2
    assert [argv[0] for argv in world.ran] == ["m4", "makemap", "/usr/sbin/sendmail"]


def test_no_file_can_be_read_by_others(world: World) -> None:
    world.install()
    for path in [world.current, *world.current.rglob("*")]:
        assert path.suffix == ".db" or path.stat().st_mode & 0o077 == 0, path  # the test writes the maps


def test_lines_of_sendmail_s_own_that_drop_or_add_fields_are_left_out(world: World) -> None:
    world.install()
    assert (world.current / "sendmail.cf").read_text() == "H?D?Date: $a\n"


def test_another_sendmail_whose_lines_are_not_there_is_refused(world: World) -> None:
    world.cf = CF.replace("H?F?Resent-From:", "H?F?Other:")
    with pytest.raises(InstallError, match="no line begins with H"):
        world.install()
    assert world.folders == []


@pytest.mark.parametrize("program", ["m4", "makemap", "sendmail"])
def test_what_a_program_refuses_leaves_all_as_it_was(world: World, program: str) -> None:
    world.install()
    before = world.current
    world.refuses = program
    with pytest.raises(InstallError, match=f"the rendered configuration is refused: .*{program}"):
        world.install("limits: {message_size: 1M}\n")
    assert world.current == before
    assert world.folders == [before.name]


def test_the_generation_before_stays_for_those_who_read_it_and_the_one_before_that_goes(world: World) -> None:
    for _ in range(4):
        world.install()
    assert world.folders == ["gen-3", "gen-4"]
    assert world.current.name == "gen-4"


def test_what_has_changed_is_told_a_line_a_key(world: World) -> None:
    world.install()
    assert world.install() == []
    changed = world.install("limits: {message_size: 1M}\n")
    assert len(changed) == 1
    assert changed[0].startswith("limits.message_size")


def test_what_rules_look_into_is_there_from_the_start(world: World) -> None:
    world.install("log: {redact: hash}\nevents: {brake: {bounce_rate: 10%}}\n")
    state = world.top / "state"
    assert (state / "suppressed.db").exists()
    assert (state / "braked").read_text() == ""
    key = (state / "redaction.key").read_bytes()
    assert len(key) == 32
    (state / "braked").write_text("sender.example\tx\n")
    world.install("log: {redact: hash}\nevents: {brake: {bounce_rate: 10%}}\n")
    assert (state / "redaction.key").read_bytes() == key
    assert (state / "braked").read_text() != ""


def test_a_check_finds_the_same_and_leaves_nothing(world: World) -> None:
    (world.run / "check-999999999").mkdir()
    found, warnings = generation.examine(loaded(world.top))
    assert found.authorities == "CA"
    assert "the certificate is a doubtful one" in warnings
    assert world.folders == []
    assert not (world.top / "state" / "suppressed.db").exists()
    world.refuses = "m4"
    with pytest.raises(InstallError):
        generation.examine(loaded(world.top))
    assert world.folders == []


def test_everything_that_is_wrong_is_told_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise InstallError("a key is missing\na password is empty")

    monkeypatch.setattr(generation, "gather", fail)
    monkeypatch.setattr(generation, "STATE", world.top / "nowhere" / "state")
    with pytest.raises(InstallError) as caught:
        world.install()
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{len(lines) - 1} problems:"
    assert lines[-2:] == ["a key is missing", "a password is empty"]
    assert world.folders == []
