"""What a process that is executed anew gets from its supervisor: descriptors, and who it is.

The script runs again from its first line, with the same command line, until its ``app.run()`` finds this in
the environment and becomes a leader or a worker in place of a server of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass

from ..errors import StartError
from .windows import IS_WINDOWS, receive

VARIABLE = "CELLO_HANDOVER"
WORKER_VARIABLE = "CELLO_WORKER"  # the product page's: set for workers that execute the script again
_BLOCKED = {
    getattr(signal, name)
    for name in ("SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2")
    if hasattr(signal, name)
}


@dataclass(frozen=True, slots=True)
class Handover:
    """``role`` is "leader" or "worker"; the rest are descriptors, and the worker's seat.

    On Windows sockets are numbers of what is shared (windows.py), and ``board`` is a mapping's name.
    """

    role: str
    control: int
    board: int | str
    listeners: Mapping[str, list[int]]
    stacks: int = -1
    worker: int = 0
    slot: int = 0
    row: int = 0
    run: int = 1  # which call of app.run() in the program it is for

    def descriptors(self) -> list[int]:
        """Return all that has to be inherited."""
        own = [self.control, *([self.board] if isinstance(self.board, int) else [])]
        own += [self.stacks] if self.stacks >= 0 else []
        return own + [each for listeners in self.listeners.values() for each in listeners]

    def environment(self) -> dict[str, str]:
        """Return the environment for the process."""
        environment = {**os.environ, VARIABLE: json.dumps(asdict(self))}
        if self.role == "worker":
            environment[WORKER_VARIABLE] = "1"
        return environment

    def sockets(self) -> tuple[socket.socket, dict[int, list[socket.socket]]]:
        """Return the socket of the channel, and the listeners of all slots; the caller owns them."""
        find: Callable[[int], socket.socket]
        find = receive().__getitem__ if IS_WINDOWS else lambda number: socket.socket(fileno=number)
        listeners = {int(slot): [find(each) for each in numbers] for slot, numbers in self.listeners.items()}
        return find(self.control), listeners


_run = 0


def note_run() -> None:
    """Count a call of app.run(), which begins."""
    global _run
    _run += 1


def current_run() -> int:
    """Return which call of app.run() runs."""
    return _run


def is_for_another_run() -> bool:
    """Tell whether this process was executed for a later call of app.run() than the one that runs."""
    text = os.environ.get(VARIABLE)
    return text is not None and json.loads(text)["run"] != _run


def is_executed_by_supervisor() -> bool:
    """Tell whether a supervisor has started this process, which then serves as what it was started for."""
    return VARIABLE in os.environ or bool(os.environ.get(WORKER_VARIABLE))


def read_handover() -> Handover | None:
    """Return what this process was handed over, and take it out of the environment, which is inherited.

    Raises StartError where CELLO_WORKER was set by somebody else.
    """
    text = os.environ.pop(VARIABLE, None)
    if text is None:
        if os.environ.get(WORKER_VARIABLE):
            raise StartError(
                f"{WORKER_VARIABLE} is set, which Cello does for the workers that it starts: unset it"
            )
        return None
    os.environ.pop(WORKER_VARIABLE, None)  # for module level; what handlers start has nothing to do with it
    handover = Handover(**json.loads(text))
    for descriptor in () if IS_WINDOWS else handover.descriptors():
        os.set_inheritable(descriptor, False)
    return handover


@contextlib.contextmanager
def signals_blocked() -> Iterator[None]:
    """Start processes inside with signals blocked, which they inherit; none is lost here."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _BLOCKED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def unblock_signals() -> None:
    """Take the blocked signals again; by now they are ignored, or have their handlers."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _BLOCKED)


def command() -> list[str]:
    """Return the command that runs this program once more: its interpreter, options and arguments."""
    return [sys.executable, *sys.orig_argv[1:]]
