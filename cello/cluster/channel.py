"""Messages between the supervisor and its processes: a JSON object a line, with descriptors where they go.

Nothing here ever waits to send: what a peer does not take now is kept and sent with the next ``flush``.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Sequence
from typing import Any

Message = dict[str, Any]

_READ_BYTES = 65536
_MOST_DESCRIPTORS = 250  # SCM_MAX_FD is 253
_MOST_WAITING_BYTES = 1 << 20


class Closed(Exception):
    """The peer has closed the channel, or has died."""


class Channel:
    """One end of a connected pair of sockets; owns the socket."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._input = b""
        self._output = bytearray()
        self.descriptors: list[int] = []
        """What has come and was not taken yet; messages say how many are theirs."""

    def fileno(self) -> int:
        """Return the descriptor, for selectors and event loops."""
        return self._sock.fileno()

    def send(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Send a message, with descriptors at once; a peer that is dead or deaf is no error."""
        line = json.dumps(message, separators=(",", ":")).encode() + b"\n"
        if descriptors:
            self._send_descriptors(line, descriptors)
            return
        if len(self._output) < _MOST_WAITING_BYTES:  # else the peer has not read for hours
            self._output += line
        self.flush()

    def _send_descriptors(self, line: bytes, descriptors: Sequence[int]) -> None:
        self._sock.settimeout(1.0)
        try:
            with contextlib.suppress(OSError):
                self._sock.sendall(self._output)
                self._output.clear()
                sent = socket.send_fds(self._sock, [line], list(descriptors))
                self._sock.sendall(line[sent:])
        finally:
            self._sock.setblocking(False)

    def flush(self) -> None:
        """Send what waits, as far as the peer takes it."""
        with contextlib.suppress(OSError):
            while self._output:
                del self._output[: self._sock.send(self._output)]

    def receive(self) -> list[Message]:
        """Return the messages that are there, perhaps none; raises Closed at the end of the stream."""
        is_over = False
        while True:
            try:
                data = self._read()
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                data = b""
            if not data:
                is_over = True
                break
            self._input += data
        *lines, self._input = self._input.split(b"\n")
        messages = [json.loads(line) for line in lines]
        if is_over and not messages:
            raise Closed
        return messages

    def _read(self) -> bytes:
        if not hasattr(socket, "recv_fds"):
            return self._sock.recv(_READ_BYTES)
        data, descriptors, _, _ = socket.recv_fds(self._sock, _READ_BYTES, _MOST_DESCRIPTORS)
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        self.descriptors += descriptors
        return data

    def take(self, count: int) -> list[int]:
        """Return the next descriptors that have come; they are the caller's from now on."""
        taken, self.descriptors = self.descriptors[:count], self.descriptors[count:]
        return taken

    def close(self) -> None:
        """Close the socket and the descriptors that nobody took."""
        for descriptor in self.take(len(self.descriptors)):
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self._sock.close()


def make_channel() -> tuple[Channel, socket.socket]:
    """Return a channel and the socket for its other end, which a process to come inherits."""
    ours, theirs = socket.socketpair()
    return Channel(ours), theirs
