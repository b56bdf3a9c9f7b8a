"""Testing an application: in process without a socket, or served for real on a free port.

    with TestClient(app) as client:
        assert client.get("/users/1").json() == {"id": 1}

``TestClient`` is an adapter like those of the server: requests go through the real router, chain and dispatch
core, on an event loop in a thread of its own, with the lifespan around them; only the bytes are left out.
"""

from __future__ import annotations

import asyncio
import json as json_module
import socket
import string
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from http.cookies import SimpleCookie
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlencode, urljoin, urlsplit

from ._speedups import AnswerStream, is_authority, is_target_path, make_request
from .config import LimitsConfig, RunArguments, RunOptions, TimeoutConfig
from .errors import CelloError
from .headers import Headers
from .options import check_one_process, resolve_options
from .server.worker import Worker, finish, new_event_loop
from .threads import HandlerPool
from .types import Fields

REDIRECTS = (301, 302, 303, 307, 308)
MAX_REDIRECTS = 20
PATH_SAFE = "/%:@!$&'()*+,;=-._~\\"
SERVER_FIELDS = frozenset((b"connection", b"keep-alive", b"upgrade", b"date", b"server"))
"""Fields that a server writes itself: an application's own never reach a client."""

HeadersInit = Mapping[str, str] | Iterable[tuple[str, str]]
Pairs = list[tuple[str, str]]


class AnswerBroken(CelloError):
    """The handler failed, or was cut off, after its answer had begun."""


class TestResponse:
    """An answer as a client sees it.

    ``chunks`` are the pieces of a streamed body as the handler made them; ``history`` the redirects before
    it.
    """

    __test__ = False  # for pytest: no test case

    def __init__(
        self, status_code: int, fields: Fields, content: bytes, chunks: list[bytes], url: str
    ) -> None:
        self.status_code = status_code
        self.headers = Headers(fields)
        self.content = content
        self.chunks = chunks
        self.url = url
        self.history: list[TestResponse] = []

    @property
    def text(self) -> str:
        """The body as UTF-8 text."""
        return self.content.decode()

    def json(self) -> Any:
        """Return the body decoded from JSON."""
        return json_module.loads(self.content)

    @property
    def is_redirect(self) -> bool:
        """Tell whether the answer sends the client elsewhere."""
        return self.status_code in REDIRECTS and "location" in self.headers

    def __repr__(self) -> str:
        return f"<TestResponse {self.status_code} {len(self.content)} bytes>"


class _MemoryStream(AnswerStream):
    """The Stream of one exchange, kept in memory."""

    def __init__(self) -> None:
        self.status = 0
        self.fields: Fields = []
        self.chunks: list[bytes] = []
        self.length = -1
        self.has_continued = False
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def respond(self, status: int, fields: Fields, body: bytes, length: int) -> None:
        self.head(status, fields, length, bool(body))
        self.data(body)
        self.end()

    def inform(self, status: int) -> None:
        self.has_continued = True

    def head(self, status: int, fields: Fields, length: int, has_body: bool) -> None:
        self.status = status
        self.fields = [field for field in fields if field[0] not in SERVER_FIELDS]
        if length >= 0:
            self.fields.append((b"content-length", str(length).encode()))

    def data(self, chunk: bytes) -> None:
        if chunk:
            self.chunks.append(chunk)

    def end(self) -> None:
        if not self.done.done():
            self.done.set_result(None)

    def reset(self, reason: str) -> None:
        if not self.done.done():
            self.done.set_exception(AnswerBroken(reason))

    async def drain(self) -> None:
        await asyncio.sleep(0)

    def pause(self) -> None:
        """The body is in memory already."""

    def resume(self) -> None:
        """Likewise."""

    def is_disconnected(self) -> bool:
        return False


class TestClient:
    """A client of an application in this process; used as a context manager.

    ``debug`` and ``env`` are as in run(). Cookies that answers set are sent with later requests, by name.
    Redirects are returned, not followed, unless ``follow_redirects`` says so, here or per request.
    """

    __test__ = False

    def __init__(
        self,
        app: Any,
        base_url: str = "http://testserver",
        *,
        env: str = "development",
        debug: bool | None = None,
        workers: int | None = None,
        timeout: TimeoutConfig | None = None,
        limits: LimitsConfig | None = None,
        follow_redirects: bool = False,
    ) -> None:
        split = urlsplit(base_url)
        if split.scheme not in ("http", "https") or not is_authority(
            split.netloc.encode("latin-1", "replace")
        ):
            raise ValueError(f"base_url is an http or https URL with a host, got {base_url!r}")
        if split.path not in ("", "/") or split.query or split.fragment:
            raise ValueError(f"base_url is a scheme and a host, without a path or query, got {base_url!r}")
        arguments = RunArguments(env=env, debug=debug, workers=workers, timeout=timeout, limits=limits)
        self.app = app
        self.cookies: dict[str, str] = {}
        self._options = resolve_options(arguments)
        self._scheme, self._authority = split.scheme, split.netloc
        self._follows = follow_redirects
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._pool: HandlerPool | None = None
        self._dispatcher: Any = None

    def __enter__(self) -> Self:
        if self._loop is not None:
            raise RuntimeError("this TestClient serves already: one `with` at a time")
        self._loop = new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="cello-test-loop", daemon=True)
        self._thread.start()
        try:
            self._pool = HandlerPool(self._options.workers)
            self._dispatcher = self.app.build(self._pool, self._options)
            self._call(self.app.startup())
        except BaseException:
            self._end_loop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._call(self.app.shutdown())
        finally:
            self._end_loop()

    def _end_loop(self) -> None:
        assert self._loop is not None
        assert self._thread is not None
        if self._pool is not None:
            self._pool.shutdown()
        self._call(finish(self._loop))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._loop = self._dispatcher = None

    def _call(self, coroutine: Any) -> Any:
        if self._loop is None:
            coroutine.close()
            raise RuntimeError("TestClient serves inside its context: with TestClient(app) as client: ...")
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def request(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, Any] | None = None,
        headers: HeadersInit | None = None,
        content: bytes | str | Iterator[bytes] | None = None,
        json: Any = None,
        data: Mapping[str, Any] | None = None,
        follow_redirects: bool | None = None,
    ) -> TestResponse:
        """Send a request and return its answer.

        ``url`` is a path with an optional query, ``params`` is added to the query; ``headers`` is a mapping
        or pairs. The body is ``content`` (octets, text, or an iterator of octets, which is sent without its
        length), ``json``, or ``data`` as an urlencoded form. Raises AnswerBroken when the handler fails in
        mid-answer.
        """
        pieces, given = _body(content, json, data)
        given = _replaced(given, headers)
        follows = self._follows if follow_redirects is None else follow_redirects
        history: list[TestResponse] = []
        while True:
            response: TestResponse = self._call(
                self._exchange(method.upper(), self._target(url, params), given, pieces)
            )
            response.history = history
            self._keep_cookies(response)
            if not follows or not response.is_redirect:
                return response
            if len(history) >= MAX_REDIRECTS:
                raise CelloError(f"more than {MAX_REDIRECTS} redirects, the last from {response.url}")
            history = [*history, response]
            url, params = urljoin(response.url, response.headers["location"]), None
            if response.status_code not in (307, 308) and method.upper() != "HEAD":
                method, pieces = "GET", []
                given = [field for field in given if not field[0].startswith("content-")]

    async def _exchange(self, method: str, target: bytes, given: Pairs, pieces: list[bytes]) -> TestResponse:
        path, _, query = target.partition(b"?")
        request = make_request(
            method, path, query, self._fields(given), b"", 0, 0,
            self._authority.encode(), self._scheme, "1.1", ("testclient", 50000),
        )  # fmt: skip
        headers = dict(given)
        request.has_body = bool(pieces)
        request.content_length = int(headers["content-length"]) if "content-length" in headers else None
        request.expects_continue = headers.get("expect", "").lower() == "100-continue"
        stream = _MemoryStream()
        if path != b"*" and not is_target_path(path):
            self._dispatcher.core.refuse(request, stream, 400, "the path is not valid percent-encoded UTF-8")
            exchange = None
        else:
            exchange = self._dispatcher.begin(request, stream)
        timer = None
        if exchange is not None:
            timer = _expire_later(exchange)
            await _send_body(exchange, stream, pieces)
        try:
            await stream.done
        finally:
            if timer is not None:
                timer.cancel()
        url = f"{self._scheme}://{self._authority}{target.decode('latin-1')}"
        return TestResponse(stream.status, stream.fields, b"".join(stream.chunks), stream.chunks, url)

    def _fields(self, given: Pairs) -> Fields:
        fields = [("host", self._authority), ("user-agent", "cello-testclient"), ("accept", "*/*")]
        if self.cookies:
            fields.append(("cookie", "; ".join(f"{name}={value}" for name, value in self.cookies.items())))
        fields = _replaced(fields, given)
        return [(name.encode("latin-1"), str(value).encode("latin-1")) for name, value in fields]

    def _target(self, url: str, params: Mapping[str, Any] | None) -> bytes:
        """Return the request target of a path, or of a URL under ``base_url``."""
        base = f"{self._scheme}://{self._authority}"
        if url.startswith(base) and url[len(base) :][:1] in ("", "/", "?", "#"):
            url = url[len(base) :]
            url = url if url.startswith("/") else f"/{url}"
        if url[:1] != "/" and url != "*":
            raise ValueError(f"a URL is a path that begins with a slash, or begins with {base}, got {url!r}")
        path, _, query = url.partition("#")[0].partition("?")
        given = urlencode(params or {}, doseq=True)
        query = "&".join(part for part in (quote(query, safe=string.punctuation), given) if part)
        return (quote(path, safe=PATH_SAFE) + (f"?{query}" if query else "")).encode("ascii")

    def _keep_cookies(self, response: TestResponse) -> None:
        for line in response.headers.get_all("set-cookie"):
            for name, morsel in SimpleCookie(line).items():
                if morsel["max-age"] == "0":
                    self.cookies.pop(name, None)
                else:
                    self.cookies[name] = morsel.value

    def get(self, url: str, **options: Any) -> TestResponse:
        """Send GET; options as in ``request``."""
        return self.request("GET", url, **options)

    def head(self, url: str, **options: Any) -> TestResponse:
        """Send HEAD; options as in ``request``."""
        return self.request("HEAD", url, **options)

    def post(self, url: str, **options: Any) -> TestResponse:
        """Send POST; options as in ``request``."""
        return self.request("POST", url, **options)

    def put(self, url: str, **options: Any) -> TestResponse:
        """Send PUT; options as in ``request``."""
        return self.request("PUT", url, **options)

    def patch(self, url: str, **options: Any) -> TestResponse:
        """Send PATCH; options as in ``request``."""
        return self.request("PATCH", url, **options)

    def delete(self, url: str, **options: Any) -> TestResponse:
        """Send DELETE; options as in ``request``."""
        return self.request("DELETE", url, **options)

    def options(self, url: str, **options: Any) -> TestResponse:
        """Send OPTIONS; options as in ``request``."""
        return self.request("OPTIONS", url, **options)


async def _send_body(exchange: Any, stream: _MemoryStream, pieces: list[bytes]) -> None:
    """Feed a body as a connection would: piece by piece, until it is answered."""
    for piece in pieces:
        if stream.done.done():
            return
        exchange.feed(piece)
        await asyncio.sleep(0)  # a stream=True handler has a look at it
    if pieces and not stream.done.done():
        exchange.end()


def _expire_later(exchange: Any) -> asyncio.TimerHandle | None:
    seconds = exchange.endpoint.timeout_seconds

    def expire() -> None:
        if not exchange.has_begun:
            exchange.expire()

    if seconds == float("inf"):
        return None
    return asyncio.get_running_loop().call_later(seconds, expire)


def _replaced(fields: Pairs, headers: HeadersInit | None) -> Pairs:
    """Return fields with those of the same names replaced by the given ones."""
    given = headers.items() if isinstance(headers, Mapping) else headers or ()
    own = [(name.lower(), value) for name, value in given]
    names = dict(own)
    return [field for field in fields if field[0] not in names] + own


def _body(
    content: bytes | str | Iterator[bytes] | None, json: Any, data: Mapping[str, Any] | None
) -> tuple[list[bytes], Pairs]:
    """Return the body's pieces and the fields that go with it."""
    if sum(given is not None for given in (content, json, data)) > 1:
        raise ValueError("give one of content, json and data")
    if json is not None:
        return _sized(json_module.dumps(json).encode(), "application/json")
    if data is not None:
        return _sized(urlencode(data, doseq=True).encode(), "application/x-www-form-urlencoded")
    if content is None:
        return [], []
    if isinstance(content, str):
        return _sized(content.encode(), "text/plain; charset=utf-8")
    if isinstance(content, bytes):
        return _sized(content, None)
    return list(content), []


def _sized(body: bytes, media_type: str | None) -> tuple[list[bytes], Pairs]:
    fields = [("content-length", str(len(body)))]
    return [body] if body else [], fields if media_type is None else [("content-type", media_type), *fields]


class LiveServer:
    """An application served on a port of this machine, from a thread: see ``live_server``."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        # On a unix domain socket: no host, no port, and the URL is "unix:" and its path.
        self.host, self.port = worker.addresses[0] if worker.addresses else ("", 0)
        self.url = worker.urls[0]


@contextmanager
def live_server(app: Any, host: str = "127.0.0.1", port: int = 0, **options: Any) -> Iterator[LiveServer]:
    """Serve an application for real, by default on a free port, until the block ends.

    ``options`` are run()'s parameters; ``uds`` and ``fd`` serve on those in place of a port. Raises
    ConfigError and StartError.
    """
    from .server.process import holding

    is_tcp = options.get("uds") is None and options.get("fd") is None
    place: dict[str, Any] = {"host": host, "port": port} if is_tcp else {}
    resolved = app.resolve(RunArguments(**place, **options))
    check_one_process(resolved, "live_server()")
    with holding(resolved) as holdings, _serving_in_a_thread(app, resolved, holdings.listeners) as server:
        yield server


@contextmanager
def _serving_in_a_thread(
    app: Any, options: RunOptions, listeners: list[socket.socket]
) -> Iterator[LiveServer]:
    worker = Worker(app, options, listeners)
    loop = new_event_loop()
    ready = threading.Event()
    failures: list[BaseException] = []

    def serve() -> None:
        asyncio.set_event_loop(None)  # as worker.run: a plain function finds none
        try:
            try:
                loop.run_until_complete(worker.serve(ready.set))
            finally:
                loop.run_until_complete(finish(loop))
        except BaseException as exc:  # noqa: BLE001 - raised again in the caller's thread
            failures.append(exc)
        finally:
            ready.set()
            loop.close()

    thread = threading.Thread(target=serve, name="cello-live-server", daemon=True)
    thread.start()
    ready.wait()
    try:
        if not failures:
            yield LiveServer(worker)
    finally:
        worker.stop_from_thread()
        thread.join()
    if failures:
        raise failures[0]
