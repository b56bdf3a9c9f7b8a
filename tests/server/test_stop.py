"""How a process stops: on the first signal in order, on the second at once, cancelled inside a loop."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.kit.process import PATIENCE_SECONDS, ROOT, Process, running_script
from tests.kit.raw import Stopwatch, connected, is_refused, request, wait_until_refused
from tests.kit.script import APP, PRODUCTION, STOPPING, asking

signals = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["TERM", "INT"])


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

    def test_a_client_that_keeps_an_answered_connection_open_gets_a_second_too(
        self, production: Process
    ) -> None:
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
            [sys.executable, "-u", "app.py"],
            cwd=tmp_path,
            env=environment,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
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
    def test_it_ends_at_once(
        self, production: Process, target: str, said: str, number: signal.Signals
    ) -> None:
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
            assert server.stdout.lines == [
                "startup",
                "asleep",
                "cancels",
                "shutdown",
                "was cancelled",
                "done",
            ]
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


def test_the_load_of_many_clients_survives_a_stop(tmp_path: Path) -> None:
    """No answer that was promised by an accepted request on a busy server is lost."""
    faults: list[str] = []
    slept: list[bytes] = []

    def keep_asking(port: int) -> None:
        while True:
            try:
                with connected(port) as client:
                    client.send(request("/sleep/0.01"))
                    body = client.answer().body
            except (ConnectionRefusedError, ConnectionResetError):
                return  # reset: it came into the queue between the last accept and the close
            except (AssertionError, OSError) as exc:
                faults.append(repr(exc))
                return
            slept.append(body)

    with running_script(tmp_path, PRODUCTION) as server:
        threads = [threading.Thread(target=keep_asking, args=(server.port,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        assert server.stop() == 0
        for thread in threads:
            thread.join(PATIENCE_SECONDS)
    assert faults == []
    assert slept == [b"slept"] * server.stdout.lines.count("asleep")


CLEANS_UP = (
    APP
    + """
@app.get("/late", timeout=0.1)
async def late(request):
    try:
        await asyncio.sleep(60)
    finally:
        await asyncio.sleep(0.3)
        print("cleaned up", flush=True)

app.run(port=0, env="production")
"""
)


def test_a_handler_that_is_cancelled_has_time_to_clean_up(tmp_path: Path) -> None:
    with running_script(tmp_path, CLEANS_UP) as server:
        with connected(server.port) as client:
            assert client.ask("/late").status == 504
        assert server.stop() == 0
        assert [line for line in server.stdout.lines if line != "startup"] == ["cleaned up", "shutdown"]
