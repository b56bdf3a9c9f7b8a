"""Each request in a context of its own, and each part of a chain in its lane."""

from __future__ import annotations

import threading
from contextvars import ContextVar
from typing import Any

import pytest

from cello import App, HTTPError
from tests.kit.chains import KIND, LANES, add_middleware, add_route, as_kind
from tests.kit.lanes import NOT_BY_CHANCE

var: ContextVar[str] = ContextVar("var", default="unset")


SETTERS = ("middleware-def", "middleware-async", "before-def", "before-async")


def add_setter(app: App, setter: str) -> None:
    """Have a part of the chain set ``var`` to the request's query."""
    where, _, kind = setter.partition("-")

    def set_var(request: Any) -> None:
        var.set(request.query["v"])

    if where == "before":
        app.before_request(as_kind(kind, set_var))
    else:
        add_middleware(app, kind, set_var, lambda request, response: response)


@LANES
@pytest.mark.parametrize("setter", SETTERS)
def test_contextvar_reaches_the_handler(serve: Any, lane: str, setter: str) -> None:
    app = App()
    add_setter(app, setter)
    add_route(app, lane, lambda request: var.get())
    client = serve(app)
    assert [client.get(f"/?v={value}").text for value in ("one", "two")] == ["one", "two"]


@LANES
@pytest.mark.parametrize("setter", SETTERS)
def test_contextvar_reaches_the_body_of_a_stream(serve: Any, lane: str, setter: str) -> None:
    def pieces() -> Any:
        yield var.get()
        yield "!"

    app = App()
    add_setter(app, setter)
    add_route(app, lane, lambda request: pieces())
    assert serve(app).get("/?v=one").text == "one!"


@LANES
@pytest.mark.parametrize("setter", SETTERS)
def test_contextvar_reaches_the_body_of_an_async_stream(serve: Any, lane: str, setter: str) -> None:
    async def pieces() -> Any:
        yield var.get()
        yield "!"

    app = App()
    add_setter(app, setter)
    add_route(app, lane, lambda request: pieces())
    assert serve(app).get("/?v=one").text == "one!"


@pytest.mark.parametrize("setter", SETTERS)
def test_contextvar_reaches_generator_handlers(serve: Any, setter: str) -> None:
    app = App()
    add_setter(app, setter)

    @app.get("/sync")
    def plain(request: Any) -> Any:
        yield var.get()

    @app.get("/pinned", blocking=False)
    def pinned(request: Any) -> Any:
        yield var.get()

    @app.get("/async")
    async def coroutine(request: Any) -> Any:
        yield var.get()

    client = serve(app)
    assert [client.get(f"/{path}?v=one").text for path in ("sync", "pinned", "async")] == ["one"] * 3


@LANES
def test_context_is_not_the_next_requests(serve: Any, lane: str) -> None:
    app = App()

    def handle(request: Any) -> Any:
        before = var.get()
        var.set("dirty")
        return before

    add_route(app, lane, handle)
    client = serve(app, workers=1)
    assert [client.get("/").text for _ in range(3)] == ["unset"] * 3


@LANES
@KIND
def test_handlers_context_is_seen_by_after_hooks(serve: Any, lane: str, kind: str) -> None:
    app = App()

    def handle(request: Any) -> Any:
        var.set("from the handler")
        return "x"

    add_route(app, lane, handle)
    app.after_request(as_kind(kind, lambda request, response: response.set_header("X-Var", var.get())))
    assert serve(app).get("/").get("x-var") == "from the handler"


@LANES
def test_context_lives_through_a_stream(serve: Any, lane: str) -> None:
    def pieces() -> Any:
        var.set("set by the first piece")
        yield "1"
        yield var.get()

    app = App()
    add_route(app, lane, lambda request: pieces())
    assert serve(app).get("/").text == "1set by the first piece"


# --- lanes -------------------------------------------------------------------------------------------------


@NOT_BY_CHANCE
@KIND
@pytest.mark.parametrize("part", ["before", "after", "middleware", "exception"])
@pytest.mark.parametrize("lane", ["thread", "async"])
def test_plain_parts_run_in_handler_threads_and_async_ones_on_the_loop(
    serve: Any, lane: str, kind: str, part: str
) -> None:
    app = App()
    names: list[str] = []

    def note() -> None:
        names.append(threading.current_thread().name)

    if part == "before":
        app.before_request(as_kind(kind, lambda request: note()))
    elif part == "after":
        app.after_request(as_kind(kind, lambda request, response: note()))
    elif part == "exception":
        app.exception_handler(404)(as_kind(kind, lambda request, exc: note() or "x"))
    else:
        add_middleware(app, kind, lambda request: note(), lambda request, response: response)

    def handle(request: Any) -> Any:
        if part == "exception":
            raise HTTPError(404)
        return "x"

    add_route(app, lane, handle)
    assert serve(app).get("/").status in (200, 204)
    assert [name.startswith("cello-handler") for name in names] == [kind == "def"]


@pytest.mark.parametrize("part", ["before", "after", "exception"])
def test_plain_parts_of_a_pinned_route_run_on_the_loop(serve: Any, part: str) -> None:
    app = App()
    names: list[str] = []

    def note() -> None:
        names.append(threading.current_thread().name)

    if part == "before":
        app.before_request(lambda request: note())
    elif part == "after":
        app.after_request(lambda request, response: note())
    else:
        app.exception_handler(404)(lambda request, exc: note() or "x")

    @app.get("/", blocking=False)
    def handle(request: Any) -> Any:
        names.append(threading.current_thread().name)
        raise HTTPError(404)

    serve(app).get("/")
    assert not any(name.startswith("cello-handler") for name in names)
    assert len(set(names)) == 1


@NOT_BY_CHANCE
@KIND
def test_plain_parts_around_what_no_route_matches_run_in_handler_threads(serve: Any, kind: str) -> None:
    app = App()
    names: list[str] = []
    app.before_request(lambda request: names.append(threading.current_thread().name))
    app.use(as_kind(kind, lambda request, call_next: "early"))
    serve(app).get("/nowhere")
    assert [name.startswith("cello-handler") for name in names] == [True]
