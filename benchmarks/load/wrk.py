"""The load generator: its command line, its report, and what makes a report bad."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load.scenarios import Scenario

SCRIPT = Path(__file__).with_name("pipeline.lua")
SUMMARY = re.compile(r"^summary ((?:\w+=\d+ ?)+)$", re.MULTILINE)


@dataclass(frozen=True)
class Summary:
    """What wrk counted: ``requests`` are whole answers of any status, ``status`` those of 400 and above."""

    requests: int
    duration_us: int
    bytes: int
    connect: int
    read: int
    write: int
    status: int
    timeout: int


def command(port: int, scenario: Scenario, *, connections: int, seconds: int) -> list[str]:
    """One thread, since the generator has one core."""
    url = f"http://127.0.0.1:{port}/"
    options = ["-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(SCRIPT)]
    return ["wrk", *options, url, "--", str(scenario.depth), scenario.before, scenario.after]


def parse(output: str) -> Summary:
    """Read the line that pipeline.lua prints when the run is done; ValueError when there is none."""
    match = SUMMARY.search(output)
    if match is None:
        raise ValueError(f"expected a summary line of wrk, got {output[-500:]!r}")
    pairs = (pair.split("=") for pair in match[1].split())
    return Summary(**{name: int(value) for name, value in pairs})


def complaint(summary: Summary, *, answer_bytes: int, in_flight: int) -> str | None:
    """Why this run has no figure; None when every answer was good.

    wrk takes any status below 400 for good and reads no body, so the bytes have to agree as well: as many
    answers of the size that was checked, give or take the ``in_flight`` ones that the end of the run cut off.
    """
    errors = {name: getattr(summary, name) for name in ("connect", "read", "write", "status", "timeout")}
    counted = ", ".join(f"{count} {name} errors" for name, count in errors.items() if count)
    if counted:
        return f"{counted} in {summary.requests} answers"
    if not summary.requests:
        return "no answer at all"
    surplus = summary.bytes - summary.requests * answer_bytes
    if abs(surplus) > in_flight * answer_bytes:
        mean = summary.bytes / summary.requests
        return f"answers of {mean:.1f} bytes on average, expected {answer_bytes} as checked before the run"
    return None
