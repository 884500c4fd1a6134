"""Each folder of ``bad_configs`` holds a configuration that can't be used and all that is said about it."""

from pathlib import Path

import pytest

from postroad.config.load import load
from postroad.errors import ConfigError

CASES = sorted(path for path in (Path(__file__).parents[1] / "bad_configs").iterdir() if path.is_dir())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_bad_configuration(case: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(case)
    lines = Path("env").read_text().splitlines() if Path("env").exists() else []
    environ = dict(line.split("=", 1) for line in lines)
    with pytest.raises(ConfigError) as caught:
        load(Path("config.yaml"), environ, Path("secrets"))
    assert f"{caught.value}\n" == Path("expected-error").read_text()
    assert caught.value.exit_code == 2
