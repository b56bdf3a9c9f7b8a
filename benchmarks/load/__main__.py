"""``python -m benchmarks.load``: every contender once a round, one core for each side."""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.load import idle, machine, perf
from benchmarks.load.contenders import CONTENDERS, ROOT, Contender, shown_command
from benchmarks.load.measure import Visit, visit
from benchmarks.load.plan import choose, contender_names, order
from benchmarks.load.report import Results, table
from benchmarks.load.scenarios import IDLE, LOADS, NAMES
from benchmarks.load.settings import Settings

DEFAULT_OUTPUT = ROOT / "benchmarks" / "results" / "scratch" / "load.json"
PEERS = "bare,nginx"


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def at_least(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"expected {least} or more, got {value}")
        return value

    return number


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    made.add_argument("--scenario", choices=(*NAMES, "all"), default="json")
    made.add_argument("--contenders", type=contender_names, metavar="A,B", help=f"of {', '.join(CONTENDERS)}")
    made.add_argument("--against", type=contender_names, default=contender_names(PEERS), metavar="A,B",
                      help=f"peers to give ratios to (default: {PEERS})")  # fmt: skip
    made.add_argument("--rounds", type=at_least(1), default=5)
    made.add_argument("--seconds", type=at_least(1), default=5, help="of each timed run")
    made.add_argument("--warmup", type=at_least(0), default=1, help="seconds of load before each timed run")
    made.add_argument("--connections", type=at_least(1), default=64)
    made.add_argument("--idle-connections", type=at_least(1), default=3000)
    made.add_argument("--instructions", action="store_true", help="count them too, in one more run each")
    made.add_argument("--output", type=Path, default=DEFAULT_OUTPUT, help="raw results, as JSON")
    made.add_argument("--table", action="store_true", help="print a markdown table")
    return made


def two_cores() -> tuple[int, int]:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("benchmarks.load: needs two cores, one for the server and one for the generator")
    return cores[0], cores[1]


def settings_from(args: argparse.Namespace) -> Settings:
    server_core, load_core = two_cores()
    reason = perf.why_not() if args.instructions else None
    if reason:
        say(f"skipped instructions: {reason}")
    return Settings(
        rounds=args.rounds,
        seconds=args.seconds,
        warmup_seconds=args.warmup,
        connections=args.connections,
        idle_connections=args.idle_connections,
        server_core=server_core,
        load_core=load_core,
        counts_instructions=args.instructions and reason is None,
    )


def prepare(settings: Settings) -> None:
    """Put the harness on the generator's core, and let it and its children open many files."""
    absent = [tool for tool in ("wrk", "taskset") if shutil.which(tool) is None]
    if absent:
        raise SystemExit(f"benchmarks.load: {', '.join(absent)} not installed (sh ci/install-tools.sh)")
    os.sched_setaffinity(0, {settings.load_core})
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def present(chosen: Sequence[Contender], results: Results) -> list[Contender]:
    """Those that can run here; the others leave one line each."""
    found = []
    for contender in chosen:
        reason = results.skipped.get(contender.name) or contender.missing()
        if reason is None:
            results.versions[contender.name] = contender.version()
            results.commands[contender.name] = shown_command(contender)
            found.append(contender)
        elif contender.name not in results.skipped:
            results.skipped[contender.name] = reason
            say(f"skipped {contender.name}: {reason}")
    return found


def progress(done: Visit, rounds: int) -> str:
    head = f"{done.scenario} {done.round + 1}/{rounds} {done.contender}"
    if done.failure:
        return f"{head}: failed: {done.failure}"
    rate = f"{done.answers_per_second:,.0f}/s, busy {done.server_busy:.2f}, others {done.neighbours_busy:.2f}"
    return f"{head}: {done.cpu_us_per_answer:.2f} us, {rate}"


def run_load(scenario: str, contenders: Sequence[Contender], results: Results) -> None:
    settings = results.settings
    for round_number in range(settings.rounds):
        for contender in order(contenders, round_number):
            results.visits.append(visit(contender, LOADS[scenario], settings, round_number))
            say(progress(results.visits[-1], settings.rounds))


def run_idle(contenders: Sequence[Contender], results: Results) -> None:
    """One visit each: memory is not noisy, and a second filling is part of the visit."""
    for contender in contenders:
        done = idle.visit(contender, results.settings)
        results.idle.append(done)
        say(f"{IDLE} {contender.name}: {done.failure or f'{done.first:,.0f} bytes per connection'}")


def run(scenario: str, names: Sequence[str] | None, results: Results) -> None:
    contenders = present(choose(scenario, names), results)
    if not contenders:
        say(f"skipped {scenario}: no contender can run here")
    elif scenario == IDLE:
        run_idle(contenders, results)
    else:
        run_load(scenario, contenders, results)


def main() -> int:
    args = parser().parse_args()
    settings = settings_from(args)
    results = Results(machine.describe(), sys.argv[1:], settings, args.against)
    prepare(settings)
    try:
        for scenario in NAMES if args.scenario == "all" else (args.scenario,):
            run(scenario, args.contenders, results)
    finally:  # what was found out before an interrupt is not thrown away
        results.write(args.output)
        say(f"wrote {args.output}")
    if args.table:
        print(table(results))
    return 1 if results.failures() else 0


if __name__ == "__main__":
    raise SystemExit(main())
