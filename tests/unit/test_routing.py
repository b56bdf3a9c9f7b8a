"""Routes, what their table refuses, its redirects and URLs by name (matching: parity/test_router.py)."""

from __future__ import annotations

import functools
import math
from typing import Any

import pytest

from cello.errors import HTTPError, RouteError
from cello.routing import METHODS, Route, RouteTable, name_of, place_of


def index(request: Any) -> None: ...


def user(request: Any) -> None: ...


def wrapper(request: Any) -> None: ...


class Resource:
    def __init__(self) -> None: ...

    def show(self, request: Any) -> None: ...

    def __call__(self, request: Any) -> None: ...


def make_route(template: str = "/", *methods: str, handler: Any = index, **options: Any) -> Route:
    return Route(template, methods or ("GET",), handler, **options)


def make_table(*routes: Route) -> RouteTable:
    table = RouteTable()
    for route in routes:
        table.add(route)
    return table


# --- Route -------------------------------------------------------------------------------------------------


def test_route_fills_in_name_and_place() -> None:
    route = make_route("/users/{id:int}", "GET", "POST")
    assert route.name == "index"
    assert route.place.endswith(f"test_routing.py:{index.__code__.co_firstlineno} in index")
    assert str(route) == f"GET,POST /users/{{id:int}} ({route.place})"
    assert [segment.name for segment in route.segments] == ["", "id"]
    assert route.call is None
    assert make_route(name="home").name == "home"


def test_routes_are_equal_only_to_themselves() -> None:
    route = make_route()
    assert route != make_route()
    assert {route: 1}[route] == 1


def test_bad_template_names_the_place() -> None:
    with pytest.raises(RouteError, match=r"^route '/a\{b\}': .* \(.*test_routing\.py:\d+ in index\)$"):
        make_route("/a{b}")


@pytest.mark.parametrize(
    ("handler", "function", "ending"),
    [
        (index, index, "in index"),
        (functools.partial(index, 1), index, "in index"),
        (functools.partial(functools.partial(index), 1), index, "in index"),
        (functools.wraps(index)(wrapper), index, "in index"),
        (functools.partial(functools.wraps(user)(lambda request: None)), user, "in user"),
        (Resource().show, Resource.show, "in Resource.show"),
        (Resource(), Resource.__call__, "in Resource.__call__"),
        (Resource, Resource.__init__, "in Resource.__init__"),
    ],
)
def test_place_of(handler: Any, function: Any, ending: str) -> None:
    assert place_of(handler).endswith(f"test_routing.py:{function.__code__.co_firstlineno} {ending}")


def test_place_of_an_inner_function_leaves_out_where_it_was_made() -> None:
    def inner() -> None: ...

    assert place_of(inner).endswith(" in inner")


def test_place_is_relative_to_the_current_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("application")
    names: dict[str, Any] = {}
    exec(compile("def view(): ...", str(directory / "views" / "users.py"), "exec"), names)
    monkeypatch.chdir(directory)
    assert place_of(names["view"]) == "views/users.py:1 in view"
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert place_of(names["view"]) == f"{directory}/views/users.py:1 in view"


def test_place_of_a_builtin() -> None:
    assert place_of(len) == "<built-in function len>"


@pytest.mark.parametrize(
    ("handler", "name"),
    [
        (index, "index"),
        (functools.partial(index), "index"),
        (Resource().show, "show"),
        (Resource(), "Resource"),
    ],
)
def test_name_of(handler: Any, name: str) -> None:
    assert name_of(handler) == name


# --- what add refuses --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("/", "/"),
        ("/a/{x}", "/a/{y}"),
        ("/a/{x}", "/a/{y:str}"),
        ("/a/{x:int}/b", "/a/{y:int}/b"),
        ("/a/{path:path}", "/a/*rest"),
        ("/a/*", "/a/{*rest}"),
        ("/café", "/caf%C3%A9"),
    ],
)
def test_second_route_of_a_pattern_names_both_places(first: str, second: str) -> None:
    table = make_table(make_route(first, "GET", "POST"))
    with pytest.raises(RouteError) as caught:
        table.add(make_route(second, "PUT", "POST", handler=user))
    message = str(caught.value)
    assert message.startswith(f"route POST {second} (")
    assert f"registered already, as GET,POST {first} (" in message
    assert place_of(index) in message
    assert place_of(user) in message


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("/a", "/a/"),
        ("/a", "/A"),
        ("/a/{x}", "/a/{x:int}"),
        ("/a/{x:int}", "/a/{x:float}"),
        ("/a/{x}", "/a/{x:path}"),
        ("/a/b", "/a%2Fb"),
        ("/int", "/{x:int}"),
    ],
)
def test_other_patterns_do_not_clash(first: str, second: str) -> None:
    assert len(make_table(make_route(first), make_route(second)).routes) == 2


def test_other_methods_and_an_explicit_head_do_not_clash() -> None:
    table = make_table(make_route("/", "GET"), make_route("/", "POST"), make_route("/", "HEAD"))
    assert table.match("HEAD", b"/") == (table.routes[2], None)
    with pytest.raises(RouteError):
        table.add(make_route("/", "HEAD"))


def test_a_refused_route_leaves_no_trace() -> None:
    table = make_table(make_route("/a", "POST"))
    for route in (
        make_route("/a", "PUT", "POST", handler=user),
        make_route("/b", "GET", "TRACE", handler=user),
        make_route("/b", "GET", handler=user, timeout=0),
    ):
        with pytest.raises(RouteError):
            table.add(route)
    assert len(table.routes) == 1
    assert table.allowed(b"/a") == ["POST"]
    assert table.allowed(b"/b") == []
    with pytest.raises(RouteError, match="no route is named 'user'"):
        table.url_for("user")
    table.add(make_route("/a", "PUT", handler=user))


def test_methods_become_upper_case_and_single() -> None:
    table = make_table(make_route("/", "get", "Post", "GET", "m-search"))
    assert table.routes[0].methods == ("GET", "POST", "M-SEARCH")
    assert table.allowed(b"/") == ["GET", "HEAD", "M-SEARCH", "POST"]


def test_every_method_the_parser_knows_is_taken() -> None:
    table = make_table(make_route("/", *METHODS))
    assert table.allowed(b"/") == sorted(METHODS)


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        ((), "methods is a list of at least one method, got ()"),
        ("GET", "methods is a list of at least one method, got 'GET'"),
        (None, "methods is a list of at least one method, got None"),
        (("GET", "TRACE"), "no route can answer TRACE: it would echo the client's credentials"),
        (("connect",), "no route can answer CONNECT: it asks a proxy for a tunnel"),
        (("GTE",), "methods has 'GTE', which is no HTTP method; did you mean 'GET'?"),
        (("FROB",), "methods has 'FROB', which is no HTTP method"),
        (("G ET",), "methods has 'G ET', which is no HTTP method"),
        ((5,), "methods has 5, which is no HTTP method"),
    ],
)
def test_bad_methods(methods: Any, message: str) -> None:
    with pytest.raises(RouteError) as caught:
        make_table(Route("/x", methods, index))
    assert f"route /x ({place_of(index)}): {message}" in str(caught.value)


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("timeout", [0, -1, 0.0, math.nan, math.inf, "5", True, False]),
        ("max_request_size", [-1, 1.5, "1", True]),
        ("blocking", [0, 1, "yes"]),
        ("stream", [None, 0, 1, "no"]),
        ("name", [5, b"x"]),
    ],
)
def test_bad_option(option: str, values: list[Any]) -> None:
    for value in values:
        with pytest.raises(RouteError) as caught:
            make_table(make_route("/x", **{option: value}))
        assert f"route GET /x ({place_of(index)}): {option} is " in str(caught.value)
        assert str(caught.value).endswith(f"got {value!r}")


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("timeout", [None, 0.001, 1, 10**400]),
        ("max_request_size", [None, 0, 1 << 40]),
        ("blocking", [None, True, False]),
        ("stream", [True, False]),
    ],
)
def test_good_option(option: str, values: list[Any]) -> None:
    for value in values:
        table = make_table(make_route("/x", **{option: value}))
        assert getattr(table.routes[0], option) == value


# --- match, redirect, url_for ------------------------------------------------------------------------------


def test_match_and_allowed_answer_with_routes() -> None:
    users = make_route("/users/{id:int}", "GET")
    home = make_route("/", "GET")
    table = make_table(users, home)
    assert table.routes == [users, home]
    assert table.match("GET", b"/") == (home, None)
    assert table.match("HEAD", b"/users/5") == (users, {"id": 5})
    assert table.match("POST", b"/users/5") is None
    assert table.allowed(b"/users/5") == ["GET", "HEAD"]
    with pytest.raises(HTTPError):
        table.match("GET", b"/%FF")


@pytest.mark.parametrize(
    ("path", "target"),
    [
        (b"/a/", b"/a"),
        (b"/b", b"/b/"),
        (b"/c%20d/", b"/c%20d"),
        (b"/users/5/", b"/users/5"),
        (b"/users/%2F/", b"/users/%2F"),
        (b"/posts/5", b"/posts/5/"),
        (b"/users/x%2Fy/", b"/users/x%2Fy"),
        (b"/nothing", None),
        (b"/nothing/", None),
        (b"/a//", None),
        (b"/", None),
        (b"", None),
        (b"*", None),
        (b"a/", None),
        (b"//", None),
        (b"//a/", None),
        (b"//example.com/", None),
        (b"/\\example.com/", None),
    ],
)
def test_slash_redirect(path: bytes, target: bytes | None) -> None:
    table = make_table(
        make_route("/a"),
        make_route("/b/"),
        make_route("/c%20d"),
        make_route("/users/{id}"),
        make_route("/posts/{id:int}/"),
    )
    for method in ("GET", "HEAD", "POST", "OPTIONS"):
        assert table.slash_redirect(path, method) == target


def test_slash_redirect_names_no_other_server() -> None:
    """Every path has a route here, so only the rule itself holds these back."""
    table = make_table(make_route("/*path"), make_route("/{name}"))
    for start in (b"//", b"/\\"):
        for path in (start, start + b"/", start + b"example.com", start + b"example.com/"):
            assert table.slash_redirect(path, "GET") is None
    assert table.slash_redirect(b"/", "GET") is None
    assert table.slash_redirect(b"/example.com/", "GET") == b"/example.com"


def test_url_for() -> None:
    table = make_table(
        make_route("/"),
        make_route("/users/{id:int}", handler=user),
        make_route("/files/*path", name="file"),
        make_route("/by/{name}", name="by-name"),
    )
    assert table.url_for("index") == "/"
    assert table.url_for("user", id=5) == "/users/5"
    assert table.url_for("file", path="a b/c") == "/files/a%20b/c"
    assert table.url_for("by-name", name="x/y") == "/by/x%2Fy"
    with pytest.raises(RouteError, match="needs the parameter 'id'"):
        table.url_for("user")


def test_url_for_an_unknown_name() -> None:
    table = make_table(make_route("/users/{id}", handler=user))
    with pytest.raises(
        RouteError, match=r"^no route is named 'usr'; did you mean 'user'\? \(.*test_routing\.py:\d+\)$"
    ):
        table.url_for("usr", id=1)
    with pytest.raises(RouteError, match=r"^no route is named 'x' \("):
        RouteTable().url_for("x")


def test_url_for_a_name_of_several_routes() -> None:
    table = make_table(make_route("/a/{x}", "GET"), make_route("/a/{x:str}", "POST"))
    assert table.url_for("index", x="1") == "/a/1"
    table.add(make_route("/b/{x}"))
    with pytest.raises(RouteError) as caught:
        table.url_for("index", x="1")
    assert all(str(route) in str(caught.value) for route in table.routes)


def test_url_leads_back_to_its_route() -> None:
    table = make_table(make_route("/café/{name}/{size:float}/*rest"), make_route("/*path", name="catch-all"))
    given = {"name": "a/b %2F?#é", "size": 1e-9, "rest": "//x/ö/"}
    path = table.url_for("index", **given).encode()
    assert table.match("GET", path) == (table.routes[0], given)
    path = table.url_for("catch-all", path="//x").encode()
    assert table.match("GET", path) == (table.routes[1], {"path": "//x"})
