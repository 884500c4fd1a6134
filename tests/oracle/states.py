"""The states of the DNS that the doctor and the receivers' own programs are asked about."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

Changes: TypeAlias = Mapping[str, Sequence[str]]
"""``OWNER TYPE`` to values; none: there is no such record. ``{d}`` is the state's domain, ``{s}`` the sender's, and so on."""

HOST = "mail.{d}"
KEY_NAME = "s1._domainkey.{s}"
SPF = "v=spf1 ip4:{four} ip6:{six} -all"
POLICY = "v=DMARC1; p=reject"
SERVFAIL = "x.servfail.example."
SILENT = "x.silent.example."


@dataclass(frozen=True)
class State:
    """One state.

    Attributes:
        name: what it is called, its aspect first: ``spf two records``.
        changes: how it differs from the right records.
        sender: the sender's domain.
        six: the client comes by IPv6, not IPv4.
        helo: the name in HELO, where it is not the host's.
        short: it belongs to the short form.
    """

    name: str
    changes: Changes = field(default_factory=dict)
    sender: str = "{d}"
    six: bool = False
    helo: str = HOST
    short: bool = False

    @property
    def aspect(self) -> str:
        return self.name.partition(" ")[0]


def right() -> dict[str, tuple[str, ...]]:
    """All records of a sender for whom all is right."""
    return {
        f"{HOST} A": ("{four}",),
        f"{HOST} AAAA": ("{six}",),
        "{four_pointer} PTR": (f"{HOST}.",),
        "{six_pointer} PTR": (f"{HOST}.",),
        f"{HOST} TXT": (SPF,),
        "{s} TXT": (SPF,),
        f"{KEY_NAME} TXT": ("v=DKIM1; k=rsa; p={key}",),
        "_dmarc.{d} TXT": (POLICY,),
        "{s} MX": ("10 in.{d}.",),
        "in.{d} A": ("192.0.2.25",),
    }


def _spf(name: str, *records: str, short: bool = False, six: bool = False, more: Changes | None = None) -> State:
    return State(f"spf {name}", {"{s} TXT": records, **(more or {})}, short=short, six=six)


def _dkim(name: str, *records: str, short: bool = False, more: Changes | None = None) -> State:
    return State(f"dkim {name}", {f"{KEY_NAME} TXT": records, **(more or {})}, short=short)


def _dmarc(name: str, *records: str, short: bool = False, more: Changes | None = None) -> State:
    return State(f"dmarc {name}", {"_dmarc.{d} TXT": records, **(more or {})}, short=short)


def _below(
    name: str, own: Sequence[str], above: Sequence[str], sender: str = "news.{d}", more: Changes | None = None
) -> State:
    """A sender in a subdomain, with a policy of its own and one above."""
    return State(
        f"dmarc inherited: {name}",
        {"_dmarc.{s} TXT": own, "_dmarc.{d} TXT": above, **(more or {})},
        sender=sender,
        short="sp" in name,
    )


def _mx(name: str, *records: str, short: bool = False, more: Changes | None = None) -> State:
    return State(f"mx {name}", {"{s} MX": records, **(more or {})}, short=short)


TEN = [f"a:h{number}.{{d}}" for number in range(10)]


def _host() -> Iterator[State]:
    for six in (False, True):
        kind, other = ("AAAA", "A") if six else ("A", "AAAA")
        pointer, address = ("{six_pointer}", "{six}") if six else ("{four_pointer}", "{four}")
        wrong = "2001:db8:ffff::1" if six else "192.0.2.99"
        over = " over IPv6" if six else ""

        def state(
            name: str, changes: Changes, *, short: bool = False, helo: str = HOST, six: bool = six, over: str = over
        ) -> State:
            return State(f"host {name}{over}", changes, six=six, short=short, helo=helo)

        yield state("right", {}, short=True)
        yield state(
            "no other address", {f"{HOST} {other}": (), f"{'{four_pointer}' if six else '{six_pointer}'} PTR": ()}
        )
        yield state(f"{kind} missing", {f"{HOST} {kind}": ()}, short=True)
        yield state("A and AAAA missing", {f"{HOST} A": (), f"{HOST} AAAA": ()})
        yield state(f"{kind} wrong", {f"{HOST} {kind}": (wrong,)}, short=True)
        yield state(f"{kind} doubled", {f"{HOST} {kind}": (address, wrong)})
        yield state(f"{kind} by a CNAME", {f"{HOST} A": (), f"{HOST} AAAA": (), f"{HOST} TXT": (), f"{HOST} CNAME": ("real.{d}.",),
                                           "real.{d} A": ("{four}",), "real.{d} AAAA": ("{six}",)})  # fmt: skip
        yield state(
            f"{kind} by a CNAME to nothing",
            {f"{HOST} A": (), f"{HOST} AAAA": (), f"{HOST} TXT": (), f"{HOST} CNAME": ("gone.{d}.",)},
        )
        yield state(
            f"{kind} SERVFAIL", {f"{HOST} A": (), f"{HOST} AAAA": (), f"{HOST} TXT": (), f"{HOST} CNAME": (SERVFAIL,)}
        )
        yield state(
            f"{kind} silent", {f"{HOST} A": (), f"{HOST} AAAA": (), f"{HOST} TXT": (), f"{HOST} CNAME": (SILENT,)}
        )
        yield state("PTR missing", {f"{pointer} PTR": ()}, short=True)
        yield state("PTR to another name", {f"{pointer} PTR": ("elsewhere.{d}.",)}, short=True)
        yield state(
            "PTR to another name that leads back", {f"{pointer} PTR": ("ec2.{d}.",), f"ec2.{{d}} {kind}": (address,)}
        )
        yield state("PTR doubled", {f"{pointer} PTR": (f"{HOST}.", "other.{d}."), f"other.{{d}} {kind}": (address,)})
        yield state(
            "PTR by a CNAME", {f"{pointer} PTR": (), f"{pointer} CNAME": ("ptr.{d}.",), "ptr.{d} PTR": (f"{HOST}.",)}
        )
        yield state("PTR SERVFAIL", {f"{pointer} PTR": (), f"{pointer} CNAME": (SERVFAIL,)})
        yield state("PTR silent", {f"{pointer} PTR": (), f"{pointer} CNAME": (SILENT,)})
        yield state("PTR to a name that leads nowhere", {f"{pointer} PTR": ("gone.{d}.",)})


STATES = [
    *_host(),
    _spf("right", SPF, short=True),
    _spf("right over IPv6", SPF, six=True, short=True),
    _spf("missing", short=True),
    _spf("another address", "v=spf1 ip4:192.0.2.1 -all", short=True),
    _spf("another address, softly", "v=spf1 ip4:192.0.2.1 ~all"),
    _spf("another address, open end", "v=spf1 ip4:192.0.2.1"),
    _spf("neutral", "v=spf1 ?ip4:{four} -all"),
    _spf("refuses all", "v=spf1 -all"),
    _spf("doubled", SPF, "v=spf1 mx -all", short=True),
    _spf("doubled and the same but for a space", SPF, SPF + " "),
    _spf("IPv4 only, client IPv6", "v=spf1 ip4:{four} -all", six=True),
    _spf("IPv6 only, client IPv6", "v=spf1 ip6:{six} -all", six=True),
    _spf("in capitals", "V=SPF1 IP4:{four} -ALL"),
    _spf("beside other texts", "verification=1", SPF, "v=spf10 -all"),
    _spf("long, in two strings", "v=spf1 " + " ".join(f"ip4:192.0.2.{number}" for number in range(1, 30)) + " ip4:{four} ip6:{six} -all"),
    _spf("netmask", "v=spf1 ip4:{four}/255.255.255.255 ip4:{four} -all", short=True),
    _spf("leading zero in a length", "v=spf1 ip4:{four}/032 -all"),
    _spf("TAB between terms", "v=spf1 ip4:{four}\tip6:{six} -all", short=True),
    _spf("TAB after the version", "v=spf1\tip4:{four} -all"),
    _spf("an address as a domain after the match", "v=spf1 ip4:{four} a:192.0.2.10 -all", short=True),
    _spf("a port after the match", "v=spf1 ip4:{four} a:host:25 -all"),
    _spf("two exp", "v=spf1 ip4:{four} exp=a.{d} exp=b.{d}"),
    _spf("an unknown macro", "v=spf1 ip4:{four} exists:%{{z}}.{d} -all"),
    _spf("a percent sign", "v=spf1 ip4:{four} moo=100% -all"),
    _spf("misspelt", "v=spf1 ipv4:{four} -all", short=True),
    _spf("semicolon", "v=spf1; ip4:{four} -all"),
    _spf("semicolon at the end", "v=spf1 ip4:{four} -all;"),
    _spf("quotation marks", '"v=spf1 ip4:{four} -all"'),
    _spf("other letters", "v=spf1 ip4:{four} \u2013all"),
    _spf("no colon", "v=spf1 ip4={four} -all"),
    _spf("two redirects", "v=spf1 redirect=a.{d} redirect=b.{d}"),
    _spf("everybody", "v=spf1 +all", short=True),
    _spf("a length of 0", "v=spf1 ip4:{four} ?ip4:0.0.0.0/0 -all"),
    _spf("by a", "v=spf1 a:" + HOST + " -all"),
    _spf("by a, over IPv6", "v=spf1 a:" + HOST + " -all", six=True),
    _spf("by mx", "v=spf1 mx:mx.{d} -all", more={"mx.{d} MX": ("10 " + HOST + ".",)}),
    _spf("by ptr", "v=spf1 ptr:{d} -all"),
    _spf("by exists", "v=spf1 exists:%{{ir}}.ok.{d} -all", more={"{four_reversed}.ok.{d} A": ("127.0.0.2",)}),
    _spf("by include", "v=spf1 include:inc.{d} -all", short=True, more={"inc.{d} TXT": (SPF,)}),
    _spf("by an include that is a CNAME", "v=spf1 include:inc.{d} -all", more={"inc.{d} CNAME": ("real.{d}.",), "real.{d} TXT": (SPF,)}),
    _spf("by an include with a fault", "v=spf1 include:inc.{d} -all", more={"inc.{d} TXT": ("v=spf1 ip4:{four} a:192.0.2.10 -all",)}),
    _spf("include of nothing", "v=spf1 include:inc.{d} ip4:{four} -all", short=True),
    _spf("include of two records", "v=spf1 include:inc.{d} ip4:{four} -all", more={"inc.{d} TXT": (SPF, "v=spf1 -all")}),
    _spf("include SERVFAIL", "v=spf1 include:inc.{d} ip4:{four} -all", more={"inc.{d} CNAME": (SERVFAIL,)}),
    _spf("include silent", "v=spf1 include:inc.{d} ip4:{four} -all", more={"inc.{d} CNAME": (SILENT,)}),
    _spf("include silent, after the match", "v=spf1 ip4:{four} include:inc.{d} -all", more={"inc.{d} CNAME": (SILENT,)}),
    _spf("by redirect", "v=spf1 redirect=inc.{d}", more={"inc.{d} TXT": (SPF,)}),
    _spf("redirect to nothing", "v=spf1 redirect=inc.{d}"),
    _spf("redirect to itself", "v=spf1 redirect={d}"),
    _spf("loop", "v=spf1 include:inc.{d} -all", more={"inc.{d} TXT": ("v=spf1 include:{d} -all",)}),
    _spf("ten lookups", f"v=spf1 {' '.join(TEN)} ip4:{{four}} -all", more={f"h{n}.{{d}} A": (f"192.0.2.{n + 1}",) for n in range(10)}),
    _spf("eleven lookups", f"v=spf1 {' '.join(TEN)} mx ip4:{{four}} -all", short=True, more={f"h{n}.{{d}} A": (f"192.0.2.{n + 1}",) for n in range(10)}),
    _spf("eleven lookups, after the match", f"v=spf1 ip4:{{four}} {' '.join(TEN)} mx -all", more={f"h{n}.{{d}} A": (f"192.0.2.{n + 1}",) for n in range(10)}),
    _spf("three void lookups", "v=spf1 a:n1.{d} a:n2.{d} a:n3.{d} ip4:{four} -all"),
    State("spf by the domain's CNAME", {"{s} TXT": (), "{s} MX": (), "{s} CNAME": ("real.{d}.",), "real.{d} TXT": (SPF,), "real.{d} MX": ("10 in.{d}.",)},
          sender="news.{d}"),
    _dkim("right", "v=DKIM1; k=rsa; p={key}", short=True),
    _dkim("short", "p={key}"),
    _dkim("spaces and flags", "v=DKIM1;k=rsa;t=s;s=email:tls; h=sha256 ;p= {key} ;"),
    _dkim("missing", short=True),
    _dkim("another key", "v=DKIM1; k=rsa; p={other_key}", short=True),
    _dkim("revoked", "v=DKIM1; k=rsa; p="),
    _dkim("no key", "v=DKIM1; k=rsa"),
    _dkim("doubled", "v=DKIM1; k=rsa; p={key}", "v=DKIM1; k=rsa; p={other_key}", short=True),
    _dkim("doubled and the same but for a space", "v=DKIM1; k=rsa; p={key}", "v=DKIM1; k=rsa;  p={key}"),
    _dkim("beside another text", "verification=1", "v=DKIM1; k=rsa; p={key}"),
    _dkim("cut off", "v=DKIM1; k=rsa; p={cut_key}"),
    _dkim("no base64", "v=DKIM1; k=rsa; p={cut_key}%%%"),
    _dkim("v last", "k=rsa; p={key}; v=DKIM1"),
    _dkim("another version", "v=DKIM2; k=rsa; p={key}"),
    _dkim("version in small letters", "v=dkim1; k=rsa; p={key}"),
    _dkim("another kind of key", "v=DKIM1; k=ed25519; p={key}"),
    _dkim("an unknown kind of key", "v=DKIM1; k=dsa; p={key}"),
    _dkim("sha1 only", "v=DKIM1; h=sha1; k=rsa; p={key}"),
    _dkim("not for mail", "v=DKIM1; s=tls; k=rsa; p={key}"),
    _dkim("test mode", "v=DKIM1; t=y; k=rsa; p={key}"),
    _dkim("no semicolons", "v=DKIM1 k=rsa p={key}"),
    _dkim("two semicolons", "v=DKIM1;; k=rsa; p={key}", short=True),
    _dkim("backslashes", "v=DKIM1\\; k=rsa\\; p={key}"),
    _dkim("quotation marks", '"v=DKIM1; k=rsa; p={key}"'),
    _dkim("a tag twice", "v=DKIM1; k=rsa; k=rsa; p={key}"),
    _dkim("a tag without =", "v=DKIM1; none; k=rsa; p={key}"),
    _dkim("an unknown tag", "v=DKIM1; x=y; k=rsa; p={key}"),
    _dkim("by a CNAME", short=True, more={f"{KEY_NAME} CNAME": ("key.{d}.",), "key.{d} TXT": ("v=DKIM1; k=rsa; p={key}",)}),
    _dkim("by a CNAME to nothing", more={f"{KEY_NAME} CNAME": ("gone.{d}.",)}),
    _dkim("SERVFAIL", short=True, more={f"{KEY_NAME} CNAME": (SERVFAIL,)}),
    _dkim("silent", more={f"{KEY_NAME} CNAME": (SILENT,)}),
    State("dkim right over IPv6", six=True),
    _dmarc("right", POLICY, short=True),
    _dmarc("none", "v=DMARC1; p=none; rua=mailto:postmaster@{d}"),
    _dmarc("quarantine, in capitals", "v=DMARC1;p=QUARANTINE"),
    _dmarc("missing", short=True),
    _dmarc("doubled", POLICY, "v=DMARC1; p=none", short=True),
    _dmarc("beside another text", "verification=1", POLICY),
    _dmarc("beside a record of another version", "v=DMARC12; p=none", POLICY),
    _dmarc("version in small letters", "v=dmarc1; p=reject", short=True),
    _dmarc("v in capitals", "V=DMARC1; p=reject"),
    _dmarc("version 12", "v=DMARC12; p=reject", short=True),
    _dmarc("no semicolon", "v=DMARC1 p=reject"),
    _dmarc("quotation marks", '"v=DMARC1; p=reject"'),
    _dmarc("space before it", " v=DMARC1; p=reject"),
    _dmarc("spaces around =", "v = DMARC1 ; p = reject"),
    _dmarc("no policy", "v=DMARC1; rua=mailto:postmaster@{d}"),
    _dmarc("an unknown policy", "v=DMARC1; p=deny", short=True),
    _dmarc("an unknown sp", "v=DMARC1; p=reject; sp=deny", short=True),
    _dmarc("p is not second", "v=DMARC1; rua=mailto:postmaster@{d}; p=reject"),
    _dmarc("p twice", "v=DMARC1; p=none; p=reject"),
    _dmarc("a tag without =", "v=DMARC1; none"),
    _dmarc("two semicolons", "v=DMARC1;; p=reject"),
    _dmarc("backslashes", "v=DMARC1\\; p=reject"),
    _dmarc("pct above 100", "v=DMARC1; p=reject; pct=200"),
    _dmarc("an unknown adkim", "v=DMARC1; p=reject; adkim=x"),
    _dmarc("strict", "v=DMARC1; p=reject; adkim=s; aspf=s"),
    _dmarc("an address that is no URI", "v=DMARC1; p=reject; rua=postmaster@{d}"),
    _dmarc("an unknown tag", "v=DMARC1; p=reject; x=y"),
    _dmarc("by a CNAME", more={"_dmarc.{d} CNAME": ("policy.{d}.",), "policy.{d} TXT": (POLICY,)}),
    _dmarc("by a CNAME to nothing", more={"_dmarc.{d} CNAME": ("gone.{d}.",)}),
    _dmarc("SERVFAIL", short=True, more={"_dmarc.{d} CNAME": (SERVFAIL,)}),
    _dmarc("silent", more={"_dmarc.{d} CNAME": (SILENT,)}),
    _below("by p", (), (POLICY,)),
    _below("by sp", (), ("v=DMARC1; p=none; sp=reject",)),
    _below("its own wins", ("v=DMARC1; p=none",), (POLICY,)),
    _below("a bad sp", (), ("v=DMARC1; p=none; sp=deny",)),
    _below("from two above", (), (POLICY,), sender="a.b.{d}"),
    _below("one in between", (), (), sender="a.b.{d}", more={"_dmarc.b.{d} TXT": (POLICY,)}),
    _below("its own is none", ("v=dmarc1; p=none",), (POLICY,)),
    State("dmarc right over IPv6", six=True),
    _mx("right", "10 in.{d}.", short=True),
    _mx("two", "10 in.{d}.", "20 in2.{d}.", more={"in2.{d} A": ("192.0.2.26",)}),
    _mx("missing, an address instead", more={"{s} A": ("192.0.2.25",)}),
    _mx("missing, no address", short=True),
    _mx("null", "0 .", short=True),
    _mx("null beside another", "0 .", "10 in.{d}.", short=True),
    _mx("null with a preference", "10 ."),
    _mx("host without an address", "10 gone.{d}."),
    _mx("one host of two without an address", "10 gone.{d}.", "20 in.{d}."),
    _mx("an address as a host", "10 192.0.2.25."),
    _mx("host by a CNAME", "10 alias.{d}.", more={"alias.{d} CNAME": ("in.{d}.",)}),
    _mx("over IPv6 only", "10 six.{d}.", more={"six.{d} AAAA": ("2001:db8::25",)}),
    _mx("host SERVFAIL", "10 x.servfail.example."),
    _mx("host silent", "10 x.silent.example."),
]  # fmt: skip
