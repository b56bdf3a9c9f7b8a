"""Calling a handler in a context of its own, and the clock that watches it; the pure twin of calls_c."""

from __future__ import annotations

from contextvars import copy_context
from time import monotonic as coarse_seconds
from typing import Any

__all__ = ["call_in_context", "coarse_seconds"]


def call_in_context(function: Any, argument: Any) -> Any:
    """Call ``function(argument)`` in a copy of the current context: what it sets there is nobody else's."""
    return copy_context().run(function, argument)
