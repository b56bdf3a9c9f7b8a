"""The chain around a handler, composed once when the application starts.

From the outside in: ``before_request`` and ``after_request`` hooks, the middlewares in order of registration,
the exception handlers, the handler. An error that no exception handler takes passes through the middlewares
as an exception, so that they can see it, and becomes a 500 before the ``after_request`` hooks, which see
every answer.

A chain without any part is the handler itself, and costs nothing. A chain of ``def`` parts around a ``def``
handler is one call in the handler's lane. As soon as one part is ``async def`` the chain is a coroutine on
the loop; then a ``def`` middleware runs in a handler thread and its ``call_next`` waits there for the rest of
the chain, and every other ``def`` part has a lane of its own (lanes.py), unless the route pins them all with
``blocking``.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from .errors import HTTPError
from .lanes import Lanes
from .response import Response
from .routing import is_async
from .threads import HandlerPool, QueuedJob

Call = Callable[[Any], Any]
AsyncCall = Callable[[Any], Awaitable[Any]]
Respond = Callable[[Any, Any], Response]
Failure = Callable[[Any, BaseException], Response]


@dataclass
class Parts:
    """What an application has registered around its handlers."""

    before: list[Call] = field(default_factory=list)
    after: list[Callable[[Any, Response], Any]] = field(default_factory=list)
    middlewares: list[Callable[[Any, Call], Any]] = field(default_factory=list)
    exceptions: dict[type[BaseException] | int, Callable[[Any, Any], Any]] = field(default_factory=dict)

    def functions(self) -> list[Callable[..., Any]]:
        """Return all of them."""
        return [*self.before, *self.after, *self.middlewares, *self.exceptions.values()]

    def is_empty(self) -> bool:
        """Tell whether a handler can be called without any chain."""
        return not (self.before or self.after or self.middlewares or self.exceptions)

    def has_async(self) -> bool:
        """Tell whether any part is a coroutine function."""
        return any(is_async(part) for part in self.functions())

    def has_blocking(self) -> bool:
        """Tell whether any part is a plain function, which may block."""
        return any(not is_async(part) for part in self.functions())

    def find(self, exc: BaseException) -> Callable[[Any, Any], Any] | None:
        """Return the handler for an exception: by its class, the nearest first, else by its status."""
        for kind in type(exc).__mro__:
            if kind is Exception:
                break  # what is registered for a status is nearer than what takes everything
            if kind in self.exceptions:
                return self.exceptions[kind]
        status = exc.status if isinstance(exc, HTTPError) else 500
        if isinstance(exc, Exception):
            return self.exceptions.get(status) or self.exceptions.get(Exception)
        return None


@dataclass(frozen=True)
class Tools:
    """What the chain needs of the dispatch core."""

    respond: Respond  # (request, a handler's return value) -> Response
    failure: Failure  # (request, exception) -> Response
    pool: HandlerPool
    lanes: Lanes


def compose(
    handler: Call, parts: Parts, tools: Tools, *, blocking: bool | None, is_quick: bool = False
) -> tuple[Call, bool]:
    """Return ``(call, is_coroutine)``: the handler with all parts around it.

    ``blocking`` is the route's: where the handler and the hooks around it run when they are plain functions,
    None leaves it to what their calls show. ``is_quick``: the handler alone may run on the loop's thread.
    """
    if parts.is_empty():
        return handler, is_async(handler)
    if is_async(handler) or parts.has_async():
        quick = handler if is_quick else None
        return _AsyncChain(parts, tools, blocking=blocking, quick=quick).around(handler), True
    return _SyncChain(parts, tools).around(handler), False


class _SyncChain:
    """All parts and the handler are plain functions: one call."""

    def __init__(self, parts: Parts, tools: Tools) -> None:
        self.parts = parts
        self.tools = tools

    def around(self, handler: Call) -> Call:
        call = self._guarded(handler)
        for middleware in reversed(self.parts.middlewares):
            call = self._wrapped(middleware, call)
        return self._hooked(call) if self.parts.before or self.parts.after else call

    def _run(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call a part; it returns a coroutine where an ``async def`` hides in a plain function."""
        result = function(*args)
        if result is not None and type(result) is not dict and inspect.isawaitable(result):
            return self.tools.pool.wait_for(result)
        return result

    def _guarded(self, handler: Call) -> Call:
        find, respond = self.parts.find, self.tools.respond

        def guarded(request: Any) -> Response:
            try:
                return respond(request, self._run(handler, request))
            except BaseException as exc:
                take = find(exc)
                if take is None:
                    if isinstance(exc, HTTPError):
                        return self.tools.failure(request, exc)
                    raise
                return respond(request, self._run(take, request, exc))

        return guarded

    def _wrapped(self, middleware: Callable[[Any, Call], Any], call_next: Call) -> Call:
        respond = self.tools.respond

        def wrapped(request: Any) -> Response:
            return respond(request, middleware(request, call_next))

        return wrapped

    def _hooked(self, call: Call) -> Call:
        before, after, tools, run = self.parts.before, self.parts.after, self.tools, self._run

        def hooked(request: Any) -> Response:
            try:
                early = next((found for hook in before if (found := run(hook, request)) is not None), None)
                response = tools.respond(request, early) if early is not None else call(request)
            except BaseException as exc:  # noqa: BLE001 - the after hooks see the 500 that it becomes
                response = tools.failure(request, exc)
            for hook in after:
                changed = run(hook, request, response)
                if changed is not None:
                    response = tools.respond(request, changed)
            return response

        return hooked


def _note_of(request: Any) -> Callable[[QueuedJob], None] | None:
    """Return who is told of a call that waits for a thread before the handler: the request's exchange."""
    exchange = getattr(request, "_exchange", None)  # call_next takes whatever a middleware hands on
    return exchange.note_queued if exchange is not None else None


class _AsyncChain:
    """Some part is a coroutine function: the chain is one."""

    def __init__(self, parts: Parts, tools: Tools, *, blocking: bool | None, quick: Call | None) -> None:
        self.parts = parts
        self.tools = tools
        self.blocking = blocking
        self.quick = quick

    def around(self, handler: Call) -> AsyncCall:
        call = self._guarded(handler)
        for middleware in reversed(self.parts.middlewares):
            call = self._wrapped(middleware, call)
        return self._hooked(call) if self.parts.before or self.parts.after else call

    async def _run(
        self, function: Callable[..., Any], *args: Any, when_queued: Callable[[QueuedJob], None] | None = None
    ) -> Any:
        """Call a part in its lane: a plain function's follows from what it shows, unless it is pinned.

        ``when_queued`` is for what comes before the handler, and may be refused where no thread is free.
        """
        if self.blocking is False or is_async(function) or function is self.quick:
            result = function(*args)
        elif self.blocking:
            result = await self.tools.pool.run(function, *args, when_queued=when_queued)
        else:
            result = await self.tools.lanes.run(function, *args, when_queued=when_queued)
        return await result if inspect.isawaitable(result) else result

    def _guarded(self, handler: Call) -> AsyncCall:
        find, respond = self.parts.find, self.tools.respond

        async def guarded(request: Any) -> Response:
            try:
                return respond(request, await self._run(handler, request, when_queued=_note_of(request)))
            except Exception as exc:
                take = find(exc)
                if take is None:
                    if isinstance(exc, HTTPError):
                        return self.tools.failure(request, exc)
                    raise
                return respond(request, await self._run(take, request, exc))

        return guarded

    def _wrapped(self, middleware: Callable[[Any, Any], Any], call_next: AsyncCall) -> AsyncCall:
        respond = self.tools.respond

        async def wrapped(request: Any) -> Response:
            return respond(request, await middleware(request, call_next))

        async def wrapped_thread(request: Any) -> Response:
            return respond(request, await self._in_thread(middleware, request, call_next))

        return wrapped if is_async(middleware) else wrapped_thread

    async def _in_thread(
        self, middleware: Callable[[Any, Call], Any], request: Any, call_next: AsyncCall
    ) -> Any:
        """Run a plain middleware in a thread, where its ``call_next`` waits for the rest of the chain."""
        loop = asyncio.get_running_loop()
        inner: list[Any] = []

        async def rest(inner_request: Any) -> Any:
            return await call_next(inner_request)

        def call_next_and_wait(inner_request: Any) -> Any:
            future = asyncio.run_coroutine_threadsafe(rest(inner_request), loop)
            inner.append(future)
            with self.tools.pool.waiting():
                return future.result()

        try:
            return await self.tools.pool.run(
                middleware, request, call_next_and_wait, when_queued=_note_of(request)
            )
        except asyncio.CancelledError:
            for future in inner:
                future.cancel()
            raise

    def _hooked(self, call: AsyncCall) -> AsyncCall:
        tools = self.tools

        async def hooked(request: Any) -> Response:
            try:
                early = None
                for hook in self.parts.before:
                    early = await self._run(hook, request, when_queued=_note_of(request))
                    if early is not None:
                        break
                response = tools.respond(request, early) if early is not None else await call(request)
            except Exception as exc:  # noqa: BLE001 - the after hooks see the 500 that it becomes
                response = tools.failure(request, exc)
            for after in self.parts.after:
                changed = await self._run(after, request, response)
                if changed is not None:
                    response = tools.respond(request, changed)
            return response

        return hooked
