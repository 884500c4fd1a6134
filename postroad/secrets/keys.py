"""The DKIM keys: which are needed; made at the first start, checked before any port opens.

The ``openssl`` program does the cryptography: it is in the image with sendmail's own TLS.
"""

import base64
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from postroad import system
from postroad.config.model import Config
from postroad.errors import CommandError, InstallError, PostroadError
from postroad.secrets import files as named_files
from postroad.secrets import rotation


@dataclass(frozen=True)
class SigningKey:
    """One domain's key.

    Attributes:
        domain: ``d=`` of the signature (RFC 6376).
        selector: ``s=`` of the signature.
        subdomains: whether it also signs for senders in subdomains.
        algorithm: ``rsa`` or ``ed25519``.
        path: the private key, PEM.
        given: whether ``key_file`` names it; else it is ours, in the state volume.
        key: the configuration key that names it; empty for ours.
    """

    domain: str
    selector: str
    subdomains: bool
    algorithm: str
    path: Path
    given: bool
    key: str = ""

    @property
    def file(self) -> str:
        """Its file name in a generation, which is unique since a domain has no slash."""
        return f"{self.domain}.private" if self.algorithm == "rsa" else f"{self.domain}.{self.algorithm}.private"

    @property
    def name(self) -> str:
        """The DNS name at which receivers look it up."""
        return f"{self.selector}._domainkey.{self.domain}"


class Stage(StrEnum):
    """The stage of a key in its domain's rotation."""

    ACTIVE = "active"
    """It signs."""
    NEXT = "next"
    """It signs as soon as its record is published."""
    PAST = "past"
    """It no longer signs, but its record must stay for a while."""
    OVER = "over"
    """It is removed, and its record may be deleted."""


@dataclass(frozen=True)
class PublishedKey:
    """A key whose record is, or should be, published.

    Attributes:
        key: the key.
        stage: its stage.
        until: when it stopped signing and when its record may be deleted, in seconds since the epoch; zeros before.
    """

    key: SigningKey
    stage: Stage
    until: tuple[float, float] = (0.0, 0.0)


def published(config: Config, state: Path, now: float) -> list[PublishedKey]:
    """All keys whose records are or should be published: those that sign, the next ones and the past ones.

    Raises:
        InstallError: the state of a rotation can't be read.
    """
    found = []
    known = {(each.domain, each.algorithm): each for each in rotation.series(config, state)}
    keep = rotation.overlap(config)
    for key in wanted(config, state):
        found.append(PublishedKey(key, Stage.ACTIVE))
        each = known.get((key.domain, key.algorithm))
        if key.given or each is None:
            continue
        stands = rotation.load(each)
        if stands.next:
            found.append(PublishedKey(_of(key, each, stands.next), Stage.NEXT))
        for old in stands.past:
            end = old.retired + keep
            stage = Stage.PAST if now < end else Stage.OVER
            found.append(PublishedKey(_of(key, each, old.selector), stage, (old.retired, end)))
    return found


def value(each: PublishedKey) -> str:
    """The TXT record of a key; empty if the key can't be read or is removed."""
    if each.stage is Stage.OVER:
        return ""
    try:
        return record(read(each.key).decode())
    except PostroadError:
        return ""


def _of(key: SigningKey, each: rotation.Series, selector: str) -> SigningKey:
    return replace(key, selector=selector, path=each.key(selector))


def make_next(config: Config, state: Path, each: rotation.Series, now: float) -> rotation.Rotation:
    """Make the next key of a series, if it has none yet; the key does not sign before ``switch``.

    Raises:
        InstallError, CommandError: it can't be made or saved.
        PostroadError: it can't be made yet.
    """
    with rotation.locked(state / "dkim"):
        stands = rotation.load(each)
        if stands.next:
            return stands
        keep = rotation.overlap(config)
        remove_past(each, stands, now, keep)
        stands = rotation.begun(each, stands, now, keep=keep, paired=config.dkim.cname is not None)
        path = each.key(stands.next)
        if not os.path.lexists(path):  # else an interrupted run already made it
            system.write(path, _make(each.algorithm, config.dkim.key_bits))
        rotation.save(each, stands)
    return stands


def switch(state: Path, each: rotation.Series, seen: rotation.Rotation, now: float) -> bool:
    """Let the next key of a series sign; return False if another process changed the series meanwhile.

    Args:
        state: the state volume.
        each: the series.
        seen: the rotation's state when the record of its next key was looked up.
        now: in seconds since the epoch.

    Raises:
        InstallError: the new state can't be saved.
    """
    with rotation.locked(state / "dkim"):
        if rotation.load(each) != seen:
            return False
        rotation.save(each, rotation.switched(seen, now))
    return True


def series_record(each: rotation.Series, selector: str) -> str:
    """The TXT record that publishes a key of a series.

    Raises:
        InstallError: the key is unusable (see ``read``).
    """
    return record(
        read(SigningKey(each.domain, selector, False, each.algorithm, each.key(selector), given=False)).decode()
    )


def remove_past(each: rotation.Series, stands: rotation.Rotation, now: float, keep: float) -> list[rotation.Past]:
    """Remove the private keys of a series whose overlap is over, and return them."""
    over = rotation.ended(each, stands, now, keep)
    for old in over:
        system.remove(each.key(old.selector))
    return over


def wanted(config: Config, state: Path) -> list[SigningKey]:
    """The keys that sign; empty if DKIM is off.

    Raises:
        InstallError: the state of a rotation can't be read.
    """
    if not config.dkim.enabled:
        return []
    active = {(each.domain, each.algorithm): rotation.load(each).active for each in rotation.series(config, state)}
    keys = []
    for i, domain in enumerate(config.domains):
        if domain not in config.named_domains:
            continue
        for base, algorithm in config.selectors(domain).items():
            given = domain.dkim.key_file if algorithm == "rsa" else None
            selector = active.get((domain.name, algorithm), base)
            keys.append(
                SigningKey(
                    domain=domain.name,
                    selector=selector,
                    subdomains=domain.subdomains,
                    algorithm=algorithm,
                    path=given or state / "dkim" / domain.name / f"{selector}.private",
                    given=given is not None,
                    key=f"domains[{i}].dkim.key_file" if given else "",
                )
            )
    return keys


def ensure(keys: Sequence[SigningKey], bits: int, *, keep: bool = True) -> dict[str, bytes]:
    """Make the keys that are missing from the state volume, check all keys, and return their PEM by ``file``.

    Without ``keep`` nothing is written, and one temporary key stands in for all missing keys of its algorithm.

    Raises:
        InstallError: keys are unusable (see ``read``), one line each; or a key can't be written.
        CommandError: a key can't be made.
    """
    missing = [key for key in keys if not key.given and not os.path.lexists(key.path)]
    if keep and missing:
        with rotation.locked(missing[0].path.parents[1]):
            for key in missing:
                if not os.path.lexists(key.path):  # another relay on the same folder may have made it meanwhile
                    system.write(key.path, _make(key.algorithm, bits))
        missing = []
    made = {algorithm: _make(algorithm, 2048).encode() for algorithm in {key.algorithm for key in missing}}
    found = named_files.all_of(lambda key: (key.file, made[key.algorithm] if key in missing else read(key)), keys)
    return dict(found)


def _make(algorithm: str, bits: int) -> str:
    options = ["-pkeyopt", f"rsa_keygen_bits:{bits}"] if algorithm == "rsa" else []
    return system.run(["openssl", "genpkey", "-quiet", "-algorithm", algorithm.upper(), *options])


def read(key: SigningKey) -> bytes:
    """A key's PEM, checked.

    Raises:
        InstallError: it can't be read or parsed, has another algorithm, is an RSA key of less than 1024 bits, or can
            be read by others.
    """
    title = f"At '{key.key}'" if key.given else f"The DKIM key of {key.domain}"
    where = f"{title}: {key.path}"
    if not key.given and not os.path.lexists(key.path):
        raise InstallError(
            f"{where} is not there yet: the server makes it at its start; run this in the server's container"
        )
    pem_bytes = named_files.read(title, key.path)
    if not pem_bytes.strip():
        raise InstallError(f"{where} is empty: put a private key (PEM) into it")
    # an orchestrator mounts secrets as 0444, which we can't change; a key in our own volume must be private
    if not key.given and (mode := key.path.stat().st_mode) & (stat.S_IRWXG | stat.S_IRWXO):
        raise InstallError(f"{where} can be read by others (mode {stat.S_IMODE(mode):04o}): chmod 0600 {key.path}")
    try:
        text = system.run(["openssl", "pkey", "-noout", "-check", "-text"], stdin=pem_bytes.decode("ascii", "replace"))
    except CommandError as error:
        raise InstallError(f"{where} is not a private key that openssl can read: give a PEM file") from error
    if key.algorithm == "ed25519":
        if not re.search(r"^ED25519 Private-Key:", text, re.MULTILINE):
            raise InstallError(f"{where} is not an Ed25519 key: remove it, and the next start makes one")
        return pem_bytes
    size = re.search(r"^Private-Key: \(([0-9]+) bit, ", text, re.MULTILINE)
    if not size:
        raise InstallError(f"{where} is not an RSA key: receivers verify rsa-sha256 everywhere, other kinds not yet")
    if int(size[1]) < 1024:
        raise InstallError(f"{where} has {size[1]} bits: receivers ignore keys below 1024 (RFC 8301), 2048 is usual")
    return pem_bytes


def record(pem: str) -> str:
    """The TXT record that publishes the public key of a private key (RFC 6376, section 3.6.1), unsplit."""
    public = system.run(["openssl", "pkey", "-pubout"], stdin=pem)
    text = "".join(line for line in public.splitlines() if not line.startswith("-----"))
    der = base64.b64decode(text)
    if len(der) < 64:  # RFC 8463 (section 4.2): only the key's last 32 octets, without the algorithm before them
        return f"v=DKIM1; k=ed25519; p={base64.b64encode(der[-32:]).decode()}"
    return f"v=DKIM1; k=rsa; p={text}"
