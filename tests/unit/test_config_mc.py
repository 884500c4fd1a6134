"""The check of raw m4 text."""

import re

import pytest
from pydantic_core import PydanticCustomError

from postroad.config.mc import (
    OWNED_DEFINES,
    OWNED_FEATURES,
    REFUSED_WORDS,
    check_define_name,
    check_define_value,
    check_feature,
    check_raw,
)
from postroad.config.sendmail_names import DEFINES, FEATURES
from postroad.runtime.paths import TEMPLATES


@pytest.mark.parametrize(
    "text",
    [
        "",
        "LOCAL_CONFIG\nC{Friends}example.com example.net\n",
        'LOCAL_RULESETS\nSLocal_check_relay\nR$*\t$| 192.0.2.1\t$#error $@ 5.7.1 $: "550 no"\n',
        "MASQUERADE_AS(`example.com')dnl\n",
        "define_it redefine include_me",
        "``nested' quotes'",
        "ünïcode",
    ],
)
def test_ordinary_text_passes(text: str) -> None:
    assert check_raw(text) == text


@pytest.mark.parametrize("word", REFUSED_WORDS)
def test_each_refused_builtin_is_found(word: str) -> None:
    with pytest.raises(PydanticCustomError, match=word):
        check_raw(f"a\n{word}(`x')\n")


@pytest.mark.parametrize("text", ["'", "`", "a' `b", "`a'' `b", "``a'", "# don't", "dnl it's\n"])
def test_quotes_pair_up(text: str) -> None:
    with pytest.raises(PydanticCustomError, match="quotes in pairs"):
        check_raw(text)


@pytest.mark.parametrize("text", ["esys`'cmd(id)", "a`b'", "esys``''cmd", "`esys'cmd(id)", "x`'include(`/etc/passwd')"])
def test_words_are_in_one_piece(text: str) -> None:
    with pytest.raises(PydanticCustomError, match="words in one piece"):
        check_raw(text)


@pytest.mark.parametrize("char", ["\0", "\r", "\x1b", "\x7f", "\x85", "\u2028", "\u202e", "\ud800"])
def test_control_characters_are_refused(char: str) -> None:
    with pytest.raises(PydanticCustomError, match="control characters"):
        check_raw(f"a{char}b")


@pytest.mark.parametrize("text", ["$1", "a$0", "$*", "$@", "$#"])
def test_a_define_takes_no_arguments(text: str) -> None:
    with pytest.raises(PydanticCustomError, match="m4 replaces"):
        check_define_value(text)


@pytest.mark.parametrize("text", ["30", "$j ESMTP; $b", "$?sfrom $s $.by ${x}", "``j, {daemon_name}''", ""])
def test_a_define_takes_sendmail_macros(text: str) -> None:
    assert check_define_value(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "redirect",
        "`redirect'",
        "greet_pause, `5000'",
        "dnsbl,`dnsbl.example', `\"550 no\"'",
        "relay_hosts_only , , x",
        "ratecontrol, `nodelay', `terminate'",
    ],
)
def test_a_feature_with_arguments(text: str) -> None:
    assert check_feature(text) == text


@pytest.mark.parametrize(
    "text", ["", ",", "redirect)", "redirect, (`a')", "redirect `x'", "redirect, `a' `b'", "redirect\n(x)"]
)
def test_a_feature_has_one_shape(text: str) -> None:
    with pytest.raises(PydanticCustomError, match="a feature's name"):
        check_feature(text)


@pytest.mark.timeout(5)
def test_a_hostile_feature_is_refused_at_once() -> None:
    with pytest.raises(PydanticCustomError):
        check_feature("redirect" + ",    " * 5000 + "(")


@pytest.mark.parametrize("name", OWNED_DEFINES)
def test_what_postroad_defines_is_refused(name: str) -> None:
    assert name in DEFINES
    with pytest.raises(PydanticCustomError):
        check_define_name(name)


@pytest.mark.parametrize("name", OWNED_FEATURES)
def test_what_postroad_features_is_refused(name: str) -> None:
    assert name in FEATURES
    with pytest.raises(PydanticCustomError):
        check_feature(name)


@pytest.mark.parametrize(
    "name", ["confMAX_HOP", "confFALLBACK_MX", "SMART_HOST", "SMTP_MAILER_MAXRCPTS", "confTO_CONNECT"]
)
def test_known_names_pass(name: str) -> None:
    assert check_define_name(name) == name


@pytest.mark.parametrize(
    "name", ["confMAX_HOPS", "confREAD_TIMEOUT", "conf", "", "_USE_ETC_MAIL_", "confMAX_HOP'", "x" * 100_000]
)
def test_unknown_names_do_not(name: str) -> None:
    with pytest.raises(PydanticCustomError):
        check_define_name(name)


FREE = frozenset(
    {
        *("HELP_FILE", "confCACERT_PATH", "confDELAY_LA", "confDONT_PROBE_INTERFACES", "confMAX_HOP"),
        *("confDOUBLE_BOUNCE_ADDRESS", "confPRIVACY_FLAGS", "confQUEUE_LA", "confREFUSE_LA", "confRELAY_MSG"),
        *("confMAX_NOOP_COMMANDS", "confRECEIVED_HEADER"),
        *("confSMTP_LOGIN_MSG", "confTO_IDENT"),
        *("confTO_CONNECT", "confTO_HELO", "confTO_ICONNECT", "confTO_INITIAL"),
        *("confMAX_QUEUE_CHILDREN", "confTO_DATABLOCK", "confTO_DATAFINAL", "confTO_DATAINIT", "confTO_MAIL"),
        *("confTO_QUIT", "confTO_RCPT", "confTO_RSET", "confTO_STARTTLS"),
        *("confCIPHER_LIST", "confCLIENT_SSL_OPTIONS", "confSERVER_SSL_OPTIONS", "confTLS_SRV_OPTIONS"),
    }
)
"""Defaults of ours that a person may change: nothing else relies on them."""


def test_what_the_template_sets_is_owned_or_free() -> None:
    template = "".join(path.read_text() for path in sorted((TEMPLATES / "mc").rglob("*.j2")))
    defines = set(re.findall(r"\bdefine\(`(\w+)'", template))
    # a macro of the template's own is no name that sendmail.defines takes
    assert (defines & DEFINES) - set(OWNED_DEFINES) == FREE
    assert set(re.findall(r"\bFEATURE\(`(\w+)'", template)) <= set(OWNED_FEATURES)
