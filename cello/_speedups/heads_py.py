"""Looking at the head of a message before the parser gets it; the pure twin of heads_c.

``HeadScan.scan`` finds the request line and the end of the header section, and splits the line at its two
spaces. It decides nothing that a parser decides: what is not plainly ``method SP target SP HTTP/1.0 or 1.1``
is LINE_BAD, and fault_of_line (h1_rules) says why. ``scan_fields`` and ``split_fields`` look at a header
section that the parser has accepted. The scan is one object per process, overwritten by every call.

PERF: httptools would hand over every field as two objects by a call of its own, wanted or not: 700
instructions a field. Found here, a field costs 40 until a handler asks for the headers.
"""

from __future__ import annotations

from .h1_rules_py import METHODS

LINE_PARTIAL = 0  # no CRLF yet
LINE_BAD = 1  # a whole line, up to line_end, that is refused
FIELDS_PARTIAL = 2  # the line is in order, the header section has no end yet
WHOLE = 3  # the head ends at ``end``

MAX_TARGET_BYTES = 65536

_OWN = frozenset((b"connection", b"keep-alive", b"transfer-encoding", b"upgrade", b"date", b"server"))


class HeadScan:
    """What a scan found.

    ``line_end`` and ``end`` are positions in the data: of the line's CRLF, and behind the CRLF CRLF.
    ``target`` is the whole request target; where it is a path (``is_origin_form``), ``raw_path`` and
    ``raw_query`` are its parts. From ``field_count`` on: what ``scan_fields`` found, None where a field is
    not there, joined by commas where it is repeated.
    """

    __slots__ = (
        "connection",
        "content_length",
        "end",
        "expect",
        "field_count",
        "has_percent",
        "has_proxy_connection",
        "host",
        "host_count",
        "is_http_11",
        "is_origin_form",
        "line_end",
        "method",
        "raw_path",
        "raw_query",
        "target",
        "transfer_encoding",
    )

    def __init__(self) -> None:
        self.end = 0
        self.line_end = 0
        self.has_percent = False
        self.is_http_11 = True
        self.is_origin_form = True
        self.method = ""
        self.target = b""
        self.raw_path = b""
        self.raw_query = b""
        self._forget_fields()

    def _forget_fields(self) -> None:
        self.field_count = 0
        self.host: bytes | None = None
        self.host_count = 0
        self.connection: bytes | None = None
        self.content_length: bytes | None = None
        self.transfer_encoding: bytes | None = None
        self.expect: bytes | None = None
        self.has_proxy_connection = False

    def scan(self, data: bytes, position: int) -> int:
        """Look at the data from a position on, where a message starts; returns one of the states above."""
        line_end = data.find(b"\r\n", position)
        if line_end < 0:
            return LINE_PARTIAL
        self.line_end = line_end
        if not self._split_line(data, position, line_end):
            return LINE_BAD
        end = data.find(b"\r\n\r\n", line_end)
        if end < 0:
            return FIELDS_PARTIAL
        self.end = end + 4
        return WHOLE

    def scan_fields(self, head: bytes, start: int, stop: int) -> None:
        """Count the field lines of ``head[start:stop]`` and keep those that steer HTTP/1.1."""
        self._forget_fields()
        count = 0
        for line in head[start:stop].split(b"\r\n"):
            name, colon, value = line.partition(b":")
            if colon:
                count += 1
                note = _NOTES.get(name.lower())
                if note is not None:
                    note(self, value.strip(b" \t"))
        self.field_count = count

    def _note_host(self, value: bytes) -> None:
        self.host = value
        self.host_count += 1

    def _note_connection(self, value: bytes) -> None:
        self.connection = _joined(self.connection, value)

    def _note_content_length(self, value: bytes) -> None:
        self.content_length = value

    def _note_transfer_encoding(self, value: bytes) -> None:
        self.transfer_encoding = _joined(self.transfer_encoding, value)

    def _note_expect(self, value: bytes) -> None:
        self.expect = _joined(self.expect, value)

    def _note_proxy_connection(self, value: bytes) -> None:
        self.has_proxy_connection = True

    def _split_line(self, data: bytes, start: int, stop: int) -> bool:
        space = data.find(b" ", start, stop)
        version_at = stop - 9
        if space < 0 or version_at <= space + 1 or version_at - space - 1 > MAX_TARGET_BYTES:
            return False
        version = data[version_at:stop]
        method = METHODS.get(data[start:space])
        target = data[space + 1 : version_at]
        self.is_http_11 = version == b" HTTP/1.1"
        if (
            method is None
            or not (self.is_http_11 or version == b" HTTP/1.0")
            or b" " in target
            or b"#" in target
        ):
            return False
        self.method = method
        self.target = target
        self.has_percent = b"%" in target
        self.is_origin_form = target[0] == 47 and method != "CONNECT"  # "/"
        if self.is_origin_form:
            self.raw_path, _, self.raw_query = target.partition(b"?")
        return True


_NOTES = {
    b"host": HeadScan._note_host,
    b"connection": HeadScan._note_connection,
    b"content-length": HeadScan._note_content_length,
    b"transfer-encoding": HeadScan._note_transfer_encoding,
    b"expect": HeadScan._note_expect,
    b"proxy-connection": HeadScan._note_proxy_connection,  # llhttp takes it for Connection
}


def _joined(before: bytes | None, value: bytes) -> bytes:
    return value if before is None else before + b"," + value


def split_fields(head: bytes, start: int, stop: int) -> list[tuple[bytes, bytes]]:
    """Split a header section that the parser has accepted into fields: lower-case names, trimmed values.

    ``head[start:stop]`` are whole lines, up to and with the empty line that ends the section.
    """
    fields = []
    for line in head[start:stop].split(b"\r\n"):
        name, colon, value = line.partition(b":")
        if colon:
            fields.append((name.lower(), value.strip(b" \t")))
    return fields


def is_own(name: bytes) -> bool:
    """Tell whether a field of an answer is written by the HTTP/1.1 adapter itself, and by nobody else."""
    return name in _OWN


def has_null(raw: bytes) -> bool:
    """Tell whether octets contain ``null``: JSON text without it holds no NaN that became one."""
    return raw.find(b"null") >= 0
