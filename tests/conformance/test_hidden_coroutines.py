"""Coroutines that hide in plain functions, as many a decorator makes them."""

from __future__ import annotations

from typing import Any

import pytest

from cello import App
from tests.kit.chains import KIND, KINDS, add_middleware
from tests.kit.lanes import NOT_BY_CHANCE


def hidden(function: Any) -> Any:
    """Return a plain function around an async one, as many a decorator makes it."""

    async def coroutine(*args: Any) -> Any:
        return function(*args)

    return lambda *args: coroutine(*args)


@NOT_BY_CHANCE  # a chain of plain functions cannot wait on the loop's thread
@pytest.mark.parametrize("kind", ["none", *KINDS])
def test_awaitable_of_a_plain_handler_is_awaited(serve: Any, kind: str) -> None:
    app = App()
    app.get("/")(hidden(lambda request: {"n": 1}))
    app.get("/stream")(hidden(lambda request: iter(["a", "b"])))
    app.get("/tuple")(hidden(lambda request: ("x", 201)))
    if kind != "none":
        add_middleware(app, kind, lambda request: None, lambda request, response: response)
    client = serve(app)
    assert client.get("/").json() == {"n": 1}
    assert client.get("/stream").text == "ab"
    assert client.get("/tuple").status == 201


@NOT_BY_CHANCE  # a chain of plain functions cannot wait on the loop's thread
@KIND
def test_awaitables_of_plain_hooks_are_awaited(serve: Any, kind: str) -> None:
    app = App()
    app.before_request(hidden(lambda request: request.context.update(a=1)))
    app.after_request(hidden(lambda request, response: response.set_header("X-A", 1)))
    app.exception_handler(KeyError)(hidden(lambda request, exc: request.context))

    @app.get("/")
    def fail(request: Any) -> Any:
        raise KeyError("x")

    add_middleware(app, kind, lambda request: None, lambda request, response: response)
    answer = serve(app).get("/")
    assert (answer.json(), answer.get("x-a")) == ({"a": 1}, "1")


def test_awaitable_of_a_pinned_handler_is_awaited(serve: Any) -> None:
    app = App()
    app.get("/", blocking=False)(hidden(lambda request: {"n": 1}))
    assert serve(app).get("/").json() == {"n": 1}


def test_coroutine_where_nothing_awaits_it_is_a_500_that_says_so(serve: Any, log: Any) -> None:
    app = App()
    app.get("/")(lambda request: (hidden(lambda: 1)(), 200))
    assert serve(app).get("/").status == 500
    assert (
        "got the coroutine of coroutine(), which was never awaited; write `return await coroutine(...)`"
        in log.text
    )


def test_pinned_handler_cannot_wait_behind_a_plain_middleware(serve: Any, log: Any) -> None:
    app = App()
    app.get("/", blocking=False)(hidden(lambda request: {"n": 1}))
    app.use(lambda request, call_next: call_next(request))
    assert serve(app).get("/").status == 500
    assert "make it an async def" in log.text
