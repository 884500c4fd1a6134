"""One thread, one epoll: sockets that never block, and what is to be done at a time."""

import heapq
import itertools
import os
import select
import socket
import time
from collections.abc import Callable
from functools import partial

MOST_HELD = 1 << 18
"""Octets that may wait for the other side before whoever sends them is not read any more."""
READ = 1 << 16


class Loop:
    """An event loop: calls back on readiness of descriptors and at times."""

    def __init__(self) -> None:
        """Begin with nothing to wait for."""
        self._epoll = select.epoll()
        self._calls: dict[int, Callable[[int], None]] = {}
        self._times: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._soon: list[Callable[[], None]] = []
        self.now = time.monotonic()
        self.running = True
        self.failed: Callable[[Exception], None] = lambda _: None
        """Called with what a call has raised."""

    def watch(self, descriptor: int, mask: int, call: Callable[[int], None]) -> None:
        """Call with the events of a descriptor, from now on."""
        self._calls[descriptor] = call
        self._epoll.register(descriptor, mask)

    def change(self, descriptor: int, mask: int) -> None:
        """Wait for other events of a descriptor."""
        self._epoll.modify(descriptor, mask)

    def forget(self, descriptor: int) -> None:
        """Stop watching a descriptor; call it before closing the descriptor."""
        del self._calls[descriptor]
        self._epoll.unregister(descriptor)

    def at(self, when: float, call: Callable[[], None]) -> None:
        """Call once at this time of ``now``."""
        heapq.heappush(self._times, (when, next(self._numbers), call))

    def soon(self, call: Callable[[], None]) -> None:
        """Call once before the next wait."""
        self._soon.append(call)

    def run(self) -> None:
        """Go on until ``running`` is false."""
        while self.running:
            wait = max(0.0, self._times[0][0] - time.monotonic()) if self._times else -1
            ready = self._epoll.poll(wait, 256)
            self.now = time.monotonic()
            for descriptor, events in ready:
                # an earlier call may have closed it; a new one with its number is called for nothing then
                if call := self._calls.get(descriptor):
                    self._safely(partial(call, events))
            while self._times and self._times[0][0] <= self.now:
                self._safely(heapq.heappop(self._times)[2])
            while self._soon:
                soon, self._soon = self._soon, []
                for each in soon:
                    self._safely(each)

    def _safely(self, call: Callable[[], None]) -> None:
        """Call it; report an exception, so that other clients are still served."""
        try:
            call()
        except Exception as error:  # noqa: BLE001 - whatever it is
            self.failed(error)


class Stream:
    """A connected socket: what is written to it waits in here until the other side takes it."""

    __slots__ = (
        *("_at_end", "_ended", "_held", "_loop", "_mask", "_reading", "_shut", "_socket", "closed", "descriptor"),
        "source",
    )

    def __init__(self, loop: Loop, connected: socket.socket) -> None:
        """Take over a socket, and read from it."""
        connected.setblocking(False)
        self._loop = loop
        self._socket = connected
        self._held = bytearray()
        self._mask = select.EPOLLIN
        self._reading = True
        self._at_end = False  # the other side has said that nothing more comes
        self._ended = False  # to be closed when all is written
        self._shut = False  # likewise, but for writing only
        self.closed = False
        self.source: Stream | None = None
        """Who is not read while too much waits in here."""
        self.descriptor = connected.fileno()
        loop.watch(self.descriptor, self._mask, self._event)

    # what a subclass does with what comes

    def received(self, data: bytes) -> None:
        """Something was read."""
        raise NotImplementedError

    def ended(self) -> None:
        """The other side will send nothing more."""
        raise NotImplementedError

    def lost(self) -> None:
        """The connection is closed, by whichever side. Called once."""
        raise NotImplementedError

    # what it may do

    @property
    def full(self) -> bool:
        """Whether so much waits here that its source should not be read."""
        return len(self._held) > MOST_HELD

    def write(self, data: bytes) -> None:
        """Send this after what waits already; nothing happens where the connection is closed."""
        if self.closed or self._ended or self._shut:
            return
        if not self._held:
            try:
                sent = self._socket.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                self._loop.soon(self.close)
                return
            if sent == len(data):
                return
            data = data[sent:]
        self._held += data
        self._wait()

    def finish(self) -> None:
        """Close when all is written."""
        self._ended = True
        if not self._held:
            self._loop.soon(self.close)

    def finish_writing(self) -> None:
        """Tell the other side, when all is written, that nothing more comes."""
        self._shut = True
        if not self._held and not self.closed:
            self._shutdown()

    def reading(self, wanted: bool) -> None:
        """Read from it, or leave incoming data to the kernel."""
        wanted = wanted and not self._at_end
        if self._reading != wanted:
            self._reading = wanted
            self._wait()

    def close(self) -> None:
        """Close it now."""
        if self.closed:
            return
        self.closed = True
        self._loop.forget(self.descriptor)
        self._socket.close()
        if self.source is not None:
            self.source.reading(True)
            self.source = None
        self.lost()

    def _shutdown(self) -> None:
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            self._loop.soon(self.close)

    def _wait(self) -> None:
        if self.closed:
            return
        mask = (select.EPOLLIN if self._reading else 0) | (select.EPOLLOUT if self._held else 0)
        if mask != self._mask:
            self._mask = mask
            self._loop.change(self.descriptor, mask)

    def _event(self, events: int) -> None:
        try:
            self._came(events)
        except Exception:
            self.close()
            raise

    def _came(self, events: int) -> None:
        if events & select.EPOLLOUT and self._held:
            self._send_held()
        if self.closed:
            return
        gone = events & (select.EPOLLHUP | select.EPOLLERR)
        if gone and self._at_end:
            self.close()
        elif gone or (events & select.EPOLLIN and self._reading):
            try:
                data = self._socket.recv(READ)
            except BlockingIOError:
                return
            except OSError:
                self.close()
                return
            if data:
                self.received(data)
            else:
                self._at_end = True
                self.reading(False)
                self.ended()

    def _send_held(self) -> None:
        try:
            sent = self._socket.send(self._held)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        del self._held[:sent]
        if self._held:
            return
        self._wait()
        if self._ended:
            self.close()
            return
        if self._shut:
            self._shutdown()
        if self.source is not None:
            source, self.source = self.source, None
            source.reading(True)

    def hold_back(self, source: "Stream") -> None:
        """Do not read ``source`` until what waits here is gone."""
        if self.full and not self.closed:
            self.source = source
            source.reading(False)


def process_ended(loop: Loop, pid: int, call: Callable[[], None]) -> None:
    """Reap a child when it ends, then call."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:  # there are no descriptors now
        loop.at(loop.now + 1, partial(process_ended, loop, pid, call))
        return

    def ended(_: int) -> None:
        loop.forget(descriptor)
        os.close(descriptor)
        os.waitpid(pid, 0)
        call()

    loop.watch(descriptor, select.EPOLLIN, ended)
