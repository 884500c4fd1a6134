"""Mail through smarthosts: which one, over what TLS, and who gets to see the password."""

import base64
import re
import smtplib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from postroad.testing import ENDS, PostroadContainer
from tests.integration.conftest import Relays, deferred, end_sessions, letter, secrets_folder, send
from tests.internet.host import Mx, Watch
from tests.internet.internet import Internet

PASSWORD = "s3cret`'\" \\€"  # what m4, sendmail and SASL could trip over
WATCH = "watch.up.example"


@pytest.fixture(scope="module")
def upstream(internet: Internet) -> Mx:
    return internet.add_smarthost("smtp.up.example", user=f"app:{PASSWORD}", mechanisms="PLAIN")


@pytest.fixture(scope="module")
def watch(internet: Internet) -> Watch:
    return internet.add_watch(WATCH)


@pytest.fixture(scope="module")
def safe(internet: Internet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the test authority and the passwords ``app`` and ``other``."""
    return secrets_folder(tmp_path_factory, internet, app=PASSWORD, other="other")


@pytest.fixture(scope="module")
def start(relays: Relays, internet: Internet, safe: Path) -> Callable[..., PostroadContainer]:
    """Starts a relay with that folder as ``/secrets``."""
    internet.add_zone("second.example")

    def start(**delivery: Any) -> PostroadContainer:
        return relays(
            domains=["sender.example", {"name": "second.example", "subdomains": True}],
            mounts={str(safe): "/secrets"},
            delivery={"tls": {"ca_file": "/secrets/ca.pem"}, **delivery},
        )

    return start


LOGIN = {"username": "app", "password_file": "/secrets/app"}


def end(relay: PostroadContainer, message_id: str) -> dict[str, Any]:
    """Wait until the message was delivered or bounced; return that event."""
    return next(event for event in relay.follow(message_id) if event["event"] in ENDS)


@pytest.mark.parametrize("port", [587, 465])
def test_it_logs_in(port: int, start: Any, upstream: Mx, internet: Internet) -> None:
    relay = start(smarthost={"host": "smtp.up.example", "port": port, **LOGIN})
    for mechanism in ("PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256"):
        upstream.offer(mechanism)
        end_sessions(relay)
        message = internet.wait_for_message(send(relay, letter()))
        assert message.mx == "smtp.up.example"
        assert message.verdict("dkim") == "pass"
        assert "(Authenticated sender: app@smtp.up.example)" in str(message.message["Received"])
        assert re.search(
            rf"{'submissions' if port == 465 else 'submission'}/smtpd\S+ .*sasl_method={mechanism},", upstream.logs()
        )


ROWS = {
    # port of the watching server: what keeps a password back, what keeps mail back where any certificate will do
    2001: ("", ""),
    2002: ("expired or not signed", ""),
    2003: ("expired or not signed", ""),
    2004: ("certificate is not valid for 'watch.up.example'", ""),
    2005: ("", ""),
    2006: ("does not offer STARTTLS", "does not offer STARTTLS"),
    2007: ("does not take STARTTLS now", "does not take STARTTLS now"),
    2008: ("did not get through the TLS handshake", "did not get through the TLS handshake"),
}
NAMES = ["good", "expired", "self-signed", "wrong-name", "wildcard", "no-starttls", "refused", "handshake-fails"]


@pytest.fixture(scope="module")
def ways(start: Any, watch: Watch) -> Callable[[str], PostroadContainer]:
    """For each way to use a smarthost a relay with a domain, and so a smarthost, for each port of the watching server."""

    @cache
    def way(tls: str) -> PostroadContainer:
        login = LOGIN if tls == "verify" else {}
        server = {"host": WATCH, "tls": tls, **login}
        routes = [{"domains": [f"p{port}.example"], "smarthost": {**server, "port": port}} for port in ROWS]
        relay: PostroadContainer = start(routes=routes)
        return relay

    return way


@pytest.mark.parametrize(("port", "reason"), [(port, row[0]) for port, row in ROWS.items()], ids=NAMES)
def test_credentials_go_to_a_verified_server_only(port: int, reason: str, ways: Any, watch: Watch) -> None:
    watch.forget()
    message_id = send(ways("verify"), letter(To=f"a@p{port}.example"))
    if reason:
        assert reason in deferred(ways("verify"), message_id)
    else:
        assert end(ways("verify"), message_id)["event"] == "delivered"
    said = watch.commands(port)
    assert any("EHLO" in line for line in said)
    assert any("AUTH" in line for line in said) == (not reason), said
    assert any("MAIL" in line for line in said) == (not reason), said
    assert not any(line.startswith("clear AUTH") for line in said)


@pytest.mark.parametrize(("port", "reason"), [(port, row[1]) for port, row in ROWS.items()], ids=NAMES)
def test_a_smarthost_may_have_any_certificate_but_needs_tls(port: int, reason: str, ways: Any, watch: Watch) -> None:
    watch.forget()
    message_id = send(ways("require"), letter(To=f"a@p{port}.example"))
    if reason:
        assert reason in deferred(ways("require"), message_id)
    else:
        assert end(ways("require"), message_id)["event"] == "delivered"
    said = watch.commands(port)
    assert not any("AUTH" in line or line.startswith("clear MAIL") for line in said)


@pytest.mark.parametrize("port", ROWS, ids=NAMES)
def test_a_smarthost_without_tls_is_spoken_to_in_clear_text(port: int, ways: Any, watch: Watch) -> None:
    watch.forget()
    assert end(ways("none"), send(ways("none"), letter(To=f"a@p{port}.example")))["event"] == "delivered"
    assert not any("STARTTLS" in line or "AUTH" in line for line in watch.commands(port))


def test_a_fallback_takes_over(start: Any, upstream: Mx, watch: Watch, internet: Internet) -> None:
    # the first can't be reached, then has no valid certificate; two ports, since both servers share one
    relay = start(smarthost={"host": "nobody.up.example", "fallback": "smtp.up.example", **LOGIN})
    assert internet.wait_for_message(send(relay, letter())).mx == "smtp.up.example"
    relay = start(smarthost={"host": "smtp.up.example", "fallback": WATCH, "port": 2001, **LOGIN})
    assert end(relay, send(relay, letter()))["relay_host"] == WATCH


def test_two_accounts_at_one_server_by_sender(start: Any, watch: Watch) -> None:
    server = {"host": WATCH, "port": 2001}
    other = {**server, "username": "other", "password_file": "/secrets/other"}
    relay = start(
        smarthost={**server, **LOGIN},
        routes=[
            {"senders": ["second.example", ".second.example"], "smarthost": other},
            {"senders": [".sender.example"], "smarthost": {"host": "nobody.up.example"}},
        ],
    )
    for sender, user in (
        ("app@sender.example", "app"),
        ("app@Second.Example", "other"),
        ("app@deep.below.second.example", "other"),
    ):
        watch.forget()
        end_sessions(relay)
        relay.follow(send(relay, letter(From=sender)))
        said = next(line for line in watch.commands(2001) if "AUTH" in line)
        plain = base64.b64decode(said.split()[-1]).split(b"\0")
        assert plain[1] == user.encode(), said
        assert plain[2] == (PASSWORD if user == "app" else "other").encode()
    # one run delivers for both, and neither gets the connection of the other
    relay = start(smarthost={**server, **LOGIN}, routes=[{"domains": ["rcpt.example"], "smarthost": other}])
    watch.forget()
    relay.follow(send(relay, letter(), to_addrs=["a@rcpt.example", "b@elsewhere.example", "c@rcpt.example"]))
    sessions = " ".join(watch.commands(2001)).split("clear EHLO")[1:]
    told = {
        session.count("RCPT"): base64.b64decode(session.split("AUTH PLAIN ")[1].split()[0]).split(b"\0")[1]
        for session in sessions
    }
    assert told == {2: b"other", 1: b"app"}


@pytest.fixture(scope="module")
def routed(
    start: Callable[..., PostroadContainer], upstream: Mx, watch: Watch, internet: Internet
) -> PostroadContainer:
    internet.publish("sub.rcpt.example", "MX", "10 mx.rcpt.example")
    plain = {"host": watch.address, "port": 2006, "tls": "none"}
    return start(
        smarthost={"host": "smtp.up.example", **LOGIN},
        routes=[
            {"domains": ["both.example"], "senders": ["second.example"], "smarthost": {**plain, "port": 2007}},
            {"domains": ["gmail.example", ".gmail.example", "both.example"], "smarthost": plain},
            {"domains": [".gmail.example"], "smarthost": None},
            {"domains": ["rcpt.example"], "smarthost": None},
        ],
    )


@pytest.mark.parametrize(
    ("sender", "recipient", "way"),
    [
        ("app@sender.example", "a@anywhere.example", "smtp.up.example"),
        ("app@sender.example", "a@rcpt.example", "mx.rcpt.example"),
        ("app@sender.example", "a@RCPT.Example", "mx.rcpt.example"),
        ("app@sender.example", "a@sub.rcpt.example", "smtp.up.example"),
        ("app@sender.example", "a@gmail.example", 2006),
        ("app@sender.example", "a@x.y.gmail.example", 2006),
        ("app@sender.example", "a@notgmail.example", "smtp.up.example"),
        ("app@sender.example", "a@both.example", 2006),
        ("app@second.example", "a@both.example", 2007),
        ("app@second.example", "a@rcpt.example", "mx.rcpt.example"),
        ("", "a@both.example", 2006),
        ("", "a@anywhere.example", "smtp.up.example"),
        ("app@sender.example", "a@[192.0.2.1]", "smtp.up.example"),
    ],
)
def test_the_first_route_that_fits_wins(
    routed: PostroadContainer, internet: Internet, watch: Watch, sender: str, recipient: str, way: str | int
) -> None:
    message = letter(From=sender or "app@sender.example")
    last = end(routed, send(routed, message, from_addr=sender, to_addrs=[recipient]))
    assert last["event"] == "delivered", last
    if isinstance(way, str):
        assert internet.wait_for_message(str(message["Message-ID"])).mx == way
    else:
        assert any(f"RCPT To:<{recipient}>".lower() in line.lower() for line in watch.commands(way))


def test_what_waited_takes_the_same_way(start: Any, internet: Internet) -> None:
    server = internet.add_smarthost("later.up.example")
    server.refuse()
    relay = start(
        queue={"retry": "1s"},
        routes=[
            {
                "domains": ["elsewhere.example"],
                "senders": ["second.example"],
                "smarthost": {"host": "later.up.example", "port": 25, "tls": "require"},
            }
        ],
    )
    message_id = send(relay, letter(From="app@second.example", To="a@elsewhere.example"))
    relay.wait_for(message_id, "deferred")
    server.accept()
    message = internet.wait_for_message(message_id, timeout=60)
    assert (message.mx, message.tls_version) == ("later.up.example", "TLSv1.3")


@pytest.mark.parametrize("form", ["a@[{}]", "a@{}", "a@[{}.]", "a@{}."])
def test_nobody_names_a_smarthost_by_its_inner_name(form: str, ways: Any) -> None:
    rules = ways("verify").shell("cat /run/postroad/current/sendmail.mc")[1]
    address = form.format(re.findall(r"`(\S+\.uplink)'", rules)[0])
    with (
        smtplib.SMTP(ways("verify").host, ways("verify").port, timeout=20) as smtp,
        pytest.raises(smtplib.SMTPRecipientsRefused),
    ):
        smtp.sendmail("app@sender.example", [address], letter().as_bytes())


def test_the_password_shows_nowhere(ways: Any) -> None:
    relay = ways("verify")
    assert end(relay, send(relay, letter(To="a@p2001.example")))["event"] == "delivered"
    container = relay.get_wrapped_container()
    encoded = base64.b64encode(PASSWORD.encode()).decode()
    shown = [
        relay.log(),
        relay.command("check"),
        relay.command("render"),
        str(container.attrs),
        str(container.top()),
        relay.shell("find /run/postroad/current/ -type f ! -name uplink.json -exec cat {} +")[1],
        relay.shell("cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ | tr '\\0' ' '")[1],
    ]
    for text in shown:
        assert PASSWORD not in text
        assert encoded not in text
    modes = container.exec_run(["sh", "-c", "stat -c '%a %U %n' /run/postroad/current/uplink.json"]).output.decode()
    assert modes.splitlines() == ["600 smmta /run/postroad/current/uplink.json"]


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "is not there"), (b"\n", "is empty"), (b"a\nb\n", "control characters"), (b"\xff", "is not UTF-8")],
)
def test_an_unusable_password_stops_the_start(content: bytes | None, message: str, start: Any, safe: Path) -> None:
    if content is not None:
        (safe / "broken").write_bytes(content)
    with pytest.raises(RuntimeError, match=f"At 'delivery.smarthost.password_file': /secrets/broken .*{message}"):
        start(smarthost={"host": WATCH, "username": "app", "password_file": "/secrets/broken"})
