"""Middleware, plain and async in every mixture, around plain and async handlers."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest

from cello import App, HTTPError, Response
from tests.kit.chains import KIND, KINDS, LANES, add_middleware, add_route, as_kind, tracing

MIXTURES = pytest.mark.parametrize(
    ("outer", "inner", "handler"), list(itertools.product(KINDS, repeat=3)), ids="-".join
)


@MIXTURES
@pytest.mark.parametrize("blocking", [True, False])
def test_order_and_results(serve: Any, outer: str, inner: str, handler: str, blocking: bool) -> None:
    lane = "async" if handler == "async" else "thread" if blocking else "loop"
    app, order = tracing((outer, inner), lane)
    answer = serve(app).get("/")
    assert (answer.status, answer.json()) == (200, {"from": "handler"})
    assert order == ["+m0", "+m1", "handler", "-m1", "-m0"]
    assert answer.all("x-passed") == ["m1", "m0"]


@MIXTURES
def test_call_next_gives_a_response(serve: Any, outer: str, inner: str, handler: str) -> None:
    app = App()
    seen: list[Any] = []
    add_route(app, "async" if handler == "async" else "thread", lambda request: ({"n": 1}, 201, {"X-A": "1"}))

    def note(request: Any, response: Response) -> Response:
        seen.append(response)
        return response

    for kind in (outer, inner):
        add_middleware(app, kind, lambda request: None, note)
    assert serve(app).get("/").status == 201
    assert [(type(each), each.status, each.body, each.headers["x-a"]) for each in seen] == [
        (Response, 201, b'{"n":1}', "1")
    ] * 2


@MIXTURES
def test_exception_passes_through(serve: Any, log: Any, outer: str, inner: str, handler: str) -> None:
    app = App()
    seen: list[str] = []

    def fail(request: Any) -> Any:
        raise ValueError("from the handler")

    def plain(request: Any, call_next: Any) -> Any:
        try:
            return call_next(request)
        except ValueError as exc:
            seen.append(str(exc))
            raise

    async def coroutine(request: Any, call_next: Any) -> Any:
        try:
            return await call_next(request)
        except ValueError as exc:
            seen.append(str(exc))
            raise

    add_route(app, "async" if handler == "async" else "thread", fail)
    for kind in (outer, inner):
        app.use(plain if kind == "def" else coroutine)
    assert serve(app).get("/").status == 500
    assert seen == ["from the handler"] * 2
    assert "def fail" not in log.text
    assert "in fail" in log.wait_for("ValueError: from the handler")


@MIXTURES
def test_middleware_answers_for_an_exception(
    serve: Any, log: Any, outer: str, inner: str, handler: str
) -> None:
    app = App()

    def fail(request: Any) -> Any:
        raise ValueError("bad")

    def plain(request: Any, call_next: Any) -> Any:
        try:
            return call_next(request)
        except ValueError as exc:
            return {"caught": str(exc)}, 409

    async def coroutine(request: Any, call_next: Any) -> Any:
        try:
            return await call_next(request)
        except ValueError as exc:
            return {"caught": str(exc)}, 409

    add_route(app, "async" if handler == "async" else "thread", fail)
    add_middleware(app, outer, lambda request: None, lambda request, response: response)
    app.use(plain if inner == "def" else coroutine)
    answer = serve(app).get("/")
    assert (answer.status, answer.json()) == (409, {"caught": "bad"})
    assert log.text == ""


@MIXTURES
def test_http_error_of_a_handler_is_a_response_to_middleware(
    serve: Any, outer: str, inner: str, handler: str
) -> None:
    def refuse(request: Any) -> Any:
        raise HTTPError(409, "taken")

    app, order = tracing((outer, inner), "async" if handler == "async" else "thread", refuse)
    answer = serve(app).get("/")
    assert (answer.status, answer.all("x-passed")) == (409, ["m1", "m0"])
    assert order == ["+m0", "+m1", "handler", "-m1", "-m0"]


@MIXTURES
def test_middleware_answers_itself(serve: Any, outer: str, inner: str, handler: str) -> None:
    app, order = tracing((outer,), "async" if handler == "async" else "thread")
    app.use(as_kind(inner, lambda request, call_next: ("closed", 503)))
    answer = serve(app).get("/")
    assert (answer.status, answer.text, answer.all("x-passed")) == (503, "closed", ["m0"])
    assert order == ["+m0", "-m0"]


@KIND
@LANES
def test_http_error_of_a_middleware(serve: Any, kind: str, lane: str) -> None:
    app = App()
    add_route(app, lane, lambda request: "never")

    def refuse(request: Any, call_next: Any) -> Any:
        raise HTTPError(401, "who?", {"WWW-Authenticate": "Basic"})

    app.use(as_kind(kind, refuse))
    answer = serve(app).get("/")
    assert (answer.status, answer.get("www-authenticate")) == (401, "Basic")


@KIND
@LANES
def test_failing_middleware_is_a_500(serve: Any, log: Any, kind: str, lane: str) -> None:
    app = App()
    add_route(app, lane, lambda request: "never")

    def fail(request: Any, call_next: Any) -> Any:
        raise RuntimeError("the middleware's bug")

    app.use(as_kind(kind, fail))
    assert serve(app).get("/").status == 500
    assert "RuntimeError: the middleware's bug" in log.text


@KIND
@LANES
def test_middleware_may_call_the_rest_twice(serve: Any, kind: str, lane: str) -> None:
    app = App()
    calls = itertools.count(1)
    add_route(app, lane, lambda request: {"n": next(calls)})

    def plain(request: Any, call_next: Any) -> Any:
        call_next(request)
        return call_next(request)

    async def coroutine(request: Any, call_next: Any) -> Any:
        await call_next(request)
        return await call_next(request)

    app.use(plain if kind == "def" else coroutine)
    assert serve(app).get("/").json() == {"n": 2}


@KIND
@LANES
def test_context_hands_things_to_the_handler(serve: Any, kind: str, lane: str) -> None:
    app = App()
    add_route(app, lane, lambda request: request.context)
    add_middleware(
        app, kind, lambda request: request.context.update(user="ada"), lambda request, response: response
    )
    assert serve(app).get("/").json() == {"user": "ada"}


@KIND
def test_middleware_sees_what_no_route_matches(serve: Any, kind: str) -> None:
    app, order = tracing((kind,), "thread")
    client = serve(app)
    missing, wrong, slash = client.get("/nowhere"), client.post("/"), client.request("OPTIONS", "/")
    assert [each.status for each in (missing, wrong, slash)] == [404, 405, 204]
    assert [each.all("x-passed") for each in (missing, wrong, slash)] == [["m0"]] * 3
    assert order == ["+m0", "-m0"] * 3


@KIND
@LANES
def test_middleware_around_a_body(serve: Any, kind: str, lane: str) -> None:
    app = App()
    if lane == "async":
        app.post("/")(as_kind("async", lambda request: request.json()))
    else:
        app.post("/", blocking=lane != "loop")(lambda request: request.json())
    add_middleware(
        app, kind, lambda request: request.json()["a"].append(2), lambda request, response: response
    )
    assert serve(app).post("/", b'{"a": [1]}').json() == {"a": [1, 2]}


@KIND
@LANES
def test_middleware_around_a_stream(serve: Any, kind: str, lane: str) -> None:
    app, _ = tracing((kind,), lane, lambda request: iter([b"a", b"b"]))
    answer = serve(app).get("/")
    assert (answer.body, answer.all("x-passed")) == (b"ab", ["m0"])


@KIND
def test_middleware_may_replace_the_body(serve: Any, kind: str) -> None:
    app = App()
    app.get("/")(lambda request: "quiet")

    def shout(request: Any, response: Response) -> Response:
        response.body = response.body.decode().upper()
        return response

    add_middleware(app, kind, lambda request: None, shout)
    answer = serve(app).get("/")
    assert (answer.text, answer.get("content-length")) == ("QUIET", "5")


def test_decorated_and_callable_objects_are_middleware(serve: Any) -> None:
    class Plain:
        def __call__(self, request: Any, call_next: Any) -> Any:
            response = call_next(request)
            response.append_header("X-Passed", "plain")
            return response

    class Coroutine:
        async def __call__(self, request: Any, call_next: Any) -> Any:
            response = await call_next(request)
            response.append_header("X-Passed", "coroutine")
            return response

    app = App()
    app.get("/")(lambda request: "x")
    app.use(Plain())
    app.use(Coroutine())
    assert serve(app).get("/").all("x-passed") == ["coroutine", "plain"]


@KIND
def test_many_requests_through_few_threads(serve: Any, kind: str) -> None:
    app, _ = tracing(("def", kind, "def"), "async")
    client = serve(app, workers=1)
    assert [client.get("/").status for _ in range(5)] == [200] * 5


@KIND
@pytest.mark.parametrize("where", ["before", "middleware"])
def test_parts_read_the_body_of_what_no_route_matches(serve: Any, kind: str, where: str) -> None:
    app = App()
    read: list[Any] = []
    if where == "before":
        app.before_request(as_kind(kind, lambda request: read.append(request.json())))
    else:
        add_middleware(
            app, kind, lambda request: read.append(request.json()), lambda request, response: response
        )
    client = serve(app)
    assert client.post("/nowhere", b'{"a": 1}').status == 404
    assert client.post("/nowhere", [b"[1", b"]"]).status == 404
    assert read == [{"a": 1}, [1]]


# --- what is no answer -------------------------------------------------------------------------------------


@LANES
@KIND
def test_middleware_that_returns_nothing_is_a_500_that_names_it(
    serve: Any, log: Any, kind: str, lane: str
) -> None:
    app = App()
    add_route(app, lane, lambda request: "lost")

    def forgetful(request: Any, call_next: Any) -> None:
        call_next(request)

    async def forgetful_too(request: Any, call_next: Any) -> None:
        await call_next(request)

    middleware: Any = forgetful if kind == "def" else forgetful_too
    app.use(middleware)
    answer = serve(app).get("/")
    assert (answer.status, "lost" in answer.text) == (500, False)
    told = log.wait_for("GET / failed in")
    place = f"test_middleware.py:{middleware.__code__.co_firstlineno} in {middleware.__name__}"
    assert f"{place} returned None; return the response of call_next(request), or another" in told


@LANES
@KIND
@pytest.mark.parametrize("value", [("x", "y"), HTTPError(404), HTTPError])
def test_middleware_that_returns_no_answer_is_named(
    serve: Any, log: Any, kind: str, lane: str, value: Any
) -> None:
    app = App()
    add_route(app, lane, lambda request: "lost")
    add_middleware(app, kind, lambda request: None, lambda request, response: value)
    assert serve(app).get("/").status == 500
    assert re.search(
        r"the middleware \S*chains\.py:\d+ in \w+ returned no answer: got ", log.wait_for("GET / failed")
    )


@KIND
@LANES
@pytest.mark.parametrize("part", ["before", "after"])
def test_a_hook_that_returns_no_answer_is_named(
    serve: Any, log: Any, kind: str, lane: str, part: str
) -> None:
    app = App()
    add_route(app, lane, lambda request: "lost")
    if part == "before":
        app.before_request(as_kind(kind, lambda request: request))
    else:
        app.after_request(as_kind(kind, lambda request, response: request))
    assert serve(app).get("/").status == 500
    said = rf"the {part}_request hook \S+\.py:\d+ in \S+ returned no answer: got the request as an answer"
    assert re.search(said, log.wait_for("GET / failed"))


@KIND
@LANES
def test_exception_handler_that_returns_nothing_is_a_500(serve: Any, log: Any, kind: str, lane: str) -> None:
    def fail(request: Any) -> Any:
        raise ValueError("the cause")

    app = App()
    add_route(app, lane, fail)
    app.exception_handler(ValueError)(as_kind(kind, lambda request, exc: None))
    assert serve(app).get("/").status == 500
    told = log.wait_for("GET / failed")
    assert re.search(r"the exception handler \S+\.py:\d+ in \S+ returned None; return the answer", told)


@LANES
@pytest.mark.parametrize("kind", ["none", *KINDS])
def test_a_handler_that_returns_nothing_is_noted_once_in_debug(
    serve: Any, log: Any, kind: str, lane: str
) -> None:
    app = App()
    add_route(app, lane, lambda request: None)
    add_route(app, lane, lambda request: Response.no_content(), "/meant")
    app.post("/made")(lambda request: None)
    if kind != "none":
        add_middleware(app, kind, lambda request: None, lambda request, response: response)
    client = serve(app, env="development")
    for _ in range(3):
        assert client.get("/").status == client.get("/meant").status == client.post("/made").status == 204
    assert log.text.count("returned None") == 1
    assert re.search(
        r"WARNING GET / \(\S+\.py:\d+ in \S+\): the handler returned None, so the answer is 204", log.text
    )


def test_a_handler_that_returns_nothing_is_not_noted_in_production(serve: Any, log: Any) -> None:
    app = App()
    add_route(app, "loop", lambda request: None)
    assert serve(app).get("/").status == 204
    assert "returned None" not in log.text
