"""The secrets of webhooks: read from files, and refused where they are weak."""

from pathlib import Path

import pytest

from postroad.config.model import Config
from postroad.errors import InstallError
from postroad.secrets import webhooks

GOOD = "cG9zdHJvYWQgdGVzdCBzZWNyZXQsIDMyIGJ5dGVzIG8="


def config(path: Path, **keys: object) -> Config:
    hook = {"name": "app", "url": "https://app.example.com/", "secret_file": str(path), **keys}
    return Config.model_validate(
        {"hostname": "m.example.com", "domains": ["example.com"], "events": {"webhooks": [hook]}}
    )


@pytest.mark.parametrize(
    ("text", "secrets"), [(f"{GOOD}\n", [GOOD]), (f"whsec_{GOOD}", [GOOD]), (f"{GOOD}\r\n\nwhsec_{GOOD}\n", [GOOD] * 2)]
)
def test_good_secrets(tmp_path: Path, text: str, secrets: list[str]) -> None:
    (tmp_path / "secret").write_text(text)
    (found,) = webhooks.settings(config(tmp_path / "secret"))
    assert found.secrets == tuple(secrets)
    assert found.give_up_after == 86400


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is empty: `openssl rand"),
        (f"{GOOD}\n" * 4, "holds 4 lines"),
        ("hunter2\n", "is not 24 to 64 bytes in base64: `openssl rand"),
        ("pässword", "is not 24 to 64 bytes"),
        ("YWJj" * 8, ""),
        ("YWJj" * 30, "is not 24 to 64 bytes"),
        (f"{GOOD}\nYWJj\n", "is not 24 to 64 bytes"),
        (None, "is not there: mount the file"),
    ],
)
def test_unfit_secrets(tmp_path: Path, text: str | None, why: str) -> None:
    if text is not None:
        (tmp_path / "secret").write_text(text)
    if not why:
        assert webhooks.settings(config(tmp_path / "secret"))
        return
    with pytest.raises(InstallError, match=r"At 'events.webhooks\[0\]\.secret_file': ") as caught:
        webhooks.settings(config(tmp_path / "secret"))
    assert why in str(caught.value)
    assert "hunter2" not in str(caught.value).replace(str(tmp_path), "")


def test_an_authority_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(GOOD)
    with pytest.raises(InstallError, match=r"At 'events.webhooks\[0\].ca_file': .*secret holds no certificate"):
        webhooks.settings(config(tmp_path / "secret", ca_file=str(tmp_path / "secret")))
