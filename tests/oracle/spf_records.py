"""SPF records made at random, right and wrong in the ways that people's are, and the names that they speak of."""

import random
from collections.abc import Iterator

from tests.oracle.dns_table import Zone, pointer

FOUR, SIX, STRANGER = "203.0.113.10", "2001:db8::10", "198.51.100.1"
CLIENTS = (FOUR, SIX, STRANGER)
ZONE: Zone = {
    "host.spf.example": {"A": (FOUR, "192.0.2.7"), "AAAA": (SIX,)},
    "near.spf.example": {"A": ("203.0.113.99",), "AAAA": ("2001:db8::99",)},
    "far.spf.example": {"A": ("192.0.2.99",)},
    "mail.spf.example": {"MX": ("10 near.spf.example", "20 host.spf.example")},
    "null.spf.example": {"MX": ("0 .",)},
    "ok.spf.example": {"TXT": (f"v=spf1 ip4:{FOUR} ip6:{SIX} -all",)},
    "no.spf.example": {"TXT": ("v=spf1 -all",)},
    "two.spf.example": {"TXT": ("v=spf1 -all", "v=spf1 +all")},
    "bad.spf.example": {"TXT": ("v=spf1 ipv4:192.0.2.1 -all",)},
    "late.spf.example": {"TXT": (f"v=spf1 ip4:{FOUR} a:192.0.2.1 -all",)},
    "deep.spf.example": {"TXT": ("v=spf1 include:ok.spf.example -all",)},
    "10.113.0.203.list.spf.example": {"A": ("127.0.0.2",)},
    pointer(FOUR): {"PTR": ("host.spf.example",)},
    pointer(SIX): {"PTR": ("host.spf.example",)},
    pointer(STRANGER): {"PTR": ("stranger.example",)},
}
GOOD = ["host.spf.example", "near.spf.example", "far.spf.example", "mail.spf.example", "HOST.spf.example.", "%{d}"]
RECORDS = ["ok.spf.example", "no.spf.example", "deep.spf.example", "OK.SPF.example"]
ODD = [
    "", "192.0.2.10", "2001:db8::10", "host.spf.example:25", "host", "localhost", "host.spf.example..", "a..spf.example",
    ".spf.example", "host.spf.example/", "http://host.spf.example", "app@host.spf.example", "-host.spf.example",
    "host.spf.e-", "host.spf.1", "x" * 64 + ".spf.example", "host_1.spf.example", "*.spf.example", "host.spf.exam_ple",
    "gone.spf.example", "null.spf.example", "two.spf.example", "bad.spf.example", "late.spf.example", "host.spf.example,x.example",
    "host.spf.example;", '"host.spf.example"', "host.spf.exämple", "foo:bar/baz.spf.example", "spf.example.0x1", "spf.example.a1", "spf.1-1",
    "%{d2}", "%{ir}.list.spf.example", "%{l}.spf.example", "%{i", "%{z}.spf.example", "%{d0}.spf.example", "%{c}.spf.example",
    "%{r}", "%{t}", "%", "%%", "%_.spf.example", "%-spf.example", "%(d)", "%{d}%", "%{D}", "%{L1r-}.spf.example", "%{p}.spf.example",
    "%{d1r+}.example", "%{dr1}", "%{d.}.", "%{}.spf.example", "%{s}.spf.example", "%{o}", "%{v}.spf.example", "%{h}", "%{d256}", "%{ir}.%{v}._spf.%{d2}",
]  # fmt: skip
CIDRS = ["", "", "", "/24", "/32", "/0", "//64", "/24//64", "/16//0"]
ODD_CIDRS = [
    "/33", "/032", "/", "//", "/24/64", "//129", "/24//", "/ 24", "/-1", "/+24", "/2x", "/255.255.255.0", "///24", "/024//064", "/00",
    "/128", "/24//64//8", "/1e1", "/999",
]  # fmt: skip
FOURS = [FOUR, "203.0.113.0/24", "192.0.2.1", "0.0.0.0/0", "203.0.113.10/32", "203.0.113.11/24"]
ODD_FOURS = [
    "10.0.0.0/255.255.255.0", "203.0.113.010", "203.0.113", "203.0.113.0/", "203.0.113.10.1", "203.0.113.256", "203.0.113.*", "",
    "host.spf.example", SIX, "203.0.113.10:25", "203.0.113.0-255", "203.0.113.0/24/24", "203.0.113.0//24", "0x7f.0.0.1", "203.0.113.10,", "1",
    "203.0.113.x", "203.0.113.", "%{i}", "203.0.113.10/%{d}", "203.0.113.10\t", "[203.0.113.10]", "00.0.0.0/0", "203.0.113.1\uff10",
]  # fmt: skip
SIXES = [SIX, "2001:db8::/32", "::/0", "2001:DB8::10/128", "2001:db8:0:0:0:0:0:10", "::ffff:203.0.113.10", "fe80::1/64"]
ODD_SIXES = [
    FOUR, "2001:db8::/129", "2001:db8::/", "2001:db8::/032", "2001:db8:::1", "[2001:db8::10]", "2001:db8::10%eth0", "2001:db8", ":",
    "2001:db8::g", "2001:db8::10//64", "", "host.spf.example", "2001:db8:0:0:0:0:0:0:10", "12345::", "::203.0.113.300", "2001:db8::/64/64",
]  # fmt: skip
LOOSE = [
    "all", "+all", "-all", "~all", "?all", "-ALL", "all:", "all/8", "all.", "-all;", "--all", "- all", "all=", "ipv4:203.0.113.10",
    "ip:203.0.113.10", FOUR, "include", "include=ok.spf.example", "ip4=203.0.113.10", "a=host.spf.example", "mx=mail.spf.example", "a;", "mx,",
    "ptr", "ptr:", "ptr/24", "ptr:spf.example", "exists", "exists:", "redirect=", "redirect:ok.spf.example", "redirect=ok.spf.example",
    "redirect=no.spf.example", "+redirect=ok.spf.example", "-exp=why.spf.example", "exp=", "exp=why.spf.example", "exp=%{z}.example",
    "exp=192.0.2.1", "exp:why.spf.example", "moo=cow", "moo=", "moo=%{x}", "moo=%", "moo.cow-far_out=man:dog/cat", "=x", "1x=y", "x-y=%%", "v=spf1", "v=spf2.0",
    "Include:ok.spf.example", "\ta", "a\tmx", "é", "a\x7f", "\x00", '"a', "a'", "mx:", "a:", "ip4", "ip6:", "ip4:", "match_subdomains=yes", "default=deny",
    "moo=%{c}", "moo=%{d}", "_x=y", "op=auth", "a/", "mx//", "a:/24", "a:%{d}/24", "a:%{d}//64", "mx:mail.spf.example//129", "redirect=192.0.2.1", "redirect=%{d2}",
]  # fmt: skip


def records(count: int, seed: int) -> list[str]:
    """So many records; the same seed makes the same."""
    chance = random.Random(seed)
    return [_record(chance) for _ in range(count)]


def _record(chance: random.Random) -> str:
    # few terms, most of them right: with many wrong ones in each record nothing but permerror would be seen
    wrong = chance.choice([0.0, 0.0, 0.05, 0.15, 0.4])
    terms = [_term(chance, wrong) for _ in range(chance.randint(1, 6))]
    if chance.random() < 0.4:
        terms.insert(
            0,
            chance.choice(
                ["ip4:203.0.113.0/24", "a:host.spf.example", "include:ok.spf.example", "mx:mail.spf.example"]
            ),
        )
    if chance.random() < 0.6:
        terms.append(chance.choice(["-all", "~all", "?all", "redirect=ok.spf.example", "redirect=no.spf.example"]))
    space = chance.choice([" "] * 30 + ["  ", "\t", "\n"])
    return "v=spf1 " + space.join(terms) + chance.choice(["", "", "", "", " "])


def _term(chance: random.Random, wrong: float) -> str:
    odd = chance.random() < wrong
    if odd and chance.random() < 0.4:
        return chance.choice(LOOSE)
    sign = chance.choice(["", "", "", "", "+", "-", "~", "?"])
    name = chance.choice(["a", "a", "mx", "ip4", "ip4", "ip6", "include", "exists", "ptr"])
    if name in {"ip4", "ip6"}:
        right, bad = (FOURS, ODD_FOURS) if name == "ip4" else (SIXES, ODD_SIXES)
        return f"{sign}{name}:{chance.choice(bad if odd else right)}"
    if name in {"include", "exists", "ptr"}:
        right = RECORDS if name == "include" else ["%{ir}.list.spf.example", "host.spf.example", "spf.example"]
        return f"{sign}{name}:{chance.choice(ODD if odd else right)}"
    domain = chance.choice(ODD if odd else GOOD) if chance.random() < 0.8 else ""
    length = chance.choice(ODD_CIDRS if odd and chance.random() < 0.5 else CIDRS)
    return f"{sign}{name}{':' if domain else ''}{domain}{length}"


def zone(made: list[str]) -> dict[str, dict[str, list[str]]]:
    """The zone of so many records: ``rN.spf.example`` has the Nth, and an address and an MX."""
    names = {name: {rtype: list(values) for rtype, values in types.items()} for name, types in ZONE.items()}
    for number, record in enumerate(made):
        names[f"r{number}.spf.example"] = {"TXT": [record], "A": [FOUR], "MX": ["10 near.spf.example"]}
    return names


def cases(made: list[str]) -> Iterator[tuple[str, str]]:
    """(address, domain): each record for each client."""
    for number in range(len(made)):
        yield from ((address, f"r{number}.spf.example") for address in CLIENTS)
