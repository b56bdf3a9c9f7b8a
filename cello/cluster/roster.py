"""The cluster's workers and slots, and the elementary moves; ``machine`` decides which of them to make."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from . import events as ev
from .events import Action
from .states import (
    ABORT_SECONDS,
    ADOPT_SECONDS,
    KILL_AFTER_GRACE_SECONDS,
    LIVING,
    SERVING,
    Generation,
    Phase,
    Settings,
    Slot,
    Stop,
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
        self._release(slot, index)

    def _release(self, slot: Slot, index: int) -> None:
        if slot.adopter is not None and slot.adopter in self.workers:
            self._out.append(ev.Release(slot.adopter, index))
        slot.adopter = None

    def _leave(self, number: int) -> None:
        """Take a worker out of its slot; a replacement that boots is the slot's worker from now on."""
        slot = self.slots.get(self.workers[number].slot)
        if slot is None:
            return
        if slot.replacement == number:
            slot.replacement = None
        elif slot.worker == number:
            slot.worker, slot.replacement = slot.replacement, None
            if slot.unserved_since is None:
                slot.unserved_since = self._now

    def _drain(self, number: int, reason: str) -> None:
        """Have a worker drain; one that hangs, or that is killed already, stays at that."""
        if self._note_drain(number):
            self._out.append(ev.Drain(number, reason))

    def _note_drain(self, number: int) -> bool:
        worker = self.workers[number]
        if worker.state not in LIVING:
            return False
        worker.move_to(WorkerState.DRAIN, self._now)
        worker.kill_at = self._now + self.settings.grace_seconds + KILL_AFTER_GRACE_SECONDS
        return True

    def _abort(self, number: int, worker: WorkerRecord) -> None:
        worker.move_to(WorkerState.ABRT, self._now)
        worker.kill_at = self._now + ABORT_SECONDS
        self._out.append(ev.Abort(number))

    def _kill(self, number: int, worker: WorkerRecord) -> None:
        worker.move_to(WorkerState.KILL, self._now)
        worker.kill_at = None
        self._out.append(ev.Kill(number))

    def _wake(self, number: int, worker: WorkerRecord) -> None:
        worker.state = WorkerState.READY
        if worker.has_warned:
            self._log(logging.WARNING, f"{worker.name}: its event loop runs again")
        worker.has_warned = False
        slot = self.slots.get(worker.slot)
        if slot is not None and slot.worker == number:
            self._serve(slot, worker.slot)

    def _exit(self, status: int) -> None:
        for number in self.workers:
            self._out.append(ev.Kill(number))
        self._out.append(ev.Exit(status))
        self._is_over = True

    def _is_up(self, slot: Slot) -> bool:
        if slot.worker is None or slot.replacement is not None:
            return False
        return self.workers[slot.worker].state in SERVING

    def _serves_alone(self, index: int) -> bool:
        up = [
            each
            for each, slot in self.slots.items()
            if slot.worker is not None and self._can_adopt(slot.worker)
        ]
        return up == [index]

    def _serving(self) -> Iterator[WorkerRecord]:
        for slot in self.slots.values():
            if slot.worker is not None:
                yield self.workers[slot.worker]

    def _adopt(self, patience: float = ADOPT_SECONDS) -> None:
        """Have siblings serve what nobody has served for so many seconds; nobody serves anything twice."""
        for index, slot in self.slots.items():
            if slot.adopter is not None and not self._can_adopt(slot.adopter):
                self._release(slot, index)
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

    def _ask_to_close(self, stop: Stop) -> None:
        """Leave each slot's listeners to one worker, which empties their queues.

        Workers that drain already hold them too: who connected there would never be answered.
        """
        for number, worker in self.workers.items():
            is_draining = worker.state is WorkerState.DRAIN and worker.was_ready
            if worker.state not in SERVING and not is_draining:
                continue
            owned = tuple(
                index for index, slot in self.slots.items() if number in (slot.worker, slot.adopter)
            )
            self._out.append(ev.CloseListeners(number, owned))
            if worker.state is not WorkerState.STALLED:
                stop.missing_acks.add(number)

    def _log_end(self, worker: WorkerRecord, event: ev.WorkerGone) -> None:
        is_draining = worker.state is WorkerState.DRAIN
        if not is_draining or not event.is_clean:
            how = "ended as it drained" if is_draining else "ended"
            self._log(logging.WARNING, f"{worker.name} {how}: {event.reason}")
