"""Collecting the request log: an entry for each answer, and the development line made of it.

An answer costs one tuple here; everything else happens when a batch is written (server/access_log.py).
"""

from __future__ import annotations

import re
from math import floor
from time import localtime, strftime
from typing import Any

from .calls_py import fine_seconds
from .request_py import Request

MAX_WAITING = 1000
MAX_TARGET_BYTES = 2048

Entry = tuple[float, float, str, str, bytes, int, int, Any, str, str, Any]
"""End of the answer on the clock of ``fine_seconds``, seconds it took, client, method, target, status, octets
of its body, route, protocol, request id, and the Referer and User-Agent fields or None."""

_find_unsafe = re.compile(rb"[^!-\[\]-~]").search  # outside of visible ASCII, or a backslash

_COLOURS = {2: "\x1b[32m", 3: "\x1b[36m", 4: "\x1b[33m", 5: "\x1b[31m"}
_PLAIN = "\x1b[0m"


class RequestLog:
    """Collects entries until they are taken.

    ``when_full`` is called when MAX_WAITING wait. ``has_agents``: entries have their request's Referer and
    User-Agent.
    """

    __slots__ = ("_entries", "_when_full", "has_agents")

    def __init__(self, when_full: Any, has_agents: bool) -> None:
        self._when_full = when_full
        self._entries: list[Entry] = []
        self.has_agents = has_agents

    def add(
        self, began_at: float, client: Any, method: str, target: bytes, status: int, size: int, request: Any
    ) -> None:
        """Take an answer; ``began_at`` is when its request's first octet came, 0.0 where none did."""
        now = fine_seconds()
        known: Request = request
        self._entries.append(
            (
                now,
                now - began_at if began_at else 0.0,
                client[0] if client else "-",
                method or "-",
                target or b"-",
                status,
                size,
                known.route if known is not None else None,
                known.http_version if known is not None else "1.1",
                known.request_id if known is not None else "-",
                (known.raw_field(b"referer"), known.raw_field(b"user-agent"))
                if self.has_agents and known is not None
                else None,
            )
        )
        if len(self._entries) >= MAX_WAITING:
            self._when_full()

    def take(self) -> list[Entry]:
        """Return what has been collected, and begin anew."""
        entries = self._entries
        self._entries = []
        return entries


def escape(octets: bytes) -> str:
    """Render octets of a client for a log line: at most 2,048, what is not visible ASCII as ``\\xNN``."""
    if len(octets) > MAX_TARGET_BYTES:
        octets = octets[:MAX_TARGET_BYTES]
    if _find_unsafe(octets) is None:
        return octets.decode("ascii")
    shown = []
    for octet in octets:
        shown.append(chr(octet) if 0x20 < octet < 0x7F and octet != 0x5C else f"\\x{octet:02x}")
    return "".join(shown)


def render_entries(entries: list[Entry], wall_offset: float, is_coloured: bool) -> str:
    """Render the development log's lines: time, method, target, status, milliseconds, octets, client.

    ``wall_offset`` is added to an entry's time to get that of day.
    """
    lines = []
    second = -1
    stamp = ""
    for entry in entries:
        at, seconds, client, method, target, status, size, _, _, _, _ = entry
        wall = at + wall_offset
        if floor(wall) != second:
            second = floor(wall)
            stamp = strftime("%Y-%m-%d %H:%M:%S", localtime(second))
        shown = f"{_COLOURS.get(status // 100, '')}{status}{_PLAIN}" if is_coloured else str(status)
        tenths = int(seconds * 10000.0 + 0.5)
        lines.append(
            f"{stamp} {method} {escape(target)} {shown} {tenths // 10}.{tenths % 10}ms {size}B {client}\n"
        )
    return "".join(lines)
