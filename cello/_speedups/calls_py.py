"""Calling a handler in a context of its own, and what is seen of the call; the pure twin of calls_c.

``new_context()`` is a copy of the current context, ``coarse_seconds()`` and ``fine_seconds()`` are monotonic
seconds. ``waits()`` and ``switches()`` count for this thread what shows that a call waited: audit events of
operations that wait for another party, and the times that it gave up the processor by itself.
"""

from __future__ import annotations

import sys
import threading
from asyncio import _get_running_loop, _set_running_loop
from contextvars import Context
from contextvars import copy_context as new_context
from time import monotonic as coarse_seconds
from time import monotonic as fine_seconds
from typing import Any

__all__ = [
    "call_hidden",
    "call_in",
    "coarse_seconds",
    "fine_seconds",
    "new_context",
    "note_wait",
    "switches",
    "waits",
    "watch_waits",
]

WAITING_EVENTS = frozenset(
    (
        *("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"),
        *("socket.getnameinfo", "subprocess.Popen", "os.system", "os.posix_spawn", "sqlite3.connect"),
        *("fcntl.flock", "fcntl.lockf", "time.sleep"),
    )
)
"""Audit events of what may wait for another party: a network, a process, a disk, a lock, a clock."""

call_in = Context.run
"""``call_in(context, function, argument)`` is a call in a context: what it sets there is nobody else's."""


def call_hidden(context: Context, function: Any, argument: Any) -> Any:
    """Call in a context with the running loop out of sight, as a thread of the pool would see it.

    A plain function may run in either place, so asyncio.create_task and the like fail in both alike.
    """
    loop = _get_running_loop()
    _set_running_loop(None)
    try:
        return context.run(function, argument)
    finally:
        _set_running_loop(loop)


class _Counts(threading.local):
    waits = 0


_counts = _Counts()
_watching: list[bool] = []


def waits() -> int:
    """Count the waiting operations that this thread has begun, since ``watch_waits`` was called."""
    return _counts.waits


def note_wait() -> None:
    """Count an operation of this thread that waits, and that no audit event tells of."""
    _counts.waits += 1


def watch_waits() -> None:
    """Begin to count waiting operations, in all threads; they can be watched for as long as Python runs."""
    if not _watching:
        _watching.append(True)
        sys.addaudithook(_on_event)


def _on_event(event: str, args: tuple[Any, ...]) -> None:
    if event in WAITING_EVENTS:
        _counts.waits += 1


if sys.platform == "linux":
    from resource import RUSAGE_THREAD, getrusage

    def switches() -> int:
        """Count how often this thread gave up the processor by itself."""
        return getrusage(RUSAGE_THREAD).ru_nvcsw

else:

    def switches() -> int:
        """Return 0: only Linux counts a thread's switches."""
        return 0
