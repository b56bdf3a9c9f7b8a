"""Who is let in: the gate's decisions over small stand-ins for connections, and the process's clock."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import pytest

from cello._speedups import ReaderSettings, Service
from cello.server.h1 import IDLE_BATCH, OVERFLOW_COUNT, Gate, H1Clock

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

    def test_who_has_made_room_is_logged(self, house: House, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO, "cello")
        house.admit(*idle([1.0, 2.0, 3.0]), Connection())
        assert caplog.messages == [
            "192.0.2.7:50000 no request: closed to make room: max_connections is reached"
        ]


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
