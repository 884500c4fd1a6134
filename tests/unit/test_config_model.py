"""The model: defaults, immutability, and what it refuses wherever it stands."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from postroad.config.keys import ConfigKey, keys
from postroad.config.model import Config, Domain
from postroad.config.section import FrozenMap, Section

LEAST: dict[str, Any] = {"hostname": "mail.example.com", "domains": ["example.com"]}

FULL: dict[str, Any] = {
    "hostname": "Mail.Example.com",
    "domains": [
        "example.com",
        {"name": "Example.net", "subdomains": True, "dkim": {"selector": "S1", "key_file": "/run/secrets/key"}},
        "*",
    ],
    "clients": {"networks": ["auto", "10.0.0.0/8", "fd00::1"], "trust_gateway": True},
    "dkim": {"enabled": False},
    "delivery": {"queue": {"retry": "90s", "warn_after": None}},
    "sendmail": {
        "defines": {"confMAX_HOP": 30, "confDONT_EXPAND_CNAMES": True},
        "features": ["greet_pause, `5000'"],
        "local_config": "LOCAL_CONFIG\n",
    },
}


def test_two_keys_are_enough() -> None:
    config = Config.model_validate(LEAST)
    assert config.domains == (Domain(name="example.com"),)
    assert config.clients.networks == ("auto",)
    assert config.listeners.smtp == 25
    assert config.delivery.queue.retry == timedelta(minutes=5)
    assert config.limits.message_size == 26214400
    assert config.selector(config.domains[0]) == "postroad"
    assert not config.any_domain


def test_all_keys() -> None:
    config = Config.model_validate(FULL)
    assert config.hostname == "mail.example.com"
    assert config.any_domain
    example, net = config.named_domains
    assert (example.name, net.name, net.subdomains) == ("example.com", "example.net", True)
    assert (config.selector(example), config.selector(net)) == ("postroad", "s1")
    assert net.dkim.key_file == Path("/run/secrets/key")
    assert config.delivery.queue.warn_after is None
    assert dict(config.sendmail.defines) == {"confMAX_HOP": "30", "confDONT_EXPAND_CNAMES": "True"}


@pytest.mark.parametrize("mode", ["json", "python"])
def test_what_is_dumped_loads_the_same(mode: str) -> None:
    config = Config.model_validate(FULL)
    assert Config.model_validate(config.model_dump(mode=mode)) == config


def test_a_config_is_a_value() -> None:
    config = Config.model_validate(FULL)
    assert hash(config) == hash(Config.model_validate(FULL))
    assert config != Config.model_validate(LEAST)
    with pytest.raises(ValidationError, match="frozen"):
        config.delivery.queue.retry = timedelta(1)  # type: ignore[misc]
    with pytest.raises(TypeError):
        config.sendmail.defines["confMAX_HOP"] = "1"  # type: ignore[index]
    assert repr(config.sendmail.defines) == repr(dict(config.sendmail.defines))


def test_every_key_says_what_it_is() -> None:
    for key in keys(Config):
        text = key.field.description or (key.section.__doc__ if key.section else None)
        assert text, key.name
        assert text.endswith("."), key.name
        assert not key.field.is_required() or key.field.examples, key.name


def placed(key: ConfigKey, value: object) -> dict[str, Any]:
    """A configuration with this value at this key; a list's entry stands in a list."""
    *above, last = key.path
    entry: dict[str, Any] = {last: value}
    for name in reversed(above):
        entry = {name[:-2]: [{"name": "example.com"} | entry]} if name.endswith("[]") else {name: entry}
    return LEAST | entry


@pytest.mark.parametrize("rest", ["", "/", "/unsubscribe", ":8443/a/b/"])
def test_where_links_lead(rest: str) -> None:
    returns = {
        "domain": "b.example.com",
        "unsubscribe": {"domains": ["example.com"], "url": f"https://u.example{rest}"},
    }
    assert (
        Config.model_validate(LEAST | {"returns": returns}).returns.unsubscribe.url
        == f"https://u.example{rest.rstrip('/')}"
    )


@pytest.mark.parametrize(
    "url",
    ["http://u.example", "https://", "https:///a", "https://u.example/?a=b", "https://u.example/#a", "https://a@u.example",
     "https://u.example/ä", f"https://u.example/{'a' * 200}"],
)  # fmt: skip
def test_where_links_do_not_lead(url: str) -> None:
    returns = {"domain": "b.example.com", "unsubscribe": {"domains": ["example.com"], "url": url}}
    with pytest.raises(ValidationError, match="URL"):
        Config.model_validate(LEAST | {"returns": returns})


LEAVES = [key for key in keys(Config) if key.section is None]
QUOTED = [key for key in LEAVES if key.path[0] != "sendmail"]


HOSTILE = ("a`b.example", "/a`b", "/it's", "/a\nb", "/a\0b", "/\x1b", "/a\u2028b", "/a\x85")


@pytest.mark.parametrize("key", QUOTED, ids=lambda key: key.name)
def test_no_key_takes_what_m4_could_take_for_a_quote(key: ConfigKey) -> None:
    for text in HOSTILE:
        for value in (text, [text]):
            with pytest.raises(ValidationError) as caught:
                Config.model_validate(placed(key, value))
            assert {error["loc"][0] for error in caught.value.errors()} == {key.path[0].removesuffix("[]")}


class Later(Section):
    """A section of keys that nobody wrote a rule for."""

    text: str = ""
    path: Path = Path("/")
    maybe: str | None = None
    some: tuple[str, ...] = ()
    deep: tuple[tuple[str, ...], ...] = ()
    named: Mapping[str, str] = FrozenMap({})


@pytest.mark.parametrize(
    "values",
    [
        {"text": "a'"},
        {"text": "a`"},
        {"text": "a\n"},
        {"text": b"a'"},
        {"path": "/a'"},
        {"path": Path("/a'")},
        {"maybe": "a'"},
        {"some": ["b", "a'"]},
        {"some": {"a'"}},
        {"deep": [["b"], ["a'"]]},
        {"named": {"a": "a'"}},
        {"named": {"a'": "a"}},
    ],
    ids=lambda value: ascii(value).replace("\\", ""),
)
def test_the_check_is_the_sections_and_not_the_keys(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="text without"):
        Later.model_validate(values)


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from (key, *texts(item))
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)


TEXTS = st.text(alphabet="`'\n\0a.b-/*1 $()[]#,") | st.text() | st.sampled_from([*HOSTILE, "a.b", "/x", "*"])


@settings(deadline=None)
@given(st.sampled_from(QUOTED), TEXTS, st.booleans())
def test_whatever_is_accepted_is_inert(key: ConfigKey, text: str, listed: bool) -> None:
    try:
        config = Config.model_validate(placed(key, [text] if listed else text))
    except ValidationError:
        return
    for found in texts(config.model_dump(mode="json", exclude={"sendmail"})):
        assert "`" not in found
        assert "'" not in found
        assert found.isprintable()
