"""Where mail goes, and how safe the connection must be: for the rules in sendmail.mc, and for the uplink."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from urllib.parse import quote

from postroad.config.delivery import OutboundTls, Route, Smarthost, SmarthostServer
from postroad.config.model import Config, Delivery
from postroad.config.networks import IPAddress
from postroad.config.values import format_duration
from postroad.events.relays import inner_name
from postroad.runtime import refusals, uplink
from postroad.secrets import certificate, oauth
from postroad.secrets import files as named_files
from postroad.sendmail.queue import GROUP


@dataclass(frozen=True)
class NumberedSmarthost:
    """A smarthost as sendmail's rules know it.

    Attributes:
        number: from 1.
        smarthost: what is wanted.
        ids: those of its servers, in the order in which they are tried.
        bind: the addresses that connections come from; empty: the system chooses.
    """

    number: int
    smarthost: Smarthost
    ids: tuple[str, ...]
    bind: tuple[IPAddress, ...] = ()

    @property
    def destination(self) -> str:
        """Its servers as sendmail's ``$h``: names of ours, tried in order."""
        names = zip(self.smarthost.servers, self.ids, strict=True)
        return ":".join(inner_name(server.host, server_id) for server, server_id in names)


def smarthosts(delivery: Delivery) -> list[NumberedSmarthost]:
    """The smarthosts of a configuration, each once for the addresses that it is reached from."""
    taken: dict[str, str] = {}
    return [
        NumberedSmarthost(i, smarthost, tuple(_id(server, bind, delivery, taken) for server in smarthost.servers), bind)
        for i, (smarthost, bind) in enumerate(_distinct(delivery), 1)
    ]


def _distinct(delivery: Delivery) -> list[tuple[Smarthost, tuple[IPAddress, ...]]]:
    """The smarthosts, each with the addresses that it is reached from: those with the same servers are one."""
    named = [(delivery.smarthost, delivery.bind)]
    named += [(route.smarthost, route.bind or delivery.bind) for route in delivery.routes]
    found: dict[object, tuple[Smarthost, tuple[IPAddress, ...]]] = {}
    for smarthost, bind in named:
        if smarthost:
            found.setdefault((smarthost.servers, bind), (smarthost, bind))
    return list(found.values())


def _id(server: SmarthostServer, bind: tuple[IPAddress, ...], delivery: Delivery, taken: dict[str, str]) -> str:
    """Six hexadecimal digits for a server: another one wherever it is reached with other settings."""
    reached = [*map(str, bind), *([delivery.prefer] if delivery.prefer != "auto" else [])]
    reached += [delivery.proxy.model_dump_json()] if delivery.proxy else []
    text = " ".join([server.host, server.model_dump_json(exclude={"host"}), *reached])
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
        target: the smarthost's number; 0: the recipients' MX hosts; for a route with limits or an address of its own
            its mailer's name.
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
    known = {(each.smarthost.servers, each.bind): each for each in smarthosts(delivery)}
    return [
        RouteGroup(i, route, known[route.smarthost.servers, route.bind or delivery.bind] if route.smarthost else None)
        for i, route in enumerate(delivery.routes)
        if route.shaped
    ]


@dataclass(frozen=True)
class Bound:
    """A route to MX hosts from an address of its own.

    sendmail binds a connection to ``{if_addr}`` of the message where ``{daemon_flags}`` has ``b``
    (``makeconnection()`` in daemon.c); rules set both when a delivery begins. An IPv6 address there
    would be tried again without end.

    Attributes:
        mailer: the mailer's name.
        address: the IPv4 address.
        shaped: whether the mailer is a shaped route's.
    """

    mailer: str
    address: str
    shaped: bool


def bound(delivery: Delivery) -> list[Bound]:
    """The routes to MX hosts with an address of their own."""
    return [
        Bound(f"route{i}", str(route.bind[0]), route.shaped)
        for i, route in enumerate(delivery.routes, 1)
        if route.binds_mx
    ]


def mx_by_ipv4_alone(delivery: Delivery, *, reaches_ipv6: bool) -> bool:
    """Whether no IPv6 address of MX hosts is asked for: there is no way to one, or mail leaves from an IPv4 one."""
    if delivery.bind:
        return all(address.version == 4 for address in delivery.bind)
    return not reaches_ipv6 and delivery.prefer != "ipv6"


def splits(config: Config) -> bool:
    """Whether a message for several domains may become one for each recipient: where each domain has its own servers.

    Not beside routes with limits, whose mail has queue groups of its own, nor beside the user's own rules and features.
    """
    own = config.sendmail.features or config.sendmail.local_config.strip()
    return bool(config.listeners.smtp and not shaped(config.delivery) and not config.delivery.smarthost and not own)


def routes(delivery: Delivery) -> list[RouteRules]:
    """The routes of a configuration and, last, its default."""
    mailers = {f"route{i}" for i, route in enumerate(delivery.routes, 1) if route.shaped or route.binds_mx}
    numbers = {(each.smarthost.servers, each.bind): each.number for each in smarthosts(delivery)}
    result = []
    for i, route in enumerate(delivery.routes, 1):
        classes: dict[str, tuple[str, ...]] = {}
        to, by = _side(classes, "RouteTo", i, route.domains), _side(classes, "RouteBy", i, route.senders)
        number = numbers[route.smarthost.servers, route.bind or delivery.bind] if route.smarthost else 0
        target = f"route{i}" if f"route{i}" in mailers else number
        result.append(RouteRules(i, classes, tuple(f"{a} $| {b}" for a in to for b in by), target))
    last = numbers[delivery.smarthost.servers, delivery.bind] if delivery.smarthost else 0
    return [*result, RouteRules(0, {}, ("$* $| $*",), last)]


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


def warnings(delivery: Delivery, today: date, own: Sequence[IPAddress] = ()) -> tuple[str, ...]:
    """What may not be meant; ``own`` are this host's addresses, empty where they are not known."""
    named = [("delivery.bind", delivery.bind)]
    named += [(f"delivery.routes[{i}].bind", route.bind) for i, route in enumerate(delivery.routes)]
    found = [
        f"{key}: {address} is no address of this container: mail waits until it is one"
        for key, addresses in named
        for address in addresses
        if own and address not in own
    ]
    for shape in shaped(delivery):
        if shape.route.warm_up and shape.route.warm_up.since > today:
            since, limit = shape.route.warm_up.since, delivery.queue.give_up_after
            late = f", and comes back after {format_duration(limit)} (delivery.queue.give_up_after)"
            text = f"delivery.routes[{shape.index}].warm_up begins on {since}: until then its mail waits"
            found.append(text + (late if since - today > limit else ""))
    return tuple(found)


def keeps_connections(tls: OutboundTls) -> bool:
    """Whether sendmail may use a connection for a second domain's mail.

    What it knows of a connection stays with it: ``{verify}`` is ``TRUSTED`` where DANE has vouched for the MX host of
    the domain that it was opened for, signed MX records included. A policy that wants that of each domain would take it
    for another one's, whose records are not signed, and may be forged.
    """
    return not (tls.dane and (tls.mta_sts or "dane-only" in {tls.policy, *tls.domains.values()}))


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
        proxy: the URL of the proxy, with its credentials; empty: none.
    """

    password: str
    certificate: bytes
    oauth: uplink.OAuth | None
    proxy: str = ""


def credentials(config: Config) -> dict[SmarthostServer, Secrets]:
    """What the servers of smarthosts are told; secret.

    Raises:
        InstallError: passwords, certificates or keys can't be read, or are none; a line each.
    """

    def entry(named: tuple[SmarthostServer, str]) -> tuple[SmarthostServer, Secrets]:
        server, key = named
        password, pem = "", b""
        if server.password_file:
            password = named_files.password(f"At '{key}.password_file'", server.password_file)
        if server.certificate_file and server.key_file:
            pem = certificate.for_client(key, server.certificate_file, server.key_file)
        tokens = oauth.read(f"{key}.oauth", server.username or "", server.oauth) if server.oauth else None
        return server, Secrets(password, pem, tokens, _proxy_url(config.delivery))

    return dict(named_files.all_of(entry, _servers(config.delivery).items()))


def _proxy_url(delivery: Delivery) -> str:
    """The proxy's URL with its credentials; empty: there is none.

    Raises:
        InstallError: the password can't be read, or is none.
    """
    proxy = delivery.proxy
    if proxy is None or proxy.password_file is None:
        return proxy.url if proxy else ""
    password = named_files.password("At 'delivery.proxy.password_file'", proxy.password_file)
    scheme, _, rest = proxy.url.partition("://")
    return f"{scheme}://{quote(proxy.username or '', safe='')}:{quote(password, safe='')}@{rest}"


def _servers(delivery: Delivery) -> dict[SmarthostServer, str]:
    """The servers of all smarthosts, each with the key at which it stands first."""
    found: dict[SmarthostServer, str] = {}
    for each in smarthosts(delivery):
        key = _key(delivery, each.smarthost)
        for place, server in enumerate(each.smarthost.servers):
            found.setdefault(server, f"{key}.fallback" if place and each.smarthost.has_own_fallback else key)
    return found


def secret_files(delivery: Delivery) -> list[Path | None]:
    """The files that smarthosts name."""
    named = _servers(delivery)
    found = [path for each in named for path in (each.password_file, each.certificate_file, each.key_file)]
    found += [delivery.proxy.password_file] if delivery.proxy and named else []
    return [*found, *(path for each in named if each.oauth for path in oauth.files(each.oauth))]


def uplink_settings(config: Config, secrets: Mapping[SmarthostServer, Secrets]) -> uplink.Settings:
    """What the uplink is told; secret."""
    keys = _servers(config.delivery)
    servers: dict[str, uplink.Server] = {}
    for numbered in smarthosts(config.delivery):
        for wanted, server_id in zip(numbered.smarthost.servers, numbered.ids, strict=True):
            found = secrets[wanted]
            servers[server_id] = uplink.Server(
                id=server_id,
                key=keys[wanted],
                host=wanted.host,
                port=wanted.port,
                tls=wanted.security,
                username=wanted.username or "",
                password=found.password,
                certificate=certificate_name(wanted) if found.certificate else "",
                oauth=found.oauth,
                bind=tuple(map(str, numbered.bind)),
                prefer=config.delivery.prefer,
                proxy=found.proxy,
            )
    return uplink.Settings(
        hostname=config.hostname,
        authorities="ca.pem" if config.delivery.tls.ca_file else "",
        servers=tuple(servers.values()),
    )


def certificate_name(server: SmarthostServer) -> str:
    """Where a generation has a client certificate, below its folder."""
    named = f"{server.certificate_file} {server.key_file}"
    return f"uplink/{hashlib.sha256(named.encode()).hexdigest()[:16]}.pem"


def _key(delivery: Delivery, smarthost: Smarthost) -> str:
    """The key at which a smarthost stands first."""
    named = {"delivery.smarthost": delivery.smarthost}
    named |= {f"delivery.routes[{i}].smarthost": route.smarthost for i, route in enumerate(delivery.routes)}
    return next(key for key, found in named.items() if found and found.servers == smarthost.servers)
