"""Where mail goes and how safe the way must be, in the form that the rules in sendmail.mc are made of."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from postroad.config.delivery import OutboundTls, Route, Smarthost, is_address
from postroad.config.model import Config, Delivery
from postroad.config.values import format_duration
from postroad.runtime import refusals
from postroad.secrets import files as named_files

GROUP = "route-"
"""How the names of the queue groups of shaped routes begin."""


@dataclass(frozen=True)
class Way:
    """A smarthost as sendmail knows it.

    Attributes:
        number: from 1. The mailer is ``smarthostN``, and the host of its recipients, sendmail's ``$h``, is
            ``[smarthost.N]``: the rules for TLS and AUTH go by it, since two may share a server.
        smarthost: what is wanted.
    """

    number: int
    smarthost: Smarthost

    @property
    def mailer(self) -> str:
        """The mailer's name."""
        return f"smarthost{self.number}"

    @property
    def servers(self) -> str:
        """The servers as sendmail takes them: tried in order, addresses looked up but no MX."""
        return ":".join(
            f"[IPv6:{server}]" if is_address(server) and ":" in server else f"[{server}]"
            for server in self.smarthost.servers
        )


def ways(delivery: Delivery) -> list[Way]:
    """The smarthosts of a configuration, each once."""
    named = [delivery.smarthost, *(route.smarthost for route in delivery.routes)]
    return [Way(i, smarthost) for i, smarthost in enumerate(dict.fromkeys(filter(None, named)), 1)]


@dataclass(frozen=True)
class RouteRules:
    """A route as rules.

    Attributes:
        classes: sendmail classes and what is in them.
        sides: left-hand sides that match ``recipient's host $| sender's host``.
        way: the smarthost's number; 0: the recipients' MX hosts; for a shaped route its mailer's name.
    """

    classes: dict[str, tuple[str, ...]]
    sides: tuple[str, ...]
    way: int | str


@dataclass(frozen=True)
class Shaped:
    """A route with limits of its own: a mailer, and a queue group whose mail only the shaper lets go.

    Attributes:
        index: its place in ``delivery.routes``.
        route: what is wanted.
        way: its smarthost; None: the recipients' MX hosts.
    """

    index: int
    route: Route
    way: Way | None

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


def shaped(delivery: Delivery) -> list[Shaped]:
    """The routes with limits of their own."""
    known = {way.smarthost: way for way in ways(delivery)}
    return [
        Shaped(i, route, known[route.smarthost] if route.smarthost else None)
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
    numbers: dict[Smarthost | None, int] = {way.smarthost: way.number for way in ways(delivery)}
    numbers[None] = 0
    result = []
    for i, route in enumerate(delivery.routes, 1):
        classes: dict[str, tuple[str, ...]] = {}
        to, by = _side(classes, f"Route{i}To", route.domains), _side(classes, f"Route{i}By", route.senders)
        way = mailers.get(i - 1, numbers[route.smarthost])
        result.append(RouteRules(classes, tuple(f"{a} $| {b}" for a in to for b in by), way))
    return [*result, RouteRules({}, ("$* $| $*",), numbers[delivery.smarthost])]


def _side(classes: dict[str, tuple[str, ...]], name: str, patterns: Sequence[str]) -> list[str]:
    exact = tuple(pattern for pattern in patterns if not pattern.startswith("."))
    below = tuple(pattern[1:] for pattern in patterns if pattern.startswith("."))
    sides = []
    for members, label, side in ((exact, name, "$={{{}}}"), (below, f"{name}Below", "$+ . $={{{}}}")):
        if members:
            classes[label] = members
            sides.append(side.format(label))
    return sides or ["$*"]


def turns(delivery: Delivery) -> dict[str, str]:
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
    return bool(ways(delivery)) or tls.policy != "opportunistic" or bool(tls.domains) or tls.mta_sts


def policies(tls: OutboundTls) -> list[tuple[bool, str, str]]:
    """The policies of single domains as (names below it?, domain, policy), in the order in which they are tried."""
    order = sorted(tls.domains, key=lambda pattern: (pattern.startswith("."), -pattern.count("."), pattern))
    return [(pattern.startswith("."), pattern.removeprefix("."), tls.domains[pattern]) for pattern in order]


def credentials(config: Config) -> dict[bytes, bytes]:
    """What sendmail's ``authinfo`` gets for each smarthost that wants AUTH, by its ``$h``; secret.

    Raises:
        InstallError: passwords can't be read, or are empty; a line each.
    """

    def entry(way: Way) -> tuple[bytes, bytes] | None:
        user, path = way.smarthost.username, way.smarthost.password_file
        if user is None or path is None:
            return None
        secret = named_files.password(f"At '{_key(config.delivery, way.smarthost)}.password_file'", path)
        words = [_word("U", user), _word("I", user), _word("P", secret)]
        return f"[smarthost.{way.number}]".encode(), " ".join([*words, '"M:CRAM-MD5 PLAIN LOGIN"']).encode()

    return dict(filter(None, named_files.all_of(entry, ways(config.delivery))))


def _key(delivery: Delivery, smarthost: Smarthost) -> str:
    """The key at which a smarthost stands first."""
    if delivery.smarthost == smarthost:
        return "delivery.smarthost"
    index = next(i for i, route in enumerate(delivery.routes) if route.smarthost == smarthost)
    return f"delivery.routes[{index}].smarthost"


def _word(key: str, value: str) -> str:
    # base64 (=, not :): no character of it means anything to sendmail
    return f'"{key}={base64.b64encode(value.encode()).decode()}"'
