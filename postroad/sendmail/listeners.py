"""The listeners as sendmail's options."""

import errno
import socket

from postroad.config.model import Config
from postroad.config.names import host_and_port
from postroad.runtime.front import AGAIN, BACKGROUND, NOW, QUEUE, SPLIT
from postroad.sendmail import m4, networks


def daemon_options(config: Config, around: networks.Surroundings) -> list[str]:
    """Values of ``DaemonPortOptions`` for all listeners; for ``smtp`` those that the front knocks at."""
    listeners = config.listeners
    ports = (
        ("submission", listeners.submission, "a"),
        ("submissions", listeners.submissions, "as"),
    )
    inner = _inner(config, around) if listeners.smtp else []
    return [*inner, *(_options(name, port, flags, around) for name, port, flags in ports if port)]


def _inner(config: Config, around: networks.Surroundings) -> list[str]:
    """The inner doors behind ``listeners.smtp``, which the front alone connects to (preload/doors.c).

    All have the one name: for rules and events it is the listener that the client connected to.
    """
    queued = dict.fromkeys((QUEUE, AGAIN, SPLIT), ", DeliveryMode=queueonly")
    modes = {NOW: ", DeliveryMode=interactive", BACKGROUND: "", **queued}
    address = "IPv6:::ffff:240.0.0.1" if around.has_ipv6 else "240.0.0.1"
    return [
        _options("smtp", number, _open_to_networks(config), around) + f", Addr={address}{mode}"
        for number, mode in modes.items()
    ]


def unopenable(config: Config) -> list[str]:
    """The ports that this user may not open, a problem each with what to set.

    Docker lets every user of a container open all ports; Podman, and containerd in some versions under Kubernetes,
    leave those below 1024 to root. The kernel is asked by opening them: capabilities and the sysctl may allow it.
    """
    wanted = {f"listeners.{name}": ("", port) for name, port in config.listeners if port}
    if config.peers.port:
        wanted["peers.port"] = ("", config.peers.port)
    if config.http.listen:
        wanted["http.listen"] = host_and_port(config.http.listen)
    if config.web:
        wanted["web.listen"] = host_and_port(config.web.listen)
    if config.returns.domain:
        wanted["returns.listen"] = ("", config.returns.listen)
    if config.returns.unsubscribe.domains:
        wanted["returns.unsubscribe.listen"] = host_and_port(config.returns.unsubscribe.listen)
    forbidden = {key: port for key, (host, port) in wanted.items() if _is_forbidden(host, port)}
    return [
        f"{key}: port {port} can't be opened by this user: set the sysctl"
        f" net.ipv4.ip_unprivileged_port_start={min(forbidden.values())} for the container (podman run --sysctl,"
        f" securityContext.sysctls in Kubernetes), or {key} to a port from 1024 on and publish that"
        for key, port in forbidden.items()
    ]


def _is_forbidden(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((host, port))
    except OSError as error:  # a port that is in use is our own, at a reload
        return error.errno in {errno.EACCES, errno.EPERM}
    return False


def no_auth(config: Config) -> str:
    """The answer to AUTH in clear text: one line of SMTP, for the preload's ``write()``."""
    if not config.clients.users:
        return "503 5.3.3 AUTH not available: clients.users names nobody"
    first = "530 5.7.0 STARTTLS first: AUTH is taken over TLS only"
    if config.tls.on_smtp:
        return first
    ports = {"STARTTLS": config.listeners.submission, "TLS from the start": config.listeners.submissions}
    where = " or ".join(f"port {port} ({how})" for how, port in ports.items() if port)
    also = f", and {config.listeners.smtp} offers none (tls.smtp_starttls)" if config.listeners.smtp else ""
    return f"{first}{f', on {where}' if where else ''}{also}"


def _open_to_networks(config: Config) -> str:
    # A: no AUTH, which nobody could use
    return "" if config.clients.users and config.tls.on_smtp else "A"


def _options(name: str, port: int, flags: str, around: networks.Surroundings) -> str:
    family = "inet6" if around.has_ipv6 else "inet"
    return f"Name={m4.word(name)}, Family={family}, Port={m4.word(port)}, Listen=1024, M=E{flags}"
