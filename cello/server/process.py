"""A process that serves: its listeners, PID file and user, its event loop and signals, around one worker.

    bind -> PID file -> give up privileges -> the worker's whole life -> remove files

In this order: the sockets are opened while the process may still take low ports, the PID file is written when
it is sure to serve, and then the privileges go, before anything of the application's runs. At the end the
files are removed; what the user may not remove is said at the start.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable, Iterator

from ..config import ClusterConfig, RunOptions
from ..options import shutdown_delay_seconds
from .pid_file import PidFile
from .privileges import Identity, become, can_remove, check_readable, find_identity
from .signals import Reactions, handling_signals
from .sockets import close_listener, open_listeners, release_path
from .systemd import ServiceManager
from .worker import Application, Worker, finish, new_event_loop

logger = logging.getLogger("cello")


class Holdings:
    """The listeners and the PID file of this process."""

    def __init__(self, listeners: list[socket.socket], pid_file: PidFile | None) -> None:
        self.listeners = listeners
        self.pid_file = pid_file

    def remove_files(self) -> None:
        """Remove the files that this process has made; may be called in a signal handler, and again."""
        for listener in self.listeners:
            release_path(listener)
        if self.pid_file is not None:
            self.pid_file.remove()


@contextlib.contextmanager
def holding(
    options: RunOptions, prepare: Callable[[list[socket.socket]], None] | None = None
) -> Iterator[Holdings]:
    """Open listeners, write the PID file, become the user; let go of all when the block ends.

    ``prepare`` is handed the listeners while the process still has its privileges. Raises StartError.
    """
    identity = find_identity(options.user, options.group)
    owner = None if identity is None else (identity.uid, identity.gid)
    pid_file = None if options.pid_file is None else PidFile(options.pid_file)
    holdings = Holdings(open_listeners(options, owner=owner), pid_file)
    try:
        if pid_file is not None:
            pid_file.write()
        if prepare is not None:
            prepare(holdings.listeners)
        if identity is not None:
            _change_to(identity, options)
        yield holdings
    finally:
        holdings.remove_files()
        for listener in holdings.listeners:
            close_listener(listener)


def _change_to(identity: Identity, options: RunOptions) -> None:
    become(identity)
    if options.tls is not None:
        check_readable(options.tls, identity)
    if not os.access(os.__file__, os.R_OK):  # an interpreter in root's own home directory, for example
        folder = os.path.dirname(os.__file__)
        logger.warning(
            "user %s may not read Python's library in %s: what is imported from now on will not be found",
            identity,
            folder,
        )
    told = f"user {identity} may not write to its directory"
    if options.pid_file is not None and not can_remove(os.fspath(options.pid_file)):
        logger.warning(
            "pid_file=%r is emptied at the end, not removed: %s", os.fspath(options.pid_file), told
        )
    uds = options.uds
    if uds is not None and os.path.exists(uds) and not can_remove(os.fspath(uds)):
        logger.warning("uds=%r stays behind at the end: %s", os.fspath(uds), told)


def run(application: Application, options: RunOptions) -> None:
    """Bind, serve until a signal, and stop; the process's exit status is the caller's affair.

    A first SIGINT or SIGTERM stops gracefully; a second ends the process at once, with status 130 or 143.
    Raises StartError.
    """
    with holding(options) as holdings:
        _run(application, options, holdings)


def _run(application: Application, options: RunOptions, holdings: Holdings) -> None:
    worker = Worker(application, options, holdings.listeners)
    loop = new_event_loop()
    manager = ServiceManager(loop)

    def when_ready() -> None:
        worker.announce()
        manager.ready(worker.urls)

    try:
        # A plain function on the loop's thread shall find no loop, as it would in a thread of the pool.
        asyncio.set_event_loop(None)
        with handling_signals(_reactions(loop, worker, manager, holdings)):
            loop.run_until_complete(worker.serve(when_ready, manager.stopping))
            manager.end()
            loop.run_until_complete(finish(loop))
    finally:
        loop.close()


def _reactions(
    loop: asyncio.AbstractEventLoop, worker: Worker, manager: ServiceManager, holdings: Holdings
) -> Reactions:
    """Return what a process with one worker does on its signals."""
    cluster = worker.options.cluster or ClusterConfig()

    def end() -> None:
        worker.end_at_once()
        holdings.remove_files()

    def renew_now() -> None:
        with manager.reloading():
            worker.reload_certificates()

    def renew() -> None:
        loop.call_soon_threadsafe(renew_now)

    return Reactions(
        stop=worker.stop_from_thread,
        end=end,
        renew=renew if worker.has_certificates() else None,
        delay_seconds=shutdown_delay_seconds(cluster, os.environ),
        grace_seconds=cluster.graceful_timeout,
    )
