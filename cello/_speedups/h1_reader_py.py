"""Reading HTTP/1.1 requests off a connection, one at a time and without I/O (RFC 9112).

Strategy. httptools parses; this module decides what it is fed. It never gets an octet past the end of the
message that is being read: a head ends at the first CRLF CRLF, a body of known length is counted, and a
chunked message can end only at a CRLF CRLF, so pieces are cut there. That gives what the parser itself
cannot: reading stops exactly between two messages, nothing behind a refused message is ever parsed, and the
request line can be looked at as it came, before the parser lets ``RTSP/1.0`` or two spaces through.

``read`` takes octets until something has happened, and says what in ``event``:

    NOTHING   all octets are taken, more are needed
    HEAD      the head is in order; a body may follow
    PIECE     octets of the body are in ``pieces``
    END       the message is whole; ``pieces`` may hold its last
    REFUSED   ``fault`` says why; nothing more is read

States (``state``):  IDLE -> LINE -> FIELDS -> BODY -> COMPLETE, and back to IDLE by ``next_message``; a whole
head in one piece goes straight from IDLE to BODY or COMPLETE.

What happens does not depend on how the octets were split. A request line is therefore held until it is whole.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from .h1_rules_py import (
    Fault,
    absolute_form,
    check_content_length,
    check_host,
    check_transfer_encoding,
    fault_of_line,
    is_tunnel_target,
    wants_keep_alive,
)
from .heads_py import FIELDS_PARTIAL, LINE_BAD, LINE_PARTIAL, MAX_TARGET_BYTES, HeadScan
from .octets_py import is_target_path
from .states_py import BODY, COMPLETE, END, FIELDS, HEAD, IDLE, LINE, NOTHING, PIECE, REFUSED

MAX_FIELDS_BYTES = 65536
MAX_LINE_BYTES = MAX_TARGET_BYTES + 64
MAX_BLANK_OCTETS = 8  # empty lines before a request line: RFC 9112 2.2
MAX_EXTENSION_BYTES = 16384
CHUNK_CREDIT_BYTES = 20  # 16 digits and two CRLF: what a chunk costs without extensions
PIECE_BYTES = 16384  # of a chunked body, between two looks at what it cost


class StopParsing(Exception):
    """Leaves httptools from inside a callback: it knows no other way to stop."""


class ReaderSettings:
    """What all readers of a process share.

    ``make_parser(callbacks)`` gives an httptools request parser, ``parser_upgrade`` is the exception by which
    it reports an upgrade, ``max_fields`` bounds header and trailer fields together.
    """

    __slots__ = ("make_parser", "max_fields", "parser_upgrade", "scan")

    def __init__(self, make_parser: Any, parser_upgrade: Any, max_fields: int) -> None:
        self.make_parser = make_parser
        self.parser_upgrade = parser_upgrade
        self.max_fields = max_fields
        self.scan = HeadScan()


class MessageReader:
    """Reads one request after the other; also the object that the parser calls back.

    Of the message that is being read: ``head[fields_at:head_size]`` are its field lines, ``authority`` is
    that of the target or Host's, ``content_length`` is None where none was announced.
    """

    __slots__ = (
        "_blank_octets",
        "_body_left",
        "_chunk_allowance",
        "_extension_bytes",
        "_feed_parser",
        "_field_count",
        "_has_percent",
        "_head",
        "_is_body_open",
        "_is_chunk_empty",
        "_is_chunk_open",
        "_is_chunked",
        "_is_origin_form",
        "_is_parser_spent",
        "_known_host",
        "_last_octets",
        "_parser",
        "_partial",
        "_settings",
        "_trailer_bytes",
        "_trailer_count",
        "authority",
        "body_bytes",
        "content_length",
        "event",
        "expect",
        "fault",
        "fields_at",
        "has_input_behind",
        "head",
        "head_size",
        "is_http_11",
        "is_keep_alive",
        "is_whole",
        "method",
        "pieces",
        "raw_path",
        "raw_query",
        "state",
        "target",
    )

    def __init__(self, settings: ReaderSettings) -> None:
        self._settings = settings
        self._parser: Any = None
        self._feed_parser: Any = None
        self._partial: Any = None
        self._known_host: Any = None
        self._last_octets = b""
        self._blank_octets = 0
        self._is_origin_form = True
        self._has_percent = False
        self._is_parser_spent = False
        self.event = NOTHING
        self.pieces: list[bytes] = []
        self.method = ""
        self.target = b""
        self.raw_path = b""
        self.raw_query = b""
        self.is_http_11 = True
        self.next_message()

    def next_message(self) -> None:
        """Forget the last message and be ready for the next."""
        if self._is_parser_spent:
            self._parser = None  # it may take this connection for closed, and would parse nothing more
        self.state = IDLE
        self.head = b""
        self.fields_at = 0
        self.head_size = 0
        if self.pieces:
            self.pieces = []
        self.fault: Any = None
        self.authority = b""
        self.expect: Any = None
        self.content_length: Any = None
        self.body_bytes = 0
        self.is_keep_alive = True
        self.is_whole = False
        self.has_input_behind = False
        self._is_body_open = False
        self._field_count = 0
        self._is_parser_spent = False
        self._is_chunked = False
        self._is_chunk_open = False
        self._is_chunk_empty = False
        self._body_left = 0
        self._head: Any = None
        self._chunk_allowance = 0
        self._extension_bytes = 0
        self._trailer_bytes = 0
        self._trailer_count = 0

    def close(self) -> None:
        """Let go of the parser, which holds on to this object."""
        self._parser = None
        self._feed_parser = None
        self._partial = None

    @property
    def body_left(self) -> int:
        """How many octets of a body of known length have not come yet."""
        return self._body_left

    def read(self, data: bytes, position: int) -> int:
        """Take octets from a position on until something has happened; returns the position behind them."""
        state = self.state
        self.event = NOTHING
        if state == IDLE:
            position = self._read_start(data, position)
        elif state == BODY:
            position = (
                self._read_chunks(data, position) if self._is_chunked else self._read_counted(data, position)
            )
        elif state == FIELDS:
            position = self._read_fields(data, position)
        elif state == LINE:
            position = self._read_line(data, position)
        return position

    # The head.

    def _read_start(self, data: bytes, position: int) -> int:
        if (data[position] <= 13 or self._blank_octets) and self._skip_blank(data[position]):
            return position + 1
        self._blank_octets = 0
        scan = self._settings.scan
        found = scan.scan(data, position)
        if found == LINE_PARTIAL:
            self.state = LINE
            self._partial = bytearray()
            return self._read_line(data, position)
        size = len(data)
        if found == LINE_BAD:
            self._refuse_line(data[position : scan.line_end])
            return size
        self._take_line(scan)
        if found == FIELDS_PARTIAL:
            self.state = FIELDS
            self._head = bytearray()
            if self._feed(data[position : scan.line_end + 2]):
                self._last_octets = b"\r\n"
                return self._read_fields(data, scan.line_end + 2)
            return size
        end = scan.end
        if end - scan.line_end > MAX_FIELDS_BYTES:
            self._refuse(431, f"the header section is over {MAX_FIELDS_BYTES} bytes")
            return size
        self.has_input_behind = end < size
        head = data if position == 0 and end == size else data[position:end]
        self.head = head
        self.fields_at = scan.line_end + 2 - position
        if self._feed(head):
            self._head_done()
        return end

    def _skip_blank(self, octet: int) -> bool:
        """Tell whether an octet belongs to an empty line before the request line (RFC 9112 2.2)."""
        expected = 10 if self._blank_octets % 2 else 13
        if octet != expected:
            if expected == 10:
                self._forget_line()
                self._refuse(400, "a bare CR stands before the request line")
            return expected == 10
        self._blank_octets += 1
        if self._blank_octets > MAX_BLANK_OCTETS:
            self._forget_line()
            self._refuse(400, "too many empty lines before the request line")
        return True

    def _read_line(self, data: bytes, position: int) -> int:
        """Hold octets until the request line is whole."""
        partial = self._partial
        start = len(partial)
        partial += data[position : position + MAX_LINE_BYTES + 2]
        line_end = partial.find(b"\r\n", start - 1 if start else 0)
        if line_end < 0:
            self._forget_line()
            if not 33 <= partial[0] <= 126:
                self._refuse(400, "the request does not begin with a method")  # TLS, for one
            elif len(partial) > MAX_LINE_BYTES:
                self._refuse(414, f"the request target is over {MAX_TARGET_BYTES} bytes")
            return len(data)
        line = bytes(partial[: line_end + 2])
        self._partial = None
        scan = self._settings.scan
        if scan.scan(line, 0) == LINE_BAD:
            self._refuse_line(line[:line_end])
            return len(data)
        self._take_line(scan)
        self.state = FIELDS
        self._head = bytearray()
        if not self._feed(line):
            return len(data)
        self._last_octets = b"\r\n"
        return position + len(line) - start

    def _take_line(self, scan: HeadScan) -> None:
        """Keep what the scan of a request line found: the next connection overwrites it."""
        self.method = scan.method
        self.target = scan.target
        self.raw_path = scan.raw_path
        self.raw_query = scan.raw_query
        self.is_http_11 = scan.is_http_11
        self._is_origin_form = scan.is_origin_form
        self._has_percent = scan.has_percent
        if self._parser is None:
            self._use_parser(self._settings.make_parser(self))

    def _use_parser(self, parser: Any) -> None:
        self._parser = parser
        self._feed_parser = parser.feed_data  # PERF: one look-up a connection, not one a request

    def _forget_line(self) -> None:
        """Forget the last request: neither log nor answer may take what is refused now for it."""
        self.method = ""
        self.target = b""

    def _refuse_line(self, line: bytes) -> None:
        self._forget_line()
        if len(line) > MAX_TARGET_BYTES and 33 <= line[0] <= 126:
            self._refuse(414, f"the request target is over {MAX_TARGET_BYTES} bytes")
        else:
            self._refuse_for(fault_of_line(line))

    def _read_fields(self, data: bytes, position: int) -> int:
        """Feed a header section that comes in pieces."""
        size = len(data)
        if position >= size:
            return size
        end = self._find_end(data, position, size)
        stop = end if end >= 0 else size
        piece = data[position:stop]
        self._head += piece
        if len(self._head) > MAX_FIELDS_BYTES:
            self._refuse(431, f"the header section is over {MAX_FIELDS_BYTES} bytes")
            return size
        if not self._feed(piece):
            return size
        self._remember(data, position, stop)
        self._field_count += piece.count(b"\n")
        if self._field_count > self._settings.max_fields + 1:  # with the empty line at the end
            self._refuse(431, f"the request has more than {self._settings.max_fields} header fields")
            return size
        if end >= 0:
            self.has_input_behind = end < size
            self.head = bytes(self._head)
            self._head = None
            self._head_done()
        return stop

    def _find_end(self, data: bytes, position: int, limit: int) -> int:
        """Return the position behind the next CRLF CRLF, also one that began in earlier octets, or -1."""
        last = self._last_octets
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
            self._last_octets = data[stop - 3 : stop]
        else:
            self._last_octets = (self._last_octets + data[position:stop])[-3:]

    def _head_done(self) -> None:
        """Check what the parser does not, and report the head."""
        scan = self._settings.scan
        self.head_size = len(self.head)
        scan.scan_fields(self.head, self.fields_at, self.head_size)
        self._field_count = scan.field_count
        fault = self._check_head(scan)
        if fault is not None:
            self._refuse_for(fault)
            return
        self.event = HEAD
        if self.is_whole:
            self.state = COMPLETE
        else:
            self.state = BODY
            self._last_octets = b""

    def _check_head(self, scan: HeadScan) -> Any:
        """Return the fault of the head, or None; sets the body's framing and the target's parts."""
        fault: Any = None
        if scan.field_count > self._settings.max_fields:
            return Fault(431, f"the request has more than {self._settings.max_fields} header fields")
        if scan.host_count != 1 or scan.host != self._known_host:
            fault = check_host(scan.host_count, scan.host, self.is_http_11)
            if fault is not None:
                return fault
            self._known_host = scan.host
        self.authority = b"" if scan.host is None else scan.host
        if not self._is_origin_form:
            fault = self._split_other_form(self.target)
        if fault is None and self._has_percent and not is_target_path(self.raw_path):
            fault = Fault(400, "the path is not valid percent-encoded UTF-8")
        if fault is None and scan.expect is not None:
            self.expect = scan.expect
            if self.is_http_11 and self.expect.lower() != b"100-continue":
                fault = Fault(417, "the only expectation that can be met is 100-continue")
        if fault is None and (scan.connection is not None or not self.is_http_11):
            self.is_keep_alive = wants_keep_alive(scan.connection, self.is_http_11)
            if scan.connection is not None and scan.connection.lower() != b"keep-alive":
                self._is_parser_spent = True
        if scan.has_proxy_connection:
            self._is_parser_spent = True
        if fault is None and (scan.transfer_encoding is not None or scan.content_length is not None):
            fault = self._check_framing(scan)
        return fault

    def _check_framing(self, scan: HeadScan) -> Any:
        if scan.transfer_encoding is not None:
            fault = check_transfer_encoding(scan.transfer_encoding, self.is_http_11)
            if fault is None:
                self._is_chunked = True
                self._open_body(b"transfer-encoding: chunked")
            return fault
        assert scan.content_length is not None  # with neither of the two there is no framing to check
        length = check_content_length(scan.content_length)
        if isinstance(length, Fault):
            return length
        self.content_length = length
        self._body_left = length
        if self._parser is None and length:
            self._open_body(b"content-length: %d" % length)
        return None

    def _split_other_form(self, target: bytes) -> Any:
        """Take apart a target that is no path: sets authority, path and query, or returns the fault."""
        if self.method == "CONNECT":
            return _fault_of_connect(target)
        if target == b"*":
            if self.method != "OPTIONS":
                return Fault(400, "only OPTIONS may have the target *")  # RFC 9112 3.2.4
            self.raw_path, self.raw_query = target, b""
            return None
        form = absolute_form(target)
        if isinstance(form, Fault):
            return form
        self.authority = form[0]
        self.raw_path, _, self.raw_query = form[1].partition(b"?")
        return None

    def _open_body(self, framing: bytes) -> None:
        """Go on with a parser of the body's own, which is told its framing.

        A chunked body has one because its trailers are wanted as callbacks, which fields are not. A message
        that asks for an upgrade has one because httptools ended it at its head, body or not; it is taken as
        if it had asked for none (RFC 9110 7.8).
        """
        self.is_whole = False
        callbacks = SimpleNamespace(
            on_header=self.on_trailer,
            on_body=self.on_body,
            on_chunk_header=self.on_chunk_header,
            on_chunk_complete=self.on_chunk_complete,
            on_message_complete=self.on_message_complete,
        )
        self._is_parser_spent = True
        self._use_parser(self._settings.make_parser(callbacks))
        self._parser.feed_data(b"POST / HTTP/1.1\r\n" + framing + b"\r\n\r\n")
        self._is_body_open = True

    # The body.

    def _read_counted(self, data: bytes, position: int) -> int:
        """Feed a body of known length."""
        size = len(data)
        stop = size
        if self._body_left < size - position:  # the sum alone could pass 2**63, which wraps around in C
            stop = position + self._body_left
        self._body_left -= stop - position
        self.has_input_behind = stop < size
        if self._feed(data if position == 0 and stop == size else data[position:stop]):
            self._piece_done()
        return stop

    def _read_chunks(self, data: bytes, position: int) -> int:
        """Feed a chunked body, and count what it costs beside its data."""
        size = len(data)
        stop = position + PIECE_BYTES
        if stop > size:
            stop = size
        end = self._find_end(data, position, stop)
        if end >= 0:
            stop = end
        self.has_input_behind = stop < size
        body_before = self.body_bytes
        trailers_before = self._trailer_bytes
        allowance_before = self._chunk_allowance
        if not self._feed(data[position:stop]):
            return size
        if end >= 0:
            self._last_octets = b""  # the end of a message overlaps no other CRLF CRLF
        else:
            self._remember(data, position, stop)
        cost = (stop - position) - (self.body_bytes - body_before) - (self._trailer_bytes - trailers_before)
        if self._is_chunk_open and self._is_chunk_empty and allowance_before == self._chunk_allowance:
            # A chunk was opened before this piece and still has no data: these are octets of trailers.
            self._trailer_bytes += cost
        else:
            self._extension_bytes += cost
        if self._extension_bytes - self._chunk_allowance > MAX_EXTENSION_BYTES:
            self._refuse(400, f"chunk extensions are over {MAX_EXTENSION_BYTES} bytes")
        elif self._trailer_bytes > MAX_FIELDS_BYTES:
            self._refuse(431, f"the trailer section is over {MAX_FIELDS_BYTES} bytes")
        else:
            self._piece_done()
        return stop

    def _piece_done(self) -> None:
        if self.is_whole:
            self.state = COMPLETE
            self.event = END
        elif self.pieces:
            self.event = PIECE

    # The parser.

    def _feed(self, piece: bytes) -> bool:
        """Feed the parser; False when the message was refused."""
        try:
            self._feed_parser(piece)
        except self._settings.parser_upgrade:
            self._parser = None  # this one has ended the message; see _open_body
        except Exception as exc:  # noqa: BLE001 - what the parser raises is not public API in full
            self._refuse_for(self._fault_of(exc))
            return False
        return True

    def _fault_of(self, exc: Exception) -> Any:
        detail = str(exc)
        if self.fault is not None:
            return self.fault
        if "Transfer-Encoding" in detail and not self._is_body_open:
            scan = self._settings.scan
            head = self.head if self._head is None else bytes(self._head)
            scan.scan_fields(head, self.fields_at, len(head))
            if scan.transfer_encoding is not None:
                fault = check_transfer_encoding(scan.transfer_encoding, self.is_http_11)
                if fault is not None:
                    return fault
        return Fault(400, f"the message cannot be parsed: {detail}")

    def _refuse_for(self, fault: Any) -> None:
        self.fault = fault
        self.event = REFUSED

    def _refuse(self, status: int, detail: str) -> None:
        self._refuse_for(Fault(status, detail))

    def on_trailer(self, name: bytes, value: bytes) -> None:
        """Count a trailer and drop it (RFC 9110 6.5.1)."""
        if not self._is_body_open:
            return  # the framing that _open_body has told the parser
        self._trailer_count += 1
        self._trailer_bytes += len(name) + len(value) + 4
        if self._trailer_count + self._field_count > self._settings.max_fields:
            self._stop(f"the request has more than {self._settings.max_fields} header and trailer fields")

    def _stop(self, detail: str) -> None:
        self.fault = Fault(431, detail)
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
        """The message is whole."""
        self.is_whole = True


def _fault_of_connect(target: bytes) -> Fault:
    """Say why CONNECT, which asks a proxy for a tunnel, is refused: RFC 9110 9.3.6, RFC 9112 3.2.3."""
    if is_tunnel_target(target):
        return Fault(405, "CONNECT is not served here")
    return Fault(400, "the target of CONNECT is not a host and a port")
