"""The same answer as a raw RSGI application: Granian's own and fastest interface."""

from __future__ import annotations

from typing import Protocol

import msgspec

encode = msgspec.json.Encoder().encode


class Scope(Protocol):
    path: str
    query_string: str


class HttpProtocol(Protocol):
    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None: ...


async def app(scope: Scope, protocol: HttpProtocol) -> None:
    path = scope.path
    if path == "/json":
        value = scope.query_string.removeprefix("n=")
    else:
        value = path.removeprefix("/users/")
    body = encode({"message": "hello", "n": value})
    protocol.response_bytes(200, [("content-type", "application/json")], body)
