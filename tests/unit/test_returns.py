"""cello.returns: from a handler's return value to a Response (the answers themselves: conformance/)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple

import pytest

from cello import Response, ResponseError
from cello._speedups import read_query
from cello.json_codec import EncodeError
from cello.returns import FORMS, to_response


class Pair(NamedTuple):
    body: str
    status: int


class Iterating:
    """An iterator of its own class."""

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        raise StopIteration


async def produce() -> AsyncIterator[bytes]:
    yield b"x"


def test_response_itself() -> None:
    response = Response("x")
    assert to_response(response) is response


@pytest.mark.parametrize(
    ("result", "status", "body", "content_type"),
    [
        (None, 204, b"", None),
        ("x", 200, b"x", "text/plain; charset=utf-8"),
        (b"x", 200, b"x", "application/octet-stream"),
        (bytearray(b"x"), 200, b"x", "application/octet-stream"),
        ({}, 200, b"{}", "application/json"),
        ([], 200, b"[]", "application/json"),
        (False, 200, b"false", "application/json"),
        ({1}, 200, b"[1]", "application/json"),
        (("x", 201), 201, b"x", "text/plain; charset=utf-8"),
        (Pair("x", 201), 201, b"x", "text/plain; charset=utf-8"),
        ((None, 200), 200, b"", None),
        ((Response("x", 404), 201), 201, b"x", "text/plain; charset=utf-8"),
    ],
)
def test_values(result: Any, status: int, body: bytes, content_type: str | None) -> None:
    response = to_response(result)
    assert (response.status, response.body, response.headers.get("content-type")) == (
        status,
        body,
        content_type,
    )


@pytest.mark.parametrize("make", [Iterating, produce, lambda: iter([]), lambda: (each for each in "ab")])
def test_streams(make: Any) -> None:
    body = make()
    response = to_response(body)
    assert response.is_stream
    assert response.body is body
    assert to_response((make(), 206)).status == 206


def test_headers_replace_and_cookies_add() -> None:
    base = Response("x", headers=[("X-A", "old"), ("Set-Cookie", "a=1")])
    response = to_response((base, 200, [("x-a", "new"), ("X-B", 2), ("set-cookie", "b=2")]))
    assert response.headers.items() == [
        ("x-a", "new"), ("set-cookie", "a=1"), ("content-type", "text/plain; charset=utf-8"), ("x-b", "2"),
        ("set-cookie", "b=2"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "result", [(), (1,), (1, "two"), (1, True), (1, 200, {}, 4), ((1, 2), 200), ("a", "b", "c")]
)
def test_tuples_of_no_form_name_the_forms(result: Any) -> None:
    with pytest.raises(ResponseError) as caught:
        to_response(result)
    assert repr(result) in str(caught.value)
    assert FORMS in str(caught.value)


@pytest.mark.parametrize(
    ("result", "hint"),
    [
        ((404, {"x": 1}), "the body comes first, then the status"),
        ((201, {"x": 1}, {"X-A": "b"}), "the body comes first, then the status"),
        (({"x": 1}, "201"), "the status is an int, without quotes"),
    ],
)
def test_tuples_that_are_nearly_right_say_what_is_wrong(result: Any, hint: str) -> None:
    with pytest.raises(ResponseError) as caught:
        to_response(result)
    assert str(caught.value).endswith(f": {result!r}; {hint}")


def test_what_is_no_value_is_refused() -> None:
    for result, said in (
        (ValueError("x"), r"the exception ValueError\('x'\) as an answer; `raise` it"),
        (Response, r"the class Response as an answer; call it: Response\(\.\.\.\)"),
    ):
        with pytest.raises(ResponseError, match=said):
            to_response(result)


@pytest.mark.parametrize("headers", [5, "X-A: 1", [1], [("a", "b", "c")], ["abc"]])
def test_headers_of_no_form(headers: Any) -> None:
    with pytest.raises(ResponseError, match="mapping or pairs, got"):
        to_response(("x", 200, headers))


def test_large_values_are_cut_in_messages() -> None:
    with pytest.raises(ResponseError) as caught:
        to_response(("x" * 10_000, "y"))
    assert len(str(caught.value)) < 500


def test_unknown_types_are_encode_errors() -> None:
    with pytest.raises(EncodeError, match="type object at"):
        to_response({"a": object()})


def test_coroutines_are_refused_and_closed() -> None:
    async def handler() -> int:
        return 1

    coroutine: Any = handler()
    with pytest.raises(
        ResponseError,
        match=r"the coroutine of handler\(\), .* `return await handler\(\.\.\.\)` in an `async def`$",
    ):
        to_response(coroutine)
    assert coroutine.cr_frame is None


class Unmade(Response):
    def __init__(self) -> None:
        pass


def test_a_response_whose_constructor_was_skipped_is_refused() -> None:
    with pytest.raises(ResponseError, match=r"^got a Unmade without content: .* must call super"):
        to_response(Unmade())


def test_the_parameters_of_a_query_are_not_to_be_awaited() -> None:
    with pytest.raises(ResponseError, match=r"write `dict\(\.\.\.\)` around them$"):
        to_response(read_query(b"a=1", 10))
