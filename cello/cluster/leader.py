"""The leader: a process that has imported the application and does nothing but fork workers from it.

It runs no event loop and no thread, so that a fork is safe and takes milliseconds, and it reads no file, so
that a worker can be started again while the code on disk is half deployed. Workers are its children: it reaps
them and reports how they ended.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

from .channel import Channel, Closed, Message
from .handover import unblock_signals

_IGNORED = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGTTIN", "SIGTTOU")


@dataclass(slots=True)
class Seat:
    """What a worker is given: who it is, its ends of channel and pipe, and every slot's listeners."""

    worker: int
    slot: int
    row: int
    control: socket.socket
    stacks: int
    listeners: dict[int, list[socket.socket]] = field(default_factory=dict)


def can_fork() -> bool:
    """Tell whether this process may fork and go on in the child: it has no other thread, Python's or not."""
    if not hasattr(os, "fork") or threading.active_count() > 1:
        return False
    try:
        return len(os.listdir("/proc/self/task")) == 1
    except OSError:  # no Linux: Python's own threads are all that can be seen
        return True


def lead(
    control: Channel,
    listeners: dict[int, list[socket.socket]],
    run_worker: Callable[[Seat], NoReturn],
) -> NoReturn:
    """Fork workers until told to end, or until the supervisor is gone; never returns."""
    _Leader(control, listeners, run_worker).run()


class _Leader:
    def __init__(
        self,
        control: Channel,
        listeners: dict[int, list[socket.socket]],
        run_worker: Callable[[Seat], NoReturn],
    ) -> None:
        self._control = control
        self._listeners = listeners
        self._run_worker = run_worker
        self._workers: dict[int, int] = {}  # by PID
        self._is_ending = False

    def run(self) -> NoReturn:
        for name in _IGNORED:
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), signal.SIG_IGN)
        unblock_signals()
        woken, wakes = os.pipe()
        for descriptor in (woken, wakes):
            os.set_blocking(descriptor, False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)  # the default would not wake
        signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
        freeze()
        self._own = (woken, wakes)
        self._control.send({"is": "ready", "can_fork": True})
        poll = select.poll()  # select() takes no descriptor above 1023, and each slot has its own
        poll.register(self._control.fileno(), select.POLLIN)
        poll.register(woken, select.POLLIN)
        while True:
            poll.poll()
            with contextlib.suppress(BlockingIOError):
                os.read(woken, 4096)
            self._reap()
            try:
                messages = self._control.receive()
            except Closed:
                os._exit(0)  # the workers see the supervisor's end themselves
            for message in messages:
                self._do(message)
            if self._is_ending and not self._workers:
                os._exit(0)

    def _do(self, message: Message) -> None:
        what = message["do"]
        if what == "fork":
            self._fork(message, self._control.take(2))
        elif what == "listen":
            taken = self._control.take(message["count"])
            self._listeners[message["slot"]] = [socket.socket(fileno=each) for each in taken]
        elif what == "unlisten":
            for listener in self._listeners.pop(message["slot"], ()):
                listener.close()
        elif what == "close":
            for listeners in self._listeners.values():
                for listener in listeners:
                    listener.close()
            self._listeners.clear()
        elif what == "reopen":
            reopen_logs()  # or whoever is forked from now on would write to the old files
        elif what == "end":
            self._is_ending = True

    def _fork(self, message: Message, descriptors: list[int]) -> None:
        if len(descriptors) != 2:  # no room for them in this process
            for descriptor in descriptors:
                os.close(descriptor)
            reason = "its leader has no descriptors left"
            self._control.send({"is": "gone", "worker": message["worker"], "reason": reason})
            return
        control, stacks = descriptors
        flush_output()
        try:
            pid = os.fork()
        except OSError as exc:
            self._control.send({"is": "gone", "worker": message["worker"], "reason": f"fork failed: {exc}"})
            os.close(control)
            os.close(stacks)
            return
        if pid:
            os.close(control)
            os.close(stacks)
            self._workers[pid] = message["worker"]
            self._control.send({"is": "forked", "worker": message["worker"], "pid": pid})
            return
        signal.set_wakeup_fd(-1)
        for descriptor in self._own:
            os.close(descriptor)
        self._control.close()
        seat = Seat(
            worker=message["worker"],
            slot=message["slot"],
            row=message["row"],
            control=socket.socket(fileno=control),
            stacks=stacks,
            listeners=self._listeners,
        )
        self._run_worker(seat)

    def _reap(self) -> None:
        for pid, status in ended_children():
            worker = self._workers.pop(pid, None)
            if worker is not None:
                self._control.send({"is": "gone", "worker": worker, "status": status})


def ended_children() -> Iterator[tuple[int, int]]:
    """Yield PID and wait status of each child that has ended, which it reaps; never waits."""
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            yield ended


def freeze() -> None:
    """Take all objects so far from the garbage collector: its marks would copy their pages in every fork."""
    if not gc.get_freeze_count():
        gc.collect()
        gc.freeze()


def flush_output() -> None:
    """Write what Python's output streams hold: after a fork it would be written twice."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()


def reopen_logs() -> None:
    """Close and open again the files that logging handlers write to, after they were moved away (SIGUSR1)."""
    loggers = [logging.root, *logging.root.manager.loggerDict.values()]
    handlers: set[Any] = {
        handler for each in loggers if isinstance(each, logging.Logger) for handler in each.handlers
    }
    for handler in handlers:
        if isinstance(handler, logging.FileHandler):
            handler.acquire()
            try:
                if handler.stream is not None:
                    handler.stream.close()
                    handler.stream = None
                    with contextlib.suppress(OSError):  # the next record tries again
                        handler.stream = handler._open()
            finally:
                handler.release()


def in_words(status: int) -> str:
    """Say how a process ended, by its wait status."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"exit status {code}"
    with contextlib.suppress(ValueError):
        return f"killed by {signal.Signals(-code).name}"
    return f"killed by signal {-code}"
