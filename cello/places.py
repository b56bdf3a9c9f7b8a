"""Where in the application's own code something is, as messages name it: "app.py:12".

Frames of Cello, of Python and of installed packages are passed over. Nothing here runs for a request that is
answered as it should be.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from pathlib import Path
from types import FrameType


def _find_folder() -> str:
    """Return the current directory by the name that the shell has for it, where that leads there.

    Deployments switch a symbolic link to a new release: its name leads to that, the real path to the old one.
    """
    try:
        real = os.getcwd()
    except OSError:  # it was removed
        return os.sep
    named = os.environ.get("PWD", "")
    with contextlib.suppress(OSError):
        if os.path.isabs(named) and os.path.samefile(named, real):
            return named
    return real


STARTED_IN = _find_folder()
"""Where the program was started, to which its command line is relative; a script may go elsewhere later."""


def short(filename: str) -> str:
    """Return a file's name relative to the current directory, if it lies below that."""
    try:
        relative = os.path.relpath(filename)
    except (OSError, ValueError):  # the directory is gone; another drive on Windows
        return filename
    return filename if relative.startswith("..") else relative


def caller() -> str:
    """Return the line that called into Cello, directly or through Python's library; empty where none did."""
    frame = _calling_frame()
    return _line_of(frame) if frame is not None else ""


def importing_line() -> str:
    """Return the line that called into Cello if a module's import runs it, else nothing."""
    frame = _calling_frame()
    if frame is None or frame.f_code.co_name != "<module>":
        return ""
    is_imported = (
        _module_of(frame) not in ("__main__", "__mp_main__") and frame.f_globals.get("__spec__") is not None
    )
    return _line_of(frame) if is_imported else ""


def _calling_frame() -> FrameType | None:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and _is_between(frame):
        frame = frame.f_back
    return frame


def _is_between(frame: FrameType) -> bool:
    """Tell whether a frame is Cello's, or Python's own such as dataclasses.replace()."""
    top = _module_of(frame).partition(".")[0]
    return top == __package__ or top in sys.stdlib_module_names


def _module_of(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__"))


def _line_of(frame: FrameType) -> str:
    return f"{short(frame.f_code.co_filename)}:{frame.f_lineno}"


def last_own(exc: BaseException) -> tuple[str, int] | None:
    """Return file and line of the innermost step of the application's own code in a traceback."""
    found, trace = None, exc.__traceback__
    while trace is not None:
        if not is_library(trace.tb_frame):
            found = (trace.tb_frame.f_code.co_filename, trace.tb_lineno)
        trace = trace.tb_next
    return found


def is_library(frame: FrameType) -> bool:
    """Tell whether a frame is Python's, an installed package's or Cello's, and so not the application's."""
    filename = frame.f_code.co_filename
    # Compiled modules of Cello name the file that they were made from, wherever that was.
    if filename.startswith("<") or _module_of(frame).startswith(f"{__package__}."):
        return True
    return _is_in_library(filename)


@functools.lru_cache(1024)
def _is_in_library(filename: str) -> bool:
    return str(Path(filename).resolve()).startswith(_library_folders())


@functools.cache
def _library_folders() -> tuple[str, ...]:
    import sysconfig

    named = (sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
    return tuple(f"{Path(path).resolve()}{os.sep}" for path in (str(Path(__file__).parent), *named))
