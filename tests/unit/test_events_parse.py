"""The parser's memory and its judgement; what lines look like is in test_events_recorded.py and test_events_lines.py."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postroad.events import model, redirections
from postroad.events.ledger import REMEMBERED, SETTLE, WAITING
from postroad.events.model import Event
from postroad.events.parse import Parser
from postroad.events.pieces import UNFINISHED
from postroad.events.syslog import LogLine
from tests.logs.writers import log, log_delivery

ID = "6AO58bxT005525"
CHILD = "6AO58bxT005599"
FROM = "from=<app@x>, size=82, class=0, nrcpts=2, msgid=<m@x>, proto=ESMTP, daemon=smtp, relay=[192.0.2.1]"
ABORTED = "from=<app@x>, size=0, class=0, nrcpts=1, proto=ESMTP, daemon=smtp, relay=[192.0.2.1]"
MILTER = "Milter accept: message"
REFUSED = "to=<a@y>, delay=00:00:00, pri=30082, stat=Please try again later"
CUT = "the connection to mx.y ended before its answer to the message"


def line(text: str, time: float = 0, *, pid: int = 1, level: int = 6, program: str = "sendmail") -> LogLine:
    return LogLine(time, 2, level, program, pid, text)


def to(recipients: str, status: str, more: str = "") -> str:
    return f"to={recipients}, delay=00:00:01, xdelay=00:00:01, mailer=esmtp, pri=30082, relay=mx.y. [192.0.2.9]{more}, stat={status}"


def feed(parser: Parser, *texts: str, queue_id: str = ID, time: float = 0) -> list[Event]:
    return [event for text in texts for event in parser.feed(line(f"{queue_id}: {text}", time))]


def kinds(events: Sequence[Event]) -> list[str]:
    return [event.kind for event in events]


# --- acceptance ---


def test_with_a_milter_a_message_is_accepted_a_moment_after_its_verdict() -> None:
    parser = Parser()
    assert feed(parser, FROM, time=10) == []
    assert parser.deadline is None
    assert parser.expire(1000) == []
    assert feed(parser, MILTER, time=100) == []
    assert parser.deadline == 100 + SETTLE
    assert parser.expire(100 + SETTLE / 2) == []
    (event,) = parser.expire(100 + SETTLE)
    assert event == model.Accepted(
        time=100,
        program="sendmail",
        pid=1,
        queue_id=ID,
        message_id="<m@x>",
        sender="app@x",
        client_address="192.0.2.1",
        protocol="ESMTP",
        listener="smtp",
        size=82,
        recipients=2,
    )
    assert parser.deadline is None
    assert parser.flush() == []


def test_the_next_line_of_anything_settles_what_is_due() -> None:
    parser = Parser()
    feed(parser, FROM, MILTER, time=10)
    assert kinds(parser.feed(line("x", 11))) == ["accepted", "raw"]


def test_messages_settle_in_order() -> None:
    parser = Parser()
    feed(parser, FROM, MILTER, time=10, queue_id=CHILD)
    feed(parser, FROM, MILTER, time=10.1)
    assert parser.deadline == 10 + SETTLE
    assert [event.to_dict()["queue_id"] for event in parser.expire(10 + SETTLE)] == [CHILD]
    assert [event.to_dict()["queue_id"] for event in parser.expire(11)] == [ID]


def test_a_clock_that_is_set_back_holds_nothing_up() -> None:
    parser = Parser()
    feed(parser, FROM, MILTER, time=100_000)
    assert kinds(parser.expire(10)) == ["accepted"]


@pytest.mark.parametrize(
    ("status", "kind"), [("Sent (ok)", "delivered"), ("Deferred", "deferred"), ("queued", "queued")]
)
def test_a_delivery_proves_acceptance_at_once(status: str, kind: str) -> None:
    parser = Parser()
    assert kinds(feed(parser, FROM, to("<a@y>", status))) == ["accepted", kind]
    assert parser.expire(1000) == []


def test_each_redirected_recipient_is_an_event_with_its_message() -> None:
    parser = Parser()
    feed(parser, FROM)
    pairs = [(f"{number}@{'y' * 200}.example", "qa@x") for number in range(30)]
    written = list(redirections.written(ID, pairs))
    assert len(written) > 1
    assert max(map(len, written)) <= redirections.LONGEST
    events = [event for text in written for event in parser.feed(LogLine(2.0, 2, 6, "signer", 7, text))]
    assert [(each.recipient, each.redirected_to) for each in events if isinstance(each, model.Redirected)] == pairs
    assert events[0].to_dict() == {
        "event": "redirected",
        "time": "1970-01-01T00:00:02.000Z",
        "program": "signer",
        "pid": 7,
        "queue_id": ID,
        "message_id": "<m@x>",
        "sender": "app@x",
        "recipient": pairs[0][0],
        "redirected_to": "qa@x",
    }
    assert list(redirections.written(ID, [])) == []


def test_a_bounce_goes_where_all_mail_goes_and_is_said_to_once() -> None:
    def bounce(redirect_to: str) -> list[str]:
        parser = Parser(redirect_to=redirect_to)
        feed(parser, FROM, MILTER, to("<a@y>", "User unknown"), f"{CHILD}: DSN: User unknown")
        first = feed(parser, to("<app@x>", "Deferred"), queue_id=CHILD)
        assert [event.recipient for event in first if isinstance(event, model.Redirected)] == (
            ["app@x"] if redirect_to else []
        )
        return [event.kind for event in first] + kinds(feed(parser, to("<app@x>", "Sent (ok)"), queue_id=CHILD))

    assert bounce("qa@x") == ["redirected", "deferred", "delivered"]
    assert bounce("") == ["deferred", "delivered"]


@pytest.mark.parametrize("pairs", ["{}}", '{"a@y": 1}', '["a@y"]', "{"])
def test_what_is_no_list_of_redirected_recipients_stays_a_line(pairs: str) -> None:
    assert kinds(Parser().feed(LogLine(2.0, 2, 6, "signer", 7, f"{ID}: redirected {pairs}"))) == ["raw"]


def test_a_refusal_by_the_milter_is_told_with_each_recipient() -> None:
    parser = Parser()
    events = feed(
        parser, FROM, "Milter: data, reject=451 4.3.2 Please try again later", REFUSED, REFUSED.replace("a@y", "b@y")
    )
    assert [(event.recipient, event.dsn, event.sender) for event in events if isinstance(event, model.Rejected)] == [
        ("a@y", "4.3.2", "app@x"),
        ("b@y", "4.3.2", "app@x"),
    ]
    assert parser.expire(1000) + parser.flush() == []


def test_a_refusal_whose_recipients_do_not_follow_is_told_without() -> None:
    parser = Parser()
    assert feed(parser, FROM, "Milter: data, reject=550 5.7.1 no", time=5) == []
    (event,) = parser.expire(5 + SETTLE)
    assert isinstance(event, model.Rejected)
    assert (event.time, event.reply, event.recipient, event.sender) == (5, "550 5.7.1 no", None, "app@x")
    assert parser.flush() == []


def test_a_header_check_refuses_although_the_milter_accepts() -> None:
    parser = Parser()
    rule = "ruleset=CheckFrom, arg1=x, relay=[192.0.2.1], reject=550 5.7.1 From: not allowed"
    events = feed(parser, rule, FROM, MILTER, REFUSED)
    assert kinds(events) == ["rejected"]
    assert parser.expire(1000) + parser.flush() == []


def test_the_first_reason_is_the_one_that_is_told() -> None:
    parser = Parser()
    rule = "ruleset=CheckFrom, arg1=x, relay=[192.0.2.1], reject=550 5.7.1 "
    (event,) = feed(parser, f"{rule}first", f"{rule}second", FROM, REFUSED)
    assert isinstance(event, model.Rejected)
    assert event.reply == "550 5.7.1 first"


def test_what_is_accepted_is_not_refused_any_more() -> None:
    parser = Parser()
    feed(parser, FROM, to("<a@y>", "Sent"), "Milter: data, reject=550 5.7.1 no")
    assert parser.expire(1000) + parser.flush() == []


def test_a_refusal_without_any_reason_is_still_one() -> None:
    parser = Parser()
    (event,) = feed(parser, FROM, MILTER, REFUSED)
    assert isinstance(event, model.Rejected)
    assert (event.recipient, event.reply, event.message_id) == ("a@y", "Please try again later", "<m@x>")
    assert parser.expire(1000) + parser.flush() == []


def test_an_error_while_it_is_accepted_leaves_it_open() -> None:
    parser = Parser()
    error = f"{ID}: SYSERR(smmta): Error writing control file ./qf{ID}: No space left on device"
    feed(parser, FROM, MILTER)
    assert kinds(parser.feed(line(error, level=1))) == ["raw"]
    assert parser.expire(1000) == []
    assert kinds(feed(parser, to("<a@y>", "Sent"))) == ["accepted", "delivered"]  # or so it turned out


def test_an_error_of_the_process_that_delivers_is_no_doubt() -> None:
    parser = Parser()
    feed(parser, FROM, MILTER)
    parser.feed(line(f"{ID}: SYSERR(smmta): y. config error: mail loops back to me (MX problem?)", pid=2, level=2))
    assert kinds(parser.expire(1000)) == ["accepted"]


@pytest.mark.parametrize(
    "aborted", [ABORTED, ABORTED.replace("nrcpts=1", "nrcpts=0"), FROM.replace("nrcpts=2", "nrcpts=0")]
)
def test_a_transaction_that_was_broken_off_is_not_accepted(aborted: str) -> None:
    parser = Parser()
    assert kinds(feed(parser, aborted)) == ["raw"]
    assert parser.expire(1000) + parser.flush() == []


@pytest.mark.parametrize(
    "reason",
    [
        "ruleset=check_mail, arg1=<app@x>, relay=[192.0.2.1], reject=550 5.7.1 no",
        "lost input channel from [192.0.2.1] to smtp after rcpt",
        "timeout waiting for input from [192.0.2.1] during server cmd read",
        "collect: relay=[192.0.2.1], from=<app@x>, info=unexpected close",
    ],
)
def test_nor_told_of_twice(reason: str) -> None:
    parser = Parser()
    assert len(feed(parser, reason, ABORTED)) == 1
    assert parser.flush() == []


def test_a_message_that_was_announced_too_big_is_refused() -> None:
    parser = Parser(message_size=1000)
    text = ABORTED.replace("size=0", "size=1001").replace("nrcpts=1", "nrcpts=0")
    (event,) = feed(parser, text)
    assert isinstance(event, model.Rejected)
    assert (event.dsn, event.size, event.sender, event.client_address) == ("5.2.3", 1001, "app@x", "192.0.2.1")
    assert kinds(feed(Parser(message_size=1001), text)) == ["raw"]
    assert kinds(feed(Parser(), text)) == ["raw"]


# --- memory ---


def test_an_event_carries_the_sender_and_message_id_of_the_acceptance() -> None:
    parser = Parser()
    parser.feed(line(f"{ID}: {FROM}"))
    events = parser.feed(line(f"{ID}: DKIM-Signature field added (s=s1, d=x)", program="signer"))
    events += feed(parser, to("<a@y>", "User unknown"), f"{CHILD}: DSN: User unknown")
    assert kinds(events) == ["signed", "accepted", "bounced", "notified"]
    for event in events:
        assert isinstance(event, model.MessageEvent)
        assert (event.queue_id, event.sender, event.message_id) == (ID, "app@x", "<m@x>")


def test_after_a_restart_nothing_is_known_and_nothing_is_made_up() -> None:
    parser = Parser()
    (event,) = feed(parser, to("<a@y>", "Sent"))
    assert isinstance(event, model.Delivered)
    assert (event.queue_id, event.sender, event.message_id) == (ID, None, None)
    assert parser.flush() == []


def test_a_bounce_has_the_null_sender() -> None:
    parser = Parser()
    feed(parser, FROM, to("<a@y>", "User unknown"), f"{CHILD}: DSN: User unknown")
    (event,) = feed(parser, to("<app@x>", "Sent"), queue_id=CHILD)
    assert isinstance(event, model.Delivered)
    assert event.sender == ""


def test_the_parts_of_a_message_that_was_split_know_where_they_come_from() -> None:
    parser = Parser()
    feed(parser, FROM, MILTER)
    parser.feed(line(f"{ID}: split: maxrcpts=1, rcpts=2, count=1, id={CHILD}", level=5))
    events = feed(parser, to("<b@y>", "Sent"), queue_id=CHILD)
    assert kinds(events) == ["accepted", "delivered"]
    assert [event.to_dict()["queue_id"] for event in events] == [ID, CHILD]
    assert {event.to_dict()["message_id"] for event in events} == {"<m@x>"}


def test_memory_is_bounded_and_nothing_is_lost() -> None:
    parser = Parser()
    events = []
    for number in range(REMEMBERED + 10):
        events += feed(parser, FROM, queue_id=f"6AO58bxT{number:06}")
    assert kinds(events) == ["raw"] * 10  # the milter never said anything about these
    assert [event.to_dict()["queue_id"] for event in events] == [f"6AO58bxT{number:06}" for number in range(10)]
    assert len(parser.flush()) == REMEMBERED


def test_a_message_in_use_is_not_forgotten() -> None:
    parser = Parser()
    feed(parser, FROM, to("<a@y>", "Deferred"))
    for number in range(REMEMBERED + 10):
        feed(parser, "Milter: connect to filters", MILTER, queue_id=f"6AO58bxU{number:06}")
        if number % 5000 == 0:
            feed(parser, to("<a@y>", "Deferred"))
    (event,) = feed(parser, to("<a@y>", "Sent"))
    assert isinstance(event, model.Delivered)
    assert event.sender == "app@x"


# --- expiry ---


def test_expiry_bounces_those_that_wait() -> None:
    parser = Parser()
    feed(parser, FROM, to("<a@y>,<b@y>,<c@y>", "Deferred"), to("<a@y>", "Sent"), to("<c@y>", "User unknown"))
    events = feed(parser, f"{CHILD}: sender notify: Cannot send message for 5 days")
    assert kinds(events) == ["bounced", "notified"]
    bounced = events[0]
    assert isinstance(bounced, model.Bounced)
    assert (bounced.recipient, bounced.dsn, bounced.status) == ("b@y", "4.4.7", "Cannot send message for 5 days")
    again = feed(parser, f"{CHILD}: sender notify: Cannot send message for 5 days")
    assert "recipient" not in again[0].to_dict()


def test_expiry_of_a_message_that_nothing_is_known_of() -> None:
    events = feed(Parser(), f"{CHILD}: return to sender: Cannot send message for 5 days")
    assert kinds(events) == ["bounced", "notified"]
    assert "recipient" not in events[0].to_dict()


def test_a_warning_bounces_nobody() -> None:
    parser = Parser()
    feed(parser, FROM, to("<a@y>", "Deferred"))
    assert kinds(feed(parser, f"{CHILD}: sender notify: Warning: could not send message for past 4 hours")) == [
        "notified"
    ]


def test_those_that_wait_are_bounded() -> None:
    def expired(number: int) -> int:
        text = f"{CHILD}: sender notify: Cannot send message for 5 days"
        return sum("recipient" in event.to_dict() for event in feed(parser, text, queue_id=f"6AO58bxT{number:06}"))

    parser = Parser()
    per_line = 500
    recipients = ",".join(f"<{each}@y>" for each in range(per_line))
    full = WAITING // per_line
    for number in range(full + 1):
        feed(parser, to(recipients, "Deferred"), queue_id=f"6AO58bxT{number:06}")
    assert expired(full) == 0
    assert expired(0) == per_line
    feed(parser, to(recipients, "Deferred"), queue_id=f"6AO58bxT{full:06}")  # there is room again
    assert expired(full) == per_line
    for number in range(REMEMBERED):  # these make it forget all of the above
        feed(parser, to("<a@y>", "Sent"), queue_id=f"6AO58bxU{number:06}")
    for number in range(full):
        feed(parser, to(recipients, "Deferred"), queue_id=f"6AO58bxT{number:06}")
    assert expired(full - 1) == per_line


# --- outcomes ---


CUT = "the connection to mx.y ended before its answer to the message"


@pytest.mark.parametrize(
    ("status", "more", "kind", "reply", "words"),
    [
        ("Sent", "", "delivered", None, None),
        ("Sent (ok (really) queued)", ", dsn=2.0.0", "delivered", "ok (really) queued", None),
        ("Sent (ok, stat=Deferred: 4)", ", dsn=2.0.0", "delivered", "ok, stat=Deferred: 4", None),
        ("queued", "", "queued", None, None),
        ("Deferred", ", dsn=4.4.2", "deferred", None, CUT),
        ("Deferred: Connection refused by mx.y.", ", dsn=4.4.1", "deferred", None, "Connection refused by mx.y."),
        ("Deferred: 450 5.7.1 wait", ", dsn=5.7.1, reply=450 5.7.1 wait", "deferred", "450 5.7.1 wait", None),
        ("Operating system error", ", dsn=4.0.0", "deferred", None, "Operating system error"),
        ("User unknown", ", dsn=5.1.1, reply=550 5.1.1 no", "bounced", "550 5.1.1 no", "User unknown"),
        ("Service unavailable", ", dsn=5.0.0, reply=554 no", "bounced", "554 no", "Service unavailable"),
        ("Deferred", ", dsn=4.4.2, reply=550 5.1.1 of another", "deferred", None, CUT),
        (
            "Host unknown (Name server: y.: host not found)",
            ", dsn=5.1.2",
            "bounced",
            None,
            "Host unknown (Name server: y.: host not found)",
        ),
        ("Sentinel", "", "bounced", None, "Sentinel"),
    ],
)
def test_outcome(status: str, more: str, kind: str, reply: str | None, words: str | None) -> None:
    (event,) = feed(Parser(), to("<a@y>", status, more))
    assert isinstance(event, model.RecipientEvent)
    assert (event.kind, event.reply, event.status) == (kind, reply, words)
    assert (event.relay_host, event.relay_address, event.delay, event.attempt_delay) == ("mx.y", "192.0.2.9", 1, 1)


@pytest.mark.parametrize(
    "text",
    [
        "quarantined",
        "to=<a@y>",
        "to=<a@y>, stat=Sent",
        'to=<"a@y>, delay=00:00:00, mailer=esmtp, pri=1, stat=Sent',
        to("<a@y>", "quarantined"),
        "from=<a@x>",
        "Milter: to=<a@y>, discard",
        "ruleset=check_rcpt, arg1=<a@y>, discard",
        "ruleset=tls_server, arg1=<a@y>, relay=mx.y., reject=403 4.7.0 no",
        "collect: relay=[192.0.2.1], from=<app@x",
        "done; delay=00:00:00, ntries=1",
        "Milter (signer): to error state",
        "<ok,b@y>... Invalid route address",  # no user error at this level
    ],
)
def test_what_is_not_known_passes_as_it_is(text: str) -> None:
    (event,) = feed(Parser(), text)
    assert event == model.Raw(time=0, program="sendmail", pid=1, level="info", queue_id=ID, message=text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("NOQUEUE: stopping daemon, reason=signal", "stopped"),
        ("restarting /usr/sbin/sendmail due to signal", "stopped"),
        ("starting daemon (8.18.1): SMTP+queueing@00:05:00", "started"),
        ("postroad-preload: 3 lines lost", "notice"),
        (f"{ID}: postroad-preload: 3 lines lost", "notice"),
        ("rejecting commands from a.y [192.0.2.1] due to pre-greeting traffic after 0 seconds", "rejected"),
        (f"{ID}: rejecting commands from a.y [192.0.2.1] due to pre-greeting traffic after 0 seconds", "rejected"),
        (
            "NOQUEUE: ruleset=check_relay, arg1=a.y, arg2=192.0.2.1, relay=a.y [192.0.2.1], reject=550 5.7.1 no",
            "rejected",
        ),
        (f"{ID}: Milter: to=<a@y>, reject=550 5.7.1 no", "rejected"),
        (f'{ID}: Milter: from=<"a, reject=2"@y>, reject=550 5.7.1 no', "rejected"),
        (f"{ID}: Milter: initialization failed, rejecting commands", "rejected"),
        (f"{ID}: Milter: initialization failed, closing connection", "rejected"),
        ("something new", "raw"),
        ("", "raw"),
    ],
)
def test_lines_of_the_daemon_and_of_sessions(text: str, expected: str) -> None:
    parser = Parser()
    assert kinds(parser.feed(line(text)) + parser.expire(SETTLE)) == [expected]


def test_a_refused_recipient_is_told_with_the_sender_that_a_later_line_names() -> None:
    refused = "ruleset=check_rcpt, arg1=<a@y>, relay=[192.0.2.1], reject=550 5.1.1 <a@y>... gone"
    here = "<b@x>... no mailboxes here: x only sends"
    parser = Parser()
    assert feed(parser, refused) == []
    assert parser.feed(line(f"{ID}: {here}", level=5)) == []
    first, second = feed(parser, ABORTED.replace("nrcpts=1", "nrcpts=0"))
    assert isinstance(first, model.Rejected)
    assert isinstance(second, model.Rejected)
    assert (first.sender, first.recipient, first.dsn) == ("app@x", "a@y", "5.1.1")
    assert (second.sender, second.recipient, second.dsn) == ("app@x", "b@x", "5.1.1")
    assert second.reply == f"550 5.1.1 {here}"
    # the words are those of the rules, which are no other process's to import
    rules = Path("tests/golden/minimal/expected/sendmail.mc").read_text()
    assert rules.count('$#error $@ 5.1.1 $: "550 no mailboxes here: "') == 2
    assert parser.expire(1000) == []


def test_a_refused_recipient_is_told_a_moment_later_where_no_line_names_the_sender() -> None:
    parser = Parser()
    feed(parser, "ruleset=check_rcpt, arg1=<a@y>, relay=[192.0.2.1], reject=550 5.1.1 <a@y>... gone", time=10)
    assert parser.deadline == 10 + SETTLE
    (event,) = parser.expire(10 + SETTLE)
    assert isinstance(event, model.Rejected)
    assert (event.sender, event.recipient, event.time) == (None, "a@y", 10)


def test_a_bare_line_feed_is_a_refusal() -> None:
    text = (
        "collect: relay=app.x [192.0.2.1], from=<a@x>, info=Bare linefeed (LF) not allowed, where=body, status=tempfail"
    )
    (event,) = feed(Parser(), text)
    assert isinstance(event, model.Rejected)
    assert (event.reply, event.dsn, event.sender) == ("550 5.6.0 Bare linefeed (LF) not allowed", "5.6.0", "a@x")
    assert event.client_address == "192.0.2.1"


def test_a_milter_may_refuse_an_address() -> None:
    parser = Parser()
    assert feed(parser, 'Milter: to=<"a, reject=250 2.0.0 forged"@y>, reject=550 5.7.1 no') == []
    (event,) = parser.expire(SETTLE)
    assert isinstance(event, model.Rejected)
    assert (event.recipient, event.reply, event.dsn) == ('"a, reject=250 2.0.0 forged"@y', "550 5.7.1 no", "5.7.1")


def test_other_programs_pass() -> None:
    assert Parser().feed(line("to=<a@y>", program="cron", level=3)) == [
        model.Raw(time=0, program="cron", pid=1, level="err", message="to=<a@y>")
    ]


# --- lists that sendmail breaks inside of an address ---


def broken(before: str, after: str, *, pid: int = 1) -> list[LogLine]:
    suffix = to("", "Sent").removeprefix("to=")
    return [line(f"{ID}: to={before} [more]{suffix}", pid=pid), line(f"{ID}: to={after}{suffix}", pid=pid)]


def test_an_address_that_was_broken_is_whole_again() -> None:
    parser = Parser()
    events = [event for each in broken('<a@y>,<"b,', 'c"@y>,<d@y>') for event in parser.feed(each)]
    assert [event.to_dict()["recipient"] for event in events] == ["a@y", '"b,c"@y', "d@y"]
    assert parser.flush() == []


def test_a_broken_address_can_not_forge_a_line() -> None:
    forged = "victim@y>, delay=00:00:00, xdelay=00:00:00, mailer=esmtp, pri=1, dsn=5.1.1, stat=User unknown"
    parser = Parser()
    events = [event for each in broken('<a@y>,<"b,', f'{forged}"@y>,<d@y>') for event in parser.feed(each)]
    assert [event.to_dict()["recipient"] for event in events] == ["a@y", f'"b,{forged}"@y', "d@y"]
    assert kinds(events) == ["delivered"] * 3


def test_where_it_broke_may_not_be_told_and_then_nothing_is_believed() -> None:
    parser = Parser()
    forged = "victim@y>, delay=00:00:00, xdelay=00:00:00, mailer=esmtp, pri=1, dsn=5.1.1, stat=User unknown"
    events = [
        event for each in broken('<a@y>,<"b, [more], delay=00:00:00,', f'{forged}"@y>') for event in parser.feed(each)
    ]
    assert kinds(events) == ["raw", "raw"]


def test_a_server_can_not_close_the_quotes_of_a_broken_address() -> None:
    forged = (
        'x"@y>, delay=00:00:00, xdelay=00:00:00, mailer=esmtp, pri=1, relay=x [6.6.6.6], dsn=5.1.1, stat=User unknown'
    )
    suffix = to("", f"Sent ({forged})").removeprefix("to=")
    parser = Parser()
    events = parser.feed(line(f'{ID}: to=<a@y>,<"b, [more]{suffix}')) + parser.feed(
        line(f'{ID}: to=c"@y>,<d@y>{suffix}')
    )
    assert kinds(events) == ["raw", "raw"]


def test_broken_lists_are_bounded_and_not_lost() -> None:
    parser = Parser()
    events = []
    for pid in range(UNFINISHED + 3):
        events += parser.feed(broken('<"b,', "", pid=pid)[0])
    assert kinds(events) == ["raw"] * 3
    assert [event.pid for event in events] == [0, 1, 2]
    assert kinds(parser.flush()) == ["raw"] * UNFINISHED


# --- hostile input ---

FRAGMENTS = st.sampled_from(
    [
        *", <>()\"\\'@[]=:",
        "a",
        "é",
        "\n",
        "\x1b[31m",
        ", stat=Sent",
        ", dsn=5.1.1",
        ", reply=550 5.1.1 no",
        ", relay=[6.6.6.6]",
        ", reject=550 5.7.1 no",
        ", [more], ",
        ", size=1, class=0, nrcpts=9, msgid=<f@f>",
        ">, delay=00:00:00, xdelay=00:00:00, mailer=esmtp, pri=1, relay=x [6.6.6.6], dsn=5.1.1, stat=User unknown",
        f"{ID}: ",
        " ...",
    ]
)
WORDS = st.lists(FRAGMENTS, max_size=6).map("".join)
LOCAL = WORDS.map(lambda words: '"' + words[:80].replace("\\", "\\\\").replace('"', '\\"') + '"')


@settings(deadline=None, max_examples=300)
@given(
    st.lists(LOCAL.map("{}@y".format), min_size=1, max_size=12, unique=True),
    st.sampled_from(["Sent", "Deferred", "User unknown"]),
    WORDS,
)
def test_neither_address_nor_reply_forges_a_delivery(recipients: list[str], outcome: str, words: str) -> None:
    words = words[:190]
    about = {
        "Sent": f", dsn=2.0.0, stat=Sent ({words})",
        "Deferred": f", dsn=4.2.2, reply=452 4.2.2 {words}, stat=Deferred: 452 4.2.2 {words}",
        "User unknown": f", dsn=5.1.1, reply=550 5.1.1 {words}, stat=User unknown",
    }[outcome]
    rest = f", delay=00:00:00, xdelay=00:00:00, mailer=esmtp, pri=1, relay=mx.y. [192.0.2.9]{about}"
    kind = {"Sent": "delivered", "Deferred": "deferred", "User unknown": "bounced"}[outcome]
    parser = Parser()
    texts = log_delivery(ID, recipients, rest)
    events = [event for text in texts for event in parser.feed(line(text))] + parser.flush()
    believed = [event for event in events if not isinstance(event, model.Raw)]
    for event in believed:
        assert isinstance(event, model.RecipientEvent)
        assert (event.kind, event.relay_address, event.queue_id) == (kind, "192.0.2.9", ID)
        assert event.recipient in recipients
        if event.kind != "delivered":
            assert event.reply == f"{'452 4.2.2' if kind == 'deferred' else '550 5.1.1'} {words}"
    # a list that was broken inside of quotes, and words that may close them: then nothing is believed
    if not any("[more]" in text for text in [*recipients, words]) and ('"' not in words or len(texts) == 1):
        assert [event.recipient for event in believed if isinstance(event, model.RecipientEvent)] == recipients


@settings(deadline=None, max_examples=300)
@given(LOCAL.map("{}@x".format), WORDS)
def test_neither_address_nor_message_id_forges_an_acceptance(sender: str, words: str) -> None:
    message_id = words[:100]
    cut = f"<{sender}>".encode()[:200].decode(errors="ignore")
    text = (
        f"from={cut}, size=7, class=0, nrcpts=3, msgid={message_id}, proto=ESMTP, daemon=smtp, relay=app.x [192.0.2.1]"
    )
    parser = Parser()
    events = [event for each in log(ID, text) for event in parser.feed(line(each))]
    events += feed(parser, MILTER) + parser.expire(100)
    (event,) = events
    assert isinstance(event, model.Accepted)
    assert (event.size, event.recipients, event.client_address, event.client_name) == (7, 3, "192.0.2.1", "app.x")
    assert event.sender in {sender, cut}
    assert event.message_id == message_id


@settings(deadline=None)
@given(st.sampled_from(["check_rcpt", "check_mail"]), LOCAL.map("<{}@y>".format))
def test_no_address_forges_a_refusal(ruleset: str, address: str) -> None:
    text = f"ruleset={ruleset}, arg1={address}, relay=[192.0.2.1], reject=550 5.7.1 {address}... no"
    parser = Parser()
    (event,) = [event for each in log(ID, text) for event in parser.feed(line(each))] + parser.expire(SETTLE)
    assert isinstance(event, model.Rejected)
    assert (event.recipient or event.sender) == address[1:-1]
    assert (event.client_address, event.reply, event.dsn) == ("192.0.2.1", f"550 5.7.1 {address}... no", "5.7.1")


BEGINNINGS = st.sampled_from(
    [
        "",
        f"{ID}: ",
        f"{ID}[1]: ",
        f"{ID}[2]: ",
        "NOQUEUE: ",
        *(
            f"{ID}: {word}"
            for word in ("to=", "from=", "ruleset=check_rcpt, arg1=", "ruleset=x, arg1=", "Milter: to=", "Milter")
        ),
        *(f"{ID}: {text}" for text in (FROM, ABORTED, MILTER, REFUSED, to("<a@y>", ""), f"{CHILD}: DSN: ", "SYSERR(")),
        *(f"{ID}: {text}" for text in ("collect: relay=[192.0.2.1], from=", "split: count=1, id=", "AUTH failure (")),
        "STARTTLS=server, relay=",
    ]
)


@settings(deadline=None, max_examples=400)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["sendmail", "signer", "x"]),
            st.integers(1, 2),
            st.integers(0, 7),
            BEGINNINGS,
            st.one_of(WORDS, st.text()),
        ),
        max_size=8,
    ),
)
def test_never_raises(lines: list[tuple[str, int, int, str, str]]) -> None:
    parser = Parser(message_size=1)
    for number, (program, pid, level, beginning, end) in enumerate(lines):
        for event in parser.feed(line(beginning + end, number / 10, pid=pid, level=level, program=program)):
            event.to_dict()
    for event in parser.flush():
        event.to_dict()
    assert parser.flush() == []


@settings(deadline=None)
@given(st.text())
def test_a_line_of_no_known_shape_is_passed_on_as_it_is(text: str) -> None:
    text = f"news: {text}"
    (event,) = Parser().feed(line(text))
    assert event == model.Raw(time=0, program="sendmail", pid=1, level="info", message=text)


@pytest.mark.parametrize(("level", "name"), [(3, "error"), (4, "warning"), (6, "info")])
def test_what_postroad_itself_logs_is_a_notice(level: int, name: str) -> None:
    (event,) = Parser().feed(
        line("doctor: spf: a.example has no SPF record", 5, level=level, pid=9, program="postroad")
    )
    text = "doctor: spf: a.example has no SPF record"
    assert event == model.Notice(time=5, program="postroad", pid=9, level=name, message=text)


def test_an_objection_to_the_server_s_tls_is_the_reason_of_the_delay_that_follows() -> None:
    parser = Parser()
    reason = "403 4.7.0 y needs TLS (require): mx.y does not offer STARTTLS"
    feed(parser, FROM, MILTER)
    waits, *others = [
        event
        for event in feed(
            parser,
            f"ruleset=tls_rcpt, arg1=a@y, relay=mx.y., reject={reason}",
            to("<a@y>", "Deferred: 454 4.7.0 not now", ", dsn=4.0.0"),
            to("<b@z>", "Deferred", ", dsn=4.0.0"),
        )
        if isinstance(event, model.Deferred)
    ]
    assert (waits.recipient, waits.status, waits.dsn) == ("a@y", reason, "4.7.0")
    assert [(other.recipient, other.status, other.dsn) for other in others] == [("b@z", None, "4.0.0")]


@pytest.mark.parametrize(
    ("logged", "told"),
    [
        (
            "SYSERR(smmta): MX list for y.example. points back to mail.sender.example",
            "MX list for y.example points back to this server: its DNS is wrong",
        ),
        (
            "SYSERR(smmta): me.y.example. config error: mail loops back to me (MX problem?)",
            "mail loops back: me.y.example is this server's own address, or 127.0.0.1: its DNS is wrong",
        ),
    ],
)
def test_an_mx_that_is_this_server_is_told_as_the_dns_s_fault(logged: str, told: str) -> None:
    parser = Parser()
    feed(parser, FROM, MILTER)
    bounced = feed(
        parser, logged, to("<a@y.example>", "Local configuration error").replace("stat=", "dsn=5.3.5, stat=")
    )[-1]
    assert isinstance(bounced, model.Bounced)
    assert (bounced.status, bounced.dsn) == (told, "5.3.5")
    # and of that attempt alone
    after = feed(parser, to("<b@y.example>", "Local configuration error").replace("stat=", "dsn=5.3.5, stat="))[-1]
    assert isinstance(after, model.Bounced)
    assert after.status == "Local configuration error"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (
            "mx.y.example.",
            "mx.y.example, an MX host of y.example, has no address in the DNS: its DNS is wrong",
        ),
        ("y.example.", "Host unknown (Name server: y.example.: no data known)"),
    ],
)
def test_an_mx_host_without_an_address_is_no_unknown_domain(name: str, told: str) -> None:
    parser = Parser()
    feed(parser, FROM, MILTER)
    status = f"Host unknown (Name server: {name}: no data known)"
    bounced = feed(parser, to("<a@y.example>", status).replace("stat=", "dsn=5.1.2, stat="))[-1]
    assert isinstance(bounced, model.Bounced)
    assert bounced.status == told
