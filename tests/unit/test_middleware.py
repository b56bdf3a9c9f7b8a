"""cello.middleware: how a chain is composed, without any server (its behaviour: conformance/)."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from cello import HTTPError, Response
from cello.lanes import Lanes
from cello.middleware import Parts, Tools, compose
from cello.returns import to_response
from cello.routing import is_async
from cello.threads import HandlerPool


def plain(request: Any) -> Any:
    return {"plain": request}


async def coroutine(request: Any) -> Any:
    return {"coroutine": request}


def generator(request: Any) -> Iterator[str]:
    yield "x"


class Callable_:
    def __call__(self, request: Any) -> Any: ...


class AsyncCallable:
    async def __call__(self, request: Any) -> Any: ...

    async def method(self, request: Any) -> Any: ...


@pytest.fixture
def tools() -> Iterator[Tools]:
    pool = HandlerPool(2)

    def fail(request: Any, exc: BaseException) -> Response:
        return Response(f"failed: {exc!r}", getattr(exc, "status", 500))

    yield Tools(
        respond=lambda request, result: to_response(result), failure=fail, pool=pool, lanes=Lanes(pool)
    )
    pool.shutdown()


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (plain, False),
        (coroutine, True),
        (generator, False),
        (lambda request: coroutine(request), False),
        (functools.partial(coroutine), True),
        (functools.partial(functools.partial(plain)), False),
        (Callable_(), False),
        (AsyncCallable(), True),
        (AsyncCallable().method, True),
        (functools.partial(AsyncCallable()), True),
        (str, False),
    ],
)
def test_is_async(function: Any, expected: bool) -> None:
    assert is_async(function) is expected


def test_a_chain_without_parts_is_the_handler_itself(tools: Tools) -> None:
    assert compose(plain, Parts(), tools, blocking=None) == (plain, False)
    assert compose(coroutine, Parts(), tools, blocking=None) == (coroutine, True)


def parts_with(**given: Any) -> Parts:
    return Parts(**given)


PARTS: list[tuple[str, Any, Any]] = [
    ("before", [lambda request: None], [coroutine]),
    ("after", [lambda request, response: None], [functools.partial(coroutine)]),
    ("middlewares", [lambda request, call_next: call_next(request)], [AsyncCallable()]),
    ("exceptions", {ValueError: lambda request, exc: None}, {404: AsyncCallable().method}),
]


@pytest.mark.parametrize(("where", "blocking", "awaiting"), PARTS, ids=[each[0] for each in PARTS])
def test_one_async_part_makes_the_chain_a_coroutine(
    tools: Tools, where: str, blocking: Any, awaiting: Any
) -> None:
    sync_parts, async_parts = parts_with(**{where: blocking}), parts_with(**{where: awaiting})
    assert (sync_parts.is_empty(), sync_parts.has_async(), sync_parts.has_blocking()) == (False, False, True)
    assert (async_parts.is_empty(), async_parts.has_async(), async_parts.has_blocking()) == (
        False,
        True,
        False,
    )
    assert compose(plain, sync_parts, tools, blocking=None)[1] is False
    assert compose(plain, async_parts, tools, blocking=None)[1] is True
    assert compose(coroutine, sync_parts, tools, blocking=None)[1] is True


def test_sync_chain_is_one_plain_call(tools: Tools) -> None:
    order: list[str] = []

    def middleware(request: Any, call_next: Any) -> Any:
        order.append("in")
        response = call_next(request)
        order.append(str(response.body))
        return response

    parts = Parts(
        before=[lambda request: order.append("before")],
        after=[lambda request, response: order.append("after")],
        middlewares=[middleware],
    )
    call, _ = compose(plain, parts, tools, blocking=None)
    response = call("r")
    assert (response.status, response.body) == (200, b'{"plain":"r"}')
    assert order == ["before", "in", 'b\'{"plain":"r"}\'', "after"]


def test_chains_are_apart(tools: Tools) -> None:
    """The parts are looked at when a chain is composed, and two chains share nothing else."""
    parts = Parts(middlewares=[lambda request, call_next: call_next(request)])
    first, _ = compose(plain, parts, tools, blocking=None)
    second, _ = compose(lambda request: "other", parts, tools, blocking=None)
    assert (first("r").body, second("r").body) == (b'{"plain":"r"}', b"other")


class NearError(LookupError):
    """Two classes from Exception."""


def test_find_takes_the_nearest() -> None:
    def handler(name: str) -> Any:
        return SimpleNamespace(name=name)

    def found(exc: BaseException) -> str | None:
        handler: Any = parts.find(exc)
        return handler.name if handler is not None else None

    parts = Parts(exceptions={LookupError: handler("lookup"), 404: handler("404"), 500: handler("500")})
    assert found(NearError()) == "lookup"
    assert found(HTTPError(404)) == "404"
    assert found(HTTPError(403)) is None
    assert found(ValueError()) == "500"
    assert found(HTTPError(500)) == "500"
    assert found(KeyboardInterrupt()) is None
    assert found(asyncio.CancelledError()) is None
    parts.exceptions[HTTPError] = handler("http")
    parts.exceptions[Exception] = handler("any")
    assert found(HTTPError(404)) == "http"
    assert found(ValueError()) == "500"
    del parts.exceptions[500]
    assert found(ValueError()) == "any"
    assert found(KeyboardInterrupt()) is None


def test_no_base_exception_reaches_middleware_as_an_answer(tools: Tools) -> None:
    """What ends a process is seen by middleware as what it is, and becomes a 500 outside of it."""
    seen: list[str] = []

    def middleware(request: Any, call_next: Any) -> Any:
        try:
            return call_next(request)
        except BaseException as exc:
            seen.append(type(exc).__name__)
            raise

    def leave(request: Any) -> Any:
        raise SystemExit(3)

    parts = Parts(middlewares=[middleware], exceptions={Exception: lambda request, exc: "never"})
    call, _ = compose(leave, parts, tools, blocking=None)
    with pytest.raises(SystemExit):
        call("r")
    parts.after.append(lambda request, response: None)
    call, _ = compose(leave, parts, tools, blocking=None)
    assert call("r").status == 500
    assert seen == ["SystemExit"] * 2


def test_cancellation_passes_through_an_async_chain(tools: Tools) -> None:
    seen: list[str] = []

    async def middleware(request: Any, call_next: Any) -> Any:
        try:
            return await call_next(request)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    async def hangs(request: Any) -> Any:
        await asyncio.sleep(60)

    parts = Parts(
        middlewares=[middleware, lambda request, call_next: call_next(request)],
        exceptions={500: lambda request, exc: seen.append("never")},
        after=[lambda request, response: seen.append("never")],
    )
    call, _ = compose(hangs, parts, tools, blocking=None)

    async def main() -> None:
        task = asyncio.ensure_future(call("r"))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert seen == ["cancelled"]


def test_unhashable_handlers(tools: Tools) -> None:
    class Odd:
        __hash__ = None  # type: ignore[assignment]

        def __eq__(self, other: object) -> bool:
            return True

        def __call__(self, request: Any) -> str:
            return "odd"

    async def middleware(request: Any, call_next: Any) -> Any:
        return await call_next(request)

    for is_quick in (False, True):
        call, _ = compose(Odd(), Parts(middlewares=[middleware]), tools, blocking=None, is_quick=is_quick)
        response = asyncio.run(_with_pool(call))
        assert response.body == b"odd"


async def _with_pool(call: Any) -> Any:
    return await call("r")
