"""Where handlers run, and for how long: threads, the loop's thread, tasks, response_timeout."""

from __future__ import annotations

import asyncio
import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from cello import App, Response, TimeoutConfig
from tests.kit.lanes import NOT_BY_CHANCE
from tests.kit.log_watch import wait_until

SHORT = TimeoutConfig(response_timeout=0.05)
PATIENCE_SECONDS = 10.0


def name_of_thread(request: Any) -> str:
    return threading.current_thread().name


@NOT_BY_CHANCE
def test_def_handlers_run_in_handler_threads(serve: Any) -> None:
    app = App()
    app.get("/")(name_of_thread)
    app.get("/blocking", blocking=True)(name_of_thread)
    client = serve(app)
    assert client.get("/").text.startswith("cello-handler-")
    assert client.get("/blocking").text.startswith("cello-handler-")


def test_pinned_and_async_handlers_run_on_the_loops_thread(serve: Any) -> None:
    app = App()
    app.get("/pinned", blocking=False)(name_of_thread)
    app.post("/pinned", blocking=False)(name_of_thread)

    @app.get("/async")
    async def asynchronous(request: Any) -> str:
        assert asyncio.current_task() is not None
        return name_of_thread(request)

    @app.get("/generator")
    async def generator(request: Any) -> Any:
        yield name_of_thread(request)

    client = serve(app)
    names = {client.get(f"/{path}").text for path in ("pinned", "async", "generator")}
    names.add(client.post("/pinned", b"x").text)
    assert len(names) == 1
    assert not names.pop().startswith("cello-handler")


def test_plain_generators_step_in_handler_threads_unless_pinned(serve: Any) -> None:
    app = App()

    def names(request: Any) -> Any:
        yield name_of_thread(request)

    app.get("/thread")(names)
    app.get("/pinned", blocking=False)(names)
    client = serve(app)
    assert client.get("/thread").text.startswith("cello-handler-")
    assert not client.get("/pinned").text.startswith("cello-handler-")


def test_a_handler_that_waits_does_not_stall_others(serve: Any) -> None:
    app = App()
    is_waiting, may_go = threading.Event(), threading.Event()

    @app.get("/wait", blocking=True)
    def wait(request: Any) -> str:
        is_waiting.set()
        assert may_go.wait(PATIENCE_SECONDS)
        return "waited"

    app.get("/thread")(lambda request: "thread")
    app.get("/pinned", blocking=False)(lambda request: "pinned")
    client = serve(app, workers=2)
    with ThreadPoolExecutor(1) as threads:
        slow = threads.submit(client.get, "/wait")
        assert is_waiting.wait(PATIENCE_SECONDS)
        assert [client.get(path).text for path in ("/thread", "/pinned", "/nowhere")[:2]] == [
            "thread",
            "pinned",
        ]
        may_go.set()
        assert slow.result(PATIENCE_SECONDS).text == "waited"


def test_as_many_handlers_at_once_as_there_are_workers(serve: Any) -> None:
    app = App()
    together = threading.Barrier(3, timeout=PATIENCE_SECONDS)

    @app.get("/", blocking=True)
    def meet(request: Any) -> str:
        together.wait()
        return "met"

    client = serve(app, workers=3)
    with ThreadPoolExecutor(3) as threads:
        assert [each.text for each in threads.map(client.get, ["/"] * 3)] == ["met"] * 3


def test_never_more_handlers_at_once_than_workers(serve: Any) -> None:
    app = App()
    lock = threading.Lock()
    running, most = itertools.count(), []
    inside: list[int] = []

    @app.get("/", blocking=True)
    def count(request: Any) -> str:
        with lock:
            inside.append(next(running))
            most.append(len(inside))
        threading.Event().wait(0.002)
        with lock:
            inside.pop()
        return "x"

    client = serve(app, workers=2)
    with ThreadPoolExecutor(8) as threads:
        assert {each.status for each in threads.map(client.get, ["/"] * 24)} == {200}
    assert max(most) <= 2


# --- response_timeout --------------------------------------------------------------------------------------


class Hold:
    """What a handler waits for, so that it outlasts its timeout for as long as the test wants."""

    def __init__(self) -> None:
        self.may_go = threading.Event()
        self.was_cancelled = threading.Event()

    def block(self, result: Any) -> Any:
        assert self.may_go.wait(PATIENCE_SECONDS)
        return result

    async def sleep(self) -> None:
        try:
            await asyncio.sleep(PATIENCE_SECONDS)
        except asyncio.CancelledError:
            self.was_cancelled.set()
            raise


@pytest.fixture
def hold() -> Any:
    held = Hold()
    yield held
    held.may_go.set()


def test_thread_gets_504_and_its_late_result_is_dropped(serve: Any, log: Any, hold: Hold) -> None:
    app = App()
    app.get("/slow", blocking=True)(lambda request: hold.block("late"))
    app.get("/quick")(lambda request: "quick")
    client = serve(app, timeout=SHORT)
    answer = client.get("/slow")
    assert answer.status == 504
    assert answer.json()["title"] == "Gateway Timeout"
    assert "GET /slow took over" in log.wait_for("longer than its response_timeout")
    hold.may_go.set()
    assert "GET /slow" in log.wait_for("a late result was dropped")
    assert client.get("/quick").text == "quick"


def test_late_exception_of_a_thread_is_logged(serve: Any, log: Any, hold: Hold) -> None:
    app = App()

    @app.get("/", blocking=True)
    def slow(request: Any) -> Any:
        hold.block(None)
        raise ValueError("too late")

    assert serve(app, timeout=SHORT).get("/").status == 504
    hold.may_go.set()
    assert "ValueError: too late" in log.wait_for("a late result was dropped")


def test_late_generator_of_a_thread_is_closed(serve: Any, log: Any, hold: Hold) -> None:
    app = App()
    made: list[Any] = []

    def pieces() -> Any:
        yield "never"

    def late(kind: str) -> Any:
        body = pieces()
        made.append(body)
        return body if kind == "plain" else Response.stream(body)

    app.get("/{kind}", blocking=True)(lambda request: hold.block(late(request.params["kind"])))
    client = serve(app, timeout=SHORT)
    assert [client.get("/plain").status, client.get("/response").status] == [504, 504]
    hold.may_go.set()
    log.wait_for("GET /plain: a late result was dropped")
    log.wait_for("GET /response: a late result was dropped")
    wait_until(lambda: [each.gi_frame for each in made] == [None, None])


def test_coroutine_gets_504_and_is_cancelled(serve: Any, log: Any, hold: Hold) -> None:
    app = App()

    @app.get("/")
    async def slow(request: Any) -> Any:
        await hold.sleep()

    client = serve(app, timeout=SHORT)
    answer = client.get("/")
    assert (answer.status, answer.json()["detail"]) == (504, "the handler did not answer in time")
    assert hold.was_cancelled.wait(PATIENCE_SECONDS)
    assert "failed" not in log.text


@pytest.mark.parametrize("result", ["late", {"too": "late"}, None], ids=repr)
def test_coroutine_that_swallows_its_cancellation_is_dropped(serve: Any, log: Any, result: Any) -> None:
    app = App()

    @app.get("/")
    async def stubborn(request: Any) -> Any:
        try:
            await asyncio.sleep(PATIENCE_SECONDS)
        except asyncio.CancelledError:
            return result

    client = serve(app, timeout=SHORT)
    assert [client.get("/").status for _ in range(2)] == [504, 504]
    log.wait_for("a late result was dropped")


@pytest.mark.parametrize("kind", ["def", "async"])
@pytest.mark.parametrize("lane", ["thread", "async"])
def test_timeout_holds_for_the_whole_chain(serve: Any, log: Any, hold: Hold, kind: str, lane: str) -> None:
    app = App()

    def plain(request: Any, call_next: Any) -> Any:
        return call_next(request)

    async def coroutine(request: Any, call_next: Any) -> Any:
        return await call_next(request)

    @app.get("/async")
    async def slow(request: Any) -> Any:
        await hold.sleep()

    app.get("/thread", blocking=True)(lambda request: hold.block("late"))
    app.use(plain if kind == "def" else coroutine)
    client = serve(app, timeout=SHORT)
    assert client.get(f"/{lane}").status == 504
    if lane == "async":
        assert hold.was_cancelled.wait(PATIENCE_SECONDS)
    hold.may_go.set()
    if (kind, lane) == ("def", "thread"):
        log.wait_for("a late result was dropped")


def test_timeout_counts_from_the_whole_request(serve: Any, hold: Hold) -> None:
    app = App()
    app.post("/", blocking=True)(lambda request: hold.block(request.text()))
    assert serve(app, timeout=SHORT).post("/", b"hello").status == 504


def test_pinned_handler_gets_its_504_when_it_returns(serve: Any, log: Any) -> None:
    app = App()

    @app.get("/", blocking=False, timeout=0.001)
    def slow(request: Any) -> Any:
        threading.Event().wait(0.05)
        return {"too": "late"}

    assert serve(app).get("/").status == 504
    assert "longer than its response_timeout" in log.text


def test_routes_have_timeouts_of_their_own(serve: Any, hold: Hold) -> None:
    app = App()
    released: list[bool] = []

    @app.get("/short", timeout=0.05)
    def short(request: Any) -> Any:
        return hold.block("late")

    @app.get("/short/async", timeout=0.05)
    async def short_async(request: Any) -> Any:
        await hold.sleep()

    @app.get("/long", timeout=60)
    def long(request: Any) -> Any:
        released.append(threading.Event().wait(0.1))
        return "in time"

    client = serve(app, timeout=SHORT)
    assert client.get("/long").text == "in time"
    client = serve(app, timeout=TimeoutConfig(response_timeout=None))
    assert [client.get("/short").status, client.get("/short/async").status] == [504, 504]


def test_stream_whose_first_piece_is_late_gets_504(serve: Any, log: Any, hold: Hold) -> None:
    app = App()

    @app.get("/async")
    async def slow(request: Any) -> Any:
        await hold.sleep()
        yield "late"

    @app.get("/thread")
    def slow_thread(request: Any) -> Any:
        yield hold.block("late")

    client = serve(app, timeout=SHORT)
    assert client.get("/async").status == 504
    assert hold.was_cancelled.wait(PATIENCE_SECONDS)
    assert client.get("/thread").status == 504


def test_a_begun_stream_may_outlast_the_timeout(serve: Any) -> None:
    app = App()

    @app.get("/")
    async def slow(request: Any) -> Any:
        for number in range(4):
            yield str(number)
            await asyncio.sleep(0.04)

    assert serve(app, timeout=SHORT).get("/").text == "0123"


def test_500_of_a_handler_that_cancels_itself(serve: Any, log: Any) -> None:
    app = App()

    @app.get("/")
    async def cancels(request: Any) -> Any:
        raise asyncio.CancelledError

    client = serve(app)
    assert [client.get("/").status for _ in range(2)] == [500, 500]
    assert "CancelledError" in log.text


def test_task_groups_and_timeouts_work_in_handlers(serve: Any) -> None:
    app = App()

    @app.get("/")
    async def grouped(request: Any) -> Any:
        async with asyncio.timeout(PATIENCE_SECONDS), asyncio.TaskGroup() as group:
            tasks = [group.create_task(asyncio.sleep(0, number)) for number in range(3)]
        return [task.result() for task in tasks]

    assert serve(app).get("/").json() == [0, 1, 2]
