"""``cello check``: looks at an application as it would be served, without serving it."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

from ..config import RunOptions
from ..errors import ConfigError, StartError
from ..options import refuse_unbuilt, resolve_options
from ..routing import Route, RouteTable
from ..sources.names import all_places
from ..sources.reading import Sources
from .certificates import look_at
from .findings import Finding, Level
from .flags import parse
from .listing import where
from .loading import Loaded
from .reach import unreachable
from .run import load_or_exit, read

PROG = "cello check"
MEANING = "Look for mistakes without serving: imports, configuration, certificates, routes."


def check(argv: Sequence[str]) -> int:
    """Print what is found, a line each; returns 1 where something is wrong, else 0."""
    parsed = parse(PROG, MEANING, argv)
    sources = read(PROG, parsed)
    with contextlib.redirect_stdout(sys.stderr):  # what the application prints is no finding
        loaded = load_or_exit(PROG, parsed, sources)
    found = list(findings(parsed.target.text, loaded, sources))
    for finding in found:
        print(finding)
    return 1 if any(finding.level is Level.WRONG for finding in found) else 0


def findings(target: str, loaded: Loaded, sources: Sources) -> Iterator[Finding]:
    """Yield what is found."""
    yield Finding(Level.FINE, "imports", target)
    for warning in sources.warnings:
        yield Finding(Level.WARNING, "configuration", warning)
    try:
        options = refuse_unbuilt(resolve_options(sources.lay_over(loaded.arguments)))
    except ConfigError as exc:
        yield Finding(Level.WRONG, "configuration", exc.message)
    else:
        yield from _configuration(loaded, sources, options)
        yield from _certificates(options)
    yield from _routes(loaded.application.routes)


def _configuration(loaded: Loaded, sources: Sources, options: RunOptions) -> Iterator[Finding]:
    for warning in options.warnings:
        yield Finding(Level.WARNING, "configuration", warning)
    yield Finding(Level.FINE, "configuration", f"{options.env}, {_counted(options.process_count)}")
    for key, given in sources.winners(loaded.arguments).items():
        place = all_places()[key]
        shown = "(not shown)" if key[1] == "key_password" else repr(given.value)
        yield Finding(Level.FINE, "configuration", f"{place.dotted} = {shown} ({given.source})")


def _counted(processes: int) -> str:
    return "1 process" if processes == 1 else f"{processes} processes"


def _certificates(options: RunOptions) -> Iterator[Finding]:
    if options.tls is None:
        yield Finding(Level.FINE, "certificates", "none, plain http")
        return
    try:
        yield look_at(options.tls, time.time())
    except StartError as exc:
        yield Finding(Level.WRONG, "certificates", str(exc))


def _routes(routes: Sequence[Route]) -> Iterator[Finding]:
    table = RouteTable()
    for route in routes:
        table.add(route)
    shadowed = list(unreachable(routes, table.match))
    for line in shadowed:
        yield Finding(Level.WRONG, "routes", line)
    for method, what in (("HEAD", "GET's answer without its body"), ("OPTIONS", "the automatic answer")):
        for route in routes:
            if method in route.methods:
                yield Finding(
                    Level.FINE, "routes", f"{_place(route)}: {method} {route.template} replaces {what}"
                )
    if not routes:
        yield Finding(Level.WARNING, "routes", "there are none: every request is answered 404")
    elif not shadowed:
        count = "1 route is" if len(routes) == 1 else f"all {len(routes)} routes are"
        yield Finding(Level.FINE, "routes", f"{count} reached by requests of their own")


def _place(route: Any) -> str:
    file, line = where(route)
    return file if line is None else f"{file}:{line}"
