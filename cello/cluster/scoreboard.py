"""What all processes of a cluster see: a row of numbers per worker, in memory that they share.

A row has one writer, its worker, until the supervisor clears it after the worker's end. Every number is one
aligned machine word, written and read whole: no lock is needed, and none is there.
"""

from __future__ import annotations

import mmap
import os
import struct
import sys
import tempfile
import time

ROWS = 2048  # a worker in every slot, and another that replaces it
_HEADER_WORDS = 8
_ROW_WORDS = 8
_BYTES = 8 * (_HEADER_WORDS + ROWS * _ROW_WORDS)
_USED = 0  # the header's only word so far: rows in use, from the first on
_BEAT, _CONNECTIONS, _REQUESTS, _RSS = range(4)

_as_float = struct.Struct("d")
_as_int = struct.Struct("q")


class Scoreboard:
    """The shared table; owns its mapping and the descriptor that executed processes inherit."""

    def __init__(self, handle: int | str | None = None) -> None:
        """Make the table, or map the one behind a ``handle``: a descriptor, or a name on Windows."""
        self.handle = _make() if handle is None else handle
        if sys.platform == "win32":
            self._map = mmap.mmap(-1, _BYTES, tagname=str(self.handle))
        else:
            self._map = mmap.mmap(int(self.handle), _BYTES)
        self._words = memoryview(self._map).cast("q")
        self._free: list[int] = []

    # The supervisor's side.

    def take_row(self) -> int:
        """Return a cleared row that nobody uses; raises RuntimeError when there is none."""
        if self._free:
            return self._free.pop()
        row = self._words[_USED]
        if row >= ROWS:
            raise RuntimeError(f"the scoreboard's {ROWS} rows are all in use")
        self._words[_USED] = row + 1
        return row

    def free_row(self, row: int) -> None:
        """Clear the row of a worker that has ended."""
        start = _HEADER_WORDS + row * _ROW_WORDS
        for word in range(start, start + _ROW_WORDS):
            self._words[word] = 0
        self._free.append(row)

    def beat_of(self, row: int) -> float:
        """Return when a worker's event loop last ran, by the monotonic clock; 0.0 before its first tick."""
        return float(_as_float.unpack(_as_int.pack(self._word(row, _BEAT)))[0])

    def connections_of(self, row: int) -> int:
        """Return how many connections a worker has open."""
        return self._word(row, _CONNECTIONS)

    def requests_of(self, row: int) -> int:
        """Return how many requests a worker has answered."""
        return self._word(row, _REQUESTS)

    def rss_of(self, row: int) -> int:
        """Return the bytes of memory that a worker holds, as far as it knows."""
        return self._word(row, _RSS)

    def _word(self, row: int, column: int) -> int:
        return self._words[_HEADER_WORDS + row * _ROW_WORDS + column]

    def count_connections(self, but: int = -1) -> int:
        """Count the connections of all workers, but for one row's."""
        first = _HEADER_WORDS + _CONNECTIONS
        last = first + self._words[_USED] * _ROW_WORDS
        total = sum(self._words[first:last:_ROW_WORDS])
        return total if but < 0 else total - self._word(but, _CONNECTIONS)

    def count_workers(self) -> int:
        """Count the rows that are in use."""
        first = _HEADER_WORDS + _BEAT
        last = first + self._words[_USED] * _ROW_WORDS
        return sum(map(bool, self._words[first:last:_ROW_WORDS]))

    def close(self) -> None:
        """Give the mapping and the descriptor back."""
        self._words.release()
        self._map.close()
        if isinstance(self.handle, int):
            os.close(self.handle)


class Row:
    """A worker's own row, which it alone writes."""

    def __init__(self, board: Scoreboard, row: int) -> None:
        self._board = board
        self._row = row
        self._words = board._words
        self._start = _HEADER_WORDS + row * _ROW_WORDS

    def beat(self) -> None:
        """Say that the event loop runs."""
        self._words[self._start + _BEAT] = _as_int.unpack(_as_float.pack(time.monotonic()))[0]

    def set_requests(self, count: int) -> None:
        """Say how many requests were answered."""
        self._words[self._start + _REQUESTS] = count

    def set_rss(self, count: int) -> None:
        """Say how many bytes of memory are held."""
        self._words[self._start + _RSS] = count

    def set_connections(self, count: int) -> None:
        """Say how many connections are open."""
        self._words[self._start + _CONNECTIONS] = count

    def others(self) -> int:
        """Count the connections of the other workers."""
        return self._board.count_connections(but=self._row)

    def process_count(self) -> int:
        """Count the workers."""
        return self._board.count_workers()


def _make() -> int | str:
    """Return the descriptor of a file without a name, of the table's size, full of zeros."""
    if sys.platform == "win32":
        return f"cello-{os.getpid()}-{time.monotonic_ns()}"
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("cello-scoreboard", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.truncate(descriptor, _BYTES)
    return descriptor
