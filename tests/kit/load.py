"""A load that counts: every connection opened, every request sent, and what became of each. It never retries.

Half of the clients keep their connections alive, half open one per request; some requests take long. What was
sent and not answered with 200 is lost, whatever the reason; a connection that the server closed while nothing
was asked on it, or that it announced to close, is opened anew and no loss.
"""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

ANSWER_SECONDS = 20.0


@dataclass
class Loss:
    """A request that was not answered, or a connection that was not made."""

    kind: str  # "refused" where there was no connection
    target: str
    reason: str
    began_at: float
    ended_at: float
    pid: int | None  # of the process that served this connection before, where that is known


@dataclass
class Answer:
    """A request that was answered."""

    pid: int
    began_at: float
    ended_at: float
    is_fresh: bool
    target: str


@dataclass
class Load:
    """Clients in a thread of their own; rates are requests per second, of all clients together."""

    port: int
    kept: int = 20
    fresh: int = 20
    rate: float = 200.0
    slow_share: float = 0.02
    target: str = "/"
    sent: int = 0
    opened: int = 0
    answers: list[Answer] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    in_flight: dict[int, tuple[str, float, int | None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._stopping = False
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._random = random.Random(self.port)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Send nothing more, and wait for what is under way."""
        self._stopping = True
        if self._thread.is_alive():
            self._thread.join(ANSWER_SECONDS + 5)
        assert not self._thread.is_alive()

    @property
    def lost(self) -> list[Loss]:
        """What was sent and not answered; after ``stop`` this is all that was sent but the answers."""
        return [loss for loss in self.losses if loss.kind != "refused"]

    @property
    def refused(self) -> list[Loss]:
        """Connections that were not made."""
        return [loss for loss in self.losses if loss.kind == "refused"]

    @property
    def pids(self) -> Counter[int]:
        """How many answers each process gave."""
        return Counter(answer.pid for answer in self.answers)

    def check(self) -> None:
        """Check that the books balance: what was sent is answered, or lost."""
        assert self.sent == len(self.answers) + len(self.lost), (self.sent, len(self.answers), self.losses)

    def wait_for(self, count: int) -> None:
        """Wait until so many more requests have been answered."""
        goal = len(self.answers) + count
        deadline = time.monotonic() + ANSWER_SECONDS
        while len(self.answers) < goal:
            assert time.monotonic() < deadline, (
                f"{goal - len(self.answers)} answers are missing: {self.losses[-3:]}"
            )
            time.sleep(0.01)

    def seconds_until_answer(self, since: float, pids: set[int]) -> float:
        """Return how long after a moment one of these processes answered something asked after it."""
        return min(
            (
                answer.ended_at - since
                for answer in self.answers
                if answer.pid in pids and answer.began_at > since
            ),
            default=float("inf"),
        )

    def slowest(self, since: float) -> float:
        """Return the longest that a fresh, quick request took which began after a moment."""
        return max(
            (
                answer.ended_at - answer.began_at
                for answer in self.answers
                if answer.began_at >= since and answer.is_fresh and answer.target == self.target
            ),
            default=0.0,
        )

    async def _run(self) -> None:
        clients = [self._keep() for _ in range(self.kept)] + [self._open_anew() for _ in range(self.fresh)]
        await asyncio.gather(*clients)

    async def _pause(self) -> None:
        mean = (self.kept + self.fresh) / self.rate
        await asyncio.sleep(self._random.uniform(0.5, 1.5) * mean)

    def _choose(self) -> str:
        return "/slow" if self._random.random() < self.slow_share else self.target

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        began_at = time.monotonic()
        try:
            reader, writer = await asyncio.wait_for(
                asyncio.open_connection("127.0.0.1", self.port), ANSWER_SECONDS
            )
        except (OSError, TimeoutError) as exc:
            self._lose("refused", "", repr(exc), began_at, None)
            return None
        self.opened += 1
        return reader, writer

    async def _keep(self) -> None:
        connection: Any = None
        pid: int | None = None
        while not self._stopping:
            await self._pause()
            if connection is not None and connection[0].at_eof():
                connection[1].close()
                connection = None
            if connection is None:
                pid = None
                connection = await self._open()
                if connection is None:
                    continue
            stays, pid = await self._ask(connection, pid, is_fresh=False)
            if not stays:
                connection[1].close()
                connection = None
        if connection is not None:
            connection[1].close()

    async def _open_anew(self) -> None:
        while not self._stopping:
            await self._pause()
            connection = await self._open()
            if connection is not None:
                await self._ask(connection, None, is_fresh=True)
                connection[1].close()

    async def _ask(self, connection: Any, pid: int | None, *, is_fresh: bool) -> tuple[bool, int | None]:
        reader, writer = connection
        target, began_at = self._choose(), time.monotonic()
        number = self.sent
        self.sent += 1
        self.in_flight[number] = (target, began_at, pid)
        close = "Connection: close\r\n" if is_fresh else ""
        try:
            writer.write(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n{close}\r\n".encode())
            head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), ANSWER_SECONDS)).lower()
            length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
            body = await asyncio.wait_for(reader.readexactly(length), ANSWER_SECONDS)
            if b" 200 " not in head.split(b"\r\n")[0]:
                raise ConnectionError(head.split(b"\r\n")[0].decode())
            pid = json.loads(body)["pid"]
        except (OSError, asyncio.IncompleteReadError, TimeoutError) as exc:
            self._lose("kept" if not is_fresh else "fresh", target, repr(exc), began_at, pid)
            return False, None
        finally:
            del self.in_flight[number]
        assert pid is not None
        self.answers.append(Answer(pid, began_at, time.monotonic(), is_fresh, target))
        with suppress(OSError):
            await writer.drain()
        return b"connection: close" not in head, pid

    def _lose(self, kind: str, target: str, reason: str, began_at: float, pid: int | None) -> None:
        self.losses.append(Loss(kind, target, reason, began_at, time.monotonic(), pid))
