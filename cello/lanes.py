"""Running plain functions in the lane that their calls have earned: measuring, moving, and telling.

What decides is ``Evidence`` (_speedups/evidence_py.py); here it gets its numbers. A route's own call is run
by the dispatch core, which looks at the evidence itself; ``Lanes.run`` is for the plain parts of a chain that
is a coroutine, each of which has a lane of its own.

CELLO_DISPATCH=random gives every call a lane by chance. A handler that is serial on the loop's thread and
concurrent in the pool shows its races only in production; a test suite run this way shows them earlier.
"""

from __future__ import annotations

import logging
import os
import random
from asyncio import _set_running_loop, get_running_loop
from collections.abc import Callable, Iterable
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
from .threads import HandlerPool, QueuedJob

logger = logging.getLogger("cello")

Sample = tuple[float, int, int]
Cost = tuple[float, bool, bool]
"""Seconds, whether the call gave up the processor by itself, whether it did something that waits."""

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


def describe_lane(route: Route | None) -> str | None:
    """Return a route's lane and why it is that, for error answers in debug; None without a running route."""
    if route is None or route.call is None:
        return None
    endpoint = route.call
    if endpoint.evidence is not None:
        why = endpoint.evidence.describe()
    elif endpoint.lane == TASK:
        why = "its handler, or something around it, is a coroutine function"
    else:
        why = "pinned" if route.blocking is None else f"blocking={route.blocking}"
    return f"{LANE_NAMES[endpoint.lane]}: {why}"


class Watched:
    """A function of the application that runs on the loop's thread or may come to: for the watchdog.

    ``route`` is the one that it answers, None for a hook, a middleware or an exception handler.
    """

    def __init__(self, function: Callable[..., Any], route: Route | None) -> None:
        self._function = function
        self._route = route

    def __str__(self) -> str:
        return str(self._route) if self._route is not None else place_of(self._function)

    def advice(self) -> str:
        """Say what to change in it, for whoever develops the application."""
        if is_async(self._function):
            return (
                "It is an async def, and so holds the loop until its next await: await what waits, "
                "or make it a plain def, which may block in a thread."
            )
        if self._route is not None and self._route.blocking is False:
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
            found[code] = Watched(part, None)
    for route in routes:
        code = code_of(route.handler)
        if code is not None:
            found[code] = Watched(route.handler, route)
    return found


def coin_of(environment: str | None) -> Callable[[], float] | None:
    """Return the coin that CELLO_DISPATCH asks for, None for adaptive dispatch; raises StartError."""
    if environment in (None, "", "adaptive"):
        return None
    if environment == "random":
        return random.random
    raise StartError(f"CELLO_DISPATCH={environment!r}: expected 'adaptive' or 'random'")


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
        when_queued: Callable[[QueuedJob], None] | None = None,
    ) -> Any:
        """Call a plain function in its lane; ``when_queued`` is HandlerPool.run's."""
        evidence = self._evidence.get(id(function))  # not every callable is hashable
        if evidence is None:
            evidence = self._evidence[id(function)] = self.new_evidence()
        if evidence.lane == INLINE:
            return self._run_here(evidence, function, args)
        costs: list[Cost] = []
        try:
            return await self._pool.run(_measured, costs, function, args, when_queued=when_queued)
        finally:
            if costs and evidence.note_thread(*costs[0]):
                tell_change(place_of(function), evidence)

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


def _measured(costs: list[Cost], function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    before = sample()
    try:
        return function(*args)
    finally:
        costs.append(cost_since(before))
