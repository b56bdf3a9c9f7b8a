"""cello.lanes: what is asked of the environment, and what is told of a route's lane."""

from __future__ import annotations

import asyncio
import random
import threading
from typing import Any

import pytest

from cello import App
from cello.errors import StartError
from cello.lanes import Lanes, coin_of, describe_lane, watched_functions
from cello.routing import Route, code_of
from cello.testing import TestClient
from cello.threads import HandlerPool
from tests.kit.lanes import NOT_BY_CHANCE
from tests.kit.log_watch import watching_log


@pytest.mark.parametrize("environment", [None, "", "adaptive"])
def test_the_evidence_decides_unless_chance_is_asked_for(environment: str | None) -> None:
    assert coin_of(environment) is None
    assert coin_of("random") is random.random


def test_another_dispatch_ends_the_start_with_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CELLO_DISPATCH", "threads")
    with pytest.raises(SystemExit) as ended:
        App().run(port=0, argv=[])
    assert ended.value.code == 1
    assert capsys.readouterr().err == "cello: CELLO_DISPATCH='threads': expected 'adaptive' or 'random'\n"
    with pytest.raises(StartError):
        TestClient(App()).__enter__()


def test_a_lane_is_told_only_of_a_running_route() -> None:
    assert describe_lane(None) is None
    assert describe_lane(Route("/", ("GET",), lambda request: None)) is None


@NOT_BY_CHANCE
def test_lanes_in_words() -> None:
    app = App()

    def fail(request: Any) -> Any:
        raise ValueError("as asked")

    async def fail_on_the_loop(request: Any) -> Any:
        raise ValueError("as asked")

    app.get("/auto")(fail)
    app.get("/blocking", blocking=True)(fail)
    app.get("/async")(fail_on_the_loop)
    with watching_log(), TestClient(app, debug=True) as client:
        told = {path: client.get(path).json()["lane"] for path in ("/auto", "/blocking", "/async")}
    assert told.pop("/auto").startswith("in the handler threads: ")
    assert told == {
        "/blocking": "in the handler threads: blocking=True",
        "/async": "as a task on the loop: its handler, or something around it, is a coroutine function",
    }


@pytest.mark.parametrize(
    ("blocking", "kind", "advice"),
    [
        (None, "def", "blocking=True on the route keeps it there"),
        (False, "def", "leave that out"),
        (None, "async", "await what waits"),
    ],
)
def test_advice_fits_the_function(blocking: bool | None, kind: str, advice: str) -> None:
    def plain(request: Any) -> None: ...

    async def coroutine(request: Any) -> None: ...

    handler = plain if kind == "def" else coroutine
    route = Route("/", ("GET",), handler, blocking=blocking)
    code = code_of(handler)
    assert code is not None
    watched = watched_functions([route], [])[code]
    assert str(watched) == str(route)
    assert advice in watched.advice()


@NOT_BY_CHANCE
def test_plain_parts_are_moved_and_told_of() -> None:
    pool = HandlerPool(2)
    lanes = Lanes(pool)
    names: list[str] = []

    def part(request: Any) -> str:
        names.append(threading.current_thread().name)
        return "done"

    async def main() -> None:
        for _ in range(5000):
            assert await lanes.run(part, None) == "done"
            if not names[-1].startswith("cello-handler-"):
                return
        raise AssertionError("it was never promoted")

    with watching_log() as log:
        asyncio.run(main())
        assert "test_lanes.py" in log.wait_for("now runs on the loop's thread")
    pool.shutdown()


def test_functions_that_share_code_are_all_named() -> None:
    def make(number: int) -> Any:
        def handler(request: Any) -> int:
            return number

        return handler

    routes = [Route(f"/{number}", ("GET",), make(number)) for number in range(5)]
    code = code_of(routes[0].handler)
    assert code is not None
    assert str(watched_functions(routes[:2], [])[code]) == f"{routes[0]} or {routes[1]}"
    assert str(watched_functions(routes, [])[code]).endswith(f" or {routes[2]} or 2 more")
