"""The limit of descriptors that a process may have open, raised where that is allowed."""

from __future__ import annotations

from math import inf

RESERVED_DESCRIPTORS = 40
"""What is kept from connections for all else that a process opens."""


def make_room(wanted: int) -> float:
    """Raise the limit to what is wanted, as far as the system lets this process; returns the limit."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return inf
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return inf
    if soft < wanted and (hard == resource.RLIM_INFINITY or hard > soft):
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return soft
