"""The grammar of path templates, the converters, and the paths built from templates."""

from __future__ import annotations

import math
from enum import Enum
from urllib.parse import unquote
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cello.errors import RouteError
from cello.paths import CONVERTERS, Kind, Segment, build_path, format_template, nearest, parse_template

ID = UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")


def static(text: str) -> Segment:
    return Segment(Kind.STATIC, text=text)


def typed(name: str, type_name: str) -> Segment:
    return Segment(Kind.TYPED, name=name, type=type_name)


def plain(name: str) -> Segment:
    return Segment(Kind.PLAIN, name=name, type="str")


def wildcard(name: str) -> Segment:
    return Segment(Kind.WILDCARD, name=name, type="path")


@pytest.mark.parametrize(
    ("template", "segments"),
    [
        ("/", [static("")]),
        ("/users", [static("users")]),
        ("/users/", [static("users"), static("")]),
        ("/users/{id}", [static("users"), plain("id")]),
        ("/users/{id}/", [static("users"), plain("id"), static("")]),
        ("/{id:str}", [plain("id")]),
        ("/{id:int}/{x:float}/{u:uuid}", [typed("id", "int"), typed("x", "float"), typed("u", "uuid")]),
        ("/files/{path:path}", [static("files"), wildcard("path")]),
        ("/files/{*rest}", [static("files"), wildcard("rest")]),
        ("/files/*rest", [static("files"), wildcard("rest")]),
        ("/files/*", [static("files"), wildcard("path")]),
        ("/*", [wildcard("path")]),
        ("/{user-id}/{_x1}/{größe}", [plain("user-id"), plain("_x1"), plain("größe")]),
        ("/café", [static("café")]),
        ("/caf%C3%A9", [static("café")]),
        ("/caf%c3%a9", [static("café")]),
        ("/a%2Fb/c", [static("a/b"), static("c")]),
        ("/%7Bid%7D/%2A/%3F%23/100%25", [static("{id}"), static("*"), static("?#"), static("100%")]),
        ("/a%20b/c:d@e;f=1,2", [static("a b"), static("c:d@e;f=1,2")]),
        ("/%3Aid/:/:1/%3Cid>", [static(":id"), static(":"), static(":1"), static("<id>")]),
    ],
)
def test_template(template: str, segments: list[Segment]) -> None:
    assert parse_template(template) == segments


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("", "begins with '/'"),
        ("users", "begins with '/'"),
        ("{id}", "begins with '/'"),
        (None, "begins with '/', got None"),
        (b"/users", "begins with '/', got b'/users'"),
        ("/users?x=1", "a query"),
        ("/users#top", "a fragment"),
        ("/a//b", "empty segment"),
        ("//a", "empty segment"),
        ("/a//", "empty segment"),
        ("/a{b}", "a parameter fills its whole segment"),
        ("/{b}a", "a parameter fills its whole segment"),
        ("/{a}{b}", "a parameter fills its whole segment"),
        ("/{a}-{b}", "a parameter fills its whole segment"),
        ("/{{a}}", "a parameter fills its whole segment"),
        ("/{a", "not closed"),
        ("/{a/b}", "not closed"),
        ("/a}", "not opened"),
        ("/{}", "empty name"),
        ("/{:int}", "empty name"),
        ("/{*}", "empty name"),
        ("/{1a}", "'1a' is no parameter name"),
        ("/{a b}", "'a b' is no parameter name"),
        ("/{ a }", "' a ' is no parameter name"),
        ("/*a:path", "'a:path' is no parameter name"),
        ("/{*a:path}", "'a:path' is no parameter name"),
        ("/**", "'*' is no parameter name"),
        ("/a*", "a wildcard fills its whole segment"),
        ("/{id:integer}", "known: int, uuid, float, str, path; did you mean 'int'?"),
        ("/{id:string}", "did you mean 'str'?"),
        ("/{id:INT}", "did you mean 'int'?"),
        ("/{id:guid}", "did you mean 'uuid'?"),
        ("/{id:decimal-number}", "unknown type 'decimal-number'; known: int, uuid, float, str, path"),
        ("/{id:}", "unknown type ''"),
        ("/{id}/{id}", "'id' is there twice"),
        ("/{id}/x/{id:int}", "'id' is there twice"),
        ("/{path}/*", "'path' is there twice"),
        ("/{path:path}/x", "'path' takes the rest of the path"),
        ("/*path/", "'path' takes the rest of the path"),
        (
            "/users/:id",
            "parameters are written {id} or {id:int}, got ':id' (a literal ':' there is written %3A)",
        ),
        ("/users/<int:id>", "parameters are written {id} or {id:int}, got '<int:id>' (a literal '<' there"),
        ("/my users", "'my users' has white space in it (a space that clients send is written %20)"),
        ("/users ", "has white space"),
        ("/a\tb", "has white space"),
        ("/{int:id}", "did you mean '{id:int}'?"),
        ("/100%", "literal '%' is written %25"),
        ("/%zz", "literal '%' is written %25"),
        ("/%FF", "not UTF-8"),
        ("/%C0%AF", "not UTF-8"),
        ("/\udc80", "not UTF-8"),
    ],
)
def test_bad_template(template: str, message: str) -> None:
    with pytest.raises(RouteError) as caught:
        parse_template(template)
    assert message in str(caught.value)
    if template:
        assert repr(template) in str(caught.value)


@pytest.mark.parametrize(
    ("type_name", "text", "value"),
    [
        ("int", "0", 0),
        ("int", "007", 7),
        ("int", "-5", -5),
        ("int", "-0", 0),
        ("int", "9" * 19, 10**19 - 1),
        ("int", "-" + "9" * 19, 1 - 10**19),
        ("float", "1", 1.0),
        ("float", "-2.50", -2.5),
        ("float", "00.125", 0.125),
        ("uuid", str(ID), ID),
        ("uuid", str(ID).upper(), ID),
    ],
)
def test_converter(type_name: str, text: str, value: object) -> None:
    converted = CONVERTERS[type_name](text)
    assert converted == value
    assert type(converted) is type(value)


@pytest.mark.parametrize(
    ("type_name", "texts"),
    [
        ("int", ["", "-", "+1", "--1", " 1", "1 ", "1_0", "1.0", "0x1", "٣", "²", "1\n", "1" * 20, "1-"]),
        ("float", ["", "-", ".", ".5", "5.", "+1", "1e5", "nan", "inf", "-inf", "1_0", "٣", "1.2.3", "1\n"]),
        ("float", ["1" * 400]),
        ("uuid", ["", ID.hex, f"{{{ID}}}", f"urn:uuid:{ID}", str(ID)[:-1], f"{ID}0", f"{ID}\n"]),
        ("uuid", [str(ID).replace("6", "g", 1), str(ID).replace("-", "_")]),
    ],
)
def test_converter_refuses(type_name: str, texts: list[str]) -> None:
    for text in texts:
        with pytest.raises(ValueError, match="not a"):
            CONVERTERS[type_name](text)


@pytest.mark.parametrize(
    ("template", "canonical"),
    [
        ("/", "/"),
        ("/users/{id:str}/{x:int}/", "/users/{id}/{x:int}/"),
        ("/files/*", "/files/{path:path}"),
        ("/caf%C3%A9/%7Bid%7D/100%25/a%2Fb", "/café/%7Bid%7D/100%25/a%2Fb"),
    ],
)
def test_format_template(template: str, canonical: str) -> None:
    segments = parse_template(template)
    assert format_template(segments) == canonical
    assert parse_template(canonical) == segments


class Colour(str, Enum):  # noqa: UP042 (a StrEnum has another __str__)
    RED = "red"


@pytest.mark.parametrize(
    ("template", "params", "path"),
    [
        ("/", {}, "/"),
        ("/users/", {}, "/users/"),
        ("/café/a%2Fb", {}, "/caf%C3%A9/a%2Fb"),
        ("/users/{id}", {"id": "a/b c"}, "/users/a%2Fb%20c"),
        ("/users/{id}", {"id": "é?#%"}, "/users/%C3%A9%3F%23%25"),
        ("/users/{id}", {"id": "a-b._~!$&'()*+,;=:@"}, "/users/a-b._~!$&'()*+,;=:@"),
        ("/users/{id}", {"id": 5}, "/users/5"),
        ("/users/{id}", {"id": ID}, f"/users/{ID}"),
        ("/users/{id}", {"id": Colour.RED}, "/users/red"),
        ("/users/{id}", {"id": "..."}, "/users/..."),
        ("/users/{id:int}", {"id": -5}, "/users/-5"),
        ("/users/{id:int}", {"id": "5"}, "/users/5"),
        ("/{x:float}", {"x": 2}, "/2"),
        ("/{x:float}", {"x": 1e-7}, "/0.0000001"),
        ("/{x:float}", {"x": 1e22}, "/10000000000000000000000"),
        ("/{u:uuid}/x", {"u": ID}, f"/{ID}/x"),
        ("/files/*path", {"path": "a/b c/é"}, "/files/a/b%20c/%C3%A9"),
        ("/files/*path", {"path": "/a/"}, "/files//a/"),
        ("/*path", {"path": "/example.com/x"}, "/%2Fexample.com/x"),
        ("/{a}/{b}", {"b": "2", "a": "1"}, "/1/2"),
    ],
)
def test_build_path(template: str, params: dict[str, object], path: str) -> None:
    assert build_path(parse_template(template), params) == path


@pytest.mark.parametrize(
    ("template", "params", "message"),
    [
        ("/users/{id}", {}, "/users/{id} needs the parameter 'id'"),
        ("/users/{id}", {"id": 1, "x": 2}, "no parameter 'x'; its parameters: id"),
        ("/users", {"x": 2}, "no parameter 'x'; its parameters: none"),
        ("/users/{id:int}", {"id": "x"}, "'id' takes int, got 'x'"),
        ("/users/{id:int}", {"id": 5.0}, "'id' takes int, got 5.0"),
        ("/users/{id:int}", {"id": True}, "'id' takes int, got True"),
        ("/users/{id:int}", {"id": 10**19}, "'id' takes int, got 1"),
        ("/users/{id:int}", {"id": None}, "'id' takes int, got None"),
        ("/{x:float}", {"x": math.inf}, "'x' takes float, got inf"),
        ("/{x:float}", {"x": math.nan}, "'x' takes float, got nan"),
        ("/{u:uuid}", {"u": ID.hex}, "'u' takes uuid"),
        ("/{id}", {"id": ""}, "'id' is empty"),
        ("/{id}", {"id": None}, "'id' takes str, got None"),
        ("/{id}", {"id": b"x"}, "'id' takes str, got b'x'"),
        ("/{id}", {"id": "\ud800"}, "'id' takes str"),
        ("/{id}", {"id": ".."}, "'id' has a dot segment"),
        ("/{id}", {"id": "."}, "'id' has a dot segment"),
        ("/*path", {"path": ""}, "'path' is empty"),
        ("/*path", {"path": "a/../b"}, "'path' has a dot segment"),
        ("/*path", {"path": ["a", "b"]}, "'path' takes path, got ['a', 'b']"),
    ],
)
def test_build_path_refuses(template: str, params: dict[str, object], message: str) -> None:
    with pytest.raises(RouteError) as caught:
        build_path(parse_template(template), params)
    assert message in str(caught.value)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1))
def test_built_path_carries_any_text(text: str) -> None:
    if text in (".", ".."):
        return
    path = build_path(parse_template("/x/{id}"), {"id": text})
    assert path.isascii()
    assert path.count("/") == 2
    assert unquote(path.rpartition("/")[2], errors="strict") == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_built_path_carries_any_float(value: float) -> None:
    path = build_path(parse_template("/{x:float}"), {"x": value})
    assert CONVERTERS["float"](path[1:]) == value


def test_nearest() -> None:
    assert nearest("usr", ["index", "user"]) == "; did you mean 'user'?"
    assert nearest("xyz", ["index", "user"]) == ""
