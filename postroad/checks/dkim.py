"""Whether each key that signs is published as it is: the record parses, is not revoked, and not in test mode."""

from collections.abc import Iterator

from postroad.checks.context import Context
from postroad.checks.model import Finding, Level, unanswered
from postroad.dns.dkim_record import parse

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
        record = parse(found[0])
    except ValueError as error:
        return f"can't be used: {error}", Level.ERROR
    ours = parse(wanted)
    for wrong, what in (
        (not record.key, "revokes the key: p= is empty"),
        (record.kind != ours.kind, f"says that the key is of another kind: k={record.kind}"),
        (record.key != ours.key, "has another key than the one that signs here"),
        (record.hashes and "sha256" not in record.hashes, f"does not allow sha256: h={':'.join(record.hashes)}"),
        (not {"*", "email"} & record.services, f"is not for mail: s={':'.join(record.services)}"),
    ):
        if wrong:
            return what, Level.ERROR
    if record.doubts:
        return f"is not taken by all receivers: {'; '.join(record.doubts)}", Level.WARNING
    if "y" in record.flags:
        return "is in test mode (t=y): receivers may treat the mail as not signed", Level.WARNING
    return "", Level.OK
