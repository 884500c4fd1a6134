"""The supervisor step by step: whatever a helper does, or goes wrong in here, the mail goes on or ends in order."""

import signal
import socket
from pathlib import Path

import pytest

from postroad.errors import InstallError
from postroad.events import model as events
from postroad.runtime import handover
from postroad.supervisor import main, processes
from postroad.supervisor.main import StopRequested, SupervisionError
from tests.unit.supervision import World, plan, process

SENDMAIL, SIGNER = process("sendmail"), process("signer", socket="/sock")
RECORDER = process("recorder", essential=False)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


def test_a_helper_that_dies_for_ever_ends_nothing(world: World) -> None:
    world.begin(SENDMAIL, RECORDER)
    for _ in range(1500):
        world.settle()
        while "recorder" not in world.running.values():
            world.turn()
        world.end("recorder", 9)
    assert world.state == "ready"
    assert world.health[0].startswith("ready ")
    assert world.now < 1000 + 1500 * 31


def test_mail_s_own_daemon_is_given_up_after_some_deaths(world: World) -> None:
    world.begin(SENDMAIL)
    with pytest.raises(SupervisionError, match="sendmail died 6 times"):  # noqa: PT012
        for _ in range(100):
            if "sendmail" in world.running.values():
                world.end("sendmail", 0)
            world.turn()


def test_a_real_time_signal_has_no_name(world: World) -> None:
    world.begin(SENDMAIL, RECORDER)
    world.end("recorder", int(signal.SIGRTMIN) + 1)
    world.settle()
    (stopped,) = [event for event in world.log.events if isinstance(event, events.Stopped)]
    assert stopped.status == f"killed by signal {int(signal.SIGRTMIN) + 1}"


def test_a_helper_that_can_t_be_started_delays_no_mail(world: World) -> None:
    world.refused.add("recorder")
    world.begin(SENDMAIL, RECORDER)
    assert world.state == "ready"
    assert any("recorder could not be started" in text for text in world.log.said())
    world.refused.clear()
    world.turn(3)
    assert "recorder" in world.running.values()


def test_a_daemon_that_can_t_be_started_ends_it(world: World) -> None:
    world.silent.add("sendmail")
    with pytest.raises(SupervisionError, match="sendmail was not ready within 30 s"):
        world.begin(SENDMAIL)


@pytest.mark.parametrize("fault", [OverflowError("too large"), OSError(24, "too many"), InstallError("no space")])
def test_a_fault_of_its_own_is_told_and_the_mail_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    world.begin(SENDMAIL)

    def fail() -> str:
        raise fault

    with monkeypatch.context() as broken:
        broken.setattr(world.supervisor.watch, "reason", fail)
        before = world.now
        world.turn(3)
        assert world.now >= before + 3 * main.FAULT_PAUSE
    assert sum(type(fault).__name__ in text for text in world.log.said()) == 3
    world.end("sendmail", 9)
    world.settle()
    world.turn()
    assert "sendmail" in world.running.values()
    world.signals.append(signal.SIGTERM)
    with pytest.raises(StopRequested):
        world.turn()


def test_ready_only_when_all_serve_again(world: World) -> None:
    world.begin(SIGNER, SENDMAIL)
    world.refused |= {"sendmail", "signer"}
    world.end("sendmail", 9)
    world.end("signer", 9)
    world.settle()
    assert world.state == "degraded"
    assert world.health[2:] == ["signer does not run", "sendmail does not run"]
    world.refused = {"signer"}
    while "sendmail" not in world.running.values():
        world.turn()
    assert world.state == "degraded"
    world.refused = set()
    while "signer" not in world.running.values():
        world.turn()
    assert world.state == "ready"
    assert world.health[2:] == []


def test_degraded_where_processes_run_short(world: World) -> None:
    world.begin(SENDMAIL)
    (world.run / "pids.max").write_text("20\n")
    (world.run / "pids.current").write_text("20\n")
    world.turn(2)
    assert world.state == "degraded"
    assert world.health[0].startswith("degraded ")
    assert world.health[2:] == ["the limit of processes (pids) is reached: it is 20"]
    world.turn(5)
    assert len(world.log.said()) == 1
    (world.run / "pids.current").write_text("9\n")
    (world.run / "pids.events").write_text("max 3\n")  # between two looks
    world.turn(2)
    assert world.state == "degraded"
    world.turn(14)
    assert world.state == "ready"


def test_a_port_that_goes_to_another_daemon_is_free_before_that_one_reloads(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "listen", lambda *_: socket.socket())
    world.begin(SENDMAIL, process("front", ports=(587,), listens=("inet", 587)))
    (front,) = [child for child in world.supervisor.children if child.process.name == "front"]
    held = front.listener
    world.kills.clear()
    world.supervisor._switch(
        plan(process("sendmail", ports=(587,)), process("front", ports=(25,), listens=("inet", 25)))
    )
    assert world.kills[0] == ("front", signal.SIGTERM)
    assert held is not None
    assert held.fileno() == -1
    assert front.listener is not None
    assert sorted(world.running.values()) == ["front", "sendmail"]

    # one whose port nobody else wants goes on meanwhile
    world.kills.clear()
    world.supervisor._switch(
        plan(process("sendmail", ports=(465, 587)), process("front", ports=(26,), listens=("inet", 26)))
    )
    assert world.kills[0] == ("sendmail", signal.SIGTERM)
    front.close()


def configuration(world: World, number: int, text: str) -> Path:
    folder = world.run / f"gen-{number}"
    folder.mkdir()
    (folder / "plan.json").write_text(text)
    current = world.run / "current"
    current.unlink(missing_ok=True)
    current.symlink_to(folder.name)
    return folder


@pytest.mark.parametrize("text", ["", "{}", '{"processes": 1}', '{"processes": [{}]}', "[]"])
def test_a_plan_that_can_t_be_read_changes_nothing(world: World, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    world.begin(SENDMAIL)
    first = configuration(world, 1, handover.dumps(plan(SENDMAIL)))

    def prepare() -> tuple[int, list[str], str]:
        configuration(world, 2, text)
        return 0, [], ""

    monkeypatch.setattr(world.supervisor, "_prepare", prepare)
    world.signals.append(signal.SIGHUP)
    world.turn()
    assert "the configuration in force stays" in world.log.said()[0]
    assert (world.run / "current").resolve() == first
    assert not (world.run / "gen-2").exists()
    assert world.health[:2] == [f"ready {world.health[0].split()[1]} 100", "1 1 failed"]


def test_a_plan_that_is_not_served_is_taken_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.begin(SENDMAIL)
    first = configuration(world, 1, handover.dumps(plan(SENDMAIL)))

    def prepare() -> tuple[int, list[str], str]:
        configuration(world, 2, handover.dumps(plan(SENDMAIL, process("mta-sts"))))
        return 0, [], ""

    monkeypatch.setattr(world.supervisor, "_prepare", prepare)
    world.refused.add("mta-sts")
    world.signals.append(signal.SIGHUP)
    world.turn()
    assert (world.run / "current").resolve() == first
    assert list(world.running.values()) == ["sendmail"]
    assert world.state == "ready"


def test_a_helper_that_a_reload_can_t_start_is_tried_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.begin(SENDMAIL)
    configuration(world, 1, handover.dumps(plan(SENDMAIL, RECORDER)))
    monkeypatch.setattr(world.supervisor, "_prepare", lambda: (0, [], ""))
    world.refused.add("recorder")
    world.signals.append(signal.SIGHUP)
    world.turn()
    assert world.health[1] == "1 1 done"
    world.refused.clear()
    world.turn(3)
    assert "recorder" in world.running.values()


def test_the_front_refuses_before_sendmail_is_told_and_is_waited_for_a_moment(world: World) -> None:
    front = process("front", listens=("127.0.0.1", 0))
    world.begin(front, SENDMAIL)
    (child,) = [each for each in world.supervisor.children if each.process is front]
    world.stubborn.add("front")
    began = world.now
    assert world.supervisor._stop() == 0
    terminated = [name for name, number in world.kills if number == signal.SIGTERM]
    assert terminated[0] == "front"
    assert sorted(terminated[1:3]) == ["front", "sendmail"]
    assert child.listener is None
    assert world.now - began >= main.FRONT_FIRST


def test_what_signs_ends_after_what_sends_and_who_does_not_end_is_killed(world: World) -> None:
    world.begin(SIGNER, SENDMAIL)
    world.stubborn.add("sendmail")
    assert world.supervisor._stop() == 0
    assert world.kills == [
        ("sendmail", signal.SIGTERM),
        ("sendmail", signal.SIGTERM), ("sendmail", signal.SIGKILL), ("signer", signal.SIGTERM),
    ]  # fmt: skip
    assert world.state == "stopping"


@pytest.mark.parametrize("stubborn", [False, True])
def test_the_recorder_ends_when_all_is_in_the_journal(
    world: World, monkeypatch: pytest.MonkeyPatch, stubborn: bool
) -> None:
    def stop_requested() -> None:
        raise StopRequested

    for module, name in ((signal, "pthread_sigmask"), (processes, "adopt_orphans"), (processes, "forbid_core_dumps")):
        monkeypatch.setattr(module, name, lambda *_: None)
    monkeypatch.setattr(world.supervisor, "_prepare", stop_requested)
    monkeypatch.setattr(world.log, "stop", lambda: world.kills.append(("the log is written", signal.SIGTERM)))
    world.begin(SIGNER, SENDMAIL, RECORDER)
    if stubborn:
        world.stubborn.add("recorder")
    began = world.now
    assert world.supervisor.run() == 0
    names = [name for name, _ in world.kills]
    assert names[:4] == ["sendmail", "signer", "the log is written", "recorder"]
    assert world.running == {}
    assert world.now - began < main.LAST_EVENTS + 1
