r"""The shapes of the log lines of sendmail 8.18.1, and those of the signer: patterns and functions without memory.

Much in a line is written by strangers: a client chooses the addresses and the Message-ID, a receiving server its
reply, whoever owns an address its reverse name. So a field is never searched for by its name alone. Addresses are read
the way sendmail reads them (quotes, comments, angle brackets), the fields after them in sendmail's order, and what is
free text at the end of a line goes to its end. A line that doesn't fit whole is not taken apart at all.

The formats are those of ``logdelivery()``, ``logsender()`` and ``sm_syslog()`` in sendmail's source: it writes bytes
that are not printable ASCII as ``\ooo``, ``\n``, ``\r``, ``\t``, and a backslash as two.
"""

import contextlib
import re
import socket
from collections.abc import Collection
from typing import NamedTuple

QUEUE_ID = r"[0-9A-Za-x]{8}\d{6,10}"
_PREFIX = re.compile(rf"({QUEUE_ID}|NOQUEUE): (.*)", re.DOTALL)

# an SMTP peer: a name, a name and [an address], or [an address] alone; a smarthost given by its address has it twice
PEER = r"(?:[^\s,\[\]]+ |\[[^\]\s]+\] )?\[[^\]\s]+\](?: \(may be forged\))?|[^\s,\[\]]+"
DSN = r"[245]\.\d{1,3}\.\d{1,3}"

FROM = re.compile(
    r"size=(?P<size>\d{1,15}), class=-?\d+, nrcpts=(?P<recipients>\d{1,9})"
    r"(?:, msgid=(?P<message_id>.*?))?(?:, bodytype=[^\s,]{1,20})?(?:, proto=(?P<protocol>[^\s,]{1,20}))?"
    rf"(?:, daemon=(?P<listener>[^,]{{1,20}}))?, relay=(?P<peer>{PEER})",
    re.DOTALL,
)
TO = re.compile(
    r"(?:ctladdr=.*?, )?delay=(?P<delay>[\d+:]+)(?:, xdelay=(?P<attempt_delay>[\d+:]+))?"
    rf"(?:, mailer=(?P<mailer>[^\s,]+))?, pri=-?\d+(?:, relay=(?P<peer>{PEER}))?(?:, dsn=(?P<dsn>{DSN}))?"
    r"(?:, reply=(?P<reply>.*?))?, stat=(?P<status>.*)",
    re.DOTALL,
)
# sendmail ends a list of recipients like this where the rest of it follows in another line
MORE = "[more], "
BROKEN_LIST = f", {MORE}"
NOTIFIED = re.compile(
    rf"(?P<id>{QUEUE_ID}): (?P<what>DSN|return to sender|sender notify|postmaster notify|return receipt): "
    r"(?P<status>.*)",
    re.DOTALL,
)
EXPIRED = re.compile(r"Cannot send message for .*")
SPLIT = re.compile(rf"split: (?:maxrcpts=\d+, rcpts=\d+, )?count=\d+, ids?=(?P<ids>{QUEUE_ID}(?:; {QUEUE_ID})*)")

TOO_BIG = re.compile(r"message size \((?P<size>\d{1,15})\) exceeds maximum \((?P<limit>\d+)\)")
TOO_MANY = re.compile(r"Too many recipients")
NO_MAILBOX = re.compile(r"(?P<address><.*>)\.\.\. no mailboxes here: ", re.DOTALL)
USER_ERROR = re.compile(r".+?\.\.\. .+", re.DOTALL)
LOST = re.compile(rf"(?P<status>lost input channel) from (?P<peer>{PEER}) to \S+ (?P<stage>after .*)")
TIMEOUT = re.compile(rf"(?P<status>timeout waiting for input) from (?P<peer>{PEER}) (?P<stage>during .*)")
BARE = re.compile(r"(?P<what>Bare .* not allowed), where=.*", re.DOTALL)  # what the preload has it answer is a 550
COLLECT = re.compile(rf"collect: relay=(?P<peer>{PEER}), from=(?P<rest>.*)", re.DOTALL)
PREMATURE_END = re.compile(r"collect: premature EOM: .*", re.DOTALL)  # the line COLLECT follows and says it again
SYSERR = re.compile(r"SYSERR\(.*", re.DOTALL)
LOOP = re.compile(  # of a SYSERR: an MX host is this server itself, by its name or by its address
    r"SYSERR\([^)]*\): (?:MX list for (?P<domain>\S+?)\.? points back to .*"
    r"|(?P<host>\S+?)\.? config error: mail loops back to me.*)",
    re.DOTALL,
)
NO_ADDRESS = re.compile(r"Host unknown \(Name server: (?P<host>\S+?)\.?: no data known\)")
NO_RECORD = "{host}, an MX host of {domain}, has no address in the DNS: its DNS is wrong"
LOOKUP_FAILED = re.compile(r"Name server: (?P<host>\S+?)\.?: host name lookup failure")
IPV6_ONLY = "the DNS of {host} does not answer, or names IPv6 addresses only, which this server can't reach"
LOCAL_ERROR = "Local configuration error"
CUT = "the connection to {host} ended before its answer to the message"

MILTER_CHATTER = re.compile(
    r"Milter \([^)]*\): init success to negotiate|Milter: connect to filters|Milter: no active filter"
    r"|Milter \([^)]*\) (?:insert|add)(?: \(\d+\))?: header: .*"
    r'|Sending ".*" to Milter',  # an unknown command: where a client has lost its way, that may be a password
    re.DOTALL,
)
MILTER_ACCEPTED = re.compile(r"Milter accept: message")
MILTER_REFUSED = re.compile(r"Milter: (?:data|cmd=data), reject=(?P<reply>.*)", re.DOTALL)
MILTER_REFUSED_ADDRESS = re.compile(r"Milter: (?P<field>to|from)=(?P<rest>.*)", re.DOTALL)
MILTER_ABSENT = re.compile(
    r"Milter: initialization failed, (?P<then>rejecting commands|temp failing commands|closing connection)"
)

TLS = re.compile(
    rf"STARTTLS=(?P<side>server|client), relay=(?P<peer>{PEER}), version=(?P<version>[^\s,]+), "
    r"verify=(?P<verify>[^\s,]+), cipher=(?P<cipher>[^\s,]+), bits=(?P<bits>\d{1,5})/\d+(?:, .*)?",
    re.DOTALL,
)
AUTH = re.compile(
    rf"AUTH=server, relay=(?P<peer>{PEER}), authid=(?P<user>.*), mech=(?P<mechanism>[^\s,]+), bits=\d+", re.DOTALL
)
AUTH_FAILED = re.compile(
    rf"AUTH failure \((?P<mechanism>[^)]*)\): (?P<status>.*?)(?:, user=(?P<user>.*))?, relay=(?P<peer>{PEER})",
    re.DOTALL,
)
# sendmail logs what it can't decode as it is: it may be a password
AUTH_UNREADABLE = re.compile(rf"AUTH decode64 error .*?(?:, relay=(?P<peer>{PEER}))?", re.DOTALL)
EARLY_TALKER = re.compile(rf"rejecting [^,]*? from (?P<peer>{PEER}) due to .*")
STARTED = re.compile(r"starting daemon \((?P<version>[^)]*)\): (?P<status>.*)")
STOPPED = re.compile(r"(?P<status>stopping daemon, reason=.*|restarting .* due to .*)")

DKIM_SIGNED = re.compile(
    rf"(?P<id>{QUEUE_ID}): DKIM-Signature field added \(s=(?P<selector>[^\s,]+), d=(?P<domain>[^\s,)]+)\)"
)

LINES_LOST = re.compile(r"postroad-preload: \d+ lines lost")

# what sendmail says of a failure that it doesn't call "Deferred" and yet tries again (EX_OSERR and EX_IOERR)
TEMPORARY = frozenset({"Operating system error", "I/O error"})

_ESCAPE = re.compile(rb"\\(\\|n|r|t|[0-3][0-7]{2})")
_ESCAPED = {b"\\": b"\\", b"n": b"\n", b"r": b"\r", b"t": b"\t"}
_MARK = re.compile(r'\\.?|"(?:[^"\\]|\\.)*"|[(<>,"]', re.DOTALL)
_IN_COMMENT = re.compile(r"\\.?|[()]", re.DOTALL)
_RULESET = re.compile(r"ruleset=([^\s,]+), arg1=")
_REJECT = re.compile(rf"(?:arg2=.*?, )?(?:relay=(?P<peer>{PEER}), )?reject=(?P<reply>.*)", re.DOTALL)
_PEER_ADDRESS = re.compile(r"(?:(?:([^\s\[]\S*)|\[\S+) )?\[(?:IPv6:)?([^\]\s]+)\](?: \(may be forged\))?")
_DURATION = re.compile(r"(?:(\d{1,6})\+)?(\d{1,4}):(\d\d):(\d\d)")
_REPLY_DSN = re.compile(rf"[245]\d\d[ -]({DSN})(?: |$)")


def split_queue_id(text: str) -> tuple[str | None, str]:
    """The queue id that a line begins with, or None, and the rest."""
    match = _PREFIX.fullmatch(text)
    if match is None:
        return None, text
    return (None if match[1] == "NOQUEUE" else match[1]), match[2]


def unescape(text: str) -> str:
    r"""Undo what sendmail does to bytes that are not printable ASCII; those that are not UTF-8 become ``\xNN``."""
    if "\\" not in text:
        return text

    def plain(match: re.Match[bytes]) -> bytes:
        return _ESCAPED.get(match[1]) or bytes([int(match[1], 8)])

    data = _ESCAPE.sub(plain, text.encode(errors="backslashreplace"))
    return data.decode(errors="backslashreplace")


def addresses(text: str) -> tuple[list[str], int] | None:
    """Read the list of addresses at the start of a text, which a comma and a space ends.

    sendmail puts no space after the commas of a list, so outside of quotes, comments and angle brackets a comma
    and a space are the end of it.

    Returns:
        The addresses and the index after the end; None where there is none, or a quote, comment or bracket is open.
    """
    found: list[str] = []
    begin = position = angle = 0
    while (match := _MARK.search(text, position)) is not None:
        mark, position = match[0], match.end()
        if mark == '"':
            return None
        if mark == "(":
            position = _comment_end(text, position)
        elif mark in "<>":
            angle = max(0, angle + (1 if mark == "<" else -1))
        elif mark == "," and not angle:
            found.append(text[begin : match.start()])
            begin = position
            if text.startswith(" ", position):
                return [address for address in found if address], position + 1
    return None


def _comment_end(text: str, position: int) -> int:
    depth = 1
    while depth and (match := _IN_COMMENT.search(text, position)) is not None:
        position = match.end()
        depth += {"(": 1, ")": -1}.get(match[0], 0)
    return len(text) if depth else position


def mailbox(address: str) -> str:
    """An address without its angle brackets; the null sender is empty."""
    return address[1:-1] if address.startswith("<") and address.endswith(">") else address


def peer(text: str | None) -> tuple[str | None, str | None]:
    """A peer's name, without a final dot, and its address; a name that the DNS does not confirm is left out."""
    if text is None:
        return None, None
    match = _PEER_ADDRESS.fullmatch(text)
    if match is None:
        return text.rstrip(".") or None, None
    name, address = match.groups()
    if text.endswith(" (may be forged)"):
        name = None
    if ":" in address:  # sendmail writes IPv6 addresses without "::"
        with contextlib.suppress(OSError, ValueError):
            address = socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, address))
    return name.rstrip(".") or None if name else None, address


def seconds(text: str | None) -> int | None:
    """A duration such as ``00:00:03`` or ``1+02:03:04`` (a day and the rest)."""
    match = _DURATION.fullmatch(text) if text else None
    if match is None:
        return None
    days, hours, minutes, rest = (int(number or 0) for number in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + rest


def reply_dsn(reply: str) -> str | None:
    """The enhanced status code (RFC 3463) that stands after the code of an SMTP reply."""
    match = _REPLY_DSN.match(reply)
    return match[1] if match else None


class Rejection(NamedTuple):
    """A rule that refused: its ruleset, what that was asked about, the client, and the answer."""

    ruleset: str
    argument: str
    peer: str | None
    reply: str


def rejection(text: str, of_addresses: Collection[str]) -> Rejection | None:
    """Read ``ruleset=..., arg1=..., relay=..., reject=...``.

    The argument of the rulesets ``of_addresses`` is one address, which the reply repeats. That of others may be
    anything that stands in a header, while their reply is the rule's own text.
    """
    match = _RULESET.match(text)
    if match is None:
        return None
    start = match.end()
    if match[1] in of_addresses:
        found = addresses(text[start:])
        if found is None:
            return None
        end = start + found[1]
    else:
        end = text.rfind(", relay=") + 2
        if end < start:
            return None
    reject = _REJECT.fullmatch(text, end)
    return Rejection(match[1], text[start : end - 2], reject["peer"], reject["reply"]) if reject else None


def sender(text: str) -> tuple[str, re.Match[str] | None]:
    """The address after ``from=``, of which sendmail logs 200 bytes, and the fields after it (``FROM``)."""
    text = text.removeprefix("from=")
    # an address that was cut may have an open quote: it can't take in the fields, since its length is known
    cut = text.encode(errors="replace")[:200].decode(errors="ignore")
    found = addresses(f"{cut}, ")
    end = found[1] - 2 if found else len(cut)
    return mailbox(cut[:end]), FROM.fullmatch(text[end:].removeprefix(", "))


def reply_and_status(reply: str | None, rest: str, dsn: str | None) -> tuple[str | None, str]:
    """Separate ``reply=`` from ``stat=``, given what stands before and after the first ``, stat=``.

    Both may hold the receiving server's words, and those a ``, stat=`` of their own. What can't be forged is the code
    that the reply begins with, and the dsn before it: 4 is a deferral, whose status repeats the reply; else it is a
    failure, whose status is sendmail's own short phrase and stands last.
    """
    if reply is None or ", stat=" not in rest:
        return reply, rest
    whole, deferred = f"{reply}, stat={rest}", ", stat=Deferred: "
    at = whole.rfind(", stat=")
    if "4" in {reply[:1], dsn and dsn[0]}:
        half = (len(whole) - len(deferred)) // 2
        if whole[half:] == deferred + whole[:half]:
            at = half
        elif reply.startswith("4") and deferred[:-2] in whole:
            at = whole.find(deferred[:-2])
    return whole[:at], whole[at + len(", stat=") :]
