"""Reading HTTP/1.1 requests off a connection, one at a time and without I/O (RFC 9112).

Strategy. httptools parses; this module decides what it is fed. It never gets an octet past the end of the message
that is being read: a head ends at the first CRLF CRLF, a body of known length is counted, and a chunked message
can end only at a CRLF CRLF, so pieces are cut there. That gives what the parser itself cannot: reading stops
exactly between two messages, nothing behind a refused message is ever parsed, and the request line can be looked
at as it came, before the parser lets ``RTSP/1.0`` or two spaces through.

``read`` takes octets until something has happened, and says what in ``event``:

    NOTHING   all octets are taken, more are needed         HEAD   the head is in order; a body may follow
    PIECE     octets of the body are in ``pieces``          END    the message is whole; ``pieces`` may hold its last
    REFUSED   ``fault`` says why; nothing more is read

States (``state``):  IDLE -> LINE -> FIELDS -> BODY -> COMPLETE, and back to IDLE by ``next_message``; a whole head in
one piece goes straight from IDLE to BODY or COMPLETE.

What happens does not depend on how the octets were split. A request line is therefore held until it is whole.
"""

from __future__ import annotations

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
    kind_of,
    lowered,
)
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

    ``make_parser(callbacks)`` gives an httptools request parser, ``parser_upgrade`` is the exception by which it reports an
    upgrade, ``max_fields`` bounds header and trailer fields together.
    """

    __slots__ = ("make_parser", "max_fields", "parser_upgrade", "scan")

    def __init__(self, make_parser: Any, parser_upgrade: Any, max_fields: int) -> None:
        self.make_parser = make_parser
        self.parser_upgrade = parser_upgrade
        self.max_fields = max_fields
        self.scan = HeadScan()


class MessageReader:
    """Reads one request after the other; also the object that the parser calls back.

    Of the message that is being read: ``method`` to ``has_input_behind`` as their names say, ``authority`` is that of the
    target or Host's, ``content_length`` is None where none was announced.
    """

    __slots__ = (
        "_blank_octets",
        "_body_left",
        "_chunk_allowance",
        "_connection",
        "_extension_bytes",
        "_fields_bytes",
        "_has_percent",
        "_has_upgrade",
        "_host",
        "_host_count",
        "_is_chunk_empty",
        "_is_chunk_open",
        "_is_chunked",
        "_is_head_parsed",
        "_is_origin_form",
        "_is_parser_spent",
        "_known_host",
        "_last_octets",
        "_length_field",
        "_parser",
        "_partial",
        "_settings",
        "_trailer_bytes",
        "_trailer_count",
        "_transfer_encoding",
        "authority",
        "body_bytes",
        "content_length",
        "event",
        "expect",
        "fault",
        "fields",
        "has_input_behind",
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
        self.fields: list[tuple[bytes, bytes]] = []
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
        self._host: Any = None
        self._host_count = 0
        self._connection: Any = None
        self._transfer_encoding: Any = None
        self._length_field: Any = None
        self._has_upgrade = False
        self._is_head_parsed = False
        self._is_parser_spent = False
        self._is_chunked = False
        self._is_chunk_open = False
        self._is_chunk_empty = False
        self._body_left = 0
        self._fields_bytes = 0
        self._chunk_allowance = 0
        self._extension_bytes = 0
        self._trailer_bytes = 0
        self._trailer_count = 0

    def close(self) -> None:
        """Let go of the parser, which holds on to this object."""
        self._parser = None
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
            position = self._read_chunks(data, position) if self._is_chunked else self._read_counted(data, position)
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
            if self._feed(data[position : scan.line_end + 2]):
                self._last_octets = b"\r\n"
                return self._read_fields(data, scan.line_end + 2)
            return size
        end = scan.end
        if end - scan.line_end > MAX_FIELDS_BYTES:
            self._refuse(431, f"the header section is over {MAX_FIELDS_BYTES} bytes")
            return size
        self.has_input_behind = end < size
        if self._feed(data if position == 0 and end == size else data[position:end]):
            self._head_done()
        return end

    def _skip_blank(self, octet: int) -> bool:
        """Tell whether an octet belongs to an empty line before the request line (RFC 9112 2.2)."""
        expected = 10 if self._blank_octets % 2 else 13
        if octet != expected:
            if expected == 10:
                self._refuse(400, "a bare CR stands before the request line")
            return expected == 10
        self._blank_octets += 1
        if self._blank_octets > MAX_BLANK_OCTETS:
            self._refuse(400, "too many empty lines before the request line")
        return True

    def _read_line(self, data: bytes, position: int) -> int:
        """Hold octets until the request line is whole."""
        partial = self._partial
        start = len(partial)
        partial += data[position : position + MAX_LINE_BYTES + 2]
        line_end = partial.find(b"\r\n", start - 1 if start else 0)
        if line_end < 0:
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
            self._parser = self._settings.make_parser(self)

    def _refuse_line(self, line: bytes) -> None:
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
        self._fields_bytes += stop - position
        if self._fields_bytes > MAX_FIELDS_BYTES:
            self._refuse(431, f"the header section is over {MAX_FIELDS_BYTES} bytes")
            return size
        if not self._feed(data[position:stop]):
            return size
        self._remember(data, position, stop)
        if end >= 0:
            self.has_input_behind = end < size
            self._head_done()
        return stop

    def _find_end(self, data: bytes, position: int, limit: int) -> int:
        """Return the position behind the next CRLF CRLF before ``limit``, also one that began in earlier octets."""
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
        self._is_head_parsed = True
        fault = self._check_head()
        if fault is not None:
            self._refuse_for(fault)
            return
        self.event = HEAD
        if self.is_whole:
            self.state = COMPLETE
        else:
            self.state = BODY
            self._last_octets = b""

    def _check_head(self) -> Any:
        """Return the fault of the head, or None; sets the body's framing and the target's parts."""
        fault: Any = None
        if self._host_count != 1 or self._host != self._known_host:
            fault = check_host(self._host_count, self._host, self.is_http_11)
            if fault is not None:
                return fault
            self._known_host = self._host
        self.authority = b"" if self._host is None else self._host
        if not self._is_origin_form:
            fault = self._split_other_form(self.target)
        if fault is None and self._has_percent and not is_target_path(self.raw_path):
            fault = Fault(400, "the path is not valid percent-encoded UTF-8")
        if fault is None and (self._transfer_encoding is not None or self._length_field is not None):
            fault = self._check_framing()
        if fault is None and self.expect is not None and self.is_http_11 and self.expect.lower() != b"100-continue":
            fault = Fault(417, "the only expectation that can be met is 100-continue")
        if fault is None and (self._connection is not None or not self.is_http_11):
            self.is_keep_alive = wants_keep_alive(self._connection, self.is_http_11)
            if self._connection is not None and self._connection.lower() != b"keep-alive":
                self._is_parser_spent = True
        if fault is None and self._has_upgrade and self._parser is None:
            self._ignore_upgrade()
        return fault

    def _check_framing(self) -> Any:
        if self._transfer_encoding is not None:
            self._is_chunked = True
            return check_transfer_encoding(self._transfer_encoding, self.is_http_11)
        length = check_content_length(self._length_field)
        if isinstance(length, Fault):
            return length
        self.content_length = length
        self._body_left = length
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

    def _ignore_upgrade(self) -> None:
        """Take the message as if it had asked for no upgrade (RFC 9110 7.8).

        httptools ended the message at its head, body or not; a parser of its own is told the body's framing.
        """
        if not self._body_left and not self._is_chunked:
            return
        framing = b"transfer-encoding: chunked" if self._is_chunked else b"content-length: %d" % self._body_left
        fields = self.fields
        self.fields = []
        self.is_whole = False
        self._is_head_parsed = False
        self._parser = self._settings.make_parser(self)
        self._parser.feed_data(b"POST / HTTP/1.1\r\n" + framing + b"\r\n\r\n")
        self._is_head_parsed = True
        self.fields = fields

    # The body.

    def _read_counted(self, data: bytes, position: int) -> int:
        """Feed a body of known length."""
        size = len(data)
        stop = position + self._body_left
        if stop > size:
            stop = size
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
            self._parser.feed_data(piece)
        except self._settings.parser_upgrade:
            self._parser = None  # this one has ended the message; see _ignore_upgrade
        except StopParsing:
            self._refuse_for(self.fault)
            return False
        except Exception as exc:  # noqa: BLE001 - what the parser raises is not public API in full
            self._refuse_for(self._fault_of(exc))
            return False
        return True

    def _fault_of(self, exc: Exception) -> Any:
        if self.fault is not None:
            return self.fault
        if self._transfer_encoding is not None and not self._is_head_parsed:
            fault = check_transfer_encoding(self._transfer_encoding, self.is_http_11)
            if fault is not None:
                return fault
        return Fault(400, f"the message cannot be parsed: {exc}")

    def _refuse_for(self, fault: Any) -> None:
        self.fault = fault
        self.event = REFUSED

    def _refuse(self, status: int, detail: str) -> None:
        self._refuse_for(Fault(status, detail))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a field line; behind the head it is a trailer, counted and dropped (RFC 9110 6.5.1)."""
        if self._is_head_parsed:
            self._count_trailer(name, value)
            return
        if value and value[-1] <= 32:
            value = value.rstrip(b" \t")
        name = lowered(name)
        fields = self.fields
        fields.append((name, value))
        if len(fields) > self._settings.max_fields:
            self._stop(f"the request has more than {self._settings.max_fields} header fields")
        kind = kind_of(name)
        if kind:
            self._note_field(kind, value)

    def _note_field(self, kind: int, value: bytes) -> None:
        if kind == HOST:
            self._host = value
            self._host_count += 1
        elif kind == CONNECTION:
            self._connection = value if self._connection is None else self._connection + b"," + value
        elif kind == CONTENT_LENGTH:
            self._length_field = value
        elif kind == EXPECT:
            self.expect = value if self.expect is None else self.expect + b"," + value
        elif kind == UPGRADE:
            self._has_upgrade = True
        elif kind == PROXY_CONNECTION:
            self._is_parser_spent = True
        elif self._transfer_encoding is None:
            self._transfer_encoding = value
        else:
            self._transfer_encoding = self._transfer_encoding + b"," + value

    def _count_trailer(self, name: bytes, value: bytes) -> None:
        self._trailer_count += 1
        self._trailer_bytes += len(name) + len(value) + 4
        if self._trailer_count + len(self.fields) > self._settings.max_fields:
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
