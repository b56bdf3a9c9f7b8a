"""A raw client: one connection, octets out, answers in.

For tests that care about connections and not about messages. Every wait is bounded, and what the server
writes is read by the strict reader of answer_reader.py.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.kit.answer_reader import Answer, read_answer

PATIENCE_SECONDS = 10.0
RECEIVE_BYTES = 65536
SMALL_BUFFER_BYTES = 131072


def request(
    target: str = "/", *lines: str, method: str = "GET", body: bytes = b"", version: str = "1.1"
) -> bytes:
    """Render a request; ``lines`` are more field lines, and Content-Length is added to a body."""
    if body:
        lines = (*lines, f"Content-Length: {len(body)}")
    head = "\r\n".join([f"{method} {target} HTTP/{version}", "Host: test", *lines])
    return head.encode("latin-1") + b"\r\n\r\n" + body


class RawClient:
    """One connection; ``sock`` is a TCP socket or one that speaks TLS."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._octets = b""
        sock.settimeout(PATIENCE_SECONDS)

    def send(self, octets: bytes) -> None:
        """Send octets as they are."""
        self.sock.sendall(octets)

    def send_what_fits(self, octets: bytes, quiet_seconds: float = 0.5) -> int:
        """Send octets until the peer has taken none for a while; returns how many it took."""
        rest = memoryview(octets)
        self.sock.setblocking(False)
        try:
            while rest and select.select([], [self.sock], [], quiet_seconds)[1]:
                with contextlib.suppress(BlockingIOError):
                    rest = rest[self.sock.send(rest) :]
        finally:
            self.sock.settimeout(PATIENCE_SECONDS)
        return len(octets) - len(rest)

    def finish_sending(self) -> None:
        """End this side of the connection (FIN)."""
        self.sock.shutdown(socket.SHUT_WR)

    def ask(self, target: str = "/", *lines: str, method: str = "GET", body: bytes = b"") -> Answer:
        """Send a request and return its answer."""
        self.send(request(target, *lines, method=method, body=body))
        return self.answer(method)

    def answer(self, method: str = "GET") -> Answer:
        """Read the next answer, interim ones too; asserts that one comes."""
        is_eof = False
        while True:
            found = read_answer(self._octets, method, is_eof)
            if found is not None:
                self._octets = self._octets[found[1] :]
                return found[0]
            assert not is_eof, f"the connection ended without an answer, behind {self._octets[:200]!r}"
            received = self.sock.recv(RECEIVE_BYTES)
            is_eof = not received
            self._octets += received

    def rest(self) -> bytes:
        """Read to the end of the connection; raises ConnectionResetError."""
        pieces = [self._octets]
        self._octets = b""
        while piece := self.sock.recv(RECEIVE_BYTES):
            pieces.append(piece)
        return b"".join(pieces)

    def ends_silently(self) -> bool:
        """Tell whether the connection ends, in order, without another octet."""
        return self.rest() == b""

    def is_quiet(self, seconds: float = 0.0) -> bool:
        """Tell whether nothing comes for so long, neither octets nor the end."""
        return not self._octets and not select.select([self.sock], [], [], seconds)[0]

    def reset(self) -> None:
        """Break the connection off with a reset, as a client that crashed does."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


@contextmanager
def connected(
    port: int, host: str = "127.0.0.1", *, tls: ssl.SSLContext | None = None, has_small_buffer: bool = False
) -> Iterator[RawClient]:
    """Open a connection, over TLS with a context, and close it when the block ends.

    With a small receive buffer, little of what the server sends can hide in this machine's kernel.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.settimeout(PATIENCE_SECONDS)
        if has_small_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER_BYTES)
        sock.connect((host, port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is None:
            yield RawClient(sock)
            return
        with tls.wrap_socket(sock, server_hostname="localhost") as secured:
            yield RawClient(secured)


@contextmanager
def connected_at(path: str | os.PathLike[str], *, tls: ssl.SSLContext | None = None) -> Iterator[RawClient]:
    """Open a connection to a unix domain socket, over TLS with a context; closed when the block ends."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(PATIENCE_SECONDS)
        sock.connect(os.fspath(path))
        if tls is None:
            yield RawClient(sock)
            return
        with tls.wrap_socket(sock, server_hostname="localhost") as secured:
            yield RawClient(secured)


def is_refused(port: int) -> bool:
    """Tell whether nobody listens on a port any more."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS).close()
    except (ConnectionRefusedError, ConnectionResetError):  # closed while we stood in its queue
        return True
    return False


def wait_until_refused(port: int) -> None:
    """Wait until nobody listens on a port any more."""
    watch = Stopwatch()
    while not is_refused(port):
        assert watch.seconds < PATIENCE_SECONDS, f"somebody still listens on port {port}"
        time.sleep(0.02)


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """How many have passed."""
        return time.monotonic() - self._started
