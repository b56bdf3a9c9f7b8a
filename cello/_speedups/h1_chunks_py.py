"""Reading a chunked body, its trailers counted and dropped, within limits (RFC 9112 7.1).

httptools parses the chunks; this module decides what it is fed, and counts what a body costs beside its data.
Extensions and trailers are octets that no handler sees: without a bound a peer could send them for ever.
"""

from __future__ import annotations

from typing import Any

from .h1_rules_py import Fault

MAX_EXTENSION_BYTES = 16384
MAX_TRAILER_BYTES = 65536
CHUNK_CREDIT_BYTES = 20  # 16 digits and two CRLF: what a chunk costs without extensions
PIECE_BYTES = 16384  # fed at once, between two looks at what they cost


class StopParsing(Exception):
    """Leaves httptools from inside a callback: it knows no other way to stop."""


class EndFinder:
    """Finds a CRLF CRLF in octets that come in pieces."""

    __slots__ = ("_last_octets",)

    def __init__(self, last_octets: bytes) -> None:
        self._last_octets = last_octets

    def find(self, data: bytes, position: int, limit: int) -> int:
        """Return the position behind the next CRLF CRLF, also one that began in earlier octets, or -1.

        ``data[position:]`` follows what ``remember`` was told of.
        """
        last = self._last_octets
        if last:
            joint = last + data[position : position + 3]
            at = joint.find(b"\r\n\r\n")
            if at >= 0:
                return position + at + 4 - len(last)
        at = data.find(b"\r\n\r\n", position, limit)
        return at + 4 if at >= 0 else -1

    def remember(self, data: bytes, position: int, stop: int) -> None:
        """Keep the last three octets of ``data[position:stop]``, to find a CRLF CRLF that is split."""
        if stop - position >= 3:
            self._last_octets = data[stop - 3 : stop]
        else:
            self._last_octets = (self._last_octets + data[position:stop])[-3:]

    def forget(self) -> None:
        """Begin anew: the end of a message overlaps no other CRLF CRLF."""
        self._last_octets = b""


class ChunkedBody:
    """The reading of one chunked body; also the object that its parser calls back.

    ``pieces`` are the data that came, taken by whoever reads; ``body_bytes`` counts all of them; ``is_whole``
    says that the end is there, ``fault`` why the body is refused. ``room`` is how many trailer fields there
    may be.
    """

    __slots__ = (
        "_chunk_allowance",
        "_end",
        "_extension_bytes",
        "_feed_parser",
        "_is_chunk_empty",
        "_is_chunk_open",
        "_is_open",
        "_parser",
        "_trailer_bytes",
        "_trailer_room",
        "body_bytes",
        "fault",
        "is_whole",
        "max_fields",
        "pieces",
    )

    def __init__(self, make_parser: Any, max_fields: int, field_count: int) -> None:
        self.pieces: list[bytes] = []
        self.body_bytes = 0
        self.is_whole = False
        self.fault: Any = None
        self.max_fields = max_fields
        self._trailer_room = max_fields - field_count
        self._trailer_bytes = 0
        self._extension_bytes = 0
        self._chunk_allowance = 0
        self._is_chunk_open = False
        self._is_chunk_empty = False
        self._is_open = False
        self._end = EndFinder(b"")
        # A parser of the body's own, which is told its framing: the head's had no callbacks for trailers.
        self._parser: Any = make_parser(self)
        self._feed_parser: Any = self._parser.feed_data
        self._feed_parser(b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n")
        self._is_open = True

    def close(self) -> None:
        """Let go of the parser, which holds on to this object."""
        self._parser = None
        self._feed_parser = None

    def read(self, data: bytes, position: int) -> int:
        """Feed octets of the body; returns the position behind those that were taken."""
        size = len(data)
        stop = position + PIECE_BYTES
        if stop > size:
            stop = size
        end = self._end.find(data, position, stop)
        if end >= 0:
            stop = end
        body_before = self.body_bytes
        trailers_before = self._trailer_bytes
        allowance_before = self._chunk_allowance
        try:
            self._feed_parser(data[position:stop])
        except Exception as exc:  # noqa: BLE001 - what the parser raises is not public API in full
            if self.fault is None:
                self.fault = Fault(400, f"the message cannot be parsed: {exc}")
            return size
        if end >= 0:
            self._end.forget()
        else:
            self._end.remember(data, position, stop)
        cost = (stop - position) - (self.body_bytes - body_before) - (self._trailer_bytes - trailers_before)
        if self._is_chunk_open and self._is_chunk_empty and allowance_before == self._chunk_allowance:
            # A chunk was opened before this piece and still has no data: these are octets of trailers.
            self._trailer_bytes += cost
        else:
            self._extension_bytes += cost
        if self._extension_bytes - self._chunk_allowance > MAX_EXTENSION_BYTES:
            self.fault = Fault(400, f"chunk extensions are over {MAX_EXTENSION_BYTES} bytes")
        elif self._trailer_bytes > MAX_TRAILER_BYTES:
            self.fault = Fault(431, f"the trailer section is over {MAX_TRAILER_BYTES} bytes")
        return stop

    # What the parser calls.

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a trailer and drop it (RFC 9110 6.5.1)."""
        if not self._is_open:
            return  # the framing that __init__ has told the parser
        self._trailer_room -= 1
        self._trailer_bytes += len(name) + len(value) + 4
        if self._trailer_room < 0:
            self.fault = Fault(431, f"the request has more than {self.max_fields} header and trailer fields")
            raise StopParsing

    def on_chunk_header(self) -> None:
        """A chunk begins."""
        self._is_chunk_open = True
        self._is_chunk_empty = True
        self._chunk_allowance += CHUNK_CREDIT_BYTES

    def on_chunk_complete(self) -> None:
        """A chunk has ended."""
        self._is_chunk_open = False

    def on_body(self, piece: bytes) -> None:
        """Octets of the body."""
        self.body_bytes += len(piece)
        self._is_chunk_empty = False
        self.pieces.append(piece)

    def on_message_complete(self) -> None:
        """The body is whole."""
        self.is_whole = True
