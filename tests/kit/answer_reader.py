"""A strict reader of HTTP/1.1 answers, for judging what a server writes.

It is the opposite of a tolerant client: an answer that a lenient peer would still understand, but that RFC
9112 does not allow a server to generate, is a fault here. It shares no code with Cello, so that a mistake
in the server's framing cannot be undone by the same mistake in its judge.

Reading is a pure function of the octets so far (``read_answer``); ``AnswerReader`` only keeps the octets
that are left over and the methods that were asked, because the answer to HEAD has no body (RFC 9112 6.3
(1)).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, repeat

# RFC 9112 4: status-line = HTTP-version SP status-code SP [ reason-phrase ]
STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-5][0-9]{2}) ([\t \x21-\x7e\x80-\xff]*)")
# RFC 9110 5.1 and 5.5; a server never generates obs-fold.
FIELD_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[\t ]*((?:[\x21-\x7e\x80-\xff][\t ]*)*)")
# RFC 9112 7.1, without extensions: Cello has none to send.
CHUNK_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})\r\n")
LONGEST_HEAD_BYTES = 65536

Fields = tuple[tuple[str, str], ...]


class MalformedAnswer(Exception):
    """The server wrote octets that are not a well-formed answer."""


@dataclass(frozen=True)
class Answer:
    """One answer as it stood on the wire, its body freed of the framing."""

    status: int
    fields: Fields
    body: bytes
    framing: str

    @property
    def is_interim(self) -> bool:
        """Tell whether another answer to the same request follows."""
        return self.status < 200

    def values(self, name: str) -> list[str]:
        """Return the values of every field line with this lower-case name."""
        return [value for field, value in self.fields if field == name]

    def options(self, name: str) -> list[str]:
        """Return the lower-case members of a list-valued field, such as Connection."""
        return [part.strip().lower() for value in self.values(name) for part in value.split(",")]


def read_answer(octets: bytes, method: str, is_eof: bool) -> tuple[Answer, int] | None:
    """Read the answer that the octets start with.

    Returns the answer and the number of octets it took, or None while it is incomplete. ``method`` is the
    request's; ``is_eof`` says that no more will come. Raises MalformedAnswer.
    """
    head_end = octets.find(b"\r\n\r\n")
    if head_end < 0:
        _check_unfinished_head(octets)
        return None
    status, fields = _parse_head(octets[:head_end])
    framing = _framing_of(status, fields, method)
    body = _READERS[framing](octets, head_end + 4, fields, is_eof)
    if body is None:
        return None
    return Answer(status, fields, body[0], framing), body[1]


class AnswerReader:
    """The answers of one connection, read as their octets come in."""

    def __init__(self, methods: Sequence[str] = ()) -> None:
        """Take the methods of the requests in order; whatever is asked beyond them counts as GET."""
        self._methods = chain(methods, repeat("GET"))
        self._method = next(self._methods)
        self._octets = b""

    def feed(self, octets: bytes) -> list[Answer]:
        """Take octets from the wire and return the answers that they complete."""
        self._octets += octets
        return self._read(is_eof=False)

    def finish(self) -> list[Answer]:
        """Return the answer that the end completes; raises MalformedAnswer if one is cut."""
        answers = self._read(is_eof=True)
        if self._octets:
            raise MalformedAnswer(f"the connection ended inside an answer: {self._octets[:200]!r}")
        return answers

    def _read(self, is_eof: bool) -> list[Answer]:
        answers = []
        while self._octets:
            found = read_answer(self._octets, self._method, is_eof)
            if found is None:
                break
            answers.append(found[0])
            self._octets = self._octets[found[1] :]
            if not found[0].is_interim:
                self._method = next(self._methods)
        return answers


def _check_unfinished_head(octets: bytes) -> None:
    start = b"HTTP/1.1 "
    if octets[: len(start)] != start[: len(octets)]:
        raise MalformedAnswer(f"no status line: {octets[:80]!r}")
    if len(octets) > LONGEST_HEAD_BYTES:
        raise MalformedAnswer("a head without end")


def _parse_head(head: bytes) -> tuple[int, Fields]:
    start, *lines = head.split(b"\r\n")
    found = STATUS_LINE.fullmatch(start)
    if found is None:
        raise MalformedAnswer(f"bad status line: {start[:80]!r}")
    return int(found[1]), tuple(_parse_field(line) for line in lines)


def _parse_field(line: bytes) -> tuple[str, str]:
    found = FIELD_LINE.fullmatch(line)
    if found is None:
        raise MalformedAnswer(f"bad field line: {line[:80]!r}")
    return found[1].decode("ascii").lower(), found[2].rstrip(b"\t ").decode("latin-1")


def _framing_of(status: int, fields: Fields, method: str) -> str:
    """Choose how the body is delimited; RFC 9112 6.3, from the sender's side."""
    lengths = [value for name, value in fields if name == "content-length"]
    codings = [value for name, value in fields if name == "transfer-encoding"]
    if lengths and codings:
        raise MalformedAnswer("Content-Length beside Transfer-Encoding")  # RFC 9112 6.2
    if len(lengths) > 1 or any(not re.fullmatch("[0-9]{1,18}", value) for value in lengths):
        raise MalformedAnswer(f"bad Content-Length: {lengths}")
    if codings and codings != ["chunked"]:
        raise MalformedAnswer(f"bad Transfer-Encoding: {codings}")
    if status < 200 or status == 204:
        if lengths or codings:  # RFC 9110 8.6, RFC 9112 6.1
            raise MalformedAnswer(f"{status} with a framing field")
        return "none"
    if status == 304 and codings:
        raise MalformedAnswer("304 with Transfer-Encoding")  # allowed by RFC 9112 6.1, and never of use
    if status == 304 or method == "HEAD":
        return "none"
    return "length" if lengths else "chunked" if codings else "close"


def _read_none(octets: bytes, start: int, fields: Fields, is_eof: bool) -> tuple[bytes, int]:
    return b"", start


def _read_length(octets: bytes, start: int, fields: Fields, is_eof: bool) -> tuple[bytes, int] | None:
    end = start + int(dict(fields)["content-length"])
    return (octets[start:end], end) if len(octets) >= end else None


def _read_close(octets: bytes, start: int, fields: Fields, is_eof: bool) -> tuple[bytes, int] | None:
    return (octets[start:], len(octets)) if is_eof else None


def _read_chunked(octets: bytes, start: int, fields: Fields, is_eof: bool) -> tuple[bytes, int] | None:
    """Read chunks up to the last one; trailers are none of Cello's, so the empty line must follow at once."""
    body: list[bytes] = []
    while True:
        line = _chunk_size_line(octets, start)
        if line is None:
            return None
        size = int(line[1], 16)
        data, end = line.end(), line.end() + size + 2
        if len(octets) < end:
            return None
        if octets[end - 2 : end] != b"\r\n":
            raise MalformedAnswer(f"chunk data not followed by CRLF: {octets[end - 2 : end + 10]!r}")
        if size == 0:
            return b"".join(body), end
        body.append(octets[data : end - 2])
        start = end


def _chunk_size_line(octets: bytes, start: int) -> re.Match[bytes] | None:
    line = CHUNK_SIZE_LINE.match(octets, start)
    if line is None and (b"\r\n" in octets[start:] or len(octets) - start > 16):
        raise MalformedAnswer(f"bad chunk size: {octets[start : start + 20]!r}")
    return line


_BodyReader = Callable[[bytes, int, Fields, bool], tuple[bytes, int] | None]
_READERS: dict[str, _BodyReader] = {
    "none": _read_none,
    "length": _read_length,
    "chunked": _read_chunked,
    "close": _read_close,
}
