"""Compressed answers on real sockets: events one by one, clients that leave, others that go on meanwhile."""

from __future__ import annotations

import asyncio
import socket
import threading
import zlib
from collections.abc import Iterator
from typing import Any

import pytest

from cello import App, Response
from cello.testing import LiveServer
from tests.kit.log_watch import wait_until, watching_log
from tests.kit.raw import PATIENCE_SECONDS, connected
from tests.kit.server import running_server

LARGE = "".join(f"line {number}\n" for number in range(400_000))
EVENTS = b"GET /events HTTP/1.1\r\nHost: test\r\nAccept-Encoding: %s\r\n\r\n"
ASK_LARGE = b"GET /large HTTP/1.1\r\nHost: test\r\nAccept-Encoding: gzip\r\n\r\n"


class Bench:
    """An application whose events are sent when the test says so."""

    def __init__(self) -> None:
        self.next = threading.Semaphore(0)
        app = self.app = App()
        app.get("/large", blocking=False)(lambda request: LARGE)
        app.get("/", blocking=False)(lambda request: "home")
        app.get("/events")(self.events)
        app.enable_compression()

    async def events(self, request: Any) -> Response:
        async def each() -> Any:
            for number in range(3):
                while not self.next.acquire(blocking=False):
                    await asyncio.sleep(0.005)
                yield f"data: {number}\n\n"

        return Response.stream(each(), content_type="text/event-stream")


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def server(bench: Bench) -> Iterator[LiveServer]:
    with running_server(bench.app) as server:
        yield server


def test_events_arrive_one_by_one_through_gzip(bench: Bench, server: LiveServer) -> None:
    decoder = zlib.decompressobj(31)
    with socket.create_connection((server.host, server.port), timeout=PATIENCE_SECONDS) as client:
        client.sendall(EVENTS % b"gzip")
        received, seen = b"", b""
        for number in range(3):
            bench.next.release()
            while seen.count(b"\n\n") <= number:
                received += client.recv(65536)
                head, _, body = received.partition(b"\r\n\r\n")
                seen = zlib.decompressobj(31).decompress(dechunked(body))
            assert seen.endswith(b"data: %d\n\n" % number)
        while not received.endswith(b"0\r\n\r\n"):
            received += client.recv(65536)
        assert b"content-encoding: gzip" in head
        assert b"content-length" not in head
        whole = decoder.decompress(dechunked(received.partition(b"\r\n\r\n")[2]))
        assert (whole, decoder.eof) == (b"data: 0\n\ndata: 1\n\ndata: 2\n\n", True)


def dechunked(octets: bytes) -> bytes:
    """Return what has come whole of a chunked body."""
    body = b""
    while True:
        size, separator, rest = octets.partition(b"\r\n")
        if not separator or len(rest) < int(size, 16) + 2 or int(size, 16) == 0:
            return body
        body += rest[: int(size, 16)]
        octets = rest[int(size, 16) + 2 :]


def test_clients_that_leave_before_their_answer_is_compressed_harm_nobody(server: LiveServer) -> None:
    with watching_log() as log:
        for _ in range(30):
            with socket.create_connection((server.host, server.port), timeout=PATIENCE_SECONDS) as client:
                client.sendall(ASK_LARGE)
        with connected(server.port) as client:
            assert client.ask("/").body == b"home"
            client.send(ASK_LARGE)
            answer = client.answer()
            assert zlib.decompress(answer.body, 31).decode() == LARGE
        wait_until(lambda: not server.worker.service.connections)
        assert "ERROR" not in log.text


def test_what_is_pipelined_behind_a_large_answer_waits_for_it(server: LiveServer) -> None:
    with connected(server.port) as client:
        client.send((ASK_LARGE + b"GET / HTTP/1.1\r\nHost: test\r\n\r\n") * 5)
        for _ in range(5):
            assert zlib.decompress(client.answer().body, 31).decode() == LARGE
            assert client.answer().body == b"home"
