"""One coarse timer per process: deadlines are swept and the Date line is rendered once a tick.

A timer per request would cost more than the request. The tick runs only while there are connections, so an
idle process wakes for nothing; whoever reads ``Service.now`` sees the last tick's time, and adds
``tick_seconds`` where a deadline must not be early.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

SLOWEST_TICK_SECONDS = 0.05  # a deadline is kept within two of them
FASTEST_TICK_SECONDS = 0.01
TICKS_PER_TIMEOUT = 20


def tick_seconds_for(*timeouts_seconds: float) -> float:
    """Return the tick for a set of timeouts: a twentieth of the shortest, from 10 to 50 ms."""
    shortest = min(timeouts_seconds, default=math.inf)
    return max(FASTEST_TICK_SECONDS, min(SLOWEST_TICK_SECONDS, shortest / TICKS_PER_TIMEOUT))


def render_common(wall_seconds: float, server: str) -> tuple[bytes, bytes, bytes]:
    """Render the lines that every answer has: as they are, with close, and with keep-alive (for HTTP/1.0)."""
    # RFC 9110 6.6.1: an origin server with a clock sends Date.
    lines = f"date: {formatdate(wall_seconds, usegmt=True)}\r\nserver: {server}\r\n".encode("ascii")
    return lines, lines + b"connection: close\r\n", lines + b"connection: keep-alive\r\n"


class Ticker:
    """Calls ``on_tick`` every ``interval_seconds`` while it runs.

    ``call_later(seconds, callback)`` is the loop's; it returns a handle with ``cancel``.
    """

    def __init__(
        self, interval_seconds: float, on_tick: Callable[[], None], call_later: Callable[..., Any]
    ) -> None:
        self._interval_seconds = interval_seconds
        self._on_tick = on_tick
        self._call_later = call_later
        self._handle: Any = None

    def start(self) -> None:
        """Tick now, and from now on."""
        if self._handle is None:
            self._tick()

    def stop(self) -> None:
        """Tick no more."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _tick(self) -> None:
        self._handle = self._call_later(self._interval_seconds, self._tick)
        self._on_tick()
