"""Lanes decided from made-up numbers: no clock, no thread, no sleep."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cello._speedups import INLINE, THREAD, Evidence

SHORT = 0.00003
MIDDLE = 0.0007
LONG = 0.004
STALL = 0.04


def in_threads(evidence: Evidence, *seconds: float, switched: bool = False, waited: bool = False) -> int:
    """Note calls in threads; returns after how many the lane changed, 0 for never."""
    for number, each in enumerate(seconds, start=1):
        if evidence.note_thread(each, switched, waited):
            return number
    return 0


def inline(evidence: Evidence, *seconds: float, waited: bool = False) -> int:
    """Note calls on the loop's thread; returns after how many the lane changed, 0 for never."""
    for number, each in enumerate(seconds, start=1):
        if evidence.note_inline(each, waited):
            return number
    return 0


def promoted() -> Evidence:
    evidence = Evidence()
    assert in_threads(evidence, *[SHORT] * 32) == 32
    return evidence


# --- promotion ---


def test_a_function_starts_in_the_threads_and_is_promoted_by_32_short_calls() -> None:
    evidence = Evidence()
    assert evidence.lane == THREAD
    assert in_threads(evidence, *[SHORT] * 31) == 0
    assert evidence.lane == THREAD
    assert in_threads(evidence, SHORT) == 1
    assert (evidence.lane, evidence.changes, evidence.calls) == (INLINE, 1, 32)


def test_one_call_in_32_may_take_longer() -> None:
    assert in_threads(Evidence(), *[SHORT] * 10, MIDDLE, *[SHORT] * 21) == 32


def test_two_that_take_longer_begin_the_row_again() -> None:
    evidence = Evidence()
    assert in_threads(evidence, *[SHORT] * 10, MIDDLE, *[SHORT] * 10, MIDDLE) == 0
    assert in_threads(evidence, *[SHORT] * 31) == 0
    assert in_threads(evidence, SHORT) == 1


def test_one_slow_call_begins_the_row_again() -> None:
    evidence = Evidence()
    assert in_threads(evidence, *[SHORT] * 31, LONG) == 0
    assert in_threads(evidence, *[SHORT] * 31) == 0
    assert in_threads(evidence, SHORT) == 1


@pytest.mark.parametrize("seconds", [MIDDLE, LONG, STALL])
def test_what_always_takes_longer_is_never_promoted(seconds: float) -> None:
    assert in_threads(Evidence(), *[seconds] * 5000) == 0


def test_two_switches_forbid_nothing() -> None:
    evidence = Evidence()
    assert in_threads(evidence, SHORT, SHORT, switched=True) == 0
    assert in_threads(evidence, *[SHORT] * 30) == 30


def test_three_switches_forbid_promotion_for_long() -> None:
    evidence = Evidence()
    assert in_threads(evidence, *[SHORT] * 3, switched=True) == 0
    assert "processor" in evidence.reason
    assert in_threads(evidence, *[SHORT] * 16383) == 0
    assert in_threads(evidence, SHORT) == 1


def test_calls_that_always_switch_are_never_promoted() -> None:
    assert in_threads(Evidence(), *[SHORT] * 40_000, switched=True) == 0


def test_one_wait_forbids_promotion_for_long() -> None:
    evidence = Evidence()
    assert in_threads(evidence, SHORT, waited=True) == 0
    assert evidence.reason == "a call waited"
    assert in_threads(evidence, *[SHORT] * 16383) == 0
    assert in_threads(evidence, SHORT) == 1


# --- demotion ---


def test_short_calls_stay_on_the_loop() -> None:
    evidence = promoted()
    assert inline(evidence, *[SHORT] * 10_000) == 0
    assert (evidence.lane, evidence.changes) == (INLINE, 1)


def test_one_stall_ends_it_and_the_next_probation_is_eight_times_as_long() -> None:
    evidence = promoted()
    assert inline(evidence, *[SHORT] * 1000, STALL) == 1001
    assert (evidence.lane, evidence.changes) == (THREAD, 2)
    assert "held the loop for 40.0 ms" in evidence.reason
    assert in_threads(evidence, *[SHORT] * 255) == 0
    assert in_threads(evidence, SHORT) == 1
    assert inline(evidence, STALL) == 1
    assert in_threads(evidence, *[SHORT] * 2047) == 0
    assert in_threads(evidence, SHORT) == 1


def test_probation_grows_to_a_bound() -> None:
    evidence = promoted()
    for probation in (256, 2048, 16384, 16384, 16384):
        assert inline(evidence, STALL) == 1
        assert evidence.probation_calls == probation
        assert in_threads(evidence, *[SHORT] * probation) == probation


def test_three_late_calls_within_100_end_it() -> None:
    evidence = promoted()
    assert inline(evidence, MIDDLE * 2, *[SHORT] * 97, MIDDLE * 2, MIDDLE * 2) == 100
    assert "3 of 100" in evidence.reason


def test_late_calls_farther_apart_do_not() -> None:
    assert inline(promoted(), *[MIDDLE * 2, *[SHORT] * 49] * 100) == 0


def test_a_wait_on_the_loop_ends_it_at_once_and_for_long() -> None:
    evidence = promoted()
    assert inline(evidence, SHORT, waited=True) == 1
    assert evidence.probation_calls == 16384


def test_a_call_that_was_under_way_when_the_lane_changed_only_counts_while_it_is_quick() -> None:
    evidence = promoted()
    assert in_threads(evidence, LONG, LONG, LONG, switched=True) == 0
    assert (evidence.lane, evidence.calls) == (INLINE, 35)


@pytest.mark.parametrize(("seconds", "waited", "probation"), [(STALL, False, 256), (SHORT, True, 16384)])
def test_a_call_that_was_under_way_when_the_lane_changed_may_take_that_back(
    seconds: float, waited: bool, probation: int
) -> None:
    evidence = promoted()
    assert in_threads(evidence, seconds, waited=waited) == 1
    assert (evidence.lane, evidence.changes, evidence.probation_calls) == (THREAD, 2, probation)


def test_nothing_is_promoted_while_a_call_runs_that_is_slow_already() -> None:
    evidence = Evidence()
    for _ in range(100):
        assert not evidence.note_thread(SHORT, False, False, LONG)
    assert not evidence.note_thread(STALL, False, False, 0.0)  # it has ended, and begins the row again
    assert in_threads(evidence, *[SHORT] * 31) == 0
    assert evidence.note_thread(SHORT, False, False, SHORT)


def test_a_bans_reason_stands_until_it_is_over() -> None:
    evidence = Evidence()
    in_threads(evidence, SHORT, waited=True)
    in_threads(evidence, LONG, MIDDLE, MIDDLE)
    assert evidence.reason == "a call waited"


def test_many_good_calls_are_not_forgotten_for_one_bad() -> None:
    evidence = promoted()
    for _ in range(6):
        inline(evidence, STALL)
        in_threads(evidence, *[SHORT] * evidence.probation_calls)
    assert evidence.probation_calls == 16384
    assert inline(evidence, *[SHORT] * 49_998, STALL) == 49_999
    assert evidence.probation_calls == 16384
    in_threads(evidence, *[SHORT] * 16384)
    assert inline(evidence, *[SHORT] * 49_999, STALL) == 50_000
    assert evidence.probation_calls == 256


def test_what_is_slow_every_100th_call_does_not_flap() -> None:
    evidence = Evidence()
    for number in range(10_000):
        seconds = STALL if number % 100 == 99 else SHORT
        if evidence.lane == INLINE:
            evidence.note_inline(seconds, False)
        else:
            evidence.note_thread(seconds, False, False)
    assert evidence.changes <= 3


# --- what is told ---


def test_shares_are_bounds_from_above() -> None:
    evidence = Evidence()
    for seconds in (*[0.00001] * 50, *[0.00007] * 49, 0.3):
        evidence.note_thread(seconds, False, False)
    assert [evidence.below(share) for share in (0.5, 0.99, 1.0)] == [0.00002, 0.0001, 0.3]


@given(calls=st.lists(st.floats(0, 2), min_size=1), share=st.floats(0.01, 1))
def test_no_share_is_told_as_shorter_than_it_was(calls: list[float], share: float) -> None:
    evidence = Evidence()
    for seconds in calls:
        evidence.note_thread(seconds, False, False)
    told = evidence.below(share)
    assert sum(each <= told for each in calls) >= share * len(calls) - 1e-9
    assert told <= max(calls)


def test_evidence_in_words() -> None:
    evidence = Evidence()
    assert evidence.describe() == "no calls yet"
    in_threads(evidence, SHORT)
    assert evidence.describe() == "1 call, p50 30 us, p99 30 us; it has just started"
    in_threads(evidence, *[SHORT] * 30, STALL)
    assert evidence.describe() == "32 calls, p50 50 us, p99 40 ms; a call took 40.0 ms"


# --- chance ---


def test_a_coin_decides_every_call() -> None:
    toss: Callable[[], float] = random.Random(7).random
    evidence = Evidence(toss)
    lanes = []
    for _ in range(100):
        note = evidence.note_inline(STALL, True) if evidence.lane == INLINE else in_threads(evidence, SHORT)
        assert note in (False, True, 0, 1)
        lanes.append(evidence.lane)
    assert evidence.is_random
    assert 20 < lanes.count(INLINE) < 80
