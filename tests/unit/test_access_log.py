"""The request log's lines: what they say, when they are written, and that no client can forge one."""

from __future__ import annotations

import io
import time
from dataclasses import dataclass

import pytest

from cello.server.access_log import MAX_WAITING, AccessLog, escape

WALL = 1_700_000_000.0


@dataclass
class Answered:
    """What the log reads of a connection."""

    client: tuple[str, int] | None = ("192.0.2.7", 50000)
    method: str = "GET"
    target: bytes = b"/users/1?full=yes"
    status: int = 200
    began_at: float = 10.0
    sent_bytes: int = 45


class Output(io.StringIO):
    """Text that counts the writes it took."""

    def __init__(self, is_terminal: bool = False) -> None:
        super().__init__()
        self.write_count = 0
        self.flush_count = 0
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal

    def write(self, text: str, /) -> int:
        self.write_count += 1
        return super().write(text)

    def flush(self) -> None:
        self.flush_count += 1
        super().flush()


@pytest.fixture
def output() -> Output:
    return Output()


@pytest.fixture
def log(output: Output) -> AccessLog:
    return AccessLog(output, clock=lambda: 10.00127, wall=lambda: WALL)


def stamp() -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(WALL))


def line_of(connection: Answered) -> str:
    output = Output()
    log = AccessLog(output, clock=lambda: 10.00127, wall=lambda: WALL)
    log.record(connection)
    log.flush()
    return output.getvalue()


class TestLines:
    def test_one_line_says_all(self) -> None:
        assert line_of(Answered()) == f"{stamp()} 192.0.2.7 GET /users/1?full=yes 200 1.3ms 45B\n"

    def test_a_connection_of_which_nothing_was_read(self) -> None:
        silent = Answered(client=None, method="", target=b"", status=503, began_at=0.0, sent_bytes=120)
        assert line_of(silent) == f"{stamp()} - - - 503 0.0ms 120B\n"

    @pytest.mark.parametrize(
        ("target", "shown"),
        [
            (b"/a\nGET /forged 200", r"/a\x0aGET\x20/forged\x20200"),
            (b"/\x1b[31mred", r"/\x1b[31mred"),
            (b"/\xc3\xa9", r"/\xc3\xa9"),
            (b"/back\\x41slash", r"/back\x5cx41slash"),
            (b"/\x7f\x00", r"/\x7f\x00"),
            (b"/plain~!$%20", "/plain~!$%20"),
        ],
    )
    def test_what_a_client_sent_is_escaped(self, target: bytes, shown: str) -> None:
        assert escape(target) == shown
        line = line_of(Answered(target=target))
        assert line.count("\n") == 1
        assert f" {shown} 200 " in line

    def test_a_space_never_makes_a_field_of_its_own(self) -> None:
        assert len(line_of(Answered(target=b"/a b")).split(" ")) == len(
            line_of(Answered(target=b"/ab")).split(" ")
        )

    def test_a_long_target_is_cut(self) -> None:
        assert escape(b"/" + b"x" * 10_000) == "/" + "x" * 2047
        assert len(escape(b"\xff" * 10_000)) == 4 * 2048


class TestColours:
    @pytest.mark.parametrize(("status", "colour"), [(200, 32), (308, 36), (404, 33), (500, 31)])
    def test_a_terminal_gets_the_status_in_colour(self, status: int, colour: int) -> None:
        output = Output(is_terminal=True)
        log = AccessLog(output, clock=lambda: 10.0, wall=lambda: WALL)
        log.record(Answered(status=status))
        log.flush()
        assert f" \x1b[{colour}m{status}\x1b[0m " in output.getvalue()

    def test_nothing_else_does(self) -> None:
        assert "\x1b" not in line_of(Answered())


class TestBatches:
    def test_nothing_is_written_before_the_flush(self, log: AccessLog, output: Output) -> None:
        log.record(Answered())
        assert output.getvalue() == ""

    def test_a_batch_is_one_write_in_order(self, log: AccessLog, output: Output) -> None:
        for number in range(50):
            log.record(Answered(target=b"/%d" % number))
        log.flush()
        assert (output.write_count, output.flush_count) == (1, 1)
        assert [line.split()[4] for line in output.getvalue().splitlines()] == [
            f"/{number}" for number in range(50)
        ]

    def test_nothing_is_written_twice(self, log: AccessLog, output: Output) -> None:
        log.record(Answered())
        log.flush()
        log.flush()
        assert output.write_count == 1
        assert len(output.getvalue().splitlines()) == 1

    def test_it_never_holds_many(self, log: AccessLog, output: Output) -> None:
        for _ in range(MAX_WAITING):
            log.record(Answered())
        assert len(output.getvalue().splitlines()) == MAX_WAITING

    def test_each_record_has_the_time_of_its_own_answer(self, output: Output) -> None:
        seconds = iter([10.1, 10.2])
        log = AccessLog(output, clock=lambda: next(seconds), wall=lambda: WALL)
        log.record(Answered())
        log.record(Answered())
        log.flush()
        assert [line.split()[6] for line in output.getvalue().splitlines()] == ["100.0ms", "200.0ms"]

    @pytest.mark.parametrize("error", [BrokenPipeError(32, "Broken pipe"), ValueError("I/O on closed file")])
    def test_an_output_that_fails_is_no_error_of_the_server(self, error: Exception) -> None:
        class Broken(Output):
            def write(self, text: str, /) -> int:
                raise error

        log = AccessLog(Broken(), clock=lambda: 10.0, wall=lambda: WALL)
        log.record(Answered())
        log.flush()
        log.record(Answered())
        log.flush()

    def test_it_goes_to_standard_output_by_default(self, capsys: pytest.CaptureFixture[str]) -> None:
        log = AccessLog(wall=lambda: WALL)
        log.record(Answered())
        log.flush()
        assert " 192.0.2.7 GET /users/1?full=yes 200 " in capsys.readouterr().out

    def test_a_process_without_standard_output_logs_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sys.stdout", None)  # as Python does where descriptor 1 is closed
        log = AccessLog(wall=lambda: WALL)
        log.record(Answered())
        log.flush()
