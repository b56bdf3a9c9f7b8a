"""Limits on real sockets: connections, sizes, and memory that no client can make grow."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from cello import App, LimitsConfig, TimeoutConfig
from cello.testing import LiveServer
from tests.kit.log_watch import watching_log
from tests.kit.process import Process, running_script
from tests.kit.raw import RawClient, Stopwatch, connected, request
from tests.kit.server import running_server

MIB = 1 << 20
NO_TIMEOUTS = TimeoutConfig(None, None, None)
TICK_SECONDS = (
    0.1  # of a server without timeouts: within one tick, connections are idle since the same moment
)
LARGE = bytes(MIB)
KERNEL_BYTES = (
    16 * MIB
)  # what the kernels' buffers of one connection may hold between them, with room to spare

needs_proc = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="memory is read from Linux's /proc"
)


class Bench:
    """The application of this file, and what its handlers tell."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.release = threading.Event()
        self.produced_bytes = 0
        self.app = app = App()
        app.get("/", blocking=False)(lambda request: "home")
        app.post("/echo", blocking=False)(lambda request: len(request.body()))
        app.post("/small", blocking=False, max_request_size=10)(lambda request: len(request.body()))
        app.get("/busy")(self.busy)
        app.get("/huge")(self.huge)
        app.post("/hold", stream=True, max_request_size=1 << 40)(self.hold)

    async def busy(self, request: Any) -> str:
        self.entered.release()
        await self._released()
        return "busy"

    async def huge(self, request: Any) -> AsyncIterator[bytes]:
        for _ in range(1000):
            self.produced_bytes += len(LARGE)
            yield LARGE

    async def hold(self, request: Any) -> str:
        self.entered.release()
        await self._released()
        return str(sum([len(chunk) async for chunk in request.stream()]))

    async def _released(self) -> None:
        while not self.release.is_set():
            await asyncio.sleep(0.01)


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.release.set()


@contextmanager
def serving(bench: Bench, timeout: TimeoutConfig = NO_TIMEOUTS, **limits: int) -> Iterator[LiveServer]:
    with running_server(bench.app, timeout=timeout, limits=LimitsConfig(**limits)) as server:
        try:
            yield server
        finally:
            bench.release.set()


@contextmanager
def many(port: int, count: int) -> Iterator[list[RawClient]]:
    with ExitStack() as stack:
        yield [stack.enter_context(connected(port)) for _ in range(count)]


def wait_for_count(server: LiveServer, count: int) -> None:
    """Wait until the server holds so many connections."""
    watch = Stopwatch()
    while len(server.worker.service.connections) != count:
        assert watch.seconds < 10, f"{len(server.worker.service.connections)} connections, expected {count}"
        time.sleep(0.01)


class TestMaxConnections:
    def test_the_connection_that_is_idle_longest_makes_room(self, bench: Bench) -> None:
        with serving(bench, max_connections=3) as server, many(server.port, 3) as (first, second, third):
            for client in (first, second, third, first):
                assert client.ask("/").status == 200
                time.sleep(2 * TICK_SECONDS)
            with connected(server.port) as newcomer:
                assert newcomer.ask("/").status == 200
                assert second.ends_silently()
                assert third.ask("/").status == 200
                assert first.ask("/").status == 200

    def test_one_that_never_sent_anything_is_idle_too(self, bench: Bench) -> None:
        with serving(bench, max_connections=1) as server, connected(server.port) as silent:
            wait_for_count(server, 1)
            with connected(server.port) as newcomer:
                assert newcomer.ask("/").status == 200
                assert silent.ends_silently()

    def test_a_request_that_runs_or_is_half_sent_is_not_idle(self, bench: Bench) -> None:
        with serving(bench, max_connections=2) as server, many(server.port, 2) as (runs, half_sent):
            runs.send(request("/busy"))
            half_sent.send(request("/")[:-2])
            assert bench.entered.acquire(timeout=10)
            half_sent_is_read(server)
            with connected(server.port) as newcomer:
                assert_503(newcomer)
            half_sent.send(b"\r\n")
            assert half_sent.answer().status == 200
            bench.release.set()
            assert runs.answer().status == 200

    def test_when_all_are_busy_a_newcomer_gets_503_and_the_next_is_served_again(self, bench: Bench) -> None:
        with serving(bench, max_connections=2) as server, many(server.port, 2) as clients:
            for client in clients:
                client.send(request("/busy"))
                assert bench.entered.acquire(timeout=10)
            with connected(server.port) as newcomer:
                assert_503(newcomer)
            wait_for_count(server, 2)
            bench.release.set()
            for client in clients:
                assert client.answer().status == 200
            with connected(server.port) as newcomer:
                assert newcomer.ask("/").status == 200

    def test_the_503_reaches_a_client_that_has_sent_its_request_already(self, bench: Bench) -> None:
        with serving(bench, max_connections=1) as server, connected(server.port) as client:
            client.send(request("/busy"))
            assert bench.entered.acquire(timeout=10)
            with connected(server.port) as newcomer:
                newcomer.send(request("/echo", method="POST", body=bytes(100_000)))
                assert_503(newcomer)

    def test_a_flood_at_the_cap_holds_few_descriptors(self, bench: Bench) -> None:
        with serving(bench, max_connections=1) as server, connected(server.port) as client:
            client.send(request("/busy"))
            assert bench.entered.acquire(timeout=10)
            with many(server.port, 100) as flood:
                for each in flood[-50:]:
                    assert each.rest() == b""  # more than a few are not even told 503
                assert len(server.worker.service.connections) <= 1 + 20
                bench.release.set()
                assert client.answer().status == 200
            wait_for_count(server, 1)
            assert client.ask("/").status == 200

    def test_who_was_turned_away_and_stays_is_cut_off(self, bench: Bench) -> None:
        with serving(bench, max_connections=1) as server, connected(server.port) as client:
            client.send(request("/busy"))
            assert bench.entered.acquire(timeout=10)
            with connected(server.port) as newcomer:
                assert newcomer.answer().status == 503
                wait_for_count(server, 1)

    def test_what_is_turned_away_is_in_the_request_log(
        self, bench: Bench, capsys: pytest.CaptureFixture[str]
    ) -> None:
        options: dict[str, Any] = {
            "logs": True,
            "limits": LimitsConfig(max_connections=1),
            "timeout": NO_TIMEOUTS,
        }
        with running_server(bench.app, **options) as server, connected(server.port) as client:
            client.send(request("/busy"))
            assert bench.entered.acquire(timeout=10)
            with connected(server.port) as newcomer:
                assert_503(newcomer)
            bench.release.set()
            assert client.answer().status == 200
        assert [line.split()[3:5] for line in capsys.readouterr().out.splitlines()] == [
            ["-", "503"],
            ["/busy", "200"],
        ]


def half_sent_is_read(server: LiveServer) -> None:
    """Wait until no connection of the server is idle."""
    watch = Stopwatch()
    while any(each.is_idle() for each in list(server.worker.service.connections)):
        assert watch.seconds < 10
        time.sleep(0.01)


def assert_503(client: RawClient) -> None:
    answer = client.answer()
    assert answer.status == 503
    assert int(answer.values("retry-after")[0]) >= 1
    assert answer.options("connection") == ["close"]
    client.finish_sending()
    assert client.ends_silently()


FEW_DESCRIPTORS = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
from cello import App
app = App()
app.get("/")(lambda request: "home")
app.run(port=0, env="production")
"""


@needs_proc
def test_few_descriptors_still_serve_new_clients(tmp_path: Path) -> None:
    with running_script(tmp_path, FEW_DESCRIPTORS) as server, many(server.port, 200) as clients:
        for _ in range(3):
            with connected(server.port) as newcomer:
                assert newcomer.ask("/").body == b"home"
        assert clients[0].rest() == b""
        cpu_before = server.cpu_seconds()
        time.sleep(0.5)
        assert server.cpu_seconds() - cpu_before < 0.25
        assert server.is_running
        assert "max_connections=10000 is more than the descriptor limit of 64" in server.stderr.text


class TestSizes:
    def test_413_by_content_length_comes_before_the_body_is_sent(self, bench: Bench) -> None:
        with serving(bench, max_request_size=1000) as server, connected(server.port) as client:
            client.send(b"POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 1001\r\n\r\n")
            assert_413_and_close(client)

    def test_a_body_of_just_the_limit_is_taken(self, bench: Bench) -> None:
        with serving(bench, max_request_size=1000) as server, connected(server.port) as client:
            assert client.ask("/echo", method="POST", body=bytes(1000)).body == b"1000"
            assert client.ask("/small", method="POST", body=bytes(10)).body == b"10"
            assert client.ask("/small", method="POST", body=bytes(11)).status == 413

    def test_413_while_chunks_arrive(self, bench: Bench) -> None:
        with serving(bench, max_request_size=1000) as server, connected(server.port) as client:
            client.send(b"POST /echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in range(2):
                client.send(b"1f4\r\n" + bytes(500) + b"\r\n")
            assert client.is_quiet(0.2)
            client.send(b"1\r\n.\r\n")
            assert_413_and_close(client)

    def test_a_client_that_sends_20_mb_and_reads_meanwhile_sees_413(self, bench: Bench) -> None:
        with serving(bench) as server, connected(server.port) as client:
            sender = threading.Thread(target=send_regardless, args=(client, upload(20 * MIB)))
            sender.start()
            assert client.answer().status == 413
            sender.join()

    @pytest.mark.parametrize("size", [11 * MIB, 15 * MIB])
    def test_a_client_that_reads_only_when_all_is_sent_sees_413(self, bench: Bench, size: int) -> None:
        with serving(bench) as server, connected(server.port) as client:
            client.send(upload(size))
            assert client.answer().status == 413
            assert client.ends_silently()

    def test_a_refused_client_that_never_stops_sending_is_cut_off(self, bench: Bench) -> None:
        with serving(bench) as server, connected(server.port) as client:
            send_regardless(client, upload(400 * MIB))
            wait_for_count(server, 0)

    def test_431_for_too_many_fields_and_for_too_many_octets(self, bench: Bench) -> None:
        with serving(bench, max_headers=20) as server:
            with connected(server.port) as client:
                lines = [f"X-{number}: 1" for number in range(19)]
                assert client.ask("/", *lines).status == 200
                assert client.ask("/", *lines, "X-More: 1").status == 431
                assert client.ends_silently()
            with connected(server.port) as client:
                assert client.ask("/", "X-Long: " + "x" * 60_000).status == 200
                assert client.ask("/", "X-Long: " + "x" * 70_000).status == 431
                assert client.ends_silently()


def upload(size: int) -> bytes:
    return request("/echo", method="POST", body=bytes(size))


def send_regardless(client: RawClient, octets: bytes) -> None:
    """Send until the peer has had enough."""
    try:
        client.send(octets)
    except (BrokenPipeError, ConnectionResetError):
        return


def assert_413_and_close(client: RawClient) -> None:
    answer = client.answer()
    assert answer.status == 413
    assert answer.options("connection") == ["close"]
    assert client.ends_silently()


MEMORY_APP = """
import asyncio
from cello import App, TimeoutConfig
app = App()
LARGE = bytes(1 << 20)

@app.get("/inline", blocking=False)
def inline(request):
    return {"n": 1}

@app.get("/thread")
def thread(request):
    return {"n": 1}

@app.get("/task")
async def task(request):
    return {"n": 1}

@app.get("/large", blocking=False)
def large(request):
    return bytes(LARGE)

@app.get("/stream")
async def stream(request):
    for _ in range(1000):
        yield bytes(LARGE)

@app.get("/plain-stream")
def plain_stream(request):
    for _ in range(1000):
        yield bytes(LARGE)

@app.post("/hold", stream=True, max_request_size=1 << 40)
async def hold(request):
    await asyncio.sleep(600)

@app.post("/ignore", stream=True, max_request_size=1 << 40)
async def ignore(request):
    return "ignored"

app.run(port=0, env="production", timeout=TimeoutConfig(None, None, None))
"""


@pytest.fixture(scope="module")
def memory_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A process whose memory is nobody else's."""
    with running_script(tmp_path_factory.mktemp("memory"), MEMORY_APP) as server:
        with connected(server.port) as client:
            assert client.ask("/thread").status == 200
        yield server


@needs_proc
class TestMemory:
    @pytest.mark.parametrize("target", ["/inline", "/thread", "/task", "/large", "/stream", "/plain-stream"])
    def test_a_pipelining_client_that_reads_nothing_is_held_off(
        self, memory_server: Process, target: str
    ) -> None:
        before = memory_server.rss_bytes()
        flood = request(target) * (64 * MIB // len(request(target)))
        with connected(memory_server.port, has_small_buffer=True) as client:
            assert client.send_what_fits(flood) < KERNEL_BYTES
            assert memory_server.rss_bytes() - before < 16 * MIB

    @pytest.mark.parametrize("framing", ["Content-Length: 1000000000", "Transfer-Encoding: chunked"])
    def test_an_upload_that_nobody_reads_is_held_off(self, memory_server: Process, framing: str) -> None:
        before = memory_server.rss_bytes()
        head = f"POST /hold HTTP/1.1\r\nHost: test\r\n{framing}\r\n\r\n".encode()
        with connected(memory_server.port) as client:
            body = (b"100000\r\n" + LARGE + b"\r\n") * 64 if "chunked" in framing else LARGE * 64
            assert client.send_what_fits(head + body) < KERNEL_BYTES
            assert memory_server.rss_bytes() - before < 8 * MIB

    def test_an_upload_that_nobody_wants_is_dropped(self, memory_server: Process) -> None:
        before = memory_server.rss_bytes()
        with connected(memory_server.port) as client:
            client.send(b"POST /ignore HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in range(1000):
                client.send(b"200\r\n" + bytes(512) + b"\r\n")
            client.send(b"0\r\n\r\n")
            assert client.answer().body == b"ignored"
            assert client.ask("/inline").status == 200
        assert memory_server.rss_bytes() - before < 8 * MIB

    def test_many_half_sent_requests_cost_little_each(self, memory_server: Process) -> None:
        before = memory_server.rss_bytes()
        with many(memory_server.port, 200) as clients:
            for client in clients:
                client.send(request("/inline")[:-2] + b"X-Long: " + b"x" * 30_000)
            time.sleep(0.2)
            assert (memory_server.rss_bytes() - before) / len(clients) < 150_000


class TestFlow:
    def test_a_slow_reader_of_a_huge_stream_holds_little(self, bench: Bench) -> None:
        with serving(bench) as server, connected(server.port, has_small_buffer=True) as client:
            client.send(request("/huge"))
            produced = settled(lambda: bench.produced_bytes)
            assert MIB <= produced < KERNEL_BYTES
            (connection,) = server.worker.service.connections
            assert connection.transport.get_write_buffer_size() <= 65536 + len(LARGE) + 100
            read_bytes = 0
            while read_bytes < 8 * MIB:
                read_bytes += len(client.sock.recv(65536))
            assert produced < settled(lambda: bench.produced_bytes) < produced + KERNEL_BYTES

    def test_an_upload_waits_for_its_handler_and_then_comes_whole(self, bench: Bench) -> None:
        size = 64 * MIB
        with serving(bench) as server, connected(server.port) as client:
            octets = request("/hold", f"Content-Length: {size}", method="POST") + bytes(size)
            sent = client.send_what_fits(octets)
            assert bench.entered.acquire(timeout=10)
            assert sent < KERNEL_BYTES
            bench.release.set()
            client.send(octets[sent:])
            assert client.answer().body == str(size).encode()
            assert client.ask("/").status == 200


def settled(measure: Any) -> int:
    """Return a growing number once it has stood still for a while."""
    last, since = int(measure()), Stopwatch()
    overall = Stopwatch()
    while since.seconds < 0.4 or not last:
        assert overall.seconds < 20
        time.sleep(0.02)
        if int(measure()) != last:
            last, since = int(measure()), Stopwatch()
    return last


def test_the_log_says_who_made_room(bench: Bench) -> None:
    with (
        watching_log() as log,
        serving(bench, max_connections=1) as server,
        connected(server.port) as idle,
        connected(server.port) as newcomer,
    ):
        assert newcomer.ask("/").status == 200
        assert idle.ends_silently()
        assert "the limit of 1 connections" in log.wait_for("idle ones closed to make room")
