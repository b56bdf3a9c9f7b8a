"""What happens to a cluster, and what is to be done: the words between ``machine`` and ``supervisor``.

Workers are known by a number of their own, never used twice: a PID comes later than the decision to start a
process, and a slot has two workers while one is replaced.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# --- events ---


@dataclass(frozen=True, slots=True)
class Started:
    """The supervisor can start processes; the first generation's are forked, or have to be executed."""

    can_fork: bool


@dataclass(frozen=True, slots=True)
class LeaderReady:
    """A leader has imported the application."""

    generation: int
    can_fork: bool


@dataclass(frozen=True, slots=True)
class LeaderGone:
    """A leader has ended; ``reason`` is in words, for the log."""

    generation: int
    reason: str


@dataclass(frozen=True, slots=True)
class WorkerForked:
    """A worker that was asked for runs; its READY may have come before this."""

    worker: int
    pid: int


@dataclass(frozen=True, slots=True)
class WorkerReady:
    """A worker accepts connections."""

    worker: int


@dataclass(frozen=True, slots=True)
class WorkerGone:
    """A worker has ended, or could not be started; ``reason`` is in words, for the log."""

    worker: int
    reason: str
    is_clean: bool = False


@dataclass(frozen=True, slots=True)
class ReplaceAsked:
    """A worker asks to be replaced: it had a SIGTERM, or has reached a limit of its own."""

    worker: int
    reason: str


@dataclass(frozen=True, slots=True)
class DrainBegun:
    """A worker drains of its own accord (its second SIGTERM)."""

    worker: int


@dataclass(frozen=True, slots=True)
class ListenersClosed:
    """A worker has closed the listeners that are not its own, as a stop begins."""

    worker: int


@dataclass(frozen=True, slots=True)
class ReloadAsked:
    """New code, or new settings, shall be taken up."""

    reason: str


@dataclass(frozen=True, slots=True)
class StopAsked:
    """SIGTERM or SIGINT: gracefully, and at once the second time. ``at_once`` is SIGQUIT's."""

    signal: int
    delay_seconds: float = 0.0
    at_once: bool = False


@dataclass(frozen=True, slots=True)
class SlotWanted:
    """One slot more (SIGTTIN) or less (SIGTTOU)."""

    change: int


@dataclass(frozen=True, slots=True)
class Ticked:
    """A tenth of a second has passed; ``beats`` maps workers to when their event loops last ran."""

    beats: Mapping[int, float]


Event = (
    Started
    | LeaderReady
    | LeaderGone
    | WorkerForked
    | WorkerReady
    | WorkerGone
    | ReplaceAsked
    | DrainBegun
    | ListenersClosed
    | ReloadAsked
    | StopAsked
    | SlotWanted
    | Ticked
)

# --- actions ---


@dataclass(frozen=True, slots=True)
class StartLeader:
    """Execute the program again, as the leader of a new generation."""

    generation: int


@dataclass(frozen=True, slots=True)
class EndLeader:
    """Have a leader end as soon as it has no worker left; ``at_once`` for one that is still importing."""

    generation: int
    at_once: bool = False


@dataclass(frozen=True, slots=True)
class StartWorker:
    """Start a worker in a slot: forked by its generation's leader, or executed where that cannot fork."""

    worker: int
    slot: int
    generation: int
    by_fork: bool


@dataclass(frozen=True, slots=True)
class Adopt:
    """Have a worker accept from another slot's listeners as well."""

    worker: int
    slot: int


@dataclass(frozen=True, slots=True)
class Release:
    """Have a worker give an adopted slot's listeners up."""

    worker: int
    slot: int


@dataclass(frozen=True, slots=True)
class Drain:
    """Have a worker finish what it has and end; ``reason`` is "replaced", "reload" or "stop"."""

    worker: int
    reason: str


@dataclass(frozen=True, slots=True)
class CloseListeners:
    """As a stop begins: have a worker close all listeners but those of the slots that it will empty."""

    worker: int
    but: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class StopListening:
    """As a stop begins: close the supervisor's and the leaders' own listeners."""


@dataclass(frozen=True, slots=True)
class DumpStacks:
    """Have a worker's stacks written to the log."""

    worker: int


@dataclass(frozen=True, slots=True)
class Abort:
    """Abort a worker that hangs, with its stacks in the log (SIGABRT)."""

    worker: int


@dataclass(frozen=True, slots=True)
class Kill:
    """Kill a worker (SIGKILL)."""

    worker: int


@dataclass(frozen=True, slots=True)
class OpenSlot:
    """Open the listeners of a new slot, and hand them to everyone."""

    slot: int


@dataclass(frozen=True, slots=True)
class CloseSlot:
    """Steer new connections away from a slot's listeners, then close them everywhere but in its worker."""

    slot: int


@dataclass(frozen=True, slots=True)
class Log:
    """Write a line to the log, at a level of the logging module."""

    level: int
    text: str


@dataclass(frozen=True, slots=True)
class Tell:
    """Tell the service manager, and people: ``state`` is "ready", "reloading" or "stopping"."""

    state: str


@dataclass(frozen=True, slots=True)
class Exit:
    """End the supervisor with a status; whatever still runs is killed first."""

    status: int


Action = (
    StartLeader
    | EndLeader
    | StartWorker
    | Adopt
    | Release
    | Drain
    | CloseListeners
    | StopListening
    | DumpStacks
    | Abort
    | Kill
    | OpenSlot
    | CloseSlot
    | Log
    | Tell
    | Exit
)
