"""What the supervisor keeps in mind of its workers, slots and generations; ``machine`` changes it."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field

ADOPT_SECONDS = 0.25
WARN_SECONDS = 1.0
ABORT_SECONDS = 1.0  # from SIGABRT to SIGKILL
LATE_SECONDS = 0.5  # a supervisor that was this late blames no worker for silence
FIRST_DELAY_SECONDS = 0.2
LONGEST_DELAY_SECONDS = 15.0
HEALTHY_SECONDS = 60.0
MOST_FAILED_STARTS = 3
BOOT_STOP_SECONDS = 0.3  # for startup hooks that a stop interrupts
ACK_SECONDS = 0.5
FORK_SECONDS = 5.0  # after which a leader that was asked for a worker, and has none to show, is killed
KILL_AFTER_GRACE_SECONDS = 5.0
MOST_SLOTS = 1024
OUTDATED_SECONDS = 2.0  # for code that still imports when it has been changed again, under hot reload
CANNOT_FORK = (
    "the application has threads or an event loop when app.run() is called, so that workers cannot be "
    "forked: each is started anew (start threads in a startup hook)"
)


class WorkerState(enum.Enum):
    """What a worker is at."""

    BOOT = "boot"
    READY = "ready"
    STALLED = "stalled"
    DRAIN = "drain"
    ABRT = "abrt"
    KILL = "kill"


LIVING = (WorkerState.BOOT, WorkerState.READY, WorkerState.STALLED)  # not told to end yet
SERVING = (WorkerState.READY, WorkerState.STALLED)


class Phase(enum.Enum):
    """What the whole cluster is at."""

    STARTING = "starting"
    RUNNING = "running"
    RELOADING = "reloading"
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True)
class Settings:
    """What the machine has to know; all times are seconds.

    ``hang_seconds`` None: a worker that hangs is warned of, and left. With ``has_own_listeners`` each slot
    has listeners of its own; else all share the same.
    """

    processes: int
    has_own_listeners: bool = True
    has_hot_reload: bool = False
    hang_seconds: float | None = 30.0
    boot_seconds: float = 60.0
    grace_seconds: float = 30.0


@dataclass(slots=True)
class WorkerRecord:
    """A worker, from the decision to start it to the news of its end."""

    slot: int
    generation: int
    since: float  # of its state
    state: WorkerState = WorkerState.BOOT
    pid: int | None = None
    was_ready: bool = False
    has_warned: bool = False
    replace_reason: str | None = None
    kill_at: float | None = None

    @property
    def name(self) -> str:
        """The worker as the log calls it."""
        return f"worker {self.slot + 1}" + ("" if self.pid is None else f" (PID {self.pid})")

    def move_to(self, state: WorkerState, now: float) -> None:
        """Change the state."""
        self.state = state
        self.since = now


@dataclass(slots=True)
class Slot:
    """A place for one worker."""

    unserved_since: float | None
    worker: int | None = None
    replacement: int | None = None
    adopter: int | None = None
    failure_count: int = 0
    retry_at: float = 0.0  # from when on it may be filled, if it is empty
    failed_replacement_count: int = 0
    replace_at: float = 0.0  # from when on its worker may be replaced


@dataclass(slots=True)
class Generation:
    """A load of the application's code."""

    can_fork: bool = False
    has_leader: bool = False  # one that lives, importing or ready
    is_deaf: bool = False  # its leader did not fork what it was asked for, and is killed


@dataclass(slots=True)
class Stop:
    """How far a stop has come."""

    close_at: float
    is_closing: bool = False
    is_draining: bool = False
    ack_deadline: float = 0.0
    missing_acks: set[int] = field(default_factory=set)
    booting: set[int] = field(default_factory=set)  # workers that were, as the stop was asked for
    leader: int | None = None  # the generation whose leader was importing


def delay_after(failure_count: int, jitter: Callable[[], float]) -> float:
    """Return the seconds to wait after so many failures: none after the first, then ever longer."""
    if failure_count <= 1:
        return 0.0
    delay = FIRST_DELAY_SECONDS * 2.0 ** min(failure_count - 2, 20)
    return min(delay, LONGEST_DELAY_SECONDS) * (1 + 0.2 * jitter())
