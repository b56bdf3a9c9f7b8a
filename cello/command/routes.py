"""``cello routes``: an application's routes, as a table or as JSON."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
from collections.abc import Sequence

from .flags import parse
from .listing import Row, rows_of
from .run import load_or_exit, read

PROG = "cello routes"
MEANING = "List an application's routes: method, path, handler, where it stands, and its lane."

_HEADS = ("METHOD", "PATH", "HANDLER", "FILE", "LANE")


def routes(argv: Sequence[str]) -> int:
    """Print the routes of what a command line names; returns the exit status."""
    parsed = parse(PROG, MEANING, argv, has_json=True)
    with contextlib.redirect_stdout(sys.stderr):  # what the application prints is no part of the answer
        loaded = load_or_exit(PROG, parsed, read(PROG, parsed))
    rows = list(rows_of(loaded.application.routes))
    print(as_json(rows) if parsed.is_json else as_table(rows))
    return 0


def as_json(rows: Sequence[Row]) -> str:
    """Return the rows as a list of objects."""
    return json.dumps([dataclasses.asdict(row) for row in rows], indent=2)


def as_table(rows: Sequence[Row]) -> str:
    """Return the rows in columns."""
    if not rows:
        return "no routes"
    lines = [_HEADS, *((row.method, row.path, row.handler, row.place, row.lane) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEADS))]
    padded = (
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines
    )
    return "\n".join(line.rstrip() for line in padded)
