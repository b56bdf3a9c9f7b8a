"""The request log's lines: what they say, when they are written, and that no client can forge one."""

from __future__ import annotations

import io
import json
import logging
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cello import LogEntry
from cello._speedups import LogLines, escape, fine_seconds, make_request
from cello.logs import entry_of, render_combined
from cello.server import access_log
from cello.server.access_log import PIPE_BYTES, AccessLog, pieces_of
from tests.kit.log_watch import wait_until, watching_log

WALL = 1_700_000_000.0
MAX_WAITING = 1000
PATIENCE_SECONDS = 10.0


class Output(io.StringIO):
    """Text that counts the writes it took."""

    def __init__(self, is_terminal: bool = False) -> None:
        super().__init__()
        self.write_count = 0
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal

    def write(self, text: str, /) -> int:
        self.write_count += 1
        return super().write(text)


def request_with(*fields: tuple[bytes, bytes]) -> Any:
    return make_request("GET", b"/", b"", list(fields), b"", 0, 0, b"test", "http", "1.1", ("192.0.2.7", 5))


def add(
    log: AccessLog,
    target: bytes = b"/users/1?full=yes",
    *,
    client: tuple[str, int] | None = ("192.0.2.7", 50000),
    method: str = "GET",
    status: int = 200,
    began_at: float = 0.0,
    size: int = 45,
    request: Any = None,
) -> None:
    log.requests.add(began_at, client, method, target, status, size, request)


def raw(
    target: bytes = b"/users/1?full=yes", status: int = 200, seconds: float = 0.00127, **given: Any
) -> Any:
    values = {
        "at": 10.0,
        "client": "192.0.2.7",
        "method": "GET",
        "size": 45,
        "route": SimpleNamespace(template="/users/{id}"),
        "version": "1.1",
        "request_id": b"ab12",
        "agents": None,
        **given,
    }
    front = (values["at"], seconds, values["client"], values["method"], target, status)
    return *front, *(values[name] for name in ("size", "route", "version", "request_id", "agents"))


def render(*entries: Any, is_json: bool = False) -> str:
    lines = LogLines(is_json, False, 7)
    lines.wall_offset = WALL - 10.0
    for entry in entries:
        lines.add(*entry[:-1])
    return lines.take().decode()


def line_of(target: bytes = b"/users/1?full=yes", **given: Any) -> str:
    return render(raw(target, **given))


def stamp(wall: float = WALL) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(wall))


@pytest.fixture
def output() -> Output:
    return Output()


def written(log: AccessLog, output: Output) -> list[str]:
    log.close()
    return output.getvalue().splitlines()


class TestLines:
    def test_one_line_says_all(self) -> None:
        assert line_of() == f"{stamp()} GET /users/1?full=yes 200 1.3ms 45B 192.0.2.7\n"

    @pytest.mark.parametrize(
        ("seconds", "shown"), [(0.0, "0.0ms"), (0.00004, "0.0ms"), (0.00006, "0.1ms"), (1.2346, "1234.6ms")]
    )
    def test_times_are_in_milliseconds(self, seconds: float, shown: str) -> None:
        assert f" {shown} " in line_of(seconds=seconds)

    def test_each_line_has_the_second_of_its_own_answer(self) -> None:
        entries = [raw(at=at) for at in (10.0, 10.9, 11.0, 10.5)]
        text = render(*entries)
        assert [line[:19] for line in text.splitlines()] == [stamp(WALL + at) for at in (0, 0, 1, 0)]

    def test_a_connection_of_which_nothing_was_read(self, output: Output) -> None:
        log = AccessLog("auto", output, wall=lambda: WALL + 0.9)
        add(log, b"", client=None, method="", status=503, size=120)
        assert written(log, output) == [f"{stamp()} - - 503 0.0ms 120B -"]

    @pytest.mark.parametrize(
        ("target", "shown"),
        [
            (b"/a\nGET /forged 200", r"/a\x0aGET\x20/forged\x20200"),
            (b"/\x1b[31mred", r"/\x1b[31mred"),
            (b"/\xc3\xa9", r"/\xc3\xa9"),
            (b"/back\\x41slash", r"/back\x5cx41slash"),
            (b"/\x7f\x00", r"/\x7f\x00"),
            (b"/plain~!$%20[]", "/plain~!$%20[]"),
        ],
    )
    def test_what_a_client_sent_is_escaped(self, target: bytes, shown: str) -> None:
        assert escape(target) == shown
        line = line_of(target)
        assert line.count("\n") == 1
        assert f" {shown} 200 " in line

    def test_a_space_never_makes_a_field_of_its_own(self) -> None:
        assert len(line_of(b"/a b").split(" ")) == len(line_of(b"/ab").split(" "))

    def test_a_long_target_is_cut(self) -> None:
        assert escape(b"/" + b"x" * 10_000) == "/" + "x" * 2047
        assert len(escape(b"\xff" * 10_000)) == 4 * 2048


class TestColours:
    @pytest.mark.parametrize(("status", "colour"), [(200, 32), (308, 36), (404, 33), (500, 31)])
    def test_a_terminal_gets_the_status_in_colour(
        self, status: int, colour: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for setting, is_coloured in (("", True), ("1", False)):
            monkeypatch.setenv("NO_COLOR", setting)
            output = Output(is_terminal=True)
            log = AccessLog("auto", output)
            add(log, status=status)
            (line,) = written(log, output)
            assert (f" \x1b[{colour}m{status}\x1b[0m " in line) is is_coloured
            assert ("\x1b" in line) is is_coloured

    def test_nothing_else_does(self, output: Output) -> None:
        log = AccessLog("auto", output)
        add(log)
        assert "\x1b" not in "".join(written(log, output))


class TestCollecting:
    def test_the_time_that_an_answer_took(self, output: Output) -> None:
        log = AccessLog(lambda entry: f"{entry.seconds:.3f} {entry.time:.0f}", output, wall=lambda: WALL)
        add(log, began_at=fine_seconds() - 5.0)
        add(log, began_at=0.0)
        first, second = written(log, output)
        assert 5.0 <= float(first.split()[0]) < 5.0 + PATIENCE_SECONDS
        assert second == f"0.000 {WALL:.0f}"

    @pytest.mark.parametrize(
        ("fields", "is_kept"),
        [
            ([(b"x-request-id", b"A-z.0_9~+/=:@")], True),
            ([(b"x-request-id", b"x" * 128)], True),
            ([(b"x-request-id", b"x" * 129)], False),
            ([(b"x-request-id", b"")], False),
            ([(b"x-request-id", b"a b")], False),
            ([(b"x-request-id", b'a"b')], False),
            ([(b"x-request-id", b"a\xe9")], False),
            ([(b"x-request-id", b"a\n")], False),
            ([(b"x-request-id", b"a"), (b"x-request-id", b"b")], False),
            ([], False),
        ],
    )
    def test_request_ids_are_accepted_or_made(
        self, fields: list[tuple[bytes, bytes]], is_kept: bool, output: Output
    ) -> None:
        request = request_with(*fields)
        log = AccessLog(lambda entry: entry.request_id, output)
        add(log, request=request)
        (logged,) = written(log, output)
        assert logged == request.request_id
        assert (fields[:1] == [(b"x-request-id", logged.encode())]) is is_kept
        if not is_kept:
            assert len(bytes.fromhex(logged)) == 8

    def test_made_ids_differ(self) -> None:
        assert len({request_with().request_id for _ in range(2000)}) == 2000


class TestBatches:
    def test_nothing_is_written_before_the_flush(self, output: Output) -> None:
        log = AccessLog("auto", output)
        add(log)
        assert output.getvalue() == ""
        assert len(written(log, output)) == 1

    def test_a_batch_is_one_write_in_order(self, output: Output) -> None:
        log = AccessLog("auto", output)
        for number in range(50):
            add(log, b"/%d" % number)
        lines = written(log, output)
        assert output.write_count == 1
        assert [line.split()[3] for line in lines] == [f"/{number}" for number in range(50)]

    def test_nothing_is_written_twice(self, output: Output) -> None:
        log = AccessLog("auto", output)
        add(log)
        log.flush()
        log.flush()
        assert len(written(log, output)) == 1
        assert output.write_count == 1

    def test_it_never_holds_many(self, output: Output) -> None:
        log = AccessLog("auto", output)
        for _ in range(MAX_WAITING):
            add(log)
        wait_until(lambda: output.getvalue().count("\n") == MAX_WAITING)
        assert len(written(log, output)) == MAX_WAITING

    @pytest.mark.parametrize("error", [BrokenPipeError(32, "Broken pipe"), ValueError("I/O on closed file")])
    def test_an_output_that_fails_is_no_error_of_the_server(self, error: Exception) -> None:
        class Broken(Output):
            def write(self, text: str, /) -> int:
                self.write_count += 1
                raise error

        output = Broken()
        log = AccessLog("auto", output)
        for _ in range(2):
            add(log)
            log.flush()
        log.close()
        assert output.write_count == 2

    def test_it_goes_to_standard_output_by_default(self, capsys: pytest.CaptureFixture[str]) -> None:
        log = AccessLog()
        add(log)
        log.close()
        assert " GET /users/1?full=yes 200 " in capsys.readouterr().out

    def test_a_process_without_standard_output_logs_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sys.stdout", None)  # as Python does where descriptor 1 is closed
        log = AccessLog()
        add(log)
        log.close()

    def test_a_system_without_threads_loses_nothing(
        self, output: Output, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        log = AccessLog("auto", output)
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", refuse)
            add(log, b"/first")
            log.flush()
        add(log, b"/second")
        assert [line.split()[3] for line in written(log, output)] == ["/first", "/second"]

    def test_an_output_that_blocks_holds_nobody_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(access_log, "MOST_BYTES", 1000)
        may_go, is_held = threading.Event(), threading.Event()

        class Stuck(Output):
            def write(self, text: str, /) -> int:
                is_held.set()
                assert may_go.wait(PATIENCE_SECONDS)
                return super().write(text)

        output = Stuck()
        log = AccessLog("auto", output)
        with watching_log() as warnings:
            add(log, b"/first")
            log.flush()
            assert is_held.wait(PATIENCE_SECONDS)
            for number in range(100):
                add(log, b"/%d" % number)
                log.flush()
            may_go.set()
            lines = written(log, output)
            assert " /first " in lines[0]
            dropped = 101 - len(lines)
            assert 50 < dropped < 100
            assert f"{dropped} lines of the request log were dropped" in warnings.text


class TestFormats:
    def entry(self, **given: Any) -> LogEntry:
        return entry_of(raw(**given), WALL - 10.0)

    def test_json(self) -> None:
        line = json.loads(render(raw(), is_json=True))
        assert line.pop("worker") == 7
        assert line == {
            "time": "2023-11-14T22:13:20.000+00:00",
            "level": "info",
            "client": "192.0.2.7",
            "method": "GET",
            "path": "/users/1",
            "query": "full=yes",
            "route": "/users/{id}",
            "status": 200,
            "ms": 1.27,
            "bytes": 45,
            "protocol": "HTTP/1.1",
            "request_id": "ab12",
        }

    def test_json_of_a_failure_without_a_route(self) -> None:
        line = json.loads(render(raw(b'/"\n', 500, route=None), is_json=True))
        assert (line["level"], line["route"], line["path"]) == ("error", None, '/"\\x0a')
        assert "query" not in line

    @pytest.mark.parametrize(
        ("agents", "shown"),
        [
            (None, '"-" "-"'),
            ((b"https://a.test/", b"curl/8.0 (x; y)"), '"https://a.test/" "curl/8.0 (x; y)"'),
            ((b'a"b', b'c"d\x1b'), '"a\\x22b" "c\\x22d\\x1b"'),
        ],
    )
    def test_combined(self, agents: Any, shown: str) -> None:
        at = time.localtime(WALL)
        day = f"{at.tm_mday:02d}/Nov/2023:{time.strftime('%H:%M:%S %z', at)}"
        line = render_combined(self.entry(agents=agents, target=b'/a"b'))
        assert line == f'192.0.2.7 - - [{day}] "GET /a\\x22b HTTP/1.1" 200 45 {shown}'

    def test_the_agents_are_collected_for_it(self, output: Output) -> None:
        log = AccessLog("combined", output)
        add(log, request=request_with((b"user-agent", b"curl"), (b"referer", b"/x")))
        assert written(log, output)[0].endswith(' "/x" "curl"')

    def test_a_function_may_leave_lines_out(self, output: Output) -> None:
        log = AccessLog(lambda entry: entry.path if entry.status >= 400 else None, output)
        add(log, b"/fine")
        add(log, b"/missing", status=404)
        assert written(log, output) == ["/missing"]

    def test_a_function_that_fails_is_told_of(self, output: Output) -> None:
        def broken(entry: LogEntry) -> str:
            return f"{entry.path} {1 // (entry.status - 200)}"

        log = AccessLog(broken, output)
        with watching_log() as watch:
            add(log, b"/fails")
            add(log, b"/works", status=201)
            assert written(log, output) == ["/works 1"]
            assert "ZeroDivisionError" in watch.text
            assert "/fails" in watch.text

    @pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
    def test_nothing_that_a_function_raises_ends_the_server(
        self, output: Output, kind: type[BaseException]
    ) -> None:
        def ends(entry: LogEntry) -> str:
            raise kind

        log = AccessLog(ends, output)
        with watching_log() as watch:
            add(log)
            assert written(log, output) == []
            assert kind.__name__ in watch.text

    def test_what_is_no_line_is_told_of(self, output: Output) -> None:
        log = AccessLog(lambda entry: entry.status, output)  # type: ignore[arg-type, return-value]
        with watching_log() as watch:
            add(log)
            assert written(log, output) == []
            assert "it returned a int, expected a str or None" in watch.text


class Kept(logging.Handler):
    """Keeps the records that it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[Any] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


class TestHandlers:
    def check(self, kept: Kept) -> None:
        first, second = kept.records
        assert first.getMessage() == "GET /users/1?full=yes 200 0.0ms 45B 192.0.2.7"
        assert (first.name, first.levelno, second.levelno) == ("cello.access", logging.INFO, logging.ERROR)
        assert (first.request.status, second.request.path) == (200, "/failed")
        assert first.created == pytest.approx(WALL, abs=PATIENCE_SECONDS)

    def use(self, log: AccessLog) -> None:
        add(log)
        add(log, b"/failed", status=500)
        log.close()

    def test_a_handler_gets_records(self, output: Output) -> None:
        kept = Kept()
        self.use(AccessLog(kept, output, wall=lambda: WALL))
        self.check(kept)
        assert output.getvalue() == ""

    def test_a_handler_that_fails_is_told_of(self, output: Output) -> None:
        class Broken(Kept):
            def emit(self, record: logging.LogRecord) -> None:
                super().emit(record)
                raise LookupError("no disk")

        broken = Broken()
        with watching_log() as watch:
            self.use(AccessLog(broken, output, wall=lambda: WALL))
            assert watch.text.count("LookupError: no disk") == 2
        assert len(broken.records) == 2

    def test_handlers_of_the_logger_get_them_too(self, output: Output) -> None:
        kept = Kept()
        access_logger = logging.getLogger("cello.access")
        access_logger.addHandler(kept)
        try:
            self.use(AccessLog("auto", output, wall=lambda: WALL))
            self.check(kept)
            access_logger.setLevel(logging.ERROR)
            self.use(AccessLog("auto", output, wall=lambda: WALL))
            assert [record.levelno for record in kept.records[2:]] == [logging.ERROR]
        finally:
            access_logger.removeHandler(kept)
            access_logger.setLevel(logging.NOTSET)
        assert output.getvalue() == ""


class TestPieces:
    @given(st.lists(st.integers(0, 6000), max_size=12))
    def test_pieces_are_whole_lines_that_a_pipe_takes_at_once(self, lengths: list[int]) -> None:
        text = b"".join(b"x" * length + b"\n" for length in lengths)
        pieces = list(pieces_of(text))
        assert b"".join(pieces) == text
        for piece in pieces:
            assert piece.endswith(b"\n")
            assert len(piece) <= PIPE_BYTES or piece.count(b"\n") == 1

    def test_pieces_are_as_large_as_they_can_be(self) -> None:
        assert [len(piece) for piece in pieces_of(b"12345678901\n" * 1000)] == [4092, 4092, 3816]

    def test_an_end_without_a_newline_is_kept(self) -> None:
        assert list(pieces_of(b"a" * 5000)) == [b"a" * 5000]
