"""Cross-origin requests, as a browser makes them: the same fields on every adapter and every kind of answer.

Rules: the Fetch standard, "HTTP extensions" and "CORS-preflight fetch".
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cello import App, HTTPError, Response, TimeoutConfig

PAGE = "https://page.test"
OTHER = "https://other.test"
ALLOWED = "access-control-allow-origin"


async def pieces(request: Any) -> Any:
    yield "piece"


def make_app(**cors: Any) -> App:
    app = App()
    app.get("/json", blocking=False)(lambda request: {"a": 1})
    app.get("/thread", blocking=True)(lambda request: {"a": 1})
    app.get("/text", blocking=False)(lambda request: "text")
    app.get("/nothing", blocking=False)(lambda request: None)
    app.get("/stream")(pieces)
    app.post("/posted", blocking=False, max_request_size=3)(lambda request: "posted")
    app.get("/items/{id:int}", blocking=False)(lambda request: "item")
    app.get("/own", blocking=False)(lambda request: Response("own", headers={ALLOWED: "https://own.test"}))
    app.get("/varies", blocking=False)(lambda request: Response("varies", headers={"Vary": "Accept"}))

    @app.get("/async")
    async def coroutine(request: Any) -> Any:
        return {"a": 1}

    @app.get("/refuses", blocking=False)
    def refuses(request: Any) -> Any:
        raise HTTPError(403, "no")

    @app.get("/fails", blocking=False)
    def fails(request: Any) -> Any:
        raise RuntimeError("broken")

    @app.get("/late", timeout=0.05)
    async def late(request: Any) -> Any:
        await asyncio.sleep(10)

    app.enable_cors(**cors)
    return app


def asked(client: Any, method: str, path: str, origin: str | None, **headers: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if origin is not None:
        named["Origin"] = origin
    return client.request(method, path, list(named.items()))


def preflight(client: Any, path: str, method: str = "GET", origin: str = PAGE, **headers: str) -> Any:
    return asked(client, "OPTIONS", path, origin, Access_Control_Request_Method=method, **headers)


ANSWERS = [
    ("GET", "/json", 200), ("GET", "/thread", 200), ("GET", "/async", 200), ("GET", "/text", 200),
    ("GET", "/nothing", 204), ("GET", "/stream", 200), ("HEAD", "/json", 200), ("GET", "/refuses", 403),
    ("GET", "/fails", 500), ("GET", "/no-such-path", 404), ("DELETE", "/json", 405), ("GET", "/json/", 308),
    ("OPTIONS", "/json", 204), ("GET", "/late", 504),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "status"), ANSWERS)
def test_every_answer_has_the_fields(serve: Any, method: str, path: str, status: int) -> None:
    client = serve(make_app(origins=[PAGE], expose_headers=["X-A", "X-B"], allow_credentials=True))
    answer = asked(client, method, path, PAGE)
    assert answer.status == status
    assert answer.all(ALLOWED) == [PAGE]
    assert answer.all("access-control-allow-credentials") == ["true"]
    assert answer.all("access-control-expose-headers") == ["X-A, X-B"]
    assert "Origin" in answer.all("vary")
    for origin in (OTHER, None):
        answer = asked(client, method, path, origin)
        assert answer.status == status
        assert "access-control" not in str(answer.headers)
        assert "Origin" in answer.all("vary")


def test_a_refused_body_has_the_fields(serve: Any) -> None:
    client = serve(make_app(origins=[PAGE]))
    answer = client.post("/posted", b"too much", [("Origin", PAGE)])
    assert (answer.status, answer.get(ALLOWED)) == (413, PAGE)


@pytest.mark.parametrize(("method", "path", "status"), ANSWERS)
def test_every_origin_is_one_answer_for_all(serve: Any, method: str, path: str, status: int) -> None:
    client = serve(make_app())
    for origin in (PAGE, None):
        answer = asked(client, method, path, origin)
        assert answer.status == status
        assert answer.all(ALLOWED) == ["*"]
        assert "Origin" not in ", ".join(answer.all("vary"))


def test_credentials_never_go_with_a_star(serve: Any) -> None:
    client = serve(make_app(origins="*", allow_credentials=True))
    assert asked(client, "GET", "/json", PAGE).all(ALLOWED) == [PAGE]
    assert asked(client, "GET", "/json", OTHER).all(ALLOWED) == [OTHER]
    assert asked(client, "GET", "/json", None).all(ALLOWED) == []
    assert preflight(client, "/json").all(ALLOWED) == [PAGE]


def test_a_handlers_own_fields_stand(serve: Any) -> None:
    client = serve(make_app(origins=[PAGE]))
    assert asked(client, "GET", "/own", PAGE).all(ALLOWED) == ["https://own.test"]
    assert asked(client, "GET", "/varies", PAGE).all("vary") == ["Accept", "Origin"]


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/json", "GET"),
        ("/posted", "POST"),
        ("/json", "DELETE"),
        ("/no-such-path", "PUT"),
        ("/items/x", "PATCH"),
    ],
)
def test_a_preflight_is_204_on_any_path(serve: Any, path: str, method: str) -> None:
    client = serve(make_app(origins=[PAGE]))
    answer = preflight(client, path, method)
    assert (answer.status, answer.body) == (204, b"")
    assert answer.all(ALLOWED) == [PAGE]
    assert answer.get("access-control-allow-methods") == "DELETE, GET, HEAD, PATCH, POST, PUT"
    assert answer.get("access-control-max-age") == "600"
    assert answer.get("access-control-allow-headers") is None
    assert answer.get("access-control-allow-credentials") is None
    assert answer.get("access-control-allow-private-network") is None
    assert "Origin" in str(answer.get("vary"))


def test_a_preflight_is_told_what_is_allowed(serve: Any) -> None:
    client = serve(
        make_app(
            origins=[PAGE],
            methods=["get", "POST"],
            allow_headers=["X-Token", "Content-Type"],
            allow_credentials=True,
            max_age=5,
            allow_private_network=True,
        )
    )
    answer = preflight(
        client,
        "/json",
        "POST",
        Access_Control_Request_Headers="content-type,  x-token",
        Access_Control_Request_Private_Network="true",
    )
    assert answer.get(ALLOWED) == PAGE
    assert answer.get("access-control-allow-methods") == "GET, POST"
    assert answer.get("access-control-allow-headers") == "content-type, x-token"
    assert answer.get("access-control-allow-credentials") == "true"
    assert answer.get("access-control-allow-private-network") == "true"
    assert answer.get("access-control-max-age") == "5"


def test_without_a_list_the_asked_fields_are_allowed(serve: Any) -> None:
    client = serve(make_app(origins=[PAGE]))
    answer = preflight(client, "/json", Access_Control_Request_Headers="x-any,authorization")
    assert answer.get("access-control-allow-headers") == "x-any,authorization"


@pytest.mark.parametrize(
    ("origin", "method", "headers", "told"),
    [
        (OTHER, "GET", "", "does not list this origin"),
        (PAGE, "DELETE", "", "does not list DELETE"),
        (PAGE, "get", "", "does not list get"),
        (PAGE, "GET", "x-other", "does not list x-other"),
        (PAGE, "GET", "x-token, x-other", "does not list x-other"),
        (PAGE, "GET", "x token", "is no name of a field"),
    ],
)
def test_a_preflight_that_is_refused_gets_nothing(
    serve: Any, log: Any, origin: str, method: str, headers: str, told: str
) -> None:
    client = serve(make_app(origins=[PAGE], methods=["GET"], allow_headers=["X-Token"]))
    answer = preflight(client, "/json", method, origin, Access_Control_Request_Headers=headers)
    assert answer.status == 204
    assert "access-control" not in str(answer.headers)
    assert "Origin" in str(answer.get("vary"))
    assert told in log.wait_for("preflight")


def test_an_options_request_that_is_no_preflight_is_the_applications(serve: Any) -> None:
    app = make_app(origins=[PAGE])
    app.options("/own-options", blocking=False)(lambda request: "own")
    client = serve(app)
    assert asked(client, "OPTIONS", "/own-options", PAGE).body == b"own"
    assert preflight(client, "/own-options").status == 204
    assert (
        asked(client, "OPTIONS", "/json", None, Access_Control_Request_Method="GET").get("allow") is not None
    )


def test_hooks_and_middlewares_do_not_see_preflights(serve: Any) -> None:
    app = make_app(origins=[PAGE])
    seen: list[str] = []
    app.before_request(lambda request: seen.append(request.method))
    client = serve(app)
    assert preflight(client, "/json").status == 204
    assert asked(client, "GET", "/json", PAGE).status == 200
    assert seen == ["GET"]


def test_a_preflight_with_a_body_leaves_the_connection_usable(serve: Any) -> None:
    client = serve(make_app(origins=[PAGE]))
    headers = [("Origin", PAGE), ("Access-Control-Request-Method", "GET")]
    assert client.request("OPTIONS", "/json", headers, b"x" * 100).status == 204
    assert asked(client, "GET", "/json", PAGE).status == 200


def test_a_timeout_has_the_fields(serve: Any) -> None:
    client = serve(make_app(origins=[PAGE]), timeout=TimeoutConfig(response_timeout=0.05))
    assert asked(client, "GET", "/late", PAGE).get(ALLOWED) == PAGE
