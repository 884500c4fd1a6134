"""Hides mail addresses in printed events (``log.redact``). Standard library only, since PID 1 does it.

Whatever looks like an address is hidden: in fields that hold one, in angle brackets, and anywhere in free text, such as
a receiving server's reply. In doubt it hides too much. Every step takes time in proportion to the text's length.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

HIDDEN = "***"
ADDRESSES = frozenset({"sender", "recipient", "redirected_to"})
"""Fields that hold only an address."""
AS_THEY_ARE = frozenset({"event", "time", "message_id"})
"""Fields left unchanged. A Message-ID looks like an address, but it is what links the app's log to this one."""
SPOKEN = frozenset({"reply", "status", "message"})
"""Fields with free text, in which a mailbox may appear without its domain."""

_AT = re.compile(r"@|%40|&#64|\uff20")
_QUOTED_AT = re.compile(r'"(?:@|%40|&#64|\uff20)[^\s<>(),;"]*')
_REST = re.compile(r"[^\s<>(),;]*")
_DOMAIN = re.compile(r"\[[\w.]*\]|[\w.-]*\w")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"|\\.|[<>]|[\s(),;:]++|[^\s<>(),;:"\\]++|.', re.DOTALL)
_BETWEEN = frozenset("<>(),;:")
_KEY = re.compile(r"(?:to|from|ctladdr|arg[12]|user|authid|orcpt|rcpt|msgid)=")
_DIGEST = re.compile(r"#[0-9a-f]{16}")
Fields = dict[str, str | int | float | bool]


class Redactor:
    """Hides addresses in events: ``domain`` keeps an address's domain, ``hash`` replaces it with a short digest."""

    def __init__(self, mode: str, key: bytes = b"") -> None:
        """Make a redactor.

        Args:
            mode: ``domain`` or ``hash``.
            key: the key of the digests; without one, ``hash`` hides addresses entirely.
        """
        self._name: Callable[[str], str] = _leave_domain
        if mode == "hash":
            self._name = _digests(key) if key else lambda _: HIDDEN

    def fields(self, fields: Mapping[str, Any]) -> Fields:
        """An event's fields with all addresses hidden."""
        own = [address for name in ADDRESSES if (address := fields.get(name))]
        local_parts = [part for address in own if (part := _local_part(address))]
        result: Fields = {}
        for name, value in fields.items():
            if not isinstance(value, str) or name in AS_THEY_ARE:
                result[name] = value
            elif name in ADDRESSES:
                result[name] = value and self._name(value)
            else:
                text = value
                for address in own if name in SPOKEN else ():  # whole addresses first: their quotes may be ambiguous
                    text = text.replace(address, self._name(address)) if _AT.search(address) else text
                result[name] = self.text(text, local_parts if name in SPOKEN else ())
        return result

    def text(self, text: str, local_parts: Any = ()) -> str:
        """A text with all addresses, and these local parts, hidden."""
        quoted = list(_QUOTED_AT.finditer(text))
        if not quoted:
            return self._words(text, local_parts)
        # which quote opens a quoted local part can't be told, so it is taken to begin at the first
        begin, end = text.index('"'), quoted[-1].end()
        if text.startswith('"', end) and (rest := _REST.match(text, end)):
            end = rest.end()  # the apparent domain is still inside quotes
        if begin == quoted[0].start():
            begin = 0
        before, after = self._words(text[:begin], local_parts), self._words(text[end:], local_parts)
        return before + self._name(text[begin:end]) + after

    def _words(self, text: str, local_parts: Any) -> str:
        tokens = _TOKEN.findall(text)
        result: list[str] = []
        i = 0
        while i < len(tokens):
            token = tokens[i]
            if token == "<":
                end = i + 1
                while end < len(tokens) and tokens[end] not in {"<", ">"}:
                    end += 1
                inner = "".join(tokens[i + 1 : end])
                result.append("<" + (inner and self._name(inner)))
                i = end
                continue
            if token == '"':  # an unclosed quote
                rest = "".join(tokens[i:])
                return "".join(result) + (self._name(rest) if _AT.search(rest) else rest)
            end = i + 1
            if not _is_between(token):
                while end < len(tokens) and not _is_between(tokens[end]) and tokens[end] != '"':
                    end += 1
                result.append(self._word(tokens[i:end], local_parts))
            else:
                result.append(token)
            i = end
        return "".join(result)

    def _word(self, tokens: list[str], local_parts: Any) -> str:
        """The text between spaces and brackets: an address, or words, some possibly quoted."""
        word = "".join(tokens)
        if any(_AT.search(token) for token in tokens if not token.startswith('"')):
            key = _KEY.match(word)
            begin = key.end() if key else 0
            return word[:begin] + self._name(word[begin:])
        return "".join(
            f'"{self._words(token[1:-1], local_parts)}"'
            if len(token) > 1 and token.startswith('"')
            else _without(token, local_parts)
            for token in tokens
        )


def _is_between(token: str) -> bool:
    return token[0] in _BETWEEN or token[0].isspace()


def _local_part(address: str) -> str:
    return _AT.split(address)[0].strip('"')


def _without(text: str, local_parts: Any) -> str:
    for part in local_parts:
        if part.lower() not in text.lower():  # saves compiling a pattern for each mailbox
            continue
        text = re.sub(rf"(?<![^\W_]){re.escape(part)}(?![^\W_])", HIDDEN, text, flags=re.IGNORECASE)
    return text


def _leave_domain(address: str) -> str:
    *before, last = _AT.split(address)
    domain = _DOMAIN.match(last) if before else None
    return f"{HIDDEN}@{domain[0]}" if domain else HIDDEN


def _digests(key: bytes) -> Callable[[str], str]:
    import hmac  # noqa: PLC0415 - it loads OpenSSL, which only `hash` needs

    def digest(address: str) -> str:
        if _DIGEST.fullmatch(address):
            return address
        return "#" + hmac.digest(key, address.strip("<>\"'.").lower().encode(errors="replace"), "sha256").hex()[:16]

    return digest
