"""``postroad migrate``: examples of the other images' own documents, as they stand there, become configurations of ours."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from postroad.cli.migrate import command
from postroad.config.keys import keys
from postroad.config.model import Config
from postroad.errors import ConfigError
from postroad.migrate.images import IMAGES, NAMES, by_repository
from postroad.migrate.move import Image, Move, translate
from postroad.migrate.read import read
from tests.unit.whole import Whole

GUESSED = {"hostname": "mail.example.com", "domains": ["example.com"]}
NO_AUTH = {"smtp": 587, "submission": None}
SECRET = "/run/secrets/smarthost_password"

BOKY = {
    'docker run --rm --name postfix -e "ALLOWED_SENDER_DOMAINS=example.com" -p 1587:587 boky/postfix': {
        **GUESSED,
        "listeners": NO_AUTH,
    },
    'docker run --rm --name postfix -e "ALLOWED_SENDER_DOMAINS=example.com" -p 1587:587 ghcr.io/bokysan/postfix': {
        **GUESSED,
        "listeners": NO_AUTH,
    },
    'docker run --rm --name postfix -e "ALLOWED_SENDER_DOMAINS=example.com example.org" -p 1587:587 boky/postfix': {
        **GUESSED,
        "domains": ["example.com", "example.org"],
        "listeners": NO_AUTH,
    },
    "docker run --rm --name postfix -e RELAYHOST=192.168.115.215 -p 1587:587 boky/postfix": {
        **GUESSED,
        "listeners": NO_AUTH,
        "delivery": {"smarthost": {"host": "192.168.115.215", "port": 25, "tls": "none"}},
    },
    "docker run --rm --name postfix -e RELAYHOST=192.168.115.215:587 -p 1587:587 boky/postfix": {
        **GUESSED,
        "listeners": NO_AUTH,
        "delivery": {"smarthost": {"host": "192.168.115.215", "port": 587, "tls": "none"}},
    },
    "docker run --rm --name postfix -e 'RELAYHOST=[2001:db8::1]:587' -p 1587:587 boky/postfix": {
        **GUESSED,
        "listeners": NO_AUTH,
        "delivery": {"smarthost": {"host": "2001:db8::1", "port": 587, "tls": "none"}},
    },
    "docker run --rm --name postfix -e RELAYHOST=mail.google.com -e RELAYHOST_USERNAME=hello@gmail.com -e RELAYHOST_PASSWORD=world -p 1587:587 boky/postfix": {
        **GUESSED,
        "listeners": NO_AUTH,
        "delivery": {
            "smarthost": {
                "host": "mail.google.com",
                "port": 25,
                "username": "hello@gmail.com",
                "password_file": SECRET,
            }
        },
    },
    'docker run --rm --name postfix -e "ALLOWED_SENDER_DOMAINS=example.com example.org" -e "MASQUERADED_DOMAINS=example.com" -p 1587:587 boky/postfix': {
        **GUESSED,
        "domains": ["example.com", "example.org"],
        "listeners": NO_AUTH,
        "rewrite": {"masquerade_domains": ["example.com"], "masquerade_as": "example.com"},
    },
    'docker run --rm --name postfix -e "POSTFIX_myhostname=postfix-docker" -p 1587:587 boky/postfix': {
        **GUESSED,
        "listeners": NO_AUTH,
    },
    'docker run --rm --name postfix -e "POSTFIX_mynetworks=10.1.2.0/24" -p 1587:587 boky/postfix': {
        **GUESSED,
        "listeners": NO_AUTH,
        "clients": {"networks": ["10.1.2.0/24"]},
    },
    'docker run --rm --name postfix -e DKIM_BACKEND=opendkim -e "ALLOWED_SENDER_DOMAINS=example.org" -v /host/keys:/etc/opendkim/keys -p 1587:587 boky/postfix': {
        "hostname": "mail.example.org",
        "domains": [{"name": "example.org", "dkim": {"selector": "mail", "key_file": "/run/secrets/dkim_example.org"}}],
        "listeners": NO_AUTH,
    },
    """docker run --rm --name pruebas-postfix \\
    -e RELAYHOST="[smtp.gmail.com]:587" \\
    -e RELAYHOST_USERNAME="<put.your.account>@gmail.com" \\
    -e POSTFIX_smtp_tls_security_level="encrypt" \\
    -e XOAUTH2_CLIENT_ID_FILE="/run/secrets/xoauth2-client-id" \\
    -e XOAUTH2_SECRET_FILE="/run/secrets/xoauth2-secret" \\
    -e ALLOW_EMPTY_SENDER_DOMAINS="true" \\
    -e XOAUTH2_INITIAL_ACCESS_TOKEN_FILE="/run/secrets/xoauth2-access-token" \\
    -e XOAUTH2_INITIAL_REFRESH_TOKEN_FILE="/run/secrets/xoauth2-refresh-token" \\
    boky/postfix""": {
        "hostname": "mail.example.com",
        "domains": ["*"],
        "listeners": NO_AUTH,
        "dkim": {"enabled": False},
        "delivery": {
            "smarthost": {
                "host": "smtp.gmail.com",
                "port": 587,
                "username": "<put.your.account>@gmail.com",
                "oauth": {
                    "token_url": "https://oauth2.googleapis.com/token",
                    "client_id": "CLIENT-ID",
                    "client_secret_file": "/run/secrets/xoauth2-secret",
                    "refresh_token_file": "/run/secrets/xoauth2-refresh-token",
                },
            }
        },
    },
}
WADER = {
    "docker run -e POSTFIX_myhostname=smtp.domain.tld mwader/postfix-relay": {
        "hostname": "smtp.domain.tld",
        "domains": ["domain.tld"],
    },
    """app:
  # use hostname "smtp" as SMTP server

smtp:
  image: mwader/postfix-relay
  restart: always
  environment:
    - POSTFIX_myhostname=smtp.domain.tld
    - OPENDKIM_DOMAINS=smtp.domain.tld
""": {
        "hostname": "smtp.domain.tld",
        "domains": [
            {"name": "smtp.domain.tld", "dkim": {"selector": "mail", "key_file": "/run/secrets/dkim_smtp.domain.tld"}}
        ],
    },
    """services:
  smtp:
    image: mwader/postfix-relay
    environment:
      - POSTFIX_transport_maps=hash:/etc/postfix/transport
      - |
        POSTMAP_transport=gmail.com smtp
        mydomain.com relay:[relay1.mydomain.com]:587
        * relay:[relay2.mydomain.com]:587
      - POSTFIX_mynetworks=127.0.0.0/8,172.16.0.0/12
""": {
        **GUESSED,
        "delivery": {
            "routes": [
                {"domains": ["gmail.com"], "smarthost": None},
                {"domains": ["mydomain.com"], "smarthost": {"host": "relay1.mydomain.com", "port": 587, "tls": "verify"}},
            ],
            "smarthost": {"host": "relay2.mydomain.com", "port": 587, "tls": "verify"},
        },
        "clients": {"networks": ["172.16.0.0/12"]},
    },
    """POSTFIX_myhostname=smtp.domain.tld
POSTFIX_smtpd_relay_restrictions=permit_sasl_authenticated,reject
POSTFIX_smtpd_tls_cert_file=/etc/postfix/tls/cert.pem
POSTFIX_smtpd_tls_key_file=/etc/postfix/tls/key.pem
POSTFIX_smtpd_tls_security_level=may
POSTFIX_smtpd_tls_auth_only=yes
POSTMASTER_ADDRESS=ops@domain.tld
POSTSRSD_SRS_DOMAIN=smtp.domain.tld
TZ=Europe/Prague
""": {
        "hostname": "smtp.domain.tld",
        "domains": ["domain.tld"],
        "tls": {"certificate_file": "/etc/postfix/tls/cert.pem", "key_file": "/etc/postfix/tls/key.pem"},
    },
}  # fmt: skip
NAMSHI = {
    """SMARTHOST_ADDRESS=mail.mysmtp.com
SMARTHOST_PORT=587
SMARTHOST_USER=myuser
SMARTHOST_PASSWORD=secret
SMARTHOST_ALIASES=*.mysmtp.com
""": {
        **GUESSED,
        "domains": ["*"],
        "dkim": {"enabled": False},
        "delivery": {
            "smarthost": {"host": "mail.mysmtp.com", "port": 587, "username": "myuser", "password_file": SECRET}
        },
    },
    "-e MAILNAME=mail.shop.example -e RELAY_NETWORKS=:192.168.0.0/24:10.0.0.0/16": {
        "hostname": "mail.shop.example",
        "domains": ["shop.example"],
        "clients": {"networks": ["auto", "192.168.0.0/24", "10.0.0.0/16"]},
    },
    "-e SES_USER=AKIAEXAMPLE -e SES_PASSWORD=secret -e SES_REGION=eu-west-1 -e SES_PORT=2587": {
        **GUESSED,
        "domains": ["*"],
        "dkim": {"enabled": False},
        "delivery": {
            "smarthost": {
                "host": "email-smtp.eu-west-1.amazonaws.com",
                "port": 2587,
                "username": "AKIAEXAMPLE",
                "password_file": SECRET,
            }
        },
    },
    "-e MAILNAME=mail.shop.example -e KEY_PATH=/tls/key.pem -e CERTIFICATE_PATH=/tls/cert.pem -e PORT=587": {
        "hostname": "mail.shop.example",
        "domains": ["shop.example"],
        "tls": {"certificate_file": "/tls/cert.pem", "key_file": "/tls/key.pem"},
        "listeners": {"smtp": 587, "submission": None},
    },
}
EXAMPLES = [*BOKY.items(), *WADER.items(), *NAMSHI.items()]


@pytest.fixture(autouse=True)
def whole_configurations(whole: Whole, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each configuration is, word by word, as it is written down."""

    def told(image: Image, move: Move) -> str:
        text = translate(image, move)
        whole.add(text)
        return text

    monkeypatch.setattr("postroad.cli.migrate.translate", told)


def migrate(text: str, *options: str) -> str:
    result = CliRunner().invoke(command, [*options, "-"], input=text, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def notes(text: str) -> str:
    return " ".join(line.removeprefix("#").strip() for line in text.splitlines() if line.startswith("#"))


@pytest.mark.parametrize(
    ("text", "expected"), EXAMPLES, ids=[" ".join(text[:70].replace("\\", "").split()) for text, _ in EXAMPLES]
)
def test_what_their_documents_show(text: str, expected: dict[str, Any]) -> None:
    said = migrate(text)
    assert yaml.safe_load(said) == expected
    Config.model_validate(expected)
    for secret in ("world", "secret\n", ":secret"):
        assert secret not in said.replace("/xoauth2-secret", "")


def test_what_has_no_counterpart_is_told_and_why() -> None:
    said = notes(migrate(list(WADER)[3]))
    assert "POSTSRSD_SRS_DOMAIN: Postroad only sends; it forwards nothing" in said
    assert "POSTMASTER_ADDRESS: Postroad sends no mail about itself" in said
    assert "domain.tld is a guess: list every domain that your apps send as" in said
    assert "set client_id to the contents of XOAUTH2_CLIENT_ID_FILE" in notes(migrate(list(BOKY)[-1]))
    said = migrate(
        "-e ALLOWED_SENDER_DOMAINS=example.com -e RELAYHOST=[smtp.example.net]:587 -e RELAYHOST_USERNAME=app"
        " -e XOAUTH2_CLIENT_ID=the-id -e XOAUTH2_SECRET=the-secret -e XOAUTH2_TOKEN_ENDPOINT=https://login.example.net/t"
        " -e XOAUTH2_INITIAL_REFRESH_TOKEN=the-token"
    )
    assert yaml.safe_load(said)["delivery"]["smarthost"]["oauth"] == {
        "token_url": "https://login.example.net/t",
        "client_id": "the-id",
        "client_secret_file": "/run/secrets/client_secret",
        "refresh_token_file": "/run/secrets/refresh_token",
    }
    assert "the-secret" not in said
    assert "the-token" not in said
    said = migrate(
        "-e ALLOWED_SENDER_DOMAINS=example.com -e RELAYHOST=[smtp.example.net]:587 -e RELAYHOST_USERNAME=app"
        " -e XOAUTH2_CLIENT_ID=the-id -e XOAUTH2_INITIAL_REFRESH_TOKEN=the-token"
    )
    assert "token_url is a guess" in notes(said)
    assert "client_secret_file" not in said
    # without a user nobody logs in
    without = "-e ALLOWED_SENDER_DOMAINS=example.com -e RELAYHOST=[smtp.example.net]:587 -e XOAUTH2_CLIENT_ID=the-id"
    assert "username" not in yaml.safe_load(migrate(without))["delivery"]["smarthost"]


def test_a_host_name_without_a_domain_is_not_kept() -> None:
    said = notes(migrate(list(BOKY)[8]))
    assert "hostname: postfix-docker is not a full name. mail.example.com is a guess" in said


def test_users_come_without_their_passwords() -> None:
    said = migrate("-e ALLOWED_SENDER_DOMAINS=example.com -e SMTPD_SASL_USERS=app@example.com:pass1,b:pass2,nocolon")
    assert yaml.safe_load(said)["clients"]["users"] == [
        {"name": "app@example.com", "password_file": "/run/secrets/app_example_com_password"},
        {"name": "b", "password_file": "/run/secrets/b_password"},
    ]
    assert "pass1" not in said
    assert "pass2" not in said
    assert "nocolon" not in said
    assert "an entry has no colon" in said
    assert "listeners" not in yaml.safe_load(said)


def test_selectors_of_single_domains() -> None:
    said = migrate("-e DKIM_SELECTOR=foo,example.org=postfix -e 'ALLOWED_SENDER_DOMAINS=example.com example.org'")
    assert [each["dkim"]["selector"] for each in yaml.safe_load(said)["domains"]] == ["foo", "postfix"]


@pytest.mark.parametrize(
    ("setting", "path", "value"),
    [
        ("POSTFIX_maximal_queue_lifetime=2", "delivery.queue.give_up_after", "172800s"),
        ("POSTFIX_delay_warning_time=1h", "delivery.queue.warn_after", "3600s"),
        ("POSTFIX_delay_warning_time=0", "delivery.queue.warn_after", None),
        ("POSTFIX_minimal_backoff_time=600", "delivery.queue.retry", "600s"),
        ("POSTFIX_message_size_limit=10240000", "limits.message_size", 10240000),
        ("MESSAGE_SIZE_LIMIT=10240000", "limits.message_size", "10240000"),
        ("POSTFIX_smtpd_client_connection_count_limit=0", "limits.connections_per_client", None),
        ("POSTFIX_smtp_tls_security_level=encrypt", "delivery.tls.policy", "require"),
        ("POSTFIX_smtp_tls_security_level=dane", "delivery.tls.policy", "dane"),
        ("LOG_FORMAT=plain", "log.format", "text"),
        ("ANONYMIZE_EMAILS=smart", "log.redact", "hash"),
        ("POSTFIX_myorigin=example.com", "rewrite.add_domain", "example.com"),
        ("MYNETWORKS=10.9.0.0/16", "clients.networks", ["10.9.0.0/16"]),
    ],
)
def test_single_settings(setting: str, path: str, value: object) -> None:
    found: Any = yaml.safe_load(migrate(f"ALLOWED_SENDER_DOMAINS=example.com\n{setting}\n"))
    for part in path.split("."):
        found = found[part]
    assert found == value


@pytest.mark.parametrize(
    ("setting", "about"),
    [
        ("POSTFIX_message_size_limit=0", "limits.message_size: 0 meant no limit"),
        ("POSTFIX_message_size_limit=99999999999", "limits.message_size: not taken over: At 'limits.message_size'"),
        ("POSTFIX_mynetworks=0.0.0.0/0", "0.0.0.0/0 is everybody, so it is left out"),
        ("POSTFIX_mynetworks=198.0.0.0/8", "POSTFIX_mynetworks: not taken over: At 'clients.networks'"),
        ("POSTFIX_mynetworks=hash:/etc/postfix/nets", "an entry is not an address or a network"),
        ("POSTFIX_smtp_tls_security_level=fingerprint", "fingerprint has no counterpart"),
        ("POSTFIX_header_checks=regexp:/x", "POSTFIX_header_checks: Mail leaves unchanged or is refused"),
        ("POSTFIX_allow_mail_to_commands=alias", "POSTFIX_allow_mail_to_commands: A setting of Postfix alone"),
        ("WHATEVER=1", "WHATEVER: boky/postfix has no such variable"),
    ],
)
def test_what_is_not_taken_over(setting: str, about: str) -> None:
    said = migrate(f"ALLOWED_SENDER_DOMAINS=example.com\n{setting}\n")
    assert yaml.safe_load(said) == {**GUESSED, "listeners": NO_AUTH}
    assert about in notes(said)


ALL_VALUES = (
    "", "0", "5d", "true", "encrypt", "static:app:secret", "a.example, b.example", "[smtp.example.net]:587", "[192.0.2.9]",
    "10.9.0.0/16 127.0.0.0/8 0.0.0.0/0 nonsense", "/etc/tls/a.pem",
    "a.example smtp:[relay.example.net]:26\n# no\n* :\nb.example lmtp:x\nC.example :10.0.0.9\nu@d.example smtp:\n* relay:x.example",
)  # fmt: skip


@pytest.mark.parametrize("image", IMAGES, ids=lambda image: str(image.name))
def test_every_variable_with_values_of_every_kind(image: Image, whole: Whole) -> None:
    """What each one adds to the configuration of the others."""
    above = {"POSTFIX_relayhost": "[smtp.example.net]:587"} if "wader" in image.name else {}
    plain = translate(image, Move(above)).splitlines()
    for variable in image.variables:
        if variable.take is None:
            continue
        added: dict[str, list[str]] = {}
        for value in ALL_VALUES:
            text = translate(image, Move(above | {variable.name: value})).splitlines()
            said = "\n".join(line for line in text if line not in plain)
            added.setdefault(said, []).append(value)
        for said, values in added.items():
            indented = "".join(f"\n    {line}" for line in said.splitlines())
            whole.add(f"{variable.name}={' | '.join(map(repr, values))}{indented}")


@pytest.mark.parametrize(
    "text",
    [
        """docker run -eTZ=UTC --env=RELAYHOST=[smtp.example.net]:587 -e 'ALLOWED_SENDER_DOMAINS=a.example b.example' -e EMPTY \\
            -v keys:/etc/opendkim/keys:ro --volume=queue:/var/spool/postfix --env-file=.env boky/postfix:v5 other/image""",
        "podman run --env RELAYHOST=smtp.example.net --env-file .env --volume keys:/etc/opendkim/keys boky/postfix",
        """export ALLOWED_SENDER_DOMAINS='a.example'\nRELAYHOST="[smtp.example.net]:587"\n\n# a remark\nRELAYHOST_USERNAME='\n""",
        """\
services:
  mail:
    image: boky/postfix
    env_file: .env
    volumes: ['keys:/etc/opendkim/keys:ro', 5]
    environment: {ALLOW_EMPTY_SENDER_DOMAINS: true, RELAYHOST: $$x, TZ: null, MESSAGE_SIZE_LIMIT: 10240000}
  other:
    image: nginx
""",
        "mail:\n  image: boky/postfix\n  environment: [ALLOWED_SENDER_DOMAINS=a.example, RELAYHOST=$HOST]\n",
    ],
    ids=["options", "podman", "env-file", "compose", "old-compose"],
)
def test_each_form_of_an_environment(text: str, whole: Whole) -> None:
    whole.add(str(read(text, None)).replace("), ", "),\n").replace("', '", "',\n'"))


def test_a_compose_file_s_open_values_are_told_and_a_later_file_fills_them(tmp_path: Path) -> None:
    compose = tmp_path / "compose.yaml"
    compose.write_text(
        "services:\n  mail:\n    image: boky/postfix:v5\n    env_file: .env\n    environment:\n"
        "      ALLOWED_SENDER_DOMAINS: ${DOMAINS}\n      POSTFIX_myhostname: mail.shop.example\n"
        "    volumes: [{type: volume, source: keys, target: /etc/opendkim/keys}]\n"
    )
    other = tmp_path / ".env"
    other.write_text("ALLOWED_SENDER_DOMAINS=shop.example\n")
    result = CliRunner().invoke(command, [str(compose), str(other)], catch_exceptions=False)
    assert "ALLOWED_SENDER_DOMAINS: has a ${…} that Compose fills in" in notes(result.stdout)
    assert "env_file: not read" in notes(result.stdout)
    assert yaml.safe_load(result.stdout)["domains"][0]["dkim"]["selector"] == "mail"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("TZ=UTC\n", "the variables do not tell which image they are for"),
        ("no assignment\n", "line 1 is no NAME=value"),
        ('docker run -e "SMTP_HEADER_CHECKS="regexp:/x" boky/postfix', "can't be read as a shell would"),
        ("services: {a: {image: x}, b: {image: y}}", "Add --service with one of a, b"),
    ],
)
def test_what_can_t_be_read(text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        migrate(text)


def test_images_are_known_by_their_references() -> None:
    for reference in (
        "boky/postfix",
        "boky/postfix:latest",
        "ghcr.io/bokysan/postfix:v5@sha256:00",
        "docker.io/mwader/postfix-relay",
        "namshi/smtp",
    ):
        assert by_repository(reference), reference
    for reference in ("postfix", "example/myboky/postfix-x", "localhost:5000/other"):
        assert not by_repository(reference), reference


@pytest.mark.parametrize("image", IMAGES, ids=lambda image: image.name)
def test_the_keys_of_the_table_are_keys(image: Any) -> None:
    known = {key.name for key in keys(Config)}
    for variable in image.variables:
        assert set(variable.keys) <= known, variable.name
        assert variable.keys or variable.note, variable.name
    names = [variable.name for variable in image.variables]
    assert len(names) == len(set(names))


VALUES = st.one_of(
    st.sampled_from(
        ["", "true", "1", "0", "a:b", "[x", "example.com", "mail.example.com:25", "5d", "10.0.0.0/8", "`'\n"]
    ),
    st.text(max_size=40),
)


@given(st.data())
def test_whatever_stands_there_the_output_is_a_configuration_that_check_accepts(data: st.DataObject) -> None:
    image = data.draw(st.sampled_from(list(NAMES.values())))
    names = st.sampled_from([variable.name.replace("*", "x") for variable in image.variables])
    variables = data.draw(st.dictionaries(names, VALUES, max_size=8))
    said = translate(image, Move(variables))
    Config.model_validate(yaml.safe_load(said))


@pytest.mark.parametrize(("domains", "hostname"), [("1", "mail.example.com"), ("1 a.example", "mail.a.example")])
def test_a_guess_at_the_host_name_is_a_name(domains: str, hostname: str) -> None:
    """Pinned: found by `make nightly`."""
    said = yaml.safe_load(translate(NAMES["boky"], Move({"ALLOWED_SENDER_DOMAINS": domains})))
    assert Config.model_validate(said).hostname == hostname
