"""Where a relay's CPU time goes, by Linux's ``perf``: by program and part, and what the kernel does for it."""

import contextlib
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bench.cgroup import Cgroup

CAUSES: Mapping[str, str] = {
    "asm_exc_page_fault": "page faults",
    "__do_sys_clone": "fork",
    "__do_sys_clone3": "fork",
    "__x64_sys_vfork": "fork",
    "__x64_sys_execve": "exec",
    "__x64_sys_exit_group": "exit",
    "__x64_sys_fsync": "fsync",
    "__x64_sys_openat": "open",
    "__x64_sys_unlink": "unlink",
    "__x64_sys_rename": "rename",
    "__x64_sys_poll": "poll",
    "__x64_sys_pselect6": "select",
    "__x64_sys_epoll_wait": "epoll",
    "__x64_sys_sendto": "send",
    "__x64_sys_write": "write",
}
"""The kernel's entries, by their names on x86, and what they are."""

_PERF = shutil.which("perf")
_FREQUENCY = "2500"  # samples a second and core


class Profile:
    """Samples taken in one ``with``."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def parts(self) -> dict[str, dict[str, float]]:
        """CPU seconds by program and part: ``kernel``, the program itself, or a library."""
        used: dict[str, dict[str, float]] = {}
        for seconds, (program, part) in self._report("--no-children", "--sort=comm,dso"):
            name = "kernel" if part.startswith("[kernel") else part
            used.setdefault(program, {})[name] = seconds
        return used

    def causes(self) -> dict[str, float]:
        """CPU seconds by what the kernel did, with all that this entailed."""
        used: dict[str, float] = {}
        for seconds, (_, symbol) in self._report("--children", "--sort=sym"):
            if cause := CAUSES.get(re.sub(r"^\[.\] ", "", symbol)):
                used[cause] = used.get(cause, 0.0) + seconds
        return used

    def _report(self, *options: str) -> Iterator[tuple[float, Sequence[str]]]:
        """Seconds and the other two columns of each line of perf's report."""
        words = [str(_PERF), "report", "--input", str(self._path), "--call-graph=none", "--field-separator=;", *options]
        done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120)
        # the unit of this event's count is the nanosecond
        counted = re.search(r"^# Event count \(approx\.\): (\d+)", done.stdout, re.MULTILINE)
        seconds = int(counted[1]) / 1e9 if counted else 0.0
        for line in done.stdout.splitlines():
            if line and not line.startswith("#"):
                share, *rest = (field.strip() for field in line.split(";", 2))
                yield seconds * float(share.rstrip("%")) / 100, rest


@contextlib.contextmanager
def sampled(group: Cgroup, path: Path) -> Iterator[Profile | None]:
    """Sample a container's processes and those that they start; None where this host's perf can't.

    The profile is whole when ``with`` is left.
    """
    if not _PERF:
        yield None
        return
    pids = ",".join(group.processes.read_text().split())
    record = [_PERF, "record", "--quiet", "--event=cpu-clock", f"--freq={_FREQUENCY}", "-g", f"--pid={pids}"]
    process = subprocess.Popen([*record, f"--output={path}"], stderr=subprocess.DEVNULL)
    try:
        time.sleep(1)  # it says nowhere that it has begun
        yield Profile(path) if process.poll() is None else None
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
