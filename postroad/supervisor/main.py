"""The supervisor: states, signals, reaping, back-off, reload.

Signals are blocked in every thread and taken one at a time in the main one (``sigtimedwait``), so nothing here is
interrupted. Rendering runs in a process that ends: pydantic and jinja2 never enter this one.
"""

import os
import signal
import sys
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from postroad import system
from postroad.errors import CommandError, InstallError, PostroadError
from postroad.events import model as events
from postroad.runtime import acceptance, plan
from postroad.runtime.paths import CURRENT, FEED, HEALTH, LOG_SOCKET, RATES, RUN
from postroad.supervisor import processes
from postroad.supervisor.log import LogThread
from postroad.supervisor.processes import Child
from postroad.supervisor.rates import RateThread
from postroad.supervisor.shutdown import Shutdown
from postroad.supervisor.watch import Watch

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
START_LIMIT = 30.0
"""Seconds that a daemon may take until it serves."""
TICK = 0.01
SOURCE = Path(__file__).parents[2]


class State(StrEnum):
    """What the supervisor is doing."""

    PREPARING = "preparing"
    STARTING = "starting"
    READY = "ready"
    DEGRADED = "degraded"
    STOPPING = "stopping"


@dataclass
class Reloads:
    """What ``postroad reload`` waits for: reloads are numbered from 1, and it wants one that began after it asked.

    Attributes:
        begun: the number of the last that began.
        ended: the number of the last that ended; the same unless one is under way.
        done: whether that one put its configuration in force.
    """

    begun: int = 0
    ended: int = 0
    done: bool = True


class StopRequested(Exception):  # noqa: N818 - not an error
    """SIGTERM or SIGINT came."""


class SupervisionError(PostroadError):
    """The daemons can't be kept running."""


class Supervisor:
    """Runs one plan after another until it is told to stop."""

    def __init__(self) -> None:
        self.state = State.PREPARING
        self.children: list[Child] = []
        try:
            self.log = LogThread(LOG_SOCKET, FEED)
        except OSError as error:
            owner = f"uid={os.getuid()},gid={os.getgid()}"
            raise InstallError(
                f"{RUN} can't be written by uid {os.getuid()} ({error.strerror}): mount a tmpfs there that can,"
                f" such as --tmpfs {RUN}:mode=0700,{owner}"
            ) from error
        acceptance.set_accepting(True)  # a drain ends with the run that it was for
        self.plan: plan.Plan | None = None
        self.reload_asked = False
        self.reloads = Reloads()
        self.doctor = 0
        """The process that looks everything over when all has started; 0 if none does."""
        self.watch = Watch({}, float("inf"))
        self.began = time.monotonic()

    def run(self) -> int:
        """Live; return the exit code."""
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        processes.adopt_orphans()
        processes.forbid_core_dumps()
        self._enter(State.PREPARING)
        try:
            code, _, error = self._prepare()
            if code:
                sys.stderr.write(error)
                return code
            self.plan = plan.load(CURRENT / "plan.json")
            self.log.start(self.plan)
            RateThread(RATES).start()
            self._start_all(self.plan)
            if self.plan.look_over:
                self._look_over()
            while True:
                self._wait()
        except StopRequested:
            return self._stop()
        except (PostroadError, OSError) as error:
            self._say("error", str(error))
            self._stop()
            return error.exit_code if isinstance(error, PostroadError) else 1
        finally:
            system.remove(HEALTH)
            self.log.stop()

    def _prepare(self) -> tuple[int, list[str], str]:
        """Validate, render and install in a process of its own: exit code, changed keys, error text."""
        # many domains' keys take their time at first start
        code, out, err = system.capture([sys.executable, "-m", "postroad.install"], cwd=SOURCE, timeout=600)
        return code, out.splitlines(), err

    def _start_all(self, wanted: plan.Plan) -> None:
        self._enter(State.STARTING)
        self._say("info", wanted.policy)
        self._take(wanted)
        for process in wanted.processes:
            child = Child(process)
            self.children.append(child)
            child.start()
            self._await_ready(child)
        self._enter(State.READY)
        self._say("info", f"ready after {time.monotonic() - self.began:.2f} s")

    def _look_over(self) -> None:
        """Have what is outside looked over by a process of its own: what it finds it tells the log."""
        try:
            self.doctor = system.spawn(
                [sys.executable, "-m", "postroad.checks"], {**os.environ, "PYTHONPATH": str(SOURCE)}
            )
        except CommandError as error:
            self._say("error", str(error))

    def _take(self, wanted: plan.Plan) -> None:
        """Note what a plan says besides its processes."""
        self.watch = Watch(wanted.watched, wanted.due)
        for warning in wanted.warnings:
            self._say("warning", warning)

    def _await_ready(self, child: Child) -> None:
        limit = time.monotonic() + START_LIMIT
        while not child.ready:
            self._signals(TICK)
            if not child.pid:
                raise SupervisionError(f"{child.process.name} ended before it was ready: its last lines above say why")
            if time.monotonic() > limit:
                raise SupervisionError(f"{child.process.name} was not ready within {START_LIMIT:g} s")

    def _wait(self) -> None:
        """Sleep until a signal comes, a dead child's time to start, or that to look at the files; then act."""
        due = [max(0.0, child.due - time.monotonic()) for child in self.children if child.due]
        self._signals(min([*due, self.watch.wait]))
        if reason := self.watch.reason():
            self._say("info", reason)
            self._reload()
        for child in self.children:
            if child.due and child.due <= time.monotonic():
                self._restart(child)
        if self.reload_asked:
            self.reload_asked = False
            self._reload()

    def _essential(self) -> list[Child]:
        return [child for child in self.children if child.process.essential]

    def _restart(self, child: Child) -> None:
        name = child.process.name
        if child.hopeless:
            raise SupervisionError(f"{name} died {child.deaths} times, each soon after its start: giving up")
        try:
            child.start()
            self._await_ready(child)
        except CommandError as error:
            self._say("error", str(error))
            child.died()
            return
        except SupervisionError as error:
            self._say("error", str(error))
            child.signal(signal.SIGKILL)
            return
        self._say("info", f"{name} runs again")
        if self.state is State.DEGRADED and all(each.ready for each in self._essential()):
            self._enter(State.READY)

    def _signals(self, timeout: float) -> None:
        """Take one signal, waiting for it up to ``timeout`` seconds, and do what it asks."""
        info = signal.sigtimedwait(SIGNALS, timeout)
        if info is None:
            return
        number = signal.Signals(info.si_signo)
        if number in {signal.SIGTERM, signal.SIGINT}:
            raise StopRequested
        if number == signal.SIGCHLD:
            self._reap()
        else:
            # not from here: this may be called while daemons start, or in the middle of a reload
            self.reload_asked = True

    def _reap(self) -> None:
        """Collect every child that has ended: the plan's and those whose parent ended before them."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if pid == self.doctor:
                self.doctor = 0
            for child in self.children:
                if child.pid == pid:
                    child.died()
                    self._tell_of_death(child.process.name, pid, os.waitstatus_to_exitcode(status))

    def _tell_of_death(self, name: str, pid: int, code: int) -> None:
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        self.log.emit(events.Stopped(time=time.time(), program=name, pid=pid, status=how))
        if self.state is not State.STOPPING:
            self._say("error", f"{name} {how}; it is started again")
        if self.state is State.READY and not all(child.pid for child in self._essential()):
            self._enter(State.DEGRADED)

    def _reload(self) -> None:
        """Try to put a changed configuration in force, and note when that begins, ends, and how."""
        self.reloads.begun += 1
        self._note_health()
        self.reloads.done = self._put_in_force()
        self.reloads.ended = self.reloads.begun
        self._note_health()

    def _put_in_force(self) -> bool:
        """Put a changed configuration in force; one that can't be used, or served, changes nothing: False."""
        before, old = CURRENT.resolve(), self.plan
        try:
            code, changes, error = self._prepare()
            if not code:
                wanted = plan.load(CURRENT / "plan.json")
        except (PostroadError, OSError) as failure:
            code, error = 1, str(failure)
        if code:
            self._say("error", f"reload failed, the configuration in force stays: {error.strip()}")
            return False
        for change in changes:
            self._say("info", f"reload: {change}")
        try:
            self._switch(wanted)
        except (CommandError, SupervisionError) as failure:
            if old is None:
                raise
            self._say("error", f"reload failed, the configuration before comes back in force: {failure}")
            failed = CURRENT.resolve()
            system.point(CURRENT, before)
            self._switch(old)
            system.remove(failed)
            return False
        self._say("info", f"reloaded ({len(changes)} changed); {wanted.policy}")
        return True

    def _switch(self, wanted: plan.Plan) -> None:
        """Let the daemons be this plan's; one whose command line stays the same reads its files anew."""
        old = {child.process.name: child for child in self.children}
        self.plan = wanted
        self.log.follow(wanted)
        self._take(wanted)
        new = [old.get(process.name) or Child(process) for process in wanted.processes]
        gone = [child for child in self.children if child not in new]
        self.children = [*new, *gone]
        for child, process in zip(new, wanted.processes, strict=True):
            restart = child.process != process or not child.pid
            child.process = process
            if restart:
                self._end(child)
                child.start()
            else:
                child.reload()
            self._await_ready(child)
        for child in gone:
            child.close()
            self._end(child)
        self.children = new
        self._enter(State.READY if all(child.pid for child in self._essential()) else State.DEGRADED)

    def _end(self, child: Child) -> None:
        """Stop one daemon and wait until it is gone."""
        pid, child.pid = child.pid, 0
        if not pid:
            return
        processes.kill(pid, signal.SIGTERM)
        limit = time.monotonic() + 1
        while pid in processes.children():
            if time.monotonic() > limit:
                processes.kill(pid, signal.SIGKILL)
            self._signals(TICK)

    def _stop(self) -> int:
        """Stop accepting, let deliveries finish within the grace time, leave the rest in the queue."""
        self._enter(State.STOPPING)
        grace = self.plan.grace if self.plan else 0.0
        self._say("info", f"stopping: deliveries under way have {grace:g} s")
        if self.doctor:
            processes.kill(self.doctor, signal.SIGKILL)  # it changes nothing, and is not waited for
        # what signs mail goes last: sessions under way need it
        last = [child for child in self.children if child.process.socket]
        for child in self.children:
            if child not in last:
                child.signal(signal.SIGTERM)
                child.close()
        shutdown = Shutdown(grace, frozenset(child.pid for child in last))
        while not shutdown.done():
            self._drain(0.05)
        for child in last:
            child.signal(signal.SIGTERM)
        rest = Shutdown(0.5, frozenset())
        while not rest.done():
            self._drain(0.02)
        cut = len(shutdown.left)
        self._say("info", f"stopped; {cut} processes were cut short, their mail is in the queue" if cut else "stopped")
        return 0

    def _drain(self, timeout: float) -> None:
        """Take a signal while stopping: only the ends of children still matter."""
        info = signal.sigtimedwait(SIGNALS, timeout)
        if info and info.si_signo == signal.SIGCHLD:
            self._reap()

    def _enter(self, state: State) -> None:
        self.state = state
        self._note_health()
        self.log.emit(events.State(time=time.time(), program="postroad", pid=os.getpid(), state=state))

    def _note_health(self) -> None:
        """For the health check, the state and the processes; on a second line, for ``postroad reload``, the reloads."""
        pids = [os.getpid(), *(child.pid for child in self._essential())]
        reloads = f"{self.reloads.begun} {self.reloads.ended} {'done' if self.reloads.done else 'failed'}"
        try:
            system.write(HEALTH, f"{' '.join([self.state, *map(str, pids)])}\n{reloads}\n")
        except PostroadError as error:
            # the health check goes on with what it has: mail is worth more than its file
            self._say("error", str(error))

    def _say(self, level: str, message: str) -> None:
        self.log.emit(
            events.Notice(time=time.time(), program="postroad", pid=os.getpid(), level=level, message=message)
        )


def main() -> int:
    """Run until told to stop; return the exit code: 0 stopped, 1 daemons can't be kept running, 2 can't start."""
    try:
        code = Supervisor().run()
    except PostroadError as error:
        sys.stderr.write(f"postroad: {error}\n")
        code = error.exit_code
    # what there was to write is written, or its reader does not read: an exit that flushes would wait for it for ever
    os._exit(code)
