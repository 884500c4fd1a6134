"""DKIM key rotation: which key signs, which one is next, which past ones are still published.

The state is beside the keys, in ``SELECTOR.rotation.json``, so that relays which share the folder share it. It changes
under a lock, and each file is replaced as a whole. An interrupted step is repeated: a key is made before the state
names it, and removed before the state forgets it.
"""

import contextlib
import errno
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from postroad import system
from postroad.config.model import Config
from postroad.errors import InstallError, PostroadError

LOCK = ".lock"
LONGEST_LABEL = 63
"""Octets (RFC 1035, section 2.3.4)."""


@dataclass(frozen=True)
class Series:
    """A domain's keys of one algorithm, in the state volume.

    Attributes:
        domain: ``d=`` of the signatures.
        base: the configured selector, which is the first of the series.
        algorithm: ``rsa`` or ``ed25519``.
        folder: the folder of its keys.
    """

    domain: str
    base: str
    algorithm: str
    folder: Path

    @property
    def file(self) -> Path:
        """The file that holds the series' rotation state."""
        return self.folder / f"{self.base}.rotation.json"

    def key(self, selector: str) -> Path:
        """The private key of a selector."""
        return self.folder / f"{selector}.private"

    def name(self, selector: str) -> str:
        """The DNS name at which receivers look up the key."""
        return f"{selector}._domainkey.{self.domain}"


@dataclass(frozen=True)
class Past:
    """A key that no longer signs; ``retired`` is when it stopped, in seconds since the epoch."""

    selector: str
    retired: float


@dataclass(frozen=True)
class Rotation:
    """The state of a series.

    Attributes:
        active: the selector that signs.
        since: when it began to sign, in seconds since the epoch; 0 for the first key, which is as old as its file.
        next: the selector that signs as soon as its record is published; empty if there is none.
        made: when the next key was made.
        past: the keys that signed before, newest first.
    """

    active: str
    since: float = 0.0
    next: str = ""
    made: float = 0.0
    past: tuple[Past, ...] = ()


def series(config: Config, state: Path) -> list[Series]:
    """The series of a configuration, one for each domain and algorithm whose key is ours; none if DKIM is off."""
    if not config.dkim.enabled:
        return []
    return [
        Series(domain.name, selector, algorithm, state / "dkim" / domain.name)
        for domain in config.named_domains
        for selector, algorithm in config.selectors(domain).items()
        if algorithm != "rsa" or domain.dkim.key_file is None
    ]


def load(each: Series) -> Rotation:
    """The state of a series.

    Raises:
        InstallError: its file can't be read.
    """
    try:
        data = json.loads(each.file.read_text())
        return Rotation(**{**data, "past": tuple(Past(**past) for past in data["past"])})
    except FileNotFoundError:
        return Rotation(active=each.base)
    except OSError as error:
        raise InstallError(f"{each.file} can't be read: {error.strerror}") from error
    except (ValueError, TypeError, KeyError) as error:
        raise InstallError(
            f"{each.file} does not say which key of {each.domain} signs: restore it from a backup, or remove it, and"
            f" the selector {each.base} signs again"
        ) from error


def save(each: Series, rotation: Rotation) -> None:
    """Save the state of a series; call it under ``locked``.

    Raises:
        InstallError: it can't be written.
    """
    system.write(each.file, json.dumps(asdict(rotation), indent=1) + "\n")


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock on the keys below this folder, ``dkim`` in the state volume, after waiting for it.

    A file system without locks is assumed to serve a single relay.

    Raises:
        InstallError: the folder can't be made or written.
    """
    system.folder(folder.parent)
    system.folder(folder)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(system.locked(folder / LOCK))
        except OSError as error:
            if error.errno not in {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}:
                raise InstallError(f"{folder / LOCK} can't be locked: {error.strerror}") from error
        yield


def begun(each: Series, rotation: Rotation, now: float, *, keep: float, paired: bool) -> Rotation:
    """The state with a next selector added, and without past keys whose overlap is over.

    Args:
        each: the series.
        rotation: its state, without a next selector.
        now: in seconds since the epoch.
        keep: seconds for which a past key stays published.
        paired: whether two selectors alternate: the configured one, and the same with ``-2``.

    Raises:
        PostroadError: the selector is still needed, or would be too long.
    """
    past = tuple(old for old in rotation.past if now < old.retired + keep)
    if paired:
        chosen = next(name for name in pair(each.base) if name != rotation.active)
        for old in past:
            if old.selector == chosen:
                raise PostroadError(
                    f"the key {each.name(chosen)} signed until {date(old.retired)}, and its record must stay until"
                    f" {date(old.retired + keep)}: rotate after that"
                )
    else:
        used = (rotation.active, *(old.selector for old in rotation.past))
        chosen = _numbered(each, max(_number(each, name) for name in used) + 1)
    if len(chosen.rpartition(".")[2]) > LONGEST_LABEL:
        raise PostroadError(
            f"the selector {chosen} has more than {LONGEST_LABEL} characters: set a shorter dkim.selector"
        )
    return replace(rotation, next=chosen, made=now, past=past)


def switched(rotation: Rotation, now: float) -> Rotation:
    """The state after the next key has taken over."""
    past = (Past(rotation.active, now), *rotation.past)
    return Rotation(active=rotation.next, since=now, past=past)


def pair(base: str) -> tuple[str, str]:
    """The two selectors that alternate if ``dkim.cname`` is set."""
    return base, f"{base}-2"


def _numbered(each: Series, number: int) -> str:
    return each.base if number == 1 else f"{each.base}-{number}"


def _number(each: Series, selector: str) -> int:
    match = re.fullmatch(rf"{re.escape(each.base)}-([0-9]+)", selector)
    return int(match[1]) if match else 1


def overlap(config: Config) -> float:
    """Seconds for which a past key's record stays published, as queued mail was signed with that key."""
    return max(config.dkim.overlap, config.delivery.queue.give_up_after).total_seconds()


def ended(each: Series, rotation: Rotation, now: float, keep: float) -> list[Past]:
    """Past keys whose overlap is over and whose files still exist, to be removed."""
    return [old for old in rotation.past if now >= old.retired + keep and each.key(old.selector).exists()]


def next_key_due(each: Series, rotation: Rotation, interval: float) -> float:
    """When the next key is due, in seconds since the epoch.

    Args:
        each: the series.
        rotation: its state.
        interval: seconds for which a key signs.
    """
    since = rotation.since
    if not since:
        try:
            since = each.key(rotation.active).stat().st_mtime
        except OSError:
            return float("inf")  # the next start makes it
    return since + interval


def due(config: Config, state: Path, now: float) -> float:
    """When something must be checked or done next, in seconds since the epoch; infinity if never.

    Raises:
        InstallError: the state of a series can't be read.
    """
    times = [float("inf")]
    for each in series(config, state):
        rotation = load(each)
        if rotation.next:
            times.append(now)
        elif config.dkim.rotate:
            times.append(next_key_due(each, rotation, config.dkim.rotate.total_seconds()))
        times += [old.retired + overlap(config) for old in rotation.past if each.key(old.selector).exists()]
    return min(times)


def watched(config: Config, state: Path) -> Mapping[str, str]:
    """The state files with their status, to notice when another relay changes them."""
    return {str(each.file): system.status(str(each.file)) for each in series(config, state)}


def date(moment: float) -> str:
    """A day as people write it, in UTC."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d")
