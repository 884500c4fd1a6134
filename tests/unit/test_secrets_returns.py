"""The key of return addresses: made once, kept, or given."""

from pathlib import Path

import pytest

from postroad.config.model import Config
from postroad.errors import InstallError
from postroad.secrets import returns


def config(**keys: object) -> Config:
    values = {"hostname": "mail.x.example", "domains": ["x.example"]}
    return Config.model_validate(values | ({"returns": {"domain": "bounces.x.example", **keys}} if keys else {}))


ON = {"listen": 2526}


def test_off_there_is_none(tmp_path: Path) -> None:
    assert returns.ensure(config(), tmp_path) == b""
    assert list(tmp_path.iterdir()) == []


def test_it_is_made_once(tmp_path: Path) -> None:
    key = returns.ensure(config(**ON), tmp_path)
    assert len(key) == returns.SIZE
    assert returns.ensure(config(**ON), tmp_path) == key
    assert (tmp_path / returns.KEPT).stat().st_mode & 0o777 == 0o600


def test_a_check_makes_none(tmp_path: Path) -> None:
    assert len(returns.ensure(config(**ON), tmp_path, keep=False)) == returns.SIZE
    assert list(tmp_path.iterdir()) == []


def test_one_that_is_cut_off_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / returns.KEPT).write_bytes(b"short")
    with pytest.raises(InstallError, match="remove it"):
        returns.ensure(config(**ON), tmp_path)


def test_a_given_one(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("k" * 44 + "\n")
    given = config(key_file=str(file))
    assert returns.ensure(given, tmp_path) == b"k" * 44
    assert not (tmp_path / returns.KEPT).exists()
    file.write_text("k" * 31 + "\n")
    with pytest.raises(InstallError, match=r"returns\.key_file.*has 31 characters"):
        returns.ensure(given, tmp_path)
    file.unlink()
    with pytest.raises(InstallError, match=r"returns\.key_file"):
        returns.ensure(given, tmp_path)
