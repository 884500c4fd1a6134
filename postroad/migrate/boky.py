"""boky/postfix (github.com/bokysan/docker-postfix, README.md and functions.sh)."""

import re

from postroad.migrate import postfix
from postroad.migrate.move import Image, Move, Variable

PORT = 587
KEYS = ("/etc/opendkim/keys", "/var/lib/rspamd")


def _begin(move: Move) -> None:
    """Sender domains, their keys, and the port that apps use."""
    names = (move.get("ALLOWED_SENDER_DOMAINS") or "").split()
    selectors = dict(
        (name, selector) if selector else ("", name)
        for name, _, selector in (part.strip().partition("=") for part in (move.get("DKIM_SELECTOR") or "").split(","))
    )
    keyed = bool(move.get("DKIM_SELECTOR", "DKIM_AUTOGENERATE")) or any(path.startswith(KEYS) for path in move.volumes)
    for name in names:
        selector = selectors.get(name) or selectors.get("") or "mail"
        signed(move, name, selector, f"/etc/opendkim/keys/{name}.private" if keyed else None)
    if not names and move.get("ALLOW_EMPTY_SENDER_DOMAINS"):
        anybody(move, "ALLOW_EMPTY_SENDER_DOMAINS", smarthost=bool(move.get("RELAYHOST")))
    if names:
        move.note(
            "domains", "From: must be of these domains, too. Set `subdomains: true` for one whose subdomains send."
        )
    move.hostname = move.get("POSTFIX_myhostname", "HOSTNAME")
    if move.get("SMTPD_SASL_USERS"):
        move.note(
            "listeners", "apps without a password now use port 25; those with one 587, over TLS that they verify."
        )
    else:
        move.set("listeners", listeners__smtp=PORT, listeners__submission=None)
        move.note("listeners", f"port {PORT} takes mail without a password, as it did, so your apps' settings stay.")


def signed(move: Move, name: str, selector: str, key: str | None) -> None:
    """Add a sender domain; ``key`` is the path of its private key in the old container, if it had one."""
    if key is None:
        move.domains.append(name)
        move.note("dkim", "Postroad signs. Publish the records that `postroad dns` prints before you switch.")
        return
    file = f"/run/secrets/dkim_{name}"
    move.domains.append({"name": name, "dkim": {"selector": selector, "key_file": file}})
    move.note(
        "dkim", f"copy {key} of the old container to {file}, readable for uid 2525: the published record stays valid."
    )


def anybody(move: Move, by: str, *, smarthost: bool) -> None:
    """Let any domain send, if a smarthost takes the mail and can sign it; else only add a note."""
    if smarthost:
        move.domains.append("*")
        move.note(by, "any domain may send, so nothing is signed here: the smarthost has to.")
    else:
        move.note(by, "any domain could send; unsigned mail ends up as spam.")


def _relay(move: Move, value: str) -> None:
    username, file = move.get("RELAYHOST_USERNAME"), move.get("RELAYHOST_PASSWORD_FILE")
    oauth = _oauth(move, value) if any(name.startswith("XOAUTH2_") for name in move.variables) else None
    has_password = bool(move.get("RELAYHOST_PASSWORD", "RELAYHOST_PASSWORD_FILE"))
    username = username if has_password or oauth else None
    postfix.relay(move, "RELAYHOST", value, username=username, password_file=file, oauth=oauth)


def _oauth(move: Move, server: str) -> dict[str, str]:
    """The keys of ``oauth``; the plugin's default endpoint is Google's."""
    about = "delivery.smarthost.oauth"
    google = GOOGLE if "gmail" in server.lower() or "google" in server.lower() else "https://TOKEN-SERVER/PATH"
    keys = {
        "token_url": move.get("XOAUTH2_TOKEN_ENDPOINT") or google,
        "client_id": move.get("XOAUTH2_CLIENT_ID") or "CLIENT-ID",
    }
    if not move.get("XOAUTH2_TOKEN_ENDPOINT") and google != GOOGLE:
        move.note(about, "token_url is a guess: write where the provider grants tokens.")
    if not move.get("XOAUTH2_CLIENT_ID"):
        move.note(about, "set client_id to the contents of XOAUTH2_CLIENT_ID_FILE.")
    if move.get("XOAUTH2_SECRET", "XOAUTH2_SECRET_FILE"):
        keys["client_secret_file"] = move.get("XOAUTH2_SECRET_FILE") or "/run/secrets/client_secret"
    keys["refresh_token_file"] = move.get("XOAUTH2_INITIAL_REFRESH_TOKEN_FILE") or "/run/secrets/refresh_token"
    move.note(
        about,
        "write the client's secret and the current refresh token (the old container keeps it in"
        " /var/spool/postfix/xoauth2-tokens) to these files, readable for uid 2525.",
    )
    return keys


def _users(move: Move, value: str) -> None:
    users(move, "SMTPD_SASL_USERS", value)


def users(move: Move, by: str, value: str) -> None:
    """Add users from ``name:password,name:password``; passwords are never shown."""
    for entry in value.split(","):
        name, colon, _ = entry.strip().partition(":")
        if not colon:
            move.note(by, "an entry has no colon, and is not taken over.")
            continue
        file = f"/run/secrets/{re.sub(r'[^A-Za-z0-9]+', '_', name)}_password"
        move.set(by, clients__users=[{"name": name, "password_file": file}])
        move.note("clients.users", f"write the password of {name} to the file that is {file} in the container.")


def _redact(move: Move, value: str) -> None:
    if value.lower() not in {"0", "no", "false", "noop"}:
        move.set("ANONYMIZE_EMAILS", log__redact="hash")
        move.note("log.redact", "`hash` shows a digest, the same one for the same address; `domain` shows the domain.")


def _format(move: Move, value: str) -> None:
    if value == "plain":
        move.set("LOG_FORMAT", log__format="text")


GOOGLE = "https://oauth2.googleapis.com/token"
"""https://developers.google.com/identity/protocols/oauth2/web-server"""
OAUTH = "Client, secret and refresh token; a new access token is fetched"

IMAGE = Image(
    name="boky/postfix",
    repositories=("boky/postfix", "bokysan/postfix"),
    begin=_begin,
    marks=(
        "ALLOWED_SENDER_DOMAINS",
        "ALLOW_EMPTY_SENDER_DOMAINS",
        "RELAYHOST",
        "SMTPD_SASL_USERS",
        "DKIM_AUTOGENERATE",
    ),
    variables=(
        Variable("ALLOWED_SENDER_DOMAINS", ("domains",), "Of the envelope and of From:"),
        Variable(
            "ALLOW_EMPTY_SENDER_DOMAINS",
            ("domains", "dkim.enabled"),
            '`"*"` without signatures, for a smarthost that signs; else name the domains',
        ),
        Variable("RELAYHOST", ("delivery.smarthost",), "`host` and `port` apart; no MX lookup", _relay),
        Variable("RELAYHOST_USERNAME", ("delivery.smarthost.username",), "Only over verified TLS"),
        Variable("RELAYHOST_PASSWORD", ("delivery.smarthost.password_file",), "In a file"),
        Variable(
            "RELAYHOST_PASSWORD_FILE", ("delivery.smarthost.password_file",), "The same file, readable for uid 2525"
        ),
        Variable("RELAYHOST_TLS_LEVEL", ("delivery.smarthost.tls",), "As `POSTFIX_smtp_tls_security_level`"),
        Variable("SASL_RELAYHOST", (), f"{postfix.NOTHING_TO_DO}: a smarthost has its own username"),
        Variable("XOAUTH2_*", ("delivery.smarthost.oauth",), OAUTH),
        Variable("SMTPD_SASL_USERS", ("clients.users",), "Each password in a file; 587 and 465, over TLS only", _users),
        Variable(
            "MASQUERADED_DOMAINS",
            ("rewrite.masquerade_domains", "rewrite.masquerade_as"),
            "One domain",
            postfix.masquerade,
        ),
        Variable(
            "MYNETWORKS",
            ("clients.networks",),
            "As `POSTFIX_mynetworks`",
            lambda move, value: postfix.networks(move, value, "MYNETWORKS"),
        ),
        Variable(
            "MESSAGE_SIZE_LIMIT",
            ("limits.message_size",),
            "In bytes, or `25MiB`",
            lambda move, value: move.set("MESSAGE_SIZE_LIMIT", limits__message_size=value),
        ),
        Variable(
            "SMTP_HEADER_CHECKS",
            (),
            "Mail leaves unchanged or is refused; no rule changes or drops fields by pattern",
        ),
        Variable(
            "AUTOSET_HOSTNAME",
            (),
            "Set hostname to the reverse DNS name of your address; `postroad doctor` compares the two",
        ),
        Variable(
            "AUTOSET_HOSTNAME_SERVICES",
            (),
            f"{postfix.NOTHING_TO_DO}: hostname is set, and dns.egress asks for the address",
        ),
        Variable("HOSTNAME", ("hostname",), "A full name"),
        Variable("DKIM_SELECTOR", ("dkim.selector", "domains[].dkim.selector"), "With the key that was published"),
        Variable(
            "DKIM_AUTOGENERATE",
            ("domains[].dkim.key_file",),
            "Missing keys are made; to keep yours, name its file",
        ),
        Variable("DKIM_BACKEND", (), f"{postfix.NOTHING_TO_DO}: Postroad signs by itself"),
        Variable("RSPAMD_*", (), "Postroad signs by itself; there is no rspamd"),
        Variable("OPENDKIM_*", (), "Postroad signs by itself, relaxed/relaxed; there is no OpenDKIM"),
        Variable("LOG_FORMAT", ("log.format",), "`plain` is `text`; `json` is the default", _format),
        Variable("ANONYMIZE_EMAILS", ("log.redact",), "`hash`, or `domain`, which shows domains", _redact),
        Variable("TZ", (), "Times in the log are UTC, with the offset written out"),
        Variable("FORCE_COLOR", (), f"{postfix.NOTHING_TO_DO}: commands colour what they print on a terminal"),
        Variable("INBOUND_DEBUGGING", (), "The log has an event for each step; `postroad trace` shows a message's"),
        Variable(
            "SKIP_ROOT_SPOOL_CHOWN", (), f"{postfix.NOTHING_TO_DO}: nothing runs as root, and no owner is changed"
        ),
        *postfix.variables(),
    ),
)
