"""Listening sockets: opening them, naming them, emptying them at the end.

``open_listeners`` is the one way to them: inherited ones, one at a path, or those of a host and port.

``bind`` opens every address that the host stands for, or none: on any failure what was opened is closed again
and one line says why. SO_REUSEADDR lets a restarted server have its port back at once; SO_REUSEPORT is not
set, because with it a second server would silently take half of the traffic instead of being found.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import sys
from collections.abc import Iterator
from typing import NamedTuple

from ..config import RunOptions
from ..errors import StartError
from .inherited import take_fd, take_listen_fds
from .unix_sockets import UnixListener, listen_at, name_of

BACKLOG = 2048
UNSENT_BYTES = 262144
"""What the kernel takes of a connection's output ahead of what it may send (TCP_NOTSENT_LOWAT)."""

_SHARED_PORT_ATTEMPTS = 5
_IPV6_THAT_EVERY_IPV6_HAS = ("::1", "::")

# accept(2): errors of the connection that waits, not of the listener; the next one may be well.
_PASSING_ERRORS = {
    errno.ECONNABORTED,
    errno.EPROTO,
    errno.ENOPROTOOPT,
    errno.ENETDOWN,
    errno.ENETUNREACH,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
}
_NO_ROOM = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Address(NamedTuple):
    """One address to listen on: ``rest`` is what IPv6 has behind the port (flow label, scope)."""

    family: socket.AddressFamily
    host: str
    rest: tuple[int, ...] = ()

    def with_port(self, port: int) -> tuple[str | int, ...]:
        """Build the address as socket.bind takes it."""
        return (self.host, port, *self.rest)


def open_listeners(
    options: RunOptions, *, owner: tuple[int, int] | None = None, backlog: int = BACKLOG
) -> list[socket.socket]:
    """Open or take over what the options ask to serve on.

    ``fd`` comes first, then what a service manager has handed down to this process (LISTEN_FDS), then
    ``uds``, then host and port. ``owner`` is the user's and the group's id that the file of ``uds`` is given
    to. The sockets do not block and are not inherited by programs that are executed. The caller owns them,
    and ends each with ``close_listener``. Raises StartError.
    """
    inherited = [take_fd(options.fd)] if options.fd is not None else take_listen_fds()
    for sock in inherited:
        _bound_unsent(sock)
    if inherited:
        return inherited
    if options.uds is not None:
        return [listen_at(options.uds, backlog, owner)]
    return bind(options.host, options.port, backlog)


def close_listener(listener: socket.socket) -> None:
    """Close a listener; before that, where this process has made its file, remove that."""
    release_path(listener)
    listener.close()


def release_path(listener: socket.socket) -> None:
    """Let nobody new find a listener by its file, where this process has made that."""
    if isinstance(listener, UnixListener):
        listener.remove_file()


def bind(host: str, port: int, backlog: int = BACKLOG) -> list[socket.socket]:
    """Open listening sockets on every address of a host, all on one port.

    Port 0 takes a free one. The sockets do not block and are not inherited by programs that are executed. The
    caller owns them. Raises StartError.
    """
    addresses = _resolve(host, port)
    # A free port of the first address may be taken on the second: draw again.
    attempts = _SHARED_PORT_ATTEMPTS if port == 0 else 1
    while True:
        attempts -= 1
        try:
            return _listen_on_all(addresses, port, backlog)
        except _PortTaken as exc:
            if attempts == 0:
                raise explain(exc.error, exc.host, exc.port) from exc.error


class _PortTaken(Exception):
    def __init__(self, error: OSError, host: str, port: int) -> None:
        super().__init__(error)
        self.error = error
        self.host = host
        self.port = port


def _resolve(host: str, port: int) -> list[Address]:
    name = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if name == "::":
        # Who writes "::" means every interface: that of Node, Go or Docker answers IPv4 as well. One
        # dual-stack socket would show IPv4 clients as ::ffff:192.0.2.1 in logs and in request.client_ip, so
        # there are two sockets: clients keep their addresses, and a foreign server is found on either family.
        return [Address(socket.AF_INET6, "::", (0, 0)), Address(socket.AF_INET, "0.0.0.0")]  # noqa: S104
    try:
        found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else exc
        raise StartError(
            f"host {host!r} cannot be resolved ({reason}); use an IP address of this machine, such as "
            "127.0.0.1, or 0.0.0.0 for all interfaces"
        ) from exc
    addresses = [
        Address(family, str(where[0]), tuple(int(part) for part in where[2:]))
        for family, _, _, _, where in found
        if family in (socket.AF_INET, socket.AF_INET6)
    ]
    return list(dict.fromkeys(addresses))


def _listen_on_all(addresses: list[Address], port: int, backlog: int) -> list[socket.socket]:
    opened: list[socket.socket] = []
    missing: OSError | None = None
    address = addresses[0]
    try:
        for address in addresses:
            try:
                opened.append(_listen(address, port, backlog))
            except OSError as exc:
                if not _is_family_missing(exc, address):
                    raise
                missing = exc
                continue
            port = opened[0].getsockname()[1]
        if missing is not None and not opened:
            raise missing
    except OSError as exc:
        for sock in opened:
            sock.close()
        if exc.errno == errno.EADDRINUSE:
            raise _PortTaken(exc, address.host, port) from exc
        raise explain(exc, address.host, port) from exc
    return opened


def _listen(address: Address, port: int, backlog: int) -> socket.socket:
    sock = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        if sys.platform == "win32":
            # SO_REUSEADDR means there what SO_REUSEPORT means elsewhere.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if address.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        _bound_unsent(sock)
        sock.bind(address.with_port(port))
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return sock


def _bound_unsent(sock: socket.socket) -> None:
    """Bound what the kernel holds for a slow reader; accepted connections inherit it.

    Without this it takes megabytes at once and reports progress in thirds of them: a reader of 40 kB/s
    would look like one that reads nothing, and be cut off at the write stall's deadline.
    """
    if hasattr(socket, "TCP_NOTSENT_LOWAT") and sock.family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)


def _is_family_missing(exc: OSError, address: Address) -> bool:
    """Tell a machine without IPv6 (or IPv4) from an address that is not this machine's."""
    if exc.errno == errno.EAFNOSUPPORT:
        return True
    return exc.errno == errno.EADDRNOTAVAIL and address.host in _IPV6_THAT_EVERY_IPV6_HAS


def explain(exc: OSError, host: str, port: int) -> StartError:
    """Say in one line why a port cannot be listened on, and what to do about it."""
    if exc.errno == errno.EADDRINUSE:
        holder = _holder_in_words(host, port)
        return StartError(
            f"port {port} on {host} is taken by {holder}; stop it or choose another with --port"
        )
    if exc.errno == errno.EACCES and 0 < port < 1024:
        return StartError(
            f"port {port} needs privileges: choose one of 1024 or above with --port, or give the process the "
            "capability CAP_NET_BIND_SERVICE"
        )
    if exc.errno == errno.EACCES:
        return StartError(f"port {port} on {host} is not permitted by the system; choose another with --port")
    if exc.errno == errno.EADDRNOTAVAIL:
        return StartError(
            f"host {host!r} is not an address of this machine; use one of its own, 127.0.0.1 for clients on "
            "this machine alone, or 0.0.0.0 for all interfaces"
        )
    if exc.errno == errno.EAFNOSUPPORT:
        family = "IPv6" if ":" in host else "IPv4"
        return StartError(
            f"host {host!r} needs {family}, which this machine lacks; choose another with --host"
        )
    return StartError(f"cannot listen on port {port} of {host}: {exc.strerror or exc}")


def _holder_in_words(host: str, port: int) -> str:
    holder = find_holder(host, port)
    if holder is None:
        return "another program"
    name, pid = holder
    return f"this very process (PID {pid})" if pid == os.getpid() else f"another program ({name}, PID {pid})"


def find_holder(host: str, port: int) -> tuple[str, int] | None:
    """Find the name and PID of the process that listens on an address.

    Best effort, from Linux's /proc: None elsewhere, and where the process is another user's.
    """
    sockets = {f"socket:[{inode}]" for inode in _listening_inodes(host, port)}
    if not sockets:
        return None
    # The lowest PID first: of a server's processes that share a socket, the parent.
    for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdigit()):
        if sockets & set(_open_files(pid)):
            try:
                with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
                    return file.read().strip(), pid
            except OSError:
                return None
    return None


def _open_files(pid: int) -> Iterator[str]:
    folder = f"/proc/{pid}/fd"
    try:
        numbers = os.listdir(folder)
    except OSError:  # the process is gone, or another user's
        return
    for number in numbers:
        with contextlib.suppress(OSError):  # closed meanwhile
            yield os.readlink(f"{folder}/{number}")


def _listening_inodes(host: str, port: int) -> Iterator[str]:
    """Read /proc/net/tcp: local address in the second column, state in the fourth, inode in the tenth."""
    wildcards = ("0.0.0.0", "::")  # noqa: S104
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table, encoding="ascii") as file:
                rows = [line.split() for line in file][1:]
        except OSError:
            continue
        for row in rows:
            address, _, number = row[1].partition(":")
            if row[3] != "0A" or int(number, 16) != port:
                continue
            if host in wildcards or _address_of(address) in (host, *wildcards):
                yield row[9]


def _address_of(digits: str) -> str:
    """Decode an address of /proc/net/tcp: 32-bit words in hex, each in the machine's byte order."""
    words = [int(digits[start : start + 8], 16) for start in range(0, len(digits), 8)]
    packed = struct.pack(f"={len(words)}I", *words)
    return socket.inet_ntop(socket.AF_INET if len(words) == 1 else socket.AF_INET6, packed)


def url_of(sock: socket.socket, scheme: str) -> str:
    """Build the URL under which a listening socket is reached, as it is bound.

    A unix domain socket has none: it is ``unix:`` and its path.
    """
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return name_of(sock)
    host, port = sock.getsockname()[:2]
    if sock.family == socket.AF_INET6:
        zoned = host.replace("%", "%25")  # RFC 6874 2
        host = f"[{zoned}]"
    return f"{scheme}://{host}:{port}"


def accept_remaining(listener: socket.socket) -> Iterator[socket.socket]:
    """Accept what waits in a listener's queue, and end when it is empty.

    For a graceful stop: who was let into the queue is served. The connections do not block; the caller owns
    them. Ends early when no descriptor is left for another connection.
    """
    listener.setblocking(False)
    while True:
        try:
            connection, _ = listener.accept()
        except BlockingIOError:
            return
        except OSError as exc:
            if exc.errno in _PASSING_ERRORS:
                continue
            if exc.errno in _NO_ROOM:
                return
            raise
        connection.setblocking(False)
        yield connection
