"""Looking at the head of a message before the parser gets it; the pure twin of heads_c.

``HeadScan.scan`` finds the request line and the end of the header section, and splits the line at its two spaces. It
decides nothing that a parser decides: what is not plainly ``method SP target SP HTTP/1.0 or 1.1`` is LINE_BAD, and
fault_of_line (h1_rules) says why. The scan is one object per process, overwritten by every call.
"""

from __future__ import annotations

from .h1_rules_py import METHODS

LINE_PARTIAL = 0  # no CRLF yet
LINE_BAD = 1  # a whole line, up to line_end, that is refused
FIELDS_PARTIAL = 2  # the line is in order, the header section has no end yet
WHOLE = 3  # the head ends at ``end``

MAX_TARGET_BYTES = 65536

NO_KIND = 0
HOST = 1
CONTENT_LENGTH = 2
TRANSFER_ENCODING = 3
CONNECTION = 4
EXPECT = 5
UPGRADE = 6
PROXY_CONNECTION = 7  # llhttp takes it for Connection

_KINDS: dict[bytes, int] = {
    b"host": HOST,
    b"content-length": CONTENT_LENGTH,
    b"transfer-encoding": TRANSFER_ENCODING,
    b"connection": CONNECTION,
    b"expect": EXPECT,
    b"upgrade": UPGRADE,
    b"proxy-connection": PROXY_CONNECTION,
}

_OWN = frozenset((b"connection", b"keep-alive", b"transfer-encoding", b"upgrade", b"date", b"server"))


class HeadScan:
    """What a scan found.

    ``line_end`` and ``end`` are positions in the data: of the line's CRLF, and behind the CRLF CRLF. ``target`` is the
    whole request target; where it is a path (``is_origin_form``), ``raw_path`` and ``raw_query`` are its parts.
    """

    __slots__ = ("end", "has_percent", "is_http_11", "is_origin_form", "line_end", "method", "raw_path", "raw_query", "target")

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

    def _split_line(self, data: bytes, start: int, stop: int) -> bool:
        space = data.find(b" ", start, stop)
        version_at = stop - 9
        if space < 0 or version_at <= space + 1 or version_at - space - 1 > MAX_TARGET_BYTES:
            return False
        version = data[version_at:stop]
        method = METHODS.get(data[start:space])
        target = data[space + 1 : version_at]
        self.is_http_11 = version == b" HTTP/1.1"
        if method is None or not (self.is_http_11 or version == b" HTTP/1.0") or b" " in target or b"#" in target:
            return False
        self.method = method
        self.target = target
        self.has_percent = b"%" in target
        self.is_origin_form = target[0] == 47 and method != "CONNECT"  # "/"
        if self.is_origin_form:
            self.raw_path, _, self.raw_query = target.partition(b"?")
        return True


def lowered(name: bytes) -> bytes:
    """Return a field name in lower case."""
    return name.lower()


def kind_of(name: bytes) -> int:
    """Tell which of the fields that steer HTTP/1.1 a lower-case name is, or NO_KIND."""
    return _KINDS.get(name, NO_KIND)


def is_own(name: bytes) -> bool:
    """Tell whether a field of an answer is written by the HTTP/1.1 adapter itself, and by nobody else."""
    return name in _OWN


def has_null(raw: bytes) -> bool:
    """Tell whether octets contain ``null``: JSON text without it holds no NaN that became one."""
    return raw.find(b"null") >= 0
