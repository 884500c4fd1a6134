"""The classification of failures, against what receiving servers really say (tests/bounces/corpus.toml)."""

import json
import re
import time
import tomllib
import warnings
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroad.events import classify as module
from postroad.events.classify import RULES, Classification, classify

TESTS = Path(__file__).parents[1]
LEAST_CLASSIFIED = 0.988  # the rest says nothing that a rule could know
# of these nothing may put an address on a suppression list
OF_THE_SENDER = {
    "authfailure", "badreputation", "blocked", "contenterror", "failedstarttls", "filtered", "norelaying", "notcompliantrfc",
    "policyviolation", "rejected", "requireptr", "securityerror", "smarthost", "spamdetected", "speeding", "suppressed", "toomanyconn",
    "virusdetected",
}  # fmt: skip


@dataclass(frozen=True)
class Sample:
    provider: str
    host: str
    dsn: str
    reply: str | None
    status: str | None
    reason: str
    verdict: str

    def classify(self) -> Classification:
        kind = "deferred" if (self.reply or self.dsn).startswith("4") and self.dsn != "4.4.7" else "bounced"
        return classify(kind, self.dsn, self.reply, self.status, self.host or None)


def corpus() -> list[Sample]:
    found = []
    for provider in tomllib.loads((TESTS / "bounces" / "corpus.toml").read_text())["provider"]:
        assert provider["source"]
        for dsn, reply, reason, verdict in provider.get("replies", ()):
            # what sendmail makes of any 550 and of the rest
            status = "User unknown" if reply[:3] in {"550", "551", "553"} else "Service unavailable"
            status_or_none = None if reply.startswith("4") else status
            found.append(Sample(provider["name"], provider["host"], dsn, reply, status_or_none, reason, verdict))
        for dsn, status, reason, verdict in provider.get("statuses", ()):
            found.append(Sample(provider["name"], provider["host"], dsn, None, status, reason, verdict))
    return found


CORPUS = corpus()
REPLIES = [sample for sample in CORPUS if sample.reply]


@pytest.mark.parametrize(
    "sample", CORPUS, ids=lambda sample: f"{sample.provider}: {sample.reply or sample.status}"[:90]
)
def test_the_corpus(sample: Sample) -> None:
    result = sample.classify()
    verdict = "mailbox" if result.mailbox else "hard" if result.hard else "soft"
    assert (result.reason, verdict) == (sample.reason, sample.verdict), result.rule


@pytest.mark.filterwarnings("default")
def test_the_share_that_is_classified() -> None:
    known = sum(sample.classify().reason != "undefined" for sample in CORPUS)
    warnings.warn(f"bounce classification: {known} of {len(CORPUS)} replies classified", stacklevel=1)
    assert len(CORPUS) >= 150
    assert known / len(CORPUS) >= LEAST_CLASSIFIED


def test_every_reply_of_a_big_provider_is_recognised_by_its_words_too() -> None:
    """Without any code, through a smarthost: what is a mailbox then was one before."""
    for sample in REPLIES:
        assert sample.reply is not None
        bare = classify("bounced", None, re.sub(r"(?<=^\d{3}[ -])\d\.\d+\.\d+ ", "", sample.reply), sample.status)
        assert not bare.mailbox or sample.verdict == "mailbox", sample


@pytest.mark.parametrize("sample", [s for s in REPLIES if s.reason in OF_THE_SENDER], ids=lambda s: str(s.reply)[:90])
def test_no_block_is_a_missing_mailbox(sample: Sample) -> None:
    """Whatever the code, whoever says it, and with the classic words in front or behind."""
    assert sample.reply is not None
    text = sample.reply[4:].lstrip("0123456789. ")
    for code in ("5.1.1", "5.1.6", "5.1.10", "5.7.1", "5.0.0"):
        for reply in (f"550 {code} {text}", f"550-{code} {text}", f"550 {text} (#{code})"):
            assert not classify("bounced", code, reply, "User unknown", sample.host).mailbox, reply
    for words in ("User unknown", "No such user here", "The email account that you tried to reach does not exist"):
        for reply in (f"550 5.1.1 {words}: {text}", f"550 5.1.1 {text}; {words}"):
            assert not classify("bounced", "5.1.1", reply, "User unknown", sample.host).mailbox, reply


@pytest.mark.parametrize("sample", [s for s in REPLIES if s.verdict == "mailbox"], ids=lambda s: str(s.reply)[:90])
def test_a_missing_mailbox_is_one_only_for_good_and_only_in_the_servers_words(sample: Sample) -> None:
    assert sample.reply is not None
    for kind in ("deferred", "rejected", "queued", "notified", ""):
        result = classify(kind, sample.dsn, sample.reply, sample.status, sample.host)
        assert (result.hard, result.mailbox) == (False, False)
    assert not classify("bounced", "4.1.1", sample.reply, sample.status, sample.host).mailbox
    assert not classify("bounced", sample.dsn, "4" + sample.reply[1:], sample.status, sample.host).mailbox
    assert not classify("bounced", sample.dsn, None, sample.reply, sample.host).mailbox
    assert not classify("bounced", sample.dsn, None, sample.status, sample.host).mailbox


@pytest.mark.parametrize("reply", ["550 Go away", "550 no", "553 -", "551 ?", "550", "550 x"])
def test_what_sendmail_makes_up_for_a_reply_without_a_code_proves_nothing(reply: str) -> None:
    for dsn in ("5.1.1", "5.1.3", "5.1.6"):
        assert classify("bounced", dsn, reply, "User unknown") == Classification("undefined", hard=False, rule="")


@pytest.mark.parametrize(("reply", "status"), [
    ("550 5.1.1 Go away", "No such user here"),  # words, but not the server's
    ("550 5.1.6 Go away", "User unknown"),
    ("550 5.1.1 Go away", "User unknown"),
])  # fmt: skip
def test_the_code_alone_proves_nothing(reply: str, status: str) -> None:
    result = classify("bounced", reply[4:9], reply, status)
    assert result.hard
    assert not result.mailbox


def test_the_recorded_events() -> None:
    """What a real sendmail logged: deferred is soft, and each mailbox is one of the user that does not exist."""
    seen = 0
    for path in sorted((TESTS / "logs").glob("*.json")):
        for event in json.loads(path.read_text()):
            if event["event"] not in {"deferred", "bounced"}:
                continue
            result = classify(
                event["event"], event.get("dsn"), event.get("reply"), event.get("status"), event.get("relay_host")
            )
            seen += 1
            assert event["event"] == "bounced" or not result.hard
            if "nouser" in event.get("recipient", ""):
                assert result.mailbox, event
            elif result.mailbox:
                assert event["recipient"].startswith(("utf", "long")), event
    assert seen > 20


TEXTS = st.one_of(
    st.none(),
    st.text(max_size=1500),
    st.tuples(
        st.sampled_from(["550 ", "550-", "451 ", "5", "", "250 "]),
        st.sampled_from(["5.1.1 ", "4.1.1 ", "5.7.1 ", "2.0.0 ", "5.1.6 ", ""]),
        st.lists(st.sampled_from(["user unknown", "<a@b.example>", "blocked", "no such user", "mailbox", "not", "\u00e9\x00"])).map(" ".join),
    ).map("".join),
)  # fmt: skip
KINDS = st.one_of(st.sampled_from(["bounced", "deferred", "rejected"]), st.text(max_size=9))
CODES = st.one_of(st.none(), st.sampled_from(["5.1.1", "4.1.1", "5.1.10", "2.0.0", "5.7.1"]), st.text(max_size=12))


@given(KINDS, CODES, TEXTS, TEXTS, st.one_of(st.none(), st.text(max_size=40), st.just("mx.google.com.")))
def test_any_text(kind: str, dsn: str | None, reply: str | None, status: str | None, host: str | None) -> None:
    result = classify(kind, dsn, reply, status, host)
    assert result.reason == "undefined" or result.reason in RULES.reasons
    assert not result.mailbox or result.hard
    assert not result.hard or kind == "bounced"
    if not (reply or "").startswith("5") or (dsn and not dsn.startswith("5.")):
        assert not result.mailbox


WORDS = sorted({word for rule in RULES.rules if rule.text for word in re.findall(r"[a-z]{3,}", rule.text.pattern)})


@pytest.mark.parametrize(
    "text",
    [
        "a" * 200_000, " " * 200_000, "<" * 200_000, "a@" * 100_000, "@a" * 100_000, "<a" * 100_000, "(" * 200_000,
        "user " * 50_000, "mailbox has been " * 20_000, "ip " * 80_000, "sender address " * 20_000, "message size " * 20_000,
        "account is was has been not " * 9_000, "5.1.1" * 50_000, "(#5.1." * 40_000, "\u0130" * 200_000, " ".join(WORDS * 40),
    ],
    ids=lambda text: ascii(text[:12]).replace("\\", ""),
)  # fmt: skip
def test_hostile_text_takes_no_time(text: str) -> None:
    start = time.process_time()
    for reply in (text, f"550 {text}", f"550 5.1.1 {text}"):
        classify("bounced", "5.1.1", reply, text, "mx.example." * 1000)
    assert time.process_time() - start < 2


def test_patterns_take_bounded_steps() -> None:
    for pattern in [rule.text.pattern for rule in RULES.rules if rule.text] + [RULES.never_mailbox.pattern]:
        assert not re.search(r"(?<!\\)[*+]|\{\d*,\}", pattern), pattern
        assert max(map(int, re.findall(r",(\d+)\}", pattern)), default=0) <= 64
        assert pattern == pattern.lower().replace("\\s", "\\S"), "what is matched is in lower case"


def test_the_rules_are_sound() -> None:
    ids = [rule.id for rule in RULES.rules]
    assert len(ids) == len(set(ids))
    reasons = {rule.reason for rule in RULES.rules}
    assert reasons == set(RULES.reasons)  # every rule's reason exists, and every reason has a rule
    assert all(rule.source for rule in RULES.rules)
    assert all(rule.text or rule.dsn for rule in RULES.rules)
    assert {name for name, reason in RULES.reasons.items() if reason.mailbox} == {"userunknown", "hasmoved"}
    assert all(reason.hard for reason in RULES.reasons.values() if reason.mailbox)
    # no text that a rule calls a block may pass as proof
    assert not OF_THE_SENDER & {name for name, reason in RULES.reasons.items() if reason.hard}


def test_every_rule_with_words_has_a_sample_of_the_corpus() -> None:
    used = {sample.classify().rule for sample in CORPUS}
    assert {rule.id for rule in RULES.rules if rule.text} <= used


def test_normal_form() -> None:
    assert (
        module.normal("550 5.1.1 <A@B.example>:\tUser\r\n UNKNOWN doesn\u2019t x@y.example")
        == "550 5.1.1 : user unknown doesn't"
    )


def test_the_docs_have_the_reasons() -> None:
    docs = (TESTS.parent / "docs" / "bounces.md").read_text()
    table = {
        name: (verdict, says)
        for name, verdict, says in re.findall(r"^\| `(\w+)` \| ([a-z, ]+) \| (.*) \|$", docs, re.MULTILINE)
    }
    assert table.pop("undefined") == ("soft", "no rule knows")
    verdicts = {(False, False): "soft", (True, False): "hard", (True, True): "hard, mailbox"}
    assert table == {
        name: (verdicts[reason.hard, reason.mailbox], reason.says) for name, reason in RULES.reasons.items()
    }
