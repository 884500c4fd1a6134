"""Our counterparts of Postfix's parameters (postconf(5)), which two images accept as ``POSTFIX_NAME``."""

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping

from postroad.migrate.move import Move, Variable

PREFIX = "POSTFIX_"
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
RELAY_LEVELS = {"none": "none", "encrypt": "require", "verify": "verify", "secure": "verify"}
MX_LEVELS = {"may": "opportunistic", "encrypt": "require", "verify": "verify", "secure": "verify"} | {
    name: name for name in ("dane", "dane-only")
}
HOST = re.compile(r"\[(?P<exact>[^\]]+)\](?::(?P<port>\d+))?|(?P<name>[^\[\]:/\s]+)(?::(?P<also>\d+))?")
NOTHING_TO_DO = "Nothing to do"


def words(text: str) -> list[str]:
    """A list in Postfix's form: separated by commas and spaces."""
    return text.replace(",", " ").split()


def seconds(text: str, unit: str) -> int | None:
    """A time in Postfix's form, such as ``5d``, in seconds; a bare number is in ``unit``. None if it is not a time."""
    match = re.fullmatch(r"(\d+)([smhdw]?)", text.strip())
    return int(match[1]) * UNITS[match[2] or unit] if match else None


def next_hop(text: str) -> tuple[str, int, bool] | None:
    """A ``relayhost``'s host, its port, and whether its MX records count. None if it can't be parsed."""
    match = HOST.fullmatch(text.strip())
    if not match:
        return None
    port = int(match["port"] or match["also"] or 25)
    return match["exact"] or match["name"], port, match["exact"] is None


def relay(
    move: Move,
    by: str,
    text: str,
    *,
    username: str | None = None,
    password_file: str | None = None,
    oauth: Mapping[str, str] | None = None,
) -> None:
    """Set the smarthost.

    Args:
        move: the migration.
        by: the variable that names it.
        text: the server, in Postfix's notation.
        username: the user for AUTH.
        password_file: the path of its password; by default ``/run/secrets/smarthost_password``.
        oauth: the keys of ``oauth``, for access tokens instead of a password.
    """
    hop = next_hop(text)
    if hop is None:
        move.note(by, "not taken over: this is not a server in Postfix's notation. Set delivery.smarthost.")
        return
    host, port, by_mx = hop
    keys: dict[str, object] = {"delivery__smarthost__host": host, "delivery__smarthost__port": port}
    level = (move.get(f"{PREFIX}smtp_tls_security_level", "RELAYHOST_TLS_LEVEL") or "may").lower()
    if username and oauth:
        keys |= {"delivery__smarthost__username": username, "delivery__smarthost__oauth": dict(oauth)}
    elif username:
        where = password_file or "/run/secrets/smarthost_password"
        keys |= {"delivery__smarthost__username": username, "delivery__smarthost__password_file": where}
        move.note(
            "delivery.smarthost.password_file", f"write the password to the file that is {where} in the container."
        )
    else:
        keys["delivery__smarthost__tls"] = _relay_tls(move, host, level)
    if by_mx and _address(host) is None:
        move.note(by, f"Postfix asked for the MX records of {host}; Postroad connects to {host} itself.")
    move.set(by, **keys)


def _relay_tls(move: Move, host: str, level: str) -> str:
    address = _address(host)
    if level in RELAY_LEVELS:
        tls = RELAY_LEVELS[level]
        return "require" if tls == "verify" and address else tls
    tls = "verify" if address is None else "none" if address.is_private else "require"
    move.note(
        "delivery.smarthost.tls",
        f"`{level}` has no counterpart, so {tls} is set. verify needs a valid certificate, require any certificate,"
        " none no TLS.",
    )
    return tls


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.removeprefix("ipv6:"))
    except ValueError:
        return None


def networks(move: Move, text: str, by: str = f"{PREFIX}mynetworks") -> None:
    """Set who may send without a password."""
    for word in words(text):
        bare = re.sub(r"^\[([^\]]*)\](/\d+)?$", r"\1\2", word)
        try:
            network = ipaddress.ip_network(bare, strict=False)
        except ValueError:
            move.note(by, "an entry is not an address or a network; it is not taken over.")
            continue
        if network.is_loopback:
            move.note(by, f"{network} is left out: in the container this is only Postroad itself.")
        elif not network.prefixlen:
            move.note(by, f"{network} is everybody, so it is left out; `auto` is the container's networks.")
        else:
            move.set(by, clients__networks=[str(network)])


def transport(move: Move, text: str, by: str) -> None:
    """Set routes from the lines of a transport table (transport(5))."""
    for line in filter(None, map(str.strip, text.splitlines())):
        pattern, _, transport = line.partition(" ")
        mailer, _, server = transport.strip().partition(":")
        hop = next_hop(server) if server else None
        if line.startswith("#") or (pattern == "*" and not server and mailer in {"smtp", "relay"}):
            continue
        if mailer not in {"smtp", "relay", ""} or (server and hop is None) or "@" in pattern:
            move.note(
                by, f"the line for {pattern} is not taken over: Postroad has routes by domain, to an SMTP server."
            )
        elif pattern == "*":
            relay(move, by, server)
        else:
            tls = _relay_tls(move, hop[0], "may") if hop else ""
            smarthost = {"host": hop[0], "port": hop[1], "tls": tls} if hop else None
            move.set(by, delivery__routes=[{"domains": [pattern.lower()], "smarthost": smarthost}])


# --- takes -----------------------------------------------------------------------------------------


def _whole(key: str, *, no_limit: bool = True) -> Callable[[Move, str], None]:
    def take(move: Move, value: str) -> None:
        if not value.isdigit():
            move.note(key, "not taken over: not a number.")
        elif int(value) or no_limit:
            move.set(key, **{key.replace(".", "__"): int(value) or None})
        else:
            move.note(key, "0 meant no limit. Postroad always has one; its default applies.")

    return take


def _time(key: str, unit: str) -> Callable[[Move, str], None]:
    def take(move: Move, value: str) -> None:
        found = seconds(value, unit)
        if found is None:
            move.note(key, "not taken over: not a time.")
        else:
            move.set(key, **{key.replace(".", "__"): f"{found}s" if found else None})

    return take


def _text(key: str) -> Callable[[Move, str], None]:
    return lambda move, value: move.set(key, **{key.replace(".", "__"): value})


def _hostname(move: Move, value: str) -> None:
    move.hostname = value


def _mx_tls(move: Move, value: str) -> None:
    if move.get("RELAYHOST", f"{PREFIX}relayhost"):
        return  # then this is the smarthost's level
    policy = MX_LEVELS.get(value.lower())
    if policy is None:
        move.note(
            f"{PREFIX}smtp_tls_security_level", f"{value} has no counterpart: TLS is used where receivers offer it."
        )
    elif policy != "opportunistic":
        move.set(f"{PREFIX}smtp_tls_security_level", delivery__tls__policy=policy)


def _certificate(move: Move, value: str) -> None:
    key = move.get(f"{PREFIX}smtpd_tls_key_file")
    if key:
        move.set("tls", tls__certificate_file=value, tls__key_file=key)
        move.note("tls", "mount the two files there, readable for uid 2525.")


def _client_tls(move: Move, value: str) -> None:
    if value == "none":
        move.set("tls", tls__smtp_starttls="never")
    elif value == "encrypt":
        move.note("tls", "`encrypt` has no counterpart on port 25: let the clients use 587 or 465, which require TLS.")


def _relayhost(move: Move, value: str) -> None:
    login = re.fullmatch(r"static:([^:]+):.*", move.get(f"{PREFIX}smtp_sasl_password_maps") or "")
    relay(move, f"{PREFIX}relayhost", value, username=login[1] if login else None)


def _maps(move: Move, value: str) -> None:
    if not value.startswith("static:"):
        move.note(
            f"{PREFIX}smtp_sasl_password_maps",
            "set delivery.smarthost.username, and delivery.smarthost.password_file to a file that holds the password.",
        )


def _origin(move: Move, value: str) -> None:
    if "$" not in value:
        move.set(f"{PREFIX}myorigin", rewrite__add_domain=value)


def _masquerade(move: Move, value: str) -> None:
    first, *others = words(value)
    move.set("masquerade_domains", rewrite__masquerade_domains=[first], rewrite__masquerade_as=first)
    if others:
        move.note("rewrite.masquerade_as", f"only {first} is taken over: Postroad masquerades as one domain.")


masquerade = _masquerade


def _size(move: Move, value: str) -> None:
    if value == "0":
        move.note(
            "limits.message_size", "0 meant no limit. Postroad accepts 25 MiB; set what your apps need, below 2 GiB."
        )
    else:
        move.set("limits.message_size", limits__message_size=int(value) if value.isdigit() else value)


def variables() -> Iterator[Variable]:
    """Postfix's parameters that have a counterpart or need a note."""
    taken: tuple[tuple[str, tuple[str, ...], str, Callable[[Move, str], None] | None], ...] = (
        ("myhostname", ("hostname",), "A full name, the same as the reverse DNS name of your address", _hostname),
        ("mynetworks", ("clients.networks",), "Loopback and `0.0.0.0/0` are left out", networks),
        ("message_size_limit", ("limits.message_size",), "In bytes, or `25MiB`; unlimited is not possible", _size),
        ("relayhost", ("delivery.smarthost",), "`host` and `port` apart; no MX lookup", _relayhost),
        (
            "smtp_sasl_password_maps",
            ("delivery.smarthost.username", "delivery.smarthost.password_file"),
            "The password in a file",
            _maps,
        ),
        (
            "smtp_tls_security_level",
            ("delivery.smarthost.tls", "delivery.tls.policy"),
            "The first with a smarthost, the second without",
            _mx_tls,
        ),
        (
            "smtp_tls_CAfile",
            ("delivery.tls.ca_file",),
            "Only for authorities beyond the system's",
            _text("delivery.tls.ca_file"),
        ),
        ("smtpd_tls_cert_file", ("tls.certificate_file",), "With its chain, readable for uid 2525", _certificate),
        ("smtpd_tls_key_file", ("tls.key_file",), "Readable for uid 2525", None),
        (
            "smtpd_tls_security_level",
            ("tls.smtp_starttls",),
            "`none` is `never`; `may` needs a certificate",
            _client_tls,
        ),
        ("masquerade_domains", ("rewrite.masquerade_domains", "rewrite.masquerade_as"), "One domain", _masquerade),
        ("myorigin", ("rewrite.add_domain",), "For addresses without a domain", _origin),
        (
            "maximal_queue_lifetime",
            ("delivery.queue.give_up_after",),
            "Also of bounces",
            _time("delivery.queue.give_up_after", "d"),
        ),
        ("delay_warning_time", ("delivery.queue.warn_after",), "0 is `null`", _time("delivery.queue.warn_after", "h")),
        (
            "minimal_backoff_time",
            ("delivery.queue.retry",),
            "The same time between all attempts",
            _time("delivery.queue.retry", "s"),
        ),
        (
            "smtpd_recipient_limit",
            ("limits.recipients_per_message",),
            "",
            _whole("limits.recipients_per_message", no_limit=False),
        ),
        (
            "header_size_limit",
            ("limits.header_size",),
            "Postfix cuts a longer header; Postroad refuses the message",
            _whole("limits.header_size", no_limit=False),
        ),
        (
            "smtpd_client_connection_count_limit",
            ("limits.connections_per_client",),
            "0 is `null`",
            _whole("limits.connections_per_client"),
        ),
        (
            "smtpd_client_connection_rate_limit",
            ("limits.connections_per_minute",),
            "0 is `null`",
            _whole("limits.connections_per_minute"),
        ),
        (
            "smtpd_client_message_rate_limit",
            ("limits.messages_per_minute",),
            "0 is `null`",
            _whole("limits.messages_per_minute"),
        ),
    )
    for name, keys, note, take in taken:
        yield Variable(PREFIX + name, keys, note, take)
    for names, note in NO_COUNTERPART:
        yield from (Variable(PREFIX + name, (), note) for name in names.split())


NO_COUNTERPART = (
    (
        "mydestination relay_domains inet_interfaces inet_protocols",
        f"{NOTHING_TO_DO}: Postroad only sends, over IPv4 and IPv6",
    ),
    (
        "smtpd_tls_auth_only smtp_sasl_auth_enable smtp_sasl_security_options",
        f"{NOTHING_TO_DO}: passwords go over TLS only, and always so",
    ),
    (
        "smtpd_sasl_auth_enable smtpd_sasl_security_options cyrus_sasl_config_path",
        "List the users in clients.users, each password in a file; they log in on 587 and 465",
    ),
    (
        "smtpd_relay_restrictions smtpd_recipient_restrictions smtpd_sender_restrictions smtpd_client_restrictions",
        "No rules to write: clients.networks and clients.users may send, as domains, to anybody or recipients.allow",
    ),
    (
        "header_checks smtp_header_checks body_checks",
        "Mail leaves unchanged or is refused; no rule changes or drops fields by pattern",
    ),
    ("always_bcc sender_bcc_maps recipient_bcc_maps", "Copies are not made: let the app address them"),
    (
        "transport_maps sender_dependent_relayhost_maps",
        "Write delivery.routes: by recipients' domains or senders' domains",
    ),
    (
        "sender_canonical_maps smtp_generic_maps canonical_maps",
        "Write rewrite.addresses, rewrite.masquerade_domains or rewrite.sender",
    ),
    ("virtual_alias_maps alias_maps", "Postroad only sends. For staging there is recipients.redirect_to"),
    (
        "smtp_destination_concurrency_limit default_destination_concurrency_limit",
        "Set delivery.routes[].concurrency for the domains that need it",
    ),
    (
        "smtp_destination_rate_delay default_destination_rate_delay",
        "Set delivery.routes[].rate for the domains that need it",
    ),
    ("maximal_backoff_time queue_run_delay", "delivery.queue.retry is the time between all attempts"),
    ("bounce_queue_lifetime", "delivery.queue.give_up_after is for bounces too"),
    ("smtp_bind_address smtp_bind_address6", "Set delivery.bind to an address of the container"),
    ("notify_classes", "Postroad sends no mail about itself: see its log, /metrics and deploy/prometheus"),
    ("smtputf8_enable", "There is no SMTPUTF8: addresses are plain ASCII"),
    ("smtpd_milters non_smtpd_milters", "No milters of yours: Postroad signs by itself"),
    ("maillog_file compatibility_level", f"{NOTHING_TO_DO}: the log is the container's"),
    ("*", "A setting of Postfix alone, which Postroad does not use"),
)
