"""cello.problems: members (RFC 9457) and the choice of a form."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cello.negotiation import MAX_RANGES
from cello.problems import exception_members, preferred_form, problem, render_text


def failure(exc: BaseException) -> BaseException:
    """Return the error as one that was raised, with a traceback."""
    try:
        raise exc
    except BaseException as caught:
        return caught


def test_the_least() -> None:
    assert problem(404) == {"type": "about:blank", "title": "Not Found", "status": 404, "error": "Not Found"}


def test_all_members_in_their_order() -> None:
    members = problem(422, "age is missing", "/users/7", errors=["age"])
    assert list(members.items()) == [
        ("type", "about:blank"),
        ("title", "Unprocessable Content"),
        ("status", 422),
        ("detail", "age is missing"),
        ("instance", "/users/7"),
        ("error", "Unprocessable Content"),
        ("errors", ["age"]),
    ]


def test_problem_types_of_the_application() -> None:
    members = problem(
        403, type="https://example.com/probs/out-of-credit", title="You do not have enough credit."
    )
    assert members == {
        "type": "https://example.com/probs/out-of-credit",
        "title": "You do not have enough credit.",
        "status": 403,
        "error": "You do not have enough credit.",
    }
    assert problem(403, error="credit")["error"] == "credit"


def test_an_empty_detail_is_kept_and_an_unknown_status_has_a_title() -> None:
    assert problem(400, "")["detail"] == ""
    assert problem(499)["title"] == "Unknown Status"


def test_exceptions() -> None:
    exc = failure(ValueError("bad\nvalue"))
    exc.add_note("a note")
    members = exception_members(exc)
    assert members["exception"] == "ValueError: bad\nvalue"
    assert members["traceback"][0] == "Traceback (most recent call last):"
    assert members["traceback"][-3:] == ["ValueError: bad", "value", "a note"]
    assert not any("\n" in line for line in members["traceback"])


def test_exceptions_of_other_shapes() -> None:
    assert exception_members(failure(KeyError()))["exception"] == "KeyError"
    with pytest.raises(SyntaxError) as caught:
        compile("a b", "file.py", "exec")
    assert exception_members(caught.value)["exception"].startswith("SyntaxError: invalid syntax")
    group = ExceptionGroup("both", [ValueError("one"), TypeError("two")])
    assert exception_members(failure(group))["exception"] == "ExceptionGroup: both (2 sub-exceptions)"


def test_an_exception_that_cannot_be_printed() -> None:
    class Unprintable(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    assert "<exception str() failed>" in exception_members(failure(Unprintable()))["exception"]


def test_plain_text_has_the_same_facts() -> None:
    assert render_text(problem(404)) == "404 Not Found\n"
    assert render_text(problem(400, "no name", "/a")) == "400 Bad Request\n\nno name\n\n/a\n"
    members = problem(500, "broken", **exception_members(failure(ValueError("bad"))))
    lines = render_text(members).splitlines()
    assert lines[:4] == ["500 Internal Server Error", "", "broken", ""]
    assert lines[4:] == members["traceback"]
    assert render_text(problem(500, exception="ValueError: bad")).endswith("\n\nValueError: bad\n")


@pytest.mark.parametrize(
    "accept",
    [
        None,
        "",
        "*/*",
        "application/json",
        "application/problem+json",
        "application/vnd.api+json",
        "APPLICATION/JSON",
        "application/*",
        "application/json, text/plain, */*",
        "text/html, application/json",
        "text/html;q=0.8, application/json;q=0.8",
        "text/html;q=0.5, */*;q=0.8",
        "text/*;q=0.3, */*;q=0.4",
        "application/json;charset=utf-8;q=0.9, text/html;q=0.8",
        "application/json;q=0.1, application/vnd.api+json, text/html;q=0.9",
        "image/avif,image/webp,*/*;q=0.8",
        "image/png",
        "text/html;q=2, application/json;q=0.1",  # an invalid quality is none
        "text/html;q=0, text/plain;q=0",
        "text/html ; q=0.5 , application/json ; q=0.6",
        "text/html;Q=0.5, application/json",
        ";;;,,,",
    ],
)
def test_programs_get_json(accept: str | None) -> None:
    assert preferred_form(accept) == "json"


@pytest.mark.parametrize(
    "accept",
    [
        # Firefox, Chrome, Safari
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8",
        "text/html",
        "TEXT/HTML",
        "text/plain",
        "text/*",
        "text/*, application/json;q=0.9",
        "text/html, application/json;q=0.999",
        "application/json;q=0, */*",
        "application/json;q=0.5, text/plain;q=0.50, text/html;q=0.6",
        "application/*;q=0.2, */*;q=0.3",
        "text/html;level=1, */*;q=0.1",
        "application/jsonp, text/plain",
        "text/json, text/plain",
    ],
)
def test_browsers_get_text(accept: str) -> None:
    assert preferred_form(accept) != "json"


def test_the_count_of_media_ranges_is_bounded() -> None:
    padding = "image/png," * (MAX_RANGES - 1)
    assert preferred_form(padding + "text/html") != "json"
    assert preferred_form(padding + "image/png,text/html") == "json"


@given(st.text())
def test_any_text_is_decided(accept: str) -> None:
    assert preferred_form(accept) in ("json", "html", "text")


@given(st.integers(0, 1000), st.integers(0, 1000))
def test_the_higher_quality_wins_and_json_wins_a_tie(json: int, html: int) -> None:
    accept = f"text/html;q={html / 1000:.3f}, application/json;q={json / 1000:.3f}"
    assert (preferred_form(accept) == "json") == (json >= html)
