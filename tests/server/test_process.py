"""Servers as users run them: ``python app.py`` in a process of its own, from the banner to the exit status."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.process import PATIENCE_SECONDS, ROOT, Process, running_script
from tests.kit.raw import RawClient, Stopwatch, connected, is_refused, request, wait_until_refused

APP = """
import asyncio, os, sys, time
from cello import App, ClusterConfig, Http2Config, Http3Config, LimitsConfig, TimeoutConfig, TlsConfig

app = App()

@app.get("/", blocking=False)
def home(request):
    return "home"

@app.get("/sleep/{seconds:float}")
async def sleep(request):
    print("asleep", flush=True)
    await asyncio.sleep(request.params["seconds"])
    return "slept"

@app.get("/block/{seconds:float}")
def block(request):
    print("blocked", flush=True)
    time.sleep(request.params["seconds"])
    return "unblocked"

@app.get("/hold/{seconds:float}", blocking=False)
def hold(request):
    print("held", flush=True)
    time.sleep(request.params["seconds"])
    return "let go"

@app.get("/stream/{seconds:float}")
async def stream(request):
    for _ in range(10):
        print("streams", flush=True)
        yield "."
        await asyncio.sleep(request.params["seconds"] / 10)

@app.get("/error")
def error(request):
    raise RuntimeError("the secret of the traceback")

@app.on_startup
def started():
    print("startup", flush=True)

@app.on_shutdown
def stopped():
    print("shutdown", flush=True)

"""
PRODUCTION = APP + 'app.run(port=0, env="production")\n'
DEVELOPMENT = APP + "app.run(port=0)\n"
STOPPING = "stopping: what runs has 30 s to finish; once more ends at once"

signals = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["TERM", "INT"])


@pytest.fixture
def production(tmp_path: Path) -> Iterator[Process]:
    with running_script(tmp_path, PRODUCTION) as server:
        assert server.port
        yield server


@contextlib.contextmanager
def asking(server: Process, target: str, said: str) -> Iterator[RawClient]:
    """Have one request in flight: its handler has spoken."""
    with connected(server.port) as client:
        client.send(request(target))
        server.stdout.wait_for(said)
        yield client


class TestStart:
    def test_the_banner_names_the_url_and_the_environment(self, tmp_path: Path) -> None:
        with running_script(tmp_path, APP + 'app.run(port=0, env="production", workers=3)\n') as server:
            found = server.stderr.wait_for(r"serves on http://127\.0\.0\.1:(\d+) \(production, 3 workers\); Ctrl-C")
            with connected(int(found[1])) as client:
                assert client.ask("/").body == b"home"
            implementation = "pure" if os.environ.get("CELLO_NO_EXTENSIONS", "") not in ("", "0") else "compiled"
            assert f"({implementation})" in server.stderr.text
            assert server.stop() == 0
            assert server.stdout.lines == ["startup", "shutdown"]
            assert server.stderr.lines[1:] == [STOPPING]

    def test_arguments_of_the_command_line_win(self, tmp_path: Path) -> None:
        arguments = ("--host", "localhost", "--port", "0", "--env", "production", "--workers", "2")
        with running_script(tmp_path, APP + 'app.run(host="192.0.2.1", port=1, workers=7)\n', *arguments) as server:
            assert server.port > 1
            server.stderr.wait_for(r"\(production, 2 workers\)")

    def test_debug_on_the_command_line_shows_tracebacks_in_production(self, tmp_path: Path) -> None:
        with running_script(tmp_path, PRODUCTION, "--debug") as server, connected(server.port) as client:
            answer = client.ask("/error")
            assert answer.status == 500
            assert b"the secret of the traceback" in answer.body
            assert answer.values("server")[0].startswith("cello/")

    def test_production_hides_them_and_logs_them_under_the_id(self, production: Process) -> None:
        with connected(production.port) as client:
            answer = client.ask("/error")
        assert answer.status == 500
        assert b"secret" not in answer.body
        assert answer.values("server") == ["cello"]
        found = re.search(rb"request id (\w{16})", answer.body)
        assert found is not None
        production.stderr.wait_for(f"/error failed in .*{found[1].decode()}")
        production.stderr.wait_for("RuntimeError: the secret of the traceback")

    def test_argv_empty_reads_no_command_line(self, tmp_path: Path) -> None:
        source = APP + 'app.run(port=0, env="production", argv=[])\n'
        with running_script(tmp_path, source, "--port", "nonsense") as server:
            assert server.port

    def test_help(self, tmp_path: Path) -> None:
        with running_script(tmp_path, PRODUCTION, "--help") as script:
            assert script.wait() == 0
            for flag in ("--host", "--port", "--env", "--workers", "--debug", "--reload", "--no-logs"):
                assert flag in script.stdout.text
            assert script.stderr.text == ""

    def test_an_unknown_flag_is_warned_of_and_left_to_the_script(self, tmp_path: Path) -> None:
        source = APP + 'print(sys.argv[1:])\napp.run(port=0, env="production")\n'
        with running_script(tmp_path, source, "--prot", "1") as server:
            assert server.port
            assert server.stdout.lines[0] == "['--prot', '1']"
            server.stderr.wait_for(r"^python app\.py: unknown flag --prot ignored by Cello \(did you mean --port\?\)$")
            assert server.stop() == 0

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (("--port", "70000"), "python app.py: --port: expected an int from 0 to 65535, got '70000'"),
            (("--env", "prod"), "--env: expected 'development' or 'production', got 'prod'"),
        ],
    )
    def test_a_bad_value_on_the_command_line_is_one_line_and_2(
        self, tmp_path: Path, arguments: tuple[str, ...], said: str
    ) -> None:
        with running_script(tmp_path, PRODUCTION, *arguments) as script:
            assert script.wait() == 2
            assert len(script.stderr.lines) == 1
            assert said in script.stderr.text
            assert script.stdout.text == ""


class TestFailures:
    def assert_one_line_and_1(self, script: Process, pattern: str) -> None:
        assert script.wait() == 1
        assert len(script.stderr.lines) == 1
        assert re.search(pattern, script.stderr.text)

    def test_a_port_that_is_taken(self, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as holder:
            port = holder.getsockname()[1]
            with running_script(tmp_path, APP + f'app.run(port={port}, env="production")\n') as script:
                self.assert_one_line_and_1(script, rf"^cello: port {port} on 127\.0\.0\.1 is taken by .*--port$")
                assert script.stdout.text == ""

    def test_two_servers_on_one_port(self, tmp_path: Path, production: Process) -> None:
        with running_script(tmp_path, PRODUCTION, "--port", str(production.port)) as script:
            self.assert_one_line_and_1(script, f"is taken by another program .*PID {production.pid}")
        with connected(production.port) as client:
            assert client.ask("/").body == b"home"

    def test_an_address_of_another_machine(self, tmp_path: Path) -> None:
        with running_script(tmp_path, PRODUCTION, "--host", "192.0.2.1") as script:
            self.assert_one_line_and_1(script, "^cello: host '192.0.2.1' is not an address of this machine")

    def test_a_certificate_that_is_missing(self, tmp_path: Path) -> None:
        source = APP + 'app.run(port=0, tls=TlsConfig("no-cert.pem", "no-key.pem"))\n'
        with running_script(tmp_path, source) as script:
            self.assert_one_line_and_1(script, r"^cello: TlsConfig\(cert_path='no-cert.pem'\): no such file")
            assert script.stdout.text == ""

    def test_a_key_of_another_certificate(self, tmp_path: Path) -> None:
        from trustme import CA

        one, other = CA().issue_cert("localhost"), CA().issue_cert("localhost")
        one.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
        other.private_key_pem.write_to_path(tmp_path / "key.pem")
        source = APP + 'app.run(port=0, tls=TlsConfig("cert.pem", "key.pem"))\n'
        with running_script(tmp_path, source) as script:
            self.assert_one_line_and_1(script, "the key does not belong to the certificate in 'cert.pem'")

    def test_a_startup_hook_that_fails(self, tmp_path: Path) -> None:
        source = APP + '@app.on_startup\ndef broken():\n    raise OSError("no database")\n\n'
        with running_script(tmp_path, source + 'app.run(port=0, env="production")\n') as script:
            assert script.wait() == 1
            last = script.stderr.lines[-1]
            assert re.search(r"^cello: the startup hook .*broken.* failed: OSError: no database$", last)
            assert "serves on" not in script.stderr.text
            assert script.stdout.lines[0] == "startup"

    def test_a_lifespan_that_was_entered_is_left_when_a_startup_hook_fails(self, tmp_path: Path) -> None:
        source = APP + LIFESPAN + '@app.on_startup\ndef broken():\n    raise OSError("no database")\n\n'
        with running_script(tmp_path, source + 'app.run(port=0, env="production")\n') as script:
            assert script.wait() == 1
            assert script.stdout.lines[0] == "entered"
            assert script.stdout.lines[-1] == "left"

    def test_a_shutdown_hook_that_fails_does_not_keep_the_others_from_running(self, tmp_path: Path) -> None:
        source = APP + LIFESPAN + '@app.on_shutdown\ndef broken():\n    raise OSError("no database")\n\n'
        with running_script(tmp_path, source + 'app.run(port=0, env="production")\n') as server:
            assert server.port
            assert server.stop() == 0
            assert server.stdout.lines == ["entered", "startup", "shutdown", "left"]
            assert "the shutdown hook" in server.stderr.text

    def test_what_cannot_be_honoured_is_refused(self, tmp_path: Path) -> None:
        calls = {
            "reload=True": "reload=True: hot reload is not built yet",
            "cluster=ClusterConfig(processes=2)": "the cluster is not built yet",
            "http2=Http2Config()": "HTTP/2 requires TLS",
            "http3=Http3Config(enabled=True)": "HTTP/3 requires TLS",
            'http2=Http2Config(), tls=TlsConfig("c", "k")': "HTTP/2 is not built yet",
            'http3=Http3Config(enabled=True), tls=TlsConfig("c", "k")': "HTTP/3 is not built yet",
            "port=70000": "app.run(port=70000): expected an int from 0 to 65535",
        }
        source = APP + "".join(REFUSED.format(arguments=arguments) for arguments in calls)
        with running_script(tmp_path, source) as script:
            assert script.wait() == 0
            assert len(script.stdout.lines) == len(calls)
            for line, said in zip(script.stdout.lines, calls.values(), strict=True):
                assert line.startswith("ConfigError: ")
                assert said in line
            assert script.stderr.text == ""

    def test_a_refusal_that_nobody_catches_ends_with_its_line_and_1(self, tmp_path: Path) -> None:
        with running_script(tmp_path, DEVELOPMENT, "--reload") as script:
            assert script.wait() == 1
            assert script.stderr.lines[-1].startswith("cello.errors.ConfigError: reload=True: hot reload is not")
            assert script.stdout.text == ""

    def test_run_inside_a_running_loop(self, tmp_path: Path) -> None:
        source = APP + "async def main():\n    app.run(port=0)\n\nasyncio.run(main())\n"
        with running_script(tmp_path, source) as script:
            assert script.wait() == 1
            last = script.stderr.lines[-1]
            assert last.startswith("cello.errors.ConfigError: app.run() starts an event loop, and one is running")
            assert "await app.serve(...)" in last


REFUSED = """
try:
    app.run({arguments})
except ValueError as exc:
    print(type(exc).__name__, exc, sep=": ")
"""

LIFESPAN = """
import contextlib

@contextlib.asynccontextmanager
async def lifespan(app):
    print("entered", flush=True)
    yield
    print("left", flush=True)

app.lifespan = lifespan

"""


class TestGracefulStop:
    @signals
    def test_idle_it_ends_with_0_at_once(self, production: Process, number: signal.Signals) -> None:
        watch = Stopwatch()
        production.signal(number)
        assert production.wait() == 0
        assert watch.seconds < 1.5
        assert production.stdout.lines == ["startup", "shutdown"]
        assert production.stderr.lines[1:] == [STOPPING]
        assert is_refused(production.port)

    @pytest.mark.parametrize(
        ("target", "said", "body"),
        [
            ("/sleep/0.6", "asleep", b"slept"),
            ("/block/0.6", "blocked", b"unblocked"),
            ("/hold/0.6", "held", b"let go"),
            ("/stream/0.6", "streams", b".........."),
        ],
    )
    def test_what_is_in_flight_is_finished(
        self, production: Process, target: str, said: str, body: bytes
    ) -> None:
        with asking(production, target, said) as client:
            production.signal(signal.SIGTERM)
            answer = client.answer()
            assert (answer.status, answer.body) == (200, body)
            assert target.startswith("/stream") or answer.options("connection") == ["close"]
            assert client.ends_silently()
        assert production.wait() == 0
        assert production.stdout.lines[-1] == "shutdown"
        assert production.stderr.lines[1:] == [STOPPING]

    def test_new_connections_are_refused_while_it_finishes(self, production: Process) -> None:
        with asking(production, "/sleep/1", "asleep") as client:
            production.signal(signal.SIGTERM)
            production.stderr.wait_for("stopping")
            watch = Stopwatch()
            wait_until_refused(production.port)
            assert watch.seconds < 0.7
            assert client.answer().body == b"slept"
        assert production.wait() == 0

    def test_a_connection_in_the_accept_queue_is_served(self, production: Process) -> None:
        with contextlib.ExitStack() as stack, asking(production, "/hold/1", "held") as client:
            waiting = [stack.enter_context(connected(production.port)) for _ in range(20)]
            for each in waiting:
                each.send(request("/"))
            production.signal(signal.SIGTERM)
            assert client.answer().body == b"let go"
            for each in waiting:
                answer = each.answer()
                assert answer.body == b"home"
                assert answer.options("connection") == ["close"]
        assert production.wait() == 0

    def test_a_client_that_pipelines_is_told_where_it_ends(self, production: Process) -> None:
        with connected(production.port) as client:
            client.send(request("/sleep/0.5") + request("/"))
            production.stdout.wait_for("asleep")
            production.signal(signal.SIGTERM)
            answers = [client.answer()]
            while answers[-1].options("connection") != ["close"]:
                answers.append(client.answer())
            assert [answer.body for answer in answers] in ([b"slept"], [b"slept", b"home"])
            assert client.ends_silently()
        assert production.wait() == 0

    def test_ten_of_ten_in_flight_finish(self, production: Process) -> None:
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(connected(production.port)) for _ in range(10)]
            for number, client in enumerate(clients):
                client.send(request(f"/sleep/{0.5 + number / 20}"))
            watch = Stopwatch()
            while production.stdout.lines.count("asleep") < 10:
                assert watch.seconds < PATIENCE_SECONDS
                time.sleep(0.01)
            production.signal(signal.SIGTERM)
            assert [client.answer().body for client in clients] == [b"slept"] * 10
        assert production.wait() == 0

    def test_idle_and_half_sent_connections_get_a_second(self, production: Process) -> None:
        with contextlib.ExitStack() as stack:
            for octets in (b"", request("/")[:-2], request("/")):
                client = stack.enter_context(connected(production.port))
                client.send(octets)
            assert client.answer().status == 200
            watch = Stopwatch()
            assert production.stop() == 0
            assert watch.seconds < 2.5

    def test_a_request_within_that_second_is_answered_with_close(self, production: Process) -> None:
        with connected(production.port) as client:
            assert client.ask("/").status == 200
            production.signal(signal.SIGTERM)
            production.stderr.wait_for("stopping")
            wait_until_refused(production.port)
            answer = client.ask("/")
            assert (answer.body, answer.options("connection")) == (b"home", ["close"])
            assert client.ends_silently()
        assert production.wait() == 0

    def test_a_client_that_keeps_an_answered_connection_open_gets_a_second_too(self, production: Process) -> None:
        with asking(production, "/sleep/0.3", "asleep") as client:
            production.signal(signal.SIGTERM)
            assert client.answer().options("connection") == ["close"]
            watch = Stopwatch()
            assert production.wait() == 0
            assert watch.seconds < 2.5

    def test_nobody_needs_to_read_what_it_says(self, tmp_path: Path) -> None:
        (tmp_path / "app.py").write_text(PRODUCTION, "utf-8")
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(
            [sys.executable, "-u", "app.py"], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
        )
        try:
            assert process.stderr is not None
            assert b"serves on" in process.stderr.readline()
            process.stderr.close()
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE_SECONDS) == 0
        finally:
            process.kill()
            process.wait()

    def test_a_signal_during_a_startup_hook_stops_behind_it(self, tmp_path: Path) -> None:
        source = APP + SLOW_START + 'app.run(port=0, env="production")\n'
        with running_script(tmp_path, source) as script:
            script.stdout.wait_for("starting")
            script.signal(signal.SIGTERM)
            assert script.wait() == 0
            assert script.stdout.lines[-1] == "shutdown"

    def test_tasks_that_the_application_left_behind_are_cancelled(self, tmp_path: Path) -> None:
        source = APP + LEFT_BEHIND + 'app.run(port=0, env="production")\n'
        with running_script(tmp_path, source) as server:
            assert server.port
            assert server.stop() == 0
            assert server.stdout.lines[-1] == "the task was cancelled"
            assert server.stderr.lines[1:] == [STOPPING]


SLOW_START = """
@app.on_startup
async def slow():
    print("starting", flush=True)
    await asyncio.sleep(0.5)

"""

LEFT_BEHIND = """
async def forever():
    try:
        await asyncio.sleep(3600)
    finally:
        print("the task was cancelled", flush=True)

@app.on_startup
async def leave_behind():
    app.state.task = asyncio.create_task(forever())

"""


class TestSecondSignal:
    @pytest.mark.parametrize(
        ("target", "said", "number"),
        [
            ("/sleep/60", "asleep", signal.SIGTERM),
            ("/block/60", "blocked", signal.SIGTERM),
            ("/hold/60", "held", signal.SIGTERM),
            ("/hold/60", "held", signal.SIGINT),
        ],
    )
    def test_it_ends_at_once(self, production: Process, target: str, said: str, number: signal.Signals) -> None:
        with asking(production, target, said):
            production.signal(number)
            production.stderr.wait_for("stopping")
            watch = Stopwatch()
            production.signal(number)
            assert production.wait() == 128 + number
            assert watch.seconds < 1
        assert "shutdown" not in production.stdout.lines
        assert is_refused(production.port)

    def test_the_second_ones_number_counts(self, production: Process) -> None:
        with asking(production, "/sleep/60", "asleep"):
            production.signal(signal.SIGTERM)
            production.stderr.wait_for("stopping")
            production.signal(signal.SIGINT)
            assert production.wait() == 130

    def test_it_ends_a_startup_hook_that_hangs(self, tmp_path: Path) -> None:
        source = APP + '@app.on_startup\ndef hang():\n    print("hangs", flush=True)\n    time.sleep(60)\n\n'
        with running_script(tmp_path, source + 'app.run(port=0, env="production")\n') as script:
            script.stdout.wait_for("hangs")
            script.signal(signal.SIGINT)
            script.stderr.wait_for("stopping")
            script.signal(signal.SIGINT)
            assert script.wait() == 130


SERVE = """
async def main():
    task = asyncio.create_task(app.serve(port=0, env="production"))
    await asyncio.sleep({seconds})
    print("cancels", flush=True)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        print("was cancelled", flush=True)

asyncio.run(main())
print("done", flush=True)
"""


class TestServe:
    def test_a_task_that_is_cancelled_stops_gracefully(self, tmp_path: Path) -> None:
        with running_script(tmp_path, APP + SERVE.format(seconds=0.5)) as server:
            with asking(server, "/sleep/1", "asleep") as client:
                server.stdout.wait_for("cancels")
                answer = client.answer()
                assert (answer.body, answer.options("connection")) == (b"slept", ["close"])
            assert server.wait() == 0
            assert server.stdout.lines == ["startup", "asleep", "cancels", "shutdown", "was cancelled", "done"]
            assert len(server.stderr.lines) == 1

    def test_signals_are_left_to_the_caller(self, tmp_path: Path) -> None:
        with running_script(tmp_path, APP + SERVE.format(seconds=60)) as server:
            assert server.port
            server.signal(signal.SIGTERM)
            assert server.wait() == -signal.SIGTERM

    def test_a_bad_certificate_is_an_error_of_the_caller(self, tmp_path: Path) -> None:
        source = APP + CATCH.format(arguments='port=0, tls=TlsConfig("no.pem", "no.pem")')
        with running_script(tmp_path, source) as script:
            assert script.wait() == 0
            assert script.stdout.lines == ["StartError"]
            assert script.stderr.text == ""

    def test_a_port_that_is_taken_is_an_error_of_the_caller(self, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as holder:
            source = APP + CATCH.format(arguments=f"port={holder.getsockname()[1]}")
            with running_script(tmp_path, source) as script:
                assert script.wait() == 0
                assert script.stdout.lines == ["StartError"]
                assert script.stderr.text == ""


CATCH = """
from cello.errors import StartError

async def main():
    try:
        await app.serve({arguments})
    except StartError as exc:
        print(type(exc).__name__)

asyncio.run(main())
"""

LINE = r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d 127\.0\.0\.1 GET /\?q=1 200 \d+\.\dms 4B$"


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


class TestLeftovers:
    def test_no_process_and_no_port_is_left(self, tmp_path: Path) -> None:
        with running_script(tmp_path, PRODUCTION) as server:
            with connected(server.port) as client:
                assert client.ask("/block/0").status == 200
            children = Path(f"/proc/{server.pid}/task/{server.pid}/children")
            if children.exists():
                assert children.read_text("ascii") == ""
            assert server.stop() == 0
        with running_script(tmp_path, PRODUCTION, "--port", str(server.port)) as again, connected(again.port) as client:
            assert client.ask("/").body == b"home"

    def test_run_can_be_called_again_in_one_process(self, tmp_path: Path) -> None:
        source = APP + "for _ in range(2):\n    app.run(port=0, env='production')\nprint('done')\n"
        with running_script(tmp_path, source) as server:
            for count in (1, 2):
                watch = Stopwatch()
                while len([line for line in server.stderr.lines if "serves on" in line]) < count:
                    assert watch.seconds < PATIENCE_SECONDS
                    time.sleep(0.02)
                server.signal(signal.SIGINT)
            assert server.wait() == 0
            assert server.stdout.lines == ["startup", "shutdown", "startup", "shutdown", "done"]

    def test_it_serves_from_a_thread_without_signals(self, tmp_path: Path) -> None:
        source = APP + "import threading\n" + FROM_A_THREAD
        with running_script(tmp_path, source) as server, connected(server.port) as client:
            assert client.ask("/").body == b"home"


FROM_A_THREAD = """
thread = threading.Thread(target=app.run, kwargs={"port": 0})
thread.start()
thread.join()
"""


def test_the_load_of_many_clients_survives_a_stop(tmp_path: Path) -> None:
    """No answer that was promised by an accepted request on a busy server is lost."""
    faults: list[str] = []

    def keep_asking(port: int) -> None:
        while True:
            try:
                with connected(port) as client:
                    client.send(request("/sleep/0.01"))
                    body = client.answer().body
            except ConnectionRefusedError:
                return
            except (AssertionError, OSError) as exc:
                faults.append(repr(exc))
                return
            if body != b"slept":
                faults.append(repr(body))

    with running_script(tmp_path, PRODUCTION) as server:
        threads = [threading.Thread(target=keep_asking, args=(server.port,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        assert server.stop() == 0
        for thread in threads:
            thread.join(PATIENCE_SECONDS)
    assert faults == []
