"""``python -m dev.coverage_floors COVERAGE.json``: branch coverage by room, from ``coverage json``, against its floor.

A room without I/O has 85 %, others 60 %; what falls short of that today has a floor of its own, which only rises.
"""

import json
import sys
from collections import defaultdict
from pathlib import Path

PURE = 85
"""For rooms whose logic needs neither Docker nor another process."""
OTHERS = 60
ROOMS = {
    "config": PURE, "dns": PURE, "evacuation": PURE, "events": PURE, "feedback": PURE, "http": PURE, "journal": PURE,
    "migrate": PURE, "runtime": PURE, "sendmail": PURE, "signer": PURE, "sinks": PURE, "webhooks": PURE,
    "recorder": OTHERS, "shaper": OTHERS, "supervisor": OTHERS, "store": OTHERS, "install": OTHERS, "secrets": OTHERS,
    "checks": PURE, "cli": OTHERS, "uplink": OTHERS, "front": OTHERS, "web": PURE, "commands": OTHERS, "returns": PURE,
    "top": OTHERS,
}  # fmt: skip
"""Percent of branches; ``top`` are the modules that are in no room."""


def rooms(report: dict[str, dict[str, dict[str, int]]]) -> dict[str, float]:
    """Percent of the branches that ran, by room."""
    ran: dict[str, int] = defaultdict(int)
    there: dict[str, int] = defaultdict(int)
    for path, found in report.items():
        parts = Path(path).parts
        room = parts[1] if len(parts) > 2 else "top"
        ran[room] += found["summary"]["covered_branches"]
        there[room] += found["summary"]["num_branches"]
    return {room: 100 * ran[room] / there[room] for room in there if there[room]}


def main() -> int:
    """Print a line a room; 1 where one is below its floor, or has none."""
    found = rooms(json.loads(Path(sys.argv[1]).read_text())["files"])
    failed = 0
    for room, percent in sorted(found.items()):
        floor = ROOMS.get(room)
        fits = floor is not None and percent >= floor
        failed += not fits
        said = "" if fits else f"BELOW {floor} %" if floor else "has no floor: give it one"
        print(f"{room:<12}{percent:5.1f} %  {said}".rstrip())
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
