"""The dispatch core's hot half: from a request to its endpoint, its lane and its answer.

Strategy. A request without a body whose endpoint runs on the loop's thread is answered inside ``begin``:
match, call, encode, respond, with no object made besides the context. Whatever has to wait (for a body, for a
thread, for a coroutine, for a reader) gets an ``Exchange``, which lives until its answer is out or its client
is gone.

Invariants. ``begin`` never raises. An exchange answers at most once: ``is_done`` is set by whoever answers,
cancels or expires it, and every late result is dropped against it. The verbs of the stream are called on the
loop's thread only, and never after ``is_done`` was set by ``cancel``.

The cold half (error pages, conversion of results, the thread pool, the log) is ``core``, handed in by
cello/dispatch.py.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import AsyncIterator
from contextvars import copy_context
from inspect import isawaitable
from time import monotonic
from typing import Any

from ..errors import ClientDisconnected
from .calls_py import call_hidden, call_in, coarse_seconds, fine_seconds, new_context, waits
from .evidence_py import Evidence
from .filters_py import FilteredStream, Filters
from .heads_py import has_null
from .request_py import Request
from .states_py import INLINE, TASK
from .stream_py import AnswerStream

JSON_FIELDS = [(b"content-type", b"application/json")]

# A stream=True body held for its handler: reading pauses above the first and goes on below the second.
BODY_HIGH_WATER_BYTES = 65536
BODY_LOW_WATER_BYTES = 16384

_HAS_EAGER_TASKS = sys.version_info >= (3, 12)


def start_eagerly(coroutine: Any, context: Any) -> Any:
    """Start a task at once where this Python has eager tasks (3.12), which spares a turn of the loop.

    The context is a new one: a task cannot be started at once in the context that runs already.
    """
    loop = asyncio.get_running_loop()
    if _HAS_EAGER_TASKS:
        make_task: Any = asyncio.Task
        return make_task(coroutine, loop=loop, context=context, eager_start=True)
    return loop.create_task(coroutine, context=context)


class Endpoint:
    """Where a request goes: the composed call of a route, its lane and its limits.

    ``evidence`` is that of a call whose lane follows from what it shows, None where the lane is pinned;
    ``timeout_seconds`` is infinite where the timeout is off; ``max_request_bytes`` bounds the body.
    """

    __slots__ = ("call", "evidence", "is_streaming", "lane", "max_request_bytes", "route", "timeout_seconds")

    def __init__(
        self,
        call: Any,
        lane: int,
        route: Any,
        is_streaming: bool,
        max_request_bytes: int,
        timeout_seconds: float,
        evidence: Evidence | None,
    ) -> None:
        self.call = call
        self.lane = lane if evidence is None else evidence.lane
        self.evidence = evidence
        self.route = route
        self.is_streaming = is_streaming
        self.max_request_bytes = max_request_bytes
        self.timeout_seconds = timeout_seconds


class Dispatcher:
    """The callable end of the exchange contract, one per running application.

    ``match(method, raw_path)`` gives ``(route, params)`` or None; a route's ``call`` is its Endpoint.
    ``encode`` gives JSON octets, unchecked for NaN. ``unmatched`` is the Endpoint for everything else;
    ``filters`` are what answers go through on their way out, None where there are none.
    """

    __slots__ = ("app", "core", "encode", "filters", "match", "unmatched")

    def __init__(
        self, app: Any, core: Any, match: Any, encode: Any, unmatched: Endpoint, filters: Filters | None
    ) -> None:
        self.app = app
        self.filters = filters
        self.core = core
        self.match = match
        self.encode = encode
        self.unmatched = unmatched

    def begin(self, request: Request, stream: AnswerStream) -> Any:
        """Start an exchange; returns it, or None when the answer has been given. Never raises.

        The adapter has checked the path (is_target_path).
        """
        if self.filters is not None:
            return self._begin_filtered(request, stream)
        return self._begin(request, stream)

    def _begin_filtered(self, request: Request, stream: AnswerStream) -> Any:
        filters = self.filters
        assert filters is not None
        if filters.cors is not None and request.method == "OPTIONS":
            fields = filters.cors.preflight(request)
            if fields is not None:
                if filters.has_request_ids:
                    fields = [*fields, (b"x-request-id", request.request_id_octets())]
                stream.respond(204, fields, b"", -1)
                return None
        filtered = FilteredStream(filters, request, stream)
        exchange = self._begin(request, filtered)
        if exchange is None and filtered.is_pending:
            exchange = Exchange(self, self.unmatched, request, filtered)
            exchange.is_done = True
        return exchange

    def _begin(self, request: Request, stream: AnswerStream) -> Any:
        raw_path = request.raw_path
        found = self.match(request.method, raw_path)
        if found is None:
            endpoint = self.unmatched
        else:
            request.route = found[0]
            endpoint = found[0].call
            if found[1] is not None:
                request._params = found[1]
        request.app = self.app
        if request.has_body or endpoint.lane != INLINE:
            return self._begin_exchange(endpoint, request, stream)
        return self.answer_inline(endpoint, request, stream, None)

    def answer_inline(self, endpoint: Endpoint, request: Request, stream: AnswerStream, exchange: Any) -> Any:
        """Call the endpoint on this thread and answer; returns an exchange when the answer has to wait."""
        started = coarse_seconds()
        context = new_context()
        request._started_at = started
        try:
            evidence = endpoint.evidence
            if evidence is None:
                result = call_in(context, endpoint.call, request)
            else:
                result = self._call_watched(endpoint, evidence, request, context)
            if type(result) is dict and request.method != "HEAD":
                body = self._encode(result)
                if coarse_seconds() - started < endpoint.timeout_seconds:
                    if exchange is not None:
                        exchange.is_done = True
                    stream.respond(200, JSON_FIELDS, body, len(body))
                    return None
        except BaseException as exc:  # noqa: BLE001 - the boundary: what a handler raises becomes an answer
            result = self.core.failure(request, exc)
        if coarse_seconds() - started >= endpoint.timeout_seconds:
            self.core.discard(result)
            result = self.core.overdue(request, coarse_seconds() - started)
        return self._settle_inline(endpoint, request, stream, exchange, result, context)

    def _call_watched(self, endpoint: Endpoint, evidence: Evidence, request: Request, context: Any) -> Any:
        """Call a plain function that has earned the loop's thread, and look whether it may stay there."""
        waits_before = waits()
        begun = fine_seconds()
        try:
            return call_hidden(context, endpoint.call, request)
        finally:
            if evidence.note_inline(fine_seconds() - begun, waits() != waits_before):
                self.core.change_lane(endpoint)

    def _encode(self, result: Any) -> bytes:
        """Return JSON octets; raises EncodeError with what is wrong, and where."""
        try:
            body: bytes = self.encode(result)
        except Exception as exc:
            raise self.core.explain_json(result, exc) from exc
        if has_null(body):
            self.core.check_json(result)
        return body

    def _settle_inline(
        self, endpoint: Endpoint, request: Any, stream: Any, exchange: Any, result: Any, context: Any
    ) -> Any:
        response: Any = None
        if not isawaitable(result):
            response = self.core.as_response(request, result)
            if not response.is_stream:
                if exchange is not None:
                    exchange.is_done = True
                self.core.send(request, stream, response)
                return None
        if exchange is None:
            exchange = Exchange(self, endpoint, request, stream)
        exchange.context = context
        if response is None:
            exchange.spawn(exchange.run_awaitable(result))
        else:
            exchange.spawn(exchange.run_response(response))
        return exchange

    def _begin_exchange(self, endpoint: Endpoint, request: Any, stream: Any) -> Any:
        length = request.content_length
        if length is not None and length > endpoint.max_request_bytes:
            self.core.refuse_size(request, stream, endpoint.max_request_bytes)
            return None
        exchange = Exchange(self, endpoint, request, stream)
        if endpoint.is_streaming:
            if request.has_body:
                request._body = None
            else:
                exchange.is_complete = True
            exchange.start()
        elif not request.has_body:
            exchange.is_complete = True
            exchange.start()
        elif request.expects_continue:
            stream.inform(100)
        return None if exchange.is_done else exchange  # an eager task, for one, may be through already


class Exchange:
    """One request whose answer has to wait for something.

    ``is_complete``: the body has come whole. ``queued``: what waited last for a thread on the way to the
    handler, and may be taken back (threads.QueuedJob). ``is_done``: answered, cancelled or expired; nothing
    more is sent. ``has_begun``: the head of a streamed answer is out.
    """

    __slots__ = (
        "_chunks",
        "_dispatcher",
        "_is_paused",
        "_received_bytes",
        "_task",
        "_waiter",
        "_waiting_bytes",
        "context",
        "endpoint",
        "has_begun",
        "is_complete",
        "is_done",
        "is_gone",
        "is_started",
        "queued",
        "request",
        "started_at",
        "stream",
        "thread_call",
    )

    def __init__(self, dispatcher: Dispatcher, endpoint: Endpoint, request: Any, stream: Any) -> None:
        self._dispatcher = dispatcher
        self.endpoint = endpoint
        self.request = request
        self.stream = stream
        self.thread_call: Any = None  # lanes.ThreadCall
        self.has_begun = False
        self.is_complete = False
        self.is_done = False
        self.is_gone = False
        self.queued: Any = None
        self.is_started = False
        self.started_at = 0.0
        self.context: Any = None
        self._chunks: deque[bytes] = deque()
        self._is_paused = False
        self._received_bytes = 0
        self._waiting_bytes = 0
        self._task: Any = None
        self._waiter: Any = None
        request._exchange = self

    # The verbs of the adapter.

    def feed(self, chunk: bytes) -> None:
        """Take a piece of the request's body; answers 413 when it outgrows the route's limit."""
        if self.is_done:
            return
        size = len(chunk)
        self._received_bytes += size
        if self._received_bytes > self.endpoint.max_request_bytes:
            self._stop()
            core = self._dispatcher.core
            if self.has_begun:
                self.stream.reset(f"the request's body is over {self.endpoint.max_request_bytes} bytes")
            else:
                core.refuse_size(self.request, self.stream, self.endpoint.max_request_bytes)
            return
        self._chunks.append(chunk)
        if self.endpoint.is_streaming:
            self._waiting_bytes += size
            if self._waiting_bytes > BODY_HIGH_WATER_BYTES and not self._is_paused:
                self._is_paused = True
                self.stream.pause()
            self._wake()

    def end(self) -> None:
        """The body is complete: a handler that waited for it is called."""
        self.is_complete = True
        if self.is_done:
            return
        if self.endpoint.is_streaming:
            self._wake()
            return
        chunks = self._chunks
        self.request._body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        self.start()

    def cancel(self, reason: str) -> None:
        """The client has left: the handler is cancelled where it can be, and nothing more is sent."""
        self.is_gone = True
        if not self.is_done:
            self._stop()

    def expire(self) -> None:
        """response_timeout has passed: 504, or a broken message where the answer had begun."""
        if self.is_done:
            return
        is_uncalled = self._stop()
        core = self._dispatcher.core
        elapsed = monotonic() - self.started_at
        if self.has_begun:
            self.stream.reset("the answer stalled")
        elif is_uncalled:
            core.refuse_busy(self.request, self.stream)
        else:
            core.send(self.request, self.stream, core.overdue(self.request, elapsed))

    def is_disconnected(self) -> bool:
        """Tell whether the client has left or ended its side."""
        return self.is_gone or bool(self.stream.is_disconnected())

    # Running the handler.

    def start(self) -> None:
        """Call the handler in its lane."""
        self.is_started = True
        self.started_at = monotonic()
        self.request._started_at = self.started_at
        endpoint = self.endpoint
        if endpoint.lane == INLINE:
            self._dispatcher.answer_inline(endpoint, self.request, self.stream, self)
        elif endpoint.lane == TASK:
            self.context = copy_context()
            self._task = start_eagerly(self.run_awaitable(None), self.context)
        else:
            self._dispatcher.core.run_in_thread(self)

    def spawn(self, coroutine: Any) -> None:
        """Run a coroutine as a task, in the request's context: the handler's where one ran."""
        if self.started_at == 0.0:
            self.started_at = monotonic()
        if self.context is None:
            self.context = copy_context()
        self._task = asyncio.get_running_loop().create_task(coroutine, context=self.context)

    async def run_awaitable(self, awaitable: Any) -> None:
        """Await the handler (or what it returned) and answer."""
        core = self._dispatcher.core
        try:
            if awaitable is None:
                awaitable = self.endpoint.call(self.request)
            result = await awaitable
            if type(result) is dict and self.request.method != "HEAD":
                body = self._dispatcher._encode(result)
                if self.is_done:
                    core.note_late(self, None)
                    return
                self.is_done = True
                self.stream.respond(200, JSON_FIELDS, body, len(body))
                return
        except BaseException as exc:  # noqa: BLE001 - the boundary: what a handler raises becomes an answer
            if self.is_done:
                core.note_late(self, exc)
                return
            result = core.failure(self.request, exc)
        await self._answer(result)

    async def run_response(self, response: Any) -> None:
        """Send a streamed response that a handler on the loop's thread returned."""
        await self._answer(response)

    def note_queued(self, queued: Any) -> None:
        """A part of the chain waits for a thread before the handler is called (threads.QueuedJob)."""
        self.queued = queued

    def deliver(self, result: Any, exc: BaseException | None) -> None:
        """Take a thread's result, on the loop's thread."""
        core = self._dispatcher.core
        core.note_call(self)
        if self.is_done:
            core.note_late(self, exc)
            core.discard(result)
            return
        if exc is not None:
            result = core.failure(self.request, exc)
        if isawaitable(result):
            self.spawn(self.run_awaitable(result))
            return
        response = core.as_response(self.request, result)
        if response.is_stream:
            self.spawn(self.run_response(response))
        else:
            self.is_done = True
            core.send(self.request, self.stream, response)

    async def _answer(self, result: Any) -> None:
        core = self._dispatcher.core
        if self.is_done:
            core.note_late(self, None)
            core.discard(result)
            return
        response = core.as_response(self.request, result)
        if response.is_stream:
            await core.send_stream(self, response)
        else:
            self.is_done = True
            core.send(self.request, self.stream, response)

    def _stop(self) -> bool:
        """Mark the exchange as over and stop what still runs for it; True: its handler is never called."""
        self.is_done = True
        is_uncalled = self.queued is not None and bool(self.queued.cancel())
        if is_uncalled and self.thread_call is not None:
            self.thread_call.forget()
        self._chunks.clear()
        self._wake()
        task = self._task
        if task is not None and not task.done():
            task.cancel()
        return is_uncalled

    # The body of a stream=True route.

    async def body_pieces(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes; raises ClientDisconnected when the client leaves before its end."""
        if self.request.expects_continue and not self.is_complete:
            self.request.expects_continue = False
            self.stream.inform(100)
        while True:
            while self._chunks:
                chunk = self._chunks.popleft()
                self._waiting_bytes -= len(chunk)
                if self._is_paused and self._waiting_bytes < BODY_LOW_WATER_BYTES:
                    self._is_paused = False
                    self.stream.resume()
                yield chunk
            if self.is_complete:
                return
            if self.is_done:
                raise ClientDisconnected("the client left before the request's body was complete")
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
