"""What systemd, or whoever speaks its protocol, is told: ready, reloading, stopping, still alive.

The protocol of sd_notify(3) is one datagram of ``NAME=value`` lines to the unix socket in NOTIFY_SOCKET. It
needs no library. Nobody listens where the variable is missing, and a manager that is gone is no reason to end
the server: telling never fails.

The watchdog (sd_watchdog_enabled(3)) is fed by a timer of the event loop and by no thread, so that a server
whose loop is held is one that systemd starts anew. A server without connections has no other timer.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence

from .timers import Ticker

logger = logging.getLogger("cello")

_SEND_SECONDS = 1.0  # for a manager whose queue is full


def notify(state: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Tell the service manager of a state: lines such as ``READY=1``.

    Returns whether there was one to tell. A path in NOTIFY_SOCKET that begins with ``@`` is an abstract name.
    """
    path = environment.get("NOTIFY_SOCKET", "")
    if path[:1] not in ("/", "@") or not hasattr(socket, "AF_UNIX"):
        return False
    address = f"\0{path[1:]}" if path.startswith("@") else path
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.settimeout(_SEND_SECONDS)
            sock.connect(address)
            sock.send(state.encode())
    except OSError as exc:
        logger.debug("NOTIFY_SOCKET=%s: %s could not be told: %s", path, state.partition("\n")[0], exc)
        return False
    return True


def reloading() -> str:
    """Return the state that says that a reload begins; READY=1 ends it.

    Type=notify-reload asks for the time of the monotonic clock, in microseconds.
    """
    return f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}"


def watchdog_seconds(environment: Mapping[str, str]) -> float | None:
    """Return how often the manager wants to be told that this process is alive; None: not at all."""
    given = environment.get("WATCHDOG_USEC", "")
    if not given.isascii() or not given.isdigit() or not int(given):
        return None
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(given) / 1e6


class ServiceManager:
    """Tells the service manager of one run, from its event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, environment: Mapping[str, str] | None = None) -> None:
        self._environment = os.environ if environment is None else environment
        seconds = watchdog_seconds(self._environment)
        self._pings: Ticker | None = None
        if seconds is not None:
            self._pings = Ticker(seconds / 2, self._ping, loop.call_later)

    def _tell(self, *lines: str) -> None:
        notify("\n".join(lines), self._environment)

    def _ping(self) -> None:
        self._tell("WATCHDOG=1")

    def ready(self, urls: Sequence[str]) -> None:
        """The server serves; from now on it says that it is alive, where it was asked to."""
        self._tell("READY=1", f"STATUS=serving on {' and '.join(urls)}")
        if self._pings is not None:
            self._pings.start()

    def stopping(self) -> None:
        """A stop has begun."""
        self._tell("STOPPING=1", "STATUS=stopping")

    @contextlib.contextmanager
    def reloading(self) -> Iterator[None]:
        """A reload runs for as long as the block."""
        self._tell(reloading())
        try:
            yield
        finally:
            self._tell("READY=1")

    def end(self) -> None:
        """Say no more that the process is alive."""
        if self._pings is not None:
            self._pings.stop()
