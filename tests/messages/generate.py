"""Messages at random: what programs write, and what they should not. The same for the same number."""

import random
from collections.abc import Callable
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP

FROM = [
    "app@sender.example", "App <app@sender.example>", '"Doe, J" <app@sender.example>', "app@sender.example (the app)",
    "=?utf-8?q?J=C3=BCrgen?=\r\n <app@sender.example>", "\r\n App\r\n\t<app@sender.example>", "J. Doe [x] <app@sender.example>",
    '"a \\"b\\" c@d" <app@sender.example>', "App<APP@SENDER.example>", "a@sender.example,\tB <b@sender.example>", "김 <app@sender.example>",
]  # fmt: skip
ADDRESSES = [
    "a@b.example", "A  B <a@b.example>", "team: a@b.example ;", "undisclosed-recipients:;", "undisclosed-recipients: ;", "root",
    "a@b.example,,c@b.example,", '"A,B" <a@b.example>,(x,"y) C <c@b.example>', "Jo@Home <jo@b.example>", "a\\b <a@b.example>",
    "c;d <c@b.example>", "x!y, a%b@c.example, <>, X<a@b.example>", "a @ b . example", "<@r.example:a@b.example>", "김 <a@b.example>",
    '"open <a@b.example>', "open (<a@b.example>", "A <a@b.example", "every body", "<a@b.example> <c@b.example>", "((((((",
    "n" * 260 + " <a@b.example>", "a@LocalHost", "a@b.example.", "\x01\x02", "a@[192.0.2.1]", "$m ${x} $&{client_addr}", "=?utf-8?b?4oKs?= <a@b.example>",
    ",\r\n ".join(f"Person {n} <p{n}@b.example>" for n in range(60)),
]  # fmt: skip
TEXTS = [
    "", " ", "a", "a  b", " lead", "trail \t", "tab\tin", "one\r\n two", "one\r\n\t \r\n two", "x" * 900, "x" * 1900, "\r\n folded", "é" * 100,
    "\x80\x9f\xff\x01\x7f", "김치 " * 100, "$j $$ ${rcpt_host} %s %n", "?x?", ": :", "a" + "\r\n b" * 300, "=?utf-8?q?=C3=A9?=", "@" * 300, ";" * 300, '"', "(", "1.0 (x)",
    "text/plain; charset=utf-8", "<m@x.example>", "multipart/mixed; boundary=b", "base64", "7bit", "8bit", "Thu, 26 Nov 2026 04:00:00 +0000", "<x@y>" + "\r\n <x@y>" * 400,
]  # fmt: skip
PEOPLE = [
    "To",
    "Cc",
    "Reply-To",
    "Errors-To",
    "Disposition-Notification-To",
    "Apparently-To",
    "Resent-To",
    "Resent-Cc",
    "Resent-Reply-To",
    "X-To",
    "Return-Receipt-To",
    "Delivery-Receipt-To",
]
OTHERS = [
    "Subject", "Comments", "Keywords", "In-Reply-To", "References", "MIME-Version", "Content-Type", "Content-Transfer-Encoding", "Content-ID",
    "Content-Description", "Content-Length", "Content-Disposition", "Full-Name", "Return-Path", "Message", "Text", "Received", "Via", "Resent-Date", "Resent-Message-ID",
    "List-Id", "List-Unsubscribe", "List-Unsubscribe-Post", "Precedence", "Priority", "X-Priority", "Importance", "Auto-Submitted", "X-Mailer", "X-Authentication-Warning",
    "X-Original-From", "Organization", "Lines", "Status", "Sensitivity", "Encoding", "Authentication-Results", "ARC-Seal", "X", "x-lower", "X-" + "N" * 90,
    "X_under", "X.dot", "X!$%&'*+", "Mail-From", "X400-Received", "Delivered-To", "User-Agent", "Thread-Topic", "X-MSMail-Priority", "Feedback-ID",
]  # fmt: skip
LINES = [
    b"", b" ", b"\t", b".", b"..", b".a", b"a", b"a  b ", b"From x", b">From x", b"--b", b"--b--", b"Content-Type: text/plain", b"x" * 998, b"x" * 2100, b"\xea\xb9\x80" * 300, b"\x80\xff\x01",
    b"=", b"a=20", b"end", b"-- ", b"#!rnews", b"begin 644 x", b"Content-Type: x/y; name=\"" + b"n" * 3000 + b"\"", b"X-Part: " + b"p" * 3000, b"QUIT", b"y" * 70_000,
]  # fmt: skip


def message(number: int, seed: str) -> bytes:
    """One message, its lines ending with CRLF, with a field ``X-Case`` that holds its number."""
    source = random.Random(f"{seed}/{number}")
    random.seed(f"{seed}/{number}")  # the email package draws the boundaries
    make: Callable[[random.Random], bytes] = source.choice([awkward, awkward, composed])
    return b"X-Case: %d\r\n" % number + make(source)


def awkward(source: random.Random) -> bytes:
    """Fields and lines that no program should write, and some that all do."""
    fields = ["From: " + source.choice(FROM)]
    if source.random() < 0.5:
        fields.append("Date: Thu, 26 Nov 2026 04:00:00 +0000")
    if source.random() < 0.5:
        fields.append("Message-ID: <m@sender.example>")
    if source.random() < 0.2:
        fields.append("Sender: " + source.choice(FROM[:6]))
    if source.random() < 0.2:
        fields += ["Resent-From: " + source.choice(FROM), "Resent-Date: Thu, 26 Nov 2026 04:00:00 +0000"]
    if source.random() < 0.2:
        fields.append("Bcc: " + source.choice(ADDRESSES))
    for name in source.sample(PEOPLE, source.randint(0, 5)):
        fields.append(f"{name}:{source.choice(['', ' ', '  '])}{source.choice(ADDRESSES)}")
    for name in source.sample(OTHERS, source.randint(0, 12)):
        value = "\r\n ".join(source.choice(TEXTS) for _ in range(source.choice([1, 1, 2, 3])))
        fields.append(f"{source.choice([name, name.lower(), name.upper()])}:{source.choice(['', ' ', ' '])}{value}")
    if source.random() < 0.03:
        fields.append(source.choice(["X-Long: " + "x" * 2100, "DKIM-Signature: none"]))
    source.shuffle(fields)
    # as a client might: each character one octet where it can be, else UTF-8
    head = "".join(f"{field}\r\n" for field in fields)
    octets = head.encode("latin-1") if head.isascii() or _is_latin(head) else head.encode()
    body = b"\r\n".join(source.choice(LINES) for _ in range(source.choice([0, 1, 3, 30])))
    return octets + (
        b"" if source.random() < 0.02 else b"\r\n" + (body + b"\r\n" if body or source.random() < 0.5 else b"")
    )


def _is_latin(text: str) -> bool:
    return all(ord(character) < 256 for character in text)


WORDS = [
    "hello",
    "안녕하세요",
    "สวัสดี",
    "Привіт",
    "naïve",
    "日本",
    "🎉",
    "a" * 60,
    "x.y",
    "it's",
    '"q"',
    "(c)",
    "a@b",
    "<tag>",
    "b;c",
    "d,e",
]


def composed(source: random.Random) -> bytes:
    """A message as Python's email package writes it."""
    made = EmailMessage(policy=SMTP)

    def words(most: int) -> str:
        return " ".join(source.choice(WORDS) for _ in range(source.randint(1, most)))

    made["From"] = Address(words(6), "app", "sender.example")
    made["To"] = [Address(words(4), f"u{n}", "b.example") for n in range(source.randint(1, 8))]
    made["Subject"] = words(30)
    if source.random() < 0.5:
        made["X-Note"] = words(50)
    made.set_content("\n".join(words(40) for _ in range(source.randint(0, 20))))
    if source.random() < 0.5:
        made.add_alternative(f"<p>{words(30)}</p>", subtype="html")
    for _ in range(source.choice([0, 0, 1, 3])):
        made.add_attachment(
            source.randbytes(source.randint(0, 3000)), maintype="application", subtype="pdf", filename=words(12)
        )
    return made.as_bytes()
