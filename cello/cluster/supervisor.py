"""The supervisor: carries out what ``machine`` decides, and tells it what became of that.

It owns the listeners, the scoreboard and the signals, and runs no code of the application: nothing that a
handler does can take it down. Whatever goes wrong in here is logged, and never ends it.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import random
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from math import inf
from types import FrameType
from typing import Any, NoReturn

from ..config import RunOptions
from ..server.banner import announce
from ..server.sockets import url_of
from . import events as ev
from .channel import Channel, Closed, Message, make_channel
from .child import run_worker
from .events import Action, Event
from .handover import Handover, command
from .leader import can_fork, flush_output, in_words, lead
from .listening import Listeners
from .machine import Machine
from .scoreboard import Scoreboard
from .states import Phase, Settings

logger = logging.getLogger("cello")

TICK_SECONDS = 0.1
LOST_SECONDS = 1.0  # after which a worker that is gone, and that nobody reports, counts as gone
_PR_SET_CHILD_SUBREAPER = 36  # <linux/prctl.h>
_READ_BYTES = 65536
_MOST_STACK_BYTES = 1 << 20


class _Leader:
    """A leader's process and channel, and whether it has said that it is ready."""

    def __init__(self, generation: int, pid: int, channel: Channel) -> None:
        self.generation = generation
        self.pid = pid
        self.channel = channel


class _Worker:
    """What the supervisor holds of a worker: its row, channel, the pipe of its stacks, its PID once known."""

    def __init__(self, number: int, row: int, channel: Channel, stacks: int) -> None:
        self.number = number
        self.row = row
        self.channel = channel
        self.stacks = stacks
        self.pid: int | None = None
        self.output = b""  # of the stacks, so far
        self.wrote_at = 0.0
        self.closed_at = inf


class Supervisor:
    """Runs until a stop is complete; ``run`` returns the exit status."""

    def __init__(
        self,
        application: Any,
        options: RunOptions,
        listeners: list[socket.socket],
        watch: Callable[[Callable[[str], None]], Callable[[], None]] | None = None,
    ) -> None:
        assert options.cluster is not None
        self._application = application
        self._options = options
        self._cluster = options.cluster
        self._urls = [url_of(each, "https" if options.tls is not None else "http") for each in listeners]
        self._listeners = Listeners(listeners, options.process_count)
        self._board = Scoreboard()
        self._machine = Machine(
            Settings(
                processes=options.process_count,
                has_own_listeners=self._listeners.has_own,
                hang_seconds=None if options.debug else self._cluster.hang_timeout,
                grace_seconds=self._cluster.graceful_timeout,
            ),
            random.random,
        )
        self._folder = os.getcwd()
        self._watch = watch
        self._selector = selectors.DefaultSelector()
        self._leaders: dict[int, _Leader] = {}
        self._workers: dict[int, _Worker] = {}
        self._events: list[Event] = []
        self._status: int | None = None
        self._has_announced = False
        self._next_tick = 0.0

    def run(self) -> int:
        """Supervise until the end; returns the exit status."""
        _become_subreaper()
        stop_watching: Callable[[], None] | None = None
        with self._signals():
            try:
                is_forking = self._cluster.strategy != "spawn" and can_fork()
                if is_forking:
                    self._fork_leader(1)
                self._events.append(ev.Started(is_forking))
                if self._watch is not None:
                    stop_watching = self._watch(self._reload_from_thread)
                while self._status is None:
                    self._turn()
            finally:
                if stop_watching is not None:
                    stop_watching()
                self._end_everyone()
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
            for action in self._machine.step(event, time.monotonic()):
                self._guarded(lambda action=action: self._act(action))  # type: ignore[misc]

    def _guarded(self, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception:
            logger.exception("the supervisor goes on after an error of its own")

    def _tick(self) -> None:
        now = time.monotonic()
        for worker in list(self._workers.values()):
            worker.channel.flush()
            if worker.output and now - worker.wrote_at >= TICK_SECONDS:
                self._log_stacks(worker)
            if now - worker.closed_at >= LOST_SECONDS and not self._is_alive(worker):
                self._forget_worker(worker, "nobody knows how", is_clean=False)
        beats = {number: self._board.beat_of(worker.row) for number, worker in self._workers.items()}
        self._events.append(ev.Ticked(beats))

    def _is_alive(self, worker: _Worker) -> bool:
        """Tell whether a worker's process is there, where its parent has ended without a word of it."""
        if worker.pid is None:
            return False
        try:
            os.kill(worker.pid, 0)
        except ProcessLookupError:
            return False
        except OSError:
            return True
        return True

    # --- signals ---

    @contextlib.contextmanager
    def _signals(self) -> Any:
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
            self._selector.close()
            woken.close()
            wakes.close()

    def _on_signals(self) -> None:
        with contextlib.suppress(BlockingIOError):
            for number in self._woken.recv(4096):
                name = signal.Signals(number).name if number else "RELOAD"
                act = _SIGNALS.get(name)
                if act is not None:
                    act(self)

    def _on_child(self) -> None:
        """Reap: executed processes, orphans of a leader that died, and as PID 1 whoever was left to us."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for leader in list(self._leaders.values()):
                if leader.pid == pid:
                    self._forget_leader(leader, in_words(status))
            for worker in list(self._workers.values()):
                if worker.pid == pid:
                    self._forget_worker(worker, in_words(status), is_clean=status == 0)

    def _on_stop(self, number: int) -> None:
        delay = 0.0 if number == signal.SIGINT else self._cluster.shutdown_delay or 0.0
        is_first = self._machine.phase is not Phase.STOPPING
        self._events.append(ev.StopAsked(number, delay))
        if is_first:
            with contextlib.suppress(OSError):  # nobody reads stderr any more
                seconds = self._cluster.graceful_timeout
                os.write(2, b"stopping: what runs has %d s to finish; once more ends at once\n" % seconds)

    def _on_hang_up(self) -> None:
        self._events.append(ev.ReloadAsked("SIGHUP"))

    def _reload_from_thread(self, reason: str) -> None:
        """Ask for a reload from another thread."""
        self._reload_reason = reason
        with contextlib.suppress(OSError):
            self._wakes.send(b"\0")

    def _pass_on(self, number: int) -> None:
        for worker in self._workers.values():
            self._kill(worker, number)

    # --- what processes say ---

    def _on_leader_input(self, leader: _Leader) -> None:
        if self._leaders.get(leader.generation) is not leader:
            return  # forgotten in the same turn
        try:
            messages = leader.channel.receive()
        except Closed:
            self._selector.unregister(leader.channel)
            return  # SIGCHLD brings its status
        for message in messages:
            what = message["is"]
            if what == "ready":
                self._events.append(ev.LeaderReady(leader.generation, message["can_fork"]))
            else:
                self._on_leader_message(message)

    def _on_leader_message(self, message: Message) -> None:
        worker = self._workers.get(message["worker"])
        if worker is None:
            return
        if message["is"] == "forked":
            worker.pid = message["pid"]
            self._events.append(ev.WorkerForked(worker.number, worker.pid))
        elif message["is"] == "gone":
            status = message.get("status")
            reason = message["reason"] if status is None else in_words(status)
            self._forget_worker(worker, reason, is_clean=status == 0)

    def _on_worker_input(self, worker: _Worker) -> None:
        if worker.number not in self._workers:
            return  # forgotten in the same turn
        try:
            messages = worker.channel.receive()
        except Closed:
            self._selector.unregister(worker.channel)
            worker.closed_at = time.monotonic()  # its parent brings its status, if there is one
            return
        for message in messages:
            what = message["is"]
            if what == "ready":
                self._events.append(ev.WorkerReady(worker.number))
            elif what == "replace":
                self._events.append(ev.ReplaceAsked(worker.number, message["reason"]))
            elif what == "draining":
                self._events.append(ev.DrainBegun(worker.number))
            elif what == "closed":
                self._events.append(ev.ListenersClosed(worker.number))

    def _on_stacks(self, worker: _Worker) -> None:
        """Collect what faulthandler writes, piece by piece."""
        if worker.number not in self._workers:
            return  # forgotten in the same turn
        try:
            data = os.read(worker.stacks, _READ_BYTES)
        except BlockingIOError:
            return
        if not data:
            self._selector.unregister(worker.stacks)
        if len(worker.output) < _MOST_STACK_BYTES:
            worker.output += data
        worker.wrote_at = time.monotonic()

    def _log_stacks(self, worker: _Worker) -> None:
        text, worker.output = worker.output.decode("utf-8", "replace").strip(), b""
        if text:
            logger.warning("%s: its stacks\n%s", self._name(worker), text)

    def _name(self, worker: _Worker) -> str:
        record = self._machine.workers.get(worker.number)
        return record.name if record is not None else f"a worker that has ended (PID {worker.pid})"

    # --- actions ---

    def _act(self, action: Action) -> None:
        _ACTIONS[type(action)](self, action)

    def _start_leader(self, action: ev.StartLeader) -> None:
        channel, theirs = make_channel()
        with theirs:
            handover = self._handover("leader", theirs.fileno())
            pid = self._execute(handover)
        self._know_leader(_Leader(action.generation, pid, channel))

    def _fork_leader(self, generation: int) -> None:
        channel, theirs = make_channel()
        flush_output()
        pid = os.fork()
        if pid == 0:
            self._lead(channel, theirs)
        theirs.close()
        self._know_leader(_Leader(generation, pid, channel))

    def _lead(self, channel: Channel, theirs: socket.socket) -> NoReturn:
        signal.set_wakeup_fd(-1)
        channel.close()
        self._selector.close()
        self._woken.close()
        self._wakes.close()
        application, options, board = self._application, self._options, self._board
        lead(
            Channel(theirs),
            self._listeners.of_slots,
            lambda seat: run_worker(application, options, board, seat),
        )

    def _know_leader(self, leader: _Leader) -> None:
        self._leaders[leader.generation] = leader
        self._selector.register(leader.channel, selectors.EVENT_READ, lambda: self._on_leader_input(leader))

    def _handover(self, role: str, control: int, **seat: int) -> Handover:
        listeners = {
            str(slot): [listener.fileno() for listener in listeners]
            for slot, listeners in self._listeners.of_slots.items()
        }
        return Handover(role, control, self._board.descriptor, listeners, self._listeners.has_own, **seat)

    def _execute(self, handover: Handover) -> int:
        """Run the program once more with what it is handed over; returns its PID."""
        flush_output()
        process = subprocess.Popen(
            command(),
            cwd=self._folder,
            env=handover.environment(),
            pass_fds=handover.descriptors(),
        )
        process.returncode = 0  # waited for in _on_child, with all others
        return process.pid

    def _end_leader(self, action: ev.EndLeader) -> None:
        leader = self._leaders.get(action.generation)
        if leader is None:
            return
        if action.at_once:
            with contextlib.suppress(ProcessLookupError):
                os.kill(leader.pid, signal.SIGKILL)
        else:
            leader.channel.send({"do": "end"})

    def _start_worker(self, action: ev.StartWorker) -> None:
        row = self._board.take_row()
        channel, theirs = make_channel()
        stacks, stacks_theirs = os.pipe()
        os.set_blocking(stacks, False)
        worker = _Worker(action.worker, row, channel, stacks)
        self._workers[action.worker] = worker
        self._selector.register(channel, selectors.EVENT_READ, lambda: self._on_worker_input(worker))
        self._selector.register(stacks, selectors.EVENT_READ, lambda: self._on_stacks(worker))
        try:
            if action.by_fork:
                self._ask_to_fork(action, row, theirs.fileno(), stacks_theirs)
            else:
                handover = self._handover(
                    "worker",
                    theirs.fileno(),
                    stacks=stacks_theirs,
                    worker=action.worker,
                    slot=action.slot,
                    row=row,
                )
                worker.pid = self._execute(handover)
                self._events.append(ev.WorkerForked(action.worker, worker.pid))
        except OSError as exc:
            self._forget_worker(worker, f"it could not be started: {exc}", is_clean=False)
        finally:
            theirs.close()
            os.close(stacks_theirs)

    def _ask_to_fork(self, action: ev.StartWorker, row: int, control: int, stacks: int) -> None:
        leader = self._leaders.get(action.generation)
        if leader is None:
            raise OSError("its leader is gone")
        leader.channel.send(
            {"do": "fork", "worker": action.worker, "slot": action.slot, "row": row}, [control, stacks]
        )

    def _tell(self, number: int, message: Message) -> None:
        worker = self._workers.get(number)
        if worker is not None:
            worker.channel.send(message)

    def _drain(self, action: ev.Drain) -> None:
        self._tell(action.worker, {"do": "drain", "reason": action.reason})

    def _stop_listening(self, action: ev.StopListening) -> None:
        self._listeners.close()
        for leader in self._leaders.values():
            leader.channel.send({"do": "close"})

    def _dump_stacks(self, action: ev.DumpStacks) -> None:
        worker = self._workers.get(action.worker)
        if worker is not None and hasattr(signal, "SIGUSR2"):
            self._kill(worker, signal.SIGUSR2)

    def _end_worker(self, number: int, signal_number: int) -> None:
        worker = self._workers.get(number)
        if worker is not None:
            self._kill(worker, signal_number)

    def _kill(self, worker: _Worker, number: int) -> None:
        if worker.pid is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(worker.pid, number)

    def _open_slot(self, action: ev.OpenSlot) -> None:
        if not self._listeners.has_own:
            return
        opened = [listener.fileno() for listener in self._listeners.open(action.slot)]
        message = {"do": "listen", "slot": action.slot, "count": len(opened)}
        for channel in self._channels():
            channel.send(message, opened)

    def _close_slot(self, action: ev.CloseSlot) -> None:
        if not self._listeners.has_own:
            return
        self._listeners.close_last(action.slot)
        for channel in self._channels():
            channel.send({"do": "unlisten", "slot": action.slot})

    def _channels(self) -> Iterable[Channel]:
        yield from (leader.channel for leader in self._leaders.values())
        yield from (worker.channel for worker in self._workers.values())

    def _log(self, action: ev.Log) -> None:
        logger.log(action.level, "%s", action.text)

    def _announce(self, action: ev.Tell) -> None:
        if action.state == "stopping":
            for worker in self._workers.values():
                worker.channel.send({"do": "unready"})
        if action.state == "ready" and not self._has_announced:
            self._has_announced = True
            announce(self._urls, self._options, is_uvloop=_has_uvloop())

    def _exit(self, action: ev.Exit) -> None:
        self._status = action.status

    # --- ends ---

    def _forget_leader(self, leader: _Leader, reason: str) -> None:
        if self._leaders.get(leader.generation) is leader:
            del self._leaders[leader.generation]
        self._close(leader.channel)
        self._events.append(ev.LeaderGone(leader.generation, reason))

    def _forget_worker(self, worker: _Worker, reason: str, *, is_clean: bool) -> None:
        if worker.number not in self._workers:
            return
        with contextlib.suppress(OSError, KeyError):
            self._on_stacks(worker)
        self._log_stacks(worker)
        del self._workers[worker.number]
        with contextlib.suppress(KeyError):
            self._selector.unregister(worker.stacks)
        os.close(worker.stacks)
        self._close(worker.channel)
        self._board.free_row(worker.row)
        self._events.append(ev.WorkerGone(worker.number, reason, is_clean))

    def _close(self, channel: Channel) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(channel)
        channel.close()

    def _end_everyone(self) -> None:
        """Kill what is left, and leave nothing behind."""
        self._listeners.close()
        for worker in self._workers.values():
            self._kill(worker, signal.SIGKILL)
            worker.channel.close()
            os.close(worker.stacks)
        for leader in self._leaders.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(leader.pid, signal.SIGKILL)
            leader.channel.close()
        deadline = time.monotonic() + 1.0
        with contextlib.suppress(ChildProcessError):
            while time.monotonic() < deadline:
                if os.waitpid(-1, os.WNOHANG)[0] == 0:
                    time.sleep(0.002)
        self._board.close()


def _noted(number: int, frame: FrameType | None) -> None:
    """Do nothing: the wake-up descriptor has the signal's number."""


_SIGNALS: dict[str, Callable[[Supervisor], None]] = {
    "SIGCHLD": Supervisor._on_child,
    "SIGTERM": lambda self: self._on_stop(signal.SIGTERM),
    "SIGINT": lambda self: self._on_stop(signal.SIGINT),
    "SIGBREAK": lambda self: self._on_stop(signal.SIGINT),
    "SIGQUIT": lambda self: self._events.append(ev.StopAsked(signal.SIGQUIT, at_once=True)),
    "SIGHUP": Supervisor._on_hang_up,
    "SIGUSR1": lambda self: self._pass_on(signal.SIGUSR1),
    "SIGUSR2": lambda self: self._pass_on(signal.SIGUSR2),
    "SIGTTIN": lambda self: self._events.append(ev.SlotWanted(1)),
    "SIGTTOU": lambda self: self._events.append(ev.SlotWanted(-1)),
}

_ACTIONS: dict[type, Callable[..., None]] = {
    ev.StartLeader: Supervisor._start_leader,
    ev.EndLeader: Supervisor._end_leader,
    ev.StartWorker: Supervisor._start_worker,
    ev.Adopt: lambda self, action: self._tell(action.worker, {"do": "adopt", "slot": action.slot}),
    ev.Release: lambda self, action: self._tell(action.worker, {"do": "release", "slot": action.slot}),
    ev.Drain: Supervisor._drain,
    ev.CloseListeners: lambda self, action: self._tell(
        action.worker, {"do": "close", "but": list(action.but)}
    ),
    ev.StopListening: Supervisor._stop_listening,
    ev.DumpStacks: Supervisor._dump_stacks,
    ev.Abort: lambda self, action: self._end_worker(action.worker, signal.SIGABRT),
    ev.Kill: lambda self, action: self._end_worker(action.worker, signal.SIGKILL),
    ev.OpenSlot: Supervisor._open_slot,
    ev.CloseSlot: Supervisor._close_slot,
    ev.Log: Supervisor._log,
    ev.Tell: Supervisor._announce,
    ev.Exit: Supervisor._exit,
}


def _become_subreaper() -> None:
    """Have orphans of a leader that dies become this process's children (prctl(2), Linux)."""
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _has_uvloop() -> bool:
    import importlib.util

    return importlib.util.find_spec("uvloop") is not None
