"""Routes and their table: match, 404, 405 with Allow, the redirect to the other slash, and URLs by name.

The table checks a route when it is added, so that a mistake shows where it was made and not at the first
request; a refused route leaves no trace. Matching itself is the trie's work (`_speedups/router_py.py`).
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import CodeType
from typing import Any

from ._speedups import Router
from .errors import RouteError
from .paths import CONVERTERS, Converter, Kind, Segment, build_path, nearest, parse_template
from .places import short
from .types import Handler

METHODS = (
    *("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY"),
    *("ACL", "BIND", "CHECKOUT", "COPY", "LINK", "LOCK", "M-SEARCH", "MERGE", "MKACTIVITY", "MKCALENDAR"),
    *("MKCOL", "MOVE", "NOTIFY", "PROPFIND", "PROPPATCH", "PURGE", "REBIND", "REPORT", "SEARCH", "SOURCE"),
    *("SUBSCRIBE", "UNBIND", "UNLINK", "UNLOCK", "UNSUBSCRIBE"),
)
"""The methods a route may have: those that the HTTP/1.1 parser knows."""

REFUSED_METHODS = {
    "CONNECT": "it asks a proxy for a tunnel (RFC 9110 9.3.6), and Cello is none",
    "TRACE": "it would echo the client's credentials (RFC 9110 9.3.8)",
}

# The trie's kinds (`_speedups/router_py.py`); types lie between STATIC and PLAIN, in order of precedence.
_STATIC, _PLAIN, _WILDCARD = 0, 100, 101
_TYPE_KINDS = {name: kind for kind, name in enumerate(CONVERTERS, start=1)}

Pattern = tuple[tuple[int, str], ...]


@dataclass(eq=False, slots=True)
class Route:
    """A path template and methods, the handler that answers them, and the handler's options.

    ``timeout`` is in seconds and ``max_request_size`` in bytes; None leaves both to the server's
    configuration. ``name`` defaults to the handler's own; ``place`` says where the handler was written, for
    messages. ``call`` is the dispatch core's: what it calls for this route, made when the application
    starts.
    """

    template: str
    methods: tuple[str, ...]
    handler: Handler
    name: str | None = None
    blocking: bool | None = None
    timeout: float | None = None
    max_request_size: int | None = None
    stream: bool = False
    guards: tuple[Any, ...] = ()
    tags: tuple[str, ...] = ()
    summary: str | None = None
    description: str | None = None
    place: str = ""
    segments: list[Segment] = field(init=False, repr=False)
    call: Any = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        """Parse the template and fill in name and place; raises RouteError for a template that is wrong."""
        self.place = self.place or place_of(self.handler)
        self.name = self.name or name_of(self.handler)
        try:
            self.segments = parse_template(self.template)
        except RouteError as exc:
            raise RouteError(exc.message, self.place) from None

    def __str__(self) -> str:
        return f"{','.join(self.methods)} {self.template} ({self.place})"


class RouteTable:
    """All routes of an application."""

    def __init__(self) -> None:
        self.routes: list[Route] = []
        self._router = Router()
        self._by_pattern: dict[Pattern, dict[str, Route]] = {}
        self._by_name: dict[str, list[Route]] = {}
        self.match: Callable[[str, bytes], tuple[Route, dict[str, Any] | None] | None] = self._router.match
        """Find the route for a method and a raw path, with its parameters (None where the template has none).

        Returns None where no route matches; raises HTTPError 400 for a path that is not UTF-8.
        """
        self.allowed: Callable[[bytes], list[str]] = self._router.allowed
        """Return the methods that have a route for a raw path, sorted; raises as ``match``."""

    def add(self, route: Route) -> None:
        """Add a route; its methods become upper-case.

        Raises RouteError for a bad method or option, and for a second route with the same method and
        pattern, which names both. Two patterns are the same when they differ in nothing but the names of
        parameters.
        """
        methods = _checked_methods(route)
        _check_options(route)
        pattern = tuple((_kind_of(segment), _text_of(segment)) for segment in route.segments)
        known = self._by_pattern.get(pattern, {})
        for method in methods:
            if method in known:
                raise RouteError(
                    f"route {method} {route.template} ({route.place}): the same method and pattern are"
                    f" registered already, as {known[method]}; change one's path or method, or take one out",
                    route.place,
                )
        route.methods = methods
        self._by_pattern[pattern] = {**known, **dict.fromkeys(methods, route)}
        self._by_name.setdefault(route.name or "", []).append(route)
        self._router.add(trie_segments(route.segments), list(methods), route)
        self.routes.append(route)

    def slash_redirect(self, path: bytes, method: str) -> bytes | None:
        """Return a raw path with its last slash added or taken off, where that form has a route.

        A route for any method will do: whether it takes the request's own is for the form that exists to
        answer. Never for "/", and never where a client would read the result as another server's address
        (RFC 3986 4.2; browsers take a backslash for a slash).
        """
        if len(path) < 2 or path[:1] != b"/" or path[1:2] in (b"/", b"\\"):
            return None
        other = path[:-1] if path.endswith(b"/") else path + b"/"
        # The request's own method first: one walk that ends at the first hit.
        return other if self.match(method, other) is not None or self.allowed(other) else None

    def url_for(self, name: str, /, **params: Any) -> str:
        """Build the path of the route with a name.

        Raises RouteError for an unknown name, for one that stands for different templates, and for
        parameters that do not fit.
        """
        routes = self._by_name.get(name)
        if routes is None:
            raise RouteError(f"no route is named {name!r}{nearest(str(name), list(self._by_name))}")
        if any(route.segments != routes[0].segments for route in routes):
            listed = "; ".join(str(route) for route in routes)
            raise RouteError(f"{name!r} names several routes, give them names of their own: {listed}")
        return build_path(routes[0].segments, params)


def trie_segments(segments: Iterable[Segment]) -> list[tuple[int, str, str, Converter | None]]:
    """Spell a template's segments as ``Router.add`` takes them."""
    return [(_kind_of(each), _text_of(each), each.name, CONVERTERS.get(each.type)) for each in segments]


def place_of(handler: Any) -> str:
    """Say where a handler was written, as "file.py:12 in index".

    Looks through functools.wraps, functools.partial, methods and objects with ``__call__``. A handler
    without Python code (a builtin) is named by its repr.
    """
    code = code_of(handler)
    if code is None:
        return repr(handler)
    name = code.co_qualname.rpartition("<locals>.")[2]
    return f"{short(code.co_filename)}:{code.co_firstlineno} in {name}"


def name_of(handler: Any) -> str:
    """Return a handler's own name: its function's, or that of its class."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    return getattr(handler, "__name__", None) or type(handler).__name__


def is_async(function: Any) -> bool:
    """Tell whether calling it gives a coroutine: ``async def``, also behind partial or as ``__call__``."""
    while isinstance(function, functools.partial):
        function = function.func
    called = getattr(function, "__call__", None)  # noqa: B004 - it is looked at, not asked for
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(called)


def code_of(handler: Any) -> CodeType | None:
    """Return the code object of what a handler runs first, looking through wrappers; None without one."""
    while isinstance(handler, functools.partial) or hasattr(handler, "__wrapped__"):
        handler = handler.func if isinstance(handler, functools.partial) else inspect.unwrap(handler)
    if not hasattr(handler, "__code__"):
        handler = getattr(handler, "__init__" if isinstance(handler, type) else "__call__", None)
    code = getattr(handler, "__code__", None)
    return code if isinstance(code, CodeType) else None


def _kind_of(segment: Segment) -> int:
    if segment.kind is Kind.TYPED:
        return _TYPE_KINDS[segment.type]
    return {Kind.STATIC: _STATIC, Kind.PLAIN: _PLAIN, Kind.WILDCARD: _WILDCARD}[segment.kind]


def _text_of(segment: Segment) -> str:
    return segment.text if segment.kind is Kind.STATIC else segment.type


def _checked_methods(route: Route) -> tuple[str, ...]:
    """Return a route's methods in upper case, each once."""
    where = f"route {route.template} ({route.place})"
    given_methods: object = route.methods
    if not isinstance(given_methods, tuple | list) or not given_methods:
        raise RouteError(
            f"{where}: methods is a list of at least one method, got {given_methods!r}", route.place
        )
    methods: list[str] = []
    for given in given_methods:
        method = given.upper() if isinstance(given, str) else given
        if method in REFUSED_METHODS:
            raise RouteError(f"{where}: no route can answer {method}: {REFUSED_METHODS[method]}", route.place)
        if method not in METHODS:
            hint = nearest(str(method), METHODS)
            raise RouteError(f"{where}: methods has {given!r}, which is no HTTP method{hint}", route.place)
        methods.append(method)
    return tuple(dict.fromkeys(methods))


def _check_options(route: Route) -> None:
    for name, (is_good, expected) in _OPTIONS.items():
        value = getattr(route, name)
        if not is_good(value):
            raise RouteError(f"route {route}: {name} is {expected}, got {value!r}", route.place)


def _is_duration(value: object) -> bool:
    if value is None or isinstance(value, bool):
        return value is None
    return isinstance(value, int | float) and 0 < value < math.inf


def _is_size(value: object) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0)


_OPTIONS: dict[str, tuple[Callable[[object], bool], str]] = {
    "name": (lambda value: isinstance(value, str), "a str"),
    "blocking": (lambda value: value is None or isinstance(value, bool), "None, True or False"),
    "stream": (lambda value: isinstance(value, bool), "True or False"),
    "timeout": (_is_duration, "a number of seconds above 0, or None"),
    "max_request_size": (_is_size, "a number of bytes, 0 or more, or None"),
}
