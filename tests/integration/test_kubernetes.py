"""What the Helm chart renders, run: each pod is made a container as kubelet would make it (tests/pods.py)."""

import base64
import json
import secrets
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import pytest
import yaml

from dev import chart
from tests.integration.conftest import HOSTNAME, wait_until
from tests.internet.host import Host
from tests.internet.internet import Internet
from tests.pods import Cluster, Object, Pod

pytestmark = pytest.mark.timeout(300)

PASSWORD = "a long password"
SEND = """
import json, smtplib, sys
host, port, user, password, sender, recipient, identity = sys.argv[1:]
with smtplib.SMTP(host, int(port), timeout=20) as smtp:
    if user:
        smtp.starttls()
        smtp.login(user, password)
    smtp.sendmail(sender, [recipient], f"From: {sender}\\r\\nTo: {recipient}\\r\\nMessage-ID: {identity}\\r\\n\\r\\nHi\\r\\n")
"""
"""Run in an app's container: sends a message, or fails."""

SEND_ALL_THE_TIME = """
import json, pathlib, random, smtplib, sys, time
ready, number = pathlib.Path("/tmp/endpoints"), 0
while addresses := ready.read_text().split():
    number += 1
    address, identity, said = random.choice(addresses), f"<{sys.argv[1]}-{number}@sender.example>", ""
    try:
        with smtplib.SMTP(address, 2525, timeout=20) as smtp:
            smtp.sendmail("app@sender.example", ["user@rcpt.example"],
                f"From: app@sender.example\\r\\nTo: user@rcpt.example\\r\\nMessage-ID: {identity}\\r\\n\\r\\nHi\\r\\n")
    except (OSError, smtplib.SMTPException) as error:
        said = repr(error)
    print(json.dumps([identity, address, said]), flush=True)
    time.sleep(0.05)
"""
"""Likewise: a new connection for each message, to one of the Service's endpoints, as kube-proxy leads it there."""


@pytest.fixture(scope="module")
def key(image: str) -> str:
    """A DKIM key, as the guide makes it."""
    words = ["docker", "run", "--rm", "--network=none", "--entrypoint=openssl", image, "genrsa", "2048"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def secret(name: str, **data: str) -> Object:
    encoded = {key.replace("__", "."): base64.b64encode(value.encode()).decode() for key, value in data.items()}
    return {"kind": "Secret", "metadata": {"name": name}, "data": encoded}


Install = Callable[..., Cluster]


@pytest.fixture
def install(image: str, internet: Internet, key: str) -> Iterator[Install]:
    """Render the chart and make a cluster of it: ``install(values=…, config=…, options=…, openshift=…)``."""
    with ExitStack() as stack:

        def make(
            *options: str, config: Mapping[str, Any] | None = None, openshift: bool = False, **values: Any
        ) -> Cluster:
            networks = [str(net) for net in internet._subnets]
            wanted = {
                "hostname": HOSTNAME,
                "domains": [{"name": "sender.example", "dkim": {"key_file": "/secrets/dkim/sender.example.pem"}}],
                "clients": {"networks": networks, "users": [{"name": "app", "password_file": "/secrets/users/app"}]},
                "doctor": {"at_start": False},
                **(config or {}),
            }
            text = chart.render(
                *options, values={"drain": {"acceptSeconds": 2, "deliverSeconds": 4}, **values, "config": wanted}
            )
            objects = [each for each in yaml.safe_load_all(text) if each]
            objects += [secret("dkim", sender__example__pem=key), secret("users", app=PASSWORD + "\n")]
            name = f"postroad-test-pods-{secrets.token_hex(3)}"
            dns = [internet.dns.address]
            cluster = Cluster(name, objects, image=image, network=internet.network, dns=dns, openshift=openshift)
            return stack.enter_context(cluster)

        yield make


def publish(internet: Internet, *pods: Pod) -> None:
    keys = json.loads(pods[0].execute("postroad", "dkim", "list", "--json"))["keys"]
    records = {each["name"]: each["value"] for each in keys}
    internet.publish_sender(HOSTNAME, *(pod.address for pod in pods), dkim=records)


def send(
    app: Host,
    pod: Pod,
    *,
    port: int = 2525,
    user: str = "",
    password: str = PASSWORD,
    recipient: str = "user@rcpt.example",
) -> str:
    """Send from the app's container; return the Message-ID.

    Raises:
        RuntimeError: it was refused; says how.
    """
    identity = f"<{secrets.token_hex(6)}@sender.example>"
    app.run("python3", "-c", SEND, pod.address, str(port), user, password, "app@sender.example", recipient, identity)
    return identity


def waiting(pod: Pod) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(pod.execute("postroad", "queue", "list", "--json"))["messages"]
    return found


@pytest.mark.parametrize("openshift", [False, True], ids=["chart's ids", "OpenShift's ids"])
def test_the_pod_takes_mail_drains_ends_and_comes_back(
    openshift: bool, install: Install, internet: Internet, app: Host
) -> None:
    options = ["--api-versions=security.openshift.io/v1"] if openshift else []
    cluster = install(*options, openshift=openshift)
    pod = cluster.start("postroad-0")
    pod.await_ready()
    assert pod.execute("id", "-u") == ("1000650000" if openshift else "2525")
    publish(internet, pod)
    assert internet.wait_for_message(send(app, pod)).verdict("dkim") == "pass"
    assert internet.wait_for_message(send(app, pod, port=2587, user="app")).verdict("dkim") == "pass"
    with pytest.raises(RuntimeError, match="535"):
        send(app, pod, port=2587, user="app", password="another")
    assert pod.probe("liveness") == pod.probe("readiness") == (True, "")

    # what has to wait is on the volume when the pod is gone, and delivered by the next one of its name
    later = send(app, pod, recipient="tempfail-k8s@rcpt.example")
    wait_until(lambda: [each["attempts"] for each in waiting(pod)] == [1])
    took = pod.terminate()
    assert 2 + 4 <= took < pod.grace
    assert "1 message left" in pod.event
    pod = cluster.start("postroad-0")
    pod.await_ready()
    assert [each["recipients"] for each in waiting(pod)] == [["tempfail-k8s@rcpt.example"]]
    assert later not in {message.message_id for message in internet.messages()}
    pod.execute("postroad", "queue", "delete", "--all", "--yes")
    pod.terminate()
    assert pod.event == ""  # nothing was left


def test_a_pod_that_ends_takes_mail_until_no_service_leads_to_it(
    install: Install, internet: Internet, app: Host
) -> None:
    pod = install(drain={"acceptSeconds": 6, "deliverSeconds": 20}).start("postroad-0")
    pod.await_ready()
    publish(internet, pod)
    end = threading.Thread(target=pod.terminate)
    end.start()
    wait_until(lambda: "sleep" in pod.execute("sh", "-c", "cat /proc/[0-9]*/comm", check=False))
    during = send(app, pod)
    assert internet.wait_for_message(during).verdict("dkim") == "pass"
    wait_until(lambda: not pod.probe("readiness")[0])
    end.join()
    assert not pod.inspect()["State"]["Running"]


def test_a_drain_by_hand_takes_it_out_of_its_service_and_does_not_kill_it(install: Install) -> None:
    pod = install().start("postroad-0")
    pod.await_ready()
    pod.execute("postroad", "queue", "drain")
    assert [pod.probe(kind)[0] for kind in ("readiness", "liveness")] == [False, True]
    pod.execute("postroad", "queue", "drain", "--undo")
    assert pod.probe("readiness") == (True, "")


def test_a_changed_secret_is_in_force_without_a_restart(install: Install, app: Host) -> None:
    cluster = install()
    pod = cluster.start("postroad-0")
    pod.await_ready()
    cluster.apply([secret("users", app="another password\n")])
    pod.update("users")
    wait_until(lambda: any(str(each.get("message", "")).startswith("reloaded") for each in pod.events()), timeout=30)
    send(app, pod, port=2587, user="app", password="another password")
    with pytest.raises(RuntimeError, match="535"):
        send(app, pod, port=2587, user="app")


LOW = {"smtp": 25, "submission": 587, "submissions": 465}


def test_low_ports_are_opened_by_the_sysctl(install: Install, app: Host) -> None:
    cluster = install(config={"listeners": LOW})
    pod = cluster.start("postroad-0")
    pod.await_ready()
    send(app, pod, port=25)
    # without it they can't be, on this runtime as on others
    spec = cluster.find("StatefulSet", "postroad")["spec"]["template"]["spec"]
    del spec["securityContext"]["sysctls"]
    other = cluster.start("postroad-1")
    assert other.wait() == 2
    assert "set the sysctl net.ipv4.ip_unprivileged_port_start=25" in other.log()


@pytest.mark.parametrize("fits", [True, False], ids=["networks that fit", "others"])
def test_helm_test_tells_whether_the_networks_fit(fits: bool, install: Install, internet: Internet) -> None:
    config: dict[str, Any] = {"listeners": LOW}  # there is no Service here that leads from 25 to another port
    if not fits:
        config["clients"] = {"networks": ["192.0.2.0/24"]}
    cluster = install(config=config)
    pod = cluster.start("postroad-0")
    pod.await_ready()
    before = internet.messages("postmaster@sender.example")  # others' bounces
    cluster.names["postroad.default"] = pod.address
    asked = cluster.start("postroad-test")
    code = asked.wait()
    if fits:
        assert (code, asked.log().splitlines()[-1][:4]) == (0, "250 "), asked.log()
    else:
        assert code == 1
        assert "relaying denied" in asked.log()
        assert "the relay does not take mail from this pod" in asked.log()
    assert internet.messages("postmaster@sender.example") == before


@pytest.mark.long
def test_two_relays_are_replaced_and_no_client_is_refused(install: Install, internet: Internet, app: Host) -> None:
    """A rolling update as the StatefulSet's controller does it: from the highest down, each ready before the next goes."""
    names = ["postroad-0", "postroad-1"]
    cluster = install(replicas=2, drain={"acceptSeconds": 4, "deliverSeconds": 20})
    pods = {name: cluster.start(name) for name in names}
    for pod in pods.values():
        pod.await_ready()
    publish(internet, *pods.values())
    lead(app, *pods.values())
    prefix = secrets.token_hex(4)
    words = ["docker", "exec", app.name, "python3", "-c", SEND_ALL_THE_TIME, prefix]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as client:
        try:
            assert client.stdout is not None
            for name in reversed(names):
                others = [pod for each, pod in pods.items() if each != name]
                # nodes learn that it ends a moment after kubelet does
                learned = threading.Timer(2, lead, (app, *others))
                learned.start()
                pods[name].terminate()
                learned.join()
                pods[name] = cluster.start(name)
                pods[name].await_ready()
                # a new pod, and another address
                publish(internet, *pods.values())
                lead(app, *pods.values())
        finally:
            lead(app)
        told = [json.loads(line) for line in client.communicate(timeout=60)[0].splitlines()]
    assert [each for each in told if each[2]] == []
    assert len({address for _, address, _ in told}) >= 2
    assert len(told) > 100
    sent = {identity for identity, _, _ in told}
    wait_until(lambda: sent <= {message.message_id for message in internet.messages()}, timeout=60)
    arrived = [message.message_id for message in internet.messages() if message.message_id in sent]
    assert len(arrived) == len(sent)  # each once


def lead(app: Host, *pods: Pod) -> None:
    """Let the Service lead to these; to none ends the client."""
    addresses = " ".join(pod.address for pod in pods)
    app.run("sh", "-c", f"echo '{addresses}' >/tmp/endpoints.new && mv /tmp/endpoints.new /tmp/endpoints")
