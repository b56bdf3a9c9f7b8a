"""From the target to the route: parameters, percent-encoding, precedence, URLs by name."""

from __future__ import annotations

from typing import Any

import pytest

from cello import App


def echoing(*templates: str) -> App:
    """Return an application whose routes answer with their template and parameters."""
    app = App()
    for template in templates:

        def handler(request: Any, template: str = template) -> Any:
            params = {name: [type(value).__name__, str(value)] for name, value in request.params.items()}
            return {"route": template, "params": params, "path": request.path}

        app.get(template, blocking=False)(handler)
    return app


@pytest.mark.parametrize(
    ("template", "target", "name", "kind", "value"),
    [
        ("/u/{id}", "/u/7", "id", "str", "7"),
        ("/u/{id:int}", "/u/7", "id", "int", "7"),
        ("/u/{id:int}", "/u/-7", "id", "int", "-7"),
        ("/u/{x:float}", "/u/1.5", "x", "float", "1.5"),
        (
            "/u/{x:uuid}",
            "/u/00000000-0000-0000-0000-00000000000a",
            "x",
            "UUID",
            "00000000-0000-0000-0000-00000000000a",
        ),
        ("/f/{p:path}", "/f/a/b.txt", "p", "str", "a/b.txt"),
        ("/f/{*p}", "/f/a/b.txt", "p", "str", "a/b.txt"),
        ("/f/*p", "/f/a/b.txt", "p", "str", "a/b.txt"),
        ("/u/{name}", "/u/caf%C3%A9", "name", "str", "caf\u00e9"),
        ("/u/{name}", "/u/a%2Fb", "name", "str", "a/b"),
        ("/u/{name}", "/u/a%2fb", "name", "str", "a/b"),
        ("/u/{name}", "/u/a%20b+c", "name", "str", "a b+c"),
        ("/u/{name}", "/u/%25", "name", "str", "%"),
        ("/u/{name}", "/u/a;b=c", "name", "str", "a;b=c"),
        ("/u/{name}", "/u/..", "name", "str", ".."),
        ("/f/{p:path}", "/f/../etc", "p", "str", "../etc"),
        ("/f/{p:path}", "/f/a%2Fb/c", "p", "str", "a/b/c"),
        ("/caf\u00e9/{name}", "/caf%C3%A9/x", "name", "str", "x"),
    ],
)
def test_parameters(serve: Any, template: str, target: str, name: str, kind: str, value: str) -> None:
    answer = serve(echoing(template)).get(target)
    assert answer.status == 200
    assert answer.json()["params"] == {name: [kind, value]}


@pytest.mark.parametrize("target", ["/u/x", "/u/1.5", "/u/", "/u/1/2", "/u/1e3"])
def test_value_that_does_not_fit_its_type_is_404(serve: Any, target: str) -> None:
    assert serve(echoing("/u/{id:int}")).get(target).status == 404


@pytest.mark.parametrize(
    ("target", "route"),
    [
        ("/u/me", "/u/me"),
        ("/u/7", "/u/{id:int}"),
        ("/u/1.5", "/u/{x:float}"),
        ("/u/you", "/u/{name}"),
        ("/u/me/posts", "/u/{name}/posts"),
        ("/u/me/other", "/u/{rest:path}"),
        ("/u/7/posts", "/u/{name}/posts"),
    ],
)
def test_static_beats_typed_beats_plain_beats_wildcard(serve: Any, target: str, route: str) -> None:
    app = echoing("/u/{rest:path}", "/u/{name}", "/u/{x:float}", "/u/{id:int}", "/u/me", "/u/{name}/posts")
    assert serve(app).get(target).json()["route"] == route


@pytest.mark.parametrize("target", ["/%zz", "/a%", "/a%2", "/%ff", "/%00", "/a%00b", "/%c0%af", "/%ed%a0%80"])
def test_malformed_path_is_400(serve: Any, target: str) -> None:
    answer = serve(echoing("/{path:path}")).get(target)
    assert answer.status == 400
    assert answer.json()["title"] == "Bad Request"


@pytest.mark.parametrize("target", ["/a/../b", "/a/%2e%2e/b", "//a", "/a//b", "/a\\b", "/a;b", "/."])
def test_odd_paths_reach_the_router_as_they_are(serve: Any, target: str) -> None:
    answer = serve(echoing("/{path:path}")).get(target)
    assert answer.status == 200
    assert answer.json()["path"] == target.replace("%2e", ".")


def test_encoded_octets_of_a_static_segment_match(serve: Any) -> None:
    assert serve(echoing("/users")).get("/%75sers").json()["route"] == "/users"


def test_path_and_raw_path(serve: Any) -> None:
    app = App()

    @app.get("/x/{name}")
    def handler(request: Any) -> Any:
        return [request.path, request.raw_path.decode()]

    assert serve(app).get("/x/a%2Fb?q=1").json() == ["/x/a/b", "/x/a%2Fb"]


def test_url_for_builds_what_the_router_takes_apart(serve: Any) -> None:
    app = App()

    @app.get("/files/{folder}/{path:path}", name="file")
    def file(request: Any) -> Any:
        return request.params

    @app.get("/link")
    def link(request: Any) -> Any:
        return request.app.url_for("file", folder="a/b \u00e9", path="c/d?.txt")

    client = serve(app)
    url = client.get("/link").text
    assert url == "/files/a%2Fb%20%C3%A9/c/d%3F.txt"
    assert client.get(url).json() == {"folder": "a/b \u00e9", "path": "c/d?.txt"}
