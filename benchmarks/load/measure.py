"""One visit: a fresh server, a warm-up, and a timed run between two readings of its CPU time.

A figure stands only when every answer was good. Bad statuses, socket errors, a wrong document before, during
or after the run, and bytes that do not match the counted answers make it a Visit with a failure instead.
"""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass

from benchmarks.load import perf, proc, wrk
from benchmarks.load.answers import Answer, BadAnswer, Client, ask
from benchmarks.load.contenders import Contender
from benchmarks.load.scenarios import Scenario
from benchmarks.load.server import BadServer, Running, pinned, running
from benchmarks.load.settings import Settings

CHECKS_AT_REST = 3
SECONDS_BETWEEN_CHECKS = 0.25
LEAST_CPU_SECONDS = 0.2  # twenty of the kernel's ticks: a figure from fewer would be off by more than 5%


@dataclass(frozen=True)
class Visit:
    """What one contender did in one round.

    ``server_busy`` is its share of its core: below about 0.95 the generator, or a neighbour on the machine,
    was what held the rate down. ``neighbours_busy`` is the share that other processes took of the server's
    core: more than a few hundredths, and the figure is that of a server with cold caches. A failed visit has
    only its failure.
    """

    scenario: str
    contender: str
    round: int
    failure: str | None = None
    answers: int = 0
    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    cpu_us_per_answer: float | None = None
    user_us_per_answer: float | None = None
    answers_per_second: float | None = None
    server_busy: float | None = None
    neighbours_busy: float | None = None
    instructions_per_answer: float | None = None


def check_at_rest(server: Running, scenario: Scenario) -> Answer:
    with Client(server.port) as client:
        answers = [ask(client, scenario, echoes=server.contender.echoes) for _ in range(CHECKS_AT_REST)]
    if len({answer.size_bytes for answer in answers}) > 1:
        raise BadAnswer(f"expected answers of one size, got {[answer.size_bytes for answer in answers]}")
    return answers[0]


def run_wrk(command: list[str], server: Running, scenario: Scenario) -> wrk.Summary:
    """Run the generator to its end, and check answers meanwhile on a connection of their own.

    Those few checks are work of the server that wrk does not count: about ten in some hundred thousand.
    """
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        with Client(server.port) as client:
            while process.poll() is None:
                ask(client, scenario, echoes=server.contender.echoes)
                time.sleep(SECONDS_BETWEEN_CHECKS)
        return wrk.parse(process.communicate()[0])
    finally:
        process.kill()
        process.wait()


def timed(server: Running, scenario: Scenario, settings: Settings) -> tuple[wrk.Summary, proc.CpuTime, float]:
    """The generator's count, the server's CPU time, and the seconds of others on the server's core."""
    command = wrk.command(server.port, scenario, connections=settings.connections, seconds=settings.seconds)
    core_before = proc.core_seconds(settings.server_core)
    before = proc.cpu_time(server.pid)
    summary = run_wrk(pinned(command, settings.load_core), server, scenario)
    own = proc.cpu_time(server.pid) - before
    return summary, own, max(0.0, proc.core_seconds(settings.server_core) - core_before - own.total)


def warm_up(server: Running, scenario: Scenario, settings: Settings) -> None:
    if settings.warmup_seconds:
        command = wrk.command(
            server.port, scenario, connections=settings.connections, seconds=settings.warmup_seconds
        )
        run_wrk(pinned(command, settings.load_core), server, scenario)


def count_instructions(server: Running, scenario: Scenario, settings: Settings) -> float:
    """User-space instructions per answer, in a run of their own: perf's counting costs the server time."""
    command = wrk.command(server.port, scenario, connections=settings.connections, seconds=settings.seconds)
    report = server.log.with_name("perf.csv")
    counted = perf.wrap(pinned(command, settings.load_core), proc.pids(server.pid), report)
    summary = run_wrk(counted, server, scenario)
    return perf.parse_stat(report.read_text()) / summary.requests


def measure(server: Running, scenario: Scenario, settings: Settings, round_number: int) -> Visit:
    answer = check_at_rest(server, scenario)
    warm_up(server, scenario, settings)
    summary, cpu, others_seconds = timed(server, scenario, settings)
    in_flight = settings.connections * scenario.depth
    complaint = wrk.complaint(summary, answer_bytes=answer.size_bytes, in_flight=in_flight)
    if complaint:
        raise BadAnswer(complaint)
    if cpu.total < LEAST_CPU_SECONDS:
        used = f"{cpu.total:.2f} s of CPU for {summary.requests} answers"
        raise BadAnswer(f"{used}: it stalled, or the run is too short to tell")
    check_at_rest(server, scenario)
    instructions = count_instructions(server, scenario, settings) if settings.counts_instructions else None
    wall_seconds = summary.duration_us / 1e6
    return Visit(
        scenario.name,
        server.contender.name,
        round_number,
        answers=summary.requests,
        wall_seconds=wall_seconds,
        cpu_seconds=cpu.total,
        cpu_us_per_answer=cpu.total * 1e6 / summary.requests,
        user_us_per_answer=cpu.user * 1e6 / summary.requests,
        answers_per_second=summary.requests / wall_seconds,
        server_busy=cpu.total / wall_seconds,
        neighbours_busy=others_seconds / wall_seconds,
        instructions_per_answer=instructions,
    )


def visit(contender: Contender, scenario: Scenario, settings: Settings, round_number: int) -> Visit:
    """Start, measure and end ``contender``; what goes wrong becomes the visit's failure."""
    try:
        with running(contender, scenario, settings.server_core) as server:
            return measure(server, scenario, settings, round_number)
    except (BadServer, BadAnswer, OSError, ValueError) as exc:
        return Visit(scenario.name, contender.name, round_number, failure=f"{type(exc).__name__}: {exc}")
