"""Compressed answers: decoded by the libraries that clients use, on every adapter."""

from __future__ import annotations

import asyncio
import gzip
import os
import threading
from collections.abc import Callable
from typing import Any

import pytest

from cello import App, HTTPError, Response
from cello.middlewares.codings import available
from cello.middlewares.compression import OFF_LOOP_BYTES
from tests.kit.adapters import BrokenAnswerError

brotli = pytest.importorskip("brotli")
zstandard = pytest.importorskip("zstandard")

TEXT = "All work and no play makes a dull log line. " * 100
SMALL = "x" * 1023
LARGE = "".join(f"line {number}\n" for number in range(60_000))
NOISE = os.urandom(40_000)

DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress,
    "br": brotli.decompress,
    "zstd": lambda body: zstandard.ZstdDecompressor().decompressobj().decompress(body),
}
CODINGS = pytest.mark.parametrize("coding", sorted(DECODERS))


async def words(request: Any) -> Any:
    for word in ("one ", "two ", "", "three"):
        yield word
        await asyncio.sleep(0)


def large_pieces(request: Any) -> Any:
    for start in range(0, len(LARGE), 200_000):
        yield LARGE[start : start + 200_000]


async def no_piece(request: Any) -> Any:
    for word in ():
        yield word


def with_headers(body: Any, status: int = 200, **headers: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda request: Response(body, status=status, headers=named)


def make_app() -> App:
    app = App()
    app.get("/text", blocking=False)(lambda request: TEXT)
    app.get("/json", blocking=False)(lambda request: {"text": TEXT})
    app.get("/thread", blocking=True)(lambda request: {"text": TEXT})
    app.get("/small", blocking=False)(lambda request: SMALL)
    app.get("/large", blocking=False)(lambda request: LARGE)
    app.get("/large/json", blocking=False)(lambda request: {"text": LARGE})
    app.get("/large/thread", blocking=True)(lambda request: LARGE)
    app.get("/stream")(words)
    app.get("/stream/large")(large_pieces)
    app.get("/stream/empty", blocking=False)(
        lambda request: Response.stream(no_piece(request), content_type="text/plain")
    )
    app.post("/echo", blocking=False)(lambda request: request.text())

    @app.get("/async")
    async def coroutine(request: Any) -> Any:
        return {"text": TEXT}

    @app.get("/large/async")
    async def large_coroutine(request: Any) -> Any:
        return {"text": LARGE}

    @app.get("/fails", blocking=False)
    def fails(request: Any) -> Any:
        raise HTTPError(400, TEXT)

    @app.get("/stream/measured", blocking=False)
    def measured(request: Any) -> Any:
        return Response.stream(
            iter([TEXT]), content_type="text/plain", headers={"Content-Length": str(len(TEXT))}
        )

    app.get("/stream/breaks")(breaks)
    app.get("/tagged", blocking=False)(with_headers(TEXT, ETag='"a"', Accept_Ranges="bytes"))
    app.get("/tagged/weakly", blocking=False)(with_headers(TEXT, ETag='W/"a"'))
    app.enable_compression()
    return app


async def breaks(request: Any) -> Any:
    yield TEXT
    raise RuntimeError("broken")


def asked(client: Any, path: str, accepted: str | None = "gzip", method: str = "GET") -> Any:
    return client.request(method, path, [("Accept-Encoding", accepted)] if accepted is not None else [])


@CODINGS
@pytest.mark.parametrize(
    "path",
    [
        "/text",
        "/json",
        "/thread",
        "/async",
        "/large",
        "/large/json",
        "/large/thread",
        "/large/async",
        "/stream",
        "/stream/large",
        "/stream/empty",
        "/stream/measured",
        "/fails",
    ],
)
def test_a_body_is_the_same_once_it_is_decoded(serve: Any, path: str, coding: str) -> None:
    client = serve(make_app())
    plain = asked(client, path, None)
    assert plain.get("content-encoding") is None
    assert plain.all("vary").count("Accept-Encoding") == 1
    for _ in range(2):
        answer = asked(client, path, coding)
        assert answer.status == plain.status
        assert answer.get("content-encoding") == coding
        assert answer.all("vary").count("Accept-Encoding") == 1
        assert DECODERS[coding](answer.body) == plain.body
        assert answer.get("content-type") == plain.get("content-type")
        if "stream" not in path:
            assert answer.get("content-length") == str(len(answer.body))
            assert len(answer.body) < len(plain.body) / 3


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        (None, None),
        ("", None),
        ("identity", None),
        ("gzip", "gzip"),
        ("x-gzip", "gzip"),
        ("GZIP", "gzip"),
        ("deflate", None),
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip, deflate, br", "br"),
        ("*", "zstd"),
        ("gzip;q=1.0, br;q=0.9", "gzip"),
        ("br;q=0.1, gzip;q=0.2", "gzip"),
        ("gzip;q=0", None),
        ("*;q=0", None),
        ("gzip;q=0, *", "zstd"),
        ("zstd;q=0, br;q=0, *;q=0.1", "gzip"),
        ("identity, gzip;q=0.5", None),
        ("identity;q=0.5, gzip", "gzip"),
        ("identity;q=0, gzip;q=0.001", "gzip"),
        ("gzip;q=2", None),
        ("gzip;q=x", None),
        ("gzip ; q=0.5 , br ; q=0.6", "br"),
        (",, gzip ,,", "gzip"),
        ("identity;q=0.5, gzip;q=0.5", "gzip"),
        ("gzip;level=9", "gzip"),
    ],
)
def test_what_the_client_takes_decides(serve: Any, accepted: str | None, coding: str | None) -> None:
    client = serve(make_app())
    for path in ("/text", "/stream"):
        answer = asked(client, path, accepted)
        assert answer.get("content-encoding") == coding
        assert answer.all("vary") == ["Accept-Encoding"]


def test_small_bodies_stay_as_they_are(serve: Any) -> None:
    client = serve(make_app())
    answer = asked(client, "/small")
    assert (answer.text, answer.get("content-encoding"), answer.all("vary")) == (SMALL, None, [])
    app = App()
    app.get("/", blocking=False)(lambda request: "x" * 100)
    app.enable_compression(min_size=100)
    assert asked(serve(app), "/").get("content-encoding") == "gzip"


@pytest.mark.parametrize(
    "handler",
    [
        with_headers(TEXT, Content_Type="image/png"),
        with_headers(TEXT, Content_Type="application/zip"),
        with_headers(TEXT, Content_Type="video/mp4"),
        with_headers(TEXT.encode()),
        with_headers(TEXT, Content_Encoding="br"),
        with_headers(TEXT, Cache_Control="public, No-Transform"),
        with_headers(TEXT, status=206, Content_Range="bytes 0-4399/9000"),
        with_headers(TEXT, Content_Range="bytes 0-4399/9000"),
        with_headers(TEXT, Content_Digest="sha-256=:abc=:"),
        with_headers(TEXT, Repr_Digest="sha-256=:abc=:"),
        with_headers(TEXT, Digest="sha-256=abc="),
        with_headers(TEXT, Content_MD5="abc="),
    ],
)
def test_what_must_not_be_touched_is_not(serve: Any, handler: Any) -> None:
    app = App()
    app.get("/", blocking=False)(handler)
    app.get("/stream", blocking=False)(lambda request: as_stream(handler(request)))
    app.enable_compression()
    client = serve(app)
    for path in ("/", "/stream"):
        answer = asked(client, path)
        assert answer.get("content-encoding") in (None, "br")
        assert answer.body.decode() == TEXT
        assert answer.all("vary") == []


def as_stream(response: Response) -> Response:
    streamed = Response.stream(iter([response.body]), status=response.status)
    for name, value in response.headers.items():
        streamed.set_header(name, value)
    return streamed


@pytest.mark.parametrize(("path", "tag"), [("/tagged", 'W/"a"'), ("/tagged/weakly", 'W/"a"')])
def test_a_validator_becomes_weak(serve: Any, path: str, tag: str) -> None:
    client = serve(make_app())
    answer = asked(client, path)
    assert answer.get("etag") == tag
    assert answer.get("accept-ranges") is None
    assert asked(client, "/tagged", None).get("etag") == '"a"'
    assert asked(client, "/tagged", None).get("accept-ranges") == "bytes"


def test_what_does_not_shrink_is_sent_as_it_is(serve: Any) -> None:
    app = App()
    for size in (2000, len(NOISE)):
        app.get(f"/{size}", blocking=False)(with_headers(NOISE[:size], Content_Type="text/plain"))
    app.enable_compression()
    client = serve(app)
    for size in (2000, len(NOISE)):
        answer = asked(client, f"/{size}")
        assert answer.body == NOISE[:size]
        assert answer.get("content-encoding") is None
        assert answer.all("vary") == ["Accept-Encoding"]


@pytest.mark.parametrize("path", ["/text", "/tagged", "/large", "/stream/measured"])
def test_head_says_what_get_would(serve: Any, path: str) -> None:
    client = serve(make_app())
    for accepted in ("gzip", "identity"):
        got, asked_for = asked(client, path, accepted), asked(client, path, accepted, method="HEAD")
        assert asked_for.body == b""
        for name in ("content-encoding", "etag", "vary", "content-type", "accept-ranges"):
            assert asked_for.get(name) == got.get(name)
        # RFC 9110 8.6: the length that GET would have, or none.
        assert asked_for.get("content-length") in (
            (None,) if accepted == "gzip" else (got.get("content-length"),)
        )


def test_answers_without_a_body_have_no_coding(serve: Any) -> None:
    app = make_app()
    app.get("/304", blocking=False)(with_headers(None, status=304, ETag='"a"'))
    app.get("/204", blocking=False)(lambda request: None)
    client = serve(app)
    answer = asked(client, "/304")
    assert (answer.get("etag"), answer.get("content-encoding")) == ('"a"', None)
    assert answer.get("vary") == "Accept-Encoding"  # RFC 9110 15.4.5
    answer = asked(client, "/204")
    assert (answer.status, answer.get("content-encoding"), answer.get("vary")) == (204, None, None)


def test_requests_behind_a_large_answer_are_answered_in_order(serve: Any) -> None:
    client = serve(make_app())
    for _ in range(20):
        assert gzip.decompress(asked(client, "/large").body).decode() == LARGE
        assert asked(client, "/small").text == SMALL


def test_an_answer_that_breaks_off_is_seen_to(serve: Any) -> None:
    client = serve(make_app())
    with pytest.raises(BrokenAnswerError):
        asked(client, "/stream/breaks")


def test_large_bodies_are_compressed_off_the_loop(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[str] = []
    real = available()[-1]

    def compress(body: bytes) -> bytes:
        threads.append(threading.current_thread().name)
        return real.compress(body)

    watched = type(real)("gzip", compress, real.new_stream)
    monkeypatch.setattr("cello.middlewares.compression.available", lambda: [watched])
    app = App()
    app.get("/below", blocking=False)(lambda request: "x" * (OFF_LOOP_BYTES - 1))
    app.get("/above", blocking=False)(lambda request: "x" * OFF_LOOP_BYTES)
    app.enable_compression()
    client = serve(app)
    assert gzip.decompress(asked(client, "/below").body) == b"x" * (OFF_LOOP_BYTES - 1)
    assert gzip.decompress(asked(client, "/above").body) == b"x" * OFF_LOOP_BYTES
    assert [name.startswith("cello-compressor-") for name in threads] == [False, True]


def test_a_coding_that_fails_costs_no_answer(serve: Any, monkeypatch: pytest.MonkeyPatch, log: Any) -> None:
    real = available()[-1]

    def compress(body: bytes) -> bytes:
        raise MemoryError("no room")

    broken = type(real)("gzip", compress, real.new_stream)
    monkeypatch.setattr("cello.middlewares.compression.available", lambda: [broken])
    client = serve(make_app())
    for path, expected in (("/large", LARGE), ("/text", TEXT)):
        answer = asked(client, path)
        assert (answer.text, answer.get("content-encoding")) == (expected, None)
    assert "sent as they are" in log.text
