"""SPF as text: merged, and its macros (RFC 7208, section 7.4). Verdicts are in tests/integration."""

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postroad.dns.macros import MacroError, Who, expand
from postroad.dns.spf import covered, is_spf, merge
from postroad.dns.spf_check import Result, cost, evaluate
from postroad.dns.spf_grammar import parse
from tests.oracle.dns_table import TableResolver

V4 = Who(ipaddress.ip_address("192.0.2.3"), "strong-bad@email.example.com", "mail.example.com")
V6 = Who(ipaddress.ip_address("2001:db8::cb01"), "strong-bad@email.example.com", "mail.example.com")


@pytest.mark.parametrize(
    ("existing", "addresses", "merged"),
    [
        ([], ["203.0.113.10"], "v=spf1 ip4:203.0.113.10 ~all"),
        ([], ["203.0.113.10", "2001:db8::10"], "v=spf1 ip4:203.0.113.10 ip6:2001:db8::10 ~all"),
        (["v=spf1 mx -all"], ["203.0.113.10"], "v=spf1 ip4:203.0.113.10 mx -all"),
        (["v=spf1 mx -all"], [], "v=spf1 mx -all"),
        (["v=spf1 a"], ["203.0.113.10"], "v=spf1 ip4:203.0.113.10 a"),
        (["v=spf1"], ["203.0.113.10"], "v=spf1 ip4:203.0.113.10"),
        (["v=spf1 redirect=x.example"], ["203.0.113.10"], "v=spf1 ip4:203.0.113.10 redirect=x.example"),
        # of two records one; it lets through whom either did
        (["v=spf1 a -all", "v=spf1 mx ~all"], ["203.0.113.10"], "v=spf1 ip4:203.0.113.10 a mx ~all"),
        (["v=spf1 a mx -all", "v=spf1 mx -all"], [], "v=spf1 a mx -all"),
        (["v=spf1 a -all", "v=spf1 redirect=x.example"], [], "v=spf1 a include:x.example -all"),
        (
            ["v=spf1 redirect=x.example", "v=spf1 redirect=y.example"],
            [],
            "v=spf1 include:x.example include:y.example ~all",
        ),
    ],
)
def test_merge(existing: list[str], addresses: list[str], merged: str) -> None:
    assert merge(existing, addresses, all_="~all") == merged


TERMS = st.sampled_from(
    ["a", "mx", "ip4:192.0.2.0/24", "include:x.example", "-all", "~all", "redirect=y.example", "?exists:%{i}.z.example"]
)


@settings(deadline=None)
@given(st.lists(st.lists(TERMS, max_size=5), max_size=3))
def test_a_merged_record_is_one_record_in_which_we_pass(records: list[list[str]]) -> None:
    existing = [" ".join(["v=spf1", *dict.fromkeys(terms)]) for terms in records]
    merged = merge(existing, ["203.0.113.10"], all_="~all")
    assert is_spf(merged)
    assert merged.split()[1] == "ip4:203.0.113.10"
    assert covered(merged, "203.0.113.10")
    assert merge([merged], [], all_="~all") == merged
    assert len(parse(merged)) <= len(merged.split()) - 1


@pytest.mark.parametrize(
    ("record", "address", "passes"),
    [
        ("v=spf1 ip4:203.0.113.0/24 -all", "203.0.113.10", True),
        ("v=spf1 -ip4:203.0.113.10 ip4:203.0.113.0/24 -all", "203.0.113.10", False),
        ("v=spf1 ?ip4:203.0.113.10 -all", "203.0.113.10", False),
        ("v=spf1 ip6:2001:db8::/32 -all", "203.0.113.10", False),
        ("v=spf1 +all", "2001:db8::1", True),
        ("v=spf1 nonsense: ip4:203.0.113.10 -all", "203.0.113.10", False),
    ],
)
def test_covered(record: str, address: str, passes: bool) -> None:
    assert covered(record, address) == passes


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("%{s}", "strong-bad@email.example.com"),
        ("%{o}", "email.example.com"),
        ("%{d}", "email.example.com"),
        ("%{d4}", "email.example.com"),
        ("%{d2}", "example.com"),
        ("%{d1}", "com"),
        ("%{dr}", "com.example.email"),
        ("%{d2r}", "example.email"),
        ("%{l}", "strong-bad"),
        ("%{l-}", "strong.bad"),
        ("%{lr}", "strong-bad"),
        ("%{lr-}", "bad.strong"),
        ("%{l1r-}", "strong"),
        ("%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"),
        ("%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com"),
        ("%{lr-}.lp.%{ir}.%{v}._spf.%{d2}", "bad.strong.lp.3.2.0.192.in-addr._spf.example.com"),
        ("%{d2}.trusted-domains.example.net", "example.com.trusted-domains.example.net"),
        ("%{h}%%%_%-", "mail.example.com% %20"),
        ("%{S}", "strong-bad%40email.example.com"),
    ],
)
def test_macros_of_the_rfc(text: str, expanded: str) -> None:
    assert expand(text, V4, "email.example.com") == expanded


def test_an_ipv6_address_is_nibbles() -> None:
    assert expand("%{ir}.%{v}._spf.%{d2}", V6, "email.example.com") == (
        "1.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6._spf.example.com"
    )


@pytest.mark.parametrize("text", ["%", "%{", "%{x}", "%{d0}", "%(d)", "%{d2r", "a%b"])
def test_what_is_no_macro(text: str) -> None:
    with pytest.raises(MacroError):
        expand(text, V4, "example.com")


def test_a_long_name_loses_labels_on_the_left() -> None:
    name = expand(f"{'x' * 60}.%{{l}}.{'y' * 60}.{'z' * 60}.{'w' * 60}.example.com", V4, "example.com")
    assert len(name) <= 253
    assert name.endswith(".example.com")
    assert not name.startswith("x")


NESTED: dict[str, dict[str, tuple[str, ...]]] = {
    "a.example": {"TXT": ("v=spf1 include:b.example mx -all",)},
    "b.example": {"TXT": ("v=spf1 a exists:%{i}.x.example redirect=c.example",)},
    "c.example": {"TXT": ("v=spf1 ip4:192.0.2.1 -all",)},
    "loop.example": {"TXT": ("v=spf1 include:round.example -all",)},
    "round.example": {"TXT": ("v=spf1 include:loop.example -all",)},
    "two.example": {"TXT": ("v=spf1 -all", "v=spf1 a -all")},
    "dead.example": {"TIMEOUT": ("TIMEOUT",)},
    "bad.example": {"TXT": ("v=spf1 ip4:x -all",)},
}


@pytest.mark.parametrize(
    ("terms", "total", "parts", "problem"),
    [
        ("ip4:192.0.2.1", 0, [], ""),
        ("a mx ptr", 3, [("a", 1), ("mx", 1), ("ptr", 1)], ""),
        ("include:a.example", 6, [("include:a.example", 6)], ""),
        ("a include:b.example", 5, [("a", 1), ("include:b.example", 4)], ""),
        ("include:%{d}.example", 1, [("include:%{d}.example", 1)], ""),
        ("include:loop.example", 13, [("include:loop.example", 13)], "a loop: x.example -> loop.example -> round.example -> loop.example"),
        ("include:none.example", 1, [("include:none.example", 1)], "include:none.example of x.example leads to no SPF record"),
        ("include:two.example", 1, [("include:two.example", 1)], "include:two.example of x.example leads to 2 SPF records"),
        ("include:dead.example", 1, [("include:dead.example", 1)], "include:dead.example of x.example can't be looked up: no answer in time"),
        ("include:bad.example a", 2, [("include:bad.example", 1), ("a", 1)], "the record of bad.example: term 1"),
        ("include:none.example include:two.example", 2, [("include:none.example", 1), ("include:two.example", 1)], "include:none.example"),
        ("include:a.example include:a.example", 12, [("include:a.example", 6)] * 2, "12 DNS lookups: receivers stop at 10"),
        ("nonsense", 0, [], "the record of x.example: term 1, `nonsense`"),
    ],
)  # fmt: skip
def test_what_a_record_costs(terms: str, total: int, parts: list[tuple[str, int]], problem: str) -> None:
    found = cost(TableResolver(NESTED), f"v=spf1 {terms} -all", "x.example")
    assert (found.lookups, list(found.parts)) == (total, parts)
    assert found.problem.startswith(problem)
    assert bool(found.problem) == bool(problem)


@pytest.mark.parametrize(
    ("names", "validated"),
    [
        (("a.other.example", "h.x.example", "x.example"), "x.example"),
        (("a.other.example", "h.x.example"), "h.x.example"),
        (("a.other.example", "hx.example"), "a.other.example"),
        (("forged.example",), "unknown"),
    ],
)
def test_the_validated_name_is_that_of_the_domain_or_of_one_below(names: tuple[str, ...], validated: str) -> None:
    zone: dict[str, dict[str, tuple[str, ...]]] = {
        name: {"A": ("192.0.2.1",)} for name in names if "forged" not in name
    }
    zone |= {"1.2.0.192.in-addr.arpa": {"PTR": names}, f"{validated}.ok.example": {"A": ("127.0.0.2",)}}
    zone["x.example"] = {**zone.get("x.example", {}), "TXT": ("v=spf1 exists:%{p}.ok.example -all",)}
    assert evaluate(TableResolver(zone), "192.0.2.1", "x.example").result is Result.PASS


@pytest.mark.parametrize(
    ("record", "why"),
    [
        (" ".join(f"exists:{number}.x.example" for number in range(2)) + " ip4:192.0.2.1", ""),
        (
            " ".join(f"a:h{number}.y.example" for number in range(11)),
            "more than 10 DNS lookups, at a:h10.y.example of x.example",
        ),
        ("include:none.example", "include:none.example of x.example leads to no SPF record"),
        ("ip4:x", "the record of x.example: term 1, `ip4:x`"),
    ],
)
def test_why_an_evaluation_ends(record: str, why: str) -> None:
    zone = {"x.example": {"TXT": (f"v=spf1 {record} -all",)}}
    zone |= {f"h{number}.y.example": {"A": ("198.51.100.1",)} for number in range(11)}
    found = evaluate(TableResolver(zone), "192.0.2.1", "x.example")
    assert found.result is (Result.PERMERROR if why else Result.PASS)
    assert found.why.startswith(why)


def test_an_include_of_itself_is_told() -> None:
    zone = {"x.example": {"TXT": ("v=spf1 ip4:192.0.2.1 include:x.example a:x.example exists:x.example -all",)}}
    said = "the record of x.example: `include:x.example` includes its own record: pyspf treats that as an error at once"
    assert evaluate(TableResolver(zone), "192.0.2.1", "x.example").disputed == (said,)
