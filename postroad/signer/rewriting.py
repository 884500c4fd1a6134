"""Addresses that leave as others (``rewrite`` of the configuration). The rules of sendmail.mc do it to the envelope."""

from postroad import domains
from postroad.runtime.signing import Rewriting
from postroad.signer.addresses import Mailbox


def rewritten(rewriting: Rewriting, mailbox: Mailbox) -> tuple[str, str]:
    """An address as it leaves: what stands before the ``@``, and the domain; empty where it still has none."""
    local, domain = mailbox.local, mailbox.domain or rewriting.add_domain
    if not domain or domain.startswith("["):
        return local, domain
    name = domain.lower()
    if any(domains.is_within(name, host) for host in rewriting.masquerade_domains):
        domain = rewriting.masquerade_as
    new = rewriting.addresses.get(f"{local}@{domain}".lower())
    if new:
        local, _, domain = new.rpartition("@")
    return local, domain


def replaced(text: str, found: list[tuple[Mailbox, str]]) -> str:
    """The text of a field with addresses put in the place of others; all else stays.

    Args:
        text: the field's value.
        found: its mailboxes in order, with what each becomes.
    """
    parts, at = [], 0
    for mailbox, new in found:
        parts += [text[at : mailbox.start], new]
        at = mailbox.end
    return "".join([*parts, text[at:]])
