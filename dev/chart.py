"""Writes what the Helm chart has from elsewhere, and the plain manifests that it renders.

``python -m dev.chart`` writes ``Chart.yaml``, the values with their schema and README, the alerts and the dashboard
into ``deploy/helm/postroad``, and ``deploy/kubernetes``. Release, image and repository are ``pyproject.toml``'s.
"""

import json
import re
import subprocess
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from dev.chart_values import ChartValues
from dev.config_files import lines
from dev.config_schema import resolve, schema
from dev.helm import helm
from dev.published import image, repository

ROOT = Path(__file__).parents[1]
CHART = Path("deploy/helm/postroad")
PLAIN = Path("deploy/kubernetes/postroad.yaml")
DRAFT = "http://json-schema.org/draft-07/schema#"
"""The newest one that every Helm 3 knows."""

EXAMPLE: dict[str, Any] = {
    "config": {
        "hostname": "mail.example.com",
        "domains": ["example.com"],
        "clients": {"networks": ["10.244.0.0/16"]},
    }
}
"""The values of the plain manifests."""

VALUES_HEAD = """\
# Every value of the chart with its default. Made by `make generate`; docs/kubernetes.md says more.
# Only hostname, domains and clients.networks under config are needed.
"""
PLAIN_HEAD = """\
# Postroad in Kubernetes without Helm: docs/kubernetes.md. `make generate` renders it from deploy/helm/postroad.
# Change hostname, domains, clients.networks and the image, then `kubectl apply -n NAMESPACE -f postroad.yaml`.
# A change of the configuration is in force after `kubectl rollout restart -n NAMESPACE statefulset postroad`.
"""


def release() -> str:
    """The version of pyproject.toml, which chart and image have, too."""
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])


def about() -> str:
    """``Chart.yaml``."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    values = {
        "apiVersion": "v2",
        "name": "postroad",
        "description": project["description"],
        "type": "application",
        "version": release(),
        "appVersion": release(),
        "kubeVersion": ">=1.27.0-0",
        "home": repository(),
        "sources": [repository()],
        "keywords": ["smtp", "email", "sendmail", "dkim", "mta"],
        "annotations": {"artifacthub.io/license": project["license"]},
    }
    return "# Made by `make generate` from pyproject.toml.\n" + yaml.safe_dump(values, sort_keys=False, width=1000)


def values_schema() -> dict[str, Any]:
    """The schema of all values, ``config`` after the configuration's own."""
    made = _draft_7(ChartValues.model_json_schema(), "")
    config = _draft_7(schema(), "config.")
    description = made["definitions"]["Config"]["description"]
    made["definitions"] |= config.pop("definitions") | {"Config": {**config, "description": description}}
    del made["definitions"]["Config"]["$schema"]
    made["properties"]["global"] = {"type": "object", "description": "Helm hands it to every chart; not used."}
    # a chart is checked with its defaults before anything is set: the templates say what is missing, and why
    made["required"] = ["image", "config"]
    return {"$schema": DRAFT, **made}


def _draft_7(value: Any, prefix: str) -> Any:
    """The same in the older draft, which has ``definitions``, and nothing beside a ``$ref``; named with a prefix."""
    if isinstance(value, list):
        return [_draft_7(each, prefix) for each in value]
    if not isinstance(value, dict):
        return value
    if "$ref" in value:
        return {"$ref": f"#/definitions/{prefix}{value['$ref'].rpartition('/')[2]}"}
    made = {name: _draft_7(each, prefix) for name, each in value.items() if name != "$defs"}
    if "$defs" in value:
        made["definitions"] = {prefix + name: _draft_7(each, prefix) for name, each in value["$defs"].items()}
    return made


def values() -> str:
    """``values.yaml``: every value with its default and meaning."""
    root = _defaults()
    return VALUES_HEAD + "\n".join(lines(root, root)) + "\n"


def _defaults() -> dict[str, Any]:
    root = ChartValues.model_json_schema()
    root["$defs"]["Image"]["properties"]["repository"]["default"] = image()
    for section in root["$defs"].values():
        section["description"] = _line(section["description"])
    return root


def readme() -> str:
    """The chart's README: what it is, and all values."""
    root = _defaults()
    rows = "\n".join(f"| `{name}` | {default} | {meaning} |" for name, default, meaning in _rows(root, root))
    return README.format(repository=repository(), rows=rows)


README = """\
# Postroad's Helm chart

A send-only mail server for the apps of a cluster. The guide:
[docs/kubernetes.md]({repository}/blob/main/docs/kubernetes.md).

```yaml
# values.yaml: all that is needed
config:
  hostname: mail.example.com
  domains: [example.com]
  clients:
    networks: [10.244.0.0/16]    # the range of the cluster's pods
```

It makes a StatefulSet, whose pods have a volume each for the queue and for the state, a headless Service with the
metrics, a Service with the ports 25, 587 and 465, a ConfigMap with the configuration, and a PodDisruptionBudget. If
asked, it makes a Service for clients outside of the cluster, a NetworkPolicy, a ServiceMonitor, a PrometheusRule, a
dashboard.

It refuses values that can't work: `config.clients.networks` that no pod is in, two relays with DKIM keys of their own.
`helm test` asks the relay, from a pod, whether it would take mail.

## Values

`make generate` writes this table, `values.yaml` and `values.schema.json`.

| value | default | meaning |
|---|---|---|
{rows}
"""


def _rows(root: Mapping[str, Any], section: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str, str]]:
    for name, entry in section["properties"].items():
        below = resolve(dict(root), entry)
        if below is not entry:
            yield path + name, "", _line(below["description"])
            yield from _rows(root, below, f"{path}{name}.")
        else:
            default = json.dumps(entry["default"])
            yield path + name, f"`{default}`", _line(entry["description"])


def _line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def render(*options: str, values: Mapping[str, Any] = EXAMPLE) -> str:
    """What ``helm template`` makes of the chart.

    Raises:
        subprocess.CalledProcessError: it refuses the values; ``stderr`` says why.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(dict(values), file)
        file.flush()
        words = [str(helm()), "template", "postroad", str(ROOT / CHART), f"--values={file.name}", *options]
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def plain() -> str:
    """The manifests for ``kubectl apply``: without a namespace, and without what only Helm reads or keeps right."""
    text = re.sub(r" +annotations:\n +#.*\n +checksum/config:.*\n", "", render("--skip-tests"))
    others = re.compile(r"helm\.sh/chart:|managed-by: Helm|^# Source: |^  namespace: default$")
    return PLAIN_HEAD + "\n".join(line for line in text.splitlines() if not others.search(line)) + "\n"


def sources() -> dict[Path, str]:
    """The chart's files that follow from something else, by path from the top of the source."""
    return {
        CHART / "Chart.yaml": about(),
        CHART / "values.yaml": values(),
        CHART / "values.schema.json": json.dumps(values_schema(), indent=1) + "\n",
        CHART / "README.md": readme(),
        CHART / "files/rules.yml": (ROOT / "deploy/prometheus/rules.yml").read_text(),
        CHART / "files/dashboard.json": (ROOT / "deploy/grafana/postroad.json").read_text(),
    }


def main() -> None:
    """Write them all."""
    for path, text in sources().items():
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / path).write_text(text)
    (ROOT / PLAIN).parent.mkdir(parents=True, exist_ok=True)
    (ROOT / PLAIN).write_text(plain())


if __name__ == "__main__":
    main()
