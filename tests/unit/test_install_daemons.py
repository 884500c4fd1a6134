"""Which daemons a configuration has, and what they are told; that both are read again as they were written."""

from dataclasses import fields
from datetime import UTC, date, datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from postroad.config.load import Loaded, read_all
from postroad.install import daemons, environment, settings, summary
from postroad.install.material import Material, files
from postroad.runtime import front, handover, plan, returning, web
from postroad.runtime.paths import SENDMAIL
from postroad.secrets.api_keys import digest
from postroad.secrets.certificate import Pair
from postroad.sendmail.networks import Surroundings
from tests.unit.handed import HOOK

FOUR = Surroundings(subnets=(ip_network("172.20.0.0/16"),))
BOTH = Surroundings(subnets=(ip_network("172.20.0.0/16"), ip_network("fd00:1::/64")))
ROUTES = """
delivery:
  queue: {retry: 2m, warn_after: 4h, give_up_after: 3d}
  routes:
    - {domains: [a.example], smarthost: null, concurrency: 2, rate: 100/minute}
    - {domains: [b.example], smarthost: null}
    - {senders: [c.example], smarthost: null, warm_up: {since: 2026-11-24, daily: [50, 100]}}
"""
PEERS = "peers: {port: 2527, secret_file: /run/secrets/peers}\n"
EVERY = ROUTES + "  tls: {mta_sts: true}\n"
WEB = """
clients: {users: [{name: app, password_file: /a, domains: [example.com]}, {name: all@other.example, password_file: /b}]}
web:
  listen: 0.0.0.0:8080
  keys:
    - {name: shop, key_file: /c, user: app}
    - {name: watcher, key_file: /d, user: all@other.example, rights: [read]}
    - {name: some, key_file: /e, domains: [example.com], rights: [read, suppressions]}
"""


def loaded(tmp_path: Path, text: str = "") -> Loaded:
    path = tmp_path / "config.yaml"
    path.write_text(f"hostname: mail.example.com\ndomains: [example.com]\n{text}")
    return read_all(path, {}, tmp_path / "none")


def material(**changes: Any) -> Material:
    pair = Pair(
        certificate=b"", key=b"", warnings=("the certificate is a doubtful one",), due=datetime(2030, 1, 1, tzinfo=UTC)
    )
    given: dict[str, Any] = {
        "watched": {"/a": "1"}, "keys": [], "pems": {}, "pair": pair, "passwords": {}, "credentials": {},
        "authorities": "", "webhooks": (), "store_password": None,
    }  # fmt: skip
    return Material(**given | changes)


@pytest.fixture(autouse=True)
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "mqueue"
    folder.mkdir()
    monkeypatch.setattr(daemons, "QUEUE", folder)
    monkeypatch.setattr(summary, "RUN", tmp_path)
    monkeypatch.setattr(summary, "EVENTS", tmp_path / "events")
    tmp_path.chmod(0o700)
    return folder


def made(tmp_path: Path, text: str = "", around: Surroundings = FOUR, **changes: Any) -> plan.Plan:
    return daemons.make_plan(loaded(tmp_path, text), material(**changes), around, "fingerprint")


def by_name(found: plan.Plan) -> dict[str, plan.Process]:
    return {each.name: each for each in found.processes}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", ["signer", "sendmail", "front", "recorder"]),
        ("events: {enabled: false}\nsuppression: {enabled: false}\n", ["signer", "sendmail", "front"]),
        ("listeners: {smtp: null, submission: 587}\n", ["signer", "sendmail", "recorder"]),
        (PEERS, ["signer", "sendmail", "front", "peers", "recorder"]),
        ("peers: {secret_file: /run/secrets/peers}", ["signer", "sendmail", "front", "recorder"]),
        ("returns: {domain: bounces.x.example}\n", ["signer", "sendmail", "front", "returns", "recorder"]),
        (EVERY, ["signer", "mta-sts", "sendmail", "front", "shaper", "recorder"]),
        (WEB, ["signer", "sendmail", "front", "recorder", "web"]),
    ],
)
def test_the_daemons_in_the_order_in_which_they_start(tmp_path: Path, text: str, names: list[str]) -> None:
    found = made(tmp_path, text)
    assert [each.name for each in found.processes] == names
    assert handover.loads(plan.Plan, handover.dumps(found)) == found


def test_a_plan_may_have_every_daemon_and_a_reload_waits_for_each(tmp_path: Path) -> None:
    text = EVERY + "  smarthost: {host: mx.example.net}\n" + PEERS + WEB + "returns: {domain: bounces.x.example}\n"
    every = [each.name for each in made(tmp_path, text).processes]
    assert every == [
        "signer", "mta-sts", "uplink", "sendmail", "front", "peers", "shaper", "returns", "recorder", "web",
    ]  # fmt: skip
    assert set(every) == plan.DAEMONS, "a name that no plan has, or a daemon without one"
    assert plan.PREPARE_LIMIT + len(every) * plan.START_LIMIT == plan.RELOAD_LIMIT


def test_how_each_is_known_to_serve(tmp_path: Path) -> None:
    found = by_name(made(tmp_path, EVERY, BOTH))
    assert found["sendmail"].ports == (587, 465)
    assert [Path(each).name for each in found["sendmail"].unix_listeners] == [
        f"door-{number}" for number in front.INNER_DOORS
    ]
    assert found["sendmail"].argv[0] == SENDMAIL
    assert (found["front"].ports, found["front"].listens) == ((25,), ("inet6", 25))
    assert Path(found["signer"].socket).name == "signer"
    assert Path(found["mta-sts"].socket).name == "mta-sts"
    assert {name for name, each in found.items() if not each.essential} == {"shaper", "recorder"}
    assert {name for name, each in found.items() if each.reload != "SIGHUP"} == {"mta-sts"}
    assert by_name(made(tmp_path))["front"].listens == ("inet", 25)
    returns = by_name(made(tmp_path, "returns: {domain: bounces.x.example, listen: 2600}\n", BOTH))["returns"]
    assert (returns.ports, returns.listens, returns.essential) == ((2600,), ("inet6", 2600), False)


def test_what_takes_other_relays_messages_is_no_condition_of_our_own_mail(tmp_path: Path) -> None:
    found = by_name(made(tmp_path, PEERS))["peers"]
    assert (found.ports, found.listens, found.essential, found.reload) == ((2527,), ("inet", 2527), False, "SIGHUP")
    assert by_name(made(tmp_path, PEERS, BOTH))["peers"].listens == ("inet6", 2527)
    told = settings.of_peers(loaded(tmp_path, PEERS).config, material(peers_secret="hunter2 and more"))
    assert handover.loads(type(told), handover.dumps(told)) == told
    assert (told.secret, told.retry) == ("hunter2 and more", 300.0)
    assert "hunter2" not in repr(told)
    assert Path("/run/secrets/peers") in files(loaded(tmp_path, PEERS).config), "a change of it is a reload"


def test_without_port_25_there_are_no_inner_doors(tmp_path: Path) -> None:
    found = by_name(made(tmp_path, "listeners: {smtp: null, submission: 587, submissions: 465}\n"))
    assert (found["sendmail"].unix_listeners, found["sendmail"].ports) == ((), (587, 465))
    assert found["sendmail"].argv[-2:] == ("-bD", "-q5m"), "no front sees to what waits"
    assert by_name(made(tmp_path))["sendmail"].argv[-1] == "-bD", "no runs of its own"


def test_mail_of_a_route_that_is_no_more_is_taken_from_its_folder(tmp_path: Path, queue: Path) -> None:
    assert "shaper" not in by_name(made(tmp_path))
    (queue / "route-5f7aef8e").mkdir()
    assert "shaper" in by_name(made(tmp_path))


def test_the_api_is_known_to_serve_by_its_port_and_mail_goes_on_without_it(tmp_path: Path) -> None:
    found = by_name(made(tmp_path, WEB))["web"]
    assert (found.ports, found.essential, found.reload) == ((8080,), False, "SIGHUP")


PASSWORDS = {b"app\0mail.example.com\0userPassword": b"p\xe4ss", b"all\0other.example\0userPassword": b"secret"}


def told_web(tmp_path: Path, text: str = WEB) -> web.Settings:
    config = loaded(tmp_path, text).config
    assert config.web
    known = material(
        api_keys=tuple("abc"), passwords=PASSWORDS, console_passwords=("a word of secrets", "another secret")
    )
    made = settings.of_web(config.web, config, known)
    assert handover.loads(web.Settings, handover.dumps(made)) == made
    return made


def test_a_key_sends_as_its_user_and_reads_of_the_user_s_domains(tmp_path: Path) -> None:
    shop, watcher, some = told_web(tmp_path).keys
    assert (shop.login, shop.password) == ("app@mail.example.com", "cORzcw==")
    assert shop.covers("example.com")
    assert not shop.covers("www.example.com")
    assert (watcher.login, watcher.password) == ("", ""), "what it has no right to is not handed over"
    assert watcher.covers("anything.example")
    assert (some.login, some.covers("example.com"), some.covers("example.net")) == ("", True, False)
    assert (shop.digest, watcher.digest, some.digest) == tuple(map(digest, "abc"))
    assert shop.secret == "", "the key itself is not handed over where no signature needs it"
    assert (told_web(tmp_path).password, told_web(tmp_path).viewer_password) == ("a word of secrets", "another secret")
    assert (told_web(tmp_path).redact, told_web(tmp_path).retry) == ("none", 300.0)
    assert "secret" not in repr(told_web(tmp_path))


def test_an_identity_provider_is_told_with_its_secret(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    section = (
        "{issuer: 'https://id.example.com', url: 'https://mail.example.com/', client_id: x, client_secret_file: /s,"
        " operators: [ops@example.com]}"
    )
    path.write_text(f"hostname: mail.example.com\ndomains: [example.com]\nweb: {{oidc: {section}}}\n")
    config = read_all(path, {}, tmp_path / "none").config
    assert config.web
    made = settings.of_web(config.web, config, material(oidc=("s3cret", "PEM")))
    assert handover.loads(web.Settings, handover.dumps(made)) == made
    assert made.oidc
    assert (made.oidc.url, made.oidc.client_secret, made.oidc.ca) == ("https://mail.example.com", "s3cret", "PEM")
    assert (made.oidc.operators, made.oidc.viewers, made.oidc.claim) == (("ops@example.com",), (), "email")
    assert "s3cret" not in repr(made)


def test_names_below_a_domain_count_for_a_key_where_they_may_send(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(f"hostname: mail.example.com\ndomains: [{{name: example.com, subdomains: true}}]\n{WEB}")
    config = read_all(path, {}, tmp_path / "none").config
    assert config.web
    shop, *_ = settings.of_web(config.web, config, material(api_keys=tuple("abc"), passwords=PASSWORDS)).keys
    assert shop.covers("www.example.com")


@pytest.mark.parametrize(
    ("more", "submission", "implicit"),
    [
        ("", 587, False),
        ("listeners: {submission: 2587}\n", 2587, False),
        ("listeners: {submission: null}\n", 465, True),
        ("listeners: {submission: null, submissions: 2465}\n", 2465, True),
    ],
)
def test_messages_of_the_api_go_to_a_listener_for_users(
    tmp_path: Path, more: str, submission: int, implicit: bool
) -> None:
    found = told_web(tmp_path, WEB + more)
    assert (found.submission, found.implicit) == (submission, implicit)


@pytest.mark.parametrize(
    ("more", "tls"),
    [
        ("listen: 0.0.0.0:8080", True),
        ("listen: '[::]:8080'", True),
        ("listen: 127.0.0.1:8080", False),
        ("listen: '[::1]:8080'", False),
        ("listen: 0.0.0.0:8080\n  proxies: [172.20.0.2]", False),
    ],
)
def test_the_api_speaks_tls_unless_nobody_else_can_listen(tmp_path: Path, more: str, tls: bool) -> None:
    assert told_web(tmp_path, WEB.replace("listen: 0.0.0.0:8080", more)).tls is tls


def test_nothing_of_the_container_s_environment_gets_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTROAD_EVENTS__STORE", "postgresql://u:secret@h/d")
    for each in made(tmp_path, EVERY).processes:
        assert "secret" not in str(each.env)
        assert set(each.env) <= {
            "PATH", "LD_PRELOAD", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "POSTROAD_FQDN", "POSTROAD_LOG_SOCKET", "POSTROAD_NO_AUTH",
            "POSTROAD_ATTEMPT_TIMEOUT", "POSTROAD_MOST_DELIVERIES", "POSTROAD_PREFER",
        }  # fmt: skip


def test_other_authorities_are_another_environment(tmp_path: Path) -> None:
    one, other = (by_name(made(tmp_path, EVERY, authorities=text))["mta-sts"].env for text in ("one", "other"))
    assert one["POSTROAD_AUTHORITIES"] != other["POSTROAD_AUTHORITIES"]
    assert Path(one["SSL_CERT_FILE"]).name == "ca.pem"
    assert environment.of_authorities(material()) == {}


@pytest.mark.parametrize(("text", "seconds"), [("", "600"), ("delivery: {attempt_timeout: 1m}\n", "60")])
def test_how_long_an_attempt_may_take(tmp_path: Path, text: str, seconds: str) -> None:
    assert environment.of_sendmail(loaded(tmp_path, text).config)["POSTROAD_ATTEMPT_TIMEOUT"] == seconds


def test_what_the_log_says_of_it(tmp_path: Path) -> None:
    text = "clients: {trust_gateway: true}\n" + EVERY + "log: {format: text, redact: domain}\n"
    found = made(tmp_path, text)
    assert found.policy.startswith("relaying for postroad send, 172.20.0.0/16; senders in example.com")
    assert "keeping to recipients' MTA-STS policies" in found.policy
    assert "hostname mail.example.com from" in found.sources
    assert "domains example.com from" in found.sources
    assert found.warnings[0] == "the certificate is a doubtful one"
    assert (found.log_format, found.redact, found.journal, found.networks) == ("text", "domain", True, "fingerprint")
    assert (found.watched, found.due) == ({"/a": "1"}, 1893456000.0)


def test_a_folder_that_others_may_write_to_is_warned_of(tmp_path: Path) -> None:
    assert not [each for each in made(tmp_path).warnings if "let nothing else run in it" in each]
    tmp_path.chmod(0o702)
    assert [each for each in made(tmp_path).warnings if "let nothing else run in it" in each]


# --- what they are told


def test_the_shaper_is_told_of_the_routes_with_limits(tmp_path: Path) -> None:
    found = settings.of_shaper(loaded(tmp_path, ROUTES).config)
    assert handover.loads(type(found), handover.dumps(found)) == found
    assert (found.retry, found.tell, found.by_domain) == (120.0, (14400.0, 259200.0), True)
    first, second = found.routes
    assert (first.concurrency, first.rate, first.since, first.daily) == (2, (100, 60), 0, ())
    assert (second.concurrency, second.rate) == (None, None)
    assert (second.since, second.daily) == ((date(2026, 11, 24) - date(1970, 1, 1)).days, (50, 100))
    assert first.group.startswith(found.prefix)
    assert not first.one_way
    redirected = settings.of_shaper(loaded(tmp_path, ROUTES + "recipients: {redirect_to: qa@example.com}\n").config)
    assert all(each.one_way for each in redirected.routes)


@pytest.mark.parametrize(
    ("text", "shared", "divides"),
    [
        (ROUTES, False, False),
        ('events: {store: "postgresql://app@db.example/postroad"}', True, False),
        (ROUTES + 'events: {store: "postgresql://app@db.example/postroad"}\n', True, True),
    ],
)
def test_limits_are_shared_with_whom_the_database_is(tmp_path: Path, text: str, shared: bool, divides: bool) -> None:
    config = loaded(tmp_path, text).config
    assert settings.of_shaper(config).shared is shared
    assert settings.of_recorder(config, material()).divides is divides


def test_the_front_answers_early_only_where_a_message_stays_one(tmp_path: Path) -> None:
    plain = settings.of_front(loaded(tmp_path).config, FOUR)
    assert handover.loads(type(plain), handover.dumps(plain)) == plain
    assert (plain.early, plain.transparent, plain.inet6, plain.hostname) == (True, False, False, "mail.example.com")
    assert not settings.of_front(loaded(tmp_path, ROUTES).config, FOUR).early
    assert settings.of_front(loaded(tmp_path, 'sendmail: {local_config: "# mine"}\n').config, FOUR).transparent
    assert settings.of_front(loaded(tmp_path).config, BOTH).inet6


def test_the_front_uses_sessions_again_but_where_a_route_leaves_from_an_address_of_its_own(tmp_path: Path) -> None:
    for delivery, again in (
        ("{}", True),
        ("{smarthost: {host: smtp.example.net}}", True),
        ("{tls: {policy: verify, mta_sts: true}}", True),
        ("{routes: [{domains: [a.example], smarthost: null, bind: [192.0.2.11]}]}", False),
    ):
        assert settings.of_front(loaded(tmp_path, f"delivery: {delivery}\n").config, FOUR).reuses is again


def test_the_recorder_is_told_what_to_keep_and_whom_to_tell(tmp_path: Path) -> None:
    text = """
events: {keep: 30d, store: "postgresql://app@db.example/postroad", brake: {bounce_rate: 10%, window: 1h}}
suppression: {keep: 90d, scope: sender_domain, never: [VIP@Rcpt.example], soft: {count: 3, within: 7d}}
http: {listen: "[::1]:8025"}
"""
    found = settings.of_recorder(loaded(tmp_path, text).config, material(webhooks=(HOOK,), store_password="hunter2"))
    assert handover.loads(type(found), handover.dumps(found)) == found
    assert (found.keep, found.http, found.webhooks) == (30 * 86400.0, ("::1", 8025), (HOOK,))
    assert found.store is not None
    assert (found.store.url, found.store.password) == ("postgresql://app@db.example/postroad", "hunter2")
    assert "hunter2" not in repr(found)
    assert [getattr(found.suppression, each.name) for each in fields(found.suppression)] == [
        90 * 86400.0, "sender_domain", ("vip@rcpt.example",), 3, 7 * 86400.0,
    ]  # fmt: skip
    assert (found.bounces.brake, found.bounces.window) == (0.1, 3600.0)


def test_where_nothing_is_suppressed_the_recorder_keeps_none(tmp_path: Path) -> None:
    found = settings.of_recorder(
        loaded(tmp_path, "suppression: {enabled: false}\nhttp: {listen: null}\n").config, material()
    )
    assert (found.suppression.keep, found.store, found.http, found.webhooks) == (None, None, None, ())


LINKS = """returns:
  domain: bounces.example.com
  senders: [example.com]
  unsubscribe: {domains: [.example.com], url: "https://b.example.com/u/", listen: "127.0.0.1:8030"}
"""


def test_what_returns_is_told_and_that_another_port_for_links_starts_it_anew(tmp_path: Path) -> None:
    assert settings.of_returns(loaded(tmp_path, "").config) is None
    told = settings.of_returns(loaded(tmp_path, LINKS).config)
    link = returning.Unsubscribing((".example.com",), "https://b.example.com/u", "127.0.0.1", 8030)
    assert told == returning.Settings("mail.example.com", "bounces.example.com", ("example.com",), link)
    assert handover.loads(returning.Settings, handover.dumps(told)) == told
    first = by_name(made(tmp_path, LINKS))["returns"]
    assert first.ports == (2526, 8030)
    assert by_name(made(tmp_path, LINKS.replace("127.0.0.1", "0.0.0.0")))["returns"] != first
