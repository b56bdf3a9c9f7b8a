"""The cluster's machine: more slots and fewer, and news that does not matter."""

from __future__ import annotations

import logging

import pytest

from cello.cluster import events as ev
from cello.cluster.events import Event
from cello.cluster.machine import Machine
from cello.cluster.states import FORK_SECONDS, MOST_SLOTS, Phase, Settings
from tests.kit.machine_bench import SIGTERM, Bench, log_of, of, quietly

# --- the number of slots ---


def test_one_slot_more() -> None:
    bench = Bench.up(2)
    assert quietly(bench.step(ev.SlotWanted(1))) == [ev.OpenSlot(2), ev.StartWorker(3, 2, 1, True)]
    assert bench.wait(0.3) == [ev.Adopt(1, 2)]
    assert bench.ready(3) == [ev.Release(1, 2)]


def test_one_slot_less_takes_the_last() -> None:
    bench = Bench.up(3)
    assert quietly(bench.step(ev.SlotWanted(-1))) == [ev.CloseSlot(2), ev.Drain(3, "stop")]
    assert bench.ended(3) == []
    assert quietly(bench.step(ev.SlotWanted(1))) == [ev.OpenSlot(2), ev.StartWorker(4, 2, 1, True)]


def test_a_slot_that_is_replaced_goes_with_both_workers() -> None:
    bench = Bench.up(2)
    bench.step(ev.ReplaceAsked(2, "SIGTERM"))
    assert quietly(bench.step(ev.SlotWanted(-1))) == [
        ev.CloseSlot(1),
        ev.Drain(2, "stop"),
        ev.Drain(3, "stop"),
    ]
    assert bench.ready(3) == []
    assert bench.step(ev.SlotWanted(1)) != []
    assert [bench.ended(2), bench.ended(3)] == [[], []]  # no matter for the slot that has taken its place
    assert bench.machine.slots[1].worker == 4


def test_an_adopted_slot_is_released_when_it_goes() -> None:
    bench = Bench.up(2)
    bench.freeze(2)
    assert bench.wait(0.3) == [ev.Adopt(1, 1)]
    assert quietly(bench.step(ev.SlotWanted(-1))) == [ev.CloseSlot(1), ev.Release(1, 1), ev.Drain(2, "stop")]


def test_what_the_last_slots_worker_has_adopted_is_handed_on() -> None:
    bench = Bench.up(3)
    bench.freeze(1)
    bench.freeze(2)
    assert bench.wait(0.3) == [ev.Adopt(3, 0), ev.Adopt(3, 1)]
    del bench.frozen[2]
    assert bench.wait(0.1) == [ev.Release(3, 1)]
    asked = bench.step(ev.SlotWanted(-1))
    assert quietly(asked) == [ev.CloseSlot(2), ev.Drain(3, "stop"), ev.Release(3, 0), ev.Adopt(2, 0)]


def test_a_worker_that_hangs_is_still_killed_after_its_slot_has_gone() -> None:
    bench = Bench.up(2, hang_seconds=5.0)
    bench.freeze(2)
    bench.seconds_until(ev.Abort, 6)
    assert ev.Drain(2, "stop") not in bench.step(ev.SlotWanted(-1))
    assert bench.wait(1.1) == [ev.Kill(2)]


def test_the_only_worker_that_serves_is_not_taken_away() -> None:
    bench = Bench.up(2)
    bench.gone(1)
    asked = bench.step(ev.SlotWanted(-1))
    assert log_of(asked) == "the number of processes stays: no other worker serves just now"
    assert quietly(asked) == []
    bench.ready(3)
    assert of(ev.CloseSlot, bench.step(ev.SlotWanted(-1)))


@pytest.mark.parametrize(("processes", "change"), [(1, -1), (MOST_SLOTS, 1)])
def test_the_number_of_slots_has_its_ends(processes: int, change: int) -> None:
    bench = Bench(processes)
    for number in range(1, processes + 1):
        bench.ready(number)
    asked = bench.step(ev.SlotWanted(change))
    assert quietly(asked) == []
    assert log_of(asked) == f"{processes} processes are wanted"


@pytest.mark.parametrize("change", [1, -1])
@pytest.mark.parametrize("phase", list(Phase))
def test_the_number_of_slots_changes_only_while_the_cluster_runs(phase: Phase, change: int) -> None:
    bench = Bench(2) if phase is Phase.STARTING else Bench.up(2)
    if phase is Phase.RELOADING:
        bench.step(ev.ReloadAsked("SIGHUP"))
    elif phase is Phase.STOPPING:
        bench.step(ev.StopAsked(SIGTERM, 5.0))
    assert bench.machine.phase is phase
    asked = bench.step(ev.SlotWanted(change))
    if phase is Phase.RUNNING:
        assert len(bench.machine.slots) == 2 + change
    else:
        assert asked == [
            ev.Log(logging.WARNING, f"the number of processes stays: the cluster is {phase.value}")
        ]


# --- what does not matter ---

STRAY: list[Event] = [
    ev.WorkerForked(99, 1),
    ev.WorkerReady(99),
    ev.WorkerGone(99, "exit status 1"),
    ev.ReplaceAsked(99, "SIGTERM"),
    ev.DrainBegun(99),
    ev.ListenersClosed(99),
    ev.LeaderReady(99, True),
    ev.LeaderGone(99, "exit status 1"),
    ev.ListenersClosed(1),
    ev.WorkerReady(1),  # again
    ev.LeaderReady(1, True),  # the forked leader's, which was counted on from the start
]


@pytest.mark.parametrize("event", STRAY, ids=str)
def test_stray_news_changes_nothing(event: Event) -> None:
    bench = Bench.up(2)
    assert bench.step(event) == []
    assert bench.wait(0.1) == []


@pytest.mark.parametrize("event", STRAY, ids=str)
def test_stray_news_changes_nothing_while_it_stops(event: Event) -> None:
    bench = Bench.up(2)
    bench.step(ev.StopAsked(SIGTERM, 5.0))
    assert bench.step(event) == []


EVERY: list[Event] = [
    *STRAY,
    ev.WorkerGone(1, "exit status 1"),
    ev.LeaderGone(1, "exit status 1"),
    ev.ReloadAsked("SIGHUP"),
    ev.StopAsked(SIGTERM),
    ev.StopAsked(SIGTERM, at_once=True),
    ev.SlotWanted(1),
    ev.DrainBegun(1),
    ev.ReplaceAsked(1, "SIGTERM"),
]


@pytest.mark.parametrize("event", EVERY, ids=str)
def test_after_the_exit_nothing_is_done(event: Event) -> None:
    bench = Bench.up(2)
    assert of(ev.Exit, bench.step(ev.StopAsked(SIGTERM, at_once=True)))
    assert bench.step(event) == []


def test_a_machine_without_its_start_can_be_stopped() -> None:
    machine = Machine(Settings(2), lambda: 0.0)
    assert machine.step(ev.StopAsked(SIGTERM), 1.0) == [ev.Tell("stopping"), ev.Exit(0)]


# --- a leader that lives and does nothing ---


def test_a_leader_that_forks_nothing_is_killed_and_loaded_anew() -> None:
    bench = Bench.up(2)
    bench.gone(1)
    waited = bench.wait(FORK_SECONDS - 0.1)
    assert of(ev.EndLeader, waited) == []
    waited = bench.wait(0.2)
    assert of(ev.EndLeader, waited) == [ev.EndLeader(1, at_once=True)]
    assert "the leader has forked nothing for 5 s" in log_of(waited)
    assert of(ev.EndLeader, bench.wait(5)) == []  # it is killed once
    assert of(ev.StartLeader, bench.step(ev.LeaderGone(1, "killed by SIGKILL"))) == [ev.StartLeader(2)]
    bench.gone(3, "it was never started")
    bench.step(ev.LeaderReady(2, True))
    assert ev.StartWorker(4, 0, 2, True) in bench.wait(0.3)


def test_a_leader_that_has_forked_may_wait_for_a_slow_start() -> None:
    bench = Bench.up(2)
    bench.gone(1)
    bench.step(ev.WorkerForked(3, 103))
    assert of(ev.EndLeader, bench.wait(FORK_SECONDS + 5)) == []


def test_a_leader_is_given_its_time_after_the_supervisor_was_late() -> None:
    bench = Bench.up(2)
    bench.gone(1)
    bench.wait(1)
    bench.now += FORK_SECONDS
    assert of(ev.EndLeader, bench.wait(1)) == []
