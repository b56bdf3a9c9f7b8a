"""A process under a service manager: a datagram socket of this test stands for systemd."""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from trustme import CA

from tests.kit.process import Process, running_script
from tests.kit.raw import Stopwatch, connected, request
from tests.kit.script import APP, asking

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="systemd is Linux's")

PATIENCE_SECONDS = 20.0


def source(delay: float = 0) -> str:
    return APP + f"app.run(port=0, env='production', cluster=ClusterConfig(shutdown_delay={delay}))\n"


class Manager:
    """What systemd hears."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    def hear(self, *, but: str = "WATCHDOG=1") -> list[str]:
        """Return the lines of the next datagram, passing over those of a kind."""
        watch = Stopwatch()
        while True:
            left = PATIENCE_SECONDS - watch.seconds
            assert left > 0, "nothing was said"
            self.sock.settimeout(left)
            lines = self.sock.recv(4096).decode().split("\n")
            if lines != [but]:
                return lines

    def is_silent(self, seconds: float) -> bool:
        """Tell whether nothing is said for so long."""
        return not select.select([self.sock], [], [], seconds)[0]

    def forget(self) -> None:
        """Pass over what has been said so far."""
        while not self.is_silent(0):
            self.sock.recv(4096)


@contextmanager
def managed(folder: Path, script: str, **environment: str) -> Iterator[tuple[Process, Manager]]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(folder / "notify"))
        told = {"NOTIFY_SOCKET": str(folder / "notify"), **environment}
        with running_script(folder, script, environment=told) as process:
            yield process, Manager(sock)


def test_ready_is_said_behind_the_startup_hooks_and_stopping_at_the_stop(tmp_path: Path) -> None:
    with managed(tmp_path, source()) as (process, manager):
        assert manager.hear() == ["READY=1", f"STATUS=serving on {process.urls[0]}"]
        assert process.stdout.lines == ["startup"]
        assert manager.is_silent(0.3)  # no watchdog was asked for
        with asking(process, "/sleep/0.5", "asleep") as client:
            process.signal(signal.SIGTERM)
            assert manager.hear() == ["STOPPING=1", "STATUS=stopping"]
            assert client.answer().body == b"slept"
        assert process.wait() == 0
        assert manager.is_silent(0)


def test_stopping_is_said_before_the_delay(tmp_path: Path) -> None:
    with managed(tmp_path, source(60)) as (process, manager):
        assert manager.hear()[0] == "READY=1"
        process.signal(signal.SIGTERM)
        assert manager.hear()[0] == "STOPPING=1"
        with connected(process.port) as client:
            assert client.ask("/").body == b"home"
        process.signal(signal.SIGTERM)
        assert process.wait() == 143


def test_a_start_that_fails_never_says_ready(tmp_path: Path) -> None:
    with managed(tmp_path, source().replace("port=0", "host='192.0.2.1'")) as (
        process,
        manager,
    ):
        assert process.wait() == 1
        assert manager.is_silent(0)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no SIGHUP here")
def test_renewing_certificates_is_a_reload(tmp_path: Path) -> None:
    pair = CA().issue_cert("localhost")
    pair.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    pair.private_key_pem.write_to_path(tmp_path / "key.pem")
    script = APP + 'app.run(port=0, env="production", tls=TlsConfig("cert.pem", "key.pem"))\n'
    with managed(tmp_path, script) as (process, manager):
        assert manager.hear()[0] == "READY=1"
        process.signal(signal.SIGHUP)
        begun = manager.hear()
        assert begun[0] == "RELOADING=1"
        assert begun[1].startswith("MONOTONIC_USEC=")
        assert manager.hear() == ["READY=1"]
        assert process.stop() == 0


class TestWatchdog:
    def test_an_idle_process_says_that_it_lives_until_it_stops(self, tmp_path: Path) -> None:
        with managed(tmp_path, source(), WATCHDOG_USEC="400000") as (process, manager):
            assert manager.hear(but="")[0] == "READY=1"
            watch = Stopwatch()
            for _ in range(6):
                assert manager.hear(but="") == ["WATCHDOG=1"]
            assert watch.seconds >= 0.9  # at half of it, and not in a rush
            process.signal(signal.SIGTERM)
            assert manager.hear()[0] == "STOPPING=1"
            assert process.wait() == 0

    def test_a_held_loop_says_nothing(self, tmp_path: Path) -> None:
        with managed(tmp_path, source(), WATCHDOG_USEC="200000") as (process, manager):
            assert manager.hear()[0] == "READY=1"
            with connected(process.port) as client:
                client.send(request("/hold/5"))
                process.stdout.wait_for("held")
                manager.forget()
                assert manager.is_silent(1)
                assert client.answer().body == b"let go"
            assert manager.hear(but="") == ["WATCHDOG=1"]
            assert process.stop() == 0

    def test_another_process_s_watchdog_is_not_fed(self, tmp_path: Path) -> None:
        told = {"WATCHDOG_USEC": "100000", "WATCHDOG_PID": str(os.getpid())}
        with managed(tmp_path, source(), **told) as (process, manager):
            assert manager.hear(but="")[0] == "READY=1"
            assert manager.is_silent(0.5)
            assert process.stop() == 0
