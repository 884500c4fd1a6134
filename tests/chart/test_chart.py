"""The Helm chart, by the real Helm and Kubernetes' own schemas; tests/integration/test_kubernetes.py runs what it renders."""

import copy
import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from dev import chart, published
from dev.helm import VERSION, helm, kubectl
from postroad.config.model import Config
from tests.documents import blocks

ROOT = Path(__file__).parents[2]
VERSIONS = ("1.27", "1.32", "1.37")
"""The oldest Kubernetes that the chart takes, one between, and the newest that the validator knows."""
OPERATOR_S = ("ServiceMonitor", "PrometheusRule")
"""Kinds that Kubernetes itself does not have."""

Object = dict[str, Any]
Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

FULL: dict[str, Any] = {
    "replicas": 2,
    "image": {"digest": "sha256:" + "0" * 64},
    "imagePullSecrets": [{"name": "registry"}],
    "config": {
        "hostname": "mail.example.com",
        "domains": [{"name": "example.com", "dkim": {"key_file": "/secrets/postroad-dkim/example.com.pem"}}],
        "clients": {
            "networks": ["10.244.0.0/16"],
            "users": [{"name": "app", "password_file": "/secrets/postroad-users/app"}],
        },
        "tls": {
            "certificate_file": "/secrets/mail.example.com-tls/tls.crt",
            "key_file": "/secrets/mail.example.com-tls/tls.key",
        },
        "delivery": {
            "shutdown_grace": "1m30s",
            "smarthost": {
                "host": "smtp.example.net",
                "username": "app",
                "password_file": "/secrets/postroad-smarthost/password",
            },
        },
        "events": {
            "store": "postgresql://postroad@db.example.com/postroad",
            "store_password_file": "/secrets/postroad-database/password",
            "brake": {"warn_rate": None, "minimum": 1000000},
        },
        "peers": {"port": 2527, "secret_file": "/secrets/postroad-peers/secret"},
    },
    "drain": {"evacuateSeconds": 120},
    "env": [{"name": "POSTROAD_LOG__FORMAT", "value": "text"}],
    "service": {"annotations": {"a": "b"}, "sessionAffinity": "ClientIP"},
    "external": {
        "enabled": True,
        "annotations": {"a": "b"},
        "loadBalancerClass": "a/b",
        "loadBalancerSourceRanges": ["192.0.2.0/24"],
    },
    "persistence": {"queue": {"storageClass": "fast", "annotations": {"a": "b"}}},
    "serviceAccountName": "mail",
    "podAnnotations": {"a": "b"},
    "podLabels": {"team": "mail"},
    "nodeSelector": {"egress": "yes"},
    "tolerations": [{"key": "mail", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
        {"matchExpressions": [{"key": "egress", "operator": "Exists"}]}
    ]}}},
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule"}
    ],
    "priorityClassName": "high",
    "extraVolumes": [{"name": "more", "emptyDir": {}}],
    "extraVolumeMounts": [{"name": "more", "mountPath": "/more"}],
    "networkPolicy": {
        "enabled": True,
        "clients": [{"namespaceSelector": {"matchLabels": {"mail": "yes"}}}],
        "monitoring": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
        "egress": [{"ports": [{"port": 25, "protocol": "TCP"}]}],
    },
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
    "dashboard": {"enabled": True, "annotations": {"folder": "Mail"}},
}  # fmt: skip
"""Every value that adds something, set."""

LOW = {**chart.EXAMPLE, "config": {**chart.EXAMPLE["config"], "listeners": {"smtp": 25, "submissions": None}}}

CASES: dict[str, tuple[Mapping[str, Any], tuple[str, ...]]] = {
    "example": (chart.EXAMPLE, ()),
    "full": (FULL, ()),
    "low ports": (LOW, ()),
    "openshift": (FULL, ("--api-versions=security.openshift.io/v1",)),
    "release": (chart.EXAMPLE, ("--namespace=mail", "--set=nameOverride=relay,podDisruptionBudget.enabled=false")),
}


@cache
def rendered(values: str, *options: str) -> str:
    return chart.render(*options, values=json.loads(values))


def objects(values: Mapping[str, Any], *options: str) -> list[Object]:
    return [each for each in yaml.load_all(rendered(json.dumps(values), *options), Loader) if each]


def find(found: list[Object], kind: str, name: str = "") -> Object:
    (one,) = [each for each in found if each["kind"] == kind and each["metadata"]["name"].endswith(name)]
    return one


def changed(values: Mapping[str, Any], path: str, value: object) -> dict[str, Any]:
    """The values with one of them, named as ``config.clients.networks``, set; gone if it is ``...``."""
    made = copy.deepcopy(dict(values))
    *parents, last = path.split(".")
    inside = made
    for name in parents:
        inside = inside.setdefault(name, {})
    inside.pop(last, None)
    if value is not ...:
        inside[last] = value
    return made


def refusal(values: Mapping[str, Any]) -> str:
    with pytest.raises(subprocess.CalledProcessError) as caught:
        chart.render(values=values)
    return str(caught.value.stderr)


def containers(found: list[Object]) -> Iterator[tuple[Object, Object]]:
    """Each pod's spec and its container."""
    for each in found:
        if each["kind"] in {"StatefulSet", "Pod"}:
            spec = each["spec"]["template"]["spec"] if each["kind"] == "StatefulSet" else each["spec"]
            yield from ((spec, container) for container in spec["containers"])


# --- what is generated -------------------------------------------------------------------------------


@pytest.mark.parametrize("path", chart.sources(), ids=str)
def test_what_follows_from_something_else_is_as_that_says(path: Path) -> None:
    assert (ROOT / path).read_text() == chart.sources()[path], "run make generate"


def test_the_plain_manifests_are_what_the_chart_renders() -> None:
    assert (ROOT / chart.PLAIN).read_text() == chart.plain(), "run make generate"
    for each in yaml.safe_load_all(chart.plain()):
        assert "namespace" not in each["metadata"]


def test_chart_and_image_have_the_release_s_version_and_name() -> None:
    about = yaml.safe_load((ROOT / chart.CHART / "Chart.yaml").read_text())
    assert about["version"] == about["appVersion"] == chart.release()
    for _, container in containers(objects(chart.EXAMPLE)):
        assert container["image"] == f"{published.image()}:{chart.release()}"
    for _, container in containers(objects(FULL)):
        assert container["image"] == f"{published.image()}@{FULL['image']['digest']}"


# --- Helm and Kubernetes -----------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
def test_helm_lint_has_nothing_to_say(case: str, tmp_path: Path) -> None:
    values, _ = CASES[case]
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(dict(values)))
    words = [str(helm()), "lint", "--strict", str(ROOT / chart.CHART), f"--values={tmp_path / 'values.yaml'}"]
    said = subprocess.run(words, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout + said.stderr
    assert not re.search(r"\[(WARNING|ERROR)\]", said.stdout), said.stdout


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("case", CASES)
def test_kubernetes_takes_every_object(case: str, version: str) -> None:
    values, options = CASES[case]
    found = objects(values, *options)
    assert {each["kind"] for each in found} >= {"StatefulSet", "Service", "ConfigMap", "Pod"}
    for each in found:
        if each["kind"] not in OPERATOR_S:
            kubernetes_validate.validate(each, version, strict=True)


def test_helm_is_the_same_version_on_every_processor() -> None:
    said = subprocess.run([str(helm()), "version", "--short"], capture_output=True, text=True, check=True).stdout
    assert said.startswith(VERSION)


def test_an_unknown_field_would_be_seen() -> None:
    statefulset = find(objects(chart.EXAMPLE), "StatefulSet")
    statefulset["spec"]["template"]["spec"]["containers"][0]["readOnly"] = True
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(statefulset, VERSIONS[-1], strict=True)


def test_an_older_kubernetes_is_refused() -> None:
    assert chart.render(f"--kube-version={VERSIONS[0]}.0")
    with pytest.raises(subprocess.CalledProcessError) as caught:
        chart.render("--kube-version=1.26.0")
    assert "incompatible with Kubernetes" in caught.value.stderr


@pytest.mark.parametrize("case", CASES)
def test_pods_meet_the_restricted_standard(case: str) -> None:
    """kubernetes.io/docs/concepts/security/pod-security-standards: all of baseline, and these."""
    values, options = CASES[case]
    for spec, container in containers(objects(values, *options)):
        pod, own = spec["securityContext"], container["securityContext"]
        assert pod["runAsNonRoot"] is True
        assert pod.get("runAsUser", 1) != 0
        assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
        assert own == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
        assert not any("hostPort" in port for port in container.get("ports", []))
        kinds = {kind for volume in spec.get("volumes", []) for kind in set(volume) - {"name"}}
        assert kinds <= {"configMap", "emptyDir", "secret"}
        assert {each["name"] for each in pod.get("sysctls", [])} <= {"net.ipv4.ip_unprivileged_port_start"}
        assert spec["automountServiceAccountToken"] is False


# --- what it means -----------------------------------------------------------------------------------


def test_the_configuration_arrives_as_it_was_written() -> None:
    """Helm drops null where a default stands, and writes large numbers in its own way."""
    text = find(objects(FULL), "ConfigMap", "postroad")["data"]["config.yaml"]
    ports = {"smtp": 2525, "submission": 2587, "submissions": 2465}
    assert yaml.safe_load(text) == {**FULL["config"], "listeners": ports}
    assert Config.model_validate(yaml.safe_load(text)).events.brake.warn_rate is None


def test_a_listener_that_is_closed_stays_closed() -> None:
    found = objects(changed(chart.EXAMPLE, "config.listeners", {"submission": None, "submissions": None}))
    wanted = {"smtp": 2525, "submission": None, "submissions": None}
    assert yaml.safe_load(find(found, "ConfigMap")["data"]["config.yaml"])["listeners"] == wanted
    _, container = next(containers([find(found, "StatefulSet")]))
    assert [port["name"] for port in container["ports"]] == ["smtp", "http"]
    for each in found:
        if each["kind"] == "Service":
            assert not {"submission", "submissions"} & {port["name"] for port in each["spec"]["ports"]}


@pytest.mark.parametrize("case", CASES)
def test_services_lead_to_the_relays_and_to_nothing_else(case: str) -> None:
    values, options = CASES[case]
    found = objects(values, *options)
    template = find(found, "StatefulSet")["spec"]["template"]
    labels = template["metadata"]["labels"].items()
    ports = {port["name"] for port in template["spec"]["containers"][0]["ports"]}
    services = [each for each in found if each["kind"] == "Service"]
    for service in services:
        assert service["spec"]["selector"].items() <= labels
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
        assert not service["spec"]["selector"].items() <= find(found, "Pod")["metadata"]["labels"].items()
    clients = [each for each in services if each["metadata"]["labels"]["app.kubernetes.io/component"] == "clients"]
    (normal,) = clients
    assert normal["spec"]["type"] == "ClusterIP"
    numbers = {"smtp": 25, "submission": 587, "submissions": 465}
    assert {port["name"]: port["port"] for port in normal["spec"]["ports"]} == {
        name: number for name, number in numbers.items() if name in ports
    }
    assert find(found, "StatefulSet")["spec"]["serviceName"] in {each["metadata"]["name"] for each in services}


def test_port_25_is_never_open_to_the_outside() -> None:
    found = objects(FULL)
    for each in found:
        if each["kind"] == "Service" and each["spec"].get("type", "ClusterIP") != "ClusterIP":
            assert {port["port"] for port in each["spec"]["ports"]} == {587, 465}
    rules = find(found, "NetworkPolicy")["spec"]["ingress"]
    for rule in rules:
        assert rule.get("from") or {port["port"] for port in rule["ports"]} == {"submission", "submissions"}


def test_a_network_policy_lets_in_whom_it_names_and_helm_test() -> None:
    def peers(found: list[Object], port: str) -> list[object]:
        rules = find(found, "NetworkPolicy")["spec"]["ingress"]
        here = [rule for rule in rules if port in {each["port"] for each in rule["ports"]}]
        return [peer for rule in here for peer in rule.get("from", ["everybody"])]

    asks = {"podSelector": {"matchLabels": find(objects(FULL), "Pod")["metadata"]["labels"]}}
    for label in ("app.kubernetes.io/version", "app.kubernetes.io/managed-by", "helm.sh/chart"):
        del asks["podSelector"]["matchLabels"][label]
    assert peers(objects(FULL), "smtp") == [*FULL["networkPolicy"]["clients"], asks]
    assert peers(objects(FULL), "submission") == [*FULL["networkPolicy"]["clients"], "everybody"]
    assert peers(objects(FULL), "http") == FULL["networkPolicy"]["monitoring"]
    assert peers(objects(FULL), "peers") == [{"podSelector": find(objects(FULL), "StatefulSet")["spec"]["selector"]}]
    assert find(objects(FULL), "NetworkPolicy")["spec"]["policyTypes"] == ["Ingress", "Egress"]
    default = objects(changed(chart.EXAMPLE, "networkPolicy.enabled", True))
    assert peers(default, "smtp") == [{"podSelector": {}}, asks]
    assert peers(default, "submission") == [{"podSelector": {}}]
    assert find(default, "NetworkPolicy")["spec"]["policyTypes"] == ["Ingress"]


def test_secrets_are_mounted_where_the_configuration_names_them_and_nowhere_else() -> None:
    spec, container = next(containers([find(objects(FULL), "StatefulSet")]))
    volumes = {volume["name"]: volume.get("secret") for volume in spec["volumes"]}
    mounted = {
        volumes[mount["name"]]["secretName"]: mount["mountPath"]
        for mount in container["volumeMounts"]
        if volumes.get(mount["name"])
    }
    names = set(re.findall(r"/secrets/([^/]+)/", json.dumps(FULL["config"])))
    assert len(names) == 6
    assert mounted == {name: f"/secrets/{name}" for name in names}


@pytest.mark.parametrize(("grace", "seconds"), [("8s", 8), ("1m30s", 90), (45, 45), ("1h", 3600), (..., 8)])
def test_there_is_time_for_the_drain_and_the_stop(grace: object, seconds: int) -> None:
    values = changed(chart.EXAMPLE, "config.delivery.shutdown_grace", grace)
    spec, container = next(containers(objects({**values, "drain": {"acceptSeconds": 7, "deliverSeconds": 100}})))
    assert spec["terminationGracePeriodSeconds"] == 7 + 100 + seconds + 15
    command = container["lifecycle"]["preStop"]["exec"]["command"]
    assert command == ["sh", "-c", "sleep 7; exec postroad queue drain --timeout 100s"]  # what the chart says


def test_what_is_left_after_the_drain_goes_to_relay_0() -> None:
    found = objects(FULL)
    spec, container = next(containers([find(found, "StatefulSet")]))
    name = find(found, "StatefulSet")["metadata"]["name"]
    (relays,) = [each for each in found if each["kind"] == "Service" and each["spec"].get("clusterIP") == "None"]
    assert {"name": "peers", "port": 2527, "targetPort": "peers", "protocol": "TCP"} in relays["spec"]["ports"]
    assert relays["spec"]["publishNotReadyAddresses"], "relay 0 may be one that takes no mail from apps at the moment"
    host = f"{name}-0.{relays['metadata']['name']}"
    (_, _, line) = container["lifecycle"]["preStop"]["exec"]["command"]
    drain, _, evacuate = line.partition(" || ")
    assert drain == "sleep 10; postroad queue drain --timeout 60s"  # what the chart says
    assert evacuate == f"exec postroad queue evacuate --to {host} --timeout 120s"
    assert spec["terminationGracePeriodSeconds"] == 10 + 60 + 120 + 90 + 15
    for each in found:
        if each["kind"] == "Service" and each is not relays:
            assert "peers" not in {port["name"] for port in each["spec"]["ports"]}


def test_a_low_port_brings_the_sysctl_for_it() -> None:
    spec, _ = next(containers(objects(LOW)))
    assert spec["securityContext"]["sysctls"] == [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "25"}]
    spec, _ = next(containers(objects(chart.EXAMPLE)))
    assert "sysctls" not in spec["securityContext"]


def test_openshift_chooses_the_ids() -> None:
    ids = {"runAsUser", "runAsGroup", "fsGroup"}
    for spec, _ in containers(objects(chart.EXAMPLE, "--api-versions=security.openshift.io/v1")):
        assert not ids & set(spec["securityContext"])
    nulls = changed(chart.EXAMPLE, "securityContext", dict.fromkeys(ids))
    for spec, _ in containers(objects(nulls)):
        assert not ids & set(spec["securityContext"])


def test_another_configuration_is_another_pod() -> None:
    def checksum(values: Mapping[str, Any]) -> str:
        return str(
            find(objects(values), "StatefulSet")["spec"]["template"]["metadata"]["annotations"]["checksum/config"]
        )

    assert checksum(chart.EXAMPLE) == checksum(chart.EXAMPLE)
    assert checksum(chart.EXAMPLE) != checksum(changed(chart.EXAMPLE, "config.domains", ["example.org"]))


def test_prometheus_finds_the_metrics_and_the_alerts() -> None:
    found = objects(FULL)
    monitor = find(found, "ServiceMonitor")
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    (service,) = [each for each in found if each["kind"] == "Service" and wanted <= each["metadata"]["labels"].items()]
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    rule = find(found, "PrometheusRule")
    assert rule["spec"] == yaml.safe_load((ROOT / "deploy/prometheus/rules.yml").read_text())
    for each in (monitor, rule):
        assert each["metadata"]["labels"]["release"] == "prometheus"
    dashboard = find(found, "ConfigMap", "-dashboard")["data"]["postroad.json"]
    assert json.loads(dashboard) == json.loads((ROOT / "deploy/grafana/postroad.json").read_text())


def test_a_budget_stands_for_the_relays_alone() -> None:
    found = objects(FULL)
    wanted = find(found, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"].items()
    assert wanted <= find(found, "StatefulSet")["spec"]["template"]["metadata"]["labels"].items()
    assert not wanted <= find(found, "Pod")["metadata"]["labels"].items()


# --- what is refused ---------------------------------------------------------------------------------

USERS = [{"name": "app", "password_file": "/secrets/users/app"}]
REFUSALS: dict[str, tuple[dict[str, Any], str]] = {
    "nothing set": ({}, "missing properties 'hostname', 'domains'"),
    "no networks": ({"config.clients": ...}, "config.clients.networks is not set, so no app could send"),
    "auto alone": ({"config.clients.networks": ["auto"]}, "auto stands for the pods of one node, or for none"),
    "nobody": ({"config.clients.networks": []}, "config.clients.users, too, so nobody could send"),
    "loopback": ({"config.clients.networks": ["127.0.0.0/8", "::1"]}, "no pod of an app has an address in 127.0.0.0/8, ::1"),
    "everybody": ({"config.clients.networks": ["0.0.0.0/0"]}, "0.0.0.0/0 is everybody, which makes an open relay"),
    "everybody, IPv6": ({"config.clients.networks": ["10.0.0.0/8", "::/0"]}, "::/0 is everybody"),
    "all closed": ({"config.listeners": dict.fromkeys(("smtp", "submission", "submissions"))}, "all are closed"),
    "25 closed": ({"config.listeners": {"smtp": None}}, "config.listeners.smtp is closed, and config.clients.networks"),
    "users without a port": (
        {"config.clients": {"networks": [], "users": USERS}, "config.listeners": dict.fromkeys(("submission", "submissions"))},
        "config.clients.users need one of them",
    ),
    "two keys": ({"replicas": 2}, "each relay would make a DKIM key of its own for example.com"),
    "two keys, subdomains": (
        {"replicas": 2, "config.domains": [{"name": "example.org", "subdomains": True}]},
        "dkim: {key_file: /secrets/postroad-dkim/example.org.pem}",
    ),
    "two keys, Ed25519": (
        {"replicas": 2, "config.domains": FULL["config"]["domains"], "config.dkim": {"algorithms": ["rsa", "ed25519"]}},
        "each relay would make Ed25519 keys of its own",
    ),
    "strangers": ({"external.enabled": True}, "clients outside of the cluster have to authenticate"),
    "nobody to hand over to": (
        {"drain.evacuateSeconds": 60, "config.peers": {"port": 2527, "secret_file": "/secrets/peers/secret"}},
        "set replicas to 2 or more",
    ),
    "no port to hand over at": (
        {"drain.evacuateSeconds": 60, "replicas": 2, "config.domains": FULL["config"]["domains"]},
        "there is no relay to hand over to",
    ),
    "no metrics": ({"serviceMonitor.enabled": True, "config.http": {"listen": None}}, "the metrics need"),
    "a Secret's name": ({"config.tls": {"certificate_file": "/secrets/tls.crt"}}, "/secrets/tls.crt names no Secret"),
    "an unknown value": ({"replicaCount": 2}, "additional properties 'replicaCount' not allowed"),
    "an unknown key": ({"config.domain": ["example.com"]}, "additional properties 'domain' not allowed"),
    "a key's type": ({"config.limits": {"recipients_per_message": "many"}}, "/config/limits/recipients_per_message"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS)
def test_what_can_not_work_is_refused_before_anything_is_installed(case: str) -> None:
    changes, said = REFUSALS[case]
    values: Mapping[str, Any] = chart.EXAMPLE if changes else {}
    for path, value in changes.items():
        values = changed(values, path, value)
    assert said in refusal(values)


@pytest.mark.parametrize(
    "clients",
    [
        {"networks": ["auto", "10.244.0.0/16"]},
        {"networks": ["127.0.0.0/8", "10.0.0.0/8"]},
        {"networks": ["fd00:10:244::/56"]},
        {"networks": [], "users": USERS},
    ],
)
def test_what_works_is_not_refused(clients: Mapping[str, Any]) -> None:
    assert objects(changed(chart.EXAMPLE, "config.clients", clients))


# --- the guide ---------------------------------------------------------------------------------------

GUIDE = "docs/kubernetes.md"


def guides_values() -> list[str]:
    return [block.text for block in blocks(GUIDE) if block.language == "yaml"]


@pytest.mark.parametrize("number", range(len(guides_values())))
def test_the_guide_s_values_render(number: int) -> None:
    shown = yaml.safe_load(guides_values()[number])
    values = copy.deepcopy(chart.EXAMPLE)
    values["config"] |= shown.pop("config", {})
    assert objects({**values, **shown})


def guides_commands() -> list[str]:
    """Those of the guide, and those that an installation prints."""
    text = "\n".join(block.text for block in blocks(GUIDE) if block.language == "sh").replace("\\\n", " ")
    return [line.split(" #")[0].strip() for line in text.splitlines() if line.strip()] + notes_commands()


def notes_commands() -> list[str]:
    words = [str(helm()), "install", "postroad", str(ROOT / chart.CHART), "--namespace=mail", "--dry-run=client"]
    values = [
        "--set=config.hostname=mail.example.com,config.domains={example.com},config.clients.networks={10.244.0.0/16}"
    ]
    said = subprocess.run([*words, *values], capture_output=True, text=True, check=True).stdout
    notes = said[said.index("NOTES:") :].splitlines()
    return [line.strip() for line in notes if line.strip().startswith(("helm ", "kubectl "))]


@pytest.mark.parametrize("name", ["helm", "kubectl"])
def test_the_guide_s_commands_are_helm_s_and_kubectl_s(name: str, tmp_path: Path) -> None:
    """Each is run as far as it goes without a cluster."""
    program = {"helm": helm, "kubectl": kubectl}[name]()
    if program is None:
        pytest.skip("there is no kubectl for this processor: dev/helm.py")
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(chart.EXAMPLE))
    for each in ("example.com.pem", "app"):
        (tmp_path / each).write_text("x")
    (tmp_path / "postroad").symlink_to(ROOT)
    lines = [line for line in guides_commands() if line.startswith(f"{name} ")]
    assert len(lines) >= 2
    for line in lines:
        words = [str(program), *_offline(name, line.split()[1:])]
        told = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert told.returncode == 0, f"{line}\n{told.stdout}{told.stderr}"


def test_the_guide_s_commands_are_no_others() -> None:
    assert {line.split()[0] for line in guides_commands()} == {"helm", "kubectl"}
    inside = [line.partition(" -- ")[2] for line in guides_commands() if " -- " in line]
    assert {each.split()[0] for each in inside} == {"postroad"}


def _offline(name: str, words: list[str]) -> list[str]:
    """The same command without a cluster: what it would make, or else its help, which a wrong subcommand has none of."""
    if words[0] in {"install", "upgrade"}:
        return ["install", *[word for word in words[1:] if word != "--install"], "--dry-run=client"]
    if name == "kubectl" and words[:2] == ["create", "secret"]:
        return [*words, "--dry-run=client"]
    return [*[word for word in words if not word.startswith("-")][:2], "--help"]
