"""Checks of what an application gives: one clear line for what is wrong, with what was got and expected.

Integer ranges are ``range`` objects, so that a check and the words that describe it cannot drift apart.
"""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ParamSpec, TypeVar

from .errors import ArgumentError, ConfigError
from .places import caller

P = ParamSpec("P")
T = TypeVar("T")

_MOST_SECONDS = 2**31 - 1


def in_words(allowed: range) -> str:
    """Describe a range of integers, for a message."""
    return f"an int from {allowed[0]} to {allowed[-1]}"


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """Find the one choice that a misspelt or shortened word most likely means, or None."""
    names = {choice.lstrip("-").lower(): choice for choice in choices}
    bare = word.lstrip("-").lower()
    starting = [name for name in names if bare and name.startswith(bare)]
    close = starting if len(starting) == 1 else difflib.get_close_matches(bare, names, n=1)
    return names[close[0]] if close else None


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Render the nearest choice as the end of a message, or nothing."""
    choice = nearest(word, choices)
    return f" (did you mean {choice!r}?)" if choice else ""


def refusal(owner: str, name: str, value: object, expected: str) -> ConfigError:
    """Return the error for a parameter's value: what was got, and what was expected."""
    return ConfigError(f"{owner}({name}={_shown(value)}): expected {expected}")


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 100 else f"{shown[:97]}..."


def check_bool(owner: str, name: str, value: object) -> None:
    """Check that a parameter is True or False; raises ConfigError."""
    if not isinstance(value, bool):
        raise refusal(owner, name, value, "True or False")


def check_int(owner: str, name: str, value: object, allowed: range, unit: str = "") -> None:
    """Check that a parameter is an int in a range; ``unit`` is for the message. Raises ConfigError."""
    if isinstance(value, bool) or not isinstance(value, int) or value not in allowed:
        raise refusal(owner, name, value, in_words(allowed) + unit + _without_quotes(value))


def check_seconds(owner: str, name: str, value: object, way_out: str = "") -> None:
    """Check that a parameter is a time in seconds; ``way_out`` is for the message. Raises ConfigError."""
    # The comparison is False for NaN, and refuses infinity.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= _MOST_SECONDS:
        expected = f"a number of seconds above 0 and at most {_MOST_SECONDS}{way_out}"
        raise refusal(owner, name, value, expected + _without_quotes(value))


def _without_quotes(value: object) -> str:
    """Render the end of a message for a number that is given as text, or nothing."""
    is_number = isinstance(value, str) and value.isascii() and value.replace(".", "", 1).isdigit()
    return "; leave the quotes out" if is_number else ""


def named(owner: str, *, missing: str = "", takes: str = "") -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Have calls that do not fit the decorated function say so in one line, with the nearest name.

    ``owner`` is how users write the function. The message ends with ``missing`` where an argument is missing,
    else with ``takes``; both have a default. The function keeps its signature. Raises ArgumentError.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            try:
                return function(*args, **kwargs)
            except TypeError as exc:
                trace = exc.__traceback__
                if trace is not None and trace.tb_next is not None:  # it comes from inside of the function
                    raise
            raise _misfit(owner, inspect.signature(function), args, kwargs, missing, takes)

        return call

    return decorate


def named_fields(kind: type[T]) -> type[T]:
    """Have a dataclass say which field may have been meant, as ``named`` does for a function."""
    initialise: Any = kind.__init__
    kind.__init__ = named(kind.__name__)(initialise)  # type: ignore[method-assign]
    return kind


def unknown_argument(owner: str, name: str, names: Iterable[str], takes: str = "") -> ArgumentError:
    """Return the error for an argument that a function does not have."""
    known = list(names)
    # Its value is not shown: it may be a password whose name is misspelt.
    hint = did_you_mean(name, known)
    return ArgumentError(f"{owner}({name}=...): there is no {name!r}{hint or f'; {takes or _takes(known)}'}")


def missing_attribute(owner: str, name: str, names: Iterable[str]) -> AttributeError:
    """Return the error for an attribute that an object does not have, with the nearest public one."""
    hint = "" if name.startswith("_") else did_you_mean(name, [each for each in names if each[0] != "_"])
    # With an object of its own, Python would append its guess, from all names, to the message.
    return AttributeError(f"there is no {owner}.{name}{hint} ({caller()})", name=name, obj=None)


def _takes(names: Sequence[str]) -> str:
    return f"it takes {', '.join(names) or 'no arguments'}"


def _misfit(
    owner: str,
    signature: inspect.Signature,
    args: Sequence[object],
    kwargs: dict[str, Any],
    missing: str,
    takes: str,
) -> ArgumentError:
    names = [name for name in signature.parameters if name != "self"]
    unknown = next((name for name in kwargs if name not in names), None)
    if unknown is not None:
        return unknown_argument(owner, unknown, names, takes)
    try:
        signature.bind(*args, **kwargs)
    except TypeError as exc:
        end = missing if str(exc).startswith("missing") else takes
        return ArgumentError(f"{owner}(): {exc}; {end or _takes(names)}")
    return ArgumentError(f"{owner}(): the arguments do not fit; {takes or _takes(names)}")
