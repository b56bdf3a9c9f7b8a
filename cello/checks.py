"""Checks of what an application gives: one clear line for what is wrong, with what was got and expected.

Integer ranges are ``range`` objects, so that a check and the words that describe it cannot drift apart.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from .errors import ConfigError

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
    shown = repr(value)
    if len(shown) > 100:
        shown = f"{shown[:97]}..."
    return ConfigError(f"{owner}({name}={shown}): expected {expected}")


def check_bool(owner: str, name: str, value: object) -> None:
    """Check that a parameter is True or False; raises ConfigError."""
    if not isinstance(value, bool):
        raise refusal(owner, name, value, "True or False")


def check_int(owner: str, name: str, value: object, allowed: range, unit: str = "") -> None:
    """Check that a parameter is an int in a range; ``unit`` is for the message. Raises ConfigError."""
    if isinstance(value, bool) or not isinstance(value, int) or value not in allowed:
        raise refusal(owner, name, value, in_words(allowed) + unit)


def check_seconds(owner: str, name: str, value: object, way_out: str = "") -> None:
    """Check that a parameter is a time in seconds; ``way_out`` is for the message. Raises ConfigError."""
    # The comparison is False for NaN, and refuses infinity.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= _MOST_SECONDS:
        expected = f"a number of seconds above 0 and at most {_MOST_SECONDS}{way_out}"
        raise refusal(owner, name, value, expected)
