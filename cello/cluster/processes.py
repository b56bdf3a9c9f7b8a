"""The supervisor's processes: starting them, hearing what they say, and learning how they ended.

A leader is a child of the supervisor. A worker is a child of its leader, which reaps it; where it was
executed, or where its leader has died, it is the supervisor's own.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from math import inf
from typing import Any, NoReturn

from ..config import RunOptions
from ..places import STARTED_IN
from . import events as ev
from .channel import Channel, Closed, Message, make_channel
from .child import run_worker
from .events import Event
from .handover import Handover, command, current_run, signals_blocked
from .leader import ended_children, flush_output, freeze, in_words, lead
from .listening import Listeners
from .scoreboard import Scoreboard
from .windows import IS_WINDOWS, execute

logger = logging.getLogger("cello")

KILL_SIGNAL = getattr(signal, "SIGKILL", signal.SIGTERM)  # on Windows, SIGTERM ends a process at once
END_SECONDS = 1.0  # for processes that were killed, at the end
LOST_SECONDS = 1.0  # after which a worker that is gone, and that nobody reports, counts as gone
QUIET_SECONDS = 0.1  # after which what a worker has dumped counts as complete
_READ_BYTES = 65536
_MOST_STACK_BYTES = 1 << 20


class LeaderProcess:
    """A leader's process and channel, and whether it has said that it is ready."""

    def __init__(self, generation: int, pid: int, channel: Channel) -> None:
        self.generation = generation
        self.pid = pid
        self.channel = channel


class WorkerProcess:
    """What the supervisor holds of a worker: its row, channel, the pipe of its stacks, its PID once known."""

    def __init__(self, number: int, row: int, channel: Channel, stacks: int) -> None:
        self.number = number
        self.row = row
        self.channel = channel
        self.stacks = stacks
        self.pid: int | None = None
        self.process: subprocess.Popen[bytes] | None = None  # where it was executed
        self.output = b""  # of the stacks, so far
        self.wrote_at = 0.0
        self.closed_at = inf


class Processes:
    """All processes of a cluster but the supervisor; what they do is reported as events."""

    def __init__(
        self,
        application: Any,
        options: RunOptions,
        listeners: Listeners,
        selector: selectors.BaseSelector,
        report: Callable[[Event], None],
        name_of: Callable[[int], str],
    ) -> None:
        self.leaders: dict[int, LeaderProcess] = {}
        self.workers: dict[int, WorkerProcess] = {}
        self.listeners = listeners
        self.board = Scoreboard()
        self._application = application
        self._options = options
        self._selector = selector
        self._report = report
        self._name_of = name_of
        self._folder = STARTED_IN

    def fork_leader(self, generation: int, close: Callable[[], None]) -> None:
        """Fork this process, which has imported the application; ``close`` is called in the leader.

        What it closes is what of the supervisor's a leader must not hold.
        """
        channel, theirs = make_channel()
        flush_output()
        freeze()
        # Until the leader has a life of its own, what it receives would wake this process: a Ctrl-C, which
        # goes to the whole group, would be two. It unblocks the signals when it ignores them.
        with signals_blocked():
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                close()
                channel.close()
                self._lead(theirs)
        theirs.close()
        self._know_leader(LeaderProcess(generation, pid, channel))

    def start_leader(self, generation: int) -> None:
        """Execute the program again, as a leader."""
        try:
            channel, theirs = make_channel()
            with theirs:
                try:
                    pid = self._execute(self._handover("leader", theirs)).pid
                except OSError:
                    channel.close()
                    raise
        except OSError as exc:
            self._report(ev.LeaderGone(generation, f"it could not be started: {exc}"))
            return
        self._know_leader(LeaderProcess(generation, pid, channel))

    def _lead(self, theirs: socket.socket) -> NoReturn:
        application, options, board = self._application, self._options, self.board
        lead(
            Channel(theirs),
            self.listeners.of_slots,
            lambda seat: run_worker(application, options, board, seat),
        )

    def _know_leader(self, leader: LeaderProcess) -> None:
        self.leaders[leader.generation] = leader
        self._selector.register(leader.channel, selectors.EVENT_READ, lambda: self._on_leader_input(leader))

    def end_leader(self, generation: int, *, at_once: bool) -> None:
        """Have a leader end when its last worker has, or at once."""
        leader = self.leaders.get(generation)
        if leader is None:
            return
        if at_once:
            with contextlib.suppress(ProcessLookupError):
                os.kill(leader.pid, KILL_SIGNAL)
        else:
            leader.channel.send({"do": "end"})

    def start_worker(self, number: int, slot: int, generation: int | None) -> None:
        """Start a worker in a slot: forked by a generation's leader, or executed where there is none."""
        try:
            self._start_worker(number, slot, generation)
        except (OSError, RuntimeError) as exc:  # no descriptor, no memory, no row left: the next try may have
            reason = f"it could not be started: {exc}"
            if number in self.workers:
                self._forget_worker(self.workers[number], reason, is_clean=False)
            else:
                self._report(ev.WorkerGone(number, reason))

    def _start_worker(self, number: int, slot: int, generation: int | None) -> None:
        with contextlib.ExitStack() as theirs:
            channel, control = make_channel()
            theirs.callback(control.close)
            ours = theirs.enter_context(contextlib.ExitStack())
            ours.callback(channel.close)
            stacks, stacks_theirs = _pipe()
            theirs.callback(_close_pipe, stacks_theirs)
            ours.callback(_close_pipe, stacks)
            worker = WorkerProcess(number, self.board.take_row(), channel, stacks)
            ours.pop_all()  # from now on they are the worker's
            self.workers[number] = worker
            self._selector.register(channel, selectors.EVENT_READ, lambda: self._on_worker_input(worker))
            if stacks >= 0:
                self._selector.register(stacks, selectors.EVENT_READ, lambda: self._on_stacks(worker))
            seat = {"worker": number, "slot": slot, "row": worker.row}
            if generation is not None:
                self._ask_to_fork(generation, seat, [control.fileno(), stacks_theirs])
            else:
                handover = self._handover("worker", control, stacks=stacks_theirs, **seat)
                worker.process = self._execute(handover, control)
                worker.pid = worker.process.pid
                self._report(ev.WorkerForked(number, worker.pid))

    def _ask_to_fork(self, generation: int, seat: dict[str, int], descriptors: list[int]) -> None:
        leader = self.leaders.get(generation)
        if leader is None:
            raise OSError("its leader is gone")
        leader.channel.send({"do": "fork", **seat}, descriptors)

    def _handover(self, role: str, control: socket.socket, **seat: int) -> Handover:
        shared = [control, *self._all_listeners()]
        number_of = shared.index if IS_WINDOWS else socket.socket.fileno
        listeners = {
            str(slot): [number_of(listener) for listener in listeners]
            for slot, listeners in self.listeners.of_slots.items()
        }
        return Handover(role, number_of(control), self.board.handle, listeners, run=current_run(), **seat)

    def _all_listeners(self) -> Iterable[socket.socket]:
        for listeners in self.listeners.of_slots.values():
            yield from listeners

    def _execute(self, handover: Handover, *shared: socket.socket) -> subprocess.Popen[bytes]:
        """Run the program once more with what it is handed over; ``shared`` are more sockets on Windows."""
        flush_output()
        if IS_WINDOWS:
            sockets = [*shared, *self._all_listeners()]
            return execute(command(), self._folder, handover.environment(), sockets)
        # The terminal's signals go to the whole group, and SIGUSR1 and SIGUSR2 are passed on; nothing expects
        # them while the program imports its modules: they stay blocked until it has become a leader or
        # worker (unblock_signals).
        with signals_blocked():
            process = subprocess.Popen(
                command(),
                cwd=self._folder,
                env=handover.environment(),
                pass_fds=handover.descriptors(),
            )
        process.returncode = 0  # waited for in ``reap``, with all others
        return process

    def tell(self, number: int, message: Message) -> None:
        """Send a worker a message; one that has ended needs none."""
        worker = self.workers.get(number)
        if worker is not None:
            worker.channel.send(message)

    def kill(self, number: int, signal_number: int) -> None:
        """Send a worker a signal; one that has no process yet, and is to be killed, counts as gone."""
        worker = self.workers.get(number)
        if worker is None or not signal_number:
            return
        if worker.pid is None:
            if signal_number == KILL_SIGNAL:  # its leader has not come to it; its end of the channel closes
                self._forget_worker(worker, "it was never started", is_clean=False)
        else:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(worker.pid, signal_number)

    def look(self) -> dict[int, float]:
        """Do what is due every tick; returns when each worker's event loop last ran."""
        now = time.monotonic()
        for channel in self.channels():
            channel.flush()
        for worker in list(self.workers.values()):
            if worker.output and now - worker.wrote_at >= QUIET_SECONDS:
                self._log_stacks(worker)
            patience = 0.0 if IS_WINDOWS else LOST_SECONDS
            if now - worker.closed_at >= patience and not _is_alive(worker):
                self._forget_worker(worker, "nobody knows how", is_clean=False)
        return {number: self.board.beat_of(worker.row) for number, worker in self.workers.items()}

    def channels(self) -> Iterable[Channel]:
        """Return the channels of all processes."""
        yield from (leader.channel for leader in self.leaders.values())
        yield from (worker.channel for worker in self.workers.values())

    def _on_leader_input(self, leader: LeaderProcess) -> None:
        if self.leaders.get(leader.generation) is not leader:
            return  # forgotten in the same turn
        try:
            self._take_leaders_messages(leader)
        except Closed:
            self._selector.unregister(leader.channel)  # SIGCHLD brings its status

    def _take_leaders_messages(self, leader: LeaderProcess) -> None:
        for message in leader.channel.receive():
            what = message["is"]
            if what == "ready":
                self._report(ev.LeaderReady(leader.generation, message["can_fork"]))
            else:
                self._on_leader_message(message)

    def _on_leader_message(self, message: Message) -> None:
        worker = self.workers.get(message["worker"])
        if worker is None:
            return
        if message["is"] == "forked":
            worker.pid = message["pid"]
            self._report(ev.WorkerForked(worker.number, worker.pid))
        elif message["is"] == "gone":
            status = message.get("status")
            reason = message["reason"] if status is None else in_words(status)
            self._forget_worker(worker, reason, is_clean=status == 0)

    def _on_worker_input(self, worker: WorkerProcess) -> None:
        if worker.number not in self.workers:
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
                self._report(ev.WorkerReady(worker.number))
            elif what == "replace":
                self._report(ev.ReplaceAsked(worker.number, message["reason"]))
            elif what == "draining":
                self._report(ev.DrainBegun(worker.number))
            elif what == "closed":
                self._report(ev.ListenersClosed(worker.number))

    def _on_stacks(self, worker: WorkerProcess) -> None:
        """Collect what faulthandler writes, piece by piece."""
        if worker.number not in self.workers:
            return  # forgotten in the same turn
        try:
            data = os.read(worker.stacks, _READ_BYTES) if worker.stacks >= 0 else b""
        except BlockingIOError:
            return
        if not data:
            self._selector.unregister(worker.stacks)
        if len(worker.output) < _MOST_STACK_BYTES:
            worker.output += data
        worker.wrote_at = time.monotonic()

    def _log_stacks(self, worker: WorkerProcess) -> None:
        text, worker.output = worker.output.decode("utf-8", "replace").strip(), b""
        if text:
            logger.warning("%s: its stacks\n%s", self._name_of(worker.number), text)

    def reap(self) -> None:
        """Reap: executed processes, orphans of a leader that died, and as PID 1 whoever was left to us."""
        for pid, status in ended_children():
            for leader in list(self.leaders.values()):
                if leader.pid == pid:
                    self._forget_leader(leader, in_words(status))
            for worker in list(self.workers.values()):
                if worker.pid == pid:
                    self._forget_worker(worker, in_words(status), is_clean=status == 0)

    def _forget_leader(self, leader: LeaderProcess, reason: str) -> None:
        with contextlib.suppress(Closed, OSError):
            self._take_leaders_messages(leader)  # what it said last
        if self.leaders.get(leader.generation) is leader:
            del self.leaders[leader.generation]
        self._close(leader.channel)
        self._report(ev.LeaderGone(leader.generation, reason))

    def _forget_worker(self, worker: WorkerProcess, reason: str, *, is_clean: bool) -> None:
        if worker.number not in self.workers:
            return
        with contextlib.suppress(OSError, KeyError, ValueError):
            self._on_stacks(worker)
        self._log_stacks(worker)
        del self.workers[worker.number]
        with contextlib.suppress(KeyError, ValueError):  # at its end already, or none (Windows)
            self._selector.unregister(worker.stacks)
        _close_pipe(worker.stacks)
        self._close(worker.channel)
        self.board.free_row(worker.row)
        self._report(ev.WorkerGone(worker.number, reason, is_clean))

    def _close(self, channel: Channel) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(channel)
        channel.close()

    def end_everyone(self) -> None:
        """Kill what is left, and leave nothing behind."""
        self.listeners.close()
        for number in list(self.workers):  # who has no process yet is forgotten on the way
            self.kill(number, KILL_SIGNAL)
        for generation in self.leaders:
            self.end_leader(generation, at_once=True)
        everyone: list[LeaderProcess | WorkerProcess] = [*self.leaders.values(), *self.workers.values()]
        for worker in self.workers.values():
            _close_pipe(worker.stacks)
        for each in everyone:
            each.channel.close()
        left = {each.pid for each in everyone}
        deadline = time.monotonic() + END_SECONDS
        with contextlib.suppress(ChildProcessError):  # strangers that were left to us are not waited for
            while left and time.monotonic() < deadline:
                pid = os.waitpid(-1, os.WNOHANG)[0]
                left.discard(pid)
                if pid == 0:
                    time.sleep(0.002)
        self.board.close()


def _pipe() -> tuple[int, int]:
    """Return a pipe whose reading end does not block; Windows has none that a selector takes."""
    if sys.platform == "win32":
        return -1, -1
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    return reading, writing


def _close_pipe(descriptor: int) -> None:
    if descriptor >= 0:
        os.close(descriptor)


def _is_alive(worker: WorkerProcess) -> bool:
    """Tell whether a worker's process is there, where its parent has ended without a word of it."""
    if IS_WINDOWS:  # where signal 0 is no question
        return worker.process is not None and worker.process.poll() is None
    if worker.pid is None:
        return False
    try:
        os.kill(worker.pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return not _is_zombie(worker.pid)


def _is_zombie(pid: int) -> bool:
    """Tell whether a process has ended and its parent, a leader that is stopped, does not reap it (Linux)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] == b"Z"
    except OSError:
        return False
