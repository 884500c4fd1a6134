"""Processes and containers that are killed."""

import time

from tests.faults.bench import TOOLS, docker, wait_until
from tests.faults.model import Fault, Trial

DELIVERS = r"[s]endmail: .*(client|user open)"
"""What sendmail writes into the command line of a process that delivers; what looks for it has a [ in its own."""
RECEIVES = r"[s]endmail: (server|[0-9A-Za-z]{14} ).*(cmd read|DATA|MAIL|RCPT|:)"
VICTIM = """
for second in 1 2 3 4 5 6 7 8 9 10; do
    for process in /proc/[0-9]*; do
        pid=${process#/proc/}
        if tr '\\0' ' ' < $process/cmdline | grep -Eq "$1"; then found="$found $pid"; fi
    done 2>/dev/null
    for pid in $found; do [ $pid = 1 ] || kill -9 $pid && echo $pid && exit 0; done
    sleep 0.1  # and looks again
done
exit 1
"""


def kill_daemon(position: int, trial: Trial) -> None:
    """Kill one of the daemons, by its place in the health file, and wait until all is well again."""
    for _ in trial.rounds():
        if pids := trial.relay.pids():
            trial.relay.shell(f"kill -9 {pids[position]}")
        trial.relay.back()


def kill_worker(pattern: str, trial: Trial) -> None:
    """Kill a process of sendmail's that is at work."""
    missed = 0
    for _ in trial.rounds():
        script = VICTIM.replace("$1", pattern)
        while trial.relay.shell(script)[0]:
            missed += 1
            if missed > 5 * trial.times:
                raise TimeoutError("no process to kill was found")
    trial.relay.back()


def kill_recorder(trial: Trial) -> None:
    for _ in trial.rounds():
        wait_until(lambda: not trial.relay.shell(VICTIM.replace("$1", "postroad[.]recorder"))[0], 60, "its death")


def kill_supervisor(trial: Trial) -> None:
    """As the kernel would: Docker does not know of it."""
    for _ in trial.rounds():
        docker("run", "--rm", "--pid=host", "--cap-add=KILL", TOOLS, "sh", "-c", f"kill -9 {trial.relay.host_pid()}")
        trial.relay.back()


def kill_container(trial: Trial) -> None:
    for _ in trial.rounds():
        docker("kill", trial.relay.name)
        trial.pause(0, 0.5)
        trial.relay.back()


def restart(trial: Trial) -> None:
    for _ in trial.rounds():
        docker("restart", "--time=15", trial.relay.name)
        trial.relay.back()


def recreate(trial: Trial) -> None:
    for _ in trial.rounds():
        began = time.monotonic()
        docker("stop", "--time=15", trial.relay.name)
        if time.monotonic() - began > 15:
            trial.row.notes.append("a stop took more than 15 s")
        trial.relay.recreate()


SLOW = {"slow": 0.1}
FAULTS = [
    Fault("sendmail", "`kill -9` of sendmail's daemon", lambda trial: kill_daemon(2, trial), (12, 2)),
    Fault("delivery", "`kill -9` of a process that delivers", lambda trial: kill_worker(DELIVERS, trial), (40, 5)),
    Fault(
        "session",
        "`kill -9` of a process that takes a message",
        lambda trial: kill_worker(RECEIVES, trial),
        (40, 5),
        load=SLOW,
    ),
    Fault("signer", "`kill -9` of the signer", lambda trial: kill_daemon(1, trial), (12, 2)),
    Fault("recorder", "`kill -9` of the recorder", kill_recorder, (12, 2)),
    Fault("supervisor", "`kill -9` of the supervisor, and start", kill_supervisor, (12, 2), load=SLOW),
    Fault("container", "`docker kill`, and start", kill_container, (12, 3), load=SLOW),
    Fault("restart", "`docker restart`", restart, (8, 1)),
    Fault("recreate", "Stop, remove and create anew on the same volumes", recreate, (8, 1)),
]
