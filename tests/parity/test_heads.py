"""Heads before the parser sees them: both twins find the same, and what was written is what they find."""

from __future__ import annotations

from contextlib import suppress
from itertools import product

import httptools
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cello._speedups.h1_rules_py import METHODS
from cello._speedups.octets_py import is_field_value, is_target_path, is_token

SUBJECT = "heads"

STATES = ["LINE_PARTIAL", "LINE_BAD", "FIELDS_PARTIAL", "WHOLE", "PLAIN"]
OF_LINE = ["method", "target", "has_percent", "is_http_11", "is_origin_form"]
OF_FIELDS = ["field_count", "host", "host_count", "has_notes", "connection", "length_field", "length_count"]
OF_FIELDS += ["transfer_encoding", "expect"]
OWN = b"connection keep-alive transfer-encoding upgrade date server".split()

TARGETS = [
    *b"""
    / /a /a/b?c=d /? /?? /a?b#c /#a /%41?b /a?%41 // //a.b/c /a:b *  ** a http://a/b HTTPS://A:1/?b http://a
    a:443 a [::1]:80 ?a %2F /HTTP/1.1 /\xe4 /\x00
    """.split(),
    *(b"", b" ", b"/a b", b" /a", b"/a ", b"/\t", b"/a\r", b"/a\n"),
]
VERSIONS = [
    *b"HTTP/1.1 HTTP/1.0 HTTP/1.2 HTTP/2.0 HTTP/0.9 HTTP/11 http/1.1 XTTP/1.1 HTTP/1.1x xHTTP/1.1".split(),
    *(b"", b"HTTP/1.1 ", b" HTTP/1.1", b"HTTP/1.\xb1", b"HTTP/1.1\r", b"\rHTTP/1.1", b"HTTP/1.\x00"),
]
# The notable names, names of their lengths that differ in one octet or in bit 0x20 alone, and others.
NOTABLE = b"host connection content-length transfer-encoding expect upgrade proxy-connection".split()
NAMES = [
    *NOTABLE,
    *b"""
    hosu (ost connectioo transfer-encodinh eypect upgradd proxy_connection H\xcfst
    accept cookie user-agent keep-alive ccept x a [ @ ` { A- hostt hos x-content-length
    """.split(),
    *(b"content\rlength", b"transfer encoding", b"expec\n", b"\x00ost"),
]
OTHER_NAMES = st.one_of(
    st.just(b""), st.binary(max_size=20), st.integers(1, 300).map(lambda size: b"Xy" * size)
)
VALUES = st.one_of(
    st.sampled_from(
        [b"", b"a", b"close", b"5", b"chunked", b"a, b", b"a:80", b"a b\tc", b"\xe4", b":", b"a\r", b"\nb"]
    ),
    st.binary(max_size=12),
)
BLANKS = st.sampled_from([b"", b"", b" ", b"\t", b" \t ", b"\t\t  \t", b"\x0b", b"\xa0"])
ODD_LINES = st.sampled_from([b"", b"no colon", b":", b"::", b" folded: yes", b"\r", b"\n", b"a:\n", b"a\r:b"])
ODD_OCTETS = st.sampled_from(
    [b"\r\n", b"\r", b"\n", b" ", b"\t", b":", b"#", b"%", b"?", b"\0", b"\r\n\r\n", b"\r\r\n"]
)


def in_mixed_case(name):
    """A name with any of its letters in upper case."""
    return st.lists(st.booleans(), min_size=len(name), max_size=len(name)).map(
        lambda uppers: b"".join(
            bytes([octet]).upper() if upper else bytes([octet])
            for octet, upper in zip(name, uppers, strict=True)
        )
    )


names = st.one_of(st.sampled_from(NAMES).flatmap(in_mixed_case), OTHER_NAMES)
field_lines = st.one_of(st.tuples(names, st.just(b":"), BLANKS, VALUES, BLANKS).map(b"".join), ODD_LINES)
sections = st.lists(field_lines, max_size=8).map(lambda lines: b"".join(line + b"\r\n" for line in lines))
METHOD_OCTETS = [
    *b"GET POST CONNECT OPTIONS M-SEARCH G GE GETT get POSX PRI FOO \0ET M_SEARCH".split(),
    *(b"", b"GET\t", b"\r"),
]
methods = st.one_of(st.sampled_from(METHOD_OCTETS), st.sampled_from(sorted(METHODS)))
lines = st.tuples(methods, st.just(b" "), st.sampled_from(TARGETS), st.just(b" "), st.sampled_from(VERSIONS))
good_lines = st.tuples(
    st.sampled_from(sorted(METHODS)),
    st.just(b" "),
    st.one_of(
        st.sampled_from([b"/", b"/a?b", b"/%41", b"*", b"http://a/?b", b"a:1"]),
        st.binary(min_size=1, max_size=9),
    ).filter(lambda target: not set(target) & set(b" #\r")),
    st.just(b" "),
    st.sampled_from([b"HTTP/1.1", b"HTTP/1.0"]),
)


@st.composite
def heads(draw):
    """A request's head, perhaps with one odd octet put in or one octet taken out, and cut anywhere."""
    head = b"".join(draw(st.one_of(good_lines, lines))) + b"\r\n" + draw(sections) + b"\r\n"
    at = draw(st.integers(0, len(head)))
    match draw(st.integers(0, 3)):
        case 0:
            return head[:at] + draw(ODD_OCTETS) + head[at:]
        case 1:
            return head[:at] + head[at + 1 :]
        case 2:
            return head[:at]
    return head


befores = st.one_of(
    st.just(b""), st.sampled_from([b"\r", b"\r\n\r\n", b"GET / HTTP/1.1\r\n", b" "]), st.binary(max_size=9)
)


def kinds(values):
    return [(type(value), value) for value in values]


def scanned(scan, module, data, position):
    """What a scan tells: its state, and the attributes to which the state gives a meaning."""
    found = scan.scan(data, position)
    state = next(name for name in STATES if getattr(module, name) == found)
    if state == "LINE_PARTIAL":
        return (state,)
    if state == "LINE_BAD":
        return state, scan.line_end
    told = kinds(getattr(scan, name) for name in OF_LINE)
    parts = kinds([scan.raw_path, scan.raw_query]) if scan.is_origin_form else []
    notes = kinds(getattr(scan, name) for name in OF_FIELDS) if state == "PLAIN" else []
    return state, scan.line_end, told, parts, notes, None if state == "FIELDS_PARTIAL" else scan.end


def noted(scan, head, start, stop):
    """What a scan of the field lines leaves."""
    assert scan.scan_fields(head, start, stop) is None
    return kinds(getattr(scan, name) for name in OF_FIELDS)


# --- both twins are equal ---


def test_twins_have_the_same_constants_and_attributes(twins):
    pure, compiled = twins
    for name in [*STATES, "MAX_TARGET_BYTES"]:
        assert getattr(compiled, name) == getattr(pure, name)
    fresh, other = (
        {name: kinds([getattr(module.HeadScan(), name)]) for name in pure.HeadScan.__slots__}
        for module in twins
    )
    assert other == fresh


@given(data=heads(), before=befores, behind=befores)
def test_twins_agree_on_scans(twins, data, before, behind):
    octets = before + data + behind
    pure, compiled = (scanned(module.HeadScan(), module, octets, len(before)) for module in twins)
    assert compiled == pure


@given(data=heads(), before=befores)
def test_twins_agree_wherever_the_octets_are_cut(twins, data, before):
    for stop in range(len(data) + 1):
        octets = before + data[:stop]
        pure, compiled = (scanned(module.HeadScan(), module, octets, len(before)) for module in twins)
        assert compiled == pure, stop


@given(data=heads())
def test_twins_agree_from_every_position(twins, data):
    for position in range(len(data) + 1):
        pure, compiled = (scanned(module.HeadScan(), module, data, position) for module in twins)
        assert compiled == pure, position


@given(
    data=st.one_of(sections, heads(), st.binary()), places=st.tuples(st.integers(0, 400), st.integers(0, 400))
)
def test_twins_agree_on_fields(twins, data, places):
    start, stop = sorted(min(place, len(data)) for place in places)
    for limits in ((0, len(data)), (start, len(data)), (start, stop)):
        pure, compiled = (noted(module.HeadScan(), data, *limits) for module in twins)
        assert compiled == pure, limits
        pure, compiled = (module.split_fields(data, *limits) for module in twins)
        assert compiled == pure, limits
        for name in {field[0] for field in pure} | {b"origin", b"x"}:
            joined = b", ".join([value for key, value in pure if key == name])
            expected = joined if any(key == name for key, _ in pure) else None
            assert [module.find_field(data, *limits, name) for module in twins] == [expected] * 2, limits


@pytest.mark.parametrize("method", METHOD_OCTETS)
def test_twins_agree_on_every_line(twins, method):
    for target, version in product(TARGETS, VERSIONS):
        data = b" ".join((method, target, version)) + b"\r\n\r\n"
        pure, compiled = (scanned(module.HeadScan(), module, data, 0) for module in twins)
        assert compiled == pure, data


@pytest.mark.parametrize("name", NAMES[:14])
def test_twins_agree_on_every_octet_in_a_name(twins, name):
    for at in range(len(name)):
        for octet in range(256):
            line = name[:at] + bytes([octet]) + name[at + 1 :] + b": a\r\n"
            pure, compiled = (
                (noted(module.HeadScan(), line, 0, len(line)), module.split_fields(line, 0, len(line)))
                for module in twins
            )
            assert compiled == pure, line


@pytest.mark.parametrize("position", [0, 7])
@pytest.mark.parametrize("line", [b"GET / HTTP/1.1", b"POST /a?b HTTP/1.0", b"CONNECT a:1 HTTP/1.1"])
def test_twins_agree_on_every_octet_in_a_line(twins, line, position):
    for at in range(len(line)):
        for octet in range(256):
            data = bytes(position) + line[:at] + bytes([octet]) + line[at + 1 :] + b"\r\n\r\n"
            pure, compiled = (scanned(module.HeadScan(), module, data, position) for module in twins)
            assert compiled == pure, data


@given(
    octets=st.one_of(
        st.sampled_from(OWN).flatmap(in_mixed_case), st.sampled_from(NAMES), st.binary(max_size=18)
    )
)
def test_twins_agree_on_own_fields(same, octets):
    same("is_own", octets)


@pytest.mark.parametrize("name", OWN)
def test_twins_agree_on_every_octet_in_an_own_field(same, name):
    for at in range(len(name)):
        for octet in range(256):
            same("is_own", name[:at] + bytes([octet]) + name[at + 1 :])


@given(
    octets=st.one_of(
        st.lists(st.sampled_from([b"n", b"nu", b"l", b"nul", b"null", b"x"])).map(b"".join), st.binary()
    )
)
def test_null_is_found(twin, octets):
    assert bool(twin.has_null(octets)) is (b"null" in octets)


# --- what was written is what is found ---


@given(line=good_lines, section=sections, before=befores, behind=befores)
def test_a_whole_head_is_told_as_it_was_written(twin, line, section, before, behind):
    method, _, target, _, version = line
    head = b"".join(line) + b"\r\n" + section.replace(b"\r\n\r\n", b"\r\n") + b"\r\n"
    end = head.index(b"\r\n\r\n") + 4
    scan = twin.HeadScan()
    assert scan.scan(before + head + behind, len(before)) in (twin.WHOLE, twin.PLAIN)
    assert (scan.line_end, scan.end) == (len(before) + len(b"".join(line)), len(before) + end)
    assert (scan.method, scan.target, scan.is_http_11) == (method.decode(), target, version == b"HTTP/1.1")
    assert scan.has_percent is (b"%" in target)
    assert scan.is_origin_form is (target[:1] == b"/" and method != b"CONNECT")
    if scan.is_origin_form:
        path, _, query = target.partition(b"?")
        assert (scan.raw_path, scan.raw_query) == (path, query)


@given(line=good_lines, section=sections)
def test_a_head_is_whole_at_its_last_octet_and_not_before(twin, line, section):
    head = b"".join(line) + b"\r\n" + section + b"\r\n"
    line_end, end = head.index(b"\r\n"), head.index(b"\r\n\r\n") + 4
    scan = twin.HeadScan()
    for stop in range(len(head) + 1):
        expected = ["LINE_PARTIAL"] if stop < line_end + 2 else ["FIELDS_PARTIAL"]
        expected = ["WHOLE", "PLAIN"] if stop >= end else expected
        assert scan.scan(head[:stop], 0) in [getattr(twin, name) for name in expected], stop


@given(data=st.lists(st.tuples(heads(), befores), min_size=2, max_size=4))
def test_a_scan_keeps_nothing_of_the_one_before(twin, data):
    shared = twin.HeadScan()
    for head, before in data:
        fresh = twin.HeadScan()
        octets = before + head
        assert scanned(shared, twin, octets, len(before)) == scanned(fresh, twin, octets, len(before))
        assert noted(shared, octets, len(before), len(octets)) == noted(
            fresh, octets, len(before), len(octets)
        )


@pytest.mark.parametrize("position", [0, 3])
@pytest.mark.parametrize(("size", "state"), [(65535, "PLAIN"), (65536, "PLAIN"), (65537, "LINE_BAD")])
def test_a_target_has_64_kib(twin, size, state, position):
    target = b"/" + b"a" * (size - 1)
    scan = twin.HeadScan()
    data = b"\r\n "[:position] + b"GET " + target + b" HTTP/1.1\r\n\r\n"
    assert scan.scan(data, position) == getattr(twin, state)
    assert scan.line_end == len(data) - 4
    if state == "PLAIN":
        assert scan.target == scan.raw_path == target


@given(
    fields=st.lists(
        st.tuples(
            st.one_of(
                st.sampled_from(NOTABLE).flatmap(in_mixed_case),
                st.from_regex(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,20}", fullmatch=True),
            ),
            st.from_regex(rb"([!-~\x80-\xff]([!-~\x80-\xff \t]*[!-~\x80-\xff])?)?", fullmatch=True),
        ),
        max_size=8,
    ),
    blanks=st.lists(BLANKS.filter(lambda blank: not blank.strip(b" \t")), min_size=2, max_size=2),
)
@example(
    fields=[(b"Host", b"a"), (b"hOsT", b"b"), (b"CONNECTION", b""), (b"Connection", b"close")],
    blanks=[b"", b" "],
)
def test_fields_are_told_as_they_were_written(twin, fields, blanks):
    section = b"".join(b"%b:%b%b%b\r\n" % (name, blanks[0], value, blanks[1]) for name, value in fields)
    head = b"GET / HTTP/1.1\r\n" + section + b"\r\n"
    split = twin.split_fields(head, 16, len(head))
    assert split == [(name.lower(), value) for name, value in fields]
    scan = twin.HeadScan()
    scan.scan_fields(head, 16, len(head))
    told = {name: [value for each, value in split if each == name] for name in dict(split)}
    assert (scan.field_count, scan.host_count) == (len(fields), len(told.get(b"host", [])))
    assert scan.length_count == len(told.get(b"content-length", []))
    for name, attribute in ((b"host", scan.host), (b"content-length", scan.length_field)):
        assert attribute == (told[name][-1] if name in told else None)
    joined = (
        (b"connection", scan.connection),
        (b"transfer-encoding", scan.transfer_encoding),
        (b"expect", scan.expect),
    )
    for name, attribute in joined:
        assert attribute == (b",".join(told[name]) if name in told else None)
    steering = {b"connection", b"content-length", b"transfer-encoding", b"expect"}
    assert scan.has_notes is not steering.isdisjoint(told)
    # By the grammar, such a head is plain, and then its fields need no second look.
    whole = twin.HeadScan()
    if b"transfer-encoding" in told:
        assert whole.scan(head, 0) == twin.WHOLE
        return
    assert whole.scan(head, 0) == twin.PLAIN
    assert [getattr(whole, name) for name in OF_FIELDS] == [getattr(scan, name) for name in OF_FIELDS]


# --- what is plain, and what is not ---


class Judge:
    """What httptools finds in a head: its method, target and fields, where it takes it at all."""

    def __init__(self, head):
        self.fields = []
        self.target = b""
        self.is_over = False
        self.parser = httptools.HttpRequestParser(self)
        with suppress(httptools.HttpParserUpgrade):
            self.parser.feed_data(head)

    def on_url(self, target):
        self.target += target

    def on_header(self, name, value):
        self.fields.append((name.lower(), value.strip(b" \t")))

    def on_headers_complete(self):
        self.is_over = True


PLAIN_TARGETS = st.from_regex(rb"/[!\"$-~]{0,9}", fullmatch=True)


@given(
    line=st.tuples(
        st.sampled_from(sorted(METHODS)),
        st.just(b" "),
        PLAIN_TARGETS,
        st.just(b" "),
        st.sampled_from(VERSIONS[:2]),
    ),
    section=sections,
)
def test_the_parser_finds_the_same_in_a_plain_head(twin, line, section):
    """Heads with Content-Length are left out: its value is the reader's to check."""
    head = b"".join(line) + b"\r\n" + section + b"\r\n"
    scan = twin.HeadScan()
    if scan.scan(head, 0) != twin.PLAIN or scan.length_count:
        return
    judge = Judge(head[: scan.end])
    assert judge.is_over
    assert judge.target == scan.target
    assert judge.fields == twin.split_fields(head, scan.line_end + 2, scan.end)
    assert judge.parser.get_method() == scan.method.encode()
    assert judge.parser.get_http_version() == ("1.1" if scan.is_http_11 else "1.0")


@pytest.mark.parametrize("octet", range(256))
def test_every_octet_of_a_plain_head_is_in_the_grammar(twin, octet):
    it = bytes([octet])
    places = {
        "target": (b"GET /aaaaaaaa%b HTTP/1.1\r\nHost: a\r\n\r\n", is_target_path(it) or octet == 0x25),
        "name": (b"GET / HTTP/1.1\r\nHos%bt: a\r\n\r\n", is_token(it) or octet == 0x3A),
        "value": (b"GET / HTTP/1.1\r\nHost: aaaaaaaa%baaaaaaaa\r\n\r\n", is_field_value(it)),
        "end of value": (b"GET / HTTP/1.1\r\nHost: a%b\r\n\r\n", is_field_value(it)),
    }
    for place, (head, is_plain) in places.items():
        assert (twin.HeadScan().scan(head % it, 0) == twin.PLAIN) is is_plain, place


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\n: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\n\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\rX: b\r\n\r\n",
        b"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        b"CONNECT /a HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
def test_not_plain(twin, head):
    assert twin.HeadScan().scan(head, 0) == twin.WHOLE


@pytest.mark.parametrize("name", OWN)
def test_own_fields(twin, name):
    assert twin.is_own(name) is True
    for other in (name[:-1], name + b"s", name[:-1] + b"x", name.title(), b"x" + name[1:]):
        assert twin.is_own(other) is False


@pytest.mark.parametrize("name", NAMES)
def test_names_in_any_case_are_in_lower_case(twin, name):
    line = name.upper() + b":a\r\n"
    assert twin.split_fields(line, 0, len(line)) == [(name.upper().lower(), b"a")] * (b"\r\n" not in name)
