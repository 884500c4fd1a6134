"""Where mail goes, and how safe the connection must be: for the rules in sendmail.mc, and for the uplink."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from postroad.config.delivery import OutboundTls, Route, Smarthost
from postroad.config.model import Config, Delivery
from postroad.config.values import format_duration
from postroad.events.relays import inner_name
from postroad.runtime import refusals, uplink
from postroad.secrets import certificate, oauth
from postroad.secrets import files as named_files

GROUP = "route-"
"""How the names of the queue groups of shaped routes begin."""


@dataclass(frozen=True)
class NumberedSmarthost:
    """A smarthost as sendmail's rules know it.

    Attributes:
        number: from 1.
        smarthost: what is wanted.
        ids: those of its servers, in the order in which they are tried.
    """

    number: int
    smarthost: Smarthost
    ids: tuple[str, ...]

    @property
    def destination(self) -> str:
        """Its servers as sendmail's ``$h``: names of ours, tried in order."""
        names = zip(self.smarthost.servers, self.ids, strict=True)
        return ":".join(inner_name(host, server) for host, server in names)


def smarthosts(delivery: Delivery) -> list[NumberedSmarthost]:
    """The smarthosts of a configuration, each once."""
    named = [delivery.smarthost, *(route.smarthost for route in delivery.routes)]
    taken: dict[str, str] = {}
    return [
        NumberedSmarthost(i, smarthost, tuple(_id(smarthost, host, taken) for host in smarthost.servers))
        for i, smarthost in enumerate(dict.fromkeys(filter(None, named)), 1)
    ]


def _id(smarthost: Smarthost, host: str, taken: dict[str, str]) -> str:
    """Six hexadecimal digits for a server: another one wherever it is reached with other settings."""
    text = f"{host} {smarthost.model_dump_json(exclude={'host', 'fallback'})}"
    salt = 0
    while True:
        found = hashlib.sha256(f"{salt} {text}".encode()).hexdigest()[:6]
        if taken.setdefault(found, text) == text:
            return found
        salt += 1


@dataclass(frozen=True)
class RouteRules:
    """A route as rules.

    All routes share four classes, whose members end in the route's mark, as the hosts in the workspace then do:
    sendmail has names for some fifty classes only.

    Attributes:
        mark: the route's; 0: the default, which has none.
        classes: sendmail classes and what goes into them.
        sides: left-hand sides that match ``recipient's host / mark $| sender's host / mark``.
        target: the smarthost's number; 0: the recipients' MX hosts; for a shaped route its mailer's name.
    """

    mark: int
    classes: dict[str, tuple[str, ...]]
    sides: tuple[str, ...]
    target: int | str


@dataclass(frozen=True)
class RouteGroup:
    """A route with limits of its own: a mailer, and a queue group whose mail only the shaper lets go.

    Attributes:
        index: its place in ``delivery.routes``.
        route: what is wanted.
        smarthost: its smarthost; None: the recipients' MX hosts.
    """

    index: int
    route: Route
    smarthost: NumberedSmarthost | None

    @property
    def mailer(self) -> str:
        """The mailer's name."""
        return f"route{self.index + 1}"

    @property
    def group(self) -> str:
        """The queue group's name, and that of its directory: it goes by what the route is for, not by its place."""
        text = f"{' '.join(sorted(self.route.domains))} < {' '.join(sorted(self.route.senders))}"
        return f"{GROUP}{hashlib.sha256(text.encode()).hexdigest()[:8]}"

    @property
    def said(self) -> str:
        """What people are told of it."""
        return f"delivery.routes[{self.index}] ({self.route.shape})"

    @property
    def waits(self) -> str:
        """Why its mail waits until the shaper releases it."""
        return refusals.waits(self.said, self.group)


def shaped(delivery: Delivery) -> list[RouteGroup]:
    """The routes with limits of their own."""
    known = {each.smarthost: each for each in smarthosts(delivery)}
    return [
        RouteGroup(i, route, known[route.smarthost] if route.smarthost else None)
        for i, route in enumerate(delivery.routes)
        if route.shaped
    ]


def splits(config: Config) -> bool:
    """Whether a message for several domains may become one for each recipient: where each domain has its own servers.

    Not beside routes with limits, whose mail has queue groups of its own, nor beside the user's own rules and features.
    """
    own = config.sendmail.features or config.sendmail.local_config.strip()
    return bool(config.listeners.smtp and not shaped(config.delivery) and not config.delivery.smarthost and not own)


def routes(delivery: Delivery) -> list[RouteRules]:
    """The routes of a configuration and, last, its default."""
    mailers = {shape.index: shape.mailer for shape in shaped(delivery)}
    numbers: dict[Smarthost | None, int] = {each.smarthost: each.number for each in smarthosts(delivery)}
    numbers[None] = 0
    result = []
    for i, route in enumerate(delivery.routes, 1):
        classes: dict[str, tuple[str, ...]] = {}
        to, by = _side(classes, "RouteTo", i, route.domains), _side(classes, "RouteBy", i, route.senders)
        target = mailers.get(i - 1, numbers[route.smarthost])
        result.append(RouteRules(i, classes, tuple(f"{a} $| {b}" for a in to for b in by), target))
    return [*result, RouteRules(0, {}, ("$* $| $*",), numbers[delivery.smarthost])]


def _side(classes: dict[str, tuple[str, ...]], name: str, mark: int, patterns: Sequence[str]) -> list[str]:
    exact = tuple(f"{pattern}/{mark}" for pattern in patterns if not pattern.startswith("."))
    below = tuple(f"{pattern[1:]}/{mark}" for pattern in patterns if pattern.startswith("."))
    sides = []
    for members, label, side in ((exact, name, "$={{{}}}"), (below, f"{name}Below", "$+ . $={{{}}}")):
        if members:
            classes[label] = members
            sides.append(side.format(label))
    return sides or ["$*"]


def waiting_reasons(delivery: Delivery) -> dict[str, str]:
    """Why mail that was never tried waits, by the name of its queue group."""
    return {shape.group: shape.waits for shape in shaped(delivery)}


def warnings(delivery: Delivery, today: date) -> tuple[str, ...]:
    """What may not be meant."""
    found = []
    for shape in shaped(delivery):
        if shape.route.warm_up and shape.route.warm_up.since > today:
            since, limit = shape.route.warm_up.since, delivery.queue.give_up_after
            late = f", and comes back after {format_duration(limit)} (delivery.queue.give_up_after)"
            text = f"delivery.routes[{shape.index}].warm_up begins on {since}: until then its mail waits"
            found.append(text + (late if since - today > limit else ""))
    return tuple(found)


def judges(delivery: Delivery) -> bool:
    """Whether rules of ours judge the receiver that a message goes to: they may put it off.

    sendmail 8.18.1 takes such a verdict for the last failure for good that its process has seen (``rscheck()`` reads
    ``ExitStat``, which ``setstat()`` does not lower), and bounces the message: so a process has one message only.
    """
    tls = delivery.tls
    return bool(smarthosts(delivery)) or tls.policy != "opportunistic" or bool(tls.domains) or tls.mta_sts


def policies(tls: OutboundTls) -> list[tuple[bool, str, str]]:
    """The policies of single domains as (names below it?, domain, policy), in the order in which they are tried."""
    order = sorted(tls.domains, key=lambda pattern: (pattern.startswith("."), -pattern.count("."), pattern))
    return [(pattern.startswith("."), pattern.removeprefix("."), tls.domains[pattern]) for pattern in order]


@dataclass(frozen=True)
class Secrets:
    """What a smarthost is told; secret.

    Attributes:
        password: empty: none.
        certificate: a client certificate with its chain and its key, PEM; empty: none.
        oauth: how access tokens are had; None: there are none.
    """

    password: str
    certificate: bytes
    oauth: uplink.OAuth | None


def credentials(config: Config) -> dict[Smarthost, Secrets]:
    """What the smarthosts are told; secret.

    Raises:
        InstallError: passwords, certificates or keys can't be read, or are none; a line each.
    """

    def entry(numbered: NumberedSmarthost) -> tuple[Smarthost, Secrets]:
        smarthost, key = numbered.smarthost, _key(config.delivery, numbered.smarthost)
        password, pem = "", b""
        if smarthost.password_file:
            password = named_files.password(f"At '{key}.password_file'", smarthost.password_file)
        if smarthost.certificate_file and smarthost.key_file:
            pem = certificate.for_client(key, smarthost.certificate_file, smarthost.key_file)
        tokens = oauth.read(f"{key}.oauth", smarthost.username or "", smarthost.oauth) if smarthost.oauth else None
        return smarthost, Secrets(password, pem, tokens)

    return dict(named_files.all_of(entry, smarthosts(config.delivery)))


def secret_files(delivery: Delivery) -> list[Path | None]:
    """The files that smarthosts name."""
    named = [each.smarthost for each in smarthosts(delivery)]
    found = [path for each in named for path in (each.password_file, each.certificate_file, each.key_file)]
    return [*found, *(path for each in named if each.oauth for path in oauth.files(each.oauth))]


def uplink_settings(config: Config, secrets: Mapping[Smarthost, Secrets]) -> uplink.Settings:
    """What the uplink is told; secret."""
    servers: dict[str, uplink.Server] = {}
    for numbered in smarthosts(config.delivery):
        smarthost, found = numbered.smarthost, secrets[numbered.smarthost]
        for host, server_id in zip(smarthost.servers, numbered.ids, strict=True):
            servers[server_id] = uplink.Server(
                id=server_id,
                key=_key(config.delivery, smarthost),
                host=host,
                port=smarthost.port,
                tls=smarthost.security,
                username=smarthost.username or "",
                password=found.password,
                certificate=certificate_name(smarthost) if found.certificate else "",
                oauth=found.oauth,
            )
    return uplink.Settings(
        hostname=config.hostname,
        authorities="ca.pem" if config.delivery.tls.ca_file else "",
        servers=tuple(servers.values()),
    )


def certificate_name(smarthost: Smarthost) -> str:
    """Where a generation has a smarthost's client certificate, below its folder."""
    named = f"{smarthost.certificate_file} {smarthost.key_file}"
    return f"uplink/{hashlib.sha256(named.encode()).hexdigest()[:16]}.pem"


def _key(delivery: Delivery, smarthost: Smarthost) -> str:
    """The key at which a smarthost stands first."""
    if delivery.smarthost == smarthost:
        return "delivery.smarthost"
    index = next(i for i, route in enumerate(delivery.routes) if route.smarthost == smarthost)
    return f"delivery.routes[{index}].smarthost"
