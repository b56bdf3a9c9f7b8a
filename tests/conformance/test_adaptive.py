"""Plain handlers earn the loop's thread, lose it, and can be seen to: adaptive dispatch on every adapter.

How many calls a promotion takes depends on how busy the machine is, so these tests call until it has come;
what they assert is the order of events.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest

from cello import App, TimeoutConfig
from tests.kit.lanes import NOT_BY_CHANCE

MOST_CALLS = 50_000  # more than a ban lasts, which a contended GIL may cause
PATIENCE_SECONDS = 10.0

pytestmark = NOT_BY_CHANCE


def name_of_thread(request: Any) -> str:
    return threading.current_thread().name


def is_in_pool(name: str) -> bool:
    return name.startswith("cello-handler-")


def call_until_inline(client: Any, path: str = "/") -> int:
    """Ask a route that answers with its thread's name until that is the loop's; returns how often."""
    for number in range(MOST_CALLS):
        if not is_in_pool(client.get(path).text):
            return number
    raise AssertionError(f"{path} still runs in the pool after {MOST_CALLS} calls")


def test_a_fast_handler_moves_to_the_loops_thread_and_the_log_says_so(serve: Any, log: Any) -> None:
    app = App()
    app.get("/")(name_of_thread)
    app.get("/async")(asynchronous)
    client = serve(app)
    assert call_until_inline(client) >= 32
    assert client.get("/").text == client.get("/async").text
    line = log.wait_for("now runs on the loop's thread")
    assert line.startswith("INFO GET / (")
    assert "test_adaptive.py" in line
    assert "p50" in line
    assert log.text.count("now runs") == 1


async def asynchronous(request: Any) -> str:
    return name_of_thread(request)


def test_it_moves_when_many_push_at_once(serve: Any) -> None:
    app = App()
    app.get("/")(name_of_thread)
    client = serve(app, workers=8)
    with ThreadPoolExecutor(16) as threads:
        names = [each.text for each in threads.map(client.get, ["/"] * 2000)]
    assert not is_in_pool(names[-1])


def test_a_body_does_not_matter(serve: Any) -> None:
    app = App()
    app.post("/")(lambda request: name_of_thread(request) if request.body() == b"octets" else "no body")
    client = serve(app)
    for _ in range(MOST_CALLS):
        if not is_in_pool(client.post("/", b"octets").text):
            return
    raise AssertionError("a handler with a body is never promoted")


def test_one_that_turns_slow_goes_back_at_once_and_the_log_says_so_once(serve: Any, log: Any) -> None:
    app = App()
    is_slow = threading.Event()

    @app.get("/")
    def turning(request: Any) -> str:
        if is_slow.is_set():
            time.sleep(0.03)
        return name_of_thread(request)

    client = serve(app)
    call_until_inline(client)
    is_slow.set()
    names = [client.get("/").text for _ in range(20)]
    assert not is_in_pool(names[0])
    assert all(is_in_pool(name) for name in names[1:])
    line = log.wait_for("now runs in the handler threads")
    assert line.startswith("WARNING GET / (")
    assert "held the loop" in line
    assert log.text.count("now runs in the handler threads") == 1


def test_pinned_lanes_never_change(serve: Any, log: Any) -> None:
    app = App()
    app.get("/blocking", blocking=True)(name_of_thread)

    @app.get("/pinned", blocking=False)
    def pinned(request: Any) -> str:
        time.sleep(0.006)
        return name_of_thread(request)

    client = serve(app)
    assert all(is_in_pool(client.get("/blocking").text) for _ in range(200))
    assert not any(is_in_pool(client.get("/pinned").text) for _ in range(5))
    assert "now runs" not in log.text


# --- what waits stays in the pool ---


def connects(where: Any) -> None:
    socket.create_connection(where.address).close()


def waits_on_a_socket(where: Any) -> None:
    where.far.send(b"x")
    where.near.recv(1)
    where.timer()


def syncs_to_disk(where: Any) -> None:
    with open(where.folder / "synced", "ab") as file:
        file.write(b"x")
        file.flush()
        os.fsync(file.fileno())


def sleeps(where: Any) -> None:
    time.sleep(0.0001)


class Where:
    """What the handlers of these tests wait for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1000)
        self.address = self.listener.getsockname()
        self.near, self.far = socket.socketpair()
        self.near.settimeout(PATIENCE_SECONDS)

    def timer(self) -> None:
        """Wait for an octet that comes a little later."""
        threading.Timer(0.0001, self.far.send, (b"y",)).start()
        self.near.recv(1)

    def close(self) -> None:
        for each in (self.listener, self.near, self.far):
            each.close()


@pytest.fixture
def where(tmp_path: Path) -> Any:
    made = Where(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("wait", [connects, waits_on_a_socket, syncs_to_disk, sleeps])
def test_what_waits_is_not_promoted(serve: Any, where: Where, wait: Any) -> None:
    app = App()

    @app.get("/")
    def handler(request: Any) -> str:
        wait(where)
        return name_of_thread(request)

    client = serve(app, workers=1)
    assert all(is_in_pool(client.get("/").text) for _ in range(150))


def test_a_wait_on_the_loop_is_the_last_one(serve: Any, where: Where) -> None:
    app = App()
    connecting = threading.Event()

    @app.get("/")
    def handler(request: Any) -> str:
        if connecting.is_set():
            connects(where)
        return name_of_thread(request)

    client = serve(app)
    call_until_inline(client)
    connecting.set()
    assert not is_in_pool(client.get("/").text)
    connecting.clear()
    assert all(is_in_pool(client.get("/").text) for _ in range(300))


# --- both lanes look alike to a handler ---


def test_no_lane_shows_the_loop(serve: Any) -> None:
    app = App()

    @app.get("/")
    def handler(request: Any) -> str:
        for look in (asyncio.get_running_loop, asyncio.get_event_loop):
            try:
                look()
            except RuntimeError:
                continue
            return "a loop is in sight"
        return name_of_thread(request)

    client = serve(app)
    call_until_inline(client)
    assert client.get("/").text != "a loop is in sight"


def test_every_call_has_a_context_of_its_own_in_both(serve: Any) -> None:
    app = App()
    var: ContextVar[int] = ContextVar("var", default=0)

    @app.get("/")
    def handler(request: Any) -> str:
        before = var.get()
        var.set(before + 1)
        return name_of_thread(request) if before == 0 else "the context of another call"

    client = serve(app)
    call_until_inline(client)
    assert client.get("/").text != "the context of another call"


def test_errors_are_answered_alike(serve: Any) -> None:
    app = App()

    @app.get("/")
    def handler(request: Any) -> str:
        if "fail" in request.query:
            raise ValueError("as asked")
        return name_of_thread(request)

    client = serve(app)
    in_pool = client.get("/?fail=1")
    call_until_inline(client)
    inline = client.get("/?fail=1")
    assert in_pool.status == inline.status == 500
    assert set(in_pool.json()) == set(inline.json())


def test_plain_generators_step_in_the_pool_wherever_they_were_made(serve: Any) -> None:
    app = App()

    @app.get("/")
    def handler(request: Any) -> Any:
        made_in = name_of_thread(request)
        return (f"{made_in} {name_of_thread(request)}" for _ in range(1))

    client = serve(app)
    for _ in range(MOST_CALLS):
        made_in, stepped_in = client.get("/").text.split()
        assert is_in_pool(stepped_in)
        if not is_in_pool(made_in):
            return
    raise AssertionError("a handler that only makes a generator is never promoted")


# --- chains ---


def test_plain_parts_keep_the_handlers_lane(serve: Any) -> None:
    app = App()
    seen: list[str] = []
    app.before_request(lambda request: seen.append(name_of_thread(request)))
    app.use(lambda request, call_next: (seen.append(name_of_thread(request)), call_next(request))[1])
    app.get("/")(name_of_thread)
    client = serve(app)
    call_until_inline(client)
    seen.clear()
    name = client.get("/").text
    assert seen == [name, name]


def test_plain_parts_of_a_coroutine_chain_have_lanes_of_their_own(serve: Any) -> None:
    app = App()
    hooked: list[str] = []

    @app.before_request
    def hook(request: Any) -> None:
        hooked.append(name_of_thread(request))
        time.sleep(0.003)

    @app.use
    async def middleware(request: Any, call_next: Any) -> Any:
        return await call_next(request)

    app.get("/")(name_of_thread)
    client = serve(app)
    call_until_inline(client)
    assert all(is_in_pool(name) for name in hooked)


# --- what is told ---


def test_debug_answers_tell_the_lane_and_why(serve: Any) -> None:
    app = App()

    @app.get("/")
    def handler(request: Any) -> str:
        raise ValueError("as asked")

    @app.get("/pinned", blocking=False)
    def pinned(request: Any) -> str:
        raise ValueError("as asked")

    client = serve(app, debug=True)
    client.get("/")
    assert client.get("/").json()["lane"].startswith("in the handler threads: 2 calls, p50 ")
    assert client.get("/pinned").json()["lane"] == "on the loop's thread: blocking=False"
    assert "lane" not in serve(app, debug=False).get("/").json()


# --- deadlines ---


def test_the_deadline_is_on_the_clock_of_time_monotonic(serve: Any) -> None:
    app = App()

    def left(request: Any) -> Any:
        return "none" if request.deadline is None else str(request.deadline - time.monotonic())

    app.get("/thread", blocking=True)(left)
    app.get("/pinned", blocking=False)(left)
    app.get("/longer", timeout=100)(left)

    @app.get("/async")
    async def coroutine(request: Any) -> Any:
        return left(request)

    client = serve(app, timeout=TimeoutConfig(response_timeout=20))
    for path in ("/thread", "/pinned", "/async"):
        assert 10 < float(client.get(path).text) <= 20
    assert 90 < float(client.get("/longer").text) <= 100
    assert serve(app, timeout=TimeoutConfig(response_timeout=None)).get("/thread").text == "none"


def test_a_coroutine_can_give_up_in_time(serve: Any) -> None:
    app = App()

    @app.get("/")
    async def handler(request: Any) -> Any:
        try:
            async with asyncio.timeout_at(request.deadline - 0.3):
                await asyncio.sleep(PATIENCE_SECONDS)
        except TimeoutError:
            return {"status": "gave up"}

    assert serve(app, timeout=TimeoutConfig(response_timeout=0.5)).get("/").json() == {"status": "gave up"}
