"""cello.cookies against RFC 6265."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cello.cookies import MAX_COOKIES, parse_cookies, render_delete_cookie, render_set_cookie
from cello.errors import ResponseError

TOKEN = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
OCTETS = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '",;\\')

names = st.text(TOKEN, min_size=1).filter(lambda name: not name.lower().startswith(("__secure-", "__host-")))
values = st.text(OCTETS)


def attributes(line: str) -> list[str]:
    return line.split("; ")[1:]


@pytest.mark.parametrize(
    ("header", "cookies"),
    [
        ("", {}),
        ("a=1", {"a": "1"}),
        ("a=1; b=2", {"a": "1", "b": "2"}),
        ("a=1;b=2 ;\tc = 3", {"a": "1", "b": "2", "c": "3"}),
        ("a=1; a=2", {"a": "1"}),
        ("a=; b", {"a": ""}),
        ("=1; ; ;;b=2", {"b": "2"}),
        ("a=b=c==", {"a": "b=c=="}),
        ('a="1"; b=""; c="; d=x"', {"a": "1", "b": "", "c": '"', "d": 'x"'}),
        ('a=""x""', {"a": '"x"'}),
        ("a=%41+b", {"a": "%41+b"}),
        ("user[name]=x; \u00e9=\u00fc", {"user[name]": "x", "\u00e9": "\u00fc"}),
        ("A=1; a=2", {"A": "1", "a": "2"}),
        ("$Version=1; a=1; $Path=/", {"$Version": "1", "a": "1", "$Path": "/"}),
    ],
)
def test_reading(header: str, cookies: dict[str, str]) -> None:
    assert parse_cookies(header) == cookies


def test_only_space_and_tab_are_blanks() -> None:
    # A page on a sister domain may set "\xa0__Host-id", and must not thereby set "__Host-id".
    for blank in "\xa0\x85\x0b\x0c\x1c\u2003":
        assert parse_cookies(f"{blank}__Host-id=evil; __Host-id=good") == {
            f"{blank}__Host-id": "evil",
            "__Host-id": "good",
        }


def test_a_quote_does_not_swallow_the_cookies_behind_it() -> None:
    assert parse_cookies('a="x; session=secret; b=y"') == {"a": '"x', "session": "secret", "b": 'y"'}


def test_the_count_is_bounded() -> None:
    header = "; ".join(f"c{index}=x" for index in range(MAX_COOKIES + 5))
    cookies = parse_cookies(header)
    assert len(cookies) == MAX_COOKIES
    assert cookies[f"c{MAX_COOKIES - 1}"] == "x"
    assert parse_cookies(";" * 100_000 + "a=1") == {}


@given(st.text())
def test_any_text_is_read(header: str) -> None:
    for name, value in parse_cookies(header).items():
        assert name in header
        assert value in header


@given(st.dictionaries(names, values, max_size=5))
def test_what_is_set_comes_back(cookies: dict[str, str]) -> None:
    pairs = [render_set_cookie(name, value).split("; ")[0] for name, value in cookies.items()]
    assert parse_cookies("; ".join(pairs)) == cookies


def test_the_defaults() -> None:
    assert render_set_cookie("id", "abc") == "id=abc; Path=/; SameSite=Lax"


def test_every_attribute() -> None:
    line = render_set_cookie(
        "id",
        "abc",
        max_age=3600,
        expires=datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC),
        path="/app",
        domain="example.com",
        secure=True,
        httponly=True,
        samesite="strict",
    )
    assert line == (
        "id=abc; Max-Age=3600; Expires=Wed, 02 Jan 2030 03:04:05 GMT; Path=/app; Domain=example.com; "
        "Secure; HttpOnly; SameSite=Strict"
    )


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2015, 10, 21, 7, 28, tzinfo=UTC),
        datetime(2015, 10, 21, 7, 28),
        datetime(2015, 10, 21, 9, 28, tzinfo=timezone(timedelta(hours=2))),
        1445412480,
        1445412480.5,
        "Wed, 21 Oct 2015 07:28:00 GMT",
        "Wednesday, 21-Oct-15 07:28:00 GMT",
        "Wed, 21 Oct 2015 09:28:00 +0200",
    ],
    ids=str,
)
def test_expires_is_always_an_imf_fixdate(moment: Any) -> None:
    assert "Expires=Wed, 21 Oct 2015 07:28:00 GMT" in attributes(render_set_cookie("a", "b", expires=moment))


@pytest.mark.parametrize("moment", ["soon", "", 1e300, float("nan"), b"x", object(), "x\r\nSet-Cookie: a=b"])
def test_expires_that_is_no_date(moment: Any) -> None:
    with pytest.raises(ResponseError, match="expires is a datetime, seconds since 1970 or an HTTP date, got"):
        render_set_cookie("a", "b", expires=moment)


@pytest.mark.parametrize("samesite", ["None", "none", "NONE"])
def test_samesite_none_needs_secure(samesite: str) -> None:
    assert attributes(render_set_cookie("a", "b", samesite=samesite, secure=True)) == [
        "Path=/",
        "Secure",
        "SameSite=None",
    ]
    with pytest.raises(ResponseError, match="needs secure=True"):
        render_set_cookie("a", "b", samesite=samesite)


def test_attributes_that_are_left_out() -> None:
    assert render_set_cookie("a", "b", samesite=None, path=None) == "a=b"


@pytest.mark.parametrize(
    "name", ["", "a b", "a=b", "a;b", "a\r\n", "a\n", "\u00e9", "a,b", '"a"', "a\0", None, 5]
)
def test_names_that_are_no_tokens(name: Any) -> None:
    with pytest.raises(ResponseError, match="a cookie's name is a token"):
        render_set_cookie(name, "x")


@pytest.mark.parametrize(
    "value",
    ["a b", "a;b", "a,b", 'a"b', '"ab"', "a\\b", "a\r\nX: c", "a\n", "\u00e9", "\0", "\x7f"],
)
def test_values_that_need_encoding(value: str) -> None:
    with pytest.raises(ResponseError, match=r"value of cookie 'a' holds .* urllib\.parse\.quote"):
        render_set_cookie("a", value)


@pytest.mark.parametrize("value", [None, 5, b"x"])
def test_values_that_are_no_text(value: Any) -> None:
    with pytest.raises(ResponseError, match="the value of cookie 'a' is a str, got"):
        render_set_cookie("a", value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_age": -1}, "max_age is a count of seconds, 0 or more, got -1"),
        ({"max_age": True}, "max_age"),
        ({"max_age": 1.5}, "max_age"),
        ({"max_age": "60"}, "max_age"),
        ({"path": "app"}, "path is text that starts with"),
        ({"path": ""}, "path"),
        ({"path": "/a;b"}, "path"),
        ({"path": "/a\n"}, "path"),
        ({"path": "/\u00e9"}, "path"),
        ({"path": 5}, "path"),
        ({"domain": "exa mple.com"}, "domain is a host name"),
        ({"domain": ""}, "domain"),
        ({"domain": "a..b"}, "domain"),
        ({"domain": "b\u00fccher.example"}, "domain"),
        ({"domain": "example.com; Secure"}, "domain"),
        ({"domain": "example.com\n"}, "domain"),
        ({"samesite": "maybe"}, 'samesite is "Lax", "Strict" or "None", got \'maybe\''),
        ({"samesite": True}, "samesite"),
    ],
    ids=str,
)
def test_attributes_that_are_wrong(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ResponseError) as caught:
        render_set_cookie("a", "b", **options)
    assert message in str(caught.value)


def test_prefixes_that_a_browser_enforces() -> None:
    assert render_set_cookie("__Host-id", "x", secure=True) == "__Host-id=x; Path=/; Secure; SameSite=Lax"
    assert render_set_cookie("__Secure-id", "x", secure=True, path="/a", domain="example.com")
    for options in ({}, {"secure": True, "path": "/a"}, {"secure": True, "domain": "example.com"}):
        with pytest.raises(ResponseError, match="because of its prefix"):
            render_set_cookie("__hOST-id", "x", **options)  # type: ignore[arg-type]
    with pytest.raises(ResponseError, match="needs secure=True because of its prefix"):
        render_set_cookie("__Secure-id", "x")


def test_deleting() -> None:
    assert render_delete_cookie("id") == (
        "id=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/; SameSite=Lax"
    )
    line = render_delete_cookie(
        "id", path="/a", domain="example.com", secure=True, httponly=True, samesite="None"
    )
    assert attributes(line)[2:] == ["Path=/a", "Domain=example.com", "Secure", "HttpOnly", "SameSite=None"]
    assert render_delete_cookie("__Host-id", secure=True).startswith("__Host-id=; Max-Age=0; ")


@given(st.text(), st.text(), st.none() | st.text(), st.none() | st.text(), st.none() | st.text())
def test_no_argument_reaches_the_wire_unchecked(
    name: str, value: str, path: str | None, domain: str | None, samesite: str | None
) -> None:
    try:
        line = render_set_cookie(name, value, path=path, domain=domain, samesite=samesite)
    except ResponseError:
        return
    assert line.isascii()
    assert line.isprintable()
    assert line.count(";") == sum(attribute is not None for attribute in (path, domain, samesite))
