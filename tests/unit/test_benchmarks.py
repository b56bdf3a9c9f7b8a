"""The load harness's own arithmetic: what it reads from wrk, perf and /proc, and what it makes of it."""

from __future__ import annotations

import json
import os
from argparse import ArgumentTypeError
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.load import figures, idle, machine, perf, proc, report, scenarios, wrk
from benchmarks.load.answers import BadAnswer, content_length, parse
from benchmarks.load.contenders import CONTENDERS, server_environment, shown_command
from benchmarks.load.figures import Ratio
from benchmarks.load.measure import Visit
from benchmarks.load.plan import choose, contender_names, order
from benchmarks.load.settings import Settings

SETTINGS = Settings(
    rounds=2,
    seconds=3,
    warmup_seconds=1,
    connections=64,
    idle_connections=3000,
    server_core=0,
    load_core=1,
    counts_instructions=False,
)

WRK_OUTPUT = """\
Running 3s test @ http://127.0.0.1:9101/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   178.21us   88.02us   3.12ms   92.11%
    Req/Sec   178.30k     6.03k  184.40k    86.67%
  532012 requests in 3.00s, 71.03MB read
Requests/sec: 177311.10
Transfer/sec:     23.67MB
summary requests=532012 duration_us=3000444 bytes=74481680 connect=0 read=0 write=0 status=0 timeout=0
"""
GOOD = wrk.Summary(532012, 3000444, 74481680, connect=0, read=0, write=0, status=0, timeout=0)


def visit(contender: str, round_number: int, cost: float | None, failure: str | None = None) -> Visit:
    return Visit("json", contender, round_number, failure=failure, cpu_us_per_answer=cost)


class TestWrk:
    def test_reads_the_exact_counts(self) -> None:
        assert wrk.parse(WRK_OUTPUT) == GOOD

    def test_names_what_came_instead_of_a_report(self) -> None:
        with pytest.raises(ValueError, match="unable to connect"):
            wrk.parse("unable to connect to 127.0.0.1:1 Connection refused\n")

    def test_has_nothing_to_say_about_a_good_run(self) -> None:
        assert wrk.complaint(GOOD, answer_bytes=140, in_flight=64) is None

    @pytest.mark.parametrize("kind", ["connect", "read", "write", "status", "timeout"])
    def test_any_error_spoils_the_run(self, kind: str) -> None:
        spoilt = replace(GOOD, **{kind: 3})
        assert wrk.complaint(spoilt, answer_bytes=140, in_flight=64) == f"3 {kind} errors in 532012 answers"

    def test_no_answer_spoils_the_run(self) -> None:
        empty = replace(GOOD, requests=0, bytes=0)
        assert wrk.complaint(empty, answer_bytes=140, in_flight=64) == "no answer at all"

    @pytest.mark.parametrize("surplus", [-64 * 140, 64 * 140])
    def test_allows_for_answers_cut_off_by_the_end(self, surplus: int) -> None:
        cut = replace(GOOD, bytes=GOOD.requests * 140 + surplus)
        assert wrk.complaint(cut, answer_bytes=140, in_flight=64) is None

    @pytest.mark.parametrize("surplus", [-64 * 140 - 1, 64 * 140 + 1])
    def test_bytes_that_are_not_those_answers_spoil_the_run(self, surplus: int) -> None:
        other = replace(GOOD, bytes=GOOD.requests * 140 + surplus)
        complaint = wrk.complaint(other, answer_bytes=140, in_flight=64)
        assert complaint is not None
        assert "expected 140" in complaint

    def test_the_command_asks_for_the_scenario(self) -> None:
        command = wrk.command(8000, scenarios.LOADS["pipelined"], connections=64, seconds=3)
        assert command[:4] == ["wrk", "-t1", "-c64", "-d3s"]
        assert command[-5:] == ["http://127.0.0.1:8000/", "--", "16", "/json?n=", ""]


class TestPerf:
    def test_reads_the_count(self) -> None:
        text = "# started on Thu Jan  1 00:00:00 1970\n\n4171234567,,instructions:u,2890000000,100.00,,\n"
        assert perf.parse_stat(text) == 4171234567

    @pytest.mark.parametrize("word", ["not supported", "not counted"])
    def test_says_what_perf_says(self, word: str) -> None:
        with pytest.raises(ValueError, match=word):
            perf.parse_stat(f"<{word}>,,instructions:u,0,100.00,,\n")

    def test_says_what_came_instead(self) -> None:
        with pytest.raises(ValueError, match="No permission"):
            perf.parse_stat("Error:\nNo permission to enable instructions:u event.\n")

    def test_counts_all_processes_while_the_command_runs(self, tmp_path: Path) -> None:
        wrapped = perf.wrap(["wrk", "-t1"], [12, 34], report := tmp_path / "perf.csv")
        assert wrapped[wrapped.index("-p") + 1] == "12,34"
        assert wrapped[wrapped.index("-o") + 1] == str(report)
        assert wrapped[wrapped.index("--") + 1 :] == ["wrk", "-t1"]


def stat_line(pid: int, command: str, parent: int, times: str) -> str:
    return f"{pid} ({command}) S {parent} {pid} {pid} 0 -1 4194560 9 9 9 9 {times} 20 0 1 0 345 5 6 7\n"


class TestProc:
    def test_sums_own_time_and_that_of_ended_children(self) -> None:
        assert proc.parse_stat(stat_line(7, "nginx", 1, "10 20 300 4000")) == proc.Stat(7, 1, 310, 4020)

    @pytest.mark.parametrize("command", ["a b", "a) S 99 (b", "((", ") R 1 1"])
    def test_a_command_may_hold_blanks_and_parentheses(self, command: str) -> None:
        assert proc.parse_stat(stat_line(7, command, 3, "1 2 0 0")) == proc.Stat(7, 3, 1, 2)

    def test_the_tree_is_the_root_and_all_below_it(self) -> None:
        parents = {1: 0, 10: 1, 11: 10, 12: 11, 13: 10, 20: 1, 21: 20}
        stats = [proc.Stat(pid, parent, 0, 0) for pid, parent in reversed(parents.items())]
        assert sorted(stat.pid for stat in proc.tree(stats, 10)) == [10, 11, 12, 13]

    def test_a_process_that_is_gone_has_no_tree(self) -> None:
        assert proc.tree([proc.Stat(1, 0, 5, 5)], 10) == []

    def test_cpu_time_is_a_difference_of_two_readings(self) -> None:
        used = proc.CpuTime(5.0, 4.0) - proc.CpuTime(2.0, 0.5)
        assert (used, used.total) == (proc.CpuTime(3.0, 3.5), 6.5)

    def test_the_busy_ticks_of_a_core(self) -> None:
        text = "cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 1 2 4 1000 2000 8 16 32 64 128\ncpu1 5 0 0 9 9 0 0 0 0 0\n"
        assert proc.parse_core_ticks(text, 0) == 63
        assert proc.parse_core_ticks(text, 1) == 5

    def test_a_core_that_is_not_there(self) -> None:
        with pytest.raises(ValueError, match="cpu2"):
            proc.parse_core_ticks("cpu0 1 2 3 4 5 6 7 8 9 10\n", 2)

    def test_reads_kibibytes_as_bytes(self) -> None:
        rollup = "559d-7ffc ---p 00000000 00:00 0    [rollup]\nRss:             28412 kB\nPss:  27000 kB\n"
        assert proc.parse_kib(rollup, "Rss") == 28412 * 1024

    def test_a_line_that_is_not_there(self) -> None:
        with pytest.raises(ValueError, match="VmRSS"):
            proc.parse_kib("Name:\tkthreadd\n", "VmRSS")

    @pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs Linux's /proc")
    def test_reads_this_process(self) -> None:
        assert proc.pids(os.getpid())[0] == os.getpid()
        assert proc.rss_bytes(os.getpid()) > 1_000_000


class TestAnswers:
    HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2"

    def test_the_size_counts_head_and_body(self) -> None:
        answer = parse(self.HEAD, b"{}")
        assert (answer.status, answer.content_type) == (200, "application/json")
        assert answer.size_bytes == len(self.HEAD + b"\r\n\r\n{}")

    def test_the_length_is_found_in_any_case(self) -> None:
        assert content_length(self.HEAD) == 2
        assert content_length(self.HEAD.lower()) == 2

    def test_an_answer_without_length_is_bad(self) -> None:
        with pytest.raises(BadAnswer, match="Content-Length"):
            content_length(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked")

    @pytest.mark.parametrize(
        ("body", "is_good"),
        [
            (b'{"message":"hello","n":"123456"}', True),
            (b'{ "n": "123456", "message": "hello" }', True),
            (b'{"message":"hello","n":"123457"}', False),
            (b'{"message":"hello","n":123456}', False),
            (b'{"message":"hello"}', False),
            (b'{"message":"hello","n":"123456"', False),
            (b"", False),
        ],
    )
    def test_the_document_carries_the_requests_value(self, body: bytes, is_good: bool) -> None:
        assert scenarios.is_expected(body, 123456) is is_good

    def test_every_scenario_has_a_target_of_its_own_per_value(self) -> None:
        targets = {name: scenario.target(123456) for name, scenario in scenarios.LOADS.items()}
        assert targets == {"json": "/json?n=123456", "pipelined": "/json?n=123456", "params": "/users/123456"}


class TestFigures:
    VISITS = (
        visit("bare", 0, 5.0),
        visit("cello", 0, 6.0),
        visit("bare", 1, 8.0),
        visit("cello", 1, 16.0),
        visit("bare", 2, 4.0),
        visit("cello", 2, 7.0),
    )

    def test_minimum_and_median(self) -> None:
        found = figures.row(self.VISITS, "cello", [])
        assert (found.minimum_us, found.median_us, found.rounds) == (6.0, 7.0, 3)

    def test_ratio_of_minima_and_median_of_the_rounds_ratios(self) -> None:
        found = figures.row(self.VISITS, "cello", ["bare"])
        assert found.ratios == {"bare": Ratio(of_minima=6.0 / 4.0, median_of_rounds=7.0 / 4.0)}

    def test_only_rounds_that_both_finished_are_compared(self) -> None:
        assert figures.ratio({0: 10.0, 1: 9.0}, {1: 3.0, 2: 1.0}) == Ratio(9.0, 3.0)

    def test_no_shared_round_is_no_ratio(self) -> None:
        assert figures.ratio({0: 10.0}, {1: 3.0}) is None
        assert figures.row(self.VISITS, "cello", ["nginx"]).ratios == {}

    def test_a_failed_visit_counts_as_a_round_without_a_figure(self) -> None:
        failed = visit("cello", 3, None, "3 status errors in 9 answers")
        found = figures.row([*self.VISITS, failed], "cello", ["bare"])
        assert (found.rounds, found.failures, found.minimum_us) == (4, (failed.failure,), 6.0)

    def test_nothing_but_failures(self) -> None:
        found = figures.row([visit("cello", 0, None, "no answer at all")], "cello", ["bare"])
        assert (found.minimum_us, found.median_us, found.ratios) == (None, None, {})

    def test_rows_keep_the_order_of_the_first_round(self) -> None:
        assert [row.contender for row in figures.rows(self.VISITS, [])] == ["bare", "cello"]


class TestIdle:
    READINGS = idle.Readings(
        at_rest=20_000_000,
        half=25_000_000,
        full=27_000_000,
        closed=26_000_000,
        half_again=26_000_000,
        full_again=27_000_000,
        closed_again=26_000_000,
    )

    def test_bytes_per_connection(self) -> None:
        found = idle.figures("cello", 1000, self.READINGS)
        assert (found.first, found.marginal, found.again, found.kept) == (7000.0, 4000.0, 1000.0, 0.0)

    def test_reads_until_two_readings_agree(self) -> None:
        readings = iter([5, 4, 3, 3, 2])
        assert idle.settled(lambda: next(readings), sleep=lambda _: None) == 3

    def test_gives_up_on_memory_that_never_rests(self) -> None:
        readings = iter(range(1000))
        assert idle.settled(lambda: next(readings), sleep=lambda _: None) == idle.SETTLE_READINGS


class TestReport:
    def results(self) -> report.Results:
        where = {
            "cpu": "A",
            "cores": 2,
            "kernel": "6",
            "python": "CPython 3.11",
            "wrk": "wrk",
            "revision": "r",
        }
        return report.Results(where, ["--rounds", "2"], SETTINGS, ["bare"], visits=list(TestFigures.VISITS))

    def test_the_table_has_a_line_per_contender(self) -> None:
        lines = report.table(self.results()).splitlines()
        assert "| cello | 6.00 | 7.00 | - | 1.50 / 1.75 | - | - | - | 3 of 3 |" in lines

    def test_failures_and_skips_stand_below_the_table(self) -> None:
        results = self.results()
        results.visits.append(visit("nginx", 0, None, "7 read errors in 9 answers"))
        results.skipped["granian"] = "granian not installed"
        lines = report.table(results).splitlines()
        assert "- failed json nginx: 7 read errors in 9 answers" in lines
        assert "- skipped granian: granian not installed" in lines
        assert "| nginx | - | - | - | - | - | - | - | 0 of 1 |" in lines

    def test_idle_connections_have_a_table_of_their_own(self) -> None:
        results = self.results()
        results.idle.append(idle.figures("bare", 1000, TestIdle.READINGS))
        assert "| bare | 20.0 | 27.0 | 7,000 | 4,000 | 1,000 | 0 |" in report.table(results).splitlines()

    def test_the_raw_results_hold_every_round(self) -> None:
        raw = json.loads(self.results().to_json())
        costs = [each["cpu_us_per_answer"] for each in raw["visits"] if each["contender"] == "cello"]
        assert costs == [6.0, 16.0, 7.0]
        assert raw["settings"]["connections"] == 64

    def test_instructions_show_only_where_they_were_counted(self) -> None:
        counted = [replace(each, instructions_per_answer=8123.4) for each in TestFigures.VISITS]
        assert "8,123" in report.load_table(counted, [])
        assert "instructions" not in report.load_table(TestFigures.VISITS, [])


class TestCommandLine:
    def test_every_contender_once_a_round_and_another_one_first(self) -> None:
        contenders = list(CONTENDERS.values())[:3]
        rounds = [[each.name for each in order(contenders, number)] for number in range(4)]
        assert [names[0] for names in rounds] == ["bare", "nginx", "granian", "bare"]
        assert all(sorted(names) == ["bare", "granian", "nginx"] for names in rounds)

    def test_named_contenders_win_over_the_default_ones(self) -> None:
        assert [each.name for each in choose("json", ["uvicorn", "bare"])] == ["uvicorn", "bare"]
        assert "uvicorn" not in [each.name for each in choose("json", None)]
        assert "granian" not in [each.name for each in choose("idle", None)]

    def test_an_unknown_contender_is_refused_by_name(self) -> None:
        with pytest.raises(ArgumentTypeError, match="express"):
            contender_names("bare,express")

    def test_a_server_sees_no_switch_of_the_callers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CELLO_NO_EXTENSIONS", "1")
        monkeypatch.setenv("PYTHONDEVMODE", "1")
        assert not {"CELLO_NO_EXTENSIONS", "PYTHONDEVMODE"} & server_environment({}).keys()
        assert server_environment(CONTENDERS["cello-pure"].env)["CELLO_NO_EXTENSIONS"] == "1"

    def test_a_command_is_shown_without_this_machines_paths(self) -> None:
        shown = shown_command(CONTENDERS["cello-pure"])
        assert shown.startswith("CELLO_NO_EXTENSIONS=1 python -m benchmarks.load.servers.cello_app --port 0")
        assert "-p SCRATCH -c SCRATCH/nginx.conf" in shown_command(CONTENDERS["nginx"])

    def test_the_cpu_is_named(self) -> None:
        text = "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: Some Processor @ 2 GHz\n"
        assert machine.parse_cpu_model(text) == "Some Processor @ 2 GHz"
        assert machine.parse_cpu_model("") == "unknown"
