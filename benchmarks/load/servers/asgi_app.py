"""The same answer as a raw ASGI application, without any framework."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec

Message = MutableMapping[str, Any]

encode = msgspec.json.Encoder().encode


async def app(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])  # ASGI: what a server takes as "no lifespan"
    path: str = scope["path"]
    if path == "/json":
        value = scope["query_string"].decode().removeprefix("n=")
    else:
        value = path.removeprefix("/users/")
    body = encode({"message": "hello", "n": value})
    fields = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    await send({"type": "http.response.body", "body": body})
