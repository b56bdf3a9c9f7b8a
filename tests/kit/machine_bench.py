"""A bench for a cluster's machine: a clock that tests turn, workers that beat, and what was asked for."""

from __future__ import annotations

from typing import TypeVar

from cello.cluster import events as ev
from cello.cluster.events import Action, Event
from cello.cluster.machine import Machine
from cello.cluster.states import Settings

A = TypeVar("A")
TICK_SECONDS = 0.1
SIGINT, SIGQUIT, SIGTERM = 2, 3, 15


class Bench:
    """A machine at work; ``jitter`` is what it draws. Workers are numbered from 1, slots from 0."""

    def __init__(
        self,
        processes: int = 2,
        *,
        can_fork: bool = True,
        jitter: float = 0.0,
        settings: Settings | None = None,
    ) -> None:
        self.now = 1000.0
        self.machine = Machine(settings or Settings(processes), lambda: jitter)
        self.frozen: dict[int, float] = {}
        self.first = self.step(ev.Started(can_fork))

    @classmethod
    def up(cls, processes: int = 2, *, can_fork: bool = True, **settings: object) -> Bench:
        """Return a cluster whose workers 1, 2, ... are all ready, for long enough to be healthy."""
        bench = cls(processes, can_fork=can_fork, settings=Settings(processes, **settings))  # type: ignore[arg-type]
        for number in range(1, processes + 1):
            bench.step(ev.WorkerForked(number, 100 + number))
            bench.ready(number)
        assert bench.wait(61) == []
        return bench

    def step(self, event: Event) -> list[Action]:
        """Have something happen now."""
        return self.machine.step(event, self.now)

    def ready(self, number: int) -> list[Action]:
        """Have a worker say that it is ready."""
        return self.step(ev.WorkerReady(number))

    def gone(self, number: int, reason: str = "exit status 1") -> list[Action]:
        """Have a worker end by itself."""
        return self.step(ev.WorkerGone(number, reason))

    def ended(self, number: int) -> list[Action]:
        """Have a worker end as it was told to."""
        return self.step(ev.WorkerGone(number, "exit status 0", is_clean=True))

    def wait(self, seconds: float) -> list[Action]:
        """Let time pass, tick by tick; whoever is not frozen beats."""
        asked: list[Action] = []
        end = self.now + seconds
        while self.now < end - 1e-9:
            self.now = min(self.now + TICK_SECONDS, end)
            asked += self.tick()
        return asked

    def tick(self) -> list[Action]:
        """Have the supervisor look at the heartbeats now."""
        beats = {number: self.frozen.get(number, self.now) for number in self.machine.workers}
        return self.step(ev.Ticked(beats))

    def freeze(self, number: int) -> None:
        """Keep a worker's event loop from running, from now on."""
        self.frozen[number] = self.now

    def seconds_until(self, kind: type[Action], most: float) -> float:
        """Let time pass until something is asked for; returns after how many seconds that was."""
        start = self.now
        while self.now < start + most:
            if of(kind, self.wait(TICK_SECONDS)):
                return round(self.now - start, 3)
        raise AssertionError(f"no {kind.__name__} within {most} s")


def of(kind: type[A], actions: list[Action]) -> list[A]:
    """Return the actions of a kind."""
    return [action for action in actions if isinstance(action, kind)]


def log_of(actions: list[Action]) -> str:
    """Return what is logged, as lines."""
    return "\n".join(action.text for action in of(ev.Log, actions))


def quietly(actions: list[Action]) -> list[Action]:
    """Return the actions without what is logged."""
    return [action for action in actions if not isinstance(action, ev.Log)]
