"""AUTH (RFC 4954) with a server: which mechanism, and what is said."""

import base64
import contextlib

from postroad.runtime.uplink import Server
from postroad.uplink import mechanisms
from postroad.uplink.mechanisms import Exchange, MechanismError
from postroad.uplink.oauth import Tokens
from postroad.uplink.replies import QUOTA, Reply, ReplyError, kind_of, printable
from postroad.uplink.wire import Wire

UNKNOWN_MECHANISM = 504
"""RFC 4954, 4."""
MOST_CHALLENGES = 8


class RefusalError(Exception):
    """The server does not take the credentials.

    Attributes:
        reason: why, its words included.
        lasting: that is about the account; False: it may take them in a moment.
        quota: the account has sent what it may for now.
    """

    def __init__(self, reason: str, *, lasting: bool, quota: bool = False) -> None:
        """Tell why."""
        super().__init__(reason)
        self.reason, self.lasting, self.quota = reason, lasting, quota


async def authenticate(wire: Wire, server: Server, tokens: Tokens | None, offers: tuple[str, ...]) -> str:
    """Log in; the name of the mechanism.

    Args:
        wire: the connection, encrypted.
        server: the account.
        tokens: where access tokens are had; None: there is a password.
        offers: the lines of the server's answer to EHLO.

    Raises:
        RefusalError: the server does not take the credentials.
        TokenError: there is no token.
        MechanismError: the server breaks a mechanism's rules.
        OSError, EOFError, ReplyError: the connection breaks.
    """
    offered = [word for offer in offers[1:] for word in _auth_words(offer)]
    known = mechanisms.TOKENS if tokens else mechanisms.ORDER
    names = mechanisms.choose(offered, known)
    if not names:
        has = ", ".join(map(printable, offered)) or "no AUTH"
        said = f"takes no credentials of ours: it offers {has}, and none of {', '.join(known)}"
        raise RefusalError(said, lasting=True)
    if tokens is None:
        return await _with_password(wire, server, names)
    name = names[0]
    token = await tokens.access()
    reply = await _exchange(wire, name, known[name](server.username, token))
    if reply.code >= 500:
        # revoked, or a clock is off: another one may do
        token = await tokens.access(unless=token)
        reply = await _exchange(wire, name, known[name](server.username, token))
    return _taken(name, server, reply)


async def _with_password(wire: Wire, server: Server, names: list[str]) -> str:
    reply = Reply(0, ())
    for name in names:
        try:
            reply = await _exchange(wire, name, mechanisms.ORDER[name](server.username, server.password))
        except (OSError, EOFError, ReplyError, MechanismError):
            if reply.code < 500:
                raise
            break  # what it said before is why
        if reply.code < 500 or (name in mechanisms.IN_CLEAR and reply.code != UNKNOWN_MECHANISM):
            return _taken(name, server, reply)  # another way to send the same password: one more wrong guess
    return _taken("", server, reply)


def _taken(name: str, server: Server, reply: Reply) -> str:
    if reply.code == 235:
        return name
    if kind_of(reply) == QUOTA:
        raise RefusalError(f"has no more quota for this account: {reply.text}", lasting=False, quota=True)
    if reply.code < 500:
        raise RefusalError(f"does not take AUTH now: {reply.text}", lasting=False)
    raise RefusalError(f"refuses the credentials of {printable(server.username)}: {reply.text}", lasting=True)


def _auth_words(offer: str) -> list[str]:
    words = offer.replace("=", " ", 1).split() if offer[:5].upper() in {"AUTH ", "AUTH="} else []
    return words[1:]


async def _exchange(wire: Wire, name: str, exchange: Exchange) -> Reply:
    first = exchange.initial
    said = await wire.ask(f"AUTH {name}" + ("" if first is None else f" {base64.b64encode(first).decode() or '='}"))
    for _ in range(MOST_CHALLENGES):
        if said.code != 334:
            if said.code == 235:
                exchange.finished()
            return said
        challenge = mechanisms.decoded("".join(said.lines).strip())
        try:
            answer = base64.b64encode(exchange.answer(challenge)).decode()
        except MechanismError:
            with contextlib.suppress(OSError, ReplyError):
                await wire.ask("*")
            raise
        said = await wire.ask(answer)
    raise MechanismError("the server never ends to ask")
