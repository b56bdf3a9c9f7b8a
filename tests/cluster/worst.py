"""Deals the blows many times over and prints the worst of each: python -m tests.cluster.worst --times 20

A blow that fails is counted, with what it said; the table is what README and notes may quote.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import traceback
from pathlib import Path

from tests.cluster import blows


def worst_of(blow: blows.Blow, strategy: str, times: int) -> tuple[dict[str, float], int]:
    """Deal a blow so many times; returns its worst figures and how often it failed."""
    worst: dict[str, float] = {}
    failure_count = 0
    for _ in range(times):
        with tempfile.TemporaryDirectory() as folder:
            try:
                figures = blow(Path(folder), strategy)
            except Exception:
                failure_count += 1
                traceback.print_exc()
                continue
        for name, value in figures.items():
            worst[name] = max(worst.get(name, 0.0), value)
    return worst, failure_count


def main() -> int:
    """Print the table; returns the number of failures, at most 99."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--only", nargs="*", help="names of blows")
    parser.add_argument("--strategy", nargs="*", default=["fork", "spawn"])
    options = parser.parse_args()
    total = 0
    print(f"worst of {options.times}")
    for blow in blows.ALL:
        if options.only and blow.__name__ not in options.only:
            continue
        for strategy in options.strategy:
            if strategy == "spawn" and blow in blows.FORK_ONLY:
                continue
            worst, failures = worst_of(blow, strategy, options.times)
            told = ", ".join(f"{name} {value:.3g}" for name, value in worst.items())
            print(f"{blow.__name__:32} {strategy:6} failed {failures:2}  {told}", flush=True)
            total += failures
    return min(total, 99)


if __name__ == "__main__":
    sys.exit(main())
