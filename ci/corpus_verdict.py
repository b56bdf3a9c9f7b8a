"""Asks the HTTP/1.1 corpus of the tree in the current folder, and names the first case that fails.

The other half of prove_checks.py, in a process of its own because the cello it imports was changed on
purpose. Cases run in threads against one server. One that fails is asked again, alone and with more patience,
since a busy machine proves nothing; behind one that fails twice nothing more is asked. The verdict is JSON:

    {"case": "host:host-missing (whole)", "complaint": "...", "raised": ""}    or    {"count": 2135, ...}

Beside whole, the octets are cut on the server's side, where it is certain to happen: what a client sends
octet by octet is joined again on its way.
"""

from __future__ import annotations

import json
import logging
import os
import random
import socket
import sys
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cello
from cello._speedups import H1Connection
from cello.server import h1
from tests.conformance.test_h1_corpus import CASES, LIMITS, SHORT, TIMED_CASES, name_of
from tests.kit import corpus_client
from tests.kit.answer_reader import AnswerReader
from tests.kit.corpus import Case, Expected, corpus_app, script_of
from tests.kit.corpus_client import Conversation, whole
from tests.kit.corpus_judge import compare, matches
from tests.kit.server import running_server

THREADS = 12
CUT_BYTES = 4096  # of a connection; behind them the pieces are long
LONG_PIECE_BYTES = 1000
RETRY_FACTOR = 1.5


class CutConnection(H1Connection):
    """Gets all octets one by one."""

    def __init__(self, service: Any) -> None:
        super().__init__(service)
        self._taken_bytes = 0
        self._source = random.Random(0)

    def data_received(self, data: bytes) -> None:
        position = 0
        while position < len(data):
            size = self.piece_bytes() if self._taken_bytes < CUT_BYTES else LONG_PIECE_BYTES
            super().data_received(data[position : position + size])
            self._taken_bytes += size
            position += size

    def piece_bytes(self) -> int:
        """Return the size of the next piece."""
        return 1


class TornConnection(CutConnection):
    """Gets its octets in pieces, short and long ones."""

    def piece_bytes(self) -> int:
        return self._source.choice((1, 2, 3, 5, 11, 40))


class HastyConversation(Conversation):
    """Does not wait for more once an answer came that the case does not expect."""

    def __init__(self, sock: socket.socket, case: Case) -> None:
        super().__init__(sock, AnswerReader(case.methods), whole, case.reads_late)
        self._expected = [*case.expect, *[Expected((200,))] * case.trailing_count]

    def _receive(self) -> None:
        super()._receive()
        statuses = [answer.status for answer in self._answers]
        starts = range(len(self._expected), -1, -1)
        if not self._end and not any(matches(self._expected[:end], statuses) for end in starts):
            self._end = "another answer than was expected"


def complaint_about(case: Case, address: tuple[str, int]) -> str:
    """Ask a case; returns what is wrong first, or nothing."""
    try:
        with socket.create_connection(address, timeout=corpus_client.CONVERSATION_SECONDS) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setblocking(False)
            conversation = HastyConversation(sock, case)
            for step in script_of(case):
                conversation.perform(step)
            conversation.read_to_the_end()
        return next(iter(compare(case, conversation.outcome())), "")
    except OSError as exc:
        return f"no connection: {exc}"


@dataclass(frozen=True)
class Manner:
    """One way in which cases are asked; the second time they have RETRY_FACTOR times as long."""

    name: str
    cases: list[Case]
    connection: type[Any]
    patience_seconds: float
    threads: int
    options: dict[str, Any]


MANNERS = (
    Manner("whole", CASES, H1Connection, 0.8, THREADS, {}),
    Manner("timed", TIMED_CASES, H1Connection, 2.5, len(TIMED_CASES), {"timeout": SHORT}),
    Manner("cut", CASES, CutConnection, 0.8, THREADS, {}),
    Manner("torn", CASES, TornConnection, 0.8, THREADS, {}),
)


class Asker:
    """Asks one server the cases of a manner until one fails twice."""

    def __init__(self, manner: Manner, address: tuple[str, int]) -> None:
        self._manner = manner
        self._address = address
        self._cases = iter(manner.cases)
        self._lock = threading.Lock()
        self._suspects: list[Case] = []

    def first_failure(self) -> tuple[Case, str] | None:
        """Return the case that fails twice, with its complaint, or None."""
        while True:
            corpus_client.CONVERSATION_SECONDS = self._manner.patience_seconds
            threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(self._manner.threads)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            if not self._suspects:
                return None
            corpus_client.CONVERSATION_SECONDS = RETRY_FACTOR * self._manner.patience_seconds
            for case in self._suspects:
                complaint = complaint_about(case, self._address)
                if complaint:
                    return case, complaint
            self._suspects.clear()

    def _ask(self) -> None:
        while not self._suspects:
            with self._lock:
                case = next(self._cases, None)
            if case is None:
                return
            if complaint_about(case, self._address):
                self._suspects.append(case)


class Watch(logging.Handler):
    """Keeps the first exception that the event loop got from the server's code."""

    raised = ""

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and not self.raised:
            self.raised = f"{type(record.exc_info[1]).__name__}: {record.exc_info[1]}"


def ask_all(servers: ExitStack) -> dict[str, Any]:
    """Ask in every manner; returns the first failure, or how many times a case was in order."""
    for manner in MANNERS:
        setattr(h1, "H1Connection", manner.connection)  # noqa: B010 - to make_connection, which is its reader
        server = servers.enter_context(running_server(corpus_app(), limits=LIMITS, **manner.options))
        failure = Asker(manner, (server.host, server.port)).first_failure()
        if failure is not None:
            return {"case": f"{name_of(failure[0])} ({manner.name})", "complaint": failure[1]}
    return {"count": sum(len(manner.cases) for manner in MANNERS)}


def main() -> None:
    """Say the verdict and end the process at once, servers or not: they may hang."""
    here = Path.cwd().resolve()
    if not Path(cello.__file__).is_relative_to(here) or cello.IMPLEMENTATION != "pure":
        sys.exit(f"expected the pure cello of {here}, got the {cello.IMPLEMENTATION} one of {cello.__file__}")
    watch = Watch()
    logging.getLogger("asyncio").addHandler(watch)
    logging.getLogger("cello").addHandler(logging.NullHandler())
    servers = ExitStack()
    print(json.dumps({**ask_all(servers), "raised": watch.raised}), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
