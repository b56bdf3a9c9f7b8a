"""The signals of a process that serves: a first one stops it gracefully, a second ends it at once.

The handlers are Python's own and not the event loop's: what holds the loop up must not hold up Ctrl-C.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

logger = logging.getLogger("cello")


@dataclass(frozen=True, slots=True)
class Reactions:
    """What a process does on its signals; all of it is called in signal handlers, on the main thread.

    ``stop(delay_seconds)`` begins the graceful stop, after so many seconds of serving on, and returns how
    many it will be. ``end`` is the last thing before the process ends at once. ``renew`` takes up
    renewed certificates; None where there are none. ``grace_seconds`` is for the line that is said.
    """

    stop: Callable[[float], float]
    end: Callable[[], None]
    renew: Callable[[], None] | None
    delay_seconds: float
    grace_seconds: float


@contextlib.contextmanager
def handling_signals(reactions: Reactions) -> Iterator[None]:
    """Have SIGINT and SIGTERM stop the process, and SIGHUP renew its certificates."""
    received: list[int] = []
    server = os.getpid()

    def stop(number: int, frame: FrameType | None) -> None:
        if os.getpid() != server:
            end_as_by_default(number)
            return
        received.append(number)
        if len(received) > 1:
            try:
                reactions.end()
            finally:
                os._exit(128 + number)  # no handler, no hook, no thread may keep the process now
        # Who presses Ctrl-C waits; who sends SIGTERM has clients to steer away first.
        delay_seconds = reactions.stop(reactions.delay_seconds if number == signal.SIGTERM else 0.0)
        with contextlib.suppress(OSError):  # nobody reads stderr any more
            os.write(2, stop_line(delay_seconds, reactions.grace_seconds).encode())

    def renew(number: int, frame: FrameType | None) -> None:
        if reactions.renew is not None:
            reactions.renew()

    handlers: dict[int, Callable[[int, FrameType | None], None]] = {signal.SIGINT: stop, signal.SIGTERM: stop}
    if hasattr(signal, "SIGHUP") and reactions.renew is not None:
        handlers[signal.SIGHUP] = renew
    before: dict[int, Any] = {}
    try:
        for number, handler in handlers.items():
            before[number] = signal.signal(number, handler)
    except ValueError:
        logger.debug("signals are not handled: not in the main thread")
    try:
        yield
    finally:
        for number, handler_before in before.items():
            signal.signal(number, handler_before)


def end_as_by_default(number: int) -> None:
    """Do what the signal does where nobody handles it: in a process that a handler has forked.

    That one is no server. multiprocessing ends its processes by SIGTERM, and waits for them.
    """
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def stop_line(delay_seconds: float, grace_seconds: float) -> str:
    """Return what is said when a stop begins."""
    grace = f"what runs has {grace_seconds:g} s to finish; once more ends at once\n"
    if delay_seconds:
        return f"stopping in {delay_seconds:g} s, and serving until then; then {grace}"
    return f"stopping: {grace}"
