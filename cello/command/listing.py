"""An application's routes as rows: one for each method."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..routing import Route, code_of, is_async, name_of


@dataclass(frozen=True, slots=True)
class Row:
    """A method of a route; ``line`` is None for a handler without Python code."""

    method: str
    path: str
    handler: str
    file: str
    line: int | None
    lane: str

    @property
    def place(self) -> str:
        """Where the handler stands."""
        return self.file if self.line is None else f"{self.file}:{self.line}"


def rows_of(routes: Iterable[Route]) -> Iterator[Row]:
    """Yield the rows of routes, in their order."""
    for route in routes:
        file, line = where(route)
        handler = getattr(route.handler, "__qualname__", None) or name_of(route.handler)
        for method in route.methods:
            yield Row(method, route.template, handler, file, line, lane_of(route))


def where(route: Route) -> tuple[str, int | None]:
    """Return file and line of a route's handler."""
    code = code_of(route.handler)
    if code is None:
        return "built in", None
    try:
        relative = os.path.relpath(code.co_filename)
    except ValueError:  # another drive of Windows
        relative = code.co_filename
    return (code.co_filename if relative.startswith("..") else relative), code.co_firstlineno


def lane_of(route: Route) -> str:
    """Tell where a route's handler runs: on the event loop, in a thread, or wherever its calls belong.

    A ``def`` handler is pinned by ``blocking`` on its route; ``auto`` is measured while it serves.
    """
    if is_async(route.handler) or inspect.isasyncgenfunction(route.handler):
        return "loop"
    if route.blocking is None:
        return "auto"
    return "thread (pinned)" if route.blocking else "loop (pinned)"
