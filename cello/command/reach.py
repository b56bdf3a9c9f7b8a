"""Whether requests can reach a route at all, or others take all of them.

Of two patterns that differ, the one that is tried first is the narrower one at the first segment in which
they differ (a text, a typed parameter, a parameter, a wildcard), so something is left for the other; and two
that do not differ are refused when they are registered. A route without a wildcard can therefore always be
reached. A wildcard cannot where several others take together what it would: ``/files/{name}``,
``/files/{name}/`` and ``/files/{name}/{rest:path}`` leave ``/files/{path:path}`` nothing but paths with empty
segments, which no client sends.

This asks the route table itself, with paths that only the route in question should take: each parameter gets
a value that no route has as text and that no narrower type takes, and a wildcard any number of segments up to
more than any route has. The table's walk does not tell such values apart, so these paths stand for all.

What clients send is not decided by the table: they resolve "." and ".." before (RFC 3986 5.2.4).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any
from urllib.parse import quote

from ..paths import PCHAR, Kind, Segment
from ..routing import Route
from .listing import where

Match = Callable[[str, bytes], tuple[Any, Any] | None]

_VALUES: dict[str, Callable[[int], str]] = {
    "int": lambda number: str(7 * 10**18 + number),
    "float": lambda number: f"{number}.5",
    "uuid": lambda number: f"00000000-0000-4000-8000-{number:012x}",
}


def unreachable(routes: Sequence[Route], match: Match) -> Iterator[str]:
    """Yield a line for each method of a route that no request reaches.

    ``match`` is the table's: it takes a method and a raw path.
    """
    texts = {segment.text for route in routes for segment in route.segments}
    depth = max((len(route.segments) for route in routes), default=0)
    for route in routes:
        file, line = where(route)
        place = file if line is None else f"{file}:{line}"
        dots = [segment.text for segment in route.segments if segment.text in (".", "..")]
        if dots:
            yield f"{place}: {route.template} is never asked for: clients resolve {dots[0]!r} in a path"
            continue
        paths = witnesses(route, texts, depth)
        for method in route.methods:
            takers = list(dict.fromkeys(_taker(match(method, path)) for path in paths))
            if route not in takers:
                others = ", ".join(str(taker) for taker in takers)
                yield f"{place}: {method} {route.template} is shadowed, others take its requests: {others}"


def _taker(found: tuple[Any, Any] | None) -> Any:
    return None if found is None else found[0]


def witnesses(route: Route, texts: set[str], depth: int) -> list[bytes]:
    """Return raw paths that a route takes, one of which no other one should take before it."""
    fixed = [_text(segment, texts) for segment in route.segments if segment.kind is not Kind.WILDCARD]
    if len(fixed) == len(route.segments):
        return [_path(fixed)]
    word = _free(lambda number: f"x{number}", texts)
    rests = [[word] * length for length in range(1, depth + 2)]
    return [_path([*fixed, *rest, *end]) for rest in rests for end in ([], [""])]


def _path(texts: list[str]) -> bytes:
    return "".join("/" + quote(text, safe=PCHAR) for text in texts).encode()


def _text(segment: Segment, texts: set[str]) -> str:
    if segment.kind is Kind.STATIC:
        return segment.text
    return _free(_VALUES.get(segment.type, lambda number: f"x{number}"), texts)


def _free(value: Callable[[int], str], texts: set[str]) -> str:
    return next(text for text in map(value, count()) if text not in texts)
