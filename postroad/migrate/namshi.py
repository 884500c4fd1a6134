"""namshi/smtp (github.com/namshi/docker-smtp, README.md and entrypoint.sh)."""

from typing import Any

from postroad.migrate import postfix
from postroad.migrate.boky import anybody
from postroad.migrate.move import Image, Move, Variable


def _begin(move: Move) -> None:
    move.hostname = move.get("MAILNAME")
    servers = (
        ("GMAIL_USER", "GMAIL_PASSWORD", "smtp.gmail.com", 587),
        ("SES_USER", "SES_PASSWORD", f"email-smtp.{move.get('SES_REGION') or 'us-east-1'}.amazonaws.com", "SES_PORT"),
        ("SMARTHOST_USER", "SMARTHOST_PASSWORD", move.get("SMARTHOST_ADDRESS"), "SMARTHOST_PORT"),
    )
    # in the order of namshi's entrypoint.sh
    server = next((each for each in servers if each[2] and (move.get(each[0]) and move.get(each[1]))), None)
    if server:
        user, _, host, port = server
        _smarthost(move, user, str(host), _port(move, port, 587 if user == "SES_USER" else 25), move.get(user))
    elif address := move.get("SMARTHOST_ADDRESS"):
        _smarthost(move, "SMARTHOST_ADDRESS", address, _port(move, "SMARTHOST_PORT", 25), None)
    has_smarthost = bool(server or move.get("SMARTHOST_ADDRESS"))
    anybody(move, "domains", smarthost=has_smarthost)
    if not move.get("RELAY_NETWORKS"):
        move.note("clients.networks", "`auto`, the networks of the container, as it was; their gateways may not send.")


def _port(move: Move, port: str | int, otherwise: int) -> int:
    found = str(port if isinstance(port, int) else move.get(port) or otherwise)
    return int(found) if found.isdigit() else otherwise


def _smarthost(move: Move, by: str, host: str, port: int, username: str | None) -> None:
    exact = f"[{host}]:{port}"
    postfix.relay(move, by, exact, username=username)


def _networks(move: Move, value: str) -> None:
    move.set("RELAY_NETWORKS", clients__networks=["auto"])
    postfix.networks(move, value.replace(":", " "), "RELAY_NETWORKS")


def _certificate(move: Move, value: str) -> None:
    if key := move.get("KEY_PATH"):
        move.set("CERTIFICATE_PATH", tls__certificate_file=value, tls__key_file=key)
        move.note("tls", "mount the two files there, readable for uid 2525. Port 25 then offers STARTTLS.")


def _listener(move: Move, value: str) -> None:
    keys: dict[str, Any] = {"listeners__smtp": int(value) if value.isdigit() else value}
    if value in {"587", "465"}:
        keys["listeners__submission" if value == "587" else "listeners__submissions"] = None
    move.set("PORT", **keys)


IMAGE = Image(
    name="namshi/smtp",
    repositories=("namshi/smtp",),
    begin=_begin,
    marks=("MAILNAME", "RELAY_NETWORKS", "GMAIL_USER", "SES_USER", "SMARTHOST_ADDRESS", "DISABLE_IPV6"),
    variables=(
        Variable("MAILNAME", ("hostname",), "A full name, the same as the reverse DNS name of your address"),
        Variable("RELAY_NETWORKS", ("clients.networks",), "Beside `auto`; a list", _networks),
        Variable("CERTIFICATE_PATH", ("tls.certificate_file",), "With its chain, readable for uid 2525", _certificate),
        Variable("KEY_PATH", ("tls.key_file",), "Readable for uid 2525"),
        Variable("PORT", ("listeners.smtp",), "", _listener),
        Variable("GMAIL_USER", ("delivery.smarthost.username",), "`host: smtp.gmail.com`; an app password"),
        Variable("GMAIL_PASSWORD", ("delivery.smarthost.password_file",), "In a file"),
        Variable("SES_USER", ("delivery.smarthost.username",), "`host: email-smtp.REGION.amazonaws.com`"),
        Variable("SES_PASSWORD", ("delivery.smarthost.password_file",), "In a file"),
        Variable("SES_REGION", ("delivery.smarthost.host",), "A part of the name"),
        Variable("SES_PORT", ("delivery.smarthost.port",), ""),
        Variable("SMARTHOST_ADDRESS", ("delivery.smarthost.host",), ""),
        Variable("SMARTHOST_PORT", ("delivery.smarthost.port",), "25 unless it is set, where ours is 587"),
        Variable("SMARTHOST_USER", ("delivery.smarthost.username",), "Only over verified TLS"),
        Variable("SMARTHOST_PASSWORD", ("delivery.smarthost.password_file",), "In a file"),
        Variable(
            "SMARTHOST_ALIASES",
            (),
            f"{postfix.NOTHING_TO_DO}: the password goes to the host whose certificate is valid",
        ),
        Variable("DISABLE_IPV6", (), "No such key: give the container a network without IPv6"),
        Variable("OTHER_HOSTNAMES", (), "Postroad only sends: it is not the final destination of any domain"),
        Variable("RELAY_DOMAINS", (), "Postroad only sends: it is not a secondary MX"),
    ),
)
