"""No value reaches m4, or a table that is read line by line, as anything but a value."""

import json
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from postroad.config.model import Clients, Config, Dkim, Domain, DomainDkim
from postroad.errors import InstallError
from postroad.secrets.keys import wanted
from postroad.sendmail import m4
from postroad.sendmail.files import files
from postroad.sendmail.networks import Surroundings

HOSTILE = [
    "`", "'", "a'b", "x')esyscmd(`id", "x\nO DaemonPortOptions=Port=26", "x\r", "x\0", "\x1b[31m", "x')dnl", "esyscmd(`id')",
    "a\u2028b", "x y", "x\ty", "$(id)", "define(`confDOMAIN_NAME',`y')", "x'`esyscmd'`(id)",
]  # fmt: skip
text = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(max_size=40),
    st.text(alphabet="`'()dnlesyscmd$\n\r\t .abc", max_size=40),
    st.builds("mail.{}.example.com".format, st.text(alphabet="`'()$\nab -", max_size=10)),
)


def render(config: Config) -> dict[str, str]:
    keys = wanted(config, Path("/state"))
    return {file.path: file.text for file in files(config, keys, Surroundings(), base=Path("/base"))}


# the host name is one of the senders, or it is not: that is one line's difference
PLAIN = [
    render(Config.model_validate({"hostname": hostname, "domains": [{"name": "example.com", "subdomains": True}]}))
    for hostname in ("mail.example.com", "mail.example.org")
]
RULE = "$#mx $@ $2"


def shape(value: object) -> object:
    """What JSON is made of, without its texts."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    return [shape(inner) for inner in value] if isinstance(value, list) else type(value)


def same_shape(rendered: dict[str, str], names: set[str]) -> None:
    """The files are those of a plain configuration, line for line, but for words that the configuration let through."""
    plain_files = PLAIN[RULE not in rendered["sendmail.mc"]]
    assert rendered.keys() == plain_files.keys()
    for path, expected in plain_files.items():
        if path == "signer.json":
            assert shape(json.loads(rendered[path])) == shape(json.loads(expected))
            continue
        lines = rendered[path].split("\n")
        assert len(lines) == len(expected.split("\n")), path
        for line, plain in zip(lines, expected.split("\n"), strict=True):
            if line != plain:
                if path == "sendmail.mc":  # the others are no m4
                    assert line.count("`") == plain.count("`")
                    assert line.count("'") == plain.count("'")
                assert len(line.split()) == len(plain.split())
                assert any(name in line for name in names)


@given(hostname=text, domain=text, selector=text)
def test_a_configuration_refuses_hostile_text_or_renders_it_as_a_value(
    hostname: str, domain: str, selector: str
) -> None:
    try:
        config = Config.model_validate(
            {
                "hostname": hostname,
                "domains": [{"name": domain, "subdomains": True, "dkim": {"selector": selector}}],
            }
        )
    except ValidationError:
        return
    same_shape(render(config), {config.hostname, config.domains[0].name, selector})


@given(hostname=text, domain=text, selector=text)
def test_rendering_refuses_what_a_broken_configuration_let_through(hostname: str, domain: str, selector: str) -> None:
    assume(domain != "*")  # no name: it lifts the rule, by files of another shape
    config = Config.model_construct(
        hostname=hostname,
        domains=(
            Domain.model_construct(name=domain, subdomains=True, dkim=DomainDkim.model_construct(selector=selector)),
        ),
        clients=Clients(networks=()),
        dkim=Dkim.model_construct(selector=selector),
    )
    try:
        rendered = render(config)
    except InstallError:
        return
    same_shape(rendered, {hostname, domain, selector})


@pytest.mark.parametrize("value", ["`", "'", "a`b", "\n", "\x00", "\x7f", "\r"])
def test_quote_refuses_what_ends_a_quoted_string(value: str) -> None:
    with pytest.raises(InstallError):
        m4.quote(value)


@pytest.mark.parametrize("value", ["", " ", "a b", "a\tb", "a\nb", "a\u2028b", "a\x00b"])
def test_word_refuses_what_is_not_one_field(value: str) -> None:
    with pytest.raises(InstallError):
        m4.word(value)
