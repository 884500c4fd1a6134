"""The supervisor: states, signals, reaping, back-off, reload.

Signals are blocked in every thread and taken one at a time in the main one (``sigtimedwait``), so nothing here is
interrupted. Rendering runs in a process that ends: pydantic and jinja2 never enter this one.
"""

import contextlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from postroad import system
from postroad.errors import CommandError, InstallError, PostroadError, plainly
from postroad.events import model as events
from postroad.runtime import acceptance, plan
from postroad.runtime.paths import CURRENT, DOCTOR, FEED, HEALTH, LOG_SOCKET, QUEUE, RATES, RUN
from postroad.runtime.reasons import not_running, not_serving
from postroad.supervisor import alone, processes
from postroad.supervisor.doctor import DoctorProcess
from postroad.supervisor.health import HealthFile, MemoryLimit, ProcessLimit
from postroad.supervisor.log import LogThread
from postroad.supervisor.outgoing import QueueWatch
from postroad.supervisor.processes import Child
from postroad.supervisor.rates import RateThread
from postroad.supervisor.shutdown import Shutdown
from postroad.supervisor.watch import Errand, FileWatch

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
TICK = 0.01
FAULT_PAUSE = 1.0
"""Seconds after a fault of its own in which it does nothing but take signals: it may come again at once."""
FRONT_FIRST = 2.0
"""Seconds for which a stop waits for the front's clients before sendmail is told: a message that begins needs it."""
LAST_EVENTS = 8.0
"""Seconds that the recorder has at the very end; on a busy machine it may not have begun yet."""
SOURCE = Path(__file__).parents[2]


class ServerState(StrEnum):
    """What the supervisor is doing."""

    PREPARING = "preparing"
    STARTING = "starting"
    READY = "ready"
    DEGRADED = "degraded"
    STOPPING = "stopping"


@dataclass
class Reloads:
    """The reloads so far, numbered from 1; ``postroad reload`` waits for one that began after its request.

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
        self.state = ServerState.PREPARING
        self.children: list[Child] = []
        alone.claim()  # before anything that the other server has is touched
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
        self.doctor = DoctorProcess(DOCTOR)
        self.rotation = 0
        """The process that does what is due for the DKIM keys; 0 if none runs."""
        self.keys = Errand(float("inf"))
        self.watch = FileWatch({}, float("inf"))
        self.health = HealthFile(HEALTH)
        self.limit = ProcessLimit()
        self.memory = MemoryLimit()
        self.queue = QueueWatch(QUEUE)
        self.reasons: list[str] = []
        """Why it is degraded."""
        self.began = time.monotonic()

    def run(self) -> int:
        """Run to the end; return the exit code."""
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        processes.adopt_orphans()
        processes.forbid_core_dumps()
        self._enter(ServerState.PREPARING)
        try:
            code, _, error = self._prepare()
            if code:
                sys.stderr.write(error)
                return code
            self.plan = plan.load(CURRENT / plan.FILE)
            self.log.start(self.plan)
            RateThread(RATES, self._say).start()
            self.queue.start()
            self._start_all(self.plan)
            if self.plan.run_doctor:
                self._examine("start")
            while True:
                self._turn()
        except StopRequested:
            return self._stop()
        except Exception as error:  # noqa: BLE001 - whatever it is, deliveries under way end in order
            self._say("error", str(error) if isinstance(error, PostroadError | OSError) else traceback.format_exc())
            self._stop()
            return error.exit_code if isinstance(error, PostroadError) else 1
        finally:
            with contextlib.suppress(OSError):
                system.remove(HEALTH)
            self.log.stop()
            self._end_recorder()

    def _turn(self) -> None:
        """Do the next step. A fault here does not stop the mail.

        Raises:
            StopRequested, SupervisionError: it is to end.
        """
        try:
            self._wait()
        except (StopRequested, SupervisionError):
            raise
        except Exception:  # noqa: BLE001
            self._say("error", f"a fault in the supervisor, the mail goes on: {traceback.format_exc()}")
            for child in self.children:
                if not child.pid and not child.due:
                    child.died()
            self._signals(FAULT_PAUSE)

    def _prepare(self) -> tuple[int, list[str], str]:
        """Validate, render and install in a process of its own: exit code, changed keys, error text."""
        argv = [sys.executable, "-m", "postroad.install"]
        code, out, err = system.capture(argv, cwd=SOURCE, timeout=plan.PREPARE_LIMIT)
        return code, out.splitlines(), err

    def _start_all(self, wanted: plan.Plan) -> None:
        self._enter(ServerState.STARTING)
        self._say("info", wanted.sources)
        self._say("info", wanted.policy)
        self._take(wanted)
        for process in wanted.processes:
            child = Child(process)
            self.children.append(child)
            self._bring_up(child)
        self._enter(ServerState.READY)
        self._judge()
        self._say("info", f"ready after {time.monotonic() - self.began:.2f} s")

    def _send(self, name: str, module: str) -> int:
        """Start a one-off process; return its process id, or 0 if it could not be started."""
        try:
            environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
            with self._output(name) as output:
                return system.spawn([sys.executable, "-m", module], environment, output=output)
        except (CommandError, OSError) as error:
            self._say("error", plainly(error))
            return 0

    def _examine(self, what: str) -> None:
        """Start the doctor, which logs its findings itself."""
        try:
            self.doctor.start(what, lambda: self._output("doctor"))
        except (CommandError, OSError) as error:
            self._say("error", plainly(error))

    @contextlib.contextmanager
    def _output(self, name: str) -> Iterator[int]:
        """A pipe for a process's output, whose lines become events."""
        output = self.log.output(name)
        try:
            yield output.target
        finally:
            output.started()

    def _start(self, child: Child) -> None:
        """Start it.

        Raises:
            CommandError: it could not be started.
        """
        try:
            with self._output(child.process.name) as output:
                child.start(output)
        except OSError as error:  # no descriptor is left
            raise CommandError(f"{child.process.name} could not be started: {error.strerror}") from error

    def _bring_up(self, child: Child) -> None:
        """Start it and wait until it serves; one that mail can do without may fail, and is tried again later.

        Raises:
            CommandError, SupervisionError: mail needs it, and it does not serve.
        """
        try:
            self._start(child)
            self._await_ready(child)
        except (CommandError, SupervisionError) as error:
            if child.process.essential:
                raise
            self._say("error", f"{error}; it will be started again, and mail goes on")
            if child.pid:
                child.signal(signal.SIGKILL)
            elif not child.due:
                child.died()

    def _take(self, wanted: plan.Plan) -> None:
        """Apply the settings of a plan other than its processes."""
        self.watch = FileWatch(wanted.watched, wanted.due, wanted.networks)
        self.keys = Errand(wanted.keys_due)
        self.doctor.follow(wanted.look_every)
        self.queue.retry = wanted.retry
        for warning in wanted.warnings:
            self._say("warning", warning)

    def _await_ready(self, child: Child) -> None:
        limit = time.monotonic() + plan.START_LIMIT
        while not child.ready:
            self._signals(TICK)
            if not child.pid:
                raise SupervisionError(f"{child.process.name} ended before it was ready: its last lines above say why")
            if time.monotonic() > limit:
                raise SupervisionError(f"{child.process.name} was not ready within {plan.START_LIMIT:g} s")

    def _wait(self) -> None:
        """Sleep until a signal comes, a dead child's time to start, or that to look at the files; then act."""
        due = [max(0.0, child.due - time.monotonic()) for child in self.children if child.due]
        self._signals(min([*due, self.watch.wait, self.limit.wait, self.doctor.wait]))
        if not self.rotation and self.keys.is_due():
            self.rotation = self._send("rotation", "postroad.rotation")
        if reason := self.watch.reason():
            self._say("info", reason)
            self._reload()
        for child in self.children:
            if child.due and child.due <= time.monotonic():
                self._restart(child)
        if self.reload_asked:
            self.reload_asked = False
            self._reload()
        if not self.doctor.wait and self.state is ServerState.READY:
            self._examine("regular")
        elif not self.doctor.wait:
            self.doctor.put_off()
        self._judge()

    def _judge(self) -> None:
        """Say whether it is ready: daemons that mail needs serve, nothing runs short, mail leaves."""
        if self.state not in {ServerState.READY, ServerState.DEGRADED}:
            return
        reasons = [not_running(child.process.name) for child in self._essential() if not child.pid]
        if self.state is ServerState.DEGRADED and not reasons:
            reasons = [not_serving(child.process.name) for child in self._essential() if not child.ready]
        for limit, option in ((self.limit, "--pids-limit"), (self.memory, "--memory")):
            if short := limit.reason():
                if short not in self.reasons:
                    self._say("error", f"{short}: mail waits or is refused for now; raise it (docker run {option})")
                reasons.append(short)
        for trouble in filter(None, (self.log.deliveries.reason(self.queue.retry), self.queue.reason)):
            if trouble not in self.reasons:
                self._say("error", trouble)
            reasons.append(trouble)
        before, self.reasons = self.reasons, reasons
        state = ServerState.DEGRADED if reasons else ServerState.READY
        if state is not self.state:
            self._enter(state)
        elif reasons != before:
            self._note_health()

    def _essential(self) -> list[Child]:
        return [child for child in self.children if child.process.essential]

    def _restart(self, child: Child) -> None:
        name = child.process.name
        if child.hopeless:
            raise SupervisionError(f"{name} died {child.deaths} times, each soon after its start: giving up")
        try:
            self._start(child)
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
        self._judge()

    def _signals(self, timeout: float) -> None:
        """Wait up to ``timeout`` seconds for one signal, and handle it."""
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
            if pid == self.rotation:
                self.rotation = 0
            if pid == self.doctor.pid:
                self.doctor.pid = 0
                if os.WIFSIGNALED(status) and self.state is not ServerState.STOPPING:
                    number = os.WTERMSIG(status)
                    self._say(
                        "warning",
                        f"the doctor's run was ended by {_signal_name(number)}, without a finding",
                    )
            for child in self.children:
                if child.pid == pid:
                    child.died()
                    self._tell_of_death(child.process.name, pid, os.waitstatus_to_exitcode(status))

    def _tell_of_death(self, name: str, pid: int, code: int) -> None:
        how = f"killed by {_signal_name(-code)}" if code < 0 else f"ended with exit code {code}"
        self.log.emit(events.Stopped(time=time.time(), program=name, pid=pid, status=how))
        if self.state is not ServerState.STOPPING:
            self._say("error", f"{name} {how}; it is started again")
        self._judge()

    def _reload(self) -> None:
        """Reload, and record when the reload began, when it ended, and how."""
        self.reloads.begun += 1
        self._note_health()
        self.reloads.done = self._put_in_force()
        self.reloads.ended = self.reloads.begun
        self._note_health()

    def _put_in_force(self) -> bool:
        """Put a changed configuration in force; False, and nothing changes, if it can't be used or served."""
        before, old = CURRENT.resolve(), self.plan
        wanted: plan.Plan | None = None
        try:
            code, changes, error = self._prepare()
            if not code:
                wanted = plan.load(CURRENT / plan.FILE)
        except Exception as failure:  # noqa: BLE001 - a plan that can't be read, whatever is wrong with it
            error = f"{type(failure).__name__}: {failure}"
        if wanted is None:
            self._say("error", f"reload failed, the configuration in force stays: {error.strip()}")
            self._put_back(before)
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
            if failed != before:
                system.remove(failed)
            return False
        self._say("info", f"reloaded ({len(changes)} changed); {wanted.policy}")
        return True

    def _put_back(self, before: Path) -> None:
        """Let ``current`` name the configuration in force again, where it names one that could not be used."""
        failed = CURRENT.resolve()
        if failed == before:
            return
        try:
            system.point(CURRENT, before)
            system.remove(failed)
        except (PostroadError, OSError) as error:
            self._say("error", f"{CURRENT} does not name the configuration in force, {before.name}: {plainly(error)}")

    def _switch(self, wanted: plan.Plan) -> None:
        """Run this plan's daemons; one whose command line stays the same reloads its files."""
        old = {child.process.name: child for child in self.children}
        self.plan = wanted
        self.log.follow(wanted)
        self._take(wanted)
        new = [old.get(process.name) or Child(process) for process in wanted.processes]
        gone = [child for child in self.children if child not in new]
        self.children = [*new, *gone]
        self._release(wanted)
        for child, process in zip(new, wanted.processes, strict=True):
            restart = child.process != process or not child.pid
            child.process = process
            if restart:
                self._end(child)
                self._bring_up(child)
            else:
                child.reload()
                if child.process.essential:
                    self._await_ready(child)
        for child in gone:
            child.close()
            self._end(child)
        self.children = new
        self._enter(ServerState.READY if all(child.pid for child in self._essential()) else ServerState.DEGRADED)
        self._judge()

    def _release(self, wanted: plan.Plan) -> None:
        """End daemons that inherited a port which another one of this plan opens by itself, before it does."""
        opened = {port for process in wanted.processes if not process.listens for port in process.ports}
        for child in self.children:
            if child.listener and child.process.listens and child.process.listens[1] in opened:
                self._end(child)
                child.close()

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
        self._enter(ServerState.STOPPING)
        grace = self.plan.grace if self.plan else 0.0
        self._say("info", f"stopping: deliveries under way have {grace:g} s")
        if self.doctor.pid:
            processes.kill(self.doctor.pid, signal.SIGKILL)  # it changes nothing, and is not waited for
        self._stop_front()
        # what signs mail goes last: sessions under way need it
        last = [child for child in self.children if child.process.socket]
        recorders = [child for child in self.children if child.process.name == "recorder"]
        for child in self.children:
            if child not in (*last, *recorders):
                child.signal(signal.SIGTERM)
                child.close()
        shutdown = Shutdown(grace, frozenset(child.pid for child in (*last, *recorders)))
        while not shutdown.done():
            self._drain(0.05)
        for child in last:
            child.signal(signal.SIGTERM)
        rest = Shutdown(0.5, frozenset(child.pid for child in recorders))
        while not rest.done():
            self._drain(0.02)
        cut = len(shutdown.left)
        self._say("info", f"stopped; {cut} processes were cut short, their mail is in the queue" if cut else "stopped")
        return 0

    def _end_recorder(self) -> None:
        """Have it carry the last events into the database: where the relay goes for good, nobody does so later."""
        for child in self.children:
            child.signal(signal.SIGTERM)
        ended = Shutdown(LAST_EVENTS, frozenset())
        while not ended.done():
            self._drain(0.02)

    def _stop_front(self) -> None:
        """Have new connections refused, while whoever is connected may still hand over a message for a moment."""
        for child in self.children:
            if child.process.listens and child.pid:
                limit = time.monotonic() + FRONT_FIRST
                child.signal(signal.SIGTERM)
                child.close()
                while child.pid in processes.children() and time.monotonic() < limit:
                    self._drain(0.02)

    def _drain(self, timeout: float) -> None:
        """Handle a signal while stopping: only the ends of children still matter."""
        info = signal.sigtimedwait(SIGNALS, timeout)
        if info and info.si_signo == signal.SIGCHLD:
            self._reap()

    def _enter(self, state: ServerState) -> None:
        self.state = state
        self._note_health()
        self.log.emit(events.State(time=time.time(), program="postroad", pid=os.getpid(), state=state))

    def _note_health(self) -> None:
        """For the health check, the state and the processes; on a second line, for ``postroad reload``, the reloads."""
        pids = [os.getpid(), *(child.pid for child in self._essential())]
        reloads = f"{self.reloads.begun} {self.reloads.ended} {'done' if self.reloads.done else 'failed'}"
        try:
            self.health.write(self.state, pids, reloads, self.reasons)
        except (PostroadError, OSError) as error:
            # the health check goes on with what it has: mail is worth more than its file
            self._say("error", plainly(error))

    def _say(self, level: str, message: str) -> None:
        self.log.emit(
            events.Notice(time=time.time(), program="postroad", pid=os.getpid(), level=level, message=message)
        )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal has none
        return f"signal {number}"


def main() -> int:
    """Run until told to stop; return the exit code: 0 stopped, 1 daemons can't be kept running, 2 can't start."""
    try:
        code = Supervisor().run()
    except PostroadError as error:
        sys.stderr.write(f"postroad: {error}\n")
        code = error.exit_code
    # what there was to write is written, or its reader does not read: an exit that flushes would wait for it for ever
    os._exit(code)
