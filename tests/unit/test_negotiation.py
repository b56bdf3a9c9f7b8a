"""cello.negotiation: media ranges and their qualities (RFC 9110 12.5.1)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cello.negotiation import MAX_RANGES, accepts, parse_accept, quality_of


@pytest.mark.parametrize(
    ("field", "ranges"),
    [
        ("text/html", [("text", "html", 1.0)]),
        ("Text/HTML;Q=0.5", [("text", "html", 0.5)]),
        ("a/b, c/d;q=0.1,*/*;q=0", [("a", "b", 1.0), ("c", "d", 0.1), ("*", "*", 0.0)]),
        (" a/b ; level=1 ; q=0.25 ; x=y ", [("a", "b", 0.25)]),
        ("a/b;q=1.000", [("a", "b", 1.0)]),
        ("a/b;q=", [("a", "b", 0.0)]),
        ("a/b;q=high", [("a", "b", 0.0)]),
        ("a/b;q=-1, c/d;q=2, e/f;q=nan, g/h;q=inf", [(*pair, 0.0) for pair in ("ab", "cd", "ef", "gh")]),
        ("", []),
        (",, ,", []),
        ("nonsense, /b, a/, /, a/b", [("a", "b", 1.0)]),
    ],
)
def test_ranges(field: str, ranges: list[tuple[str, str, float]]) -> None:
    assert parse_accept(field) == ranges


def test_no_more_ranges_than_the_limit_are_read() -> None:
    field = "x/y," * (MAX_RANGES - 1) + "a/b,c/d"
    assert len(parse_accept(field)) == MAX_RANGES
    assert quality_of(field, "a/b") == 1.0
    assert quality_of(field, "c/d") == 0.0


@pytest.mark.parametrize(
    ("field", "media_type", "quality"),
    [
        (None, "text/html", 1.0),
        ("", "text/html", 0.0),
        ("text/html", "text/html", 1.0),
        ("text/html", "TEXT/Html", 1.0),
        ("text/html", "text/plain", 0.0),
        ("text/*", "text/plain", 1.0),
        ("*/*", "text/plain", 1.0),
        ("*/plain", "text/plain", 0.0),
        ("*/*;q=0.1, text/*;q=0.2, text/plain;q=0.3", "text/plain", 0.3),
        ("text/plain;q=0.3, text/*;q=0.2, */*;q=0.1", "text/html", 0.2),
        ("text/plain;q=0.3, text/*;q=0.2, */*;q=0.1", "image/png", 0.1),
        ("text/html;q=0, */*", "text/html", 0.0),
        ("text/*;q=0, */*", "text/html", 0.0),
    ],
)
def test_most_specific_range_decides(field: str | None, media_type: str, quality: float) -> None:
    assert quality_of(field, media_type) == quality
    assert accepts(field, media_type) is (quality > 0)


@given(st.text(max_size=200), st.sampled_from(["text/html", "a/b", "", "/", "x"]))
def test_any_field_gives_a_quality(field: str, media_type: str) -> None:
    assert 0.0 <= quality_of(field, media_type) <= 1.0


@given(st.lists(st.tuples(st.sampled_from(["a/b", "a/*", "*/*", "c/d"]), st.floats(0, 1)), max_size=5))
def test_the_order_of_different_ranges_means_nothing(ranges: list[tuple[str, float]]) -> None:
    ranges = list(dict(ranges).items())
    field = ",".join(f"{name};q={quality:.3f}" for name, quality in ranges)
    backwards = ",".join(f"{name};q={quality:.3f}" for name, quality in reversed(ranges))
    assert quality_of(field, "a/b") == quality_of(backwards, "a/b")
