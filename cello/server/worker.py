"""A worker: it serves on listeners, inside whichever event loop, from the startup hooks to the last answer.

    startup hooks -> accept ... stop -> finish what runs -> shutdown hooks

``Worker`` is handed the application as an object (``Application``); it knows no App. What a process is beside
it, from its sockets to its signals, is process.py's.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol

from .._version import __version__
from ..config import ClusterConfig, RunOptions
from ..errors import StartError
from ..threads import HandlerPool
from .access_log import AccessLog
from .banner import announce
from .descriptors import RESERVED_DESCRIPTORS, make_room
from .h1 import Gate, H1Clock, make_connection, make_service
from .sockets import accept_remaining, close_listener, release_path, url_of
from .timers import Ticker, tick_seconds_for
from .tls import CertificateWatcher
from .tls_acceptor import TlsAcceptor
from .watchdog import Watchdog

logger = logging.getLogger("cello")

CANCEL_SECONDS = 1.0  # for tasks that the application left behind
CERTIFICATE_CHECK_SECONDS = 2.0


class Application(Protocol):
    """What a worker needs of an application."""

    def build(self, pool: HandlerPool, options: RunOptions) -> Any:
        """Return the dispatcher of this run."""

    async def startup(self) -> None:
        """Run the startup hooks; raises StartError."""

    def begin_stop(self) -> None:
        """Tell who asks whether it is ready that it is not any more; called from any thread, repeatedly."""

    async def shutdown(self) -> None:
        """Run the shutdown hooks."""


class ConnectionBoard(Protocol):
    """Where the processes of a cluster tell each other how many connections they have open."""

    def set_connections(self, count: int) -> None:
        """Say how many this process has."""

    def others(self) -> int:
        """Count those of the other processes."""

    def process_count(self) -> int:
        """Count the processes."""


class Worker:
    """Serves one application on its listeners until it is stopped.

    It owns the listeners from the start, and closes them also when it cannot be made: raises StartError.
    ``board`` is where the processes of a cluster count their connections; ``reserved_descriptors`` are kept
    from them for all else.
    """

    def __init__(
        self,
        application: Application,
        options: RunOptions,
        listeners: list[socket.socket],
        *,
        board: ConnectionBoard | None = None,
        reserved_descriptors: int = RESERVED_DESCRIPTORS,
    ) -> None:
        self._application = application
        self.options = options
        self._grace_seconds = (options.cluster or ClusterConfig()).graceful_timeout
        self._listeners = listeners
        self._board = board
        self._reserved_descriptors = reserved_descriptors
        self._servers: dict[socket.socket, Any] = {}
        self._adopted: dict[int, list[socket.socket]] = {}
        self._adopting: asyncio.Task[None] | None = None
        self._is_queue_left = False
        self._stopping: asyncio.Event | None = None
        self._is_stop_asked = False
        self._when_stopping: Callable[[], None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        try:
            self._watcher = CertificateWatcher(options.tls) if options.tls is not None else None
        except StartError:
            self._close_listeners()
            raise
        self._pool: HandlerPool | None = None
        self._watchdog: Watchdog | None = None
        self.service: Any = None
        self.log: AccessLog | None = None  # from the startup hooks on, which may attach handlers

    @property
    def answered_count(self) -> int:
        """How many requests were answered so far."""
        return 0 if self.service is None else int(self.service.answered_count)

    @property
    def urls(self) -> list[str]:
        """The URLs that the listeners are reached under."""
        scheme = "https" if self.options.tls is not None else "http"
        return [url_of(listener, scheme) for listener in self._listeners]

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """The addresses and ports that the listeners are bound to; a unix domain socket has none."""
        return [
            listener.getsockname()[:2]
            for listener in self._listeners
            if listener.family in (socket.AF_INET, socket.AF_INET6)
        ]

    async def serve(
        self,
        when_ready: Callable[[], None] | None = None,
        when_stopping: Callable[[], None] | None = None,
    ) -> None:
        """Serve until ``stop`` is called or this task is cancelled; raises StartError.

        ``when_stopping`` is called once, when the stop begins, which is before its delay.
        """
        self._when_stopping = when_stopping
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        if self._is_stop_asked:
            self._stopping.set()
        pool = self._pool = HandlerPool(self.options.workers)
        try:
            dispatcher = self._application.build(pool, self.options)
            await self._application.startup()
            try:
                await self._serve(dispatcher, when_ready)
            finally:
                pool.shutdown()
                if self.log is not None:
                    self.log.close()  # before whatever the hooks have to say
                await self._application.shutdown()
        finally:
            self._close_listeners()

    def _close_listeners(self) -> None:
        for listener in self._listeners:
            close_listener(listener)

    async def _serve(self, dispatcher: Any, when_ready: Callable[[], None] | None) -> None:
        assert self._loop is not None
        assert self._stopping is not None
        self._assemble(dispatcher)
        await self._listen(self._listeners)
        if when_ready is not None:
            when_ready()
        certificates = (
            self._loop.create_task(self._watch_certificates()) if self._watcher is not None else None
        )
        try:
            await self._stopping.wait()
        finally:
            if certificates is not None:
                certificates.cancel()
            await self._drain()
            self._ticker.stop()
            if self._watchdog is not None:
                self._watchdog.end()

    def _assemble(self, dispatcher: Any) -> None:
        assert self._loop is not None
        options, loop = self.options, self._loop
        timeouts = options.timeout
        seconds = [timeouts.request_timeout, timeouts.response_timeout, timeouts.keep_alive_timeout]
        tick_seconds = tick_seconds_for(*[each for each in seconds if each is not None])
        self.service = make_service(
            dispatcher,
            max_headers=options.limits.max_headers,
            request_seconds=timeouts.request_timeout,
            stall_seconds=timeouts.response_timeout,
            keep_alive_seconds=timeouts.keep_alive_timeout,
            tick_seconds=tick_seconds,
            is_tls=options.tls is not None,
        )
        self.log = AccessLog(options.log_format) if options.logs else None
        self.service.log = self.log.requests if self.log is not None else None
        self.service.is_stopping = self._is_stop_asked
        server = f"cello/{__version__}" if options.debug else "cello"
        clock = H1Clock(self.service, server, loop.time, time.time)
        self._ticker = Ticker(tick_seconds, lambda: self._tick(clock), loop.call_later)
        self._gate = Gate(self.service, self._cap(), self._when_first, self._when_empty)
        if self._board is not None:
            self._gate.join(self._board, options.limits.max_connections)
        if timeouts.stall_timeout is not None:
            find = dispatcher.core.watched.get
            self._watchdog = Watchdog(timeouts.stall_timeout + tick_seconds, find, with_advice=options.debug)

    def _tick(self, clock: H1Clock) -> None:
        clock.tick()
        if self._watchdog is not None:
            self._watchdog.beat()
        self._gate.tell()
        if self.log is not None:
            self.log.flush()

    def _when_first(self) -> None:
        if self._watchdog is not None:
            self._watchdog.watch()
        self._ticker.start()

    def _when_empty(self) -> None:
        self._ticker.stop()
        if self._watchdog is not None:
            self._watchdog.rest()
        if self.log is not None:
            self.log.flush()

    def _cap(self) -> int:
        """Return how many connections may be open: max_connections, short of the descriptor limit."""
        wanted, reserved = self.options.limits.max_connections, self._reserved_descriptors
        limit = make_room(wanted + reserved)
        if limit >= wanted + reserved:
            return wanted
        cap = max(1, int(limit) - reserved)
        logger.warning(
            "max_connections=%d is more than the descriptor limit of %d allows: serving at most %d",
            wanted,
            limit,
            cap,
        )
        return cap

    async def _listen(self, listeners: list[socket.socket]) -> None:
        assert self._loop is not None
        for listener in listeners:
            # The event loop closes what it is given; the worker's own stays open for what its queue holds.
            served = listener.dup()
            if self._watcher is not None:
                timeout = self.options.timeout.request_timeout
                acceptor = TlsAcceptor(
                    served, self._watcher.context, self.make_protocol, self._gate, handshake_seconds=timeout
                )
                acceptor.start()
                self._servers[listener] = acceptor
            else:
                server = await self._loop.create_server(self.make_protocol, sock=served, backlog=2048)
                self._servers[listener] = server

    def adopt(self, slot: int, listeners: list[socket.socket]) -> None:
        """Accept from a sibling's listeners as well, which are this worker's from now on."""
        assert self._loop is not None
        if slot in self._adopted or self._stopping is None or self._stopping.is_set():
            _close_all(listeners)
            return
        self._adopted[slot] = listeners
        self._adopting = self._loop.create_task(self._listen_for(slot, listeners))

    async def _listen_for(self, slot: int, listeners: list[socket.socket]) -> None:
        await self._listen(listeners)
        if self._adopted.get(slot) is not listeners:  # released meanwhile
            self._give_up(listeners)

    def release(self, slot: int) -> None:
        """Give up what was adopted: its own worker serves it again, and what waits in its queue."""
        self._give_up(self._adopted.pop(slot, []))

    def _give_up(self, listeners: list[socket.socket]) -> None:
        if all(listener in self._servers for listener in listeners):
            for listener in listeners:
                self._close_server(self._servers.pop(listener), is_queue_left=True)
            _close_all(listeners)

    def _close_server(self, server: Any, *, is_queue_left: bool) -> None:
        if isinstance(server, TlsAcceptor):
            server.close(is_queue_left=is_queue_left)
        else:
            server.close()

    def announce(self) -> None:
        """Say on stderr where the application is served."""
        announce(self.urls, self.options, is_uvloop=not isinstance(self._loop, asyncio.BaseEventLoop))

    def trim(self) -> None:
        """Make room for the connections of other processes, where all together have too many."""
        if self.service is not None:
            self._gate.trim()

    def make_protocol(self) -> Any:
        """Return the protocol of a new connection."""
        return make_connection(self.service)

    async def _watch_certificates(self) -> None:
        assert self._watcher is not None
        while True:
            await asyncio.sleep(CERTIFICATE_CHECK_SECONDS)
            self._watcher.check()

    def has_certificates(self) -> bool:
        """Tell whether this worker serves TLS."""
        return self._watcher is not None

    def reload_certificates(self) -> None:
        """Take up renewed certificate files (SIGHUP)."""
        if self._watcher is not None:
            self._watcher.reload()

    def stop(self, grace_seconds: float | None = None) -> None:
        """Stop gracefully; to be called on the loop's thread, or through ``stop_from_thread``.

        ``grace_seconds`` is what runs has to finish, the configured time by default.
        """
        if grace_seconds is not None:
            self._grace_seconds = grace_seconds
        if self._stopping is not None:
            self._stopping.set()

    def stop_from_thread(self, delay_seconds: float = 0.0) -> float:
        """Stop gracefully; to be called from another thread, or from a signal handler.

        For ``delay_seconds`` requests are still taken, while the health checks say that it stops. Returns how
        many seconds that will be: 0 for a server that does not serve yet.
        """
        self._application.begin_stop()
        if self.service is None:
            delay_seconds = 0.0
        elif not delay_seconds:
            # At once: the loop may be held up, and what it answers then ends with close.
            self.service.is_stopping = True
        self._is_stop_asked = self._is_stop_asked or not delay_seconds
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended already
                self._loop.call_soon_threadsafe(self._stop_later, delay_seconds)
        return delay_seconds

    def _stop_later(self, delay_seconds: float) -> None:
        assert self._loop is not None
        self._note_stop()
        if delay_seconds:
            self._loop.call_later(delay_seconds, self.stop)
        else:
            self.stop()

    def _note_stop(self) -> None:
        """Tell whom it concerns that a stop has begun; once."""
        self._application.begin_stop()
        when_stopping, self._when_stopping = self._when_stopping, None
        if when_stopping is not None:
            when_stopping()

    def end_at_once(self) -> None:
        """Save what can be saved without the loop, before the process ends in the middle of its work."""
        with contextlib.suppress(RuntimeError):  # the signal came while the log was being written
            if self.log is not None:
                self.log.close()

    async def _drain(self) -> None:
        """Stop accepting, finish what runs within its grace, cut off the rest and say so."""
        assert self._loop is not None
        self._note_stop()
        service = self.service
        service.is_stopping = True
        await self._stop_accepting()
        for connection in list(service.connections):
            connection.stop()
        deadline = self._loop.time() + self._grace_seconds
        assert self._pool is not None
        # Several parties end by themselves: looking is simpler than being told by each.
        while self._is_busy() and self._loop.time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        cut = list(service.connections)
        if cut:
            logger.warning(
                "stopped with %d connections cut off after %g s of grace", len(cut), self._grace_seconds
            )
            for connection in cut:
                logger.warning(
                    "cut off: %s %s", connection.method or "no request", connection.target.decode("latin-1")
                )
                connection.abort()
            await asyncio.sleep(0)

    def _is_busy(self) -> bool:
        """Tell whether connections are open, or handlers run: also those whose clients are gone clean up."""
        assert self._pool is not None
        return (
            bool(self._gate.count()) or self._pool.is_busy() or any(map(_is_of_exchange, asyncio.all_tasks()))
        )

    async def _stop_accepting(self) -> None:
        """Close the listeners, but serve the connections in their queues: closing would reset them."""
        assert self._loop is not None
        for listener in self._listeners:
            release_path(listener)  # so that none comes between the last accept and the close
        for listener, server in self._servers.items():
            self._close_server(server, is_queue_left=self._is_queue_left)
            if (
                self._watcher is None and not self._is_queue_left
            ):  # a TlsAcceptor has emptied its queue itself
                for accepted in accept_remaining(listener):
                    with contextlib.suppress(OSError):
                        await self._loop.connect_accepted_socket(self.make_protocol, accepted)
            listener.close()
        self._servers.clear()

    def leave_queue(self) -> None:
        """Leave what waits in the listeners' queues, at the stop, to another process that serves them."""
        self._is_queue_left = True


def _close_all(listeners: list[socket.socket]) -> None:
    for listener in listeners:
        listener.close()


def _is_of_exchange(task: asyncio.Task[Any]) -> bool:
    """Tell whether a task runs a handler: known by its name, since keeping a list would cost each request."""
    return getattr(task.get_coro(), "__qualname__", "").startswith("Exchange.")


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return a new event loop: uvloop's where it is installed, else asyncio's."""
    try:
        if sys.platform == "win32":
            import winloop as uvloop
        else:
            import uvloop
    except ImportError:
        if sys.platform == "win32":  # its default loop cannot watch sockets that others accept on
            return asyncio.SelectorEventLoop()
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


async def finish(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel the tasks that the application left behind, and close its async generators."""
    left = [task for task in asyncio.all_tasks(loop) if task is not asyncio.current_task()]
    for task in left:
        task.cancel()
    if left:
        _, deaf = await asyncio.wait(left, timeout=CANCEL_SECONDS)
        for task in deaf:
            logger.warning("cut off: %r swallowed its cancellation", task.get_coro())
    await loop.shutdown_asyncgens()
