"""What reading one parameter of a query costs, in nanoseconds of CPU time: split, make, look up.

    python -m benchmarks.micro.query [--queries 20000] [--rounds 7]

``split`` is the parser alone; ``read`` makes the QueryParams and looks up the last name, which is the
dearest; ``index`` does the same with the index that forms.py makes for many fields, made at once.
``reference`` is urllib.parse.parse_qsl and a MultiDict of its pairs, without a class around it. Each figure
is the least of the rounds, since everything else on the machine can only add; all take turns within a round.
Every query is an object of its own, as a server's are.
"""

from __future__ import annotations

import argparse
import importlib
import time
from collections.abc import Callable, Sequence
from math import inf
from typing import Any
from urllib.parse import parse_qsl

from multidict import MultiDict

from cello import forms

Step = Callable[[bytes], object]
Split = Callable[[bytes, int], list[tuple[str, str]]]

# A query with a place for a number, and the name looked up.
QUERIES = {
    "1 pair": (b"n=%d", "n"),
    "1 pair, encoded": (b"name=J%%C3%%BCrgen+%d", "name"),
    "5 pairs": (b"q=%d&page=2&sort=name&order=asc&limit=20", "limit"),
    "8 pairs": (b"aa=%d&bb=2&cc=3&dd=4&ee=5&ff=6&gg=7&hh=8", "hh"),
    "12 pairs": (b"aa=%d&bb=2&cc=3&dd=4&ee=5&ff=6&gg=7&hh=8&ii=9&jj=10&kk=11&ll=12", "ll"),
}


def load(name: str) -> Split | None:
    try:
        split: Split = importlib.import_module(f"cello._speedups.{name}").split_pairs
    except ImportError:
        return None
    return split


def cost(step: Step, queries: Sequence[bytes]) -> float:
    """Return the nanoseconds of CPU time that ``step`` takes for one of the queries, on average."""
    started = time.process_time_ns()
    for each in queries:
        step(each)
    return (time.process_time_ns() - started) / len(queries)


def reference(name: str) -> Step:
    """Return what reads one name without Cello."""

    def read(raw: bytes) -> str:
        text = raw.decode("utf-8", "replace")
        return MultiDict(parse_qsl(text, keep_blank_values=True, encoding="utf-8", errors="replace"))[name]

    return read


def steps(name: str, split: Split) -> dict[str, Step]:
    """Return the parser alone, and what makes the QueryParams and reads one name, by walking and by index."""

    def split_only(raw: bytes) -> object:
        return split(raw, forms.MAX_FIELDS)

    def read(raw: bytes) -> str:
        return forms.parse_query(raw)[name]

    def read_by_index(raw: bytes) -> str:
        return forms.parse_query(raw)._indexed()[name]

    return {"split": split_only, "read": read, "index": read_by_index}


def measure(query: str, twins: dict[str, Split], count: int, rounds: int) -> dict[str, float]:
    """Return the least cost of each step."""
    template, name = QUERIES[query]
    found: dict[str, float] = {}
    for _ in range(rounds):
        queries = [template % number for number in range(100, 100 + count)]
        for twin, split in twins.items():
            vars(forms)["split_pairs"] = split  # the twin that forms.py would have been given
            for step, call in steps(name, split).items():
                key = f"{step} {twin}"
                found[key] = min(found.get(key, inf), cost(call, queries))
        found["reference"] = min(found.get("reference", inf), cost(reference(name), queries))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Nanoseconds of CPU time per parameter read of a query.")
    parser.add_argument("--queries", type=int, default=20_000, help="queries in a round")
    parser.add_argument("--rounds", type=int, default=7, help="rounds, of which the best counts")
    options = parser.parse_args()
    names: dict[str, Any] = {"pure": load("octets_py"), "compiled": load("octets_c")}
    twins: dict[str, Split] = {name: split for name, split in names.items() if split is not None}
    columns: list[str] = []
    for query in QUERIES:
        found = measure(query, twins, options.queries, options.rounds)
        if not columns:
            columns = list(found)
            print(f"{'query':<16}" + "".join(f"{column:>16}" for column in columns))
        print(f"{query:<16}" + "".join(f"{found[column]:>16.0f}" for column in columns))


if __name__ == "__main__":
    main()
