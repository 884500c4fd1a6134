"""Unix sockets of our processes in the file system."""

import socket
from pathlib import Path

import pytest

from postroad import sockets


def test_only_this_user_can_open_it_and_an_old_one_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "here"
    old = sockets.listening(path)
    with sockets.listening(path, 1) as made, socket.socket(socket.AF_UNIX) as client:
        assert path.stat().st_mode & 0o777 == 0o600
        with pytest.raises(BlockingIOError):
            made.accept()
        client.connect(str(path))
        made.accept()[0].close()
        with pytest.raises(BlockingIOError):
            old.accept()
    old.close()


def test_datagrams(tmp_path: Path) -> None:
    with (
        sockets.bound(tmp_path / "here", socket.SOCK_DGRAM) as made,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender,
    ):
        sender.sendto(b"x", str(tmp_path / "here"))
        assert made.recv(9) == b"x"


def test_a_place_that_can_t_be_had_leaves_no_descriptor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    class Noted(socket.socket):
        def __init__(self, *arguments: int) -> None:
            super().__init__(*arguments)
            made.append(self)

    monkeypatch.setattr(socket, "socket", Noted)
    for path in (tmp_path / "no" / "here", tmp_path / ("x" * 200)):
        with pytest.raises(OSError):  # noqa: PT011 - of either kind
            sockets.listening(path)
    assert [each.fileno() for each in made] == [-1, -1]
