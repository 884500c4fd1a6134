"""Several signatures on a message. Alone in its file: the relay publishes keys of its own for the domain of the other tests."""

import dkim

from tests.integration.conftest import Relays, letter, send
from tests.internet.internet import Internet


def test_a_signature_for_each_algorithm(start_relay: Relays, internet: Internet) -> None:
    relay = start_relay(dkim={"algorithms": ["rsa", "ed25519"]})
    received = internet.wait_for_message(send(relay, letter()))
    assert received.verdict("dkim") == "pass"
    records = {f"{name}.".encode(): value.encode() for name, value in relay.dkim_records().items()}
    assert [name.partition(b".")[0] for name in records] == [b"postroad", b"postroad-ed25519"]
    verifier = dkim.DKIM(received.raw.replace(b"\n", b"\r\n"))
    for index in (0, 1):
        assert verifier.verify(index, dnsfunc=lambda name, timeout=5: records.get(name, b""))
