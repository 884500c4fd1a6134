import json

from postroad.checks import helo
from postroad.testing import PostroadContainer
from tests.integration.conftest import Relays

LOOK = "postroad doctor --only helo --json"


def check(relay: PostroadContainer, command: str = LOOK) -> tuple[str, str]:
    _, text = relay.shell(command)
    (found,) = json.loads(text)["checks"]
    return found["level"], found["message"]


def test_right(relay: PostroadContainer) -> None:
    assert check(relay) == ("ok", "the server calls itself mail.sender.example")


def test_a_configuration_that_is_not_in_force_yet(relay: PostroadContainer) -> None:
    level, message = check(relay, f"POSTROAD_HOSTNAME=mail2.sender.example {LOOK}")
    assert (level, message) == ("error", "the server calls itself mail.sender.example, and not mail2.sender.example")


def test_another_name_by_raw_configuration(start_relay: Relays) -> None:
    greets = start_relay(
        publish=False, sendmail={"local_config": "LOCAL_RULESETS\nO SmtpGreetingMessage=mx.other.example\n"}
    )
    assert check(greets) == ("error", "the server calls itself mx.other.example, and not mail.sender.example")
    says = start_relay(publish=False, sendmail={"local_config": "LOCAL_RULESETS\nO HeloName=out.other.example\n"})
    assert check(says) == ("error", "the server calls itself out.other.example, and not mail.sender.example")


def test_the_name_in_sendmail_s_configuration() -> None:
    assert helo.helo_name("Cwx\nDjmail.a.example\nO Foo=1\n") == "mail.a.example"
    assert helo.helo_name("Djmail.a.example\nO HeloName=Out.B.example\n") == "out.b.example"
