"""All handler threads are busy: 503 for what was never called, 504 for what was, on every adapter.

The chains differ: plain functions alone are one call in a thread, with an ``async def`` among them every
plain part waits for a thread of its own. What a client is told does not.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from cello import App
from cello.threads import HandlerPool, PoolFull
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


@AROUND
def test_no_part_of_the_chain_runs_for_what_is_refused(
    serve: Any, monkeypatch: pytest.MonkeyPatch, around: str
) -> None:
    monkeypatch.setattr("cello.threads.QUEUED_PER_WORKER", 0)
    app, hold, note, passed = App(), Holding(), Noting(), Noting()
    app.exception_handler(503)(lambda request, exc: passed(request))
    app.exception_handler(Exception)(lambda request, exc: passed(request))

    @app.after_request
    def after(request: Any, response: Any) -> None:
        passed(request)

    app.get("/hold", blocking=True)(hold)
    app.get("/", blocking=True)(note)
    put_around(app, around)
    client = serve(app, workers=1)
    with hold.of(client):
        assert client.get("/").status == 503
        assert (note.count, passed.count) == (0, 0)


def test_a_middleware_that_tries_again_does_not_call_what_was_refused(serve: Any) -> None:
    app, hold, note = App(), Holding(), Noting()
    tried = threading.Semaphore(0)

    @app.use
    def persistent(request: Any, call_next: Any) -> Any:
        while request.path != "/hold":
            try:
                return call_next(request)
            except Exception:
                tried.release()
        return call_next(request)

    @app.before_request
    async def hook(request: Any) -> None:
        return None

    app.get("/hold", blocking=True, timeout=60)(hold)
    app.get("/", blocking=True, timeout=0.05)(note)
    client = serve(app, workers=1)
    with hold.of(client):
        assert client.get("/").status == 503
    assert client.get("/").text == "called"
    assert (note.count, tried.acquire(blocking=False)) == (1, False)


def test_what_comes_behind_a_late_middleware_never_begins(serve: Any) -> None:
    app, note = App(), Noting()
    may_go, is_through = threading.Event(), threading.Event()

    @app.use
    def late(request: Any, call_next: Any) -> Any:
        try:
            assert may_go.wait(PATIENCE_SECONDS)
            return call_next(request)
        finally:
            is_through.set()

    app.get("/", timeout=0.05)(note.in_loop)
    client = serve(app, workers=1)
    assert client.get("/").status == 504
    may_go.set()
    assert is_through.wait(PATIENCE_SECONDS)
    assert note.count == 0
    assert client.get("/").text == "called"


@AROUND
def test_a_late_result_is_logged_and_counts(serve: Any, log: Any, around: str) -> None:
    app = App()
    hold = Holding()
    app.get("/", timeout=0.05)(hold)
    put_around(app, around)
    client = serve(app, workers=1, debug=True)
    assert client.get("/").status == 504
    hold.may_go.set()
    log.wait_for("a late result was dropped")
    assert client.get("/").text == "held"
    hold.may_go.clear()
    assert "2 calls" in client.get("/").json()["lane"]
    hold.may_go.set()


class TestQueue:
    def test_what_was_taken_back_makes_room(self) -> None:
        pool = HandlerPool(1)
        pool._most_queued = 3
        may_go, is_held = threading.Event(), threading.Event()
        done: list[int] = []

        def hold() -> None:
            is_held.set()
            assert may_go.wait(PATIENCE_SECONDS)

        async def main() -> None:
            pool.submit(hold)
            assert await asyncio.to_thread(is_held.wait, PATIENCE_SECONDS)
            for number in range(1000):
                queued = pool.submit(partial(done.append, number), is_refusable=True)
                assert queued.cancel()
                assert not queued.cancel()
            assert pool._jobs.qsize() <= 4
            for number in range(3):
                pool.submit(partial(done.append, number), is_refusable=True)
            with pytest.raises(PoolFull):
                pool.submit(partial(done.append, 4), is_refusable=True)
            may_go.set()
            while pool.is_busy():
                await asyncio.sleep(0.001)
            assert done == [0, 1, 2]

        asyncio.run(asyncio.wait_for(main(), PATIENCE_SECONDS))
        pool.shutdown()
