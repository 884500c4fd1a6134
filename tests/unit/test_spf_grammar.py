"""The grammar of SPF records: what breaks it, where, and in which words."""

import random

import pytest

from postroad.dns.spf import covered, is_spf, merge
from postroad.dns.spf_check import Result, evaluate
from postroad.dns.spf_disputed import disputed
from postroad.dns.spf_grammar import faults, parse
from postroad.dns.spf_mend import mend
from tests.oracle import pyspf
from tests.oracle.dns_table import TableResolver
from tests.oracle.ours import judge
from tests.seeds import SEED


@pytest.mark.parametrize(
    ("terms", "place", "said"),
    [
        ("a mx ip4:10.0.0.0/255.255.255.0", "term 3, `ip4:10.0.0.0/255.255.255.0`", "a prefix length, not a netmask"),
        ("ip4:203.0.113.0/032", "term 1, `ip4:203.0.113.0/032`", "no leading zero"),
        ("a/032", "term 1", "no leading zero"),
        ("ip6:2001:db8::/032", "term 1", "no leading zero"),
        ("a//064", "term 1", "no leading zero"),
        ("a/33", "term 1", "at most 32"),
        ("mx//129", "term 1", "at most 128"),
        ("ip4:203.0.113.0/33", "term 1", "at most 32"),
        ("ip6:2001:db8::/1000", "term 1", "at most 128"),
        ("ip4:203.0.113.0/", "term 1", "no prefix length after the /"),
        ("a/", "term 1", "no prefix length after the /"),
        ("mx:x.example/", "term 1", "no prefix length after the /"),
        ("ip4:203.0.113.0//24", "term 1", "one prefix length"),
        ("ptr/24", "term 1", "takes no prefix length"),
        ("include:x.example/24", "term 1", "takes no prefix length"),
        ("ip4:10.0.0.1\tmx -all", "term 1, `ip4:10.0.0.1\\x09mx`", "a TAB"),
        ("a\u00e4", "term 1, `a\\xe4`", "U+00E4"),
        ("ip4:203.0.113.10 a:192.0.2.10", "term 2, `a:192.0.2.10`", "write ip4:192.0.2.10"),
        ("mx:192.0.2.10/24", "term 1", "write ip4:192.0.2.10"),
        ("include:192.0.2.10", "term 1", "an address"),
        ("a:2001:db8::1", "term 1", "write ip6:2001:db8::1"),
        ("a:host.x.example:25", "term 1", "a port"),
        ("a:host:25", "term 1", "a port"),
        ("a:host", "term 1", "one label"),
        ("mx:x.123", "term 1", "no domain ends in .123"),
        ("mx:x.e-", "term 1", "no domain ends in .e-"),
        ("exp=a.x.example exp=b.x.example", "term 2", "a second exp="),
        ("redirect=a.example redirect=b.example", "term 2", "a second redirect="),
        ("redirect=", "term 1", "no domain"),
        ("exp=", "term 1", "no domain"),
        ("+redirect=x.example", "term 1", "no qualifier"),
        ("include", "term 1", "write include:DOMAIN"),
        ("exists:", "term 1", "write exists:DOMAIN"),
        ("a:", "term 1", "write a:DOMAIN"),
        ("ip4", "term 1", "no network"),
        ("ip4:", "term 1", "no network"),
        ("ip4:2001:db8::1", "term 1", "write ip6:"),
        ("ip6:192.0.2.1", "term 1", "write ip4:"),
        ("ip4:x.example", "term 1", "write a:NAME"),
        ("ip4:203.0.113", "term 1", "four numbers, this has 3"),
        ("ip4:203.0.113.010", "term 1", "leading zero"),
        ("ip4:203.0.113.256", "term 1", "at most 255"),
        ("ip4:203.0.113.10:25", "term 1", "a port"),
        ("ip6:[2001:db8::1]", "term 1", "brackets"),
        ("ip6:fe80::1%eth0", "term 1", "no IPv6 address"),
        ("exists:%{z}.x.example", "term 1", "unknown macro %{z}"),
        ("exists:%{c}.x.example", "term 1", "%{c} is allowed only in the text"),
        ("exists:%{d0}.x.example", "term 1", "%{d0} keeps 0 labels"),
        ("exists:%{d.x.example", "term 1", "%{d.x.example is not a macro"),
        ("exists:100%.x.example", "term 1", "%. is not a macro"),
        ("moo=%{z}", "term 1", "unknown macro %{z}"),
        ("moo=50%", "term 1", "% is not a macro"),
        ("ipv4:203.0.113.10", "term 1", "is ip4 meant?"),
        ("ip:203.0.113.10", "term 1", "is ip4 meant?"),
        ("ipv6:2001:db8::1", "term 1", "is ip6 meant?"),
        ("PRT", "term 1", "is ptr meant?"),
        ("includes:x.example", "term 1", "is include meant?"),
        ("aaaa", "term 1", "is a meant?"),
        ("203.0.113.10", "term 1", "write ip4:203.0.113.10"),
        ("-all;", "term 1", "is all meant?"),
        ("--all", "term 1", "not an SPF mechanism"),
        ("all:x.example", "term 1", "all takes no value"),
        ("a -", "term 2", "no mechanism"),
        ('"a', "term 1", "quotation mark"),
        (f"a:{'x' * 200}", "term 1, `a:" + "x" * 75 + "...`", "one label"),
        (f"exists:%{{d{'9' * 5000}x}}", "term 1", "is not a macro"),
    ],
)  # fmt: skip
def test_each_fault_has_its_place_and_its_words(terms: str, place: str, said: str) -> None:
    fault = faults(f"v=spf1 {terms}")[-1]
    assert fault.startswith(f"{place}")
    assert said in fault


def test_all_faults_are_told_and_terms_count_from_the_version() -> None:
    assert faults("v=spf1  a:192.0.2.10   mx nonsense -all ") == [
        "term 1, `a:192.0.2.10`: an address, where a domain belongs; write ip4:192.0.2.10",
        "term 3, `nonsense`: not an SPF mechanism",
    ]
    with pytest.raises(ValueError, match=r"^term 1, .*; term 3, "):
        parse("v=spf1  a:192.0.2.10   mx nonsense -all ")


@pytest.mark.parametrize(
    "terms",
    [
        "", "a", "A/24//64", "mx:%{d}/24", "a:%{d/}/24", "a:foo:bar/baz.x.example", "a:_spf.x.example.", "a:x.example-1.e-e",
        "exists:%{L1r-}.lp.%{ir}.%{v}._spf.%{d2}", "moo.cow-far_out=man:dog/cat", "moo=", "?all", "-ALL", "ip6:::/0", "ip4:0.0.0.0/0",
        "redirect=%{d2} exp=%{ir}.x.example", "exists:%%%_%-", "ip6:::ffff:192.0.2.1/128", "ptr", f"exists:%{{d{'9' * 5000}}}",
    ],
)  # fmt: skip
def test_what_keeps_the_grammar(terms: str) -> None:
    assert faults(f"v=spf1 {terms}") == []


@pytest.mark.parametrize(
    ("terms", "said"),
    [
        ("a/0", "libspf2 treats the prefix length 0"),
        ("-ip4:203.0.113.0/0", "libspf2 treats the prefix length 0"),
        ("mx:x.example/24//0", "libspf2 treats the prefix length 0"),
        ("exists:%{d256}", "libspf2 treats a macro with a number above 128"),
        ("moo=%%", "pyspf treats %% at the end"),
        ("a:%%//64", "pyspf treats %% at the end"),
        ("op=auth op=spf", "pyspf treats a second op="),
        ("a.b=c", "libspf2 treats a modifier with a dot"),
        ("redirect=x.example a", "put it last"),
        ("all redirect=x.example", "has no effect"),
        ("a/10 mx/30//10 op=auth exp=x.example redirect=x.example", ""),
    ],
)
def test_what_some_receivers_refuse(terms: str, said: str) -> None:
    assert faults(f"v=spf1 {terms}") == []
    assert [said in each for each in disputed(f"v=spf1 {terms}")] == ([True] if said else [])


@pytest.mark.parametrize(
    ("term", "meant"),
    [
        ("ip4:10.0.0.0/255.255.255.0", "ip4:10.0.0.0/24"),
        ("-ip4:10.0.0.0/032", "-ip4:10.0.0.0/32"),
        ("ip4:10.0.0.0/255.0.255.0", "ip4:10.0.0.0/255.0.255.0"),
        ("a:192.0.2.10", "ip4:192.0.2.10"),
        ("~mx:192.0.2.0/024", "~ip4:192.0.2.0/24"),
        ("a:2001:db8::1", "ip6:2001:db8::1"),
        ("ip6:192.0.2.1", "ip4:192.0.2.1"),
        ("ip4:2001:db8::/32", "ip6:2001:db8::/32"),
        ("ipv4:192.0.2.1", "ip4:192.0.2.1"),
        ("192.0.2.1", "ip4:192.0.2.1"),
        ("a:host.x.example:25", "a:host.x.example"),
        ("a:host.x.example/024", "a:host.x.example/24"),
        ("-all;", "-all"),
        ("include:x.example,", "include:x.example"),
        ("a:host", "a:host"),
        ("nonsense", "nonsense"),
        ("mx", "mx"),
    ],
)
def test_what_is_plain_is_mended(term: str, meant: str) -> None:
    assert mend(term) == meant


def test_a_record_that_is_merged_is_mended() -> None:
    broken = "v=spf1 ip4:10.0.0.0/255.255.255.0\ta:192.0.2.10 include:x.example -all"
    assert merge([broken], [], all_="~all") == "v=spf1 ip4:10.0.0.0/24 ip4:192.0.2.10 include:x.example -all"
    odd = "v=spf1   a    -all"
    assert merge([odd], [], all_="~all") == odd


@pytest.mark.parametrize(
    "after", ["a:192.0.2.10", "a:host:25", "exp=a.x.example exp=b.x.example", "moo=%{z}", "ip4:10.0.0.0/032"]
)
def test_what_stands_after_a_term_that_matches_counts(after: str) -> None:
    zone = {"x.example": {"TXT": (f"v=spf1 ip4:203.0.113.10 {after}",)}}
    assert evaluate(TableResolver(zone), "203.0.113.10", "x.example").result is Result.PERMERROR
    assert not covered(zone["x.example"]["TXT"][0], "203.0.113.10")


def test_a_record_that_is_read_by_an_include_is_checked_as_well() -> None:
    zone = {
        "x.example": {"TXT": ("v=spf1 include:y.example -all",)},
        "y.example": {"TXT": ("v=spf1 ip4:203.0.113.10 a:192.0.2.10",)},
    }
    verdict = evaluate(TableResolver(zone), "203.0.113.10", "x.example")
    assert (verdict.result, verdict.why.startswith("the record of y.example: term 2, `a:192.0.2.10`")) == (
        "permerror",
        True,
    )


@pytest.mark.parametrize("term", ["include:x.example", "include:%{D}", "?include:%{o}"])
def test_a_record_that_includes_itself_after_the_match(term: str) -> None:
    zone = {"x.example": {"TXT": (f"v=spf1 ip4:203.0.113.10 {term} -all",)}}
    verdict = evaluate(TableResolver(zone), "203.0.113.10", "x.example")
    assert verdict.result is Result.PASS
    assert [f"`{term}` includes its own record" in each for each in verdict.disputed] == [True]


@pytest.mark.seeded
def test_no_record_passes_that_pyspf_calls_an_error() -> None:
    """The same generator as `make oracle`, which asks libspf2 as well, of many more."""
    judged = judge(600, seed=SEED)
    assert not judged.wrong(pyspf.verdicts(judged.zone, judged.cases))
    results = [str(verdict.result) for verdict in judged.verdicts]
    assert min(map(results.count, ("pass", "fail", "softfail", "neutral", "permerror"))) > 50  # it is about all of them


@pytest.mark.seeded
def test_any_text_has_faults_or_terms() -> None:
    chance = random.Random(SEED)
    pieces = [
        "a",
        ":",
        "/",
        "//",
        "%",
        "{",
        "}",
        "ip4",
        "=",
        "1",
        ".",
        "\t",
        "é",
        "x.example",
        "%{d}",
        "redirect",
        "+",
        "-",
        " ",
    ]
    for _ in range(5000):
        text = "v=spf1 " + "".join(chance.choice(pieces) for _ in range(chance.randint(0, 12)))
        assert is_spf(text)
        found = faults(text)
        if not found:
            parse(text)
            disputed(text)
        merge([text], ["203.0.113.10"], all_="~all")
