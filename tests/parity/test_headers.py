"""The fields of a request: one source compiled twice, both behave as the same mapping."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

SUBJECT = "headers"

RAW = [
    (b"host", b"example.com"),
    (b"accept", b"text/html"),
    (b"cookie", b"a=1"),
    (b"accept", b"*/*"),
    (b"cookie", b"b=2"),
    (b"x-name", b"J\xf6rg"),
    (b"x-empty", b""),
    (b"set-cookie", b"c=3"),
    (b"set-cookie", b"d=4"),
]

NAMES = st.sampled_from([b"host", b"accept", b"cookie", b"set-cookie", b"authorization", b"x-a", b"!"])
RAWS = st.lists(st.tuples(NAMES, st.binary(max_size=6)), max_size=10)
LOOKUPS = st.one_of(NAMES.map(lambda name: name.decode().title()), st.text(max_size=6))


def everything(headers, name):
    """All that reading shows of headers, for comparison."""
    return (
        headers.get(name),
        headers.get(name, "default"),
        headers.get_all(name),
        name in headers,
        list(headers),
        headers.keys(),
        headers.values(),
        headers.items(),
        len(headers),
        dict(headers),
        repr(headers),
        headers.raw,
    )


@given(raw=RAWS, name=LOOKUPS)
def test_twins_agree(twins, raw, name):
    pure, compiled = (module.Headers(raw) for module in twins)
    assert everything(compiled, name) == everything(pure, name)


@given(one=RAWS, other=RAWS)
def test_twins_agree_on_equality(twins, one, other):
    pure, compiled = (module.Headers(one) == module.Headers(other) for module in twins)
    assert compiled is pure


@given(raw=RAWS, name=NAMES)
def test_reading_tells_what_the_lines_say(twin, raw, name):
    headers = twin.Headers(raw)
    values = [value.decode("latin-1") for key, value in raw if key == name]
    text = name.decode()
    assert headers.get_all(text.upper()) == values
    assert (text.upper() in headers) is bool(values)
    assert len(headers) == len(headers.keys()) == len({key for key, _ in raw})
    assert list(zip(headers.keys(), dict(headers).values(), strict=True)) == [
        (key, headers[key]) for key in headers
    ]
    assert headers.items() == [(key.decode(), value.decode("latin-1")) for key, value in raw]
    assert headers.values() == [value for _, value in headers.items()]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("host", "example.com"),
        ("Host", "example.com"),
        ("HOST", "example.com"),
        ("accept", "text/html, */*"),  # RFC 9110 5.3
        ("Cookie", "a=1; b=2"),  # RFC 9113 8.2.3
        ("set-cookie", "c=3"),  # RFC 9110 5.3: cannot be joined
        ("x-name", "J\xf6rg"),
        ("x-empty", ""),
    ],
)
def test_value_of_a_name(twin, name, expected):
    headers = twin.Headers(RAW)
    assert headers.get(name) == expected
    assert headers[name] == expected
    assert name in headers


@pytest.mark.parametrize("name", ["hos", "host ", "", "h\xf6st", "\u212aey", "ho\u017ft", "\udc80", "host\0"])
def test_absent_names(twin, name):
    headers = twin.Headers([*RAW, (b"key", b"k")])
    assert headers.get(name) is None
    assert headers.get(name, "default") == "default"
    assert headers.get_all(name) == []
    assert name not in headers
    with pytest.raises(KeyError) as caught:
        headers[name]
    assert caught.value.args == (f"no field {name!r}",)


@pytest.mark.parametrize("name", [b"host", None, 1, ("host",), []])
def test_names_that_are_no_text(twin, name):
    headers = twin.Headers(RAW)
    assert name not in headers
    for read in (headers.get, headers.get_all, headers.__getitem__):
        with pytest.raises(TypeError, match=f"^expected a field name as str, got {type(name).__name__}$"):
            read(name)


def test_get_all_keeps_lines_apart(twin):
    headers = twin.Headers(RAW)
    assert headers.get_all("Accept") == ["text/html", "*/*"]
    assert headers.get_all("SET-COOKIE") == ["c=3", "d=4"]


def test_names_are_unique_and_lines_are_not(twin):
    headers = twin.Headers(RAW)
    names = ["host", "accept", "cookie", "x-name", "x-empty", "set-cookie"]
    assert list(headers) == names
    assert headers.keys() == names
    assert len(headers) == 6
    assert headers.items()[1] == ("accept", "text/html")
    assert len(headers.items()) == len(headers.values()) == 9
    assert dict(headers)["accept"] == "text/html, */*"


def test_no_fields(twin):
    headers = twin.Headers([])
    assert not headers
    assert list(headers) == headers.keys() == headers.values() == headers.items() == []
    assert repr(headers) == "Headers([])"


def test_making_one_reads_nothing(twin):
    raw = [None]
    headers = twin.Headers(raw)
    assert headers.raw is raw
    with pytest.raises(TypeError):
        headers.get("host")


@pytest.mark.parametrize("wrong", [None, (), {}, "text"])
def test_raw_is_a_list(twin, wrong):
    with pytest.raises(TypeError, match=f"^expected fields as a list, got {type(wrong).__name__}$"):
        twin.Headers(wrong)


def test_equality_ignores_the_order_of_different_names(twin):
    headers = twin.Headers([(b"a", b"1"), (b"b", b"2"), (b"a", b"3")])
    assert headers == twin.Headers([(b"b", b"2"), (b"a", b"1"), (b"a", b"3")])
    assert headers != twin.Headers([(b"a", b"3"), (b"b", b"2"), (b"a", b"1")])
    assert headers != twin.Headers([(b"a", b"1"), (b"b", b"2")])
    assert headers != [(b"a", b"1"), (b"b", b"2"), (b"a", b"3")]
    assert headers != {"a": "1, 3", "b": "2"}


def test_read_only(twin):
    headers = twin.Headers(RAW)
    for name in ("raw", "other"):
        with pytest.raises(AttributeError):
            setattr(headers, name, [])
    with pytest.raises(TypeError):
        headers["host"] = "other"
    with pytest.raises(TypeError):
        del headers["host"]
    with pytest.raises(TypeError, match="unhashable"):
        hash(headers)


def test_repr_masks_credentials(twin):
    secret = b"s3cret"
    raw = [(b"authorization", secret), (b"cookie", secret), (b"proxy-authorization", secret), (b"a", b"b")]
    assert repr(twin.Headers(raw)) == (
        "Headers([('authorization', '***'), ('cookie', '***'), ('proxy-authorization', '***'), ('a', 'b')])"
    )


def test_copies_are_equal(twin):
    headers = twin.Headers(RAW)
    assert copy.copy(headers) == headers
    assert copy.deepcopy(headers).raw is not headers.raw
    assert pickle.loads(pickle.dumps(headers)) == headers
