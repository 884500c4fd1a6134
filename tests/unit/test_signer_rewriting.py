"""The signer's side of the table of rewriting; ``integration/test_rewriting.py`` asks the ruleset the same."""

import pytest

from postroad.runtime.signing import Rewriting
from postroad.signer.addresses import Mailbox
from postroad.signer.rewriting import replaced, rewritten
from tests.rewriting import CASES, REWRITE

SETTINGS = Rewriting(
    add_domain=REWRITE["add_domain"],
    masquerade_domains=tuple(REWRITE["masquerade_domains"]),
    masquerade_as=REWRITE["masquerade_as"],
    addresses=REWRITE["addresses"],
    sender="",
)
NOTHING = Rewriting("", (), "", {}, "")


def mailbox(address: str) -> Mailbox:
    local, _, domain = address.rpartition("@") if "@" in address else (address, "", "")
    return Mailbox(0, len(address), local, domain)


@pytest.mark.parametrize("address", CASES)
def test_the_table(address: str) -> None:
    assert "@".join(rewritten(SETTINGS, mailbox(address))) == CASES[address]


@pytest.mark.parametrize("address", CASES)
def test_without_rewriting_nothing_changes(address: str) -> None:
    local, domain = rewritten(NOTHING, mailbox(address))
    assert (f"{local}@{domain}" if domain else local) == address


def test_an_address_literal_stays() -> None:
    assert rewritten(SETTINGS, Mailbox(0, 0, "root", "[192.0.2.1]")) == ("root", "[192.0.2.1]")


def test_what_is_around_an_address_stays() -> None:
    text = '"a, b" <x@web1> (c), y@web1'
    found = [(Mailbox(8, 14, "x", "web1"), "x@sender.example"), (Mailbox(21, 27, "y", "web1"), "y@sender.example")]
    assert replaced(text, found) == '"a, b" <x@sender.example> (c), y@sender.example'
