"""Runs the HTTP/1.1 corpus against the tree it stands in, as fast as it can, and says which case fails first.

A helper of prove_checks.py, in a process of its own because the tree it imports has been changed on purpose. Cases run
in threads against one server. A case that fails is asked once more, alone, so that a busy machine is no
proof; after the first one that fails again nothing more is asked. The verdict is one line of JSON:

    {"case": "host:host-missing", "manner": "whole", "complaints": ["..."]}    or    {"count": 2004}
"""

from __future__ import annotations

import json
import time
import random
import logging
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cello
import cello.server.h1
from cello._speedups import H1Connection
from tests.conformance.test_h1_corpus import CASES, LIMITS, SHORT, TIMED_CASES, name_of, splits_of
from tests.kit import corpus_client
from tests.kit.corpus import Case, corpus_app, run_case
from tests.kit.corpus_client import LONG_PIECE_BYTES, SINGLE_OCTETS_UP_TO, Split, whole
from tests.kit.corpus_judge import compare
from tests.kit.server import running_server

PATIENCE_SECONDS = 1.0
TIMED_PATIENCE_SECONDS = 4.0
THREADS = 12

Task = tuple[Case, Split]


class Asker:
    """Asks a server a list of cases, several at a time, until one fails."""

    def __init__(self, address: tuple[str, int], tasks: Sequence[Task]) -> None:
        self._address = address
        self._tasks = iter(tasks)
        self._lock = threading.Lock()
        self._suspects: list[Task] = []

    def first_failure(self, threads: int) -> tuple[Case, list[str]] | None:
        """Return the first case that fails twice, with its complaints, or None."""
        while True:
            runners = [threading.Thread(target=self._ask_on, daemon=True) for _ in range(threads)]
            for runner in runners:
                runner.start()
            for runner in runners:
                runner.join()
            if not self._suspects:
                return None
            for case, split in self._suspects:
                complaints = self._complaints(case, split)
                if complaints:
                    return case, complaints
            self._suspects.clear()

    def _ask_on(self) -> None:
        while not self._suspects:
            with self._lock:
                task = next(self._tasks, None)
            if task is None:
                return
            if self._complaints(*task):
                self._suspects.append(task)

    def _complaints(self, case: Case, split: Split) -> list[str]:
        try:
            return compare(case, run_case(case, self._address, split))
        except OSError as exc:
            return [f"no connection: {exc}"]


@contextmanager
def watched() -> Iterator[list[str]]:
    """Collect what the event loop reports as an error."""
    found: list[str] = []

    class Watch(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            exc = record.exc_info[1] if record.exc_info else None
            found.append(f"{type(exc).__name__}: {exc}" if exc is not None else record.getMessage()[:200])

    logger = logging.getLogger("asyncio")
    logger.addHandler(Watch())
    logging.getLogger("cello").addHandler(Watch())
    logger.propagate = False
    yield found


class CutConnection(H1Connection):
    """A connection that gets single octets, and pieces of 1000 behind the first 4096 octets.

    Octets that a client sends one by one are joined on their way; here they are not.
    """

    def __init__(self, service: Any) -> None:
        super().__init__(service)
        self._taken_bytes = 0

    def data_received(self, data: bytes) -> None:
        position = 0
        while position < len(data):
            size = 1 if self._taken_bytes < SINGLE_OCTETS_UP_TO else LONG_PIECE_BYTES
            super().data_received(data[position : position + size])
            self._taken_bytes += size
            position += size


class ShortConnection(CutConnection):
    def data_received(self, data: bytes) -> None:
        position = 0
        source = random.Random(len(data))
        while position < len(data):
            size = source.choice((1, 2, 3, 5, 11, 40)) if self._taken_bytes < SINGLE_OCTETS_UP_TO else source.randint(2, 5000)
            H1Connection.data_received(self, data[position : position + size])
            self._taken_bytes += size
            position += size


def phases() -> Iterator[tuple[str, list[Task], Any, float, int]]:
    """Yield the manners in which the corpus is sent: those that find most come first."""
    all_whole = [(case, whole) for case in CASES]
    timed = [(case, whole) for case in TIMED_CASES]
    yield "whole", all_whole, {}, PATIENCE_SECONDS, THREADS
    yield "timed", timed, {"timeout": SHORT}, TIMED_PATIENCE_SECONDS, len(timed)
    cello.server.h1.H1Connection = CutConnection
    yield "octets", all_whole, {}, PATIENCE_SECONDS, THREADS
    cello.server.h1.H1Connection = ShortConnection
    yield "pieces", all_whole, {}, PATIENCE_SECONDS, THREADS


def verdict() -> dict[str, Any]:
    """Run everything and return what is to be said."""
    count = 0
    for manner, tasks, options, patience_seconds, threads in phases():
        t=time.time()
        corpus_client.CONVERSATION_SECONDS = patience_seconds
        with running_server(corpus_app(), limits=LIMITS, **options) as server:
            failure = Asker((server.host, server.port), tasks).first_failure(threads)
            if failure is not None:
                # The server may hang, so nobody waits for it to stop.
                finish({"case": name_of(failure[0]), "manner": manner, "complaints": failure[1]})
        count += len(tasks)
        print(manner, len(tasks), time.time()-t, file=sys.stderr)
    return {"count": count}


def finish(said: dict[str, Any]) -> None:
    """Say it and end the process, threads or not."""
    print(json.dumps({**said, "raised": RAISED[:1]}), flush=True)
    os._exit(0)


if __name__ == "__main__":
    here = Path.cwd().resolve()
    if not Path(cello.__file__).is_relative_to(here) or cello.IMPLEMENTATION != "pure":
        sys.exit(f"corpus_verdict: expected the pure cello of {here}, got {cello.IMPLEMENTATION} {cello.__file__}")
    with watched() as RAISED:
        finish(verdict())
