"""HTTP/1.1 answers as octets: what RFC 9112 wants, and both twins equal."""

from __future__ import annotations

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cello.status import PHRASES

SUBJECT = "wire"

FIELDS = st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=40)), max_size=12)
LENGTHS = st.one_of(
    st.integers(-2, 2), st.integers(-(2**70), 2**70), st.sampled_from([2**63 - 1, 2**63, -(2**63) - 1])
)
STATUSES = st.one_of(st.integers(95, 1005), st.integers(-(2**70), 2**70))
JUNK = st.sampled_from([None, "text", 1.0, b"octets", bytearray(b"a"), memoryview(b"a"), [], (), {}, 7, True])
JUNK_FIELD = st.one_of(
    JUNK,
    st.tuples(JUNK, JUNK),
    st.sampled_from([(b"a",), (b"a", b"b", b"c"), [b"a", b"b"], (b"a", "b"), ("a", b"b"), b"ab"]),
)


class Collector:
    """What an independent parser makes of an answer."""

    def __init__(self, octets: bytes) -> None:
        self.fields: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.phrase = b""
        self.is_complete = False
        self.parser = httptools.HttpResponseParser(self)
        self.parser.feed_data(octets)

    def on_status(self, phrase: bytes) -> None:
        self.phrase += phrase

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value))

    def on_body(self, piece: bytes) -> None:
        self.body += piece

    def on_message_complete(self) -> None:
        self.is_complete = True


# --- both twins are equal ---


@given(
    status=STATUSES,
    fields=FIELDS,
    common=st.binary(max_size=60),
    length=LENGTHS,
    body=st.binary(max_size=300),
)
def test_twins_agree(same, status, fields, common, length, body):
    same("render", status, fields, common, length, body)


@given(data=st.data(), position=st.integers(0, 4), junk=JUNK)
def test_twins_agree_on_wrong_types(same, data, position, junk):
    args = [200, [(b"a", b"b")], b"c: d\r\n", 3, b"abc"]
    args[position] = junk
    same("render", *args)


@given(fields=st.lists(st.one_of(st.just((b"a", b"b")), JUNK_FIELD), max_size=4))
def test_twins_agree_on_what_is_no_field(same, fields):
    same("render", 200, fields, b"", 0, b"")


def test_twins_agree_on_every_status(same):
    for status in range(90, 1010):
        same("render", status, [], b"", -1, b"")


@given(data=st.binary())
def test_twins_agree_on_chunks(same, data):
    same("chunk", data)


# --- RFC 9112 2.1, 4: the head ---


def test_render(twin):
    fields = [(b"content-type", b"text/plain"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2"), (b"x", b"")]
    common = b"server: cello\r\ndate: Sat, 22 Nov 2025 10:00:00 GMT\r\n"
    assert twin.render(200, fields, common, 5, b"hello") == (
        b"HTTP/1.1 200 OK\r\n"
        b"content-type: text/plain\r\n"
        b"set-cookie: a=1\r\n"
        b"set-cookie: b=2\r\n"
        b"x: \r\n"
        b"server: cello\r\n"
        b"date: Sat, 22 Nov 2025 10:00:00 GMT\r\n"
        b"content-length: 5\r\n"
        b"\r\n"
        b"hello"
    )


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (100, b"HTTP/1.1 100 Continue"),
        (204, b"HTTP/1.1 204 No Content"),
        (299, b"HTTP/1.1 299 Unknown Status"),
        (413, b"HTTP/1.1 413 Content Too Large"),
        (599, b"HTTP/1.1 599 Unknown Status"),
        (600, b"HTTP/1.1 600 Unknown Status"),
        (999, b"HTTP/1.1 999 Unknown Status"),
        *((status, f"HTTP/1.1 {status} {phrase}".encode()) for status, phrase in PHRASES.items()),
    ],
)
def test_status_line(twin, status, line):
    assert twin.render(status, [], b"", -1, b"") == line + b"\r\n\r\n"


@pytest.mark.parametrize(
    ("length", "line"),
    [
        (-1, b""),
        (-(2**80), b""),
        (0, b"content-length: 0\r\n"),
        (9, b"content-length: 9\r\n"),
        (10, b"content-length: 10\r\n"),
        (1234567890, b"content-length: 1234567890\r\n"),
        (2**63 - 1, b"content-length: 9223372036854775807\r\n"),
    ],
)
def test_content_length_is_what_was_announced(twin, length, line):
    assert twin.render(200, [], b"", length, b"") == b"HTTP/1.1 200 OK\r\n" + line + b"\r\n"


@pytest.mark.parametrize("size", [1, 65535, 65536, 65537, 3_000_000])
def test_body_of_any_size_follows_the_head(twin, size):
    body = bytes(range(256)) * (size // 256 + 1)
    body = body[:size]
    answer = twin.render(200, [(b"a", b"b")], b"", size, body)
    head, _, rest = answer.partition(b"\r\n\r\n")
    assert head == b"HTTP/1.1 200 OK\r\na: b\r\ncontent-length: %d" % size
    assert rest == body


def test_many_and_long_fields(twin):
    fields = [(b"name-%d" % number, b"v" * number * 100) for number in range(300)]
    lines = b"".join(b"%b: %b\r\n" % field for field in fields)
    assert twin.render(200, fields, b"", -1, b"") == b"HTTP/1.1 200 OK\r\n" + lines + b"\r\n"


@given(
    status=st.sampled_from([200, 201, 404, 500, 503]),
    fields=st.lists(
        st.tuples(
            st.from_regex(rb"x-[a-z0-9]{1,9}", fullmatch=True), st.from_regex(rb"[!-~]{1,30}", fullmatch=True)
        ),
        max_size=8,
    ),
    body=st.binary(max_size=200),
)
def test_an_independent_parser_reads_the_same(twin, status, fields, body):
    read = Collector(twin.render(status, fields, b"server: cello\r\n", len(body), body))
    assert read.parser.get_status_code() == status
    assert read.phrase == PHRASES[status].encode()
    assert read.fields == [*fields, (b"server", b"cello"), (b"content-length", b"%d" % len(body))]
    assert read.body == body
    assert read.is_complete


@pytest.mark.parametrize("status", [99, 1000, 0, -200, 10**30, -(10**30), True])
def test_status_out_of_range(twin, status):
    with pytest.raises(ValueError, match=r"^expected a status from 100 to 999, got -?\w+$"):
        twin.render(status, [], b"", 0, b"")


@pytest.mark.parametrize("length", [2**63, 2**64, 10**30])
def test_length_out_of_range(twin, length):
    with pytest.raises(ValueError, match=rf"^expected a length below 2\*\*63, got {length}$"):
        twin.render(200, [], b"", length, b"")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("200", [], b"", 0, b""), "expected status to be an int, got str"),
        ((200.0, [], b"", 0, b""), "expected status to be an int, got float"),
        ((200, None, b"", 0, b""), "expected fields to be a list, got NoneType"),
        ((200, (), b"", 0, b""), "expected fields to be a list, got tuple"),
        ((200, [], "", 0, b""), "expected common to be bytes, got str"),
        ((200, [], b"", None, b""), "expected length to be an int, got NoneType"),
        ((200, [], b"", 0, "text"), "expected body to be bytes, got str"),
        ((200, [], b"", 0, None), "expected body to be bytes, got NoneType"),
        ((200, [], b"", 0, bytearray(b"a")), "expected body to be bytes, got bytearray"),
        ((200, [None], b"", 0, b""), "expected a field to be a tuple of two, got NoneType"),
        ((200, [b"ab"], b"", 0, b""), "expected a field to be a tuple of two, got bytes"),
        ((200, [(b"a",)], b"", 0, b""), "expected a field to be a tuple of two, got tuple"),
        ((200, [(b"a", b"b", b"c")], b"", 0, b""), "expected a field to be a tuple of two, got tuple"),
        ((200, [("a", b"b")], b"", 0, b""), "expected a field name to be bytes, got str"),
        ((200, [(b"a", b"b"), (b"a", "b")], b"", 0, b""), "expected a field value to be bytes, got str"),
    ],
)
def test_wrong_types(twin, args, message):
    with pytest.raises(TypeError) as caught:
        twin.render(*args)
    assert str(caught.value) == message


# --- RFC 9112 7.1: chunk = chunk-size CRLF chunk-data CRLF ---


@pytest.mark.parametrize(
    ("size", "line"),
    [
        (1, b"1"),
        (9, b"9"),
        (10, b"a"),
        (15, b"f"),
        (16, b"10"),
        (255, b"ff"),
        (256, b"100"),
        (65536, b"10000"),
    ],
)
def test_chunk(twin, size, line):
    assert twin.chunk(b"x" * size) == line + b"\r\n" + b"x" * size + b"\r\n"


def test_empty_chunk_is_the_last(twin):
    assert twin.chunk(b"") == b"0\r\n\r\n"


@given(pieces=st.lists(st.binary(min_size=1, max_size=80), max_size=8))
def test_an_independent_parser_joins_the_chunks(twin, pieces):
    head = twin.render(200, [(b"transfer-encoding", b"chunked")], b"", -1, b"")
    read = Collector(head + b"".join(map(twin.chunk, pieces)) + twin.chunk(b""))
    assert read.body == b"".join(pieces)
    assert read.is_complete


@pytest.mark.parametrize("wrong", [None, "text", bytearray(b"a"), memoryview(b"a"), 3])
def test_chunk_takes_bytes_only(same, wrong):
    assert same("chunk", wrong) == (
        "raised",
        TypeError,
        f"expected data to be bytes, got {type(wrong).__name__}",
    )
