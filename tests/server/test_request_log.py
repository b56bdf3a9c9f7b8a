"""The request log of a process: when it is on, where it goes, and what it survives."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.kit.process import PATIENCE_SECONDS, ROOT, Process, running_script
from tests.kit.raw import Stopwatch, connected
from tests.kit.script import APP, DEVELOPMENT, PRODUCTION

LINE = r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d GET /\?q=1 200 \d+\.\dms 4B 127\.0\.0\.1$"


class TestRequestLog:
    def answers_once(self, server: Process) -> list[str]:
        """Return the request log's lines of one request."""
        with connected(server.port) as client:
            assert client.ask("/?q=1").body == b"home"
        assert server.stop() == 0
        return [line for line in server.stdout.lines if line not in ("startup", "shutdown")]

    @pytest.mark.parametrize(
        ("source", "arguments", "is_logged"),
        [
            (DEVELOPMENT, (), True),
            (PRODUCTION, (), False),
            (DEVELOPMENT, ("--env", "production"), False),
            (DEVELOPMENT, ("--no-logs",), False),
            (APP + 'app.enable_logging()\napp.run(port=0, env="production")\n', (), True),
            (APP + 'app.enable_logging()\napp.run(port=0, env="production")\n', ("--no-logs",), False),
            (APP + 'app.run(port=0, env="production", logs=True)\n', (), True),
            (APP + "app.run(port=0, logs=False)\n", (), False),
        ],
    )
    def test_it_is_on_where_it_should_be(
        self, tmp_path: Path, source: str, arguments: tuple[str, ...], is_logged: bool
    ) -> None:
        with running_script(tmp_path, source, *arguments) as server:
            lines = self.answers_once(server)
        assert len(lines) == is_logged
        assert all(re.search(LINE, line) for line in lines)

    def test_a_line_comes_while_the_connection_stays_open(self, tmp_path: Path) -> None:
        with running_script(tmp_path, DEVELOPMENT) as server, connected(server.port) as client:
            assert client.ask("/?q=1").body == b"home"
            server.stdout.wait_for(LINE)
            assert client.ask("/none").status == 404
            server.stdout.wait_for(r"GET /none 404 ")

    def test_refused_requests_are_in_it_and_forge_no_line(self, tmp_path: Path) -> None:
        with running_script(tmp_path, DEVELOPMENT) as server, connected(server.port) as client:
            client.send(b"GET /\x1b[31mred HTTP/1.1\r\nHost: a\r\n\r\n")
            assert client.answer().status == 400
            assert client.ends_silently()
            server.stdout.wait_for(r" 400 \d")
            assert "\x1b" not in server.stdout.text

    @pytest.mark.parametrize(
        ("arguments", "pattern"),
        [
            ((), LINE),
            (("--log-format", "auto"), LINE),
            (("--log-format", "combined"), r'^127\.0\.0\.1 - - \[.+\] "GET /\?q=1 HTTP/1\.1" 200 4 "-" "-"$'),
            (("--log-format=json",), r'^\{"time":".+","level":"info","client":"127\.0\.0\.1",.+\}$'),
        ],
    )
    def test_its_format_can_be_chosen(self, tmp_path: Path, arguments: tuple[str, ...], pattern: str) -> None:
        with running_script(tmp_path, DEVELOPMENT, *arguments) as server:
            (line,) = self.answers_once(server)
        assert re.search(pattern, line)

    def test_json_goes_for_both_logs(self, tmp_path: Path) -> None:
        source = APP + 'app.run(port=0, log_format="json")\n'
        with running_script(tmp_path, source) as server, connected(server.port) as client:
            client.send(b"GET /error HTTP/1.1\r\nHost: a\r\nX-Request-ID: of-the-client\r\n\r\n")
            answer = client.answer()
            assert (answer.status, answer.values("x-request-id")) == (500, ["of-the-client"])
            line = json.loads(server.stdout.wait_for(r"^\{.+of-the-client").string)
            assert (line["level"], line["route"], line["request_id"]) == ("error", "/error", "of-the-client")
            told = json.loads(server.stderr.wait_for(r'^\{.+"level":"error"').string)
            assert "of-the-client" in told["message"]
            assert told["exception"].startswith("Traceback")

    def test_answers_carry_their_requests_id_where_requests_are_logged(self, tmp_path: Path) -> None:
        for arguments, is_logged in (((), True), (("--no-logs",), False)):
            with (
                running_script(tmp_path, DEVELOPMENT, *arguments) as server,
                connected(server.port) as client,
            ):
                first, second, missing = (
                    client.ask(path).values("x-request-id") for path in ("/", "/", "/no")
                )
                if is_logged:
                    assert all(re.fullmatch("[0-9a-f]{16}", each[0]) for each in (first, second, missing))
                    assert first != second
                else:
                    assert (first, second, missing) == ([], [], [])

    def test_an_answer_that_breaks_off_is_in_it(self, tmp_path: Path) -> None:
        with running_script(tmp_path, DEVELOPMENT) as server:
            with connected(server.port) as client:
                client.send(b"GET /stream/60 HTTP/1.1\r\nHost: a\r\n\r\n")
                server.stdout.wait_for("^streams$")
            server.stdout.wait_for(r"GET /stream/60 200 ")

    def test_preflights_have_ids_and_handlers_may_be_attached_at_the_start(self, tmp_path: Path) -> None:
        source = (
            APP
            + """
import logging

class Kept(logging.Handler):
    def emit(self, record):
        print("kept", record.getMessage(), flush=True)

@app.on_startup
def attach():
    logging.getLogger("cello.access").addHandler(Kept())

app.enable_cors(origins=["https://a.test"])
app.run(port=0)
"""
        )
        with running_script(tmp_path, source) as server, connected(server.port) as client:
            client.send(
                b"OPTIONS / HTTP/1.1\r\nHost: a\r\nOrigin: https://a.test\r\n"
                b"Access-Control-Request-Method: GET\r\nX-Request-ID: mine\r\n\r\n"
            )
            answer = client.answer()
            assert (answer.status, answer.values("x-request-id")) == (204, ["mine"])
            server.stdout.wait_for(r"^kept OPTIONS / 204 ")
            assert "cello.access" not in server.stderr.text
            assert sum("OPTIONS" in line for line in server.stdout.lines) == 1

    def test_a_reader_that_went_away_does_not_end_the_server(self, tmp_path: Path) -> None:
        (tmp_path / "app.py").write_text(DEVELOPMENT, "utf-8")
        reader, writer = os.pipe()
        with open(tmp_path / "stderr", "wb") as stderr:
            process = subprocess.Popen(
                [sys.executable, "app.py"],
                cwd=tmp_path,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdout=writer,
                stderr=stderr,
            )
        os.close(writer)
        try:
            port = wait_for_port(tmp_path / "stderr")
            os.close(reader)
            for _ in range(2):
                with connected(port) as client:
                    assert client.ask("/").body == b"home"
                time.sleep(0.2)
        finally:
            process.terminate()
            process.wait(PATIENCE_SECONDS)

    def test_colours_are_for_a_terminal(self, tmp_path: Path) -> None:
        (tmp_path / "app.py").write_text(DEVELOPMENT, "utf-8")
        ours, theirs = pty.openpty()
        try:
            with open(tmp_path / "stderr", "wb") as stderr:
                process = subprocess.Popen(
                    [sys.executable, "app.py"],
                    cwd=tmp_path,
                    env={**os.environ, "PYTHONPATH": str(ROOT)},
                    stdout=theirs,
                    stderr=stderr,
                )
            try:
                with connected(wait_for_port(tmp_path / "stderr")) as client:
                    assert client.ask("/").body == b"home"
                    assert client.ask("/none").status == 404
                    text = read_terminal(ours, b"/none")
            finally:
                process.terminate()
                process.wait(PATIENCE_SECONDS)
        finally:
            os.close(ours)
            os.close(theirs)
        assert b" \x1b[32m200\x1b[0m " in text
        assert b" \x1b[33m404\x1b[0m " in text


def wait_for_port(path: Path) -> int:
    """Read the banner's port from the file that stderr goes to."""
    watch = Stopwatch()
    while watch.seconds < PATIENCE_SECONDS:
        found = re.search(r"serves on http://127\.0\.0\.1:(\d+) ", path.read_text("utf-8"))
        if found is not None:
            return int(found[1])
        time.sleep(0.02)
    raise AssertionError(path.read_text("utf-8"))


def read_terminal(terminal: int, until: bytes) -> bytes:
    """Read what was written to a terminal, up to the end of the line with a text."""
    text = b""
    while until not in text or not text.endswith(b"\n"):
        assert select.select([terminal], [], [], PATIENCE_SECONDS)[0], text
        text += os.read(terminal, 65536)
    return text
