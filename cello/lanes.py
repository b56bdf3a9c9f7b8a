"""Running plain functions in the lane that their calls have earned: measuring, moving, and telling.

What decides is ``Evidence`` (_speedups/evidence_py.py); here it gets its numbers. A route's own call is run
by the dispatch core, which looks at the evidence itself; ``Lanes.run`` is for the plain parts of a chain that
is a coroutine, each of which has a lane of its own.

CELLO_DISPATCH=random gives every call a lane by chance. A handler that is serial on the loop's thread and
concurrent in the pool shows its races only in production; a test suite run this way shows them earlier.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
from asyncio import _set_running_loop, get_running_loop
from collections.abc import Callable, Iterable
from time import monotonic
from traceback import format_exception_only
from types import CodeType
from typing import Any

from ._speedups import (
    INLINE,
    TASK,
    THREAD,
    Evidence,
    fine_seconds,
    switches,
    waits,
    watch_waits,
)
from .errors import StartError
from .routing import Route, code_of, is_async, place_of
from .threads import HandlerPool

logger = logging.getLogger("cello")

Sample = tuple[float, int, int]
Cost = tuple[float, bool, bool]
"""Seconds, whether the call gave up the processor by itself, whether it did something that waits."""

MOST_SHOWN = 3

LANE_NAMES = {
    INLINE: "on the loop's thread",
    THREAD: "in the handler threads",
    TASK: "as a task on the loop",
}


def sample() -> Sample:
    """Return what is to be known before a call, on the thread that makes it."""
    return fine_seconds(), switches(), waits()


def cost_since(before: Sample) -> Cost:
    """Return what a call has cost, given the sample before it; on the same thread."""
    seconds = fine_seconds() - before[0]
    return seconds, switches() != before[1], waits() != before[2]


def tell_change(name: str, evidence: Evidence) -> None:
    """Log that a lane has changed: one line, with the evidence."""
    if evidence.is_random:
        return
    where = LANE_NAMES[evidence.lane]
    # A promotion is what should happen; a demotion has just cost every client of this process its patience.
    level = logging.INFO if evidence.lane == INLINE else logging.WARNING
    logger.log(level, "%s now runs %s: %s", name, where, evidence.describe())


def tell_late(exchange: Any, exc: BaseException | None) -> None:
    """Log a result that came after its exchange was over, unless its client had left."""
    if exchange.is_gone or isinstance(exc, asyncio.CancelledError):
        return
    request = exchange.request
    logger.warning(
        "%s %s: a late result was dropped, %.3f s after the handler was called%s",
        request.method,
        request.raw_path.decode("latin-1"),
        monotonic() - exchange.started_at,
        f" ({''.join(format_exception_only(exc)).strip()})" if exc is not None else "",
    )


def describe_lane(route: Route | None, lanes: Lanes | None = None) -> str | None:
    """Return a route's lane and why it is that, for error answers in debug; None without a running route."""
    if route is None or route.call is None:
        return None
    endpoint = route.call
    own = lanes.evidence_of(route.handler) if lanes is not None else None
    if endpoint.evidence is not None:
        why = endpoint.evidence.describe()
    elif own is not None:
        return f"{LANE_NAMES[own.lane]}, its chain {LANE_NAMES[TASK]}: {own.describe()}"
    elif endpoint.lane == TASK:
        why = "its handler, or something around it, is a coroutine function"
    else:
        why = "pinned" if route.blocking is None else f"blocking={route.blocking}"
    return f"{LANE_NAMES[endpoint.lane]}: {why}"


class Watched:
    """A function of the application that runs on the loop's thread or may come to: for the watchdog.

    ``routes`` are those that it may answer: several where one decorator or factory made their handlers, none
    for a hook, a middleware or an exception handler.
    """

    def __init__(self, function: Callable[..., Any], routes: list[Route]) -> None:
        self._function = function
        self._routes = routes

    def __str__(self) -> str:
        shown = [str(route) for route in self._routes[:MOST_SHOWN]]
        if len(self._routes) > MOST_SHOWN:
            shown.append(f"{len(self._routes) - MOST_SHOWN} more")
        return " or ".join(shown) or place_of(self._function)

    def advice(self) -> str:
        """Say what to change in it, for whoever develops the application."""
        if is_async(self._function):
            return (
                "It is an async def, and so holds the loop until its next await: await what waits, "
                "or make it a plain def, which may block in a thread."
            )
        if any(route.blocking is False for route in self._routes):
            return "Its route says blocking=False, which is for what never waits: leave that out."
        return (
            "Its calls were short until now, so it ran on the loop's thread; from here on it runs in the "
            "handler threads. blocking=True on the route keeps it there from the start."
        )


def watched_functions(
    routes: Iterable[Route], parts: Iterable[Callable[..., Any]]
) -> dict[CodeType, Watched]:
    """Return what the watchdog may find on the loop's thread, by the code that runs."""
    found: dict[CodeType, Watched] = {}
    for part in parts:
        code = code_of(part)
        if code is not None:
            found[code] = Watched(part, [])
    sharing: dict[CodeType, list[Route]] = {}
    for route in routes:
        code = code_of(route.handler)
        if code is not None:
            sharing.setdefault(code, []).append(route)
    for code, those in sharing.items():
        found[code] = Watched(those[0].handler, those)
    return found


def coin_of(environment: str | None) -> Callable[[], float] | None:
    """Return the coin that CELLO_DISPATCH asks for, None for adaptive dispatch; raises StartError."""
    if environment in (None, "", "adaptive"):
        return None
    if environment == "random":
        return random.random
    raise StartError(f"CELLO_DISPATCH={environment!r}: expected 'adaptive' or 'random'")


class ThreadCall:
    """One call in a handler thread, measured where its function's lane is not pinned.

    ``begun_at`` is 0.0 while it waits for a thread; ``cost`` is there when it has ended.
    """

    __slots__ = ("_evidence", "begun_at", "cost")

    def __init__(self, evidence: Evidence | None) -> None:
        self._evidence = evidence
        self.begun_at = 0.0
        self.cost: Cost | None = None
        if evidence is not None:
            evidence.running[self] = None

    def run(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call the function; in the thread."""
        if self._evidence is None:
            return function(*args)
        before = sample()
        self.begun_at = before[0]
        try:
            return function(*args)
        finally:
            self.cost = cost_since(before)

    def note(self) -> bool:
        """Add the call to the evidence if it has ended; on the loop's thread. True: the lane has changed."""
        evidence, cost = self._evidence, self.cost
        if evidence is None or cost is None:
            return False
        evidence.running.pop(self, None)
        return evidence.note_thread(*cost, longest_running(evidence))

    def forget(self) -> None:
        """Leave the call out, unless it runs: it was taken back while it waited for a thread."""
        if self._evidence is not None and not self.begun_at:
            self._evidence.running.pop(self, None)


def longest_running(evidence: Evidence) -> float:
    """Return the seconds of the longest call that runs in a thread or has just ended there."""
    longest, now = 0.0, fine_seconds()
    for call in evidence.running:
        if not call.begun_at:
            break  # the queue is in order: neither have those behind it
        longest = max(longest, call.cost[0] if call.cost is not None else now - call.begun_at)
    return longest


class Lanes:
    """The evidence of one running application's plain functions."""

    def __init__(self, pool: HandlerPool) -> None:
        self._pool = pool
        self._coin = coin_of(os.environ.get("CELLO_DISPATCH"))
        self._evidence: dict[int, Evidence] = {}

    def new_evidence(self) -> Evidence:
        """Return the evidence of a function that has not been called yet."""
        watch_waits()
        return Evidence(self._coin)

    async def run(
        self,
        function: Callable[..., Any],
        *args: Any,
        exchange: Any = None,
        is_refusable: bool = False,
        is_pinned: bool = False,
    ) -> Any:
        """Call a plain function in its lane, or in a thread where it ``is_pinned`` there.

        ``exchange`` is the one that it is called for. A call on the way to the handler ``is_refusable``, and
        the exchange can take it back as long as it waits: raises PoolFull.
        """
        if is_pinned:
            evidence = None
        else:
            evidence = self._evidence.get(id(function))  # not every callable is hashable
            if evidence is None:
                evidence = self._evidence[id(function)] = self.new_evidence()
            if evidence.lane == INLINE:
                return self._run_here(evidence, function, args)
        call = ThreadCall(evidence)

        def done(exc: BaseException | None, is_late: bool) -> None:
            if call.note() and evidence is not None:
                tell_change(place_of(function), evidence)
            if is_late and exchange is not None:
                tell_late(exchange, exc)

        note_queued = exchange.note_queued if is_refusable and exchange is not None else None
        try:
            return await self._pool.run(call.run, function, *args, when_queued=note_queued, when_done=done)
        finally:
            call.forget()

    def evidence_of(self, function: Callable[..., Any]) -> Evidence | None:
        """Return the evidence of a plain part of a coroutine chain, None before its first call."""
        return self._evidence.get(id(function))

    def _run_here(self, evidence: Evidence, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        before = sample()
        loop = get_running_loop()
        _set_running_loop(None)
        try:
            return function(*args)
        finally:
            _set_running_loop(loop)
            seconds, _, has_waited = cost_since(before)
            if evidence.note_inline(seconds, has_waited):
                tell_change(place_of(function), evidence)
