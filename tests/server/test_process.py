"""Servers as users start them: ``python app.py``, its banner, its command line, its failures to start."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.kit.process import PATIENCE_SECONDS, ROOT, Process, running_script
from tests.kit.raw import Stopwatch, connected
from tests.kit.script import APP, PRODUCTION, STOPPING


class TestStart:
    def test_the_banner_names_the_url_and_the_environment(self, tmp_path: Path) -> None:
        with running_script(tmp_path, APP + 'app.run(port=0, env="production", workers=3)\n') as server:
            found = server.stderr.wait_for(
                r"serves on http://127\.0\.0\.1:(\d+) \(production, 3 workers\); Ctrl-C"
            )
            with connected(int(found[1])) as client:
                assert client.ask("/").body == b"home"
            implementation = (
                "pure" if os.environ.get("CELLO_NO_EXTENSIONS", "") not in ("", "0") else "compiled"
            )
            assert f"({implementation})" in server.stderr.text
            assert server.stop() == 0
            assert server.stdout.lines == ["startup", "shutdown"]
            assert server.stderr.lines[1:] == [STOPPING]

    @pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
    def test_a_terminal_is_shown_the_banner_and_the_warnings_once(self, tmp_path: Path) -> None:
        script = tmp_path / "app.py"
        script.write_text(APP + 'app.run(port=0, env="production", workers=3, reload=True)\n')
        ours, theirs = os.openpty()
        try:
            server = subprocess.Popen(
                [sys.executable, str(script)],
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stderr=theirs,
                stdout=subprocess.DEVNULL,
            )
            os.close(theirs)
            text = ""
            while "Ctrl-C stops it" not in text:
                text += os.read(ours, 4096).decode()
            server.send_signal(signal.SIGINT)
            assert server.wait(PATIENCE_SECONDS) == 0
        finally:
            server.kill()
            os.close(ours)
        plain = re.sub(r"\033\[\d+m", "", text)
        url = re.search(r"^  http://127\.0\.0\.1:\d+\r$", plain, re.MULTILINE)
        assert url is not None, plain
        assert "production, 1 process x 3 workers, HTTP/1.1" in plain
        assert plain.count("reload=True has no effect") == 1
        assert "serves on" not in plain

    def test_arguments_of_the_command_line_win(self, tmp_path: Path) -> None:
        arguments = ("--host", "localhost", "--port", "0", "--env", "production", "--workers", "2")
        with running_script(
            tmp_path, APP + 'app.run(host="192.0.2.1", port=1, workers=7)\n', *arguments
        ) as server:
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
            server.stderr.wait_for(
                r"^python app\.py: unknown flag --prot ignored by Cello \(did you mean --port\?\)$"
            )
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
                self.assert_one_line_and_1(
                    script, rf"^cello: port {port} on 127\.0\.0\.1 is taken by .*--port$"
                )
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
            assert re.search(
                r"^cello: the startup hook .*broken.* failed: OSError: no database \(app\.py:\d+\)$", last
            )
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
            "cluster=ClusterConfig(max_requests=9)": "ClusterConfig(max_requests=9): expected None where one",
            "http2=Http2Config()": "HTTP/2 requires TLS",
            "http3=Http3Config(enabled=True)": "HTTP/3 requires TLS",
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

    def test_run_inside_a_running_loop(self, tmp_path: Path) -> None:
        source = APP + "async def main():\n    app.run(port=0)\n\nasyncio.run(main())\n"
        with running_script(tmp_path, source) as script:
            assert script.wait() == 1
            last = script.stderr.lines[-1]
            assert last.startswith(
                "cello.errors.ConfigError: app.run() starts an event loop, and one is running"
            )
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


class TestLeftovers:
    def test_no_process_and_no_port_is_left(self, tmp_path: Path) -> None:
        with running_script(tmp_path, PRODUCTION) as server:
            with connected(server.port) as client:
                assert client.ask("/block/0").status == 200
            children = Path(f"/proc/{server.pid}/task/{server.pid}/children")
            if children.exists():
                assert children.read_text("ascii") == ""
            assert server.stop() == 0
        with (
            running_script(tmp_path, PRODUCTION, "--port", str(server.port)) as again,
            connected(again.port) as client,
        ):
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
