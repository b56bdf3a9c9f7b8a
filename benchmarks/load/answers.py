"""A client of one request at a time, which checks what it is told.

The generator only counts. That the counted answers are right is established here: before the timed run, a few
times while it goes on, and after it, each time with a new value that the answer has to carry.
"""

from __future__ import annotations

import random
import socket
from dataclasses import dataclass
from types import TracebackType

from benchmarks.load.scenarios import Scenario, is_expected


class BadAnswer(Exception):
    """A contender answered something else than what was asked."""


@dataclass(frozen=True)
class Answer:
    """A whole response; ``size_bytes`` counts head and body as they were on the wire."""

    status: int
    content_type: str
    body: bytes
    size_bytes: int


def content_length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return int(value)
    raise BadAnswer(f"expected Content-Length, got {head!r}")


def parse(head: bytes, body: bytes) -> Answer:
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
    return Answer(
        status=int(head.split(b" ", 2)[1]),
        content_type=fields.get(b"content-type", b"").decode("latin-1"),
        body=body,
        size_bytes=len(head) + 4 + len(body),
    )


class Client:
    """One keep-alive connection."""

    def __init__(self, port: int, timeout_seconds: float = 5.0) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout_seconds)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.port = port
        self.timeout_seconds = timeout_seconds

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def receive(self, so_far: bytes) -> bytes:
        data = self.socket.recv(65536)
        if not data:
            raise BadAnswer(f"the connection was closed after {so_far!r}")
        return so_far + data

    def get(self, target: str) -> Answer:
        self.socket.sendall(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n\r\n".encode())
        data = b""
        while b"\r\n\r\n" not in data:
            data = self.receive(data)
        head, _, body = data.partition(b"\r\n\r\n")
        length = content_length(head)
        while len(body) < length:
            body = self.receive(body)
        return parse(head, body)

    def is_open(self) -> bool:
        """Has the server left this idle connection open?"""
        self.socket.setblocking(False)  # with a timeout, Python waits whatever recv's flags say
        try:
            return bool(self.socket.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return True
        except OSError:
            return False
        finally:
            self.socket.settimeout(self.timeout_seconds)


def ask(client: Client, scenario: Scenario, *, echoes: bool) -> Answer:
    """One checked request with a value of its own.

    ``echoes=False`` is for the bare protocol, whose answer never changes. Raises BadAnswer, or OSError.
    """
    value = random.randint(100_000, 999_999)
    answer = client.get(scenario.target(value))
    if answer.status != 200 or not answer.content_type.startswith("application/json"):
        raise BadAnswer(f"expected a 200 of application/json, got {answer}")
    if echoes and not is_expected(answer.body, value):
        raise BadAnswer(f"expected a document with n={value}, got {answer.body!r}")
    return answer
