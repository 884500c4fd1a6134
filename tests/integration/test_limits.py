"""Each limit, reached and not reached, and what its answer says."""

import contextlib
import smtplib
import time
from collections.abc import Iterator

import pytest

from postroad.testing import PostroadContainer
from tests.integration.conftest import Relays, letter
from tests.internet.host import Host

HELLO = """
import smtplib, sys
with smtplib.SMTP(sys.argv[1], 25, timeout=10) as smtp:
    smtp.ehlo()
    print(smtp.mail("app@sender.example")[0])
"""


@contextlib.contextmanager
def connections(relay: PostroadContainer, count: int) -> Iterator[list[smtplib.SMTP]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(smtplib.SMTP(relay.host, relay.port, timeout=20)) for _ in range(count)]


def refused_connection(relay: PostroadContainer) -> tuple[int, bytes | str]:
    with pytest.raises(smtplib.SMTPConnectError) as refused:
        smtplib.SMTP(relay.host, relay.port, timeout=20)
    return refused.value.smtp_code, refused.value.smtp_error


def test_connections_at_once_from_one_client(start_relay: Relays, app: Host) -> None:
    relay = start_relay(publish=False, limits={"connections_per_client": 3})
    with connections(relay, 3) as open_ones:
        code, text = refused_connection(relay)
        assert code == 421
        assert "limits.connections_per_client is 3" in str(text)
        assert all(smtp.noop()[0] == 250 for smtp in open_ones)
        assert app.run("python3", "-c", HELLO, relay.address).strip() == b"250"
        open_ones[0].quit()
        deadline = time.monotonic() + 20
        while True:
            try:
                with smtplib.SMTP(relay.host, relay.port, timeout=20) as smtp:
                    assert smtp.noop()[0] == 250
                    break
            except smtplib.SMTPConnectError:
                assert time.monotonic() < deadline
                time.sleep(0.2)


def test_fifty_connections_at_once_unless_told_otherwise(start_relay: Relays) -> None:
    relay = start_relay(publish=False)
    with connections(relay, 50):
        assert refused_connection(relay)[0] == 421
    relay = start_relay(publish=False, limits={"connections_per_client": None})
    with connections(relay, 60) as open_ones:
        assert open_ones[-1].noop()[0] == 250


def test_new_connections_in_a_minute_from_one_client(start_relay: Relays, app: Host) -> None:
    relay = start_relay(publish=False, limits={"connections_per_minute": 3})
    for _ in range(3):
        with connections(relay, 1) as (smtp,):
            assert smtp.noop()[0] == 250
    code, text = refused_connection(relay)
    assert code == 421
    assert "limits.connections_per_minute is 3" in str(text)
    assert app.run("python3", "-c", HELLO, relay.address).strip() == b"250"


def test_messages_in_a_minute_from_one_client_over_all_its_connections(start_relay: Relays, app: Host) -> None:
    relay = start_relay(publish=False, limits={"messages_per_minute": 4})
    with connections(relay, 2) as (one, two):
        for smtp in (one, one, two):
            smtp.send_message(letter())
        one.ehlo()
        assert one.mail("")[0] == 250  # the null sender counts, too
        one.rset()
        for smtp in (one, two):
            with pytest.raises(smtplib.SMTPSenderRefused) as refused:
                smtp.send_message(letter())
            assert refused.value.smtp_code == 451
            assert b"limits.messages_per_minute is 4" in refused.value.smtp_error
    with connections(relay, 1) as (again,):
        again.ehlo()
        assert again.mail("app@sender.example")[0] == 451
    assert app.run("python3", "-c", HELLO, relay.address).strip() == b"250"


def test_where_messages_cannot_be_counted_none_is_taken(start_relay: Relays) -> None:
    relay = start_relay(publish=False, limits={"messages_per_minute": 1000})
    relay.shell("rm /run/postroad/rates")
    with connections(relay, 1) as (smtp,):
        smtp.ehlo()
        code, text = smtp.mail("app@sender.example")
        assert code == 451
        assert b"limits.messages_per_minute" in text


def test_refused_recipients_of_one_message(start_relay: Relays) -> None:
    relay = start_relay(publish=False, limits={"bad_recipients": 3}, recipients={"allow": ["rcpt.example"]})
    with connections(relay, 1) as (smtp,):
        smtp.ehlo()
        for _ in range(2):  # counted for each message
            smtp.mail("app@sender.example")
            codes = [smtp.rcpt(f"u{number}@other.example")[0] for number in range(2)]
            assert [*codes, smtp.rcpt("user@rcpt.example")[0]] == [550, 550, 250]
            smtp.rset()
        smtp.mail("app@sender.example")
        assert [smtp.rcpt(f"u{number}@other.example")[0] for number in range(3)] == [550] * 3
        code, text = smtp.rcpt("user@rcpt.example")
        assert code == 421
        assert b"limits.bad_recipients is 3" in text
        assert smtp.rcpt("user@rcpt.example")[0] == 421
        with pytest.raises((smtplib.SMTPServerDisconnected, ConnectionError)):
            smtp.noop()
    with connections(relay, 1) as (smtp,):
        assert smtp.noop()[0] == 250
