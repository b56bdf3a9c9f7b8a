"""Who is let in: the gate's decisions over small stand-ins for connections, and the process's clock."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from cello._speedups import ReaderSettings, Service
from cello.server.h1 import IDLE_BATCH, OVERFLOW_COUNT, TELL_SECONDS, Gate, H1Clock

CAP = 3


class Connection:
    """What the gate asks of a connection, and a note of what it did to it."""

    def __init__(self, idle_since: float | None = None) -> None:
        self.idle_since = idle_since or 0.0
        self.is_waiting = idle_since is not None
        self.client = ("192.0.2.7", 50000)
        self.method = ""
        self.transport: object | None = object()
        self.fate = ""

    def is_idle(self) -> bool:
        return self.is_waiting and not self.fate

    def abort(self) -> None:
        self.fate = "aborted"

    def turn_away(self, detail: str) -> None:
        assert "max_connections" in detail
        self.fate = "turned away"


class House:
    """A gate and its service; connections come and go as the event loop would have them."""

    def __init__(self, cap: int = CAP, is_tls: bool = False) -> None:
        self.service: Any = Service(None, ReaderSettings(None, None, 100))
        self.service.scheme = "https" if is_tls else "http"
        self.said: list[str] = []
        self.gate = Gate(
            self.service, cap, lambda: self.said.append("first"), lambda: self.said.append("empty")
        )

    def admit(self, *connections: Connection) -> None:
        for connection in connections:
            self.service.connections.add(connection)
            self.service.admit(connection)

    def lose(self, *connections: Connection) -> None:
        for connection in connections:
            connection.transport = None
            self.service.connections.discard(connection)
            self.service.released(connection)


def busy(count: int) -> list[Connection]:
    return [Connection() for _ in range(count)]


def idle(times: Iterable[float]) -> list[Connection]:
    return [Connection(idle_since=each) for each in times]


def fates(connections: Iterable[Connection]) -> list[str]:
    return [connection.fate for connection in connections]


@pytest.fixture
def house() -> House:
    return House()


class TestAdmission:
    def test_up_to_the_cap_all_are_let_in(self, house: House) -> None:
        connections = busy(CAP)
        house.admit(*connections)
        assert fates(connections) == [""] * CAP
        assert house.gate.count() == CAP

    def test_beyond_it_the_one_idle_longest_makes_room(self, house: House) -> None:
        connections = idle([3.0, 1.0, 2.0])
        newcomer = Connection()
        house.admit(*connections, newcomer)
        assert fates(connections) == ["", "aborted", ""]
        assert newcomer.fate == ""

    def test_each_newcomer_costs_one_also_before_the_last_is_gone(self, house: House) -> None:
        connections = idle([1.0, 2.0, 3.0])
        newcomers = busy(2)
        house.admit(*connections, *newcomers)
        assert fates(connections) == ["aborted", "aborted", ""]
        assert fates(newcomers) == ["", ""]

    def test_a_newcomer_never_makes_room_for_itself(self, house: House) -> None:
        house.admit(*busy(CAP))
        newcomer = Connection(idle_since=1.0)
        house.admit(newcomer)
        assert newcomer.fate == "turned away"

    def test_with_all_busy_it_is_turned_away(self, house: House) -> None:
        connections, newcomer = busy(CAP), Connection()
        house.admit(*connections, newcomer)
        assert newcomer.fate == "turned away"
        assert fates(connections) == [""] * CAP

    def test_only_so_many_are_told(self, house: House) -> None:
        newcomers = busy(OVERFLOW_COUNT + 2)
        house.admit(*busy(CAP), *newcomers)
        assert fates(newcomers) == ["turned away"] * OVERFLOW_COUNT + ["aborted"] * 2

    def test_room_that_was_left_is_room(self, house: House) -> None:
        connections = busy(CAP)
        house.admit(*connections)
        house.lose(connections[0])
        newcomer = Connection()
        house.admit(newcomer)
        assert newcomer.fate == ""

    def test_what_the_cap_costs_is_told_in_numbers_and_seldom(
        self, house: House, caplog: pytest.LogCaptureFixture
    ) -> None:
        house.gate.tell()
        assert caplog.messages == []
        house.admit(*idle([1.0, 2.0, 3.0]), Connection())
        house.gate.tell()
        told = "the limit of 3 connections is reached: {} idle ones closed to make room, {} new ones refused"
        assert caplog.messages == [told.format(1, 0)]
        house.admit(*busy(OVERFLOW_COUNT + 5))
        house.service.now += TELL_SECONDS - 0.1
        house.gate.tell()
        assert len(caplog.messages) == 1
        house.service.now += 0.2
        house.gate.tell()
        house.gate.tell()
        assert caplog.messages[1:] == [told.format(2, OVERFLOW_COUNT + 3)]

    def test_the_last_to_go_has_the_rest_told(self, house: House, caplog: pytest.LogCaptureFixture) -> None:
        connections = [*idle([1.0, 2.0, 3.0]), Connection()]
        house.admit(*connections)
        house.gate.tell()
        house.admit(Connection())
        for connection in list(house.service.connections):
            house.lose(connection)
        assert len(caplog.messages) == 2


class Board:
    """What siblings have; the numbers are set by tests."""

    def __init__(self, others: int, processes: int) -> None:
        self.count = 0
        self._others = others
        self._processes = processes

    def set_connections(self, count: int) -> None:
        self.count = count

    def others(self) -> int:
        return self._others

    def process_count(self) -> int:
        return self._processes


class TestCluster:
    """One cap for all processes: 10 connections over two of them, 5 of which are this one's share."""

    @pytest.fixture
    def big(self) -> House:
        return House(cap=100)

    def test_siblings_count(self, big: House) -> None:
        board = Board(others=7, processes=2)
        big.gate.join(board, 10)
        connections = idle([1.0, 2.0, 3.0])
        big.admit(*connections)
        assert board.count == 3
        assert fates(connections) == [""] * 3
        big.admit(Connection())
        assert fates(connections) == ["aborted", "", ""]

    def test_below_its_share_it_admits_and_leaves_making_room_to_siblings(self, big: House) -> None:
        big.gate.join(Board(others=10, processes=2), 10)
        connections = busy(5)
        big.admit(*connections)
        assert fates(connections) == [""] * 5
        newcomer = Connection()
        big.admit(newcomer)
        assert newcomer.fate == "turned away"

    def test_above_its_share_it_makes_room_for_siblings(self, big: House) -> None:
        board = Board(others=0, processes=2)
        big.gate.join(board, 10)
        connections = idle(float(number) for number in range(8))
        big.admit(*connections)
        big.gate.trim()
        assert fates(connections) == [""] * 8
        board._others = 4  # two more than there is room for
        big.gate.trim()
        assert fates(connections) == ["aborted"] * 2 + [""] * 6

    def test_its_share_is_never_trimmed(self, big: House) -> None:
        board = Board(others=0, processes=2)
        big.gate.join(board, 10)
        connections = idle(float(number) for number in range(6))
        big.admit(*connections)
        board._others = 20
        big.gate.trim()
        assert fates(connections).count("aborted") == 1

    def test_this_process_has_a_cap_of_its_own_as_well(self) -> None:
        house = House(cap=CAP)
        house.gate.join(Board(others=0, processes=2), 1000)
        connections = busy(CAP)
        house.admit(*connections)
        newcomer = Connection()
        house.admit(newcomer)
        assert newcomer.fate == "turned away"


class TestIdleOrder:
    """The gate looks for many idle connections at once; each is checked again before its turn."""

    def test_more_than_a_batch_in_order(self) -> None:
        house = House(cap=2 * IDLE_BATCH)
        connections = idle(float(number) for number in range(2 * IDLE_BATCH, 0, -1))
        house.admit(*connections)
        for number in range(1, 2 * IDLE_BATCH + 1):
            house.admit(Connection())
            assert fates(connections) == [""] * (2 * IDLE_BATCH - number) + ["aborted"] * number

    def test_one_that_has_become_busy_is_passed_over(self, house: House) -> None:
        connections = idle([1.0, 2.0, 3.0])
        house.admit(*connections, Connection())
        connections[1].is_waiting = False
        house.admit(Connection())
        assert fates(connections) == ["aborted", "", "aborted"]

    def test_one_that_has_worked_meanwhile_goes_to_the_end(self, house: House) -> None:
        connections = idle([1.0, 2.0, 3.0])
        house.admit(*connections, Connection())
        connections[1].idle_since = 4.0
        house.admit(Connection())
        assert fates(connections) == ["aborted", "", "aborted"]
        house.admit(Connection())
        assert fates(connections) == ["aborted"] * 3

    def test_one_that_has_gone_is_passed_over(self, house: House) -> None:
        connections = idle([1.0, 2.0, 3.0])
        house.admit(*connections, Connection())
        house.lose(connections[0], connections[1])
        house.admit(*busy(2))
        assert fates(connections) == ["aborted", "", "aborted"]

    def test_ties_are_settled_without_comparing_connections(self, house: House) -> None:
        connections = idle([1.0, 1.0, 1.0])
        house.admit(*connections, *busy(2))
        assert sorted(fates(connections)) == ["", "aborted", "aborted"]

    def test_nobody_is_remembered_after_the_last_has_gone(self, house: House) -> None:
        connections = idle([1.0, 2.0, 3.0])
        newcomer = Connection()
        house.admit(*connections, newcomer)
        house.lose(*connections, newcomer)
        assert house.gate.count() == 0
        crowd = busy(CAP)
        house.admit(*crowd, Connection())
        assert fates(connections) == ["aborted", "", ""]


class TestHandshakes:
    """Over TLS a connection counts from its accept: first as a handshake, then as both for a moment."""

    @pytest.fixture
    def house(self) -> House:
        return House(is_tls=True)

    def shake_hands(self, house: House, connection: Connection) -> None:
        house.gate.pending_count += 1
        if house.gate.make_room():
            house.admit(connection)
        else:
            connection.fate = "not even accepted"
        house.gate.pending_count -= 1

    def test_up_to_the_cap_all_are_let_in(self, house: House) -> None:
        connections = busy(CAP)
        for connection in connections:
            self.shake_hands(house, connection)
        assert fates(connections) == [""] * CAP

    def test_the_one_idle_longest_makes_room(self, house: House) -> None:
        connections = idle([2.0, 1.0, 3.0])
        for connection in connections:
            self.shake_hands(house, connection)
        newcomer = Connection()
        self.shake_hands(house, newcomer)
        assert fates(connections)[1] == "aborted"

    def test_handshakes_that_do_not_end_fill_the_house(self, house: House) -> None:
        house.gate.pending_count = CAP
        assert house.gate.make_room()
        house.gate.pending_count = CAP + OVERFLOW_COUNT
        assert house.gate.make_room()
        house.gate.pending_count = CAP + OVERFLOW_COUNT + 1
        assert not house.gate.make_room()

    def test_with_all_busy_a_newcomer_is_told_so(self, house: House) -> None:
        for connection in busy(CAP):
            self.shake_hands(house, connection)
        newcomer = Connection()
        self.shake_hands(house, newcomer)
        assert newcomer.fate == "turned away"


class TestFirstAndLast:
    def test_they_are_told_of(self, house: House) -> None:
        one, two = busy(2)
        house.admit(one, two)
        assert house.said == ["first"]
        house.lose(one)
        assert house.said == ["first"]
        house.lose(two)
        assert house.said == ["first", "empty"]
        house.admit(Connection())
        assert house.said == ["first", "empty", "first"]


class TestClock:
    def make(self) -> tuple[Any, list[float], list[float], H1Clock]:
        service: Any = Service(None, ReaderSettings(None, None, 100))
        monotonic, wall = [5.0], [784111777.0]
        return service, monotonic, wall, H1Clock(service, "cello", lambda: monotonic[0], lambda: wall[0])

    def test_it_is_right_from_the_start(self) -> None:
        service, _, _, _ = self.make()
        assert service.now == 5.0
        assert service.common.startswith(b"date: Sun, 06 Nov 1994 08:49:37 GMT\r\n")

    def test_a_tick_moves_the_time_and_the_date_once_a_second(self) -> None:
        service, monotonic, wall, clock = self.make()
        before = service.common
        monotonic[0], wall[0] = 5.5, 784111777.9
        clock.tick()
        assert service.now == 5.5
        assert service.common is before
        wall[0] = 784111778.0
        clock.tick()
        assert service.common.startswith(b"date: Sun, 06 Nov 1994 08:49:38 GMT\r\n")
        assert service.common_close.startswith(service.common)
        assert service.common_keep_alive.startswith(service.common)

    def test_a_wall_clock_that_is_set_back_is_followed(self) -> None:
        service, _, wall, clock = self.make()
        wall[0] = 0.0
        clock.tick()
        assert b"01 Jan 1970" in service.common
