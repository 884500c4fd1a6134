"""Why a delivery failed: a reason, by the rules in ``bounce-rules.toml``. Pure; the file is read once, at import.

What the receiving server said comes first, then sendmail's own words, then the enhanced status code (RFC 3463). A code
and a phrase that sendmail made up for a reply without a code prove nothing: any 550 to RCPT is "User unknown" and 5.1.1
to it (sendmail's deliver.c and usersmtp.c), that of a blocklist, too.
"""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from re import Pattern
from typing import Any

from postroad import domains

UNDEFINED = "undefined"
AFTER_RCPT = "filtered"
"""What "no such user" means where it answers DATA, or the end of the message."""

# a pattern may look at this many characters; replies have at most 512 (RFC 5321, 4.5.3.1.5)
_LONGEST = 1000

_CODE = re.compile(r"\A[245][0-9]{2}[ -](?:#|\()?([245]\.[0-9]{1,3}\.[0-9]{1,3})(?![0-9.])")
_CODE_WITHIN = re.compile(r"\(?#([45]\.[0-9]{1,3}\.[0-9]{1,3})\)?")  # qmail's and its kin: at the end
_ADDRESS = re.compile(r"<[^<>]{0,320}>|[^\s@<>\"'(]{1,64}@[^\s@<>\"')(:;,]{1,255}")


@dataclass(frozen=True, slots=True)
class Classification:
    """What an attempt's failure means.

    Attributes:
        reason: one of Sisimai's names; ``undefined`` where no rule knows.
        hard: to try again, with this message or another, never helps. False as long as sendmail tries.
        rule: the id of the rule that decided; empty if none did.
        mailbox: the receiving server said that this mailbox does not exist, and nothing in its words speaks of a block,
            a policy, a reputation, a rate or a check of the sender.
    """

    reason: str
    hard: bool
    rule: str
    mailbox: bool = False


@dataclass(frozen=True, slots=True)
class Reason:
    """What a reason means, whatever rule finds it: is it for good, and can it speak of the mailbox's existence?"""

    hard: bool
    mailbox: bool
    says: str


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. All of what it has must match: ``hosts`` the relay, ``dsn`` the code, ``text`` the words."""

    id: str
    reason: str
    source: str
    hosts: tuple[str, ...] = ()
    dsn: Pattern[str] | None = None
    text: Pattern[str] | None = None
    proof: bool = True  # False: it does not prove that the mailbox is gone, though its reason could
    weak: bool = False  # True: words that stand beside any reason, so nothing is final by them

    def matches(self, text: str, code: str, host: str) -> bool:
        """Whether it applies to ``text`` (normal form), ``code`` (empty: none that counts) and ``host``."""
        if self.hosts and not any(domains.is_within(host, name) for name in self.hosts):
            return False
        if self.dsn is not None and self.dsn.fullmatch(code) is None:
            return False
        return self.text is None or self.text.search(text) is not None


@dataclass(frozen=True, slots=True)
class Rules:
    """The data file: the reasons by name, the rules in order, and what no proof of a missing mailbox may have."""

    reasons: dict[str, Reason]
    rules: tuple[Rule, ...]
    never_mailbox: Pattern[str]

    @classmethod
    def read(cls, data: dict[str, Any]) -> "Rules":
        """The file's contents as rules. KeyError, TypeError or re.error if it is not well-formed."""
        rules = []
        for raw in data["rule"]:
            entry = dict(raw)
            dsn, text = entry.pop("dsn", None), entry.pop("text", None)
            entry["hosts"] = tuple(entry.get("hosts", ()))
            rules.append(Rule(**entry, dsn=_codes(dsn) if dsn else None, text=_any(text) if text else None))
        reasons = {name: Reason(**reason) for name, reason in data["reasons"].items()}
        return cls(reasons, tuple(rules), _any(data["never_mailbox"]))


def _any(patterns: list[str]) -> Pattern[str]:
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns))


def _codes(patterns: list[str]) -> Pattern[str]:
    """``5.1.1`` itself; in ``x.7.x``, any number for each x."""
    return _any([pattern.replace(".", r"\.").replace("x", "[0-9]{1,3}") for pattern in patterns])


RULES = Rules.read(tomllib.loads(Path(__file__).with_name("bounce-rules.toml").read_text("utf-8")))


def normal(text: str | None) -> str:
    """Text as the patterns see it: lower case, single spaces, no addresses, straight quotes, 1,000 characters."""
    if not text:
        return ""
    text = _ADDRESS.sub(" ", text[:_LONGEST]).lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    return " ".join(text.split())


def classify(
    event_kind: str, dsn: str | None, reply: str | None, status: str | None, relay_host: str | None = None
) -> Classification:
    """Say why an attempt failed. Never raises.

    Args:
        event_kind: the event's; only of a ``bounced`` one anything is final.
        dsn: the event's enhanced status code.
        reply: what the receiving server said, with its codes.
        status: sendmail's own words.
        relay_host: the server that was tried.
    """
    said, own = normal(reply), normal(status)
    code = _code(dsn, reply)
    host = (relay_host or "").lower().rstrip(".")
    rule = None
    for text in (said, "" if own in _GUESSES else own):
        if text and rule is None:
            rule = _first(text, code, host, with_text=True)
    if rule is None:
        rule = _first(said, code, host, with_text=False)
    if rule is None:
        return Classification(UNDEFINED, hard=False, rule="")
    reason = RULES.reasons[rule.reason]
    final = event_kind == "bounced" and not _temporary(dsn, reply, code)
    if reason.mailbox and said[:3] in _OF_RCPT and own in _GUESSES - {_AT_RCPT}:
        # to RCPT sendmail would have called it "User unknown": the mailbox was there until the message was seen
        return Classification(AFTER_RCPT, final and RULES.reasons[AFTER_RCPT].hard, rule.id)
    doubtful = RULES.never_mailbox.search(said) is not None
    mailbox = (
        final
        and reason.mailbox
        and rule.proof
        and not rule.weak
        and said[:1] == "5"
        and own not in _GUESSES - {_AT_RCPT}
        and _OF_OTHERS.fullmatch(code) is None
        and rule.text is not None
        and rule.text.search(said) is not None
        and not doubtful
    )
    hard = final and reason.hard and not rule.weak and not (doubtful and reason.mailbox and rule.proof)
    return Classification(rule.reason, hard, rule.id, mailbox)


# sendmail's phrases for its exit codes: a guess from the reply's first three digits (sysexits.c, usersmtp.c)
_AT_RCPT = "user unknown"  # said of 550, 551 and 553, and only where they answer RCPT (smtprcptstat() in usersmtp.c)
_OF_RCPT = frozenset({"550", "551", "553"})
_GUESSES = frozenset({_AT_RCPT, "service unavailable", "data format error", "remote protocol error"})
# enhanced codes that speak of no mailbox: 5.1.7 and 5.1.8 are the sender's, 5.4 and 5.6 of the way and the message
_OF_OTHERS = re.compile(r"[245]\.(?:1\.[2789]|3\.[1-9]|4\.[0-9]{1,3}|6\.[0-9]{1,3}|7\.2[0-9])")


def _code(dsn: str | None, reply: str | None) -> str:
    """The enhanced status code, if it is anybody's word: the one in the reply, or sendmail's if there was no reply."""
    if reply:
        found = _CODE.match(reply) or _CODE_WITHIN.search(reply[:_LONGEST])
        return found[1] if found else ""
    return dsn or ""


def _temporary(*codes: str | None) -> bool:
    """Whether a code, or a text that begins with one, says anything else than a failure for good, or there is none."""
    given = [code for code in codes if code]
    return not given or any(not code.startswith("5") for code in given)


def _first(text: str, code: str, host: str, *, with_text: bool) -> Rule | None:
    vetoed = RULES.never_mailbox.search(text) is not None
    doubtful = None
    for rule in RULES.rules:
        if (rule.text is not None) is not with_text or not rule.matches(text, code, host):
            continue
        # "user unknown" in a text that speaks of a block, too: only where no rule knows better
        if vetoed and RULES.reasons[rule.reason].mailbox and (rule.proof or not with_text):
            doubtful = doubtful or rule
        elif doubtful is not None and rule.weak:
            break
        else:
            return rule
    return doubtful if with_text else None
