"""Compression of answers, by what the client takes (RFC 9110 8.4, 12.5.3).

A whole body of ``min_size`` octets and more is compressed at once, a large one in a thread, so that nobody
waits for it on the loop. A stream is compressed piece by piece, and every piece can be read as soon as it has
come. What would not gain, or must not be touched, is left alone: types that are compressed
already, ranges, answers that carry a coding, a digest of their octets or ``no-transform``.

Compressing secrets together with what an attacker chooses tells their length (BREACH): docs/compression.md.
"""

from __future__ import annotations

import asyncio
import logging
import os
from typing import Any

from ..checks import check_int
from ..negotiation import quality
from ..status import has_body
from ..threads import HandlerPool, PoolFull, call_soon
from ..types import Fields
from .codings import Coding, StreamEncoder, available

logger = logging.getLogger("cello")

MIN_SIZES = range(2**31)
OFF_LOOP_BYTES = 32768  # what takes longer to compress than a hop to a thread and back
MAX_THREADS = 4
IDLE_SECONDS = 5.0
MAX_REMEMBERED = 256
MAX_REMEMBERED_BYTES = 256

_COMPRESSIBLE = frozenset(
    (
        *("application/json", "application/javascript", "application/xml", "application/wasm"),
        *("application/x-ndjson", "application/jsonl", "application/graphql", "application/rtf"),
        *("application/x-javascript", "application/manifest+json", "application/vnd.ms-fontobject"),
        *("application/x-www-form-urlencoded", "application/yaml", "application/toml", "application/sql"),
        *("font/ttf", "font/otf", "font/collection", "image/svg+xml", "image/bmp", "image/x-icon"),
        "image/vnd.microsoft.icon",
    )
)
_VARY = (b"vary", b"Accept-Encoding")
_DIGESTS = (b"content-digest", b"repr-digest", b"digest", b"content-md5")
_UNTOUCHED = frozenset((b"content-encoding", b"content-range", *_DIGESTS))


class Compressor:
    """Compresses the answers of one running application.

    ``min_size`` is in bytes, of a body as the handler made it. Raises ConfigError.
    """

    def __init__(self, min_size: int = 1024, codings: list[Coding] | None = None) -> None:
        check_min_size(min_size)
        self.min_bytes = min_size
        self._codings = available() if codings is None else codings
        self._pool = HandlerPool(
            min(MAX_THREADS, os.cpu_count() or 1), idle_seconds=IDLE_SECONDS, name="cello-compressor"
        )
        self._choices: dict[bytes, Coding | None] = {}
        self._types: dict[bytes, bool] = {}

    # Whole answers.

    def respond(
        self, stream: Any, request: Any, status: int, fields: Fields, body: bytes, length: int
    ) -> None:
        """Answer through a FilteredStream; where the body is large, when a thread has compressed it."""
        fields, coding = self._prepare(request, status, fields)
        if coding is None:
            stream.pass_on(status, fields, body, length)
        elif not body:  # HEAD: RFC 9110 8.6 wants GET's length or none, and GET's is not known
            stream.pass_on(status, _as_encoded(fields, coding), body, -1)
        elif len(body) < OFF_LOOP_BYTES:
            self._pass_on(stream, status, fields, body, coding, _compressed(coding, body))
        else:
            self._respond_later(stream, status, fields, body, coding)

    def _respond_later(self, stream: Any, status: int, fields: Fields, body: bytes, coding: Coding) -> None:
        loop = asyncio.get_running_loop()
        stream.is_pending = True

        def answer(encoded: bytes) -> None:
            if not stream.is_gone():
                self._pass_on(stream, status, fields, body, coding, encoded)

        def job() -> None:
            call_soon(loop, answer, _compressed(coding, body))

        try:
            self._pool.submit(job, is_refusable=True)
        except PoolFull:
            stream.pass_on(status, fields, body, len(body))

    def _pass_on(
        self, stream: Any, status: int, fields: Fields, body: bytes, coding: Coding, encoded: bytes
    ) -> None:
        if len(encoded) < len(body):
            stream.pass_on(status, _as_encoded(fields, coding), encoded, len(encoded))
        else:
            stream.pass_on(status, fields, body, len(body))

    # Streams.

    def begin(
        self, request: Any, status: int, fields: Fields, length: int, has_body: bool
    ) -> tuple[Fields, int, _Encoder | None]:
        """Return fields and length of a streamed answer, and what its pieces go through, None for nothing.

        ``length`` is the one that the handler declared, or -1.
        """
        if 0 <= length < self.min_bytes:
            return fields, length, None
        fields, coding = self._prepare(request, status, fields)
        if coding is None:
            return fields, length, None
        encoder = _Encoder(coding.new_stream(), self._pool) if has_body else None
        return _as_encoded(fields, coding), -1, encoder

    # What is compressed, and how.

    def _prepare(self, request: Any, status: int, fields: Fields) -> tuple[Fields, Coding | None]:
        """Return the fields with what caches must know, and the coding to use; None for none."""
        if status == 304:  # RFC 9110 15.4.5: with the Vary that the 200 has
            return [*fields, _VARY], None
        if status == 206 or not has_body(status) or not self._may_be_encoded(fields):
            return fields, None
        return [*fields, _VARY], self.choose(request.raw_field(b"accept-encoding"))

    def _may_be_encoded(self, fields: Fields) -> bool:
        is_compressible = False
        for name, value in fields:
            if name == b"content-type":
                is_compressible = self._is_compressible(value)
            elif name in _UNTOUCHED or (name == b"cache-control" and b"no-transform" in value.lower()):
                return False
        return is_compressible

    def _is_compressible(self, content_type: bytes) -> bool:
        found = self._types.get(content_type)
        if found is None:
            found = is_compressible(content_type.decode("latin-1"))
            if len(self._types) < MAX_REMEMBERED and len(content_type) <= MAX_REMEMBERED_BYTES:
                self._types[content_type] = found
        return found

    def choose(self, accepted: bytes | None) -> Coding | None:
        """Return the coding for an Accept-Encoding field, None for the body as it is.

        The client's q-values decide, then the order of the codings.
        """
        if accepted is None:  # RFC 9110 12.5.3 would allow any; what says nothing seldom takes one
            return None
        if accepted in self._choices:
            return self._choices[accepted]
        found = self._choose(accepted.decode("latin-1").lower())
        if len(self._choices) < MAX_REMEMBERED and len(accepted) <= MAX_REMEMBERED_BYTES:
            self._choices[accepted] = found
        return found

    def _choose(self, accepted: str) -> Coding | None:
        qualities: dict[str, float] = {}
        for item in accepted.split(","):
            name, *parameters = item.split(";")
            qualities[name.strip()] = quality(parameters)
        if "x-gzip" in qualities:  # RFC 9110 8.4.1.3
            qualities.setdefault("gzip", qualities["x-gzip"])
        others = qualities.get("*", 0.0)
        best, best_quality = None, qualities.get("identity", 0.0)
        for coding in self._codings:
            value = qualities.get(coding.name.decode(), others)
            if value > 0.0 and (value > best_quality or (best is None and value == best_quality)):
                best, best_quality = coding, value
        return best


class _Encoder:
    """Compresses the pieces of one stream."""

    def __init__(self, stream: StreamEncoder, pool: HandlerPool) -> None:
        self.encode = stream.encode
        self.finish = stream.finish
        self._pool = pool

    def is_quick(self, piece: bytes) -> bool:
        """Tell whether a piece may be compressed on the loop's thread."""
        return len(piece) < OFF_LOOP_BYTES

    async def encode_elsewhere(self, piece: bytes) -> bytes:
        """Compress a piece in a thread."""
        octets: bytes = await self._pool.run(self.encode, piece)
        return octets


def check_min_size(min_size: int) -> None:
    """Check ``min_size``; raises ConfigError."""
    check_int("enable_compression", "min_size", min_size, MIN_SIZES, " (bytes)")


def is_compressible(content_type: str) -> bool:
    """Tell whether bodies of a media type become smaller: text does, pictures and archives are already."""
    media_type = content_type.partition(";")[0].strip().lower()
    return (
        media_type.startswith("text/")
        or media_type in _COMPRESSIBLE
        or media_type.endswith(("+json", "+xml", "+text", "+yaml"))
    )


def _compressed(coding: Coding, body: bytes) -> bytes:
    try:
        return coding.compress(body)
    except Exception as exc:  # the boundary: no answer is lost to a library
        logger.error("compressing %d bytes failed: sent as they are", len(body), exc_info=exc)
        return body


def _as_encoded(fields: Fields, coding: Coding) -> Fields:
    """Return the fields of an answer whose body is compressed now.

    Its octets are others than those that a strong validator stands for (RFC 9110 8.8.1).
    """
    weakened = [
        (name, b"W/" + value) if name == b"etag" and not value.startswith(b"W/") else (name, value)
        for name, value in fields
        if name != b"accept-ranges"
    ]
    return [*weakened, (b"content-encoding", coding.name)]
