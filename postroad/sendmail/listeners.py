"""The doors as sendmail's options."""

from postroad.config.model import Config
from postroad.runtime.front import BACKGROUND, NOW, QUEUE
from postroad.sendmail import m4, networks


def doors(config: Config, around: networks.Surroundings) -> list[str]:
    """Values of ``DaemonPortOptions`` for all listeners; for ``smtp`` those that the front knocks at."""
    listeners = config.listeners
    ports = (
        ("submission", listeners.submission, "a"),
        ("submissions", listeners.submissions, "as"),
    )
    inner = _inner(config, around) if listeners.smtp else []
    return [*inner, *(_door(name, port, flags, around) for name, port, flags in ports if port)]


def _inner(config: Config, around: networks.Surroundings) -> list[str]:
    """The doors behind ``listeners.smtp``, at which the front alone knocks (preload/doors.c).

    All have the one name: rules and events know the door that the client came in by.
    """
    ways = {NOW: ", DeliveryMode=interactive", BACKGROUND: "", QUEUE: ", DeliveryMode=queueonly"}
    address = "IPv6:::ffff:240.0.0.1" if around.has_ipv6 else "240.0.0.1"
    return [
        _door("smtp", number, _open_to_networks(config), around) + f", Addr={address}{mode}"
        for number, mode in ways.items()
    ]


def _open_to_networks(config: Config) -> str:
    # A: no AUTH, which nobody could use
    return "" if config.clients.users else "A"


def _door(name: str, port: int, flags: str, around: networks.Surroundings) -> str:
    family = "inet6" if around.has_ipv6 else "inet"
    return f"Name={m4.word(name)}, Family={family}, Port={m4.word(port)}, Listen=1024, M=E{flags}"
