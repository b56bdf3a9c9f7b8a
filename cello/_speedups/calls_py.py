"""Calling a handler in a context of its own, and the clock that watches it; the pure twin of calls_c.

``new_context()`` is a copy of the current context, ``coarse_seconds()`` monotonic seconds.
"""

from __future__ import annotations

from contextvars import Context
from contextvars import copy_context as new_context
from time import monotonic as coarse_seconds

__all__ = ["call_in", "coarse_seconds", "new_context"]


call_in = Context.run
"""``call_in(context, function, argument)`` is a call in a context: what it sets there is nobody else's."""
