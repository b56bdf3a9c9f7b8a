"""Finding what a request's head says; the pure twin of heads_c.

``HeadScan.scan`` looks at octets where a message starts. A *plain* head is whole and in order by the grammar
alone: ``method SP path SP HTTP/1.0 or 1.1`` (RFC 9112 3), then ``token ":" OWS value OWS CRLF`` for each
field (RFC 9112 5, RFC 9110 5.5), and no Transfer-Encoding. Nothing in it can be read in two ways, so no other
parser is asked; what its fields mean is for h1_rules. Of any other head the scan finds the request line and
the end: what is no request line is LINE_BAD, and fault_of_line (h1_rules) says why; fields that are not plain
are for the parser to refuse or accept, after which ``scan_fields`` notes them.

PERF: httptools takes 2,000 instructions for the head of a small request, and hands over every field as two
objects by a call of its own, wanted or not: 700 more. A plain head's fields cost 100 instructions each, until
a handler asks for them.
"""

from __future__ import annotations

import re

from .h1_rules_py import METHODS

LINE_PARTIAL = 0  # no CRLF yet
LINE_BAD = 1  # a whole line, up to line_end, that is refused
FIELDS_PARTIAL = 2  # the line is in order, the header section has no end yet
WHOLE = 3  # the head ends at ``end``; its fields are not looked at yet
PLAIN = 4  # the head ends at ``end``, and is in order; its fields are noted

MAX_TARGET_BYTES = 65536

_OWN = frozenset((b"connection", b"keep-alive", b"transfer-encoding", b"upgrade", b"date", b"server"))

# Every octet has one place only, so that no two ways lead to the same head: linear in its input.
_LINE = rb"([A-Z-]++) (/[!\"$-~]*+) HTTP/1\.([01])\r\n"
_NAME = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_VALUE = rb"[\t -~\x80-\xff]*+"
_STEERING = rb"(?i:host|connection|content-length|transfer-encoding|expect):"
_OTHERS = rb"(?:(?!%b)%b:%b\r\n)*" % (_STEERING, _NAME, _VALUE)

_match_plain = re.compile(rb"%b((?:%b:%b\r\n)*)\r\n" % (_LINE, _NAME, _VALUE)).match

# PERF: most heads have no more to note than one Host, and perhaps Connection behind it. This finds them with
# the match alone, in a third of the time that a look at each field takes.
_match_usual = re.compile(
    rb"%b(%b(?i:host):(%b)\r\n%b(?:(?i:connection):(%b)\r\n%b)?)\r\n"
    % (_LINE, _OTHERS, _VALUE, _OTHERS, _VALUE, _OTHERS)
).match


class HeadScan:
    """What a scan found.

    ``line_end`` and ``end`` are positions in the data: of the line's CRLF, and behind the CRLF CRLF.
    ``target`` is the whole request target; where it is a path (``is_origin_form``), ``raw_path`` and
    ``raw_query`` are its parts. The rest is what was noted of the fields, None for one that is not there:
    ``connection``, ``transfer_encoding`` and ``expect`` joined by commas where they are repeated, of ``host``
    and ``length_field`` (Content-Length) the last, and how many there are. ``has_notes``: there is one beside
    Host.
    """

    __slots__ = (
        "connection",
        "end",
        "expect",
        "field_count",
        "has_notes",
        "has_percent",
        "host",
        "host_count",
        "is_http_11",
        "is_origin_form",
        "length_count",
        "length_field",
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
        self.field_count = 0
        self.host: bytes | None = None
        self.host_count = 0
        self._forget_notes()

    def _forget_notes(self) -> None:
        self.has_notes = False
        self.connection: bytes | None = None
        self.length_field: bytes | None = None
        self.length_count = 0
        self.transfer_encoding: bytes | None = None
        self.expect: bytes | None = None

    def scan(self, data: bytes, position: int) -> int:
        """Look at the data from a position on, where a message starts; returns one of the states above."""
        match = _match_usual(data, position)
        if match is not None:
            name, target, minor, section, host, connection = match.groups()
            if self.has_notes:
                self._forget_notes()
            self.host = host.strip(b" \t")
            self.host_count = 1
            self.field_count = section.count(b"\n")
            if connection is not None:
                self.has_notes = True
                self.connection = connection.strip(b" \t")
        else:
            match = _match_plain(data, position)
            if match is None:
                return self._scan_other(data, position)
            name, target, minor, section = match.groups()
            self._note_fields(section)
            if self.transfer_encoding is not None:
                return self._scan_other(data, position)
        method = METHODS.get(name)
        if method is None or method == "CONNECT" or len(target) > MAX_TARGET_BYTES:
            return self._scan_other(data, position)
        self.end = end = match.end()
        self.line_end = end - len(section) - 4
        self.method = method
        self.target = target
        self.has_percent = 37 in target  # "%"
        self.is_http_11 = minor == b"1"
        self.is_origin_form = True
        self.raw_path, _, self.raw_query = target.partition(b"?")
        return PLAIN

    def _scan_other(self, data: bytes, position: int) -> int:
        """Find the request line and the end of a head that is not plain."""
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
        """Count the field lines of ``head[start:stop]`` and note those that steer HTTP/1.1."""
        self._note_fields(head[start:stop])

    def _note_fields(self, section: bytes) -> None:
        if self.has_notes:
            self._forget_notes()
        count = 0
        host = None
        host_count = 0
        for line in section.split(b"\r\n"):
            name, colon, value = line.partition(b":")
            if colon:
                count += 1
                name = name.lower()
                if name == b"host":
                    host = value.strip(b" \t")
                    host_count += 1
                elif name in _NOTES:
                    self.has_notes = True
                    _NOTES[name](self, value.strip(b" \t"))
        self.field_count = count
        self.host = host
        self.host_count = host_count

    def _note_connection(self, value: bytes) -> None:
        self.connection = _joined(self.connection, value)

    def _note_length(self, value: bytes) -> None:
        self.length_field = value
        self.length_count += 1

    def _note_transfer_encoding(self, value: bytes) -> None:
        self.transfer_encoding = _joined(self.transfer_encoding, value)

    def _note_expect(self, value: bytes) -> None:
        self.expect = _joined(self.expect, value)

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
            or 32 in target
            or 35 in target  # "#"
        ):
            return False
        self.method = method
        self.target = target
        self.has_percent = 37 in target
        self.is_origin_form = target[0] == 47 and method != "CONNECT"  # "/"
        if self.is_origin_form:
            self.raw_path, _, self.raw_query = target.partition(b"?")
        return True


_NOTES = {
    b"connection": HeadScan._note_connection,
    b"content-length": HeadScan._note_length,
    b"transfer-encoding": HeadScan._note_transfer_encoding,
    b"expect": HeadScan._note_expect,
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


def find_field(head: bytes, start: int, stop: int, name: bytes) -> bytes | None:
    """Return what `split_fields` finds under a lower-case name, several values joined by ", ", or None.

    PERF: most requests lack most fields, and one search tells.
    """
    if name not in head.lower():
        return None
    values = [field[1] for field in split_fields(head, start, stop) if field[0] == name]
    return b", ".join(values) if values else None


is_own = _OWN.__contains__
"""Tell whether a field of an answer is written by the HTTP/1.1 adapter itself, and by nobody else."""

has_null = re.compile(rb"null").search
"""Tell whether octets contain ``null``: JSON text without it holds no NaN that became one.

PERF: half of what ``b"null" in raw`` takes, which first tries to read the needle as a number.
"""
