"""HTTP/1.1 answers as octets: the head with its body, and chunks.

Written twice: wire_c.pyx allocates once and copies. Names and values are taken as they are: whoever made the
fields has checked that no CR, LF or NUL is in them. Wrong types are a TypeError, never broken framing.
"""

from __future__ import annotations

from ..status import phrase_of
from ..types import Fields

_LENGTH_LIMIT = 2**63


def _status_line(status: int) -> bytes:
    return f"HTTP/1.1 {status} {phrase_of(status)}\r\n".encode("ascii")


# PERF: rendered once; a dict lookup takes the place of formatting and encoding per answer.
_STATUS_LINES = {status: _status_line(status) for status in range(100, 600)}


def render(status: int, fields: Fields, common: bytes, length: int, body: bytes) -> bytes:
    """Render a head and a body (RFC 9112 2.1).

    `common` holds field lines that end in CRLF already. `length` is the Content-Length to announce, and a
    negative one announces none; it is not compared with the body, which is empty in answers to HEAD. Raises
    TypeError for a wrong type, ValueError for a status outside 100 to 999 or a length of 2**63 and more.
    """
    # PERF: the usual types are seen at once; what is not usual is checked, and named, one by one.
    if (
        type(status) is type(length) is int
        and type(common) is type(body) is bytes
        and type(fields) is list
        and length < _LENGTH_LIMIT
        and status in _STATUS_LINES
    ):
        head = _STATUS_LINES[status]
        for field in fields:
            if type(field) is not tuple or len(field) != 2:
                break
            name, value = field
            if not (type(name) is type(value) is bytes):
                break
            head += b"%b: %b\r\n" % field
        else:
            if length >= 0:
                return b"%b%bcontent-length: %d\r\n\r\n%b" % (head, common, length, body)
            return b"%b%b\r\n%b" % (head, common, body)
    return _render_checked(status, fields, common, length, body)


def _render_checked(status: int, fields: Fields, common: bytes, length: int, body: bytes) -> bytes:
    _require(isinstance(status, int), "status", "an int", status)
    _require(isinstance(fields, list), "fields", "a list", fields)
    _require(isinstance(common, bytes), "common", "bytes", common)
    _require(isinstance(length, int), "length", "an int", length)
    _require(isinstance(body, bytes), "body", "bytes", body)
    if not 100 <= status <= 999:
        raise ValueError(f"expected a status from 100 to 999, got {status}")
    if length >= _LENGTH_LIMIT:
        raise ValueError(f"expected a length below 2**63, got {length}")
    parts = [_STATUS_LINES.get(status) or _status_line(status)]
    for field in fields:
        name, value = _split(field)
        parts += (name, b": ", value, b"\r\n")
    parts.append(common)
    if length >= 0:
        parts.append(b"content-length: %d\r\n" % length)
    parts += (b"\r\n", body)
    return b"".join(parts)


def chunk(data: bytes) -> bytes:
    """Render one chunk: its size in hexadecimal, CRLF, the data, CRLF (RFC 9112 7.1).

    No data gives `0 CRLF CRLF`, which is the last chunk and an empty trailer section: it ends the body.
    """
    _require(isinstance(data, bytes), "data", "bytes", data)
    return b"%x\r\n%b\r\n" % (len(data), data)


def _split(field: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    _require(isinstance(field, tuple) and len(field) == 2, "a field", "a tuple of two", field)
    name, value = field
    _require(isinstance(name, bytes), "a field name", "bytes", name)
    _require(isinstance(value, bytes), "a field value", "bytes", value)
    return name, value


def _require(is_right: bool, what: str, expected: str, got: object) -> None:
    if not is_right:
        raise TypeError(f"expected {what} to be {expected}, got {type(got).__name__}")
