"""MX hosts that fail in the middle, a network that drops packets, a DNS that does not answer."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial

from tests.faults.bench import TOOLS, docker
from tests.faults.model import Fault, Trial

IMPATIENT = {
    f"confTO_{name}": "5s" for name in ("INITIAL", "HELO", "MAIL", "RCPT", "DATAINIT", "DATABLOCK", "DATAFINAL")
}
"""sendmail waits for minutes, RFC 5321's section 4.5.3.2 says; a test does not."""


def misbehave(kind: str, share: float, trial: Trial) -> None:
    """Let the MX do this to a share of the transactions, until it has done it often enough."""
    trial.bench.sink.fail(share, kind)
    deadline = time.monotonic() + 150
    while trial.row.injected < trial.times:
        trial.pause(0.3, 0.6)
        trial.row.injected = sum(entry.get("fault") == kind for entry in trial.bench.sink.log())
        trial.tell(f"{trial.row.injected} of {trial.times}, {trial.load.accepted} accepted")
        if time.monotonic() > deadline:
            raise TimeoutError(f"{kind}: {trial.row.injected} of {trial.times} within 150 s")
    trial.bench.sink.behave()


def kill_mx(trial: Trial) -> None:
    for _ in trial.rounds():
        docker("kill", trial.bench.sink.name)
        trial.pause(0, 2)
        docker("start", trial.bench.sink.name)


def drop_packets(trial: Trial) -> None:
    """Of a phase's packets, a third does not come through: either way, at random."""
    lose = ["-p", "tcp", "-m", "statistic", "--mode", "random", "--probability", "0.33", "-j", "DROP"]
    for _ in trial.rounds():
        for chain, port in (("INPUT", "--dport"), ("OUTPUT", "--sport")):
            trial.bench.sink.iptables("-A", chain, *lose[:2], port, "25", *lose[2:])
        trial.pause(2, 4)
        for chain in ("INPUT", "OUTPUT"):
            trial.bench.sink.iptables("-F", chain)


@contextmanager
def gone(trial: Trial) -> Iterator[None]:
    trial.bench.internet.dns.stop()
    yield
    trial.bench.internet.dns.start()


@contextmanager
def frozen(trial: Trial) -> Iterator[None]:
    trial.bench.internet.dns.pause()
    yield
    trial.bench.internet.dns.unpause()


@contextmanager
def servfail(trial: Trial) -> Iterator[None]:
    """Whatever is asked."""
    dns = trial.bench.internet.dns.name
    name = f"{dns}-servfail"
    docker(
        "run",
        "--detach",
        "--init",
        f"--name={name}",
        f"--network=container:{dns}",
        "--cap-add=NET_ADMIN",
        TOOLS,
        "servfail",
    )
    yield
    docker("stop", name)
    docker("rm", name)


def without_dns(how: Callable[[Trial], AbstractContextManager[None]], least: float, trial: Trial) -> None:
    """Have the DNS fail for a while in each round."""
    for _ in trial.rounds():
        with how(trial):
            trial.pause(least, least + 2)


def _mx(kind: str, title: str, times: tuple[int, int], share: float = 0.3, **more: object) -> Fault:
    return Fault(f"mx-{kind}", title, partial(misbehave, kind, share), times, **more)  # type: ignore[arg-type]


FAULTS = [
    _mx("mid-data", "The MX dies in the middle of DATA", (100, 5)),
    _mx("after-dot", "The MX dies after the final dot, before its answer", (100, 5)),
    _mx(
        "hang",
        "The MX hangs, at any command or after the final dot",
        (50, 3),
        config={"sendmail": {"defines": IMPATIENT}},
    ),
    _mx(
        "421",
        "The MX answers 421 at any command or after the final dot",
        (100, 5),
        config={"delivery": {"adaptive": False}},  # at 421 it sends less and less: 27 in 150 s
    ),
    _mx("tls", "STARTTLS refused, cut or garbled half-way", (100, 5)),
    Fault("mx-kill", "`docker kill` of the MX, and start", kill_mx, (20, 2)),
    Fault(
        "packets", "A third of the packets to and from the MX lost for some seconds", drop_packets, (5, 1), settle=90
    ),
    Fault("dns-gone", "DNS server stopped for some seconds", partial(without_dns, gone, 3), (5, 1), settle=90),
    Fault(
        "dns-slow",
        "DNS server frozen for some seconds: answers come late",
        partial(without_dns, frozen, 2),
        (8, 1),
        settle=90,
    ),
    Fault(
        "dns-servfail",
        "DNS server answers SERVFAIL for some seconds",
        partial(without_dns, servfail, 2),
        (8, 1),
        settle=90,
    ),
]
