"""What the HTTP port says, and what it does not."""

import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress

import pytest
from prometheus_client.parser import text_string_to_metric_families

from postroad.testing import PostroadContainer
from tests.integration.conftest import Relays, letter, send
from tests.integration.test_trace import wait_for


def get(relay: PostroadContainer, path: str) -> tuple[int, str]:
    wait_for(lambda: _listens(relay))  # it is not waited for before the server is ready
    try:
        with urllib.request.urlopen(f"http://{relay.address}:8025{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def metrics(relay: PostroadContainer) -> dict[str, float]:
    code, text = get(relay, "/metrics")
    assert code == 200, text
    return {
        ",".join([sample.name, *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_counts_and_goes_on_counting_in_a_new_container(start_relay: Relays, volumes: Callable[[str], str]) -> None:
    state, queue = volumes("state"), volumes("queue")
    relay = start_relay(state=state, queue=queue)
    send(relay, letter(), to_addrs=["user@rcpt.example", "unknown-3@rcpt.example", "tempfail-3@rcpt.example"])
    wait_for(lambda: metrics(relay).get("postroad_deliveries_total,userunknown,other,bounced"))
    wait_for(lambda: metrics(relay)["postroad_suppressed_addresses"] == 1)
    found = metrics(relay)
    assert found["postroad_accepted_total"] == 1
    assert found["postroad_deliveries_total,,other,delivered"] >= 1
    assert found["postroad_delivery_seconds_bucket,+Inf"] == found["postroad_deliveries_total,,other,delivered"]
    assert found["postroad_queue_messages"] == 1
    assert 0 <= found["postroad_queue_oldest_seconds"] < 100
    assert found["postroad_event_gaps_total"] == 0
    assert "@" not in get(relay, "/metrics")[1]
    relay.get_wrapped_container().stop(timeout=20)
    again = start_relay(state=state, queue=queue)
    assert metrics(again)["postroad_deliveries_total,userunknown,other,bounced"] == 1


def test_health(start_relay: Relays) -> None:
    relay = start_relay()
    assert get(relay, "/healthz") == (200, '{"status": "ready", "reasons": []}\n')
    assert get(relay, "/readyz")[0] == 200
    relay.command("queue", "drain")
    code, text = get(relay, "/readyz")
    assert (code, json.loads(text)["status"]) == (503, "draining")
    assert get(relay, "/healthz")[0] == 200
    relay.command("queue", "drain", "--undo")
    assert get(relay, "/readyz") == (200, '{"status": "ready", "reasons": []}\n')
    pid = relay.shell("cat /run/postroad/health")[1].split()[2]
    relay.get_wrapped_container().kill("STOP")  # the supervisor: it starts nothing anew
    relay.shell(f"kill -9 {pid}")
    try:
        wait_for(lambda: get(relay, "/healthz")[0] != 200)
        code, text = get(relay, "/healthz")
    finally:
        relay.get_wrapped_container().kill("CONT")
    assert code == 503
    assert json.loads(text)["reasons"] == [f"process {pid} is gone"]


def test_reads_only_and_bears_slow_clients(relay: PostroadContainer) -> None:
    assert get(relay, "/")[0] == 404
    assert get(relay, "/../../etc/passwd")[0] == 404
    slow = [socket.create_connection((relay.address, 8025)) for _ in range(50)]
    try:
        for client in slow:
            client.sendall(b"GET /metrics HTTP/1.1\r\n")
        wait_for(lambda: _answers(relay))
    finally:
        for client in slow:
            client.close()
    request = urllib.request.Request(f"http://{relay.address}:8025/metrics", data=b"x" * 1_000_000, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            code = answer.status
    except urllib.error.HTTPError as error:
        code = error.code
    except OSError:  # it hung up on the body
        code = 501
    assert code == 501


def test_a_client_that_says_a_letter_now_and_then_does_not_keep_its_place(relay: PostroadContainer) -> None:
    wait_for(lambda: _answers(relay))
    slow = [socket.create_connection((relay.address, 8025)) for _ in range(20)]
    try:
        for client in slow:
            client.sendall(b"GET /metrics HTTP/1.1\r\nX: ")
            client.settimeout(0.1)
        began = time.monotonic()
        while any(_holds(client) for client in slow):
            assert get(relay, "/readyz")[0] == 200
            assert time.monotonic() - began < 60
    finally:
        for client in slow:
            client.close()


def _holds(client: socket.socket) -> bool:
    """Say a letter, and see whether the connection is still there."""
    try:
        client.sendall(b"x")
        return bool(client.recv(1))
    except TimeoutError:
        return True
    except OSError:
        return False


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /metrics HTTP/1.1\r\nHost: " + b"x" * 100_000 + b"\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\n" + b"X: y\r\n" * 1000 + b"\r\n",
        b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n",
    ],
    ids=["long-header", "many-headers", "long-path"],
)
def test_what_is_too_long_is_refused(request_: bytes, relay: PostroadContainer) -> None:
    wait_for(lambda: _answers(relay))
    assert _say(relay, request_)[:12] in {b"HTTP/1.0 414", b"HTTP/1.0 431", b""}  # it may hang up on the rest
    assert _answers(relay)


def test_the_host_that_is_asked_for_changes_and_shows_nothing(relay: PostroadContainer) -> None:
    wait_for(lambda: _answers(relay))
    said = _say(relay, b"GET /healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n")
    assert said.startswith(b"HTTP/1.0 200")
    assert b"evil" not in said


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"])
def test_nothing_but_reading_is_offered(method: str, relay: PostroadContainer) -> None:
    wait_for(lambda: _answers(relay))
    assert _say(relay, f"{method} /metrics HTTP/1.1\r\n\r\n".encode()).startswith(b"HTTP/1.0 501")


def _say(relay: PostroadContainer, request: bytes) -> bytes:
    """All that comes back; nothing where the connection is closed on us."""
    said = b""
    with socket.create_connection((relay.address, 8025), timeout=20) as client, suppress(ConnectionError):
        client.sendall(request)
        while data := client.recv(65536):
            said += data
    return said


def _answers(relay: PostroadContainer) -> bool:
    try:
        return get(relay, "/healthz")[0] == 200
    except OSError:
        return False


def test_closed_where_it_is_null(start_relay: Relays) -> None:
    relay = start_relay(http={"listen": None})
    relay.follow(send(relay, letter()))
    assert "1F59" not in relay.shell("cat /proc/net/tcp /proc/net/tcp6")[1]


def _listens(relay: PostroadContainer) -> bool:
    with socket.socket() as client:
        client.settimeout(5)
        return client.connect_ex((relay.address, 8025)) == 0
