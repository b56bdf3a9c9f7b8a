"""HTTP/1.1 in a process: what all its connections share, and which of them are let in.

The connection itself is ``_speedups/h1_py.py``; here it gets its parser (the only home of httptools), its
settings and its callables.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Callable
from math import inf
from typing import Any

import httptools

from .._speedups import H1Connection, ReaderSettings, Service
from .timers import render_common

logger = logging.getLogger("cello")

OVERFLOW_COUNT = 20  # connections above the cap that are there to be told 503
IDLE_BATCH = 64
TELL_SECONDS = 10.0


def make_service(
    dispatcher: Any,
    *,
    max_headers: int,
    request_seconds: float | None,
    stall_seconds: float | None,
    keep_alive_seconds: float | None,
    tick_seconds: float,
    is_tls: bool,
) -> Service:
    """Return what the connections of a process share; a timeout of None is off."""
    reading = ReaderSettings(httptools.HttpRequestParser, httptools.HttpParserUpgrade, max_headers)
    service = Service(dispatcher, reading)
    service.refuse = dispatcher.core.refuse
    service.note = note
    service.request_seconds = inf if request_seconds is None else request_seconds
    service.stall_seconds = inf if stall_seconds is None else stall_seconds
    service.keep_alive_seconds = inf if keep_alive_seconds is None else keep_alive_seconds
    service.tick_seconds = tick_seconds
    service.scheme = "https" if is_tls else "http"
    return service


def note(connection: Any, reason: str) -> None:
    """Log what ended an exchange or a connection before its time."""
    client = connection.client or connection.transport.get_extra_info("peername")
    peer = f"{client[0]}:{client[1]}" if client and client[0] else "-"
    logger.info("%s %s: %s", peer, connection.method or "no request", reason)


class Gate:
    """Admits connections up to a cap: beyond it the one that is idle longest makes room, else 503.

    ``when_first`` is called when the first connection comes, ``when_empty`` when the last has gone.
    """

    def __init__(
        self, service: Service, cap: int, when_first: Callable[[], None], when_empty: Callable[[], None]
    ) -> None:
        self._service = service
        self._cap = cap
        self._shared_cap = cap
        self._board: Any = None
        self._closed_count = 0
        self._turned_away_count = 0
        self._tell_at = 0.0
        self._when_first = when_first
        self._when_empty = when_empty
        self._idle: list[tuple[float, Any]] = []
        self.pending_count = 0  # TLS handshakes
        service.admit = self.admit
        service.released = self.released

    def count(self) -> int:
        """Count what holds a descriptor."""
        return len(self._service.connections) + self.pending_count

    def join(self, board: Any, cap: int) -> None:
        """Count with the other processes of a cluster, up to a cap for all of them together."""
        self._board = board
        self._shared_cap = cap

    def _excess(self) -> int:
        """Count what is above the cap: this process's own, or that of all processes."""
        count = self.count()
        if self._board is None:
            return count - self._cap
        others: int = self._board.others()
        return max(count - self._cap, count + others - self._shared_cap)

    def _has_less_than_its_share(self) -> bool:
        """Tell whether the other processes of a cluster are those that have too many."""
        if self._board is None or self.count() > self._cap:
            return False
        return self.count() <= self._share()

    def _share(self) -> int:
        """Return what each process of a cluster may have where all want more."""
        processes: int = self._board.process_count()
        return self._shared_cap // max(1, processes)

    def trim(self) -> None:
        """Close idle connections above this process's share, while all processes together have too many."""
        if self._board is None:
            return
        for _ in range(min(self.count() - self._share(), self._excess())):
            idle = self._find_idle(None)
            if idle is None:
                return
            self._close(idle)

    def admit(self, connection: Any) -> None:
        """Take a new connection in, or make room for it, or turn it away."""
        count = len(self._service.connections)
        if count == 1:
            self._when_first()
        if self._board is not None:
            self._board.set_connections(count)
        # A TLS connection is still counted as a handshake while it is made.
        excess = self._excess() - (1 if self._service.scheme == "https" else 0)
        if excess <= 0:
            return
        idle = self._find_idle(connection)
        if idle is not None:
            self._close(idle)
        elif self._has_less_than_its_share():
            return  # a sibling has more, and makes room with its next ``trim``
        else:
            self._turned_away_count += 1
            if excess > OVERFLOW_COUNT:
                connection.abort()
            else:
                connection.turn_away("the server is at max_connections")

    def make_room(self) -> bool:
        """Tell whether a TLS handshake may begin: at the cap, only when something idle makes room."""
        excess = self._excess()
        if excess <= 0:
            return True
        idle = self._find_idle(None)
        if idle is None:
            return excess <= OVERFLOW_COUNT or self._has_less_than_its_share()
        self._close(idle)
        return True

    def _close(self, idle: Any) -> None:
        self._closed_count += 1
        idle.abort()

    def tell(self, *, at_end: bool = False) -> None:
        """Log what the cap has cost, at most once in TELL_SECONDS: a flood is no reason to flood the log."""
        now = self._service.now
        if not (self._closed_count or self._turned_away_count) or (now < self._tell_at and not at_end):
            return
        logger.warning(
            "the limit of %d connections is reached: %d idle ones closed to make room, %d new ones refused",
            min(self._cap, self._shared_cap),
            self._closed_count,
            self._turned_away_count,
        )
        self._closed_count = self._turned_away_count = 0
        self._tell_at = now + TELL_SECONDS

    def released(self, connection: Any) -> None:
        """A connection has gone."""
        if self._board is not None:
            self._board.set_connections(len(self._service.connections))
        if not self._service.connections:
            self._idle.clear()
            self.tell(at_end=True)
            self._when_empty()

    def _find_idle(self, newcomer: Any) -> Any:
        """Return the connection that has been idle longest, or None.

        PERF: one walk over all connections finds the next IDLE_BATCH of them, so that a flood at the cap
        costs a walk per 64 newcomers.
        """
        for _ in range(2):
            while self._idle:
                since, connection = self._idle.pop()
                if (
                    connection.is_idle()
                    and connection.idle_since == since
                    and connection.transport is not None
                ):
                    return connection
            connections = self._service.connections
            idle = [
                (each.idle_since, id(each), each)
                for each in connections
                if each.is_idle() and each is not newcomer
            ]
            self._idle = [(since, each) for since, _, each in reversed(heapq.nsmallest(IDLE_BATCH, idle))]
        return None


class H1Clock:
    """Keeps a Service's time: ``now``, the Date line and the deadlines, once a tick."""

    def __init__(
        self, service: Service, server: str, monotonic: Callable[[], float], wall: Callable[[], float]
    ) -> None:
        self._service = service
        self._server = server
        self._monotonic = monotonic
        self._wall = wall
        self._second = -1
        self._has_put_off = False
        self.tick()

    def tick(self) -> None:
        """Move ``now``, render Date when its second has passed, expire what is due.

        After the loop was held, octets that have come and threads' results that are there have not been
        looked at yet: clients get the time back, and nothing expires before the next tick.
        """
        service = self._service
        now = self._monotonic()
        late_seconds = now - service.now - service.tick_seconds
        service.move_to(now)
        is_late = late_seconds > service.tick_seconds  # less than that is in every deadline already
        if is_late:
            service.give_back(late_seconds)
        second = int(self._wall())
        if second != self._second:
            self._second = second
            service.common, service.common_close, service.common_keep_alive = render_common(
                second, self._server
            )
        if not is_late or self._has_put_off:  # a loop that is always late has to expire things all the same
            service.sweep()
        self._has_put_off = is_late and not self._has_put_off


def make_connection(service: Service) -> H1Connection:
    """Return the protocol of a new connection."""
    return H1Connection(service)
