"""What a handler reads of a request: target, fields, cookies, body."""

from __future__ import annotations

import re
from typing import Any

import pytest

from cello import App, TimeoutConfig

FORM = "application/x-www-form-urlencoded"


def asking(read: Any, *methods: str) -> App:
    """Return an application that answers "/" with ``read(request)``, in all lanes: /, /loop and /async."""
    app = App()

    def plain(request: Any) -> Any:
        return read(request)

    async def coroutine(request: Any) -> Any:
        return read(request)

    app.route("/", methods=list(methods) or ["GET"], blocking=True)(plain)
    app.route("/loop", methods=list(methods) or ["GET"], blocking=False)(plain)
    app.route("/async", methods=list(methods) or ["GET"])(coroutine)
    return app


LANES = pytest.mark.parametrize("path", ["/", "/loop", "/async"])


@LANES
def test_query(serve: Any, path: str) -> None:
    def read(request: Any) -> Any:
        query = request.query
        return {
            "a": query["a"],
            "get": query.get("nope"),
            "default": query.get("nope", "d"),
            "all": query.get_all("a"),
            "keys": query.keys(),
            "items": query.items(),
            "same": request.query_params is query,
            "param": request.get_query_param("b"),
        }

    answer = serve(asking(read)).get(f"{path}?a=1&a=2&b=caf%C3%A9+x&empty=&%3D")
    assert answer.json() == {
        "a": "1",
        "get": None,
        "default": "d",
        "all": ["1", "2"],
        "keys": ["a", "b", "empty", "="],
        "items": [["a", "1"], ["a", "2"], ["b", "caf\u00e9 x"], ["empty", ""], ["=", ""]],
        "same": True,
        "param": "caf\u00e9 x",
    }


@pytest.mark.parametrize("target", ["/", "/?"])
def test_no_query(serve: Any, target: str) -> None:
    def read(request: Any) -> Any:
        return [request.query.items(), request.url.rpartition("/")[2]]

    assert serve(asking(read)).get(target).json() == [[], ""]


def test_too_many_fields_are_a_400(serve: Any) -> None:
    answer = serve(asking(lambda request: request.query.items())).get("/?" + "a&" * 1001)
    assert (answer.status, answer.json()["detail"]) == (400, "the query has more than 1000 fields")


@LANES
def test_headers(serve: Any, path: str) -> None:
    def read(request: Any) -> Any:
        headers = request.headers
        return {
            "any case": [headers["X-ONE"], headers.get("x-one"), request.get_header("X-One")],
            "missing": [headers.get("x-nope"), request.get_header("x-nope", "d")],
            "joined": headers["x-two"],
            "all": headers.get_all("X-Two"),
            "items": [item for item in headers.items() if item[0].startswith("x-")],
            "in": ["X-One" in headers, "x-nope" in headers],
        }

    sent = [("X-One", "1"), ("X-Two", "a"), ("x-two", "b"), ("X-Plain", "x y")]
    answer = serve(asking(read)).get(path, sent)
    assert answer.json() == {
        "any case": ["1", "1", "1"],
        "missing": [None, "d"],
        "joined": "a, b",
        "all": ["a", "b"],
        "items": [["x-one", "1"], ["x-two", "a"], ["x-two", "b"], ["x-plain", "x y"]],
        "in": [True, False],
    }


@LANES
def test_cookies(serve: Any, path: str) -> None:
    client = serve(asking(lambda request: request.cookies))
    assert client.get(path, [("Cookie", 'a=1; b="two"; a=3; junk; c=x=y')]).json() == {
        "a": "1",
        "b": "two",
        "c": "x=y",
    }
    assert client.get(path).json() == {}


@LANES
def test_url_host_scheme_and_peer(serve: Any, path: str) -> None:
    def read(request: Any) -> Any:
        return {
            "url": request.url,
            "host": request.host,
            "scheme": request.scheme,
            "secure": request.is_secure(),
            "version": request.http_version,
            "method": request.method,
            "client_ip": request.client_ip,
            "remote_addr": request.remote_addr,
        }

    client = serve(asking(read))
    assert client.get(f"{path}?a=%20b").json() == {
        "url": f"http://{client.authority}{path}?a=%20b",
        "host": client.authority,
        "scheme": "http",
        "secure": False,
        "version": "1.1",
        "method": "GET",
        "client_ip": client.address,
        "remote_addr": client.address,
    }


@LANES
@pytest.mark.parametrize("is_chunked", [False, True])
def test_json_body(serve: Any, path: str, is_chunked: bool) -> None:
    def read(request: Any) -> Any:
        data = request.json()
        return {"data": data, "once": request.json() is data, "is_json": request.is_json()}

    body = b'{"a": [1, null, "\xc3\xa9", 1180591620717411303424]}'
    content = [body[:5], body[5:]] if is_chunked else body
    answer = serve(asking(read, "POST")).post(path, content, [("Content-Type", "application/json")])
    assert answer.json() == {"data": {"a": [1, None, "\u00e9", 2**70]}, "once": True, "is_json": True}


@LANES
@pytest.mark.parametrize(
    "body", [b"", b"{", b"{}x", b"\xff", b"[NaN]", b"{'a': 1}", b"[" * 100_000, b"\xef\xbb\xbf{}"],
    ids=lambda body: repr(body[:8]),
)  # fmt: skip
def test_bad_json_is_a_400(serve: Any, path: str, body: bytes) -> None:
    answer = serve(asking(lambda request: request.json(), "POST")).post(path, body)
    assert answer.status == 400
    assert "not valid JSON" in answer.json()["detail"]


def test_json_null_is_none_and_no_body_is_bad(serve: Any) -> None:
    client = serve(asking(lambda request: [request.json()], "POST"))
    assert client.post("/", b"null").json() == [None]
    assert client.post("/").status == 400


@LANES
def test_form(serve: Any, path: str) -> None:
    def read(request: Any) -> Any:
        form = request.form()
        return [
            form["a"],
            form.get_all("a"),
            form.get("nope"),
            form["b"],
            request.is_form(),
            request.form() is form,
        ]

    answer = serve(asking(read, "POST")).post(
        path, b"a=1&a=2&b=x+%C3%A9", [("Content-Type", f"{FORM}; charset=utf-8")]
    )
    assert answer.json() == ["1", ["1", "2"], None, "x \u00e9", True, True]


@LANES
def test_form_of_another_type_is_a_415(serve: Any, path: str) -> None:
    client = serve(asking(lambda request: request.form().items(), "POST"))
    answer = client.post(path, b"{}", [("Content-Type", "application/json")])
    assert (answer.status, "got application/json" in answer.json()["detail"]) == (415, True)
    assert client.post(path, b"a=1").status == 415


def test_form_may_be_awaited(serve: Any) -> None:
    app = App()

    @app.post("/")
    async def index(request: Any) -> Any:
        form = await request.form()
        return [form["a"], form.get_all("a")]

    assert serve(app).post("/", b"a=1&a=2", [("Content-Type", FORM)]).json() == ["1", ["1", "2"]]


@LANES
@pytest.mark.parametrize(
    ("content_type", "body", "text"),
    [
        ("text/plain", "caf\u00e9".encode(), "caf\u00e9"),
        ("text/plain; charset=utf-8", "caf\u00e9".encode(), "caf\u00e9"),
        ("text/plain;charset=ISO-8859-1", "caf\u00e9".encode("latin-1"), "caf\u00e9"),
        ('text/plain; format=flowed; CHARSET="utf-16"', "caf\u00e9".encode("utf-16"), "caf\u00e9"),
        ("text/plain; charset=", b"x", "x"),
        ("application/octet-stream", b"", ""),
    ],
)
def test_text_in_its_charset(serve: Any, path: str, content_type: str, body: bytes, text: str) -> None:
    client = serve(asking(lambda request: {"text": request.text()}, "POST"))
    assert client.post(path, body, [("Content-Type", content_type)]).json() == {"text": text}


@LANES
@pytest.mark.parametrize(
    ("charset", "body"),
    [
        ("utf-8", b"\xff"),
        ("nonsense", b"x"),
        ("hex", b"61"),
        ("undefined", b"x"),
        ("idna", b"xn--\xff"),
        ("punycode", b"\xff"),
        ("unicode_escape", b"\\x"),
        ("utf-16", b"\x00"),
    ],
)
def test_text_that_is_not_in_its_charset_is_a_400(serve: Any, path: str, charset: str, body: bytes) -> None:
    client = serve(asking(lambda request: request.text(), "POST"))
    answer = client.post(path, body, [("Content-Type", f"text/plain; charset={charset}")])
    assert answer.status == 400
    assert charset in answer.json()["detail"]


@LANES
def test_body_and_its_description(serve: Any, path: str) -> None:
    def read(request: Any) -> Any:
        kinds = [request.is_json(), request.is_form(), request.is_multipart()]
        return [request.body().hex(), request.content_type, request.content_length, kinds]

    client = serve(asking(read, "POST", "PUT", "GET"))
    multipart = [("Content-Type", "multipart/form-data; boundary=x")]
    assert client.post(path, b"\x00\xff", multipart).json() == [
        "00ff", "multipart/form-data; boundary=x", 2, [False, False, True],
    ]  # fmt: skip
    json_like = [("Content-Type", "application/vnd.api+json")]
    assert client.request("PUT", path, json_like, [b"{", b"}"]).json() == [
        "7b7d", "application/vnd.api+json", None, [True, False, False],
    ]  # fmt: skip
    assert client.get(path).json() == ["", None, None, [False, False, False]]


@LANES
def test_content_length_of_an_empty_body_is_zero(serve: Any, path: str) -> None:
    client = serve(asking(lambda request: [request.content_length, request.body().decode()], "POST"))
    assert client.post(path, b"").json() == [0, ""]


def test_get_may_have_a_body(serve: Any) -> None:
    answer = serve(asking(lambda request: request.text())).request("GET", "/", content=b"hello")
    assert answer.text == "hello"


@LANES
def test_stream_of_a_buffered_body_is_one_piece(serve: Any, path: str) -> None:
    app = App()

    @app.post("/")
    async def index(request: Any) -> Any:
        return [piece.decode() async for piece in request.stream()]

    client = serve(app)
    assert client.post("/", [b"one", b"two"]).json() == ["onetwo"]
    assert client.post("/", b"").json() == []


@LANES
def test_accepts(serve: Any, path: str) -> None:
    client = serve(
        asking(lambda request: [request.accepts("text/html"), request.accepts("application/json")])
    )
    assert client.get(path, [("Accept", "text/*;q=0.5, application/json;q=0")]).json() == [True, False]


@LANES
def test_context_is_the_requests_own(serve: Any, path: str) -> None:
    def read(request: Any) -> Any:
        request.context["n"] = request.context.get("n", 0) + 1
        return request.context

    client = serve(asking(read))
    assert [client.get(path).json() for _ in range(2)] == [{"n": 1}, {"n": 1}]


@LANES
def test_state_is_the_applications(serve: Any, path: str) -> None:
    app = asking(lambda request: [request.state.name, request.app.state is request.state])

    @app.on_startup
    def fill() -> None:
        app.state.name = "db"

    assert serve(app).get(path).json() == ["db", True]


@LANES
def test_request_id_is_made_once_a_request(serve: Any, path: str) -> None:
    client = serve(asking(lambda request: [request.request_id, request.request_id]))
    first, second = client.get(path).json(), client.get(path).json()
    assert re.fullmatch("[0-9a-f]{16}", first[0])
    assert first[0] == first[1] != second[0]


@LANES
def test_params_without_parameters(serve: Any, path: str) -> None:
    assert serve(asking(lambda request: request.params)).get(path).json() == {}


def test_is_disconnected_is_false_while_the_client_waits(serve: Any) -> None:
    app = App()

    @app.get("/")
    async def index(request: Any) -> Any:
        return await request.is_disconnected()

    assert serve(app, timeout=TimeoutConfig(response_timeout=None)).get("/").json() is False
