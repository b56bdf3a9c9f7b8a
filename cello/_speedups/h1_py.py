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

from math import inf
from typing import Any

from .calls_py import fine_seconds
from .h1_send_py import DISCARD_BYTES, LINGER_SECONDS, STOP_SECONDS, SendSide, Service
from .request_py import make_request
from .states_py import BODY, CLOSED, COMPLETE, END, HEAD, IDLE, LINGER, NOTHING, OPEN, PIECE


class H1Connection(SendSide):
    """One HTTP/1.1 connection: an asyncio protocol, and the Stream of the exchange that it runs."""

    __slots__ = (
        "_is_fresh",
        "_stalled_bytes",
        "_unread_since",
        "began_at",
        "client",
        "idle_since",
    )

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self.client: Any = None
        self.idle_since = 0.0
        self.began_at = 0.0
        self._stalled_bytes = 0
        self._unread_since = 0.0
        self._is_fresh = True

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
            self.deadline = service.request_deadline

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
        if self._is_streaming:
            self._log_answer()  # as far as it came
        self._cancel("the connection was lost")
        self._wake_drain()
        self._reader.close()
        self._request = None
        self._backlog = None
        self.transport = None
        self._write_out = None
        self._output = []
        self.service.released(self)

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
            if state == IDLE:
                if self._is_write_paused:
                    break  # a client that reads no answers gets no more of them made
                self._note_start()
            elif state == COMPLETE:
                break
            position = reader.read(data, position)
            event = reader.event
            if event == HEAD:
                self._begin()
            elif event != NOTHING:
                self._handle(event)
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
            self.deadline = service.request_deadline
        if service.log is not None:
            self.began_at = fine_seconds()

    def _handle(self, event: int) -> None:
        """Act on what the reader reports of a body, or refuses."""
        if event == PIECE:
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
                self.deadline = self.service.request_deadline
            if reader.method == "TRACE":
                self._is_keep_alive = False  # RFC 9110 9.3.8: its client must not send content
        exchange = self.service.dispatcher.begin(request, self)
        if exchange is not None:  # else the answer has been given
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
            self.deadline = self._stream_deadline()

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

    def _answer_done(self) -> None:
        """The answer is out: log it, and go on to the next message or close."""
        self._log_answer()
        self.exchange = None
        self._wants_body_paused = False
        if not self._is_keep_alive:
            self._close_in_steps()
        elif self._reader.is_whole:
            self._next_message()
        elif self._is_reading_paused:
            self._pace()

    def _log_answer(self) -> None:
        service = self.service
        service.answered_count += 1
        log = service.log
        if log is not None:
            reader = self._reader
            log.add(
                self.began_at,
                self.client,
                reader.method,
                reader.target,
                self.status,
                self.sent_bytes,
                self._request,
            )

    def _next_message(self) -> None:
        """Be ready for the next request on this connection."""
        reader = self._reader
        self.exchange = None
        self._request = None
        self._is_answered = False
        if reader.has_body:
            self._has_sent_continue = False
            self._discarded_bytes = 0
        reader.next_message()
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
            self.deadline = service.idle_deadline

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
        elif state == COMPLETE and self._is_streaming and self._is_event_stream:
            self._end_events()
        elif state == COMPLETE or (self._wants_body_paused and not self._is_answered):
            # Whoever holds up a body that the handler does not read is the handler, not the client.
            if self.exchange is not None and not self._has_time_left(now):
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

    def give_back(self, seconds: float) -> None:
        """The loop was held for so long: its client has that much more time, a handler has its own."""
        self.stall_deadline += seconds
        if self._reader.state != COMPLETE:
            self.deadline += seconds

    def _has_time_left(self, now: float) -> bool:
        """Give a handler its whole time where the loop was held before it was called.

        The deadline was reckoned from the last tick, which is older by as long as the loop was held.
        """
        exchange = self.exchange
        due: float = exchange.started_at + exchange.endpoint.timeout_seconds
        if not exchange.started_at or due <= now:
            return False
        self.deadline = due + self.service.tick_seconds
        return True

    def _end_events(self) -> None:
        """The server stops: end a stream of events in order, whose client will ask anew."""
        self._is_keep_alive = False
        self._cancel("the server stops")
        self.end()

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
        """The server stops: what is idle or half sent has a second left, events have five.

        The rest finishes.
        """
        if self.phase == OPEN and self._is_streaming and self._is_event_stream:
            self.deadline = self._stream_deadline()
        elif self.phase == OPEN and self._reader.state < BODY:
            deadline = self.service.now + STOP_SECONDS + self.service.tick_seconds
            if deadline < self.deadline:
                self.deadline = deadline

    def abort(self) -> None:
        """Cut the connection off at once."""
        self._cancel("the server stopped")
        self._abort()
