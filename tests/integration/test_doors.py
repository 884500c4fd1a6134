"""The doors: who may authenticate where, as whom they may send, and with which certificate they are met."""

import base64
import json
import secrets
import shutil
import smtplib
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from postroad.testing import PostroadContainer
from tests.integration.authority import Authority
from tests.integration.conftest import HOSTNAME, RELAYS, Relays, letter, wait_until
from tests.integration.test_life import notices
from tests.internet.host import Host
from tests.internet.internet import Internet

PASSWORD = 'pass "word" of $1 and ünicode'
SHOP_PASSWORD = "shops-password"
USERS = [
    {"name": "app", "password_file": "/run/secrets/app"},
    {"name": "shop", "password_file": "/run/secrets/shop", "domains": ["other.example"]},
    {
        "name": "news@news.example",
        "password_file": "/run/secrets/shop",
        "domains": ["sender.example", "x.other.example"],
    },
]
DOMAINS = ["sender.example", {"name": "other.example", "subdomains": True}]
DOORS = ("smtp", "submission", "submissions")
OPEN = {"smtp"}  # to trusted networks

NEIGHBOUR = """
import json, smtplib, ssl, sys
host, port, implicit, user, password = json.loads(sys.argv[1])
context = ssl._create_unverified_context()
try:
    smtp = smtplib.SMTP_SSL(host, port, context=context, timeout=20) if implicit else smtplib.SMTP(host, port, timeout=20)
    smtp.ehlo()
    if user:
        if not implicit:
            smtp.starttls(context=context)
        smtp.login(user, password)
    code, text = smtp.docmd("MAIL FROM:<app@sender.example>")
    if code == 250:
        code, text = smtp.docmd("RCPT TO:<user@rcpt.example>")
except smtplib.SMTPResponseException as error:
    code, text = error.smtp_code, error.smtp_error
except smtplib.SMTPNotSupportedError:
    code, text = 0, b"AUTH is not offered"
print(json.dumps([code, text.decode()]))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The passwords, as an orchestrator mounts secrets."""
    made = tmp_path_factory.mktemp("secrets")
    made.chmod(0o755)
    for name, text in (("app", f"{PASSWORD}\n"), ("shop", SHOP_PASSWORD)):
        (made / name).write_text(text)
        (made / name).chmod(0o444)
    return made


@pytest.fixture(scope="module")
def authority(image: str, tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(image, tmp_path_factory.mktemp("pki"))


def configuration(folder: Path, **config: Any) -> dict[str, Any]:
    """A relay to which this host, at the gateway's address, is a stranger, and which offers TLS on all ports."""
    return {
        "domains": DOMAINS,
        "tls": {"smtp_starttls": "always"},
        "clients": {"trust_gateway": False, "users": USERS},
        "mounts": {str(folder): "/run/secrets"},
        **config,
    }


@pytest.fixture(scope="module")
def doors(image: str, internet: Internet, folder: Path, request: pytest.FixtureRequest) -> Iterator[PostroadContainer]:
    internet.add_zone("other.example")
    relays = Relays(image, internet)
    with relays.stack:
        request.node.stash[RELAYS] = relays.started
        yield relays(**configuration(folder))


def unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def enter(
    relay: PostroadContainer, door: str, *, tls: bool = True, context: ssl.SSLContext | None = None
) -> smtplib.SMTP:
    """Connect to a door and, unless told otherwise, have the connection encrypted."""
    context = context or unverified()
    if door == "submissions":
        smtp: smtplib.SMTP = smtplib.SMTP_SSL(relay.host, relay.port_of(door), timeout=20, context=context)
    else:
        smtp = smtplib.SMTP(relay.host, relay.port_of(door), timeout=20)
        smtp.ehlo()
        if tls:
            smtp.starttls(context=context)
    smtp.ehlo()
    return smtp


def neighbour(
    app: Host, relay: PostroadContainer, port: int, user: str = "", password: str = "", *, implicit: bool = False
) -> tuple[int, str]:
    """What a container in the relay's network is told at the end: at RCPT, or where it is refused before."""
    arguments = json.dumps([relay.address, port, implicit, user, password])
    code, text = json.loads(app.run("python3", "-c", NEIGHBOUR, arguments))
    return code, text


def plain(user: str, password: str) -> str:
    return base64.b64encode(f"\0{user}\0{password}".encode()).decode()


# --- who may enter where


@pytest.mark.parametrize("door", DOORS)
def test_auth_is_offered_where_it_is_encrypted_and_only_plain_and_login(door: str, doors: PostroadContainer) -> None:
    if door != "submissions":
        with enter(doors, door, tls=False) as smtp:
            assert smtp.has_extn("starttls")
            assert not smtp.has_extn("auth")
            # whoever does not wait for an offer gives a password away, but gets nothing for it
            code, text = smtp.docmd("AUTH PLAIN", plain("app", PASSWORD))
            assert (code, text) == (530, b"5.7.0 STARTTLS first: AUTH is taken over TLS only")
            smtp.mail("app@sender.example")
            assert smtp.rcpt("user@rcpt.example")[0] in {503, 550}
    with enter(doors, door) as smtp:
        assert smtp.esmtp_features["auth"].split() == ["PLAIN", "LOGIN"]
    for mechanism in ("EXTERNAL", "ANONYMOUS", "CRAM-MD5", "SCRAM-SHA-1"):
        with enter(doors, door) as smtp:
            assert smtp.docmd("AUTH", f"{mechanism} =")[0] == 504


def test_without_a_certificate_tls_is_for_the_ports_with_passwords(
    start_relay: Relays, folder: Path, app: Host
) -> None:
    """A client that is trusted by its address would take the offer, and refuse the self-signed certificate."""
    relay = start_relay(publish=False, **configuration(folder, tls={}))
    where = "on port 587 (STARTTLS) or port 465 (TLS from the start), and 25 offers none (tls.smtp_starttls)"
    for door in DOORS:
        if door != "submissions":
            with enter(relay, door, tls=False) as smtp:
                assert smtp.has_extn("starttls") == (door not in OPEN)
                assert not smtp.has_extn("auth")
                code, text = smtp.docmd("AUTH PLAIN", plain("app", PASSWORD))
                assert (code, text.decode()) == (530, f"5.7.0 STARTTLS first: AUTH is taken over TLS only, {where}")
                if door in OPEN:
                    assert smtp.docmd("STARTTLS") == (503, b"5.5.0 TLS not available")
                assert smtp.noop()[0] == 250
    for door in ("submission", "submissions"):
        with enter(relay, door) as smtp:
            assert smtp.docmd("AUTH PLAIN", plain("app", PASSWORD))[0] == 235
    assert neighbour(app, relay, 25)[0] == 250


@pytest.mark.parametrize("wanted", ["auto", "never"])
def test_with_a_certificate_port_25_offers_tls_unless_told_otherwise(
    wanted: str, start_relay: Relays, authority: Authority
) -> None:
    authority.issue("offered")
    tls = {"certificate_file": "/pki/offered.pem", "key_file": "/pki/offered.key", "smtp_starttls": wanted}
    relay = start_relay(publish=False, tls=tls, mounts={str(authority.folder): "/pki"})
    with enter(relay, "smtp", tls=False) as smtp:
        assert smtp.has_extn("starttls") == (wanted == "auto")
    with enter(relay, "submission", tls=False) as smtp:
        assert smtp.has_extn("starttls")


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
@pytest.mark.parametrize("door", DOORS)
def test_a_stranger_relays_after_auth_and_not_before(
    door: str, mechanism: str, doors: PostroadContainer, internet: Internet
) -> None:
    message = letter()
    with enter(doors, door) as smtp:
        code, text = smtp.mail("app@sender.example")
        if door in OPEN:
            code, text = smtp.rcpt("user@rcpt.example")
            assert (code, b"did not use AUTH" in text) == (550, True)
        else:
            assert (code, b"Authentication required" in text) == (530, True)
        smtp.rset()
        if mechanism == "PLAIN":
            assert smtp.docmd("AUTH PLAIN", plain("app", PASSWORD))[0] == 235
        else:
            assert smtp.docmd("AUTH LOGIN", base64.b64encode(b"app").decode())[0] == 334
            assert smtp.docmd(base64.b64encode(PASSWORD.encode()).decode())[0] == 235
        assert smtp.send_message(message) == {}
    assert internet.wait_for_message(str(message["Message-ID"])).verdict("dkim") == "pass"
    assert doors.wait_for(str(message["Message-ID"]), "accepted")["protocol"] == "ESMTPSA"


def test_a_neighbour_needs_no_auth_on_25_and_does_on_the_others(doors: PostroadContainer, app: Host) -> None:
    assert neighbour(app, doors, 25)[0] == 250
    assert neighbour(app, doors, 587)[0] == 530
    assert neighbour(app, doors, 465, implicit=True)[0] == 530
    assert neighbour(app, doors, 587, "shop", SHOP_PASSWORD) == (
        550,
        "5.7.1 <app@sender.example>... user shop may not send as sender.example",
    )
    assert neighbour(app, doors, 465, "news@news.example", SHOP_PASSWORD, implicit=True)[0] == 250


@pytest.mark.parametrize(
    ("user", "password"),
    [
        ("app", SHOP_PASSWORD),
        ("app", ""),
        ("app", f"{PASSWORD}\n"),
        ("nobody", PASSWORD),
        ("", PASSWORD),
        ("app@news.example", PASSWORD),
        ("news", SHOP_PASSWORD),
    ],
)
def test_a_wrong_password_or_user_opens_no_door(user: str, password: str, start_relay: Relays, folder: Path) -> None:
    relay = start_relay(publish=False, **configuration(folder))
    with enter(relay, "smtp") as smtp:
        assert smtp.docmd("AUTH PLAIN", plain(user, password))[0] in {501, 535}
        smtp.mail("app@sender.example")
        assert smtp.rcpt("user@rcpt.example")[0] == 550
    with enter(relay, "submission") as smtp:
        assert smtp.docmd("AUTH PLAIN", plain(user, password))[0] in {501, 535}
        assert smtp.mail("app@sender.example")[0] == 530


def test_without_users_auth_is_not_offered_and_the_doors_for_users_stay_shut(start_relay: Relays, app: Host) -> None:
    relay = start_relay(publish=False, tls={"smtp_starttls": "always"})
    with enter(relay, "smtp", tls=False) as smtp:
        assert smtp.docmd("AUTH PLAIN", plain("app", "")) == (
            503,
            b"5.3.3 AUTH not available: clients.users names nobody",
        )
    for door in DOORS:
        with enter(relay, door) as smtp:
            assert not smtp.has_extn("auth")
            assert smtp.docmd("AUTH PLAIN", plain("app", ""))[0] in {503, 504}
            assert smtp.mail("app@sender.example")[0] == (250 if door in OPEN else 530)
    assert neighbour(app, relay, 25)[0] == 250


def test_null_closes_a_door(start_relay: Relays, folder: Path) -> None:
    listeners = {"smtp": None, "submissions": None, "submission": 2587}
    relay = start_relay(publish=False, **configuration(folder, listeners=listeners))
    listening = [
        int(line.split()[1].rpartition(":")[2], 16)
        for line in relay.shell("cat /proc/net/tcp /proc/net/tcp6")[1].splitlines()
        if line.split()[3] == "0A"
    ]
    assert 2587 in listening
    assert {25, 465, 587}.isdisjoint(listening)
    with enter(relay, "submission") as smtp:
        assert smtp.docmd("AUTH PLAIN", plain("app", PASSWORD))[0] == 235


# --- as whom a user may send


@pytest.mark.parametrize(
    ("user", "password", "domain", "allowed"),
    [
        ("app", PASSWORD, "sender.example", True),
        ("app", PASSWORD, "other.example", True),
        ("app", PASSWORD, "x.other.example", True),
        ("app", PASSWORD, "third.example", False),
        ("shop", SHOP_PASSWORD, "other.example", True),
        ("shop", SHOP_PASSWORD, "x.other.example", True),
        ("shop", SHOP_PASSWORD, "OTHER.example", True),
        ("shop", SHOP_PASSWORD, "sender.example", False),
        ("shop", SHOP_PASSWORD, "notother.example", False),
        (f"shop@{HOSTNAME}", SHOP_PASSWORD, "other.example", True),
        (f"shop@{HOSTNAME}", SHOP_PASSWORD, "sender.example", False),
        ("news@news.example", SHOP_PASSWORD, "sender.example", True),
        ("news@news.example", SHOP_PASSWORD, "x.other.example", True),
        ("news@news.example", SHOP_PASSWORD, "y.x.other.example", False),
        ("news@news.example", SHOP_PASSWORD, "other.example", False),
    ],
)
def test_a_user_sends_as_his_domains_only(
    user: str, password: str, domain: str, allowed: bool, doors: PostroadContainer
) -> None:
    with enter(doors, "submission") as smtp:
        assert smtp.docmd("AUTH PLAIN", plain(user, password))[0] == 235
        code, text = smtp.mail(f"app@{domain}")
        assert code == (250 if allowed else 550), text
        if not allowed:
            assert domain in text.decode()
        smtp.rset()
        # the null sender is anybody's, so the header is all there is
        smtp.mail("<>")
        smtp.rcpt("user@rcpt.example")
        code, text = smtp.data(f"From: app@{domain}\r\n\r\nHi\r\n")
        assert code == (250 if allowed else 550), text


def test_a_user_s_limits_end_with_the_session(doors: PostroadContainer, app: Host) -> None:
    assert neighbour(app, doors, 25, "shop", SHOP_PASSWORD)[0] == 550
    assert neighbour(app, doors, 25)[0] == 250


def test_messages_in_a_minute_are_those_of_the_user_wherever_he_is(
    start_relay: Relays, folder: Path, app: Host
) -> None:
    relay = start_relay(publish=False, **configuration(folder, limits={"messages_per_minute": 2}))

    def asked(user: str, password: str, sender: str) -> tuple[int, bytes]:
        with enter(relay, "submission") as smtp:
            assert smtp.docmd("AUTH PLAIN", plain(user, password))[0] == 235
            return smtp.mail(sender)

    news = ("news@news.example", SHOP_PASSWORD)
    assert asked(*news, "app@sender.example")[0] == 250
    assert neighbour(app, relay, 465, *news, implicit=True)[0] == 250
    code, text = asked(*news, "app@sender.example")
    assert (code, b"limits.messages_per_minute is 2" in text) == (451, True), text
    assert neighbour(app, relay, 587, *news)[0] == 451
    # another user of these addresses has sent nothing, and is one under either form of his name
    forms = ("app", f"app@{HOSTNAME}")
    assert [asked(form, PASSWORD, "app@sender.example")[0] for form in (*forms, *forms)] == [250, 250, 451, 451]
    # nor has who needs no AUTH
    assert neighbour(app, relay, 25)[0] == 250


# --- encryption


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize(
    ("version", "ciphers", "welcome"),
    [
        (ssl.TLSVersion.TLSv1_3, "DEFAULT", True),
        (ssl.TLSVersion.TLSv1_2, "DEFAULT", True),
        (ssl.TLSVersion.TLSv1_2, "ECDHE+AESGCM", True),
        (ssl.TLSVersion.TLSv1_1, "ALL:@SECLEVEL=0", False),
        (ssl.TLSVersion.TLSv1, "ALL:@SECLEVEL=0", False),
        (ssl.TLSVersion.TLSv1_2, "AES128-SHA:AES256-SHA256:@SECLEVEL=0", False),
        (ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES128-SHA256:@SECLEVEL=0", False),
        (ssl.TLSVersion.TLSv1_2, "aNULL:eNULL:@SECLEVEL=0", False),
    ],
)
def test_tls_1_2_and_up_with_modern_ciphers(
    version: ssl.TLSVersion, ciphers: str, welcome: bool, doors: PostroadContainer
) -> None:
    context = unverified()
    context.set_ciphers(ciphers)
    context.minimum_version = context.maximum_version = version
    for door in ("smtp", "submissions"):
        if welcome:
            with enter(doors, door, context=context) as smtp:
                assert isinstance(smtp.sock, ssl.SSLSocket)
                assert smtp.sock.version() == version.name.replace("_", ".")
        else:
            with pytest.raises((ssl.SSLError, ConnectionError, smtplib.SMTPServerDisconnected)):
                enter(doors, door, context=context)


def test_clients_are_not_asked_for_a_certificate(doors: PostroadContainer, app: Host) -> None:
    said = app.run("sh", "-c", f"openssl s_client -connect {doors.address}:465 -tls1_2 </dev/null 2>/dev/null").decode()
    assert "No client certificate CA names sent" in said
    assert "Client Certificate Types" not in said


def test_nothing_is_decrypted_that_was_sent_before_starttls(doors: PostroadContainer) -> None:
    """Command injection (CVE-2011-0411): what came in the clear is not read as if it were encrypted."""
    with socket.create_connection((doors.host, doors.port_of("smtp")), timeout=20) as sock:
        reader = sock.makefile("rb")
        assert reader.readline().startswith(b"220 ")
        sock.sendall(b"EHLO x\r\n")
        while reader.readline()[3:4] == b"-":
            pass
        sock.sendall(b"STARTTLS\r\nRSET\r\n")
        assert reader.readline().startswith(b"220 ")
        with unverified().wrap_socket(sock, server_hostname=HOSTNAME, do_handshake_on_connect=False) as encrypted:
            try:
                encrypted.do_handshake()
                encrypted.sendall(b"NOOP\r\n")
                answers = encrypted.recv(1000)
            except (ssl.SSLError, ConnectionError):
                answers = b""
    assert b"Reset" not in answers


def certificate(relay: PostroadContainer) -> bytes:
    with enter(relay, "submissions") as smtp:
        assert isinstance(smtp.sock, ssl.SSLSocket)
        return smtp.sock.getpeercert(binary_form=True) or b""


def test_a_self_signed_certificate_is_kept_and_made_anew_for_another_name(
    start_relay: Relays, volumes: Callable[[str], str]
) -> None:
    state = volumes("tls")
    first = start_relay(publish=False, state=state)
    made = certificate(first)
    context = ssl.create_default_context(cadata=ssl.DER_cert_to_PEM_cert(made))
    assert certificate(first) == made
    with pytest.raises(ssl.SSLCertVerificationError):
        enter(first, "submissions", context=context)  # it is not for 127.0.0.1
    assert relay_name(first, context) == HOSTNAME
    assert first.shell("stat -c %a /var/lib/postroad/tls /var/lib/postroad/tls/*")[1].split() == ["700", "600"]
    first.get_wrapped_container().stop()
    second = start_relay(publish=False, state=state)
    assert certificate(second) == made
    second.get_wrapped_container().stop()
    third = start_relay(publish=False, state=state, hostname="mail.other.example")
    other = certificate(third)
    assert other != made
    context = ssl.create_default_context(cadata=ssl.DER_cert_to_PEM_cert(other))
    assert relay_name(third, context, "mail.other.example") == "mail.other.example"
    third.get_wrapped_container().stop()
    assert notices(third).count("warning") == 0
    damaged = start_relay(publish=False, state=state, kwargs={"entrypoint": DAMAGE})
    assert certificate(damaged) not in {made, other}


DAMAGE = ["sh", "-c", "echo nonsense > /var/lib/postroad/tls/self-signed.pem; exec postroad run"]


def relay_name(relay: PostroadContainer, context: ssl.SSLContext, name: str = HOSTNAME) -> str:
    """Verify the relay's certificate under a name, and return it."""
    with (
        socket.create_connection((relay.host, relay.port_of("submissions")), timeout=20) as sock,
        context.wrap_socket(sock, server_hostname=name) as encrypted,
    ):
        assert encrypted.getpeercert()
        return name


def test_a_certificate_is_served_with_its_chain_and_a_change_is_noticed(
    start_relay: Relays, folder: Path, authority: Authority, tmp_path: Path
) -> None:
    tmp_path.chmod(0o755)
    for name in ("one", "two"):
        authority.issue(name)
    shutil.copy(folder / "app", tmp_path / "app")
    shutil.copy(folder / "shop", tmp_path / "shop")

    def put(name: str, suffix: str) -> None:
        shutil.copy(authority.path(f"{name}.{suffix}"), tmp_path / f"new.{suffix}")
        (tmp_path / f"new.{suffix}").replace(tmp_path / f"tls.{suffix}")  # as certbot and Docker's secrets do

    put("one", "pem")
    put("one", "key")
    tls = {"certificate_file": "/run/secrets/tls.pem", "key_file": "/run/secrets/tls.key"}
    relay = start_relay(publish=False, **configuration(tmp_path, tls=tls))
    context = ssl.create_default_context(cafile=authority.path("ca.pem"))
    relay_name(relay, context)
    assert certificate(relay) == ssl.PEM_cert_to_DER_cert(authority.path("one.leaf").read_text())
    with pytest.raises(ssl.SSLCertVerificationError):
        relay_name(relay, context, "mail.other.example")

    # half of a new pair changes nothing, and says so
    put("two", "pem")
    wait_until(lambda: "is not the key of the certificate" in notices(relay), timeout=60)
    assert certificate(relay) == ssl.PEM_cert_to_DER_cert(authority.path("one.leaf").read_text())
    put("two", "key")
    # from when it says so on, and no connection is refused
    wait_until(lambda: "reloaded" in notices(relay), timeout=60)
    assert certificate(relay) == ssl.PEM_cert_to_DER_cert(authority.path("two.leaf").read_text())
    relay_name(relay, context)
    assert "tls.pem changed" in notices(relay)

    # so is a password
    (tmp_path / "app").unlink()
    (tmp_path / "app").write_text("another")
    (tmp_path / "app").chmod(0o444)
    wait_until(lambda: notices(relay).count("reloaded") == 2, timeout=60)
    with enter(relay, "submission") as smtp:
        assert smtp.docmd("AUTH PLAIN", plain("app", PASSWORD))[0] == 535
        assert smtp.docmd("AUTH PLAIN", plain("app", "another"))[0] == 235


@pytest.fixture(scope="module")
def pairs(authority: Authority) -> Authority:
    """Pairs with something wrong about each."""
    authority.issue("good")
    authority.issue("other")
    authority.issue("old", begin=-30, end=-1)
    authority.issue("early", begin=1, end=30)
    authority.issue("soon", end=10)
    authority.issue("stranger", "mail.other.example")
    authority.run("-c", "echo nonsense > nonsense.pem; cat good.pem nonsense.pem > tail.pem; sed 's/MII/MXX/' mid.pem > bad;"
                  "cat good.leaf bad > chain.pem; openssl pkey -in good.key -aes256 -passout pass:x -out locked.key;"
                  "cp good.key closed.key; : > empty.pem; chmod 0444 *; chmod 0400 closed.key")  # fmt: skip
    return authority


def check(pairs: Authority, folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the image to its end beside the pairs and the passwords."""
    variables = {"POSTROAD_HOSTNAME": HOSTNAME, "POSTROAD_DOMAINS": "sender.example", **environment}
    name = f"postroad-test-{secrets.token_hex(4)}"
    try:
        return subprocess.run(
            ["docker", "run", "--rm", f"--name={name}", "--network=none", "--read-only", "--cap-drop=ALL",
             "--tmpfs=/run/postroad:mode=0700,uid=2525,gid=2525", "--tmpfs=/tmp",
             f"--volume={pairs.folder}:/pki:ro", f"--volume={folder}:/run/secrets:ro",
             *(f"--env={key}={value}" for key, value in variables.items()), pairs.image, *words],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:  # it started, and should not have
        subprocess.run(["docker", "rm", "--force", "--volumes", name], check=True, capture_output=True)
        raise


@pytest.mark.parametrize(
    ("certificate_file", "key_file", "reason"),
    [
        (
            "good.pem",
            "other.key",
            "At 'tls.key_file': /pki/other.key is not the key of the certificate in /pki/good.pem",
        ),
        ("old.pem", "old.key", "At 'tls.certificate_file': /pki/old.pem expired on "),
        ("early.pem", "early.key", "At 'tls.certificate_file': /pki/early.pem is valid from "),
        (
            "nonsense.pem",
            "good.key",
            "At 'tls.certificate_file': /pki/nonsense.pem holds something other than certificates",
        ),
        ("empty.pem", "good.key", "At 'tls.certificate_file': /pki/empty.pem is empty"),
        ("chain.pem", "good.key", "At 'tls.certificate_file': /pki/chain.pem holds something other than certificates"),
        ("good.pem", "nonsense.pem", "At 'tls.key_file': /pki/nonsense.pem is not a private key"),
        (
            "good.pem",
            "locked.key",
            "At 'tls.key_file': /pki/locked.key is not a private key (PEM) without a passphrase",
        ),
        (
            "good.pem",
            "closed.key",
            "At 'tls.key_file': /pki/closed.key can't be read by uid 2525: run `chown 2525 FILE",
        ),
        ("absent.pem", "good.key", "At 'tls.certificate_file': /pki/absent.pem is not there: mount the file"),
    ],
)
@pytest.mark.parametrize("words", [(), ("check",)])
def test_an_unfit_pair_ends_with_code_2_and_its_name(
    certificate_file: str, key_file: str, reason: str, words: tuple[str, ...], pairs: Authority, folder: Path
) -> None:
    tls = {"certificate_file": f"/pki/{certificate_file}", "key_file": f"/pki/{key_file}"}
    ended = check(pairs, folder, *words, POSTROAD_TLS=json.dumps(tls))
    assert ended.returncode == 2
    assert reason in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("name", "warning"),
    [
        ("soon", "At 'tls.certificate_file': /pki/soon.pem expires on "),
        ("stranger", "At 'tls.certificate_file': /pki/stranger.pem is not for mail.sender.example"),
        ("good", ""),
    ],
)
def test_a_doubtful_certificate_is_warned_of_and_served(
    name: str, warning: str, pairs: Authority, folder: Path, start_relay: Relays
) -> None:
    tls = {"certificate_file": f"/pki/{name}.pem", "key_file": f"/pki/{name}.key"}
    networks = {"POSTROAD_CLIENTS__NETWORKS": "10.0.0.0/8"}
    ended = check(pairs, folder, "check", POSTROAD_TLS=json.dumps(tls), **networks)
    assert ended.returncode == 0
    assert warning in ended.stderr
    assert bool(ended.stderr) == bool(warning)
    relay = start_relay(publish=False, tls=tls, mounts={str(pairs.folder): "/pki"})
    warnings = [
        event["message"] for event in relay.events() if event.get("level") == "warning" and event["event"] == "notice"
    ]
    assert [warning in each for each in warnings] == ([True] if warning else [])
    assert certificate(relay) == ssl.PEM_cert_to_DER_cert(pairs.path(f"{name}.leaf").read_text())


# --- passwords


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        ("\n", "is empty"),
        ("two\nlines\n", "is not one line"),
        ("x" * 1025, "is not one line of at most 1024 bytes"),
        (None, "is not there: mount the file"),
    ],
)
def test_an_unusable_password_ends_with_code_2_and_the_name_of_its_file(
    text: str | None, reason: str, authority: Authority, tmp_path: Path
) -> None:
    tmp_path.chmod(0o755)
    if text is not None:
        (tmp_path / "app").write_text(text)
    for words in ((), ("check",)):
        ended = check(authority, tmp_path, *words, POSTROAD_CLIENTS__USERS=json.dumps(USERS[:1]))
        assert ended.returncode == 2
        assert f"At 'clients.users[0].password_file': /run/secrets/app {reason}" in ended.stderr
        assert "two" not in ended.stderr


def test_passwords_are_nowhere_to_be_seen(start_relay: Relays, folder: Path) -> None:
    relay = start_relay(publish=False, **configuration(folder))
    with enter(relay, "submission") as smtp:
        smtp.docmd("AUTH PLAIN", plain("app", PASSWORD))
        smtp.mail("app@sender.example")
    with enter(relay, "submissions") as smtp:
        # in every way in which a client can fail
        smtp.docmd("AUTH PLAIN", plain("app", "mistyped-password"))
        smtp.docmd("AUTH PLAIN not*base64*" + SHOP_PASSWORD)
        smtp.docmd("AUTH LOGIN")
        smtp.docmd(SHOP_PASSWORD)
        smtp.docmd(SHOP_PASSWORD)
        smtp.docmd(f"{SHOP_PASSWORD} x")
    wait_until(lambda: "not base64" in relay.log())
    relay.command("reload")
    seen = {
        "log": relay.log(),
        "check": relay.command("check", "--json") + relay.command("check"),
        "render": relay.command("render") + relay.shell("postroad render --diff")[1],
        "command lines": relay.shell("cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ | tr '\\0' ' '")[1],
        "inspect": json.dumps(relay.get_wrapped_container().attrs),
        "configuration": relay.shell("cat /run/postroad/current/*.json /run/postroad/current/sendmail.cf")[1],
    }
    for secret in (PASSWORD, PASSWORD.encode().decode("latin-1"), SHOP_PASSWORD, "mistyped-password"):
        for form in (
            secret,
            json.dumps(secret)[1:-1],
            base64.b64encode(secret.encode()).decode(),
            plain("app", secret),
        ):
            assert [place for place, text in seen.items() if form in text] == []
    assert "/run/secrets/app" in seen["check"]
    modes = relay.shell("stat -c %a /run/postroad/current/sasldb2.db /run/postroad/current/tls/* /run/postroad/gen-*")[
        1
    ]
    assert set(modes.split()) == {"600", "700"}


def wrong(smtp: smtplib.SMTP, number: int, user: str = "app") -> int:
    """Guess so many times; return how many were answered as a wrong password before the session ended."""
    answered = 0
    with suppress(smtplib.SMTPServerDisconnected):
        for guess in range(number):
            assert smtp.docmd("AUTH PLAIN", plain(user, f"guess {guess}"))[0] == 535
            answered += 1
    return answered


def right(relay: PostroadContainer, door: str, user: str = "app", password: str = PASSWORD) -> bool:
    with enter(relay, door) as smtp:
        code, _ = smtp.docmd("AUTH PLAIN", plain(user, password))
        assert code in {235, 535}
        return code == 235


def test_a_session_ends_at_its_third_wrong_password(start_relay: Relays, folder: Path) -> None:
    relay = start_relay(publish=False, **configuration(folder))
    for door in DOORS:
        smtp = enter(relay, door)
        assert wrong(smtp, 9, user=door) == 3
    # one that sends all at once has no more answers, and gets no password right
    with enter(relay, "submissions") as smtp:
        guesses = [*(f"guess {i}" for i in range(3)), SHOP_PASSWORD]
        smtp.send("".join(f"AUTH PLAIN {plain('shop', guess)}\r\n" for guess in guesses))
        codes: list[int] = []
        with suppress(smtplib.SMTPServerDisconnected):
            for _ in range(5):
                codes.append(smtp.getreply()[0])  # noqa: PERF401 - those before the end count
        assert codes in ([], [535], [535] * 2, [535] * 3)
    assert right(relay, "submission", "shop", SHOP_PASSWORD)


def test_guessing_is_refused_for_a_while_at_every_door_and_in_sessions_that_are_open(
    start_relay: Relays, folder: Path, app: Host
) -> None:
    relay = start_relay(publish=False, **configuration(folder))
    began = time.monotonic()
    news = ("news@news.example", SHOP_PASSWORD)
    opened = [enter(relay, door) for door in ("smtp", "submission", "submissions", "smtp")]
    assert sum(wrong(smtp, 3, news[0]) for smtp in opened[:2]) == 6
    # the right password, too, in sessions of before and in new ones
    for smtp in opened[2:]:
        assert smtp.docmd("AUTH PLAIN", plain(*news))[0] == 535
    assert [right(relay, door, *news) for door in ("smtp", "submission", "submissions")] == [False] * 3
    # it is nobody else's concern: another user behind the same address, the same user at another, mail without AUTH
    assert right(relay, "submission")
    assert neighbour(app, relay, 587, *news)[0] == 250
    assert neighbour(app, relay, 25)[0] == 250
    assert "failed logins from" in notices(relay)
    # it ends
    wait_until(lambda: right(relay, "submission", *news), timeout=60)
    assert time.monotonic() - began > 5
    for smtp in opened:
        smtp.close()


def test_many_sessions_that_were_opened_before_get_few_answers(start_relay: Relays, folder: Path) -> None:
    relay = start_relay(publish=False, **configuration(folder))
    opened = [enter(relay, "submissions") for _ in range(20)]
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda smtp: wrong(smtp, 2), opened))
        found = list(pool.map(lambda smtp: smtp.docmd("AUTH PLAIN", plain("app", PASSWORD))[0], opened))
    assert found == [535] * 20
    for smtp in opened:
        smtp.close()


def test_nobody_gets_in_where_the_count_can_t_be_asked(start_relay: Relays, folder: Path, app: Host) -> None:
    relay = start_relay(publish=False, **configuration(folder))
    relay.shell("mv /run/postroad/rates /run/postroad/rates-away")
    with pytest.raises(smtplib.SMTPConnectError, match="connections can't be counted now"):
        right(relay, "submission")
    assert neighbour(app, relay, 25)[0] == 250
    relay.shell("mv /run/postroad/rates-away /run/postroad/rates")
    assert right(relay, "submission")
