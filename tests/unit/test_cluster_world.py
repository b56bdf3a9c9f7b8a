"""The cluster's machine in a made-up world where everything fails at any time: what must hold at every step.

Hypothesis draws what happens to the processes and when; tests/kit/cluster_rules.py judges each step. In the
end nothing fails any more: then every slot has to be served again, a reload has to succeed, and a stop has to
come to its end.
"""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from cello.cluster import events as ev
from cello.cluster.states import Phase, Settings
from tests.kit.cluster_world import Odds, World

SIGTERM = 15
HEAL_SECONDS = 150.0  # the boot limit and the longest back-off, twice
RELOAD_SECONDS = 60.0
STOP_SECONDS = 60.0

Deed = Callable[[World, int], None]


def crash(world: World, pick: int) -> None:
    if alive := world.alive():
        world.end(alive[pick % len(alive)], "killed by SIGKILL")


def crash_all(world: World, pick: int) -> None:
    for process in world.alive():
        world.end(process, "killed by SIGKILL")


def freeze(world: World, pick: int) -> None:
    if alive := world.alive():
        world.freeze(alive[pick % len(alive)], [0.3, 0.6, 1.5, 4.0, 12.0, 80.0][pick % 6])


def terminate(world: World, pick: int) -> None:
    if alive := world.alive():
        world.terminate(alive[pick % len(alive)])


def terminate_twice(world: World, pick: int) -> None:
    if alive := world.alive():
        for _ in range(2):
            world.terminate(alive[pick % len(alive)])


def terminate_all(world: World, pick: int) -> None:
    for process in world.alive():
        world.terminate(process)


def end_leader(world: World, pick: int) -> None:
    if leaders := [leader for leader in world.leaders.values() if leader.is_alive]:
        world.end_leader(leaders[pick % len(leaders)])


def reload(world: World, pick: int) -> None:
    world.tell(ev.ReloadAsked("SIGHUP"))


def one_more(world: World, pick: int) -> None:
    world.tell(ev.SlotWanted(1))


def one_less(world: World, pick: int) -> None:
    world.tell(ev.SlotWanted(-1))


def be_late(world: World, pick: int) -> None:
    world.be_late([0.2, 0.7, 3.0, 90.0][pick % 4])


def fail_often(world: World, pick: int) -> None:
    names = list(Odds.__dataclass_fields__)
    setattr(world.odds, names[pick % len(names)], 0.7)


def fail_always(world: World, pick: int) -> None:
    names = list(Odds.__dataclass_fields__)
    setattr(world.odds, names[pick % len(names)], 1.0)


def fail_never(world: World, pick: int) -> None:
    world.odds = Odds()


DEEDS: dict[str, Deed] = {
    deed.__name__: deed
    for deed in (
        crash,
        crash_all,
        freeze,
        terminate,
        terminate_twice,
        terminate_all,
        end_leader,
        reload,
        one_more,
        one_less,
        be_late,
        fail_often,
        fail_always,
        fail_never,
    )
}
STEPS = st.lists(
    st.tuples(
        st.sampled_from(sorted(DEEDS)),
        st.integers(0, 11),
        st.sampled_from([0.0, 0.004, 0.02, 0.1, 0.3, 1.0, 3.0, 20.0, 70.0]),
    ),
    max_size=25,
)
SETTINGS = st.builds(
    Settings,
    processes=st.integers(1, 4),
    has_own_listeners=st.booleans(),
    hang_seconds=st.sampled_from([None, 5.0, 30.0]),
    grace_seconds=st.sampled_from([1.0, 30.0]),
)


def live(world: World, steps: list[tuple[str, int, float]]) -> None:
    for name, pick, seconds in steps:
        world.history.append(f"{world.now:.3f} {name} {pick}")
        DEEDS[name](world, pick)
        world.run(seconds)


def story(world: World) -> str:
    return "\n".join(world.history[-60:])


@settings(max_examples=150, deadline=None)
@given(SETTINGS, st.booleans(), st.integers(0, 2**32), STEPS)
def test_whatever_happens_every_slot_is_served_in_the_end(
    chosen: Settings, can_fork: bool, seed: int, steps: list[tuple[str, int, float]]
) -> None:
    world = World(chosen, can_fork=can_fork, seed=seed)
    world.run(seed % 7)
    live(world, steps)
    if world.status is not None:
        assert world.status == 1  # three failed starts, and none ever succeeded: nothing else may end it
        return
    world.calm_down()
    assert world.run_until(lambda: world.status is not None or is_settled(world), HEAL_SECONDS), story(world)
    if world.status is not None:
        assert world.status == 1
        return
    newest = max(world.machine.generations)
    world.tell(ev.ReloadAsked("SIGHUP"))
    assert world.run_until(lambda: is_settled(world) and has_moved_on(world, newest), RELOAD_SECONDS), story(
        world
    )
    world.tell(ev.StopAsked(SIGTERM, 2.0))
    assert world.run_until(lambda: world.status is not None, STOP_SECONDS), story(world)
    assert world.status == 0


def is_settled(world: World) -> bool:
    return world.is_whole() and world.machine.phase is Phase.RUNNING


def has_moved_on(world: World, newest: int) -> bool:
    machine = world.machine
    return all(machine.workers[slot.worker or 0].generation > newest for slot in machine.slots.values())


@settings(max_examples=100, deadline=None)
@given(SETTINGS, st.booleans(), st.integers(0, 2**32), STEPS, STEPS, st.sampled_from([0.0, 2.0]))
def test_a_stop_comes_to_its_end_whatever_happens(
    chosen: Settings,
    can_fork: bool,
    seed: int,
    before: list[tuple[str, int, float]],
    meanwhile: list[tuple[str, int, float]],
    delay_seconds: float,
) -> None:
    world = World(chosen, can_fork=can_fork, seed=seed)
    live(world, before)
    if world.status is None:
        world.tell(ev.StopAsked(SIGTERM, delay_seconds))
    live(world, meanwhile)
    world.catch_up()
    world.run_until(lambda: world.status is not None, STOP_SECONDS)
    assert world.status in (0, 1), story(world)
    assert world.machine.step(ev.ReloadAsked("SIGHUP"), world.now) == []
