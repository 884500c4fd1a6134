"""What deploy/ holds is right for the metrics that are served, by Prometheus's own tool; and the resolver starts."""

import json
import re
import secrets
import subprocess
from pathlib import Path

import dns.exception
import dns.resolver
import yaml
from prometheus_client.parser import text_string_to_metric_families

from postroad.store.counters import LABELS
from postroad.testing import PostroadContainer
from tests.integration.conftest import letter, send, wait_until
from tests.integration.test_http import get
from tests.integration.test_trace import wait_for
from tests.internet.internet import IMAGE, TREE, Internet

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy/prometheus/rules.yml"
DASHBOARD = ROOT / "deploy/grafana/postroad.json"
PROMETHEUS_S_OWN = {"instance", "job", "le"}


def promtool(internet: Internet, *words: str, stdin: str = "") -> str:
    """Run it, and return what it said; it has to be content."""
    label = next(f"{name}={value}" for name, value in TREE.items())
    argv = ["docker", "run", "--rm", "--interactive", "--network=none", f"--label={label}", f"--volume={ROOT}:/src:ro"]
    done = subprocess.run(
        [*argv, "--entrypoint=promtool", IMAGE, *words],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert internet
    return done.stdout + done.stderr


def alerts_and_records() -> list[dict[str, str]]:
    return list(yaml.safe_load(RULES.read_text())["groups"][0]["rules"])


def panels() -> list[str]:
    """The dashboard's expressions, as they are when Grafana has put its variables in."""
    found = json.loads(DASHBOARD.read_text())["panels"]
    expressions = [target["expr"] for panel in found for target in panel["targets"]]
    return [
        expression.replace("$__rate_interval", "5m").replace("$__range", "1d").replace("$instance", ".*")
        for expression in expressions
    ]


def test_promtool_takes_the_rules_and_each_alert_fires_when_it_should(internet: Internet) -> None:
    assert f"{len(alerts_and_records())} rules found" in promtool(
        internet, "check", "rules", "/src/deploy/prometheus/rules.yml"
    )
    promtool(internet, "check", "config", "/src/deploy/prometheus/prometheus.yml")
    promtool(internet, "test", "rules", "/src/tests/deploy/rules_test.yml")
    tested = (ROOT / "tests/deploy/rules_test.yml").read_text()
    for rule in alerts_and_records():
        assert "alert" not in rule or re.search(rf"alertname: {rule['alert']}\n *exp_alerts", tested), rule


def test_the_dashboard_s_queries_are_promql(internet: Internet) -> None:
    rules = [{"record": f"panel:{number}", "expr": expression} for number, expression in enumerate(panels())]
    said = promtool(
        internet, "check", "rules", "--lint=none", stdin=json.dumps({"groups": [{"name": "panels", "rules": rules}]})
    )
    assert f"{len(rules)} rules found" in said


def test_they_name_what_is_served_and_promtool_takes_that(relay: PostroadContainer, internet: Internet) -> None:
    send(relay, letter(), to_addrs=["user@rcpt.example", "unknown-9@rcpt.example", "tempfail-9@rcpt.example"])
    wait_for(lambda: 'result="bounced"' in get(relay, "/metrics")[1])
    text = get(relay, "/metrics")[1]
    promtool(internet, "check", "metrics", stdin=text)
    served = {match[1] for match in re.finditer(r"^# TYPE (\S+) ", text, re.MULTILINE)}
    served |= {sample.name for family in text_string_to_metric_families(text) for sample in family.samples}
    rules = alerts_and_records()
    recorded = {rule["record"] for rule in rules if "record" in rule}
    expressions = [rule["expr"] for rule in rules] + panels()
    named = {
        name for each in expressions for name in re.findall(r"\bpostroad_\w+", re.sub(r"instance:[\w:]+", "", each))
    }
    assert named <= served
    assert {name for each in expressions for name in re.findall(r"instance:[\w:]+", each)} <= recorded
    assert served - {"postroad_delivery_seconds"} <= named  # each has its place
    labels = {label for names in LABELS.values() for label in names} | PROMETHEUS_S_OWN
    labels |= {"version", "state", "cause", "check", "level", "standing"}
    for each in expressions:
        used = {*re.findall(r'(\w+)=~?"', each)}
        used |= {name.strip() for group in re.findall(r"by \(([^)]*)\)", each) for name in group.split(",")}
        assert used <= labels, each


def test_the_resolver_for_dane_answers_the_relay_beside_the_default_compose_file() -> None:
    files = [f"--file={ROOT / name}" for name in ("compose.yaml", "deploy/compose.dane.yaml")]
    compose = ["docker", "compose", f"--project-name=postroad-dane-{secrets.token_hex(3)}", *files]
    wanted = json.loads(subprocess.check_output([*compose, "config", "--format=json"]))
    (address,) = wanted["services"]["postroad"]["dns"]
    assert wanted["services"]["postroad"]["environment"]["POSTROAD_DELIVERY__TLS__POLICY"] == "dane"
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.lifetime = [address], 2

    def answers() -> bool:
        try:
            return [str(each) for each in resolver.resolve("localhost.", "A")] == [
                "127.0.0.1"
            ]  # known without the internet
        except dns.exception.DNSException:
            return False

    try:
        subprocess.run([*compose, "up", "--detach", "--build", "--quiet-pull", "resolver"], check=True)
        wait_until(answers, timeout=30)
    finally:
        subprocess.run([*compose, "down", "--volumes", "--rmi=local"], check=True)
