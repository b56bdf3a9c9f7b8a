"""cello.app: what registration refuses, and how an application is run (its answers: conformance/)."""

from __future__ import annotations

import asyncio
import functools
import logging
import socket
from typing import Any

import pytest

from cello import App, ConfigError, HTTPError, Request, RouteError, TimeoutConfig
from cello.logs import configure_logging
from cello.testing import TestClient, live_server
from tests.kit.log_watch import watching_log


def index(request: Request) -> str:
    return "index"


def other(request: Request) -> str:
    return "other"


# --- routes ------------------------------------------------------------------------------------------------


def test_app_takes_no_arguments() -> None:
    with pytest.raises(TypeError):
        App("name")  # type: ignore[call-arg]


def test_decorators_return_the_handler() -> None:
    app = App()
    for verb in ("get", "post", "put", "patch", "delete", "options", "head"):
        assert getattr(app, verb)("/")(index) is index
    assert app.route("/other", methods=["GET"])(other) is other
    for decorate in (app.before_request, app.on_startup, app.on_shutdown, app.on_event("startup")):
        assert decorate(index) is index

    def two(request: Any, rest: Any) -> Any: ...

    for decorate in (
        app.use,
        app.after_request,
        app.exception_handler(404),
        app.exception_handler(ValueError),
    ):
        assert decorate(two) is two


def test_routes_in_order_of_registration_with_their_options() -> None:
    app = App()
    app.get(
        "/a",
        tags=["x"],
        summary="s",
        description="d",
        name="n",
        blocking=True,
        timeout=1.5,
        max_request_size=5,
    )(index)
    app.route("/b", ["put", "POST"])(other)
    first, second = app.routes
    assert (first.template, first.methods, first.name, first.tags) == ("/a", ("GET",), "n", ("x",))
    assert (first.summary, first.description, first.blocking) == ("s", "d", True)
    assert (first.timeout, first.max_request_size, first.stream) == (1.5, 5, False)
    assert (second.methods, second.name) == (("PUT", "POST"), "other")
    app.routes.clear()
    assert len(app.routes) == 2


def test_duplicate_names_both_places() -> None:
    app = App()
    app.get("/users/{id}")(index)
    with pytest.raises(RouteError) as caught:
        app.get("/users/{name}")(other)
    for function in (index, other):
        assert f"test_app.py:{function.__code__.co_firstlineno} in {function.__name__}" in str(caught.value)
    assert len(app.routes) == 1
    app.post("/users/{id}")(other)


def no_arguments() -> str:
    return "x"


def two_arguments(request: Any, more: Any) -> str:
    return "x"


def keyword_only(*, request: Any) -> str:
    return "x"


@pytest.mark.parametrize(
    "handler", [no_arguments, two_arguments, keyword_only, functools.partial(two_arguments)]
)
def test_handlers_take_one_argument(handler: Any) -> None:
    with pytest.raises(RouteError, match=r"route /x: the handler .* must take one argument, the request"):
        App().get("/x")(handler)


def test_handler_that_takes_nothing_is_named_with_its_place() -> None:
    with pytest.raises(
        RouteError, match=r"test_app\.py:\d+ in no_arguments must .*: def no_arguments\(request\)"
    ):
        App().get("/x")(no_arguments)


@pytest.mark.parametrize("handler", [None, "index", 5, {}])
def test_handlers_are_callable(handler: Any) -> None:
    with pytest.raises(RouteError, match="route /x: a handler must be callable, got"):
        App().get("/x")(handler)


def test_whatever_takes_a_request_is_a_handler() -> None:
    class Resource:
        def show(self, request: Any) -> str:
            return "shown"

        def __call__(self, request: Any) -> str:
            return "called"

    app = App()
    handlers: list[Any] = [
        Resource(), Resource().show, functools.partial(two_arguments, more=1), lambda request: "x",
        lambda *args: "x", lambda request, default=1: "x", str,
    ]  # fmt: skip
    for number, handler in enumerate(handlers):
        app.get(f"/{number}")(handler)
    with TestClient(app) as client:
        assert client.get("/0").text == "called"
        assert client.get("/1").text == "shown"


@pytest.mark.parametrize("path", [index, None, 5, b"/x"])
def test_decorator_without_its_path(path: Any) -> None:
    for decorate in (App().get, App().route):
        with pytest.raises(RouteError, match=r"a route needs its path first, as in @app\.get"):
            decorate(path)


@pytest.mark.parametrize("path", ["", "users", "/a{b}", "/{id:nope}", "/{}"])
def test_bad_templates_are_refused_at_registration(path: str) -> None:
    with pytest.raises(RouteError, match=r"test_app\.py:\d+ in index"):
        App().get(path)(index)


def test_methods_are_a_list() -> None:
    with pytest.raises(RouteError, match=r"methods is a list such as \['GET'\], got the str 'GET'"):
        App().route("/", methods="GET")(index)
    with pytest.raises(RouteError, match="no HTTP method"):
        App().route("/", methods=["GTE"])(index)
    with pytest.raises(RouteError, match="at least one method"):
        App().route("/", methods=[])(index)


@pytest.mark.parametrize(
    "options",
    [{"timeout": 0}, {"timeout": "1"}, {"max_request_size": -1}, {"blocking": 1}, {"name": 5}, {"stream": 1}],
)
def test_bad_options_are_refused_by_name(options: dict[str, Any]) -> None:
    async def handler(request: Any) -> None: ...

    with pytest.raises(RouteError, match=f"{next(iter(options))} is "):
        App().get("/", **options)(handler)


def test_unknown_options_are_refused() -> None:
    with pytest.raises(TypeError, match="nonsense"):
        App().get("/", nonsense=1)


def test_stream_needs_an_async_handler() -> None:
    def plain(request: Any) -> Any: ...

    def generator(request: Any) -> Any:
        yield "x"

    async def coroutine(request: Any) -> Any: ...

    async def async_generator(request: Any) -> Any:
        yield "x"

    app = App()
    for handler in (plain, generator, lambda request: "x"):
        with pytest.raises(
            RouteError, match=r"route /x \(.*test_app\.py:\d+ .*stream=True needs an `async def`"
        ):
            app.post("/x", stream=True)(handler)
    app.post("/a", stream=True)(coroutine)
    app.post("/b", stream=True)(async_generator)
    app.post("/c", stream=True)(functools.partial(coroutine))


def test_url_for() -> None:
    app = App()
    app.get("/users/{id:int}", name="user")(index)
    assert app.url_for("user", id=7) == "/users/7"
    with pytest.raises(RouteError, match=r"no route is named 'users'.*'user'"):
        app.url_for("users")


# --- hooks and middleware ----------------------------------------------------------------------------------

REGISTRARS: list[tuple[str, int]] = [
    ("use", 2), ("before_request", 1), ("after_request", 2), ("exception_handler", 2),
]  # fmt: skip


def registrar(app: App, name: str) -> Any:
    return app.exception_handler(ValueError) if name == "exception_handler" else getattr(app, name)


def taking(count: int) -> Any:
    """Return a function that takes so many arguments."""
    return {
        0: lambda: None, 1: lambda a: None, 2: lambda a, b: None, 3: lambda a, b, c: None,
    }[count]  # fmt: skip


@pytest.mark.parametrize(("name", "count"), REGISTRARS)
def test_signatures(name: str, count: int) -> None:
    app = App()
    for wrong in {0, 1, 2, 3} - {count}:
        with pytest.raises(ConfigError, match=rf"^{name} takes a function \(request.*test_app\.py:\d+"):
            registrar(app, name)(taking(wrong))
    registrar(app, name)(taking(count))
    registrar(app, name)(lambda *args: None)


@pytest.mark.parametrize(("name", "count"), REGISTRARS)
@pytest.mark.parametrize("given", [None, 5, "mw", ValueError("x")], ids=repr)
def test_what_is_no_function(name: str, count: int, given: Any) -> None:
    with pytest.raises(ConfigError, match=f"^{name} takes a function .*got"):
        registrar(App(), name)(given)


@pytest.mark.parametrize(
    "kind",
    [
        200,
        302,
        399,
        600,
        0,
        -404,
        True,
        "404",
        404.0,
        None,
        index,
        KeyboardInterrupt,
        BaseException,
        int,
        ValueError(),
    ],
)
def test_exception_handler_takes_a_class_or_an_error_status(kind: Any) -> None:
    with pytest.raises(ConfigError, match="takes an exception class or a status of 400 to 599, got"):
        App().exception_handler(kind)


@pytest.mark.parametrize("kind", [400, 404, 500, 599, Exception, ValueError, HTTPError])
def test_exception_handler_takes(kind: Any) -> None:
    App().exception_handler(kind)(taking(2))


@pytest.mark.parametrize("event", ["start", None, index])
def test_unknown_event_is_refused_where_it_is_named(event: Any) -> None:
    with pytest.raises(ConfigError, match='"startup" or "shutdown", got'):
        App().on_event(event)


def test_hooks_are_callable() -> None:
    for decorate in (App().on_startup, App().on_shutdown, App().on_event("startup")):
        with pytest.raises(ConfigError, match="must be callable, got 5"):
            decorate(5)  # type: ignore[type-var]


@pytest.mark.parametrize("given", [5, "lifespan", object()])
def test_lifespan_is_callable(given: Any) -> None:
    app = App()
    with pytest.raises(
        ConfigError, match=r"app\.lifespan is a callable that returns an async context manager"
    ):
        app.lifespan = given
    assert app.lifespan is None
    app.lifespan = None


# --- the time for registration -----------------------------------------------------------------------------


def register_everything(app: App, path: str) -> list[Any]:
    return [
        lambda: app.get(path)(index),
        lambda: app.use(taking(2)),
        lambda: app.before_request(taking(1)),
        lambda: app.after_request(taking(2)),
        lambda: app.exception_handler(404)(taking(2)),
    ]


def test_nothing_is_registered_while_the_application_runs() -> None:
    app = App()
    app.get("/")(index)
    with TestClient(app) as client:
        for register in register_everything(app, "/late"):
            with pytest.raises((RouteError, ConfigError), match="the application runs already"):
                register()
        assert client.get("/late").status_code == 404
        assert client.get("/").text == "index"
    for register in register_everything(app, "/later"):
        register()


def test_runs_may_overlap_and_fail() -> None:
    app = App()
    app.get("/")(index)
    with TestClient(app):
        with live_server(app, env="production"), pytest.raises(RouteError, match="runs already"):
            app.get("/a")(index)
        with pytest.raises(RouteError, match="runs already"):
            app.get("/a")(index)
    app.get("/a")(index)

    @app.on_startup
    def fail() -> None:
        raise OSError

    with watching_log(), pytest.raises(Exception, match="OSError"), TestClient(app):
        pass
    app.get("/b")(index)


def test_runs_of_one_application_share_no_threads() -> None:
    app = App()
    app.get("/")(index)

    async def middleware(request: Any, call_next: Any) -> Any:
        return await call_next(request)

    app.use(middleware)
    with TestClient(app) as outer:
        for _ in range(2):
            with TestClient(app, env="production") as inner:
                assert inner.get("/").text == "index"
            assert outer.get("/").text == "index"
    assert all(route.call is None for route in app.routes)


def test_startup_hooks_register_nothing() -> None:
    app = App()
    app.on_startup(lambda: app.get("/late")(index))
    with (
        watching_log() as log,
        pytest.raises(Exception, match=r"RouteError: route /late .*runs already"),
        TestClient(app),
    ):
        pass
    assert "RouteError" in log.text


# --- running -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"port": 70_000}, "port"),
        ({"port": "80"}, "port"),
        ({"env": "staging"}, "env"),
        ({"host": 5}, "host"),
        ({"workers": 0}, "workers"),
        ({"debug": "yes"}, "debug"),
        ({"timeout": 5}, "timeout"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        App().run(argv=[], **arguments)


def test_taken_port_is_one_line_and_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(SystemExit) as caught:
        App().run(port=taken.getsockname()[1], argv=[])
    assert caught.value.code == 1
    error = capsys.readouterr().err
    assert error.startswith("cello: ")
    assert str(taken) not in error
    assert error.count("\n") == 1


def test_failing_startup_is_one_line_and_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    app = App()

    @app.on_startup
    def fail() -> None:
        raise OSError("no database")

    with watching_log(), pytest.raises(SystemExit) as caught:
        app.run(port=0, argv=[])
    assert caught.value.code == 1
    assert "no database" in capsys.readouterr().err


def test_run_inside_a_loop_names_serve() -> None:
    async def main() -> None:
        App().run(port=0, argv=[])

    with pytest.raises(ConfigError, match=r"use `await app\.serve"):
        asyncio.run(main())


def test_serve_inside_a_loop_until_it_is_cancelled(capsys: pytest.CaptureFixture[str]) -> None:
    app = App()
    app.get("/", blocking=False)(index)
    order: list[str] = []
    app.on_startup(lambda: order.append("start"))
    app.on_shutdown(lambda: order.append("stop"))

    async def main() -> bytes:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        serving = asyncio.ensure_future(app.serve(port=port, env="production"))
        while "serves on" not in capsys.readouterr().err:
            await asyncio.sleep(0.001)
            assert not serving.done()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        return answer

    answer = asyncio.run(main())
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"index")
    assert order == ["start", "stop"]


def test_resolve_gives_the_server_what_it_needs() -> None:
    from cello.config import RunArguments

    app = App()
    options = app.resolve(RunArguments(env="production", timeout=TimeoutConfig(response_timeout=5)))
    assert (options.debug, options.logs, options.timeout.response_timeout) == (False, False, 5)
    app.enable_logging()
    assert app.resolve(RunArguments(env="production")).logs is True
    assert app.resolve(RunArguments(env="production", logs=False)).logs is False


def test_logging_is_configured_only_where_nobody_else_did() -> None:
    logger, root = logging.getLogger("cello"), logging.getLogger()
    saved = logger.handlers[:], root.handlers[:], logger.level
    try:
        logger.handlers, root.handlers = [], [logging.NullHandler()]
        configure_logging()
        assert logger.handlers == []
        root.handlers = []
        logger.setLevel(logging.NOTSET)
        configure_logging()
        configure_logging()
        assert len(logger.handlers) == 1
        assert logger.level == logging.INFO
    finally:
        logger.handlers, root.handlers = saved[0], saved[1]
        logger.setLevel(saved[2])
