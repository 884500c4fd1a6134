"""Rendered files put in force: built aside, checked by the programs that will read them, swapped in whole.

A generation is a folder ``/run/postroad/gen-N``; the link ``/run/postroad/current`` names the one in force. What fails
leaves the link as it was, and with it the system that runs.
"""

import os
import re
import secrets
from pathlib import Path

from postroad import system
from postroad.config.load import Loaded
from postroad.config.model import Config
from postroad.errors import CommandError, InstallError
from postroad.install import changes, environment, neighbours, settings, summary
from postroad.install.daemons import make_plan
from postroad.install.material import Material, gather
from postroad.runtime import (
    attached,
    front,
    handover,
    peering,
    plan,
    recording,
    returning,
    shaping,
    uplink,
    web,
)
from postroad.runtime.paths import (
    BRAKED,
    CURRENT,
    DOCTOR,
    QUEUE,
    REDACTION_KEY,
    RUN,
    SENDMAIL,
    STATE,
    SUPPRESSED,
)
from postroad.secrets import files as named_files
from postroad.secrets import users
from postroad.sendmail import listeners, networks, outbound
from postroad.sendmail.files import files


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
    if config.doctor.every is None:
        system.remove(DOCTOR)  # what it says would only grow old
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
    return material, list(summary.warnings(loaded, material, surroundings()))


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
    for server, found in material.credentials.items():
        if found.certificate:
            system.write(generation / outbound.certificate_name(server), found.certificate)
    if material.authorities:
        # a copy: sendmail ignores a file that others could write, and the person's may be on any volume
        system.write(generation / "ca.pem", material.authorities)
    cf = generation / "sendmail.cf"
    env = environment.of_tools(config)
    try:
        system.write(cf, _without_defaults(system.run(["m4", "sendmail.mc"], cwd=generation, env=env)))
        for text in (generation / name for name in ("access", "rewrite")):
            if text.exists():
                system.run(["makemap", "-C", str(cf), "hash", str(text)], stdin=text.read_text(), env=env)
        # an address test reads the whole configuration: a bad line of sendmail.local_config shows here
        system.run([SENDMAIL, "-C", str(cf), "-bt"], stdin="/quit\n", env=env)
    except CommandError as error:
        raise InstallError(f"the rendered configuration is refused: {error}") from error
    _write_settings(generation, loaded, material, around, tables.fingerprint)


def _write_settings(
    generation: Path, loaded: Loaded, material: Material, around: networks.Surroundings, fingerprint: str
) -> None:
    """What our own processes are told."""
    config = loaded.config
    system.write(generation / "config.json", config.model_dump_json(indent=1))
    system.write(generation / recording.FILE, handover.dumps(settings.of_recorder(config, material)))
    system.write(generation / shaping.FILE, handover.dumps(settings.of_shaper(config)))
    uplinked = outbound.uplink_settings(config, material.credentials)
    system.write(generation / uplink.FILE, handover.dumps(uplinked))
    system.write(generation / front.FILE, handover.dumps(settings.of_front(config, around)))
    system.write(generation / peering.FILE, handover.dumps(settings.of_peers(config, material)))
    if config.web:
        system.write(generation / web.FILE, handover.dumps(settings.of_web(config.web, config, material)))
    returns = settings.of_returns(config)
    if returns:
        system.write(generation / returning.FILE, handover.dumps(returns))
        system.write(generation / returning.KEY, material.returns_key)
    system.write(generation / plan.FILE, handover.dumps(make_plan(loaded, material, around, fingerprint)))


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
