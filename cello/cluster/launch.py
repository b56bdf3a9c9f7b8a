"""Serving with a supervisor: as that supervisor, or as what one has executed."""

from __future__ import annotations

import os
import threading
from typing import Any, NoReturn

from ..config import RunOptions
from ..errors import StartError
from ..server.process import holding
from ..server.tls import CertificateWatcher
from .channel import Channel
from .child import run_worker
from .handover import Handover, read_handover
from .leader import Seat, can_fork, lead
from .listening import Listeners
from .scoreboard import Scoreboard
from .supervisor import Supervisor


def serve(application: Any, options: RunOptions) -> int:
    """Serve until the end, and return the exit status; a leader or worker ends here. Raises StartError."""
    handover = read_handover()
    if handover is not None:
        _serve_as(handover, application, options)
    if threading.current_thread() is not threading.main_thread():
        raise StartError(
            "app.run() with a supervisor handles signals, which only the main thread can: call it there"
        )
    if options.tls is not None:
        CertificateWatcher(options.tls)  # what is wrong with the files is said once, before anything starts
    watch = None
    if options.reload:
        from .reload import make_watch

        watch = make_watch(options)
    # What somebody else has opened is theirs: no sibling joins it on its port.
    is_inherited = options.fd is not None or os.environ.get("LISTEN_PID") == str(os.getpid())
    slots = 1 if is_inherited else options.process_count
    opened: list[Listeners] = []
    # Linux lets sockets share a port when one user has opened them: all of them, before ``user`` takes over.
    with holding(options, lambda first: opened.append(Listeners(first, slots))):
        return Supervisor(application, options, opened[0], watch).run()


def _serve_as(handover: Handover, application: Any, options: RunOptions) -> NoReturn:
    control, listeners = handover.sockets()
    board = Scoreboard(handover.board)
    if handover.role == "worker":
        seat = Seat(handover.worker, handover.slot, handover.row, control, handover.stacks, listeners)
        run_worker(application, options, board, seat)
    channel = Channel(control)
    if not can_fork():
        channel.send({"is": "ready", "can_fork": False})
        os._exit(0)
    lead(channel, listeners, lambda seat: run_worker(application, options, board, seat))
