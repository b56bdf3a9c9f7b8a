"""The pieces of a streamed answer: asked for one by one, where they may block, and held to their length."""

from __future__ import annotations

import asyncio
import logging
from threading import Lock
from typing import Any

from .errors import ResponseError
from .threads import HandlerPool

logger = logging.getLogger("cello")

_EXHAUSTED: Any = object()


class Pieces:
    """The pieces of a streamed body, whichever iterator makes them, held to the length declared for it.

    A plain iterator may block, so each step runs in a handler thread unless its route is pinned to the loop.
    ``declared_bytes`` is -1 where no length was declared; ``is_text``: the last piece was a str.
    """

    def __init__(self, body: Any, declared_bytes: int, pool: HandlerPool | None) -> None:
        self._pool = pool
        self._is_async = hasattr(body, "__aiter__")
        self._iterator = body.__aiter__() if self._is_async else body
        self._sent_bytes = 0
        self._is_at_end = False
        self._lock = Lock()
        self._is_stepping = False
        self._is_closed = False
        self.declared_bytes = declared_bytes
        self.is_text = False

    async def next(self) -> bytes | None:
        """Return the octets of the next piece, None behind the last; raises ResponseError."""
        piece = await self._step() if not self._is_at_end else _EXHAUSTED
        if piece is _EXHAUSTED:
            self._check_length(is_end=True)
            return None
        self.is_text = isinstance(piece, str)
        octets = _as_octets(piece)
        self._sent_bytes += len(octets)
        if octets and self._sent_bytes == self.declared_bytes:
            # Behind the last declared octet nothing can be broken off any more: look first at what follows.
            while (behind := await self._step()) is not _EXHAUSTED:
                self._sent_bytes += len(_as_octets(behind))
                self._check_length()
            self._is_at_end = True
        self._check_length()
        return octets

    def _check_length(self, *, is_end: bool = False) -> None:
        declared = self.declared_bytes
        if 0 <= declared < self._sent_bytes:
            raise ResponseError(f"the streamed body is longer than its Content-Length of {declared} bytes")
        if is_end and self._sent_bytes < declared:
            raise ResponseError(
                f"the streamed body has {self._sent_bytes} bytes, its Content-Length says {declared}"
            )

    async def _step(self) -> Any:
        if self._is_async:
            return await anext(self._iterator, _EXHAUSTED)
        if self._pool is None:
            await asyncio.sleep(0)  # a long stream leaves the loop to others between two pieces
            return next(self._iterator, _EXHAUSTED)
        return await self._pool.run(self._step_in_thread)

    def _step_in_thread(self) -> Any:
        with self._lock:
            if self._is_closed:
                return _EXHAUSTED
            self._is_stepping = True
        try:
            return next(self._iterator, _EXHAUSTED)
        finally:
            self._end_step()

    def _end_step(self) -> None:
        with self._lock:
            self._is_stepping = False
            is_left = self._is_closed
        if is_left:  # closed in the meantime, which had to be left to this thread
            self._close_iterator()

    async def close(self) -> None:
        """Close the iterator, in the thread that is inside it where one is; errors are logged."""
        if self._is_async:
            await self._close_async()
            return
        with self._lock:
            self._is_closed = True
            if self._is_stepping:
                return
        if self._pool is None:
            self._close_iterator()
        elif hasattr(self._iterator, "close"):
            await self._pool.run(self._close_iterator)

    def _close_iterator(self) -> None:
        try:
            close = getattr(self._iterator, "close", None)
            if close is not None:
                close()
        except BaseException as exc:
            logger.error("closing a streamed body failed", exc_info=exc)

    async def _close_async(self) -> None:
        try:
            close = getattr(self._iterator, "aclose", None)
            if close is not None:
                await close()
        except asyncio.CancelledError:
            raise
        except BaseException as exc:
            logger.error("closing a streamed body failed", exc_info=exc)


def _as_octets(piece: Any) -> bytes:
    if isinstance(piece, bytes):
        return piece
    if isinstance(piece, str):
        return piece.encode()
    if isinstance(piece, (bytearray, memoryview)):
        return bytes(piece)
    raise ResponseError(f"a streamed body yields bytes or str, got {type(piece).__name__}")
