"""wader/postfix-relay (github.com/wader/postfix-relay, README.md and Dockerfile)."""

from postroad.migrate import postfix
from postroad.migrate.boky import anybody, signed
from postroad.migrate.move import Image, Move, Variable


def _begin(move: Move) -> None:
    for word in (move.get("OPENDKIM_DOMAINS") or "").split():
        name, _, selector = word.partition("=")
        selector = selector or "mail"
        signed(move, name, selector, f"/etc/opendkim/keys/{name}/{selector}.private")
    move.hostname = move.get("POSTFIX_myhostname")
    if not move.domains:
        anybody(move, "OPENDKIM_DOMAINS", smarthost=bool(move.get("POSTFIX_relayhost")))
    elif move.domains:
        move.note("domains", "only these may send, where everybody could. Add every domain that your apps send as.")
    if not move.get("POSTFIX_mynetworks"):
        move.note(
            "clients.networks", "everybody who reached port 25 could send; now those in the container's networks can."
        )


def _transport(move: Move, value: str) -> None:
    postfix.transport(move, value, "POSTMAP_transport")


IMAGE = Image(
    name="wader/postfix-relay",
    repositories=("mwader/postfix-relay", "wader/postfix-relay"),
    begin=_begin,
    marks=(
        "OPENDKIM_DOMAINS",
        "POSTMASTER_ADDRESS",
        "POSTSRSD_SRS_DOMAIN",
        "RSYSLOG_LOG_TO_FILE",
        "RSYSLOG_REMOTE_HOST",
    ),
    variables=(
        Variable(
            "OPENDKIM_DOMAINS", ("domains", "domains[].dkim.selector", "domains[].dkim.key_file"), "Only these may send"
        ),
        Variable("OPENDKIM_*", (), "Postroad signs by itself, relaxed/relaxed; there is no OpenDKIM"),
        Variable(
            "POSTMAP_transport",
            ("delivery.routes", "delivery.smarthost"),
            "A route a line; `*` is the smarthost",
            _transport,
        ),
        Variable("POSTFIX_transport_maps", ("delivery.routes",), "By `POSTMAP_transport`"),
        Variable("POSTMAP_*", (), "No lookup tables: delivery.routes, rewrite and recipients take their place"),
        Variable(
            "POSTFIXMASTER_*",
            (),
            "No master.cf: listeners has the ports, and 587 and 465 are open once there are users",
        ),
        Variable("POSTSRSD_*", (), "Postroad only sends; it forwards nothing, so it needs no SRS"),
        Variable(
            "POSTMASTER_ADDRESS", (), "Postroad sends no mail about itself: see its log, /metrics and deploy/prometheus"
        ),
        Variable("SASL_Passwds", (), "List the users in clients.users, each password (not its hash) in a file"),
        Variable("RSYSLOG_*", (), "The log is the container's, in JSON: let Docker or your collector forward it"),
        Variable("TZ", (), "Times in the log are UTC, with the offset written out"),
        *(each for each in postfix.variables() if each.name != "POSTFIX_transport_maps"),
    ),
)
