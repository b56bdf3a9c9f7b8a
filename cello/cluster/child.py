"""A worker process of a cluster: a ``Worker`` that beats, listens to its supervisor, and asks to be recycled.

It ends when it is told to, when the supervisor is gone, or by its second SIGTERM; the first only asks for a
replacement, so that whoever kills a worker by hand loses nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import logging
import os
import random
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from ..config import RunOptions
from ..errors import StartError
from ..server.descriptors import RESERVED_DESCRIPTORS
from ..server.signals import end_as_by_default
from ..server.worker import Application, Worker, finish, new_event_loop
from .channel import Channel, Closed, Message
from .handover import unblock_signals
from .leader import Seat, flush_output, reopen_logs
from .scoreboard import Row, Scoreboard

logger = logging.getLogger("cello")

BEAT_SECONDS = 0.1
BEATS_PER_LOOK = 5  # at the memory that is held, which costs three system calls
RELOAD_GRACE_SECONDS = 2.0  # for what runs when development code is replaced

# The terminal's, meant for the supervisor. A program that a handler executes shall not ignore what the worker
# does: an ignored signal is inherited, a handler is not. The last two cannot be left by doing nothing.
_UNHEEDED = ("SIGINT", "SIGHUP", "SIGQUIT")
_IGNORED = ("SIGTTIN", "SIGTTOU")


def run_worker(application: Application, options: RunOptions, board: Scoreboard, seat: Seat) -> NoReturn:
    """Serve in this process, whose only task this is; never returns."""
    status = 1
    try:
        status = _Child(application, options, board, seat).run()
    except StartError as exc:
        print(f"cello: {exc}", file=sys.stderr)
        status = exc.exit_status
    except SystemExit as exc:
        status = exc.code if isinstance(exc.code, int) else 0 if exc.code is None else 1
        if isinstance(exc.code, str):  # as Python does with what sys.exit() was told
            print(exc.code, file=sys.stderr)
    except BaseException:  # noqa: BLE001 - whatever it is, this process ends here, and says so
        traceback.print_exc()
    finally:
        _end_children()
        logging.shutdown()
        flush_output()
        os._exit(status)  # the frames below this one belong to the program that the supervisor runs


class _Child:
    def __init__(self, application: Application, options: RunOptions, board: Scoreboard, seat: Seat) -> None:
        self._application = application
        self._options = options
        self._seat = seat
        self._row = Row(board, seat.row)
        self._control = Channel(seat.control)
        mine = [listener.dup() for listener in _listeners_of(seat, seat.slot)]
        inherited = sum(map(len, seat.listeners.values()))
        self._worker = Worker(
            application,
            options,
            mine,
            board=self._row,
            reserved_descriptors=RESERVED_DESCRIPTORS + inherited,
        )
        self._limits = _Limits(options)
        self._beat_count = 0
        self._rss = 0
        self._is_ready = False
        self._is_draining = False
        self._has_asked = False
        self._main: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop

    def run(self) -> int:
        self._loop = loop = new_event_loop()
        asyncio.set_event_loop(None)
        self._set_signals()
        loop.add_reader(self._control.fileno(), self._listen_to_supervisor)
        self._row.beat()
        loop.call_later(BEAT_SECONDS, self._beat)
        try:
            self._main = loop.create_task(self._worker.serve(self._say_ready))
            with contextlib.suppress(asyncio.CancelledError):  # told to end while it started
                loop.run_until_complete(self._main)
            loop.run_until_complete(finish(loop))
        finally:
            loop.remove_reader(self._control.fileno())
            loop.close()
        return 0

    # Signals.

    def _set_signals(self) -> None:
        for names, reaction in ((_UNHEEDED, _nothing), (_IGNORED, signal.SIG_IGN)):
            for name in names:
                if hasattr(signal, name):
                    signal.signal(getattr(signal, name), reaction)
        # Whatever the leader set is inherited; what it does not know of is the application's.
        if hasattr(signal, "SIGCHLD"):
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._on_signal(signal.SIGTERM, self._terminated)
        if self._seat.stacks >= 0:
            faulthandler.enable(self._seat.stacks, all_threads=True)
        if hasattr(signal, "SIGUSR1"):
            self._on_signal(signal.SIGUSR1, reopen_logs)
            faulthandler.register(signal.SIGUSR2, self._seat.stacks, all_threads=True, chain=False)
        unblock_signals()

    def _on_signal(self, number: int, act: Callable[[], None]) -> None:
        worker = os.getpid()

        def react(number: int, frame: FrameType | None) -> None:
            if os.getpid() == worker:
                self._loop.call_soon_threadsafe(act)
            else:
                end_as_by_default(number)

        signal.signal(number, react)

    def _terminated(self) -> None:
        if not self._has_asked:
            self._has_asked = True
            self._control.send({"is": "replace", "reason": "SIGTERM"})
        elif not self._is_draining:
            self._control.send({"is": "draining"})
            self._drain("replaced")

    # The supervisor's messages.

    def _listen_to_supervisor(self) -> None:
        try:
            messages = self._control.receive()
        except Closed:
            self._loop.remove_reader(self._control.fileno())
            if not self._is_draining:
                logger.error("the supervisor is gone: finishing what runs, then this worker ends too")
                self._close_foreign(but=[self._seat.slot])
                self._drain("stop")
            return
        for message in messages:
            self._do(message)

    def _do(self, message: Message) -> None:
        what = message["do"]
        if what in ("adopt", "release") and self._is_draining:
            return  # it has no listeners any more
        if what == "adopt":
            listeners = [listener.dup() for listener in _listeners_of(self._seat, message["slot"])]
            self._worker.adopt(message["slot"], listeners)
        elif what == "release":
            self._worker.release(message["slot"])
        elif what == "listen":
            taken = self._control.take(message["count"])
            self._seat.listeners[message["slot"]] = [socket.socket(fileno=each) for each in taken]
        elif what == "unlisten":
            for listener in self._seat.listeners.pop(message["slot"], ()):
                listener.close()
        elif what == "close":
            self._close_foreign(message["but"])
            self._control.send({"is": "closed"})
        elif what == "unready":
            self._application.begin_stop()
        elif what == "drain":
            self._drain(message["reason"])

    def _close_foreign(self, but: list[int]) -> None:
        """Close the listeners of other workers; what is left is this worker's to empty."""
        for listeners in self._seat.listeners.values():
            for listener in listeners:
                listener.close()  # the worker's own are duplicates
        self._seat.listeners.clear()
        if self._seat.slot not in but:
            self._worker.leave_queue()

    def _drain(self, reason: str) -> None:
        if self._is_draining:
            return
        self._is_draining = True
        self._close_foreign(but=[self._seat.slot])  # or who waits there would wait for this process's end
        if not self._is_ready:
            assert self._main is not None
            self._main.cancel()
            return
        if reason != "stop":
            self._worker.leave_queue()  # its replacement serves who waits there
        is_development = reason == "reload" and self._options.env == "development"
        self._worker.stop(RELOAD_GRACE_SECONDS if is_development else None)

    # What the worker says.

    def _say_ready(self) -> None:
        self._is_ready = True
        self._row.beat()
        self._control.send({"is": "ready"})

    def _beat(self) -> None:
        self._row.beat()
        self._control.flush()
        self._worker.trim()
        if self._beat_count % BEATS_PER_LOOK == 0:
            self._rss = rss_bytes()
            self._row.set_rss(self._rss)
        self._beat_count += 1
        self._look()
        self._loop.call_later(BEAT_SECONDS, self._beat)

    def _look(self) -> None:
        count = self._worker.answered_count
        self._row.set_requests(count)
        reason = self._limits.reached(count, self._rss, time.monotonic())
        if reason is not None and self._is_ready and not self._has_asked and not self._is_draining:
            self._has_asked = True
            self._control.send({"is": "replace", "reason": reason})


class _Limits:
    """When a worker has served long enough: up to 10% sooner, so that not all end at once."""

    def __init__(self, options: RunOptions) -> None:
        cluster = options.cluster
        self._requests = self._rss = self._until = float("inf")
        if cluster is None:
            return
        if cluster.max_requests is not None:
            self._requests = cluster.max_requests * _jitter()
        if cluster.max_rss is not None:
            self._rss = cluster.max_rss * _jitter()
        if cluster.max_lifetime is not None:
            self._until = time.monotonic() + cluster.max_lifetime * _jitter()

    def reached(self, count: int, rss: int, now: float) -> str | None:
        """Return which limit is reached, in words."""
        if count >= self._requests:
            return f"it has answered {count} requests (max_requests)"
        if rss >= self._rss:
            return f"it holds {rss / 1048576:.0f} MiB (max_rss)"
        if now >= self._until:
            return "it has lived long enough (max_lifetime)"
        return None


def _end_children() -> None:
    """End the processes that the application has left in multiprocessing's hands.

    They have inherited the listeners: whoever outlives the cluster would keep its port.
    """
    multiprocessing = sys.modules.get("multiprocessing")
    for child in multiprocessing.active_children() if multiprocessing is not None else ():
        with contextlib.suppress(Exception):
            child.terminate()


def _nothing(number: int, frame: FrameType | None) -> None:
    """Do nothing, which is not to ignore the signal: see above."""


def _jitter() -> float:
    return 1 - 0.1 * random.random()


def _listeners_of(seat: Seat, slot: int) -> list[socket.socket]:
    """Return a slot's listeners; where all share one set, that."""
    return seat.listeners.get(slot) or next(iter(seat.listeners.values()))


def rss_bytes() -> int:
    """Return the bytes of memory that this process holds; 0 where the system does not say."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return _peak_rss()


def _peak_rss() -> int:
    """Return the most memory that was held so far, which getrusage() knows everywhere on Unix."""
    try:
        import resource
    except ImportError:
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
