"""HTTP/1.1: one connection, from what its reader reports to exchanges and back (RFC 9112).

One exchange runs at a time. Octets behind the current message wait unparsed until its answer is out; above
BACKLOG_BYTES of them reading pauses. An answer may come before its message is whole: the rest is read and
dropped. Answers given during one ``data_received`` leave in one write.

Phases of a connection (``phase``):  OPEN -> LINGER -> CLOSED. While it is OPEN, the state of its reader says
the rest: IDLE between two messages, COMPLETE while a whole message waits for its answer.

What runs once a connection or on errors only goes through ``service``: the callables and settings that all
connections of a process share.
"""

from __future__ import annotations

import asyncio
from math import inf
from typing import Any

from ..errors import ClientDisconnected
from .h1_reader_py import MessageReader, ReaderSettings
from .heads_py import is_own
from .request_py import make_request
from .states_py import (
    BODY,
    BY_CLOSE,
    BY_LENGTH,
    CHUNKED,
    CLOSED,
    COMPLETE,
    END,
    HEAD,
    IDLE,
    LINGER,
    NO_BODY,
    NOTHING,
    OPEN,
    PIECE,
)
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


class Service:
    """What all HTTP/1.1 connections of a process share: callables, settings, the coarse clock.

    ``now`` is monotonic seconds as of the last tick, ``tick_seconds`` the distance of two ticks, which is
    added to every deadline so that none is early; ``common*`` are the Date and Server lines, rendered once a
    second. A timeout that is off is infinite.
    """

    __slots__ = (
        "admit",
        "common",
        "common_close",
        "common_keep_alive",
        "connections",
        "dispatcher",
        "is_stopping",
        "keep_alive_seconds",
        "log",
        "note",
        "now",
        "reading",
        "refuse",
        "released",
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
        self.log: Any = None
        self.connections: set[Any] = set()
        self.common = b""
        self.common_close = b""
        self.common_keep_alive = b""
        self.scheme = "http"
        self.is_stopping = False
        self.now = 0.0
        self.tick_seconds = 0.1
        self.request_seconds = inf
        self.stall_seconds = inf
        self.keep_alive_seconds = inf

    def sweep(self) -> None:
        """Expire what is due at ``now``."""
        now = self.now
        due: list[Any] = []
        connection: H1Connection
        for connection in self.connections:
            if connection.deadline <= now or connection.stall_deadline <= now:
                due.append(connection)
        for connection in due:
            connection.expire()


class H1Connection(AnswerStream):
    """One HTTP/1.1 connection: an asyncio protocol, and the Stream of the exchange that it runs."""

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
        "_is_fresh",
        "_is_keep_alive",
        "_is_reading_paused",
        "_is_streaming",
        "_is_write_paused",
        "_output",
        "_output_bytes",
        "_reader",
        "_request",
        "_sending",
        "_stalled_bytes",
        "_unread_bytes",
        "_unread_since",
        "_wants_body_paused",
        "_write_out",
        "began_at",
        "client",
        "deadline",
        "exchange",
        "idle_since",
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
        self.client: Any = None
        self.exchange: Any = None
        self.phase = OPEN
        self.deadline = inf
        self.stall_deadline = inf
        self.idle_since = 0.0
        self.began_at = 0.0
        self._reader = MessageReader(service.reading)
        self._request: Any = None
        self._drain_waiter: Any = None
        self._sending: Any = None  # the task, which the loop alone would not keep alive
        self._backlog: Any = None
        self._output: list[bytes] = []
        self._output_bytes = 0
        self._dropped_bytes = 0
        self._stalled_bytes = 0
        self._unread_bytes = 0
        self._unread_since = 0.0
        self._is_corked = False
        self._is_eof = False
        self._is_fresh = True
        self._is_reading_paused = False
        self._is_write_paused = False
        self._wants_body_paused = False
        self._reset()

    def _reset(self) -> None:
        """Forget the last exchange."""
        self._is_answered = False
        self._is_keep_alive = True
        self._is_streaming = False
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

    # The protocol that the event loop drives.

    def connection_made(self, transport: Any) -> None:
        """The transport is there (asyncio.BaseProtocol)."""
        service = self.service
        self.transport = transport
        self._write_out = transport.write  # PERF: one look-up a connection, not one a request
        service.connections.add(self)
        service.admit(self)
        if self.phase == OPEN:
            self.idle_since = service.now
            # request_timeout runs from the accept for the first request, later from its first octet.
            self.deadline = service.now + service.request_seconds + service.tick_seconds

    def data_received(self, data: bytes) -> None:
        """Octets came (asyncio.Protocol)."""
        if self.phase != OPEN:
            self._drop(len(data))
        elif self._backlog is not None:
            self._backlog += data
            self._pace()
        else:
            self._advance(data)

    def eof_received(self) -> bool:
        """The client ended its side; True keeps ours open until all that came before is answered."""
        self._is_eof = True
        if self.service.scheme == "https" or self.phase != OPEN:
            return False  # over TLS the transport ends here: departure
        return self._backlog is not None or not self._is_cut_off()

    def _is_cut_off(self) -> bool:
        """Tell whether nothing can be answered any more once the client has ended its side."""
        state = self._reader.state
        if state == COMPLETE:
            return False
        if state == BODY and self.exchange is not None:
            self.exchange.cancel("the client ended its side before the request's body was complete")
        return True

    def connection_lost(self, exc: BaseException | None) -> None:
        """The transport is gone: cancel what runs and let go of everything."""
        self.phase = CLOSED
        self.deadline = inf
        self.stall_deadline = inf
        self.service.connections.discard(self)
        self._cancel("the connection was lost")
        self._wake_drain()
        self._reader.close()
        self._request = None
        self._backlog = None
        self.transport = None
        self._write_out = None
        self._output = []
        self.service.released(self)

    def _cancel(self, reason: str) -> None:
        exchange = self.exchange
        self.exchange = None
        if exchange is not None:
            exchange.cancel(reason)

    def pause_writing(self) -> None:
        """The transport holds more than its high-water mark: a stalled reader has stall_seconds."""
        self._is_write_paused = True
        self._stalled_bytes = self.transport.get_write_buffer_size()
        self.stall_deadline = self.service.now + self.service.stall_seconds + self.service.tick_seconds

    def resume_writing(self) -> None:
        """The transport has drained."""
        self._is_write_paused = False
        self.stall_deadline = inf
        self._wake_drain()
        if self.phase == OPEN and self._reader.state == IDLE:
            self._rest()  # who still reads the last answer is not idle
            if not self._is_corked:
                self._resume()

    # Reading.

    def _advance(self, data: bytes) -> None:
        """Read as far as messages can be taken; what is left waits in the backlog."""
        position = 0
        size = len(data)
        reader = self._reader
        self._is_corked = True
        while position < size and self.phase == OPEN:
            state = reader.state
            if state == COMPLETE:
                break
            if state == IDLE:
                if self._is_write_paused:
                    break  # a client that reads no answers gets no more of them made
                self._note_start()
            position = reader.read(data, position)
            if reader.event != NOTHING:
                self._handle(reader.event)
        self._is_corked = False
        if self._output_bytes:
            self._flush()
        if self.phase != OPEN:
            self._drop(size - position)
        elif position < size:
            self._backlog = bytearray(data[position:])
            self._pace()
        elif self._is_eof and self._is_cut_off():
            self._close()

    def _note_start(self) -> None:
        """A request's first octet is here."""
        service = self.service
        if service.is_stopping:
            self.deadline = service.now + STOP_SECONDS + service.tick_seconds
        elif self._is_fresh:
            self._is_fresh = False
        else:
            self.deadline = service.now + service.request_seconds + service.tick_seconds
        if service.log is not None:
            self.began_at = service.log.clock()

    def _handle(self, event: int) -> None:
        """Act on what the reader reports."""
        if event == HEAD:
            self._begin()
        elif event == PIECE:
            self._take_pieces()
        elif event == END:
            self._take_pieces()
            self._message_done()
        else:
            fault = self._reader.fault
            self._reject(fault.status, fault.detail)

    def _take_pieces(self) -> None:
        """Hand the body's octets to the exchange, or drop them where nobody wants them."""
        reader = self._reader
        pieces = reader.pieces
        reader.pieces = []
        for piece in pieces:
            if self.exchange is not None and (self._is_streaming or not self._is_answered):
                self.exchange.feed(piece)
            else:
                self._discarded_bytes += len(piece)
        if self._discarded_bytes > DISCARD_BYTES and self._is_answered and not self._is_streaming:
            self._close_in_steps()

    def _resume(self) -> None:
        """Take up what waited behind the message that has just been answered."""
        backlog = self._backlog
        if backlog is not None:
            self._backlog = None
            self._advance(bytes(backlog))
        elif self._is_eof and self._is_cut_off():
            self._close()
        self._pace()

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

    # From a message to its exchange.

    def _begin(self) -> None:
        """A head is in order: begin its exchange."""
        reader = self._reader
        self._is_keep_alive = reader.is_keep_alive
        client = self.client
        if client is None:
            client = self._find_client()
        request = make_request(
            reader.method,
            reader.raw_path,
            reader.raw_query,
            None,
            reader.head,
            reader.fields_at,
            reader.head_size,
            reader.authority,
            self.service.scheme,
            "1.1" if reader.is_http_11 else "1.0",
            client,
        )
        request.content_length = reader.content_length
        self._request = request
        if not reader.is_whole:
            request.has_body = True
            request.expects_continue = reader.expect is not None and reader.is_http_11
            if self.service.is_stopping:
                self.deadline = self.service.now + self.service.request_seconds + self.service.tick_seconds
            if reader.method == "TRACE":
                self._is_keep_alive = False  # RFC 9110 9.3.8: its client must not send content
        exchange = self.service.dispatcher.begin(request, self)
        if not self._is_answered:
            self.exchange = exchange
            if reader.is_whole:
                self._await_answer(exchange)

    def _find_client(self) -> Any:
        peer = self.transport.get_extra_info("peername") if self.transport is not None else None
        self.client = (peer[0], peer[1]) if isinstance(peer, tuple) else ("", 0)
        return self.client

    def _message_done(self) -> None:
        """The body is whole: its handler is called, or the next message is read."""
        if self.phase != OPEN:
            return
        if self._is_answered and not self._is_streaming:
            self._next_message()
            return
        exchange = self.exchange
        if exchange is not None:
            self._await_answer(exchange)
            exchange.end()

    def _await_answer(self, exchange: Any) -> None:
        if exchange is not None and not self._is_streaming:
            self.deadline = self.service.now + exchange.endpoint.timeout_seconds + self.service.tick_seconds
        else:
            self.deadline = inf

    def _reject(self, status: int, detail: str) -> None:
        """Answer a message that is refused, then close in steps; nothing behind it is parsed."""
        self._is_keep_alive = False
        was_streaming = self._is_streaming
        self._cancel(detail)
        if was_streaming:
            self._abort()
        elif self._is_answered:
            self._close_in_steps()
        else:
            self.service.refuse(self._request or self._make_refused(), self, status, detail)

    def _make_refused(self) -> Any:
        """Return a request for the answer to a message that never became one."""
        reader = self._reader
        self._request = make_request(
            reader.method or "-",
            reader.target or b"-",
            b"",
            None,
            reader.head,
            reader.fields_at,
            reader.head_size,
            b"",
            self.service.scheme,
            "1.1",
            self.client or self._find_client(),
        )
        return self._request

    # The answer: the Stream of the exchange.

    def respond(self, status: int, fields: list[tuple[bytes, bytes]], body: bytes, length: int) -> None:
        """Send a whole answer in one write; see types.Stream."""
        if len(body) > LARGE_TLS_BODY_BYTES and self.service.scheme == "https":
            self.head(status, fields, length, True)
            self._sending = asyncio.get_running_loop().create_task(self._send_in_pieces(body))
            return
        fields = self._without_own(fields)
        common = self._common(status)
        if len(body) < LARGE_BODY_BYTES:
            self._write(render(status, fields, common, length, body))
        else:  # not copied behind its head
            self._write(render(status, fields, common, length, b""))
            self._write(body)
        self._is_answered = True
        self.status = status
        self.sent_bytes = len(body)
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
        for field in fields:
            if is_own(field[0]):
                break
        else:
            return fields
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
        if self._is_keep_alive:
            if service.is_stopping or (  # noqa: SIM114 - first the connection's reasons, then the message's
                self._is_eof and self._backlog is None and not self._reader.has_input_behind
            ):
                self._is_keep_alive = False
            elif status == 413 or not (self._reader.is_whole or self._may_discard()):
                self._is_keep_alive = False
        if not self._is_keep_alive:
            return service.common_close
        return service.common if self._reader.is_http_11 else service.common_keep_alive

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
        self._is_streaming = True
        self._is_answered = True
        self.status = status
        if self._reader.is_whole:
            self.deadline = inf
        self._write(render(status, fields, common, length, b""))

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
        if self._is_corked:
            self._output.append(data)
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
        """The answer is out: log it, and go on to the next message or close."""
        if self.service.log is not None:
            self.service.log.record(self)
        self.exchange = None
        self._wants_body_paused = False
        if not self._is_keep_alive:
            self._close_in_steps()
        elif self._reader.is_whole:
            self._next_message()
        elif self._is_reading_paused:
            self._pace()

    def _next_message(self) -> None:
        """Be ready for the next request on this connection."""
        self.exchange = None
        self._request = None
        self._reset()
        self._reader.next_message()
        self._rest()
        if not self._is_corked:
            self._resume()

    def _rest(self) -> None:
        """Wait for the next request: for keep_alive_timeout, or a second when the server stops."""
        service = self.service
        self.idle_since = service.now
        self._unread_bytes = 0
        if service.is_stopping:
            self.deadline = service.now + STOP_SECONDS + service.tick_seconds
        else:
            self.deadline = service.now + service.keep_alive_seconds + service.tick_seconds

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

    # Time.

    def expire(self) -> None:
        """A deadline has passed; called by Service.sweep."""
        now = self.service.now
        transport = self.transport
        if transport is None:
            return
        if self.stall_deadline <= now:
            self._expire_stall(transport)
            return
        if (self.phase == LINGER or self._reader.state == IDLE) and transport.get_write_buffer_size():
            self._expire_unread(transport)
            return
        self.deadline = inf
        state = self._reader.state
        if self.phase != OPEN:
            self._abort()
        elif state == IDLE or (state < BODY and self.service.is_stopping):
            self._expire_idle(transport)
        elif state == COMPLETE or (self._wants_body_paused and not self._is_answered):
            # Whoever holds up a body that the handler does not read is the handler, not the client.
            if self.exchange is not None:
                self.service.note(self, "response_timeout")
                self.exchange.expire()
        elif not self._is_answered:
            self.service.note(self, "request_timeout")
            self._reject(408, "the request did not come whole in time")
        elif self._is_streaming:
            self._cancel("the request's body did not come whole in time")
            self._abort()
        else:
            self._close_in_steps()

    def _expire_idle(self, transport: Any) -> None:
        self._close()
        self.deadline = self.service.now + LINGER_SECONDS

    def _expire_stall(self, transport: Any) -> None:
        """A reader that takes some octets goes on; one that takes none is cut off."""
        size = transport.get_write_buffer_size()
        if 0 < size < self._stalled_bytes:
            self._stalled_bytes = size
            self.stall_deadline = self.service.now + self.service.stall_seconds + self.service.tick_seconds
            return
        self.service.note(self, "write stall")
        self._cancel("the client stopped reading")
        self._abort()

    def _expire_unread(self, transport: Any) -> None:
        """An answer is out, but not all of it is read: look again every second while some is taken."""
        now = self.service.now
        size = transport.get_write_buffer_size()
        if not self._unread_bytes or size < self._unread_bytes:
            self._unread_bytes = size
            self._unread_since = now
        elif now - self._unread_since > self.service.stall_seconds:
            self.service.note(self, "write stall")
            self._abort()
            return
        self.deadline = now + STOP_SECONDS

    def is_idle(self) -> bool:
        """Tell whether the connection waits for a request and nothing of one has come."""
        is_waiting = self.phase == OPEN and self._reader.state == IDLE
        return is_waiting and self._backlog is None and not self._is_write_paused

    def turn_away(self, detail: str) -> None:
        """Answer 503 before anything was read, and close."""
        self._reject(503, detail)

    def stop(self) -> None:
        """The server stops: what is idle or half sent has a second left, the rest finishes."""
        if self.phase == OPEN and self._reader.state < BODY:
            deadline = self.service.now + STOP_SECONDS + self.service.tick_seconds
            if deadline < self.deadline:
                self.deadline = deadline

    def abort(self) -> None:
        """Cut the connection off at once."""
        self._cancel("the server stopped")
        self._abort()
