"""cello.forms: queries, URL-encoded bodies and the values that both become."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import MultiDict

from cello.errors import HTTPError
from cello.forms import MAX_FIELDS, QueryParams, parse_query, parse_urlencoded

text = st.text(st.characters(exclude_categories=["Cs"]))

both = pytest.mark.parametrize("parse", [parse_query, parse_urlencoded])


@both
@pytest.mark.parametrize(
    ("raw", "fields"),
    [
        (b"", []),
        (b"a=1", [("a", "1")]),
        (b"a=1&b=2&a=3", [("a", "1"), ("b", "2"), ("a", "3")]),
        (b"q=hello+world%21&x=%2B", [("q", "hello world!"), ("x", "+")]),
        (b"a", [("a", "")]),
        (b"a=&b", [("a", ""), ("b", "")]),
        (b"=1", [("", "1")]),
        (b"&&a=1&&", [("a", "1")]),
        (b"a=b=c", [("a", "b=c")]),
        (b"a=1;b=2", [("a", "1;b=2")]),
        (b"%C3%A9=%E2%82%AC", [("\u00e9", "\u20ac")]),
        ("\u00e9=\u20ac".encode(), [("\u00e9", "\u20ac")]),
        (b"a=%FF&b=%C3", [("a", "\ufffd"), ("b", "\ufffd")]),
        (b"a=\xff", [("a", "\ufffd")]),
        (b"a=%ED%A0%80", [("a", "\ufffd\ufffd\ufffd")]),
        (b"a=%zz&b=%4&c=100%", [("a", "%zz"), ("b", "%4"), ("c", "100%")]),
        (b"a=%00%0D%0A", [("a", "\0\r\n")]),
        (b"a%26b%3D=%26%3D", [("a&b=", "&=")]),
    ],
)
def test_parsing(parse: Any, raw: bytes, fields: list[tuple[str, str]]) -> None:
    assert parse(raw).items() == fields


@given(st.lists(st.tuples(text, text), max_size=20))
def test_what_is_encoded_comes_back(fields: list[tuple[str, str]]) -> None:
    assert parse_query(urlencode(fields).encode()).items() == fields


@given(st.binary())
def test_any_octets_parse_to_text_that_utf8_can_hold(raw: bytes) -> None:
    for name, value in parse_urlencoded(raw).items():
        (name + value).encode()


@both
@pytest.mark.parametrize("piece", [b"a=1", b""])
def test_the_count_is_bounded(parse: Any, piece: bytes) -> None:
    assert len(parse(b"&".join([b"a=1"] * MAX_FIELDS)).items()) == MAX_FIELDS
    with pytest.raises(HTTPError, match="more than 1000 fields") as caught:
        parse(b"&".join([piece] * (MAX_FIELDS + 1)))
    assert caught.value.status == 400


def test_reading_like_a_dict() -> None:
    query = parse_query(b"tag=x&page=2&tag=y")
    assert query["tag"] == "x"
    assert query.get("tag") == "x"
    assert query.get("missing") is None
    assert query.get("missing", 5) == 5
    assert "page" in query
    assert "Page" not in query
    assert 5 not in query
    assert len(query) == 2
    assert list(query) == query.keys() == ["tag", "page"]
    assert query.values() == ["x", "2", "y"]
    assert query.items() == [("tag", "x"), ("page", "2"), ("tag", "y")]
    assert dict(query) == {"tag": "x", "page": "2"}
    assert bool(query)
    assert not parse_query(b"")
    with pytest.raises(KeyError):
        query["missing"]


def test_reading_all_values_of_a_name() -> None:
    query = parse_query(b"tag=x&page=2&tag=y")
    assert query.get_all("tag") == query.getall("tag") == ["x", "y"]
    assert query.get_all("missing") == []
    assert query.getall("missing", None) is None
    with pytest.raises(KeyError):
        query.getall("missing")


def test_a_list_of_values_is_the_callers_own() -> None:
    query = parse_query(b"a=1")
    query.get_all("a").append("2")
    query.get_all("missing").append("2")
    assert query.get_all("a") == ["1"]
    assert query.get_all("missing") == []


def test_it_cannot_be_changed() -> None:
    query = parse_query(b"a=1")
    with pytest.raises(TypeError):
        query["a"] = "2"  # type: ignore[index]
    with pytest.raises(TypeError):
        del query["a"]  # type: ignore[attr-defined]
    with pytest.raises(TypeError):
        hash(query)


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), text), max_size=20))
def test_few_and_many_fields_read_the_same(fields: list[tuple[str, str]]) -> None:
    expected = MultiDict(fields)
    query = parse_query(urlencode(fields).encode())
    made = QueryParams(fields)
    assert query.items() == made.items() == fields
    for name in "abcdefghi":
        assert (name in query) is (name in made) is (name in expected)
        assert query.get(name) == made.get(name) == expected.get(name)
        assert query.get(name, 5) == expected.get(name, 5)
        assert query.get_all(name) == made.get_all(name) == expected.getall(name, [])
        if name in expected:
            assert query[name] == made[name] == expected[name]
            assert query.getall(name) == expected.getall(name)


@pytest.mark.parametrize("count", [1, 8, 9, 100])
def test_missing_and_impossible_names_at_all_sizes(count: int) -> None:
    query = parse_query(b"&".join(b"n%d=%d" % (number, number) for number in range(count)))
    assert query[f"n{count - 1}"] == str(count - 1)
    assert query.get("missing") is None
    with pytest.raises(KeyError, match="missing"):
        query["missing"]
    wrong: Any = b"n0"
    assert wrong not in query
    with pytest.raises(TypeError):
        query[wrong]
    with pytest.raises(TypeError):
        query.get(wrong)


def test_what_it_was_made_of_stays_the_callers() -> None:
    fields = [("a", "1")]
    query = QueryParams(fields)
    fields.append(("b", "2"))
    query.items().append(("c", "3"))
    assert query.items() == [("a", "1")]
    assert "b" not in query


@pytest.mark.parametrize("wrong", [None, [("a", "1", "2")], [(1, "a")]])
def test_it_is_made_of_pairs_of_text(wrong: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        QueryParams(wrong)


def test_equality() -> None:
    query = parse_query(b"a=1&b=2")
    assert query == QueryParams([("a", "1"), ("b", "2")])
    assert query == {"a": "1", "b": "2"}
    assert query == QueryParams(MultiDict(a="1", b="2"))
    assert query != QueryParams([("b", "2"), ("a", "1")])
    assert query != parse_query(b"a=1&b=2&b=3")
    assert parse_query(b"a=1&a=2") != {"a": "1"}
    assert query != [("a", "1"), ("b", "2")]


def test_repr_can_be_evaluated() -> None:
    query = parse_query(b"a=1&a=2")
    assert repr(query) == "QueryParams([('a', '1'), ('a', '2')])"
    assert eval(repr(query)) == query
