"""Every coding against a decoder of another library's making, with each library there and not there."""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cello.middlewares.codings import available

brotli = pytest.importorskip("brotli")
zstandard = pytest.importorskip("zstandard")

Decode = Callable[[bytes], bytes]

WHOLE: dict[bytes, Decode] = {
    b"gzip": gzip.decompress,
    b"br": brotli.decompress,
    b"zstd": lambda body: zstandard.ZstdDecompressor().decompressobj().decompress(body),
}
DECODERS: dict[bytes, Callable[[], Decode]] = {
    b"gzip": lambda: zlib.decompressobj(31).decompress,
    b"br": lambda: brotli.Decompressor().process,
    b"zstd": lambda: zstandard.ZstdDecompressor().decompressobj().decompress,
}


def names() -> list[str]:
    return [coding.name.decode() for coding in available()]


@given(body=st.one_of(st.binary(), st.text("abc\n", min_size=200).map(str.encode)))
def test_whole_bodies(body: bytes) -> None:
    for coding in available():
        assert WHOLE[coding.name](coding.compress(body)) == body


@given(pieces=st.lists(st.one_of(st.binary(max_size=300), st.just(b"x" * 5000)), max_size=8))
def test_every_piece_of_a_stream_can_be_read_at_once(pieces: list[bytes]) -> None:
    for coding in available():
        decode, stream = DECODERS[coding.name](), coding.new_stream()
        octets = b""
        for piece in pieces:
            encoded = stream.encode(piece)
            octets += encoded
            assert decode(encoded) == piece, coding.name
        octets += stream.finish()
        assert WHOLE[coding.name](octets) == b"".join(pieces)


@pytest.mark.parametrize(
    ("missing", "left"),
    [
        ((), ["zstd", "br", "gzip"]),
        (("isal",), ["zstd", "br", "gzip"]),
        (("brotli",), ["zstd", "gzip"]),
        (("zstandard", "compression"), ["br", "gzip"]),
        (("isal", "brotli", "zstandard", "compression"), ["gzip"]),
    ],
)
def test_what_is_not_installed_is_done_without(
    missing: tuple[str, ...], left: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in missing:
        monkeypatch.setitem(sys.modules, name, None)
    assert names() == left
    body: Any = b"abc" * 1000
    for coding in available():
        assert WHOLE[coding.name](coding.compress(body)) == body
        stream = coding.new_stream()
        assert WHOLE[coding.name](stream.encode(body) + stream.finish()) == body
