"""HEAD, OPTIONS, 404, 405 and the redirect to the other slash (RFC 9110 9.3, 15.5)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from cello import App, Response


def make_app() -> App:
    app = App()

    @app.get("/json")
    def as_json(request: Any) -> Any:
        return {"hello": "world"}

    @app.get("/text", blocking=False)
    def as_text(request: Any) -> Any:
        return "caf\u00e9"

    @app.get("/pinned", blocking=False)
    def pinned(request: Any) -> Any:
        return {"hello": "world"}

    @app.get("/async")
    async def asynchronous(request: Any) -> Any:
        return {"hello": "world"}

    @app.get("/none")
    def nothing(request: Any) -> Any:
        return None

    @app.get("/error")
    def error(request: Any) -> Any:
        return Response.error(409, "taken")

    @app.get("/stream")
    def stream(request: Any) -> Iterator[str]:
        yield "one"

    @app.get("/sized")
    def sized(request: Any) -> Any:
        return Response.stream(iter([b"four"]), headers={"Content-Length": 4})

    return app


@pytest.mark.parametrize(
    "path", ["/json", "/text", "/pinned", "/async", "/none", "/error", "/sized", "/nowhere"]
)
def test_head_is_get_without_the_body(serve: Any, path: str) -> None:
    client = serve(make_app())
    got, head = client.get(path), client.head(path)
    assert head.body == b""
    assert head.status == got.status
    ignored = {"date"}
    assert [f for f in head.headers if f[0] not in ignored] == [f for f in got.headers if f[0] not in ignored]
    if got.body:
        assert head.get("content-length") == str(len(got.body))


def test_head_of_a_stream_makes_none_of_it(serve: Any) -> None:
    app = App()
    made: list[str] = []

    @app.get("/")
    def stream(request: Any) -> Iterator[str]:
        made.append("piece")
        yield "one"

    client = serve(app)
    head = client.head("/")
    assert (head.status, head.body, made) == (200, b"", [])
    assert client.get("/").body == b"one"


def test_head_has_a_handler_of_its_own(serve: Any) -> None:
    app = App()

    @app.get("/")
    def get(request: Any) -> Any:
        return "get"

    @app.head("/")
    def head(request: Any) -> Any:
        return Response(headers={"X-From": "head", "Content-Length": 1000})

    client = serve(app)
    answer = client.head("/")
    assert (answer.status, answer.body, answer.get("x-from")) == (200, b"", "head")
    assert answer.get("content-length") == "1000"
    assert client.get("/").get("x-from") is None


def test_head_reaches_the_handler_as_head(serve: Any) -> None:
    app = App()

    @app.get("/")
    async def get(request: Any) -> Any:
        return Response("x", headers={"X-Method": request.method})

    assert serve(app).head("/").get("x-method") == "HEAD"


def test_options_is_answered_with_allow(serve: Any) -> None:
    app = App()
    app.get("/things")(lambda request: "get")
    app.post("/things")(lambda request: "post")
    app.delete("/other")(lambda request: "delete")
    client = serve(app)
    answer = client.request("OPTIONS", "/things")
    assert (answer.status, answer.body) == (204, b"")
    assert answer.get("allow") == "GET, HEAD, OPTIONS, POST"
    assert client.request("OPTIONS", "/other").get("allow") == "DELETE, OPTIONS"
    assert client.request("OPTIONS", "/nowhere").status == 404


def test_options_of_the_server_as_a_whole(serve: Any) -> None:
    app = App()
    app.get("/")(lambda request: "get")
    app.put("/x")(lambda request: "put")
    answer = serve(app).request("OPTIONS", "*")
    assert (answer.status, answer.get("allow")) == (204, "GET, HEAD, OPTIONS, PUT")


def test_options_has_a_handler_of_its_own(serve: Any) -> None:
    app = App()
    app.get("/")(lambda request: "get")
    app.options("/")(lambda request: ("mine", 200, {"X-Own": "yes"}))
    answer = serve(app).request("OPTIONS", "/")
    assert (answer.status, answer.body, answer.get("x-own")) == (200, b"mine", "yes")


def test_unknown_path_is_404(serve: Any) -> None:
    answer = serve(make_app()).get("/nowhere")
    assert answer.status == 404
    assert answer.json()["instance"] == "/nowhere"


def test_other_method_is_405_with_allow(serve: Any) -> None:
    app = App()
    app.get("/things")(lambda request: "get")
    app.put("/things")(lambda request: "put")
    client = serve(app)
    for method in ("POST", "DELETE", "PATCH"):
        answer = client.request(method, "/things")
        assert answer.status == 405
        assert answer.get("allow") == "GET, HEAD, OPTIONS, PUT"
        assert method in answer.json()["detail"]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_every_verb_reaches_its_handler(serve: Any, method: str) -> None:
    app = App()
    getattr(app, method.lower())("/")(lambda request: request.method)
    assert serve(app).request(method, "/").text == method


def test_one_handler_for_several_methods(serve: Any) -> None:
    app = App()

    @app.route("/", methods=["GET", "post", "PROPFIND"])
    def index(request: Any) -> Any:
        return request.method

    client = serve(app)
    assert [client.request(each, "/").text for each in ("GET", "POST", "PROPFIND")] == [
        "GET",
        "POST",
        "PROPFIND",
    ]


@pytest.mark.parametrize(
    ("route", "asked", "location"),
    [
        ("/users", "/users/", "/users"),
        ("/users/", "/users", "/users/"),
        ("/users", "/users/?a=1&b=%20", "/users?a=1&b=%20"),
        ("/users/{id:int}/", "/users/7?x", "/users/7/?x"),
        ("/users/{name}", "/users/a%2Fb/", "/users/a%2Fb"),
    ],
)
def test_other_slash_is_redirected(serve: Any, route: str, asked: str, location: str) -> None:
    app = App()
    app.get(route)(lambda request: "here")
    client = serve(app)
    answer = client.get(asked)
    assert (answer.status, answer.body, answer.get("location")) == (308, b"", location)
    assert client.get(location).text == "here"


def test_redirect_keeps_the_method(serve: Any) -> None:
    app = App()
    app.post("/users")(lambda request: "made")
    answer = serve(app).post("/users/", b"x")
    assert (answer.status, answer.get("location")) == (308, "/users")


@pytest.mark.parametrize("target", ["//evil.example/", "/\\evil.example/", "//evil.example"])
def test_no_redirect_leaves_the_server(serve: Any, target: str) -> None:
    app = App()
    app.get("/{a}/{b}")(lambda request: "here")
    app.get("/{a}/{b}/{c}")(lambda request: "here")
    app.get("/{a}")(lambda request: "here")
    assert serve(app).get(target).get("location") is None


def test_asked_method_decides_after_the_redirect(serve: Any) -> None:
    app = App()
    app.get("/users")(lambda request: "here")
    client = serve(app)
    answer = client.request("DELETE", "/users/")
    assert (answer.status, answer.get("location")) == (308, "/users")
    assert client.request("DELETE", "/users").status == 405
