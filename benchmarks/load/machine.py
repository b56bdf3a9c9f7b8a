"""Where a run took place."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

from benchmarks.load.contenders import ROOT


def parse_cpu_model(cpuinfo: str) -> str:
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return "unknown"


def first_line(*command: str) -> str:
    """The first line that a tool says of itself, or "unknown"."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    except OSError:
        return "unknown"
    text = (done.stdout or done.stderr).strip()
    return text.splitlines()[0] if text and not text.startswith("fatal") else "unknown"


def describe() -> dict[str, object]:
    return {
        "cpu": parse_cpu_model(Path("/proc/cpuinfo").read_text()),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "wrk": first_line("wrk", "-v").partition(" Copyright")[0],
        "revision": first_line("git", "describe", "--always", "--dirty"),
        "load_average_at_start": os.getloadavg()[0],
    }
