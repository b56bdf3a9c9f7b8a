"""The traceback of an application that does not import: its own steps, without those of Cello."""

from __future__ import annotations

from traceback import format_exception
from types import FrameType, TracebackType

_FOREIGN = (__package__.partition(".")[0], "importlib")


def trimmed(exc: BaseException) -> str:
    """Return an exception as Python prints it, without the frames of Cello and of the import system.

    They are taken out of the exception, and of those that it is chained to.
    """
    _trim(exc, set())
    return "".join(format_exception(exc))


def _trim(exc: BaseException | None, seen: set[int]) -> None:
    if exc is None or id(exc) in seen:
        return
    seen.add(id(exc))
    exc.__traceback__ = _own(exc.__traceback__)
    for other in (exc.__cause__, exc.__context__, *getattr(exc, "exceptions", ())):
        _trim(other, seen)


def _own(trace: TracebackType | None) -> TracebackType | None:
    steps: list[TracebackType] = []
    while trace is not None:
        if not _is_foreign(trace.tb_frame):
            steps.append(trace)
        trace = trace.tb_next
    made: TracebackType | None = None
    for step in reversed(steps):
        made = TracebackType(made, step.tb_frame, step.tb_lasti, step.tb_lineno)
    return made


def _is_foreign(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__")).partition(".")[0] in _FOREIGN
