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
from datetime import UTC, date, datetime
from pathlib import Path

from postroad import system
from postroad.config.load import Loaded
from postroad.config.model import Config
from postroad.config.names import host_and_port
from postroad.config.values import format_duration
from postroad.errors import CommandError, InstallError
from postroad.install import changes, neighbours
from postroad.install.material import Material, gather
from postroad.runtime import attached, plan
from postroad.runtime.paths import (
    BRAKED,
    CURRENT,
    EVENTS,
    LOG_SOCKET,
    MTA_STS,
    QUEUE,
    REDACTION_KEY,
    RUN,
    SIGNER,
    STATE,
    SUPPRESSED,
)
from postroad.secrets import files as named_files
from postroad.secrets import users
from postroad.sendmail import listeners, networks, outbound
from postroad.sendmail.files import files

SENDMAIL = "/usr/sbin/sendmail"
SHARED = f"{RUN} can be written by every user of this container: let nothing else run in it"
PRELOAD = "/usr/local/lib/postroad/preload.so"


def install(loaded: Loaded) -> list[str]:
    """Put a configuration in force: after this, ``/run/postroad/current`` holds its files and its plan.

    Returns:
        What differs from the configuration that was in force before, a line for each key; empty at first start.

    Raises:
        InstallError: a volume can't be written, a key is unfit, or a program refuses what was rendered.
    """
    config = loaded.config
    material = _material(config, keep=True)
    if config.suppresses and not SUPPRESSED.with_suffix(".db").exists():
        system.write_database(SUPPRESSED.with_suffix(".db"), {})
    if config.brakes and not BRAKED.exists():  # a session that finds none does not look again
        system.write(BRAKED, "")
    if config.log.redact == "hash" and not REDACTION_KEY.exists():
        system.write(REDACTION_KEY, secrets.token_bytes(32))
    for shape in outbound.shaped(config.delivery):
        system.folder(QUEUE / shape.group)
    number = max((_number(folder) for folder in RUN.glob("gen-*")), default=0) + 1
    generation = RUN / f"gen-{number}"
    try:
        _build(generation, loaded, material)
    except (CommandError, InstallError, OSError):
        system.remove(generation)
        raise
    changed = changes.between(changes.snapshot(CURRENT), changes.snapshot(generation))
    system.point(CURRENT, generation)
    # the one before stays: daemons that have not reloaded yet read it
    for folder in RUN.glob("gen-*"):
        if _number(folder) < number - 1:
            system.remove(folder)
    return changed


def examine(loaded: Loaded) -> tuple[Material, list[str]]:
    """Do all that ``install`` does, and change nothing: what would fail there fails here.

    Returns:
        What the configuration refers to, and the warnings that a start would give.

    Raises:
        InstallError: with everything that would stop a start.
    """
    material = _material(loaded.config, keep=False)
    aside = RUN / f"check-{os.getpid()}"
    for left in RUN.glob("check-*"):
        if not Path("/proc", left.name.removeprefix("check-")).exists():
            system.remove(left)
    try:
        _build(aside, loaded, material)
    finally:
        system.remove(aside)
    return material, list(warnings(loaded, material, surroundings()))


def _material(config: Config, *, keep: bool) -> Material:
    """What the configuration refers to, with the folders looked at first; ``keep`` is ``gather``'s.

    Raises:
        InstallError: with everything that is wrong, a line each.
    """
    folders = (
        (RUN, "a tmpfs for run-time files"),
        (Path("/tmp"), "a tmpfs for m4"),  # noqa: S108 - where m4 makes its own
        (STATE, "the volume for keys"),
        (QUEUE, "the mail queue"),
    )
    problems = list(filter(None, (named_files.unwritable(*each) for each in folders)))
    made = (STATE / "dkim", STATE / "tls")
    problems += listeners.unopenable(config)
    problems += filter(None, (named_files.unwritable(each, "keys of ours") for each in made if os.path.lexists(each)))
    try:
        material = gather(config, keep=keep and not problems)
    except (CommandError, InstallError) as error:
        problems.append(str(error))
    lines = "\n".join(problems).splitlines()
    named_files.refuse_all([f"{len(lines)} problems:", *lines] if len(lines) > 1 else lines)
    return material


def _number(generation: Path) -> int:
    return int(re.sub(r"\D", "", generation.name) or 0)


def _build(generation: Path, loaded: Loaded, material: Material) -> None:
    config = loaded.config
    tables, keys = attached.read(), material.keys
    around = _around(tables)
    for file in files(config, keys, around, base=generation):
        system.write(generation / file.path, file.text)
    for key in keys:
        system.write(generation / "dkim" / key.file, material.pems[key.file])
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
        system.write(cf, _without_defaults(system.run(["m4", "sendmail.mc"], cwd=generation, env=env)))
        for text in (generation / name for name in ("access", "rewrite")):
            if text.exists():
                system.run(["makemap", "-C", str(cf), "hash", str(text)], stdin=text.read_text(), env=env)
        # an address test reads the whole configuration: a bad line of sendmail.local_config shows here
        system.run([SENDMAIL, "-C", str(cf), "-bt"], stdin="/quit\n", env=env)
    except CommandError as error:
        raise InstallError(f"the rendered configuration is refused: {error}") from error
    system.write(generation / "config.json", config.model_dump_json(indent=1))
    system.write(generation / "recorder.json", json.dumps(recorder(config, material)))
    system.write(generation / "shaping.json", json.dumps(shaping(config)))
    system.write(generation / "plan.json", plan.dumps(make_plan(loaded, material, around, tables.fingerprint)))


_DEFAULT_FIELDS = (
    "H?P?Return-Path:",
    "H?D?Resent-Date:",
    "H?F?Resent-From:",
    "H?x?Full-Name:",
    "H?M?Resent-Message-Id:",
)


def _without_defaults(cf: str) -> str:
    """sendmail.cf without the lines of cf/m4/proto.m4 that make sendmail drop or add fields of these names.

    Raises:
        InstallError: such a line is not there, so sendmail's configuration files are others than this was made for.
    """
    lines = cf.split("\n")
    for field in _DEFAULT_FIELDS:
        if not any(line.startswith(field) for line in lines):
            raise InstallError(f"sendmail's own configuration files have changed: no line begins with {field}")
    return "\n".join(line for line in lines if not line.startswith(_DEFAULT_FIELDS))


def surroundings() -> networks.Surroundings:
    """The networks of this container; none under host networking."""
    return _around(attached.read())


def _around(tables: attached.Tables) -> networks.Surroundings:
    return networks.surroundings(tables, neighbours.ask)


def network_warnings(config: Config, around: networks.Surroundings) -> list[str]:
    """Whether ``clients.networks: auto`` trusts nobody here, or only a part, and what to set."""
    return networks.warnings(config, around, kubernetes="KUBERNETES_SERVICE_HOST" in os.environ)


def _others_may_write() -> bool:
    """Whether these are other users, as in a volume that Kubernetes makes: our own group has us, root's has root."""
    found = RUN.stat()
    return bool(found.st_mode & 0o002 or (found.st_mode & 0o020 and found.st_gid not in {0, os.getgid()}))


def make_plan(loaded: Loaded, material: Material, around: networks.Surroundings, fingerprint: str) -> plan.Plan:
    """The daemons for a configuration, and ``Tables.fingerprint`` of the networks that it was made for."""
    config = loaded.config
    env = _environment(config)
    processes = []
    processes.append(
        plan.Process(
            name="signer",
            argv=(sys.executable, "-m", "postroad.signer"),
            env=_python_environment(),
            socket=str(SIGNER),
            ports=(),
            reload="SIGHUP",
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
            env=env,
            socket="",
            ports=tuple(port for name, port in config.listeners if port and name != "bulk"),
            reload="SIGHUP",
        )
    )
    if options := listeners.bulk(config, around):
        processes.append(
            plan.Process(
                name="sendmail-bulk",
                argv=(SENDMAIL, "-C", str(CURRENT / "sendmail.cf"), "-bD", *options),
                env=env,
                socket="",
                ports=(config.listeners.bulk or 0,),
                reload="SIGHUP",
            )
        )
    # also where routes are no more: what waits in their directories is taken from there
    if outbound.shaped(config.delivery) or any(QUEUE.glob(f"{outbound.GROUP}*/")):
        processes.append(_beside_the_mail("shaper"))
    if config.events.enabled:
        processes.append(_beside_the_mail("recorder"))
    return plan.Plan(
        processes=tuple(processes),
        grace=config.delivery.shutdown_grace.total_seconds(),
        log_format=config.log.format,
        redact=config.log.redact,
        message_size=config.limits.message_size,
        journal=config.events.enabled,
        policy=policy(config, around),
        sources=sources(loaded),
        look_over=config.doctor.at_start,
        warnings=tuple(warnings(loaded, material, around)),
        watched=material.watched,
        due=material.pair.due.timestamp(),
        networks=fingerprint,
    )


def warnings(loaded: Loaded, material: Material, around: networks.Surroundings) -> Iterator[str]:
    """What is no reason not to start, a line each: a start and ``postroad check`` tell the same."""
    config = loaded.config
    yield from material.pair.warnings
    yield from outbound.warnings(config.delivery, datetime.now(UTC).date())
    yield from network_warnings(config, around)
    if _others_may_write():
        yield SHARED
    yield from named_files.replaced([*loaded.files, *map(Path, material.watched)])
    if config.events.enabled and EVENTS.exists() and (problem := named_files.unwritable(EVENTS, "the event store")):
        yield problem


def _environment(config: Config) -> dict[str, str]:
    """All that a daemon gets to see of the environment: nothing of the container's own variables."""
    return {
        "PATH": "/usr/sbin:/usr/bin",
        "LD_PRELOAD": PRELOAD,
        "POSTROAD_FQDN": config.hostname,
        "POSTROAD_LOG_SOCKET": str(LOG_SOCKET),
        "POSTROAD_NO_AUTH": listeners.no_auth(config),
    }


def _beside_the_mail(name: str) -> plan.Process:
    """A process of ours without which mail goes on, or other mail; it reads its files anew on SIGHUP."""
    return plan.Process(
        name=name,
        argv=(sys.executable, "-m", f"postroad.{name}"),
        env=_python_environment(),
        socket="",
        ports=(),
        reload="SIGHUP",
        essential=False,
    )


def _python_environment() -> dict[str, str]:
    return {"PATH": "/usr/bin", "PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONDONTWRITEBYTECODE": "1"}


def _authorities(material: Material) -> dict[str, str]:
    """``delivery.tls.ca_file`` as OpenSSL finds it by itself, besides the system's folder, and what tells a change."""
    if not material.authorities:
        return {}
    digest = hashlib.sha256(material.authorities.encode()).hexdigest()
    return {"SSL_CERT_FILE": str(CURRENT / "ca.pem"), "POSTROAD_AUTHORITIES": digest}


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


def recorder(config: Config, material: Material) -> dict[str, object]:
    """What the recorder of events, and the commands that read them, need to know; secret."""
    suppression, brake = config.suppression, config.events.brake
    url = config.events.store
    return {
        "store": {"url": url, "password": material.store_password} if url else None,
        "keep": config.events.keep.total_seconds(),
        "max_size": config.events.max_size,
        "suppress": suppression.keep.total_seconds() if config.suppresses else None,
        "http": host_and_port(config.http.listen) if config.http.listen else None,
        "scope": suppression.scope,
        "soft": {"count": suppression.soft.count, "within": suppression.soft.within.total_seconds()},
        "never": [entry.lower() for entry in suppression.never],
        "hostname": config.hostname,
        "webhooks": material.webhooks,
        "rates": {
            "brake": brake.bounce_rate,
            "warn": brake.warn_rate,
            "window": brake.window.total_seconds(),
            "minimum": brake.minimum,
        },
    }


def sources(loaded: Loaded) -> str:
    """Where the two keys that every configuration has are from, in one line."""
    names = ", ".join(domain.name for domain in loaded.config.domains)
    return (
        f"hostname {loaded.config.hostname} from {loaded.source('hostname')}; domains {names} from"
        f" {loaded.source('domains')}"
    )


def policy(config: Config, around: networks.Surroundings) -> str:
    """Who may send through this relay, and whether its mail keeps to MTA-STS, in one line."""
    trust_gateway = config.clients.trust_gateway
    trusted = [str(network) for network in networks.trusted(config.clients.networks, around, gateways=trust_gateway)]
    gateways = [] if trust_gateway else [str(router) for router in around.gateways]
    without = f" (not the gateways {', '.join(gateways)})" if gateways and trusted else ""
    overlays = ", ".join(map(str, around.overlays)) if "auto" in config.clients.networks else ""
    if overlays:
        without += f" (nor for the overlay {overlays}, which may be Swarm's ingress, unless clients.networks names it)"
    senders = ", ".join(domain.name + (" and subdomains" if domain.subdomains else "") for domain in config.domains)
    names = f" and for users {', '.join(user.name for user in config.clients.users)}" if config.clients.users else ""
    sts = "; keeping to recipients' MTA-STS policies" if config.delivery.tls.mta_sts else ""
    return f"relaying for {', '.join(['postroad send', *trusted])}{without}{names}; senders in {senders}{sts}"
