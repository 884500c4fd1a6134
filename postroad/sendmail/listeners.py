"""The doors as sendmail's options: those of the daemon, and that of a second one for ``listeners.bulk``."""

import errno
import socket

from postroad.config.model import Config
from postroad.config.names import host_and_port
from postroad.runtime.paths import RUN
from postroad.sendmail import m4, networks

IN_HAND = (
    # a message is answered when its receiver has it, or else the disk: the queue's files are written only in the second
    # case, and not synced in the first. Never without interactive delivery: a message that waits for its turn, answered
    # already, would be in memory alone.
    "DeliveryMode=interactive",
    "SuperSafe=interactive",
    # a message up to this size needs no file before it has to wait
    f"DataFileBufferSize={2**20}",
    # the app waits meanwhile: a server that is not there, or greets nobody, leaves the message in the queue, where it
    # is tried again with the usual patience. Nothing is cut short once it is under way: it would arrive twice.
    "Timeout.iconnect=5s",
    "Timeout.aconnect=10s",
    "Timeout.initial=10s",
    "Timeout.helo=10s",
    # connections that are kept open from message to message
    "ConnectionCacheSize=10",
    # the first daemon has the others
    f"PidFile={RUN}/sendmail-bulk.pid",
    "ControlSocketName=",
)
"""How ``listeners.bulk`` differs from the other doors, in words for sendmail's ``-O``."""


def doors(config: Config, around: networks.Surroundings) -> list[str]:
    """Values of ``DaemonPortOptions`` for all listeners but ``bulk``."""
    listeners = config.listeners
    ports = (
        ("smtp", listeners.smtp, _open_to_networks(config)),
        ("submission", listeners.submission, "a"),
        ("submissions", listeners.submissions, "as"),
    )
    return [_door(name, port, flags, around) for name, port, flags in ports if port]


def bulk(config: Config, around: networks.Surroundings) -> tuple[str, ...]:
    """The options of a daemon that has the configuration of the first, and so its rules, and listens on ``bulk``."""
    if not config.listeners.bulk:
        return ()
    door = _door("bulk", config.listeners.bulk, _open_to_networks(config), around)
    in_hand: tuple[str, ...] = IN_HAND
    if any(route.shaped for route in config.delivery.routes):
        # sendmail does not sync what it queues without a try
        in_hand = tuple(option.replace("SuperSafe=interactive", "SuperSafe=True") for option in IN_HAND)
    # what the command line says of an option is all that counts: no other door is opened
    return tuple(word for option in (f"DaemonPortOptions={door}", *in_hand) for word in ("-O", option))


def unopenable(config: Config) -> list[str]:
    """The ports that this user may not open, a problem each with what to set.

    Docker lets every user of a container open all ports; Podman, and containerd in some versions under Kubernetes,
    leave those below 1024 to root. The kernel is asked by opening them: capabilities and the sysctl may allow it.
    """
    wanted = {f"listeners.{name}": ("", port) for name, port in config.listeners if port}
    if config.http.listen:
        wanted["http.listen"] = host_and_port(config.http.listen)
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


def _door(name: str, port: int, flags: str, around: networks.Surroundings) -> str:
    family = "inet6" if around.has_ipv6 else "inet"
    return f"Name={m4.word(name)}, Family={family}, Port={m4.word(port)}, Listen=1024, M=E{flags}"
