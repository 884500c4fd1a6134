"""The plan: the daemons for a configuration, in the order in which they start."""

import sys
import time
from datetime import timedelta
from typing import Any

from postroad.config.load import Loaded
from postroad.config.model import Config
from postroad.config.names import host_and_port
from postroad.config.values import format_duration, parse_duration
from postroad.install import environment, summary
from postroad.install.material import Material
from postroad.runtime import front, plan
from postroad.runtime.paths import CURRENT, FRONT, MTA_STS, QUEUE, SENDMAIL, SIGNER, STATE, UPLINK, inner_door
from postroad.secrets import rotation
from postroad.sendmail import networks, outbound, queue


def make_plan(loaded: Loaded, material: Material, around: networks.Surroundings, fingerprint: str) -> plan.Plan:
    """The daemons for a configuration, and ``Tables.fingerprint`` of the networks that it was made for."""
    config = loaded.config
    return plan.Plan(
        processes=_processes(config, material, around),
        grace=config.delivery.shutdown_grace.total_seconds(),
        log_format=config.log.format,
        redact=config.log.redact,
        message_size=config.limits.message_size,
        redirect_to=config.recipients.redirect_to or "",
        journal=config.events.enabled,
        policy=summary.policy(config, around),
        sources=summary.sources(loaded),
        run_doctor=config.doctor.at_start,
        look_every=config.doctor.every.total_seconds() if config.doctor.every else 0.0,
        warnings=tuple(summary.warnings(loaded, material, around)),
        watched=material.watched,
        due=material.pair.due.timestamp(),
        networks=fingerprint,
        retry=max(config.delivery.queue.retry, _least_age(config)).total_seconds(),
        keys_due=rotation.due(config, STATE, time.time()),
        adaptive=config.delivery.adaptive,
    )


def _least_age(config: Config) -> timedelta:
    """``MinQueueAge``, where the configuration sets it in words of ours: a message that is younger is not tried."""
    try:
        return parse_duration(config.sendmail.defines.get("confMIN_QUEUE_AGE", "0s"))
    except ValueError:
        return timedelta(0)


def _processes(config: Config, material: Material, around: networks.Surroundings) -> tuple[plan.Process, ...]:
    found = [_ours("signer", "postroad.signer", socket=str(SIGNER))]
    if config.delivery.tls.mta_sts:
        found.append(_mta_sts(material))
    if outbound.smarthosts(config.delivery):
        found.append(_ours("uplink", "postroad.uplink", socket=str(UPLINK)))
    found.append(_sendmail(config))
    if config.listeners.smtp:
        found.append(_front(config.listeners.smtp, around))
    if config.peers.port:
        found.append(_peers(config.peers.port, around))
    # also where routes are no more: what waits in their directories is taken from there
    if outbound.shaped(config.delivery) or any(QUEUE.glob(f"{queue.GROUP}*/")):
        found.append(_ours("shaper", "postroad.shaper", essential=False))  # other mail goes on
    if config.returns.domain:
        found.append(_returns(config, around))
    if config.events.enabled:
        found.append(_ours("recorder", "postroad.recorder", essential=False))
    if config.web:
        _, port = host_and_port(config.web.listen)
        env = environment.of_python() | environment.GIVES_BACK
        found.append(_ours("web", "postroad.web", env=env, ports=(port,), essential=False))
    return tuple(found)


def _ours(name: plan.Daemon, module: str, **fields: Any) -> plan.Process:
    """A Python process of ours; ready once started unless ``socket``, ``ports`` or ``unix_listeners`` are given."""
    usual: dict[str, Any] = {"env": environment.of_python(), "socket": "", "ports": (), "reload": "SIGHUP"}
    return plan.Process(name=name, argv=(sys.executable, "-m", module), **usual | fields)


def _mta_sts(material: Material) -> plan.Process:
    return _ours(
        "mta-sts",
        "postroad.mta_sts",
        env=environment.of_python() | environment.of_authorities(material),
        socket=str(MTA_STS),
        reload="SIGCONT",  # nothing to read anew: other authorities are another environment
    )


def _sendmail(config: Config) -> plan.Process:
    if config.listeners.smtp:
        options: list[str] = []  # the front sees to what waits: sendmail's own runs stick at each receiver that is slow
    else:
        options = [f"-q{format_duration(config.delivery.queue.retry)}"]
    return plan.Process(
        name="sendmail",
        # the whole path: sendmail starts itself anew by it on SIGHUP
        argv=(SENDMAIL, "-C", str(CURRENT / "sendmail.cf"), "-bD", *options),
        env=environment.of_sendmail(config),
        socket="",
        ports=tuple(port for name, port in config.listeners if port and name != "smtp"),
        reload="SIGHUP",
        unix_listeners=tuple(map(str, map(inner_door, front.INNER_DOORS))) if config.listeners.smtp else (),
    )


def _peers(port: int, around: networks.Surroundings) -> plan.Process:
    return _ours(
        "peers",
        "postroad.evacuation",
        essential=False,  # all mail of our own goes on
        ports=(port,),
        listens=("inet6" if around.has_ipv6 else "inet", port),
    )


def _returns(config: Config, around: networks.Surroundings) -> plan.Process:
    port, link = config.returns.listen, config.returns.unsubscribe
    return _ours(
        "returns",
        "postroad.returns",
        # another port to listen on is another environment: the process is started anew
        env=environment.of_python() | ({"POSTROAD_LINKS": link.listen} if link.domains else {}),
        ports=(port, host_and_port(link.listen)[1]) if link.domains else (port,),
        listens=("inet6" if around.has_ipv6 else "inet", port),
        essential=False,  # mail goes out without it; what comes back is tried again by whoever brings it
    )


def _front(port: int, around: networks.Surroundings) -> plan.Process:
    return _ours(
        "front",
        "postroad.front",
        ports=(port,),
        unix_listeners=(str(FRONT),),
        listens=("inet6" if around.has_ipv6 else "inet", port),
    )
