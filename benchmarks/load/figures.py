"""From visits to the figures that are quoted; pure.

The minimum is what the program costs when nothing disturbs it, the median what it cost in this run. A ratio
to a peer is given both ways: of the two minima, and as the median of the rounds' own ratios, where both stood
side by side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.load.measure import Visit


@dataclass(frozen=True)
class Ratio:
    """One contender's cost over a peer's; below 1 it is the cheaper one."""

    of_minima: float
    median_of_rounds: float


@dataclass(frozen=True)
class Row:
    """One contender in one scenario; None where no visit gave a figure."""

    contender: str
    rounds: int
    failures: tuple[str, ...]
    minimum_us: float | None = None
    median_us: float | None = None
    user_us: float | None = None
    answers_per_second: float | None = None
    server_busy: float | None = None
    neighbours_busy: float | None = None
    instructions: float | None = None
    ratios: Mapping[str, Ratio] | None = None


def costs(visits: Sequence[Visit], contender: str) -> dict[int, float]:
    """CPU microseconds per answer by round, of the visits that gave a figure."""
    return {
        visit.round: visit.cpu_us_per_answer
        for visit in visits
        if visit.contender == contender and visit.cpu_us_per_answer is not None
    }


def ratio(own: Mapping[int, float], peer: Mapping[int, float]) -> Ratio | None:
    """Costs by round over a peer's; None unless some round has both."""
    shared = own.keys() & peer.keys()
    if not shared:
        return None
    return Ratio(
        of_minima=min(own.values()) / min(peer.values()),
        median_of_rounds=median(own[number] / peer[number] for number in shared),
    )


def median_or_none(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None


def row(visits: Sequence[Visit], contender: str, peers: Sequence[str]) -> Row:
    """The figures of one contender; ``visits`` are all of one scenario."""
    own = [visit for visit in visits if visit.contender == contender]
    cost = costs(visits, contender)
    compared = {peer: ratio(cost, costs(visits, peer)) for peer in peers}
    return Row(
        contender,
        rounds=len(own),
        failures=tuple(visit.failure for visit in own if visit.failure is not None),
        minimum_us=min(cost.values(), default=None),
        median_us=median_or_none(list(cost.values())),
        user_us=median_or_none([visit.user_us_per_answer for visit in own]),
        answers_per_second=median_or_none([visit.answers_per_second for visit in own]),
        server_busy=median_or_none([visit.server_busy for visit in own]),
        neighbours_busy=median_or_none([visit.neighbours_busy for visit in own]),
        instructions=median_or_none([visit.instructions_per_answer for visit in own]),
        ratios={peer: found for peer, found in compared.items() if found is not None},
    )


def rows(visits: Sequence[Visit], peers: Sequence[str]) -> list[Row]:
    """One row per contender, in the order of their first visits."""
    names = dict.fromkeys(visit.contender for visit in visits)
    return [row(visits, name, peers) for name in names]
