"""What acts on files and processes: whole or not at all, and an error that says where."""

import os
import sys
from pathlib import Path

import pytest

from postroad import system
from postroad.errors import CommandError, InstallError

PYTHON = sys.executable


def test_a_file_is_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file"
    system.write(path, "one", 0o640)
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("one", 0o640)
    before = path.stat().st_ino
    system.write(path, b"two")
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"two", 0o600)
    assert path.stat().st_ino != before, "a reader keeps the old one"
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert [each.name for each in path.parent.iterdir()] == ["file"]


def test_a_file_that_can_not_be_written_stays_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    system.write(path, "one")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InstallError, match=r"file can't be written by uid \d+: No space left on device"):
        system.write(path, "two")
    assert path.read_text() == "one"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_a_program_s_answer(tmp_path: Path) -> None:
    code, out, err = system.capture(
        [PYTHON, "-c", "import os, sys; print(sys.stdin.read(), os.environ); sys.exit(3)"], stdin="hi", env={"A": "b"}
    )
    assert (code, out.startswith("hi environ({'A': 'b'"), err) == (3, True, "")
    with pytest.raises(CommandError, match="none could not be started"):
        system.capture([str(tmp_path / "none")])
    with pytest.raises(CommandError, match="sleep"):
        system.capture(["/bin/sleep", "60"], timeout=0.05)
    with pytest.raises(CommandError, match="none could not be started"):
        system.spawn([str(tmp_path / "none")], {})
    with pytest.raises(CommandError, match="none could not be started"):
        system.converse([str(tmp_path / "none")], {})


def test_a_process_of_its_own(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as out:
        pid = system.spawn([PYTHON, "-c", "import os; print(os.getsid(0) == os.getpid())"], {}, output=out.fileno())
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert (tmp_path / "out").read_text() == "True\n"
    process, given, said = system.converse(["/bin/cat"], {})
    with process, given, said:
        given.write(b"hi\n")
        given.flush()
        assert said.readline() == b"hi\n"
        given.close()


def test_links_and_folders(tmp_path: Path) -> None:
    link = tmp_path / "current"
    for name in ("gen-1", "gen-2"):
        system.folder(tmp_path / name)
        system.folder(tmp_path / name)
        system.point(link, tmp_path / name)
        assert link.readlink() == Path(name)
    (tmp_path / "file").write_text("")
    system.move(tmp_path / "file", tmp_path / "gen-1")
    assert (tmp_path / "gen-1/file").exists()
    assert system.status(str(link)) == system.status(str(tmp_path / "gen-2"))
    assert system.status(str(tmp_path / "none")) == ""
    system.remove(link)
    assert (tmp_path / "gen-2").exists(), "the link goes, and not what it leads to"
    system.remove(tmp_path / "gen-1")
    system.remove(tmp_path / "gen-1")
    assert [each.name for each in tmp_path.iterdir()] == ["gen-2"]
    with pytest.raises(InstallError, match="can't be made by uid"):
        system.folder(tmp_path / "none" / "folder")
    with pytest.raises(InstallError, match="can't be written by uid"):
        system.point(tmp_path / "none" / "link", tmp_path)
