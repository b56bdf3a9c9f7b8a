"""What is asked of every contender: the request, and the answer that counts as good."""

from __future__ import annotations

import json
from dataclasses import dataclass


@dataclass(frozen=True)
class Scenario:
    """One kind of load.

    The target is ``before`` + a number of six digits + ``after``, so that every answer of a contender has the
    same length and the bytes that the generator read prove how many there were. ``depth`` requests leave in
    one write.
    """

    name: str
    title: str
    before: str
    after: str = ""
    depth: int = 1

    def target(self, value: int) -> str:
        return f"{self.before}{value}{self.after}"


LOADS = {
    scenario.name: scenario
    for scenario in (
        Scenario("json", "JSON, keep-alive", before="/json?n="),
        Scenario("pipelined", "JSON, pipelined 16 deep", before="/json?n=", depth=16),
        Scenario("params", "JSON with a path parameter, keep-alive", before="/users/"),
    )
}
IDLE = "idle"
NAMES = (*LOADS, IDLE)


def is_expected(body: bytes, value: int) -> bool:
    """Is this the JSON document of the request that carried ``value``?"""
    try:
        document = json.loads(body)
    except ValueError:
        return False
    return bool(document == {"message": "hello", "n": str(value)})
