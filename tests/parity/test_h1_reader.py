"""The reader of HTTP/1.1 messages: both twins report the same, and the same however the octets are cut.

What is read is the corpus, the corpus with faults put in at random, and messages whose reading is known
because they were written here. One run of octets has one outcome; the one liberty is which fault of a message
that has several is named, since a fault that has come is not left to wait for the others.
"""

from __future__ import annotations

from itertools import zip_longest

import httptools
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cello._speedups.h1_reader_py import MessageReader
from cello._speedups.heads_py import split_fields
from cello._speedups.states_py import COMPLETE, END, HEAD, REFUSED
from tests.kit.corpus import load_corpus, script_of
from tests.kit.corpus_client import Drip, Octets, bytewise, split_at_random, whole

SUBJECT = "h1_reader"

PUBLIC = [name for name in MessageReader.__slots__ if not name.startswith("_")]
OF_HEAD = ["method", "target", "raw_path", "raw_query", "is_http_11", "authority", "content_length", "expect"]
OF_HEAD += ["is_keep_alive", "is_whole"]
FAULTS_OF_A_HEAD = {400, 431, 501}
TOPICS = load_corpus()
MAX_MUTATED_BYTES = 1200


def octets_of(case):
    """All octets of a case, as if nothing were awaited between them."""
    return b"".join(step.octets for step in script_of(case) if isinstance(step, Octets | Drip))


def manners(case):
    splits = [whole, bytewise, *(split_at_random(f"{case.name}/{number}") for number in range(3))]
    return [(number, split(octets_of(case))) for number, split in enumerate(splits)]


def settings_of(module, max_fields=100):
    return module.ReaderSettings(httptools.HttpRequestParser, httptools.HttpParserUpgrade, max_fields)


class Reading:
    """One connection's reader, driven as the connection drives it, and what it reports.

    ``told`` is what does not depend on cuts: a head with its fields, the body of a whole message, a refusal's
    status, and what was open at the end. ``steps`` is all that can be seen after each ``read``.
    """

    def __init__(self, module, settings):
        self.reader = module.MessageReader(settings)
        self.is_over = False
        self.told = []
        self.steps = []
        self.body = b""

    def feed(self, data):
        position = 0
        while position < len(data) and not self.is_over:
            reader = self.reader
            if reader.state == COMPLETE:
                self.body = b""
                reader.next_message()
            before = position
            position = reader.read(data, position)
            assert before < position <= len(data) or reader.event == REFUSED
            self.note(position)

    def note(self, position):
        reader = self.reader
        fault = reader.fault and (reader.fault.status, reader.fault.detail)
        shown = {name: getattr(reader, name) for name in PUBLIC if name != "fault"}
        self.steps.append((position, fault, reader.body_left, shown))
        self.body += b"".join(reader.pieces)
        reader.pieces = []
        if reader.event == HEAD:
            fields = split_fields(reader.head, reader.fields_at, reader.head_size)
            self.told.append(("head", {name: getattr(reader, name) for name in OF_HEAD}, fields))
        elif reader.event == END:
            self.told.append(("end", self.body))
        elif reader.event == REFUSED:
            self.told.append(("refused", reader.fault.status))
        # Nothing behind a refused message is ever parsed, nor behind one that closes.
        self.is_over = reader.event == REFUSED or (reader.state == COMPLETE and not reader.is_keep_alive)

    def end(self):
        if not self.is_over:
            self.told.append(("open", self.reader.state, self.body))
        self.reader.close()
        return self.told


def read(module, pieces, max_fields=100):
    reading = Reading(module, settings_of(module, max_fields))
    for piece in pieces:
        reading.feed(piece)
    reading.end()
    return reading


def assert_same_reading(told, expected):
    """Assert that two splits of the same octets tell the same, but for the choice among several faults."""
    for one, other in zip_longest(told, expected):
        if one != other:
            assert {one[0], other[0]} == {"refused"}, (told, expected)
            assert {one[1], other[1]} <= FAULTS_OF_A_HEAD, (told, expected)


# --- octets with faults, and cuts ---


SOURCES = [
    octets for topic in TOPICS for case in topic.cases if len(octets := octets_of(case)) <= MAX_MUTATED_BYTES
]
INSERTS = [
    *(
        b"\r\n",
        b"\r",
        b"\n",
        b" ",
        b"\t",
        b":",
        b",",
        b";",
        b"\0",
        b"#",
        b"%",
        b"0",
        b"1",
        b"a",
        b"\x80",
        b"\r\n\r\n",
    ),
    *(
        b"0\r\n\r\n",
        b"1\r\nx\r\n",
        b"GET / HTTP/1.1\r\n",
        b"\r\nHost: b",
        b"\r\nContent-Length: 1",
        b"\r\nExpect: x",
    ),
    *(
        b"\r\nTransfer-Encoding: chunked",
        b"\r\nTransfer-Encoding: gzip",
        b"\r\nConnection: close",
        b"\r\nUpgrade: x",
    ),
    *(b"\r\nConnection: keep-alive, upgrade", b"\r\nProxy-Connection: close", b"\r\nExpect: 100-continue"),
]


@st.composite
def mutated(draw):
    """Octets of the corpus with up to three things put in, taken out, doubled or taken from another case."""
    octets = draw(st.sampled_from(SOURCES))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(octets)))
        match draw(st.integers(0, 5)):
            case 0 | 1:
                octets = octets[:at] + draw(st.sampled_from(INSERTS)) + octets[at:]
            case 2:
                octets = octets[:at] + octets[at + draw(st.integers(1, 3)) :]
            case 3:
                octets = octets[:at] + draw(st.binary(min_size=1, max_size=2)) + octets[at + 1 :]
            case 4:
                other = draw(st.sampled_from(SOURCES))
                octets = octets[:at] + other[draw(st.integers(0, len(other))) :]
            case 5:
                lines = octets.split(b"\r\n")
                lines.insert(at % len(lines), lines[draw(st.integers(0, len(lines) - 1))])
                octets = b"\r\n".join(lines)
    return octets


def cut(octets, places):
    """Cut at places that are counted round the octets; no piece is empty."""
    inner = sorted({place % len(octets) for place in places} - {0}) if octets else []
    return [
        octets[start:stop] for start, stop in zip([0, *inner], [*inner, len(octets)], strict=True) if octets
    ]


def singly(octets):
    return [octets[at : at + 1] for at in range(len(octets))]


places = st.lists(st.integers(0, 5000), max_size=8)
field_limits = st.sampled_from([100, 100, 3])


# --- both twins are equal ---


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_twins_agree_on_the_corpus(twins, topic):
    for case in topic.cases:
        for number, pieces in manners(case):
            pure, compiled = (read(module, pieces).steps for module in twins)
            assert compiled == pure, f"{case.name}, split {number}"


@given(octets=mutated(), at=places, max_fields=field_limits)
def test_twins_agree_on_faulty_octets(twins, octets, at, max_fields):
    for pieces in (cut(octets, []), cut(octets, at), singly(octets)):
        pure, compiled = (read(module, pieces, max_fields).steps for module in twins)
        assert compiled == pure, pieces


# --- the same however the octets are cut ---


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_the_corpus_is_read_the_same_however_it_is_cut(twin, topic):
    for case in topic.cases:
        expected = read(twin, [octets_of(case)]).told
        for number, pieces in manners(case):
            assert read(twin, pieces).told == expected, f"{case.name}, split {number}"


@given(octets=mutated(), at=places, max_fields=field_limits)
def test_faulty_octets_are_read_the_same_however_they_are_cut(twin, octets, at, max_fields):
    expected = read(twin, cut(octets, []), max_fields).told
    for pieces in (cut(octets, at), singly(octets)):
        assert_same_reading(read(twin, pieces, max_fields).told, expected)


@given(octets=st.tuples(mutated(), mutated()), at=st.tuples(places, places))
def test_readers_of_two_connections_do_not_meet(twin, octets, at):
    """They share the settings and with them the scan, which each call overwrites."""
    settings = settings_of(twin)
    readings = [Reading(twin, settings), Reading(twin, settings)]
    pieces = [cut(each, where) for each, where in zip(octets, at, strict=True)]
    for turn in zip_longest(*pieces, fillvalue=b""):
        for reading, piece in zip(readings, turn, strict=True):
            reading.feed(piece)
    for reading, alone in zip(readings, pieces, strict=True):
        assert reading.end() == read(twin, alone).told


# --- what was written is what is told ---


bodies = st.binary(max_size=60)
chunk_lines = st.tuples(bodies.filter(bool), st.sampled_from([b"", b";a", b';a="b;c"']))
trailers = st.sampled_from([b"", b"X-T: a\r\n", b"X-T: a\r\nHost: b\r\n"])


@st.composite
def messages(draw):
    """A message in order, the fields it has beside Host, and its body."""
    body = draw(bodies)
    match draw(st.integers(0, 2)):
        case 0:
            return b"GET", [], b"", b""
        case 1:
            return b"PUT", [(b"content-length", b"%d" % len(body))], body, body
    chunks = draw(st.lists(chunk_lines, max_size=4))
    octets = b"".join(b"%x%b\r\n%b\r\n" % (len(data), extension, data) for data, extension in chunks)
    octets += b"0\r\n" + draw(trailers) + b"\r\n"
    return b"POST", [(b"transfer-encoding", b"chunked")], octets, b"".join(data for data, _ in chunks)


@given(written=st.lists(messages(), min_size=1, max_size=4), at=places)
@example(written=[(b"GET", [], b"", b"")] * 3, at=[])
def test_messages_are_told_as_they_were_written(twin, written, at):
    expected, octets = [], b""
    for number, (method, fields, framed, body) in enumerate(written):
        target = b"/%d?q" % number
        fields = [(b"host", b"a.b:1"), *fields]
        lines = b"".join(b"%b: %b\r\n" % field for field in fields)
        octets += b"%b %b HTTP/1.1\r\n%b\r\n%b" % (method, target, lines, framed)
        is_whole = not framed
        length = len(body) if method == b"PUT" else None
        known = (method.decode(), target, b"/%d" % number, b"q", True, b"a.b:1", length, None, True, is_whole)
        expected.append(("head", dict(zip(OF_HEAD, known, strict=True)), fields))
        expected += [] if is_whole else [("end", body)]
    for pieces in ([octets], cut(octets, at), singly(octets)):
        *told, last = read(twin, pieces).told
        assert told == expected
        assert last[:2] == ("open", COMPLETE)


@pytest.mark.parametrize(
    ("octets", "status"),
    [
        (b"GET  / HTTP/1.1\r\n\r\n", 400),
        (b"\x16\x03\x01", 400),
        (b"FOO / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /" + b"a" * 65536 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: a\r\n" * 100 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n", 417),
        (b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775808\r\n\r\n", 400),
    ],
)
def test_refusals(twin, octets, status):
    good = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    for before in (b"", good):
        for pieces in ([before + octets + good], bytewise(before + octets + good)):
            told = read(twin, pieces).told
            assert told[-1] == ("refused", status)
            assert [kind for kind, *_ in told[:-1]] == ["head"] * bool(before)


def test_a_body_as_long_as_numbers_go_is_counted(twin):
    head = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775807\r\n\r\n"
    for pieces in ([head + b"octets"], [head, b"octets"], singly(head + b"octets")):
        reading = read(twin, pieces)
        assert reading.told[-1] == ("open", reading.reader.state, b"octets")
        assert reading.reader.body_left == 9223372036854775807 - 6
