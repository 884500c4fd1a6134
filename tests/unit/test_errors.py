"""What an error says to people."""

import smtplib
import ssl
from pathlib import Path

import pytest

from postroad.errors import InstallError, plainly


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (FileNotFoundError(2, "No such file or directory", "/run/x"), "/run/x: No such file or directory"),
        (ConnectionRefusedError(111, "Connection refused"), "Connection refused"),
        (OSError("a sentence of ours"), "a sentence of ours"),
        (TimeoutError(), "TimeoutError"),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number"), "[SSL: WRONG_VERSION_NUMBER] wrong version number"),
        (smtplib.SMTPServerDisconnected("Connection unexpectedly closed"), "Connection unexpectedly closed"),
        (smtplib.SMTPDataError(550, b"no"), "(550, b'no')"),
        (InstallError("the key is not a key"), "the key is not a key"),
    ],
)  # fmt: skip
def test_the_words_and_not_the_number(error: Exception, said: str) -> None:
    assert plainly(error) == said


def test_a_file_of_python_s(tmp_path: Path) -> None:
    with pytest.raises(OSError) as caught:  # noqa: PT011
        (tmp_path / "none").read_text()
    assert plainly(caught.value) == f"{tmp_path}/none: No such file or directory"
