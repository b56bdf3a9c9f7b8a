"""What runs around handlers: hooks and middleware, plain and async in every mixture, and contexts."""

from __future__ import annotations

import itertools
import threading
from contextvars import ContextVar
from typing import Any

import pytest

from cello import App, HTTPError, Response

var: ContextVar[str] = ContextVar("var", default="unset")

KINDS = ("def", "async")
KIND = pytest.mark.parametrize("kind", KINDS)
LANES = pytest.mark.parametrize("lane", ["thread", "loop", "async"])
MIXTURES = pytest.mark.parametrize(
    ("outer", "inner", "handler"), list(itertools.product(KINDS, repeat=3)), ids="-".join
)


def as_kind(kind: str, function: Any) -> Any:
    """Return a plain function as it is or behind an ``async def`` of the same arity."""
    if kind == "def":
        return function

    async def coroutine(*args: Any) -> Any:
        return function(*args)

    return coroutine


def add_route(app: App, lane: str, function: Any, path: str = "/", **options: Any) -> None:
    """Register a handler in a lane: a thread, the loop's thread, a task."""
    if lane == "async":
        app.get(path, **options)(as_kind("async", function))
    else:
        app.get(path, blocking=lane != "loop", **options)(function)


def add_middleware(app: App, kind: str, before: Any, after: Any) -> None:
    """Add a middleware: ``before(request)``, then the rest, then ``after(request, response)`` gives the answer."""

    def plain(request: Any, call_next: Any) -> Any:
        before(request)
        return after(request, call_next(request))

    async def coroutine(request: Any, call_next: Any) -> Any:
        before(request)
        return after(request, await call_next(request))

    app.use(plain if kind == "def" else coroutine)


def tracing(kinds: tuple[str, ...], lane: str, handler: Any = None) -> tuple[App, list[str]]:
    """Return an application that notes the order in which its middlewares and handler run."""
    app = App()
    order: list[str] = []

    def handle(request: Any) -> Any:
        order.append("handler")
        return handler(request) if handler is not None else {"from": "handler"}

    def note(text: str) -> Any:
        def leave(request: Any, response: Response) -> Response:
            order.append(f"-{text}")
            response.append_header("X-Passed", text)
            return response

        return lambda request: order.append(f"+{text}"), leave

    add_route(app, lane, handle)
    for number, kind in enumerate(kinds):
        add_middleware(app, kind, *note(f"m{number}"))
    return app, order


# --- middleware --------------------------------------------------------------------------------------------


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
    for kind in (outer, inner):
        add_middleware(
            app, kind, lambda request: None, lambda request, response: seen.append(response) or response
        )
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
    calls: list[int] = []
    add_route(app, lane, lambda request: calls.append(1) or {"n": len(calls)})

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
    app, order = tracing((kind,), lane, lambda request: iter([b"a", b"b"]))
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


# --- hooks -------------------------------------------------------------------------------------------------


def hooked(kind: str, lane: str) -> tuple[App, list[str]]:
    """Return an application with two hooks on either side, which note their order."""
    app, order = tracing(("def",), lane)
    for number in range(2):
        app.before_request(as_kind(kind, lambda request, n=number: order.append(f"before{n}")))
        app.after_request(as_kind(kind, lambda request, response, n=number: order.append(f"after{n}")))
    return app, order


@KIND
@LANES
def test_hooks_run_in_order_around_everything(serve: Any, kind: str, lane: str) -> None:
    app, order = hooked(kind, lane)
    assert serve(app).get("/").json() == {"from": "handler"}
    assert order == ["before0", "before1", "+m0", "handler", "-m0", "after0", "after1"]


@KIND
@LANES
def test_before_hook_answers(serve: Any, kind: str, lane: str) -> None:
    app, order = hooked(kind, lane)
    app.before_request(as_kind(kind, lambda request: ({"early": True}, 403)))
    app.before_request(as_kind(kind, lambda request: order.append("never")))
    answer = serve(app).get("/")
    assert (answer.status, answer.json()) == (403, {"early": True})
    assert order == ["before0", "before1", "after0", "after1"]


@KIND
@LANES
@pytest.mark.parametrize(("falsy", "text"), [({}, "{}"), ("", ""), ([], "[]"), (0, "0"), (False, "false")])
def test_falsy_answers_of_hooks_are_answers(serve: Any, kind: str, lane: str, falsy: Any, text: str) -> None:
    app = App()
    add_route(app, lane, lambda request: "never")
    app.before_request(as_kind(kind, lambda request: falsy))
    app.before_request(as_kind(kind, lambda request: "never"))
    assert serve(app).get("/").text == text


@KIND
@LANES
def test_after_hook_changes_or_replaces(serve: Any, kind: str, lane: str) -> None:
    app = App()
    add_route(app, lane, lambda request: "first")
    app.after_request(as_kind(kind, lambda request, response: response.set_header("X-A", "1")))
    app.after_request(as_kind(kind, lambda request, response: ({"was": response.body.decode()}, 202)))
    app.after_request(as_kind(kind, lambda request, response: response.set_header("X-B", response.status)))
    answer = serve(app).get("/")
    assert (answer.status, answer.json()) == (202, {"was": "first"})
    assert (answer.get("x-a"), answer.get("x-b")) == (None, "202")


@KIND
@LANES
def test_after_hooks_see_404_and_500(serve: Any, log: Any, kind: str, lane: str) -> None:
    app = App()

    def fail(request: Any) -> Any:
        raise ValueError("bad")

    add_route(app, lane, fail)
    app.after_request(as_kind(kind, lambda request, response: response.set_header("X-Saw", response.status)))
    client = serve(app)
    answers = client.get("/"), client.get("/nowhere"), client.post("/")
    assert [(each.status, each.get("x-saw")) for each in answers] == [
        (500, "500"),
        (404, "404"),
        (405, "405"),
    ]
    assert log.text.count("ValueError: bad") >= 1


@KIND
@LANES
def test_failing_before_hook(serve: Any, log: Any, kind: str, lane: str) -> None:
    app = App()
    add_route(app, lane, lambda request: "never")
    errors: list[Exception] = [ValueError("the hook's bug"), HTTPError(401, "who?")]

    def fail(request: Any) -> Any:
        raise errors.pop()

    app.before_request(as_kind(kind, fail))
    app.after_request(as_kind(kind, lambda request, response: response.set_header("X-Saw", response.status)))
    client = serve(app)
    answers = client.get("/"), client.get("/")
    assert [(each.status, each.get("x-saw")) for each in answers] == [(401, "401"), (500, "500")]
    assert "ValueError: the hook's bug" in log.text


@KIND
@LANES
def test_failing_after_hook_is_a_500(serve: Any, log: Any, kind: str, lane: str) -> None:
    app = App()
    add_route(app, lane, lambda request: "x")

    def fail(request: Any, response: Any) -> Any:
        raise ValueError("the hook's bug")

    app.after_request(as_kind(kind, fail))
    assert serve(app).get("/").status == 500
    assert "ValueError: the hook's bug" in log.text


@KIND
@LANES
def test_unencodable_answer_of_a_hook_is_a_500(serve: Any, log: Any, kind: str, lane: str) -> None:
    app = App()
    add_route(app, lane, lambda request: "x")
    app.before_request(as_kind(kind, lambda request: {"a": object()}))
    assert serve(app).get("/").status == 500
    assert "cannot encode object of type object at $.a" in log.text


# --- contexts ----------------------------------------------------------------------------------------------

SETTERS = ("middleware-def", "middleware-async", "before-def", "before-async")


def add_setter(app: App, setter: str) -> None:
    """Have a part of the chain set ``var`` to the request's query."""
    where, _, kind = setter.partition("-")

    def set_var(request: Any) -> None:
        var.set(request.query["v"])

    if where == "before":
        app.before_request(as_kind(kind, set_var))
    else:
        add_middleware(app, kind, set_var, lambda request, response: response)


@LANES
@pytest.mark.parametrize("setter", SETTERS)
def test_contextvar_reaches_the_handler(serve: Any, lane: str, setter: str) -> None:
    app = App()
    add_setter(app, setter)
    add_route(app, lane, lambda request: var.get())
    client = serve(app)
    assert [client.get(f"/?v={value}").text for value in ("one", "two")] == ["one", "two"]


@LANES
@pytest.mark.parametrize("setter", SETTERS)
def test_contextvar_reaches_the_body_of_a_stream(serve: Any, lane: str, setter: str) -> None:
    def pieces() -> Any:
        yield var.get()
        yield "!"

    app = App()
    add_setter(app, setter)
    add_route(app, lane, lambda request: pieces())
    assert serve(app).get("/?v=one").text == "one!"


@LANES
@pytest.mark.parametrize("setter", SETTERS)
def test_contextvar_reaches_the_body_of_an_async_stream(serve: Any, lane: str, setter: str) -> None:
    async def pieces() -> Any:
        yield var.get()
        yield "!"

    app = App()
    add_setter(app, setter)
    add_route(app, lane, lambda request: pieces())
    assert serve(app).get("/?v=one").text == "one!"


@pytest.mark.parametrize("setter", SETTERS)
def test_contextvar_reaches_generator_handlers(serve: Any, setter: str) -> None:
    app = App()
    add_setter(app, setter)

    @app.get("/sync")
    def plain(request: Any) -> Any:
        yield var.get()

    @app.get("/pinned", blocking=False)
    def pinned(request: Any) -> Any:
        yield var.get()

    @app.get("/async")
    async def coroutine(request: Any) -> Any:
        yield var.get()

    client = serve(app)
    assert [client.get(f"/{path}?v=one").text for path in ("sync", "pinned", "async")] == ["one"] * 3


@LANES
def test_context_is_not_the_next_requests(serve: Any, lane: str) -> None:
    app = App()

    def handle(request: Any) -> Any:
        before = var.get()
        var.set("dirty")
        return before

    add_route(app, lane, handle)
    client = serve(app, workers=1)
    assert [client.get("/").text for _ in range(3)] == ["unset"] * 3


@LANES
@KIND
def test_handlers_context_is_seen_by_after_hooks(serve: Any, lane: str, kind: str) -> None:
    app = App()

    def handle(request: Any) -> Any:
        var.set("from the handler")
        return "x"

    add_route(app, lane, handle)
    app.after_request(as_kind(kind, lambda request, response: response.set_header("X-Var", var.get())))
    assert serve(app).get("/").get("x-var") == "from the handler"


@LANES
def test_context_lives_through_a_stream(serve: Any, lane: str) -> None:
    def pieces() -> Any:
        var.set("set by the first piece")
        yield "1"
        yield var.get()

    app = App()
    add_route(app, lane, lambda request: pieces())
    assert serve(app).get("/").text == "1set by the first piece"


# --- lanes -------------------------------------------------------------------------------------------------


@KIND
@pytest.mark.parametrize("part", ["before", "after", "middleware", "exception"])
@pytest.mark.parametrize("lane", ["thread", "async"])
def test_plain_parts_run_in_handler_threads_and_async_ones_on_the_loop(
    serve: Any, lane: str, kind: str, part: str
) -> None:
    app = App()
    names: list[str] = []

    def note() -> None:
        names.append(threading.current_thread().name)

    if part == "before":
        app.before_request(as_kind(kind, lambda request: note()))
    elif part == "after":
        app.after_request(as_kind(kind, lambda request, response: note()))
    elif part == "exception":
        app.exception_handler(404)(as_kind(kind, lambda request, exc: note()))
    else:
        add_middleware(app, kind, lambda request: note(), lambda request, response: response)

    def handle(request: Any) -> Any:
        if part == "exception":
            raise HTTPError(404)
        return "x"

    add_route(app, lane, handle)
    assert serve(app).get("/").status in (200, 204)
    assert [name.startswith("cello-handler") for name in names] == [kind == "def"]


@pytest.mark.parametrize("part", ["before", "after", "exception"])
def test_plain_parts_of_a_pinned_route_run_on_the_loop(serve: Any, part: str) -> None:
    app = App()
    names: list[str] = []

    def note() -> None:
        names.append(threading.current_thread().name)

    if part == "before":
        app.before_request(lambda request: note())
    elif part == "after":
        app.after_request(lambda request, response: note())
    else:
        app.exception_handler(404)(lambda request, exc: note())

    @app.get("/", blocking=False)
    def handle(request: Any) -> Any:
        names.append(threading.current_thread().name)
        raise HTTPError(404)

    serve(app).get("/")
    assert not any(name.startswith("cello-handler") for name in names)
    assert len(set(names)) == 1


@KIND
def test_plain_parts_around_what_no_route_matches_run_in_handler_threads(serve: Any, kind: str) -> None:
    app = App()
    names: list[str] = []
    app.before_request(lambda request: names.append(threading.current_thread().name))
    app.use(as_kind(kind, lambda request, call_next: "early"))
    serve(app).get("/nowhere")
    assert [name.startswith("cello-handler") for name in names] == [True]


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


# --- coroutines that hide in plain functions ---------------------------------------------------------------


def hidden(function: Any) -> Any:
    """Return a plain function around an async one, as many a decorator makes it."""

    async def coroutine(*args: Any) -> Any:
        return function(*args)

    return lambda *args: coroutine(*args)


@pytest.mark.parametrize("kind", ["none", *KINDS])
def test_awaitable_of_a_plain_handler_is_awaited(serve: Any, kind: str) -> None:
    app = App()
    app.get("/")(hidden(lambda request: {"n": 1}))
    app.get("/stream")(hidden(lambda request: iter(["a", "b"])))
    app.get("/tuple")(hidden(lambda request: ("x", 201)))
    if kind != "none":
        add_middleware(app, kind, lambda request: None, lambda request, response: response)
    client = serve(app)
    assert client.get("/").json() == {"n": 1}
    assert client.get("/stream").text == "ab"
    assert client.get("/tuple").status == 201


@KIND
def test_awaitables_of_plain_hooks_are_awaited(serve: Any, kind: str) -> None:
    app = App()
    app.before_request(hidden(lambda request: request.context.update(a=1)))
    app.after_request(hidden(lambda request, response: response.set_header("X-A", 1)))
    app.exception_handler(KeyError)(hidden(lambda request, exc: request.context))

    @app.get("/")
    def fail(request: Any) -> Any:
        raise KeyError("x")

    add_middleware(app, kind, lambda request: None, lambda request, response: response)
    answer = serve(app).get("/")
    assert (answer.json(), answer.get("x-a")) == ({"a": 1}, "1")


def test_awaitable_of_a_pinned_handler_is_awaited(serve: Any) -> None:
    app = App()
    app.get("/", blocking=False)(hidden(lambda request: {"n": 1}))
    assert serve(app).get("/").json() == {"n": 1}


def test_coroutine_where_nothing_awaits_it_is_a_500_that_says_so(serve: Any, log: Any) -> None:
    app = App()
    app.get("/")(lambda request: (hidden(lambda: 1)(), 200))
    assert serve(app).get("/").status == 500
    assert "coroutine 'hidden.<locals>.coroutine', which nothing awaits here" in log.text


def test_pinned_handler_cannot_wait_behind_a_plain_middleware(serve: Any, log: Any) -> None:
    app = App()
    app.get("/", blocking=False)(hidden(lambda request: {"n": 1}))
    app.use(lambda request, call_next: call_next(request))
    assert serve(app).get("/").status == 500
    assert "make it an async def" in log.text
