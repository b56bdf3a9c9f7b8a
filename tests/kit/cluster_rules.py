"""What must hold of every step of a cluster's machine, told from its events and actions alone.

``Rules`` keeps a record of its own, from what the machine was told and what it asked for, and looks at
nothing inside of it: a slip in the machine's bookkeeping is no slip here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cello.cluster import events as ev
from cello.cluster.events import Action, Event
from cello.cluster.states import (
    ABORT_SECONDS,
    ADOPT_SECONDS,
    BOOT_STOP_SECONDS,
    KILL_AFTER_GRACE_SECONDS,
    LATE_SECONDS,
    MOST_FAILED_STARTS,
    Settings,
)

_SLACK = 1e-6  # times are sums of floats


@dataclass
class Known:
    """A worker as the events and actions so far show it."""

    slot: int
    generation: int
    state: str = "boot"
    since: float = 0.0
    kill_after: float | None = None  # drained or aborted: from when on it may be killed
    is_removed: bool = False  # its slot is
    is_killed: bool = False
    is_silent: bool = False
    beat: float = 0.0


class Rules:
    """Checks steps in turn; an AssertionError says which rule a step breaks."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.workers: dict[int, Known] = {}
        self.slots: dict[int, float] = {}  # and since when nobody of its own serves it
        self.adopters: dict[int, int] = {}
        self.leaders: dict[int, str] = {}  # "loading", "ready", "threads", "ending" or "gone"
        self.status: int | None = None
        self.told: list[str] = []
        self.lines: list[str] = []
        self._last_worker = 0
        self._stop_signal: int | None = None
        self._is_stop_twice = False
        self._has_stopped_listening = False
        self._is_closing = False
        self._was_ever_ready = False
        self._failed_start_count = 0
        self._last_tick: float | None = None
        self._resumed_at = 0.0
        self._now = 0.0

    def check(self, event: Event, actions: Sequence[Action], now: float) -> None:
        """Take a step: the event, and what the machine answered."""
        assert self.status is None or not actions, f"actions after the exit: {actions}"
        self._now = now
        self._note_served()
        self._take(event)
        for action in actions:
            assert self.status is None, f"{action} after the exit"
            self._check_names(action)
            self._check_action(action, event, actions)
        if self.status is None:
            self._check_state(is_tick=isinstance(event, ev.Ticked))

    # --- events ---

    def _take(self, event: Event) -> None:
        match event:
            case ev.Started(can_fork):
                self.slots = dict.fromkeys(range(self.settings.processes), self._now)
                self.leaders[1] = "ready" if can_fork else "threads"
            case ev.LeaderReady(generation, can_fork):
                if self.leaders.get(generation) == "loading":
                    self.leaders[generation] = "ready" if can_fork else "threads"
            case ev.LeaderGone(generation):
                if self.leaders.get(generation) != "threads":
                    self.leaders[generation] = "gone"
            case ev.WorkerReady(worker):
                self._take_ready(worker)
            case ev.WorkerGone(worker):
                self._take_gone(worker)
            case ev.DrainBegun(worker):
                self._take_drain(worker)
            case ev.StopAsked():
                self._is_stop_twice = self._stop_signal is not None or event.at_once
                self._stop_signal = event.signal
            case ev.Ticked(beats):
                self._take_tick(beats)

    def _take_ready(self, number: int) -> None:
        worker = self.workers.get(number)
        if worker is not None and worker.state == "boot":
            worker.state = "ready"
            worker.since = self._now
            self._was_ever_ready = True

    def _take_gone(self, number: int) -> None:
        worker = self.workers.pop(number, None)
        if worker is None:
            return
        self.adopters = {slot: adopter for slot, adopter in self.adopters.items() if adopter != number}
        if not self._was_ever_ready:
            self._failed_start_count += 1

    def _take_drain(self, number: int) -> None:
        worker = self.workers.get(number)
        if worker is not None and worker.state in ("boot", "ready"):
            self._set_drain(worker)

    def _set_drain(self, worker: Known) -> None:
        is_boot = worker.state == "boot"
        worker.state = "drain"
        worker.since = self._now
        seconds = self.settings.grace_seconds + KILL_AFTER_GRACE_SECONDS
        if is_boot and self._stop_signal is not None:
            seconds = BOOT_STOP_SECONDS
        worker.kill_after = self._now + seconds

    def _take_tick(self, beats: object) -> None:
        assert isinstance(beats, dict)
        if self._last_tick is not None and self._now - self._last_tick > LATE_SECONDS:
            self._resumed_at = self._now
        self._last_tick = self._now
        for number, worker in self.workers.items():
            if worker.state != "ready":
                continue
            worker.beat = max(beats.get(number, 0.0), worker.since)
            if self._now - worker.beat < ADOPT_SECONDS:
                worker.is_silent = False
            elif self._now - self._resumed_at >= ADOPT_SECONDS:
                worker.is_silent = True

    # --- actions ---

    def _check_names(self, action: Action) -> None:
        number = getattr(action, "worker", None)
        if number is None or isinstance(action, ev.StartWorker):
            return
        assert number in self.workers, f"{action} names a worker that is not there"

    def _check_action(self, action: Action, event: Event, actions: Sequence[Action]) -> None:
        match action:
            case ev.StartLeader(generation):
                assert generation not in self.leaders, f"{action}: a generation used twice"
                assert "loading" not in self.leaders.values(), f"{action}: another leader is loading"
                self.leaders[generation] = "loading"
            case ev.EndLeader(generation):
                assert self.leaders.get(generation) not in (None, "gone"), f"{action}: there is none"
                if self.leaders[generation] != "threads":
                    self.leaders[generation] = "ending"
            case ev.StartWorker():
                self._check_start(action)
            case ev.Adopt(number, slot):
                assert slot in self.slots, f"{action}: no such slot"
                assert slot not in self.adopters, f"{action}: adopted already"
                assert not self._is_closing, f"{action}: after the listeners were closed"
                self.adopters[slot] = number
            case ev.Release(number, slot):
                assert self.adopters.pop(slot, None) == number, f"{action}: was not adopted by it"
            case ev.Drain(number):
                self._check_drain(action, number)
            case ev.Abort(number):
                self._check_abort(action, number)
            case ev.Kill(number):
                is_end = isinstance(actions[-1], ev.Exit)
                self._check_kill(action, self.workers[number], is_allowed=is_end, event=event)
            case ev.CloseListeners(number, but):
                assert self._stop_signal is not None
                self._is_closing = True
                worker = self.workers[number]
                for slot in but:
                    mine = worker.slot == slot and not worker.is_removed
                    assert mine or self.adopters.get(slot) == number, f"{action}: {slot} is not its own"
            case ev.StopListening():
                assert self._stop_signal is not None
                assert not self._has_stopped_listening
                self._has_stopped_listening = True
            case ev.OpenSlot(slot):
                assert slot not in self.slots
                self.slots[slot] = self._now
            case ev.CloseSlot(slot):
                self._close(slot)
            case ev.Log(_, text):
                self.lines.append(text)
            case ev.Tell(state):
                self.told.append(state)
            case ev.Exit(status):
                self._check_exit(status)

    def _check_start(self, action: ev.StartWorker) -> None:
        assert action.worker > self._last_worker, f"{action}: a number used twice"
        assert self._stop_signal is None, f"{action}: while it stops"
        assert action.slot in self.slots, f"{action}: no such slot"
        leader = self.leaders.get(action.generation, "threads")
        assert leader == ("ready" if action.by_fork else "threads"), f"{action}: the leader is {leader}"
        self._last_worker = action.worker
        self.workers[action.worker] = Known(action.slot, action.generation, since=self._now)

    def _check_drain(self, action: Action, number: int) -> None:
        worker = self.workers[number]
        assert worker.state in ("boot", "ready"), f"{action}: it is {worker.state}"
        if worker.state == "ready" and not worker.is_removed and self._stop_signal is None:
            others = [other for other in self._of(worker.slot) if other is not worker]
            assert any(each.state == "ready" for each in others), f"{action}: nobody else serves its slot"
        self._set_drain(worker)

    def _check_abort(self, action: Action, number: int) -> None:
        worker = self.workers[number]
        if worker.state == "boot":
            limit: float | None = self.settings.boot_seconds
            since = worker.since
        else:
            assert worker.state == "ready", f"{action}: it is {worker.state}"
            limit = self.settings.hang_seconds
            since = worker.beat
        silent = self._now - max(since, self._resumed_at)
        assert limit is not None, f"{action}: there is no limit"
        assert silent >= limit - _SLACK, f"{action}: after {silent} s only"
        worker.state = "abrt"
        worker.kill_after = self._now + ABORT_SECONDS

    def _check_kill(self, action: Action, worker: Known, *, is_allowed: bool, event: Event) -> None:
        if is_allowed:
            return
        if worker.is_killed:
            assert isinstance(event, ev.WorkerForked), f"{action}: once is enough"
            return
        assert worker.kill_after is not None, f"{action}: it was neither drained nor aborted"
        assert self._now >= worker.kill_after - _SLACK, f"{action}: before its time"
        worker.state = "kill"
        worker.is_killed = True

    def _close(self, slot: int) -> None:
        assert self.slots, "the last slot is closed"
        del self.slots[slot]
        for worker in self._of(slot):
            worker.is_removed = True

    def _check_exit(self, status: int) -> None:
        self.status = status
        if status == 1:
            assert not self._was_ever_ready
            assert self._failed_start_count + self._failed_load_count() >= MOST_FAILED_STARTS
        elif status == 0:
            assert self._stop_signal is not None, "an exit that nobody asked for"
            assert not self.workers, f"an exit before the end of {self.workers}"
        else:
            assert self._is_stop_twice
            assert status == 128 + (self._stop_signal or 0)

    def _failed_load_count(self) -> int:
        return sum(state == "gone" for state in self.leaders.values())

    # --- after a step ---

    def _of(self, slot: int) -> Iterator[Known]:
        for worker in self.workers.values():
            if worker.slot == slot and not worker.is_removed:
                yield worker

    def _check_state(self, *, is_tick: bool) -> None:
        replaced = []
        for slot in self.slots:
            states = [worker.state for worker in self._of(slot)]
            assert states.count("ready") <= 1, f"two workers serve slot {slot}"
            assert states.count("boot") <= 1, f"two workers boot in slot {slot}"
            if "ready" in states and "boot" in states:
                replaced.append(slot)
        self._note_served()
        assert len(replaced) <= 1, f"the workers of {replaced} are replaced at the same time"
        if not self._is_closing:
            self._check_adoptions(is_tick=is_tick)

    def _check_adoptions(self, *, is_tick: bool) -> None:
        assert self.settings.has_own_listeners or not self.adopters
        for slot, number in self.adopters.items():
            worker = self.workers[number]
            assert slot in self.slots, f"worker {number} serves slot {slot}, which is closed"
            assert worker.state == "ready", f"worker {number} has adopted slot {slot}, and is {worker.state}"
            assert not worker.is_silent, f"worker {number} has adopted slot {slot}, and is silent"
            assert not self.is_served(slot), f"slot {slot} is served by two"
        if not is_tick or not self.settings.has_own_listeners:
            return
        if any(each.state == "ready" and not each.is_silent for each in self.workers.values()):
            for slot, served_at in self.slots.items():
                is_left = slot not in self.adopters and self._now - served_at > 2 * ADOPT_SECONDS
                assert not is_left, f"nobody has served slot {slot} for {self._now - served_at} s"

    def _note_served(self) -> None:
        for slot in self.slots:
            if self.is_served(slot):
                self.slots[slot] = self._now

    def is_served(self, slot: int) -> bool:
        """Tell whether a slot has a worker of its own that serves."""
        return any(worker.state == "ready" and not worker.is_silent for worker in self._of(slot))
