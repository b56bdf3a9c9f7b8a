"""What the calls of a plain function have shown, and the lane that follows: numbers in, decisions out.

A hop to a thread and back costs 20 to 100 us, an inline call 0.3; but a call that blocks the loop's thread
for 40 ms gives every neighbour a latency of 40 ms. So a function starts in the threads, is promoted to the
loop's thread once its calls have shown that they neither wait nor compute for long, and goes back at the
first call that does, with growing caution.

*Promotion*: after ``probation_calls`` in a row of which one in 32 may have taken FAST_SECONDS or more and
none over SLOW_SECONDS, and while none runs that has taken so long already: the calls that end are the quick
ones. A call that is too slow begins the row again.

*A ban*: waiting calls would be slow on another day. A call that was seen to wait (an audit event such as
socket.connect), or a row in which more than MAX_SWITCHED of PROBATION_CALLS gave up the processor by
themselves, puts promotion off by BANNED_CALLS. One switch alone forbids nothing: a contended GIL causes them
too.

*Demotion*: one call over STALL_SECONDS, or three over LATE_SECONDS within LATE_CALLS, and the next probation
is PROBATION_FACTOR times as long, unless FORGIVEN_CALLS went well before. Wall time alone decides: wall far
over CPU also shows on a busy machine, and a long computation is better off in the threads too.

No clock and no I/O here. All methods are called on the loop's thread.
"""

from __future__ import annotations

from typing import Any

from .states_py import INLINE, THREAD

PROBATION_CALLS = 32
BANNED_CALLS = 16384
PROBATION_FACTOR = 8
FAST_SECONDS = 0.0005
SLOW_SECONDS = 0.002
MAX_SWITCHED = 2  # of PROBATION_CALLS
STALL_SECONDS = 0.005
LATE_SECONDS = 0.001
LATE_CALLS = 100
FORGIVEN_CALLS = 50_000


class Evidence:
    """The lane of one plain function, and what speaks for it.

    ``lane`` is INLINE or THREAD; ``reason`` says why, for people; ``calls`` counts all calls, ``changes``
    promotions and demotions. ``running`` is for whoever makes the calls: those in threads, in order. With a
    ``coin``, which gives a number from 0 to 1, chance decides before each call instead.
    """

    __slots__ = (
        "_bound_1",
        "_bound_2",
        "_bound_3",
        "_bound_4",
        "_bound_5",
        "_bound_6",
        "_bound_7",
        "_coin",
        "_last_late",
        "_late_before",
        "_longest",
        "_promoted_at",
        "_row_calls",
        "_row_fast",
        "_row_switched",
        "calls",
        "changes",
        "lane",
        "probation_calls",
        "reason",
        "running",
    )

    def __init__(self, coin: Any = None) -> None:
        self._coin = coin
        self.lane = THREAD
        self.reason = "it has just started"
        self.calls = 0
        self.changes = 0
        self.probation_calls = PROBATION_CALLS
        self._row_calls = 0
        self._row_fast = 0
        self._row_switched = 0
        self._last_late = -LATE_CALLS
        self._late_before = -LATE_CALLS
        self._longest = 0.0
        self._promoted_at = 0
        self.running: dict[Any, None] = {}
        self._bound_1 = 0
        self._bound_2 = 0
        self._bound_3 = 0
        self._bound_4 = 0
        self._bound_5 = 0
        self._bound_6 = 0
        self._bound_7 = 0
        if coin is not None:
            self._toss()

    @property
    def is_random(self) -> bool:
        """Tell whether chance decides."""
        return self._coin is not None

    def note_inline(self, seconds: float, has_waited: bool) -> bool:
        """Take a call on the loop's thread; tells whether the lane has changed."""
        self._count(seconds)
        if self._coin is not None:
            return self._toss()
        if has_waited:
            self._ban()
            return self._demote(f"a call waited, and held the loop for {seconds * 1000:.1f} ms")
        if seconds < LATE_SECONDS:
            return False
        if seconds > STALL_SECONDS:
            return self._demote(f"a call held the loop for {seconds * 1000:.1f} ms")
        if self.calls - self._late_before < LATE_CALLS:
            return self._demote(f"3 of {LATE_CALLS} calls took over {LATE_SECONDS * 1000:g} ms")
        self._late_before = self._last_late
        self._last_late = self.calls
        return False

    def note_thread(
        self, seconds: float, has_switched: bool, has_waited: bool, longest_running: float = 0.0
    ) -> bool:
        """Take a call in a handler thread; tells whether the lane has changed.

        ``has_switched``: the call gave up the processor by itself, which is what waiting looks like from
        outside; ``has_waited``: it did something that is known to wait; ``longest_running``: the seconds that
        the longest of the calls that still run in threads has taken until now.
        """
        self._count(seconds)
        if self._coin is not None:
            return self._toss()
        if self.lane == INLINE:  # it began before the lane changed, and may show that this was wrong
            if has_waited:
                self._ban()
                return self._demote("a call waited")
            return seconds > STALL_SECONDS and self._demote(f"a call took {seconds * 1000:.1f} ms")
        self._row_calls += 1
        if seconds < FAST_SECONDS:
            self._row_fast += 1
        if has_switched:
            self._row_switched += 1
        allowed = self.probation_calls // PROBATION_CALLS
        if has_waited:
            self._ban()
            self.reason = "a call waited"
        elif self._row_switched > MAX_SWITCHED * allowed:
            self._ban()
            self.reason = "its calls give up the processor, as if they waited"
        elif seconds > SLOW_SECONDS:
            self._begin_again(f"a call took {seconds * 1000:.1f} ms")
        elif self._row_calls - self._row_fast > allowed:
            self._begin_again(f"more than one call in {PROBATION_CALLS} took over {FAST_SECONDS * 1000:g} ms")
        elif self._row_calls >= self.probation_calls and longest_running <= SLOW_SECONDS:
            return self._promote()
        return False

    def _begin_again(self, reason: str) -> None:
        if self.probation_calls < BANNED_CALLS:  # else the ban's own reason stands
            self.reason = reason
        self._begin_row()

    def _toss(self) -> bool:
        before = self.lane
        self.lane = INLINE if self._coin() < 0.5 else THREAD
        self.reason = "CELLO_DISPATCH=random"
        return self.lane != before

    def _promote(self) -> bool:
        self.reason = f"{self._row_calls} calls in a row were short and did not wait"
        self.lane = INLINE
        self.changes += 1
        self._last_late = self._late_before = self.calls - LATE_CALLS
        self._promoted_at = self.calls
        return True

    def _demote(self, reason: str) -> bool:
        self.reason = reason
        if self.lane != INLINE:
            return False
        self.lane = THREAD
        self.changes += 1
        if self.calls - self._promoted_at >= FORGIVEN_CALLS:
            self.probation_calls = PROBATION_CALLS * PROBATION_FACTOR
        elif self.probation_calls < BANNED_CALLS:
            self.probation_calls *= PROBATION_FACTOR
        self._begin_row()
        return True

    def _ban(self) -> None:
        self.probation_calls = BANNED_CALLS
        self._begin_row()

    def _begin_row(self) -> None:
        self._row_calls = 0
        self._row_fast = 0
        self._row_switched = 0

    # The distribution of all calls, as counts below bounds: exact, and a few instructions a call.

    def _count(self, seconds: float) -> None:
        self.calls += 1
        if seconds < 0.00002:
            self._bound_1 += 1
        elif seconds < 0.00005:
            self._bound_2 += 1
        elif seconds < 0.0001:
            self._bound_3 += 1
        elif seconds < 0.0005:
            self._bound_4 += 1
        elif seconds < 0.002:
            self._bound_5 += 1
        elif seconds < 0.01:
            self._bound_6 += 1
        elif seconds < 0.1:
            self._bound_7 += 1
        if seconds > self._longest:
            self._longest = seconds

    def below(self, share: float) -> float:
        """Return a time in seconds that a share of all calls, from 0 to 1, were below: 0.99 for the p99.

        It is the upper bound of the class in which that call stands, and at most the longest call's time.
        """
        counts = (
            (0.00002, self._bound_1),
            (0.00005, self._bound_2),
            (0.0001, self._bound_3),
            (0.0005, self._bound_4),
            (0.002, self._bound_5),
            (0.01, self._bound_6),
            (0.1, self._bound_7),
        )
        wanted = share * self.calls
        seen = 0
        for bound, count in counts:
            seen += count
            if seen >= wanted:
                return min(bound, self._longest)
        return self._longest

    def describe(self) -> str:
        """Return the evidence in words: calls, p50, p99, and why the lane is what it is."""
        if self.calls == 0:
            return "no calls yet"
        noun = "call" if self.calls == 1 else "calls"
        shares = f"p50 {_duration(self.below(0.5))}, p99 {_duration(self.below(0.99))}"
        return f"{self.calls} {noun}, {shares}; {self.reason}"


def _duration(seconds: float) -> str:
    """Write a duration in the unit that fits."""
    if seconds < 0.001:
        return f"{seconds * 1_000_000:.0f} us"
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    return f"{seconds:.3g} s"
