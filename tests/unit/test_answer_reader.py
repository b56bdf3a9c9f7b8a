"""The strict reader of answers: what it reads, and above all what it refuses to read."""

from __future__ import annotations

import pytest

from tests.kit.answer_reader import Answer, AnswerReader, MalformedAnswer, read_answer

GOOD = b"HTTP/1.1 200 OK\r\nServer: cello\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nA\r\n0123456789\r\n0\r\n\r\n"


def read_all(octets: bytes, methods: tuple[str, ...] = (), is_eof: bool = True) -> list[Answer]:
    reader = AnswerReader(methods)
    answers = reader.feed(octets)
    return answers + (reader.finish() if is_eof else [])


def test_content_length() -> None:
    (answer,) = read_all(GOOD)
    assert (answer.status, answer.body, answer.framing) == (200, b"hello", "length")
    assert answer.values("server") == ["cello"]


def test_chunked() -> None:
    (answer,) = read_all(CHUNKED)
    assert (answer.body, answer.framing) == (b"hello0123456789", "chunked")


def test_close_delimited_only_at_the_end() -> None:
    octets = b"HTTP/1.1 200 OK\r\n\r\nhello"
    assert read_answer(octets, "GET", is_eof=False) is None
    (answer,) = read_all(octets)
    assert (answer.body, answer.framing) == (b"hello", "close")


@pytest.mark.parametrize(
    ("octets", "method"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "HEAD"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HEAD"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "GET"),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "GET"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "POST"),
    ],
)
def test_bodiless(octets: bytes, method: str) -> None:
    answers = read_all(octets, (method,), is_eof=False)
    assert [answer.framing for answer in answers] == ["none"]


def test_head_uses_up_its_method_and_interim_answers_do_not() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
    answers = read_all(b"HTTP/1.1 100 Continue\r\n\r\n" + head + GOOD, ("HEAD", "GET"))
    assert [(answer.status, answer.body) for answer in answers] == [(100, b""), (200, b""), (200, b"hello")]


def test_every_split_reads_the_same() -> None:
    octets = GOOD + CHUNKED + GOOD.replace(b"200 OK", b"400 Bad Request")
    reader = AnswerReader()
    answers = [answer for octet in octets for answer in reader.feed(bytes([octet]))]
    assert answers + reader.finish() == read_all(octets)
    assert [answer.status for answer in answers] == [200, 200, 400]


@pytest.mark.parametrize(
    "octets",
    [
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 200\r\n\r\n",
        b"HTTP/1.1  200 OK\r\n\r\n",
        b"HTTP/1.1 999 OK\r\n\r\n",
        b"HTTP/1.1 200 O\x00K\r\n\r\n",
        b"http/1.1 200 OK\r\n\r\n",
        b"\r\nHTTP/1.1 200 OK\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 200 OK\nA: b\n\n\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n: b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\nC: d\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: \x00\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: \x7f\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloxx0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n00000000000000005",
        b"HTTP/1.1 200 OK\r\nA: " + b"b" * 70000,
    ],
)
def test_refuses(octets: bytes) -> None:
    with pytest.raises(MalformedAnswer):
        read_all(octets, is_eof=False)


@pytest.mark.parametrize(
    "octets",
    [
        b"HTTP/1.1 20",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
    ],
)
def test_refuses_what_is_cut(octets: bytes) -> None:
    reader = AnswerReader()
    assert reader.feed(octets) == []
    with pytest.raises(MalformedAnswer, match="ended inside"):
        reader.finish()


def test_refuses_a_body_behind_head() -> None:
    with pytest.raises(MalformedAnswer):
        read_all(GOOD, ("HEAD",))
