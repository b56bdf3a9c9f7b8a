"""Unix domain sockets: a listener at a path, in place of one that nobody serves any more.

A path may hold three things. What is no socket is never touched. A socket that answers belongs to a server
that lives. A socket that refuses was left behind by one that did not end in order, and is replaced: it is
first moved aside and looked at again, because a server that starts at the same moment may have put its own
there since the first look.

The file is the listener's, not the descriptor's: a copy, or a child of this process, has the same queue and
must not take the path away. So a ``UnixListener`` remembers the file that it made and the process that it was
made in, and removes no other.

Who may connect: everybody who can reach the path, unless the umask leaves a class of users nothing at all (a
umask of 007 keeps others out, 077 the group as well). The proxy in front usually runs as another user, and
the usual umask of 022, which is meant for files, would lock it out: the folder is the lock.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import sys
from typing import Any

from ..errors import StartError

_CLASSES = (0o700, 0o070, 0o007)
_PROBE_SECONDS = 1.0

_Identity = tuple[int, int, int]


class UnixListener(socket.socket):
    """A unix domain socket that listens, and removes its file when it is told to."""

    _file: tuple[str, _Identity, int] | None = None

    def made(self, path: str) -> None:
        """Note that this process has made the file at a path."""
        self._file = (os.path.abspath(path), _identity(path), os.getpid())

    def remove_file(self) -> None:
        """Remove the file, if it is this process's and still the same; says nothing where it cannot."""
        if self._file is None:
            return
        path, identity, pid = self._file
        if pid != os.getpid():
            return
        with contextlib.suppress(OSError):
            if _identity(path) == identity:
                os.unlink(path)
        self._file = (
            None  # only now: a signal handler that comes in between has to do it, since it is the last
        )


def _identity(path: str) -> _Identity:
    """Return what tells a file from another that has its name, and may have its inode's number, later."""
    found = os.lstat(path)
    return found.st_dev, found.st_ino, found.st_mtime_ns


def listen_at(path: str | os.PathLike[str], backlog: int, owner: tuple[int, int] | None) -> UnixListener:
    """Open a listening unix domain socket at a path.

    ``owner`` is the user's and the group's id that its file is given to. The socket does not block and is
    not inherited by programs that are executed. The caller owns it. Raises StartError.
    """
    name = os.fspath(path)
    if not hasattr(socket, "AF_UNIX") or sys.platform == "win32":
        raise StartError(f"uds={name!r}: Windows has no unix domain sockets for Python; use host and port")
    try:
        return _listen_at(name, backlog, owner)
    except OSError as exc:
        raise _explain(exc, name) from exc


def _listen_at(path: str, backlog: int, owner: tuple[int, int] | None) -> UnixListener:
    listener = UnixListener(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.setblocking(False)
        try:
            listener.bind(path)
        except OSError as exc:
            if exc.errno != errno.EADDRINUSE:
                raise
            _clear(path)
            listener.bind(path)
        listener.made(path)
        # Nobody can connect before listen: the file has its owner and its mode by then.
        if owner is not None:
            os.chown(path, *owner)
        os.chmod(path, mode_for(stat.S_IMODE(os.lstat(path).st_mode)))
        listener.listen(backlog)
    except BaseException:
        listener.remove_file()
        listener.close()
        raise
    return listener


def mode_for(created: int) -> int:
    """Return a socket's mode from the one that it was made with, which shows the umask."""
    return sum(0o666 & each for each in _CLASSES if created & each)


def _clear(path: str) -> None:
    """Make room at a path that only a dead server's socket takes up; raises StartError."""
    found = _checked(path)
    aside = f"{path}.{os.getpid()}"
    try:
        os.rename(path, aside)
    except FileNotFoundError:
        return  # its server has just ended
    if _identity(aside) == found:
        os.unlink(aside)
        return
    # A server that started meanwhile has replaced it before us: that one serves, and keeps its place.
    with contextlib.suppress(FileExistsError):
        os.link(aside, path)
    os.unlink(aside)
    raise _taken(path)


def _checked(path: str) -> _Identity | None:
    """Return the identity of a stale socket; raises StartError for anything else."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return None
    if not stat.S_ISSOCK(found.st_mode):
        raise StartError(
            f"uds={path!r}: there is {_kind(found.st_mode)} in its place, which is left alone; choose "
            "another path with --uds"
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_SECONDS)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return found.st_dev, found.st_ino, found.st_mtime_ns
        except FileNotFoundError:
            return None
        except (TimeoutError, BlockingIOError):  # its queue is full: a server that is busy
            pass
        except OSError as exc:
            raise StartError(
                f"uds={path!r}: there is a socket in its place, and whether it is in use cannot be found "
                f"({exc.strerror}); choose another path with --uds"
            ) from exc
    raise _taken(path)


def _taken(path: str) -> StartError:
    return StartError(f"uds={path!r} is taken by another server; stop it or choose another path with --uds")


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a directory"
    return "a symbolic link" if stat.S_ISLNK(mode) else "a file that is no socket"


def _explain(exc: OSError, path: str) -> StartError:
    if exc.errno is None and "too long" in str(exc):  # Python's own, before it asks the system
        size, limit = len(os.fsencode(path)), _limit_bytes()
        return StartError(
            f"uds={path!r}: the path has {size} bytes, and the system takes at most {limit}; choose a "
            "shorter one, or one relative to the working directory"
        )
    folder = os.path.dirname(path) or "."
    if exc.errno == errno.ENOENT:
        return StartError(f"uds={path!r}: there is no directory {folder!r}")
    if exc.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        return StartError(f"uds={path!r}: the directory {folder!r} may not be written to ({exc.strerror})")
    return StartError(f"uds={path!r}: cannot listen there: {exc.strerror or exc}")


def _limit_bytes() -> int:
    """Return how long a path may be: sun_path has 108 bytes on Linux, 104 elsewhere, with the NUL."""
    return 107 if sys.platform.startswith("linux") else 103


def name_of(sock: socket.socket) -> str:
    """Return the path of a unix domain socket, in the form of nginx and curl users: ``unix:/run/app.sock``.

    An abstract name of Linux begins with ``@``.
    """
    name: Any = sock.getsockname()
    text = os.fsdecode(name)
    return f"unix:@{text[1:]}" if text.startswith("\0") else f"unix:{text}"
