"""What making one JSON answer costs, in nanoseconds of CPU time, for both twins of the renderer.

    python -m benchmarks.micro.response [--answers 20000] [--rounds 7]

``encode`` is the JSON alone, the same for both; ``render`` the head and the body as octets; ``both`` what a
handler's dict costs on its way out. Every round has dicts of its own. Each figure is the least of the rounds,
since everything else on the machine can only add. The last column is the ratio of the pure module to the
compiled one in the same run.
"""

from __future__ import annotations

import argparse
import importlib
import time
from collections.abc import Callable, Sequence
from math import inf
from typing import Any

from cello.json_codec import encode
from cello.types import Fields

Render = Callable[[int, Fields, bytes, int, bytes], bytes]
Make = Callable[[int], Any]

COMMON = b"date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
JSON: Fields = [(b"content-type", b"application/json")]
MANY: Fields = [
    *JSON,
    (b"cache-control", b"private, max-age=60"),
    (b"etag", b'"5d8c72a5edda8d6a"'),
    (b"vary", b"accept-encoding, origin"),
    (b"access-control-allow-origin", b"https://example.com"),
    (b"set-cookie", b"theme=dark; Path=/; Max-Age=31536000; Secure; HttpOnly; SameSite=Lax"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
]


def small(number: int) -> dict[str, object]:
    return {"message": "hello", "n": number}


def large(number: int) -> dict[str, object]:
    return {
        "n": number,
        "rows": [{"id": row, "name": "a name", "ratio": 0.25, "tags": None} for row in range(20)],
    }


# The body's maker and the fields beside it.
ANSWERS: dict[str, tuple[Make, Fields]] = {
    "small, 1 field": (small, JSON),
    "small, 8 fields": (small, MANY),
    "1 KB, 1 field": (large, JSON),
}


def load(name: str) -> Render | None:
    try:
        module = importlib.import_module(f"cello._speedups.{name}")
    except ImportError:
        return None
    render: Render = module.render
    return render


def cost(step: Callable[[Any], object], inputs: Sequence[Any]) -> float:
    """Return the nanoseconds of CPU time that ``step`` takes for one of the inputs, on average."""
    started = time.process_time_ns()
    for each in inputs:
        step(each)
    return (time.process_time_ns() - started) / len(inputs)


def steps(render: Render, fields: Fields) -> tuple[Callable[[bytes], bytes], Callable[[Any], bytes]]:
    """Return what renders a body, and what makes the whole answer of a value."""

    def render_body(body: bytes) -> bytes:
        return render(200, fields, COMMON, len(body), body)

    def both(value: Any) -> bytes:
        return render_body(encode(value))

    return render_body, both


def measure(answer: str, twins: dict[str, Render], answers: int, rounds: int) -> dict[str, list[float]]:
    """Return the least cost of each step, one per twin; the twins take turns within a round."""
    make, fields = ANSWERS[answer]
    found: dict[str, list[float]] = {
        "encode": [inf],
        "render": [inf] * len(twins),
        "both": [inf] * len(twins),
    }
    for _ in range(rounds):
        values = [make(number) for number in range(answers)]
        bodies = [encode(value) for value in values]
        found["encode"][0] = min(found["encode"][0], cost(encode, values))
        for turn, render in enumerate(twins.values()):
            render_body, both = steps(render, fields)
            found["render"][turn] = min(found["render"][turn], cost(render_body, bodies))
            found["both"][turn] = min(found["both"][turn], cost(both, values))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Nanoseconds of CPU time per JSON answer.")
    parser.add_argument("--answers", type=int, default=20_000, help="answers in a round")
    parser.add_argument("--rounds", type=int, default=7, help="rounds, of which the best counts")
    options = parser.parse_args()
    twins = {name: render for name in ("wire_py", "wire_c") if (render := load(name)) is not None}
    print(f"{'answer':<16} {'step':<7}" + "".join(f"{name:>9}" for name in twins) + f"{'ratio':>8}")
    for answer in ANSWERS:
        for step, costs in measure(answer, twins, options.answers, options.rounds).items():
            ratio = f"{costs[0] / costs[1]:>8.1f}" if len(costs) == 2 else ""
            print(f"{answer:<16} {step:<7}" + "".join(f"{each:>9.0f}" for each in costs) + ratio)


if __name__ == "__main__":
    main()
