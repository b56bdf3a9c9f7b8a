"""The coarse timer, with a loop's call_later that a test winds by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cello.server.timers import Ticker, render_common, tick_seconds_for


class FakeLoop:
    """call_later and a clock that ``advance`` moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.handles: list[Handle] = []

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Handle:
        handle = Handle(self.now + seconds, callback)
        self.handles.append(handle)
        return handle

    @property
    def pending_count(self) -> int:
        return len(self.handles)

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            self.handles = [handle for handle in self.handles if not handle.is_cancelled]
            due = [handle for handle in self.handles if handle.when <= end + 1e-9]
            if not due:
                break
            first = min(due, key=lambda handle: handle.when)
            self.handles.remove(first)
            self.now = first.when
            first.callback()
        self.now = end


class Handle:
    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self.when = when
        self.callback = callback
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class TestTicker:
    def make(self, interval: float = 0.1) -> tuple[FakeLoop, list[float], Ticker]:
        loop = FakeLoop()
        ticks: list[float] = []
        return loop, ticks, Ticker(interval, lambda: ticks.append(round(loop.now, 6)), loop.call_later)

    def test_it_ticks_at_once_and_then_every_interval(self) -> None:
        loop, ticks, ticker = self.make()
        ticker.start()
        assert ticks == [0.0]
        loop.advance(0.35)
        assert ticks == [0.0, 0.1, 0.2, 0.3]

    def test_it_does_not_tick_before_it_is_started(self) -> None:
        loop, ticks, _ = self.make()
        loop.advance(1)
        assert ticks == []
        assert loop.pending_count == 0

    def test_stopped_it_leaves_nothing_scheduled(self) -> None:
        loop, ticks, ticker = self.make()
        ticker.start()
        loop.advance(0.15)
        ticker.stop()
        loop.advance(1)
        assert ticks == [0.0, 0.1]
        assert loop.pending_count == 0

    def test_it_can_be_started_again(self) -> None:
        loop, ticks, ticker = self.make()
        ticker.start()
        ticker.stop()
        loop.advance(0.55)
        ticker.start()
        loop.advance(0.1)
        assert ticks == [0.0, 0.55, 0.65]

    def test_starting_and_stopping_twice_changes_nothing(self) -> None:
        loop, ticks, ticker = self.make()
        ticker.stop()
        ticker.start()
        ticker.start()
        loop.advance(0.1)
        assert ticks == [0.0, 0.1]
        assert loop.pending_count == 1
        ticker.stop()
        ticker.stop()
        loop.advance(1)
        assert loop.pending_count == 0

    def test_a_tick_may_stop_it(self) -> None:
        loop = FakeLoop()
        ticker = Ticker(0.1, lambda: ticker.stop(), loop.call_later)
        ticker.start()
        loop.advance(1)
        assert loop.pending_count == 0

    def test_a_tick_that_fails_does_not_end_it(self) -> None:
        loop = FakeLoop()
        ticks: list[float] = []

        def fail() -> None:
            ticks.append(loop.now)
            raise ArithmeticError("a tick failed")

        ticker = Ticker(0.1, fail, loop.call_later)
        with pytest.raises(ArithmeticError):
            ticker.start()
        with pytest.raises(ArithmeticError):
            loop.advance(0.1)
        assert len(ticks) == 2
        assert loop.pending_count == 1


class TestTickSeconds:
    @pytest.mark.parametrize(
        ("timeouts", "expected"),
        [
            ((), 0.05),
            ((30, 30, 75), 0.05),
            ((30, 2.0, 75), 0.05),
            ((30, 1.0), 0.05),
            ((0.3,), 0.015),
            ((0.2, 0.05), 0.01),
            ((0.001,), 0.01),
        ],
    )
    def test_a_twentieth_of_the_shortest_within_bounds(
        self, timeouts: tuple[float, ...], expected: float
    ) -> None:
        assert tick_seconds_for(*timeouts) == pytest.approx(expected)


class TestCommonLines:
    def test_the_three_forms(self) -> None:
        lines, close, keep_alive = render_common(784111777, "cello")
        # RFC 9110 5.6.7's own example.
        assert lines == b"date: Sun, 06 Nov 1994 08:49:37 GMT\r\nserver: cello\r\n"
        assert close == lines + b"connection: close\r\n"
        assert keep_alive == lines + b"connection: keep-alive\r\n"

    def test_a_day_and_an_hour_of_one_digit_have_two(self) -> None:
        assert b"date: Thu, 01 Jan 1970 00:00:00 GMT\r\n" in render_common(0, "cello")[0]

    def test_the_fraction_of_a_second_is_dropped(self) -> None:
        assert render_common(784111777.999, "cello") == render_common(784111777, "cello")
