"""Applications with hooks and middleware of either kind, plain and async."""

from __future__ import annotations

from typing import Any

import pytest

from cello import App, Response

KINDS = ("def", "async")
KIND = pytest.mark.parametrize("kind", KINDS)
LANES = pytest.mark.parametrize("lane", ["thread", "loop", "async"])


def as_kind(kind: str, function: Any) -> Any:
    """Return a plain function as it is or behind an ``async def`` of the same arity."""
    if kind == "def":
        return function

    async def coroutine(*args: Any) -> Any:
        return function(*args)

    return coroutine


def add_route(app: App, lane: str, function: Any, path: str = "/", **options: Any) -> None:
    """Register a handler in a lane: a thread, the loop's thread, a task."""
    if lane == "async":
        app.get(path, **options)(as_kind("async", function))
    else:
        app.get(path, blocking=lane != "loop", **options)(function)


def add_middleware(app: App, kind: str, before: Any, after: Any) -> None:
    """Add a middleware: ``before(request)``, the rest, then what ``after(request, response)`` returns."""

    def plain(request: Any, call_next: Any) -> Any:
        before(request)
        return after(request, call_next(request))

    async def coroutine(request: Any, call_next: Any) -> Any:
        before(request)
        return after(request, await call_next(request))

    app.use(plain if kind == "def" else coroutine)


def tracing(kinds: tuple[str, ...], lane: str, handler: Any = None) -> tuple[App, list[str]]:
    """Return an application that notes the order in which its middlewares and handler run."""
    app = App()
    order: list[str] = []

    def handle(request: Any) -> Any:
        order.append("handler")
        return handler(request) if handler is not None else {"from": "handler"}

    def note(text: str) -> Any:
        def leave(request: Any, response: Response) -> Response:
            order.append(f"-{text}")
            response.append_header("X-Passed", text)
            return response

        return lambda request: order.append(f"+{text}"), leave

    add_route(app, lane, handle)
    for number, kind in enumerate(kinds):
        add_middleware(app, kind, *note(f"m{number}"))
    return app, order
