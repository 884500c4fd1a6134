"""Tag lists such as ``v=DKIM1; k=rsa; p=...`` (RFC 6376, section 3.2), the form of DKIM keys and DMARC policies."""

import re

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


def parse(text: str) -> dict[str, str]:
    """The tags in order, with white space around names and values removed.

    Raises:
        ValueError: the text breaks the grammar; names the faulty tag by its number, as in
            ``tag 2, `none`: no =``.
    """
    parts = text.split(";")
    if not parts[-1].strip(" \t\r\n"):
        parts.pop()  # one semicolon may end the list
    tags: dict[str, str] = {}
    for number, part in enumerate(parts, start=1):
        name, equals, value = (word.strip(" \t\r\n") for word in part.partition("="))
        wrong = _fault(part, name, equals, value) or (f"the tag {name} comes twice" if name in tags else "")
        if wrong:
            raise ValueError(f"tag {number}, {shown(part.strip())}: {wrong}")
        tags[name] = value
    return tags


def _fault(part: str, name: str, equals: str, value: str) -> str:
    odd = re.search(r"[^\t\r\n -~]", part)
    if odd:
        return f"the character U+{ord(odd[0]):04X}; only ASCII is allowed"
    if not part.strip():
        return "nothing between two semicolons"
    if name.startswith(('"', "'")):
        return "a quotation mark that is part of the record; remove it"
    if not equals:
        return "no ="
    if value.endswith("\\"):
        return "a backslash that is part of the record; remove it"
    return "" if _NAME.fullmatch(name) else "no tag name before the ="


def shown(text: str) -> str:
    """A record's text, made printable and shortened, for quoting in a message."""
    plain = "".join(char if " " <= char <= "~" else f"\\x{ord(char):02x}" for char in text)
    return f"`{plain[:77]}...`" if len(plain) > 80 else f"`{plain}`"
