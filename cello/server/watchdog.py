"""The stall watchdog: names what holds the event loop's thread for too long.

While a handler holds the loop, nobody else is served, and the loop itself cannot say so. A daemon thread
looks every quarter of ``stall_seconds`` at when the loop last ticked (the coarse timer of timers.py), so that
a request costs nothing; after ``stall_seconds`` without a tick it takes the stack of the loop's thread and
logs it, once a stall. Handler and route are found by the code objects in that stack: nothing is noted per
request. While there are no connections there are no ticks, and the thread sleeps.

What it cannot see: code in C that keeps the GIL (a long regular expression) keeps this thread waiting too. It
is told when the GIL is free again, if the loop has not ticked by then.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable
from traceback import StackSummary, walk_stack
from types import CodeType, FrameType
from typing import Protocol

logger = logging.getLogger("cello")


class Watched(Protocol):
    """What is told of a function that may hold the loop."""

    def __str__(self) -> str: ...

    def advice(self) -> str:
        """Say what to change in it."""


class Watchdog:
    """Watches the event loop's thread, which makes it.

    ``find(code)`` gives what a code object belongs to, or None; ``with_advice`` adds how to mend what was
    found, which is for development. ``stall_seconds`` are at least the distance of two beats.
    """

    def __init__(
        self,
        stall_seconds: float,
        find: Callable[[CodeType], Watched | None],
        *,
        with_advice: bool,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stall_seconds = stall_seconds
        self._find = find
        self._with_advice = with_advice
        self._monotonic = monotonic
        self._watched = threading.get_ident()
        self._beat = 0.0
        self._told_beat = -1.0
        self._is_watching = False
        self._is_ended = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    # On the loop's thread.

    def beat(self) -> None:
        """Note that the loop goes on."""
        now = self._monotonic()
        if self._told_beat == self._beat:
            self._told_beat = -1.0
            logger.warning("the event loop goes on after %.1f s", now - self._beat)
        self._beat = now

    def watch(self) -> None:
        """Begin to expect beats."""
        self.beat()
        with self._changed:
            self._is_watching = True
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="cello-watchdog", daemon=True)
                self._thread.start()
            self._changed.notify()

    def rest(self) -> None:
        """Expect no more beats until ``watch`` is called."""
        self.beat()
        self._is_watching = False

    def end(self) -> None:
        """End the thread."""
        with self._changed:
            self._is_ended = True
            self._changed.notify()

    # On the watchdog's own.

    def _run(self) -> None:
        while True:
            with self._changed:
                if self._is_ended:
                    return
                self._changed.wait(self._stall_seconds / 4 if self._is_watching else None)
            self.look()

    def look(self) -> None:
        """Tell of a stall, if there is one that was not told yet."""
        beat = self._beat
        held_seconds = self._monotonic() - beat
        if not self._is_watching or held_seconds < self._stall_seconds or self._told_beat == beat:
            return
        frame = sys._current_frames().get(self._watched)
        if frame is None or self._beat != beat:
            return
        self._told_beat = beat
        logger.warning("%s", self.describe(frame, held_seconds))

    def describe(self, frame: FrameType, held_seconds: float) -> str:
        """Say which handler holds the loop, where, and through which calls."""
        frames = [each for each, _ in walk_stack(frame)]  # the innermost first
        found: Watched | None = None
        for depth in range(len(frames) - 1, -1, -1):
            found = self._find(frames[depth].f_code)
            if found is not None:
                frames = frames[: depth + 1]
                break
        who = f"by {found}" if found is not None else "by no handler"
        at = frames[0]
        place = f"{at.f_code.co_filename}:{at.f_lineno} in {at.f_code.co_name}"
        lines = [f"the event loop has been held for {held_seconds:.1f} s {who}, now at {place}"]
        if self._with_advice and found is not None:
            lines.append(found.advice())
        stack = StackSummary.extract(((each, each.f_lineno) for each in reversed(frames)), lookup_lines=True)
        lines.append("Stack, the innermost call last:\n" + "".join(stack.format()).rstrip())
        return "\n".join(lines)
