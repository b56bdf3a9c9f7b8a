"""A client that says exactly what a corpus case says, and hears all that comes back.

A case is a script of steps (send these octets, wait for that answer, shut down the writing side, ...). The
client reads while it sends, so that an early answer is seen even if the server then drops the connection,
and it always reads to the connection's end: only EOF proves that no surplus answer was still on its way.
Where the connection should stay open, a last request that asks for the close proves that it did, and brings
the EOF.

How a run of octets is cut into sends is the caller's choice: whole, octet by octet or at random.
"""

from __future__ import annotations

import random
import select
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.kit.answer_reader import Answer, AnswerReader, MalformedAnswer

CONVERSATION_SECONDS = 10.0
SINGLE_OCTETS_UP_TO = 4096
LONG_PIECE_BYTES = 1000
RECEIVE_BYTES = 65536

Split = Callable[[bytes], list[bytes]]


@dataclass(frozen=True)
class Octets:
    """Send these octets, cut as the split says."""

    octets: bytes


@dataclass(frozen=True)
class Drip:
    """Send these octets one at a time, with a rest behind each."""

    octets: bytes
    every_seconds: float


@dataclass(frozen=True)
class Await:
    """Send nothing more before an answer with this status has come."""

    status: int


@dataclass(frozen=True)
class AwaitCount:
    """Send nothing more before so many final answers have come."""

    count: int


@dataclass(frozen=True)
class Pause:
    """Send nothing for a while."""

    seconds: float


@dataclass(frozen=True)
class Fin:
    """Shut down the writing side."""


Step = Octets | Drip | Await | AwaitCount | Pause | Fin


@dataclass(frozen=True)
class Outcome:
    """What came of one conversation.

    ``end`` is ``eof``, ``reset``, ``timeout`` (the server neither answered nor closed) or ``malformed``,
    which ``note`` explains. ``octets`` is all that the server sent.
    """

    answers: tuple[Answer, ...]
    end: str
    note: str = ""
    octets: bytes = b""


def whole(octets: bytes) -> list[bytes]:
    """Send everything at once."""
    return [octets]


def bytewise(octets: bytes) -> list[bytes]:
    """Send single octets, or pieces of 1000 where there are too many."""
    size = 1 if len(octets) <= SINGLE_OCTETS_UP_TO else LONG_PIECE_BYTES
    return [octets[start : start + size] for start in range(0, len(octets), size)]


def split_at_random(seed: str) -> Split:
    """Cut at up to eight places that follow from the seed alone."""

    def split(octets: bytes) -> list[bytes]:
        source = random.Random(seed)
        inner = range(1, len(octets))
        places = sorted(source.sample(inner, min(len(inner), source.randint(1, 8))))
        return [octets[start:end] for start, end in zip([0, *places], [*places, len(octets)], strict=True)]

    return split


def converse(
    address: tuple[str, int],
    steps: Sequence[Step],
    methods: Sequence[str],
    split: Split = whole,
    reads_late: bool = False,
) -> Outcome:
    """Carry the script out on a new connection and return everything that was heard.

    ``methods`` are the requests' methods in order; ``reads_late`` lets the client send all before it reads.
    """
    with socket.create_connection(address, timeout=CONVERSATION_SECONDS) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        conversation = Conversation(sock, AnswerReader(methods), split, reads_late)
        for step in steps:
            conversation.perform(step)
        conversation.read_to_the_end()
        return conversation.outcome()


class Conversation:
    """One connection's progress: the answers so far, and how it ended."""

    def __init__(self, sock: socket.socket, reader: AnswerReader, split: Split, is_deaf: bool) -> None:
        self._sock = sock
        self._reader = reader
        self._split = split
        self._is_deaf = is_deaf
        self._deadline = time.monotonic() + CONVERSATION_SECONDS
        self._answers: list[Answer] = []
        self._awaited_count = 0
        self._octets = bytearray()
        self._end = ""
        self._note = ""
        self._is_broken = False
        self._was_reset = False

    def perform(self, step: Step) -> None:
        """Carry out one step, or nothing once the conversation is over."""
        match step:
            case Octets(octets):
                for piece in self._split(octets):
                    self._send(piece)
            case Drip(octets, every_seconds):
                for octet in octets:
                    self._send(bytes([octet]))
                    self._rest(every_seconds)
            case Await(status):
                self._read_until(lambda: self._has_come(status))
            case AwaitCount(count):
                self._read_until(lambda: sum(not answer.is_interim for answer in self._answers) >= count)
            case Pause(seconds):
                self._rest(seconds)
            case Fin():
                self._shut_down()

    def read_to_the_end(self) -> None:
        """Read until the server closes, or time is up."""
        self._is_deaf = False
        self._read_until(lambda: False)

    def outcome(self) -> Outcome:
        """Return what has been heard."""
        return Outcome(tuple(self._answers), self._end, self._note, bytes(self._octets))

    def _send(self, piece: bytes) -> None:
        """Send one piece, reading whatever comes meanwhile."""
        rest = memoryview(piece)
        while rest and not self._end and not self._is_broken:
            is_readable, is_writable = self._wait(to_write=True, until=self._deadline)
            if is_readable:
                self._receive()
            elif is_writable:
                rest = rest[self._send_some(rest) :]
            else:
                self._end = "timeout"

    def _send_some(self, octets: memoryview) -> int:
        try:
            return self._sock.send(octets)
        except BlockingIOError:
            return 0
        except BrokenPipeError:
            # The server had shut down its side before it dropped the connection: what it sent can be read.
            self._is_broken = True
        except ConnectionResetError:
            # Reported here, it is not reported to recv again, which would call the end orderly.
            self._is_broken = self._was_reset = True
        return 0

    def _shut_down(self) -> None:
        if self._end or self._is_broken:
            return
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._is_broken = True

    def _has_come(self, status: int) -> bool:
        """Tell whether an answer with the status has come behind the one awaited before."""
        for count, answer in enumerate(self._answers[self._awaited_count :], self._awaited_count + 1):
            if answer.status == status:
                self._awaited_count = count
                return True
        return False

    def _rest(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._end and time.monotonic() < until:
            if self._wait(to_write=False, until=until)[0]:
                self._receive()

    def _read_until(self, is_done: Callable[[], bool]) -> None:
        while not self._end and not is_done():
            if self._wait(to_write=False, until=self._deadline)[0]:
                self._receive()
            else:
                self._end = "timeout"

    def _wait(self, to_write: bool, until: float) -> tuple[bool, bool]:
        reads = [] if self._is_deaf else [self._sock]
        writes = [self._sock] if to_write else []
        seconds = max(0.0, until - time.monotonic())
        readable, writable, _ = select.select(reads, writes, [], seconds)
        return bool(readable), bool(writable)

    def _receive(self) -> None:
        try:
            octets = self._sock.recv(RECEIVE_BYTES)
        except ConnectionResetError:
            self._end = "reset"
            return
        self._octets += octets
        if not octets:
            self._end = "reset" if self._was_reset else "eof"
        try:
            self._answers += self._reader.feed(octets) if octets else self._reader.finish()
        except MalformedAnswer as exc:
            self._end, self._note = "malformed", str(exc)
