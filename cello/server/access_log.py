"""The request log: one line per answered request, written in batches, in the format of one's choice.

    2026-01-31 12:00:00 GET /users/1?full=yes 200 1.3ms 45B 127.0.0.1

Lines, or entries for all but the two quick formats, are collected as answers leave and written once a tick. A
thread does that: a terminal that has been stopped, or a pipe that nobody reads, must not hold the loop.
Past MOST_BYTES of text that waits for such a reader, lines are dropped, and counted.

Whatever a client sent is escaped, so that no line can be forged and no terminal steered. Where the logger
``cello.access`` has handlers of its own, they get the entries in place of standard output.
"""

from __future__ import annotations

import logging
import os
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TextIO

from .._speedups import LogLines, RequestLog, escape, fine_seconds
from ..logs import access_logger, as_record, entry_of, render_combined
from ..types import LogFormat

logger = logging.getLogger("cello")

MOST_BYTES = 16 << 20
PIPE_BYTES = 4096
CLOSE_SECONDS = 2.0  # for what is written last, when the server ends


class _Writer:
    """Writes texts in order, in a thread of its own; drops them when too many wait."""

    def __init__(self, output: TextIO) -> None:
        self._output = output
        # Below the text layer, which another thread's print() may just have written half a line to.
        self._buffer: Any = getattr(output, "buffer", None)
        self._is_pipe = _is_pipe(output)
        self._texts: SimpleQueue[bytes | None] = SimpleQueue()
        self._waiting_bytes = 0
        self._dropped_count = 0
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def write(self, text: bytes) -> None:
        """Have a text written; never waits."""
        if not text:
            return
        with self._lock:
            if self._waiting_bytes > MOST_BYTES:
                self._dropped_count += text.count(b"\n")
                return
            self._waiting_bytes += len(text)
        self._texts.put(text)
        if self._thread is None:
            thread = threading.Thread(target=self._work, name="cello-request-log", daemon=True)
            with suppress(RuntimeError):  # the system has no thread left: with the next text, perhaps
                thread.start()
                self._thread = thread

    def _work(self) -> None:
        while (text := self._texts.get()) is not None:
            with suppress(Exception):  # a closed pipe, a closed file, an odd one: no reason to end the server
                self._write(text)
            with self._lock:
                self._waiting_bytes -= len(text)
                dropped, self._dropped_count = self._dropped_count, 0
            if dropped:
                logger.warning(
                    "%d lines of the request log were dropped: its reader did not keep up", dropped
                )

    def _write(self, text: bytes) -> None:
        if self._buffer is None:
            self._output.write(text.decode())
            self._output.flush()
            return
        for piece in pieces_of(text) if self._is_pipe else (text,):
            self._buffer.write(piece)
            self._buffer.flush()

    def close(self) -> None:
        """Write what waits, for up to CLOSE_SECONDS."""
        if self._thread is not None:
            self._texts.put(None)
            self._thread.join(CLOSE_SECONDS)
            self._thread = None


def _is_pipe(output: TextIO) -> bool:
    try:
        return stat.S_ISFIFO(os.fstat(output.fileno()).st_mode)
    except (OSError, ValueError, AttributeError):  # no file of the system's at all
        return False


def pieces_of(text: bytes) -> Iterator[bytes]:
    """Cut a text of whole lines into pieces that a pipe takes in one piece each (PIPE_BUF, pipe(7)).

    So lines of several processes that share a pipe are never mixed, but for a line that is longer by itself.
    """
    start = 0
    while len(text) - start > PIPE_BYTES:
        end = text.rfind(b"\n", start, start + PIPE_BYTES) + 1
        if end <= start:
            end = text.find(b"\n", start) + 1 or len(text)
        yield text[start:end]
        start = end
    if start < len(text):
        yield text[start:]


class AccessLog:
    """Renders what ``requests`` has collected whenever ``flush`` is called, and has it written.

    ``log_format`` is run()'s. ``wall`` gives the time of day, ``clock`` that of the entries.
    """

    def __init__(
        self,
        log_format: LogFormat = "auto",
        output: TextIO | None = None,
        *,
        clock: Callable[[], float] = fine_seconds,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._wall = wall
        self._format = log_format
        # None also where the process was started without standard output.
        stdout: TextIO | None = sys.stdout if output is None else output
        self._writer = _Writer(stdout) if stdout is not None else None
        is_coloured = stdout is not None and stdout.isatty() and not os.environ.get("NO_COLOR")
        self._lines: LogLines | None = None
        if isinstance(log_format, str) and log_format != "combined" and not access_logger.handlers:
            self._lines = LogLines(log_format == "json", is_coloured, os.getpid())
            self._lines.wall_offset = wall() - clock()
        self.requests = RequestLog(self.flush, self._lines, not isinstance(log_format, logging.Handler))

    def flush(self) -> None:
        """Have what has been collected written; a log that cannot be written never ends the server."""
        wall_offset = self._wall() - self._clock()
        if self._lines is not None:
            text = self._lines.take()
            self._lines.wall_offset = wall_offset
            if text and self._writer is not None:
                self._writer.write(text)
            return
        entries = self.requests.take()
        if not entries:
            return
        if isinstance(self._format, logging.Handler):
            self._hand_over(entries, wall_offset, self._format.handle, self._format.level)
        elif access_logger.handlers:
            self._hand_over(entries, wall_offset, access_logger.handle, access_logger.level or logging.INFO)
        elif self._writer is not None:
            self._writer.write(self._render(entries, wall_offset))

    def _render(self, entries: list[Any], wall_offset: float) -> bytes:
        # Text where the logger's handlers have gone since the start.
        render: Any = self._format if callable(self._format) else render_combined
        lines = []
        for raw in entries:
            try:
                line = render(entry_of(raw, wall_offset))
                if isinstance(line, str):
                    lines.append(f"{line}\n")
                elif line is not None:
                    raise TypeError(f"it returned a {type(line).__name__}, expected a str or None")
            except BaseException as exc:
                logger.error("log_format %r failed for %s %s", render, raw[3], escape(raw[4]), exc_info=exc)
        return "".join(lines).encode("utf-8", "backslashreplace")

    def _hand_over(
        self, entries: list[Any], wall_offset: float, handle: Callable[[logging.LogRecord], Any], level: int
    ) -> None:
        """Give each entry of a level and above to the logging module."""
        for raw in entries:
            entry = entry_of(raw, wall_offset)
            if entry.level < level:
                continue
            try:
                handle(as_record(entry))
            except BaseException as exc:
                logger.error("a handler of the request log failed", exc_info=exc)

    def close(self) -> None:
        """Write what is left."""
        self.flush()
        if self._writer is not None:
            self._writer.close()
