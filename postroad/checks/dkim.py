"""Whether each key that signs is published as it is: the record parses, is not revoked, and not in test mode."""

import base64
import binascii
from collections.abc import Iterator

from postroad.checks.context import Context
from postroad.checks.model import Finding, Level, unanswered
from postroad.checks.tags import parse

ID = "dkim"
SHORT = True


def run(context: Context) -> Iterator[Finding]:
    """One finding for each key."""
    if not context.config.dkim.enabled:
        yield Finding(ID, Level.WARNING, "mail is not signed", "dkim.enabled: false", "turn it on: dkim.enabled: true")
    for name, value in context.facts.dkim.items():
        if not value:
            fix = "let the server start, which makes it, and run this in its container"
            yield Finding(ID, Level.ERROR, f"the key of {name} is not here, or can't be read", fix=fix)
            continue
        answer = context.resolver.query(name, "TXT")
        if answer.unknown:
            yield unanswered(ID, answer)
            continue
        seen = "; and ".join(answer.values) or f"no TXT record ({answer.status})"
        problem, level = judge(answer.values, value)
        if problem:
            record = context.record(name, "TXT", "v=dkim1")
            yield Finding(ID, level, f"the DKIM record {name} {problem}", seen, "publish this TXT record", record)
        else:
            yield Finding(ID, Level.OK, f"{name} publishes the key in use")


def judge(found: tuple[str, ...], wanted: str) -> tuple[str, Level]:
    """What is wrong with a key's TXT values, as the end of a sentence, and how bad it is; an empty text: nothing."""
    if len(found) != 1:
        many = f"is there {len(found)} times: receivers take any of them (RFC 6376, section 3.6.2.2)"
        return many if found else "is missing", Level.ERROR
    try:
        tags = parse(found[0])
        key = base64.b64decode("".join(tags.get("p", "").split()), validate=True)
    except (ValueError, binascii.Error) as error:
        return f"can't be parsed: {error}", Level.ERROR

    def words(tag: str, default: str) -> set[str]:
        return set(tags.get(tag, default).replace(" ", "").split(":"))

    for wrong, what in (
        ("p" not in tags, "has no key (p=)"),
        (not key, "revokes the key: p= is empty"),
        (tags.get("v", "DKIM1") != "DKIM1", f"is of another version: v={tags.get('v')}"),
        (key != base64.b64decode(parse(wanted)["p"]), "has another key than the one that signs here"),
        (
            tags.get("k", "rsa") != parse(wanted).get("k", "rsa"),
            f"says that the key is of another kind: k={tags.get('k')}",
        ),
        ("sha256" not in words("h", "sha256"), f"does not allow sha256: h={tags.get('h')}"),
        (not {"*", "email"} & words("s", "*"), f"is not for mail: s={tags.get('s')}"),
    ):
        if wrong:
            return what, Level.ERROR
    if "y" in words("t", ""):
        return "is in test mode (t=y): receivers may treat the mail as not signed", Level.WARNING
    return "", Level.OK
