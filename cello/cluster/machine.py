"""What a cluster's supervisor decides: pure, by event and time, so that every case can be tested.

``Machine.step(event, now)`` takes what has happened and returns what is to be done; it starts no process,
opens no socket and reads no clock. ``supervisor`` carries the actions out and reports what became of them.

    worker   BOOT -> READY <-> STALLED -> ABRT -> KILL       slot    one worker that serves it, at most one
               `-------`-> DRAIN -> (gone)                           that will replace it, perhaps a sibling
    phase    STARTING -> RUNNING <-> RELOADING -> STOPPING           that has adopted its listeners

What it keeps to: a replacement is READY before the old worker drains, and there is one replacement at a
time; a slot that nobody serves for 250 ms is adopted; a healthy worker is never stopped for a sibling's sake;
a generation that fails to come up changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from math import inf
from operator import or_

from . import events as ev
from .events import Action, Event
from .roster import Roster
from .states import (
    ACK_SECONDS,
    ADOPT_SECONDS,
    BOOT_STOP_SECONDS,
    CANNOT_FORK,
    FORK_SECONDS,
    HEALTHY_SECONDS,
    LATE_SECONDS,
    MOST_FAILED_STARTS,
    MOST_SLOTS,
    OUTDATED_SECONDS,
    SERVING,
    WARN_SECONDS,
    Generation,
    Phase,
    Settings,
    Slot,
    Stop,
    WorkerRecord,
    WorkerState,
    delay_after,
)


class Machine(Roster):
    """The state of a cluster; ``jitter`` gives numbers from 0 to 1."""

    def __init__(self, settings: Settings, jitter: Callable[[], float]) -> None:
        super().__init__(settings)
        self.current = 0  # the generation that empty slots are filled from
        self._target: int | None = None  # the one that a reload moves to, once it is there
        self._loading: int | None = None  # the one whose leader is importing
        self._loading_since = 0.0
        self._is_leader_lost = False
        self._leader_failure_count = 0
        self._leader_retry_at = 0.0
        self._has_reload_waiting = False
        self._was_ever_ready = False
        self._failed_start_count = 0
        self._last_tick: float | None = None
        self._resumed_at = 0.0
        self._stop: Stop | None = None
        self._jitter = jitter

    def step(self, event: Event, now: float) -> list[Action]:
        """Take an event at a time of the monotonic clock; returns what is to be done, in order."""
        if self._is_over:
            return []
        self._now = now
        self._out = []
        _HANDLERS[type(event)](self, event)
        self._advance()
        return self._out

    # --- events ---

    def _on_started(self, event: ev.Started) -> None:
        self.current = 1
        self.generations[1] = Generation(event.can_fork, has_leader=event.can_fork)
        for index in range(self.settings.processes):
            self.slots[index] = Slot(unserved_since=self._now)

    def _on_leader_ready(self, event: ev.LeaderReady) -> None:
        if event.generation != self._loading:  # it was told to end while it imported
            return
        generation = self.generations[event.generation]
        self._loading = None
        self._leader_failure_count = 0
        generation.can_fork = event.can_fork
        if not event.can_fork:
            self._log(logging.WARNING, CANNOT_FORK)
            self._out.append(ev.EndLeader(event.generation))
        if self.phase is Phase.RELOADING:
            self._aim_at(event.generation)
        else:
            self.current = event.generation
            self._is_leader_lost = False

    def _on_leader_gone(self, event: ev.LeaderGone) -> None:
        generation = self.generations.get(event.generation)
        if generation is None:
            return
        generation.has_leader = False
        if self.phase is Phase.STOPPING:
            return
        if event.generation == self._loading:
            self._loading = None
            if self.phase is Phase.RELOADING:
                self._end_reload(f"the new code did not load ({event.reason})")
            else:
                self._delay_leader(event.reason)
            return
        if not generation.can_fork:  # it was told to end: its workers are executed one by one
            return
        if event.generation == self._target:
            self._end_reload(f"its leader is gone ({event.reason})")
        if event.generation == self.current:
            self._is_leader_lost = True
            self._leader_retry_at = self._now
            self._log(
                logging.ERROR, f"the leader is gone ({event.reason}): the program is loaded anew to have one"
            )

    def _delay_leader(self, reason: str) -> None:
        if self._is_hopeless():
            return
        self._leader_failure_count += 1
        delay = delay_after(self._leader_failure_count + 1, self._jitter)
        self._leader_retry_at = self._now + delay
        self._log(logging.ERROR, f"no new leader ({reason}); the workers serve on, next try in {delay:.1f} s")

    def _on_worker_forked(self, event: ev.WorkerForked) -> None:
        worker = self.workers.get(event.worker)
        if worker is None:
            return
        worker.pid = event.pid
        if worker.state is WorkerState.KILL:
            self._out.append(ev.Kill(event.worker))  # there was no PID to send it to

    def _on_worker_ready(self, event: ev.WorkerReady) -> None:
        worker = self.workers.get(event.worker)
        if worker is None or worker.state is not WorkerState.BOOT:
            return
        worker.move_to(WorkerState.READY, self._now)
        worker.was_ready = True
        self._was_ever_ready = True
        if worker.generation == self._target:
            self.current = self._target  # its code has been seen to come up: from now on it fills empty slots
            self._is_leader_lost = False
        slot = self.slots[worker.slot]
        slot.failed_replacement_count = 0
        if slot.replacement == event.worker:
            old, slot.worker, slot.replacement = slot.worker, event.worker, None
            if old is not None:
                self._drain(old, "reload" if self._target is not None else "replaced")
        self._serve(slot, worker.slot)

    def _on_worker_gone(self, event: ev.WorkerGone) -> None:
        worker = self.workers.get(event.worker)
        if worker is None:
            return
        slot = self.slots.get(worker.slot)
        is_replacement = slot is not None and slot.replacement == event.worker
        is_of_slot = slot is not None and event.worker in (slot.worker, slot.replacement)
        self._leave(event.worker)
        del self.workers[event.worker]
        if self._stop is not None:
            self._stop.missing_acks.discard(event.worker)
        if slot is None or not is_of_slot or self.phase is Phase.STOPPING:
            self._log_end(worker, event)
        elif self._is_hopeless():
            return
        elif is_replacement:
            self._on_replacement_failed(worker, slot, event.reason)
        else:
            self._on_crash(worker, slot, event.reason)

    def _is_hopeless(self) -> bool:
        """Count a failed start while none has ever succeeded; after some of them this is the end."""
        if self._was_ever_ready:
            return False
        self._failed_start_count += 1
        if self._failed_start_count < MOST_FAILED_STARTS:
            return False
        self._log(logging.ERROR, f"{self._failed_start_count} workers failed to start, none ever did")
        self._exit(1)
        return True

    def _on_crash(self, worker: WorkerRecord, slot: Slot, reason: str) -> None:
        slot.failure_count += 1
        if not worker.was_ready and worker.generation == self._target:
            self._end_reload(f"a worker of the new code failed to start ({reason})")
        delay = delay_after(slot.failure_count, self._jitter)
        slot.retry_at = self._now + delay
        when = "at once" if not delay else f"in {delay:.1f} s"
        what = "ended" if worker.was_ready else "failed to start"
        self._log(logging.ERROR, f"{worker.name} {what}: {reason}; the next one starts {when}")

    def _on_replacement_failed(self, worker: WorkerRecord, slot: Slot, reason: str) -> None:
        if worker.generation == self._target:
            self._end_reload(f"a worker of the new code failed to start ({reason})")
            return
        slot.failed_replacement_count += 1
        delay = delay_after(slot.failed_replacement_count + 1, self._jitter)
        slot.replace_at = self._now + delay
        self._log(
            logging.ERROR,
            f"a replacement failed to start: {reason}; the old worker stays, next try in {delay:.1f} s",
        )

    def _on_replace_asked(self, event: ev.ReplaceAsked) -> None:
        worker = self.workers.get(event.worker)
        if worker is None or worker.state is WorkerState.DRAIN or worker.replace_reason is not None:
            return
        if self.phase is Phase.STOPPING:  # who stops all processes of a group has sent them SIGTERM too
            return
        worker.replace_reason = event.reason
        self._log(logging.INFO, f"{worker.name} will be replaced: {event.reason}")

    def _on_drain_begun(self, event: ev.DrainBegun) -> None:
        if event.worker in self.workers and self._note_drain(event.worker):
            self._leave(event.worker)

    def _on_listeners_closed(self, event: ev.ListenersClosed) -> None:
        if self._stop is not None:
            self._stop.missing_acks.discard(event.worker)

    def _on_reload_asked(self, event: ev.ReloadAsked) -> None:
        if self.phase is Phase.STOPPING:
            return
        if self.phase is not Phase.RUNNING or self._loading is not None:
            self._has_reload_waiting = True
            return
        self._log(logging.INFO, f"reloading: {event.reason}")
        self.phase = Phase.RELOADING
        self._out.append(ev.Tell("reloading"))
        number = max(self.generations) + 1
        if self.generations[1].can_fork:
            self._load(number)
        else:
            self.generations[number] = Generation(can_fork=False)
            self._aim_at(number)

    def _aim_at(self, number: int) -> None:
        """Have a reload move to a generation that is there; what failed before may be mended in it."""
        self._target = number
        for slot in self.slots.values():
            slot.retry_at = slot.replace_at = self._now

    def _load(self, number: int) -> None:
        self.generations[number] = Generation(has_leader=True)
        self._loading = number
        self._loading_since = self._now
        self._out.append(ev.StartLeader(number))

    def _on_stop_asked(self, event: ev.StopAsked) -> None:
        if event.at_once or self.phase is Phase.STOPPING:
            self._exit(128 + event.signal)
            return
        self.phase = Phase.STOPPING
        self._stop = Stop(close_at=self._now + event.delay_seconds)
        self._out.append(ev.Tell("stopping"))
        if self._loading is not None:
            self._out.append(ev.EndLeader(self._loading, at_once=True))
            self._stop.leader = self._loading
            self._loading = None
        for number, worker in self.workers.items():
            if worker.state is WorkerState.BOOT:
                self._stop.booting.add(number)
                self._drain(number, "stop")
                worker.kill_at = self._now + BOOT_STOP_SECONDS

    def _on_slot_wanted(self, event: ev.SlotWanted) -> None:
        if self.phase is not Phase.RUNNING:
            self._log(logging.WARNING, f"the number of processes stays: the cluster is {self.phase.value}")
            return
        last = max(self.slots)
        if event.change > 0 and len(self.slots) < MOST_SLOTS:
            self.slots[last + 1] = Slot(unserved_since=self._now)
            self._out.append(ev.OpenSlot(last + 1))
        elif event.change < 0 and len(self.slots) > 1:
            if self._serves_alone(last):
                self._log(logging.WARNING, "the number of processes stays: no other worker serves just now")
                return
            slot = self.slots.pop(last)
            self._out.append(ev.CloseSlot(last))
            self._release(slot, last)
            for number in (slot.worker, slot.replacement):
                if number is not None:
                    self._drain(number, "stop")
        self._log(logging.INFO, f"{len(self.slots)} processes are wanted")

    # --- time ---

    def _on_ticked(self, event: ev.Ticked) -> None:
        now = self._now
        if self._last_tick is not None and now - self._last_tick > LATE_SECONDS:
            self._resumed_at = now  # suspended, or starved: so were the workers
        self._last_tick = now
        for number, worker in self.workers.items():
            if worker.state in SERVING:
                self._judge_silence(number, worker, max(event.beats.get(number, 0.0), worker.since))
            elif worker.state is WorkerState.BOOT:
                self._judge_boot(number, worker)
            elif worker.kill_at is not None and now >= worker.kill_at:
                self._kill(number, worker)
        for slot in self.slots.values():
            if slot.worker is not None and slot.failure_count:
                worker = self.workers[slot.worker]
                if worker.state is WorkerState.READY and now - worker.since >= HEALTHY_SECONDS:
                    slot.failure_count = 0
        self._judge_loading()

    def _judge_boot(self, number: int, worker: WorkerRecord) -> None:
        age = self._now - max(worker.since, self._resumed_at)
        generation = self.generations[worker.generation]
        is_unborn = worker.pid is None and generation.can_fork and generation.has_leader
        if is_unborn and not generation.is_deaf and age >= FORK_SECONDS:
            generation.is_deaf = True
            self._log(logging.ERROR, f"the leader has forked nothing for {age:.0f} s: it is killed")
            self._out.append(ev.EndLeader(worker.generation, at_once=True))
        limit = self.settings.boot_seconds
        if age >= limit:
            self._log(logging.ERROR, f"{worker.name} was not ready within {limit:.0f} s: aborted")
            self._abort(number, worker)

    def _judge_loading(self) -> None:
        is_outdated = self.settings.has_hot_reload and self._has_reload_waiting
        limit = OUTDATED_SECONDS if is_outdated else self.settings.boot_seconds
        if self._loading is None or self._now - max(self._loading_since, self._resumed_at) < limit:
            return
        self._log(logging.ERROR, f"the program was not loaded within {limit:.0f} s: its process is killed")
        self._out.append(ev.EndLeader(self._loading, at_once=True))
        self._loading_since = inf  # until it is gone

    def _judge_silence(self, number: int, worker: WorkerRecord, beat: float) -> None:
        silent = self._now - max(beat, self._resumed_at)
        if silent < ADOPT_SECONDS:
            if worker.state is WorkerState.STALLED and self._now - beat < ADOPT_SECONDS:
                self._wake(number, worker)
            return
        if worker.state is WorkerState.READY:
            worker.state = WorkerState.STALLED
            slot = self.slots.get(worker.slot)
            if slot is not None and slot.worker == number:
                slot.unserved_since = self._now - silent
        if silent >= WARN_SECONDS and not worker.has_warned:
            worker.has_warned = True
            self._log(logging.WARNING, f"{worker.name}: its event loop has not run for {silent:.1f} s")
            self._out.append(ev.DumpStacks(number))
        limit = self.settings.hang_seconds
        if limit is not None and silent >= limit:
            self._log(logging.ERROR, f"{worker.name} hangs, for {silent:.1f} s now: aborted")
            self._abort(number, worker)

    # --- what follows from the state ---

    def _advance(self) -> None:
        if self._is_over:
            return
        if self._stop is not None:
            self._advance_stop(self._stop)
        else:
            self._advance_phase()
            self._load_leader()
            self._fill_slots()
            self._replace()
        if self.settings.has_own_listeners and (self._stop is None or not self._stop.is_closing):
            self._adopt()

    def _advance_phase(self) -> None:
        if self.phase is Phase.STARTING and self._has_started():
            self.phase = Phase.RUNNING
            self._out.append(ev.Tell("ready"))
        if self.phase is Phase.RELOADING and self._target is not None:
            of_slots = [self.workers[slot.worker] for slot in self.slots.values() if slot.worker is not None]
            is_done = all(self._is_up(slot) for slot in self.slots.values())
            if is_done and all(worker.generation == self._target for worker in of_slots):
                self._end_reload(None)
        if self.phase is Phase.RUNNING and self._has_reload_waiting and self._loading is None:
            self._has_reload_waiting = False
            self._on_reload_asked(ev.ReloadAsked("asked for while another reload ran"))

    def _has_started(self) -> bool:
        """Tell whether every slot is up, but for those that fail again and again while others serve."""
        up = [self._is_up(slot) for slot in self.slots.values()]
        is_failing = [slot.failure_count >= MOST_FAILED_STARTS for slot in self.slots.values()]
        return any(up) and all(map(or_, up, is_failing))

    def _end_reload(self, failure: str | None) -> None:
        """End a reload, well or with a failure in words; leaders that nobody needs any more end too."""
        if failure is None:
            self._log(logging.INFO, "reloaded: all workers run the new code")
        else:
            mixed = [worker for worker in self._serving() if worker.generation == self._target]
            told = (
                f"{len(mixed)} of {len(self.slots)} workers run the new code"
                if mixed
                else "the old workers serve on"
            )
            self._log(logging.ERROR, f"reload failed: {failure}; {told}, and the next reload may mend it")
            self._drop_replacements()
        self.phase = Phase.RUNNING
        self._target = None
        self._out.append(ev.Tell("ready"))
        for number, generation in self.generations.items():
            if number != self.current and generation.has_leader:
                self._out.append(ev.EndLeader(number))

    def _drop_replacements(self) -> None:
        """After a failed reload: none of its workers has come up, and none shall take a place yet."""
        if self._target in (None, self.current):
            return
        for slot in self.slots.values():
            number = slot.replacement
            if number is not None and self.workers[number].generation == self._target:
                self._leave(number)
                self._drain(number, "replaced")

    def _load_leader(self) -> None:
        is_needed = self._is_leader_lost and self._loading is None and self.phase is not Phase.RELOADING
        if is_needed and self._now >= self._leader_retry_at:
            self._load(max(self.generations) + 1)

    def _fill_slots(self) -> None:
        for index, slot in self.slots.items():
            if slot.worker is not None or self._now < slot.retry_at:
                continue
            # A reload's new code fills what the code before cannot fill: perhaps this is what it mends.
            if self._target is not None and (self._is_leader_lost or slot.failure_count > 1):
                slot.worker = self._start(index, self._target)
            elif not self._is_leader_lost:  # else siblings serve what is empty, until there is one again
                slot.worker = self._start(index, self.current)

    def _replace(self) -> None:
        if any(slot.replacement is not None for slot in self.slots.values()):
            return
        for index, slot in self.slots.items():
            if slot.worker is None or self._now < slot.replace_at:
                continue
            worker = self.workers[slot.worker]
            if worker.state not in SERVING:
                continue
            if self._target is not None and worker.generation != self._target:
                slot.replacement = self._start(index, self._target)
                return
            if worker.replace_reason is not None and not self._is_leader_lost:
                slot.replacement = self._start(index, self.current if self._target is None else self._target)
                return

    # --- the end ---

    def _advance_stop(self, stop: Stop) -> None:
        if not self.workers:
            self._exit(0)
            return
        if not stop.is_closing and self._now >= stop.close_at and not self._is_held_up(stop):
            stop.is_closing = True
            stop.ack_deadline = self._now + ACK_SECONDS
            self._out.append(ev.StopListening())
            if self.settings.has_own_listeners:
                self._adopt(patience=0)  # else who waits at a slot that is just empty would be reset
            self._ask_to_close(stop)
        is_acknowledged = not stop.missing_acks or self._now >= stop.ack_deadline
        if stop.is_closing and not stop.is_draining and is_acknowledged:
            stop.is_draining = True
            for number, worker in self.workers.items():
                if worker.state in SERVING:
                    self._drain(number, "stop")

    def _is_held_up(self, stop: Stop) -> bool:
        """Tell whether a process that only starts is still there.

        It cannot be asked to close its listeners: whom the kernel lets in would be reset when it ends.
        """
        if self._now >= stop.close_at + BOOT_STOP_SECONDS + ACK_SECONDS:
            return False
        is_importing = stop.leader is not None and self.generations[stop.leader].has_leader
        return is_importing or not stop.booting.isdisjoint(self.workers)


_HANDLERS: dict[type, Callable[..., None]] = {
    ev.Started: Machine._on_started,
    ev.LeaderReady: Machine._on_leader_ready,
    ev.LeaderGone: Machine._on_leader_gone,
    ev.WorkerForked: Machine._on_worker_forked,
    ev.WorkerReady: Machine._on_worker_ready,
    ev.WorkerGone: Machine._on_worker_gone,
    ev.ReplaceAsked: Machine._on_replace_asked,
    ev.DrainBegun: Machine._on_drain_begun,
    ev.ListenersClosed: Machine._on_listeners_closed,
    ev.ReloadAsked: Machine._on_reload_asked,
    ev.StopAsked: Machine._on_stop_asked,
    ev.SlotWanted: Machine._on_slot_wanted,
    ev.Ticked: Machine._on_ticked,
}
