"""The cluster's machine: starting, crashes, silence and hangs, replacing a worker."""

from __future__ import annotations

import pytest

from cello.cluster import events as ev
from cello.cluster.states import Phase, Settings, WorkerState, delay_after
from tests.kit.machine_bench import Bench, log_of, of, quietly

# --- starting ---


@pytest.mark.parametrize("processes", [1, 2, 5])
@pytest.mark.parametrize("can_fork", [True, False])
def test_every_slot_gets_a_worker_and_the_last_one_ready_makes_the_cluster_ready(
    processes: int, can_fork: bool
) -> None:
    bench = Bench(processes, can_fork=can_fork)
    assert bench.first == [ev.StartWorker(n + 1, n, 1, can_fork) for n in range(processes)]
    for number in range(1, processes):
        assert bench.ready(number) == []
    assert bench.ready(processes) == [ev.Tell("ready")]
    assert bench.machine.phase is Phase.RUNNING


def test_ready_may_come_before_the_pid() -> None:
    bench = Bench(1)
    assert bench.ready(1) == [ev.Tell("ready")]
    assert bench.step(ev.WorkerForked(1, 4711)) == []
    assert "worker 1 (PID 4711) ended" in log_of(bench.gone(1))


def test_a_worker_that_dies_between_ready_and_its_pid_is_followed_by_another() -> None:
    bench = Bench(1)
    bench.ready(1)
    assert quietly(bench.gone(1)) == [ev.StartWorker(2, 0, 1, True)]
    assert bench.step(ev.WorkerForked(1, 4711)) == []
    assert bench.machine.workers[2].pid is None


def test_three_failed_starts_with_none_ever_ready_end_it() -> None:
    bench = Bench(2)
    bench.gone(1)
    bench.gone(2)
    asked = bench.gone(3)
    assert quietly(asked) == [ev.Kill(4), ev.Exit(1)]
    assert "3 workers failed to start, none ever did" in log_of(asked)


def test_once_a_worker_was_ready_no_number_of_failed_starts_ends_it() -> None:
    bench = Bench(2)
    bench.ready(1)
    number = 2
    for _ in range(10):
        asked = bench.gone(number) + bench.wait(20)
        assert not of(ev.Exit, asked)
        number = of(ev.StartWorker, asked)[0].worker


def test_a_slot_that_fails_again_and_again_does_not_keep_the_cluster_from_being_ready() -> None:
    bench = Bench(2)
    bench.ready(1)
    bench.gone(2)
    bench.gone(3)
    bench.wait(0.5)
    assert bench.machine.phase is Phase.STARTING
    assert ev.Tell("ready") in bench.gone(4)
    assert of(ev.StartLeader, bench.step(ev.ReloadAsked("SIGHUP")))


def test_a_cluster_of_which_nothing_serves_is_not_ready() -> None:
    bench = Bench(2)
    bench.ready(1)
    for number in (1, 3, 4):
        bench.gone(number)
        bench.wait(2)
    for number in (2, 6, 7):
        assert not of(ev.Tell, bench.gone(number) + bench.wait(2))
    assert bench.machine.phase is Phase.STARTING


# --- crashes ---


@pytest.mark.parametrize("was_ready", [True, False])
def test_the_first_respawn_is_at_once_then_ever_later(was_ready: bool) -> None:
    bench = Bench(2)
    bench.ready(1)
    waited = []
    number = 2
    for _ in range(10):
        if was_ready:
            bench.ready(number)
        asked = of(ev.StartWorker, bench.gone(number))
        start = bench.now
        while not asked:
            asked = of(ev.StartWorker, bench.wait(0.1))
        waited.append(round(bench.now - start, 1))
        number = asked[0].worker
    assert waited == pytest.approx([0.0, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 15.0, 15.0], abs=0.11)


@pytest.mark.parametrize(
    ("count", "jitter", "seconds"),
    [(0, 1.0, 0.0), (1, 1.0, 0.0), (2, 0.0, 0.2), (2, 1.0, 0.24), (9, 0.5, 16.5), (5000, 1.0, 18.0)],
)
def test_delays_have_up_to_a_fifth_of_jitter(count: int, jitter: float, seconds: float) -> None:
    assert delay_after(count, lambda: jitter) == pytest.approx(seconds)


@pytest.mark.parametrize(("healthy_seconds", "is_at_once"), [(59.0, False), (60.5, True)])
def test_crashes_are_forgotten_after_a_minute_of_health(healthy_seconds: float, is_at_once: bool) -> None:
    bench = Bench(1)
    bench.ready(1)
    for number in (1, 2):
        bench.gone(number)
        bench.wait(1)
        bench.ready(number + 1)
    bench.wait(healthy_seconds)
    assert bool(of(ev.StartWorker, bench.gone(3))) is is_at_once


def test_health_counts_for_a_worker_that_hangs_afterwards_too() -> None:
    bench = Bench(1)
    bench.ready(1)
    for number in (1, 2, 3):
        bench.gone(number)
        bench.wait(1)
        bench.ready(number + 1)
    bench.wait(61)
    bench.freeze(4)
    bench.seconds_until(ev.Abort, 40)
    assert of(ev.StartWorker, bench.gone(4))


def test_silence_is_no_health() -> None:
    bench = Bench(1)
    bench.ready(1)
    bench.gone(1)
    bench.ready(2)
    bench.freeze(2)
    bench.machine.settings = Settings(1, hang_seconds=None)
    bench.wait(70)
    assert not of(ev.StartWorker, bench.gone(2))


def test_crashes_of_one_slot_delay_no_other() -> None:
    bench = Bench.up(2)
    bench.gone(1)
    assert not of(ev.StartWorker, bench.gone(3))
    assert [each.slot for each in of(ev.StartWorker, bench.gone(2))] == [1]


def test_a_healthy_worker_is_left_alone_while_its_sibling_fails() -> None:
    bench = Bench.up(2)
    number = 1
    for _ in range(12):
        asked = bench.gone(number) + bench.wait(20)
        assert not [each for each in asked if isinstance(each, ev.Drain | ev.Abort | ev.Kill)]
        number = of(ev.StartWorker, asked)[0].worker


# --- silence and hangs ---


def test_a_silent_workers_slot_is_adopted_and_given_back() -> None:
    bench = Bench.up(2)
    bench.freeze(1)
    assert bench.wait(0.2) == []
    assert bench.wait(0.1) == [ev.Adopt(2, 0)]
    assert bench.machine.workers[1].state is WorkerState.STALLED
    del bench.frozen[1]
    assert bench.wait(0.1) == [ev.Release(2, 0)]
    assert bench.machine.workers[1].state is WorkerState.READY


def test_the_sibling_with_the_fewest_slots_adopts() -> None:
    bench = Bench.up(4)
    bench.freeze(1)
    bench.freeze(2)
    assert bench.wait(0.3) == [ev.Adopt(3, 0), ev.Adopt(4, 1)]
    bench.freeze(4)  # what it has adopted is released, and served by the only one left
    assert bench.wait(0.3) == [ev.Release(4, 1), ev.Adopt(3, 1), ev.Adopt(3, 3)]


def test_an_empty_slot_and_one_that_boots_are_adopted_too() -> None:
    bench = Bench.up(2)
    bench.gone(1)
    assert bench.wait(0.2) == []
    assert bench.wait(0.1) == [ev.Adopt(2, 0)]
    assert bench.ready(3) == [ev.Release(2, 0)]


def test_an_adopter_that_dies_is_succeeded() -> None:
    bench = Bench.up(3)
    bench.freeze(1)
    assert bench.wait(0.3) == [ev.Adopt(2, 0)]
    assert quietly(bench.gone(2)) == [ev.StartWorker(4, 1, 1, True), ev.Adopt(3, 0)]


def test_nobody_adopts_where_nobody_is_awake() -> None:
    bench = Bench.up(2)
    bench.freeze(1)
    bench.freeze(2)
    assert bench.wait(0.9) == []


def test_with_shared_listeners_nothing_is_adopted() -> None:
    bench = Bench.up(2, has_own_listeners=False)
    bench.freeze(1)
    assert not of(ev.Adopt, bench.wait(5))
    assert not of(ev.Adopt, bench.gone(2) + bench.wait(5))


def test_a_second_of_silence_is_warned_of_once_with_the_stacks() -> None:
    bench = Bench.up(2)
    bench.freeze(1)
    bench.wait(0.9)
    asked = bench.wait(0.2)
    assert quietly(asked) == [ev.DumpStacks(1)]
    assert "worker 1 (PID 101): its event loop has not run for 1." in log_of(asked)
    assert bench.wait(20) == []
    del bench.frozen[1]
    assert "worker 1 (PID 101): its event loop runs again" in log_of(bench.wait(0.1))
    bench.freeze(1)
    assert ev.DumpStacks(1) in bench.wait(1.1)  # anew


def test_a_short_silence_is_not_worth_a_line() -> None:
    bench = Bench.up(2)
    bench.freeze(1)
    bench.wait(0.8)
    del bench.frozen[1]
    assert bench.wait(0.5) == [ev.Release(2, 0)]


def test_a_worker_that_hangs_is_aborted_then_killed_and_followed() -> None:
    bench = Bench.up(2, hang_seconds=30.0)
    bench.freeze(1)
    bench.wait(29.8)
    asked = bench.wait(0.3)
    assert "worker 1 (PID 101) hangs, for 30." in log_of(asked)
    assert quietly(asked) == [ev.Abort(1)]
    assert bench.machine.workers[1].state is WorkerState.ABRT
    assert bench.wait(0.9) == []
    assert bench.wait(0.2) == [ev.Kill(1)]
    assert bench.wait(10) == []  # once
    assert quietly(bench.gone(1, "killed by SIGKILL")) == [ev.StartWorker(3, 0, 1, True)]


def test_without_a_limit_a_worker_that_hangs_is_warned_of_and_left() -> None:
    bench = Bench.up(2, hang_seconds=None)
    bench.freeze(1)
    assert quietly(bench.wait(600)) == [ev.Adopt(2, 0), ev.DumpStacks(1)]


def test_a_worker_is_silent_only_from_its_ready_on() -> None:
    bench = Bench(2)
    bench.freeze(1)
    bench.wait(20)
    bench.ready(1)  # its last beat is 20 s old, or not written yet
    bench.ready(2)
    assert bench.wait(0.2) == []


@pytest.mark.parametrize("late_seconds", [0.6, 5.0, 3600.0])
def test_a_supervisor_that_was_late_blames_nobody(late_seconds: float) -> None:
    bench = Bench.up(2)
    bench.freeze(1)
    bench.freeze(2)
    bench.now += late_seconds
    assert bench.tick() == []
    bench.frozen.clear()
    assert bench.wait(1) == []


def test_a_late_supervisor_takes_nobody_for_awake_either() -> None:
    bench = Bench.up(2)
    bench.freeze(1)
    bench.wait(2)
    bench.now += 5
    assert bench.tick() == []
    assert bench.machine.workers[1].state is WorkerState.STALLED
    assert bench.seconds_until(ev.Abort, 40) == pytest.approx(30.0, abs=0.11)  # from when it looks again


def test_booting_has_its_own_limit() -> None:
    bench = Bench.up(2)
    bench.gone(1)
    bench.wait(59.8)
    asked = bench.wait(0.3)
    assert log_of(asked) == "worker 1 was not ready within 60 s: aborted"
    assert quietly(asked) == [ev.Abort(3)]
    assert bench.ready(3) == []  # too late
    assert bench.seconds_until(ev.Kill, 2) == pytest.approx(1.0, abs=0.11)
    assert of(ev.StartWorker, bench.gone(3) + bench.wait(1))


def test_the_boot_limit_waits_for_a_late_supervisor() -> None:
    bench = Bench(2)
    bench.tick()
    bench.now += 100
    assert not of(ev.Abort, bench.tick())
    assert bench.seconds_until(ev.Abort, 70) == pytest.approx(60.0, abs=0.11)


def test_who_is_to_be_killed_before_its_pid_is_known_is_killed_then() -> None:
    bench = Bench.up(1)
    bench.gone(1)
    bench.wait(62)
    assert bench.machine.workers[2].state is WorkerState.KILL
    assert bench.step(ev.WorkerForked(2, 4711)) == [ev.Kill(2)]


# --- replacing ---


def asked_to_replace(bench: Bench, number: int) -> list[ev.Action]:
    return bench.step(ev.ReplaceAsked(number, "SIGTERM"))


def test_the_new_worker_is_ready_before_the_old_one_drains() -> None:
    bench = Bench.up(2)
    asked = asked_to_replace(bench, 1)
    assert quietly(asked) == [ev.StartWorker(3, 0, 1, True)]
    assert "worker 1 (PID 101) will be replaced: SIGTERM" in log_of(asked)
    bench.step(ev.WorkerForked(3, 103))
    assert bench.wait(10) == []
    assert bench.ready(3) == [ev.Drain(1, "replaced")]
    assert asked_to_replace(bench, 1) == []  # it drains
    assert bench.ended(1) == []
    assert asked_to_replace(bench, 1) == []  # it is gone


def test_a_replacement_serves_a_slot_that_was_adopted() -> None:
    bench = Bench.up(2)
    asked_to_replace(bench, 1)
    bench.freeze(1)
    assert bench.wait(0.3) == [ev.Adopt(2, 0)]
    assert bench.ready(3) == [ev.Drain(1, "replaced"), ev.Release(2, 0)]


def test_one_replacement_at_a_time() -> None:
    bench = Bench.up(3)
    assert of(ev.StartWorker, asked_to_replace(bench, 2)) == [ev.StartWorker(4, 1, 1, True)]
    assert quietly(asked_to_replace(bench, 1)) == []
    assert asked_to_replace(bench, 1) == []  # twice is once
    assert bench.ready(4) == [ev.Drain(2, "replaced"), ev.StartWorker(5, 0, 1, True)]
    assert bench.ready(5) == [ev.Drain(1, "replaced")]
    assert bench.wait(10) == []


def test_a_failed_replacement_leaves_the_old_worker_and_is_tried_ever_later() -> None:
    bench = Bench.up(2)
    asked_to_replace(bench, 1)
    waited = []
    for number in range(3, 12):
        asked = bench.gone(number)
        assert quietly(asked) == []
        assert "a replacement failed to start: exit status 1; the old worker stays, next try in" in log_of(
            asked
        )
        waited.append(bench.seconds_until(ev.StartWorker, 20))
    assert waited == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 15.0, 15.0], abs=0.11)
    assert bench.ready(12) == [ev.Drain(1, "replaced")]
    asked_to_replace(bench, 12)
    bench.gone(13)
    assert bench.seconds_until(ev.StartWorker, 20) < 0.35  # a success forgets the failures


def test_a_slot_whose_replacement_failed_is_filled_at_once_when_it_empties() -> None:
    bench = Bench.up(2)
    asked_to_replace(bench, 1)
    for number in (3, 4, 5, 6):
        bench.gone(number)
        bench.seconds_until(ev.StartWorker, 20)
    bench.gone(7)
    assert of(ev.StartWorker, bench.gone(1)) == [ev.StartWorker(8, 0, 1, True)]


def test_when_the_old_worker_dies_its_replacement_is_the_slots_worker() -> None:
    bench = Bench.up(2)
    asked_to_replace(bench, 1)
    assert quietly(bench.gone(1)) == []
    assert bench.wait(0.3) == [ev.Adopt(2, 0)]
    assert bench.ready(3) == [ev.Release(2, 0)]


def test_a_worker_that_asks_while_it_boots_is_replaced_when_it_is_ready() -> None:
    bench = Bench(1)
    assert quietly(asked_to_replace(bench, 1)) == []
    assert bench.ready(1) == [ev.Tell("ready"), ev.StartWorker(2, 0, 1, True)]
    assert bench.ready(2) == [ev.Drain(1, "replaced")]


def test_a_worker_that_hangs_as_its_replacement_comes_up_is_still_killed() -> None:
    bench = Bench.up(2, hang_seconds=5.0)
    bench.freeze(1)
    asked_to_replace(bench, 1)
    bench.seconds_until(ev.Abort, 6)
    assert quietly(bench.ready(3)) == [ev.Release(2, 0)]  # no Drain: it could not hear it
    assert bench.wait(1.1) == [ev.Kill(1)]


def test_a_second_term_drains_at_once_and_the_slot_is_filled() -> None:
    bench = Bench.up(2)
    asked_to_replace(bench, 1)
    assert bench.step(ev.DrainBegun(1)) == []  # the replacement boots already
    assert bench.wait(0.3) == [ev.Adopt(2, 0)]
    assert bench.ready(3) == [ev.Release(2, 0)]
    assert bench.step(ev.DrainBegun(2)) == [ev.StartWorker(4, 1, 1, True)]
    assert bench.ended(1) == []
    assert bench.seconds_until(ev.Kill, 40) == pytest.approx(35.0, abs=0.11)  # worker 2 never ends


def test_a_replacement_that_drains_by_itself_is_followed_by_another() -> None:
    bench = Bench.up(2)
    asked_to_replace(bench, 1)
    assert bench.step(ev.DrainBegun(3)) == [ev.StartWorker(4, 0, 1, True)]
    assert bench.ready(3) == []
    assert bench.ready(4) == [ev.Drain(1, "replaced")]


def test_a_worker_that_never_ends_is_killed_after_its_grace() -> None:
    bench = Bench.up(2, grace_seconds=10.0)
    asked_to_replace(bench, 1)
    bench.ready(3)
    assert bench.seconds_until(ev.Kill, 30) == pytest.approx(15.0, abs=0.11)
    asked = bench.gone(1, "killed by SIGKILL")
    assert log_of(asked) == "worker 1 (PID 101) ended: killed by SIGKILL"
    assert quietly(asked) == []
