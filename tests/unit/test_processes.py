"""What the supervisor holds of its processes, where no process has come to be yet."""

from __future__ import annotations

import selectors
import socket
from typing import Any

from cello.cluster import events as ev
from cello.cluster.channel import make_channel
from cello.cluster.listening import Listeners
from cello.cluster.processes import Processes, WorkerProcess


def test_the_end_comes_also_to_workers_that_no_leader_has_forked_yet() -> None:
    """A second signal as the cluster starts, for one."""
    told: list[ev.Event] = []
    options: Any = None
    with selectors.DefaultSelector() as selector, socket.create_server(("127.0.0.1", 0)) as listener:
        processes = Processes(None, options, Listeners([listener], 1), selector, told.append, str)
        ends = []
        for number in (1, 2):
            channel, theirs = make_channel()
            ends.append(theirs)
            worker = WorkerProcess(number, processes.board.take_row(), channel, -1)
            processes.workers[number] = worker
        processes.end_everyone()
        for theirs in ends:
            with theirs:
                assert theirs.recv(1) == b""
    assert [event for event in told if not isinstance(event, ev.WorkerGone)] == []
