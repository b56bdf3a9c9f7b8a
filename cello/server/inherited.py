"""Listening sockets that another program has opened: a descriptor by its number, or systemd's.

A service manager that opens the sockets can keep them over a restart and start the server with the first
client; a supervisor can hand down one that it shares. Cello takes such a socket over and closes it at the
end; what it cannot serve on is refused and left open.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import sys
from collections.abc import MutableMapping

from ..errors import StartError
from .unix_sockets import UnixListener

logger = logging.getLogger("cello")

FIRST_FD = 3  # SD_LISTEN_FDS_START
_VARIABLES = ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "LISTEN_PIDFDID")


def take_fd(fd: int, what: str | None = None) -> socket.socket:
    """Take over a listening stream socket by its descriptor.

    ``what`` names it in messages. From here on it does not block and is not inherited by programs that are
    executed. The caller owns it. Raises StartError, and leaves the descriptor open then.
    """
    what = what or f"fd={fd}"
    if sys.platform == "win32":
        raise StartError(f"{what}: Windows hands no sockets down by number; use host and port")
    try:
        sock = socket.socket(fileno=fd)
    except OSError as exc:
        state = "is not open" if exc.errno == errno.EBADF else "is not a socket"
        raise StartError(f"{what}: descriptor {fd} {state}, expected a listening socket") from exc
    fault = _fault(sock)
    if fault is not None:
        sock.detach()
        raise StartError(
            f"{what}: descriptor {fd} is {fault}, expected a listening TCP or unix stream socket"
        )
    if sock.family == socket.AF_UNIX:
        sock = UnixListener(fileno=sock.detach())  # its file is whose who made it
    sock.setblocking(False)
    sock.set_inheritable(False)
    return sock


def _fault(sock: socket.socket) -> str | None:
    """Say what a socket is that cannot be served on, or None."""
    if sock.family not in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
        return "a socket of another family"
    if sock.type != socket.SOCK_STREAM:
        return "a datagram socket" if sock.type == socket.SOCK_DGRAM else "a socket of another type"
    with contextlib.suppress(OSError):  # not every system can tell
        if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return "a socket that does not listen"
    return None


def take_listen_fds(environment: MutableMapping[str, str] | None = None) -> list[socket.socket]:
    """Take the sockets that a service manager has opened for this process (sd_listen_fds(3)).

    Returns none where there are none, or where they are another process's. The variables that say so are
    removed from the environment, so that no child takes them for its own. The caller owns the sockets. Raises
    StartError.
    """
    environment = os.environ if environment is None else environment
    if environment.get("LISTEN_PID") != str(os.getpid()):
        return []
    given = environment.get("LISTEN_FDS", "")
    count = int(given) if given.isascii() and given.isdigit() and len(given) < 5 else 0
    for name in _VARIABLES:
        environment.pop(name, None)
    taken: list[socket.socket] = []
    try:
        for fd in range(FIRST_FD, FIRST_FD + count):
            taken.append(take_fd(fd, f"LISTEN_FDS={given}"))
    except StartError:
        for sock in taken:
            sock.close()
        raise
    if taken:
        numbers = ", ".join(str(sock.fileno()) for sock in taken)
        logger.info("LISTEN_FDS: serving on descriptor %s; host, port and uds are not used", numbers)
    return taken
