"""The adapters of Cello behind one small client.

So a behaviour is written down once and holds on all of them. ``serving("h1", app)`` gives a Client of the
application as that adapter serves it. The octets of the target are sent as they are given, redirects are not
followed and no cookies kept: what a test does not send is not sent.
"""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from cello.testing import AnswerBroken, TestClient, live_server

ADAPTERS = ("testclient", "h1", "h1-asyncio")

PATIENCE_SECONDS = 20.0

Pairs = Sequence[tuple[str, str]]
Content = bytes | Iterable[bytes] | None


class BrokenAnswerError(Exception):
    """The answer ended before it was whole, and its client could tell."""


@dataclass(frozen=True)
class Answer:
    """What came back: names of header fields are in lower case, in the order of the lines."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        """Return the values of all lines of a name."""
        return [value for each, value in self.headers if each == name]

    def get(self, name: str) -> str | None:
        """Return the value of the one line of a name, None where there is none."""
        values = self.all(name)
        assert len(values) <= 1, f"{name} came {len(values)} times: {values}"
        return values[0] if values else None

    @property
    def text(self) -> str:
        """The body as UTF-8 text."""
        return self.body.decode()

    def json(self) -> Any:
        """Return the body decoded from JSON."""
        return json.loads(self.body)


class Client(ABC):
    """A client of one running application.

    ``authority`` and ``address`` are what the application sees of it.
    """

    authority: str
    address: str

    @abstractmethod
    def request(self, method: str, target: str, headers: Pairs = (), content: Content = None) -> Answer:
        """Send a request and return its answer; raises BrokenAnswerError.

        ``content`` as bytes is sent with its length, as an iterable of pieces without one.
        """

    def get(self, target: str, headers: Pairs = ()) -> Answer:
        """Send GET."""
        return self.request("GET", target, headers)

    def head(self, target: str, headers: Pairs = ()) -> Answer:
        """Send HEAD."""
        return self.request("HEAD", target, headers)

    def post(self, target: str, content: Content = None, headers: Pairs = ()) -> Answer:
        """Send POST."""
        return self.request("POST", target, headers, content)


class MemoryClient(Client):
    """A Client over cello.testing.TestClient: no sockets, no octets."""

    address = "testclient"

    def __init__(self, client: TestClient) -> None:
        self._client = client
        self.authority = "testserver"

    def request(self, method: str, target: str, headers: Pairs = (), content: Content = None) -> Answer:
        self._client.cookies.clear()
        pieces = content if content is None or isinstance(content, bytes) else iter(content)
        try:
            found = self._client.request(method, target, headers=headers, content=pieces)
        except AnswerBroken as exc:
            raise BrokenAnswerError(str(exc)) from exc
        return Answer(found.status_code, found.headers.items(), found.content)


class SocketClient(Client):
    """A Client over httpx and a real socket."""

    address = "127.0.0.1"

    def __init__(self, client: httpx.Client, authority: str) -> None:
        self._client = client
        self.authority = authority

    def request(self, method: str, target: str, headers: Pairs = (), content: Content = None) -> Answer:
        extensions = {"target": target.encode("ascii")}
        self._client.cookies.clear()
        try:
            with self._client.stream(
                method, "/", headers=list(headers), content=content, extensions=extensions
            ) as found:
                body = b"".join(found.iter_raw())
        except (httpx.RemoteProtocolError, httpx.ReadError) as exc:
            raise BrokenAnswerError(str(exc)) from exc
        fields = [(name.decode().lower(), value.decode("latin-1")) for name, value in found.headers.raw]
        return Answer(found.status_code, fields, body)


@contextmanager
def _in_memory(app: Any, **options: Any) -> Iterator[MemoryClient]:
    options.pop("logs")
    with TestClient(app, **options) as client:
        yield MemoryClient(client)


@contextmanager
def _over_h1(app: Any, **options: Any) -> Iterator[SocketClient]:
    with (
        live_server(app, **options) as server,
        httpx.Client(base_url=server.url, timeout=PATIENCE_SECONDS, trust_env=False, verify=False) as client,
    ):
        del client.headers["accept-encoding"]
        yield SocketClient(client, f"{server.host}:{server.port}")


@contextmanager
def _over_h1_asyncio(app: Any, **options: Any) -> Iterator[SocketClient]:
    """Serve on asyncio's own loop, as where uvloop is not installed.

    Its transports differ from uvloop's in many small ways.
    """
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("cello.testing.new_event_loop", asyncio.new_event_loop)
        with _over_h1(app, **options) as client:
            yield client


_SERVINGS: dict[str, Callable[..., Any]] = {
    "testclient": _in_memory,
    "h1": _over_h1,
    "h1-asyncio": _over_h1_asyncio,
}


def serving(adapter: str, app: Any, **options: Any) -> Any:
    """Return a context manager that serves an application and gives its Client.

    ``options`` are run()'s; unlike there, the environment is production unless they say so.
    """
    return _SERVINGS[adapter](app, **{"env": "production", "logs": False, **options})
