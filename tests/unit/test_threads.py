"""cello.threads: how many threads there are, what they run, and how they end."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import partial
from typing import Any

import pytest

from cello.threads import HandlerPool, PoolFull, call_soon
from tests.kit.log_watch import wait_until

PATIENCE_SECONDS = 10.0
var: ContextVar[str] = ContextVar("var", default="unset")


class Gate:
    """Jobs that wait until the test lets them go on."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.may_go = threading.Event()

    def __call__(self) -> str:
        self.entered.release()
        assert self.may_go.wait(PATIENCE_SECONDS)
        return threading.current_thread().name

    def wait_for(self, count: int) -> None:
        for _ in range(count):
            assert self.entered.acquire(timeout=PATIENCE_SECONDS)


@pytest.fixture
def make_pool() -> Iterator[Callable[[int], HandlerPool]]:
    pools: list[HandlerPool] = []

    def make(workers: int) -> HandlerPool:
        pools.append(HandlerPool(workers))
        return pools[-1]

    yield make
    for pool in pools:
        pool.shutdown()


def run(coroutine: Any) -> Any:
    return asyncio.run(asyncio.wait_for(coroutine, PATIENCE_SECONDS))


def handler_threads() -> set[threading.Thread]:
    return {each for each in threading.enumerate() if each.name.startswith("cello-handler-")}


def test_threads_are_started_as_they_are_needed(make_pool: Any) -> None:
    before = handler_threads()
    pool = make_pool(3)
    assert handler_threads() <= before

    async def main() -> None:
        gate, calls = Gate(), []
        for number in (1, 2, 3):
            calls.append(asyncio.ensure_future(pool.run(gate)))
            await asyncio.to_thread(gate.wait_for, 1)
            assert len(handler_threads() - before) == number
        calls.append(asyncio.ensure_future(pool.run(gate)))
        await asyncio.sleep(0)
        assert len(handler_threads() - before) == 3
        gate.may_go.set()
        assert len(set(await asyncio.gather(*calls))) == 3

    run(main())


def test_idle_thread_is_used_again(make_pool: Any) -> None:
    pool = make_pool(10)

    async def main() -> None:
        name = await pool.run(lambda: threading.current_thread().name)
        for _ in range(10):
            wait_until(lambda: pool._idle_count == 1)
            assert await pool.run(lambda: threading.current_thread().name) == name

    run(main())


def test_never_more_at_once_than_workers_and_in_order(make_pool: Any) -> None:
    pool = make_pool(2)
    order: list[int] = []

    async def main() -> None:
        gate = Gate()
        calls = [asyncio.ensure_future(pool.run(gate)) for _ in range(2)]
        await asyncio.to_thread(gate.wait_for, 2)
        calls += [asyncio.ensure_future(pool.run(order.append, number)) for number in range(20)]
        await asyncio.sleep(0)
        assert order == []
        gate.may_go.set()
        await asyncio.gather(*calls)

    run(main())
    assert sorted(order) == list(range(20))


def test_one_worker_keeps_the_order(make_pool: Any) -> None:
    pool = make_pool(1)
    order: list[int] = []

    async def main() -> None:
        await asyncio.gather(*(pool.run(order.append, number) for number in range(50)))

    run(main())
    assert order == list(range(50))


def test_results_and_exceptions(make_pool: Any) -> None:
    pool = make_pool(1)

    async def main() -> None:
        assert await pool.run(divmod, 7, 2) == (3, 1)
        with pytest.raises(ZeroDivisionError):
            await pool.run(divmod, 7, 0)
        with pytest.raises(KeyboardInterrupt):
            await pool.run(_raise, KeyboardInterrupt())
        with pytest.raises(RuntimeError, match="StopIteration left a handler"):
            await pool.run(_raise, StopIteration())
        assert await pool.run(lambda: "still here") == "still here"

    run(main())


def _raise(exc: BaseException) -> None:
    raise exc


def test_context_goes_there_and_back(make_pool: Any) -> None:
    pool = make_pool(1)
    other: ContextVar[int] = ContextVar("other")

    def work() -> str:
        seen = var.get()
        var.set("from the thread")
        other.set(1)
        return seen

    def fail() -> None:
        var.set("before it failed")
        raise ValueError

    async def main() -> None:
        var.set("from the loop")
        assert await pool.run(work) == "from the loop"
        assert (var.get(), other.get()) == ("from the thread", 1)
        with pytest.raises(ValueError):
            await pool.run(fail)
        assert var.get() == "before it failed"
        await asyncio.create_task(pool.run(var.set, "a task's own"))
        assert var.get() == "before it failed"

    run(main())


def test_cancelled_caller_leaves_the_call_alone(make_pool: Any) -> None:
    pool = make_pool(1)
    gate = Gate()
    ended = threading.Event()

    def work() -> None:
        gate()
        var.set("late")
        ended.set()

    async def main() -> None:
        call = asyncio.ensure_future(pool.run(work))
        await asyncio.to_thread(gate.wait_for, 1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        gate.may_go.set()
        assert await pool.run(ended.is_set) is True
        assert var.get() == "unset"

    run(main())


def test_a_finished_job_is_let_go(make_pool: Any) -> None:
    pool = make_pool(1)

    class Big:
        pass

    async def main() -> None:
        big = Big()
        seen = weakref.ref(big)
        await pool.run(id, big)
        del big
        wait_until(lambda: gc.collect() >= 0 and seen() is None)  # though the thread waits for its next job

    run(main())


# --- waiting -----------------------------------------------------------------------------------------------


def test_waiting_threads_do_not_count(make_pool: Any) -> None:
    """One worker, and three calls that each wait for the next: a pool that counted them would never end."""
    pool = make_pool(1)

    async def main() -> None:
        loop = asyncio.get_running_loop()

        def nested(depth: int) -> int:
            if not depth:
                return 0
            inner = asyncio.run_coroutine_threadsafe(pool.run(nested, depth - 1), loop)
            with pool.waiting():
                return int(inner.result()) + 1

        assert await pool.run(nested, 3) == 3

    run(main())


def test_what_was_started_for_waiting_threads_ends(make_pool: Any) -> None:
    before = handler_threads()
    pool = make_pool(1)

    async def main() -> None:
        async def inner(depth: int) -> int:
            return int(await pool.run(nested, depth)) + 1

        def nested(depth: int) -> int:
            return 0 if not depth else int(pool.wait_for(inner(depth - 1)))

        assert await asyncio.gather(*(pool.run(nested, 3) for _ in range(4))) == [3] * 4

    run(main())
    wait_until(lambda: len(handler_threads() - before) <= 1)

    async def count_at_once() -> int:
        gate = Gate()
        calls = [asyncio.ensure_future(pool.run(gate)) for _ in range(3)]
        await asyncio.to_thread(gate.wait_for, 1)
        started = len(handler_threads() - before)
        gate.may_go.set()
        await asyncio.gather(*calls)
        return started

    pool._loop = None  # another loop, which no server has
    assert run(count_at_once()) == 1


def test_wait_for_gives_what_the_loop_gave(make_pool: Any) -> None:
    pool = make_pool(1)

    async def double(number: int) -> int:
        await asyncio.sleep(0)
        return 2 * number

    async def fail() -> None:
        raise KeyError("x")

    async def main() -> None:
        assert await pool.run(lambda: pool.wait_for(double(21))) == 42
        with pytest.raises(KeyError):
            await pool.run(lambda: pool.wait_for(fail()))
        with pytest.raises(RuntimeError, match="make it an async def"):
            pool.wait_for(double(1))

    run(main())


# --- the end -----------------------------------------------------------------------------------------------


def test_shutdown_works_off_what_was_submitted_and_ends_the_threads() -> None:
    pool = HandlerPool(2)
    done: list[int] = []
    before = handler_threads()

    async def main() -> None:
        gate = Gate()
        calls = [asyncio.ensure_future(pool.run(gate)) for _ in range(2)]
        await asyncio.to_thread(gate.wait_for, 2)
        for number in range(3):
            pool.submit(lambda number=number: done.append(number))  # type: ignore[misc]
        pool.shutdown()
        with pytest.raises(RuntimeError, match="shut down"):
            pool.submit(lambda: done.append(99))
        gate.may_go.set()
        await asyncio.gather(*calls)

    run(main())
    wait_until(lambda: handler_threads() <= before)
    assert sorted(done) == [0, 1, 2]
    assert not pool.is_busy()


def test_is_busy_while_a_job_runs_or_waits(make_pool: Any) -> None:
    pool = make_pool(1)
    assert not pool.is_busy()

    async def main() -> None:
        gate = Gate()
        calls = [asyncio.ensure_future(pool.run(gate)) for _ in range(2)]
        await asyncio.to_thread(gate.wait_for, 1)
        assert pool.is_busy()
        gate.may_go.set()
        await asyncio.gather(*calls)

    run(main())
    wait_until(lambda: not pool.is_busy())


def test_threads_keep_no_process_alive(make_pool: Any) -> None:
    pool = make_pool(1)

    async def main() -> bool:
        return bool(await pool.run(lambda: threading.current_thread().daemon))

    assert run(main()) is True


def test_call_soon_forgives_a_loop_that_has_ended() -> None:
    loop = asyncio.new_event_loop()
    called: list[int] = []
    call_soon(loop, called.append, 1)
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
    call_soon(loop, called.append, 2)
    assert called == [1]


# --- idle threads, and the queue's bound ---


def test_idle_threads_end_and_new_ones_are_started_when_they_are_needed() -> None:
    before = handler_threads()
    pool = HandlerPool(2, idle_seconds=0.02)

    async def main() -> None:
        for _ in range(3):
            gate = Gate()
            calls = [asyncio.ensure_future(pool.run(gate)) for _ in range(2)]
            await asyncio.to_thread(gate.wait_for, 2)
            gate.may_go.set()
            await asyncio.gather(*calls)
            await asyncio.to_thread(wait_until, lambda: handler_threads() <= before)

    run(main())
    pool.shutdown()


def test_no_call_is_lost_to_a_thread_that_ends() -> None:
    pool = HandlerPool(3, idle_seconds=0.0005)

    async def main() -> None:
        for number in range(300):
            assert await pool.run(lambda given: given, number) == number
            await asyncio.sleep(0.0005 if number % 3 else 0.001)

    run(main())
    pool.shutdown()


def test_a_full_queue_refuses_what_may_be_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cello.threads.QUEUED_PER_WORKER", 3)
    pool = HandlerPool(1)

    async def main() -> None:
        gate = Gate()
        holding = asyncio.ensure_future(pool.run(gate))
        await asyncio.to_thread(gate.wait_for, 1)
        done: list[int] = []
        for number in range(3):
            pool.submit(partial(done.append, number), is_refusable=True)
        with pytest.raises(PoolFull):
            pool.submit(lambda: done.append(3), is_refusable=True)
        behind = asyncio.ensure_future(
            pool.run(lambda: done.append(4))
        )  # a piece of an answer that has begun
        await asyncio.sleep(0)
        gate.may_go.set()
        await asyncio.gather(holding, behind)
        assert done == [0, 1, 2, 4]

    run(main())
    pool.shutdown()


def test_threads_that_have_waited_leave_the_jobs_to_as_many_as_there_may_be(make_pool: Any) -> None:
    pool = make_pool(1)
    waiting, resumed, gate = threading.Semaphore(0), threading.Semaphore(0), threading.Event()
    lock = threading.Lock()
    at_once: list[int] = [0, 0]  # now, at most

    def call(event: asyncio.Event) -> None:
        waiting.release()
        pool.wait_for(event.wait())
        resumed.release()
        assert gate.wait(PATIENCE_SECONDS)

    def count() -> None:
        with lock:
            at_once[0] += 1
            at_once[1] = max(at_once)
        threading.Event().wait(0.002)
        with lock:
            at_once[0] -= 1

    def all_of(semaphore: threading.Semaphore) -> None:
        for _ in range(5):
            assert semaphore.acquire(timeout=PATIENCE_SECONDS)

    async def main() -> None:
        event = asyncio.Event()
        waits = [asyncio.ensure_future(pool.run(call, event)) for _ in range(5)]
        await asyncio.to_thread(all_of, waiting)  # five threads, where there may be one that does not wait
        event.set()
        await asyncio.to_thread(all_of, resumed)
        counted = [asyncio.ensure_future(pool.run(count)) for _ in range(50)]
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(*waits, *counted)

    run(main())
    assert at_once == [0, 1]


def test_a_system_without_threads_refuses_and_recovers(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = HandlerPool(2)

    def fail(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def main() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", fail)
            with pytest.raises(PoolFull):
                await pool.run(lambda: "never")
        assert not pool.is_busy()
        assert await pool.run(lambda: "again") == "again"

    run(main())
    pool.shutdown()
