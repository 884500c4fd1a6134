"""Only one server in a container, and on a state volume."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from postroad.supervisor import alone

SCRIPT = """
import sys
from pathlib import Path
from postroad.errors import InstallError
from postroad.supervisor import alone
alone.RUN, alone.STATE = Path(sys.argv[1]), Path(sys.argv[2])
try:
    alone.claim()
except InstallError as error:
    sys.exit(str(error))
print("alone", flush=True)
sys.stdin.read()
"""


class Server:
    """A process that claims to be the only server."""

    def __init__(self, run: Path, state: Path) -> None:
        argv = [sys.executable, "-c", SCRIPT, str(run), str(state)]
        self.process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stdout
        self.said = self.process.stdout.readline()
        if not self.said:
            assert self.process.stderr
            self.said = self.process.stderr.read()

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def first(tmp_path: Path) -> Iterator[Server]:
    for name in ("run", "state", "other"):
        (tmp_path / name).mkdir()
    server = Server(tmp_path / "run", tmp_path / "state")
    assert server.said == "alone\n"
    yield server
    server.end()


def test_a_second_server_in_one_container_is_refused(first: Server, tmp_path: Path) -> None:
    second = Server(tmp_path / "run", tmp_path / "other")
    assert "a server runs in this container already" in second.said
    second.end()
    assert not list((tmp_path / "other").iterdir())


def test_a_second_server_on_one_state_volume_is_refused_until_the_first_is_gone(first: Server, tmp_path: Path) -> None:
    second = Server(tmp_path / "other", tmp_path / "state")
    assert "has the state volume" in second.said
    second.end()
    first.end()  # as kill -9 ends it
    third = Server(tmp_path / "run", tmp_path / "state")
    assert third.said == "alone\n"
    third.end()


def test_a_folder_that_can_not_be_locked_is_for_others_to_tell(tmp_path: Path) -> None:
    server = Server(tmp_path / "none", tmp_path / "none")
    assert server.said == "alone\n"
    server.end()


def test_who_has_the_state_volume(first: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alone, "STATE", tmp_path / "other")
    assert alone.holder() is None, "no server has run on it"
    monkeypatch.setattr(alone, "STATE", tmp_path / "state")
    assert alone.holder() == os.uname().nodename
    first.end()
    assert alone.holder() is None
