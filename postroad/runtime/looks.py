"""What the doctor's last regular look found, in a file: the doctor writes it, the metrics and the next look read it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from postroad import system


@dataclass(frozen=True)
class Standing:
    """One check at the last look.

    Attributes:
        errors: what fails, in the words of the findings, without numbers that change from look to look.
        warnings: how many warnings there are.
        unknown: what could not be found out when the errors were last seen, likewise.
        since: when the first error was seen, in seconds since the epoch; 0 where there is none.
    """

    errors: tuple[str, ...] = ()
    warnings: int = 0
    unknown: tuple[str, ...] = ()
    since: float = 0.0


@dataclass(frozen=True)
class Look:
    """All checks at the last look; ``at`` in seconds since the epoch, 0 where there was none."""

    at: float = 0.0
    checks: Mapping[str, Standing] = field(default_factory=dict)


def read(path: Path) -> Look:
    """The last look, as ``write`` left it; one without anything where there is none, or it can't be read."""
    try:
        data = json.loads(path.read_text())
        checks = {
            str(name): Standing(
                errors=tuple(map(str, each["errors"])),
                warnings=int(each["warnings"]),
                unknown=tuple(map(str, each["unknown"])),
                since=float(each["since"]),
            )
            for name, each in data["checks"].items()
        }
        return Look(float(data["at"]), checks)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Look()


def write(path: Path, look: Look) -> None:
    """Keep a look.

    Raises:
        InstallError: the file can't be written.
    """
    system.write(path, json.dumps(asdict(look), indent=1) + "\n")
