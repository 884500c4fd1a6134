"""The doctor's own attempts are known again, and nobody else's are taken for them."""

from postroad.events.model import Accepted, Rejected, Tls
from postroad.sinks.probes import SESSIONS, Probes


def rejected(queue_id: str | None, client: str | None) -> Rejected:
    return Rejected(time=1, program="sendmail", pid=2, queue_id=queue_id, client_address=client, reply="550 no")


def test_the_doctor_s_sessions_are_known_again() -> None:
    probes = Probes()
    assert not probes.made(rejected("q1", None))  # nobody knows yet whose it is
    assert probes.made(rejected("q1", "127.0.0.2"))
    assert probes.made(rejected("q1", None))
    assert probes.made(Tls(time=1, program="sendmail", pid=2, client_address="127.0.0.2", side="server"))


def test_nobody_else_is_taken_for_the_doctor() -> None:
    probes = Probes()
    assert probes.made(rejected("q1", "127.0.0.2"))
    assert not probes.made(rejected("q1", "192.0.2.1"))  # queue ids come again
    assert not probes.made(rejected("q2", None))
    assert not probes.made(rejected(None, None))
    accepted = Accepted(time=1, program="sendmail", pid=2, queue_id="q1", client_address="127.0.0.2")
    assert not probes.made(accepted)  # a message is a message


def test_what_is_remembered_is_bounded() -> None:
    probes = Probes()
    for number in range(SESSIONS + 1):
        probes.made(rejected(f"q{number}", "127.0.0.2"))
    assert not probes.made(rejected("q0", None))
    assert probes.made(rejected("q1", None))
