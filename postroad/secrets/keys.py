"""The DKIM keys: which there must be, made at first start, checked before anything listens.

The ``openssl`` program does the cryptography: it stands in the image with sendmail's own TLS.
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
        subdomains: senders in its subdomains are signed with it, too.
        algorithm: ``rsa`` or ``ed25519``.
        path: the private key, PEM.
        given: brought by the person (``key_file``); else ours, in the state volume.
        key: the configuration's key that names it; empty for ours.
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
        """Its file name in a generation: a domain can't hold a slash, so names can't clash."""
        return f"{self.domain}.private" if self.algorithm == "rsa" else f"{self.domain}.{self.algorithm}.private"

    @property
    def name(self) -> str:
        """The name that receivers look it up by."""
        return f"{self.selector}._domainkey.{self.domain}"


class Stage(StrEnum):
    """Where a key stands among those of its domain."""

    ACTIVE = "active"
    """It signs."""
    NEXT = "next"
    """It signs when its record is seen."""
    PAST = "past"
    """It signed, and its record stays for a while."""
    OVER = "over"
    """It is removed, and its record may go."""


@dataclass(frozen=True)
class PublishedKey:
    """A key whose record there is, or should be.

    Attributes:
        key: it.
        stage: where it stands.
        until: when it ceased to sign and when its record may go, in seconds since the epoch; zeros while it has not.
    """

    key: SigningKey
    stage: Stage
    until: tuple[float, float] = (0.0, 0.0)


def published(config: Config, state: Path, now: float) -> list[PublishedKey]:
    """All keys whose records there are or should be: those that sign, and with them the next and the past ones.

    Raises:
        InstallError: it can't be read which those are.
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
    """The TXT record of a key; empty where it can't be read, or is removed."""
    if each.stage is Stage.OVER:
        return ""
    try:
        return record(read(each.key).decode())
    except PostroadError:
        return ""


def _of(key: SigningKey, each: rotation.Series, selector: str) -> SigningKey:
    return replace(key, selector=selector, path=each.key(selector))


def make_next(config: Config, state: Path, each: rotation.Series, now: float) -> rotation.Rotation:
    """Make the next key of a series, if it has none yet; it signs nothing before ``switch``.

    Raises:
        InstallError, CommandError: it can't be made or kept.
        PostroadError: it can't be made now.
    """
    with rotation.locked(state / "dkim"):
        stands = rotation.load(each)
        if stands.next:
            return stands
        keep = rotation.overlap(config)
        remove_past(each, stands, now, keep)
        stands = rotation.begun(each, stands, now, keep=keep, paired=config.dkim.cname is not None)
        path = each.key(stands.next)
        if not os.path.lexists(path):  # else it was made before this was cut short
            system.write(path, _make(each.algorithm, config.dkim.key_bits))
        rotation.save(each, stands)
    return stands


def switch(state: Path, each: rotation.Series, seen: rotation.Rotation, now: float) -> bool:
    """Let the next key of a series sign; False: somebody else changed the series meanwhile.

    Args:
        state: the state volume.
        each: the series.
        seen: where it stood when the record of its next key was looked for.
        now: in seconds since the epoch.

    Raises:
        InstallError: it can't be kept.
    """
    with rotation.locked(state / "dkim"):
        if rotation.load(each) != seen:
            return False
        rotation.save(each, rotation.switched(seen, now))
    return True


def series_record(each: rotation.Series, selector: str) -> str:
    """The TXT record that publishes a key of a series.

    Raises:
        InstallError: the key is unfit (see ``read``).
    """
    return record(
        read(SigningKey(each.domain, selector, False, each.algorithm, each.key(selector), given=False)).decode()
    )


def remove_past(each: rotation.Series, stands: rotation.Rotation, now: float, keep: float) -> list[rotation.Past]:
    """Remove the private keys of a series whose time is over, and return which."""
    over = rotation.ended(each, stands, now, keep)
    for old in over:
        system.remove(each.key(old.selector))
    return over


def wanted(config: Config, state: Path) -> list[SigningKey]:
    """The keys that sign; empty where DKIM is off.

    Raises:
        InstallError: it can't be read which those are.
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
    """Make the keys that are missing from the state volume, check all of them, and return their PEM by ``file``.

    Without ``keep`` nothing is written: one key, made for the purpose, stands in for all that are missing.

    Raises:
        InstallError: some are unfit (see ``read``), a line each; or one can't be written.
        CommandError: one can't be made.
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
        InstallError: it can't be read or parsed, is of another kind, or an RSA key of less than 1024 bits, or others
            can read it.
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
    # a secret mounted by an orchestrator is 0444 and out of our hands; one in our own volume is not
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
    """The TXT record that publishes a private key's public half (RFC 6376, section 3.6.1), unsplit."""
    public = system.run(["openssl", "pkey", "-pubout"], stdin=pem)
    text = "".join(line for line in public.splitlines() if not line.startswith("-----"))
    der = base64.b64decode(text)
    if len(der) < 64:  # RFC 8463 (section 4.2): the key's 32 octets alone; what is before them names the algorithm
        return f"v=DKIM1; k=ed25519; p={base64.b64encode(der[-32:]).decode()}"
    return f"v=DKIM1; k=rsa; p={text}"
