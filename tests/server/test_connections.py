"""The life of a connection on real sockets: how long it stays, how it is answered, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from cello import App, Response, TimeoutConfig
from cello.testing import LiveServer
from tests.kit.log_watch import LogWatch, watching_log
from tests.kit.raw import PATIENCE_SECONDS, RawClient, Stopwatch, connected, request, wait_until_refused
from tests.kit.server import running_server

CLOSE = "Connection: close"
EXPECT = "Expect: 100-continue"


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="the machine has no IPv6")
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


class Bench:
    """The application of this file, and what its handlers tell."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.entered = threading.Event()
        self.ended = threading.Event()
        self.release = threading.Event()
        self.app = app = App()
        app.get("/", blocking=False)(lambda request: "home")
        app.get("/threaded/{name}", blocking=True)(lambda request: request.params["name"])
        app.get("/fast/{name}", blocking=False)(lambda request: request.params["name"])
        app.get("/slow/{name}")(self.slow)
        app.get("/stream/{name}")(self.stream)
        app.get("/closing", blocking=False)(lambda request: ("bye", 200, {"Connection": "close"}))
        app.get("/wait")(self.wait)
        app.get("/wait-stream")(self.wait_stream)
        app.get("/wait-threaded", blocking=True)(self.wait_threaded)
        app.get("/patient")(self.patient)
        app.get("/client", blocking=False)(lambda request: f"{request.client_ip} {request.host}")
        app.post("/echo", blocking=False)(lambda request: request.body())
        app.post("/small", blocking=False, max_request_size=4)(lambda request: request.body())
        app.post("/stream-in", stream=True)(self.stream_in)
        app.post("/wait-upload", stream=True)(self.wait_upload)

    async def slow(self, request: Any) -> str:
        await asyncio.sleep(0.05)
        return str(request.params["name"])

    async def stream(self, request: Any) -> AsyncIterator[str]:
        for letter in request.params["name"]:
            await asyncio.sleep(0.01)
            yield letter

    async def wait(self, request: Any) -> str:
        self.entered.set()
        try:
            await asyncio.sleep(PATIENCE_SECONDS)
        except asyncio.CancelledError:
            self.said.append("cancelled")
            raise
        finally:
            self.said.append("finally")
            self.ended.set()
        return "never"

    async def wait_stream(self, request: Any) -> AsyncIterator[str]:
        self.entered.set()
        try:
            while True:
                yield "tick"
                await asyncio.sleep(0.01)
        finally:
            self.said.append("finally")
            self.ended.set()

    def wait_threaded(self, request: Any) -> str:
        self.entered.set()
        self.release.wait(PATIENCE_SECONDS)
        self.ended.set()
        return "late"

    async def patient(self, request: Any) -> str:
        """Go on until the client has ended its side, and say so."""
        self.entered.set()
        before = await request.is_disconnected()
        while not await request.is_disconnected():
            await asyncio.sleep(0.01)
        return f"{before} {await request.is_disconnected()}"

    async def stream_in(self, request: Any) -> str:
        return str(sum([len(chunk) async for chunk in request.stream()]))

    async def wait_upload(self, request: Any) -> str:
        self.entered.set()
        try:
            async for _ in request.stream():
                pass
        except BaseException as exc:
            self.said.append(type(exc).__name__)
            raise
        finally:
            self.ended.set()
        return "whole"


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def server(bench: Bench) -> Iterator[LiveServer]:
    with running_server(bench.app) as server:
        try:
            yield server
        finally:
            bench.release.set()


@pytest.fixture
def client(server: LiveServer) -> Iterator[RawClient]:
    with connected(server.port) as client:
        yield client


@pytest.fixture
def log() -> Iterator[LogWatch]:
    with watching_log() as watch:
        yield watch


class TestKeepAlive:
    def test_many_requests_use_one_connection(self, server: LiveServer, client: RawClient) -> None:
        for _ in range(50):
            assert client.ask("/").body == b"home"
        assert len(server.worker.service.connections) == 1

    def test_every_kind_of_answer_keeps_it(self, client: RawClient) -> None:
        for target in ("/threaded/x", "/slow/x", "/stream/x", "/none", "/slow/x", "/"):
            answer = client.ask(target)
            assert answer.values("connection") == []
        assert client.ask("/", method="HEAD").body == b""
        assert client.ask("/echo", method="POST", body=b"octets").body == b"octets"
        assert client.ask("/none", method="POST", body=b"unwanted").status == 404
        assert client.ask("/").body == b"home"

    @pytest.mark.parametrize("target", ["/", "/threaded/x", "/slow/x", "/stream/x", "/none"])
    def test_close_is_announced_and_done(self, client: RawClient, target: str) -> None:
        assert client.ask(target, CLOSE).options("connection") == ["close"]
        assert client.ends_silently()

    def test_a_handler_may_close(self, client: RawClient) -> None:
        assert client.ask("/closing").options("connection") == ["close"]
        assert client.ends_silently()

    def test_what_stands_behind_a_close_is_never_answered(self, client: RawClient) -> None:
        client.send(request("/slow/x", CLOSE) + request("/"))
        assert client.answer().body == b"x"
        assert client.ends_silently()


class TestHttp10:
    def test_the_connection_is_closed(self, client: RawClient) -> None:
        client.send(request("/", version="1.0"))
        answer = client.answer()
        assert answer.body == b"home"
        assert answer.options("connection") == ["close"]
        assert client.ends_silently()

    def test_keep_alive_is_honoured_and_announced(self, client: RawClient) -> None:
        for _ in range(3):
            client.send(request("/slow/x", "Connection: keep-alive", version="1.0"))
            answer = client.answer()
            assert answer.body == b"x"
            assert answer.options("connection") == ["keep-alive"]
        client.send(request("/", version="1.0"))
        assert client.answer().body == b"home"
        assert client.ends_silently()

    @pytest.mark.parametrize("lines", [(), ("Connection: keep-alive",)])
    def test_a_stream_ends_with_the_connection(self, client: RawClient, lines: tuple[str, ...]) -> None:
        client.send(request("/stream/letters", *lines, version="1.0"))
        answer = client.answer()
        assert (answer.body, answer.framing) == (b"letters", "close")


class TestPipelining:
    TARGETS = ("/fast/1", "/slow/2", "/threaded/3", "/stream/4", "/fast/5", "/slow/6", "/none", "/fast/8")

    def test_answers_come_in_order(self, client: RawClient) -> None:
        client.send(b"".join(request(target) for target in self.TARGETS))
        for target in self.TARGETS:
            answer = client.answer()
            assert (answer.status, answer.body) == (200, target[-1:].encode()) or target == "/none"
            assert (answer.status == 404) == (target == "/none")
        assert client.is_quiet(0.1)

    def test_requests_that_come_meanwhile_wait_their_turn(self, client: RawClient) -> None:
        client.send(request("/slow/1"))
        for number in (2, 3, 4):
            client.send(request(f"/fast/{number}"))
        assert [client.answer().body for _ in range(4)] == [b"1", b"2", b"3", b"4"]

    def test_one_exchange_runs_at_a_time(self, bench: Bench, client: RawClient) -> None:
        client.send(request("/wait-threaded") + request("/patient"))
        assert bench.entered.wait(PATIENCE_SECONDS)
        bench.entered.clear()
        assert not bench.entered.wait(0.2)
        bench.release.set()
        assert client.answer().body == b"late"
        assert bench.entered.wait(PATIENCE_SECONDS)

    def test_a_thousand_at_once(self, client: RawClient) -> None:
        numbers = range(1000)
        sender = threading.Thread(
            target=client.send, args=(b"".join(request(f"/threaded/{number}") for number in numbers),)
        )
        sender.start()
        assert [int(client.answer().body) for _ in numbers] == list(numbers)
        sender.join()

    def test_bodies_stand_between_requests(self, client: RawClient) -> None:
        posts = [request("/echo", method="POST", body=b"x" * size) for size in (1, 70_000, 3)]
        client.send(b"".join([*posts, request("/")]))
        assert [len(client.answer().body) for _ in range(3)] == [1, 70_000, 3]
        assert client.answer().body == b"home"

    def test_the_answers_before_a_bad_request_come_first(self, client: RawClient) -> None:
        client.send(request("/slow/1") + request("/fast/2") + b"NO SUCH THING\r\n\r\n" + request("/"))
        assert [client.answer().body for _ in range(2)] == [b"1", b"2"]
        assert client.answer().status == 400
        assert client.ends_silently()


class TestHalfClose:
    def test_all_that_came_before_is_answered(self, client: RawClient) -> None:
        client.send(
            b"".join(request(target) for target in ("/slow/1", "/fast/2", "/threaded/3", "/stream/4"))
        )
        client.finish_sending()
        assert [client.answer().body for _ in range(4)] == [b"1", b"2", b"3", b"4"]
        assert client.ends_silently()

    def test_a_large_answer_comes_whole(self, server: LiveServer) -> None:
        with connected(server.port, has_small_buffer=True) as client:
            body = bytes(4 << 20)
            sender = threading.Thread(target=client.send, args=(request("/echo", method="POST", body=body),))
            sender.start()
            time.sleep(0.1)
            sender.join()
            client.finish_sending()
            assert client.answer().body == body
            assert client.ends_silently()

    def test_an_idle_connection_is_closed(self, client: RawClient) -> None:
        assert client.ask("/").status == 200
        client.finish_sending()
        assert client.ends_silently()

    def test_half_a_request_is_not_answered(self, client: RawClient) -> None:
        client.send(request("/")[:-2])
        client.finish_sending()
        assert client.ends_silently()

    def test_the_handler_of_half_a_body_is_told(self, bench: Bench, client: RawClient) -> None:
        client.send(request("/wait-upload", "Content-Length: 10", method="POST") + b"half")
        assert bench.entered.wait(PATIENCE_SECONDS)
        client.finish_sending()
        assert bench.ended.wait(PATIENCE_SECONDS)
        assert bench.said in (["ClientDisconnected"], ["CancelledError"])
        assert client.ends_silently()

    def test_is_disconnected_says_true_after_it(self, bench: Bench, client: RawClient) -> None:
        client.send(request("/patient"))
        assert bench.entered.wait(PATIENCE_SECONDS)
        client.finish_sending()
        assert client.answer().body == b"False True"


class TestDeparture:
    def test_a_reset_cancels_an_async_handler(self, server: LiveServer, bench: Bench) -> None:
        with connected(server.port) as client:
            client.send(request("/wait"))
            assert bench.entered.wait(PATIENCE_SECONDS)
            client.reset()
        assert bench.ended.wait(PATIENCE_SECONDS)
        assert bench.said == ["cancelled", "finally"]

    def test_a_reset_closes_an_async_generator(self, server: LiveServer, bench: Bench) -> None:
        with connected(server.port) as client:
            client.send(request("/wait-stream"))
            assert bench.entered.wait(PATIENCE_SECONDS)
            assert client.sock.recv(10)
            client.reset()
        assert bench.ended.wait(PATIENCE_SECONDS)

    def test_a_client_that_leaves_in_mid_stream_ends_it(self, server: LiveServer, bench: Bench) -> None:
        with connected(server.port) as client:
            client.send(request("/wait-stream"))
            assert client.sock.recv(10)
        assert bench.ended.wait(PATIENCE_SECONDS)

    def test_a_reset_during_an_upload_is_told_to_its_handler(self, server: LiveServer, bench: Bench) -> None:
        with connected(server.port) as client:
            client.send(request("/wait-upload", "Content-Length: 10", method="POST") + b"half")
            assert bench.entered.wait(PATIENCE_SECONDS)
            client.reset()
        assert bench.ended.wait(PATIENCE_SECONDS)
        assert bench.said in (["ClientDisconnected"], ["CancelledError"])

    def test_the_result_of_a_thread_is_dropped_without_noise(
        self, server: LiveServer, bench: Bench, log: LogWatch
    ) -> None:
        with connected(server.port) as client:
            client.send(request("/wait-threaded"))
            assert bench.entered.wait(PATIENCE_SECONDS)
            client.reset()
        wait_until_empty(server)
        bench.release.set()
        assert bench.ended.wait(PATIENCE_SECONDS)
        with connected(server.port) as client:
            assert client.ask("/threaded/x").body == b"x"
        assert log.lines == []

    def test_what_was_pipelined_behind_is_never_run(self, server: LiveServer, bench: Bench) -> None:
        with connected(server.port) as client:
            client.send(request("/wait") + request("/wait-threaded"))
            assert bench.entered.wait(PATIENCE_SECONDS)
            bench.entered.clear()
            client.reset()
        assert bench.ended.wait(PATIENCE_SECONDS)
        assert not bench.entered.wait(0.2)

    def test_others_do_not_notice(self, server: LiveServer, bench: Bench) -> None:
        with connected(server.port) as stays:
            for _ in range(20):
                with connected(server.port) as leaves:
                    leaves.send(request("/wait")[:30])
                    leaves.reset()
            assert stays.ask("/slow/x").body == b"x"


class TestExpectContinue:
    def test_100_comes_before_the_body(self, client: RawClient) -> None:
        client.send(request("/echo", EXPECT, "Content-Length: 4", method="POST"))
        assert client.answer().status == 100
        client.send(b"body")
        assert client.answer().body == b"body"
        assert client.ask("/").status == 200

    def test_a_refusal_comes_without_it(self, client: RawClient) -> None:
        client.send(request("/small", EXPECT, "Content-Length: 5", method="POST"))
        assert client.answer().status == 413
        assert client.ends_silently()

    def test_a_path_that_is_not_there_comes_without_it(self, client: RawClient) -> None:
        client.send(request("/none", EXPECT, "Content-Length: 5", method="POST"))
        assert client.answer().status == 404

    @pytest.mark.parametrize("target", ["/echo", "/stream-in"])
    def test_a_client_that_does_not_wait_is_served(self, client: RawClient, target: str) -> None:
        client.send(request(target, EXPECT, method="POST", body=b"body"))
        answer = client.answer()
        if answer.status == 100:
            answer = client.answer()
        assert answer.body in (b"body", b"4")
        assert client.ask("/").status == 200

    @needs_curl
    def test_curl_uploads_a_megabyte(self, server: LiveServer, tmp_path: Path) -> None:
        path = tmp_path / "body"
        path.write_bytes(bytes(1 << 20))
        for target, expected in (("/echo", 1 << 20), ("/stream-in", 7)):
            watch = Stopwatch()
            finished = subprocess.run(
                ["curl", "-sS", "-H", EXPECT, "--data-binary", f"@{path}", server.url + target],
                capture_output=True,
                timeout=PATIENCE_SECONDS,
                check=True,
            )
            assert len(finished.stdout) == expected
            assert watch.seconds < 0.9  # curl waits for a 100 that never comes for a second


class TestAddresses:
    def test_port_0_takes_a_free_one(self, bench: Bench, server: LiveServer) -> None:
        assert server.port > 0
        with running_server(bench.app) as other:
            assert other.port not in (0, server.port)
            assert httpx.get(other.url).text == "home"

    def test_localhost(self, bench: Bench) -> None:
        found = socket.getaddrinfo("localhost", None, type=socket.SOCK_STREAM)
        with running_server(bench.app, host="localhost") as server:
            assert httpx.get(f"http://localhost:{server.port}/client").text.endswith(
                f" localhost:{server.port}"
            )
            for address in {str(where[0]) for *_, where in found}:
                with connected(server.port, address) as client:
                    assert client.ask("/client").body == f"{address} test".encode()

    @needs_ipv6
    def test_ipv6(self, bench: Bench) -> None:
        with running_server(bench.app, host="::1") as server:
            assert server.url == f"http://[::1]:{server.port}"
            assert httpx.get(f"{server.url}/client").text == f"::1 [::1]:{server.port}"

    @needs_ipv6
    def test_both_families_on_one_port(self, bench: Bench) -> None:
        with running_server(bench.app, host="::") as server:
            assert [port for _, port in server.worker.addresses] == [server.port] * 2
            for address in ("127.0.0.1", "::1"):
                with connected(server.port, address) as client:
                    assert client.ask("/client").body == f"{address} test".encode()

    def test_all_interfaces(self, bench: Bench) -> None:
        with running_server(bench.app, host="0.0.0.0") as server, connected(server.port) as client:
            assert client.ask("/client").body == b"127.0.0.1 test"


class TestStop:
    def test_the_port_is_free_at_once(self, bench: Bench) -> None:
        with running_server(bench.app) as server, connected(server.port) as client:
            assert client.ask("/", CLOSE).status == 200
        with running_server(bench.app, port=server.port) as again, connected(again.port) as client:
            assert client.ask("/").status == 200

    def test_idle_and_half_sent_connections_do_not_hold_it_up(self, bench: Bench) -> None:
        with contextlib.ExitStack() as clients:
            with running_server(bench.app) as server:
                for octets in (b"", request("/")[:-2], request("/")):
                    client = clients.enter_context(connected(server.port))
                    client.send(octets)
                assert client.answer().status == 200
                watch = Stopwatch()
            assert watch.seconds < 2.5

    def test_a_half_sent_request_that_trickles_on_does_not_either(self, bench: Bench) -> None:
        with contextlib.ExitStack() as clients:
            with running_server(bench.app, timeout=TimeoutConfig(request_timeout=None)) as server:
                client = clients.enter_context(connected(server.port))
                assert client.ask("/").status == 200
                server.worker.stop_from_thread()
                wait_until_refused(server.port)
                trickle = threading.Thread(target=trickle_on, args=(client,))
                trickle.start()
                watch = Stopwatch()
            assert watch.seconds < 5
            trickle.join()

    def test_an_answer_that_is_still_read_is_not_cut(self, bench: Bench) -> None:
        body = bytes(4 << 20)
        with contextlib.ExitStack() as clients, running_server(bench.app) as server:
            client = clients.enter_context(connected(server.port, has_small_buffer=True))
            client.send(request("/echo", method="POST", body=body))
            assert not client.is_quiet(PATIENCE_SECONDS)  # the answer has begun
            server.worker.stop_from_thread()
            time.sleep(1.5)
            assert client.answer().body == body


def trickle_on(client: RawClient) -> None:
    """Send a head without end, octet by octet, until the server has had enough."""
    watch = Stopwatch()
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        client.send(b"GET / HTTP/1.1\r\nX-Slow: ")
        while watch.seconds < PATIENCE_SECONDS and client.is_quiet(0.1):
            client.send(b"x")


def wait_until_empty(server: LiveServer) -> None:
    """Wait until the server holds no connection any more."""
    watch = Stopwatch()
    while server.worker.service.connections:
        assert watch.seconds < PATIENCE_SECONDS
        time.sleep(0.01)


class Unsendable(Response):
    """An answer whose body cannot be had when it is needed."""

    is_made = False

    def __init__(self) -> None:
        super().__init__("x")
        self.is_made = True

    @property
    def body(self) -> Any:
        if self.is_made:
            raise RuntimeError("no body")
        return Response.body.fget(self)  # type: ignore[attr-defined]

    @body.setter
    def body(self, value: Any) -> None:
        Response.body.fset(self, value)  # type: ignore[attr-defined]


@pytest.mark.parametrize("is_async", [False, True])
def test_an_answer_that_cannot_be_sent_ends_the_connection(is_async: bool) -> None:
    app = App()

    async def handler(request: Any) -> Response:
        return Unsendable()

    app.get("/")(handler if is_async else lambda request: Unsendable())
    with watching_log() as log, running_server(app) as server, connected(server.port) as client:
        client.send(request("/"))
        with contextlib.suppress(ConnectionResetError):
            assert client.ends_silently()
        log.wait_for("GET /: the answer could not be sent")
        assert "RuntimeError: no body" in log.text
