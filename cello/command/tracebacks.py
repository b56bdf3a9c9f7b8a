"""The traceback of an application that does not import: its own steps, without those of Cello."""

from __future__ import annotations

import os
from traceback import FrameSummary, TracebackException

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


def trimmed(exc: BaseException) -> str:
    """Return an exception as Python prints it, with the application's frames alone."""
    told = TracebackException.from_exception(exc)
    seen: set[int] = set()
    _trim(told, seen)
    return "".join(told.format())


def _trim(told: TracebackException | None, seen: set[int]) -> None:
    if told is None or id(told) in seen:
        return
    seen.add(id(told))
    told.stack[:] = [frame for frame in told.stack if not _is_foreign(frame)]
    for other in (told.__cause__, told.__context__, *(getattr(told, "exceptions", None) or ())):
        _trim(other, seen)


def _is_foreign(frame: FrameSummary) -> bool:
    name = frame.filename
    is_importing = name.startswith("<frozen importlib") or f"{os.sep}importlib{os.sep}" in name
    return is_importing or os.path.abspath(name).startswith(_PACKAGE)
