"""Whether functions of the application fit how Cello will call them, and options fit a route.

Looked at when they are given, so that the traceback ends at the line that gives them.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from typing import Any

from .checks import unknown_argument
from .errors import ArgumentError, ConfigError, RouteError
from .routing import place_of

_PARTS = {
    "use": "(request, call_next)",
    "before_request": "(request)",
    "after_request": "(request, response)",
    "exception_handler": "(request, exc)",
}


def check_handler(handler: Any, path: str) -> None:
    """Check that a handler can be called with one request; raises RouteError."""
    if not callable(handler):
        raise RouteError(f"route {path}: a handler must be callable, got {handler!r:.80}")
    if not _takes(handler, 1):
        place = place_of(handler)
        raise RouteError(
            f"route {path}: the handler {place} must take one argument, the request: "
            f"def {getattr(handler, '__name__', 'handler')}(request){_what_belongs_to_the_request(handler)}",
            place,
        )


def _what_belongs_to_the_request(handler: Any) -> str:
    """Tell who takes the path's parameters as arguments, as elsewhere, where they are."""
    if not _takes(handler, 2) and not _takes(handler, 3):
        return ""
    return "; a path's parameters are in request.params, a query's in request.query"


def check_path(path: Any) -> None:
    """Check that a path is a text, and not the handler of a bare ``@app.get``; raises RouteError."""
    if not isinstance(path, str):
        got = f"the function {place_of(path)}" if inspect.isfunction(path) else f"{path!r:.80}"
        raise RouteError(f'a route needs its path first, as in @app.get("/users"), got {got}')


def check_options(verb: str, path: str, options: Iterable[str], known: Sequence[str]) -> None:
    """Check the names of a route's options, as they are given to ``app.get`` and its like.

    ``known`` are the parameters of ``app.route``, path and methods first. Raises ArgumentError.
    """
    for name in options:
        if name == "methods":
            method = verb.upper()
            raise ArgumentError(
                f"app.{verb}(methods=...): this is for {method} alone; for others: "
                f"@app.route({path!r}, methods=[{method!r}, ...])"
            )
        if name not in known:
            raise unknown_argument(f"app.{verb}", name, known[2:])


def check_part(what: str, function: Any) -> Any:
    """Check that a hook or middleware can be called as it will be; raises ConfigError."""
    expected = _PARTS[what]
    if not callable(function):
        raise ConfigError(f"{what} takes a function {expected}, got {function!r:.80}")
    _refuse_generator(f"{what}: a part of the chain", function, "")
    if not _takes(function, expected.count(",") + 1):
        place = place_of(function)
        raise ConfigError(
            f"{what} takes a function {expected}; {place} takes {_arguments_of(function)}", place
        )
    return function


def check_hook(event: str, hook: Any) -> None:
    """Check that a startup or shutdown hook can be called, alone or with the application.

    Raises ConfigError.
    """
    if not callable(hook):
        raise ConfigError(f"a {event} hook must be callable, got {hook!r:.80}")
    _refuse_generator(f"a {event} hook", hook, "; app.lifespan takes what has to run at both ends")
    if not _takes(hook, 0) and not _takes(hook, 1):
        place = place_of(hook)
        raise ConfigError(
            f"a {event} hook takes no argument or one, the application; {place} takes {_arguments_of(hook)}",
            place,
        )


def _refuse_generator(what: str, function: Any, way_out: str) -> None:
    """Refuse a function with ``yield``: calling it runs nothing of it."""
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        place = place_of(function)
        raise ConfigError(
            f"{what} cannot yield: {place} is a generator, whose call runs none of it{way_out}", place
        )


def check_lifespan(lifespan: Any) -> None:
    """Check that a lifespan may give an async context manager, or is None; raises ConfigError."""
    if lifespan is None:
        return
    expected = "app.lifespan is a callable that returns an async context manager"
    if not callable(lifespan):
        raise ConfigError(f"{expected}, got {lifespan!r:.80}")
    if inspect.isasyncgenfunction(lifespan) or inspect.isgeneratorfunction(lifespan):
        raise ConfigError(
            f"{expected}, got the generator function {place_of(lifespan)}; "
            "write @contextlib.asynccontextmanager above it"
        )


def _takes(function: Any, count: int) -> bool:
    try:
        inspect.signature(function).bind(*[object()] * count)
    except TypeError:
        return False
    except ValueError:  # a builtin without a signature
        return True
    return True


def _arguments_of(function: Any) -> str:
    names = list(inspect.signature(function).parameters)
    return f"({', '.join(names)})" if names else "no arguments"
