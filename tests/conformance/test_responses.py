"""What leaves with an answer: its fields, cookies and framing."""

from __future__ import annotations

from typing import Any

import pytest

from cello import App, Response


def answering(make: Any, **options: Any) -> App:
    app = App()
    app.get("/", **options)(lambda request: make())
    return app


LANES = pytest.mark.parametrize("blocking", [True, False])

CONSTRUCTORS: list[tuple[Any, int, str | None, bytes]] = [
    (lambda: Response("x"), 200, "text/plain; charset=utf-8", b"x"),
    (lambda: Response.json("x"), 200, "application/json", b'"x"'),
    (lambda: Response.json([1], 201), 201, "application/json", b"[1]"),
    (lambda: Response.text("x"), 200, "text/plain; charset=utf-8", b"x"),
    (lambda: Response.html("<p>"), 200, "text/html; charset=utf-8", b"<p>"),
    (lambda: Response.xml("<a/>"), 200, "application/xml", b"<a/>"),
    (lambda: Response.binary(b"x", "image/png"), 200, "image/png", b"x"),
    (lambda: Response.created({"id": 1}, "/things/1"), 201, "application/json", b'{"id":1}'),
    (lambda: Response.no_content(), 204, None, b""),
    (lambda: Response.redirect("/there"), 302, None, b""),
    (lambda: Response.stream(iter([b"a", b"b"]), "text/csv"), 200, "text/csv", b"ab"),
    (lambda: Response(b"", 304, {"ETag": '"x"'}), 304, "application/octet-stream", b""),
]


@LANES
@pytest.mark.parametrize(("make", "status", "content_type", "body"), CONSTRUCTORS)
def test_constructors(
    serve: Any, blocking: bool, make: Any, status: int, content_type: str | None, body: bytes
) -> None:
    answer = serve(answering(make, blocking=blocking)).get("/")
    assert (answer.status, answer.body) == (status, body)
    assert answer.get("content-type") == content_type


@LANES
def test_problem(serve: Any, blocking: bool) -> None:
    answer = serve(answering(lambda: Response.error(409, "taken", who="ada"), blocking=blocking)).get("/")
    assert (answer.status, answer.get("content-type")) == (409, "application/problem+json")
    assert answer.json() == {
        "type": "about:blank",
        "title": "Conflict",
        "status": 409,
        "detail": "taken",
        "error": "Conflict",
        "who": "ada",
    }


def test_redirect_and_created_have_a_location(serve: Any) -> None:
    assert (
        serve(answering(lambda: Response.redirect("/caf\u00e9?a=b c"))).get("/").get("location")
        == "/caf%C3%A9?a=b%20c"
    )
    assert (
        serve(answering(lambda: Response.created(location="/things/1"))).get("/").get("location")
        == "/things/1"
    )


@LANES
def test_cookies(serve: Any, blocking: bool) -> None:
    def make() -> Response:
        response = Response.text("x")
        response.set_cookie("a", "1", max_age=60, path="/x", domain="example.com", secure=True, httponly=True)
        response.set_cookie("b", "2", samesite=None, path=None)
        response.delete_cookie("c")
        return response

    assert serve(answering(make, blocking=blocking)).get("/").all("set-cookie") == [
        "a=1; Max-Age=60; Path=/x; Domain=example.com; Secure; HttpOnly; SameSite=Lax",
        "b=2",
        "c=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/; SameSite=Lax",
    ]


def test_headers_set_and_appended(serve: Any) -> None:
    def make() -> Response:
        response = Response.text("x", headers={"X-A": "1", "X-Latin": "caf\u00e9"})
        response.set_header("x-a", "2")
        response.append_header("X-B", "1")
        response.append_header("x-b", "2")
        response.headers["X-N"] = 5
        return response

    answer = serve(answering(make)).get("/")
    assert [answer.all(name) for name in ("x-a", "x-b", "x-n", "x-latin")] == [
        ["2"],
        ["1", "2"],
        ["5"],
        ["caf\u00e9"],
    ]


@LANES
@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("body", [b"ignored", "ignored", {"a": 1}, None], ids=repr)
def test_204_and_304_have_no_body(serve: Any, blocking: bool, status: int, body: Any) -> None:
    client = serve(answering(lambda: Response(body, status), blocking=blocking))
    for _ in range(2):  # a body on the wire would be read as the next answer
        answer = client.get("/")
        assert (answer.status, answer.body) == (status, b"")
        assert answer.get("content-length") is None
        assert answer.get("transfer-encoding") is None


@LANES
@pytest.mark.parametrize("status", [204, 304])
def test_204_and_304_never_start_a_stream(serve: Any, blocking: bool, status: int) -> None:
    made: list[str] = []

    def pieces() -> Any:
        made.append("piece")
        yield b"x"

    client = serve(answering(lambda: Response.stream(pieces(), status=status), blocking=blocking))
    for _ in range(2):
        answer = client.get("/")
        assert (answer.status, answer.body, answer.get("transfer-encoding")) == (status, b"", None)
    assert made == []


@LANES
@pytest.mark.parametrize("is_stream", [False, True])
def test_fields_of_the_connection_are_the_servers(serve: Any, blocking: bool, is_stream: bool) -> None:
    sent = {"Keep-Alive": "timeout=99", "Upgrade": "h2c", "Connection": "upgrade, x-hop", "X-Mine": "yes"}

    def make() -> Response:
        return Response.stream(iter([b"x"]), headers=sent) if is_stream else Response.text("x", headers=sent)

    client = serve(answering(make, blocking=blocking))
    for _ in range(2):
        answer = client.get("/")
        assert answer.body == b"x"
        assert answer.get("x-mine") == "yes"
        assert [answer.get(name) for name in ("keep-alive", "upgrade", "connection")] == [None, None, None]


def test_connection_close_still_brings_the_whole_answer(serve: Any) -> None:
    client = serve(answering(lambda: Response.text("x" * 100_000, headers={"Connection": "close"})))
    assert [len(client.get("/").body) for _ in range(3)] == [100_000] * 3


def test_transfer_encoding_is_refused(serve: Any, log: Any) -> None:
    client = serve(answering(lambda: Response.text("x", headers={"Transfer-Encoding": "chunked"})))
    assert client.get("/").status == 500
    assert "the server frames answers" in log.text


@LANES
def test_content_length_of_a_whole_body_is_its_own(serve: Any, blocking: bool) -> None:
    client = serve(
        answering(lambda: Response.text("four", headers={"Content-Length": "999"}), blocking=blocking)
    )
    for _ in range(2):
        answer = client.get("/")
        assert (answer.body, answer.all("content-length")) == (b"four", ["4"])


def test_date_and_server_come_once(serve: Any, adapter: str) -> None:
    answer = serve(answering(lambda: Response.text("x", headers={"Date": "mine", "Server": "mine"}))).get("/")
    if adapter == "testclient":
        assert (answer.all("date"), answer.all("server")) == ([], [])
    else:
        assert answer.get("server") == "cello"
        assert str(answer.get("date")).endswith(" GMT")


def test_response_used_for_every_answer(serve: Any) -> None:
    shared = Response.json({"a": 1}, headers={"X-A": "1"})
    client = serve(answering(lambda: shared))
    first, second = client.get("/"), client.get("/")
    assert (first.body, first.all("x-a")) == (second.body, second.all("x-a")) == (b'{"a":1}', ["1"])


@LANES
def test_large_answer(serve: Any, blocking: bool) -> None:
    body = bytes(range(256)) * (5 * 4096)
    client = serve(answering(lambda: body, blocking=blocking))
    assert client.get("/").body == body
    assert client.head("/").get("content-length") == str(len(body))
