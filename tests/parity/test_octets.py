"""The grammars of octets: the RFCs' rules as tables, and both twins equal on whatever comes."""

from __future__ import annotations

from ipaddress import IPv6Address
from urllib.parse import quote, urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

SUBJECT = "octets"

CHECKS = ["is_token", "is_field_value", "is_authority", "is_target_path"]
FUNCTIONS = [*CHECKS, "decode_component"]  # those that take octets alone; split_pairs is at the end

DIGITS = b"0123456789"
LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def joined(pieces: list[bytes], max_size: int = 14) -> st.SearchStrategy[bytes]:
    return st.lists(st.sampled_from(pieces), max_size=max_size).map(b"".join)


AUTHORITY_PIECES = [
    *b"""
    a Z9 - _ ~ ! , . .. @ / \xff | # % %4 %41 %fF %zz %25 : :0 :80 :65535 :65536 :0065535
    :00000000000000000000080 :99999999999999999999 [ ] [::1] [v1.a] :: 1.2.3.4 v1. V
    """.split(),
    *(b" ", b"\t", b"\x00"),
]
ADDRESS_PIECES = [
    *b"""
    0 f FFFF 00000 12345 g : : : :: ::: 1:2:3:4:5:6:7:8 1:2:3: 1.2.3.4 255.255.255.255 256.0.0.1 01.2.3.4
    1.2.3 1.2.3.4.5 . %25eth0 /64 v V1f v1. .a:b !
    """.split(),
]
PATH_PIECES = [
    *b"""
    / a .. ; ? | \\ # \x7f \x80 \xc3\xa4 + " % %0 %00 %2f %2F %41 %7f %g0 %0g %%41 %2500 %80 %bf %c0 %c2
    %C3%A4 %df %e0 %a0 %9f %ed %ef%bb%bf %f0 %90 %8f %f4 %F4%8F%BF%BF %f5 %ff
    """.split(),
    *(b" ", b"\x00"),
]
FORM_PIECES = [
    *b"""
    & & & = = + ; a n=1 % %% %0 %4 %41 %zz %4g %g4 %26 %3d %2B %25 %00 %c3 %A9 %e2 %82 %aC %ed %a0 %80 %f0 %9f
    %98 %F4 %90 %ff %ef%bb%bf a \xc3 \xa9 \xc3\xa9 \xe2\x82 \xac \xed\xa0\x80 \xf0\x9f \x98 \xff
    \xef\xbb\xbf \x7f
    """.split(),
    *(b" ", b"\x00", b"\r\n"),
]

GROUP = st.integers(0, 0xFFFF).map(lambda number: b"%x" % number)
GROUPS = st.lists(GROUP, max_size=9).map(b":".join)
DOTTED = st.lists(st.integers(0, 300).map(lambda number: b"%d" % number), min_size=3, max_size=5).map(
    b".".join
)
ADDRESS = st.one_of(
    st.ip_addresses(v=6).map(lambda address: address.compressed.encode()),
    st.ip_addresses(v=6).map(lambda address: address.exploded.encode()),
    GROUPS,
    st.tuples(GROUPS, GROUPS).map(b"::".join),
    st.tuples(GROUPS, st.sampled_from([b":", b"::"]), DOTTED).map(b"".join),
    joined(ADDRESS_PIECES, 9),
)
NEAR_VALID = {
    "is_token": st.binary(max_size=8),
    "is_field_value": st.binary(max_size=8),
    "is_authority": st.one_of(
        joined(AUTHORITY_PIECES, 7),
        st.tuples(st.just(b"["), ADDRESS, st.sampled_from([b"]", b"", b"]:", b"]:1", b"]1", b"]]"])).map(
            b"".join
        ),
    ),
    "is_target_path": joined(PATH_PIECES),
    "decode_component": joined(PATH_PIECES),
}


# --- both twins are equal ---


@pytest.mark.parametrize("function", FUNCTIONS)
@given(data=st.data())
def test_twins_agree_on_arbitrary_octets(same, function, data):
    same(function, data.draw(st.binary()))


@pytest.mark.parametrize("function", FUNCTIONS)
@given(data=st.data())
def test_twins_agree_on_nearly_valid_octets(same, function, data):
    same(function, data.draw(NEAR_VALID[function]))


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(
    "around", [(b"", b""), (b"a", b"b"), (b"a.", b""), (b"%4", b""), (b"%", b"1"), (b"a:8", b"")]
)
def test_twins_agree_on_every_octet(same, function, around):
    for octet in range(256):
        same(function, around[0] + bytes([octet]) + around[1])


@given(octets=st.binary(min_size=1, max_size=4))
@example(octets=b"\xed\x9f\xbf")
@example(octets=b"\xed\xa0\x80")
@example(octets=b"\xf4\x8f\xbf\xbf")
@example(octets=b"\xf4\x90\x80\x80")
def test_twins_agree_on_encoded_octets(same, octets):
    encoded = b"".join(b"%%%02X" % octet for octet in octets)
    same("decode_component", encoded)
    same("is_target_path", encoded)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("wrong", [None, "text", 1, bytearray(b"a"), memoryview(b"a"), [b"a"]])
def test_anything_but_bytes_is_a_type_error(same, function, wrong):
    kind, error, text = same(function, wrong)
    assert (kind, error) == ("raised", TypeError)
    assert text == f"expected bytes, got {type(wrong).__name__}"


@pytest.mark.parametrize("function", CHECKS)
def test_subclasses_of_bytes_are_bytes(same, function):
    class Octets(bytes):
        pass

    assert same(function, Octets(b"a")) == ("returned", bool, True)


# --- RFC 9110 5.6.2: token = 1*tchar ---


def test_token_octets(twin):
    allowed = b"!#$%&'*+-.^_`|~" + DIGITS + LETTERS
    assert bytes(octet for octet in range(256) if twin.is_token(bytes([octet]))) == bytes(sorted(allowed))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"", False),
        (b"GET", True),
        (b"content-length", True),
        (b"a b", False),
        (b"a:", False),
        (b"a" * 9000, True),
    ],
)
def test_token(twin, value, expected):
    assert twin.is_token(value) is expected


# --- RFC 9110 5.5: field-vchar, SP, HTAB, obs-text ---


def test_field_value_octets(twin):
    allowed = [0x09, *range(0x20, 0x7F), *range(0x80, 0x100)]
    assert [octet for octet in range(256) if twin.is_field_value(bytes([octet]))] == allowed


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"", True),
        (b"a b\tc", True),
        (b" a ", True),
        (b"a\r\nb", False),
        (b"a\0", False),
        (b"\xe4" * 9000, True),
    ],
)
def test_field_value(twin, value, expected):
    assert twin.is_field_value(value) is expected


# --- RFC 9110 7.2, RFC 3986 3.2.2, 3.2.3: uri-host [ ":" port ] ---

AUTHORITIES = [
    *b"""
    a example.com EXAMPLE.com example.com. a. localhost:8080 my_host a-b.c xn--bcher-kva 127.0.0.1
    127.0.0.1:80 999.1 a: a:0 a:00080 a:65535 a%2eb %C3%A4.de:1 a!$&'()*+,;=~b 1 - [::] [::1] [::1]:
    [::1]:8080 [1:2:3:4:5:6:7:8] [1:2:3:4:5:6:7::] [::2:3:4:5:6:7:8] [1::8] [fe80::ABCD] [::ffff:1.2.3.4]
    [1:2:3:4:5:6:1.2.3.4] [1::1.2.3.4] [::0.0.0.0] [v1.a] [VfF.a:b!]:1 [v0.:]
    """.split(),
    *(b"a:" + b"0" * 5000 + b"1", b"a" * 9000),
]
NO_AUTHORITIES = [
    *b"""
    . .. .a a..b a.. : :80 .:80 a/b a?b a#b a@b u:p@a a\\b "a" a\x7f \xe4.de a<b a|b a^b a{b} http://a % a%
    a%4 a%4g a%g4 %%41 %4%31 a:b a:80: a:80:80 a:+80 a:-1 a:65536 a:99999 a:100000 a:0x50 a:8_0 ::1
    1:2:3:4:5:6:7:8 a:\xb2 [ ] [] [::1 ::1] [::1]] [[::1]] [::1]a [::1]80 [::1]:a [::1]:65536 a[::1] [:]
    [:::] [1] [:1] [1:] [1::2::3] [1:2:3:4:5:6:7] [1:2:3:4:5:6:7:8:9] [1:2:3:4::5:6:7:8] [12345::] [g::]
    [::1%25eth0] [::1%eth0] [::1/64] [1.2.3.4] [::1.2.3] [::1.2.3.4.5] [::1.2.3.256] [::01.2.3.4] [::1.2.3.]
    [::.1.2.3] [::1.2.3.4:1] [1:2:3:4:5:6:7:1.2.3.4] [::a.2.3.4] [::1.2.3.0004] [::1.2.3.-4] [a.com] [v.a]
    [v1.] [v1] [v] [vg.a] [v1.a/b] [v1.a%41] [x1.a] [v1.\xe4]
    """.split(),
    *(b"", b"a b", b" a", b"a ", b"a\t", b"a\r\n", b"a\n", b"a\x00", b"a, b", b"a: 80", b"a:80 ", b"[ ::1]"),
    b"a:" + b"9" * 5000,
]


@pytest.mark.parametrize("value", AUTHORITIES)
def test_authority(twin, value):
    assert twin.is_authority(value) is True


@pytest.mark.parametrize("value", NO_AUTHORITIES)
def test_no_authority(twin, value):
    assert twin.is_authority(value) is False


def test_host_octets(twin):
    allowed = b"-_~!$&'()*+,;=" + DIGITS + LETTERS  # RFC 3986 2.2, 2.3
    assert bytes(octet for octet in range(256) if twin.is_authority(bytes([octet]))) == bytes(sorted(allowed))


@given(address=st.ip_addresses(v=6), port=st.integers(0, 65535))
def test_every_ipv6_address_is_an_authority(twin, address: IPv6Address, port: int):
    for text in (address.compressed, address.exploded):
        assert twin.is_authority(b"[%b]:%d" % (text.upper().encode(), port))
        assert not twin.is_authority(text.encode())


@given(port=st.integers(0, 200_000))
def test_port_range(twin, port):
    assert twin.is_authority(b"a:%d" % port) is (port <= 65535)


# --- RFC 3986 2.1, 3.3; RFC 3629 3: the path of a target and its segments ---

PATHS = [
    *b"""
    / /a/b;c=1 /a//b /../x /a\\b /a|b^c{d}"<>` /[x] * /a?b /~!$&'()*+,;=:@-._ /%2F /%2f%41 /%7f /%01 /%2500
    /%C3%A4 /%c2%80 /%df%bf /%e0%a0%80 /%ef%bf%bf /%ed%9f%bf /%ee%80%80 /%f0%90%80%80 /%F4%8F%BF%BF
    """.split(),
    *(b"",),
    b"/" + b"%41" * 5000,
]
NO_PATHS = [
    *b"""
    /a#b # /\x1f /\x7f /\x80 /\xc3\xa4 /\xff % /% /%4 /%zz /%4g /%g4 /%%41 /%+4 /%-1 /%0x /%00 /a%00b
    /%41%00 /%c0%80 /%C0%AF /%c1%bf /%e0%80%af /%e0%9f%bf /%f0%80%80%af /%f0%8f%bf%bf /%ed%a0%80 /%ed%bf%bf
    /%f4%90%80%80 /%f5%80%80%80 /%fe /%ff /%80 /%bf /%c3 /%c3a /%c3/%a4 /%e2%82 /%e2%82a /%f0%9f%98
    /%c3%c3%a4
    """.split(),
    *(b"/a b", b"/\x00", b"/\t", b"/\n", b"/% 41"),
]


@pytest.mark.parametrize("path", PATHS)
def test_target_path(twin, path):
    assert twin.is_target_path(path) is True


@pytest.mark.parametrize("path", NO_PATHS)
def test_no_target_path(twin, path):
    assert twin.is_target_path(path) is False


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"", ""),
        (b"plain", "plain"),
        (b"a%2Fb", "a/b"),
        (b"a+b", "a+b"),
        (b"%252f", "%2f"),
        (b"%e4%BD%a0", "\u4f60"),
        (b"%F0%9F%98%80!", "\U0001f600!"),
        (b"\xc3\xa4", "\u00e4"),
        (b"a%00b", "a\0b"),
    ],
)
def test_decode_component(twin, raw, expected):
    assert twin.decode_component(raw) == expected


@pytest.mark.parametrize(
    "raw", [b"%", b"a%4", b"%zz", b"%%41", b"%c3", b"%ed%a0%80", b"%c0%80", b"\xff", b"%ff" * 90]
)
def test_decode_component_refuses(twin, raw):
    with pytest.raises(
        ValueError, match=r"^(broken percent triple in|not UTF-8 when percent-decoded:) b"
    ) as caught:
        twin.decode_component(raw)
    assert type(caught.value) is ValueError
    assert len(str(caught.value)) < 120


@given(text=st.text())
def test_decode_component_reverses_quoting(twin, text):
    raw = quote(text, safe="").encode()
    assert twin.decode_component(raw) == text
    assert twin.is_target_path(raw) is ("\0" not in text)


# --- WHATWG URL 5.1: application/x-www-form-urlencoded ---

MANY = 1000  # pairs, more than any of these tests has


@given(raw=st.binary())
def test_twins_agree_on_forms_of_arbitrary_octets(same, raw):
    same("split_pairs", raw, MANY)


@given(raw=joined(FORM_PIECES, 24))
@example(raw=b"a=%4\xc3%A9")
@example(raw=b"\xe2%82\xac=%e2\x82%ac")
@example(raw=b"%F0%9F%98\x80+%f0+%9f%98%80")
@example(raw=b"a=1;b=2&c=%\x00%00")
def test_twins_agree_on_nearly_valid_forms(same, raw):
    same("split_pairs", raw, MANY)


@given(raw=st.lists(st.sampled_from(b"&=%+;aF0gx \x00\xc3\xa9\xe2\x82\xff"), max_size=24).map(bytes))
def test_twins_agree_on_octets_that_mean_something_in_forms(same, raw):
    same("split_pairs", raw, MANY)


@pytest.mark.parametrize(
    "around", [(b"", b""), (b"a=%4", b"&b"), (b"%", b"1=2"), (b"a", b"%41"), (b"%C3", b"%A9")]
)
def test_twins_agree_on_every_octet_in_a_form(same, around):
    for octet in range(256):
        same("split_pairs", around[0] + bytes([octet]) + around[1], MANY)


@given(octets=st.lists(st.tuples(st.integers(0x80, 0xFF), st.booleans()), min_size=1, max_size=6))
def test_twins_agree_on_characters_half_bare_and_half_encoded(same, octets):
    pieces = [b"%%%02x" % octet if is_encoded else bytes([octet]) for octet, is_encoded in octets]
    same("split_pairs", b"".join(pieces), MANY)


@given(raw=joined([b"&", b"a", b"=", b"%26"], 10), max_pairs=st.integers(-1, 8))
def test_twins_agree_on_the_count_of_pairs(same, raw, max_pairs):
    outcome = same("split_pairs", raw, max_pairs)
    pieces = len(raw.split(b"&")) if raw else 0
    assert (outcome[0] == "raised") is (raw != b"" and pieces > max_pairs)


@pytest.mark.parametrize("wrong", [None, "a=1", 1, bytearray(b"a"), memoryview(b"a"), [b"a"]])
def test_a_form_is_bytes(same, wrong):
    text = f"expected bytes, got {type(wrong).__name__}"
    assert same("split_pairs", wrong, MANY) == ("raised", TypeError, text)


@pytest.mark.parametrize(
    ("raw", "pairs"),
    [
        (b"", []),
        (b"&", []),
        (b"&&a=1&&", [("a", "1")]),
        (b"a", [("a", "")]),
        (b"=", [("", "")]),
        (b"=1&a=", [("", "1"), ("a", "")]),
        (b"a=b=c&a=", [("a", "b=c"), ("a", "")]),
        (b"a=1;b=2", [("a", "1;b=2")]),
        (b"a+b=c+%2B", [("a b", "c +")]),
        (b"%61%3D%26=%3d%26", [("a=&", "=&")]),
        (b"%=%4&%zz=%%41&%4%31=%", [("%", "%4"), ("%zz", "%A"), ("%41", "%")]),
        (b"a=%00\x00\r\n", [("a", "\0\0\r\n")]),
        (b"%C3%A9=\xc3\xa9+\xe2\x82\xac", [("\u00e9", "\u00e9 \u20ac")]),
        (b"a=%F0%9F%98%80!", [("a", "\U0001f600!")]),
        (b"a=\xff%FF", [("a", "\ufffd\ufffd")]),
        (b"a=\xc3%A9&b=%C3\xa9", [("a", "\ufffd\ufffd"), ("b", "\ufffd\ufffd")]),
        (b"a=%ED%A0%80", [("a", "\ufffd\ufffd\ufffd")]),
        (b"a=%EF%BB%BFb", [("a", "\ufeffb")]),
        (b"n=" + b"+" * 9000, [("n", " " * 9000)]),
    ],
)
def test_split_pairs(twin, raw, pairs):
    assert twin.split_pairs(raw, MANY) == pairs


@pytest.mark.parametrize("raw", [b"a=1&b=2&c=3&d=4", b"&&&", b"a&&b&"])
def test_pairs_are_bounded_and_empty_ones_count(twin, raw):
    assert len(twin.split_pairs(raw, 4)) <= 4
    with pytest.raises(ValueError, match=r"^more than 3 pairs$"):
        twin.split_pairs(raw, 3)


@given(pairs=st.lists(st.tuples(st.text(), st.text())))
def test_split_pairs_reverses_urlencode(twin, pairs):
    assert twin.split_pairs(urlencode(pairs).encode(), MANY) == pairs
