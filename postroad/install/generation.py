"""Rendered files put in force: built aside, checked by the programs that will read them, swapped in whole.

A generation is a folder ``/run/postroad/gen-N``; the link ``/run/postroad/current`` names the one in force. What fails
leaves the link as it was, and with it the system that runs.
"""

import hashlib
import json
import os
import re
import secrets
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from postroad import system
from postroad.config.model import Config
from postroad.config.names import host_and_port
from postroad.config.values import format_duration
from postroad.errors import CommandError, InstallError
from postroad.runtime import front, plan
from postroad.runtime.paths import (
    BRAKED,
    CURRENT,
    FRONT,
    LOG_SOCKET,
    MTA_STS,
    QUEUE,
    REDACTION_KEY,
    RUN,
    STATE,
    SUPPRESSED,
    door,
)
from postroad.secrets import certificate, users, webhooks
from postroad.secrets import keys as dkim
from postroad.sendmail import networks, outbound
from postroad.sendmail.files import files

SENDMAIL = "/usr/sbin/sendmail"
SHARED = f"{RUN} can be written by every user of this container: let nothing else run in it"
PRELOAD = "/usr/local/lib/postroad/preload.so"


@dataclass(frozen=True)
class Material:
    """What a configuration refers to: checked, and made where it is ours to make.

    Attributes:
        watched: the files that were read, with their status: a change to one calls for a new generation.
        keys: the DKIM keys.
        pems: their content by domain.
        pair: the certificate and its key.
        passwords: SASL's records.
        credentials: what the smarthosts are told, by their names in sendmail.
        authorities: certificates of authorities to trust besides the system's; may be empty.
    """

    watched: dict[str, str]
    keys: list[dkim.SigningKey]
    pems: dict[str, bytes]
    pair: certificate.Pair
    passwords: dict[bytes, bytes]
    credentials: dict[bytes, bytes]
    authorities: str


def install(config: Config) -> list[str]:
    """Put a configuration in force: after this, ``/run/postroad/current`` holds its files and its plan.

    Returns:
        What differs from the configuration that was in force before, a line for each key; empty at first start.

    Raises:
        InstallError: a volume can't be written, a key is unfit, or a program refuses what was rendered.
    """
    for folder, purpose in (
        (RUN, "a tmpfs for run-time files"),
        (Path("/tmp"), "a tmpfs for m4"),  # noqa: S108 - where m4 makes its own
        (STATE, "the volume for keys"),
        (QUEUE, "the mail queue"),
    ):
        if not os.access(folder, os.W_OK | os.X_OK):
            raise InstallError(f"{folder} ({purpose}) can't be written by uid {os.getuid()}: mount one that can")
    if config.suppresses and not SUPPRESSED.with_suffix(".db").exists():
        system.write_database(SUPPRESSED.with_suffix(".db"), {})
    if config.brakes and not BRAKED.exists():  # a session that finds none does not look again
        system.write(BRAKED, "")
    if config.log.redact == "hash" and not REDACTION_KEY.exists():
        system.write(REDACTION_KEY, secrets.token_bytes(32))
    for shape in outbound.shaped(config.delivery):
        system.folder(QUEUE / shape.group)
    material = _gather(config)
    number = max((_number(folder) for folder in RUN.glob("gen-*")), default=0) + 1
    generation = RUN / f"gen-{number}"
    try:
        _build(generation, config, material)
    except (CommandError, InstallError, OSError):
        system.remove(generation)
        raise
    changed = _changes(CURRENT / "config.json", generation / "config.json")
    system.point(CURRENT, generation)
    # the one before stays: daemons that have not reloaded yet read it
    for folder in RUN.glob("gen-*"):
        if _number(folder) < number - 1:
            system.remove(folder)
    return changed


def _changes(before: Path, after: Path) -> list[str]:
    if not before.exists():
        return []
    old, new = (dict(_flat(json.loads(path.read_text()))) for path in (before, after))
    return [f"{key}: {old.get(key)} -> {new.get(key)}" for key in sorted({*old, *new}) if old.get(key) != new.get(key)]


def _flat(value: object, at: str = "") -> Iterator[tuple[str, str]]:
    """A nested mapping as (dotted key, JSON of the value) pairs."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{at}.{key}" if at else key)
    else:
        yield at, json.dumps(value)


def _number(generation: Path) -> int:
    return int(re.sub(r"\D", "", generation.name) or 0)


def _gather(config: Config) -> Material:
    files: list[Path | None] = [user.password_file for user in config.clients.users]
    files += [config.tls.certificate_file, config.tls.key_file]
    files += [domain.dkim.key_file for domain in config.named_domains]
    files += [config.delivery.tls.ca_file, *(way.smarthost.password_file for way in outbound.ways(config.delivery))]
    files += [*webhooks.files(config), config.events.store_password_file]
    watched = {str(path): system.status(str(path)) for path in files if path}  # before they are read
    keys = dkim.wanted(config, STATE)
    return Material(
        watched=watched,
        keys=keys,
        pems=dkim.ensure(keys, config.dkim.key_bits),
        pair=certificate.ensure(config, STATE),
        passwords=users.database(config),
        credentials=outbound.credentials(config),
        authorities=outbound.authorities(config.delivery.tls.ca_file),
    )


def _build(generation: Path, config: Config, material: Material) -> None:
    around, keys = surroundings(), material.keys
    for file in files(config, keys, around, base=generation, shared=is_shared()):
        system.write(generation / file.path, file.text)
    for key in keys:
        system.write(generation / "dkim" / key.file, material.pems[key.domain])
    system.write(generation / "tls" / "certificate.pem", material.pair.certificate)
    system.write(generation / "tls" / "key.pem", material.pair.key)
    if material.passwords:
        system.write_database(generation / users.DATABASE, material.passwords)
    if material.credentials:
        system.write_database(generation / "authinfo.db", material.credentials)
    if material.authorities:
        # a copy: sendmail ignores a file that others could write, and the person's may be on any volume
        system.write(generation / "ca.pem", material.authorities)
    cf = generation / "sendmail.cf"
    env = _environment(config)
    try:
        system.write(cf, system.run(["m4", "sendmail.mc"], cwd=generation, env=env))
        for text in (generation / name for name in ("access", "rewrite")):
            if text.exists():
                system.run(["makemap", "-C", str(cf), "hash", str(text)], stdin=text.read_text(), env=env)
        # an address test reads the whole configuration: a bad line of sendmail.local_config shows here
        system.run([SENDMAIL, "-C", str(cf), "-bt"], stdin="/quit\n", env=env)
        if keys:
            system.run(["opendkim", "-n", "-x", str(generation / "opendkim.conf")], env=env)
    except CommandError as error:
        raise InstallError(f"the rendered configuration is refused: {error}") from error
    system.write(generation / "config.json", config.model_dump_json(indent=1))
    system.write(generation / "recorder.json", json.dumps(recorder(config)))
    system.write(generation / "shaping.json", json.dumps(shaping(config)))
    system.write(generation / "front.json", front.dumps(front_settings(config)))
    system.write(generation / "plan.json", plan.dumps(make_plan(config, material, around)))


def surroundings() -> networks.Surroundings:
    """The networks of this container; none under host networking, where the host's neighbours are strangers."""
    devices = list(Path("/sys/class/net").iterdir())
    if any((device / mark).exists() for device in devices for mark in ("device", "bridge")):
        return networks.Surroundings()
    mtu = {device.name: int((device / "mtu").read_text()) for device in devices if (device / "mtu").exists()}
    route, ipv6_route = Path("/proc/net/route"), Path("/proc/net/ipv6_route")
    return networks.surroundings(route.read_text(), ipv6_route.read_text() if ipv6_route.exists() else "", mtu)


def is_shared() -> bool:
    """Whether ``/run/postroad`` itself can be written by other users, as a volume that Kubernetes makes can."""
    return bool(RUN.stat().st_mode & 0o022)


def make_plan(config: Config, material: Material, around: networks.Surroundings) -> plan.Plan:
    """The daemons for a configuration."""
    env = _environment(config)
    processes = []
    if material.keys:
        processes.append(
            plan.Process(
                name="opendkim",
                argv=("/usr/sbin/opendkim", "-f", "-x", str(CURRENT / "opendkim.conf")),
                env=env,
                socket=str(RUN / "opendkim.sock"),
                ports=(),
                reload="SIGUSR1",
            )
        )
    if config.delivery.tls.mta_sts:
        processes.append(
            plan.Process(
                name="mta-sts",
                argv=(sys.executable, "-m", "postroad.mta_sts"),
                env=_python_environment() | _authorities(material),
                socket=str(MTA_STS),
                ports=(),
                reload="SIGCONT",  # nothing to read anew: other authorities are another environment
            )
        )
    processes.append(
        plan.Process(
            name="sendmail",
            # the whole path: sendmail starts itself anew by it on SIGHUP
            argv=(
                SENDMAIL,
                "-C",
                str(CURRENT / "sendmail.cf"),
                "-bD",
                f"-q{format_duration(config.delivery.queue.retry)}",
            ),
            env=sendmail_environment(config),
            socket="",
            ports=tuple(port for name, port in config.listeners if port and name != "smtp"),
            reload="SIGHUP",
            doors=tuple(map(str, map(door, front.DOORS))) if config.listeners.smtp else (),
        )
    )
    if config.listeners.smtp:
        processes.append(
            plan.Process(
                name="front",
                argv=(sys.executable, "-m", "postroad.front"),
                env=_python_environment(),
                socket="",
                ports=(config.listeners.smtp,),
                reload="SIGHUP",
                doors=(str(FRONT),),
                listens=("inet6" if around.has_ipv6 else "inet", config.listeners.smtp),
            )
        )
    # also where routes are no more: what waits in their directories is taken from there
    if outbound.shaped(config.delivery) or any(QUEUE.glob(f"{outbound.GROUP}*/")):
        processes.append(
            plan.Process(
                name="shaper",
                argv=(sys.executable, "-m", "postroad.shaper"),
                env=_python_environment(),
                socket="",
                ports=(),
                reload="SIGHUP",
                essential=False,  # other mail goes on
            )
        )
    if config.events.enabled:
        processes.append(
            plan.Process(
                name="recorder",
                argv=(sys.executable, "-m", "postroad.recorder"),
                env=_python_environment(),
                socket="",
                ports=(),
                reload="SIGHUP",
                essential=False,
            )
        )
    return plan.Plan(
        processes=tuple(processes),
        grace=config.delivery.shutdown_grace.total_seconds(),
        log_format=config.log.format,
        redact=config.log.redact,
        message_size=config.limits.message_size,
        journal=config.events.enabled,
        policy=policy(config, around),
        look_over=config.doctor.at_start,
        warnings=(
            *material.pair.warnings,
            *outbound.warnings(config.delivery, datetime.now(UTC).date()),
            *([SHARED] if is_shared() else []),
        ),
        watched=material.watched,
        due=material.pair.due.timestamp(),
    )


def _environment(config: Config) -> dict[str, str]:
    """All that a daemon gets to see of the environment: nothing of the container's own variables."""
    return {
        "PATH": "/usr/sbin:/usr/bin",
        "LD_PRELOAD": PRELOAD,
        "POSTROAD_FQDN": config.hostname,
        "POSTROAD_LOG_SOCKET": str(LOG_SOCKET),
    }


def sendmail_environment(config: Config) -> dict[str, str]:
    """The same for sendmail, which delivers: preload/attempts.c."""
    seconds = max(1, round(config.delivery.attempt_timeout.total_seconds()))
    return _environment(config) | {"POSTROAD_ATTEMPT_TIMEOUT": str(seconds)}


def _python_environment() -> dict[str, str]:
    return {"PATH": "/usr/bin", "PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONDONTWRITEBYTECODE": "1"}


def _authorities(material: Material) -> dict[str, str]:
    """``delivery.tls.ca_file`` as OpenSSL finds it by itself, besides the system's folder, and what tells a change."""
    if not material.authorities:
        return {}
    digest = hashlib.sha256(material.authorities.encode()).hexdigest()
    return {"SSL_CERT_FILE": str(CURRENT / "ca.pem"), "POSTROAD_AUTHORITIES": digest}


def front_settings(config: Config) -> front.Settings:
    """What the front needs to know."""
    return front.Settings(
        hostname=config.hostname,
        inet6=surroundings().has_ipv6,
        # a route with limits has a queue of its own, and a message for two routes is two messages
        early=not outbound.shaped(config.delivery),
        transparent=bool(config.sendmail.features or config.sendmail.local_config.strip()),
        connections_per_client=config.limits.connections_per_client,
        connections_per_minute=config.limits.connections_per_minute,
        users=bool(config.clients.users),
        sendmail=SENDMAIL,
        env=sendmail_environment(config),
    )


def shaping(config: Config) -> dict[str, object]:
    """What the shaper needs to know."""
    queue = config.delivery.queue
    return {
        "prefix": outbound.GROUP,
        "retry": queue.retry.total_seconds(),
        "tell": [limit.total_seconds() for limit in (queue.warn_after, queue.give_up_after) if limit],
        "by_domain": not config.rewrite.changes_addresses,
        "routes": [
            {
                "group": shape.group,
                "said": shape.said,
                "index": shape.index,
                "one_way": shape.way is not None or config.recipients.redirect_to is not None,
                "concurrency": shape.route.concurrency,
                "rate": shape.route.rate,
                "since": (shape.route.warm_up.since - date(1970, 1, 1)).days if shape.route.warm_up else 0,
                "daily": shape.route.warm_up.daily if shape.route.warm_up else (),
            }
            for shape in outbound.shaped(config.delivery)
        ],
    }


def recorder(config: Config) -> dict[str, object]:
    """What the recorder of events, and the commands that read them, need to know; secret.

    Raises:
        InstallError: a webhook's secret is unfit, or the password of the event store can't be read.
    """
    suppression, brake = config.suppression, config.events.brake
    url, file = config.events.store, config.events.store_password_file
    return {
        "store": {"url": url, "password": outbound.password("events.store", file) if file else None} if url else None,
        "keep": config.events.keep.total_seconds(),
        "max_size": config.events.max_size,
        "suppress": suppression.keep.total_seconds() if config.suppresses else None,
        "http": host_and_port(config.http.listen) if config.http.listen else None,
        "scope": suppression.scope,
        "soft": {"count": suppression.soft.count, "within": suppression.soft.within.total_seconds()},
        "never": [entry.lower() for entry in suppression.never],
        "hostname": config.hostname,
        "webhooks": webhooks.settings(config),
        "rates": {
            "brake": brake.bounce_rate,
            "warn": brake.warn_rate,
            "window": brake.window.total_seconds(),
            "minimum": brake.minimum,
        },
    }


def policy(config: Config, around: networks.Surroundings) -> str:
    """Who may send through this relay, and whether its mail keeps to MTA-STS, in one line."""
    trusted = [str(network) for network in networks.trusted(config.clients.networks, around)]
    gateways = [] if config.clients.trust_gateway else [str(router) for router in around.gateways]
    without = f" (not the gateways {', '.join(gateways)})" if gateways and trusted else ""
    overlays = ", ".join(map(str, around.overlays)) if "auto" in config.clients.networks else ""
    if overlays:
        without += f" (nor for the overlay {overlays}, which may be Swarm's ingress, unless clients.networks names it)"
    senders = ", ".join(domain.name + (" and subdomains" if domain.subdomains else "") for domain in config.domains)
    names = f" and for users {', '.join(user.name for user in config.clients.users)}" if config.clients.users else ""
    sts = "; keeping to recipients' MTA-STS policies" if config.delivery.tls.mta_sts else ""
    return f"relaying for {', '.join(['this container', *trusted])}{without}{names}; senders in {senders}{sts}"
