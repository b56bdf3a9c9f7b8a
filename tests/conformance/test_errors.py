"""From exceptions to answers: problem details, debug and production, exception handlers."""

from __future__ import annotations

import re
from typing import Any

import pytest

from cello import App, HTTPError, Response
from cello.errors import ResponseError


class DomainError(Exception):
    """The root of an application's own errors."""


class OutOfStockError(DomainError):
    """A near one."""


class SoldOutError(OutOfStockError):
    """A nearer one."""


def raising(make: Any, path: str = "/{rest:path}") -> App:
    """Return an application that raises in all lanes: under /thread, /loop and /async."""
    app = App()

    def plain(request: Any) -> Any:
        raise make()

    async def coroutine(request: Any) -> Any:
        raise make()

    app.get("/thread", blocking=True)(plain)
    app.get("/loop", blocking=False)(plain)
    app.get("/async")(coroutine)
    return app


LANES = pytest.mark.parametrize("path", ["/thread", "/loop", "/async"])


@LANES
def test_http_error_is_a_problem(serve: Any, path: str) -> None:
    answer = serve(raising(lambda: HTTPError(409, "taken"))).get(f"{path}?secret=1")
    assert answer.status == 409
    assert answer.get("content-type") == "application/problem+json"
    assert answer.get("vary") == "accept"
    assert answer.json() == {
        "type": "about:blank", "title": "Conflict", "status": 409, "detail": "taken", "instance": path,
        "error": "Conflict",
    }  # fmt: skip


@LANES
def test_http_error_without_detail(serve: Any, path: str) -> None:
    members = serve(raising(lambda: HTTPError(404))).get(path).json()
    assert (members["title"], "detail" in members) == ("Not Found", False)


@LANES
def test_headers_of_an_http_error(serve: Any, path: str) -> None:
    answer = serve(raising(lambda: HTTPError(401, "who?", {"WWW-Authenticate": "Basic"}))).get(path)
    assert (answer.status, answer.get("www-authenticate")) == (401, "Basic")


@LANES
@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (None, "application/problem+json"),
        ("*/*", "application/problem+json"),
        ("application/json", "application/problem+json"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "text/html; charset=utf-8"),
        ("text/*", "text/plain; charset=utf-8"),
        ("text/plain", "text/plain; charset=utf-8"),
        ("text/html;q=0.1, application/json", "application/problem+json"),
    ],
)
def test_form_of_a_problem_follows_accept(
    serve: Any, path: str, accept: str | None, content_type: str
) -> None:
    client = serve(raising(lambda: HTTPError(409, "taken")))
    for asked in (path, "/nowhere"):
        answer = client.get(asked, [] if accept is None else [("Accept", accept)])
        assert answer.get("content-type") == content_type
        assert answer.get("vary") == "accept"
        phrase = {409: "Conflict", 404: "Not Found"}[answer.status]
        assert phrase in answer.text
        if content_type.startswith("text/html"):
            assert f"<h1>{answer.status} {phrase}</h1>" in answer.text
            assert "default-src 'none'" in str(answer.get("content-security-policy"))
        elif content_type.startswith("text/"):
            assert answer.text.startswith(f"{answer.status} {phrase}\n")


@LANES
def test_production_says_only_phrase_and_request_id(serve: Any, log: Any, path: str) -> None:
    answer = serve(raising(lambda: ValueError("the secret"))).get(path)
    members = answer.json()
    assert answer.status == members["status"] == 500
    assert members["title"] == members["error"] == "Internal Server Error"
    found = re.fullmatch("request id ([0-9a-f]{16})", members["detail"])
    assert found is not None
    assert set(members) == {"type", "title", "status", "detail", "instance", "error"}
    line = log.wait_for(f"request id {found[1]}")
    assert line.startswith(f"ERROR GET {path} failed in ")
    assert "test_errors.py:" in line
    assert "ValueError: the secret" in line
    assert "Traceback" in line


@LANES
def test_production_of_a_browser(serve: Any, log: Any, path: str) -> None:
    answer = serve(raising(lambda: ValueError("the secret"))).get(path, [("Accept", "text/html")])
    assert answer.status == 500
    assert re.search("<h1>500 Internal Server Error</h1>\n<p>request id [0-9a-f]{16}</p>", answer.text)
    assert "secret" not in answer.text
    assert "test_errors" not in answer.text


@LANES
def test_production_in_plain_text(serve: Any, log: Any, path: str) -> None:
    answer = serve(raising(lambda: ValueError("the secret"))).get(path, [("Accept", "text/plain")])
    assert re.fullmatch(f"500 Internal Server Error\n\nrequest id [0-9a-f]{{16}}\n\n{path}\n", answer.text)


@LANES
def test_request_id_that_the_handler_saw_is_that_of_the_log(serve: Any, log: Any, path: str) -> None:
    app = App()
    seen: list[str] = []

    def plain(request: Any) -> Any:
        seen.append(request.request_id)
        raise ValueError("bad")

    async def coroutine(request: Any) -> Any:
        return plain(request)

    app.get("/thread")(plain)
    app.get("/loop", blocking=False)(plain)
    app.get("/async")(coroutine)
    assert serve(app).get(path).json()["detail"] == f"request id {seen[0]}"
    assert f"request id {seen[0]}" in log.text


@LANES
def test_debug_shows_the_traceback(serve: Any, log: Any, path: str) -> None:
    client = serve(raising(lambda: ValueError("the bug")), env="development")
    members = client.get(path).json()
    assert members["exception"] == "ValueError: the bug"
    assert re.fullmatch(r"ValueError: the bug \(.*test_errors\.py:\d+\)", members["detail"])
    assert any("raise make()" in line for line in members["traceback"])
    text = client.get(path, [("Accept", "text/plain")]).text
    assert "Traceback (most recent call last)" in text
    assert text.rstrip().endswith("ValueError: the bug")
    assert "ValueError: the bug" in log.text


@pytest.mark.parametrize(("env", "debug"), [("production", True), ("development", False)])
def test_debug_is_apart_from_the_environment(serve: Any, env: str, debug: bool) -> None:
    members = serve(raising(lambda: ValueError("the bug")), env=env, debug=debug).get("/async").json()
    assert ("traceback" in members) is debug


@LANES
def test_raised_500_keeps_its_detail(serve: Any, path: str) -> None:
    client = serve(raising(lambda: HTTPError(503, "back soon", {"Retry-After": "5"})))
    answer = client.get(path)
    assert (answer.status, answer.json()["detail"], answer.get("retry-after")) == (503, "back soon", "5")


@LANES
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit, StopIteration])
def test_no_exception_ends_the_server(serve: Any, log: Any, path: str, kind: type[BaseException]) -> None:
    client = serve(raising(lambda: kind()))
    assert [client.get(path).status for _ in range(2)] == [500, 500]


@LANES
def test_detail_that_json_cannot_hold_is_a_500(serve: Any, log: Any, path: str) -> None:
    client = serve(raising(lambda: HTTPError(400, object())))  # type: ignore[arg-type]
    assert client.get(path).status == 500
    assert "cannot encode object of type object at $.detail" in log.text


class UnspeakableError(Exception):
    """An exception that cannot say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


@LANES
@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("accept", ["application/json", "text/html"])
@pytest.mark.parametrize(
    "make",
    [
        lambda: ValueError("\ud800"),
        UnspeakableError,
        lambda: HTTPError(400, "\ud800"),
        lambda: HTTPError(400, "x", {"X-A": "a\r\nX-B: b"}),
        lambda: HTTPError(400, "x", {"X-A": object()}),  # type: ignore[dict-item]
    ],
    ids=["surrogate", "unspeakable", "surrogate-detail", "bad-header", "odd-header"],
)
def test_errors_that_cannot_be_told_are_still_answered(
    serve: Any, log: Any, path: str, debug: bool, accept: str, make: Any
) -> None:
    client = serve(raising(make), debug=debug)
    for _ in range(2):
        answer = client.get(path, [("Accept", accept)])
        assert answer.status == 500
        assert answer.get("x-b") is None
        assert answer.get("content-type") in ("application/problem+json", "text/html; charset=utf-8")
        if debug and make is UnspeakableError:
            assert "UnspeakableError" in answer.text
            continue
        found = re.search("request id [0-9a-f]{16}", answer.text)
        assert found is not None
        assert found[0] in log.text


def test_http_error_takes_only_error_statuses() -> None:
    for status in (200, 302, 600, "404"):
        with pytest.raises(ResponseError, match="400 to 599"):
            HTTPError(status)  # type: ignore[arg-type]


# --- exception handlers ------------------------------------------------------------------------------------

HANDLERS = pytest.mark.parametrize("is_async", [False, True], ids=["def", "async-def"])


def handle(app: App, kind: Any, is_async: bool, answer: Any) -> None:
    """Register an exception handler that answers ``answer(request, exc)``."""

    def plain(request: Any, exc: Any) -> Any:
        return answer(request, exc)

    async def coroutine(request: Any, exc: Any) -> Any:
        return answer(request, exc)

    app.exception_handler(kind)(coroutine if is_async else plain)


@LANES
@HANDLERS
def test_nearest_class_wins(serve: Any, log: Any, path: str, is_async: bool) -> None:
    kinds: list[type[Exception]] = [SoldOutError, OutOfStockError, DomainError, ValueError]
    errors: list[Exception] = []
    app = raising(lambda: errors.pop())
    handle(app, Exception, is_async, lambda request, exc: ("any", 500))
    handle(app, DomainError, is_async, lambda request, exc: (f"domain {exc}", 400))
    handle(app, OutOfStockError, is_async, lambda request, exc: (f"stock {exc}", 409))
    client = serve(app)
    answers = []
    for kind in kinds:
        errors.append(kind("x"))
        answers.append(client.get(path))
    assert [(a.status, a.text) for a in answers] == [
        (409, "stock x"), (409, "stock x"), (400, "domain x"), (500, "any"),
    ]  # fmt: skip
    assert "failed" not in log.text


@LANES
@HANDLERS
def test_handler_for_a_status(serve: Any, path: str, is_async: bool) -> None:
    app = raising(lambda: HTTPError(409, "taken"))
    handle(
        app, 409, is_async, lambda request, exc: ({"mine": exc.detail}, exc.status, {"X-Path": request.path})
    )
    answer = serve(app).get(path)
    assert (answer.status, answer.json(), answer.get("x-path")) == (409, {"mine": "taken"}, path)


@HANDLERS
def test_handlers_for_what_no_route_matches(serve: Any, is_async: bool) -> None:
    app = App()
    app.get("/here")(lambda request: "here")
    handle(app, 404, is_async, lambda request, exc: (f"no {request.path}", 404))
    handle(app, 405, is_async, lambda request, exc: (f"not {request.method}", 405, exc.headers))
    client = serve(app)
    missing, wrong = client.get("/nowhere"), client.post("/here")
    assert (missing.status, missing.text) == (404, "no /nowhere")
    assert (wrong.status, wrong.text, wrong.get("allow")) == (405, "not POST", "GET, HEAD, OPTIONS")
    assert client.get("/here/").status == 308
    assert client.request("OPTIONS", "/here").status == 204


@LANES
@HANDLERS
def test_handler_for_500_takes_any_other_exception(serve: Any, path: str, is_async: bool) -> None:
    app = raising(lambda: KeyError("x"))
    handle(app, 500, is_async, lambda request, exc: (f"sorry: {type(exc).__name__}", 500))
    assert serve(app).get(path).text == "sorry: KeyError"


@LANES
@HANDLERS
def test_class_is_nearer_than_status(serve: Any, path: str, is_async: bool) -> None:
    app = raising(lambda: KeyError("x"))
    handle(app, 500, is_async, lambda request, exc: "by status")
    handle(app, LookupError, is_async, lambda request, exc: "by class")
    handle(app, Exception, is_async, lambda request, exc: "by Exception")
    assert serve(app).get(path).text == "by class"


@LANES
@HANDLERS
def test_status_is_nearer_than_exception(serve: Any, path: str, is_async: bool) -> None:
    app = raising(lambda: HTTPError(409))
    handle(app, Exception, is_async, lambda request, exc: "by Exception")
    handle(app, 409, is_async, lambda request, exc: "by status")
    assert serve(app).get(path).text == "by status"


@LANES
@HANDLERS
def test_other_errors_stay_as_they_are(serve: Any, log: Any, path: str, is_async: bool) -> None:
    errors: list[Exception] = [HTTPError(409, "taken"), ValueError("bad")]
    app = raising(lambda: errors.pop())
    handle(app, 404, is_async, lambda request, exc: "never")
    handle(app, OSError, is_async, lambda request, exc: "never")
    client = serve(app)
    assert client.get(path).status == 500
    assert client.get(path).json()["detail"] == "taken"
    assert "ValueError: bad" in log.text


@LANES
@HANDLERS
def test_value_that_json_cannot_hold_reaches_the_handler(serve: Any, path: str, is_async: bool) -> None:
    app = App()
    app.get("/thread")(lambda request: {"a": object()})
    app.get("/loop", blocking=False)(lambda request: {"a": object()})

    @app.get("/async")
    async def coroutine(request: Any) -> Any:
        return {"a": object()}

    handle(app, TypeError, is_async, lambda request, exc: (str(exc), 500))
    assert serve(app).get(path).text == "cannot encode object of type object at $.a"


@LANES
@HANDLERS
def test_failing_exception_handler_is_a_500(serve: Any, log: Any, path: str, is_async: bool) -> None:
    def fail(request: Any, exc: Any) -> Any:
        raise RuntimeError("worse")

    app = raising(lambda: ValueError("bad"))
    handle(app, ValueError, is_async, fail)
    assert serve(app).get(path).status == 500
    line = log.wait_for("RuntimeError: worse")
    assert "ValueError: bad" in line


@LANES
@HANDLERS
def test_exception_handler_may_raise_an_http_error(serve: Any, path: str, is_async: bool) -> None:
    def refuse(request: Any, exc: Any) -> Any:
        raise HTTPError(410, "gone for good")

    app = raising(lambda: ValueError("bad"))
    handle(app, ValueError, is_async, refuse)
    answer = serve(app).get(path)
    assert (answer.status, answer.json()["detail"]) == (410, "gone for good")


@LANES
def test_exception_handler_may_return_a_response(serve: Any, path: str) -> None:
    app = raising(lambda: ValueError("bad"))
    app.exception_handler(ValueError)(lambda request, exc: Response.error(422, str(exc)))
    answer = serve(app).get(path)
    assert (answer.status, answer.json()["detail"]) == (422, "bad")


class Odd(BaseException):
    """Neither an Exception nor one that asyncio knows."""


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, Odd])
@pytest.mark.parametrize("around", ["plain middleware", "plain middleware and async hook", "plain hooks"])
def test_no_exception_ends_the_server_from_within_a_chain(
    serve: Any, log: Any, around: str, kind: type[BaseException]
) -> None:
    app = App()

    @app.get("/async")
    async def coroutine(request: Any) -> Any:
        raise kind

    async def hidden(request: Any) -> Any:
        raise kind

    app.get("/hidden", blocking=True)(lambda request: hidden(request))
    app.get("/plain", blocking=True)(lambda request: exec("raise kind", {"kind": kind}))
    app.get("/well", blocking=True)(lambda request: "well")
    if "middleware" in around:
        app.use(lambda request, call_next: call_next(request))
    if "async hook" in around:

        @app.before_request
        async def hook(request: Any) -> None:
            return None

    if around == "plain hooks":
        app.after_request(lambda request, response: None)
    client = serve(app)
    for path in ("/async", "/hidden", "/plain"):
        assert client.get(path).status == 500, path
        assert client.get("/well").text == "well", path
