"""The arguments of MAIL and RCPT, read strictly (RFC 5321, section 4.1.2; RFC 3461 for ENVID and ORCPT).

sendmail reads more than the grammar has, and something else than its sender may have meant: it drops white space and
comments, takes a space between two words for a dot, and clears the eighth bit of octets in a domain. What is refused
here can't be sent to anybody else, and the rules have judged the spelling that is sent.
"""

import re
from collections.abc import Sequence

from postroad.signer.policy import Refusal

_ATOM = rb"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LOCAL = rb"(?:" + _ATOM + rb"(?:\." + _ATOM + rb')*|"(?:[ !#-\[\]-~]|\\[ -~])*")'
# underscores are no part of the grammar, and of some hosts' names
_LABEL = rb"[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?"
_DOMAIN = _LABEL + rb"(?:\." + _LABEL + rb")*"
_MAILBOX = _LOCAL + rb"(?:@(?:" + _DOMAIN + rb"|\[[!-Z^-~]+\]))?"  # without a domain: the rules see to that
_ROUTE = rb"(?:@" + _DOMAIN + rb"(?:,@" + _DOMAIN + rb")*:)?"
_LEADING_ROUTE = re.compile(_ROUTE)
_PATH = re.compile(rb"<" + _ROUTE + _MAILBOX + rb">|" + _MAILBOX)
_UNQUOTED = re.compile(rb'["\\]')
_XTEXT = re.compile(rb"(?:[!-*,-<>-~]|\+[2-7][0-9A-F])*")  # printable ASCII, also where it is encoded
_ENCODED = (b"ENVID", b"ORCPT")

PARAMETER = "5.5.4"
"""The status of a refusal that is for a parameter (RFC 3463)."""


def refused_sender(arguments: Sequence[bytes]) -> Refusal | None:
    """Why MAIL is refused, if it is: its path as the client gave it, then its parameters."""
    return _refused(arguments, "sender", "5.1.7")


def refused_recipient(arguments: Sequence[bytes]) -> Refusal | None:
    """Likewise for RCPT."""
    return _refused(arguments, "recipient", "5.1.3")


def redirections(recipients: Sequence[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    """The recipients of a message whose mail goes to another address.

    Args:
        recipients: each one's path of RCPT, as the client gave it, and the address that sendmail names to the receiver
            (``{rcpt_addr}``), if it is known.

    Returns:
        Recipients without their angle brackets, as sendmail logs them, with the other address. One at an address that
        another one's mail goes to is among them: sendmail delivers once, and may log that other one only.
    """
    pairs = [(_bare(path), _bare(resolved).removesuffix(b".")) for path, resolved in recipients if resolved]
    elsewhere = {_plain(target) for named, target in pairs if _plain(named) != _plain(target)}
    return [
        (named.decode("ascii", "replace"), target.decode("ascii", "replace"))
        for named, target in pairs
        if _plain(target) in elsewhere
    ]


def address(path: bytes) -> str:
    """The address in a path, in lower case; empty where there is none, or where it is quoted."""
    bare = _LEADING_ROUTE.sub(b"", _bare(path), count=1)
    return "" if b'"' in bare else bare.decode("ascii", "replace").lower()


def _bare(path: bytes) -> bytes:
    return path.removeprefix(b"<").removesuffix(b">")


def _plain(address: bytes) -> bytes:
    """An address in one of the ways of writing it."""
    return _UNQUOTED.sub(b"", _LEADING_ROUTE.sub(b"", address, count=1)).lower()


def _refused(arguments: Sequence[bytes], who: str, status: str) -> Refusal | None:
    odd = _odd(arguments[1:])
    if odd:
        return Refusal("501", PARAMETER, f"{odd} holds other octets than RFC 3461 (section 4) has")
    if not _PATH.fullmatch(arguments[0]) and not (who == "sender" and arguments[0] == b"<>"):
        return Refusal(
            "501", status, f"the {who} address is not plain (RFC 5321, 4.1.2): <USER@DOMAIN>, odd names in quotes"
        )
    return None


def _odd(parameters: Sequence[bytes]) -> str:
    for parameter in parameters:
        name, _, value = parameter.partition(b"=")
        if name.upper() in _ENCODED and not _XTEXT.fullmatch(value.replace(b";", b"")):
            return name.upper().decode()
    return ""
