"""The cluster's machine: reloads, the leaders they load, and leaders that are lost."""

from __future__ import annotations

import pytest

from cello.cluster import events as ev
from cello.cluster.events import Action
from cello.cluster.states import Phase
from tests.kit.machine_bench import SIGTERM, Bench, log_of, of, quietly

HUP = ev.ReloadAsked("SIGHUP")


def reload(bench: Bench, generation: int = 2) -> None:
    """Reload as far as the new code's leader being there."""
    assert quietly(bench.step(HUP)) == [ev.Tell("reloading"), ev.StartLeader(generation)]
    asked = bench.step(ev.LeaderReady(generation, True))
    assert [(each.slot, each.generation) for each in of(ev.StartWorker, asked)] == [(0, generation)]


def slots_of(bench: Bench) -> list[int | None]:
    return [slot.worker for slot in bench.machine.slots.values()]


# --- a reload that succeeds ---


def test_a_reload_loads_the_code_then_goes_from_slot_to_slot() -> None:
    bench = Bench.up(2)
    assert bench.step(HUP) == [
        ev.Log(20, "reloading: SIGHUP"),
        ev.Tell("reloading"),
        ev.StartLeader(2),
    ]
    assert bench.wait(5) == []
    assert bench.step(ev.LeaderReady(2, True)) == [ev.StartWorker(3, 0, 2, True)]
    assert bench.wait(5) == []
    assert bench.ready(3) == [ev.Drain(1, "reload"), ev.StartWorker(4, 1, 2, True)]
    assert bench.ended(1) == []
    asked = bench.ready(4)
    assert quietly(asked) == [ev.Drain(2, "reload"), ev.Tell("ready"), ev.EndLeader(1)]
    assert "reloaded: all workers run the new code" in log_of(asked)
    assert bench.machine.phase is Phase.RUNNING
    assert [bench.ended(2), bench.step(ev.LeaderGone(1, "exit status 0"))] == [[], []]
    assert of(ev.StartWorker, bench.gone(3)) == [ev.StartWorker(5, 0, 2, True)]


def test_the_current_generation_switches_at_the_first_ready() -> None:
    bench = Bench.up(3)
    reload(bench)
    assert of(ev.StartWorker, bench.gone(3)) == [ev.StartWorker(5, 2, 1, True)]
    assert of(ev.StartWorker, bench.ready(4)) == [ev.StartWorker(6, 1, 2, True)]
    assert quietly(bench.gone(5)) == []
    assert of(ev.StartWorker, bench.wait(1)) == [ev.StartWorker(7, 2, 2, True)]


def test_what_the_old_code_cannot_fill_is_filled_from_the_new() -> None:
    bench = Bench.up(1)
    bench.gone(1)
    bench.gone(2)
    bench.step(HUP)
    bench.wait(1)
    bench.gone(3)
    asked = bench.step(ev.LeaderReady(2, True))
    assert asked == [ev.StartWorker(4, 0, 2, True)]  # at once: what failed may be mended
    assert quietly(bench.ready(4)) == [ev.Tell("ready"), ev.EndLeader(1)]


def test_what_asks_to_be_replaced_during_a_reload_is_replaced_by_new_code_once() -> None:
    bench = Bench.up(2)
    reload(bench)
    bench.step(ev.ReplaceAsked(2, "SIGTERM"))
    assert of(ev.StartWorker, bench.ready(3)) == [ev.StartWorker(4, 1, 2, True)]
    bench.ready(4)
    assert bench.wait(5) == []


def test_a_new_worker_that_asks_to_be_replaced_during_the_reload_gets_new_code() -> None:
    bench = Bench.up(2)
    reload(bench)
    bench.ready(3)
    bench.step(ev.ReplaceAsked(3, "SIGTERM"))
    assert quietly(bench.ready(4)) == [
        ev.Drain(2, "reload"),
        ev.Tell("ready"),
        ev.EndLeader(1),
        ev.StartWorker(5, 0, 2, True),
    ]
    assert bench.ready(5) == [ev.Drain(3, "replaced")]


def test_a_silent_worker_is_replaced_too() -> None:
    bench = Bench.up(2)
    bench.freeze(1)
    bench.wait(2)
    reload(bench)
    assert quietly(bench.ready(3))[:2] == [ev.Drain(1, "reload"), ev.Release(2, 0)]


def test_a_worker_that_boots_is_replaced_when_it_is_ready() -> None:
    bench = Bench.up(2)
    bench.gone(1)
    bench.step(HUP)
    assert bench.step(ev.LeaderReady(2, True)) == [ev.StartWorker(4, 1, 2, True)]
    bench.ready(4)
    assert bench.machine.phase is Phase.RELOADING
    assert of(ev.StartWorker, bench.ready(3)) == [ev.StartWorker(5, 0, 2, True)]
    assert of(ev.Tell, bench.ready(5)) == [ev.Tell("ready")]


def test_a_generation_that_cannot_fork_is_executed() -> None:
    bench = Bench.up(2)
    bench.step(HUP)
    asked = bench.step(ev.LeaderReady(2, False))
    assert quietly(asked) == [ev.EndLeader(2), ev.StartWorker(3, 0, 2, False)]
    assert "the application has threads or an event loop" in log_of(asked)
    assert bench.step(ev.LeaderGone(2, "exit status 0")) == []
    assert of(ev.StartWorker, bench.ready(3)) == [ev.StartWorker(4, 1, 2, False)]
    assert of(ev.EndLeader, bench.ready(4)) == [ev.EndLeader(1)]
    assert of(ev.StartWorker, bench.gone(3)) == [ev.StartWorker(5, 0, 2, False)]
    assert bench.step(ev.LeaderGone(1, "exit status 0")) == []
    assert of(ev.StartLeader, bench.step(HUP)) == [ev.StartLeader(3)]  # its import is tried first, as before


def test_with_spawn_each_worker_loads_the_code_itself() -> None:
    bench = Bench.up(2, can_fork=False)
    asked = bench.step(HUP)
    assert quietly(asked) == [ev.Tell("reloading"), ev.StartWorker(3, 0, 2, False)]
    assert bench.ready(3) == [ev.Drain(1, "reload"), ev.StartWorker(4, 1, 2, False)]
    assert quietly(bench.ready(4)) == [ev.Drain(2, "reload"), ev.Tell("ready")]


# --- when it is asked for ---


def test_asked_for_during_a_reload_it_is_remembered_once() -> None:
    bench = Bench.up(1)
    bench.step(HUP)
    assert bench.step(HUP) == []
    bench.step(ev.LeaderReady(2, True))
    assert bench.step(HUP) == []
    asked = bench.ready(2)
    assert quietly(asked) == [
        ev.Drain(1, "reload"),
        ev.Tell("ready"),
        ev.EndLeader(1),
        ev.Tell("reloading"),
        ev.StartLeader(3),
    ]
    assert "reloading: asked for while another reload ran" in log_of(asked)
    bench.step(ev.LeaderReady(3, True))
    assert of(ev.Tell, bench.ready(3)) == [ev.Tell("ready")]
    assert bench.wait(5) == []


def test_asked_for_at_the_start_it_waits_for_the_start() -> None:
    bench = Bench(2)
    assert bench.step(HUP) == []
    assert bench.ready(1) == []
    assert quietly(bench.ready(2)) == [ev.Tell("ready"), ev.Tell("reloading"), ev.StartLeader(2)]


def test_asked_for_after_a_failure_it_is_tried_anew() -> None:
    bench = Bench.up(1)
    bench.step(HUP)
    bench.step(HUP)
    asked = bench.step(ev.LeaderGone(2, "exit status 1"))
    assert quietly(asked) == [ev.Tell("ready"), ev.Tell("reloading"), ev.StartLeader(3)]


def test_asked_for_during_a_stop_it_is_nothing() -> None:
    bench = Bench.up(1)
    bench.step(ev.StopAsked(SIGTERM, 5.0))
    assert bench.step(HUP) == []


# --- a reload that fails ---


def assert_old_serve_on(bench: Bench, asked: list[Action], failure: str) -> None:
    told = f"reload failed: {failure}; the old workers serve on, and the next reload may mend it"
    assert told in log_of(asked)
    assert ev.Tell("ready") in asked
    assert slots_of(bench) == [1, 2]
    assert bench.machine.phase is Phase.RUNNING
    assert bench.wait(30) == []
    assert of(ev.StartWorker, bench.gone(1)) == [
        ev.StartWorker(bench.machine.slots[0].worker or 0, 0, 1, True)
    ]


def test_code_that_does_not_import_changes_nothing() -> None:
    bench = Bench.up(2)
    bench.step(HUP)
    asked = bench.step(ev.LeaderGone(2, "exit status 1"))
    assert quietly(asked) == [ev.Tell("ready")]
    assert_old_serve_on(bench, asked, "the new code did not load (exit status 1)")


def test_code_that_never_gets_imported_is_given_up_at_the_boot_limit() -> None:
    bench = Bench.up(2)
    bench.step(HUP)
    assert bench.wait(59.8) == []
    asked = bench.wait(0.3)
    assert log_of(asked) == "the program was not loaded within 60 s: its process is killed"
    assert quietly(asked) == [ev.EndLeader(2, at_once=True)]
    assert bench.wait(5) == []  # once
    asked = bench.step(ev.LeaderGone(2, "killed by SIGKILL"))
    assert_old_serve_on(bench, asked, "the new code did not load (killed by SIGKILL)")


def test_the_limit_of_an_import_waits_for_a_late_supervisor() -> None:
    bench = Bench.up(2)
    bench.step(HUP)
    bench.now += 100
    assert bench.tick() == []


def test_a_worker_of_the_new_code_that_fails_changes_nothing() -> None:
    bench = Bench.up(2)
    reload(bench)
    asked = bench.gone(3)
    assert quietly(asked) == [ev.Tell("ready"), ev.EndLeader(2)]
    assert_old_serve_on(bench, asked, "a worker of the new code failed to start (exit status 1)")


def test_a_worker_of_the_new_code_that_never_comes_up_changes_nothing() -> None:
    bench = Bench.up(2)
    reload(bench)
    assert bench.seconds_until(ev.Abort, 70) == pytest.approx(60.0, abs=0.11)
    asked = bench.gone(3, "killed by SIGABRT")
    assert_old_serve_on(bench, asked, "a worker of the new code failed to start (killed by SIGABRT)")


def test_a_new_leader_that_dies_before_its_first_worker_is_ready_changes_nothing() -> None:
    bench = Bench.up(2)
    reload(bench)
    asked = bench.step(ev.LeaderGone(2, "killed by SIGKILL"))
    assert quietly(asked) == [ev.Drain(3, "replaced"), ev.Tell("ready")]
    assert bench.ready(3) == []  # it was on its way
    assert bench.ended(3) == []
    assert_old_serve_on(bench, asked, "its leader is gone (killed by SIGKILL)")


def test_a_worker_of_the_new_code_that_fails_in_an_empty_slot_ends_the_reload() -> None:
    bench = Bench.up(2)
    lose_leader(bench)
    bench.step(ev.LeaderGone(2, "exit status 1"))
    bench.gone(1)
    bench.step(HUP)
    assert bench.step(ev.LeaderReady(3, True)) == [
        ev.StartWorker(3, 0, 3, True),
        ev.StartWorker(4, 1, 3, True),
    ]
    asked = bench.gone(3)
    assert "reload failed: a worker of the new code failed to start" in log_of(asked)
    assert quietly(asked) == [ev.Drain(4, "replaced"), ev.Tell("ready"), ev.EndLeader(3)]
    assert of(ev.StartLeader, bench.wait(0.4)) == [ev.StartLeader(4)]


def test_a_replacement_by_the_old_code_outlives_a_reload_that_fails() -> None:
    bench = Bench.up(2)
    bench.step(HUP)
    assert of(ev.StartWorker, bench.step(ev.ReplaceAsked(1, "SIGTERM"))) == [ev.StartWorker(3, 0, 1, True)]
    assert bench.step(ev.LeaderReady(2, True)) == []  # one at a time
    assert quietly(bench.step(ev.LeaderGone(2, "killed by SIGKILL"))) == [ev.Tell("ready")]
    assert bench.ready(3) == [ev.Drain(1, "replaced")]


def test_with_spawn_a_worker_that_fails_changes_nothing() -> None:
    bench = Bench.up(2, can_fork=False)
    bench.step(HUP)
    asked = bench.gone(3)
    assert "the old workers serve on" in log_of(asked)
    assert quietly(asked) == [ev.Tell("ready")]
    assert of(ev.StartWorker, bench.gone(1)) == [ev.StartWorker(4, 0, 1, False)]


def test_a_failure_half_way_leaves_both_and_the_new_code_is_current() -> None:
    bench = Bench.up(2)
    reload(bench)
    bench.ready(3)
    asked = bench.gone(4)
    assert "1 of 2 workers run the new code" in log_of(asked)
    assert quietly(asked) == [ev.Tell("ready"), ev.EndLeader(1)]
    assert slots_of(bench) == [3, 2]
    assert bench.wait(30) == []
    assert of(ev.StartWorker, bench.gone(2)) == [ev.StartWorker(5, 1, 2, True)]


def test_a_new_leader_that_dies_half_way_is_succeeded() -> None:
    bench = Bench.up(2)
    reload(bench)
    bench.ready(3)
    asked = bench.step(ev.LeaderGone(2, "killed by SIGKILL"))
    assert quietly(asked) == [ev.Tell("ready"), ev.EndLeader(1), ev.StartLeader(3)]
    assert bench.step(ev.LeaderReady(3, True)) == []
    assert of(ev.StartWorker, bench.gone(2)) == []  # worker 4 is on its way


def test_an_old_leader_that_dies_after_the_switch_is_no_loss() -> None:
    bench = Bench.up(2)
    reload(bench)
    bench.ready(3)
    assert bench.step(ev.LeaderGone(1, "killed by SIGKILL")) == []
    assert quietly(bench.ready(4)) == [ev.Drain(2, "reload"), ev.Tell("ready")]


def test_a_worker_that_was_ready_may_crash_without_ending_the_reload() -> None:
    bench = Bench.up(2)
    reload(bench)
    bench.ready(3)
    assert of(ev.StartWorker, bench.gone(3)) == [ev.StartWorker(5, 0, 2, True)]
    bench.ready(4)
    assert bench.machine.phase is Phase.RELOADING
    assert of(ev.Tell, bench.ready(5)) == [ev.Tell("ready")]


# --- a leader that is lost ---


def lose_leader(bench: Bench) -> list[Action]:
    return bench.step(ev.LeaderGone(1, "killed by SIGKILL"))


def test_a_lost_leader_is_succeeded_and_the_workers_stay() -> None:
    bench = Bench.up(2)
    asked = lose_leader(bench)
    assert quietly(asked) == [ev.StartLeader(2)]
    assert "the leader is gone (killed by SIGKILL)" in log_of(asked)
    assert bench.step(ev.LeaderReady(2, True)) == []
    assert bench.wait(5) == []
    assert of(ev.StartWorker, bench.gone(1)) == [ev.StartWorker(3, 0, 2, True)]


def test_a_crash_meanwhile_waits_for_the_new_leader_and_is_adopted() -> None:
    bench = Bench.up(2)
    lose_leader(bench)
    assert quietly(bench.gone(1)) == []
    assert bench.wait(5) == [ev.Adopt(2, 0)]
    assert bench.step(ev.LeaderReady(2, True)) == [ev.StartWorker(3, 0, 2, True)]


def test_who_asks_to_be_replaced_meanwhile_waits_for_the_new_leader() -> None:
    bench = Bench.up(2)
    lose_leader(bench)
    assert quietly(bench.step(ev.ReplaceAsked(1, "SIGTERM"))) == []
    assert bench.step(ev.LeaderReady(2, True)) == [ev.StartWorker(3, 0, 2, True)]


def test_a_lost_leader_is_loaded_again_and_again_ever_later() -> None:
    bench = Bench.up(2)
    lose_leader(bench)
    waited = []
    for generation in range(2, 11):
        asked = bench.step(ev.LeaderGone(generation, "exit status 1"))
        assert quietly(asked) == []
        assert "no new leader (exit status 1); the workers serve on" in log_of(asked)
        waited.append(bench.seconds_until(ev.StartLeader, 20))
    assert waited == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 15.0, 15.0], abs=0.11)
    bench.step(ev.LeaderReady(11, True))
    bench.step(ev.LeaderGone(11, "killed by SIGKILL"))
    bench.step(ev.LeaderGone(12, "exit status 1"))
    assert bench.seconds_until(ev.StartLeader, 20) < 0.35  # a success forgets the failures


def test_a_leader_that_hangs_as_it_loads_is_given_up() -> None:
    bench = Bench.up(2)
    lose_leader(bench)
    assert bench.seconds_until(ev.EndLeader, 70) == pytest.approx(60.0, abs=0.11)
    bench.step(ev.LeaderGone(2, "killed by SIGKILL"))
    assert bench.seconds_until(ev.StartLeader, 1) < 0.35


def test_a_new_leader_that_cannot_fork_is_good_enough() -> None:
    bench = Bench.up(2)
    lose_leader(bench)
    assert quietly(bench.step(ev.LeaderReady(2, False))) == [ev.EndLeader(2)]
    assert bench.step(ev.LeaderGone(2, "exit status 0")) == []
    assert of(ev.StartWorker, bench.gone(1)) == [ev.StartWorker(3, 0, 2, False)]


def test_a_reload_asked_for_as_a_new_leader_loads_waits_for_it() -> None:
    bench = Bench.up(1)
    lose_leader(bench)
    assert bench.step(HUP) == []
    assert quietly(bench.step(ev.LeaderReady(2, True))) == [ev.Tell("reloading"), ev.StartLeader(3)]


def test_a_reload_between_two_attempts_heals() -> None:
    bench = Bench.up(2)
    lose_leader(bench)
    for generation in (2, 3, 4, 5):
        bench.step(ev.LeaderGone(generation, "exit status 1"))
        bench.seconds_until(ev.StartLeader, 20)
    bench.step(ev.LeaderGone(6, "exit status 1"))
    bench.gone(1)
    assert quietly(bench.step(HUP)) == [ev.Tell("reloading"), ev.StartLeader(7)]
    assert bench.step(ev.LeaderReady(7, True)) == [
        ev.StartWorker(3, 0, 7, True),  # the empty slot, which nobody else can fill
        ev.StartWorker(4, 1, 7, True),
    ]
    bench.ready(3)
    assert of(ev.Tell, bench.ready(4)) == [ev.Tell("ready")]
    assert of(ev.StartLeader, bench.step(ev.LeaderGone(7, "killed by SIGKILL"))) == [ev.StartLeader(8)]


def test_a_reload_that_fails_while_the_leader_is_lost_goes_back_to_healing() -> None:
    bench = Bench.up(2)
    lose_leader(bench)
    bench.step(ev.LeaderGone(2, "exit status 1"))
    bench.step(HUP)
    asked = bench.step(ev.LeaderGone(3, "exit status 1")) + bench.wait(1)
    assert of(ev.StartLeader, asked) == [ev.StartLeader(4)]
    assert bench.step(ev.LeaderReady(4, True)) == []
    assert of(ev.StartWorker, bench.gone(1)) == [ev.StartWorker(3, 0, 4, True)]


def test_the_leader_is_lost_during_a_reload_that_succeeds() -> None:
    bench = Bench.up(2)
    bench.step(HUP)
    assert quietly(lose_leader(bench)) == []
    assert quietly(bench.gone(2)) == []
    assert bench.step(ev.LeaderReady(2, True)) == [
        ev.StartWorker(3, 1, 2, True),
        ev.StartWorker(4, 0, 2, True),
    ]
    bench.ready(3)
    assert of(ev.Tell, bench.ready(4)) == [ev.Tell("ready")]


def test_the_leader_is_lost_during_a_reload_that_fails() -> None:
    bench = Bench.up(2)
    reload(bench)
    lose_leader(bench)
    asked = bench.gone(3)
    assert quietly(asked) == [ev.Tell("ready"), ev.EndLeader(2), ev.StartLeader(3)]


def test_a_leader_lost_with_a_fork_on_its_way_costs_that_start_alone() -> None:
    bench = Bench.up(2)
    assert of(ev.StartWorker, bench.gone(1)) == [ev.StartWorker(3, 0, 1, True)]
    lose_leader(bench)
    bench.step(ev.LeaderReady(2, True))
    asked = bench.gone(3, "nobody knows how") + bench.wait(0.3)
    assert of(ev.StartWorker, asked) == [ev.StartWorker(4, 0, 2, True)]


def test_a_program_that_never_loads_again_before_anything_was_ready_ends_it() -> None:
    bench = Bench(1)
    lose_leader(bench)
    bench.step(ev.LeaderGone(2, "exit status 1"))
    bench.wait(1)
    bench.gone(1)
    asked = bench.step(ev.LeaderGone(3, "exit status 1"))
    assert quietly(asked) == [ev.Exit(1)]


def test_with_spawn_there_is_no_leader_to_lose() -> None:
    bench = Bench.up(2, can_fork=False)
    assert lose_leader(bench) == []
    assert of(ev.StartWorker, bench.gone(1)) == [ev.StartWorker(3, 0, 1, False)]


def test_code_that_hangs_in_its_import_is_given_up_when_it_has_been_mended() -> None:
    """Under hot reload; a production reload has the time that the program's start has."""
    for has_hot_reload, seconds in ((True, 2.0), (False, 60.0)):
        bench = Bench.up(1, has_hot_reload=has_hot_reload)
        bench.step(ev.ReloadAsked("app.py has changed"))
        bench.step(ev.ReloadAsked("app.py has changed"))
        assert bench.seconds_until(ev.EndLeader, 61) == pytest.approx(seconds, abs=0.11)
        asked = bench.step(ev.LeaderGone(2, "killed by SIGKILL"))
        assert of(ev.StartLeader, asked) == [ev.StartLeader(3)]
