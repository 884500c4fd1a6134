"""What the command line makes of errors."""

import errno
import os

import pytest

from postroad.cli.main import cli, main

SOCKET = "/run/postroad/log"
MAY_NOT = f"postroad: {SOCKET}: Permission denied: user {os.getuid()} may not; run this in the server's container"


@pytest.mark.parametrize(
    ("error", "begins"),
    [
        (PermissionError(errno.EACCES, "Permission denied", SOCKET), MAY_NOT),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", SOCKET), f"postroad: {SOCKET}: No such file"),
        (OSError("the name can't be resolved"), "postroad: the name can't be resolved"),
    ],
)
def test_an_error_of_the_system_is_a_line_without_numbers(
    error: OSError, begins: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(cli, "main", fail)
    assert main() == 1
    said = capsys.readouterr().err
    assert said.startswith(begins)
    assert said.count("\n") == 1
