"""Messages handed to a listener: over TLS with the certificate that is known, each recipient with its answer."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from postroad import system
from postroad.web import submission
from postroad.web.submission import LOST, Outcome, Submission, UnavailableError
from tests.unit.api import KEYS
from tests.unit.listener import CLOSE, Listener

SHOP = KEYS[0]
MESSAGE = b"From: a@sender.example\r\nSubject: hi\r\n\r\n.\r\n..x\r\nbye\r\n"
FROM = "a@sender.example"


@pytest.fixture(params=[False, True], ids=["starttls", "implicit"])
def either(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Listener]:
    listener = Listener(tmp_path, implicit=request.param)
    yield listener
    listener.close()


def way(listener: Listener, certificate: bytes | None = None) -> Submission:
    known = listener.certificate if certificate is None else certificate
    return Submission("mail.sender.example", listener.port, lambda: {b"another", known}, implicit=listener.implicit)


def test_a_message_arrives_as_it_is_as_the_key_s_user(either: Listener) -> None:
    ours = way(either)
    found = ours.hand_over(SHOP, FROM, ["x@there.example", "y@there.example"], MESSAGE)
    ours.close()
    assert {each.queue_id for each in found.values()} == {"4AQ00000000001"}
    (taken,) = either.taken
    assert (taken.user, taken.sender, taken.recipients) == (SHOP.login, FROM, ["x@there.example", "y@there.example"])
    assert taken.data == MESSAGE
    assert taken.parameters == f"SIZE={len(MESSAGE)}"


def test_a_message_of_8_bits_says_so_and_one_without_a_last_line_end_gets_it(listener: Listener) -> None:
    ours = way(listener)
    ours.hand_over(SHOP, FROM, ["x@there.example"], "Subject: hi\r\n\r\nfür".encode())
    ours.close()
    assert listener.taken[0].parameters == "SIZE=19 BODY=8BITMIME"
    assert listener.taken[0].data.endswith("für\r\n".encode())


def test_a_session_is_kept_for_the_next_message(listener: Listener) -> None:
    ours = way(listener)
    for _ in range(3):
        ours.hand_over(SHOP, FROM, ["x@there.example"], MESSAGE)
    ours.close()
    assert {each.session for each in listener.taken} == {1}


def test_another_user_has_another_session(listener: Listener) -> None:
    ours = way(listener)
    other = replace(SHOP, name="other", login="other@mail.sender.example")
    for key in (SHOP, other, SHOP):
        ours.hand_over(key, FROM, ["x@there.example"], MESSAGE)
    ours.close()
    assert [each.user.partition("@")[0] for each in listener.taken] == ["app", "other", "app"]
    assert listener.sessions == 2


def test_a_session_that_has_ended_meanwhile_is_no_failure(listener: Listener) -> None:
    ours = way(listener)
    ours.hand_over(SHOP, FROM, ["x@there.example"], MESSAGE)
    listener.end_sessions()
    ours.hand_over(SHOP, FROM, ["x@there.example"], MESSAGE)
    ours.close()
    assert [each.session for each in listener.taken] == [1, 2]


def test_a_session_that_was_idle_for_long_is_not_used(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = way(listener)
    ours.hand_over(SHOP, FROM, ["x@there.example"], MESSAGE)
    monkeypatch.setattr(submission, "IDLE", 0.0)
    ours.hand_over(SHOP, FROM, ["x@there.example"], MESSAGE)
    ours.close()
    assert listener.sessions == 2


def test_a_session_from_before_the_suppression_list_changed_is_not_used(
    listener: Listener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submission, "LIST", tmp_path / "suppressed.db")
    ours = way(listener)
    for text in ("one", "one", "other"):
        if not submission.LIST.exists() or submission.LIST.read_text() != text:
            system.write(submission.LIST, text)
        ours.hand_over(SHOP, FROM, ["x@there.example"], MESSAGE)
    ours.close()
    assert [each.session for each in listener.taken] == [1, 1, 2]


def test_whoever_else_listens_there_is_told_no_password(listener: Listener) -> None:
    ours = way(listener, b"not this one")
    with pytest.raises(UnavailableError, match="its certificate is not the relay's"):
        ours.hand_over(SHOP, FROM, ["x@there.example"], MESSAGE)
    assert not [each for each in listener.commands if each.startswith("AUTH")]


def test_a_wrong_password_is_told_without_the_password(listener: Listener) -> None:
    listener.password = b"another"
    with pytest.raises(UnavailableError, match=r"does not let app@mail\.sender\.example in: 535 5\.7\.0") as caught:
        way(listener).hand_over(SHOP, FROM, ["x@there.example"], MESSAGE)
    assert SHOP.password not in str(caught.value)


def test_nobody_listens(listener: Listener) -> None:
    listener.close()
    with pytest.raises(UnavailableError, match=f"listener at port {listener.port} can't be used"):
        way(listener).hand_over(SHOP, FROM, ["x@there.example"], MESSAGE)


def test_a_listener_that_greets_with_a_refusal(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "mail", lambda _: CLOSE)
    found = way(listener).hand_over(SHOP, FROM, ["x@there.example"], MESSAGE)
    assert found == {"x@there.example": Outcome(421, "4.3.2 closing")}


def test_a_sender_who_is_refused_is_refused_for_every_recipient(listener: Listener) -> None:
    listener.mail = lambda _: "550 5.7.1 not yours"
    ours = way(listener)
    found = ours.hand_over(SHOP, FROM, ["x@there.example", "y@there.example"], MESSAGE)
    assert found == dict.fromkeys(["x@there.example", "y@there.example"], Outcome(550, "5.7.1 not yours"))
    listener.mail = lambda _: "250 ok"
    assert ours.hand_over(SHOP, FROM, ["x@there.example"], MESSAGE)["x@there.example"].accepted
    ours.close()
    assert listener.sessions == 1


def test_each_recipient_has_its_own_answer(listener: Listener) -> None:
    replies = {
        "dead@there.example": "550 5.7.1 this address is suppressed (userunknown)",
        "slow@there.example": "451 4.7.1 later",
    }
    listener.rcpt = lambda address: replies.get(address, "250 ok")
    ours = way(listener)
    found = ours.hand_over(SHOP, FROM, ["dead@there.example", "x@there.example", "slow@there.example"], MESSAGE)
    ours.close()
    assert [(each.code, each.accepted, each.permanent) for each in found.values()] == [
        (550, False, True), (250, True, False), (451, False, False),
    ]  # fmt: skip
    assert listener.taken[0].recipients == ["x@there.example"]


def test_without_any_recipient_there_is_no_message_and_the_session_goes_on(listener: Listener) -> None:
    listener.rcpt = lambda _: "550 5.1.1 no"
    ours = way(listener)
    ours.hand_over(SHOP, FROM, ["x@there.example"], MESSAGE)
    assert "DATA" not in listener.commands
    listener.rcpt = lambda _: "250 ok"
    assert ours.hand_over(SHOP, FROM, ["x@there.example"], MESSAGE)["x@there.example"].accepted
    ours.close()
    assert listener.sessions == 1


def test_recipients_beyond_the_limit_go_with_further_messages(listener: Listener) -> None:
    listener.most = 100
    everybody = [f"u{number}@there.example" for number in range(250)]
    ours = way(listener)
    found = ours.hand_over(SHOP, FROM, everybody, MESSAGE)
    ours.close()
    assert list(found) == everybody
    assert all(each.accepted for each in found.values())
    assert [len(each.recipients) for each in listener.taken] == [100, 100, 50]
    assert len({each.queue_id for each in found.values()}) == 3


def test_a_session_that_ends_for_bad_recipients_leaves_the_others_their_message(listener: Listener) -> None:
    """As sendmail does after limits.bad_recipients: a 421 in place of the answer."""
    bad: list[str] = []

    def answer(address: str) -> str:
        if not address.startswith("bad"):
            return "250 ok"
        bad.append(address)
        return CLOSE if len(bad) % 4 == 0 else "550 5.1.1 no"

    listener.rcpt = answer
    everybody = [f"{'bad' if number % 2 else 'good'}{number}@there.example" for number in range(20)]
    ours = way(listener)
    found = ours.hand_over(SHOP, FROM, everybody, MESSAGE)
    ours.close()
    assert {address for address, each in found.items() if each.accepted} == {
        x for x in everybody if x.startswith("good")
    }
    assert {found[address].code for address in everybody if address.startswith("bad")} == {550}
    got = [recipient for each in listener.taken for recipient in each.recipients]
    assert sorted(got) == sorted(set(got)), "nobody gets it twice"


def test_a_listener_that_always_closes_is_asked_no_more(listener: Listener) -> None:
    listener.rcpt = lambda _: CLOSE
    found = way(listener).hand_over(SHOP, FROM, ["x@there.example", "y@there.example"], MESSAGE)
    assert {each.code for each in found.values()} == {421}
    assert listener.sessions == 1


@pytest.mark.parametrize("reply", ["550 5.7.1 From: is not yours", "451 4.7.1 later", "552 5.3.4 too large"])
def test_a_message_that_is_refused_after_data(listener: Listener, reply: str) -> None:
    listener.end = lambda _: reply
    ours = way(listener)
    found = ours.hand_over(SHOP, FROM, ["x@there.example", "y@there.example"], MESSAGE)
    ours.close()
    assert {f"{each.code} {each.reply}" for each in found.values()} == {reply}


def test_what_nobody_answered_may_have_been_taken(listener: Listener) -> None:
    listener.end = lambda _: None
    found = way(listener).hand_over(SHOP, FROM, ["x@there.example"], MESSAGE)
    assert found == {"x@there.example": LOST}


def test_where_the_connection_breaks_before_the_message_nothing_was_handed_over(listener: Listener) -> None:
    listener.rcpt = lambda _: None
    with pytest.raises(UnavailableError, match="ended the session"):
        way(listener).hand_over(SHOP, FROM, ["x@there.example"], MESSAGE)


def test_what_was_taken_counts_where_the_rest_fails(listener: Listener) -> None:
    listener.most = 1

    def end(_: bytes) -> str:
        listener.close()
        return "250 2.0.0 4AQ00000000001 Message accepted for delivery"

    listener.end = end
    found = way(listener).hand_over(SHOP, FROM, ["x@there.example", "y@there.example"], MESSAGE)
    assert found["x@there.example"].accepted or found["x@there.example"] is LOST
    assert not found["y@there.example"].accepted
    assert not found["y@there.example"].permanent
