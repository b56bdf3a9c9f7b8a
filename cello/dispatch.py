"""The dispatch core's cold half: errors, conversion, the threads, streams, and the start of an application.

The hot half, which runs per request, is ``_speedups/dispatch_py.py``; it calls ``Core`` for whatever is not
the straight way. ``build`` puts both together for a run: every route gets its Endpoint, with its chain
composed and its lane chosen.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable
from contextvars import copy_context
from copy import copy
from math import inf
from types import CodeType
from typing import Any

from ._speedups import INLINE, TASK, THREAD, Dispatcher, Endpoint, Filters
from .errors import ClientDisconnected, HTTPError
from .hints import summarise
from .json_codec import check_finite, encode, encode_unchecked, explain
from .lanes import (
    Lanes,
    ThreadCall,
    Watched,
    describe_lane,
    tell_change,
    tell_late,
    watched_functions,
)
from .middleware import Parts, Tools, compose
from .pages import POLICY, render_page
from .pieces import Pieces
from .problems import exception_members, preferred_form, problem, render_text
from .response import HTML, OCTET_STREAM, TEXT, Response
from .returns import to_response
from .routing import Route, RouteTable, place_of
from .status import has_body
from .threads import BUSY, QUEUED_PER_WORKER, HandlerPool, PoolFull, call_soon
from .types import Fields, Stream

logger = logging.getLogger("cello")

PROBLEM = "application/problem+json"


class Core:
    """What the hot half asks for: failures and results as responses, answers out, calls in threads."""

    def __init__(self, pool: HandlerPool, allow: str, *, debug: bool) -> None:
        self.pool = pool
        self.allow = allow
        self.debug = debug
        self.check_json = check_finite
        self.explain_json = explain
        self.watched: dict[CodeType, Watched] = {}
        self.lanes: Lanes | None = None
        self.routes: list[Route] = []
        self.chain: list[str] = []

    # Errors.

    def failure(self, request: Any, exc: BaseException) -> Response:
        """Return the answer for what a handler raised, and log what the application did not mean to raise."""
        try:
            return self._told(request, exc)
        except Exception as untold:  # its text or its headers are what no answer can carry
            logger.error(
                "no answer can tell a %s, request id %s",
                type(exc).__name__,
                request.request_id,
                exc_info=untold,
            )
            return self._problem(request, 500, f"request id {request.request_id}", None)

    def _told(self, request: Any, exc: BaseException) -> Response:
        if isinstance(exc, HTTPError):
            if isinstance(exc, PoolFull):
                self._note_busy(request)
            return self._problem(
                request, exc.status, exc.detail, exc if exc.status >= 500 else None, exc.headers
            )
        if isinstance(exc, ClientDisconnected):
            return self._problem(request, 400, "the client left before the request was complete", None)
        place = place_of(request.route.handler) if request.route is not None else "the dispatch core"
        told = summarise(exc, request, place)
        logger.error(
            "%s %s failed in %s, request id %s: %s",
            request.method,
            request.raw_path.decode("latin-1"),
            place,
            request.request_id,
            told,
            exc_info=exc,
        )
        if self.debug:
            return self._problem(request, 500, told, exc)
        return self._problem(request, 500, f"request id {request.request_id}", None)

    def overdue(self, request: Any, elapsed_seconds: float) -> Response:
        """Return the 504 for a handler that took longer than its response_timeout."""
        route = request.route
        logger.warning(
            "%s %s took over %.3f s, which is longer than its response_timeout: %s",
            request.method,
            request.raw_path.decode("latin-1"),
            elapsed_seconds,
            place_of(route.handler) if route is not None else "no route",
        )
        return self._problem(request, 504, "the handler did not answer in time", None)

    def refuse(self, request: Any, stream: Stream, status: int, detail: str) -> None:
        """Answer a request that never reaches a handler."""
        headers = {503: {"retry-after": "1"}, 405: {"allow": self.allow}}.get(status)
        self.send(request, stream, self._problem(request, status, detail, None, headers))

    def refuse_size(self, request: Any, stream: Stream, limit_bytes: int) -> None:
        """Answer 413 to a request whose body is, or has become, too large (RFC 9110 15.5.14)."""
        self.refuse(request, stream, 413, f"the request's body is over {limit_bytes} bytes")

    def _problem(
        self,
        request: Any,
        status: int,
        detail: str | None,
        exc: BaseException | None,
        headers: dict[str, str] | None = None,
    ) -> Response:
        extra: dict[str, Any] = {}
        if self.debug and status >= 500:
            extra = exception_members(exc) if exc is not None else {}
            lane = describe_lane(request.route, self.lanes)
            if lane is not None:
                extra["lane"] = lane
        members = problem(status, detail, request.raw_path.decode("latin-1"), **extra)
        form = preferred_form(request.headers.get("accept"))
        if form == "json":
            response = Response(encode(members), status, headers, content_type=PROBLEM)
        elif form == "html":
            response = Response(self._page(request, members, exc), status, headers, content_type=HTML)
            response.set_header("content-security-policy", POLICY)
        else:
            response = Response(render_text(members), status, headers, content_type=TEXT)
        response.append_header("vary", "accept")
        return response

    def _page(self, request: Any, members: dict[str, Any], exc: BaseException | None) -> str:
        """Render an error for a browser: all there is to know of it in debug, else a few words."""
        is_unmatched = members["status"] == 404 and request.route is None
        if self.debug and (exc is not None or is_unmatched):
            # Read where it is needed: a server in production never asks for it.
            from .debug_page import Report, render_debug_page

            report = Report(exc, request, members.get("lane"), self.chain, self.routes)
            try:
                return render_debug_page(members, report)
            except Exception as untold:  # the page shows values of the application: any of them may be odd
                logger.error("the debug page failed", exc_info=untold)
        return render_page(members)

    # Results.

    def as_response(self, request: Any, result: Any) -> Response:
        """Turn a return value into a response; one that cannot be is a 500."""
        try:
            return to_response(result)
        except Exception as exc:  # noqa: BLE001 - the boundary: a bad return value is the handler's error
            return self.failure(request, exc)

    def respond_or_raise(self, request: Any, result: Any) -> Response:
        """Turn a return value into a response, for middleware; errors are raised."""
        return to_response(result)

    def send(self, request: Any, stream: Stream, response: Response) -> None:
        """Send a whole answer; one that cannot be sent ends the connection, and the log says why."""
        try:
            self._send(request, stream, response)
        except Exception:
            # Behind every other boundary: the exchange counts as answered, and nobody else would end it.
            logger.exception("%s %s: the answer could not be sent", request.method, request.path)
            stream.reset("the answer could not be sent")

    def _send(self, request: Any, stream: Stream, response: Response) -> None:
        """Send an answer; HEAD, 204 and 304 have no body (RFC 9110 6.4.1, 9.3.2)."""
        body: bytes = response.body
        status = response.status
        fields, declared = _split_length(response.headers.raw)
        if not has_body(status):
            stream.respond(status, fields, b"", -1)
        elif status == 205:  # RFC 9110 15.3.6: no content, and it says so
            stream.respond(status, fields, b"", 0)
        elif request.method == "HEAD":
            stream.respond(status, fields, b"", declared if declared >= 0 and not body else len(body))
        else:
            stream.respond(status, fields, body, len(body))

    async def send_stream(self, exchange: Any, response: Response) -> None:
        """Send a streamed answer.

        Its first piece is awaited before the head, so that what fails early is a 500.
        """
        request, stream = exchange.request, exchange.stream
        fields, declared = _split_length(response.headers.raw)
        pieces = Pieces(response.body, declared, None if _is_pinned(exchange) else self.pool)
        try:
            await self._pump(exchange, request, stream, response, fields, pieces)
        except (ClientDisconnected, asyncio.CancelledError) as exc:
            if not exchange.is_done and not exchange.is_gone:  # nobody but the handler itself ended it
                self._break_off(exchange, exc)
        except BaseException as exc:  # noqa: BLE001 - the boundary: the generator is the handler's code
            self._break_off(exchange, exc)
        finally:
            await pieces.close()

    async def _pump(
        self, exchange: Any, request: Any, stream: Stream, response: Response, fields: Fields, pieces: Pieces
    ) -> None:
        carries = has_body(response.status) and request.method != "HEAD"
        octets = await pieces.next() if carries else None
        if exchange.is_done:
            return
        exchange.has_begun = True
        if pieces.is_text and response.headers.get("content-type") == OCTET_STREAM:
            fields = [(name, TEXT.encode() if name == b"content-type" else value) for name, value in fields]
        length = pieces.declared_bytes if has_body(response.status) else -1
        stream.head(response.status, fields, length, carries)
        while octets is not None:
            stream.data(octets)
            await stream.drain()
            if exchange.is_done:
                return
            octets = await pieces.next()
        if exchange.is_done:
            return
        exchange.is_done = True
        stream.end()

    def _break_off(self, exchange: Any, exc: BaseException) -> None:
        request, stream = exchange.request, exchange.stream
        if exchange.is_done:
            self.note_late(exchange, exc)
            return
        exchange.is_done = True
        if exchange.has_begun:
            self.failure(request, exc)  # for the log; the answer itself is out
            stream.reset("the handler failed after its answer had begun")
        else:
            self.send(request, stream, self.failure(request, exc))

    # Threads.

    def run_in_thread(self, exchange: Any) -> None:
        """Call an exchange's handler in a handler thread; ``exchange.deliver`` gets what comes of it."""
        loop = asyncio.get_running_loop()
        context = exchange.context = copy_context()
        endpoint = exchange.endpoint
        call = exchange.thread_call = ThreadCall(endpoint.evidence)

        def job() -> None:
            result, raised = None, None
            try:
                result = context.run(call.run, endpoint.call, exchange.request)
            except BaseException as exc:  # noqa: BLE001 - becomes an answer on the loop's thread
                raised = exc
            # In the handler's context, which the body of a streamed answer is made in.
            call_soon(loop, exchange.deliver, result, raised, context=context)

        try:
            exchange.queued = self.pool.submit(job, is_refusable=True)
        except PoolFull:
            call.forget()
            exchange.is_done = True
            self.refuse_busy(exchange.request, exchange.stream)

    def refuse_busy(self, request: Any, stream: Stream) -> None:
        """Answer 503 to a request for which no handler thread became free in time."""
        self._note_busy(request)
        self.refuse(request, stream, 503, BUSY)

    def _note_busy(self, request: Any) -> None:
        logger.warning(
            "%s %s: %s, and were for the whole response_timeout or %d calls deep",
            request.method,
            request.raw_path.decode("latin-1"),
            BUSY,
            QUEUED_PER_WORKER,
        )

    # Lanes.

    def note_call(self, exchange: Any) -> None:
        """Add an exchange's call in a thread to the evidence, and move its endpoint where that says so."""
        if exchange.thread_call is not None and exchange.thread_call.note():
            self.change_lane(exchange.endpoint)

    def change_lane(self, endpoint: Endpoint) -> None:
        """Move an endpoint to the lane that its evidence has decided on, and say so."""
        evidence = endpoint.evidence
        assert evidence is not None  # pinned lanes never change
        endpoint.lane = evidence.lane
        name = endpoint.route or "what no route matches"
        tell_change(str(name), evidence)

    def note_late(self, exchange: Any, exc: BaseException | None) -> None:
        """Log a result that came after its exchange was over."""
        tell_late(exchange, exc)

    def discard(self, result: Any) -> None:
        """Close what nobody will iterate."""
        body = result.body if isinstance(result, Response) else result
        for candidate in (body, result):
            if inspect.isgenerator(candidate) or inspect.iscoroutine(candidate):
                candidate.close()


class DebugCore(Core):
    """The core in debug mode, which says of a handler that returns nothing what comes of it.

    A class of its own, so that in production nobody looks.
    """

    def __init__(self, pool: HandlerPool, allow: str) -> None:
        super().__init__(pool, allow, debug=True)
        self._noted: set[str] = set()

    def as_response(self, request: Any, result: Any) -> Response:
        """Turn a return value into a response, and note None."""
        if result is None:
            self._note_nothing(request)
        return super().as_response(request, result)

    def respond_or_raise(self, request: Any, result: Any) -> Response:
        """Turn a return value into a response, for middleware, and note None."""
        if result is None:
            self._note_nothing(request)
        return super().respond_or_raise(request, result)

    def _note_nothing(self, request: Any) -> None:
        """Say once for each route that is read from that its handler has returned None."""
        route = request.route
        if route is None or request.method not in ("GET", "HEAD") or str(route) in self._noted:
            return
        self._noted.add(str(route))
        logger.warning(
            "%s: the handler returned None, so the answer is 204 No Content; return a value, "
            "or Response.no_content() where that is meant",
            route,
        )


def _is_pinned(exchange: Any) -> bool:
    route = exchange.request.route
    return route is not None and route.blocking is False


def _split_length(fields: Fields) -> tuple[Fields, int]:
    """Take Content-Length out of the fields: the adapter writes it. -1 where no number was declared."""
    for name, value in fields:
        if name == b"content-length":
            declared = int(value) if value.isdigit() else -1
            return [field for field in fields if field[0] != b"content-length"], declared
    return fields, -1


# The start of an application.


def build(
    app: Any,
    table: RouteTable,
    parts: Parts,
    pool: HandlerPool,
    *,
    debug: bool,
    max_request_bytes: int,
    response_seconds: float | None,
    filters: Filters | None = None,
) -> Dispatcher:
    """Compose every route's chain, choose its lane, and return the dispatcher of this run.

    A run has routes of its own: their chains hold its threads, and one application may run twice at a time.
    """
    table = _copied(table)
    allow = _all_methods(table)
    core = DebugCore(pool, allow) if debug else Core(pool, allow, debug=False)
    core.watched = watched_functions(table.routes, parts.functions())
    lanes = core.lanes = Lanes(pool)
    tools = Tools(respond=core.respond_or_raise, failure=core.failure, pool=pool, lanes=lanes)
    core.routes = table.routes
    core.chain = (filters.names() if filters is not None else []) + parts.names()
    default_seconds = inf if response_seconds is None else float(response_seconds)
    for route in table.routes:
        call, is_coroutine = compose(route.handler, parts, tools, blocking=route.blocking)
        seconds = default_seconds if route.timeout is None else float(route.timeout)
        limit = max_request_bytes if route.max_request_size is None else route.max_request_size
        lane = _lane(route, parts, is_coroutine)
        evidence = lanes.new_evidence() if lane == THREAD and route.blocking is None else None
        route.call = Endpoint(call, lane, route, route.stream, limit, seconds, evidence)
    call, is_coroutine = compose(_unmatched(table), parts, tools, blocking=None, is_quick=True)
    lane = TASK if is_coroutine else THREAD if parts.has_blocking() else INLINE
    # As if stream=True: what no route takes is answered at once, whatever body comes behind it. A hook or a
    # middleware may read the body, though, and has to find it.
    evidence = lanes.new_evidence() if lane == THREAD else None
    unmatched = Endpoint(call, lane, None, parts.is_empty(), max_request_bytes, default_seconds, evidence)
    return Dispatcher(app, core, table.match, encode_unchecked, unmatched, filters)


def _copied(table: RouteTable) -> RouteTable:
    own = RouteTable()
    for route in table.routes:
        own.add(copy(route))
    return own


def _lane(route: Route, parts: Parts, is_coroutine: bool) -> int:
    if is_coroutine:
        return TASK
    if route.blocking is None and parts.is_empty() and inspect.isasyncgenfunction(route.handler):
        return INLINE  # the call only makes the generator, which runs on the loop
    return INLINE if route.blocking is False else THREAD


def _unmatched(table: RouteTable) -> Callable[[Any], Any]:
    """Return the handler of requests that no route matches: redirect, OPTIONS, 405 or 404."""

    def unmatched(request: Any) -> Any:
        path: bytes = request.raw_path
        if path == b"*":  # RFC 9110 9.3.7: the server as a whole
            return Response(status=204, headers={"allow": _all_methods(table)})
        allowed = table.allowed(path)
        if not allowed:
            return _redirect_or_404(table, request)
        allow = ", ".join(sorted({*allowed, "OPTIONS"}))
        if request.method == "OPTIONS":
            return Response(status=204, headers={"allow": allow})
        raise HTTPError(
            405, f"{request.method} is not among the methods of this path: {allow}", {"allow": allow}
        )

    return unmatched


def _all_methods(table: RouteTable) -> str:
    """Return the methods of all routes, as Allow lists them."""
    methods = {method for route in table.routes for method in route.methods} | {"OPTIONS"}
    return ", ".join(sorted(methods | {"HEAD"} if "GET" in methods else methods))


def _redirect_or_404(table: RouteTable, request: Any) -> Response:
    other = table.slash_redirect(request.raw_path, request.method)
    if other is None:
        raise HTTPError(404, "no route matches this path")
    query = b"?" + request.raw_query if request.raw_query else b""
    return Response(status=308, headers={"location": (other + query).decode("latin-1")})
