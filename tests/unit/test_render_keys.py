"""The DKIM keys that a configuration needs, made and checked by the openssl program."""

from pathlib import Path

import pytest

from postroad.config.model import Config
from postroad.errors import InstallError
from postroad.secrets import keys


def wanted(tmp_path: Path, *algorithms: str) -> list[keys.SigningKey]:
    config = Config.model_validate({"hostname": "a.b", "domains": ["b.c"], "dkim": {"algorithms": algorithms}})
    return keys.wanted(config, tmp_path)


def test_a_key_for_each_algorithm_is_made_and_kept(tmp_path: Path) -> None:
    both = wanted(tmp_path, "rsa", "ed25519")
    made = keys.ensure(both, 2048)
    assert [(key.selector, key.file) for key in both] == [
        ("postroad", "b.c.private"),
        ("postroad-ed25519", "b.c.ed25519.private"),
    ]
    records = [keys.record(made[key.file].decode()) for key in both]
    assert records[0].startswith("v=DKIM1; k=rsa; p=")
    assert records[1].startswith("v=DKIM1; k=ed25519; p=")
    assert len(records[1]) == len("v=DKIM1; k=ed25519; p=") + 44  # RFC 8463: 32 octets
    assert keys.ensure(both, 2048) == made


def test_a_key_of_the_other_kind_is_refused(tmp_path: Path) -> None:
    rsa, ed25519 = wanted(tmp_path, "rsa", "ed25519")
    keys.ensure([rsa, ed25519], 2048)
    rsa.path.rename(tmp_path / "rsa")
    ed25519.path.rename(rsa.path)
    (tmp_path / "rsa").rename(ed25519.path)
    for key in (rsa, ed25519):
        with pytest.raises(InstallError, match="is not an"):
            keys.read(key)
