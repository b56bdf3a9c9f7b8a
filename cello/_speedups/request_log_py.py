"""The request log where answers leave: a line at once in the quick formats, an entry for all others.

Whatever else there is to do is done when a batch is written (server/access_log.py).
"""

from __future__ import annotations

from typing import Any

from .calls_py import fine_seconds
from .log_lines_py import LogLines
from .request_py import Request

MAX_WAITING = 1000

Entry = tuple[float, float, str, str, bytes, int, int, Any, str, bytes, Any]
"""End of the answer on the clock of ``fine_seconds``, seconds it took, client, method, target, status, octets
of its body, route, protocol, request id, and the Referer and User-Agent fields or None."""


class RequestLog:
    """Takes answers: as lines where there are ``lines`` to put them to, else as entries until they are taken.

    ``when_full`` is called after each MAX_WAITING. ``has_agents``: entries have their request's Referer and
    User-Agent.
    """

    __slots__ = ("_count", "_entries", "_has_agents", "_lines", "_when_full")

    def __init__(self, when_full: Any, lines: LogLines | None, has_agents: bool) -> None:
        self._when_full = when_full
        self._lines = lines
        self._has_agents = has_agents
        self._entries: list[Entry] = []
        self._count = 0

    def add(
        self, began_at: float, client: Any, method: str, target: bytes, status: int, size: int, request: Any
    ) -> None:
        """Take an answer; ``began_at`` is when its request's first octet came, 0.0 where none did."""
        now = fine_seconds()
        seconds = now - began_at if began_at else 0.0
        address = (client[0] or "-") if client else "-"
        method = method or "-"
        target = target or b"-"
        route = None
        version = "1.1"
        request_id = b"-"
        known: Request = request
        if known is not None:
            route = known.route
            version = known.http_version
            request_id = known.request_id_octets()
        lines = self._lines
        if lines is not None:
            lines.add(now, seconds, address, method, target, status, size, route, version, request_id)
        else:
            agents = None
            if self._has_agents and known is not None:
                agents = (known.raw_field(b"referer"), known.raw_field(b"user-agent"))
            self._entries.append(
                (now, seconds, address, method, target, status, size, route, version, request_id, agents)
            )
        self._count += 1
        if self._count >= MAX_WAITING:
            self._count = 0
            self._when_full()

    def take(self) -> list[Entry]:
        """Return the entries, and begin anew."""
        entries = self._entries
        self._entries = []
        return entries
