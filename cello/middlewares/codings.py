"""Content codings (RFC 9110 8.4.1): gzip always, br and zstd where their libraries are installed.

A ``Coding`` compresses whole bodies, and makes encoders for streams, each piece of which can be decoded as
soon as it has come. The levels are those where a server that makes its answers anew gains most: doubling the
time from there saves a few hundredths of the octets.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any, Protocol

GZIP_LEVEL = 5
ISAL_LEVEL = 2
BROTLI_QUALITY = 4
ZSTD_LEVEL = 3  # its window of 2 MiB is below the 8 MiB that clients must take (RFC 9659)

_GZIP_BITS = 31  # zlib's number for: a window of 32 KiB, in gzip's format (RFC 1952)


class StreamEncoder(Protocol):
    """Compresses one stream."""

    def encode(self, piece: bytes) -> bytes:
        """Compress a piece; the decoder has all of it once it has these octets."""

    def finish(self) -> bytes:
        """Return what ends the stream."""


class Coding:
    """One content coding: its name on the wire and what compresses."""

    def __init__(
        self, name: str, compress: Callable[[bytes], bytes], new_stream: Callable[[], StreamEncoder]
    ) -> None:
        self.name = name.encode()
        self.compress = compress
        self.new_stream = new_stream


class _ZlibStream:
    """gzip, by zlib or by isal, which has the same interface."""

    def __init__(self, module: Any, level: int) -> None:
        self._encoder = module.compressobj(level, zlib.DEFLATED, _GZIP_BITS)
        self._sync = module.Z_SYNC_FLUSH

    def encode(self, piece: bytes) -> bytes:
        octets: bytes = self._encoder.compress(piece)
        flushed: bytes = self._encoder.flush(self._sync)
        return octets + flushed

    def finish(self) -> bytes:
        octets: bytes = self._encoder.flush()
        return octets


def _gzip() -> Coding:
    try:
        from isal import isal_zlib
    except ImportError:
        return Coding(
            "gzip",
            lambda body: zlib.compress(body, GZIP_LEVEL, _GZIP_BITS),
            lambda: _ZlibStream(zlib, GZIP_LEVEL),
        )
    return Coding(
        "gzip",
        lambda body: bytes(isal_zlib.compress(body, ISAL_LEVEL, _GZIP_BITS)),
        lambda: _ZlibStream(isal_zlib, ISAL_LEVEL),
    )


class _BrotliStream:
    def __init__(self, module: Any) -> None:
        self._encoder = module.Compressor(quality=BROTLI_QUALITY)

    def encode(self, piece: bytes) -> bytes:
        return bytes(self._encoder.process(piece) + self._encoder.flush())

    def finish(self) -> bytes:
        return bytes(self._encoder.finish())


def _brotli() -> Coding | None:
    try:
        import brotli
    except ImportError:
        return None
    return Coding(
        "br",
        lambda body: bytes(brotli.compress(body, quality=BROTLI_QUALITY)),
        lambda: _BrotliStream(brotli),
    )


class _StandardZstdStream:
    """zstd by the standard library, which has it from Python 3.14 on."""

    def __init__(self, zstd: Any) -> None:
        self._encoder = zstd.ZstdCompressor(ZSTD_LEVEL)

    def encode(self, piece: bytes) -> bytes:
        return bytes(self._encoder.compress(piece, self._encoder.FLUSH_BLOCK))

    def finish(self) -> bytes:
        return bytes(self._encoder.flush())


class _ZstandardStream:
    """zstd by the zstandard package."""

    def __init__(self, zstandard: Any) -> None:
        self._encoder = zstandard.ZstdCompressor(level=ZSTD_LEVEL).compressobj()
        self._block = zstandard.COMPRESSOBJ_FLUSH_BLOCK

    def encode(self, piece: bytes) -> bytes:
        return bytes(self._encoder.compress(piece) + self._encoder.flush(self._block))

    def finish(self) -> bytes:
        return bytes(self._encoder.flush())


def _zstd() -> Coding | None:
    try:
        from compression import zstd
    except ImportError:
        try:
            import zstandard
        except ImportError:
            return None
        # A compressor of its own for each body: one object must not be used by two threads at a time.
        return Coding(
            "zstd",
            lambda body: zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(body),
            lambda: _ZstandardStream(zstandard),
        )
    return Coding(
        "zstd", lambda body: bytes(zstd.compress(body, ZSTD_LEVEL)), lambda: _StandardZstdStream(zstd)
    )


def available() -> list[Coding]:
    """Return the codings of this installation, the one to be preferred first."""
    return [coding for coding in (_zstd(), _brotli(), _gzip()) if coding is not None]
