"""What the documents show is real: their commands, their configuration, their JSON."""

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from postroad.config.model import Config
from postroad.secrets import peers
from tests.documents import DOCUMENTS, HELD, INSIDE, ROOT, STARTS, Block, blocks, commands, elsewhere

BLOCKS = [block for document in DOCUMENTS for block in blocks(document)]
MINIMAL = {"hostname": "mail.example.com", "domains": ["example.com"]}
KEYS = set(Config.model_fields)


def configuration(block: Block) -> dict[str, object] | None:
    """What a block shows of a configuration, if it does."""
    if block.language != "yaml":
        return None
    try:
        values = yaml.safe_load(block.text)
    except yaml.YAMLError:
        return None
    return values if isinstance(values, dict) and set(values) <= KEYS else None


@pytest.mark.parametrize(
    "block", [each for each in BLOCKS if configuration(each)], ids=lambda block: str(block.document)
)
def test_configuration_is_accepted(block: Block) -> None:
    Config.model_validate({**MINIMAL, **(configuration(block) or {})})


def test_all_kinds_of_blocks_are_found() -> None:
    assert {block.document for block in BLOCKS if configuration(block)} >= {
        "docs/delivery.md", "docs/feedback.md", "docs/webhooks.md",
    }  # fmt: skip
    assert len([block for block in BLOCKS if block.language == "sh"]) > 20
    # a snippet that is neither a configuration nor run by tests/integration/test_docs.py would be nobody's
    others = [block for block in BLOCKS if block.language == "yaml" and not configuration(block)]
    assert {block.document for block in others} <= {*STARTS, *HELD}, others


@pytest.mark.parametrize(
    "block", [each for each in BLOCKS if each.language == "json"], ids=lambda block: str(block.document)
)
def test_json_can_be_read(block: Block) -> None:
    json.loads(re.sub(r"\.\.\.", "", block.text))


@pytest.mark.parametrize("document", sorted(set(DOCUMENTS) - set(HELD)))
def test_every_command_is_run_somewhere(document: str) -> None:
    nowhere = [
        command
        for command in commands(document)
        if not elsewhere(command) and document not in STARTS and not command.startswith(INSIDE)
    ]
    assert nowhere == [], (
        "tests/integration/test_docs.py does not run these, and tests/documents.py does not say who does"
    )


def test_the_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE))
    calls = [shlex.split(each) for document in DOCUMENTS for each in commands(document) if each.startswith("make ")]
    named = {word for words in calls for word in words[1:] if "=" not in word}
    assert {"demo", "test", "down", "setup"} <= named <= targets


def test_ci_runs_the_demo_twice_before_anything_else_and_down_at_the_end() -> None:
    script = (ROOT / ".ci/run").read_text()
    assert "for target in demo demo lint coverage test-image; do" in script
    assert re.search(r"make --no-print-directory down && nothing_left", script)


def test_the_demo_needs_no_environment() -> None:
    # -n: what would be run, with everything made anew
    said = subprocess.run(["make", "-nB", "demo"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "demo/run" in said
    assert ".venv" not in said
    assert "uv" not in said.split()


def test_the_password_of_scale_md(tmp_path: Path) -> None:
    (command,) = [
        command
        for command in commands("docs/scale.md")
        if command.startswith("openssl rand -hex 24 >deploy/store_password")
    ]
    (tmp_path / "deploy").mkdir()
    subprocess.run(["bash", "-c", f"umask 077; {command}"], cwd=tmp_path, check=True)
    password = tmp_path / "deploy" / "store_password"
    assert re.fullmatch(r"[0-9a-f]{48}\n", password.read_text())
    assert password.stat().st_mode & 0o777 == 0o644


def test_the_secret_of_scale_md(tmp_path: Path) -> None:
    (command,) = [
        command for command in commands("docs/scale.md") if command.startswith("openssl rand -hex 32 >config/")
    ]
    (tmp_path / "config").mkdir()
    subprocess.run(["bash", "-c", f"umask 077; {command}"], cwd=tmp_path, check=True)
    path = tmp_path / "config" / "peers_secret"
    config = Config.model_validate({**MINIMAL, "peers": {"port": 2527, "secret_file": path}})
    assert len(peers.secret(config) or "") == 64
    assert path.stat().st_mode & 0o777 == 0o644
