"""The cluster's listeners: one port, a queue of its own for each slot, and steering when a slot goes."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cello.cluster.listening import HAS_OWN_LISTENERS, SHARED, Listeners
from cello.errors import StartError
from cello.server.sockets import accept_remaining, bind

needs_own = pytest.mark.skipif(not HAS_OWN_LISTENERS, reason="only Linux spreads connections over listeners")


@contextlib.contextmanager
def listening(slots: int, first: list[socket.socket] | None = None) -> Iterator[Listeners]:
    listeners = Listeners(bind("127.0.0.1", 0) if first is None else first, slots)
    try:
        yield listeners
    finally:
        listeners.close()


@contextlib.contextmanager
def connected(listeners: Listeners, count: int) -> Iterator[None]:
    """Connect so many clients, which stay until the end."""
    address = listeners.of(SHARED)[0].getsockname()
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(socket.create_connection(address, timeout=10))
        yield


def accepted(listener: socket.socket) -> int:
    """Count the connections that wait at a listener, and end them."""
    count = 0
    for connection in accept_remaining(listener):
        connection.close()
        count += 1
    return count


def spread(listeners: Listeners, count: int) -> list[int]:
    """Return how many of so many new connections each slot gets."""
    with connected(listeners, count):
        return [accepted(each) for _, [each] in sorted(listeners.of_slots.items())]


# --- listeners of their own ---


@needs_own
def test_connections_are_spread_over_the_slots() -> None:
    with listening(4) as listeners:
        assert sorted(listeners.of_slots) == [0, 1, 2, 3]
        counts = spread(listeners, 200)
        assert sum(counts) == 200
        assert all(counts)


@needs_own
def test_siblings_are_as_the_first_is() -> None:
    with listening(3) as listeners:
        [first] = listeners.of(0)
        for slot in (1, 2):
            [sibling] = listeners.of(slot)
            assert sibling.getsockname() == first.getsockname()
            assert sibling.gettimeout() == 0.0
            assert not sibling.get_inheritable()
            for level, option in [
                (socket.SOL_SOCKET, socket.SO_REUSEADDR),
                (socket.SOL_SOCKET, socket.SO_REUSEPORT),
                (socket.IPPROTO_TCP, getattr(socket, "TCP_NOTSENT_LOWAT", 25)),
            ]:
                assert sibling.getsockopt(level, option) == first.getsockopt(level, option) != 0


@needs_own
def test_every_address_has_siblings(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        first = bind("::", 0)
    except StartError:
        pytest.skip("no IPv6")
    with listening(2, first) as listeners:
        assert [each.family for each in listeners.of(1)] == [each.family for each in first]
        assert [each.getsockname() for each in listeners.of(1)] == [each.getsockname() for each in first]
        for sibling in listeners.of(1):
            if sibling.family == socket.AF_INET6:
                assert sibling.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1


@needs_own
def test_a_second_server_finds_the_first_and_does_not_join_it() -> None:
    with listening(3) as listeners:
        port = listeners.of(0)[0].getsockname()[1]
        with pytest.raises(StartError, match=f"port {port} on 127.0.0.1 is taken"):
            bind("127.0.0.1", port)


@needs_own
def test_a_foreign_server_that_would_share_its_port_is_found_too() -> None:
    with socket.socket() as foreign:
        foreign.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        foreign.bind(("127.0.0.1", 0))
        foreign.listen()
        with pytest.raises(StartError, match="is taken"):
            bind("127.0.0.1", foreign.getsockname()[1])


@needs_own
def test_a_slot_that_cannot_be_opened_leaves_nothing_behind() -> None:
    closed = socket.socket()
    first = bind("127.0.0.1", 0)
    with listening(2, first) as listeners:
        closed.close()
        first.append(closed)
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(OSError):
            listeners.open(2)
        assert len(os.listdir("/proc/self/fd")) == before
        assert sorted(listeners.of_slots) == [0, 1]


@needs_own
def test_who_waits_at_a_closed_workers_listener_is_served_by_the_next() -> None:
    """The supervisor holds the listener: its queue outlives the worker's duplicate."""
    with listening(2) as listeners:
        duplicates = [listeners.of(slot)[0].dup() for slot in (0, 1)]
        with connected(listeners, 40):
            for duplicate in duplicates:
                duplicate.close()
            assert sum(accepted(listeners.of(slot)[0]) for slot in (0, 1)) == 40


# --- slots that come and go ---


@needs_own
def test_after_a_slot_is_closed_no_new_connection_reaches_it() -> None:
    with listening(3) as listeners, listeners.of(2)[0].dup() as workers:
        listeners.close_last(2)
        assert sorted(listeners.of_slots) == [0, 1]
        with connected(listeners, 100):
            assert accepted(workers) == 0
            counts = [accepted(listeners.of(slot)[0]) for slot in (0, 1)]
        assert sum(counts) == 100
        assert all(counts)


@needs_own
def test_down_to_one_slot_and_up_again() -> None:
    with listening(3) as listeners:
        listeners.close_last(2)
        listeners.close_last(1)
        assert spread(listeners, 50) == [50]
        listeners.open(1)
        assert all(spread(listeners, 100))
        listeners.open(2)
        listeners.open(3)
        counts = spread(listeners, 200)
        assert len(counts) == 4
        assert all(counts)


@needs_own
def test_a_slot_that_is_opened_again_while_the_old_one_drains_gets_its_share_in_the_end() -> None:
    with listening(3) as listeners:
        workers = listeners.of(2)[0].dup()
        listeners.close_last(2)
        listeners.open(2)
        workers.close()
        counts = spread(listeners, 150)
        assert sum(counts) == 150
        assert all(counts)


@needs_own
def test_a_closed_slot_keeps_its_steering_on_every_address() -> None:
    first = bind("127.0.0.1", 0) + bind("127.0.0.1", 0)
    with listening(2, first) as listeners, contextlib.ExitStack() as stack:
        kept = [stack.enter_context(listener.dup()) for listener in listeners.of(1)]
        listeners.close_last(1)
        for listener in first:
            for _ in range(30):
                stack.enter_context(socket.create_connection(listener.getsockname(), timeout=10))
        assert [accepted(each) for each in kept] == [0, 0]
        assert [accepted(each) for each in first] == [30, 30]


# --- one set that all share ---


@pytest.mark.parametrize("slots", [1, 4])
def test_a_unix_socket_is_shared(slots: int, tmp_path: Path) -> None:
    if sys.platform == "win32":
        pytest.skip("no unix sockets")
    first = socket.socket(socket.AF_UNIX)
    first.bind(str(tmp_path / "s"))
    first.listen()
    with listening(slots, [first]) as listeners:
        assert not listeners.has_own
        assert [listeners.of(slot) for slot in range(slots)] == [[first]] * slots


def test_one_slot_shares_what_is_given() -> None:
    first = bind("127.0.0.1", 0)
    with listening(1, first) as listeners:
        assert not listeners.has_own
        assert listeners.of(3) is listeners.of(0) is first
        if hasattr(socket, "SO_REUSEPORT"):
            assert first[0].getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT) == 0


def test_closing_closes_all() -> None:
    listeners = Listeners(bind("127.0.0.1", 0), 3)
    opened = [listener for group in listeners.of_slots.values() for listener in group]
    listeners.close()
    assert [listener.fileno() for listener in opened] == [-1] * len(opened)
    listeners.close()
