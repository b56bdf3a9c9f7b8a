"""Startup and shutdown around serving, on every adapter."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from cello import App, StartError
from tests.kit.adapters import serving


def traced() -> tuple[App, list[str]]:
    """Return an application with hooks of all kinds, which note when they run."""
    app = App()
    order: list[str] = []

    @asynccontextmanager
    async def lifespan(given: App) -> AsyncIterator[None]:
        assert given is app
        order.append("enter")
        yield
        order.append("leave")

    app.lifespan = lifespan

    @app.on_startup
    def first() -> None:
        order.append("start 1")

    @app.on_event("startup")
    async def second(given: App) -> None:
        await asyncio.sleep(0)
        assert given is app
        order.append("start 2")

    @app.on_shutdown
    def third(given: App) -> None:
        assert given is app
        order.append("stop 1")

    @app.on_event("shutdown")
    async def fourth() -> None:
        await asyncio.sleep(0)
        order.append("stop 2")

    app.get("/")(lambda request: order.append("request"))
    return app, order


def test_order(adapter: str) -> None:
    app, order = traced()
    with serving(adapter, app) as client:
        assert order == ["enter", "start 1", "start 2"]
        client.get("/")
    assert order == ["enter", "start 1", "start 2", "request", "stop 2", "stop 1", "leave"]


def test_every_run_starts_and_stops(adapter: str) -> None:
    app, order = traced()
    for _ in range(2):
        order.clear()
        with serving(adapter, app) as client:
            client.get("/")
        assert order == ["enter", "start 1", "start 2", "request", "stop 2", "stop 1", "leave"]


def test_hooks_run_on_the_loop_that_serves(adapter: str) -> None:
    app = App()
    loops: list[Any] = []

    @app.on_startup
    async def start() -> None:
        loops.append(asyncio.get_running_loop())

    @app.on_shutdown
    async def stop() -> None:
        loops.append(asyncio.get_running_loop())

    @app.get("/")
    async def index(request: Any) -> None:
        loops.append(asyncio.get_running_loop())

    with serving(adapter, app) as client:
        client.get("/")
    assert len(loops) == 3
    assert len(set(loops)) == 1


def test_state_from_startup_to_shutdown(adapter: str) -> None:
    app = App()
    seen: list[Any] = []

    @app.on_startup
    def start() -> None:
        app.state.hits = 0

    @app.on_shutdown
    def stop() -> None:
        seen.append(app.state.hits)

    @app.get("/", blocking=False)
    def index(request: Any) -> Any:
        request.state.hits += 1
        return request.app.state.hits

    with serving(adapter, app) as client:
        assert [client.get("/").json() for _ in range(3)] == [1, 2, 3]
    assert seen == [3]


@pytest.mark.parametrize("kind", ["def", "async", "lifespan"])
def test_failing_startup_is_a_start_error_and_serves_nothing(adapter: str, log: Any, kind: str) -> None:
    app, order = traced()

    def fail() -> None:
        raise OSError("no database")

    async def fail_async(given: App) -> None:
        fail()

    if kind == "lifespan":
        app.lifespan = asynccontextmanager(fail_lifespan)
    else:
        app.on_startup(fail if kind == "def" else fail_async)
    with pytest.raises(StartError, match="OSError: no database"), serving(adapter, app):
        order.append("never")
    assert "never" not in order
    assert "Traceback" in log.wait_for("no database")


async def fail_lifespan(app: App) -> AsyncIterator[None]:
    if app.routes:
        raise OSError("no database")
    yield


def test_what_was_entered_before_a_failing_startup_is_left(adapter: str, log: Any) -> None:
    app, order = traced()

    @app.on_startup
    def fail() -> None:
        raise OSError("no database")

    with (
        pytest.raises(StartError, match=r"test_lifespan\.py:\d+ in fail failed: OSError"),
        serving(adapter, app),
    ):
        order.append("never")
    assert order == ["enter", "start 1", "start 2", "leave"]


def test_failing_shutdown_hook_keeps_no_other_from_running(adapter: str, log: Any) -> None:
    app, order = traced()

    @app.on_shutdown
    def fail() -> None:
        raise OSError("cannot close")

    with serving(adapter, app) as client:
        assert client.get("/").status == 204
    assert order[-3:] == ["stop 2", "stop 1", "leave"]
    assert "OSError: cannot close" in log.wait_for("the shutdown hook")


def test_tasks_that_the_application_leaves_behind_are_cancelled(adapter: str) -> None:
    app = App()
    ended: list[str] = []
    tasks: list[Any] = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    @app.on_startup
    async def start() -> None:
        tasks.append(asyncio.get_running_loop().create_task(work()))
        await asyncio.sleep(0)

    with serving(adapter, app):
        pass
    assert ended == ["cancelled"]
