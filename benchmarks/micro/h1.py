"""What one request costs between the transport and the handler, without a socket.

``python -m benchmarks.micro.h1``

A connection is driven through ``data_received`` with a transport that only counts, so that parse, dispatch,
handler, JSON and serialization are all that is timed. Quote the minimum; compare with CELLO_NO_EXTENSIONS=1.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from typing import Any

from cello import IMPLEMENTATION, App, Request
from cello.config import RunArguments
from cello.options import resolve_options
from cello.server.h1 import Gate, H1Clock, make_connection, make_service
from cello.threads import HandlerPool


class CountingTransport:
    """A transport that takes everything at once."""

    written = 0

    def write(self, data: bytes) -> None:
        self.written += 1

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 50000) if name == "peername" else default

    def get_write_buffer_size(self) -> int:
        return 0

    def close(self) -> None: ...

    def abort(self) -> None: ...


def application() -> App:
    app = App()

    @app.get("/plain", blocking=False)
    def plain(request: Request) -> dict[str, object]:
        return {"message": "hello"}

    @app.get("/json", blocking=False)
    def query(request: Request) -> dict[str, object]:
        return {"message": "hello", "n": request.query["n"]}

    @app.get("/users/{id}", blocking=False)
    def user(request: Request) -> dict[str, object]:
        return {"message": "hello", "n": request.params["id"]}

    return app


def connection() -> Any:
    """Return a connection to a production application, with its transport."""
    options = resolve_options(RunArguments(env="production"))
    dispatcher = application().build(HandlerPool(1), options)
    service = make_service(
        dispatcher,
        max_headers=options.limits.max_headers,
        request_seconds=30,
        stall_seconds=30,
        keep_alive_seconds=75,
        tick_seconds=0.1,
        is_tls=False,
    )
    Gate(service, 100, lambda: None, lambda: None)
    H1Clock(service, "cello", time.monotonic, time.time)
    made = make_connection(service)
    made.connection_made(CountingTransport())
    return made


def measure(target: str, depth: int, count: int, rounds: int) -> float:
    """Return the least nanoseconds of CPU per request."""
    data = f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n\r\n".encode() * depth
    made = connection()
    receive = made.data_received
    best = float("inf")
    for _ in range(rounds):
        started = time.process_time_ns()
        for _ in range(count // depth):
            receive(data)
        best = min(best, (time.process_time_ns() - started) / (count // depth * depth))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=50_000, help="requests a round")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    asyncio.set_event_loop(asyncio.new_event_loop())
    print(f"{IMPLEMENTATION}: ns of CPU per request")
    for target in ("/plain", "/json?n=123456", "/users/123456"):
        for depth in (1, 16):
            print(f"{target:>16} {depth:>3} deep {measure(target, depth, args.count, args.rounds):>8.0f}")


if __name__ == "__main__":
    main()
