"""cello.hints: an exception in one line, with the application's line and what may mend it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from cello import ConfigError, HTTPError, Response
from cello.hints import MOST_SHOWN, summarise
from cello.json_codec import EncodeError
from cello.paths import parse_template
from cello.places import short

REQUEST: Any = SimpleNamespace(
    route=SimpleNamespace(segments=parse_template("/users/{id}/{name}")),
    params={"id": "1", "name": "x"},
    query={},
)


def told(function: Any, request: Any = REQUEST) -> tuple[str, str, str]:
    """Return what is told of what a function raises: the exception, the place, the hint."""
    with pytest.raises(BaseException) as caught:
        function(request)
    text = summarise(caught.value, request)
    place = f" ({short(__file__)}:{caught.traceback[-1].lineno + 1})"
    before, found, hint = text.partition(place)
    assert found, text
    return before, found, hint.removeprefix("; ")


async def fetch() -> int:
    return 1


def subscripted(request: Any) -> Any:
    coroutine: Any = fetch()
    try:
        return coroutine["id"]
    finally:
        coroutine.close()


def attribute_of(request: Any) -> Any:
    coroutine: Any = fetch()
    try:
        return coroutine.set_header
    finally:
        coroutine.close()


def misspelt(request: Any) -> Any:
    return request.params["nane"]


def foreign(request: Any) -> Any:
    return request.params["user"]


def other_dict(request: Any) -> Any:
    return {}["nane"]


def queried(request: Any) -> Any:
    return request.query["page"]


def nothing_special(request: Any) -> Any:
    raise ValueError("two\n  lines")


def awaited(request: Any) -> Any:
    request = SimpleNamespace(json=dict)

    async def show() -> Any:
        return await request.json()

    asyncio.run(show())


def of_a_response(request: Any) -> Any:
    return Response("x").status_code  # type: ignore[attr-defined]


def of_its_class(request: Any) -> Any:
    return Response.jsn  # type: ignore[attr-defined]


def of_another(request: Any) -> Any:
    return "x".jsn  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("function", "hint"),
    [
        (subscripted, "put `await` before the call that made the coroutine, in an `async def`"),
        (attribute_of, "put `await` before the call that made the coroutine, in an `async def`"),
        (misspelt, "the path's parameters: id, name (did you mean 'name'?)"),
        (foreign, "the path's parameters: id, name"),
        (other_dict, ""),
        (queried, "request.query.get(...) gives None where there is none"),
        (awaited, "no `await` there: request.json(), text() and body() are plain calls"),
        (of_a_response, "here it is status"),
        (of_its_class, "did you mean 'json'?"),
        (of_another, ""),
        (nothing_special, ""),
    ],
)
def test_hints(function: Any, hint: str) -> None:
    assert told(function)[2] == hint


def test_it_is_one_line() -> None:
    assert told(nothing_special)[0] == "ValueError: two lines"


def test_a_long_text_is_cut() -> None:
    assert summarise(ValueError("x" * 5000)) == f"ValueError: {'x' * MOST_SHOWN}..."


def test_what_has_no_text_and_what_cannot_be_told() -> None:
    class Unspeakable(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert summarise(KeyboardInterrupt()) == "KeyboardInterrupt"
    assert summarise(Unspeakable()) == "Unspeakable: (its str() failed)"
    assert summarise(ValueError("\ud800")) == "ValueError: \\ud800"


def test_the_place_where_no_line_of_the_application_raised_it() -> None:
    assert (
        summarise(HTTPError(404), None, "app.py:3 in show") == "HTTPError: 404 Not Found (app.py:3 in show)"
    )
    assert summarise(ConfigError("wrong", "app.py:1"), None, "app.py:3") == "ConfigError: wrong (app.py:1)"


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (object(), "make a dict, list, str or number of it"),
        ({"a": float("nan")}, ""),
        ({("a", "b"): 1}, ""),
        ({"a": "\ud800"}, ""),
    ],
)
def test_what_json_cannot_hold_has_the_hint_that_helps(value: Any, hint: str) -> None:
    with pytest.raises(EncodeError) as caught:
        Response.json(value)
    assert summarise(caught.value).partition("); ")[2] == hint
