"""What the SPF grammar allows but some receivers refuse, as seen with pyspf 2.0.14 and libspf2 1.2.10."""

import re
from collections.abc import Iterator

from postroad.dns import macros
from postroad.dns.spf_grammar import MODIFIER, numbered, parse

MOST_LABELS = 128
"""The most labels that a name can have (RFC 1035)."""

_NO_BITS = re.compile(r"[+?~-]?(?:a|mx|ip4|ip6)(?:[:/].*)?/0(?:/.*)?", re.IGNORECASE)


def disputed(record: str) -> list[str]:
    """What some receivers treat as an error or read differently, one sentence each.

    Args:
        record: a record that follows the grammar; ``spf_grammar.faults`` tells whether it does.
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
            said.append(f"{place}: pyspf treats a second {name}= as an error")
        if "." in name:
            said.append(f"{place}: libspf2 treats a modifier with a dot in its name as an error")
        if name == "redirect" and not all(MODIFIER.fullmatch(after) for _, after in texts[number:]):
            said.append(f"{place}: libspf2 follows it before it looks at the terms after it; put it last")
        elif name == "redirect" and ends:
            said.append(f"{place}: has no effect beside all; remove one of them")
        names.add(name)
    return said


def _term(text: str) -> Iterator[str]:
    if _NO_BITS.fullmatch(text):
        yield "libspf2 treats the prefix length 0 as an error"
    if re.search(r"%%(?:/[0-9/]*)?$", text):
        yield "pyspf treats %% at the end as an error"
    if any(int(match["digits"].lstrip("0")[:4]) > MOST_LABELS for match in macros.numbered(text)):
        yield f"libspf2 treats a macro with a number above {MOST_LABELS} as an error"
