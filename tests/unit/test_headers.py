"""ResponseHeaders: a case-insensitive mapping in which only what HTTP can carry fits."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cello.errors import ResponseError
from cello.headers import Headers, ResponseHeaders

NAMES = st.sampled_from(["A", "a", "B-c", "b-C", "Set-Cookie", "x"])
VALUES = st.sampled_from(["1", "2", "3"])
PAIRS = st.lists(st.tuples(NAMES, VALUES), max_size=6)


def lines(*pairs: tuple[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in pairs]


# --- making ---


@pytest.mark.parametrize(
    ("init", "expected"),
    [
        (None, []),
        ({}, []),
        ([], []),
        ({"Content-Type": "text/html", "X": 1}, lines(("content-type", "text/html"), ("x", "1"))),
        ([("Set-Cookie", "a=1"), ["SET-COOKIE", "b=2"]], lines(("set-cookie", "a=1"), ("set-cookie", "b=2"))),
        (iter([("a", "1")]), lines(("a", "1"))),
        ({"a": "1"}.items(), lines(("a", "1"))),
        (Headers(lines(("a", "1"), ("a", "2"))), lines(("a", "1"), ("a", "2"))),
        (ResponseHeaders([("a", "1"), ("a", "2")]), lines(("a", "1"), ("a", "2"))),
    ],
)
def test_init(init, expected):
    assert ResponseHeaders(init).raw == expected


def test_init_copies():
    first = ResponseHeaders({"a": "1"})
    second = ResponseHeaders(first)
    second["a"] = "2"
    assert first["a"] == "1"


@pytest.mark.parametrize("init", ["ab", b"ab", 7, True])
def test_init_refuses_what_is_no_mapping(init):
    with pytest.raises(ResponseError) as caught:
        ResponseHeaders(init)
    assert str(caught.value) == f"headers: expected a mapping or (name, value) pairs, got {init!r}"


@pytest.mark.parametrize("pair", ["ab", ("a",), ("a", "b", "c"), None, 1, {"a": "b", "c": "d"}])
def test_init_refuses_what_is_no_pair(pair):
    with pytest.raises(ResponseError) as caught:
        ResponseHeaders([("x", "y"), pair])
    assert str(caught.value) == f"headers: expected a (name, value) pair, got {pair!r}"


# --- names and values ---


@pytest.mark.parametrize(
    ("value", "octets"),
    [
        ("", b""),
        ("a b\tc", b"a b\tc"),
        (" \t a \t", b"a"),
        ("J\xf6rg\xff", b"J\xf6rg\xff"),
        ("\xa0x\xa0", b"\xa0x\xa0"),
        (0, b"0"),
        (-12, b"-12"),
        (2**70, b"1180591620717411303424"),
        (HTTPStatus.OK, b"200"),
    ],
)
def test_values(value, octets):
    headers = ResponseHeaders()
    headers["X-A"] = value
    assert headers.raw == [(b"x-a", octets)]


@pytest.mark.parametrize(
    "name", ["", "a b", "a:", ":status", "a\r\nb", "a\0", "h\xf6st", "\u212aey", "a\n", b"a", None, 1]
)
def test_names_that_are_no_tokens(name):
    headers = ResponseHeaders()
    with pytest.raises(ResponseError) as caught:
        headers[name] = "x"
    token = "a token of ASCII letters, digits and !#$%&'*+-.^_`|~ (RFC 9110 5.6.2)"
    assert str(caught.value) == f"header name: got {name!r}, expected {token}"
    with pytest.raises(ResponseError):
        headers.append(name, "x")
    assert headers.raw == []


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a\rb", "no control characters such as CR, LF or NUL"),
        ("a\nb", "no control characters such as CR, LF or NUL"),
        ("a\r\nset-cookie: x=y", "no control characters such as CR, LF or NUL"),
        ("a\r\n", "no control characters such as CR, LF or NUL"),
        ("\na", "no control characters such as CR, LF or NUL"),
        ("a\0", "no control characters such as CR, LF or NUL"),
        ("\x1b[0m", "no control characters such as CR, LF or NUL"),
        ("\x7f", "no control characters such as CR, LF or NUL"),
        ("5 \u20ac", "characters of Latin-1 only"),
        ("\udc80", "characters of Latin-1 only"),
        ("\u560a", "characters of Latin-1 only"),  # cut to eight bits it would be LF
        (None, "a str or an int"),
        (True, "a str or an int"),
        (1.5, "a str or an int"),
        (b"a", "a str or an int"),
        (["a", "b"], "a str or an int"),
    ],
)
def test_values_that_http_cannot_carry(value, expected):
    headers = ResponseHeaders({"X-A": "kept"})
    for change in (headers.__setitem__, headers.append):
        with pytest.raises(ResponseError) as caught:
            change("X-A", value)
        assert str(caught.value) == f"header 'X-A': got {value!r}, expected {expected}"
    with pytest.raises(ResponseError):
        headers.setdefault("X-B", value)
    assert headers.raw == [(b"x-a", b"kept")]


def test_messages_are_short():
    headers = ResponseHeaders()
    for name, value in [("a", "\n" * 9999), ("\n" * 9999, "a"), ("n" * 9999, "\n" * 9999)]:
        with pytest.raises(ResponseError) as caught:
            headers[name] = value
        assert len(str(caught.value)) < 260


@pytest.mark.parametrize("name", ["transfer-encoding", "Transfer-Encoding", "TRANSFER-ENCODING"])
def test_the_server_alone_frames(name):
    headers = ResponseHeaders()
    expected = "the server frames answers; to stream, return a generator or Response.stream"
    with pytest.raises(ResponseError, match=rf"^header '{name}': got 'chunked', expected no .*{expected}"):
        headers[name] = "chunked"
    with pytest.raises(ResponseError, match=expected):
        headers.append(name, "chunked")
    with pytest.raises(ResponseError, match=expected):
        ResponseHeaders({name: "chunked"})
    assert headers.raw == []


@given(name=st.text(), value=st.text())
def test_only_what_is_fit_for_the_wire_gets_in(name, value):
    headers = ResponseHeaders()
    try:
        headers[name] = value
    except ResponseError:
        assert headers.raw == []
        return
    [(key, octets)] = headers.raw
    assert key == name.lower().encode("ascii") != b""
    assert octets == value.strip(" \t").encode("latin-1")
    assert not set(key) & set(b"\r\n\0 \t:")
    assert not set(octets) & set(b"\r\n\0")


# --- changing ---


def test_setting_replaces_all_lines_in_place_of_the_first():
    headers = ResponseHeaders([("a", "1"), ("b", "2"), ("A", "3"), ("c", "4")])
    headers["A"] = "5"
    assert headers.raw == lines(("a", "5"), ("b", "2"), ("c", "4"))


def test_append_adds_a_line():
    headers = ResponseHeaders({"Set-Cookie": "a=1", "x": "y"})
    headers.append("SET-cookie", "b=2")
    assert headers.raw == lines(("set-cookie", "a=1"), ("x", "y"), ("set-cookie", "b=2"))


def test_deleting_removes_all_lines():
    headers = ResponseHeaders([("a", "1"), ("b", "2"), ("a", "3")])
    raw = headers.raw
    del headers["A"]
    assert headers.raw == lines(("b", "2"))
    assert headers.raw is raw


@pytest.mark.parametrize("name", ["absent", "", "h\xf6st", 1, b"a", None])
def test_deleting_what_is_absent(name):
    headers = ResponseHeaders({"a": "1"})
    with pytest.raises(KeyError) as caught:
        del headers[name]
    assert caught.value.args == (f"no field {name!r}",)
    assert headers.raw == lines(("a", "1"))


def test_setdefault():
    headers = ResponseHeaders({"a": "1"})
    assert headers.setdefault("A", "2") == "1"
    assert headers.setdefault("B", 2) == "2"
    assert headers.raw == lines(("a", "1"), ("b", "2"))


def test_pop():
    headers = ResponseHeaders([("a", "1"), ("b", "2"), ("a", "3")])
    assert headers.pop("A") == "1, 3"
    assert headers.raw == lines(("b", "2"))
    assert headers.pop("a", None) is None
    assert headers.pop("B", None) == "2"
    with pytest.raises(KeyError):
        headers.pop("a")


def test_update_replaces_a_name_by_all_its_lines():
    headers = ResponseHeaders([("a", "1"), ("set-cookie", "x=0"), ("b", "2"), ("set-cookie", "y=0")])
    headers.update([("Set-Cookie", "c=1"), ("Set-Cookie", "d=2"), ("n", "3")])
    assert headers.raw == lines(
        ("a", "1"), ("set-cookie", "c=1"), ("b", "2"), ("set-cookie", "d=2"), ("n", "3")
    )
    headers.update({"A": 7})
    assert headers["a"] == "7"


def test_update_is_all_or_nothing():
    headers = ResponseHeaders({"a": "1"})
    with pytest.raises(ResponseError):
        headers.update({"a": "2", "b": "\n"})
    assert headers.raw == lines(("a", "1"))


@given(start=PAIRS, changes=PAIRS)
def test_changes_keep_what_they_do_not_name(start, changes):
    headers = ResponseHeaders(start)
    headers.update(changes)
    named = {name.lower() for name, _ in changes}
    kept = [(name.lower(), value) for name, value in start if name.lower() not in named]
    assert [item for item in headers.items() if item[0] not in named] == kept
    for name in named:
        assert headers.get_all(name) == [value for other, value in changes if other.lower() == name]


# --- reading ---


def test_reading():
    headers = ResponseHeaders(
        [("Vary", "Accept"), ("Set-Cookie", "a=1"), ("Vary", "Origin"), ("Set-Cookie", "b=2")]
    )
    assert headers["VARY"] == headers.get("vary") == "Accept, Origin"
    assert headers.get_all("set-cookie") == ["a=1", "b=2"]
    assert headers.get("set-cookie") == "a=1"
    assert headers.get("absent") is None
    assert headers.get("absent", "x") == "x"
    assert list(headers) == headers.keys() == ["vary", "set-cookie"]
    assert len(headers) == 2
    assert headers.items() == [
        ("vary", "Accept"),
        ("set-cookie", "a=1"),
        ("vary", "Origin"),
        ("set-cookie", "b=2"),
    ]
    assert headers.values() == ["Accept", "a=1", "Origin", "b=2"]
    assert dict(headers) == {"vary": "Accept, Origin", "set-cookie": "a=1"}
    assert "Vary" in headers
    assert "absent" not in headers
    assert None not in headers
    with pytest.raises(KeyError, match="no field 'absent'"):
        headers["absent"]


def test_equality():
    headers = ResponseHeaders([("A", "1"), ("B", "2")])
    assert headers == ResponseHeaders({"b": "2", "a": "1"})
    assert headers != ResponseHeaders({"a": "1"})
    assert headers != {"a": "1", "b": "2"}
    with pytest.raises(TypeError, match="unhashable"):
        hash(headers)


def test_repr_masks_credentials():
    headers = ResponseHeaders({"Set-Cookie": "session=s3cret", "Authorization": "s3cret", "Vary": "Accept"})
    assert repr(headers) == (
        "ResponseHeaders([('set-cookie', '***'), ('authorization', '***'), ('vary', 'Accept')])"
    )


@pytest.mark.parametrize("headers", [Headers([]), ResponseHeaders()])
def test_are_mappings(headers):
    assert isinstance(headers, Mapping)
