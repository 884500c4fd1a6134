"""``postroad queue evacuate``: a relay's queue leaves for another relay, in the image, and real MX hosts get the mail."""

import json
import random
import shlex
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from postroad.testing import PostroadContainer
from tests.integration.conftest import HOSTNAME, Relays, away, letter, send, story, wait_until
from tests.integration.inside import PYTHON
from tests.internet.internet import Internet
from tests.seeds import SEED

SECRET = "/secrets/peers"
PEERS = {"port": 2526, "secret_file": SECRET}
RETRY = {"queue": {"retry": "4h"}}
"""Nothing is tried again by itself."""


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the secret that all relays know, and one that none does."""
    folder = tmp_path_factory.mktemp("secrets")
    folder.chmod(0o755)
    (folder / "peers").write_text("0123456789abcdef" * 4 + "\n")
    (folder / "other").write_text("fedcba9876543210" * 4 + "\n")
    return folder


Pair = tuple[PostroadContainer, PostroadContainer]
Start = Callable[..., PostroadContainer]


@pytest.fixture
def start(start_relay: Relays, internet: Internet, secret: Path) -> Start:
    """Start a relay that knows the secret, with a selector of its own; all addresses and keys are published."""

    def make(name: str, **config: Any) -> PostroadContainer:
        kwargs = {"hostname": name, **config.pop("kwargs", {})}
        wanted = {"peers": PEERS, "delivery": RETRY, "dkim": {"selector": name}, **config}
        made = start_relay(publish=False, kwargs=kwargs, mounts={str(secret): "/secrets"}, **wanted)
        records = {name: value for each in start_relay.started for name, value in each.dkim_records().items()}
        internet.publish_sender(HOSTNAME, *(each.address for each in start_relay.started), dkim=records)
        return made

    return make


@pytest.fixture
def pair(start: Start) -> Pair:
    return start("leaving"), start("staying")


def evacuate(relay: PostroadContainer, to: PostroadContainer, *words: str) -> tuple[int, str]:
    return relay.shell(f"COLUMNS=250 exec postroad queue evacuate --to {to.address} {shlex.join(words)}")


def listed(relay: PostroadContainer) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(relay.command("queue", "list", "--json"))["messages"]
    return found


def put_off(relay: PostroadContainer, **headers: str) -> tuple[str, str]:
    """A message that was tried once: its Message-ID and queue id."""
    message_id = send(relay, letter(**headers))
    queue_id = str(relay.wait_for(message_id, "deferred")["queue_id"])
    wait_until(lambda: not any(each["active"] for each in listed(relay)), 30)
    return message_id, queue_id


def well(relay: PostroadContainer) -> bool:
    return relay.shell("/usr/local/lib/postroad/healthcheck")[0] == 0


def arrived(internet: Internet, ids: set[str]) -> Counter[str]:
    return Counter(str(each.message_id) for each in internet.messages() if each.message_id in ids)


def test_a_message_goes_as_it_is_and_arrives_signed(pair: Pair, internet: Internet) -> None:
    leaving, staying = pair
    with away(internet):
        message_id, old = put_off(leaving)
        (before,) = listed(leaving)
        code, said = evacuate(leaving, staying)
        assert code == 0, said
        assert "1 message handed over" in said
        assert not listed(leaving)
        (after,) = listed(staying)
        new = after["queue_id"]
        for field in ("sender", "recipients", "arrived", "size", "attempts", "last_try", "reason"):
            assert after[field] == before[field], field
        assert new[:8] == old[:8]
        assert len(new) == 18
        left = leaving.wait_for(message_id, "evacuated")
        came = staying.wait_for(message_id, "taken_over")
        assert (left["to_relay"], left["to_queue_id"]) == ("staying", new)
        assert (came["from_relay"], came["from_queue_id"], came["attempts"]) == ("leaving", old, 1)
    staying.command("queue", "flush", "--all")
    assert staying.follow(message_id)[-1]["event"] == "delivered"
    found = internet.wait_for_message(message_id)
    assert found.verdict("dkim") == "pass"
    assert f"id {old}".encode() in found.raw, "the field of the relay that accepted it"
    assert found.raw.lower().count(b"\ndkim-signature:") == 1
    assert arrived(internet, {message_id}) == {message_id: 1}
    kinds = [event["event"] for event in story(staying, message_id)]
    assert kinds == ["taken_over", "delivered"], "neither signed nor accepted a second time"
    assert story(staying, message_id)[-1]["sender"] == "app@sender.example"


def test_the_relay_takes_no_new_messages_and_says_so_until_it_does_again(pair: Pair, internet: Internet) -> None:
    leaving, staying = pair
    assert evacuate(leaving, staying)[0] == 0
    with pytest.raises(Exception, match="421"):
        send(leaving, letter())
    leaving.command("queue", "drain", "--undo")
    leaving.follow(send(leaving, letter()))


def test_a_message_that_was_never_tried_is_delivered_at_once(pair: Pair, internet: Internet) -> None:
    leaving, staying = pair
    with away(internet):
        message_id, queue_id = put_off(leaving)
        edit = "s/^N1$/N0/; s/^K[0-9]*$/K0/"
        assert leaving.shell(f"sed -i '{edit}' /var/spool/mqueue/qf{queue_id}")[0] == 0
    assert evacuate(leaving, staying)[0] == 0
    assert staying.follow(message_id, 30)[-1]["event"] == "delivered"


def left_behind(internet: Internet, image: str, secret: Path, to: PostroadContainer, *volumes: str) -> list[str]:
    """The command that hands over the queue of volumes without their server."""
    words = ["docker", "run", "--rm", f"--network={internet.network}", *(f"--volume={each}" for each in volumes)]
    words += [f"--volume={secret}:/secrets:ro", "--read-only", "--tmpfs=/run/postroad:mode=0700,uid=2525,gid=2525"]
    words += ["--tmpfs=/tmp", f"--env=POSTROAD_HOSTNAME={HOSTNAME}", '--env=POSTROAD_DOMAINS=["sender.example"]']
    return [*words, f"--env=POSTROAD_PEERS={json.dumps(PEERS)}", image, "queue", "evacuate", "--to", to.address]


def test_a_volume_that_was_left_behind(
    start: Start, internet: Internet, volumes: Callable[[str], str], image: str, secret: Path
) -> None:
    queue, state = volumes("left"), volumes("left-state")
    leaving, staying = start("leaving", queue=queue, state=state), start("staying")
    with away(internet):
        message_id, _ = put_off(leaving)
        leaving.get_wrapped_container().kill()
        words = left_behind(internet, image, secret, staying, f"{queue}:/var/spool/mqueue")
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "1 message handed over" in done.stdout
        assert len(listed(staying)) == 1
    staying.command("queue", "flush", "--all")
    assert staying.follow(message_id)[-1]["event"] == "delivered"
    assert arrived(internet, {message_id}) == {message_id: 1}


def test_a_server_that_still_has_the_volumes_is_waited_for(
    start: Start, internet: Internet, volumes: Callable[[str], str], image: str, secret: Path
) -> None:
    """As where an orchestrator stops a relay, and starts the command beside it."""
    queue, state = volumes("stopping"), volumes("stopping-state")
    leaving, staying = start("leaving", queue=queue, state=state), start("staying")
    mounts = (f"{queue}:/var/spool/mqueue", f"{state}:/var/lib/postroad:ro")
    words = left_behind(internet, image, secret, staying, *mounts)
    with away(internet), subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as command:
        assert command.stdout
        assert command.stdout.readline() == "the server in container leaving has these volumes: waiting for its end\n"
        put_off(leaving)  # it takes messages until its end
        leaving.get_wrapped_container().stop(timeout=20)
        said, _ = command.communicate(timeout=60)
        assert command.returncode == 0, said
        assert "1 message handed over" in said
        assert len(listed(staying)) == 1


def test_who_has_another_secret_hands_over_nothing(pair: Pair, start: Start, internet: Internet) -> None:
    stranger = start("stranger", peers={**PEERS, "secret_file": "/secrets/other"})
    with away(internet):
        put_off(stranger)
        code, said = evacuate(stranger, pair[1])
        assert code == 1
        assert "does not know the secret" in said
        assert len(listed(stranger)) == 1
        assert not listed(pair[1])


def test_without_a_secret_nothing_listens_there(start: Start) -> None:
    closed = start("closed", peers={})
    assert ":09DE " not in closed.shell("cat /proc/net/tcp /proc/net/tcp6")[1], "2526"


def test_mail_of_a_route_with_limits_waits_for_its_turn_there(start: Start, internet: Internet) -> None:
    delivery = {
        "queue": {"retry": "1m"},
        "routes": [{"domains": ["rcpt.example"], "smarthost": None, "rate": "1/hour"}],
    }
    leaving, staying = start("leaving", delivery=delivery), start("staying", delivery=delivery)
    ids = {send(leaving, letter()) for _ in range(2)}
    (first,) = wait_until(lambda: {each["message_id"] for each in leaving.events() if each["event"] == "delivered"}, 30)
    wait_until(lambda: len(listed(leaving)) == 1, 30)
    code, said = evacuate(leaving, staying, "--timeout", "30s")
    assert code == 0, said
    (second,) = ids - {first}
    assert staying.follow(second)[-1]["event"] == "delivered", "the other relay has not used its limit"


ASIDE = """
from pathlib import Path
from postroad.evacuation.leaving import Leaving
queue = Path("/var/spool/mqueue")
(control,) = queue.glob("qf*")
Leaving(queue).set_aside(control, queue / f"df{control.name[2:]}", "RECEIVER", "ADDRESS 2526")
"""
"""What an evacuation leaves behind that is killed right before it offers a message."""


@pytest.mark.long
def test_an_evacuation_that_was_killed_is_settled_by_the_server_itself(pair: Pair, internet: Internet) -> None:
    leaving, staying = pair
    with away(internet):
        message_id, queue_id = put_off(leaving)
        wait_until(lambda: staying.shell("test -s /var/spool/mqueue/relay-id")[0] == 0)
        receiver = staying.shell("cat /var/spool/mqueue/relay-id")[1].strip()
        script = ASIDE.replace("RECEIVER", receiver).replace("ADDRESS", staying.address)
        code, said = leaving.shell(f"{PYTHON} -c '{script}'")
        assert code == 0, said
        (message,) = listed(leaving)
        assert "offered to another relay" in message["note"]
        wait_until(lambda: [each["queue_id"] for each in listed(leaving) if not each["note"]] == [queue_id], 60)
    leaving.command("queue", "flush", "--all")
    assert leaving.follow(message_id)[-1]["event"] == "delivered"
    assert arrived(internet, {message_id}) == {message_id: 1}


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("default:measured: ")
def test_killed_at_random_no_message_is_lost_and_none_arrives_twice(
    start: Start, internet: Internet, volumes: Callable[[str], str]
) -> None:
    """Both containers are killed with -9, in turn and at once, while one hands over to the other."""
    dice = random.Random(SEED)
    volume = [volumes(name) for name in ("queue-1", "state-1", "queue-2", "state-2")]
    leaving = start("leaving", queue=volume[0], state=volume[1])
    staying = start("staying", queue=volume[2], state=volume[3])

    def evacuating() -> None:
        with suppress(Exception):  # Docker's, whose container is killed meanwhile
            evacuate(leaving, staying)

    with away(internet):
        ids = {send(leaving, letter()) for _ in range(200)}
        wait_until(lambda: sum(not each["active"] for each in listed(leaving)) == 200, 120)
        kills = 0
        while listed(leaving) or kills < 6:
            thread = threading.Thread(target=evacuating)
            thread.start()
            before, limit = len(listed(staying)), time.monotonic() + 20
            goal = before + dice.randrange(1, 40)
            while thread.is_alive() and len(listed(staying)) < goal and time.monotonic() < limit:
                time.sleep(0.02)
            if kills < 6:
                for relay in dice.choice([(leaving,), (staying,), (leaving, staying)]):
                    container = relay.get_wrapped_container()
                    container.kill()
                    kills += 1
                    container.start()
                for relay in (leaving, staying):
                    wait_until(partial(well, relay), 60)
            thread.join(120)
    for relay in (leaving, staying):
        relay.shell("postroad queue flush --all")
    wait_until(lambda: len(arrived(internet, ids)) == 200, 120)
    assert set(arrived(internet, ids).values()) == {1}
    assert {each.verdict("dkim") for each in internet.messages() if each.message_id in ids} == {"pass"}
