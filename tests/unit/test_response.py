"""cello.response: bodies, content types, constructors and what is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cello.errors import ResponseError
from cello.headers import ResponseHeaders
from cello.json_codec import EncodeError, decode
from cello.response import Response


@dataclass
class Point:
    x: int


class Row(msgspec.Struct):
    n: int


class Model:
    """Iterable as pydantic's models are, and no stream."""

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return iter([("n", 1)])

    def model_dump(self, *, mode: str = "python") -> dict[str, int]:
        return {"n": 1}


class Chunks:
    """An async iterable that is no iterator itself."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        return produce()


async def produce() -> AsyncIterator[bytes]:
    yield b"a"


def type_of(response: Response) -> Any:
    return response.headers.get("content-type")


JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
OCTETS = "application/octet-stream"


@pytest.mark.parametrize(
    ("body", "octets", "content_type"),
    [
        (None, b"", None),
        (b"\x00", b"\x00", OCTETS),
        (bytearray(b"ab"), b"ab", OCTETS),
        (memoryview(b"abcd")[::2], b"ac", OCTETS),
        ("\u00e9", b"\xc3\xa9", TEXT),
        ("", b"", TEXT),
        ({"a": 1}, b'{"a":1}', JSON),
        ([], b"[]", JSON),
        ((1, 2), b"[1,2]", JSON),
        (5, b"5", JSON),
        (1.5, b"1.5", JSON),
        (False, b"false", JSON),
        (Point(1), b'{"x":1}', JSON),
        (Row(1), b'{"n":1}', JSON),
        (Model(), b'{"n":1}', JSON),
    ],
    ids=lambda value: type(value).__name__,
)
def test_bodies(body: Any, octets: bytes, content_type: str | None) -> None:
    response = Response(body)
    assert response.status == 200
    assert type(response.body) is bytes
    assert response.body == octets
    assert not response.is_stream
    assert type_of(response) == content_type


@pytest.mark.parametrize(
    "body",
    [iter([b"a"]), (chunk for chunk in [b"a"]), produce(), Chunks()],
    ids=lambda body: type(body).__name__,
)
def test_streams(body: Any) -> None:
    response = Response(body)
    assert response.body is body
    assert response.is_stream
    assert type_of(response) == OCTETS


def test_a_bytearray_is_copied() -> None:
    body = bytearray(b"ab")
    response = Response(body)
    body[:] = b"xy"
    assert response.body == b"ab"


@pytest.mark.parametrize("body", [object(), {"a": object()}, float("nan"), range(3)], ids=repr)
def test_bodies_that_json_cannot_hold(body: Any) -> None:
    with pytest.raises(EncodeError):
        Response(body)


@pytest.mark.parametrize("make", [Response, Response.text, Response.html, Response.xml])
def test_text_that_utf8_cannot_hold(make: Any) -> None:
    with pytest.raises(ResponseError, match="not encodable as UTF-8"):
        make("\ud800")


def test_which_content_type_wins() -> None:
    fields = {"Content-Type": "text/csv"}
    assert type_of(Response("a,b", headers=fields)) == "text/csv"
    assert type_of(Response("a,b", content_type="text/tab-separated-values")) == "text/tab-separated-values"
    both = Response("a,b", headers=fields, content_type="text/markdown")
    assert both.headers.get_all("content-type") == ["text/markdown"]
    assert type_of(Response.json({}, headers=[("content-type", "application/vnd.api+json")])) == (
        "application/vnd.api+json"
    )
    assert type_of(Response.binary(b"", headers=fields)) == "text/csv"
    assert type_of(Response.binary(b"", "image/png", headers=fields)) == "image/png"
    assert type_of(Response.stream([b""], headers=fields)) == "text/csv"
    assert type_of(Response.stream([b""], "video/mp4", headers=fields)) == "video/mp4"
    assert type_of(Response(None, content_type="text/csv")) == "text/csv"


def test_headers_come_first_and_as_given() -> None:
    response = Response("x", headers={"X-Two": "2"})
    assert response.headers.raw == [(b"x-two", b"2"), (b"content-type", b"text/plain; charset=utf-8")]


def test_setting_the_body_later() -> None:
    response = Response(b"old")
    response.body = "new"
    assert response.body == b"new"
    assert type_of(response) == OCTETS
    response = Response()
    response.body = {"a": 1}
    assert (response.body, type_of(response)) == (b'{"a":1}', JSON)
    response.body = iter([b"a"])
    assert response.is_stream
    response.body = None
    assert (response.body, response.is_stream) == (b"", False)


@pytest.mark.parametrize("status", [200, 204, 299, 404, 599, HTTPStatus.CREATED])
def test_statuses(status: int) -> None:
    response = Response(status=status)
    assert response.status == status
    assert type(response.status) is int
    response.status = 500
    assert response.status == 500


@pytest.mark.parametrize("status", [100, 101, 199, 600, 0, -200, "200", 200.0, None, True])
def test_statuses_that_are_none(status: Any) -> None:
    with pytest.raises(ResponseError, match=f"an integer from 200 to 599, got {status!r}"):
        Response(status=status)
    response = Response(status=201)
    with pytest.raises(ResponseError):
        response.status = status
    assert response.status == 201


@pytest.mark.parametrize(
    ("response", "octets", "content_type"),
    [
        (Response.json({"a": None}), b'{"a":null}', JSON),
        (Response.json("x"), b'"x"', JSON),
        (Response.json(None), b"null", JSON),
        (Response.text("x"), b"x", TEXT),
        (Response.html("<p>"), b"<p>", "text/html; charset=utf-8"),
        (Response.xml("<a>\u00e9</a>"), b"<a>\xc3\xa9</a>", "application/xml"),
        (Response.xml(b"<a>\xe9</a>"), b"<a>\xe9</a>", "application/xml"),
        (Response.binary(b"\x00"), b"\x00", OCTETS),
        (Response.binary(memoryview(b"x"), "image/png"), b"x", "image/png"),
    ],
    ids=str,
)
def test_constructors(response: Response, octets: bytes, content_type: str) -> None:
    assert (response.status, response.body, response.is_stream) == (200, octets, False)
    assert response.headers.get_all("content-type") == [content_type]


@pytest.mark.parametrize("make", [Response.json, Response.text, Response.html, Response.xml])
def test_constructors_take_status_and_headers(make: Any) -> None:
    response = make("x", 418, {"X-A": "1"})
    assert (response.status, response.headers["x-a"]) == (418, "1")


@pytest.mark.parametrize("make", [Response.text, Response.html, Response.xml])
@pytest.mark.parametrize("value", [5, None, ["x"]])
def test_text_is_text(make: Any, value: Any) -> None:
    with pytest.raises(ResponseError, match=f"is a str, got {type(value).__name__}"):
        make(value)


@pytest.mark.parametrize("value", ["text", 5, None, [1]])
def test_binary_is_bytes(value: Any) -> None:
    with pytest.raises(ResponseError, match=r"Response\.binary takes bytes, got"):
        Response.binary(value)


def test_stream_of_an_iterable() -> None:
    response = Response.stream([b"a", "b"], "text/event-stream", 201, {"X-A": "1"})
    assert response.is_stream
    assert list(response.body) == [b"a", "b"]
    assert (response.status, type_of(response), response.headers["x-a"]) == (201, "text/event-stream", "1")


def test_stream_of_async_iterables() -> None:
    for body in (produce(), Chunks()):
        response = Response.stream(body)
        assert response.is_stream
        assert response.body is body


@pytest.mark.parametrize(
    "value", ["text", b"octets", bytearray(b"x"), memoryview(b"x"), {"a": 1}, None, 5, len]
)
def test_what_is_no_stream(value: Any) -> None:
    with pytest.raises(ResponseError, match=f"takes an iterator of bytes or str, got {type(value).__name__}"):
        Response.stream(value)


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("/login", "/login"),
        ("https://example.com/a?b=c&d=[e]#f", "https://example.com/a?b=c&d=[e]#f"),
        ("/caf\u00e9 bar", "/caf%C3%A9%20bar"),
        ("/a%20b%zz", "/a%20b%zz"),
        ("/\\evil.example", "/%5Cevil.example"),
        ("/\tx\x7f", "/%09x%7F"),
        ('/"<>^`{|}', "/%22%3C%3E%5E%60%7B%7C%7D"),
        ("/~u!$'()*,;:@", "/~u!$'()*,;:@"),
    ],
)
def test_redirects_and_locations_are_uris(url: str, location: str) -> None:
    assert Response.redirect(url).headers["location"] == location
    assert Response.created(location=url).headers["location"] == location


@pytest.mark.parametrize("url", ["", None, 5, b"/x", "/a\r\nX: b", "/a\nb", "/a\rb", "/a\0", "/\ud800"])
def test_urls_that_no_field_can_hold(url: Any) -> None:
    with pytest.raises(ResponseError, match=r"Response\.redirect takes a URL"):
        Response.redirect(url)
    if url is not None:
        with pytest.raises(ResponseError, match=r"Response\.created takes a URL"):
            Response.created(location=url)


@given(st.text(min_size=1))
def test_any_location_is_printable_ascii_or_refused(url: str) -> None:
    try:
        location = Response.redirect(url).headers["location"]
    except ResponseError:
        return
    assert location.isascii()
    assert location.isprintable()
    assert not set(location) & set(' "<>\\^`{|}')


def test_redirect_statuses() -> None:
    response = Response.redirect("/x", headers={"X-A": "1"})
    assert (response.status, response.body) == (302, b"")
    assert response.headers.raw == [(b"x-a", b"1"), (b"location", b"/x")]
    assert Response.redirect("/x", permanent=True).status == 301
    assert Response.redirect("/x", 301, permanent=True).status == 301
    for status in (300, 301, 302, 303, 305, 307, 308, HTTPStatus.SEE_OTHER):
        assert Response.redirect("/x", status).status == status
    refused: list[Any] = [200, 304, 306, 399, 400, "302"]
    for wrong in refused:
        with pytest.raises(ResponseError, match="a redirect's status is"):
            Response.redirect("/x", wrong)
    with pytest.raises(ResponseError, match="permanent=True means status 301"):
        Response.redirect("/x", 307, permanent=True)


def test_no_content() -> None:
    response = Response.no_content({"X-A": "1"})
    assert (response.status, response.body) == (204, b"")
    assert response.headers.raw == [(b"x-a", b"1")]


def test_created() -> None:
    response = Response.created({"id": 7}, "/users/7", {"X-A": "1"})
    assert (response.status, response.body, type_of(response)) == (201, b'{"id":7}', JSON)
    assert (response.headers["location"], response.headers["x-a"]) == ("/users/7", "1")
    empty = Response.created()
    assert (empty.status, empty.body, empty.headers.raw) == (201, b"", [])
    assert Response.created([]).body == b"[]"


def test_errors_are_problems() -> None:
    response = Response.error(409, "taken", "/users/7", {"X-A": "1"}, field="name")
    assert response.status == 409
    assert response.headers.raw == [(b"x-a", b"1"), (b"content-type", b"application/problem+json")]
    assert decode(response.body) == {
        "type": "about:blank",
        "title": "Conflict",
        "status": 409,
        "detail": "taken",
        "instance": "/users/7",
        "error": "Conflict",
        "field": "name",
    }
    assert decode(Response.error(HTTPStatus.NOT_FOUND).body)["status"] == 404
    for status in (200, 399, 600, "404", None):
        with pytest.raises(ResponseError, match="a status from 400 to 599, got"):
            Response.error(status)  # type: ignore[arg-type]


def test_setting_headers() -> None:
    response = Response()
    response.set_header("X-A", "1")
    response.set_header("x-a", "2")
    response.append_header("Vary", "Accept")
    response.append_header("Vary", "Origin")
    assert response.headers.raw == [(b"x-a", b"2"), (b"vary", b"Accept"), (b"vary", b"Origin")]


@pytest.mark.parametrize(
    ("name", "value"), [("X-A", "a\r\nX: c"), ("X-A", "a\0"), ("X A", "b"), ("X-A\n", "b")]
)
def test_fields_that_http_cannot_carry(name: str, value: str) -> None:
    response = Response()
    for attempt in (response.set_header, response.append_header, lambda *pair: Response(headers=[pair])):
        with pytest.raises(ResponseError):
            attempt(name, value)
    with pytest.raises(ResponseError):
        Response(content_type=f"text/plain{value[1:]}" if name == "X-A" else "a\nb")
    assert response.headers.raw == []


def test_cookies() -> None:
    response = Response()
    response.set_cookie(
        "a",
        "1",
        max_age=60,
        expires=0,
        path="/p",
        domain="example.com",
        secure=True,
        httponly=True,
        samesite="None",
    )
    response.set_cookie("b", "2")
    response.delete_cookie("c", "/p", "example.com", secure=True, httponly=True, samesite="Strict")
    attributes = "Path=/p; Domain=example.com; Secure; HttpOnly"
    epoch = "Expires=Thu, 01 Jan 1970 00:00:00 GMT"
    assert response.headers.get_all("set-cookie") == [
        f"a=1; Max-Age=60; {epoch}; {attributes}; SameSite=None",
        "b=2; Path=/; SameSite=Lax",
        f"c=; Max-Age=0; {epoch}; {attributes}; SameSite=Strict",
    ]
    with pytest.raises(ResponseError, match="quote"):
        response.set_cookie("a", "two words")


def test_repr() -> None:
    assert repr(Response.json({})) == "<Response 200 application/json, 2 bytes>"
    assert repr(Response(status=204)) == "<Response 204 no content type, 0 bytes>"
    assert repr(Response(iter([]))) == "<Response 200 application/octet-stream, stream>"


def test_subclasses_keep_their_type() -> None:
    class Special(Response):
        pass

    for response in (Special.json({}), Special.redirect("/"), Special.no_content(), Special.error(404)):
        assert type(response) is Special


@pytest.mark.parametrize("fields", [{"X-A": "b"}, [("X-A", "b")], ResponseHeaders({"X-A": "b"})])
def test_headers_that_are_assigned_are_header_fields(fields: Any) -> None:
    response = Response("x", headers={"X-Old": "1"})
    response.headers = fields
    assert response.headers.raw == [(b"x-a", b"b"), (b"content-type", b"text/plain; charset=utf-8")]
    response.headers = {"Content-Type": "text/csv"}
    assert response.headers.raw == [(b"content-type", b"text/csv")]


def test_headers_that_http_cannot_carry_are_refused_where_they_are_assigned() -> None:
    response = Response("x", headers={"X-A": "b"})
    with pytest.raises(ResponseError, match="header 'X-A'"):
        response.headers = {"X-A": "b\nc"}
    assert response.headers["X-A"] == "b"
