"""What an idle keep-alive connection costs in memory.

The server's resident memory is read at rest, with half of the connections, with all of them, and after they
are closed; then the same once more in the same server. The first half pays for the heap's growth and for
whatever is made once, so three figures stand side by side:

* ``first``: all the growth over all the connections, what an operator sees after a start;
* ``marginal``: the growth of the second half alone, without what is paid once;
* ``again``: what the second filling asks of the system on top of what the first one left in the heap.

``kept`` is what stays after the second closing beyond what stayed after the first. A leak would show there,
and so would an allocator that hands memory back late.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.load import proc
from benchmarks.load.answers import BadAnswer, Client, ask
from benchmarks.load.contenders import ROOT, Contender, server_environment
from benchmarks.load.scenarios import IDLE, LOADS
from benchmarks.load.server import BadServer, Running, running
from benchmarks.load.settings import Settings

SETTLE_SECONDS = 0.3
SETTLE_READINGS = 20
REST_REQUESTS = 200


@dataclass(frozen=True)
class Readings:
    """Resident bytes of the server, in the order in which they are read."""

    at_rest: int
    half: int
    full: int
    closed: int
    half_again: int
    full_again: int
    closed_again: int


@dataclass(frozen=True)
class IdleVisit:
    """The idle scenario of one contender; the figures are bytes per connection."""

    contender: str
    connections: int
    failure: str | None = None
    readings: Readings | None = None
    first: float | None = None
    marginal: float | None = None
    again: float | None = None
    kept: float | None = None
    scenario: str = IDLE


def figures(contender: str, connections: int, readings: Readings) -> IdleVisit:
    return IdleVisit(
        contender,
        connections,
        readings=readings,
        first=(readings.full - readings.at_rest) / connections,
        marginal=(readings.full - readings.half) / (connections - connections // 2),
        again=(readings.full_again - readings.closed) / connections,
        kept=(readings.closed_again - readings.closed) / connections,
    )


def settled(read: Callable[[], int], sleep: Callable[[float], None] = time.sleep) -> int:
    """Read until two readings in a row agree; the last one when they never do."""
    last = read()
    for _ in range(SETTLE_READINGS):
        sleep(SETTLE_SECONDS)
        now = read()
        if now == last:
            break
        last = now
    return last


class Crowd:
    """The connections' process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def tell(self, line: str) -> int:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(line, file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise BadAnswer(f"the client ended at {line!r}: {self.last_words()}")
        return int(answer)

    def last_words(self) -> str:
        assert self.process.stderr is not None
        return (self.process.stderr.read().strip().splitlines() or ["no message"])[-1]


@contextlib.contextmanager
def crowd(server: Running) -> Iterator[Crowd]:
    options = [] if server.contender.echoes else ["--fixed-answer"]
    command = [sys.executable, "-m", "benchmarks.load.idle_client", "--port", str(server.port), *options]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, cwd=ROOT, env=server_environment({}), stdin=pipe, stdout=pipe, stderr=pipe, text=True
    ) as process:
        try:
            yield Crowd(process)
        finally:
            process.kill()


def fill(server: Running, clients: Crowd, connections: int) -> tuple[int, int]:
    """The server's memory with half of the connections and with all of them."""

    def read() -> int:
        return proc.rss_bytes(server.pid)

    clients.tell(f"open {connections // 2}")
    half = settled(read)
    clients.tell(f"open {connections - connections // 2}")
    full = settled(read)
    still_open = clients.tell("count")
    if still_open != connections:
        raise BadAnswer(f"the server closed {connections - still_open} of {connections} idle connections")
    return half, full


def empty(server: Running, clients: Crowd) -> int:
    clients.tell("close")
    return settled(lambda: proc.rss_bytes(server.pid))


def wake(server: Running) -> None:
    """Some requests on one connection, so that what the first ones make is there before the first reading."""
    with Client(server.port) as client:
        for _ in range(REST_REQUESTS):
            ask(client, LOADS["json"], echoes=server.contender.echoes)


def measure(server: Running, connections: int) -> Readings:
    wake(server)
    at_rest = settled(lambda: proc.rss_bytes(server.pid))
    with crowd(server) as clients:
        half, full = fill(server, clients, connections)
        closed = empty(server, clients)
        half_again, full_again = fill(server, clients, connections)
        closed_again = empty(server, clients)
    return Readings(at_rest, half, full, closed, half_again, full_again, closed_again)


def visit(contender: Contender, settings: Settings) -> IdleVisit:
    """Start, fill, empty and end ``contender``; what goes wrong becomes the visit's failure."""
    connections = settings.idle_connections
    try:
        with running(contender, None, settings.server_core) as server:
            return figures(contender.name, connections, measure(server, connections))
    except (BadServer, BadAnswer, OSError, ValueError) as exc:
        return IdleVisit(contender.name, connections, failure=f"{type(exc).__name__}: {exc}")
