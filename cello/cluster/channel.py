"""Messages between the supervisor and its processes: a JSON object a line, with descriptors where they go.

Nothing here ever waits to send: what a peer does not take now is kept, its descriptors as duplicates, and
sent with the next ``flush``, in order. Descriptors go with their message's first byte, so that they are there
when the message is.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections import deque
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
        self._waiting: deque[tuple[bytes, list[int]]] = deque()
        self._is_peer_gone = False
        self.descriptors: list[int] = []
        """What has come and was not taken yet; messages say how many are theirs."""

    def fileno(self) -> int:
        """Return the descriptor, for selectors and event loops."""
        return self._sock.fileno()

    def send(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Send a message, with descriptors that stay the caller's; a peer that is dead or deaf is no error.

        Raises OSError when the descriptors of a message that has to wait cannot be duplicated.
        """
        line = json.dumps(message, separators=(",", ":")).encode() + b"\n"
        self.flush()
        sent = 0 if self._waiting else self._send_now(line, descriptors)
        if sent == len(line) or self._is_peer_gone:
            return
        if sum(len(data) for data, _ in self._waiting) < _MOST_WAITING_BYTES:
            kept = [] if sent else [os.dup(descriptor) for descriptor in descriptors]
            self._waiting.append((line[sent:], kept))

    def flush(self) -> None:
        """Send what waits, as far as the peer takes it."""
        while self._waiting:
            data, descriptors = self._waiting[0]
            sent = self._send_now(data, descriptors)
            if not sent:
                break
            _close_all(descriptors)
            if sent < len(data):
                self._waiting[0] = (data[sent:], [])
            else:
                self._waiting.popleft()

    def _send_now(self, data: bytes, descriptors: Sequence[int]) -> int:
        try:
            if descriptors:
                return socket.send_fds(self._sock, [data], list(descriptors))
            return self._sock.send(data)
        except (BrokenPipeError, ConnectionResetError):
            self._is_peer_gone = True
            self._drop_waiting()
        except OSError:  # it takes no more for now
            pass
        return 0

    def _drop_waiting(self) -> None:
        for _, descriptors in self._waiting:
            _close_all(descriptors)
        self._waiting.clear()

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
        """Close the socket, and the descriptors that nobody took or that were not sent yet."""
        _close_all(self.take(len(self.descriptors)))
        self._drop_waiting()
        self._sock.close()


def _close_all(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            os.close(descriptor)


def make_channel() -> tuple[Channel, socket.socket]:
    """Return a channel and the socket for its other end, which a process to come inherits."""
    ours, theirs = socket.socketpair()
    return Channel(ours), theirs
