"""Streamed answers: pieces, failures before and after the head, declared lengths."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from cello import App, HTTPError, Response
from tests.kit.adapters import BrokenAnswerError

KINDS = pytest.mark.parametrize("kind", ["thread", "loop", "async"])
PATIENCE_SECONDS = 10.0


def streaming(kind: str, pieces: Any, **options: Any) -> App:
    """Return an application that streams ``pieces()`` from a generator of a kind.

    ``options`` are Response.stream's.
    """
    app = App()

    async def as_async() -> Any:
        for piece in pieces():
            yield piece

    def handle(request: Any) -> Any:
        body = as_async() if kind == "async" else pieces()
        return Response.stream(body, **options) if options else body

    app.get("/", blocking=kind != "loop")(handle)
    app.get("/next")(lambda request: "next")
    return app


def raise_from(error: BaseException) -> Iterator[str]:
    """Be an iterator that fails at its first step."""
    raise error


@KINDS
def test_pieces_of_every_type(serve: Any, kind: str) -> None:
    app = streaming(
        kind, lambda: iter([b"bytes ", "caf\u00e9 ", bytearray(b"array "), memoryview(b"view"), b"", ""])
    )
    assert serve(app).get("/").body == "bytes caf\u00e9 array view".encode()


@KINDS
def test_first_piece_decides_between_text_and_octets(serve: Any, kind: str) -> None:
    assert (
        serve(streaming(kind, lambda: iter(["text"]))).get("/").get("content-type")
        == "text/plain; charset=utf-8"
    )
    assert (
        serve(streaming(kind, lambda: iter([b"octets"]))).get("/").get("content-type")
        == "application/octet-stream"
    )
    chosen = streaming(kind, lambda: iter(["a,b"]), content_type="text/csv")
    assert serve(chosen).get("/").get("content-type") == "text/csv"


@KINDS
def test_empty_stream(serve: Any, kind: str) -> None:
    client = serve(streaming(kind, lambda: iter(())))
    for _ in range(2):
        answer = client.get("/")
        assert (answer.status, answer.body) == (200, b"")


@KINDS
def test_many_small_pieces(serve: Any, kind: str) -> None:
    client = serve(streaming(kind, lambda: (str(number % 10) for number in range(2000))))
    assert client.get("/").text == "0123456789" * 200


@KINDS
@pytest.mark.parametrize(
    "error", [ValueError("the bug"), KeyboardInterrupt(), asyncio.CancelledError()], ids=repr
)
def test_first_piece_that_fails_is_a_500(serve: Any, log: Any, kind: str, error: BaseException) -> None:
    def pieces() -> Iterator[str]:
        yield from raise_from(error)

    client = serve(streaming(kind, pieces))
    assert client.get("/").status == 500
    assert repr(error).rstrip(")'(").split("(")[0] in log.wait_for("GET / failed in")
    assert client.get("/next").text == "next"


@KINDS
def test_first_piece_may_raise_an_http_error(serve: Any, kind: str) -> None:
    def pieces() -> Iterator[str]:
        yield from raise_from(HTTPError(404, "no such file"))

    answer = serve(streaming(kind, pieces)).get("/")
    assert (answer.status, answer.json()["detail"]) == (404, "no such file")


@KINDS
@pytest.mark.parametrize("piece", [5, None, {"a": 1}, ["x"]], ids=repr)
def test_first_piece_of_a_wrong_type_is_a_500(serve: Any, log: Any, kind: str, piece: Any) -> None:
    assert serve(streaming(kind, lambda: iter([piece]))).get("/").status == 500
    assert f"yields bytes or str, got {type(piece).__name__}" in log.text


@KINDS
@pytest.mark.parametrize("has_length", [False, True])
def test_later_piece_that_fails_breaks_the_message(serve: Any, log: Any, kind: str, has_length: bool) -> None:
    def pieces() -> Iterator[str]:
        yield "first"
        raise ValueError("the bug")

    options = {"headers": {"Content-Length": 10}} if has_length else {}
    client = serve(streaming(kind, pieces, **options))
    with pytest.raises(BrokenAnswerError):
        client.get("/")
    assert "ValueError: the bug" in log.wait_for("GET / failed in")
    assert client.get("/next").text == "next"


@KINDS
def test_later_piece_of_a_wrong_type_breaks_the_message(serve: Any, log: Any, kind: str) -> None:
    client = serve(streaming(kind, lambda: iter(["first", 5])))
    with pytest.raises(BrokenAnswerError):
        client.get("/")
    assert "yields bytes or str, got int" in log.wait_for("GET / failed in")


@KINDS
def test_declared_length(serve: Any, kind: str) -> None:
    client = serve(streaming(kind, lambda: iter([b"ab", b"", b"cd", b""]), headers={"Content-Length": 4}))
    for _ in range(2):
        answer = client.get("/")
        assert (answer.body, answer.all("content-length"), answer.all("transfer-encoding")) == (
            b"abcd",
            ["4"],
            [],
        )


@KINDS
@pytest.mark.parametrize(
    ("pieces", "said"),
    [
        ([b"ab"], "has 2 bytes, its Content-Length says 4"),
        ([b"ab", b"cde"], "longer than its Content-Length of 4"),
        ([b"ab", b"cd", b"", b"e"], "longer than its Content-Length of 4"),
    ],
)
def test_stream_that_misses_its_length_is_broken(
    serve: Any, log: Any, kind: str, pieces: Any, said: str
) -> None:
    client = serve(streaming(kind, lambda: iter(pieces), headers={"Content-Length": 4}))
    with pytest.raises(BrokenAnswerError):
        client.get("/")
    assert said in log.wait_for("GET / failed in")
    assert client.get("/next").text == "next"


@KINDS
@pytest.mark.parametrize(
    ("pieces", "said"),
    [
        ([], "has 0 bytes, its Content-Length says 4"),
        ([b"abcde"], "longer than its Content-Length of 4"),
        ([b"abcd", b"e"], "longer than its Content-Length of 4"),
    ],
)
def test_stream_that_misses_its_length_at_once_is_a_500(
    serve: Any, log: Any, kind: str, pieces: Any, said: str
) -> None:
    client = serve(streaming(kind, lambda: iter(pieces), headers={"Content-Length": 4}))
    assert client.get("/").status == 500
    assert said in log.wait_for("GET / failed in")


@KINDS
def test_head_has_the_declared_length_and_starts_nothing(serve: Any, kind: str) -> None:
    started: list[str] = []

    def pieces() -> Iterator[bytes]:
        started.append("x")
        yield b"abcd"

    client = serve(streaming(kind, pieces, headers={"Content-Length": 4}))
    for _ in range(2):
        answer = client.head("/")
        assert (answer.status, answer.body, answer.get("content-length")) == (200, b"", "4")
    assert started == []


@KINDS
def test_generator_is_closed_after_its_last_piece_and_after_a_failure(
    serve: Any, log: Any, kind: str
) -> None:
    closed = threading.Semaphore(0)

    def pieces() -> Iterator[Any]:
        try:
            yield "one"
            yield ends.pop()
        finally:
            closed.release()

    ends: list[Any] = [5, "two"]
    client = serve(streaming(kind, pieces))
    assert client.get("/").text == "onetwo"
    assert closed.acquire(timeout=PATIENCE_SECONDS)
    with pytest.raises(BrokenAnswerError):
        client.get("/")
    assert closed.acquire(timeout=PATIENCE_SECONDS)


def test_failing_close_of_a_generator_is_logged(serve: Any, log: Any) -> None:
    def pieces() -> Iterator[Any]:
        try:
            yield "one"
            yield 5
        finally:
            raise RuntimeError("cannot clean up")

    client = serve(streaming("thread", pieces))
    with pytest.raises(BrokenAnswerError):
        client.get("/")
    assert "RuntimeError: cannot clean up" in log.wait_for("closing a streamed body failed")


def test_pieces_arrive_as_they_are_made(serve: Any, adapter: str) -> None:
    """The second piece is made only when the client has seen the first."""
    if adapter == "testclient":
        pytest.skip("it hands over whole answers")
    import httpx

    app = App()
    has_seen = threading.Event()

    @app.get("/")
    def pieces(request: Any) -> Iterator[str]:
        yield "first"
        assert has_seen.wait(PATIENCE_SECONDS)
        yield "second"

    client = serve(app)
    with httpx.stream("GET", f"http://{client.authority}/", trust_env=False) as answer:
        arriving = answer.iter_raw()
        assert next(arriving) == b"first"
        has_seen.set()
        assert b"".join(arriving) == b"second"


def test_many_streams_at_once(serve: Any) -> None:
    from concurrent.futures import ThreadPoolExecutor

    app = App()

    @app.get("/{n:int}")
    async def pieces(request: Any) -> Any:
        for _ in range(20):
            yield str(request.params["n"])
            await asyncio.sleep(0)

    client = serve(app)
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(client.get, [f"/{n}" for n in range(10)]))
    assert [answer.text for answer in answers] == [str(n) * 20 for n in range(10)]


def test_stream_of_a_list_and_of_an_async_iterable(serve: Any) -> None:
    class Chunks:
        def __aiter__(self) -> Any:
            return self.produce()

        async def produce(self) -> Any:
            yield b"one "
            yield b"two"

    app = App()
    app.get("/list")(lambda request: Response.stream([b"one ", b"two"]))
    app.get("/async")(lambda request: Response.stream(Chunks()))
    client = serve(app)
    assert [client.get("/list").body, client.get("/async").body] == [b"one two"] * 2


@pytest.mark.parametrize("kind", ["def", "async"])
def test_a_close_that_fails_ends_nothing_but_itself(serve: Any, log: Any, kind: str) -> None:
    app = App()

    def plain(request: Any) -> Iterator[str]:
        try:
            yield "x" * 10
            raise ValueError("after the first")
        finally:
            raise SystemExit(3)

    async def coroutine(request: Any) -> Any:
        try:
            yield "x" * 10
            raise ValueError("after the first")
        finally:
            raise SystemExit(3)

    app.get("/")(plain if kind == "def" else coroutine)
    app.get("/well", blocking=False)(lambda request: "well")
    client = serve(app)
    with pytest.raises(BrokenAnswerError):
        client.get("/")
    assert client.get("/well").text == "well"
