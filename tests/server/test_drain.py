"""A stop as a balancer sees it: the delay in which clients are steered away, the grace, streams of events."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cello.server.signals import stop_line
from tests.kit.process import Process, running_script
from tests.kit.raw import RawClient, Stopwatch, connected, is_refused, request, wait_until_refused
from tests.kit.script import APP, STOPPING, asking

SOURCE = (
    APP
    + """
from cello import Response
app.enable_health_checks()

@app.get("/events")
def events(request):
    async def forever():
        try:
            print("events begin", flush=True)
            while True:
                yield "data: now\\n\\n"
                await asyncio.sleep(0.2)
        finally:
            print("events are over", flush=True)
    return Response.stream(forever(), content_type="Text/Event-Stream; charset=utf-8")

app.run(port=0, env="production", cluster=ClusterConfig({cluster}))
"""
)


@contextmanager
def running(folder: Path, cluster: str, **environment: str) -> Iterator[Process]:
    source = SOURCE.replace("{cluster}", cluster)
    with running_script(folder, source, environment=environment) as server:
        assert server.port
        yield server


def status_of(client: RawClient, target: str) -> tuple[int, str, list[str]]:
    answer = client.ask(target)
    return answer.status, json.loads(answer.body)["status"], answer.options("connection")


class TestDelay:
    def test_it_serves_on_and_says_that_it_is_not_ready(self, tmp_path: Path) -> None:
        with running(tmp_path, "shutdown_delay=1.5") as server, connected(server.port) as client:
            assert status_of(client, "/-/ready") == (200, "ready", [])
            watch = Stopwatch()
            server.signal(signal.SIGTERM)
            server.stderr.wait_for("^stopping")
            assert status_of(client, "/-/ready") == (503, "stopping", [])
            assert status_of(client, "/-/live") == (200, "live", [])
            with connected(server.port) as newcomer:
                for _ in range(3):
                    answer = newcomer.ask("/")
                    assert (answer.body, answer.options("connection")) == (b"home", [])
            wait_until_refused(server.port)
            assert watch.seconds >= 1.5
            assert server.wait() == 0
            assert server.stderr.lines[1:] == [stop_line(1.5, 30).rstrip()]
            assert server.stdout.lines[-1] == "shutdown"

    def test_ctrl_c_skips_it(self, tmp_path: Path) -> None:
        with running(tmp_path, "shutdown_delay=60") as server:
            server.signal(signal.SIGINT)
            assert server.wait() == 0
            assert server.stderr.lines[1:] == [STOPPING]

    @pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
    def test_a_second_signal_ends_it_at_once(self, tmp_path: Path, second: signal.Signals) -> None:
        with running(tmp_path, "shutdown_delay=60") as server:
            server.signal(signal.SIGTERM)
            server.stderr.wait_for("^stopping in 60 s")
            server.signal(second)
            assert server.wait() == 128 + second

    def test_under_kubernetes_it_is_five_seconds(self, tmp_path: Path) -> None:
        with running(tmp_path, "", KUBERNETES_SERVICE_HOST="10.0.0.1") as server:
            server.signal(signal.SIGTERM)
            server.stderr.wait_for("^stopping in 5 s, and serving until then; then what runs has 30 s")
            assert not is_refused(server.port)
            server.signal(signal.SIGTERM)
            assert server.wait() == 143

    def test_a_server_that_does_not_serve_yet_has_none(self, tmp_path: Path) -> None:
        source = APP + '@app.on_startup\nasync def slow():\n    print("starting", flush=True)\n'
        source += "    await asyncio.sleep(0.5)\n\n"
        source += 'app.run(port=0, env="production", cluster=ClusterConfig(shutdown_delay=60))\n'
        with running_script(tmp_path, source) as server:
            server.stdout.wait_for("starting")
            server.signal(signal.SIGTERM)
            assert server.wait() == 0
            assert STOPPING in server.stderr.lines


class TestGrace:
    def test_what_runs_longer_is_cut_off_and_named(self, tmp_path: Path) -> None:
        with running(tmp_path, "graceful_timeout=0.5") as server:
            with asking(server, "/sleep/60", "asleep") as client:
                watch = Stopwatch()
                server.signal(signal.SIGTERM)
                assert client.rest() == b""
            assert server.wait() == 0
            assert watch.seconds >= 0.5
            assert server.stderr.lines[1] == stop_line(0, 0.5).rstrip()
            assert "stopped with 1 connections cut off after 0.5 s of grace" in server.stderr.lines[2]
            assert server.stderr.lines[3].endswith("cut off: GET /sleep/60")

    def test_ready_says_no_while_it_finishes(self, tmp_path: Path) -> None:
        with running(tmp_path, "") as server, connected(server.port) as client:
            with asking(server, "/sleep/0.8", "asleep") as other:
                assert status_of(client, "/-/ready") == (200, "ready", [])
                server.signal(signal.SIGTERM)
                server.stderr.wait_for("^stopping")
                assert status_of(client, "/-/ready") == (503, "stopping", ["close"])
                assert other.answer().body == b"slept"
            assert server.wait() == 0


class TestEvents:
    def test_they_end_in_order_after_five_seconds_and_other_streams_go_on(self, tmp_path: Path) -> None:
        with running(tmp_path, "") as server, connected(server.port) as other:
            other.send(request("/stream/9"))
            server.stdout.wait_for("streams")
            with connected(server.port) as client:
                client.send(request("/events"))
                server.stdout.wait_for("events begin")
                watch = Stopwatch()
                server.signal(signal.SIGTERM)
                answer = client.answer()  # chunked: read to its last chunk, or the reader objects
                assert watch.seconds >= 5
                assert answer.body == b"data: now\n\n" * (len(answer.body) // 11)
                assert client.ends_silently()
            assert other.answer().body == b".........."
            assert server.wait() == 0
            assert "events are over" in server.stdout.lines
            assert server.stderr.lines[1:] == [STOPPING]

    def test_those_that_begin_during_the_stop_end_too(self, tmp_path: Path) -> None:
        with running(tmp_path, "") as server, connected(server.port) as client:
            assert client.ask("/").status == 200
            with asking(server, "/sleep/1", "asleep") as other:
                server.signal(signal.SIGTERM)
                wait_until_refused(server.port)
                client.send(request("/events"))
                assert client.answer().body.startswith(b"data: now\n\n")
                assert other.answer().body == b"slept"
            assert server.wait() == 0
            assert server.stderr.lines[1:] == [STOPPING]
