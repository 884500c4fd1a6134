"""Whether a stranger could relay: sendmail's own rules asked for many strangers, and the open ports tried as one.

A client's address can't be forged from in here, so two things are done. sendmail's test mode (``-bt``) applies the
rules in force, with the maps in force, as if the client had the address that we say. And each port that listens is
tried from 127.0.0.2: no loopback address is trusted unless it is named. Nothing is sent: a session ends
after its recipients, whatever the answers were.
"""

import ipaddress
import re
import smtplib
import ssl
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from postroad import system
from postroad.checks.context import Context
from postroad.checks.model import Finding, Level
from postroad.config.model import Config
from postroad.config.networks import is_too_wide
from postroad.errors import CommandError
from postroad.install.generation import surroundings
from postroad.runtime import listening, plan
from postroad.runtime.paths import CURRENT
from postroad.sendmail import networks
from postroad.sinks.probes import STRANGER
from postroad.text import counted

ID = "open-relay"
SHORT = True

VICTIM = "victim@postroad-test.example"
STRANGE_SENDER = "stranger@postroad-test.example"
ITSELF = "0"
"""What sendmail has for the address of a client that has none: ``postroad send``'s session on a pipe."""
FOR_PORTS = 2.0
"""Seconds that are left for the ports where the rules do not answer, as without any DNS."""
ELSEWHERE = tuple(
    ipaddress.ip_address(text)
    for text in (
        # the Internet: documentation addresses (RFC 5737, RFC 3849), and two that are in use
        *("192.0.2.66", "198.51.100.66", "203.0.113.66", "8.8.4.4", "2001:db8::66", "2606:4700::66"),
        # private networks that this container is not in, as a rule (RFC 1918, RFC 6598, RFC 4193)
        *("10.255.255.66", "172.31.255.66", "192.168.255.66", "100.127.255.66", "fdff:ffff::66"),
        # whom port forwarding in rootless engines shows so
        *("127.0.0.1", "::1"),
    )
)
_RETURNS = re.compile(r"^(?:> ?)*(check_mail|check_rcpt) +returns: (.*)$", re.MULTILINE)
_REFUSED = re.compile(r"\$# ?(error|discard)\b")


@dataclass(frozen=True)
class RelayAttempt:
    """One try at relaying, and what was said to it."""

    client: str
    sender: str
    recipient: str
    reply: str

    def __str__(self) -> str:
        return f"from {self.client}, MAIL FROM:<{self.sender}>, RCPT TO:<{self.recipient}>: {self.reply}"


def run(context: Context) -> Iterator[Finding]:
    """Try to relay as a stranger would."""
    if not CURRENT.exists():
        yield Finding(
            ID,
            Level.ERROR,
            "whether a stranger could relay is not known: no server runs here",
            fix="run this inside the container that runs: docker compose exec postroad postroad doctor --open-relay",
        )
        return
    config, around = context.config, surroundings()
    who, to = senders(config), recipients(config)
    strangers = outsiders(config, around)
    accepted, problem = ask_rules(strangers, who, to, somebody(config), timeout=context.left - FOR_PORTS)
    live: list[RelayAttempt] = []
    untried: list[str] = []
    if not context.short:
        live, untried = try_ports(config, (who[0], ""), to, timeout=context.left)
    accepted += [attempt for attempt in live if attempt.reply.startswith("2")]
    if accepted:
        yield Finding(
            ID,
            Level.ERROR,
            f"this is an open relay: it accepted {counted(len(accepted), 'attempt')} of strangers to send through it",
            seen="; ".join(map(str, accepted[:3])),
            fix="look at clients.networks, clients.i_know_this_is_an_open_relay and sendmail.local_config, and publish"
            " no port until this is mended",
        )
    if problem:
        yield Finding(ID, Level.ERROR, "the rules in force can't be asked who may relay", problem, "look at the log")
    if untried:
        yield Finding(
            ID,
            Level.WARNING,
            "not every port could be tried as a stranger; the rules in force were asked",
            "; ".join(untried),
            "look at the log, and run this again",
        )
    if config.clients.trust_gateway and around.gateways:
        yield Finding(
            ID,
            Level.WARNING,
            "whoever comes through a gateway may send: clients.trust_gateway is on",
            f"gateways {', '.join(map(str, around.gateways))}",
            "publish the port for this host only (127.0.0.1:25:25), or turn clients.trust_gateway off",
        )
    if not accepted and not problem:
        tried = len(strangers) * len(who) * len(to)
        yield Finding(
            ID,
            Level.OK,
            "no stranger can relay",
            f"{tried} attempts by the rules, {len(live)} over SMTP: none accepted",
        )


def outsiders(config: Config, around: networks.Surroundings) -> list[networks.Address]:
    """Addresses that must not be able to relay.

    Some from everywhere, the gateways and this host's own (unless the configuration trusts them), and the addresses
    right before and after each network that is trusted. A network that is too wide to be trusted at all does not
    count as trusted.
    """
    granted = networks.trusted(config.clients.networks, around, gateways=config.clients.trust_gateway)
    trusted = [net for net in granted if not is_too_wide(net)]
    edges: list[networks.Address] = []
    for net in trusted:
        first, last = net.network_address, net.broadcast_address
        edges += [first - 1] if int(first) else []
        edges += [last + 1] if int(last) + 1 < 2**net.max_prefixlen else []
    candidates = [*ELSEWHERE, *edges]
    fronts = () if config.clients.trust_gateway else around.fronts
    strangers = [address for address in candidates if not any(address in net for net in trusted)]
    return list(dict.fromkeys([*fronts, *strangers]))


def senders(config: Config) -> list[str]:
    """Forged senders: of each domain, of the host itself, none at all, a stranger's."""
    own = [f"app@{domain.name}" for domain in config.named_domains[:3]]
    return [*(own or [f"app@{config.hostname}"]), f"postmaster@{config.hostname}", "", STRANGE_SENDER]


def somebody(config: Config) -> str:
    """A mailbox that gets mail here: a stranger's, but for those that ``recipients.allow`` names."""
    first = next(iter(config.recipients.allow), VICTIM)
    return first if "@" in first else f"{VICTIM.partition('@')[0]}@{first}"


def recipients(config: Config) -> list[str]:
    """A stranger's mailbox, plain and dressed up as one of ours (RFC 5321, appendix C and section 3.6.1)."""
    user, _, domain = VICTIM.partition("@")
    own = config.named_domains[0].name if config.named_domains else config.hostname
    return [
        *dict.fromkeys((VICTIM, somebody(config))),
        f"{user}%{domain}@{config.hostname}",
        f"{user}%{domain}@{own}",
        f"{user}%{domain}@[127.0.0.1]",
        f'"{VICTIM}"@{own}',
        f"@{config.hostname}:{VICTIM}",
        f"{domain}!{user}@{config.hostname}",
        f"{domain}!{user}",
        f"{VICTIM}@{own}",
        f"{user}@[192.0.2.25]",
        f"{user}@{own}",
    ]


def ask_rules(
    clients: Sequence[networks.Address], who: Sequence[str], to: Sequence[str], control: str, *, timeout: float
) -> tuple[list[RelayAttempt], str]:
    """What the rules in force accept from these clients, and why they could not be asked (else empty).

    The last question is a control: the session of ``postroad send``, whose mail to ``control`` must be accepted.
    """
    asked = [
        (networks.access_key(client), sender, recipient) for client, sender, recipient in product(clients, who, to)
    ]
    asked.append((ITSELF, who[0], control))
    daemon = next(each for each in plan.load(CURRENT / plan.FILE).processes if each.name == "sendmail")
    try:
        code, out, err = system.capture(
            [daemon.argv[0], "-C", str(CURRENT / "sendmail.cf"), "-bt"],
            stdin=script(asked),
            env=daemon.env,
            timeout=max(timeout, 1),
        )
    except CommandError as error:
        return [], str(error)
    answers = [(match[1], match[2]) for match in _RETURNS.finditer(out)]
    if [ruleset for ruleset, _ in answers] != ["check_mail", "check_rcpt"] * len(asked):
        return [], f"sendmail -bt answered {len(answers)} of {2 * len(asked)} questions (exit {code}): {err.strip()}"
    replies = [answer for _, answer in answers]
    found = [
        RelayAttempt(*question, f"the rules say {rcpt}")
        for question, mail, rcpt in zip(asked, replies[::2], replies[1::2], strict=True)
        if not _REFUSED.match(mail) and not _REFUSED.match(rcpt)
    ]
    if not found or found[-1].client != ITSELF:
        return found, "sendmail -bt refuses even postroad send, so its refusals say nothing"
    return found[:-1], ""


def script(asked: Iterable[tuple[str, str, str]]) -> str:
    """The test mode's input for (client address, sender, recipient): two answers each, check_mail's and check_rcpt's.

    The client's name is the best that a stranger can claim: one that his own DNS forges.
    """
    lines = [".D{client_resolve}FORGED", ".D{client_name}localhost"]
    for client, sender, recipient in asked:
        lines += [
            f".D{{client_addr}}{client}",
            f".D{{mail_addr}}{sender}",
            f".Df{sender}",
            f"check_mail <{sender}>",
            f"check_rcpt <{recipient}>",
        ]
    return "\n".join([*lines, "/quit", ""])


def try_ports(
    config: Config, who: Sequence[str], to: Sequence[str], *, timeout: float
) -> tuple[list[RelayAttempt], list[str]]:
    """Talk to each port that listens as a stranger: the attempts, and why a port of ours could not be tried."""
    known = {port for port in config.listeners.model_dump().values() if isinstance(port, int)}
    if any(ipaddress.ip_address(STRANGER) in net for net in _explicit(config)):
        return [], [f"{STRANGER} is in clients.networks, so nobody in here is a stranger"]
    attempts: list[RelayAttempt] = []
    untried: list[str] = []
    for address, port in reachable(listening.tcp()):
        limit = max(min(timeout, 5.0 if port in known else 2.0), 0.5)
        try:
            attempts += _session(address, port, who, to, limit, tls=port == config.listeners.submissions)
        except (OSError, smtplib.SMTPException) as error:
            if port in known:
                untried.append(f"port {port}: {error or type(error).__name__}")
    return attempts, untried


def _explicit(config: Config) -> list[networks.Network]:
    return [net for net in config.clients.networks if not isinstance(net, str) and not is_too_wide(net)]


def _session(
    address: str, port: int, who: Sequence[str], to: Sequence[str], limit: float, *, tls: bool
) -> list[RelayAttempt]:
    # what is not what it should be, or is not known, may be the other: SMTP in the clear, or within TLS
    try:
        smtp = _connect(address, port, limit, tls=tls)
    except (OSError, smtplib.SMTPException):
        smtp = _connect(address, port, limit, tls=not tls)
    attempts: list[RelayAttempt] = []
    with smtp:
        try:
            _attempt(smtp, port, who, to, attempts)
        except smtplib.SMTPServerDisconnected:
            if not attempts:  # else it had enough of what it refused (limits.bad_recipients)
                raise
    return attempts


def _attempt(
    smtp: smtplib.SMTP, port: int, who: Sequence[str], to: Sequence[str], attempts: list[RelayAttempt]
) -> None:
    """Try, and add what came of it to ``attempts``; the message itself is never sent."""
    smtp.ehlo("stranger.postroad-test.example")
    for sender in who:
        code, text = smtp.docmd(f"MAIL FROM:<{sender}>")
        if code >= 400:
            attempts.append(RelayAttempt(f"{STRANGER} to port {port}", sender, "", _reply(code, text)))
            continue
        for recipient in to[:5]:
            code, text = smtp.docmd(f"RCPT TO:<{recipient}>")
            attempts.append(RelayAttempt(f"{STRANGER} to port {port}", sender, recipient, _reply(code, text)))
            if code < 400:
                break
        smtp.rset()


def _connect(address: str, port: int, limit: float, *, tls: bool) -> smtplib.SMTP:
    if not tls:
        return smtplib.SMTP(address, port, "stranger.postroad-test.example", limit, source_address=(STRANGER, 0))
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE  # who answers here is ourselves
    return smtplib.SMTP_SSL(
        address,
        port,
        "stranger.postroad-test.example",
        timeout=limit,
        source_address=(STRANGER, 0),
        context=trusting,
    )


def _reply(code: int, text: bytes) -> str:
    return f"{code} {text.decode(errors='replace')}".replace("\n", " ")


def reachable(sockets: Iterable[listening.Listening]) -> list[tuple[str, int]]:
    """Where strangers can connect: (IPv4 address, port), loopback left out."""
    found = []
    for each in sockets:
        address = each.address
        if not address.is_loopback:
            # a socket for both families answers on IPv4, too; one for IPv6 alone refuses
            usable = address.version == 4 and not address.is_unspecified
            found.append((str(address) if usable else "127.0.0.1", each.port))
    return list(dict.fromkeys(found))
