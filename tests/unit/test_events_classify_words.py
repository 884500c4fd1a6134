"""Each kind of reply in words of our own, and what the command that was answered says of a mailbox."""

import pytest

from postroad.events.classify import classify

WORDS = {
    "userunknown": [
        "550 5.1.1 nobody of that name: no such mailbox",
        "550 The e-mail address is wrong",
        "554 5.1.1 Invalid final delivery userid here",
        "550 No mailbox by that name is here",
        "550 5.2.0 the mailbox unknown; a header says more",
        "550 5.1.1 That recipient can't be verified",
    ],
    "hostunknown": [
        "550 unroutable address",
        "550 5.1.2 There is no such domain anywhere",
        "550 Host or domain name not found in our lists",
        "550 recipient domain must exist",
        "554 5.4.4 cannot route",
        "550 5.4.310 nothing there",
        "550 that domain may not exist",
    ],
    "notaccept": [
        "556 5.1.10 not here",
        "521 nothing is taken here",
        "550 This host does not accept mail at all",
        "550 The MX record indicated no SMTP service",
    ],
    "mailboxfull": [
        "552 5.2.2 quota violation by the user",
        "452 4.2.2 there is a full mailbox",
        "550 he does not have enough space",
        "550 the user is over the quota",
        "550 too many messages on the server for him",
        "552 la boîte est pleine",
    ],
    "suspend": [
        "550 5.2.1 his mailbox has been suspended",
        "550 the customer chose to suspend the service",
        "451 4.2.1 temporarily inactive",
    ],
    "filtered": [
        "550 your message was turned down by this user",
        "554 5.7.1 the recipient's rules said no",
        "550 only accepting mail from friends",
    ],
    "blocked": [
        "554 this sender address blocked by us",
        "550 203.0.113.5 is on one or more DNSBLs",
        "421 temporarily banned",
        "550 your network not allowed",
    ],
    "rejected": [
        "550 5.1.8 this domain can't send",
        "550 BATV: the tag is wrong",
        "550 empty envelope sender",
        "553 a bogus MAIL FROM",
    ],
    "norelaying": [
        "553 not in the rcpthosts file",
        "550 we are not a gateway",
        "550 this box is not configured to relay mail",
        "550 we don't handle mail for that name",
    ],
    "securityerror": [
        "530 5.7.0 first say who you are",
        "535 wrong",
        "534 something stronger, please",
        "550 an app password required",
        "454 incorrect authentication data",
    ],
    "policyviolation": [
        "550 a members-only list",
        "550 not subscribed to the group",
        "550 5.7.2 list expansion prohibited",
        "550 delivery not authorized for you",
    ],
    "speeding": [
        "450 4.7.1 slow down, please",
        "421 mail flood seen",
        "550 5.2.121 no more today",
        "450 message threshold exceeded",
        "550 traffic not accepted at this hour",
        "421 4.7.28 a burst of mail",
        "550 daily limit for you",
    ],
    "toomanyconn": [
        "421 too many concurrent SMTP sessions of yours",
        "421 trop de connexions",
        "432 4.3.2 thread limit",
    ],
    "contenterror": ["554 improperly-formatted body", "554 a bad header: 7", "554 too much base64 in it"],
    "mesgtoobig": ["552 a line limit was passed", "552 message length is above ours"],
    "systemfull": ["452 mail system full"],
    "systemerror": [
        "451 an interrupted system call",
        "554 the server is misconfigured",
        "550 his name is not unique",
        "451 please try later",
    ],
    "networkerror": [
        "554 caught in a routing loop",
        "450 host not found, try again",
        "450 the other server did not respond",
        "554 could not connect to it",
    ],
    "expired": ["554 in the queue too long", "554 given up after numerous attempts", "554 5.4.7 envelope expired"],
    "syntaxerror": ["503 EHLO first", "502 what", "500 ?", "504 no", "503 pipelining is not allowed"],
    "onhold": ["550 5.0.0 not accepted"],
    "undefined": ["550 brrr", "554 5.5.9 brrr"],
}


@pytest.mark.parametrize(("reason", "reply"), [(reason, each) for reason, all_ in WORDS.items() for each in all_])
def test_words_of_our_own(reason: str, reply: str) -> None:
    assert classify("bounced", None, reply, None).reason == reason


@pytest.mark.parametrize("reply", ["550 unknown user", "551 5.1.1 unknown user", "553 unknown user"])
def test_what_came_after_rcpt_is_no_proof(reply: str) -> None:
    """Of these three codes sendmail says "User unknown" where they answer RCPT, and nowhere else."""
    at_rcpt = classify("bounced", None, reply, "User unknown")
    assert (at_rcpt.reason, at_rcpt.hard, at_rcpt.mailbox) == ("userunknown", True, True)
    later = classify("bounced", None, reply, "Service unavailable")
    assert (later.reason, later.hard, later.mailbox) == ("filtered", False, False)


@pytest.mark.parametrize("status", ["Service unavailable", "Data format error", "Remote protocol error"])
@pytest.mark.parametrize("reply", ["554 unknown user", "552 5.1.1 no such user", "501 5.1.1 no such user"])
def test_where_the_command_can_t_be_told_there_is_no_proof(reply: str, status: str) -> None:
    result = classify("bounced", "5.1.1", reply, status)
    assert (result.reason, result.mailbox) == ("userunknown", False)


@pytest.mark.parametrize("code", ["5.1.2", "5.1.7", "5.1.8", "5.1.9", "5.3.5", "5.4.4", "5.6.0", "5.7.25"])
def test_a_code_that_speaks_of_somebody_else_proves_nothing(code: str) -> None:
    assert not classify("bounced", code, f"550 {code} invalid address: no such user", "User unknown").mailbox
    assert classify("bounced", "5.1.1", "550 5.1.1 invalid address: no such user", "User unknown").mailbox


@pytest.mark.parametrize("reply", ["550 unknown user, welcome elsewhere", "550 5.1.1 no such user; score 9"])
def test_unknown_beside_something_else_is_nothing_final(reply: str) -> None:
    result = classify("bounced", None, reply, "User unknown")
    assert (result.reason, result.hard, result.mailbox) == ("userunknown", False, False)


@pytest.mark.parametrize("reply", ["550 unknown user or blocked", "550 unknown user: an ldap server is down"])
def test_a_rule_that_knows_better_goes_first(reply: str) -> None:
    assert classify("bounced", None, reply, "User unknown").reason in {"blocked", "systemerror"}


@pytest.mark.parametrize("reply", ["550 the mailbox is unavailable", "550 Requested action: mailbox unavailable"])
def test_words_that_stand_for_anything_are_never_final(reply: str) -> None:
    result = classify("bounced", "5.1.1", reply, "User unknown")
    assert (result.reason, result.hard, result.mailbox) == ("userunknown", False, False)


def test_a_weak_rule_goes_behind_a_doubtful_one() -> None:
    assert classify("bounced", None, "550 no such user, try again", "User unknown").reason == "userunknown"
    assert classify("bounced", None, "550 something, try again", "User unknown").reason == "systemerror"
