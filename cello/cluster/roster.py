"""The cluster's workers and slots, and the elementary moves; ``machine`` decides which of them to make."""

from __future__ import annotations

from collections.abc import Iterator

from . import events as ev
from .events import Action
from .states import (
    ADOPT_SECONDS,
    KILL_AFTER_GRACE_SECONDS,
    Generation,
    Phase,
    Settings,
    Slot,
    WorkerRecord,
    WorkerState,
)


class Roster:
    """Who serves what; every move changes the state and says in ``_out`` what has to be done for it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.phase = Phase.STARTING
        self.workers: dict[int, WorkerRecord] = {}
        self.slots: dict[int, Slot] = {}
        self.generations: dict[int, Generation] = {}
        self._last_worker = 0
        self._is_over = False
        self._out: list[Action] = []
        self._now = 0.0

    def _start(self, index: int, generation: int) -> int:
        self._last_worker += 1
        number = self._last_worker
        self.workers[number] = WorkerRecord(index, generation, self._now)
        by_fork = self.generations[generation].can_fork
        self._out.append(ev.StartWorker(number, index, generation, by_fork))
        return number

    def _serve(self, slot: Slot, index: int) -> None:
        slot.unserved_since = None
        if slot.adopter is not None:
            self._out.append(ev.Release(slot.adopter, index))
            slot.adopter = None

    def _drain(self, number: int, reason: str) -> None:
        worker = self.workers[number]
        worker.move_to(WorkerState.DRAIN, self._now)
        worker.kill_at = self._now + self.settings.grace_seconds + KILL_AFTER_GRACE_SECONDS
        self._out.append(ev.Drain(number, reason))

    def _kill(self, number: int, worker: WorkerRecord) -> None:
        worker.move_to(WorkerState.KILL, self._now)
        self._out.append(ev.Kill(number))

    def _exit(self, status: int) -> None:
        for number in self.workers:
            self._out.append(ev.Kill(number))
        self._out.append(ev.Exit(status))
        self._is_over = True

    def _is_up(self, slot: Slot) -> bool:
        if slot.worker is None or slot.replacement is not None:
            return False
        return self.workers[slot.worker].state in (WorkerState.READY, WorkerState.STALLED)

    def _serving(self) -> Iterator[WorkerRecord]:
        for slot in self.slots.values():
            if slot.worker is not None:
                yield self.workers[slot.worker]

    def _adopt(self, patience: float = ADOPT_SECONDS) -> None:
        """Have siblings serve what nobody has served for so many seconds; nobody serves anything twice."""
        for index, slot in self.slots.items():
            if slot.adopter is not None and not self._can_adopt(slot.adopter):
                self._out.append(ev.Release(slot.adopter, index))
                slot.adopter = None
            if slot.unserved_since is None or self._now - slot.unserved_since < patience:
                continue
            if slot.adopter is None:
                slot.adopter = self._find_adopter()
                if slot.adopter is not None:
                    self._out.append(ev.Adopt(slot.adopter, index))

    def _can_adopt(self, number: int) -> bool:
        worker = self.workers.get(number)
        return worker is not None and worker.state is WorkerState.READY

    def _find_adopter(self) -> int | None:
        adopted = [slot.adopter for slot in self.slots.values()]
        candidates = [
            slot.worker
            for slot in self.slots.values()
            if slot.worker is not None and self._can_adopt(slot.worker)
        ]
        return min(candidates, key=lambda number: (adopted.count(number), number), default=None)

    def _log(self, level: int, text: str) -> None:
        self._out.append(ev.Log(level, text))
