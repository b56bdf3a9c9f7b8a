"""The cluster's scoreboard: rows of shared memory, as several processes see them."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cello.cluster import scoreboard
from cello.cluster.scoreboard import ROWS, Row, Scoreboard

ROOT = Path(__file__).resolve().parents[2]
CHILD = """
import sys
from cello.cluster.scoreboard import Row, Scoreboard
board = Scoreboard(int(sys.argv[1]))
print(board.connections_of(0), board.requests_of(0), board.rss_of(0), board.count_connections())
row = Row(board, 1)
row.beat()
row.set_connections(30)
row.set_requests(31)
row.set_rss(32)
print(row.others())
"""


@pytest.fixture
def board() -> Iterator[Scoreboard]:
    made = Scoreboard()
    yield made
    made.close()


def test_rows_are_handed_out_once_and_cleared(board: Scoreboard) -> None:
    assert [board.take_row() for _ in range(3)] == [0, 1, 2]
    row = Row(board, 1)
    row.beat()
    row.set_connections(1)
    row.set_requests(2)
    row.set_rss(3)
    assert board.beat_of(1) > 0
    board.free_row(1)
    assert board.take_row() == 1
    assert (board.beat_of(1), board.connections_of(1), board.requests_of(1), board.rss_of(1)) == (
        0.0,
        0,
        0,
        0,
    )
    assert board.take_row() == 3


def test_rows_do_not_overlap(board: Scoreboard) -> None:
    for index in range(ROWS):
        assert board.take_row() == index
    for index in range(ROWS):
        row = Row(board, index)
        row.set_connections(index)
        row.set_requests(index * 3)
        row.set_rss(index << 40)
    for index in range(ROWS):
        found = (board.connections_of(index), board.requests_of(index), board.rss_of(index))
        assert found == (index, index * 3, index << 40)
        assert board.beat_of(index) == 0.0
    assert board.count_connections() == sum(range(ROWS))
    with pytest.raises(RuntimeError, match="rows are all in use"):
        board.take_row()
    board.free_row(7)
    assert board.take_row() == 7


def test_connections_are_counted_over_all_rows_in_use(board: Scoreboard) -> None:
    assert board.count_connections() == 0
    rows = [Row(board, board.take_row()) for _ in range(4)]
    for count, row in enumerate(rows):
        row.set_connections(10**count)
    assert board.count_connections() == 1111
    assert [row.others() for row in rows] == [1110, 1101, 1011, 111]
    board.free_row(2)
    assert board.count_connections() == 1011


@pytest.mark.parametrize("value", [0.1 + 0.2, 5e-324, 1e308, 123456.789012345, math.pi])
def test_beats_are_exact(board: Scoreboard, value: float, monkeypatch: pytest.MonkeyPatch) -> None:
    row = Row(board, board.take_row())
    monkeypatch.setattr(scoreboard.time, "monotonic", lambda: value)
    row.beat()
    assert board.beat_of(0) == value


@pytest.mark.skipif(sys.platform == "win32", reason="descriptors are inherited on Unix alone")
@pytest.mark.parametrize("has_memfd", [True, False])
def test_another_process_sees_it_by_the_descriptor(has_memfd: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not has_memfd:
        monkeypatch.delattr(os, "memfd_create", raising=False)
    board = Scoreboard()
    mine = Row(board, board.take_row())
    board.take_row()
    mine.set_connections(20)
    mine.set_requests(21)
    mine.set_rss(22)
    before = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(board.handle)],
        pass_fds=[board.handle],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split("\n")[:2] == ["20 21 22 20", "20"]
    assert (board.connections_of(1), board.requests_of(1), board.rss_of(1)) == (30, 31, 32)
    assert before <= board.beat_of(1) <= time.monotonic()
    assert board.count_connections() == 50
    board.close()


def test_the_descriptor_is_not_inherited_unless_it_is_passed(board: Scoreboard) -> None:
    assert not os.get_inheritable(board.handle)


def test_closing_gives_the_descriptor_back() -> None:
    made = Scoreboard()
    made.close()
    with pytest.raises(OSError):
        os.fstat(made.handle)
