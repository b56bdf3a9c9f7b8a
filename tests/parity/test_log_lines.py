"""The lines of the request log: both twins make the same octets of the same entries."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

SUBJECT = "log_lines"

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
ids = st.text("aZ09-._~+/=:@", max_size=20).map(str.encode)
routes = st.one_of(st.none(), texts.map(lambda template: SimpleNamespace(template=template)))
entries = st.tuples(
    st.floats(0, 1e9), st.floats(0, 1e5), texts, texts, st.binary(max_size=60), st.integers(100, 599),
    st.integers(0, 2**50), routes, st.sampled_from(["1.0", "1.1", "2", "3"]), ids,
)  # fmt: skip
batches = st.lists(st.lists(entries, max_size=4), max_size=3)


def taken(module, batch, offset, *settings):
    """Return what each part of a batch made."""
    lines = module.LogLines(*settings)
    found = []
    for part in batch:
        lines.wall_offset = offset
        for entry in part:
            lines.add(*entry)
        found.append(lines.take())
    return found


@given(batch=batches, offset=st.floats(0, 2e9), is_coloured=st.booleans())
def test_twins_agree_on_text(twins, batch, offset, is_coloured):
    pure, compiled = (taken(module, batch, offset, False, is_coloured, 1) for module in twins)
    assert compiled == pure
    assert all(text.count(b"\n") >= len(part) for text, part in zip(pure, batch, strict=True))


@given(batch=batches, offset=st.floats(0, 2e9), worker=st.integers(0, 2**31))
def test_twins_agree_on_json_that_can_be_read(twins, batch, offset, worker):
    pure, compiled = (taken(module, batch, offset, True, False, worker) for module in twins)
    assert compiled == pure
    for text, part in zip(pure, batch, strict=True):
        lines = text.decode().split("\n")
        assert len(lines) == len(part) + 1
        for line, entry in zip(lines, part, strict=False):
            read = json.loads(line)
            shown = [read[name] for name in ("client", "method", "status", "bytes", "worker")]
            assert shown == [entry[2], entry[3], entry[5], entry[6], worker]
            assert read["route"] == (entry[7].template if entry[7] is not None else None)
            assert read["request_id"] == entry[9].decode()


@given(octets=st.binary())
def test_twins_agree_on_escapes(twins, octets):
    pure, compiled = (module.escape(octets) for module in twins)
    assert compiled == pure
    assert pure.isascii()
    assert pure.isprintable()
    assert " " not in pure


@pytest.mark.parametrize("size", [2047, 2048, 2049, 100_000])
@pytest.mark.parametrize("octet", [b"x", b"\xff"])
def test_long_targets_are_cut(twins, size, octet):
    entry = (0.0, 0.0, "-", "GET", b"/" + octet * (size - 1), 200, 0, None, "1.1", b"-")
    for is_json in (False, True):
        pure, compiled = (taken(module, [[entry]], 0.0, is_json, False, 1) for module in twins)
        assert compiled == pure
        assert len(pure[0]) < 5 * 2048 + 200


def test_many_lines_fit(twins):
    entry = (0.0, 0.0, "-", "GET", b"/" + b"\xff" * 500, 200, 0, None, "1.1", b"-")
    pure, compiled = (taken(module, [[entry] * 2000], 0.0, True, False, 1) for module in twins)
    assert compiled == pure
