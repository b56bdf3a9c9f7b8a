"""A run's results: the raw JSON, and the table that is read from it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.load.figures import Row, rows
from benchmarks.load.idle import IdleVisit
from benchmarks.load.measure import Visit
from benchmarks.load.scenarios import LOADS
from benchmarks.load.settings import Settings

FORMAT = 1
NONE = "-"


@dataclass
class Results:
    """All that a run found out, growing while it goes on."""

    machine: Mapping[str, object]
    command: Sequence[str]
    settings: Settings
    peers: Sequence[str]
    versions: dict[str, str] = field(default_factory=dict)
    commands: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    visits: list[Visit] = field(default_factory=list)
    idle: list[IdleVisit] = field(default_factory=list)

    def failures(self) -> list[str]:
        failed = [visit for visit in self.all() if visit.failure]
        return [f"{visit.scenario} {visit.contender}: {visit.failure}" for visit in failed]

    def all(self) -> list[Visit | IdleVisit]:
        return [*self.visits, *self.idle]

    def to_json(self) -> str:
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1) + "\n"

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.to_json())


def number(value: float | None, form: str) -> str:
    return NONE if value is None else format(value, form)


def markdown(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    rule = ["---", *["--:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *body))


def ratio_cell(row: Row, peer: str) -> str:
    found = (row.ratios or {}).get(peer)
    return f"{found.of_minima:.2f} / {found.median_of_rounds:.2f}" if found else NONE


def load_cells(row: Row, peers: Sequence[str], *, has_instructions: bool) -> list[str]:
    cells = [row.contender, number(row.minimum_us, ".2f"), number(row.median_us, ".2f")]
    cells.append(number(row.user_us, ".2f"))
    cells += [ratio_cell(row, peer) for peer in peers]
    if has_instructions:
        cells.append(number(row.instructions, ",.0f"))
    cells += [number(row.answers_per_second, ",.0f"), number(row.server_busy, ".2f")]
    cells.append(number(row.neighbours_busy, ".2f"))
    return [*cells, f"{row.rounds - len(row.failures)} of {row.rounds}"]


def load_table(visits: Sequence[Visit], peers: Sequence[str]) -> str:
    """CPU per answer; ratios are of the minima / the median of the rounds' ratios."""
    found = rows(visits, peers)
    has_instructions = any(row.instructions is not None for row in found)
    head = ["Contender", "CPU us, minimum", "CPU us, median", "of it user", *(f"to {peer}" for peer in peers)]
    head += ["instructions"] if has_instructions else []
    head += ["answers/s", "busy", "others", "rounds"]
    return markdown(head, [load_cells(row, peers, has_instructions=has_instructions) for row in found])


def idle_cells(visit: IdleVisit) -> list[str]:
    readings = visit.readings
    at_rest, full = (None, None) if readings is None else (readings.at_rest, readings.full)
    memory = [number(None if value is None else value / 1e6, ".1f") for value in (at_rest, full)]
    figures = (visit.first, visit.marginal, visit.again, visit.kept)
    return [visit.contender, *memory, *(number(value, ",.0f") for value in figures)]


def idle_table(visits: Sequence[IdleVisit]) -> str:
    head = ["Contender", "at rest, MB", "full, MB", "first, B", "marginal, B", "again, B", "kept, B"]
    return markdown(head, [idle_cells(visit) for visit in visits])


def sections(results: Results) -> list[str]:
    parts = []
    for scenario in LOADS.values():
        visits = [visit for visit in results.visits if visit.scenario == scenario.name]
        if visits:
            title = f"## {scenario.title}, {results.settings.connections} connections"
            parts.append(f"{title}\n\n{load_table(visits, results.peers)}")
    if results.idle:
        title = f"## {results.settings.idle_connections:,} idle keep-alive connections, bytes per connection"
        parts.append(f"{title}\n\n{idle_table(results.idle)}")
    return parts


def notes(results: Results) -> list[str]:
    """What stands below the tables: versions, who was left out, and every failure."""
    lines = [f"- {name}: {version}" for name, version in results.versions.items()]
    lines += [f"- skipped {name}: {reason}" for name, reason in results.skipped.items()]
    return lines + [f"- failed {failure}" for failure in results.failures()]


def table(results: Results) -> str:
    machine = results.machine
    settings = results.settings
    where = f"{machine['cpu']}, {machine['cores']} cores, Linux {machine['kernel']}, {machine['python']}"
    how = (
        f"rounds: {settings.rounds}, of {settings.seconds} s each, one core for the server; {machine['wrk']}"
    )
    head = f"{where}; revision {machine['revision']}; {how}."
    return "\n\n".join([head, *sections(results), "\n".join(notes(results))])
