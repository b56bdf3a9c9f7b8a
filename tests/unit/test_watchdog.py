"""The stall watchdog with a made-up clock: what it tells, and when."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from types import CodeType
from typing import Any

import pytest

from cello.server.watchdog import Watchdog
from tests.kit.log_watch import LogWatch, watching_log


class Named:
    """A function as the watchdog knows it."""

    def __str__(self) -> str:
        return "GET /slow"

    def advice(self) -> str:
        return "Mend it so."


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def log() -> Any:
    with watching_log() as watch:
        yield watch


def make(clock: Clock, find: Callable[[CodeType], Any] = lambda code: None, advice: bool = False) -> Watchdog:
    watchdog = Watchdog(1.0, find, with_advice=advice, monotonic=clock)
    watchdog.beat()
    watchdog._is_watching = True  # without the thread, which has a clock of its own
    return watchdog


def test_nothing_is_told_while_the_loop_beats(log: LogWatch) -> None:
    clock = Clock()
    watchdog = make(clock)
    for _ in range(50):
        clock.now += 0.9
        watchdog.look()
        watchdog.beat()
    assert log.text == ""


def test_a_stall_is_told_once_and_its_end_too(log: LogWatch) -> None:
    clock = Clock()
    watchdog = make(clock)
    clock.now += 1.2
    watchdog.look()
    clock.now += 5
    watchdog.look()
    assert log.text.count("has been held for") == 1
    assert "held for 1.2 s by no handler" in log.text
    watchdog.beat()
    watchdog.beat()
    assert log.text.count("goes on after 6.2 s") == 1


def test_the_next_stall_is_told_again(log: LogWatch) -> None:
    clock = Clock()
    watchdog = make(clock)
    for _ in range(2):
        clock.now += 2
        watchdog.look()
        watchdog.beat()
    assert log.text.count("has been held for") == 2


def test_nothing_is_told_while_it_rests(log: LogWatch) -> None:
    clock = Clock()
    watchdog = make(clock)
    watchdog.rest()
    clock.now += 100
    watchdog.look()
    assert log.text == ""


@pytest.mark.parametrize("advice", [False, True])
def test_the_handler_is_found_in_the_stack(advice: bool) -> None:
    def helper() -> str:
        return watchdog.describe(sys._getframe(), 1.5)

    def handler() -> str:
        return helper()

    watchdog = make(Clock(), lambda code: Named() if code is handler.__code__ else None, advice)
    first, *rest = handler().splitlines()
    assert first.startswith("the event loop has been held for 1.5 s by GET /slow, now at ")
    assert first.endswith(" in helper")
    assert ("Mend it so." in rest) is advice
    stack = "\n".join(rest)
    assert stack.index(" in handler") < stack.index(" in helper")
    assert "test_the_handler_is_found" not in stack  # what called the handler is no news


def test_the_thread_looks_by_itself_and_ends(log: LogWatch) -> None:
    watchdog = Watchdog(0.05, lambda code: None, with_advice=False)
    watchdog.watch()
    assert "by no handler" in log.wait_for("has been held for")
    watchdog.end()
    for thread in threading.enumerate():
        if thread.name == "cello-watchdog":
            thread.join(10)
            assert not thread.is_alive()
