"""The pool of handler threads: up to ``workers`` of them, started as they are needed.

Why not concurrent.futures: a hop through its Future and asyncio's costs half again as much as a queue and
``call_soon_threadsafe`` (performance.md's 30 us against 20), and its threads are joined at interpreter exit,
so a handler that hangs would keep the process from ending on the second signal. These threads are daemons.

A thread that waits for the loop (a sync middleware around an async handler) does not count against
``workers`` while it waits, or a pool full of such threads would wait for a thread forever. When it goes on,
the thread that was started in its place ends as soon as nothing is left to do.

The queue is bounded: QUEUED_PER_WORKER calls of handlers for each thread there may be, beyond which a call is
refused at once. It is not the first bound to be met: what has waited for its response_timeout is taken back
out of the queue, which either happens or comes too late: a call is never both refused and made.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from contextvars import Context, copy_context
from queue import Empty, SimpleQueue
from typing import Any

from ._speedups import note_wait
from .errors import HTTPError

Job = Callable[[], None]

IDLE_SECONDS = 30.0  # before a thread without work ends
QUEUED_PER_WORKER = 1000
BUSY = "all handler threads are busy"


class PoolFull(HTTPError):
    """More calls wait for a thread than the pool takes: a 503, for whoever knows no better."""

    def __init__(self) -> None:
        super().__init__(503, BUSY, {"retry-after": "1"})


class QueuedJob:
    """A job on its way to a thread."""

    __slots__ = ("_held", "_when_cancelled")

    def __init__(self, job: Job, when_cancelled: Callable[[], None]) -> None:
        self._held = [job]
        self._when_cancelled = when_cancelled

    def take(self) -> Job | None:
        """Return the job to whoever asks first, None to everyone after, whichever threads they run on."""
        try:
            return self._held.pop()
        except IndexError:
            return None

    def cancel(self) -> bool:
        """Take the job back; False when it has begun, or was taken back before."""
        if self.take() is None:
            return False
        self._when_cancelled()
        return True

    def is_live(self) -> bool:
        """Tell whether it is still to be done."""
        return bool(self._held)


class HandlerPool:
    """Runs jobs in at most ``workers`` threads, in order of submission."""

    def __init__(self, workers: int, idle_seconds: float = IDLE_SECONDS, name: str = "cello-handler") -> None:
        self._workers = workers
        self._idle_seconds = idle_seconds
        self._name = name
        self._most_queued = workers * QUEUED_PER_WORKER
        self._jobs: SimpleQueue[QueuedJob | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._started_count = 0
        self._idle_count = 0
        self._unfinished_count = 0
        self._cancelled_count = 0  # of what is still in the queue
        self._is_shut_down = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_thread = 0

    def submit(self, job: Job, *, is_refusable: bool = False) -> QueuedJob:
        """Run a job in a thread, unless it is cancelled before its turn. To be called on the loop's thread.

        A job handles its own errors. Raises PoolFull for a refusable job when the queue is full (the next
        piece of an answer that has begun is not refusable), and for any where the system gives no thread.
        """
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._loop_thread = threading.get_ident()
        with self._lock:
            if self._is_shut_down:
                raise RuntimeError("the handler threads have been shut down")
            if self._idle_count > 0:
                self._idle_count -= 1
            elif len(self._threads) >= self._workers or not self._start_thread():  # it has to wait
                is_full = is_refusable and self._jobs.qsize() - self._cancelled_count >= self._most_queued
                if is_full or not self._threads:  # none: the system gives no thread
                    raise PoolFull
            queued = QueuedJob(job, self._note_cancelled)
            self._jobs.put(queued)
            self._unfinished_count += 1
            return queued

    def _note_cancelled(self) -> None:
        with self._lock:
            self._cancelled_count += 1
            if self._cancelled_count > self._most_queued:
                self._sweep()

    def _sweep(self) -> None:
        """Throw away what is in the queue and cancelled: threads that hang would never come to it."""
        kept = []
        while not self._jobs.empty():
            queued = self._jobs.get_nowait()
            if queued is None or queued.is_live():
                kept.append(queued)
            else:
                self._cancelled_count -= 1
                self._unfinished_count -= 1
        for queued in kept:
            self._jobs.put(queued)

    def _start_thread(self) -> bool:
        """Start a thread; False when the system has none left."""
        name = f"{self._name}-{self._started_count + 1}"
        thread = threading.Thread(target=self._work, name=name, daemon=True)
        try:
            thread.start()
        except RuntimeError:
            return False
        self._started_count += 1
        self._threads.append(thread)
        return True

    def _work(self) -> None:
        while True:
            try:
                queued = self._jobs.get(timeout=self._idle_seconds)
            except Empty:
                if self._may_end():
                    return
                continue
            if queued is None:
                with self._lock:
                    if self._is_shut_down or len(self._threads) > self._workers:
                        self._threads.remove(threading.current_thread())
                        return
                    if self._jobs.empty():
                        self._idle_count += 1
                continue
            job = queued.take()
            was_cancelled = job is None
            if job is not None:
                job()
            del job  # or this thread would keep the last request alive
            with self._lock:
                self._unfinished_count -= 1
                self._cancelled_count -= was_cancelled
                if len(self._threads) > self._workers:
                    self._threads.remove(threading.current_thread())
                    return
                if self._jobs.empty():
                    self._idle_count += 1

    def _may_end(self) -> bool:
        """Take an idle thread out of the pool, unless a job has come for it in this moment."""
        with self._lock:
            if not self._jobs.empty() or self._is_shut_down:
                return False
            self._threads.remove(threading.current_thread())
            if self._idle_count > 0:
                self._idle_count -= 1
            return True

    async def run(
        self,
        function: Callable[..., Any],
        *args: Any,
        when_queued: Callable[[QueuedJob], None] | None = None,
        when_done: Callable[[BaseException | None, bool], None] | None = None,
    ) -> Any:
        """Call a function in a thread and return what it returns; a cancelled call that waits is never made.

        It runs in a copy of this context, and what it sets there is set here when it is done: a ContextVar
        does not show which thread a call took. With ``when_queued``, which gets the job as it waits, the call
        may be refused: raises PoolFull. ``when_done(exc, is_late)`` is called on the loop's thread once the
        call has ended, also when nobody waits for it any more, which makes it late.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        context = copy_context()

        def settle(result: Any, exc: BaseException | None) -> None:
            if when_done is not None:
                when_done(exc, future.done())
            if future.done():
                return
            if exc is None:
                future.set_result(result)
            elif isinstance(exc, StopIteration):  # a Future cannot hold one (PEP 479)
                future.set_exception(RuntimeError("StopIteration left a handler"))
            else:
                future.set_exception(exc)

        def job() -> None:
            result, raised = None, None
            try:
                result = context.run(function, *args)
            except BaseException as exc:  # noqa: BLE001 - it is raised again where it is awaited
                raised = exc
            call_soon(loop, settle, result, raised)

        queued = self.submit(job, is_refusable=when_queued is not None)
        if when_queued is not None:
            when_queued(queued)
        try:
            return await future
        finally:
            queued.cancel()
            if future.done() and not future.cancelled():  # else the call still runs in that context
                _adopt(context)

    def wait_for(self, awaitable: Awaitable[Any]) -> Any:
        """Await something on the loop, from a handler thread; on the loop's own a RuntimeError."""
        note_wait()  # what calls this is no function for the loop's thread
        if self._loop is None or threading.get_ident() == self._loop_thread:
            _close(awaitable)
            raise RuntimeError(
                "a plain function cannot wait on the event loop's thread: make it an async def"
            )

        future = begin_on(self._loop, awaitable)
        with self.waiting():
            return value_of(future)

    def is_busy(self) -> bool:
        """Tell whether a job runs or waits."""
        return self._unfinished_count > 0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Let one more thread work while this one waits for the loop."""
        with self._lock:
            self._workers += 1
            if (
                not self._jobs.empty()
                and not self._is_shut_down
                and self._idle_count == 0
                and len(self._threads) < self._workers
            ):
                self._start_thread()
        try:
            yield
        finally:
            with self._lock:
                self._workers -= 1
                if self._idle_count > 0 and len(self._threads) > self._workers:
                    self._idle_count -= 1
                    self._jobs.put(None)

    def shutdown(self) -> None:
        """End the threads once they have worked off what was submitted; does not wait for them."""
        with self._lock:
            self._is_shut_down = True
            for _ in self._threads:
                self._jobs.put(None)


Outcome = tuple[Any, BaseException | None]


async def _outcome(awaitable: Awaitable[Any]) -> Outcome:
    """Await something; a SystemExit in a task of its own would end the loop that it runs in."""
    try:
        return await awaitable, None
    except asyncio.CancelledError:
        raise
    except BaseException as exc:  # noqa: BLE001 - it is raised again where it is waited for
        return None, exc


def begin_on(loop: asyncio.AbstractEventLoop, awaitable: Awaitable[Any]) -> Future[Outcome]:
    """Begin to await something on a loop, from a thread."""
    return asyncio.run_coroutine_threadsafe(_outcome(awaitable), loop)


def value_of(future: Future[Outcome]) -> Any:
    """Wait, in a thread, for what ``begin_on`` began; raises what it raised, and CancelledError."""
    try:
        result, exc = future.result()
    except CancelledError:  # an Exception, which asyncio's is not: nobody is to retry what is over
        raise asyncio.CancelledError from None
    if exc is not None:
        raise exc
    return result


def _adopt(context: Context) -> None:
    """Set here what was set in a copy of the current context."""
    here = copy_context()
    for variable, value in context.items():
        if variable not in here or here[variable] is not value:
            variable.set(value)


def _close(awaitable: Any) -> None:
    """Close a coroutine that nobody will await."""
    if asyncio.iscoroutine(awaitable):
        awaitable.close()


def call_soon(
    loop: asyncio.AbstractEventLoop,
    callback: Callable[..., Any],
    *args: Any,
    context: Context | None = None,
) -> None:
    """Schedule a callback from a thread; a loop that has ended in the meantime drops it."""
    try:
        loop.call_soon_threadsafe(callback, *args, context=context)
    except RuntimeError:
        if not loop.is_closed():
            raise


def is_loop_running() -> bool:
    """Tell whether an event loop runs on this thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
