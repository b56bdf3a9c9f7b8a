"""The three timeouts on real sockets: what each bounds, what it leaves alone, and that None switches it off.

Each test gives its server the one timeout that it is about; the others are off. Bounds from above are
generous, since machines are slow at times; from below they are strict, since no deadline may be early.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from cello import App, TimeoutConfig
from cello.testing import LiveServer
from tests.kit.log_watch import LogWatch, watching_log
from tests.kit.raw import RawClient, Stopwatch, connected, request
from tests.kit.server import running_server

TIMEOUT_SECONDS = 0.2
GENEROUS_SECONDS = 6.0
HALF_HEAD = b"GET / HTTP/1.1\r\nHost: test\r\n"
HALF_BODY = b"POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhello"
HALF_CHUNKS = b"POST /echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
BIG_BYTES = 8 << 20
BIG = bytes(BIG_BYTES)
STREAMED_PIECE = bytes(1 << 20)


async def sleep(request: Any) -> str:
    await asyncio.sleep(float(request.params["seconds"]))
    return "slept"


def block(request: Any) -> str:
    time.sleep(float(request.params["seconds"]))
    return "blocked"


async def stream_big(request: Any) -> AsyncIterator[bytes]:
    for _ in range(BIG_BYTES // len(STREAMED_PIECE)):
        yield STREAMED_PIECE


async def stream_late(request: Any) -> AsyncIterator[bytes]:
    await asyncio.sleep(float(request.params["seconds"]))
    yield b"late"


async def echo_and_go_on(request: Any) -> Any:
    async def pieces() -> AsyncIterator[bytes]:
        async for chunk in request.stream():
            yield chunk
        for _ in range(10):
            await asyncio.sleep(0.05)
            yield b"."

    return pieces()


def make_app() -> App:
    app = App()
    app.get("/", blocking=False)(lambda request: "home")
    app.post("/echo", blocking=False)(lambda request: request.body())
    app.get("/sleep/{seconds:float}")(sleep)
    app.get("/block/{seconds:float}", blocking=True)(block)
    app.get("/hold/{seconds:float}", blocking=False)(block)
    app.get("/big", blocking=False)(lambda request: BIG)
    app.get("/big-stream")(stream_big)
    app.get("/late-stream/{seconds:float}")(stream_late)
    app.get("/patient", timeout=60)(lambda request: block_for(0.6))
    app.post("/echo-and-go-on", stream=True)(echo_and_go_on)
    return app


def block_for(seconds: float) -> str:
    time.sleep(seconds)
    return "blocked"


@contextmanager
def serving(
    *,
    request_timeout: float | None = None,
    response_timeout: float | None = None,
    keep_alive_timeout: float | None = None,
) -> Iterator[LiveServer]:
    timeout = TimeoutConfig(request_timeout, response_timeout, keep_alive_timeout)
    with running_server(make_app(), timeout=timeout) as server:
        yield server


@pytest.fixture
def log() -> Iterator[LogWatch]:
    with watching_log() as watch:
        yield watch


def assert_408_and_close(client: RawClient) -> None:
    answer = client.answer()
    assert answer.status == 408
    assert answer.options("connection") == ["close"]
    assert client.ends_silently()


class TestRequestTimeout:
    @pytest.mark.parametrize("octets", [b"G", HALF_HEAD, HALF_BODY, HALF_CHUNKS])
    def test_a_request_that_stops_is_answered_408_and_closed(self, octets: bytes, log: LogWatch) -> None:
        with serving(request_timeout=TIMEOUT_SECONDS) as server, connected(server.port) as client:
            watch = Stopwatch()
            client.send(octets)
            assert_408_and_close(client)
            assert TIMEOUT_SECONDS <= watch.seconds + 0.01 < GENEROUS_SECONDS
            log.wait_for("request_timeout")

    @pytest.mark.parametrize(
        "start", [b"GET / HTTP/1.1\r\nHost: test\r\nX-Slow: ", HALF_BODY[:-5].replace(b"10", b"1000")]
    )
    def test_octets_that_dribble_in_do_not_extend_it(self, start: bytes) -> None:
        with serving(request_timeout=TIMEOUT_SECONDS) as server, connected(server.port) as client:
            watch = Stopwatch()
            client.send(start)
            while client.is_quiet(0.05):
                assert watch.seconds < GENEROUS_SECONDS
                client.send(b"x")
            assert_408_and_close(client)

    def test_no_octet_at_all_is_closed_silently(self) -> None:
        with serving(request_timeout=TIMEOUT_SECONDS) as server, connected(server.port) as client:
            watch = Stopwatch()
            assert client.ends_silently()
            assert TIMEOUT_SECONDS <= watch.seconds + 0.01 < GENEROUS_SECONDS

    def test_the_first_request_has_its_time_from_the_accept(self) -> None:
        with serving(request_timeout=0.6) as server, connected(server.port) as client:
            watch = Stopwatch()
            time.sleep(0.4)
            client.send(HALF_HEAD)
            assert_408_and_close(client)
            assert watch.seconds < 0.95

    def test_later_requests_have_theirs_from_the_first_octet(self) -> None:
        with serving(request_timeout=TIMEOUT_SECONDS) as server, connected(server.port) as client:
            assert client.ask("/").status == 200
            assert client.is_quiet(2.5 * TIMEOUT_SECONDS)
            assert client.ask("/").status == 200
            assert client.is_quiet(2.5 * TIMEOUT_SECONDS)
            watch = Stopwatch()
            client.send(HALF_HEAD)
            assert_408_and_close(client)
            assert watch.seconds + 0.01 >= TIMEOUT_SECONDS

    def test_it_is_not_the_handlers(self) -> None:
        with serving(request_timeout=TIMEOUT_SECONDS) as server, connected(server.port) as client:
            assert client.ask("/sleep/0.5").body == b"slept"
            assert client.ask("/block/0.5").body == b"blocked"

    def test_an_answer_that_began_before_the_request_was_whole_goes_on_behind_it(self) -> None:
        with serving(request_timeout=TIMEOUT_SECONDS) as server, connected(server.port) as client:
            client.send(b"POST /echo-and-go-on HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhello")
            assert not client.is_quiet(GENEROUS_SECONDS)  # the answer has begun
            client.send(b"world")
            assert client.answer().body == b"helloworld" + b"." * 10
            assert client.ask("/").status == 200

    def test_a_body_that_a_handler_has_answered_already_is_not_waited_for_longer(self) -> None:
        with serving(request_timeout=TIMEOUT_SECONDS) as server, connected(server.port) as client:
            client.send(HALF_BODY.replace(b"/echo", b"/none"))
            assert client.answer().status == 404
            assert client.ends_silently()

    def test_none_switches_it_off(self) -> None:
        with (
            serving(response_timeout=TIMEOUT_SECONDS, keep_alive_timeout=TIMEOUT_SECONDS) as server,
            connected(server.port) as silent,
            connected(server.port) as slow_head,
            connected(server.port) as slow_body,
        ):
            slow_head.send(HALF_HEAD)
            slow_body.send(HALF_BODY)
            assert silent.is_quiet(3 * TIMEOUT_SECONDS)
            slow_head.send(b"\r\n")
            assert slow_head.answer().body == b"home"
            slow_body.send(b"world")
            assert slow_body.answer().body == b"helloworld"
            assert silent.ask("/").body == b"home"


class TestKeepAliveTimeout:
    def test_an_idle_connection_is_closed_silently(self) -> None:
        with serving(keep_alive_timeout=TIMEOUT_SECONDS) as server, connected(server.port) as client:
            assert client.ask("/").status == 200
            watch = Stopwatch()
            assert client.ends_silently()
            assert TIMEOUT_SECONDS <= watch.seconds + 0.01 < GENEROUS_SECONDS

    def test_every_request_starts_it_anew(self) -> None:
        with serving(keep_alive_timeout=0.6) as server, connected(server.port) as client:
            for _ in range(3):
                assert client.ask("/").status == 200
                assert client.is_quiet(0.3)
            assert client.ask("/").status == 200

    def test_neither_a_slow_handler_nor_a_slow_request_is_idle(self) -> None:
        with serving(keep_alive_timeout=TIMEOUT_SECONDS) as server, connected(server.port) as client:
            assert client.ask("/sleep/0.5").body == b"slept"
            client.send(HALF_HEAD)
            assert client.is_quiet(2.5 * TIMEOUT_SECONDS)
            client.send(b"\r\n")
            assert client.answer().body == b"home"

    def test_who_still_reads_the_last_answer_is_not_idle(self) -> None:
        with (
            serving(keep_alive_timeout=TIMEOUT_SECONDS) as server,
            connected(server.port, has_small_buffer=True) as client,
        ):
            client.send(request("/big"))
            time.sleep(3 * TIMEOUT_SECONDS)
            assert len(client.answer().body) == BIG_BYTES
            assert client.ask("/").status == 200

    def test_none_switches_it_off(self) -> None:
        with (
            serving(request_timeout=TIMEOUT_SECONDS, response_timeout=TIMEOUT_SECONDS) as server,
            connected(server.port) as client,
        ):
            assert client.ask("/").status == 200
            assert client.is_quiet(3 * TIMEOUT_SECONDS)
            assert client.ask("/").status == 200


class TestHeldLoop:
    """What the server itself keeps from reading in time is not the client's fault."""

    @pytest.mark.parametrize("start", [b"G", HALF_HEAD, HALF_BODY])
    def test_a_request_that_came_whole_while_the_loop_was_held_is_answered(self, start: bytes) -> None:
        rest = {b"G": b"ET / HTTP/1.1\r\nHost: a\r\n\r\n", HALF_HEAD: b"\r\n", HALF_BODY: b"world"}[start]
        with (
            serving(request_timeout=0.5) as server,
            connected(server.port) as holder,
            connected(server.port) as client,
        ):
            assert client.ask("/").status == 200
            client.send(start)
            assert client.is_quiet(0.1)
            holder.send(request("/hold/1"))
            time.sleep(0.1)
            client.send(rest)
            assert client.answer().status == 200

    def test_a_request_that_stops_gets_its_408_all_the_same(self) -> None:
        with (
            serving(request_timeout=0.5) as server,
            connected(server.port) as holder,
            connected(server.port) as client,
        ):
            client.send(HALF_HEAD)
            holder.send(request("/hold/1"))
            assert_408_and_close(client)

    def test_a_thread_that_was_done_in_time_is_no_504(self) -> None:
        with (
            serving(response_timeout=0.5) as server,
            connected(server.port) as holder,
            connected(server.port) as client,
        ):
            client.send(request("/block/0.3"))
            time.sleep(0.1)
            holder.send(request("/hold/1"))
            assert client.answer().body == b"blocked"

    def test_an_idle_connection_that_asks_again_is_answered(self) -> None:
        with (
            serving(keep_alive_timeout=0.5) as server,
            connected(server.port) as holder,
            connected(server.port) as client,
        ):
            assert client.ask("/").status == 200
            holder.send(request("/hold/1"))
            time.sleep(0.1)
            assert client.ask("/").status == 200


class TestResponseTimeout:
    @pytest.mark.parametrize("target", ["/sleep/5", "/block/1", "/late-stream/5"])
    def test_a_handler_that_takes_too_long_is_504_and_the_connection_lives_on(
        self, target: str, log: LogWatch
    ) -> None:
        with serving(response_timeout=TIMEOUT_SECONDS) as server, connected(server.port) as client:
            watch = Stopwatch()
            answer = client.ask(target)
            assert answer.status == 504
            assert answer.options("connection") != ["close"]
            assert TIMEOUT_SECONDS <= watch.seconds + 0.01 < 0.9
            assert client.ask("/").body == b"home"
            log.wait_for("longer than its response_timeout")
            log.wait_for("response_timeout")

    def test_what_waits_behind_a_504_is_answered(self) -> None:
        with serving(response_timeout=TIMEOUT_SECONDS) as server, connected(server.port) as client:
            client.send(request("/sleep/5") + request("/"))
            assert client.answer().status == 504
            assert client.answer().body == b"home"

    def test_the_late_result_of_a_thread_is_dropped_and_logged(self, log: LogWatch) -> None:
        with serving(response_timeout=TIMEOUT_SECONDS) as server, connected(server.port) as client:
            assert client.ask("/block/0.5").status == 504
            assert client.ask("/").body == b"home"
            log.wait_for("a late result was dropped")
            assert client.is_quiet()
            assert client.ask("/").body == b"home"

    def test_a_route_has_its_own(self) -> None:
        with serving(response_timeout=TIMEOUT_SECONDS) as server, connected(server.port) as client:
            assert client.ask("/patient").body == b"blocked"

    def test_none_switches_it_off(self) -> None:
        with (
            serving(request_timeout=TIMEOUT_SECONDS, keep_alive_timeout=TIMEOUT_SECONDS) as server,
            connected(server.port, has_small_buffer=True) as deaf,
            connected(server.port) as client,
        ):
            deaf.send(request("/big-stream"))
            assert client.ask("/sleep/0.6").body == b"slept"
            assert len(deaf.answer().body) == BIG_BYTES


class TestWriteStall:
    @pytest.mark.parametrize(
        "octets",
        [
            request("/big"),
            request("/big-stream"),
            request("/big", "Connection: close"),
            request("/big") + request("/") * 1000,
        ],
        ids=["whole", "streamed", "closing", "pipelined"],
    )
    def test_a_client_that_reads_nothing_is_cut_off(self, octets: bytes, log: LogWatch) -> None:
        with (
            serving(response_timeout=TIMEOUT_SECONDS) as server,
            connected(server.port, has_small_buffer=True) as client,
        ):
            client.send_what_fits(octets, quiet_seconds=0.1)
            assert not client.is_quiet(GENEROUS_SECONDS)  # the answer has begun
            assert "write stall" in log.wait_for("stall")
            wait_until_empty(server)

    @pytest.mark.parametrize(
        ("target", "option"), [("/big", "close"), ("/big", "keep-alive"), ("/big-stream", "keep-alive")]
    )
    def test_a_slow_reader_that_makes_progress_is_not_cut_off(self, target: str, option: str) -> None:
        with (
            serving(response_timeout=0.5) as server,
            connected(server.port, has_small_buffer=True) as client,
        ):
            client.send(request(target, f"Connection: {option}"))
            watch = Stopwatch()
            read_bytes = 0
            while watch.seconds < 1.0:
                read_bytes += len(client.sock.recv(100_000))
                time.sleep(0.02)
            assert read_bytes < BIG_BYTES
            client.finish_sending()
            assert read_bytes + len(client.rest()) > BIG_BYTES

    def test_a_pause_shorter_than_the_timeout_is_allowed_also_before_a_close(self) -> None:
        with (
            serving(response_timeout=30) as server,
            connected(server.port, has_small_buffer=True) as client,
        ):
            client.send(request("/big", "Connection: close"))
            time.sleep(5.5)  # longer than what a connection that is being closed is given otherwise
            assert len(client.answer().body) == BIG_BYTES
            assert client.ends_silently()


def wait_until_empty(server: LiveServer) -> None:
    """Wait until the server holds no connection any more."""
    watch = Stopwatch()
    while server.worker.service.connections:
        assert watch.seconds < GENEROUS_SECONDS
        time.sleep(0.02)
