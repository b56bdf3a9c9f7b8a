"""What is done to every answer on its way out: the stream of an exchange with the built-in filters in it.

The dispatch core answers through a ``Stream`` whatever happens: a handler's result, an error, a refusal.
Where an application has built-ins that look at answers (CORS, compression, request ids), the core is given a
``FilteredStream`` in place of the adapter's own, and no answer can miss them. An application without any pays
nothing.

PERF: here is what every answer costs; whoever has something to do with one is a Python object behind it,
handed in by cello/middlewares.
"""

from __future__ import annotations

from typing import Any

from .request_py import Request
from .stream_py import AnswerStream


class Filters:
    """The built-ins of one running application.

    ``cors`` gives the fields for an Origin (``fields_for``), ``common`` are those that all other answers get;
    ``compression`` takes bodies of ``min_bytes`` and more, and every stream. None is for what is not there.
    With ``has_request_ids`` every answer carries its request's.
    """

    __slots__ = ("common", "compression", "cors", "has_request_ids", "is_selective", "min_bytes")

    def __init__(self, cors: Any, compression: Any, has_request_ids: bool) -> None:
        self.cors = cors
        self.common: list[tuple[bytes, bytes]] = [] if cors is None else cors.common
        self.is_selective = cors is not None and bool(cors.is_selective)
        self.compression = compression
        self.min_bytes = -1 if compression is None else int(compression.min_bytes)
        self.has_request_ids = has_request_ids

    def names(self) -> list[str]:
        """Name what is there, from the outside in: an answer passes it in the other direction."""
        found = ["request ids"] if self.has_request_ids else []
        found += ["CORS"] if self.cors is not None else []
        return [*found, "compression"] if self.compression is not None else found


class FilteredStream(AnswerStream):
    """The stream of one exchange, with the filters between it and the adapter's.

    ``is_pending``: the answer has been given by the core, but has not left yet.
    """

    __slots__ = ("_encoder", "_filters", "_request", "_stream", "_waiting", "is_pending")

    def __init__(self, filters: Filters, request: Request, stream: Any) -> None:
        self._filters = filters
        self._request = request
        self._stream = stream
        self._encoder: Any = None
        self._waiting: bytes | None = None
        self.is_pending = False

    def respond(self, status: int, fields: list[tuple[bytes, bytes]], body: bytes, length: int) -> None:
        """Send a whole answer; see types.Stream."""
        if self._filters.min_bytes >= 0 and (length >= self._filters.min_bytes or status == 304):
            self._filters.compression.respond(self, self._request, status, fields, body, length)
        else:
            self.pass_on(status, fields, body, length)

    def pass_on(self, status: int, fields: list[tuple[bytes, bytes]], body: bytes, length: int) -> None:
        """Send a whole answer that is compressed, or will not be."""
        self.is_pending = False
        self._stream.respond(status, self._with_common(fields), body, length)

    def _with_common(self, fields: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        filters = self._filters
        request = self._request
        common = filters.common
        if filters.is_selective:
            origin = request.raw_field(b"origin")
            if origin is not None:
                common = filters.cors.fields_for(origin)
        is_named = not filters.has_request_ids
        for field in fields:  # a handler knows better
            if field[0] == b"access-control-allow-origin":
                common = []
            elif field[0] == b"x-request-id":
                is_named = True
        if is_named:
            return fields + common if common else fields
        return [*fields, *common, (b"x-request-id", request.request_id_octets())]

    # The other verbs: an answer that is streamed has time.

    def head(self, status: int, fields: list[tuple[bytes, bytes]], length: int, has_body: bool) -> None:
        """Send the head of a streamed answer; see types.Stream."""
        compression = self._filters.compression
        if compression is not None:
            fields, length, self._encoder = compression.begin(self._request, status, fields, length, has_body)
        self._stream.head(status, self._with_common(fields), length, has_body)

    def data(self, piece: bytes) -> None:
        """Send a piece; a large one that is to be compressed leaves with ``drain``."""
        if self._encoder is None:
            self._stream.data(piece)
        elif self._encoder.is_quick(piece):
            self._stream.data(self._encoder.encode(piece))
        else:
            self._waiting = piece

    async def drain(self) -> None:
        """Wait until the transport takes more; raises ClientDisconnected."""
        piece = self._waiting
        if piece is not None:
            self._waiting = None
            octets = await self._encoder.encode_elsewhere(piece)
            if self._is_cut_off():
                return
            self._stream.data(octets)
        await self._stream.drain()

    def end(self) -> None:
        """End a streamed answer."""
        if self._encoder is not None:
            self._stream.data(self._encoder.finish())
        self._stream.end()

    def _is_cut_off(self) -> bool:
        """Tell whether the exchange is over, and nothing may be sent for it any more."""
        exchange = self._request._exchange
        return exchange is not None and bool(exchange.is_done)

    def is_gone(self) -> bool:
        """Tell whether the client left while its answer was pending."""
        exchange = self._request._exchange
        return exchange is not None and bool(exchange.is_gone)

    def inform(self, status: int) -> None:
        """Send an interim answer."""
        self._stream.inform(status)

    def reset(self, reason: str) -> None:
        """Give up on an answer that has begun."""
        self._stream.reset(reason)

    def pause(self) -> None:
        """Stop reading the request's body."""
        self._stream.pause()

    def resume(self) -> None:
        """Read on."""
        self._stream.resume()

    def is_disconnected(self) -> bool:
        """Tell whether the client has left or ended its side."""
        return bool(self._stream.is_disconnected())
