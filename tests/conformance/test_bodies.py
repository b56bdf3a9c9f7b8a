"""Bodies on their way in: limits, stream=True, bodies that nobody reads, large ones."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from cello import App, LimitsConfig, Response
from tests.kit.adapters import BrokenAnswerError

LARGE = bytes(range(256)) * (5 * 4096)  # 5 MiB


def in_pieces(body: bytes, size: int) -> list[bytes]:
    return [body[at : at + size] for at in range(0, len(body), size)]


SHAPES = pytest.mark.parametrize("is_sized", [True, False], ids=["sized", "chunked"])


def shaped(body: bytes, is_sized: bool, size: int = 65536) -> Any:
    """Return content that is sent with its length, or without it in pieces."""
    return body if is_sized else in_pieces(body, size)


# --- limits ------------------------------------------------------------------------------------------------


@SHAPES
@pytest.mark.parametrize("lane", ["thread", "loop", "async", "stream"])
def test_body_over_the_limit_is_a_413(serve: Any, lane: str, is_sized: bool) -> None:
    app = App()
    called: list[int] = []

    def plain(request: Any) -> Any:
        called.append(len(request.body()))
        return "never"

    @app.post("/async")
    async def coroutine(request: Any) -> Any:
        return plain(request)

    @app.post("/stream", stream=True)
    async def stream(request: Any) -> Any:
        if is_sized:  # of a chunked body nobody knows yet that it is too large
            called.append(request.content_length)
        return str(sum([len(piece) async for piece in request.stream()]))

    app.post("/thread")(plain)
    app.post("/loop", blocking=False)(plain)
    client = serve(app, limits=LimitsConfig(max_request_size=1000))
    answer = client.post(f"/{lane}", shaped(bytes(1001), is_sized, 300))
    assert answer.status == 413
    assert answer.json()["title"] == "Content Too Large"
    assert "1000 bytes" in answer.json()["detail"]
    assert called == []
    assert client.post(f"/{lane}", shaped(bytes(1000), is_sized, 300)).status == 200


@SHAPES
def test_routes_have_limits_of_their_own(serve: Any, is_sized: bool) -> None:
    app = App()
    app.post("/small", max_request_size=10)(lambda request: str(len(request.body())))
    app.post("/large", max_request_size=100_000)(lambda request: str(len(request.body())))
    app.post("/none", max_request_size=0)(lambda request: str(len(request.body())))
    app.post("/default")(lambda request: str(len(request.body())))
    client = serve(app, limits=LimitsConfig(max_request_size=1000))

    def send(path: str, size: int) -> int:
        return int(client.post(path, shaped(bytes(size), is_sized, 7)).status)

    assert [send("/small", 10), send("/small", 11)] == [200, 413]
    assert [send("/large", 2000), send("/default", 2000)] == [200, 413]
    assert [send("/none", 1), client.post("/none").status] == [413, 200]


def test_limit_comes_with_problem_details_and_spares_the_next_request(serve: Any) -> None:
    app = App()
    app.post("/", max_request_size=10)(lambda request: request.text())
    client = serve(app)
    for _ in range(3):
        assert client.post("/", bytes(20_000)).get("content-type") == "application/problem+json"
        assert client.post("/", b"fits").text == "fits"


# --- stream=True -------------------------------------------------------------------------------------------


@SHAPES
def test_stream_is_read_as_it_comes(serve: Any, is_sized: bool) -> None:
    app = App()

    @app.post("/", stream=True)
    async def digest(request: Any) -> Any:
        found = hashlib.sha256()
        async for piece in request.stream():
            found.update(piece)
        return found.hexdigest()

    client = serve(app)
    assert client.post("/", shaped(LARGE, is_sized)).text == hashlib.sha256(LARGE).hexdigest()
    assert client.post("/", shaped(b"x", is_sized)).text == hashlib.sha256(b"x").hexdigest()
    assert client.post("/").text == hashlib.sha256(b"").hexdigest()


def test_streaming_handler_is_called_before_the_body_has_come(serve: Any, adapter: str) -> None:
    if adapter == "testclient":
        pytest.skip("what it sends is all there at once")
    app = App()
    loops: list[asyncio.AbstractEventLoop] = []
    events: list[asyncio.Event] = []

    @app.get("/ready")
    async def ready(request: Any) -> Any:
        events.append(asyncio.Event())
        loops.append(asyncio.get_running_loop())
        return "x"

    @app.post("/", stream=True)
    async def first(request: Any) -> Any:
        async for piece in request.stream():
            events[0].set()
            return piece.decode()
        return "no body"

    client = serve(app)
    client.get("/ready")

    def body() -> Iterator[bytes]:
        yield b"first"
        # The handler has seen the first piece while the second is not yet on its way.
        asyncio.run_coroutine_threadsafe(events[0].wait(), loops[0]).result(10)
        yield b"second"

    assert client.post("/", body()).text == "first"


def test_body_of_a_streaming_route_is_not_there_at_once(serve: Any, log: Any) -> None:
    app = App()

    @app.post("/", stream=True)
    async def index(request: Any) -> Any:
        return request.json()

    assert serve(app).post("/", b"{}").status == 500
    assert "its route has stream=True" in log.text


@SHAPES
@pytest.mark.parametrize("size", [1, 5000, 500_000])
def test_ignored_body_leaves_the_client_usable(serve: Any, is_sized: bool, size: int) -> None:
    app = App()

    @app.post("/", stream=True)
    async def ignore(request: Any) -> Any:
        return "ignored"

    app.get("/next")(lambda request: "next")
    client = serve(app)
    for _ in range(2):
        assert client.post("/", shaped(bytes(size), is_sized)).text == "ignored"
        assert client.get("/next").text == "next"


@SHAPES
def test_body_read_in_part_leaves_the_client_usable(serve: Any, is_sized: bool) -> None:
    app = App()

    @app.post("/", stream=True)
    async def peek(request: Any) -> Any:
        async for piece in request.stream():
            return piece[:1]
        return "no body"

    client = serve(app)
    for _ in range(2):
        assert client.post("/", shaped(b"a" * 300_000, is_sized)).body == b"a"


def test_failing_before_the_body_is_read(serve: Any, log: Any) -> None:
    app = App()

    @app.post("/", stream=True)
    async def fail(request: Any) -> Any:
        raise ValueError("no")

    app.get("/next")(lambda request: "next")
    client = serve(app)
    assert client.post("/", in_pieces(bytes(300_000), 1000)).status == 500
    assert client.get("/next").text == "next"


def test_413_in_the_middle_cancels_the_handler(serve: Any) -> None:
    app = App()
    seen: list[int] = []
    was_cancelled: list[bool] = []

    @app.post("/", stream=True, max_request_size=100_000)
    async def count(request: Any) -> Any:
        try:
            async for piece in request.stream():
                seen.append(len(piece))
        except asyncio.CancelledError:
            was_cancelled.append(True)
            raise
        return "never"

    app.get("/next")(lambda request: "next")
    client = serve(app)
    answer = client.post("/", in_pieces(bytes(200_000), 10_000))
    assert answer.status == 413
    assert sum(seen) <= 100_000
    assert client.get("/next").text == "next"


def test_413_after_the_answer_has_begun_breaks_it(serve: Any, adapter: str) -> None:
    app = App()
    has_begun = threading.Event()

    @app.post("/", stream=True, max_request_size=100_000)
    async def echo(request: Any) -> Any:
        yield b"begun"
        has_begun.set()
        async for piece in request.stream():
            yield piece

    def body(size: int) -> Iterator[bytes]:
        yield bytes(10_000)
        if adapter != "testclient":  # which takes the whole body before it sends any
            assert has_begun.wait(10)
        yield from in_pieces(bytes(size - 10_000), 10_000)

    client = serve(app)
    assert client.post("/", body(50_000)).body == b"begun" + bytes(50_000)
    has_begun.clear()
    with pytest.raises(BrokenAnswerError):
        client.post("/", body(200_000))


def test_echo_of_a_stream(serve: Any) -> None:
    app = App()

    @app.post("/", stream=True)
    async def echo(request: Any) -> Any:
        async for piece in request.stream():
            yield piece

    client = serve(app)
    assert client.post("/", in_pieces(LARGE[:300_000], 10_000)).body == LARGE[:300_000]
    assert client.post("/").body == b""


@SHAPES
@pytest.mark.parametrize("kind", ["def", "async"])
def test_middleware_around_a_streaming_route(serve: Any, kind: str, is_sized: bool) -> None:
    app = App()

    @app.post("/", stream=True)
    async def count(request: Any) -> Any:
        return str(sum([len(piece) async for piece in request.stream()]))

    def plain(request: Any, call_next: Any) -> Any:
        return call_next(request)

    async def coroutine(request: Any, call_next: Any) -> Any:
        return await call_next(request)

    app.use(plain if kind == "def" else coroutine)
    assert serve(app).post("/", shaped(LARGE, is_sized)).text == str(len(LARGE))


# --- large bodies ------------------------------------------------------------------------------------------


@SHAPES
@pytest.mark.parametrize("lane", ["thread", "loop", "async"])
def test_large_upload(serve: Any, lane: str, is_sized: bool) -> None:
    app = App()

    def digest(request: Any) -> Any:
        return [hashlib.sha256(request.body()).hexdigest(), len(request.body())]

    @app.post("/async")
    async def coroutine(request: Any) -> Any:
        return digest(request)

    app.post("/thread")(digest)
    app.post("/loop", blocking=False)(digest)
    answer = serve(app).post(f"/{lane}", shaped(LARGE, is_sized))
    assert answer.json() == [hashlib.sha256(LARGE).hexdigest(), len(LARGE)]


@pytest.mark.parametrize("kind", ["bytes", "generator", "async-generator", "sized-stream"])
def test_large_download(serve: Any, kind: str) -> None:
    async def produce() -> Any:
        for piece in in_pieces(LARGE, 65536):
            yield piece

    bodies: dict[str, Any] = {
        "bytes": lambda: LARGE,
        "generator": lambda: iter(in_pieces(LARGE, 65536)),
        "async-generator": produce,
        "sized-stream": lambda: Response.stream(produce(), headers={"Content-Length": len(LARGE)}),
    }
    app = App()
    app.get("/")(lambda request: bodies[kind]())
    client = serve(app)
    for _ in range(2):
        answer = client.get("/")
        assert answer.body == LARGE
        assert (answer.get("content-length") is None) == (kind in ("generator", "async-generator"))
