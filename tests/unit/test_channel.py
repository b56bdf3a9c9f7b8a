"""The cluster's channel: lines and descriptors over a pair of sockets, to peers that read late or never."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterator

import pytest

from cello.cluster.channel import Channel, Closed, Message, make_channel

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="descriptors are passed on Unix alone")

BLOCKED_SECONDS = 20.0  # far more than 50 sends can take, far less than 50 that wait for a second each


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Channel]]:
    ours, theirs = make_channel()
    pair = (ours, Channel(theirs))
    yield pair
    for end in pair:
        end.close()


@pytest.fixture
def files(tmp_path: object) -> Iterator[list[int]]:
    """Five open files, each with its index in it."""
    opened = []
    for index in range(5):
        descriptor = os.open(f"{tmp_path}/{index}", os.O_RDWR | os.O_CREAT)
        os.write(descriptor, str(index).encode())
        opened.append(descriptor)
    yield opened
    for descriptor in opened:
        os.close(descriptor)


def contents(descriptors: list[int]) -> list[str]:
    """Read the files behind descriptors that were taken, and close those."""
    found = []
    for descriptor in descriptors:
        found.append(os.pread(descriptor, 10, 0).decode())
        os.close(descriptor)
    return found


def receive_all(channel: Channel, sender: Channel) -> list[Message]:
    """Receive, and have the sender flush, until nothing comes any more."""
    got: list[Message] = []
    while True:
        messages = channel.receive()
        got += messages
        if not messages and not sender._waiting:
            return got
        sender.flush()


def fill(channel: Channel) -> int:
    """Send to a peer that does not read until messages wait; returns how many were sent."""
    count = 0
    while not channel._waiting:
        channel.send({"n": count, "text": "x" * 1000})
        count += 1
    return count


def open_count() -> int:
    return len(os.listdir("/dev/fd"))


def test_messages_come_as_they_were_sent(ends: tuple[Channel, Channel]) -> None:
    ours, theirs = ends
    sent = [{"do": "fork", "worker": 1}, {"text": 'two\nlines, "quoted", ü'}, {}, {"list": [1, None, 0.1]}]
    for message in sent:
        ours.send(message)
    assert theirs.receive() == sent
    assert theirs.receive() == []
    theirs.send({"is": "ready"})
    assert ours.receive() == [{"is": "ready"}]


def test_a_line_may_come_in_any_pieces() -> None:
    near, far = socket.socketpair()
    channel = Channel(near)
    data = b'{"n":1}\n{"n":2}\n{"n":3}\n'
    got: list[Message] = []
    for index in range(len(data)):
        far.send(data[index : index + 1])
        got += channel.receive()
        assert len(got) == data[: index + 1].count(b"\n")
    assert got == [{"n": 1}, {"n": 2}, {"n": 3}]
    far.close()
    channel.close()


def test_many_messages_go_through_a_peer_that_reads_late(ends: tuple[Channel, Channel]) -> None:
    ours, theirs = ends
    count = fill(ours)
    for n in range(count, count + 100):
        ours.send({"n": n, "text": ""})
    assert [message["n"] for message in receive_all(theirs, ours)] == list(range(count + 100))


def test_each_message_takes_along_what_waits(ends: tuple[Channel, Channel]) -> None:
    ours, theirs = ends
    count = fill(ours)
    got = len(theirs.receive())
    ours.send({"n": count})
    assert got + len(theirs.receive()) == count + 1


def test_a_line_that_goes_in_part_is_completed_later(ends: tuple[Channel, Channel]) -> None:
    ours, theirs = ends
    text = "x" * 900_000  # no socket takes that at once
    ours.send({"text": text})
    assert ours._waiting
    ours.send({"n": 2})
    assert receive_all(theirs, ours) == [{"text": text}, {"n": 2}]


def test_descriptors_come_in_the_order_of_their_messages(
    ends: tuple[Channel, Channel], files: list[int]
) -> None:
    ours, theirs = ends
    ours.send({"count": 2}, files[:2])
    ours.send({"count": 0})
    ours.send({"count": 3}, files[2:])
    messages = receive_all(theirs, ours)
    assert [message["count"] for message in messages] == [2, 0, 3]
    assert [contents(theirs.take(message["count"])) for message in messages] == [
        ["0", "1"],
        [],
        ["2", "3", "4"],
    ]
    assert theirs.take(1) == []


def test_descriptors_that_come_are_not_inherited_and_those_sent_stay_the_senders(
    ends: tuple[Channel, Channel], files: list[int]
) -> None:
    ours, theirs = ends
    ours.send({}, files[:1])
    theirs.receive()
    [descriptor] = theirs.take(1)
    assert not os.get_inheritable(descriptor)
    assert contents([descriptor]) == ["0"]
    assert os.pread(files[0], 10, 0) == b"0"


def test_descriptors_wait_behind_messages_that_wait(ends: tuple[Channel, Channel], files: list[int]) -> None:
    ours, theirs = ends
    before = open_count()
    count = fill(ours)
    ours.send({"n": count}, files[:2])
    ours.send({"n": count + 1})
    ours.send({"n": count + 2}, files[2:3])
    messages = receive_all(theirs, ours)
    assert [message["n"] for message in messages] == list(range(count + 3))
    assert contents(theirs.take(3)) == ["0", "1", "2"]
    assert open_count() == before


def test_the_caller_may_close_descriptors_that_wait(ends: tuple[Channel, Channel], files: list[int]) -> None:
    ours, theirs = ends
    fill(ours)
    mine = os.dup(files[3])
    ours.send({}, [mine])
    os.close(mine)
    receive_all(theirs, ours)
    assert contents(theirs.take(1)) == ["3"]


def test_a_deaf_peer_holds_nobody_up_and_costs_bounded_memory(
    ends: tuple[Channel, Channel], files: list[int]
) -> None:
    ours, theirs = ends
    count = fill(ours)
    started = time.monotonic()
    for n in range(count, count + 50):
        ours.send({"n": n, "text": "x" * 100_000}, files[:1])
    assert time.monotonic() - started < BLOCKED_SECONDS
    messages = receive_all(theirs, ours)
    got = [message["n"] for message in messages]
    assert got == list(range(len(got)))  # the first ones, whole and in order; what came later is lost
    assert count < len(got) < count + 50
    ours.send({"n": "again"})
    assert theirs.receive() == [{"n": "again"}]


def test_what_a_peer_said_before_it_closed_is_heard(ends: tuple[Channel, Channel]) -> None:
    ours, theirs = ends
    theirs.send({"is": "ready"})
    theirs.close()
    assert ours.receive() == [{"is": "ready"}]
    with pytest.raises(Closed):
        ours.receive()
    with pytest.raises(Closed):
        ours.receive()


def test_a_line_that_was_cut_off_by_the_end_is_no_message() -> None:
    near, far = socket.socketpair()
    channel = Channel(near)
    far.send(b'{"n":1}\n{"n":')
    far.close()
    assert channel.receive() == [{"n": 1}]
    with pytest.raises(Closed):
        channel.receive()
    channel.close()


def test_sending_to_a_peer_that_is_gone_is_no_error_and_keeps_nothing(
    ends: tuple[Channel, Channel], files: list[int]
) -> None:
    ours, theirs = ends
    fill(ours)
    ours.send({}, files)
    theirs.close()
    before = open_count()
    ours.send({"n": 1})
    ours.send({"n": 2}, files)
    assert open_count() == before - len(files)  # the duplicates that waited


def test_closing_closes_what_nobody_took(ends: tuple[Channel, Channel], files: list[int]) -> None:
    ours, theirs = ends
    before = open_count()
    ours.send({}, files)
    theirs.receive()
    fill(ours)
    ours.send({}, files)
    assert open_count() == before + 2 * len(files)
    theirs.close()
    ours.close()
    assert open_count() == before - 2
