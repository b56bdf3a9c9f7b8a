"""HTTP/1.1: from octets of one connection to exchanges, one at a time, and back (RFC 9112).

Strategy. httptools parses; this module decides what it is fed. It never gets an octet past the end of the message
that is being read: a head ends at the first CRLF CRLF, a body of known length is counted, and a chunked message
can end only at a CRLF CRLF, so pieces are cut there. That gives what the parser itself cannot: reading stops
exactly between two messages, nothing behind a refused message is ever parsed, and the request line can be looked
at as it came, before the parser lets ``RTSP/1.0`` or two spaces through. Octets behind the current message wait
unparsed until its answer is out; above BACKLOG_BYTES of them reading pauses.

Phases of a connection (``phase``):

    IDLE   -> LINE     octets of a request line came          LINE -> FIELDS   the line is whole and in order
    FIELDS -> BODY     the head is whole, a body follows      FIELDS, BODY -> WAIT   the message is whole
    WAIT   -> IDLE     answered, the connection stays open    any -> LINGER -> CLOSED   answered, then closed in steps

An answer may come before its message is whole (``is_answered`` in BODY): the rest is read and dropped.

What runs once a connection or on errors only goes through ``service``: the callables and settings that all
connections of a process share. Answers given during one ``data_received`` leave in one write.
"""

from __future__ import annotations

import asyncio
from math import inf
from typing import Any

from ..errors import ClientDisconnected
from .h1_rules_py import (
    Fault,
    absolute_form,
    check_content_length,
    check_host,
    check_transfer_encoding,
    fault_of_line,
    wants_keep_alive,
)
from .heads_py import (
    CONNECTION,
    CONTENT_LENGTH,
    EXPECT,
    FIELDS_PARTIAL,
    HOST,
    LINE_BAD,
    LINE_PARTIAL,
    MAX_TARGET_BYTES,
    PROXY_CONNECTION,
    UPGRADE,
    HeadScan,
    is_own,
    kind_of,
    lowered,
)
from .octets_py import is_authority, is_target_path
from .request_py import make_request
from .stream_py import AnswerStream
from .wire_py import chunk as render_chunk
from .wire_py import render

IDLE = 0
LINE = 1
FIELDS = 2
BODY = 3
WAIT = 4
LINGER = 5
CLOSED = 6

MAX_FIELDS_BYTES = 65536
MAX_LINE_BYTES = MAX_TARGET_BYTES + 64
MAX_BLANK_OCTETS = 8  # empty lines before a request line: RFC 9112 2.2
MAX_EXTENSION_BYTES = 16384
CHUNK_CREDIT_BYTES = 20  # 16 digits and two CRLF: what a chunk costs without extensions
PIECE_BYTES = 16384  # of a chunked body, between two looks at what it cost
BACKLOG_BYTES = 65536
OUTPUT_BYTES = 65536
LARGE_BODY_BYTES = 16384
DISCARD_BYTES = 1 << 20  # of a body that nobody wants, before the connection is given up
LINGER_BYTES = 16 << 20
LINGER_SECONDS = 5.0
STOP_SECONDS = 1.0  # for what is idle or half sent when the server stops

# How the body of a streamed answer is framed.
NO_BODY = 0
BY_LENGTH = 1
CHUNKED = 2
BY_CLOSE = 3


class StopParsing(Exception):
    """Leaves httptools from inside a callback: it knows no other way to stop."""


class Service:
    """What all HTTP/1.1 connections of a process share: callables, settings, the coarse clock.

    ``now`` is monotonic seconds as of the last tick, ``tick_seconds`` the distance of two ticks, which is added to
    every deadline so that none is early; ``common*`` are the Date and Server lines, rendered once a second. A
    timeout that is off is infinite.
    """

    __slots__ = (
        "admit",
        "dispatcher",
        "common",
        "common_close",
        "common_keep_alive",
        "connections",
        "is_stopping",
        "keep_alive_seconds",
        "log",
        "make_parser",
        "max_fields",
        "note",
        "now",
        "parser_upgrade",
        "refuse",
        "released",
        "request_seconds",
        "scan",
        "scheme",
        "stall_seconds",
        "tick_seconds",
    )

    def __init__(self) -> None:
        self.admit: Any = None
        self.dispatcher: Any = None
        self.refuse: Any = None
        self.released: Any = None
        self.make_parser: Any = None
        self.parser_upgrade: Any = None
        self.note: Any = None
        self.log: Any = None
        self.connections: set[Any] = set()
        self.common = b""
        self.common_close = b""
        self.common_keep_alive = b""
        self.scheme = "http"
        self.scan = HeadScan()
        self.max_fields = 100
        self.is_stopping = False
        self.now = 0.0
        self.tick_seconds = 0.1
        self.request_seconds = inf
        self.stall_seconds = inf
        self.keep_alive_seconds = inf

    def sweep(self) -> float:
        """Expire what is due at ``now``; returns the earliest deadline that is left."""
        now = self.now
        earliest = inf
        due: list[Any] = []
        connection: H1Connection
        for connection in self.connections:
            if connection.deadline <= now or connection.stall_deadline <= now:
                due.append(connection)
            elif connection.deadline < earliest:
                earliest = connection.deadline
        for connection in due:
            connection.expire()
        return earliest


class H1Connection(AnswerStream):
    """One HTTP/1.1 connection: an asyncio protocol, the parser's callbacks and the Stream of its exchange."""

    __slots__ = (
        "began_at",
        "body_bytes",
        "body_left",
        "chunk_allowance",
        "client",
        "connection",
        "content_length",
        "deadline",
        "discarded_bytes",
        "drain_waiter",
        "dropped_bytes",
        "exchange",
        "expect",
        "extension_bytes",
        "fault",
        "fields",
        "fields_bytes",
        "framing",
        "has_input_behind",
        "has_percent",
        "has_sent_continue",
        "has_upgrade",
        "host",
        "host_count",
        "is_answered",
        "is_chunk_empty",
        "is_chunk_open",
        "is_chunked",
        "is_corked",
        "is_eof",
        "is_head_parsed",
        "is_http_11",
        "is_keep_alive",
        "is_message_complete",
        "is_origin_form",
        "is_parser_spent",
        "is_reading_paused",
        "is_streaming",
        "is_write_paused",
        "last_octets",
        "known_host",
        "line",
        "method",
        "partial",
        "phase",
        "raw_path",
        "raw_query",
        "request",
        "sent_bytes",
        "service",
        "stall_deadline",
        "stalled_bytes",
        "status",
        "target",
        "trailer_bytes",
        "trailer_count",
        "transfer_encoding",
        "transport",
        "wants_body_paused",
        "_backlog",
        "_blank_octets",
        "_output",
        "_output_bytes",
        "_parser",
        "idle_since",
        "is_fresh",
    )

    def __init__(self, service: Service) -> None:
        self.service = service
        self.transport: Any = None
        self.client: Any = None
        self.deadline = inf
        self.stall_deadline = inf
        self.stalled_bytes = 0
        self.idle_since = 0.0
        self.is_fresh = True
        self.phase = IDLE
        self.exchange: Any = None
        self.request: Any = None
        self.drain_waiter: Any = None
        self.partial: Any = None
        self.last_octets = b""
        self.known_host: Any = None
        self.line = b""
        self.method = ""
        self.target = b""
        self.raw_path = b""
        self.raw_query = b""
        self.is_origin_form = True
        self.has_percent = False
        self.dropped_bytes = 0
        self.is_corked = False
        self.is_eof = False
        self.is_reading_paused = False
        self.is_write_paused = False
        self.wants_body_paused = False
        self._parser: Any = None
        self._backlog: Any = None
        self._output: list[bytes] = []
        self._output_bytes = 0
        self._blank_octets = 0
        self._reset()

    def _reset(self) -> None:
        """Forget the last message."""
        self.fields: list[tuple[bytes, bytes]] = []
        self.fault: Any = None
        self.host: Any = None
        self.host_count = 0
        self.content_length: Any = None
        self.transfer_encoding: Any = None
        self.expect: Any = None
        self.connection: Any = None
        self.has_upgrade = False
        self.has_sent_continue = False
        self.has_input_behind = False
        self.is_http_11 = True
        self.is_keep_alive = True
        self.is_head_parsed = False
        self.is_message_complete = False
        self.is_answered = False
        self.is_streaming = False
        self.is_parser_spent = False
        self.is_chunked = False
        self.is_chunk_open = False
        self.is_chunk_empty = False
        self.framing = NO_BODY
        self.status = 0
        self.sent_bytes = 0
        self.began_at = 0.0
        self.body_left = 0
        self.body_bytes = 0
        self.fields_bytes = 0
        self.discarded_bytes = 0
        self.chunk_allowance = 0
        self.extension_bytes = 0
        self.trailer_bytes = 0
        self.trailer_count = 0

    # The protocol that the event loop drives.

    def connection_made(self, transport: Any) -> None:
        """The transport is there (asyncio.BaseProtocol)."""
        service = self.service
        self.transport = transport
        service.connections.add(self)
        service.admit(self)
        self.idle_since = service.now
        # request_timeout runs from the accept for the first request, later from its first octet.
        self.deadline = service.now + service.request_seconds + service.tick_seconds

    def data_received(self, data: bytes) -> None:
        """Octets came (asyncio.Protocol)."""
        if self.phase >= LINGER:
            self._drop(len(data))
        elif self._backlog is not None:
            self._backlog += data
            self._pace()
        else:
            self._advance(data)

    def eof_received(self) -> bool:
        """The client ended its side; True keeps ours open until all that came before is answered."""
        self.is_eof = True
        if self.service.scheme == "https" or self.phase >= LINGER:
            return False  # over TLS the transport ends here: departure
        if self._backlog is None and (self.phase <= FIELDS or self._is_cut_off()):
            return False
        return True

    def _is_cut_off(self) -> bool:
        """Tell whether the message that is being read can never become whole, and cancel its exchange."""
        if self.phase != BODY:
            return False
        if self.exchange is not None:
            self.exchange.cancel("the client ended its side before the request's body was complete")
        return True

    def connection_lost(self, exc: BaseException | None) -> None:
        """The transport is gone: cancel what runs and let go of everything."""
        self.phase = CLOSED
        self.deadline = inf
        self.stall_deadline = inf
        self.service.connections.discard(self)
        exchange = self.exchange
        self.exchange = None
        if exchange is not None:
            exchange.cancel("the connection was lost")
        self._wake_drain()
        self.request = None
        self._parser = None
        self._backlog = None
        self.partial = None
        self.transport = None
        self._output = []
        self.service.released(self)

    def pause_writing(self) -> None:
        """The transport holds more than its high-water mark: a stalled reader has stall_seconds."""
        self.is_write_paused = True
        self.stalled_bytes = self.transport.get_write_buffer_size()
        self.stall_deadline = self.service.now + self.service.stall_seconds + self.service.tick_seconds

    def resume_writing(self) -> None:
        """The transport has drained."""
        self.is_write_paused = False
        self.stall_deadline = inf
        self._wake_drain()
        if self.phase == IDLE and not self.is_corked:
            self._resume()

    # Reading: what the parser is fed, and when.

    def _advance(self, data: bytes) -> None:
        """Read as far as messages can be taken; what is left waits in the backlog."""
        position = 0
        size = len(data)
        self.is_corked = True
        while position < size:
            phase = self.phase
            if phase == IDLE:
                if self.is_write_paused:
                    break  # a client that reads no answers gets no more of them made
                position = self._read_start(data, position)
            elif phase == BODY:
                position = self._read_body(data, position)
            elif phase == FIELDS:
                position = self._read_fields(data, position)
            elif phase == LINE:
                position = self._read_line(data, position)
            elif phase == WAIT:
                break
            else:
                self._drop(size - position)
                position = size
        self.is_corked = False
        if self._output_bytes:
            self._flush()
        if position < size:
            self._backlog = bytearray(data[position:])
            self._pace()
        elif self.is_eof:
            self._finish_eof()

    def _resume(self) -> None:
        """Take up what waited behind the message that has just been answered."""
        backlog = self._backlog
        if backlog is not None:
            self._backlog = None
            self._advance(bytes(backlog))
        elif self.is_eof:
            self._finish_eof()
        self._pace()

    def _finish_eof(self) -> None:
        if self.phase <= FIELDS or self._is_cut_off():
            self._close()

    def _pace(self) -> None:
        """Pause or resume reading, whichever the backlog and the exchange's body ask for."""
        wants_pause = self.wants_body_paused or (self._backlog is not None and len(self._backlog) > BACKLOG_BYTES)
        if self.phase >= LINGER:
            wants_pause = False
        if wants_pause == self.is_reading_paused or self.transport is None or self.is_eof:
            return
        self.is_reading_paused = wants_pause
        if wants_pause:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    def _drop(self, size: int) -> None:
        """Count and forget octets of a connection that is being closed."""
        self.dropped_bytes += size
        if self.dropped_bytes > LINGER_BYTES and self.phase == LINGER:
            self._abort()

    def _read_start(self, data: bytes, position: int) -> int:
        """Read at the start of a message; returns the position behind what was read."""
        if (data[position] <= 13 or self._blank_octets) and self._skip_blank(data[position]):
            return position + 1
        if self.is_fresh:
            self.is_fresh = False
        else:
            self.deadline = self.service.now + self.service.request_seconds + self.service.tick_seconds
        if self.service.log is not None:
            self.began_at = self.service.log.clock()
        self._blank_octets = 0
        scan = self.service.scan
        state = scan.scan(data, position)
        if state == LINE_PARTIAL:
            self.phase = LINE
            self.partial = bytearray()
            return self._read_line(data, position)
        size = len(data)
        if state == LINE_BAD:
            self._refuse_line(data[position : scan.line_end])
            return size
        self._take_line(scan)
        if state == FIELDS_PARTIAL:
            self.phase = FIELDS
            if self._feed(data[position : scan.line_end + 2]):
                self.last_octets = b"\r\n"
                return self._read_fields(data, scan.line_end + 2)
            return size
        end = scan.end
        if end - scan.line_end > MAX_FIELDS_BYTES:
            self._reject(431, f"the header section is over {MAX_FIELDS_BYTES} bytes")
            return size
        if self._feed(data if position == 0 and end == size else data[position:end]):
            self.has_input_behind = end < size
            self._head_done()
        return end

    def _skip_blank(self, octet: int) -> bool:
        """Tell whether an octet belongs to an empty line before the request line (RFC 9112 2.2)."""
        expected = 10 if self._blank_octets % 2 else 13
        if octet != expected:
            if expected == 10:
                self._reject(400, "a bare CR stands before the request line")
            return expected == 10
        self._blank_octets += 1
        if self._blank_octets > MAX_BLANK_OCTETS:
            self._reject(400, "too many empty lines before the request line")
        return True

    def _read_line(self, data: bytes, position: int) -> int:
        """Hold octets until the request line is whole: what it is cannot depend on how it was split."""
        partial = self.partial
        start = len(partial)
        partial += data[position : position + MAX_LINE_BYTES + 2]
        line_end = partial.find(b"\r\n", start - 1 if start else 0)
        if line_end < 0:
            if not 33 <= partial[0] <= 126:
                self._reject(400, "the request does not begin with a method")  # TLS, for one
            elif len(partial) > MAX_LINE_BYTES:
                self._reject(414, f"the request target is over {MAX_TARGET_BYTES} bytes")
            return len(data)
        line = bytes(partial[: line_end + 2])
        self.partial = None
        scan = self.service.scan
        if scan.scan(line, 0) == LINE_BAD:
            self._refuse_line(line[:line_end])
            return len(data)
        self._take_line(scan)
        self.phase = FIELDS
        if not self._feed(line):
            return len(data)
        self.last_octets = b"\r\n"
        return position + len(line) - start

    def _take_line(self, scan: HeadScan) -> None:
        """Keep what the scan of a request line found: the next connection overwrites it."""
        self.method = scan.method
        self.target = scan.target
        self.raw_path = scan.raw_path
        self.raw_query = scan.raw_query
        self.is_http_11 = scan.is_http_11
        self.is_origin_form = scan.is_origin_form
        self.has_percent = scan.has_percent
        if self._parser is None:
            self._parser = self.service.make_parser(self)

    def _refuse_line(self, line: bytes) -> None:
        if len(line) > MAX_TARGET_BYTES and 33 <= line[0] <= 126:
            self._reject(414, f"the request target is over {MAX_TARGET_BYTES} bytes")
            return
        fault = fault_of_line(line)
        self.line = line
        self._reject(fault.status, fault.detail)

    def _find_end(self, data: bytes, position: int, limit: int) -> int:
        """Return the position behind the next CRLF CRLF before ``limit``, also one that began in earlier octets."""
        last = self.last_octets
        if last:
            joint = last + data[position : position + 3]
            at = joint.find(b"\r\n\r\n")
            if at >= 0:
                return position + at + 4 - len(last)
        at = data.find(b"\r\n\r\n", position, limit)
        return at + 4 if at >= 0 else -1

    def _remember(self, data: bytes, position: int, stop: int) -> None:
        """Keep the last three octets that were fed, to find a CRLF CRLF that is split."""
        if stop - position >= 3:
            self.last_octets = data[stop - 3 : stop]
        else:
            self.last_octets = (self.last_octets + data[position:stop])[-3:]

    def _read_fields(self, data: bytes, position: int) -> int:
        """Feed a header section that comes in pieces."""
        size = len(data)
        end = self._find_end(data, position, size)
        stop = end if end >= 0 else size
        self.fields_bytes += stop - position
        if self.fields_bytes > MAX_FIELDS_BYTES:
            self._reject(431, f"the header section is over {MAX_FIELDS_BYTES} bytes")
            return size
        if not self._feed(data[position:stop]):
            return size
        self._remember(data, position, stop)
        if end >= 0:
            self.has_input_behind = end < size
            self._head_done()
        return stop

    def _read_body(self, data: bytes, position: int) -> int:
        """Feed the body, never past the message's end."""
        size = len(data)
        if not self.is_chunked:
            stop = position + self.body_left
            if stop > size:
                stop = size
            self.body_left -= stop - position
            self.has_input_behind = stop < size
            if self._feed(data if position == 0 and stop == size else data[position:stop]):
                self._after_body_piece()
            return stop
        stop = position + PIECE_BYTES
        if stop > size:
            stop = size
        end = self._find_end(data, position, stop)
        if end >= 0:
            stop = end
        body_before = self.body_bytes
        trailers_before = self.trailer_bytes
        allowance_before = self.chunk_allowance
        self.has_input_behind = stop < size
        if not self._feed(data[position:stop]):
            return size
        if end >= 0:
            self.last_octets = b""
        else:
            self._remember(data, position, stop)
        cost = (stop - position) - (self.body_bytes - body_before) - (self.trailer_bytes - trailers_before)
        if self.is_chunk_open and self.is_chunk_empty and allowance_before == self.chunk_allowance:
            # A chunk was opened before this piece, and still has no data: these are octets of trailers.
            self.trailer_bytes += cost
        else:
            self.extension_bytes += cost
        if self.extension_bytes - self.chunk_allowance > MAX_EXTENSION_BYTES:
            self._reject(400, f"chunk extensions are over {MAX_EXTENSION_BYTES} bytes")
            return size
        if self.trailer_bytes > MAX_FIELDS_BYTES:
            self._reject(431, f"the trailer section is over {MAX_FIELDS_BYTES} bytes")
            return size
        self._after_body_piece()
        return stop

    def _after_body_piece(self) -> None:
        if self.phase != BODY:
            return  # answered and closed while the piece was fed
        if self.is_message_complete:
            self._message_done()
        elif self.is_answered and self.discarded_bytes > DISCARD_BYTES:
            self._close_in_steps()

    def _feed(self, piece: bytes) -> bool:
        """Feed the parser; False when the message was refused."""
        try:
            self._parser.feed_data(piece)
        except self.service.parser_upgrade:
            self._parser = None
            if self.method != "CONNECT":
                return True
            self._refuse_connect()
            return False
        except StopParsing:
            self._reject_fault(self.fault)
            return False
        except Exception as exc:  # noqa: BLE001 - what the parser raises is not public API in full
            fault = self.fault
            if fault is None and self.transfer_encoding is not None and not self.is_message_complete:
                fault = check_transfer_encoding(self.transfer_encoding, self.is_http_11)
            if fault is None:
                fault = Fault(400, f"the message cannot be parsed: {exc}")
            self._reject_fault(fault)
            return False
        return True

    # The parser's callbacks.

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a field line; behind the head it is a trailer, counted and dropped (RFC 9110 6.5.1)."""
        if self.is_head_parsed:
            self._count_trailer(name, value)
            return
        if value and value[-1] <= 32:
            value = value.rstrip(b" \t")
        name = lowered(name)
        fields = self.fields
        fields.append((name, value))
        if len(fields) > self.service.max_fields:
            self._stop(431, f"the request has more than {self.service.max_fields} header fields")
        kind = kind_of(name)
        if kind:
            self._note_field(kind, value)

    def _note_field(self, kind: int, value: bytes) -> None:
        if kind == HOST:
            self.host = value
            self.host_count += 1
        elif kind == CONNECTION:
            self.connection = value if self.connection is None else self.connection + b"," + value
        elif kind == CONTENT_LENGTH:
            self.content_length = value
        elif kind == EXPECT:
            self.expect = value if self.expect is None else self.expect + b", " + value
        elif kind == UPGRADE:
            self.has_upgrade = True
        elif kind == PROXY_CONNECTION:
            self.is_parser_spent = True
        elif self.transfer_encoding is None:
            self.transfer_encoding = value
        else:
            self.transfer_encoding = self.transfer_encoding + b"," + value

    def _count_trailer(self, name: bytes, value: bytes) -> None:
        self.trailer_count += 1
        self.trailer_bytes += len(name) + len(value) + 4
        if self.trailer_count + len(self.fields) > self.service.max_fields:
            self._stop(431, f"the request has more than {self.service.max_fields} header and trailer fields")

    def _stop(self, status: int, detail: str) -> None:
        self.fault = Fault(status, detail)
        raise StopParsing

    def on_chunk_header(self) -> None:
        """A chunk begins."""
        self.is_chunk_open = True
        self.is_chunk_empty = True
        self.chunk_allowance += CHUNK_CREDIT_BYTES

    def on_chunk_complete(self) -> None:
        """A chunk has ended."""
        self.is_chunk_open = False

    def on_body(self, piece: bytes) -> None:
        """Octets of the body."""
        size = len(piece)
        self.body_bytes += size
        self.is_chunk_empty = False
        if self.exchange is not None and not self.is_answered:
            self.exchange.feed(piece)
        else:
            self.discarded_bytes += size

    def on_message_complete(self) -> None:
        """The message is whole."""
        self.is_message_complete = True

    # From a message to its exchange.

    def _head_done(self) -> None:
        """Check what the parser does not, and begin the exchange."""
        fault = self._check_head()
        if fault is not None:
            self._reject_fault(fault)
            return
        authority = self.host
        if not self.is_origin_form:
            authority = self._split_other_form(self.target)
            if self.phase >= LINGER or self.is_answered:
                return
        if self.has_percent and not is_target_path(self.raw_path):
            self._reject(400, "the path is not valid percent-encoded UTF-8")
            return
        client = self.client
        if client is None:
            client = self._find_client()
        request = make_request(
            self.method,
            self.raw_path,
            self.raw_query,
            self.fields,
            b"" if authority is None else authority,
            self.service.scheme,
            "1.1" if self.is_http_11 else "1.0",
            client,
        )
        self.request = request
        if self.is_message_complete:
            self.phase = WAIT
            # The exchange's time; one that answers at once sets the next deadline itself.
            exchange = self.service.dispatcher.begin(request, self)
            if not self.is_answered:
                self._await_answer(exchange)
        else:
            self._begin_with_body(request)

    def _check_head(self) -> Any:
        """Return the fault of the head, or None; sets the body's framing."""
        fault: Any = None
        self.is_head_parsed = True
        if self.connection is not None or not self.is_http_11:
            self.is_keep_alive = wants_keep_alive(self.connection, self.is_http_11)
            if self.connection is not None and self.connection.lower() != b"keep-alive":
                self.is_parser_spent = True
        if self.host_count != 1 or self.host != self.known_host:
            fault = check_host(self.host_count, self.host, self.is_http_11)
            if fault is None:
                self.known_host = self.host
        if fault is None and self.transfer_encoding is not None:
            self.is_chunked = True
            fault = check_transfer_encoding(self.transfer_encoding, self.is_http_11)
        if fault is None and self.content_length is not None:
            length = check_content_length(self.content_length)
            if isinstance(length, Fault):
                return length
            self.content_length = length
            self.body_left = length
        if fault is None and self.expect is not None and self.is_http_11 and self.expect.lower() != b"100-continue":
            fault = Fault(417, "the only expectation that can be met is 100-continue")
        if fault is None and self.has_upgrade and self._parser is None:
            self._ignore_upgrade()
        return fault

    def _ignore_upgrade(self) -> None:
        """Take the message as if it had asked for no upgrade (RFC 9110 7.8).

        httptools ended the message at its head, body or not; a parser of its own is told the body's framing.
        """
        if not self.body_left and not self.is_chunked:
            return
        self.is_message_complete = False
        self.is_head_parsed = False
        framing = b"transfer-encoding: chunked" if self.is_chunked else b"content-length: %d" % self.body_left
        fields, length = self.fields, self.content_length
        self.fields = []
        self._parser = self.service.make_parser(self)
        self._parser.feed_data(b"POST / HTTP/1.1\r\n" + framing + b"\r\n\r\n")
        self.fields, self.content_length = fields, length
        self.is_head_parsed = True

    def _split_other_form(self, target: bytes) -> Any:
        """Take a target that is no path: sets path and query, returns the authority; may refuse the request."""
        if self.method == "CONNECT":
            self._refuse_connect()
            return None
        if target == b"*":
            if self.method != "OPTIONS":
                self._reject(400, "only OPTIONS may have the target *")  # RFC 9112 3.2.4
            self.raw_path, self.raw_query = target, b""
            return self.host
        form = absolute_form(target)
        if isinstance(form, Fault):
            self._reject_fault(form)
            return None
        self.raw_path, _, self.raw_query = form[1].partition(b"?")
        return form[0]

    def _refuse_connect(self) -> None:
        """Answer CONNECT, which asks a proxy for a tunnel: RFC 9110 9.3.6, RFC 9112 3.2.3."""
        if b":" in self.target and not self.target.endswith(b":") and is_authority(self.target):
            self._reject(405, "CONNECT is not served here")
        else:
            self._reject(400, "the target of CONNECT is not a host and a port")

    def _find_client(self) -> Any:
        peer = self.transport.get_extra_info("peername") if self.transport is not None else None
        self.client = (peer[0], peer[1]) if isinstance(peer, tuple) else ("", 0)
        return self.client

    def _begin_with_body(self, request: Any) -> None:
        request.has_body = True
        request.content_length = self.content_length
        request.expects_continue = self.expect is not None and self.is_http_11
        if self.method == "TRACE":
            self.is_keep_alive = False  # RFC 9110 9.3.8: its client must not send content
        self.phase = BODY
        self.last_octets = b""
        self.body_bytes = 0
        exchange = self.service.dispatcher.begin(request, self)
        if self.phase >= LINGER:
            return
        if not self.is_answered:
            self.exchange = exchange

    def _message_done(self) -> None:
        """The body is whole: its handler is called, or the next message is read."""
        if self.is_answered and not self.is_streaming:
            self._next_message()
            return
        self.phase = WAIT
        exchange = self.exchange
        if exchange is not None:
            self._await_answer(exchange)
            exchange.end()

    def _await_answer(self, exchange: Any) -> None:
        self.exchange = exchange
        if exchange is not None and not self.is_streaming:
            self.deadline = self.service.now + exchange.endpoint.timeout_seconds + self.service.tick_seconds

    # Refusals.

    def _reject_fault(self, fault: Any) -> None:
        self._reject(fault.status, fault.detail)

    def _reject(self, status: int, detail: str) -> None:
        """Answer a message that is refused, then close in steps; nothing behind it is parsed."""
        self.is_keep_alive = False
        exchange = self.exchange
        self.exchange = None
        has_begun = self.is_streaming
        if exchange is not None:
            exchange.cancel(detail)
        if has_begun:
            self._abort()
            return
        if self.is_answered:
            self._close_in_steps()
            return
        request = self.request
        if request is None:
            request = make_request(
                self.method or "-",
                self.target or b"-",
                b"",
                self.fields,
                b"",
                self.service.scheme,
                "1.1",
                self.client or self._find_client(),
            )
            self.request = request
        self.service.refuse(request, self, status, detail)

    # The answer: the Stream of the exchange.

    def respond(self, status: int, fields: list[tuple[bytes, bytes]], body: bytes, length: int) -> None:
        """Send a whole answer in one write; see types.Stream."""
        fields = self._without_own(fields)
        common = self._common(status)
        if len(body) < LARGE_BODY_BYTES:
            self._write(render(status, fields, common, length, body))
        else:  # not copied behind its head
            self._write(render(status, fields, common, length, b""))
            self._write(body)
        self.is_answered = True
        self.status = status
        self.sent_bytes = len(body)
        self._answer_done()

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
                self.is_keep_alive = False
        return kept

    def _common(self, status: int) -> bytes:
        """Decide whether the connection stays open after this answer; returns the lines all answers have."""
        service = self.service
        if self.is_keep_alive:
            if service.is_stopping or (self.is_eof and self._backlog is None and not self.has_input_behind):
                self.is_keep_alive = False
            elif not self.is_message_complete and not self._may_discard(status):
                self.is_keep_alive = False
        if not self.is_keep_alive:
            return service.common_close
        return service.common if self.is_http_11 else service.common_keep_alive

    def _may_discard(self, status: int) -> bool:
        """Tell whether the rest of a body that nobody wants may be read, to keep the connection."""
        if status == 413:
            return False
        if self.expect is not None and not self.has_sent_continue and not self.body_bytes and not self.has_input_behind:
            return False  # whether the client sends the body at all is not known
        return self.body_left <= DISCARD_BYTES

    def inform(self, status: int) -> None:
        """Send 100 Continue, unless the body is coming already (RFC 9110 10.1.1)."""
        if status == 100 and self.is_http_11 and not self.has_sent_continue:
            self.has_sent_continue = True
            if not self.has_input_behind and not self.body_bytes:
                self._write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def head(self, status: int, fields: list[tuple[bytes, bytes]], length: int, has_body: bool) -> None:
        """Send the head of a streamed answer; see types.Stream."""
        if not has_body:
            self.framing = NO_BODY
        elif length >= 0:
            self.framing = BY_LENGTH
        elif self.is_http_11:
            self.framing = CHUNKED
        else:
            self.framing = BY_CLOSE
            self.is_keep_alive = False
        fields = self._without_own(fields)
        common = self._common(status)
        if self.framing == CHUNKED:
            common = common + b"transfer-encoding: chunked\r\n"
        self.is_streaming = True
        self.is_answered = True
        self.status = status
        if self.phase == WAIT:
            self.deadline = inf
        self._write(render(status, fields, common, length, b""))

    def data(self, piece: bytes) -> None:
        """Send a piece of a streamed answer's body."""
        if not piece or self.framing == NO_BODY or self.transport is None:
            return
        self.sent_bytes += len(piece)
        self._write(render_chunk(piece) if self.framing == CHUNKED else piece)

    def end(self) -> None:
        """End a streamed answer."""
        if self.framing == CHUNKED:
            self._write(b"0\r\n\r\n")
        self.is_streaming = False
        self._answer_done()

    def reset(self, reason: str) -> None:
        """Break off an answer that has begun: the connection is reset, so that nobody takes it for whole."""
        self.service.note(self, reason)
        self._abort()

    async def drain(self) -> None:
        """Wait until the transport is below its high-water mark; raises ClientDisconnected."""
        if self.is_write_paused and self.phase != CLOSED:
            self.drain_waiter = asyncio.get_running_loop().create_future()
            await self.drain_waiter
        if self.phase == CLOSED:
            raise ClientDisconnected("the client left before the answer was complete")

    def _wake_drain(self) -> None:
        waiter = self.drain_waiter
        self.drain_waiter = None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def pause(self) -> None:
        """Stop reading the request's body."""
        self.wants_body_paused = True
        self._pace()

    def resume(self) -> None:
        """Read on."""
        self.wants_body_paused = False
        self._pace()

    def is_disconnected(self) -> bool:
        """Tell whether the client has left or ended its side."""
        return self.is_eof or self.phase == CLOSED

    # Writing and closing.

    def _write(self, data: bytes) -> None:
        if self.is_corked:
            self._output.append(data)
            self._output_bytes += len(data)
            if self._output_bytes > OUTPUT_BYTES:
                self._flush()
        elif self.transport is not None:
            self.transport.write(data)

    def _flush(self) -> None:
        output = self._output
        self._output_bytes = 0
        if not output:
            return
        data = output[0] if len(output) == 1 else b"".join(output)
        output.clear()
        if self.transport is not None:
            self.transport.write(data)

    def _answer_done(self) -> None:
        """The answer is out: log it, and go on to the next message or close."""
        if self.service.log is not None:
            self.service.log.record(self)
        self.exchange = None
        self.wants_body_paused = False
        if not self.is_keep_alive:
            self._close_in_steps()
        elif self.is_message_complete:
            self._next_message()
        elif self.is_reading_paused:
            self._pace()

    def _next_message(self) -> None:
        """Be ready for the next request on this connection."""
        self.exchange = None
        self.request = None
        if self.is_parser_spent:
            self._parser = None  # it may take this connection for closed, and would parse nothing more
        self._reset()
        self.phase = IDLE
        self.idle_since = self.service.now
        if self.service.is_stopping:
            self.deadline = self.idle_since + STOP_SECONDS
        else:
            self.deadline = self.idle_since + self.service.keep_alive_seconds + self.service.tick_seconds
        if not self.is_corked:
            self._resume()

    def _close_in_steps(self) -> None:
        """Close so that the client can read the answer: end our side, read and drop for a bounded time and size.

        A plain close while octets of the client are still unread would reset the connection and could destroy an
        answer that is on its way (RFC 9112 9.6).
        """
        if self.phase >= LINGER:
            return
        self._flush()
        self.phase = LINGER
        self._backlog = None
        self.partial = None
        self.request = None
        self.exchange = None
        self.deadline = self.service.now + LINGER_SECONDS + self.service.tick_seconds
        transport = self.transport
        if transport is None:
            return
        if self.is_eof:
            transport.close()
            return
        self._pace()
        if transport.can_write_eof():
            transport.write_eof()

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
        if self.stall_deadline <= now or (self.phase == LINGER and transport.get_write_buffer_size()):
            self._expire_stall(transport)
            return
        self.deadline = inf
        if self.phase == IDLE or (self.phase < BODY and self.service.is_stopping):
            self._expire_idle(transport)
        elif self.phase < BODY or (self.phase == BODY and not self.is_answered):
            self.service.note(self, "request_timeout")
            self._reject(408, "the request did not come whole in time")
        elif self.phase == BODY:
            self._abort() if self.is_streaming else self._close_in_steps()
        elif self.phase == WAIT:
            if self.exchange is not None:
                self.service.note(self, "response_timeout")
                self.exchange.expire()
        else:
            self._abort()

    def _expire_idle(self, transport: Any) -> None:
        if transport.get_write_buffer_size():
            self._abort()
        else:
            self._close()
            self.deadline = self.service.now + LINGER_SECONDS

    def _expire_stall(self, transport: Any) -> None:
        """A reader that takes some octets goes on; one that takes none is cut off."""
        size = transport.get_write_buffer_size()
        if 0 < size < self.stalled_bytes or (size and self.stalled_bytes == 0):
            self.stalled_bytes = size
            deadline = self.service.now + self.service.stall_seconds + self.service.tick_seconds
            if self.phase == LINGER:
                self.deadline = deadline
            self.stall_deadline = deadline if self.is_write_paused else inf
            return
        self.service.note(self, "write stall")
        exchange = self.exchange
        self.exchange = None
        if exchange is not None:
            exchange.cancel("the client stopped reading")
        self._abort()

    def is_idle(self) -> bool:
        """Tell whether the connection waits for a request and nothing of one has come."""
        return self.phase == IDLE and self._backlog is None and not self.is_write_paused

    def turn_away(self, detail: str) -> None:
        """Answer 503 before anything was read, and close."""
        self._reject(503, detail)

    def stop(self) -> None:
        """The server stops: what is idle or half sent has a second left, the rest finishes."""
        if self.phase < BODY:
            deadline = self.service.now + STOP_SECONDS
            if deadline < self.deadline:
                self.deadline = deadline

    def abort(self) -> None:
        """Cut the connection off at once."""
        exchange = self.exchange
        self.exchange = None
        if exchange is not None:
            exchange.cancel("the server stopped")
        self._abort()
