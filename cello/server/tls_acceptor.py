"""Accepting TLS connections: each handshake is counted and bounded from its accept.

An event loop's own TLS server tells its protocol of a connection only when the handshake is over, so peers
that never finish theirs would hold descriptors that nobody counts. Here a listener is read by hand, and every
handshake is a task that counts against max_connections and ends at request_timeout.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Callable
from typing import Any

from .h1 import Gate
from .sockets import accept_remaining

logger = logging.getLogger("cello")

ACCEPT_BATCH = 64
PAUSE_SECONDS = 0.1
MAX_HANDSHAKE_SECONDS = 60.0
SHUTDOWN_SECONDS = 5.0  # for what is still unread when a connection is closed
STOP_SECONDS = 1.0  # for handshakes that run when the server stops

_OUT_OF_DESCRIPTORS = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class TlsAcceptor:
    """Accepts on one listener, which it owns, and gives each connection a TLS transport and a protocol."""

    def __init__(
        self,
        listener: socket.socket,
        context: ssl.SSLContext,
        make_protocol: Callable[[], Any],
        gate: Gate,
        *,
        handshake_seconds: float | None,
    ) -> None:
        self._listener = listener
        self._context = context
        self._make_protocol = make_protocol
        self._gate = gate
        self._handshake_seconds = min(handshake_seconds or MAX_HANDSHAKE_SECONDS, MAX_HANDSHAKE_SECONDS)
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closed = False

    def start(self) -> None:
        """Accept from now on."""
        if not self._is_closed:
            self._loop.add_reader(self._listener, self._accept)

    def close(self, *, is_queue_left: bool = False) -> None:
        """Accept what waits in the queue, and no more; handshakes that run have STOP_SECONDS left.

        With ``is_queue_left`` another process serves the queue, and no handshake is cut off.
        """
        if not self._is_closed:
            for accepted in () if is_queue_left else accept_remaining(self._listener):
                self._start_handshake(accepted)
            self._is_closed = True
            self._loop.remove_reader(self._listener)
            self._listener.close()
            self._loop.call_later(STOP_SECONDS, self._cut_off)

    def _cut_off(self) -> None:
        for task in self._tasks:
            task.cancel()

    def _accept(self) -> None:
        for _ in range(ACCEPT_BATCH):
            try:
                accepted, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as exc:
                if exc.errno not in _OUT_OF_DESCRIPTORS:
                    raise
                logger.error("accepting pauses for %.1f s: %s", PAUSE_SECONDS, exc)
                self._loop.remove_reader(self._listener)
                self._loop.call_later(PAUSE_SECONDS, self.start)
                return
            self._start_handshake(accepted)

    def _start_handshake(self, accepted: socket.socket) -> None:
        self._gate.pending_count += 1
        task = self._loop.create_task(self._shake_hands(accepted))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _shake_hands(self, accepted: socket.socket) -> None:
        accepted.setblocking(False)
        try:
            if not self._gate.make_room():
                accepted.close()
                return
            await self._loop.connect_accepted_socket(
                self._make_protocol,
                accepted,
                ssl=self._context,
                ssl_handshake_timeout=self._handshake_seconds,
                ssl_shutdown_timeout=SHUTDOWN_SECONDS,
            )
        except (TimeoutError, OSError, ssl.SSLError) as exc:
            logger.debug("a TLS handshake failed: %s", exc)
        finally:
            self._gate.pending_count -= 1
