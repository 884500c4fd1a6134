"""Whether mail leaves, by what fails and by what nobody tries."""

import os
from pathlib import Path

from postroad.events.model import Bounced, Deferred, Delivered
from postroad.runtime.reasons import NONE_SUCCEEDS, NOT_TRIED
from postroad.sinks.told import Told
from postroad.supervisor.outgoing import LEAST, Deliveries, QueueWatch, untried

RETRY = 300.0


class World:
    def __init__(self) -> None:
        self.now = 0.0
        self.deliveries = Deliveries(lambda: self.now)

    def event(self, kind: type[Delivered] | type[Deferred] | type[Bounced], domain: str, **more: str) -> None:
        host, reply = more.get("relay_host", f"mx.{domain}"), more.get("reply")
        made = kind(time=0.0, program="sendmail", pid=1, recipient=f"user@{domain}", relay_host=host, reply=reply)
        self.deliveries.handle([Told(made)])

    def fail(self, *domains: str, times: int = 3, **more: str) -> None:
        """Each is tried several times, and fails."""
        for _ in range(times):
            for domain in domains:
                self.event(Deferred, domain, **more)
            self.now += RETRY

    @property
    def reason(self) -> str:
        return self.deliveries.reason(RETRY)


def test_several_receivers_that_took_mail_before_fail_and_none_succeeds() -> None:
    world = World()
    world.event(Delivered, "a.example")
    world.event(Delivered, "b.example")
    world.fail("a.example", "b.example", times=2)
    assert world.reason == NONE_SUCCEEDS
    world.event(Delivered, "c.example")
    assert world.reason == ""


def test_a_bounce_that_came_back_says_nothing_of_receivers() -> None:
    """It names a server behind the receiver that we reach, or fail to."""
    world = World()
    world.event(Delivered, "a.example")
    world.event(Delivered, "b.example")
    world.fail("a.example", "b.example", times=2)
    late = Bounced(time=0.0, recipient="user@a.example", relay_host="mx.a.example", reply="550 5.1.1 no", late=True)
    world.deliveries.handle([Told(late)])
    assert world.reason == NONE_SUCCEEDS


def test_a_moment_is_not_a_while() -> None:
    world = World()
    for domain in ("a.example", "b.example"):
        world.event(Delivered, domain)
    world.now += 10 * RETRY  # a quiet night
    world.fail("a.example", "b.example", times=1)  # grey lists
    assert world.reason == ""


def test_one_receiver_that_is_down_is_no_trouble_of_ours() -> None:
    world = World()
    world.event(Delivered, "a.example")
    world.fail("a.example", times=9)
    assert world.reason == ""


def test_nor_is_a_smarthost_for_many_domains_or_a_domain_with_many_hosts() -> None:
    world = World()
    world.fail("a.example", "b.example", relay_host="smarthost.example", times=9)
    assert world.reason == ""
    world = World()
    for host in ("mx1.a.example", "mx2.a.example") * 4:
        world.fail("a.example", relay_host=host, times=1)
    assert world.reason == ""


def test_domains_that_never_took_mail_are_no_trouble_where_others_did() -> None:
    world = World()
    world.event(Delivered, "good.example")
    world.fail("typo.example", "dead.example", "good.example", times=9)
    assert world.reason == ""


def test_where_nobody_ever_took_mail_two_are_enough() -> None:
    world = World()
    world.fail("a.example", "b.example", times=2)
    assert world.reason == NONE_SUCCEEDS
    world = World()
    world.fail("a.example", "b.example", relay_host="", times=2)  # no host was found: the resolver is down
    assert world.reason == NONE_SUCCEEDS


def test_a_refusal_for_good_shows_that_the_receiver_is_there() -> None:
    world = World()
    world.fail("a.example", "b.example", times=2)
    world.event(Bounced, "a.example", reply="550 no such user")
    assert world.reason == ""


def test_what_is_tried_no_more_says_nothing() -> None:
    world = World()
    world.fail("a.example", "b.example", times=2)
    world.now += 9 * RETRY  # somebody has deleted it
    assert world.reason == ""


def control_file(folder: Path, name: str, at: float) -> None:
    (folder / name).write_text("V8\n")
    os.utime(folder / name, (at, at))


def test_mail_that_nobody_tries(tmp_path: Path) -> None:
    proc = tmp_path / "proc"
    (proc / "7").mkdir(parents=True)
    (proc / "7" / "cmdline").write_text("sendmail: ./busy mx.example.: client DATA status\0")
    control_file(tmp_path, "qfold", 100)
    control_file(tmp_path, "qfbusy", 100)
    control_file(tmp_path, "qfnew", 500)
    control_file(tmp_path, "dfold", 100)
    (tmp_path / "r1").mkdir()  # the shaper's
    control_file(tmp_path / "r1", "qfturn", 100)
    assert untried(tmp_path, 400, proc) == ["old"]
    assert untried(tmp_path, 50, proc) == []


def test_mail_that_waits_for_a_receiver_that_gets_less(tmp_path: Path) -> None:
    for name, domain in (("qfone", "one.example"), ("qftwo", "two.example")):
        (tmp_path / name).write_text(f"V8\nT1\nS<a@b.example>\nRPFD:<u@{domain}>\n.\n")
        os.utime(tmp_path / name, (100, 100))
    proc = tmp_path / "proc"
    proc.mkdir()
    assert sorted(untried(tmp_path, 400, proc)) == ["one", "two"]
    assert untried(tmp_path, 400, proc, held={"one.example"}) == ["two"]


def test_two_retry_intervals_count_from_the_start_and_from_when_the_clock_was_set(tmp_path: Path) -> None:
    watch = QueueWatch(tmp_path)
    watch.retry = RETRY
    control_file(tmp_path, "qf6AO58bxT000041", 0)
    watch.measure(100_000, 5)
    assert watch.reason == ""  # it has just begun
    watch.measure(100_000 + 2 * RETRY, 5 + 2 * RETRY)
    assert watch.reason == NOT_TRIED
    watch.measure(200_000, 6 + 2 * RETRY)
    assert watch.reason == ""
    watch.measure(200_000 + 2 * RETRY, 6 + 4 * RETRY)
    assert watch.reason == NOT_TRIED
    control_file(tmp_path, "qf6AO58bxT000041", 200_000 + RETRY)
    watch.measure(200_001 + 2 * RETRY, 7 + 4 * RETRY)
    assert watch.reason == ""


def test_a_retry_of_seconds_is_no_reason_to_hurry(tmp_path: Path) -> None:
    watch = QueueWatch(tmp_path)
    watch.retry = 1
    control_file(tmp_path, "qf6AO58bxT000041", 0)
    watch.measure(100_000, 5)
    watch.measure(100_002 + LEAST / 2, 7 + LEAST / 2)
    assert watch.reason == ""
