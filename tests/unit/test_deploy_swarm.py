"""deploy/swarm/stack.yaml against the configuration, the page that tells how to use it, and the other files of deploy/.

tests/scale deploys it.
"""

from pathlib import Path
from typing import Any

import pytest
import yaml

from postroad.config.load import read_all
from postroad.runtime.paths import QUEUE, RUN, STATE
from tests.documents import ROOT, blocks, commands

FOLDER = ROOT / "deploy" / "swarm"
STACK: dict[str, Any] = yaml.safe_load((FOLDER / "stack.yaml").read_text())
SERVICES: dict[str, Any] = STACK["services"]


def targets(service: str) -> set[str]:
    return {
        each["target"] if isinstance(each, dict) else each.split(":")[1]
        for each in SERVICES[service].get("volumes", ())
    }


def test_the_configuration_of_the_page_with_the_stack_s_variables_is_one(tmp_path: Path) -> None:
    (block,) = [each.text for each in blocks("docs/scale.md") if each.text.startswith("domains:")]
    path = tmp_path / "config.yaml"
    path.write_text(f"hostname: mail.example.com\n{block}")
    config = read_all(path, SERVICES["postroad"]["environment"], tmp_path / "none").config
    secrets = {each if isinstance(each, str) else each["source"] for each in SERVICES["postroad"]["secrets"]}
    named = (config.events.store_password_file, config.peers.secret_file, config.named_domains[0].dkim.key_file)
    assert {f"/run/secrets/{name}" for name in secrets} == set(map(str, named))
    assert secrets == STACK["secrets"].keys()
    assert config.shares_limits
    assert config.peers.port
    # what `auto` stands for has no overlay in it
    assert [str(each) for each in config.clients.networks] == [
        STACK["networks"]["default"]["ipam"]["config"][0]["subnet"]
    ]


@pytest.mark.parametrize("name", STACK["secrets"])
def test_the_page_makes_each_secret(name: str) -> None:
    path = STACK["secrets"][name]["file"]
    assert [
        each for each in commands("docs/scale.md") if each.startswith("openssl ") and f"deploy/swarm/{path[2:]}" in each
    ]


def test_what_hands_over_has_the_relay_s_queue_and_is_not_restarted_as_a_server_would_be() -> None:
    relay, leaving = SERVICES["postroad"], SERVICES["leaving"]
    for field in ("image", "environment", "configs", "secrets", "read_only", "cap_drop", "hostname"):
        assert relay[field] == leaving[field], field
    assert targets("postroad") == targets("leaving") == {str(QUEUE), str(STATE), str(RUN), "/tmp"}
    assert relay["volumes"][0] == leaving["volumes"][0]
    assert leaving["healthcheck"] == {"disable": True}
    assert leaving["command"][:4] == ["queue", "evacuate", "--to", "postroad"]


def test_every_file_is_there_but_what_the_page_makes() -> None:
    for each in STACK["configs"].values():
        assert each["file"].endswith("config/config.yaml") or (FOLDER / each["file"]).is_file(), each


def test_each_node_s_relay_is_scraped() -> None:
    (job,) = yaml.safe_load((FOLDER / "prometheus.yml").read_text())["scrape_configs"]
    (alone,) = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())["scrape_configs"]
    assert job["job_name"] == alone["job_name"], "an alert goes by it"
    (found,) = job["dns_sd_configs"]
    assert found["names"] == ["tasks.postroad"]
    assert alone["static_configs"][0]["targets"] == [f"postroad:{found['port']}"]
