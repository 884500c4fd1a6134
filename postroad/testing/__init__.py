"""The real relay, and an internet around it, in an app's own integration tests: docs/testing.md.

with Internet("example.net") as internet:
    with internet.relay({"hostname": "mail.example.com", "domains": ["example.com"]}) as relay:
        send(relay.host, relay.port, message)
        assert relay.follow(message["Message-ID"])[-1]["event"] == "delivered"
    (received,) = internet.inbox("you@example.net")
    assert received.verdict("dkim") == "pass"
"""

from postroad.testing.internet import Internet
from postroad.testing.received import ReceivedMessage
from postroad.testing.relay import ENDS, HARDENED, TMPFS, PostroadContainer

__all__ = ["ENDS", "HARDENED", "TMPFS", "Internet", "PostroadContainer", "ReceivedMessage"]
