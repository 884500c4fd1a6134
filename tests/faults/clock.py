"""A clock that is set forward and back while mail comes and goes (``image/clock.c``)."""

import struct
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from docker.types import Mount

from tests.faults.account import Load, Row, settle
from tests.faults.bench import TOOLS, Bench, docker
from tests.faults.model import Check

MINUTE, HOUR = 60, 3600
JUMPS = [HOUR, -HOUR, 5 * MINUTE, -2 * MINUTE, 20 * HOUR, -20 * HOUR]
"""Seconds; less than it takes a message to be given up."""


def set_clock(bench: Bench, row: Row, tell: Callable[[str], None], short: bool) -> None:
    """Set it at random moments, forward and back, while the MX puts some messages off; last of all set it right."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        folder.chmod(0o755)
        docker("run", "--rm", f"--volume={folder}:/clock", TOOLS, "cp", "/usr/local/lib/clock.so", "/clock/")
        (folder / "preload").write_text("/clock/clock.so\n")
        (folder / "offset").write_bytes(struct.pack("=q", 0))
        mounts = [
            Mount("/clock", str(folder), type="bind", read_only=True),
            Mount("/etc/ld.so.preload", str(folder / "preload"), type="bind", read_only=True),
        ]
        # no notice of a delay, which comes as a bounce does
        relay = bench.relay(delivery={"queue": {"retry": "3s", "warn_after": None}}, run={"mounts": mounts})
        load = Load(bench, ["relay"])
        try:
            bench.sink.fail(0.2, "421")
            with (folder / "offset").open("r+b", buffering=0) as clock:
                for offset in JUMPS[:3] if short else JUMPS * 3:
                    tell(f"{offset / MINUTE:+.0f} minutes, {load.accepted} accepted")
                    time.sleep(bench.rng.uniform(0.5, 2))
                    clock.seek(0)
                    clock.write(struct.pack("=q", offset))
                    row.injected += 1
                    _check(relay.shell("date +%s")[1], time.time() + offset, row)
                    time.sleep(bench.rng.uniform(0.5, 2))
                clock.seek(0)
                clock.write(struct.pack("=q", 0))
        finally:
            load.stop()
            bench.sink.behave()
        tell("waiting for the end of every message")
        relay.back()
        settle(row, bench, [relay], load)


def _check(told: str, wanted: float, row: Row) -> None:
    if abs(float(told) - wanted) > 30:
        row.faults.append(f"the clock says {told}, not {wanted:.0f}: this shows nothing")


FAULTS = [Check("clock", "The clock set forward and back, by minutes and by hours", set_clock)]
