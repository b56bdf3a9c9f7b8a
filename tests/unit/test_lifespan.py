"""cello.lifespan: hooks, state and what happens when one fails (served for real: conformance/)."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from cello import ConfigError, StartError
from cello.lifespan import Lifespan, State
from tests.kit.log_watch import watching_log


def run(lifespan: Lifespan, app: Any = "app") -> None:
    async def main() -> None:
        await lifespan.startup(app)
        await lifespan.shutdown(app)

    asyncio.run(main())


def test_hooks_take_the_application_if_they_ask_for_it() -> None:
    lifespan = Lifespan()
    given: list[Any] = []
    hooks: list[Any] = [
        lambda: given.append("none"),
        given.append,
        lambda app: given.append(app),
        lambda app=None: given.append(app),
        lambda *rest: given.append(rest),
        functools.partial(lambda a, b: given.append((a, b)), "bound"),
    ]
    for hook in hooks:
        lifespan.add("startup", hook)
    run(lifespan)
    assert given == ["none", "app", "app", None, (), ("bound", "app")]


def test_awaitables_of_plain_hooks_are_awaited() -> None:
    lifespan = Lifespan()
    done: list[str] = []

    async def work(text: str) -> None:
        await asyncio.sleep(0)
        done.append(text)

    lifespan.add("startup", lambda: work("start"))
    lifespan.add("shutdown", lambda app: work("stop"))
    run(lifespan)
    assert done == ["start", "stop"]


@pytest.mark.parametrize("event", ["start", "", None, 5, ["startup"], lambda: None])
def test_unknown_events(event: Any) -> None:
    with pytest.raises(ConfigError, match='"startup" or "shutdown", got'):
        Lifespan().add(event, print)


@pytest.mark.parametrize("event", ["startup", "shutdown"])
def test_hooks_are_callable(event: str) -> None:
    with pytest.raises(ConfigError, match=f"a {event} hook must be callable, got 5"):
        Lifespan().add(event, 5)  # type: ignore[arg-type]


def test_first_failing_hook_ends_the_start_and_is_named() -> None:
    lifespan = Lifespan()
    ran: list[str] = []

    def connect() -> None:
        raise OSError("refused")

    lifespan.add("startup", lambda: ran.append("first"))
    lifespan.add("startup", connect)
    lifespan.add("startup", lambda: ran.append("never"))
    with watching_log() as log, pytest.raises(StartError) as caught:
        run(lifespan)
    line = connect.__code__.co_firstlineno
    assert f"test_lifespan.py:{line} in connect failed: OSError: refused (" in str(caught.value)
    assert str(caught.value).endswith(f"test_lifespan.py:{line + 1})")
    assert isinstance(caught.value.__cause__, OSError)
    assert ran == ["first"]
    assert "Traceback" in log.text


def manager(order: list[str], *, fails_at: str = "") -> Any:
    """Return a lifespan that notes what becomes of it."""

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        order.append("enter")
        if fails_at == "enter":
            raise OSError("cannot enter")
        yield
        order.append("leave")
        if fails_at == "leave":
            raise OSError("cannot leave")

    return lifespan


def test_context_manager_is_outermost() -> None:
    lifespan = Lifespan()
    order: list[str] = []
    lifespan.context_manager = manager(order)
    lifespan.add("startup", lambda: order.append("start"))
    lifespan.add("shutdown", lambda: order.append("stop"))
    run(lifespan)
    run(lifespan)
    assert order == ["enter", "start", "stop", "leave"] * 2


def test_what_could_not_be_entered_is_not_left() -> None:
    lifespan = Lifespan()
    order: list[str] = []
    lifespan.context_manager = manager(order, fails_at="enter")
    with watching_log(), pytest.raises(StartError, match="OSError: cannot enter"):
        run(lifespan)
    asyncio.run(lifespan.shutdown("app"))
    assert order == ["enter"]


@pytest.mark.parametrize("error", [OSError("refused"), asyncio.CancelledError()], ids=repr)
def test_failing_hook_leaves_the_context_manager(error: BaseException) -> None:
    lifespan = Lifespan()
    order: list[str] = []
    lifespan.context_manager = manager(order)

    async def fail() -> None:
        raise error

    lifespan.add("startup", fail)
    with watching_log(), pytest.raises((StartError, asyncio.CancelledError)):
        run(lifespan)
    assert order == ["enter", "leave"]


def test_lifespan_that_is_no_context_manager() -> None:
    async def generator(app: Any) -> AsyncIterator[None]:
        yield

    lifespan = Lifespan()
    lifespan.context_manager = generator  # type: ignore[assignment]
    with watching_log(), pytest.raises(StartError, match=r"in generator failed: .*__aenter__"):
        run(lifespan)


def test_shutdown_runs_everything_and_logs_what_fails() -> None:
    lifespan = Lifespan()
    order: list[str] = []
    lifespan.context_manager = manager(order, fails_at="leave")

    def fail() -> None:
        raise OSError("cannot close")

    lifespan.add("shutdown", lambda: order.append("last"))
    lifespan.add("shutdown", fail)
    lifespan.add("shutdown", lambda: order.append("first"))
    with watching_log() as log:
        run(lifespan)
    assert order == ["enter", "first", "last", "leave"]
    assert "OSError: cannot close" in log.text
    assert "OSError: cannot leave" in log.text


def test_state_is_an_attribute_bag() -> None:
    state = State()
    state.db = "postgres"
    state.cache = "redis"
    assert (state.db, state.cache) == ("postgres", "redis")
    assert state == State(db="postgres", cache="redis")
    assert not hasattr(state, "queue")
    with pytest.raises(AttributeError, match=r"app\.state has no 'queue'; startup hooks have set cache, db"):
        _ = state.queue
    with pytest.raises(AttributeError, match="have set nothing"):
        _ = State().db


@pytest.mark.parametrize("event", ["startup", "shutdown"])
def test_a_hook_that_yields_is_refused(event: str) -> None:
    """Calling it would run nothing of it."""

    def plain() -> Iterator[None]:
        yield

    async def asynchronous() -> AsyncIterator[None]:
        yield

    for hook in (plain, asynchronous):
        with pytest.raises(ConfigError, match=f"a {event} hook cannot yield: .* is a generator"):
            Lifespan().add(event, hook)
