"""Waiting for lines of Cello's log, which often come from another thread after the answer."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PATIENCE_SECONDS = 5.0


class LogWatch(logging.Handler):
    """Keeps what the "cello" logger says, with tracebacks, and lets a test wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = threading.Condition()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        with self._changed:
            self.lines.append(self.format(record))
            self._changed.notify_all()

    @property
    def text(self) -> str:
        """All that was said so far."""
        return "\n".join(self.lines)

    def wait_for(self, needle: str) -> str:
        """Return the first record that contains a text, as soon as there is one."""

        def find() -> str | None:
            return next((line for line in self.lines if needle in line), None)

        with self._changed:
            found = self._changed.wait_for(find, PATIENCE_SECONDS)
        assert found is not None, f"the log never said {needle!r}, but: {self.text or 'nothing'}"
        return found


def wait_until(is_true: Callable[[], object]) -> None:
    """Look at a condition that another thread brings about, until it holds."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_true():
        assert time.monotonic() < deadline, "what the test waits for has not come about"
        threading.Event().wait(0.002)


@contextmanager
def watching_log() -> Iterator[LogWatch]:
    """Keep what is logged inside the block."""
    watch = LogWatch()
    watch.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    logger = logging.getLogger("cello")
    level = logger.level
    logger.addHandler(watch)
    logger.setLevel(logging.DEBUG)
    try:
        yield watch
    finally:
        logger.removeHandler(watch)
        logger.setLevel(level)
