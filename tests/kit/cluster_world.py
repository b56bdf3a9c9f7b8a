"""A made-up world for a cluster's machine: processes that start, fail, freeze and end, by a clock of its own.

It obeys the machine's actions as the supervisor does, and brings their news late and in such orders as real
ones come in: what one process says keeps its order, what two say does not.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from cello.cluster import events as ev
from cello.cluster.events import Action, Event
from cello.cluster.machine import Machine
from cello.cluster.states import Settings
from tests.kit.cluster_rules import Rules

TICK_SECONDS = 0.1


@dataclass
class Odds:
    """How likely it is that something goes wrong, from 0 to 1."""

    load_fails: float = 0.0
    load_hangs: float = 0.0
    load_has_threads: float = 0.0
    start_fails: float = 0.0
    boot_fails: float = 0.0
    boot_hangs: float = 0.0
    drain_hangs: float = 0.0
    abort_is_ignored: float = 0.0
    news_is_lost: float = 0.0


@dataclass
class Leader:
    """A leader's process."""

    generation: int
    is_alive: bool = True
    is_known_gone: bool = False
    is_ready: bool = False
    is_ending: bool = False
    waiting_count: int = 0  # fork requests on their way
    children: set[int] = field(default_factory=set)


@dataclass
class Process:
    """A worker's process; what it does while it is frozen it does afterwards."""

    number: int
    leader: Leader | None
    is_alive: bool = True
    is_ready: bool = False
    is_draining: bool = False
    has_known_pid: bool = False
    term_count: int = 0
    frozen_at: float | None = None
    put_off: list[Callable[[], None]] = field(default_factory=list)


class World:
    """A machine and the processes it governs; ``run`` lets time pass."""

    def __init__(self, settings: Settings, *, can_fork: bool, seed: int) -> None:
        self.settings = settings
        self.random = Random(seed)
        self.machine = Machine(settings, self.random.random)
        self.rules = Rules(settings)
        self.now = 1000.0
        self.odds = Odds()
        self.leaders: dict[int, Leader] = {1: Leader(1, is_ready=True)} if can_fork else {}
        self.workers: dict[int, Process] = {}
        self.history: list[str] = []
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._last_news: dict[object, float] = {}
        self._deaf_until = 0.0
        self._take(ev.Started(can_fork))
        self._tick()

    @property
    def status(self) -> int | None:
        """The exit status, once there is one."""
        return self.rules.status

    def run(self, seconds: float) -> None:
        """Let time pass; ends early at the exit."""
        end = self.now + seconds
        while self._agenda and self._agenda[0][0] <= end and self.status is None:
            self.now, _, act = heapq.heappop(self._agenda)
            act()
        self.now = max(self.now, end)

    def run_until(self, is_true: Callable[[], bool], seconds: float) -> bool:
        """Let time pass until something holds; returns whether it came to that."""
        end = self.now + seconds
        while not is_true():
            if self.now >= end:
                return False
            self.run(TICK_SECONDS)
        return True

    def tell(self, event: Event) -> None:
        """Give the machine an event now, as a signal of the supervisor's brings it."""
        self._post("signals", event, 0.0)
        self.run(0.0)

    # --- time ---

    def _at(self, seconds: float, act: Callable[[], None]) -> None:
        self._push(self.now + seconds, act)

    def _push(self, at: float, act: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._agenda, (at, self._count, act))

    def _between(self, least: float, most: float) -> float:
        return self.random.uniform(least, most)

    def _happens(self, chance: float) -> bool:
        return self.random.random() < chance

    def _post(self, sender: object, event: Event, delay: float) -> None:
        at = max(self.now + delay, self._last_news.get(sender, 0.0), self._deaf_until)
        self._last_news[sender] = at
        self._push(at, lambda: self._hear(event))

    def _hear(self, event: Event) -> None:
        if self.now < self._deaf_until:
            self._push(self._deaf_until, lambda: self._hear(event))
        else:
            self._take(event)

    def _take(self, event: Event) -> None:
        if isinstance(event, ev.WorkerForked) and event.worker in self.workers:
            self.workers[event.worker].has_known_pid = True
        elif isinstance(event, ev.WorkerGone):
            self.workers.pop(event.worker, None)
        elif isinstance(event, ev.LeaderGone):
            self.leaders[event.generation].is_known_gone = True
        actions = self.machine.step(event, self.now)
        if actions or not isinstance(event, ev.Ticked):
            self.history.append(f"{self.now:.3f} {event} -> {actions}")
        self.rules.check(event, actions, self.now)
        for action in actions:
            self._act(action)

    def _tick(self) -> None:
        if self.now >= self._deaf_until:
            self._take(ev.Ticked({number: self._beat_of(each) for number, each in self.workers.items()}))
        self._push(max(self.now + TICK_SECONDS, self._deaf_until), self._tick)

    def _beat_of(self, process: Process) -> float:
        if not process.is_ready:
            return 0.0
        return self.now - self._between(0, TICK_SECONDS) if process.frozen_at is None else process.frozen_at

    # --- what the machine wants ---

    def _act(self, action: Action) -> None:
        match action:
            case ev.StartLeader(generation):
                self._start_leader(generation)
            case ev.EndLeader(generation, at_once):
                leader = self.leaders[generation]
                leader.is_ending = True
                if at_once:
                    self._at(self._between(0, 0.01), lambda: self.end_leader(leader))
                self._end_if_idle(leader)
            case ev.StartWorker(number, _, generation, by_fork):
                self._start_worker(number, self.leaders.get(generation) if by_fork else None, by_fork)
            case ev.Drain(number):
                process = self.workers[number]
                self._do(process, self._between(0, 0.01), lambda: self._drain(process))
            case ev.CloseListeners(number):
                closing = self.workers[number]
                self._do(closing, self._between(0, 0.05), lambda: self._say(closing, ev.ListenersClosed))
            case ev.Abort(number):
                aborted = self.workers[number]
                if aborted.has_known_pid and not self._happens(self.odds.abort_is_ignored):
                    self._at(self._between(0, 0.05), lambda: self.end(aborted, "killed by SIGABRT"))
            case ev.Kill(number):
                killed = self.workers[number]
                if killed.has_known_pid:
                    self._at(self._between(0, 0.01), lambda: self.end(killed, "killed by SIGKILL"))

    def _start_leader(self, generation: int) -> None:
        leader = self.leaders[generation] = Leader(generation)
        if self._happens(self.odds.load_hangs):
            return
        if self._happens(self.odds.load_fails):
            self._at(self._between(0.05, 2), lambda: self.end_leader(leader))
            return
        self._at(self._between(0.05, 2), lambda: self._loaded(leader))

    def _loaded(self, leader: Leader) -> None:
        if not leader.is_alive:
            return
        leader.is_ready = True
        has_threads = self._happens(self.odds.load_has_threads)
        self._post(leader.generation, ev.LeaderReady(leader.generation, not has_threads), 0.01)
        if has_threads:
            self.end_leader(leader)

    def end_leader(self, leader: Leader) -> None:
        """Have a leader end, for whatever reason; its workers live on."""
        if leader.is_alive:
            leader.is_alive = False
            event = ev.LeaderGone(leader.generation, "killed by SIGKILL")
            self._post(leader.generation, event, self._between(0, 0.05))

    def _end_if_idle(self, leader: Leader) -> None:
        if leader.is_ending and leader.is_ready and not leader.children and not leader.waiting_count:
            self._at(self._between(0, 0.01), lambda: self.end_leader(leader))

    def _start_worker(self, number: int, leader: Leader | None, by_fork: bool) -> None:
        process = self.workers[number] = Process(number, leader)
        if self._happens(self.odds.start_fails) or (by_fork and (leader is None or leader.is_known_gone)):
            process.is_alive = False
            self._lose(process, 0.0)
        elif leader is None:
            self._post(number, ev.WorkerForked(number, 10_000 + number), 0.0)
            self._boot(process, self._between(0.2, 3))
        else:
            leader.waiting_count += 1
            self._at(self._between(0.002, 0.02), lambda: self._fork(process, leader))

    def _fork(self, process: Process, leader: Leader) -> None:
        leader.waiting_count -= 1
        if not leader.is_alive:
            process.is_alive = False
            self._lose(process, 1.1)  # the supervisor sees the channel's end, and waits for its status
            return
        leader.children.add(process.number)
        self._post(
            leader.generation,
            ev.WorkerForked(process.number, 10_000 + process.number),
            self._between(0, 0.02),
        )
        self._boot(process, self._between(0.002, 0.5))

    def _boot(self, process: Process, seconds: float) -> None:
        if self._happens(self.odds.boot_hangs):
            return
        if self._happens(self.odds.boot_fails):
            self._do(process, seconds, lambda: self.end(process, "exit status 1"))
        else:
            self._do(process, seconds, lambda: self._booted(process))

    def _booted(self, process: Process) -> None:
        if not process.is_draining:
            process.is_ready = True
            self._say(process, ev.WorkerReady)

    def _drain(self, process: Process) -> None:
        if process.is_draining:
            return
        process.is_draining = True
        if not process.is_ready:
            self._do(
                process, self._between(0, 0.1), lambda: self.end(process, "exit status 0", is_clean=True)
            )
        elif not self._happens(self.odds.drain_hangs):
            seconds = self._between(0, 1) if self._happens(0.7) else self.settings.grace_seconds
            self._do(process, seconds, lambda: self.end(process, "exit status 0", is_clean=True))

    # --- what processes do ---

    def _do(self, process: Process, seconds: float, act: Callable[[], None]) -> None:
        def run() -> None:
            if not process.is_alive:
                return
            if process.frozen_at is not None:
                process.put_off.append(run)
            else:
                act()

        self._at(seconds, run)

    def _say(self, process: Process, make: Callable[[int], Event]) -> None:
        self._post(process.number, make(process.number), self._between(0, 0.01))

    def end(self, process: Process, reason: str, *, is_clean: bool = False) -> None:
        """Have a worker end; its parent tells, or, after a while without news, the supervisor sees it."""
        if not process.is_alive:
            return
        process.is_alive = False
        leader = process.leader
        event = ev.WorkerGone(process.number, reason, is_clean)
        if leader is None or not leader.is_alive:
            self._post("reaped", event, self._between(0, 0.02))
        elif self._happens(self.odds.news_is_lost):
            self._lose(process, 1.1)
        else:
            self._post(leader.generation, event, self._between(0, 0.02))
        if leader is not None:
            leader.children.discard(process.number)
            self._end_if_idle(leader)

    def _lose(self, process: Process, seconds: float) -> None:
        self._post(process.number, ev.WorkerGone(process.number, "nobody knows how"), seconds)

    def freeze(self, process: Process, seconds: float) -> None:
        """Freeze a worker for a time."""
        if process.is_alive and process.frozen_at is None:
            process.frozen_at = self.now
            self._at(seconds, lambda: self._thaw(process))

    def _thaw(self, process: Process) -> None:
        process.frozen_at = None
        put_off, process.put_off = process.put_off, []
        for act in put_off:
            act()

    def terminate(self, process: Process) -> None:
        """Send a worker a SIGTERM."""
        self._do(process, 0.0, lambda: self._terminated(process))

    def _terminated(self, process: Process) -> None:
        process.term_count += 1
        if process.term_count == 1:
            self._say(process, lambda number: ev.ReplaceAsked(number, "SIGTERM"))
        elif not process.is_draining:
            self._say(process, ev.DrainBegun)
            self._drain(process)

    def be_late(self, seconds: float) -> None:
        """Keep the supervisor from running for a time."""
        self._deaf_until = max(self._deaf_until, self.now + seconds)

    def calm_down(self) -> None:
        """Have nothing fail any more; what has failed, or is frozen, stays so."""
        self.odds = Odds()
        self.catch_up()

    def catch_up(self) -> None:
        """Let time pass until the supervisor runs again."""
        self.run(max(0.0, self._deaf_until - self.now))

    # --- for tests to choose from ---

    def alive(self) -> list[Process]:
        """Return the workers that live."""
        return [process for process in self.workers.values() if process.is_alive]

    def is_whole(self) -> bool:
        """Tell whether every slot is served by its own worker, and nothing is under way."""
        rules = self.rules
        is_busy = any(worker.state == "boot" for worker in rules.workers.values())
        is_loading = "loading" in rules.leaders.values()
        return not is_busy and not is_loading and all(rules.is_served(slot) for slot in rules.slots)
