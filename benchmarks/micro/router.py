"""What one match costs, in nanoseconds of CPU time: small and large tables, all shapes, both twins.

    python -m benchmarks.micro.router [--routes 10 10000] [--matches 20000] [--rounds 7]

Each figure is the least of the rounds, since everything else on the machine can only add. The last column
is the ratio of the pure module to the compiled one in the same run; the paths are new objects for each
match, as a server's are, so that no hash is remembered.
"""

from __future__ import annotations

import argparse
import importlib
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

from cello.paths import parse_template
from cello.routing import trie_segments

# Every resource has one template of each shape; the last resource of the table is asked for.
SHAPES = {
    "static": ("/resource{n}/list", "/resource{n}/list"),
    "plain": ("/resource{n}/{{id}}", "/resource{n}/abc"),
    "two plain": ("/resource{n}/{{id}}/items/{{item}}", "/resource{n}/abc/items/def"),
    "int": ("/resource{n}/by-number/{{id:int}}", "/resource{n}/by-number/1234"),
    "encoded": ("/resource{n}/{{id}}/name", "/resource{n}/caf%C3%A9/name"),
    "wildcard": ("/resource{n}/files/{{path:path}}", "/resource{n}/files/a/b/c.txt"),
    "no match": ("/resource{n}/x/y/z", "/resource{n}/x/y/nothing"),
}


def build_router(module: ModuleType, routes: int) -> Any:
    router = module.Router()
    for number in range(-(-routes // len(SHAPES))):
        for template, _ in SHAPES.values():
            segments = trie_segments(parse_template(template.format(n=number)))
            router.add(segments, ["GET"], template)
    return router


def measure(match: Callable[[str, bytes], Any], path: bytes, matches: int, rounds: int) -> float:
    """Return the least nanoseconds of CPU time per match."""
    least = float("inf")
    for _ in range(rounds):
        paths = [bytes(bytearray(path)) for _ in range(matches)]
        started = time.process_time_ns()
        for each in paths:
            match("GET", each)
        least = min(least, (time.process_time_ns() - started) / matches)
    return least


def load(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(f"cello._speedups.{name}")
    except ImportError:
        return None


def main() -> None:
    parser = argparse.ArgumentParser(description="Nanoseconds of CPU time per match of the router's twins.")
    parser.add_argument("--routes", type=int, nargs="+", default=[10, 10_000], help="sizes of the tables")
    parser.add_argument("--matches", type=int, default=20_000, help="matches in a round")
    parser.add_argument("--rounds", type=int, default=7, help="rounds, of which the best counts")
    options = parser.parse_args()
    twins = {name: module for name in ("router_py", "router_c") if (module := load(name)) is not None}
    print(f"{'routes':>7}  {'shape':<10}" + "".join(f"{name:>11}" for name in twins) + f"{'ratio':>8}")
    for routes in options.routes:
        routers = {name: build_router(module, routes) for name, module in twins.items()}
        for shape, (_, path) in SHAPES.items():
            last = -(-routes // len(SHAPES)) - 1
            raw = path.format(n=last).encode()
            costs = [measure(each.match, raw, options.matches, options.rounds) for each in routers.values()]
            ratio = f"{costs[0] / costs[-1]:>8.1f}" if len(costs) == 2 else f"{'-':>8}"
            print(f"{routes:>7}  {shape:<10}" + "".join(f"{cost:>11.0f}" for cost in costs) + ratio)


if __name__ == "__main__":
    main()
