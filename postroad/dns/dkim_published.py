"""Whether a DKIM key's record is published, what is wrong with it, and which resolvers have it."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from postroad.config.model import Config
from postroad.dns.dkim_record import parse
from postroad.dns.resolver import Answer, Resolver, servers

ENOUGH = 2
"""How many resolvers must have the next key's record before it signs; fewer if fewer are asked."""


@dataclass(frozen=True)
class Fault:
    """What is wrong, as the end of a sentence; ``fatal``: signatures will not verify."""

    text: str
    fatal: bool = True


def fault(found: Sequence[str], wanted: str) -> Fault | None:
    """What is wrong with a key's TXT values; None if nothing is.

    Args:
        found: the published values.
        wanted: the record that belongs to the key.
    """
    if len(found) != 1:
        many = f"is there {len(found)} times: receivers use any one of them (RFC 6376, section 3.6.2.2)"
        return Fault(many if found else "is missing")
    try:
        record = parse(found[0])
    except ValueError as error:
        return Fault(f"can't be used: {error}")
    ours = parse(wanted)
    for wrong, what in (
        (not record.key, "revokes the key: p= is empty"),
        (record.kind != ours.kind, f"declares another key type: k={record.kind}"),
        (record.key != ours.key, "has a different key from the one here"),
        (record.hashes and "sha256" not in record.hashes, f"does not allow sha256: h={':'.join(record.hashes)}"),
        (not {"*", "email"} & record.services, f"is not for mail: s={':'.join(record.services)}"),
    ):
        if wrong:
            return Fault(what)
    if record.doubts:
        return Fault(f"is not accepted by all receivers: {'; '.join(record.doubts)}", fatal=False)
    if "y" in record.flags:
        return Fault("is in test mode (t=y): receivers may treat the mail as unsigned", fatal=False)
    return None


def is_revoked(text: str) -> bool:
    """Whether a TXT value revokes its key by an empty ``p=`` (RFC 6376, section 3.6.1)."""
    try:
        return not parse(text).key
    except ValueError:
        return False


@dataclass(frozen=True)
class Seen:
    """What the resolvers say of a key's record.

    Attributes:
        have: resolvers that return it without a fault.
        lack: resolvers that return nothing, or a faulty or different record.
        silent: resolvers that did not answer.
        why: what is wrong at the first of ``lack``, as the end of a sentence; may be empty.
    """

    have: tuple[str, ...]
    lack: tuple[str, ...]
    silent: tuple[str, ...]
    why: str = ""

    @property
    def enough(self) -> bool:
        """Whether mail may be signed with the key."""
        asked = len(self.have) + len(self.lack) + len(self.silent)
        return not self.lack and len(self.have) >= min(ENOUGH, asked)

    def __str__(self) -> str:
        """In words."""
        asked = len(self.have) + len(self.lack) + len(self.silent)
        parts = [f"{len(self.have)} of {asked} resolvers have its record"]
        if self.lack:
            parts.append(f"at {', '.join(self.lack)} it {self.why}")
        if self.silent:
            parts.append(f"{', '.join(self.silent)} did not answer")
        return "; ".join(parts)


def seen(config: Config, name: str, value: str, *, timeout: float = 4.0) -> Seen:
    """Ask each resolver separately for a key's record.

    Args:
        config: the configuration, which names the resolvers.
        name: ``SELECTOR._domainkey.DOMAIN``.
        value: the record that should be there.
        timeout: seconds for each resolver.
    """
    asked = list(
        dict.fromkeys([*servers([str(address) for address in config.dns.servers]), *map(str, config.dkim.resolvers)])
    )

    def ask(server: str) -> Answer:
        return Resolver([server], timeout=timeout, deadline=timeout).query(name, "TXT")

    with ThreadPoolExecutor(len(asked)) as threads:
        answers = dict(zip(asked, threads.map(ask, asked), strict=True))
    known = {server: answer for server, answer in answers.items() if not answer.unknown}
    faults = {server: fault(answer.values, value) for server, answer in known.items()}
    return Seen(
        have=tuple(server for server, found in faults.items() if not found),
        lack=tuple(server for server, found in faults.items() if found),
        silent=tuple(server for server in asked if server not in known),
        why=next((found.text for found in faults.values() if found), ""),
    )
