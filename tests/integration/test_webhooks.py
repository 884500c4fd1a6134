"""Events by HTTPS: signed, at least once, to nobody else, whatever the receiver does meanwhile."""

import json
import re
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from postroad.testing import PostroadContainer
from tests.integration.conftest import Relays, letter, send, wait_until
from tests.integration.test_http import metrics
from tests.internet.host import Hooks
from tests.internet.internet import Internet

HOST = "hooks.app.example"
OLD, NEW = "whsec_" + "b2xk" * 8, "bmV3" * 10
SCHEMA = json.loads(Path("docs/webhook.schema.json").read_text())
(CODE,) = re.findall(r"```python\n(.*?)```", Path("docs/webhooks.md").read_text(), re.DOTALL)
DOCUMENTED: dict[str, Any] = {}
exec(compile(CODE, "docs/webhooks.md", "exec"), DOCUMENTED)
wait_for = partial(wait_until, timeout=40)


@pytest.fixture(scope="module")
def hooks(internet: Internet) -> Hooks:
    return internet.add_hooks(HOST)


@pytest.fixture(scope="module")
def folder(internet: Internet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The secrets, and the test authority."""
    made = tmp_path_factory.mktemp("webhooks")
    made.chmod(0o755)
    (made / "ca.pem").write_bytes(internet.ca_certificate())
    (made / "secret").write_text(f"{OLD}\n{NEW}\n")
    return made


def hook(path: str, *, port: int = 443, **keys: Any) -> dict[str, Any]:
    """A webhook of that path's name."""
    url = f"https://{HOST}:{port}/{path}" if port != 443 else f"https://{HOST}/{path}"
    common = {"name": path, "url": url, "secret_file": "/secrets/secret", "ca_file": "/secrets/ca.pem"}
    return {**common, "allow_private": True, **keys}


def states(relay: PostroadContainer) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in json.loads(relay.command("webhook", "list", "--json"))["webhooks"]}


def came(hooks: Hooks, path: str, message_id: str) -> list[dict[str, Any]]:
    """The events of a message that came for a path."""
    found = [{**each, "event": json.loads(each["body"])} for each in hooks.requests(f"/{path}")]
    return [each for each in found if each["event"]["data"].get("message_id") == message_id]


NOT_POSTED = {
    "redirect": "answered 302: redirects are not followed",
    "private": "no public address: allow_private is not set",
    "expired": "its certificate is refused: certificate has expired",
    "selfsigned": "its certificate is refused: self-signed certificate",
    "wrongname": "its certificate is refused: Hostname mismatch",
    "unknownca": "its certificate is refused: unable to get local issuer certificate",
    "slow": "no answer in time",
}


@pytest.fixture(scope="module")
def posting(relays: Relays, hooks: Hooks, folder: Path) -> PostroadContainer:
    """A relay with a webhook for each thing that can go wrong."""
    assert hooks
    return relays(
        mounts={str(folder): "/secrets"},
        events={
            "webhooks": [
                hook("slow"),  # first: the others don't wait for it
                hook("ok", types=["accepted", "delivered", "deferred", "bounced", "rejected"]),
                hook("plain", url=f"http://{HOST}/plain", ca_file=None),
                hook("filtered", types=["bounced"], recipients=["rcpt.example"], senders=["sender.example"]),
                hook("unwanted", recipients=["elsewhere.example"]),
                hook("twice", types=["bounced"]),
                hook("busy", types=["bounced"]),
                hook("redirect"),
                hook("down", give_up_after=3),
                hook("private", allow_private=False),
                hook("expired", port=444),
                hook("selfsigned", port=445),
                hook("wrongname", port=446),
                hook("unknownca", ca_file=None),
            ]
        },
    )


@pytest.fixture(scope="module")
def message_id(posting: PostroadContainer) -> str:
    """Of a message with an end of each kind, of which all have heard and which none but those that fail wait for."""
    found = send(posting, letter(), to_addrs=["user@rcpt.example", "unknown-7@rcpt.example", "tempfail-7@rcpt.example"])

    def settled() -> bool:
        now = metrics(posting)
        taken = {"ok": 4, "plain": 3, "filtered": 1, "twice": 1, "busy": 1}
        return (
            all(now.get(f"postroad_webhook_events_total,delivered,{name}", 0) >= least for name, least in taken.items())
            and all(now.get(f"postroad_webhook_attempts_failed_total,{name}") for name in set(NOT_POSTED) - {"slow"})
            and now.get("postroad_webhook_outbox_events,dead,down", 0) >= 3
        )

    wait_until(settled, timeout=120)
    return found


def test_signed_events_arrive_as_documented(hooks: Hooks, message_id: str) -> None:
    check = jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.FormatChecker())
    kinds = {}
    for each in came(hooks, "ok", message_id):
        headers, event = each["headers"], each["event"]
        check.validate(event)
        assert headers["content-type"] == "application/cloudevents+json; charset=utf-8"
        assert headers["host"] == HOST
        assert headers["webhook-id"] == event["id"]
        assert event["source"] == "mail.sender.example"
        for secret in (OLD, NEW):
            assert DOCUMENTED["verify"](secret, headers, each["body"].encode())
        assert not DOCUMENTED["verify"](OLD, headers, each["body"].encode() + b" ")
        assert not DOCUMENTED["verify"](OLD, headers | {"webhook-timestamp": "1"}, each["body"].encode())
        assert not DOCUMENTED["verify"]("whsec_" + "b3RoZXI=", headers, each["body"].encode())
        kinds[event["type"]] = event["data"]
    assert set(kinds) == {f"postroad.message.{kind}.v1" for kind in ("accepted", "delivered", "deferred", "bounced")}
    bounce = kinds["postroad.message.bounced.v1"]
    assert (bounce["recipient"], bounce["class"], bounce["hard"]) == ("unknown-7@rcpt.example", "userunknown", True)


def test_filters(hooks: Hooks, message_id: str) -> None:
    assert [each["event"]["data"]["event"] for each in came(hooks, "filtered", message_id)] == ["bounced"]
    assert len(came(hooks, "plain", message_id)) == 3
    assert not came(hooks, "unwanted", message_id)  # though it was put into the outbox at once, or would have been


@pytest.mark.parametrize(("path", "times"), [("twice", 3), ("busy", 2)])
def test_what_is_refused_comes_again_as_the_same_event(path: str, times: int, hooks: Hooks, message_id: str) -> None:
    tries = came(hooks, path, message_id)
    assert len(tries) == times
    assert len({each["body"] for each in tries}) == len({each["event"]["id"] for each in tries}) == 1
    assert all(DOCUMENTED["verify"](NEW, each["headers"], each["body"].encode()) for each in tries)
    sent = [int(each["headers"]["webhook-timestamp"]) for each in tries]
    assert sent[-1] - sent[0] >= (2 if path == "busy" else 1)


def test_dead_letters_are_listed_and_replayed(posting: PostroadContainer, hooks: Hooks, message_id: str) -> None:
    letters = json.loads(posting.command("webhook", "dead", "--webhook", "down", "--json"))["dead"]
    tried = {each["event"]["id"] for each in came(hooks, "down", message_id)}
    assert {each["error"] for each in letters} == {"answered 500"}
    assert tried <= {each["id"] for each in letters}
    assert letters[0]["id"] in posting.command("webhook", "dead")
    assert "dead letters of webhook down" in posting.log() or "a dead letter of webhook down" in posting.log()
    hooks.run("touch", "/run/hooks/up")
    assert "1 dead letters wait" in posting.command("webhook", "replay", letters[0]["id"], "--webhook", "down")
    taken = "postroad_webhook_events_total,delivered,down"
    wait_for(lambda: metrics(posting).get(taken) == 1)
    assert f"{len(letters) - 1} dead letters wait" in posting.command("webhook", "replay", "--all", "--webhook", "down")
    wait_for(lambda: metrics(posting).get(taken) == len(letters))
    assert {each["id"] for each in letters} <= {json.loads(each["body"])["id"] for each in hooks.requests("/down")}
    code, text = posting.shell(
        "postroad webhook replay --all --webhook down; echo $?; postroad webhook replay; echo $?"
    )
    assert (code, re.findall(r"^\d$", text, re.MULTILINE)) == (0, ["1", "2"])
    assert "webhook down accepts events again" in posting.log()


def test_a_ping_says_what_comes_of_it(posting: PostroadContainer, hooks: Hooks) -> None:
    assert "ok: taken, answered 204" in posting.command("webhook", "test", "ok")
    assert DOCUMENTED["verify"](OLD, (ping := hooks.requests("/ok")[-1])["headers"], ping["body"].encode())
    assert json.loads(ping["body"])["type"] == "postroad.ping.v1"
    code, text = posting.shell("postroad webhook test --json ok private")
    assert code == 1
    assert [each["status"] for each in json.loads(text)["answers"]] == [204, None]


def test_the_secret_shows_nowhere(posting: PostroadContainer) -> None:
    secrets = [each.removeprefix("whsec_") for each in (OLD, NEW)]
    script = "postroad check --json; postroad webhook list --json; cat /run/postroad/current/config.json"
    seen = posting.log() + posting.shell(f"{script} /run/postroad/current/plan.json /proc/*/cmdline /proc/*/environ")[1]
    assert f"https://{HOST}/ok" in seen
    assert not [each for each in secrets if each in seen]
    look = f"grep -rlF {secrets[0]} /run/postroad /tmp /var/lib/postroad 2>/dev/null | xargs stat -c '%a %n'"
    modes = posting.shell(look)[1].split()[::2]
    assert modes
    assert set(modes) == {"600"}


def test_a_new_container_posts_what_waits_when_the_receiver_is_back(
    start_relay: Relays, volumes: Callable[[str], str], internet: Internet, folder: Path
) -> None:
    receiver = internet.add_hooks("late.app.example")
    receiver.stop()
    run: dict[str, Any] = {
        "state": volumes("state"),
        "mounts": {str(folder): "/secrets"},
        "events": {"webhooks": [hook("late", url="https://late.app.example/late")]},
    }
    first = start_relay(**run)
    message_id = send(first, letter())
    wait_for(lambda: metrics(first).get("postroad_webhook_attempts_failed_total,late"))
    first.get_wrapped_container().kill("KILL")
    second = start_relay(**run)
    wait_for(lambda: metrics(second).get("postroad_webhook_outbox_events,pending,late") == 1)
    receiver.start()
    wait_for(lambda: metrics(second).get("postroad_webhook_events_total,delivered,late") == 1)
    assert came(receiver, "late", message_id)
    assert "postroad_webhook_outbox_events,pending,late" not in metrics(second)


def test_what_is_not_posted_and_why(posting: PostroadContainer, hooks: Hooks, message_id: str) -> None:
    assert message_id
    wait_for(lambda: metrics(posting).get("postroad_webhook_attempts_failed_total,slow"))
    log, found = posting.log(), states(posting)
    (told,) = [each for each in posting.events() if "webhook slow accepts no events" in each.get("message", "")]
    slow = datetime.fromisoformat(told["time"]).timestamp()
    assert all(int(each["headers"]["webhook-timestamp"]) < slow for each in came(hooks, "ok", message_id))
    for name, state in found.items():
        if name not in NOT_POSTED:
            continue
        assert NOT_POSTED[name] in state["error"]
        assert state["delivered"] == 0
        assert state["pending"] >= 3
        assert f"webhook {name} accepts no events, they wait in the outbox" in log
        assert bool(hooks.requests(f"/{name}")) == (name in {"redirect", "slow"})
