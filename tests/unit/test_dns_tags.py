"""DKIM key records and DMARC policies: what breaks their grammar, where, and in which words."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroad.checks.dmarc import judge
from postroad.config.model import Domain
from postroad.dns import dkim_record, dmarc_record, tag_list
from postroad.dns.dkim_published import fault
from postroad.dns.dmarc_record import is_attempt, is_dmarc, mend, organizational

EXPONENT = b"\x02\x03\x01\x00\x01"


def der(tag: int, content: bytes) -> bytes:
    size = len(content)
    return bytes([tag, *([size] if size < 128 else [0x82, size >> 8, size & 255])]) + content


def rsa(bits: int = 2048, *, wrapped: bool = True) -> bytes:
    plain = der(0x30, der(2, b"\x00" + b"\xff" * (bits // 8)) + EXPONENT)
    algorithm = der(0x30, der(6, b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01") + b"\x05\x00")
    return der(0x30, algorithm + der(3, b"\x00" + plain)) if wrapped else plain


KEY = base64.b64encode(rsa()).decode()
ED = base64.b64encode(bytes(32)).decode()


def test_a_tag_list_in_order() -> None:
    assert tag_list.parse(" v=DKIM1 ;k=rsa; p = a b= ; ") == {"v": "DKIM1", "k": "rsa", "p": "a b="}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("v=1; none", "tag 2, `none`: no ="),
        ("v=1;; p=2", "tag 2, ``: nothing between two semicolons"),
        ("v=1; v=2", "tag 2, `v=2`: the tag v comes twice"),
        ("=x", "tag 1, `=x`: no tag name"),
        ("a b=c", "tag 1, `a b=c`: no tag name"),
        ("v=1; p=\u00e4", "tag 2, `p=\\xe4`: the character U+00E4"),
        ('"v=1; p=2"', 'tag 1, `"v=1`: a quotation mark'),
        ("v=1\\; p=2", "tag 1, `v=1\\`: a backslash"),
    ],
)
def test_where_a_tag_list_is_wrong(text: str, said: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the words are compared below
        tag_list.parse(text)
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize("bits", [1024, 2048, 4096])
@pytest.mark.parametrize("wrapped", [True, False])
def test_the_length_of_a_key(bits: int, wrapped: bool) -> None:
    assert dkim_record.modulus_bits(rsa(bits, wrapped=wrapped)) == bits


@given(st.binary(max_size=80))
def test_what_is_no_key_has_no_length(data: bytes) -> None:
    assert dkim_record.modulus_bits(data) == 0 or data.startswith(b"0")
    for cut in range(40):
        assert dkim_record.modulus_bits(rsa()[:cut]) == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"v=dkim1; p={KEY}", "another version: `v=dkim1`"),
        (f"v=DKIM10; p={KEY}", "another version"),
        ("v=DKIM1; k=rsa", "has no key"),
        ("v=DKIM1; p=???", "not base64"),
        (f"v=DKIM1; p={KEY[:-3]}", "not base64"),
        (f"v=DKIM1; p={KEY[4:]}", "is not an RSA key"),
        (f"v=DKIM1; k=ed25519; p={KEY}", "octets; an Ed25519 key has 32"),
        (f"v=DKIM1; h=sha256,sha1; p={KEY}", "`h=sha256,sha1`: expected words separated by colons"),
        (f"v=DKIM1; t=; p={KEY}", "`t=`: expected words separated by colons"),
        (f"v=DKIM1;; p={KEY}", "tag 2"),
        (f"v=DKIM1; p={KEY}; p={KEY}", "tag 3"),
    ],
)
def test_what_is_no_key_record(text: str, said: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the words are compared below
        dkim_record.parse(text)
    assert said in str(caught.value)


def test_key_records() -> None:
    record = dkim_record.parse(f"v=DKIM1; t=y:s; s=email; h=sha1 : sha256; n=a note; x=y; p= {KEY[:80]} {KEY[80:]}")
    assert (record.kind, record.key) == ("rsa", rsa())
    assert record.hashes == {"sha1", "sha256"}
    assert record.services == {"email"}
    assert record.flags == {"y", "s"}
    assert dkim_record.parse("p=").key == b""
    assert dkim_record.parse(f"v=DKIM1; k=ed25519; p={ED}").key == bytes(32)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"k=rsa; v=DKIM1; p={KEY}", "v= is not the first tag"),
        (f"v=DKIM1; s=email:tls; p={KEY}", "`s=email:tls`: dkimpy"),
    ],
)
def test_what_some_verifiers_refuse(text: str, said: str) -> None:
    wrong = fault((text,), f"v=DKIM1; p={KEY}")
    assert wrong
    assert (said in wrong.text, wrong.fatal) == (True, False)


def test_a_key_of_another_kind_is_told() -> None:
    wrong = fault((f"v=DKIM1; k=ed25519; p={ED}",), f"v=DKIM1; p={KEY}")
    assert wrong
    assert "another key type: k=ed25519" in wrong.text


@pytest.mark.parametrize(
    ("text", "is_it", "meant"),
    [
        ("v=DMARC1; p=none", True, False),
        ("v=DMARC1;p=none", True, False),
        ("v = DMARC1 ; p=none", True, False),
        ("v=DMARC1", True, False),
        ("v=dmarc1; p=none", False, True),
        ("V=DMARC1; p=none", False, True),
        ("v=DMARC12; p=none", False, True),
        ("v=DMARC1 p=none", False, True),
        ("v=DMARC; p=none", False, True),
        (" v=DMARC1; p=none", False, True),
        ('"v=DMARC1; p=none"', False, True),
        ("DMARC1; p=none", False, True),
        ("p=none; v=DMARC1", False, False),
        ("verification=dmarc", False, False),
    ],
)
def test_which_records_are_dmarc_records(text: str, is_it: bool, meant: bool) -> None:
    assert (is_dmarc(text), is_attempt(text)) == (is_it, meant)


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ("rua=mailto:a@x.example", "no policy (p=)"),
        ("p=", "`p=` is not a policy"),
        ("p=deny", "`p=deny` is not a policy"),
        ("p=none; sp=deny", "`sp=deny` is not a policy"),
        ("p=none; sp=", "`sp=` is not a policy"),
        ("none", "tag 2, `none`: no ="),
        ("p=none; p=reject", "comes twice"),
        ("p=none;; sp=none", "nothing between two semicolons"),
    ],
)
def test_what_receivers_can_t_follow(tags: str, said: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the words are compared below
        dmarc_record.parse(f"v=DMARC1; {tags}")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ("rua=mailto:a@x.example; p=none", "p= is not the second tag"),
        ("p=none; adkim=strict", "`adkim=strict`: expected r or s"),
        ("p=none; aspf=x", "`aspf=x`: expected r or s"),
        ("p=none; pct=101", "`pct=101`: expected a number from 0 to 100"),
        ("p=none; pct=50%", "`pct=50%`"),
        ("p=none; fo=2", "`fo=2`"),
        ("p=none; ri=1d", "`ri=1d`: expected a number of seconds"),
        ("p=none; rf=afrf,iodef", "`rf=afrf,iodef`"),
        ("p=none; rua=a@x.example", "rua: `a@x.example`: an address without mailto:; write mailto:a@x.example"),
        ("p=none; rua=https://x.example/", "not a mailto: URI"),
        ("p=none; rua=mailto:a", "no mail address"),
        ("p=none; rua=mailto:a@x.example,b@x.example", "rua: `b@x.example`"),
        ("p=none; rua=mailto:a@x.example!10x", "a size, such as 10m"),
        ("p=none; ruf=", "ruf: ``"),
    ],
)
def test_what_some_receivers_do_not_follow(tags: str, said: str) -> None:
    (doubt,) = dmarc_record.parse(f"v=DMARC1; {tags}").doubts
    assert said in doubt


@pytest.mark.parametrize(
    "tags",
    [
        "p=none", "p=REJECT;", "p=none; sp=quarantine; pct=100; adkim=s; aspf=R; fo=1:d:s; rf=afrf; ri=86400", "p=none; np=reject; psd=n; t=y",
        "p=none; rua=mailto:a@x.example, mailto:b@x.example!10m; ruf=mailto:c@x.example",
    ],
)  # fmt: skip
def test_policies_without_fault(tags: str) -> None:
    assert dmarc_record.parse(f"v=DMARC1; {tags}").doubts == ()


def test_what_a_policy_says() -> None:
    policy = dmarc_record.parse("v=DMARC1; p=none; sp=Reject; adkim=s; rua=mailto:a@X.example!5m,mailto:b@y.example")
    assert (policy.p, policy.sp, policy.strict_dkim, policy.strict_spf) == ("none", "reject", True, False)
    assert policy.rua == ("x.example", "y.example")
    assert dmarc_record.parse("v=DMARC1; p=quarantine").sp == "quarantine"


def test_what_is_meant_is_mended() -> None:
    assert mend("v=dmarc1; p=reject") == "v=DMARC1; p=reject"
    assert mend("DMARC1;p=reject") == "v=DMARC1; p=reject"
    assert mend("v=dmarc1 p=reject") == ""


@pytest.mark.parametrize(
    ("domain", "above"),
    [
        ("sender.example", "sender.example"),
        ("a.b.sender.example", "sender.example"),
        ("example.co.uk", "example.co.uk"),
        ("a.b.example.co.uk", "example.co.uk"),
    ],
)
def test_the_organization_s_domain(domain: str, above: str) -> None:
    assert organizational(domain) == above


def test_what_a_policy_means_for_mail_that_is_not_signed() -> None:
    policy = dmarc_record.parse("v=DMARC1; p=none; sp=reject")
    only, below = (Domain.model_validate({"name": "x.example", "subdomains": sub}) for sub in (False, True))
    assert judge(policy, only, "none", signs=False) == ("", "ok")
    assert "asks for reject" in judge(policy, below, "none", signs=False)[0]
    assert "asks for reject" in judge(policy, only, "reject", signs=False)[0]
    assert judge(policy, below, "none", signs=True) == ("", "ok")


@pytest.mark.parametrize(("text", "shown"), [
    ("a" * 80, "`" + "a" * 80 + "`"), ("a" * 81, "`" + "a" * 77 + "...`"), ("~}|", "`~}|`"), ("\x7f\x1f", "`\\x7f\\x1f`"),
])  # fmt: skip
def test_text_of_a_record_is_quoted_printable_and_short(text: str, shown: str) -> None:
    assert tag_list.shown(text) == shown


@pytest.mark.parametrize("text", ["'v=DKIM1'", '"v=DKIM1"', "\"v=DKIM1; p=x'"])
def test_quotation_marks_are_told_of(text: str) -> None:
    with pytest.raises(ValueError, match="a quotation mark that is part of the record"):
        tag_list.parse(text)


@pytest.mark.parametrize("space", [" ", "\t", "\r\n", " \t\r\n"])
def test_white_space_of_the_grammar_is_dropped_at_edges_and_at_the_end(space: str) -> None:
    assert tag_list.parse(f"{space}v{space}={space}DKIM1{space};{space}") == {"v": "DKIM1"}


@pytest.mark.parametrize("text", ["v=DKIM1;\x0b", "v=DKIM1\x0c", "v=X;X", "v=DKIM1;XX"])
def test_other_white_space_and_letters_are_not(text: str) -> None:
    with pytest.raises(ValueError, match="tag"):
        tag_list.parse(text)
