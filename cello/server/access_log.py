"""The request log: one line per answered request, written in batches.

    2026-01-31 12:00:00 127.0.0.1 GET /users/1?full=yes 200 1.3ms 45B

A record is a tuple until the next tick, when all of them are rendered and written at once: a write per
request would cost more than the request. Colours are for a terminal alone. Whatever a client sent is
escaped, so that no line can be forged and no terminal steered.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

MAX_WAITING = 1000

_COLOURS = {2: "\x1b[32m", 3: "\x1b[36m", 4: "\x1b[33m", 5: "\x1b[31m"}
_PLAIN = "\x1b[0m"

Record = tuple[float, str, str, bytes, int, float, int]


class AccessLog:
    """Collects what connections report and writes it when ``flush`` is called.

    ``clock`` gives the monotonic seconds that connections note at a request's first octet, ``wall`` the
    time of day.
    """

    def __init__(
        self,
        output: TextIO | None = None,
        clock: Callable[[], float] = time.perf_counter,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.clock = clock
        self._wall = wall
        # None also where the process was started without standard output.
        self._output: TextIO | None = sys.stdout if output is None else output
        self._is_coloured = self._output is not None and self._output.isatty()
        self._records: list[Record] = []

    def record(self, connection: Any) -> None:
        """Take the answer that a connection has just given."""
        began_at = connection.began_at
        seconds = self.clock() - began_at if began_at else 0.0
        client = connection.client
        self._records.append(
            (
                self._wall(),
                client[0] if client else "-",
                connection.method or "-",
                connection.target or b"-",
                connection.status,
                seconds,
                connection.sent_bytes,
            )
        )
        if len(self._records) >= MAX_WAITING:
            self.flush()

    def flush(self) -> None:
        """Write what has been collected; a log that cannot be written never ends the server."""
        records, self._records = self._records, []
        if not records or self._output is None:
            return
        try:
            self._output.write("".join([self._render(record) for record in records]))
            self._output.flush()
        except (OSError, ValueError):  # a closed pipe, a closed file
            return

    def _render(self, record: Record) -> str:
        wall, client, method, target, status, seconds, sent_bytes = record
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(wall))
        shown = f"{_COLOURS.get(status // 100, '')}{status}{_PLAIN}" if self._is_coloured else str(status)
        return f"{stamp} {client} {method} {escape(target)} {shown} {seconds * 1000:.1f}ms {sent_bytes}B\n"


def escape(target: bytes) -> str:
    """Render a target for a log line: at most 2,048 octets, what is not visible ASCII as ``\\xNN``."""
    text = target[:2048].decode("latin-1")
    if text.isascii() and text.isprintable() and "\\" not in text and " " not in text:
        return text
    return "".join(
        character if " " < character <= "~" and character != "\\" else f"\\x{ord(character):02x}"
        for character in text
    )
