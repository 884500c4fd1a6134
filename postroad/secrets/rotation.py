"""One DKIM key after another: which one signs, which comes next, which are past but still published.

What is known lies beside the keys, in ``SELECTOR.rotation.json``, so that relays that share the folder share it. It
changes under a lock, and each file is replaced whole. A step that is cut short is done again: a key is made before it
is named, and removed before it is forgotten.
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
        base: the selector that the configuration names, and the first of the series.
        algorithm: ``rsa`` or ``ed25519``.
        folder: where its keys lie.
    """

    domain: str
    base: str
    algorithm: str
    folder: Path

    @property
    def file(self) -> Path:
        """What is known of it."""
        return self.folder / f"{self.base}.rotation.json"

    def key(self, selector: str) -> Path:
        """The private key of a selector."""
        return self.folder / f"{selector}.private"

    def name(self, selector: str) -> str:
        """The name that receivers look the key up by."""
        return f"{selector}._domainkey.{self.domain}"


@dataclass(frozen=True)
class Past:
    """A key that signs no more; ``retired`` is when it ceased to, in seconds since the epoch."""

    selector: str
    retired: float


@dataclass(frozen=True)
class Rotation:
    """Where a series stands.

    Attributes:
        active: the selector that signs.
        since: when it began to, in seconds since the epoch; 0: it is the first, and as old as its file.
        next: the selector that signs as soon as its record is seen; empty where there is none.
        made: when that was made.
        past: those that signed before, the last one first.
    """

    active: str
    since: float = 0.0
    next: str = ""
    made: float = 0.0
    past: tuple[Past, ...] = ()


def series(config: Config, state: Path) -> list[Series]:
    """The series of a configuration: for each domain and algorithm whose key is ours; none where DKIM is off."""
    if not config.dkim.enabled:
        return []
    return [
        Series(domain.name, selector, algorithm, state / "dkim" / domain.name)
        for domain in config.named_domains
        for selector, algorithm in config.selectors(domain).items()
        if algorithm != "rsa" or domain.dkim.key_file is None
    ]


def load(each: Series) -> Rotation:
    """Where a series stands.

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
            f"{each.file} does not say which key of {each.domain} signs: put it back from a backup, or remove it, and"
            f" the selector {each.base} is taken up again"
        ) from error


def save(each: Series, rotation: Rotation) -> None:
    """Keep where a series stands; to be called under ``locked``.

    Raises:
        InstallError: it can't be written.
    """
    system.write(each.file, json.dumps(asdict(rotation), indent=1) + "\n")


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Be the only one who changes keys below this folder, ``dkim`` in the state volume; wait for whoever does.

    A file system without locks has one relay, for all that can be told.

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
    """The same with a next selector; those that are past for longer than ``keep`` are forgotten.

    Args:
        each: the series.
        rotation: where it stands; without a next selector.
        now: in seconds since the epoch.
        keep: seconds for which a past key stays published.
        paired: two selectors take turns: that of the configuration, and the same with ``-2``.

    Raises:
        PostroadError: the selector is still needed, or would be too long.
    """
    past = tuple(old for old in rotation.past if now < old.retired + keep)
    if paired:
        chosen = next(name for name in pair(each.base) if name != rotation.active)
        for old in past:
            if old.selector == chosen:
                raise PostroadError(
                    f"the key {each.name(chosen)} signed until {date(old.retired)}, and its record has to stay until"
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
    """The same after the next key has taken over."""
    past = (Past(rotation.active, now), *rotation.past)
    return Rotation(active=rotation.next, since=now, past=past)


def pair(base: str) -> tuple[str, str]:
    """The two selectors that take turns where ``dkim.cname`` is set."""
    return base, f"{base}-2"


def _numbered(each: Series, number: int) -> str:
    return each.base if number == 1 else f"{each.base}-{number}"


def _number(each: Series, selector: str) -> int:
    match = re.fullmatch(rf"{re.escape(each.base)}-([0-9]+)", selector)
    return int(match[1]) if match else 1


def overlap(config: Config) -> float:
    """Seconds for which the record of a past key stays: mail that waits in the queue was signed with it."""
    return max(config.dkim.overlap, config.delivery.queue.give_up_after).total_seconds()


def ended(each: Series, rotation: Rotation, now: float, keep: float) -> list[Past]:
    """Keys whose time is over and that are still here, to be removed."""
    return [old for old in rotation.past if now >= old.retired + keep and each.key(old.selector).exists()]


def next_key_due(each: Series, rotation: Rotation, interval: float) -> float:
    """When the key that signs is due to be followed by another, in seconds since the epoch.

    Args:
        each: the series.
        rotation: where it stands.
        interval: seconds that a key signs for.
    """
    since = rotation.since
    if not since:
        try:
            since = each.key(rotation.active).stat().st_mtime
        except OSError:
            return float("inf")  # it is made at the start
    return since + interval


def due(config: Config, state: Path, now: float) -> float:
    """When there is something to look for or to do, in seconds since the epoch; infinity if there is nothing.

    Raises:
        InstallError: what is known of a series can't be read.
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
    """The files that say which keys sign, with their status; another relay may change them."""
    return {str(each.file): system.status(str(each.file)) for each in series(config, state)}


def date(moment: float) -> str:
    """A day as people write it, in UTC."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d")
