"""The corpus's judge is itself judged: its client, its comparison and the cases as data."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.kit.answer_reader import Answer, AnswerReader
from tests.kit.corpus import (
    BEHIND,
    FAREWELL,
    Case,
    load_corpus,
    load_topic,
    octets_of,
    parse_case,
    run_case,
    script_of,
)
from tests.kit.corpus_client import (
    Await,
    AwaitCount,
    Drip,
    Fin,
    Octets,
    Outcome,
    Pause,
    bytewise,
    split_at_random,
    whole,
)
from tests.kit.corpus_judge import answer_complaints, compare, matches

STAMP = b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nServer: cello\r\n"
GOOD = b"HTTP/1.1 200 OK\r\n" + STAMP + b"Content-Length: 5\r\n\r\nhello"
LAST = b"HTTP/1.1 200 OK\r\n" + STAMP + b"Connection: close\r\nContent-Length: 13\r\n\r\nbehind-marker"
MARKED = b"HTTP/1.1 200 OK\r\n" + STAMP + b"Content-Length: 13\r\n\r\nbehind-marker"
PROBLEM = b'{"status":400}'
REFUSAL = (
    b"HTTP/1.1 400 Bad Request\r\n" + STAMP + b"Connection: close\r\n"
    b"Content-Type: application/problem+json\r\nContent-Length: 14\r\n\r\n" + PROBLEM
)


def read_all(octets: bytes, methods: tuple[str, ...] = ()) -> list[Answer]:
    reader = AnswerReader(methods)
    return reader.feed(octets) + reader.finish()


class TestSplits:
    @pytest.mark.parametrize("octets", [b"", b"a", b"ab", b"GET / HTTP/1.1\r\n\r\n", b"x" * 9000])
    def test_nothing_is_lost(self, octets: bytes) -> None:
        for split in (whole, bytewise, split_at_random("seed")):
            assert b"".join(split(octets)) == octets

    def test_bytewise_sends_single_octets_while_they_are_few(self) -> None:
        assert bytewise(b"abc") == [b"a", b"b", b"c"]
        assert [len(piece) for piece in bytewise(b"x" * 4500)] == [1000, 1000, 1000, 1000, 500]

    def test_random_splits_follow_from_the_seed(self) -> None:
        octets = bytes(range(256))
        assert split_at_random("a")(octets) == split_at_random("a")(octets)
        assert split_at_random("a")(octets) != split_at_random("b")(octets)
        assert all(split_at_random("a")(octets))


def case_of(**keys: Any) -> Case:
    table = {
        "name": "a-case",
        "rule": "RFC 9112 3",
        "send": "GET / HTTP/1.1\r\n\r\n",
        "expect": [200],
        "then": "close",
    }
    return parse_case("topic", table | keys)


class TestCases:
    def test_octets(self) -> None:
        assert octets_of("\u00e9\r\n") == b"\xe9\r\n"
        assert octets_of(["a", {"repeat": ["b", {"repeat": "c", "count": 2}], "count": 3}]) == b"abccbccbcc"
        with pytest.raises(ValueError, match="repeat"):
            octets_of({"repeats": "a", "count": 2})
        with pytest.raises(UnicodeEncodeError):
            octets_of("\u20ac")

    def test_steps(self) -> None:
        send = [
            "a",
            {"repeat": "b", "count": 2},
            {"await": 100},
            "c",
            {"pause": 0.5},
            {"drip": "d", "every_seconds": 0.1},
        ]
        steps = case_of(send=send, behind=False).steps
        assert steps == (Octets(b"abb"), Await(100), Octets(b"c"), Pause(0.5), Drip(b"d", 0.1))

    def test_script_behind_and_farewell(self) -> None:
        assert script_of(case_of(send="a", then="open")) == [
            Octets(b"a" + BEHIND),
            AwaitCount(2),
            Octets(FAREWELL),
        ]
        assert script_of(case_of(send="a")) == [Octets(b"a" + BEHIND)]
        assert script_of(case_of(send=["a", {"await": 200}])) == [Octets(b"a"), Await(200), Octets(BEHIND)]
        assert script_of(case_of(send="a", half_close=True)) == [Octets(b"a"), Fin()]

    @pytest.mark.parametrize(
        "keys",
        [
            {"expects": [200]},
            {"then": "closed"},
            {"name": "Not Kebab"},
            {"expect": ["400"]},
            {"expect": ["400?"], "then": "open"},
            {"expect": [], "then": "open"},
            {"half_close": True, "then": "open"},
            {"reads_late": True, "send": ["a", {"await": 200}]},
            {"send": []},
            {"send": [{"awaits": 200}]},
            {"send": [{"await": 200, "pause": 0.1}]},
            {"bodies": ["a", "b"]},
            {"bodies": ["a"], "expect": ["200?"]},
        ],
    )
    def test_nonsense_is_refused(self, keys: dict[str, Any]) -> None:
        with pytest.raises(ValueError):
            case_of(**keys)

    def test_keys_that_are_missing(self) -> None:
        with pytest.raises(ValueError, match="expect"):
            parse_case("topic", {"name": "a-case", "rule": "RFC 9112 3", "send": "a", "then": "open"})

    def test_names_are_unique(self, tmp_path: Path) -> None:
        case = '[[case]]\nname = "a"\nrule = "b"\nsend = "c"\nexpect = [200]\nthen = "close"\n'
        (tmp_path / "one.toml").write_text('row = "r"\n' + case)
        (tmp_path / "two.toml").write_text('row = "r"\n' + case)
        with pytest.raises(ValueError, match="used twice"):
            load_corpus(tmp_path)
        (tmp_path / "three.toml").write_text(case)
        with pytest.raises(ValueError, match="row and case"):
            load_topic(tmp_path / "three.toml")

    def test_the_corpus_loads_and_is_large(self) -> None:
        topics = load_corpus()
        assert sum(len(topic.cases) for topic in topics) >= 600
        assert min(len(topic.cases) for topic in topics) >= 10
        assert len({topic.row for topic in topics}) == 22

    def test_no_case_is_said_twice(self) -> None:
        cases = [case for topic in load_corpus() for case in topic.cases]
        said = {(case.steps, case.behind, case.half_close, case.reads_late) for case in cases}
        assert len(said) == len(cases)


class TestMatching:
    @pytest.mark.parametrize(
        ("expect", "statuses", "fits"),
        [
            ([200], [200], True),
            ([200], [], False),
            ([200], [200, 200], False),
            ([[400, 501]], [501], True),
            ([[400, 501]], [505], False),
            (["100?", 200], [200], True),
            (["100?", 200], [100, 200], True),
            (["100?", 200], [100, 100, 200], False),
            ([100, 200], [200], False),
            ([200, "400?"], [200], True),
            ([{"status": 200, "count": 3}], [200, 200, 200], True),
            ([{"status": 200, "count": 3}], [200, 200], False),
            ([200, 400], [400, 200], False),
        ],
    )
    def test_statuses(self, expect: list[Any], statuses: list[int], fits: bool) -> None:
        assert matches(case_of(expect=expect).expect, statuses) is fits


def outcome_of(octets: bytes, end: str = "eof", methods: tuple[str, ...] = ()) -> Outcome:
    return Outcome(tuple(read_all(octets, methods)), end, "", octets)


class TestJudge:
    def test_an_outcome_as_it_should_be(self) -> None:
        assert compare(case_of(then="open"), outcome_of(GOOD + MARKED + LAST)) == []
        assert compare(case_of(then="open", behind=False), outcome_of(GOOD + LAST)) == []
        assert compare(case_of(expect=[400]), outcome_of(REFUSAL)) == []
        assert compare(case_of(half_close=True), outcome_of(GOOD)) == []

    @pytest.mark.parametrize(
        ("keys", "octets", "complaint"),
        [
            ({"then": "open"}, GOOD + LAST, "expected"),
            ({"then": "open"}, GOOD + MARKED + MARKED + LAST, "expected"),
            ({"then": "open"}, GOOD + MARKED.replace(b"marker", b"walker") + LAST, "request behind"),
            ({"then": "open"}, LAST + MARKED + LAST, "but another answer followed"),
            ({"then": "open"}, GOOD + MARKED + MARKED, "did not announce"),
            ({}, GOOD, "did not announce"),
            ({"expect": [400]}, REFUSAL + MARKED, "expected"),
            ({"expect": [400]}, REFUSAL.replace(b"Date", b"Data"), "with Date"),
            ({"expect": [400]}, REFUSAL.replace(b"06 Nov", b"6 Nov"), "with Date"),
            ({"expect": [400]}, REFUSAL.replace(b"Server: cello", b"Server: cello/1.0"), "with Server"),
            ({"expect": [400]}, REFUSAL.replace(b"problem+json", b"json"), "Content-Type"),
            ({"expect": [400]}, REFUSAL.replace(b":400}", b":500}"), "the problem"),
            ({"expect": [405]}, REFUSAL.replace(b"400", b"405"), "without Allow"),
            ({"body": "hallo"}, LAST, "the body"),
            ({"bodies": ["hallo"]}, LAST, "answer 0"),
            ({"lacks": ["marker"]}, LAST, "came back"),
            ({"headers": {"server": "-"}}, LAST, "server is"),
            ({"headers": {"allow": "*"}}, LAST, "allow is"),
            ({"headers": {"server": "other"}}, LAST, "server is"),
            ({"headers": {"server": "~^nginx"}}, LAST, "server is"),
            ({"echo": {"body": "x"}}, LAST, "the handler saw body"),
        ],
    )
    def test_what_is_wrong_is_said(self, keys: dict[str, Any], octets: bytes, complaint: str) -> None:
        complaints = compare(case_of(**keys), outcome_of(octets))
        assert any(complaint in each for each in complaints), complaints

    @pytest.mark.parametrize("end", ["reset", "timeout", "malformed"])
    def test_only_an_orderly_end_will_do(self, end: str) -> None:
        assert compare(case_of(expect=[400]), outcome_of(REFUSAL, end)) == [f"the connection ended by {end}"]

    def test_echo(self) -> None:
        body = b'{"method": "GET", "headers": [["host", "a"], ["x-a", "1"], ["x-a", "2"]]}'
        octets = (
            b"HTTP/1.1 200 OK\r\n"
            + STAMP
            + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
            + body
        )
        seen = {"method": "GET", "headers": {"host": "a", "x-a": ["1", "2"]}, "without": ["x-b"]}
        assert compare(case_of(echo=seen), outcome_of(octets)) == []
        for wrong in (
            {"headers": {"x-a": "1"}},
            {"headers": {"x-b": ""}},
            {"without": ["x-a"]},
            {"method": "PUT"},
        ):
            assert len(compare(case_of(echo=wrong), outcome_of(octets))) >= 1

    def test_many_answers_are_said_in_few_words(self) -> None:
        (complaint,) = compare(
            case_of(expect=[{"status": 200, "count": 9}], announced=False), outcome_of(GOOD)
        )
        assert complaint == "expected [200x9], got [200]"

    def test_refused_head_needs_no_problem_but_its_type(self) -> None:
        octets = REFUSAL.removesuffix(PROBLEM)
        assert compare(case_of(expect=[400], methods=["HEAD"]), outcome_of(octets, methods=("HEAD",))) == []

    def test_interim_answers_need_no_date(self) -> None:
        (answer,) = read_all(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert answer_complaints(answer) == []


@contextmanager
def server_that(serve: Callable[[socket.socket], None]) -> Iterator[tuple[str, int]]:
    """Run a peer that does one thing with one connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run() -> None:
            connection, _ = listener.accept()
            with connection:
                serve(connection)

        thread = threading.Thread(target=run)
        thread.start()
        yield listener.getsockname()[:2]
        thread.join(10)
        assert not thread.is_alive()


def receive_until(connection: socket.socket, end: bytes) -> bytes:
    octets = b""
    while end not in octets and (piece := connection.recv(65536)):
        octets += piece
    return octets


class TestClient:
    def test_a_conversation_that_stays_open(self) -> None:
        heard = []

        def serve(connection: socket.socket) -> None:
            heard.append(receive_until(connection, BEHIND))
            connection.sendall(GOOD + MARKED)
            heard.append(receive_until(connection, FAREWELL))
            connection.sendall(LAST)

        case = case_of(then="open")
        for split in (whole, bytewise, split_at_random("a")):
            with server_that(serve) as address:
                assert compare(case, run_case(case, address, split)) == []
            assert b"".join(heard) == b"GET / HTTP/1.1\r\n\r\n" + BEHIND + FAREWELL
            heard.clear()

    def test_it_waits_for_the_answer_it_was_told_to_await(self) -> None:
        def serve(connection: socket.socket) -> None:
            assert receive_until(connection, b"head") == b"head"
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            assert receive_until(connection, b"body") == b"body"
            connection.sendall(LAST)

        case = case_of(send=["head", {"await": 100}, "body"], expect=[100, 200], behind=False)
        with server_that(serve) as address:
            assert compare(case, run_case(case, address)) == []

    def test_it_half_closes(self) -> None:
        def serve(connection: socket.socket) -> None:
            assert receive_until(connection, b"never") == b"request"
            connection.sendall(GOOD)

        case = case_of(send="request", half_close=True)
        with server_that(serve) as address:
            assert compare(case, run_case(case, address)) == []

    def test_it_tells_a_reset_from_an_end(self) -> None:
        def serve(connection: socket.socket) -> None:
            connection.recv(1)  # what is left unread makes the close a reset
            connection.sendall(REFUSAL)

        case = case_of(send=[{"repeat": "x", "count": 5_000_000}], expect=[400], reads_late=True)
        with server_that(serve) as address:
            assert run_case(case, address).end == "reset"

    def test_it_reads_an_early_answer_and_stops_sending(self) -> None:
        def serve(connection: socket.socket) -> None:
            connection.sendall(REFUSAL)
            connection.shutdown(socket.SHUT_WR)
            receive_until(connection, b"never")

        case = case_of(send=[{"repeat": "x", "count": 5_000_000}], expect=[400])
        with server_that(serve) as address:
            assert compare(case, run_case(case, address)) == []

    def test_a_cut_answer_is_malformed(self) -> None:
        def serve(connection: socket.socket) -> None:
            receive_until(connection, BEHIND)
            connection.sendall(GOOD[:-1])

        with server_that(serve) as address:
            outcome = run_case(case_of(), address)
        assert outcome.end == "malformed"
        assert "ended inside an answer" in outcome.note
