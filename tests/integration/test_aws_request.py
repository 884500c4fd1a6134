"""``postroad aws-request``, in the image."""

import json
import shlex

from postroad.testing import PostroadContainer

SETTINGS = "POSTROAD_PUBLIC_IP=203.0.113.10"


def test_the_request_is_filled_from_the_configuration(relay: PostroadContainer) -> None:
    words = ["--use-case", "Receipts, to our customers", "--per-day", "500", "--region", "ap-northeast-2"]
    code, text = relay.shell(f"{SETTINGS} postroad aws-request {shlex.join(words)}")
    assert code == 0
    assert "through a NAT gateway, with the Elastic IP 203.0.113.10." in text
    assert "It sends only as sender.example" in text
    assert "Use case: Receipts, to our customers. About 500 messages a day." in text
    assert "Elastic IP address 1\n  203.0.113.10\nReverse DNS record 1\n  mail.sender.example" in text
    code, text = relay.shell(f"{SETTINGS} postroad aws-request --json {shlex.join(words)}")
    (request,) = json.loads(text)["requests"]
    assert (request["elastic_ips"], request["region"]) == (["203.0.113.10"], "ap-northeast-2")
    assert "[" not in request["use_case_description"]


def test_what_is_missing_is_asked_for(relay: PostroadContainer) -> None:
    text = relay.shell(f"{SETTINGS} postroad aws-request")[1]
    assert "[region, such as" in text
    assert "[what your app sends" in text
