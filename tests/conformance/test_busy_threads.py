"""All handler threads are busy: 503 for what was never called, 504 for what was, on every adapter.

The chains differ: plain functions alone are one call in a thread, with an ``async def`` among them every
plain part waits for a thread of its own. What a client is told does not.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from cello import App, HTTPError
from tests.kit.lanes import NOT_BY_CHANCE
from tests.kit.log_watch import wait_until

PATIENCE_SECONDS = 10.0
AROUND = pytest.mark.parametrize("around", ["nothing", "a hook", "a middleware"])

pytestmark = NOT_BY_CHANCE


class Holding:
    """A handler that keeps the only thread until it is told to go."""

    def __init__(self) -> None:
        self.may_go, self.is_waiting = threading.Event(), threading.Event()

    def __call__(self, request: Any) -> str:
        self.is_waiting.set()
        assert self.may_go.wait(PATIENCE_SECONDS)
        return "held"

    @contextmanager
    def of(self, client: Any) -> Iterator[None]:
        """Keep the thread as long as the context lasts."""
        with ThreadPoolExecutor(1) as threads:
            holding = threads.submit(client.get, "/hold")
            try:
                assert self.is_waiting.wait(PATIENCE_SECONDS)
                yield
            finally:
                self.may_go.set()
            assert holding.result(PATIENCE_SECONDS).text == "held"


class Noting:
    """A handler that notes its calls."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, request: Any) -> str:
        self.count += 1
        return "called"

    async def in_loop(self, request: Any) -> str:
        """Be called as a coroutine function."""
        return self(request)


def put_around(app: App, around: str) -> None:
    """Make the application's chains coroutines, or leave them alone."""
    if around == "a hook":

        @app.before_request
        async def hook(request: Any) -> None:
            return None

    elif around == "a middleware":

        @app.use
        async def middleware(request: Any, call_next: Any) -> Any:
            return await call_next(request)


@pytest.mark.parametrize("blocking", [True, None])
@AROUND
def test_what_finds_no_thread_in_time_is_503_and_is_never_called(
    serve: Any, log: Any, around: str, blocking: bool | None
) -> None:
    app, hold, note = App(), Holding(), Noting()
    app.get("/hold", blocking=True, timeout=60)(hold)
    app.get("/", blocking=blocking, timeout=0.05)(note)
    put_around(app, around)
    client = serve(app, workers=1)
    with hold.of(client):
        answer = client.get("/")
        assert (answer.status, answer.get("retry-after")) == (503, "1")
        assert "all handler threads are busy" in log.wait_for("GET /")
    wait_until(lambda: client.get("/").text == "called")
    assert note.count == 1


def test_a_middleware_that_finds_no_thread_in_time_is_503_and_its_handler_is_never_called(serve: Any) -> None:
    app, hold, note = App(), Holding(), Noting()

    @app.use
    def middleware(request: Any, call_next: Any) -> Any:
        return hold(request) if request.path == "/hold" else call_next(request)

    app.get("/hold", timeout=60)(note.in_loop)
    app.get("/", timeout=0.05)(note.in_loop)
    client = serve(app, workers=1)
    with hold.of(client):
        assert client.get("/").status == 503
    wait_until(lambda: client.get("/").text == "called")
    assert note.count == 1


def test_once_the_handler_was_called_no_thread_in_time_is_504(serve: Any) -> None:
    app, hold, note = App(), Holding(), Noting()
    app.get("/hold", blocking=True, timeout=60)(hold)
    app.get("/", timeout=0.05)(note.in_loop)

    @app.after_request
    def after(request: Any, response: Any) -> None:
        return None

    client = serve(app, workers=1)
    with hold.of(client):
        assert client.get("/").status == 504
    assert note.count == 1


@AROUND
def test_a_full_queue_refuses_at_once(
    serve: Any, log: Any, monkeypatch: pytest.MonkeyPatch, around: str
) -> None:
    monkeypatch.setattr("cello.threads.QUEUED_PER_WORKER", 0)
    app, hold, note = App(), Holding(), Noting()
    app.get("/hold", blocking=True)(hold)
    app.get("/", blocking=True)(note)
    put_around(app, around)
    client = serve(app, workers=1)
    with hold.of(client):
        answer = client.get("/")
        assert (answer.status, answer.get("retry-after")) == (503, "1")
        assert "all handler threads are busy" in log.wait_for("GET /")
    assert note.count == 0


@pytest.mark.parametrize("around", ["a hook", "a middleware"])
def test_an_exception_handler_sees_the_refusal_of_a_coroutine_chain(
    serve: Any, monkeypatch: pytest.MonkeyPatch, around: str
) -> None:
    monkeypatch.setattr("cello.threads.QUEUED_PER_WORKER", 0)
    app, hold, note = App(), Holding(), Noting()

    @app.exception_handler(503)
    async def told(request: Any, exc: HTTPError) -> Any:
        return {"told": exc.detail}, 503

    app.get("/hold", blocking=True)(hold)
    app.get("/", blocking=True)(note)
    put_around(app, around)
    client = serve(app, workers=1)
    with hold.of(client):
        answer = client.get("/")
        assert (answer.status, answer.json()) == (503, {"told": "all handler threads are busy"})
