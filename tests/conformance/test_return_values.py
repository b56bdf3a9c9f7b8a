"""Whatever a handler returns, on every adapter: the table "Handlers' return values" of the API."""

from __future__ import annotations

import decimal
import enum
import json
import pathlib
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, TypedDict

import msgspec
import pydantic
import pytest

from cello import App, HTTPError, Response

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
OCTETS = "application/octet-stream"


@dataclass
class Point:
    x: int
    label: str = "origin"


class Row(msgspec.Struct):
    n: int
    tags: list[str]


class Movie(TypedDict):
    title: str
    year: int


class User(pydantic.BaseModel):
    name: str
    age: int = 30


class Colour(enum.Enum):
    RED = "red"


class Opaque:
    """A type that JSON knows nothing about."""


class Chunks:
    """An async iterable that is no iterator itself."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        return count_async()


def count() -> Iterator[str]:
    yield "one "
    yield "two"


async def count_async() -> AsyncIterator[bytes]:
    yield b"one "
    yield b"two"


def returning(value: Any, lane: str) -> App:
    """Return an application whose handler of "/" returns a value, in a lane."""
    app = App()

    def plain(request: Any) -> Any:
        return value

    async def coroutine(request: Any) -> Any:
        return value

    if lane == "async":
        app.get("/")(coroutine)
    else:
        app.get("/", blocking=lane == "thread")(plain)
    return app


LANES = pytest.mark.parametrize("lane", ["thread", "loop", "async"])


@LANES
@pytest.mark.parametrize(
    ("value", "content_type", "body"),
    [
        ({"a": [1, None, True]}, JSON, b'{"a":[1,null,true]}'),
        ({}, JSON, b"{}"),
        ([1, "two", {"three": 3}], JSON, b'[1,"two",{"three":3}]'),
        ([], JSON, b"[]"),
        (Point(1), JSON, b'{"x":1,"label":"origin"}'),
        (Row(n=1, tags=["a"]), JSON, b'{"n":1,"tags":["a"]}'),
        (Movie(title="Alien", year=1979), JSON, b'{"title":"Alien","year":1979}'),
        (User(name="Ada"), JSON, b'{"name":"Ada","age":30}'),
        (7, JSON, b"7"),
        (0, JSON, b"0"),
        (1.5, JSON, b"1.5"),
        (True, JSON, b"true"),
        (False, JSON, b"false"),
        ("caf\u00e9", TEXT, "caf\u00e9".encode()),
        ("", TEXT, b""),
        (b"\x00\xff", OCTETS, b"\x00\xff"),
        (b"", OCTETS, b""),
    ],
    ids=lambda value: str(value)[:20] if not isinstance(value, bytes) else None,
)
def test_value_becomes_the_body(serve: Any, lane: str, value: Any, content_type: str, body: bytes) -> None:
    answer = serve(returning(value, lane)).get("/")
    assert (answer.status, answer.body) == (200, body)
    assert answer.get("content-type") == content_type
    assert answer.get("content-length") == str(len(body))


@LANES
def test_none_is_204_without_content(serve: Any, lane: str) -> None:
    answer = serve(returning(None, lane)).get("/")
    assert (answer.status, answer.body) == (204, b"")
    assert answer.get("content-length") is None
    assert answer.get("transfer-encoding") is None
    assert answer.get("content-type") is None


@LANES
@pytest.mark.parametrize(
    ("value", "status", "content_type", "body"),
    [
        (({"id": 1}, 201), 201, JSON, b'{"id":1}'),
        (("made", 201), 201, TEXT, b"made"),
        ((b"raw", 203), 203, OCTETS, b"raw"),
        (([1], 404), 404, JSON, b"[1]"),
        ((None, 202), 202, None, b""),
        ((User(name="Ada"), 201), 201, JSON, b'{"name":"Ada","age":30}'),
        ((Response.html("<p>"), 418), 418, "text/html; charset=utf-8", b"<p>"),
        (({"id": 1}, 201, {"X-A": "1"}), 201, JSON, b'{"id":1}'),
        (({"id": 1}, 201, [("X-A", "1")]), 201, JSON, b'{"id":1}'),
        (("<p>", 200, {"content-type": "text/html"}), 200, "text/html", b"<p>"),
        (("x", 200, None), 200, TEXT, b"x"),
    ],
    ids=str,
)
def test_tuples(
    serve: Any, lane: str, value: Any, status: int, content_type: str | None, body: bytes
) -> None:
    answer = serve(returning(value, lane)).get("/")
    assert (answer.status, answer.body) == (status, body)
    assert answer.get("content-type") == content_type
    assert answer.get("content-length") == str(len(body))
    if len(value) == 3 and value[2] and "X-A" in dict(value[2]):
        assert answer.get("x-a") == "1"


@LANES
def test_headers_of_a_tuple_may_set_several_cookies(serve: Any, lane: str) -> None:
    value = ("x", 200, [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])
    assert serve(returning(value, lane)).get("/").all("set-cookie") == ["a=1", "b=2"]


@LANES
def test_response_is_sent_as_it_is(serve: Any, lane: str) -> None:
    response = Response({"a": 1}, 202, {"X-A": "1"}, content_type="application/vnd.x+json")
    answer = serve(returning(response, lane)).get("/")
    assert (answer.status, answer.body) == (202, b'{"a":1}')
    assert answer.get("content-type") == "application/vnd.x+json"
    assert answer.get("x-a") == "1"


@LANES
@pytest.mark.parametrize(
    "make", [count, count_async, Chunks], ids=["generator", "async-generator", "async-iterable"]
)
def test_iterators_are_streamed(serve: Any, lane: str, make: Any) -> None:
    app = App()

    def plain(request: Any) -> Any:
        return make()

    async def coroutine(request: Any) -> Any:
        return make()

    app.get("/", blocking=lane == "thread")(plain) if lane != "async" else app.get("/")(coroutine)
    answer = serve(app).get("/")
    assert (answer.status, answer.body) == (200, b"one two")
    assert answer.get("content-length") is None
    assert answer.get("content-type") == (TEXT if make is count else OCTETS)


def test_generator_functions_are_handlers(serve: Any) -> None:
    app = App()

    @app.get("/sync")
    def sync(request: Any) -> Iterator[str]:
        yield request.query["word"]
        yield "!"

    @app.get("/pinned", blocking=False)
    def pinned(request: Any) -> Iterator[str]:
        yield request.query["word"]
        yield "!"

    @app.get("/async")
    async def asynchronous(request: Any) -> AsyncIterator[str]:
        yield request.query["word"]
        yield "!"

    client = serve(app)
    assert [client.get(f"/{kind}?word=hey").text for kind in ("sync", "pinned", "async")] == ["hey!"] * 3


@LANES
def test_streams_in_tuples(serve: Any, lane: str) -> None:
    answer = serve(returning((iter([b"a", b"b"]), 206, {"X-A": "1"}), lane)).get("/")
    assert (answer.status, answer.body, answer.get("x-a")) == (206, b"ab", "1")


@LANES
@pytest.mark.parametrize(
    ("value", "said"),
    [
        (("one", "two"), "neither (body, status) nor (body, status, headers)"),
        ((1,), "neither (body, status) nor (body, status, headers)"),
        ((), "neither (body, status) nor (body, status, headers)"),
        ((1, 2, 3, 4), "neither (body, status) nor (body, status, headers)"),
        (("x", True), "neither (body, status) nor (body, status, headers)"),
        ((("x", 200), 200), "neither (body, status) nor (body, status, headers)"),
        (("x", 99), "integer from 200 to 599, got 99"),
        (("x", 600), "integer from 200 to 599, got 600"),
        (("x", 200, "text/plain"), "mapping or pairs, got 'text/plain'"),
        (("x", 200, 5), "mapping or pairs, got 5"),
        (("x", 200, {"X-A": "a\r\nb"}), "'X-A'"),
        (Opaque(), "cannot encode object of type Opaque at $"),
        ({"users": [{"id": 1}, {"id": Opaque()}]}, "cannot encode object of type Opaque at $.users[1].id"),
        ([1, [2, Opaque()]], "cannot encode object of type Opaque at $[1][1]"),
        (({"a": Opaque()}, 201), "cannot encode object of type Opaque at $.a"),
        ({"a": float("nan")}, "cannot encode nan at $.a"),
        ({"a": [1.0, float("inf")]}, "cannot encode inf at $.a[1]"),
        (float("nan"), "cannot encode nan at $"),
        ([float("-inf")], "cannot encode -inf at $[0]"),
        ({"a": "\ud800"}, "at $.a"),
        ({(1, 2): 1}, "key of type tuple"),
        (Point, "got the class Point as an answer; call it: Point(...)"),
        (HTTPError(404), "got the exception HTTPError('404 Not Found') as an answer; `raise` it instead"),
    ],
    ids=lambda value: repr(value)[:40].encode("ascii", "replace").decode(),
)
def test_what_cannot_be_an_answer_is_a_500_that_the_log_explains(
    serve: Any, log: Any, lane: str, value: Any, said: str
) -> None:
    answer = serve(returning(value, lane)).get("/")
    assert answer.status == 500
    assert answer.json()["title"] == "Internal Server Error"
    assert said in log.wait_for("GET / failed in")
    assert said not in answer.text
    assert "test_return_values.py:" in log.text


@LANES
def test_json_details(serve: Any, lane: str) -> None:
    value = {
        "datetime": datetime(2026, 1, 31, 12, 30, tzinfo=UTC),
        "date": date(2026, 1, 31),
        "time": time(12, 30),
        "timedelta": timedelta(minutes=90),
        "uuid": uuid.UUID(int=1),
        "decimal": decimal.Decimal("0.10"),
        "enum": Colour.RED,
        "tuple": (1, 2),
        "bytes": b"\x00\x01",
        "path": pathlib.PurePosixPath("/a/b"),
        "big": 2**70,
        "none": None,
        "text": '"\u00e9\n',
    }
    answer = serve(returning(value, lane)).get("/")
    assert answer.json() == {
        "datetime": "2026-01-31T12:30:00Z",
        "date": "2026-01-31",
        "time": "12:30:00",
        "timedelta": "PT5400S",
        "uuid": "00000000-0000-0000-0000-000000000001",
        "decimal": "0.10",
        "enum": "red",
        "tuple": [1, 2],
        "bytes": "AAE=",
        "path": "/a/b",
        "big": 1180591620717411303424,
        "none": None,
        "text": '"\u00e9\n',
    }


@LANES
@pytest.mark.parametrize("kind", [set, frozenset])
def test_sets_are_arrays(serve: Any, lane: str, kind: Any) -> None:
    answer = serve(returning({"ids": kind([1, 2])}, lane)).get("/")
    assert sorted(answer.json()["ids"]) == [1, 2]


@LANES
def test_a_fresh_value_each_time(serve: Any, lane: str) -> None:
    app = App()
    calls: list[int] = []

    def plain(request: Any) -> Any:
        calls.append(1)
        return {"n": len(calls)}

    async def coroutine(request: Any) -> Any:
        return plain(request)

    app.get("/", blocking=lane == "thread")(plain) if lane != "async" else app.get("/")(coroutine)
    client = serve(app)
    assert [json.loads(client.get("/").body)["n"] for _ in range(3)] == [1, 2, 3]
