"""Hot reload in development: watches the application's files and asks for a reload when one has changed.

Watched are the folders of the script and of the modules that it has imported, without what was installed,
what is hidden, and what tools keep. Each folder is watched by itself and not with all that is below it: a
virtual environment or node_modules in the project would cost tens of thousands of watches.
"""

from __future__ import annotations

import fnmatch
import logging
import os
import site
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence

from ..config import RunOptions
from ..errors import StartError

logger = logging.getLogger("cello")

INCLUDES = ("*.py",)
EXCLUDES = (".*", "__pycache__", "node_modules", "site-packages", "*.pyc")
STEP_MILLISECONDS = 50  # of quiet, after which a burst of changes counts as complete
LONGEST_MILLISECONDS = 400
MOST_FOLDERS = 5000


class Watcher:
    """Watches folders in a thread of its own; ``changed`` is called there with the reason in words."""

    def __init__(self, options: RunOptions, changed: Callable[[str], None]) -> None:
        self._roots = _roots(options.reload_dirs)
        self._includes = (*INCLUDES, *options.reload_includes)
        self._excludes = (*EXCLUDES, *options.reload_excludes)
        self._changed = changed
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cello-reload", daemon=True)

    def start(self) -> None:
        """Watch from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Watch no more."""
        self._stopping.set()
        self._thread.join(2.0)

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._watch(sorted(self._folders()))
        except Exception:
            logger.exception("files are not watched any more: restart to have hot reload again")

    def _watch(self, folders: list[str]) -> None:
        """Watch until there is another folder to watch, or the end."""
        import watchfiles

        if not folders:
            self._stopping.wait()
            return
        for changes in watchfiles.watch(
            *folders,
            watch_filter=None,
            step=STEP_MILLISECONDS,
            debounce=LONGEST_MILLISECONDS,
            stop_event=self._stopping,
            recursive=False,
            raise_interrupt=False,
        ):
            paths = sorted(path for _, path in changes)
            relevant = [path for path in paths if self.is_relevant(path)]
            if relevant:
                more = f" and {len(relevant) - 1} more" if len(relevant) > 1 else ""
                self._changed(f"{os.path.relpath(relevant[0])} has changed{more}")
            if any(os.path.isdir(path) or path in folders for path in paths):
                return  # a folder came or went

    def is_relevant(self, path: str) -> bool:
        """Tell whether a changed file is one to reload for."""
        name = os.path.basename(path)
        if _matches(name, path, self._excludes) or os.path.isdir(path):
            return False
        return _matches(name, path, self._includes)

    def _folders(self) -> Iterator[str]:
        count = 0
        for root in self._roots:
            for folder, below, _ in os.walk(root):
                below[:] = [name for name in below if self._is_walked(folder, name)]
                yield folder
                count += 1
                if count >= MOST_FOLDERS:
                    logger.warning(
                        "only %d folders are watched for changes: name fewer with reload_dirs", MOST_FOLDERS
                    )
                    return

    def _is_walked(self, folder: str, name: str) -> bool:
        path = os.path.join(folder, name)
        is_environment = os.path.exists(os.path.join(path, "pyvenv.cfg"))
        return not is_environment and not _matches(name, path, self._excludes)


def _matches(name: str, path: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatch(name, each) or fnmatch.fnmatch(path, each) for each in patterns)


def _roots(named: Sequence[str | os.PathLike[str]]) -> list[str]:
    """Return the folders to watch, none of them below another; raises StartError for a missing one."""
    if named:
        folders = {os.path.abspath(folder) for folder in named}
        for folder in folders:
            if not os.path.isdir(folder):
                raise StartError(f"reload_dirs: there is no folder {folder}")
    else:
        folders = set(_module_folders())
    return [each for each in sorted(folders) if not any(_is_below(each, other) for other in folders)]


def _is_below(folder: str, other: str) -> bool:
    return folder != other and os.path.commonpath([folder, other]) == other


def _module_folders() -> Iterator[str]:
    """Yield the folders of the modules that are imported and were not installed, and the script's."""
    installed = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), *site.getsitepackages()}
    installed |= {site.getusersitepackages(), sysconfig.get_path("scripts")}  # there the script cello is
    own = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if not isinstance(file, str):
            continue
        folder = os.path.dirname(os.path.abspath(file))
        if folder != own and not any(_is_below(folder, each) or folder == each for each in (*installed, own)):
            yield folder
            yield os.path.dirname(os.path.realpath(file))  # a link's target is what editors change


def make_watch(options: RunOptions) -> Callable[[Callable[[str], None]], Callable[[], None]]:
    """Return what starts to watch, given what to call, and returns what ends it. Raises StartError."""
    try:
        import watchfiles  # noqa: F401 - whether it is there
    except ImportError as exc:
        raise StartError("reload=True needs watchfiles: pip install watchfiles") from exc
    _roots(options.reload_dirs)

    def watch(changed: Callable[[str], None]) -> Callable[[], None]:
        watcher = Watcher(options, changed)
        watcher.start()
        return watcher.stop

    return watch
