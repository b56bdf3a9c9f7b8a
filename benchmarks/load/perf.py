"""User-space instructions of a server, where the machine lets perf count them."""

from __future__ import annotations

import functools
import subprocess
import tempfile
from pathlib import Path

EVENT = "instructions:u"


def parse_stat(text: str, event: str = EVENT) -> int:
    """The count in the output of ``perf stat -x,``.

    Raises ValueError with perf's own words when it could not count.
    """
    for line in text.splitlines():
        fields = line.split(",")
        if len(fields) > 2 and fields[2] == event:
            if not fields[0].replace(".", "", 1).isdigit():
                raise ValueError(f"perf: {event} {fields[0].strip('<>')}")
            return int(float(fields[0]))
    raise ValueError(f"perf: {event} expected, got {text.strip()[-200:]!r}")


def wrap(command: list[str], pids: list[int], report: Path, event: str = EVENT) -> list[str]:
    """``command`` under perf, which counts the processes ``pids`` for as long as the command runs."""
    counted = ",".join(map(str, pids))
    return ["perf", "stat", "-x,", "-o", str(report), "-e", event, "-p", counted, "--", *command]


@functools.cache
def why_not() -> str | None:
    """The reason why this machine counts no instructions; None when it does."""
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch, "perf.csv")
        probe = ["perf", "stat", "-x,", "-o", str(report), "-e", EVENT, "true"]
        try:
            subprocess.run(probe, check=True, capture_output=True, text=True)
            parse_stat(report.read_text())
        except FileNotFoundError:
            return "perf is not installed"
        except subprocess.CalledProcessError as exc:
            return f"perf: {exc.stderr.strip()[-200:]}"
        except ValueError as exc:
            return str(exc)
    return None
