"""A contender as a process: started on its core, awaited, and ended with all its children."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load.answers import BadAnswer, Client, ask
from benchmarks.load.contenders import ROOT, Contender, Launch, server_environment
from benchmarks.load.scenarios import LOADS, Scenario

START_SECONDS = 15.0
STOP_SECONDS = 5.0


class BadServer(Exception):
    """A contender did not come up, or did not stay up."""


@dataclass(frozen=True)
class Running:
    """A server that has given its first good answer."""

    contender: Contender
    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def last_words(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it wrote nothing"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def pinned(command: list[str], core: int) -> list[str]:
    return ["taskset", "-c", str(core), *command]


def wait_until_ready(server: Running, scenario: Scenario) -> None:
    """Ask until a whole good answer comes; a bad one ends the wait at once."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            raise BadServer(f"ended with {server.process.returncode}: {server.last_words()}")
        try:
            with Client(server.port) as client:
                ask(client, scenario, echoes=server.contender.echoes)
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise BadServer(f"no answer within {START_SECONDS:.0f} s: {server.last_words()}")


def stop(process: subprocess.Popen[bytes]) -> None:
    """End the server's whole process group, which it was started in alone."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextlib.contextmanager
def running(contender: Contender, scenario: Scenario | None, core: int) -> Iterator[Running]:
    """A fresh server for one visit; raises BadServer when it does not answer, or answers wrongly."""
    with tempfile.TemporaryDirectory(prefix="cello-load-") as directory:
        launch = Launch(free_port(), scenario, Path(directory))
        log = launch.scratch / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                pinned(contender.command(launch), core),
                cwd=ROOT,
                env=server_environment(contender.env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        server = Running(contender, process, launch.port, log)
        try:
            wait_until_ready(server, scenario or LOADS["json"])
            yield server
        except BadAnswer as exc:
            raise BadServer(str(exc)) from exc
        finally:
            stop(process)
