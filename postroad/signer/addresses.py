"""Address fields of a header, read strictly: RFC 5322 (section 3.4) less what other readers take for something else.

No library does this: those that read RFC 5322 either mend what they are given (Python's ``email``, flanker) or read one
address and no field (email-validator). What is given up on here is refused by the policy, so everything that is not
plain is given up on: obsolete syntax but for dots in names, groups where a person stands, comments and white space
within an address, routes, and octets that a reader could take for an address of its own (an ``@`` in a comment).
Every step looks at each octet once.
"""

import re
from dataclasses import dataclass

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LOCAL = re.compile(rf"{_ATOM}(?:\.{_ATOM})*|\"[A-Za-z0-9!#$%&'*+/=?^_`{{|}}~. -]+\"")
_DOMAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_][A-Za-z0-9_-]*)*")
_LITERAL = re.compile(r"\[[A-Za-z0-9.:-]+\]")
# what names are made of: atoms and, as many programs write them, dots, brackets and octets above 127
_WORD = re.compile(r"[^\x00-\x20\x7f\"(),:;<>@\\]+")
_QUOTED = re.compile(r'"(?:[^"\\\x00-\x08\x0b-\x1f\x7f]|\\[\x20-\x7e])*+"')
# white space and comments, three deep
_IN_COMMENT = r"[^()\\\x00-\x08\x0b-\x1f\x7f]*+"
_COMMENT = rf"\({_IN_COMMENT}(?:\({_IN_COMMENT}(?:\({_IN_COMMENT}\){_IN_COMMENT})*+\){_IN_COMMENT})*+\)"
_WHITE = re.compile(rf"(?:[ \t\n]++|{_COMMENT})*+")
_UNCLEAR_IN_COMMENT = re.compile(r'[@<>"]')
_UNCLEAR_BESIDE_BRACKETS = re.compile(r'["()\\]')

LONGEST = 2000
"""Octets of a field that names who sends: some readers cut longer ones."""

_NO_ADDRESS = "must hold one address with a domain"


class FieldError(ValueError):
    """The field is not plain; says in what way."""


@dataclass(frozen=True)
class Mailbox:
    """An address in a field.

    Attributes:
        start: where the address itself begins in the text.
        end: where it ends.
        local: what stands before the ``@``, as it is written.
        domain: what stands after it; empty where there is no ``@``.
    """

    start: int
    end: int
    local: str
    domain: str


def mailboxes(text: str, *, bare: bool = False) -> list[Mailbox]:
    """The addresses of a field that names who sends (``mailbox-list``), in order: one at least.

    Args:
        text: the field's value, an octet a character; lines end with LF.
        bare: an address may lack ``@`` and domain.

    Raises:
        FieldError: the value is anything else.
    """
    if len(text) > LONGEST:
        raise FieldError(f"is longer than {LONGEST} octets")
    found = _Reader(text, bare=bare, strict=True).read()
    if not found:
        raise FieldError(_NO_ADDRESS)
    return found


def recipients(text: str) -> list[Mailbox]:
    """The addresses of a field that names others (``address-list``), with groups, empty places and address literals.

    Raises:
        FieldError: the value is anything else.
    """
    return _Reader(text, bare=True, strict=False).read()


class _Reader:
    """Goes through a field from left to right."""

    def __init__(self, text: str, *, bare: bool, strict: bool) -> None:
        if "\n" in text and any(not line.strip(" \t") for line in text.split("\n")[1:]):
            raise FieldError("has a line of white space only")
        self._text = text
        self._at = 0
        self._bare, self._strict = bare, strict
        self._in_group = False
        self._brackets_are_unclear = _UNCLEAR_BESIDE_BRACKETS.search(text) is not None

    def read(self) -> list[Mailbox]:
        """All addresses."""
        found: list[Mailbox] = []
        while True:
            self._white()
            empty = not self._strict and self._next() in {"", ",", ";"}
            mailbox = None if empty else self._mailbox()
            if mailbox is not None:
                found.append(mailbox)
            self._white()
            if self._in_group and self._next() == ";":
                self._in_group = False
                self._at += 1
                self._white()
            if self._at == len(self._text):
                if self._in_group:
                    raise FieldError("has a group without an end")
                return found
            if self._next() != ",":
                raise FieldError(f"holds {_shown(self._next())} where it can't stand")
            self._at += 1

    def _next(self) -> str:
        return self._text[self._at : self._at + 1]

    def _mailbox(self) -> Mailbox | None:
        """One address with its name; None for the name of a group that has no members."""
        start = self._at
        address = self._address("")
        if address is not None:
            return address
        brackets = self._phrase()
        if self._next() == ":" and not self._strict and not self._in_group and self._at > start:
            self._at += 1
            self._in_group = True
            self._white()
            return None if self._next() in {";", ","} else self._mailbox()
        if self._next() != "<":
            raise FieldError(self._complaint(start))
        if brackets and self._brackets_are_unclear:
            raise FieldError("has brackets beside quotes or comments: put the name in quotes")
        self._at += 1
        address = self._address(">")
        if address is None:
            raise FieldError("must hold an address with a domain between < and >, and nothing else")
        self._at += 1
        return address

    def _complaint(self, start: int) -> str:
        sign = self._next()
        if sign == "@":
            return "has an @ that is part of no plain address: put a name that holds one in quotes"
        if sign not in {"", ","}:
            return f"holds {_shown(sign)} where it can't stand"
        if self._at == start and (start or sign):
            return "has an empty place in its list"
        return _NO_ADDRESS + (" (a name with a comma needs quotes)" if sign else "")

    def _address(self, end: str) -> Mailbox | None:
        """``local@domain`` and then ``end``, or else what may follow an address; None if there is something else."""
        local = _LOCAL.match(self._text, self._at)
        if local is None:
            return None
        at, domain = local.end(), ""
        if self._text[at : at + 1] == "@":
            match = _DOMAIN.match(self._text, at + 1)
            if match is None and not self._strict:
                match = _LITERAL.match(self._text, at + 1)
            if match is None:
                return None
            at, domain = match.end(), match[0]
        elif not self._bare:
            return None
        if end:
            follows = self._text[at : at + 1] == end
        else:
            white = _WHITE.match(self._text, at)
            next_at = white.end() if white else at
            follows = self._text[next_at : next_at + 1] in {"", ",", ";"}
        if not follows:
            return None
        if "=?" in local[0]:
            raise FieldError("has an encoded word in an address")
        mailbox = Mailbox(self._at, at, local[0], domain)
        self._at = at
        return mailbox

    def _phrase(self) -> bool:
        """A name: words, quoted strings, comments. Whether it has brackets outside of both."""
        brackets = False
        while True:
            self._white()
            if self._next() == '"':
                match = _QUOTED.match(self._text, self._at)
                if match is None:
                    raise FieldError("has a quote without an end, or control characters in quotes")
            else:
                match = _WORD.match(self._text, self._at)
                if match is None:
                    return brackets
                brackets = brackets or "[" in match[0] or "]" in match[0]
            self._at = match.end()

    def _white(self) -> None:
        """White space and comments."""
        match = _WHITE.match(self._text, self._at)
        start, self._at = self._at, match.end() if match else self._at
        if self._strict and _UNCLEAR_IN_COMMENT.search(self._text, start, self._at):
            raise FieldError("has an address or quotes in a comment")
        if self._next() == "(":
            raise FieldError("has a comment that is not closed, four deep, or has a backslash or control character")


def _shown(sign: str) -> str:
    return sign if "!" <= sign <= "~" else f"the octet {ord(sign)}"
