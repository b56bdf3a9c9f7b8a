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
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from .errors import HTTPError, ResponseError
from .json_codec import EncodeError
from .lanes import Lanes
from .response import Response
from .routing import is_async, place_of
from .threads import HandlerPool, PoolFull, begin_on, value_of

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

    def names(self) -> list[str]:
        """Say what stands around a handler, from the outside in."""
        return [
            *(f"before_request hook {place_of(hook)}" for hook in self.before),
            *(f"after_request hook {place_of(hook)}" for hook in self.after),
            *(f"middleware {place_of(middleware)}" for middleware in self.middlewares),
            *(
                f"exception_handler({getattr(kind, '__name__', kind)}) {place_of(take)}"
                for kind, take in self.exceptions.items()
            ),
        ]

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


_MIDDLEWARE = ("middleware", "the response of call_next(request), or another")
_BEFORE = ("before_request hook", "the answer, or None to go on")
_AFTER = ("after_request hook", "another response, or None to keep it")
_TAKER = ("exception handler", "the answer for the exception, such as (body, status)")


def _converted(respond: Respond, request: Any, role: tuple[str, str], part: Any, answer: Any) -> Response:
    """Return what a part around the handler returned as a response; raises ResponseError, naming the part.

    None is no answer there: the handler's would be lost, and a failure would look like a success.
    """
    if answer is None:
        raise ResponseError(f"the {role[0]} {place_of(part)} returned None; return {role[1]}")
    try:
        return respond(request, answer)
    except (EncodeError, ResponseError) as exc:
        raise ResponseError(f"the {role[0]} {place_of(part)} returned no answer: {exc}") from exc


def _name_call_next(call: Any) -> None:
    """Have Python's own messages call it by the name that middlewares know it by."""
    call.__name__ = call.__qualname__ = "call_next"


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
                return _converted(respond, request, _TAKER, take, self._run(take, request, exc))

        return guarded

    def _wrapped(self, middleware: Callable[[Any, Call], Any], call_next: Call) -> Call:
        respond = self.tools.respond
        _name_call_next(call_next)

        def wrapped(request: Any) -> Response:
            return _converted(respond, request, _MIDDLEWARE, middleware, middleware(request, call_next))

        return wrapped

    def _hooked(self, call: Call) -> Call:
        before, after, tools, run = self.parts.before, self.parts.after, self.tools, self._run

        def hooked(request: Any) -> Response:
            try:
                for hook in before:
                    early = run(hook, request)
                    if early is not None:
                        response = _converted(tools.respond, request, _BEFORE, hook, early)
                        break
                else:
                    response = call(request)
            except BaseException as exc:  # noqa: BLE001 - the after hooks see the 500 that it becomes
                response = tools.failure(request, exc)
            for change in after:
                changed = run(change, request, response)
                if changed is not None:
                    response = _converted(tools.respond, request, _AFTER, change, changed)
            return response

        return hooked


class _Rest:
    """The rest of a coroutine chain, as a plain middleware in a thread calls it and waits for it.

    When the middleware's call is over, as it is for whoever waited for it when the client has left or the
    time has passed, nothing of the rest begins any more, and what runs is cancelled.
    """

    def __init__(self, call_next: AsyncCall, loop: asyncio.AbstractEventLoop, pool: HandlerPool) -> None:
        self._call_next = call_next
        self._loop = loop
        self._pool = pool
        self._lock = Lock()
        self._futures: list[Future[Any]] = []
        self._is_over = False

    def call_and_wait(self, request: Any) -> Any:
        """Call the rest and return its response; raises what it raised, CancelledError when it is over."""
        with self._lock:
            if self._is_over:
                raise asyncio.CancelledError
            future = begin_on(self._loop, self._call_next(request))
            self._futures.append(future)
        with self._pool.waiting():
            return value_of(future)

    def end(self) -> None:
        """Begin nothing more, and cancel what runs; on the loop's thread."""
        with self._lock:
            self._is_over = True
        for future in self._futures:
            future.cancel()


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
        self, function: Callable[..., Any], request: Any, *args: Any, is_refusable: bool = False
    ) -> Any:
        """Call a part in its lane: a plain function's follows from what it shows, unless it is pinned.

        What comes before the handler ``is_refusable``: where no thread is free, the answer is 503.
        """
        if self.blocking is False or is_async(function) or function is self.quick:
            result = function(request, *args)
        else:
            result = await self.tools.lanes.run(
                function,
                request,
                *args,
                exchange=getattr(request, "_exchange", None),  # call_next takes whatever is handed on
                is_refusable=is_refusable,
                is_pinned=bool(self.blocking),
            )
        return await result if inspect.isawaitable(result) else result

    def _guarded(self, handler: Call) -> AsyncCall:
        find, respond = self.parts.find, self.tools.respond

        async def guarded(request: Any) -> Response:
            try:
                return respond(request, await self._run(handler, request, is_refusable=True))
            except PoolFull:  # no part of the chain runs for what is refused, as in a chain of plain parts
                raise
            except Exception as exc:
                take = find(exc)
                if take is None:
                    if isinstance(exc, HTTPError):
                        return self.tools.failure(request, exc)
                    raise
                return _converted(respond, request, _TAKER, take, await self._run(take, request, exc))

        return guarded

    def _wrapped(self, middleware: Callable[[Any, Any], Any], call_next: AsyncCall) -> AsyncCall:
        respond = self.tools.respond
        _name_call_next(call_next)

        async def wrapped(request: Any) -> Response:
            answer = await middleware(request, call_next)
            return _converted(respond, request, _MIDDLEWARE, middleware, answer)

        async def wrapped_thread(request: Any) -> Response:
            answer = await self._in_thread(middleware, request, call_next)
            return _converted(respond, request, _MIDDLEWARE, middleware, answer)

        return wrapped if is_async(middleware) else wrapped_thread

    async def _in_thread(
        self, middleware: Callable[[Any, Call], Any], request: Any, call_next: AsyncCall
    ) -> Any:
        """Run a plain middleware in a thread, where its ``call_next`` waits for the rest of the chain."""
        rest = _Rest(call_next, asyncio.get_running_loop(), self.tools.pool)
        try:
            return await self.tools.lanes.run(
                middleware,
                request,
                rest.call_and_wait,
                exchange=getattr(request, "_exchange", None),
                is_refusable=True,
                is_pinned=True,
            )
        finally:
            rest.end()

    def _hooked(self, call: AsyncCall) -> AsyncCall:
        tools = self.tools

        async def hooked(request: Any) -> Response:
            try:
                for hook in self.parts.before:
                    early = await self._run(hook, request, is_refusable=True)
                    if early is not None:
                        response = _converted(tools.respond, request, _BEFORE, hook, early)
                        break
                else:
                    response = await call(request)
            except PoolFull:
                raise
            except Exception as exc:  # noqa: BLE001 - the after hooks see the 500 that it becomes
                response = tools.failure(request, exc)
            for after in self.parts.after:
                changed = await self._run(after, request, response)
                if changed is not None:
                    response = _converted(tools.respond, request, _AFTER, after, changed)
            return response

        return hooked
