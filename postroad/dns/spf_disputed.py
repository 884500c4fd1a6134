"""What the grammar of SPF allows and some receivers refuse: seen with pyspf 2.0.14 and libspf2 1.2.10."""

import re
from collections.abc import Iterator

from postroad.dns import macros
from postroad.dns.spf_grammar import MODIFIER, numbered, parse

MOST_LABELS = 128
"""A name has no more labels (RFC 1035)."""

_NO_BITS = re.compile(r"[+?~-]?(?:a|mx|ip4|ip6)(?:[:/].*)?/0(?:/.*)?", re.IGNORECASE)


def disputed(record: str) -> list[str]:
    """What some receivers take for an error, or read in another way, a sentence each.

    Args:
        record: one that keeps the grammar; ``spf_grammar.faults`` says whether it does.
    """
    texts = list(numbered(record))
    ends = any(term.name == "all" for term in parse(record))
    names: set[str] = set()
    said = []
    for number, (place, text) in enumerate(texts, start=1):
        said += [f"{place}: {each}" for each in _term(text)]
        modifier = MODIFIER.fullmatch(text)
        if not modifier:
            continue
        name = modifier["name"].lower()
        if name in names:
            said.append(f"{place}: pyspf takes a second {name}= for an error")
        if "." in name:
            said.append(f"{place}: libspf2 takes a modifier with a dot in its name for an error")
        if name == "redirect" and not all(MODIFIER.fullmatch(after) for _, after in texts[number:]):
            said.append(f"{place}: libspf2 follows it before it looks at the terms after it; put it last")
        elif name == "redirect" and ends:
            said.append(f"{place}: counts for nothing beside all; remove one of them")
        names.add(name)
    return said


def _term(text: str) -> Iterator[str]:
    if _NO_BITS.fullmatch(text):
        yield "libspf2 takes the prefix length 0 for an error"
    if re.search(r"%%(?:/[0-9/]*)?$", text):
        yield "pyspf takes %% at the end for an error"
    if any(int(match["digits"].lstrip("0")[:4]) > MOST_LABELS for match in macros.numbered(text)):
        yield f"libspf2 takes a macro with a number above {MOST_LABELS} for an error"
