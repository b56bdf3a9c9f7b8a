"""Handlers in contexts of their own, and the clock that watches them: both twins equal contextvars and
time."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from contextvars import Context, ContextVar, copy_context

import pytest
from hypothesis import given
from hypothesis import strategies as st

SUBJECT = "calls"

VARIABLES = [ContextVar(f"variable_{number}", default=0) for number in range(3)]
COARSENESS_SECONDS = 0.1  # ten times the coarsest tick of a kernel


class Refusal(BaseException):
    """What a handler raises: nothing between it and the caller may take it for its own."""


# A program sets variables, refuses, and calls programs in contexts: in a new one, in a spare one that keeps
# what was set, or once more in the one that it runs in, which cannot be entered twice.
STEPS = st.one_of(
    st.tuples(st.just("set"), st.integers(0, 2), st.integers(1, 9)),
    st.tuples(st.just("refuse")),
)
PROGRAMS = st.recursive(
    st.lists(STEPS, max_size=4),
    lambda programs: st.lists(
        st.one_of(
            STEPS,
            st.tuples(st.sampled_from(["call in a new", "call in the own", "call in the spare"]), programs),
        ),
        max_size=4,
    ),
    max_leaves=12,
)


def values():
    return [variable.get() for variable in VARIABLES]


class Run:
    """One program's run, with everything that it could see on its way."""

    def __init__(self, new_context, call_in):
        self.new_context = new_context
        self.call_in = call_in
        self.spare = new_context()
        self.seen = []

    def perform(self, program):
        self.enter(self.new_context(), program)
        self.seen.append([self.spare.get(variable) for variable in VARIABLES])
        return self.seen

    def enter(self, context, program):
        try:
            self.seen.append(self.call_in(context, self.inside, (context, program)))
        except (Refusal, RuntimeError) as exc:
            self.seen.append((type(exc), str(exc).partition(":")[0]))  # without the context's address

    def inside(self, given):
        context, program = given
        self.seen.append(values())
        for what, *rest in program:
            if what == "set":
                VARIABLES[rest[0]].set(rest[1])
            elif what == "refuse":
                raise Refusal("refused")
            else:
                contexts = {"call in a new": self.new_context, "call in the own": lambda: context}
                self.enter(contexts.get(what, lambda: self.spare)(), rest[0])
                self.seen.append(values())
        return "returned", len(program)


def reference(context, function, argument):
    return context.run(function, argument)


# --- contexts ---


@given(program=PROGRAMS)
def test_programs_see_what_contextvars_promise(twin, program):
    assert Run(twin.new_context, twin.call_in).perform(program) == Run(copy_context, reference).perform(
        program
    )
    assert values() == [0, 0, 0]


@given(program=PROGRAMS)
def test_twins_agree_and_take_each_others_contexts(twins, program):
    pure, compiled = twins
    expected = Run(pure.new_context, pure.call_in).perform(program)
    assert Run(compiled.new_context, compiled.call_in).perform(program) == expected
    assert Run(pure.new_context, compiled.call_in).perform(program) == expected
    assert Run(compiled.new_context, pure.call_in).perform(program) == expected


def test_a_new_context_is_a_copy(twin):
    def inside(_):
        VARIABLES[0].set(1)
        context = twin.new_context()
        VARIABLES[0].set(2)
        return context

    context = twin.call_in(twin.new_context(), inside, None)
    assert type(context) is Context
    assert context.get(VARIABLES[0]) == 1
    assert twin.call_in(context, lambda argument: (argument, VARIABLES[0].get()), "argument") == (
        "argument",
        1,
    )


def test_a_context_may_be_entered_again_after_a_failure(twin):
    def fail(_):
        VARIABLES[0].set(3)
        raise Refusal

    context = twin.new_context()
    with pytest.raises(Refusal):
        twin.call_in(context, fail, None)
    assert VARIABLES[0].get() == 0
    assert twin.call_in(context, lambda _: VARIABLES[0].get(), None) == 3


@pytest.mark.parametrize("function", [None, 1, "text", lambda: None, lambda one, two: None])
def test_what_cannot_be_called_with_one_argument(same, twins, function):
    pure, _ = twins
    assert same("call_in", pure.new_context(), function, 1)[:2] == ("raised", TypeError)
    assert values() == [0, 0, 0]


def test_results_are_handed_through(twin):
    result = object()
    assert twin.call_in(twin.new_context(), lambda argument: argument, result) is result


# --- the clock ---


def test_the_clock_is_monotonic_seconds(twin):
    last = 0.0
    for _ in range(1000):
        before = time.monotonic()
        now = twin.coarse_seconds()
        assert type(now) is float
        assert before - COARSENESS_SECONDS <= now <= time.monotonic()
        assert now >= last
        last = now


def test_the_clock_goes_on(twin):
    start, deadline = twin.coarse_seconds(), time.monotonic() + COARSENESS_SECONDS
    while time.monotonic() < deadline:
        pass
    assert start < twin.coarse_seconds() < start + 60


# --- the loop out of sight ---


def test_a_hidden_call_sees_no_running_loop_and_its_context(twin):
    def inside(argument):
        VARIABLES[0].set(argument)
        with pytest.raises(RuntimeError, match="no running event loop"):
            asyncio.get_running_loop()
        return argument + 1

    async def outside():
        context = twin.new_context()
        assert twin.call_hidden(context, inside, 6) == 7
        assert context.get(VARIABLES[0]) == 6
        assert asyncio.get_running_loop().is_running()

    asyncio.run(outside())
    assert VARIABLES[0].get() == 0


def test_the_loop_is_back_after_a_hidden_failure(twin):
    def fail(_):
        raise Refusal

    async def outside():
        with pytest.raises(Refusal):
            twin.call_hidden(twin.new_context(), fail, None)
        await asyncio.sleep(0)
        return asyncio.current_task() is not None

    assert asyncio.run(outside())


def test_a_hidden_call_without_a_loop(twin):
    assert twin.call_hidden(twin.new_context(), lambda argument: argument, 1) == 1


# --- what is seen of a call ---


def test_fine_seconds_are_those_of_time_monotonic(twin):
    for _ in range(100):
        before, now, after = time.monotonic(), twin.fine_seconds(), time.monotonic()
        assert before <= now <= after


def in_thread(function):
    """Return what a function returns in a thread of its own."""
    results = []
    thread = threading.Thread(target=lambda: results.append(function()))
    thread.start()
    thread.join()
    return results[0]


def waits_in(twin, function):
    twin.watch_waits()

    def counted():
        before = twin.waits()
        function()
        return twin.waits() - before

    return in_thread(counted)


def connect():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        socket.create_connection(listener.getsockname()).close()


def read_a_file():
    with open(__file__, "rb") as file:
        return file.read()


@pytest.mark.parametrize(
    ("function", "least"),
    [
        (connect, 1),
        (lambda: subprocess.run(["true"], check=True), 1),
        (lambda: sqlite3.connect(":memory:").close(), 1),
        (lambda: socket.getaddrinfo("127.0.0.1", 80), 1),
        (read_a_file, 0),
        (lambda: sum(range(1000)), 0),
        (lambda: [id(each) for each in range(10)], 0),
    ],
    ids=["connect", "process", "database", "resolve", "read", "compute", "audited"],
)
def test_what_waits_is_counted(twin, function, least):
    assert (waits_in(twin, function) >= 1) == bool(least)


def test_waits_are_counted_once_however_often_they_are_watched(twin):
    twin.watch_waits()
    twin.watch_waits()
    assert waits_in(twin, lambda: sqlite3.connect(":memory:").close()) == 1


def test_waits_of_another_thread_are_not_ours(twin):
    before = twin.waits()
    assert waits_in(twin, connect) >= 1
    assert twin.waits() == before


def test_a_wait_can_be_noted(twin):
    assert waits_in(twin, twin.note_wait) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="counted on Linux alone")
def test_a_thread_that_waits_gives_up_the_processor(twin):
    def switched():
        before = twin.switches()
        time.sleep(0.001)
        return twin.switches() - before

    assert in_thread(switched) >= 1


def loop_in_sight():
    return asyncio._get_running_loop()


def with_a_loop_of_its_own(argument):
    async def inside():
        return loop_in_sight()

    own = asyncio.run(inside())
    assert own is not None
    return loop_in_sight(), own


def test_a_hidden_call_may_have_a_loop_of_its_own(twins):
    async def main(module):
        loop = asyncio.get_running_loop()
        for _ in range(3):
            seen, own = module.call_hidden(module.new_context(), with_a_loop_of_its_own, None)
            assert seen is None
            assert own is not loop
            assert loop_in_sight() is loop
            with pytest.raises(ZeroDivisionError):
                module.call_hidden(module.new_context(), lambda argument: 1 // argument, 0)
            assert loop_in_sight() is loop
        await asyncio.sleep(0)
        return await asyncio.wait_for(asyncio.create_task(asyncio.sleep(0, "tasks go on")), 10)

    for module in twins:
        assert asyncio.run(main(module)) == "tasks go on"


def test_hidden_calls_hold_no_loop(twins):
    async def main(module):
        for _ in range(1000):
            module.call_hidden(module.new_context(), len, ())
        return sys.getrefcount(None), sys.getrefcount(asyncio.get_running_loop())

    for module in twins:
        counts = [asyncio.run(main(module)) for _ in range(3)]
        assert counts[1][1] == counts[2][1]
        assert abs(counts[2][0] - counts[1][0]) < 500
