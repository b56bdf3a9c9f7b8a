"""cello.testing: what TestClient and live_server do beside serving (the answers: conformance/)."""

from __future__ import annotations

import asyncio
import threading
import urllib.request
from typing import Any

import pytest

from cello import App, ClientDisconnected, ConfigError, LimitsConfig, Response, StartError, TimeoutConfig
from cello.errors import CelloError
from cello.testing import AnswerBroken, TestClient, TestResponse, live_server
from tests.kit.log_watch import watching_log


def echoing() -> App:
    """Return an application that tells what it was asked."""
    app = App()

    @app.route("/", methods=["GET", "POST"])
    @app.route("/{rest:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE", "PROPFIND"])
    def echo(request: Any) -> Any:
        return {
            "method": request.method,
            "url": request.url,
            "path": request.raw_path.decode(),
            "query": request.raw_query.decode(),
            "fields": request.headers.items(),
            "body": request.body().decode("latin-1"),
            "length": request.content_length,
        }

    return app


# --- requests ----------------------------------------------------------------------------------------------


def test_verbs() -> None:
    with TestClient(echoing()) as client:
        for verb in ("get", "post", "put", "patch", "delete"):
            assert getattr(client, verb)("/x").json()["method"] == verb.upper()
        assert client.request("propfind", "/x").json()["method"] == "PROPFIND"
        assert (client.head("/x").status_code, client.head("/x").content) == (200, b"")
        assert client.options("/x").headers["allow"].startswith("DELETE, GET, HEAD, OPTIONS")


@pytest.mark.parametrize(
    ("url", "params", "path", "query"),
    [
        ("/", None, "/", ""),
        ("/a/b", None, "/a/b", ""),
        ("/a b", None, "/a%20b", ""),
        ("/caf\u00e9", None, "/caf%C3%A9", ""),
        ("/a%2Fb", None, "/a%2Fb", ""),
        ("//a//b", None, "//a//b", ""),
        ("/../a", None, "/../a", ""),
        ("/a?b=c&d", None, "/a", "b=c&d"),
        ("/a?b=caf\u00e9 x", None, "/a", "b=caf%C3%A9%20x"),
        ("/a?b=%20+", None, "/a", "b=%20+"),
        ("/a?", None, "/a", ""),
        ("/a#fragment", None, "/a", ""),
        ("/a?b#fragment", None, "/a", "b"),
        ("/a", {"b": 1, "c": ["x", "y z"]}, "/a", "b=1&c=x&c=y+z"),
        ("/a?b=1", {"c": 2}, "/a", "b=1&c=2"),
        ("http://testserver/a?b", None, "/a", "b"),
        ("http://testserver", None, "/", ""),
        ("http://testserver?b", None, "/", "b"),
    ],
)
def test_urls(url: str, params: Any, path: str, query: str) -> None:
    with TestClient(echoing()) as client:
        found = client.get(url, params=params).json()
    assert (found["path"], found["query"]) == (path, query)


@pytest.mark.parametrize(
    "url", ["", "a", "http://elsewhere/a", "http://testserver.evil/a", "https://testserver/", "?a"]
)
def test_urls_of_other_servers_are_refused(url: str) -> None:
    with (
        TestClient(echoing()) as client,
        pytest.raises(ValueError, match="a URL is a path that begins with a slash"),
    ):
        client.get(url)


def test_base_url_is_what_the_application_sees() -> None:
    with TestClient(echoing(), "https://example.com:8443") as client:
        found = client.get("/a?b")
        assert found.json()["url"] == found.url == "https://example.com:8443/a?b"
        assert ["host", "example.com:8443"] in found.json()["fields"]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "ftp://example.com",
        "http://",
        "http://a b/",
        "http://u@x/",
        "http://x/api",
        "http://x?q",
        "http://x#f",
    ],
)
def test_bad_base_urls(url: str) -> None:
    with pytest.raises(ValueError, match="base_url is"):
        TestClient(App(), url)


def test_fields_that_are_sent_by_themselves_and_given() -> None:
    with TestClient(echoing()) as client:
        assert client.get("/").json()["fields"] == [
            ["host", "testserver"], ["user-agent", "cello-testclient"], ["accept", "*/*"],
        ]  # fmt: skip
        given = client.get("/", headers={"Accept": "text/html", "X-A": "1"}).json()["fields"]
        assert given == [
            ["host", "testserver"],
            ["user-agent", "cello-testclient"],
            ["accept", "text/html"],
            ["x-a", "1"],
        ]
        pairs = client.get("/", headers=[("X-A", "1"), ("x-a", "2")]).json()["fields"]
        assert pairs[3:] == [["x-a", "1"], ["x-a", "2"]]


@pytest.mark.parametrize(
    ("options", "body", "content_type", "length"),
    [
        ({}, "", None, None),
        ({"content": b"\x00\xff"}, "\x00\xff", None, 2),
        ({"content": b""}, "", None, 0),
        ({"content": "caf\u00e9"}, "caf\u00c3\u00a9", "text/plain; charset=utf-8", 5),
        ({"content": iter([b"a", b"b"])}, "ab", None, None),
        ({"json": {"a": [1]}}, '{"a": [1]}', "application/json", 10),
        ({"json": 0}, "0", "application/json", 1),
        ({"data": {"a": "b c", "d": [1, 2]}}, "a=b+c&d=1&d=2", "application/x-www-form-urlencoded", 13),
        (
            {"json": 1, "headers": {"Content-Type": "application/vnd.x+json"}},
            "1",
            "application/vnd.x+json",
            1,
        ),
    ],
    ids=lambda value: str(value)[:20].encode("ascii", "replace").decode(),
)
def test_bodies(options: dict[str, Any], body: str, content_type: str | None, length: int | None) -> None:
    with TestClient(echoing()) as client:
        found = client.post("/", **options).json()
    fields = dict(found["fields"])
    assert (found["body"], fields.get("content-type"), found["length"]) == (body, content_type, length)
    assert fields.get("content-length") == (None if length is None else str(length))


@pytest.mark.parametrize(
    "options", [{"content": b"x", "json": 1}, {"json": 1, "data": {}}, {"content": b"", "data": {}}]
)
def test_one_body_at_a_time(options: dict[str, Any]) -> None:
    with (
        TestClient(echoing()) as client,
        pytest.raises(ValueError, match="give one of content, json and data"),
    ):
        client.post("/", **options)


# --- answers -----------------------------------------------------------------------------------------------


def test_answer() -> None:
    app = App()

    @app.get("/")
    def index(request: Any) -> Any:
        return Response({"a": "\u00e9"}, 201, [("X-A", "1"), ("x-a", "2")])

    with TestClient(app) as client:
        found = client.get("/?q")
    assert isinstance(found, TestResponse)
    assert (found.status_code, found.text, found.json()) == (201, '{"a":"\u00e9"}', {"a": "\u00e9"})
    assert (found.content, found.chunks) == (found.text.encode(), [found.text.encode()])
    assert found.headers.get_all("X-A") == ["1", "2"]
    assert (found.url, found.history, found.is_redirect) == ("http://testserver/?q", [], False)
    assert repr(found) == "<TestResponse 201 10 bytes>"


def test_chunks_are_the_pieces_of_a_stream() -> None:
    app = App()
    app.get("/")(lambda request: iter(["one", "", b"two"]))
    with TestClient(app) as client:
        found = client.get("/")
    assert (found.content, found.chunks) == (b"onetwo", [b"one", b"two"])


def test_broken_answer() -> None:
    app = App()

    @app.get("/")
    def index(request: Any) -> Any:
        yield "one"
        raise ValueError("the bug")

    with (
        watching_log(),
        TestClient(app) as client,
        pytest.raises(AnswerBroken, match="after its answer had begun"),
    ):
        client.get("/")


# --- redirects and cookies ---------------------------------------------------------------------------------


def redirecting() -> App:
    app = App()
    app.route("/start/{status:int}", methods=["GET", "POST"])(
        lambda request: Response.redirect("../end?from=start", request.params["status"])
    )
    app.get("/loop")(lambda request: Response.redirect("/loop"))
    app.get("/away")(lambda request: Response.redirect("https://elsewhere.example/"))
    app.route("/end", methods=["GET", "POST"])(
        lambda request: [
            request.method,
            request.body().decode(),
            request.content_type,
            request.raw_query.decode(),
        ]
    )
    return app


def test_redirects_are_returned_unless_they_are_followed() -> None:
    with TestClient(redirecting()) as client:
        found = client.get("/start/302")
        assert (found.status_code, found.is_redirect, found.headers["location"]) == (
            302,
            True,
            "../end?from=start",
        )
        followed = client.get("/start/302", follow_redirects=True)
        assert (followed.status_code, followed.url) == (200, "http://testserver/end?from=start")
        assert [each.status_code for each in followed.history] == [302]
    with TestClient(redirecting(), follow_redirects=True) as client:
        assert client.get("/start/302").status_code == 200
        assert client.get("/start/302", follow_redirects=False).status_code == 302
        assert client.get("/end/").json()[0] == "GET"


@pytest.mark.parametrize(
    ("status", "is_kept"), [(301, False), (302, False), (303, False), (307, True), (308, True)]
)
def test_method_and_body_after_a_redirect(status: int, is_kept: bool) -> None:
    with TestClient(redirecting(), follow_redirects=True) as client:
        found = client.post(f"/start/{status}", json=1).json()
        assert found == (
            ["POST", "1", "application/json", "from=start"] if is_kept else ["GET", "", None, "from=start"]
        )
        assert client.head(f"/start/{status}").content == b""


def test_redirects_come_to_an_end() -> None:
    with TestClient(redirecting(), follow_redirects=True) as client:
        with pytest.raises(CelloError, match="more than 20 redirects, the last from http://testserver/loop"):
            client.get("/loop")
        with pytest.raises(ValueError, match="elsewhere"):
            client.get("/away")


def test_cookies_are_kept_sent_and_deleted() -> None:
    app = App()

    @app.get("/set")
    def set_cookies(request: Any) -> Any:
        response = Response()
        response.set_cookie("a", "1")
        response.set_cookie("b", "2", max_age=60)
        return response

    @app.get("/delete")
    def delete_cookie(request: Any) -> Any:
        response = Response()
        response.delete_cookie("a")
        return response

    app.get("/")(lambda request: request.cookies)
    with TestClient(app) as client:
        assert client.get("/").json() == {}
        client.get("/set")
        assert client.get("/").json() == client.cookies == {"a": "1", "b": "2"}
        assert client.get("/", headers={"Cookie": "c=3"}).json() == {"c": "3"}
        client.get("/delete")
        assert client.get("/").json() == {"b": "2"}
        client.cookies["d"] = "4"
        assert client.get("/").json() == {"b": "2", "d": "4"}


# --- the client's life -------------------------------------------------------------------------------------


def test_only_inside_its_context() -> None:
    client = TestClient(echoing())
    for _ in range(2):
        with pytest.raises(RuntimeError, match="with TestClient"):
            client.get("/")
        with client:
            assert client.get("/").status_code == 200


def test_errors_inside_the_block_still_shut_down() -> None:
    app = App()
    order: list[str] = []
    app.on_shutdown(lambda: order.append("stop"))
    with pytest.raises(KeyError), TestClient(app):
        raise KeyError
    assert order == ["stop"]


def test_nothing_is_left_behind() -> None:
    before = set(threading.enumerate())
    app = App()
    app.get("/")(lambda request: "x")
    with TestClient(app) as client:
        client.get("/")
        assert set(threading.enumerate()) - before
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
    assert set(threading.enumerate()) <= before


def test_failed_start_leaves_nothing_running() -> None:
    before = set(threading.enumerate())
    app = App()

    @app.on_startup
    def fail() -> None:
        raise OSError("no database")

    client = TestClient(app)
    with watching_log(), pytest.raises(StartError, match="no database"):
        client.__enter__()
    with pytest.raises(RuntimeError, match="with TestClient"):
        client.get("/")
    assert set(threading.enumerate()) <= before


def test_options_are_those_of_run() -> None:
    app = App()

    @app.get("/fail")
    def fail(request: Any) -> Any:
        raise ValueError("the bug")

    app.post("/")(lambda request: "x")
    with watching_log():
        with TestClient(app) as client:
            assert "traceback" in client.get("/fail").json()
        with TestClient(app, env="production") as client:
            assert "traceback" not in client.get("/fail").json()
        with TestClient(app, debug=False, limits=LimitsConfig(max_request_size=1)) as client:
            assert "traceback" not in client.get("/fail").json()
            assert client.post("/", content=b"xx").status_code == 413
    with pytest.raises(ConfigError, match="env"):
        TestClient(app, env="test")
    with pytest.raises(ConfigError, match="workers"):
        TestClient(app, workers=0)


def test_workers_and_timeouts() -> None:
    app = App()

    @app.get("/")
    async def slow(request: Any) -> Any:
        await asyncio.sleep(60)

    with watching_log(), TestClient(app, workers=1, timeout=TimeoutConfig(response_timeout=0.01)) as client:
        assert client.get("/").status_code == 504


def test_requests_from_several_threads() -> None:
    app = App()
    together = threading.Barrier(2, timeout=10)

    @app.get("/", blocking=True)
    def meet(request: Any) -> str:
        together.wait()
        return "met"

    found: list[str] = []
    with TestClient(app, workers=2) as client:
        threads = [threading.Thread(target=lambda: found.append(client.get("/").text)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
    assert found == ["met", "met"]


def test_client_asks_for_100_continue() -> None:
    app = App()
    app.post("/")(lambda request: [request.text(), request.headers["expect"]])
    with TestClient(app) as client:
        assert client.post("/", content=b"x", headers={"Expect": "100-continue"}).json() == [
            "x",
            "100-continue",
        ]


def test_body_comes_in_its_pieces_and_no_further_than_the_answer() -> None:
    app = App()
    seen: list[bytes] = []

    @app.post("/{count:int}", stream=True)
    async def read(request: Any) -> Any:
        async for piece in request.stream():
            seen.append(piece)
            if len(seen) == request.params["count"]:
                break
        return "read"

    with TestClient(app) as client:
        assert client.post("/9", content=iter([b"one", b"two", b"three"])).text == "read"
        assert seen == [b"one", b"two", b"three"]
        seen.clear()
        assert client.post("/1", content=iter([b"one", b"two"])).text == "read"
        assert seen == [b"one"]


# --- live_server -------------------------------------------------------------------------------------------


def test_live_server_is_reached_over_a_socket() -> None:
    app = App()
    app.get("/")(lambda request: request.url)
    with live_server(app, env="production") as server:
        assert server.url == f"http://{server.host}:{server.port}"
        with urllib.request.urlopen(f"{server.url}/?a") as found:
            assert found.read().decode() == f"{server.url}/?a"


def test_live_server_raises_what_keeps_it_from_starting() -> None:
    app = App()
    with (
        live_server(app, env="production") as server,
        pytest.raises(StartError, match=str(server.port)),
        live_server(app, port=server.port, env="production"),
    ):
        pytest.fail("the port is taken")
    with pytest.raises(ConfigError, match="workers"), live_server(app, workers=0):
        pytest.fail("no server has no workers")


def test_live_server_ends_when_the_block_raises() -> None:
    app = App()
    order: list[str] = []
    app.on_shutdown(lambda: order.append("stop"))
    with pytest.raises(ClientDisconnected), live_server(app, env="production") as server:
        raise ClientDisconnected("the test's own")
    assert order == ["stop"]
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(server.url)
