"""The cluster's machine: how it stops, gracefully and at once."""

from __future__ import annotations

import pytest

from cello.cluster import events as ev
from cello.cluster.events import Action
from tests.kit.machine_bench import SIGINT, SIGQUIT, SIGTERM, Bench, log_of, of, quietly


def stop(bench: Bench, delay_seconds: float = 0.0) -> list[Action]:
    return bench.step(ev.StopAsked(SIGTERM, delay_seconds))


def closed(bench: Bench, *numbers: int) -> list[Action]:
    return [action for number in numbers for action in bench.step(ev.ListenersClosed(number))]


@pytest.mark.parametrize("signal", [SIGTERM, SIGINT])
def test_listeners_are_closed_then_everyone_drains_then_it_ends(signal: int) -> None:
    bench = Bench.up(2)
    assert bench.step(ev.StopAsked(signal)) == [
        ev.Tell("stopping"),
        ev.StopListening(),
        ev.CloseListeners(1, (0,)),
        ev.CloseListeners(2, (1,)),
    ]
    assert closed(bench, 2) == []
    assert closed(bench, 1) == [ev.Drain(1, "stop"), ev.Drain(2, "stop")]
    assert bench.ended(1) == []
    assert bench.ended(2) == [ev.Exit(0)]


def test_during_the_delay_everyone_serves() -> None:
    bench = Bench.up(2)
    assert stop(bench, 5.0) == [ev.Tell("stopping")]
    assert bench.wait(4.9) == []
    assert of(ev.StopListening, bench.wait(0.2))


def test_who_does_not_answer_is_waited_for_half_a_second() -> None:
    bench = Bench.up(2)
    stop(bench)
    closed(bench, 1)
    assert bench.wait(0.4) == []
    assert bench.wait(0.2) == [ev.Drain(1, "stop"), ev.Drain(2, "stop")]
    assert closed(bench, 2) == []  # late


def test_who_dies_before_it_answers_is_not_waited_for() -> None:
    bench = Bench.up(2)
    stop(bench)
    closed(bench, 1)
    assert quietly(bench.gone(2)) == [ev.Drain(1, "stop")]


def test_who_is_silent_is_not_waited_for() -> None:
    bench = Bench.up(2)
    bench.freeze(1)
    bench.wait(0.5)
    asked = stop(bench)
    assert of(ev.CloseListeners, asked) == [ev.CloseListeners(1, (0,)), ev.CloseListeners(2, (0, 1))]
    assert closed(bench, 2) == [ev.Drain(1, "stop"), ev.Drain(2, "stop")]


def test_an_adopted_slot_is_emptied_by_its_adopter() -> None:
    bench = Bench.up(3)
    bench.gone(1)
    bench.gone(4)  # its follower: the next one comes later
    bench.wait(0.15)
    asked = stop(bench)
    assert asked[1:3] == [ev.StopListening(), ev.Adopt(2, 0)]  # it was empty for a moment only
    assert of(ev.CloseListeners, asked) == [ev.CloseListeners(2, (0, 1)), ev.CloseListeners(3, (2,))]


def test_a_slot_whose_worker_boots_is_emptied_by_a_sibling() -> None:
    bench = Bench.up(2)
    bench.gone(1)
    assert stop(bench) == [ev.Tell("stopping"), ev.Drain(3, "stop")]
    assert bench.ready(3) == []
    assert bench.seconds_until(ev.Kill, 1) == pytest.approx(0.3, abs=0.11)
    assert quietly(bench.gone(3)) == [ev.StopListening(), ev.CloseListeners(2, (0, 1))]  # adopted meanwhile


def test_who_boots_for_ever_holds_no_stop_up() -> None:
    bench = Bench.up(2)
    bench.gone(1)
    stop(bench)
    assert bench.seconds_until(ev.StopListening, 2) == pytest.approx(0.8, abs=0.11)


def test_a_leader_that_imports_ends_before_the_listeners_close() -> None:
    bench = Bench.up(2)
    bench.step(ev.ReloadAsked("SIGHUP"))
    assert stop(bench) == [ev.Tell("stopping"), ev.EndLeader(2, at_once=True)]
    assert of(ev.StopListening, bench.step(ev.LeaderGone(2, "killed by SIGKILL")))


def test_a_worker_that_crashes_during_the_delay_is_adopted_not_followed() -> None:
    bench = Bench.up(2)
    stop(bench, 5.0)
    asked = bench.gone(1)
    assert log_of(asked) == "worker 1 (PID 101) ended: exit status 1"
    assert quietly(asked) == []
    assert bench.wait(1) == [ev.Adopt(2, 0)]
    assert of(ev.CloseListeners, bench.wait(4.1)) == [ev.CloseListeners(2, (0, 1))]


def test_a_crash_as_the_listeners_close_is_not_adopted() -> None:
    bench = Bench.up(2)
    stop(bench)
    bench.gone(1)
    assert not of(ev.Adopt, bench.wait(3))


def test_who_is_replaced_just_now_serves_on_and_its_replacement_goes() -> None:
    bench = Bench.up(2)
    bench.step(ev.ReplaceAsked(1, "SIGTERM"))
    assert ev.Drain(3, "stop") in stop(bench)
    asked = bench.ended(3)
    assert of(ev.CloseListeners, asked) == [ev.CloseListeners(1, (0,)), ev.CloseListeners(2, (1,))]
    assert not of(ev.Adopt, asked)


def test_who_drains_already_gives_its_listeners_up_too() -> None:
    bench = Bench.up(2)
    bench.step(ev.ReplaceAsked(1, "SIGTERM"))
    bench.ready(3)
    asked = stop(bench)
    assert of(ev.CloseListeners, asked) == [
        ev.CloseListeners(1, ()),
        ev.CloseListeners(2, (1,)),
        ev.CloseListeners(3, (0,)),
    ]
    assert closed(bench, 2, 3) == []
    assert closed(bench, 1) == [ev.Drain(2, "stop"), ev.Drain(3, "stop")]


def test_with_shared_listeners_everyone_closes_and_empties_them() -> None:
    bench = Bench.up(2, has_own_listeners=False)
    bench.gone(1)
    assert stop(bench) == [ev.Tell("stopping"), ev.Drain(3, "stop")]
    assert bench.ended(3) == [
        ev.StopListening(),
        ev.CloseListeners(2, (1,)),
    ]


def test_who_does_not_end_in_its_grace_is_killed() -> None:
    bench = Bench.up(2, grace_seconds=10.0)
    stop(bench)
    closed(bench, 1, 2)
    bench.ended(1)
    assert bench.seconds_until(ev.Kill, 30) == pytest.approx(15.0, abs=0.11)
    asked = bench.gone(2, "killed by SIGKILL")
    assert quietly(asked) == [ev.Exit(0)]


def test_who_drains_by_itself_during_the_stop_is_killed_in_the_end_too() -> None:
    bench = Bench.up(1, grace_seconds=10.0)
    stop(bench, 5.0)
    assert bench.step(ev.DrainBegun(1)) == []
    assert bench.seconds_until(ev.Kill, 30) == pytest.approx(15.0, abs=0.11)
    assert ev.Exit(0) in bench.gone(1, "killed by SIGKILL")


def test_who_hangs_is_killed_in_its_time() -> None:
    bench = Bench.up(1, hang_seconds=5.0)
    bench.freeze(1)
    bench.seconds_until(ev.Abort, 6)
    asked = stop(bench)
    assert quietly(asked) == [ev.Tell("stopping"), ev.StopListening()]
    assert bench.wait(1.1) == [ev.Kill(1)]
    assert ev.Exit(0) in bench.gone(1, "killed by SIGKILL")


def test_a_worker_that_stands_still_is_killed_after_its_grace() -> None:
    bench = Bench.up(1, grace_seconds=10.0)
    bench.freeze(1)
    bench.wait(2)
    assert of(ev.Drain, stop(bench)) == [ev.Drain(1, "stop")]
    assert bench.seconds_until(ev.Kill, 30) == pytest.approx(15.0, abs=0.11)


@pytest.mark.parametrize("delay_seconds", [0.0, 5.0])
def test_while_everyone_boots_it_ends_soon(delay_seconds: float) -> None:
    bench = Bench(2)
    assert of(ev.Drain, stop(bench, delay_seconds)) == [ev.Drain(1, "stop"), ev.Drain(2, "stop")]
    bench.ended(1)
    assert bench.wait(0.35)[-1] == ev.Kill(2)
    assert quietly(bench.gone(2, "killed by SIGKILL"))[-1] == ev.Exit(0)


def test_with_no_worker_left_it_ends_at_once() -> None:
    bench = Bench.up(1)
    bench.gone(1)
    bench.gone(2)
    assert stop(bench, 5.0) == [ev.Tell("stopping"), ev.Exit(0)]


def test_a_reload_is_broken_off() -> None:
    bench = Bench.up(1)
    bench.step(ev.ReloadAsked("SIGHUP"))
    assert stop(bench, 5.0) == [ev.Tell("stopping"), ev.EndLeader(2, at_once=True)]
    assert bench.step(ev.LeaderReady(2, False)) == []  # it was on its way
    assert bench.step(ev.LeaderGone(2, "killed by SIGKILL")) == []


def test_a_leader_that_dies_during_the_stop_is_not_succeeded() -> None:
    bench = Bench.up(1)
    stop(bench, 5.0)
    assert bench.step(ev.LeaderGone(1, "killed by SIGKILL")) == []
    assert bench.wait(3) == []


@pytest.mark.parametrize(("signal", "status"), [(SIGTERM, 143), (SIGINT, 130)])
@pytest.mark.parametrize("delay_seconds", [0.0, 5.0])
def test_a_second_signal_ends_it_at_once(signal: int, status: int, delay_seconds: float) -> None:
    bench = Bench.up(2)
    stop(bench, delay_seconds)
    assert bench.step(ev.StopAsked(signal)) == [ev.Kill(1), ev.Kill(2), ev.Exit(status)]


def test_sigquit_ends_it_at_once() -> None:
    bench = Bench.up(2)
    assert bench.step(ev.StopAsked(SIGQUIT, at_once=True)) == [ev.Kill(1), ev.Kill(2), ev.Exit(131)]
