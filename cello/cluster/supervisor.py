"""The supervisor: carries out what ``machine`` decides, and tells it what became of that.

It owns the listeners, the scoreboard and the signals, and runs no code of the application: nothing that a
handler does can take it down. Whatever goes wrong in here is logged, and never ends it.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import logging
import os
import random
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from ..config import RunOptions
from ..options import shutdown_delay_seconds
from ..server.banner import announce
from ..server.descriptors import RESERVED_DESCRIPTORS, make_room
from ..server.signals import stop_line
from ..server.sockets import url_of
from ..server.systemd import notify, reloading, watchdog_seconds
from . import events as ev
from .events import Action, Event
from .leader import can_fork, reopen_logs
from .listening import SHARED, Listeners
from .machine import Machine
from .processes import KILL_SIGNAL, Processes
from .states import CANNOT_FORK, Phase, Settings

logger = logging.getLogger("cello")

Watch = Callable[[Callable[[str], None]], Callable[[], None]]

TICK_SECONDS = 0.1
_PR_SET_CHILD_SUBREAPER = 36  # <linux/prctl.h>
_STACKS_SIGNAL = getattr(signal, "SIGUSR2", 0)  # 0 is none: Windows has none for this


class Supervisor:
    """Runs until a stop is complete; ``run`` returns the exit status.

    ``watch`` is given what to call when code has changed, from any thread, and returns what ends it.
    """

    def __init__(
        self,
        application: Any,
        options: RunOptions,
        listeners: Listeners,
        watch: Watch | None = None,
    ) -> None:
        assert options.cluster is not None
        self._options = options
        self._cluster = options.cluster
        scheme = "https" if options.tls is not None else "http"
        self._urls = [url_of(each, scheme) for each in listeners.of(SHARED)]
        self._listeners = listeners
        self._machine = Machine(
            Settings(
                processes=options.process_count,
                has_own_listeners=self._listeners.has_own,
                has_hot_reload=options.reload,
                hang_seconds=None if options.debug else self._cluster.hang_timeout,
                grace_seconds=self._cluster.graceful_timeout,
            ),
            random.random,
        )
        self._watch = watch
        self._selector = selectors.DefaultSelector()
        self._events: list[Event] = []
        self._processes = Processes(
            application, options, self._listeners, self._selector, self._events.append, self._name_of
        )
        self._status: int | None = None
        self._has_announced = False
        self._next_tick = 0.0
        self._ping_seconds = watchdog_seconds(os.environ)
        self._next_ping = 0.0
        self._reload_reason = ""

    def run(self) -> int:
        """Supervise until the end; returns the exit status."""
        _become_subreaper()
        make_room(self._options.process_count * (len(self._urls) + 2) + RESERVED_DESCRIPTORS)
        stop_watching: Callable[[], None] | None = None
        with self._signals():
            try:
                is_forking = self._cluster.strategy != "spawn" and can_fork()
                if self._cluster.strategy == "fork" and not is_forking:
                    logger.warning("ClusterConfig(strategy='fork'): %s", CANNOT_FORK)
                if is_forking:
                    self._processes.fork_leader(1, self._close)
                self._events.append(ev.Started(is_forking))
                if self._watch is not None:
                    stop_watching = self._watch(self._reload_from_thread)
                while self._status is None:
                    self._turn()
            finally:
                if stop_watching is not None:
                    stop_watching()
                self._processes.end_everyone()
        return self._status

    def _turn(self) -> None:
        """Wait for what happens next, and act on it."""
        now = time.monotonic()
        timeout = 0.0 if self._events else max(0.0, self._next_tick - now)
        for key, _ in self._selector.select(timeout):
            self._guarded(key.data)
        now = time.monotonic()
        if now >= self._next_tick:
            self._next_tick = now + TICK_SECONDS
            self._guarded(self._tick)
        while self._events and self._status is None:
            event = self._events.pop(0)
            self._guarded(lambda event=event: self._take(event))  # type: ignore[misc]

    def _take(self, event: Event) -> None:
        for action in self._machine.step(event, time.monotonic()):
            self._guarded(lambda action=action: self._act(action))  # type: ignore[misc]

    def _guarded(self, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception:
            logger.exception("the supervisor goes on after an error of its own")

    def _tick(self) -> None:
        now = time.monotonic()
        if self._ping_seconds is not None and now >= self._next_ping:
            self._next_ping = now + self._ping_seconds / 2
            notify("WATCHDOG=1")
        self._events.append(ev.Ticked(self._processes.look()))

    def _name_of(self, number: int) -> str:
        record = self._machine.workers.get(number)
        return "a worker that has ended" if record is None else record.name

    # --- signals ---

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        woken, wakes = socket.socketpair()
        woken.setblocking(False)
        wakes.setblocking(False)
        self._woken, self._wakes = woken, wakes
        self._selector.register(woken, selectors.EVENT_READ, self._on_signals)
        handled = [name for name in _SIGNALS if hasattr(signal, name)]
        before = {name: signal.signal(getattr(signal, name), _noted) for name in handled}
        fd_before = signal.set_wakeup_fd(wakes.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(fd_before)
            for name, handler in before.items():
                signal.signal(getattr(signal, name), handler)
            self._close()

    def _close(self) -> None:
        """Close what is the supervisor's alone, also in a process that was forked from it."""
        self._selector.close()
        self._woken.close()
        self._wakes.close()

    def _on_signals(self) -> None:
        with contextlib.suppress(BlockingIOError):
            for number in self._woken.recv(4096):
                self._guarded(lambda number=number: self._on_signal(number))  # type: ignore[misc]

    def _on_signal(self, number: int) -> None:
        if number == 0:
            self._events.append(ev.ReloadAsked(self._reload_reason))
        elif number in _HANDLED:
            _SIGNALS[signal.Signals(number).name](self)

    def _on_stop(self, number: int) -> None:
        # Who presses Ctrl-C waits; who sends SIGTERM has clients to steer away first.
        delay = shutdown_delay_seconds(self._cluster, os.environ) if number == signal.SIGTERM else 0.0
        is_first = self._machine.phase is not Phase.STOPPING
        self._events.append(ev.StopAsked(number, delay))
        if is_first:
            with contextlib.suppress(OSError):  # nobody reads stderr any more
                os.write(2, stop_line(delay, self._cluster.graceful_timeout).encode())

    def _reload_from_thread(self, reason: str) -> None:
        """Ask for a reload from another thread."""
        self._reload_reason = reason
        with contextlib.suppress(OSError):
            self._wakes.send(b"\0")

    def _reopen_logs(self) -> None:
        reopen_logs()
        for leader in self._processes.leaders.values():
            leader.channel.send({"do": "reopen"})
        self._pass_on(signal.SIGUSR1)

    def _pass_on(self, number: int) -> None:
        for worker in self._processes.workers:
            self._processes.kill(worker, number)

    # --- actions ---

    def _act(self, action: Action) -> None:
        processes = self._processes
        match action:
            case ev.StartLeader(generation):
                processes.start_leader(generation)
            case ev.EndLeader(generation, at_once):
                processes.end_leader(generation, at_once=at_once)
            case ev.StartWorker(worker, slot, generation, by_fork):
                processes.start_worker(worker, slot, generation if by_fork else None)
            case ev.Adopt(worker, slot):
                processes.tell(worker, {"do": "adopt", "slot": slot})
            case ev.Release(worker, slot):
                processes.tell(worker, {"do": "release", "slot": slot})
            case ev.Drain(worker, reason):
                processes.tell(worker, {"do": "drain", "reason": reason})
            case ev.CloseListeners(worker, but):
                processes.tell(worker, {"do": "close", "but": list(but)})
            case ev.StopListening():
                self._stop_listening()
            case ev.DumpStacks(worker):
                processes.kill(worker, _STACKS_SIGNAL)
            case ev.Abort(worker):
                processes.kill(worker, signal.SIGABRT)
            case ev.Kill(worker):
                processes.kill(worker, KILL_SIGNAL)
            case ev.OpenSlot(slot):
                self._open_slot(slot)
            case ev.CloseSlot(slot):
                self._close_slot(slot)
            case ev.Log(level, text):
                logger.log(level, "%s", text)
            case ev.Tell(state):
                self._tell(state)
            case ev.Exit(status):
                self._status = status

    def _stop_listening(self) -> None:
        self._listeners.close()
        for leader in self._processes.leaders.values():
            leader.channel.send({"do": "close"})

    def _open_slot(self, slot: int) -> None:
        if not self._listeners.has_own:
            return
        try:
            opened = [listener.fileno() for listener in self._listeners.open(slot)]
        except OSError as exc:  # such as after a change of users
            logger.warning("the new process shares the first one's listeners: none of its own (%s)", exc)
            return
        for channel in self._processes.channels():
            channel.send({"do": "listen", "slot": slot, "count": len(opened)}, opened)

    def _close_slot(self, slot: int) -> None:
        if not self._listeners.has_own:
            return
        self._listeners.close_last(slot)
        for channel in self._processes.channels():
            channel.send({"do": "unlisten", "slot": slot})

    def _tell(self, state: str) -> None:
        if state == "stopping":
            notify("STOPPING=1\nSTATUS=stopping")
            for worker in self._processes.workers:
                self._processes.tell(worker, {"do": "unready"})
        elif state == "reloading":
            notify(reloading())
        else:
            notify(f"READY=1\nSTATUS=serving on {' and '.join(self._urls)}")
        if state == "ready" and not self._has_announced:
            self._has_announced = True
            announce(self._urls, self._options, is_uvloop=importlib.util.find_spec("uvloop") is not None)


def _noted(number: int, frame: FrameType | None) -> None:
    """Do nothing: the wake-up descriptor has the signal's number."""


_SIGNALS: dict[str, Callable[[Supervisor], None]] = {
    "SIGCHLD": lambda self: self._processes.reap(),
    "SIGTERM": lambda self: self._on_stop(signal.SIGTERM),
    "SIGINT": lambda self: self._on_stop(signal.SIGINT),
    "SIGBREAK": lambda self: self._on_stop(signal.SIGINT),
    "SIGQUIT": lambda self: self._events.append(ev.StopAsked(signal.SIGQUIT, at_once=True)),
    "SIGHUP": lambda self: self._events.append(ev.ReloadAsked("SIGHUP")),
    "SIGUSR1": lambda self: self._reopen_logs(),
    "SIGUSR2": lambda self: self._pass_on(signal.SIGUSR2),
    "SIGTTIN": lambda self: self._events.append(ev.SlotWanted(1)),
    "SIGTTOU": lambda self: self._events.append(ev.SlotWanted(-1)),
}

_HANDLED = {int(getattr(signal, name)) for name in _SIGNALS if hasattr(signal, name)}


def _become_subreaper() -> None:
    """Have orphans of a leader that dies become this process's children (prctl(2), Linux)."""
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
