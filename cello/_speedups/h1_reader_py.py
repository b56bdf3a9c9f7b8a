"""Reading HTTP/1.1 requests off a connection, one at a time and without I/O (RFC 9112).

Strategy. A head that came whole and is plain (heads_py) is read where it stands, and a body of known length
is counted. httptools is the judge of all else: of a head that is not plain or comes in pieces, and of chunks.
It never gets an octet past the end of what it judges: a head ends at the first CRLF CRLF, and a chunked
message can end only at one, so pieces are cut there. Thus reading stops exactly between two messages, nothing
behind a refused message is ever parsed, and the request line is looked at as it came, before a parser could
let ``RTSP/1.0`` or two spaces through.

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

from typing import Any

from .h1_chunks_py import ChunkedBody, EndFinder
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
from .heads_py import LINE_BAD, LINE_PARTIAL, MAX_TARGET_BYTES, PLAIN, WHOLE, HeadScan
from .octets_py import is_target_path
from .states_py import BODY, COMPLETE, END, FIELDS, HEAD, IDLE, LINE, NOTHING, PIECE, REFUSED

MAX_FIELDS_BYTES = 65536
MAX_LINE_BYTES = MAX_TARGET_BYTES + 64
MAX_BLANK_OCTETS = 8  # empty lines before a request line: RFC 9112 2.2


class ReaderSettings:
    """What all readers of a process share.

    ``make_parser(callbacks)`` gives an httptools request parser, ``parser_upgrade`` is the exception by which
    it reports an upgrade, ``max_fields`` bounds header and trailer fields together.
    """

    __slots__ = ("make_parser", "max_fields", "parser_upgrade")

    def __init__(self, make_parser: Any, parser_upgrade: Any, max_fields: int) -> None:
        self.make_parser = make_parser
        self.parser_upgrade = parser_upgrade
        self.max_fields = max_fields


class MessageReader(HeadScan):
    """Reads one request after the other.

    Of the message that is being read: ``head[fields_at:head_size]`` are its field lines, ``authority`` is
    that of the target or Host's, ``content_length`` is None where none was announced; ``body_left`` octets of
    a body of known length have not come yet.
    """

    __slots__ = (
        "_blank_octets",
        "_chunks",
        "_end",
        "_head",
        "_known_host",
        "_parser",
        "_partial",
        "_settings",
        "authority",
        "body_bytes",
        "body_left",
        "content_length",
        "event",
        "fault",
        "fields_at",
        "has_body",
        "has_input_behind",
        "head",
        "head_size",
        "is_keep_alive",
        "is_whole",
        "pieces",
        "state",
    )

    def __init__(self, settings: ReaderSettings) -> None:
        super().__init__()
        self._settings = settings
        self._parser: Any = None  # of a head that comes in pieces
        self._partial: Any = None  # a request line that is not whole
        self._head: Any = None  # a head that is not whole
        self._end: Any = None  # finds its end
        self._chunks: Any = None
        self._known_host: Any = None
        self._blank_octets = 0
        self.event = NOTHING
        self.fault: Any = None
        self.state = IDLE
        self.head = b""
        self.fields_at = 0
        self.head_size = 0
        self.authority = b""
        self.content_length: Any = None
        self.has_body = False
        self.body_bytes = 0
        self.body_left = 0
        self.pieces: list[bytes] = []
        self.is_keep_alive = True
        self.is_whole = False
        self.has_input_behind = False

    def next_message(self) -> None:
        """Forget the last message and be ready for the next."""
        self.state = IDLE
        self.head = b""
        self.is_whole = False
        self.has_input_behind = False
        if self.has_body:
            self.has_body = False
            self.content_length = None
            self.body_bytes = 0
            self.body_left = 0
            self.pieces = []
            self._forget_chunks()

    def close(self) -> None:
        """Let go of the parsers."""
        self._parser = None
        self._partial = None
        self._forget_chunks()

    def _forget_chunks(self) -> None:
        if self._chunks is not None:
            self._chunks.close()
            self._chunks = None

    def read(self, data: bytes, position: int) -> int:
        """Take octets from a position on until something has happened; returns the position behind them."""
        state = self.state
        self.event = NOTHING
        if state == IDLE:
            position = self._read_start(data, position)
        elif state == BODY:
            position = self._read_body(data, position)
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
        found = self.scan(data, position)
        if found != PLAIN and found != WHOLE:
            return self._begin_pieces(data, position, found)
        size = len(data)
        end = self.end
        if end - self.line_end > MAX_FIELDS_BYTES:
            self._refuse(431, f"the header section is over {MAX_FIELDS_BYTES} bytes")
            return size
        self.has_input_behind = end < size
        head = data if position == 0 and end == size else data[position:end]
        self.head = head
        self.fields_at = self.line_end + 2 - position
        if found == WHOLE:
            self._make_parser()
            if not self._feed(head):
                return end
            self.scan_fields(head, self.fields_at, len(head))
        self._head_done()
        return end

    def _begin_pieces(self, data: bytes, position: int, found: int) -> int:
        """Begin a head that is not whole, or refuse its line."""
        if found == LINE_PARTIAL:
            self.state = LINE
            self._partial = bytearray()
            return self._read_line(data, position)
        if found == LINE_BAD:
            self._refuse_line(data[position : self.line_end])
            return len(data)
        self._begin_fields()
        if not self._feed(data[position : self.line_end + 2]):
            return len(data)
        return self._read_fields(data, self.line_end + 2)

    def _begin_fields(self) -> None:
        """The request line is whole, and its fields will be fed as they come."""
        self.state = FIELDS
        self._head = bytearray()
        self._end = EndFinder(b"\r\n")  # of the line
        self.fields_at = 0
        self.field_count = 0
        self._make_parser()

    def _make_parser(self) -> None:
        self._parser = self._settings.make_parser(NO_CALLBACKS)

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
        if self.scan(line, 0) == LINE_BAD:
            self._refuse_line(line[:line_end])
            return len(data)
        self._begin_fields()
        if not self._feed(line):
            return len(data)
        return position + len(line) - start

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
        end = self._end.find(data, position, size)
        stop = end if end >= 0 else size
        piece = data[position:stop]
        self._head += piece
        if len(self._head) > MAX_FIELDS_BYTES:
            self._refuse(431, f"the header section is over {MAX_FIELDS_BYTES} bytes")
            return size
        if not self._feed(piece):
            return size
        self._end.remember(data, position, stop)
        self.field_count += piece.count(b"\n")
        if self.field_count > self._settings.max_fields + 1:  # with the empty line at the end
            self._refuse(431, f"the request has more than {self._settings.max_fields} header fields")
            return size
        if end >= 0:
            self.has_input_behind = end < size
            self.head = bytes(self._head)
            self._head = None
            self._end = None
            self.scan_fields(self.head, 0, len(self.head))
            self._head_done()
        return stop

    def _head_done(self) -> None:
        """Check what the line and the fields mean, and report the head, or its fault."""
        self._parser = None
        self.head_size = len(self.head)
        host = self.host
        fault: Any = None
        if self.field_count > self._settings.max_fields:
            fault = Fault(431, f"the request has more than {self._settings.max_fields} header fields")
        elif self.host_count != 1 or host != self._known_host:
            fault = check_host(self.host_count, host, self.is_http_11)
        if fault is None:
            self._known_host = host
            self.authority = b"" if host is None else host
            self.is_keep_alive = self.is_http_11
            if not self.is_origin_form:
                fault = self._split_other_form(self.target)
            if self.has_percent and fault is None and not is_target_path(self.raw_path):
                fault = Fault(400, "the path is not valid percent-encoded UTF-8")
            if self.has_notes and fault is None:
                fault = self._check_notes()
        if fault is not None:
            self._refuse_for(fault)
            return
        self.event = HEAD
        if self.body_left or self._chunks is not None:
            self.has_body = True
            self.state = BODY
        else:
            self.is_whole = True
            self.state = COMPLETE

    def _check_notes(self) -> Any:
        """Return the fault of the fields that steer the connection, or None."""
        self.is_keep_alive = wants_keep_alive(self.connection, self.is_http_11)
        fault = self._check_framing()
        if fault is not None or self.expect is None or not self.is_http_11:
            return fault
        if self.expect.lower() != b"100-continue":
            return Fault(417, "the only expectation that can be met is 100-continue")
        return None

    def _check_framing(self) -> Any:
        """Return the fault of Transfer-Encoding and Content-Length, or None; sets what body there is."""
        if self.transfer_encoding is not None:
            fault = self._fault_of_codings()
            if fault is None:
                settings = self._settings
                self._chunks = ChunkedBody(settings.make_parser, settings.max_fields, self.field_count)
            return fault
        if self.length_count == 0:
            return None
        if self.length_count > 1:
            return Fault(400, "the Content-Length field is repeated")
        length = check_content_length(self.length_field or b"")
        if isinstance(length, Fault):
            return length
        self.content_length = length
        self.body_left = length
        self.has_body = True  # also where it is empty: next_message has something to forget
        return None

    def _fault_of_codings(self) -> Any:
        """Return the fault of a message that has Transfer-Encoding, or None."""
        if self.length_count:
            return Fault(400, "the request has both Transfer-Encoding and Content-Length")
        return check_transfer_encoding(self.transfer_encoding or b"", self.is_http_11)

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

    # The body.

    def _read_body(self, data: bytes, position: int) -> int:
        """Read a body: counted, or as chunks."""
        size = len(data)
        chunks = self._chunks
        if chunks is None:
            stop = size
            if self.body_left < size - position:  # the sum alone could pass 2**63, which wraps around in C
                stop = position + self.body_left
            self.body_left -= stop - position
            self.body_bytes += stop - position
            self.pieces.append(data if position == 0 and stop == size else data[position:stop])
            self.is_whole = self.body_left == 0
        else:
            stop = chunks.read(data, position)
            if chunks.fault is not None:
                self._refuse_for(chunks.fault)
                return size
            self.body_bytes = chunks.body_bytes
            self.is_whole = chunks.is_whole
            if chunks.pieces:
                self.pieces += chunks.pieces
                chunks.pieces = []
        self.has_input_behind = stop < size
        if self.is_whole:
            self.state = COMPLETE
            self.event = END
        elif self.pieces:
            self.event = PIECE
        return stop

    # The parser.

    def _feed(self, piece: bytes) -> bool:
        """Let the parser judge octets of a head; False when it refuses the message."""
        try:
            self._parser.feed_data(piece)
        except self._settings.parser_upgrade:
            pass  # the message is taken as if it had asked for no upgrade (RFC 9110 7.8)
        except Exception as exc:  # noqa: BLE001 - what the parser raises is not public API in full
            self._refuse_for(self._fault_of(str(exc)))
            return False
        return True

    def _fault_of(self, detail: str) -> Any:
        """Say why a head is refused, in Cello's words where it knows the case."""
        if "Transfer-Encoding" in detail:
            head = self.head if self._head is None else bytes(self._head)
            self.scan_fields(head, self.fields_at, len(head))
            if self.transfer_encoding is not None:
                fault = self._fault_of_codings()
                if fault is not None:
                    return fault
        return Fault(400, f"the message cannot be parsed: {detail}")

    def _refuse_for(self, fault: Any) -> None:
        self.fault = fault
        self.event = REFUSED

    def _refuse(self, status: int, detail: str) -> None:
        self._refuse_for(Fault(status, detail))


class _NoCallbacks:
    """What a parser calls back that shall only judge: nothing."""


NO_CALLBACKS = _NoCallbacks()


def _fault_of_connect(target: bytes) -> Fault:
    """Say why CONNECT, which asks a proxy for a tunnel, is refused: RFC 9110 9.3.6, RFC 9112 3.2.3."""
    if is_tunnel_target(target):
        return Fault(405, "CONNECT is not served here")
    return Fault(400, "the target of CONNECT is not a host and a port")
