"""The PID file: who serves, for scripts that signal a process that they have not started.

It is written aside and renamed, so that no reader finds half of it, and only where the process of an older
one has ended. It is removed by the process that wrote it, if it is still the same file with the same content.
A process that has given up its privileges may not be allowed to: then it empties the file, through the
descriptor that it has kept, and an empty file stands in nobody's way.
"""

from __future__ import annotations

import contextlib
import os
import stat

from ..errors import StartError

_MOST_BYTES = 64


class PidFile:
    """The PID file of this process; ``write`` it once, ``remove`` it at the end."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._given = os.fspath(path)
        self.path = os.path.abspath(path)
        self._pid = 0
        self._fd = -1

    def write(self) -> None:
        """Write this process's PID; raises StartError, also while the process of an older file runs."""
        try:
            self._refuse_if_taken()
            self._write()
        except OSError as exc:
            raise self._fault(f"cannot be written: {exc.strerror or exc}") from exc

    def _fault(self, fault: str) -> StartError:
        return StartError(f"pid_file={self._given!r}: {fault}")

    def _refuse_if_taken(self) -> None:
        try:
            if not stat.S_ISREG(os.stat(self.path).st_mode):
                raise self._fault("this is not a regular file; choose another path with --pid-file")
            with open(self.path, "rb") as file:
                content = file.read(_MOST_BYTES).strip()
        except FileNotFoundError:
            return
        if not content:
            return
        pid = int(content) if content.isdigit() else 0
        if not pid:
            raise self._fault("this is no PID file, and is left alone; choose another path with --pid-file")
        if pid != os.getpid() and is_running(pid):
            raise self._fault(f"process {pid} is running; stop it, or choose another path with --pid-file")

    def _write(self) -> None:
        self._pid = os.getpid()
        aside = f"{self.path}.{self._pid}"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(aside)  # from a process of this number that ended in between
        self._fd = os.open(aside, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            os.write(self._fd, self._content)
            os.replace(aside, self.path)
        except BaseException:
            os.unlink(aside)
            self._close()
            raise

    @property
    def _content(self) -> bytes:
        return b"%d\n" % self._pid

    def remove(self) -> None:
        """Remove the file if it is still this process's own; empty it where it may not be removed."""
        if self._fd < 0 or self._pid != os.getpid():
            return
        with contextlib.suppress(OSError):
            is_same = os.path.samestat(os.fstat(self._fd), os.lstat(self.path))
            if is_same and os.pread(self._fd, _MOST_BYTES, 0) == self._content:
                try:
                    os.unlink(self.path)
                except OSError:
                    os.ftruncate(self._fd, 0)
        self._close()

    def _close(self) -> None:
        fd, self._fd = (
            self._fd,
            -1,
        )  # in this order: a signal handler may come in between, and remove it again
        os.close(fd)


def is_running(pid: int) -> bool:
    """Tell whether there is a process of this number, whosever it is."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
