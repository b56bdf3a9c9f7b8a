"""The application: registration of routes, hooks and middleware, and ``run()`` over it.

App is the facade on top of all layers: it holds the registries of the layers below and hands them to the
server, which knows no App. Everything may be registered until the application starts; then the chains are
composed once.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from ._speedups import Filters
from .checks import missing_attribute, named
from .config import (
    ClusterConfig,
    Http2Config,
    Http3Config,
    LimitsConfig,
    RunArguments,
    RunOptions,
    TimeoutConfig,
    TlsConfig,
)
from .dispatch import build
from .errors import ConfigError, RouteError
from .health import LIVE_PATH, READY_PATH, HealthChecks
from .lifespan import Lifespan, State, check_event
from .middleware import Parts
from .middlewares.compression import Compressor, check_min_size
from .middlewares.cors import Cors, Origin
from .options import check_one_process
from .routing import Route, RouteTable, is_async, place_of
from .serving import resolve, run, sources_of_serve, warn
from .signatures import check_handler, check_lifespan, check_options, check_part, check_path
from .sources.reading import Sources
from .threads import HandlerPool
from .types import Handler, LogFormat

HandlerT = TypeVar("HandlerT", bound=Handler)

_NO_SOURCES = Sources()

_NO_PATH = 'as in @app.get("/users")'
_TOO_LATE = (
    "the application runs already, and whatever belongs to it is registered before it starts: "
    "at the top level of a module, before app.run()"
)


class App:
    """A web application: routes, hooks and middleware, served by ``run()``.

    The constructor takes no arguments: everything is configured by method calls and by ``run()``.
    """

    @named("App", takes="App() takes no arguments: what configures it goes to app.run(...)")
    def __init__(self) -> None:
        self._table = RouteTable()
        self._parts = Parts()
        self._lifespan = Lifespan()
        self._health = HealthChecks()
        self._has_logging = False
        self._cors: Cors | None = None
        self._min_compressed_size: int | None = None
        self._run_count = 0  # runs that were built and have not been shut down

    if not TYPE_CHECKING:  # else type checkers would take any name

        def __getattr__(self, name: str) -> Any:
            raise missing_attribute("app", name, dir(App))

    # Routes.

    @named("app.route", missing='as in @app.route("/users", methods=["GET"])')
    def route(
        self,
        path: str,
        methods: Sequence[str] = ("GET",),
        *,
        tags: Sequence[str] | None = None,
        summary: str | None = None,
        description: str | None = None,
        name: str | None = None,
        blocking: bool | None = None,
        timeout: float | None = None,
        max_request_size: int | None = None,
        stream: bool = False,
    ) -> Callable[[HandlerT], HandlerT]:
        """Register the decorated handler for a path template and methods.

        ``blocking=False`` runs a ``def`` handler on the event loop's thread, True in a handler thread, None
        wherever its calls show that it belongs. ``timeout`` is the route's own response_timeout in seconds,
        ``max_request_size`` its own limit of bytes. With ``stream=True`` the handler, an ``async def``, is
        called before the body has come and reads it with ``async for chunk in request.stream()``. Raises
        RouteError.
        """
        check_path(path)
        options = {
            "tags": tuple(tags or ()),
            "summary": summary,
            "description": description,
            "name": name,
            "blocking": blocking,
            "timeout": timeout,
            "max_request_size": max_request_size,
            "stream": stream,
        }

        def register(handler: HandlerT) -> HandlerT:
            self._add_route(path, methods, handler, options)
            return handler

        return register

    def _add_route(
        self, path: str, methods: Sequence[str], handler: Handler, options: dict[str, Any]
    ) -> None:
        if isinstance(methods, str):
            place = place_of(handler)
            raise RouteError(
                f"route {path} ({place}): methods is a list such as [{methods!r}], got the str {methods!r}",
                place,
            )
        check_handler(handler, path)
        if self._run_count:
            place = place_of(handler)
            raise RouteError(f"route {path} ({place}): {_TOO_LATE}", place)
        if options["stream"] and not is_async(handler) and not inspect.isasyncgenfunction(handler):
            raise RouteError(
                f"route {path} ({place_of(handler)}): stream=True needs an `async def` handler, "
                "since only that can read the body as it comes"
            )
        self._table.add(Route(path, tuple(methods), handler, **options))

    @named("app.get", missing=_NO_PATH)
    def get(self, path: str, **options: Any) -> Callable[[HandlerT], HandlerT]:
        """Register a handler for GET, which answers HEAD as well; options as in ``route``."""
        return self._shortcut("get", path, options)

    @named("app.post", missing=_NO_PATH)
    def post(self, path: str, **options: Any) -> Callable[[HandlerT], HandlerT]:
        """Register a handler for POST; options as in ``route``."""
        return self._shortcut("post", path, options)

    @named("app.put", missing=_NO_PATH)
    def put(self, path: str, **options: Any) -> Callable[[HandlerT], HandlerT]:
        """Register a handler for PUT; options as in ``route``."""
        return self._shortcut("put", path, options)

    @named("app.patch", missing=_NO_PATH)
    def patch(self, path: str, **options: Any) -> Callable[[HandlerT], HandlerT]:
        """Register a handler for PATCH; options as in ``route``."""
        return self._shortcut("patch", path, options)

    @named("app.delete", missing=_NO_PATH)
    def delete(self, path: str, **options: Any) -> Callable[[HandlerT], HandlerT]:
        """Register a handler for DELETE; options as in ``route``."""
        return self._shortcut("delete", path, options)

    @named("app.options", missing=_NO_PATH)
    def options(self, path: str, **options: Any) -> Callable[[HandlerT], HandlerT]:
        """Register a handler for OPTIONS, in place of the automatic answer; options as in ``route``."""
        return self._shortcut("options", path, options)

    @named("app.head", missing=_NO_PATH)
    def head(self, path: str, **options: Any) -> Callable[[HandlerT], HandlerT]:
        """Register a handler for HEAD, in place of GET's; options as in ``route``."""
        return self._shortcut("head", path, options)

    def _shortcut(self, verb: str, path: str, options: dict[str, Any]) -> Callable[[HandlerT], HandlerT]:
        check_options(verb, path, options, list(inspect.signature(self.route).parameters))
        return self.route(path, (verb.upper(),), **options)

    @property
    def routes(self) -> list[Route]:
        """The routes, in order of registration."""
        return list(self._table.routes)

    def url_for(self, name: str, /, **params: Any) -> str:
        """Build the path of a route by its name; raises RouteError."""
        return self._table.url_for(name, **params)

    # What runs around the handlers.

    @named("app.use", missing="written without parentheses, @app.use, or app.use(middleware)")
    def use(self, middleware: HandlerT) -> HandlerT:
        """Add a middleware ``mw(request, call_next)``, plain or async; the first added is the outermost.

        ``call_next(request)`` gives the Response of the rest of the chain (awaited in an async middleware).
        """
        self._parts.middlewares.append(self._checked("use", middleware))
        return middleware

    @named("app.before_request", missing="written without parentheses, @app.before_request")
    def before_request(self, hook: HandlerT) -> HandlerT:
        """Call ``hook(request)`` before a request is handled; what it returns, unless None, is the answer."""
        self._parts.before.append(self._checked("before_request", hook))
        return hook

    @named("app.after_request", missing="written without parentheses, @app.after_request")
    def after_request(self, hook: HandlerT) -> HandlerT:
        """Call ``hook(request, response)`` with every answer; what it returns, unless None, replaces it."""
        self._parts.after.append(self._checked("after_request", hook))
        return hook

    @named("app.exception_handler", takes="it takes one exception class, or one status")
    def exception_handler(self, kind: type[BaseException] | int) -> Callable[[HandlerT], HandlerT]:
        """Have the decorated ``handler(request, exc)`` answer for an exception class, or for a status.

        The nearest class wins; a status is that of an HTTPError, and 500 stands for any other exception.
        """
        is_status = isinstance(kind, int) and not isinstance(kind, bool) and 400 <= kind <= 599
        if not is_status and not (isinstance(kind, type) and issubclass(kind, Exception)):
            raise ConfigError(
                "exception_handler() takes an exception class or a status of 400 to 599, got "
                f"{kind!r:.80}, as in @app.exception_handler(ValueError)"
            )

        def register(handler: HandlerT) -> HandlerT:
            self._parts.exceptions[kind] = self._checked("exception_handler", handler)
            return handler

        return register

    def _checked(self, what: str, function: Any) -> Any:
        self._check_open(what)
        return check_part(what, function)

    def _check_open(self, what: str) -> None:
        if self._run_count:
            raise ConfigError(f"{what}: {_TOO_LATE}")

    @named("app.enable_cors")
    def enable_cors(
        self,
        origins: Origin | Iterable[Origin] | None = None,
        methods: Sequence[str] | None = None,
        allow_headers: Sequence[str] | None = None,
        expose_headers: Sequence[str] | None = None,
        allow_credentials: bool = False,
        max_age: int = 600,
        *,
        allow_private_network: bool = False,
    ) -> None:
        """Let pages of other origins read the answers (docs/cors.md).

        ``origins`` are origins as browsers write them ("https://example.com"), patterns
        ("https://*.example.com" or compiled), functions of an origin, or "*", as None is: every origin.
        ``methods`` None are those that Cello has decorators for; ``allow_headers`` None allows what a
        preflight asks for; ``max_age`` is in seconds. Raises ConfigError.
        """
        self._check_open("enable_cors")
        self._cors = Cors(
            origins, methods, allow_headers, expose_headers, allow_credentials=allow_credentials,
            max_age=max_age, allow_private_network=allow_private_network,
        )  # fmt: skip

    @named("app.enable_compression")
    def enable_compression(self, min_size: int = 1024) -> None:
        """Compress answers for clients that take it: gzip, and br and zstd where they are installed.

        ``min_size`` is in bytes; bodies below it, and streams that declare a length below it, are sent as
        they are (docs/compression.md). Raises ConfigError.
        """
        self._check_open("enable_compression")
        check_min_size(min_size)
        self._min_compressed_size = min_size

    @named("app.enable_health_checks")
    def enable_health_checks(self, live: str = LIVE_PATH, ready: str = READY_PATH) -> None:
        """Answer at two paths whether the process works, and whether requests should be sent to it.

        Both answer 200 and JSON, ``ready`` 503 once a stop has begun (docs/deployment.md). Raises RouteError.
        """
        for path, handler in ((live, self._health.live), (ready, self._health.ready)):
            self.route(path, name=f"health_{handler.__name__}", blocking=False)(handler)

    @named("app.enable_logging")
    def enable_logging(self) -> None:
        """Log requests also in production; ``--no-logs`` and ``logs=False`` win."""
        self._check_open("enable_logging")
        self._has_logging = True

    # Startup, shutdown, state.

    @property
    def state(self) -> State:
        """What startup hooks hand to handlers."""
        return self._lifespan.state

    @property
    def lifespan(self) -> Any:
        """A callable that takes the application and returns an async context manager to serve in."""
        return self._lifespan.context_manager

    @lifespan.setter
    def lifespan(self, context_manager: Any) -> None:
        check_lifespan(context_manager)
        self._lifespan.context_manager = context_manager

    def on_event(self, event: str) -> Callable[[HandlerT], HandlerT]:
        """Register the decorated hook for "startup" or "shutdown"."""
        check_event(event)

        def register(hook: HandlerT) -> HandlerT:
            self._lifespan.add(event, hook)
            return hook

        return register

    @named("app.on_startup", missing="written without parentheses, @app.on_startup")
    def on_startup(self, hook: HandlerT) -> HandlerT:
        """Run a hook, plain or async, before the first request; it may take the application."""
        self._lifespan.add("startup", hook)
        return hook

    @named("app.on_shutdown", missing="written without parentheses, @app.on_shutdown")
    def on_shutdown(self, hook: HandlerT) -> HandlerT:
        """Run a hook, plain or async, after the last request; it may take the application."""
        self._lifespan.add("shutdown", hook)
        return hook

    # The application as the server sees it.

    def build(self, pool: HandlerPool, options: RunOptions) -> Any:
        """Compose the chains and return the dispatcher of a run; called by the server."""
        dispatcher = build(
            self,
            self._table,
            self._parts,
            pool,
            debug=options.debug,
            max_request_bytes=options.limits.max_request_size,
            response_seconds=options.timeout.response_timeout,
            filters=self._filters(options),
        )
        self._run_count += 1
        return dispatcher

    def _filters(self, options: RunOptions) -> Filters | None:
        if self._cors is None and self._min_compressed_size is None and not options.logs:
            return None
        compressor = None if self._min_compressed_size is None else Compressor(self._min_compressed_size)
        return Filters(self._cors, compressor, options.logs)

    async def startup(self) -> None:
        """Run the startup hooks; called by the server after ``build``. Raises StartError."""
        self._health.is_stopping = False
        try:
            await self._lifespan.startup(self)
        except BaseException:
            self._run_count -= 1
            raise

    def begin_stop(self) -> None:
        """Have the health checks say that it is not ready; called by the server when a stop begins."""
        self._health.is_stopping = True

    async def shutdown(self) -> None:
        """Run the shutdown hooks; called by the server, unless ``startup`` failed."""
        try:
            await self._lifespan.shutdown(self)
        finally:
            self._run_count -= 1

    # Serving.

    @named("app.run")
    def run(
        self,
        host: str = "127.0.0.1",
        port: int = 8000,
        debug: bool | None = None,
        env: str | None = None,
        workers: int | None = None,
        reload: bool = False,
        logs: bool | None = None,
        *,
        tls: TlsConfig | None = None,
        http2: Http2Config | None = None,
        http3: Http3Config | None = None,
        cluster: ClusterConfig | None = None,
        timeout: TimeoutConfig | None = None,
        limits: LimitsConfig | None = None,
        log_format: LogFormat = "auto",
        reload_dirs: Sequence[str | os.PathLike[str]] = (),
        reload_includes: Sequence[str] = (),
        reload_excludes: Sequence[str] = (),
        uds: str | os.PathLike[str] | None = None,
        fd: int | None = None,
        pid_file: str | os.PathLike[str] | None = None,
        user: str | int | None = None,
        group: str | int | None = None,
        argv: Sequence[str] | None = None,
    ) -> None:
        """Serve until SIGINT or SIGTERM.

        The command line wins over the arguments; ``argv=[]`` reads none. CELLO_* variables set what no
        argument does. Raises ConfigError for an argument that is wrong; what keeps the server from starting
        is one line on stderr and exit status 1 (SystemExit), a wrong flag or variable the same and 2.
        """
        arguments = RunArguments(
            host=host, port=port, debug=debug, env=env, workers=workers, reload=reload, logs=logs, tls=tls,
            http2=http2, http3=http3, cluster=cluster, timeout=timeout, limits=limits, log_format=log_format,
            reload_dirs=reload_dirs, reload_includes=reload_includes, reload_excludes=reload_excludes,
            uds=uds, fd=fd, pid_file=pid_file, user=user, group=group,
        )  # fmt: skip
        run(self, arguments, argv)

    @named("app.serve")
    async def serve(
        self,
        host: str = "127.0.0.1",
        port: int = 8000,
        debug: bool | None = None,
        env: str | None = None,
        workers: int | None = None,
        reload: bool = False,
        logs: bool | None = None,
        *,
        tls: TlsConfig | None = None,
        http2: Http2Config | None = None,
        http3: Http3Config | None = None,
        cluster: ClusterConfig | None = None,
        timeout: TimeoutConfig | None = None,  # noqa: ASYNC109 - the server's timeouts, not this call's
        limits: LimitsConfig | None = None,
        log_format: LogFormat = "auto",
        reload_dirs: Sequence[str | os.PathLike[str]] = (),
        reload_includes: Sequence[str] = (),
        reload_excludes: Sequence[str] = (),
        uds: str | os.PathLike[str] | None = None,
        fd: int | None = None,
        pid_file: str | os.PathLike[str] | None = None,
        user: str | int | None = None,
        group: str | int | None = None,
        argv: Sequence[str] | None = (),
    ) -> None:
        """Serve inside the running event loop until this coroutine is cancelled, which stops gracefully.

        Parameters as in ``run``, except that no command line and no variable is read unless ``argv=None``
        asks for them; signals are left to the caller. Raises ConfigError and StartError.
        """
        arguments = RunArguments(
            host=host, port=port, debug=debug, env=env, workers=workers, reload=reload, logs=logs, tls=tls,
            http2=http2, http3=http3, cluster=cluster, timeout=timeout, limits=limits, log_format=log_format,
            reload_dirs=reload_dirs, reload_includes=reload_includes, reload_excludes=reload_excludes,
            uds=uds, fd=fd, pid_file=pid_file, user=user, group=group,
        )  # fmt: skip
        from .server.process import holding
        from .server.worker import Worker

        options = self.resolve(arguments, sources_of_serve(self, arguments, argv))
        check_one_process(options, "app.serve()")
        warn(options)
        with holding(options) as holdings:
            worker = Worker(self, options, holdings.listeners)
            await worker.serve(worker.announce)

    def resolve(self, arguments: RunArguments, sources: Sources = _NO_SOURCES) -> RunOptions:
        """Return what holds of run()'s arguments and the other sources; refuses what is not built yet.

        Raises ConfigError for what the arguments ask for; what only another source asks for is one line on
        stderr and exit status 2 (SystemExit).
        """
        return resolve(arguments, sources, has_logging=self._has_logging)
