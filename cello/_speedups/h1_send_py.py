"""The sending side of an HTTP/1.1 connection: answers to octets, and the steps by which a connection closes.

``SendSide`` is the Stream of the exchange that its connection runs, and the lower half of ``H1Connection``
(h1_py), which reads. Answers given while octets are being taken in (``_is_corked``) leave in one write.

Phases of a connection (``phase``):  OPEN -> LINGER -> CLOSED.
"""

from __future__ import annotations

import asyncio
from math import inf
from typing import Any

from ..errors import ClientDisconnected
from .h1_reader_py import MessageReader, ReaderSettings
from .heads_py import is_own
from .request_log_py import RequestLog
from .states_py import BY_CLOSE, BY_LENGTH, CHUNKED, CLOSED, LINGER, NO_BODY, OPEN
from .stream_py import AnswerStream
from .wire_py import chunk as render_chunk
from .wire_py import render

BACKLOG_BYTES = 65536
OUTPUT_BYTES = 65536
LARGE_BODY_BYTES = 16384
LARGE_TLS_BODY_BYTES = 262144
TLS_PIECE_BYTES = 131072
DISCARD_BYTES = 1 << 20  # of a body that nobody wants, before the connection is given up
LINGER_BYTES = 16 << 20
LINGER_SECONDS = 5.0
STOP_SECONDS = 1.0  # for what is idle or half sent when the server stops
EVENT_STREAM_SECONDS = 5.0  # for a stream of events then, which would never end by itself


class Service:
    """What all HTTP/1.1 connections of a process share: callables, settings, the coarse clock.

    ``now`` is monotonic seconds as of the last tick, ``tick_seconds`` the distance of two ticks, which is
    added to every deadline so that none is early. ``request_deadline`` is that of a request which begins now,
    ``idle_deadline`` of a connection which is idle from now on. ``common*`` are the Date and Server lines,
    rendered once a second. A timeout that is off is infinite. ``answered_count`` is of requests so far.
    """

    __slots__ = (
        "admit",
        "answered_count",
        "common",
        "common_close",
        "common_keep_alive",
        "connections",
        "dispatcher",
        "idle_deadline",
        "is_stopping",
        "keep_alive_seconds",
        "log",
        "note",
        "now",
        "reading",
        "refuse",
        "released",
        "request_deadline",
        "request_seconds",
        "scheme",
        "stall_seconds",
        "tick_seconds",
    )

    def __init__(self, dispatcher: Any, reading: ReaderSettings) -> None:
        self.dispatcher = dispatcher
        self.reading = reading
        self.refuse: Any = None
        self.admit: Any = None
        self.released: Any = None
        self.note: Any = None
        self.log: RequestLog | None = None
        self.connections: set[Any] = set()
        self.answered_count = 0
        self.common = b""
        self.common_close = b""
        self.common_keep_alive = b""
        self.scheme = "http"
        self.is_stopping = False
        self.now = 0.0
        self.request_deadline = inf
        self.idle_deadline = inf
        self.tick_seconds = 0.1
        self.request_seconds = inf
        self.stall_seconds = inf
        self.keep_alive_seconds = inf

    def move_to(self, now: float) -> None:
        """Take the time of a tick."""
        self.now = now
        self.request_deadline = now + self.request_seconds + self.tick_seconds
        self.idle_deadline = now + self.keep_alive_seconds + self.tick_seconds

    def give_back(self, seconds: float) -> None:
        """Put clients' deadlines off: the loop was held for so long, and nobody read what they sent."""
        connection: SendSide
        for connection in self.connections:
            connection.give_back(seconds)

    def sweep(self) -> None:
        """Expire what is due at ``now``."""
        now = self.now
        due: list[Any] = []
        connection: SendSide
        for connection in self.connections:
            if connection.deadline <= now or connection.stall_deadline <= now:
                due.append(connection)
        for connection in due:
            connection.expire()


class SendSide(AnswerStream):
    """The state of one connection, its Stream, and how it closes."""

    __slots__ = (
        "_backlog",
        "_discarded_bytes",
        "_drain_waiter",
        "_dropped_bytes",
        "_framing",
        "_has_sent_continue",
        "_is_answered",
        "_is_corked",
        "_is_eof",
        "_is_event_stream",
        "_is_keep_alive",
        "_is_reading_paused",
        "_is_streaming",
        "_is_write_paused",
        "_output",
        "_output_bytes",
        "_reader",
        "_request",
        "_sending",
        "_unread_bytes",
        "_wants_body_paused",
        "_write_out",
        "deadline",
        "exchange",
        "phase",
        "sent_bytes",
        "service",
        "stall_deadline",
        "status",
        "transport",
    )

    def __init__(self, service: Service) -> None:
        self.service = service
        self.transport: Any = None
        self._write_out: Any = None
        self.exchange: Any = None
        self.phase = OPEN
        self.deadline = inf
        self.stall_deadline = inf
        self._reader = MessageReader(service.reading)
        self._request: Any = None
        self._drain_waiter: Any = None
        self._sending: Any = None  # the task, which the loop alone would not keep alive
        self._backlog: Any = None
        self._output: list[bytes] = []
        self._output_bytes = 0
        self._dropped_bytes = 0
        self._unread_bytes = 0
        self._is_corked = False
        self._is_eof = False
        self._is_reading_paused = False
        self._is_write_paused = False
        self._wants_body_paused = False
        self._is_answered = False
        self._is_keep_alive = True
        self._is_streaming = False
        self._is_event_stream = False
        self._has_sent_continue = False
        self._discarded_bytes = 0
        self._framing = NO_BODY
        self.status = 0
        self.sent_bytes = 0

    @property
    def method(self) -> str:
        """The method of the message that is being read or answered."""
        return self._reader.method

    @property
    def target(self) -> bytes:
        """The target of that message."""
        return self._reader.target

    # The answer: the Stream of the exchange.

    def respond(self, status: int, fields: list[tuple[bytes, bytes]], body: bytes, length: int) -> None:
        """Send a whole answer in one write; see types.Stream."""
        size = len(body)
        if size > LARGE_TLS_BODY_BYTES and self.service.scheme == "https":
            self.head(status, fields, length, True)
            self._sending = asyncio.get_running_loop().create_task(self._send_in_pieces(body))
            return
        for field in fields:
            if is_own(field[0]):
                fields = self._without_own(fields)
                break
        common = self._common(status)
        if size < LARGE_BODY_BYTES:
            self._write(render(status, fields, common, length, body))
        else:  # not copied behind its head
            self._write(render(status, fields, common, length, b""))
            self._write(body)
        self._is_answered = True
        self.status = status
        self.sent_bytes = size
        self._answer_done()

    async def _send_in_pieces(self, body: bytes) -> None:
        """Send a large body over TLS, which would take all of it at once and never say that it waits."""
        try:
            for start in range(0, len(body), TLS_PIECE_BYTES):
                self.data(body[start : start + TLS_PIECE_BYTES])
                await self.drain()
                if self.phase != OPEN:
                    return
        except ClientDisconnected:
            return
        self.end()

    def _without_own(self, fields: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """Leave out the fields that this module writes itself; a handler's ``Connection: close`` closes."""
        kept = []
        for field in fields:
            if not is_own(field[0]):
                kept.append(field)
            elif field[0] == b"connection" and b"close" in field[1].lower():
                self._is_keep_alive = False
        return kept

    def _common(self, status: int) -> bytes:
        """Decide whether the connection stays open after this answer; returns the lines all answers have."""
        service = self.service
        reader = self._reader
        if self._is_keep_alive and (
            service.is_stopping
            or status == 413
            or (self._is_eof and self._backlog is None and not reader.has_input_behind)
            or not (reader.is_whole or self._may_discard())
        ):
            self._is_keep_alive = False
        if not self._is_keep_alive:
            return service.common_close
        return service.common if reader.is_http_11 else service.common_keep_alive

    def _may_discard(self) -> bool:
        """Tell whether the rest of a body that nobody wants may be read, to keep the connection."""
        reader = self._reader
        if reader.expect is not None and not self._has_sent_continue and not self._is_body_coming():
            return False  # whether the client sends the body at all is not known
        return reader.body_left <= DISCARD_BYTES

    def _is_body_coming(self) -> bool:
        return self._reader.has_input_behind or self._reader.body_bytes > 0

    def inform(self, status: int) -> None:
        """Send 100 Continue, unless the body is coming already (RFC 9110 10.1.1)."""
        if status == 100 and self._reader.is_http_11 and not self._has_sent_continue:
            self._has_sent_continue = True
            if not self._is_body_coming():
                self._write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def head(self, status: int, fields: list[tuple[bytes, bytes]], length: int, has_body: bool) -> None:
        """Send the head of a streamed answer; see types.Stream."""
        if not has_body:
            self._framing = NO_BODY
        elif length >= 0:
            self._framing = BY_LENGTH
        elif self._reader.is_http_11:
            self._framing = CHUNKED
        else:
            self._framing = BY_CLOSE
            self._is_keep_alive = False
        fields = self._without_own(fields)
        common = self._common(status)
        if self._framing == CHUNKED:
            common = common + b"transfer-encoding: chunked\r\n"
        self._is_event_stream = is_event_stream(fields)
        self._is_streaming = True
        self._is_answered = True
        self.status = status
        self.sent_bytes = 0
        if self._reader.is_whole:
            self.deadline = self._stream_deadline()
        self._write(render(status, fields, common, length, b""))

    def _stream_deadline(self) -> float:
        """Return until when a streamed answer may go on: only events end when the server stops."""
        service = self.service
        if self._is_event_stream and service.is_stopping:
            return service.now + EVENT_STREAM_SECONDS + service.tick_seconds
        return inf

    def data(self, piece: bytes) -> None:
        """Send a piece of a streamed answer's body."""
        if not piece or self._framing == NO_BODY or self.transport is None:
            return
        self.sent_bytes += len(piece)
        self._write(render_chunk(piece) if self._framing == CHUNKED else piece)

    def end(self) -> None:
        """End a streamed answer."""
        if self._framing == CHUNKED:
            self._write(b"0\r\n\r\n")
        self._is_streaming = False
        self._answer_done()

    def reset(self, reason: str) -> None:
        """Break off an answer that has begun: the connection is reset, so that nobody takes it for whole."""
        self.service.note(self, reason)
        self._abort()

    async def drain(self) -> None:
        """Wait until the transport is below its high-water mark; raises ClientDisconnected."""
        if self._is_write_paused and self.phase != CLOSED:
            self._drain_waiter = asyncio.get_running_loop().create_future()
            await self._drain_waiter
        if self.phase == CLOSED:
            raise ClientDisconnected("the client left before the answer was complete")

    def _wake_drain(self) -> None:
        waiter = self._drain_waiter
        self._drain_waiter = None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def pause(self) -> None:
        """Stop reading the request's body."""
        self._wants_body_paused = True
        self._pace()

    def resume(self) -> None:
        """Read on."""
        self._wants_body_paused = False
        self._pace()

    def is_disconnected(self) -> bool:
        """Tell whether the client has left or ended its side."""
        return self._is_eof or self.phase == CLOSED

    # Writing and closing.

    def _write(self, data: bytes) -> None:
        if self._is_corked and (self._output_bytes or self._reader.has_input_behind):
            self._output.append(data)  # to leave with the answer of the message behind
            self._output_bytes += len(data)
            if self._output_bytes > OUTPUT_BYTES:
                self._flush()
        elif self._write_out is not None:
            self._write_out(data)

    def _flush(self) -> None:
        output = self._output
        self._output_bytes = 0
        if not output:
            return
        data = output[0] if len(output) == 1 else b"".join(output)
        output.clear()
        if self._write_out is not None:
            self._write_out(data)

    def _answer_done(self) -> None:
        """The answer is out: what follows is the reading side's."""
        raise NotImplementedError

    def expire(self) -> None:
        """A deadline has passed; called by Service.sweep."""
        raise NotImplementedError

    def give_back(self, seconds: float) -> None:
        """The loop was held for so long; called by Service.give_back."""
        raise NotImplementedError

    def _cancel(self, reason: str) -> None:
        exchange = self.exchange
        self.exchange = None
        if exchange is not None:
            exchange.cancel(reason)

    def _pace(self) -> None:
        """Pause or resume reading, whichever the backlog and the exchange's body ask for."""
        wants_pause = self._wants_body_paused or (
            self._backlog is not None and len(self._backlog) > BACKLOG_BYTES
        )
        if self.phase != OPEN:
            wants_pause = False
        if wants_pause == self._is_reading_paused or self.transport is None or self._is_eof:
            return
        self._is_reading_paused = wants_pause
        if wants_pause:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    def _drop(self, size: int) -> None:
        """Count and forget octets of a connection that is being closed."""
        self._dropped_bytes += size
        if self._dropped_bytes > LINGER_BYTES and self.phase == LINGER:
            self._abort()

    def _close_in_steps(self) -> None:
        """Close so that the client can read the answer: end our side, read and drop within bounds.

        A plain close while octets of the client are still unread would reset the connection and could destroy
        an answer that is on its way (RFC 9112 9.6).
        """
        if self.phase != OPEN:
            return
        self._flush()
        service, reader, transport = self.service, self._reader, self.transport
        has_more_coming = not reader.is_whole or reader.has_input_behind or self._backlog is not None
        self.phase = LINGER
        self._backlog = None
        self._request = None
        self.exchange = None
        self._unread_bytes = 0
        seconds = STOP_SECONDS if service.is_stopping else LINGER_SECONDS
        self.deadline = service.now + seconds + service.tick_seconds
        if transport is None:
            return
        self._pace()
        if transport.can_write_eof() and not self._is_eof:
            transport.write_eof()
        elif self._is_eof or not has_more_coming:
            transport.close()  # TLS has no half-close, and nothing of the client's can be unread

    def _close(self) -> None:
        self._flush()
        self.phase = LINGER
        if self.transport is not None:
            self.transport.close()

    def _abort(self) -> None:
        self.phase = LINGER
        self.deadline = inf
        if self.transport is not None:
            self.transport.abort()


def is_event_stream(fields: list[tuple[bytes, bytes]]) -> bool:
    """Tell whether an answer is a stream of server-sent events, by its Content-Type."""
    for field in fields:
        if field[0] == b"content-type":
            return field[1].lower().startswith(b"text/event-stream")
    return False
