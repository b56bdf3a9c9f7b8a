"""Content negotiation: what a client's Accept field takes (RFC 9110 12.5.1)."""

from __future__ import annotations

MAX_RANGES = 64


def parse_accept(field: str) -> list[tuple[str, str, float]]:
    """Return ``(type, subtype, quality)`` of each media range, in order; malformed ranges are left out."""
    ranges = []
    for part in field.split(",", MAX_RANGES)[:MAX_RANGES]:
        media_range, *parameters = part.split(";")
        main, separator, sub = media_range.strip().lower().partition("/")
        if separator and main and sub:
            ranges.append((main, sub, quality(parameters)))
    return ranges


def quality(parameters: list[str]) -> float:
    """Return the quality, 0 to 1, that the parameters of a list's member give it (RFC 9110 12.4.2)."""
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            try:
                given = float(value)
            except ValueError:
                return 0.0
            return given if 0.0 <= given <= 1.0 else 0.0
    return 1.0


def quality_of(field: str | None, media_type: str) -> float:
    """Return the quality, 0 to 1, that an Accept field gives a media type: the most specific range decides.

    No field at all takes everything.
    """
    if field is None:
        return 1.0
    main, _, sub = media_type.lower().partition("/")
    best, best_rank = 0.0, -1
    for range_main, range_sub, value in parse_accept(field):
        rank = _rank(range_main, range_sub, main, sub)
        if rank > best_rank:
            best, best_rank = value, rank
    return best


def _rank(range_main: str, range_sub: str, main: str, sub: str) -> int:
    if (range_main, range_sub) == (main, sub):
        return 2
    if range_main == main and range_sub == "*":
        return 1
    return 0 if (range_main, range_sub) == ("*", "*") else -1


def accepts(field: str | None, media_type: str) -> bool:
    """Tell whether an Accept field takes a media type."""
    return quality_of(field, media_type) > 0.0
