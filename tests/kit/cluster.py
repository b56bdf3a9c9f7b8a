"""A cluster as its user starts it: a script of its own, in a session of its own, with all its processes."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.kit.process import PATIENCE_SECONDS, Process

APP = """
import asyncio
import ctypes
import os
import time

import part
from cello import App, ClusterConfig, LimitsConfig

app = App()
leaked = []


@app.get("/")
async def index(request):
    return {"pid": os.getpid(), "version": part.VERSION}


@app.get("/slow")
async def slow(request):
    await asyncio.sleep(1)
    return {"pid": os.getpid()}


@app.get("/block")
def block(request):
    time.sleep(1)
    return {"pid": os.getpid()}


@app.get("/hold", blocking=False)
def hold(request):
    time.sleep(100)


@app.get("/hold-gil", blocking=False)
def hold_gil(request):
    sleep = ctypes.PyDLL(None).sleep  # keeps the lock, unlike CDLL's
    while True:
        sleep(100)  # a signal ends it early


@app.get("/leak")
async def leak(request):
    leaked.append(os.urandom(int(request.query["bytes"])))
    return {"pid": os.getpid()}


@app.get("/stream")
async def stream(request):
    while True:
        yield "data: tick\\n\\n"
        await asyncio.sleep(0.05)
"""

RUN = """
if __name__ == "__main__":
    app.run(port=0, env="production", workers=4, cluster=ClusterConfig(processes=2{more}))
"""


@dataclass(frozen=True)
class Stat:
    """What the kernel says of a process."""

    pid: int
    parent: int
    session: int
    state: str


def stats() -> Iterator[Stat]:
    """Yield all processes that this one may see."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError):
                fields = Path(f"/proc/{name}/stat").read_text("latin-1").rpartition(")")[2].split()
                yield Stat(int(name), int(fields[1]), int(fields[3]), fields[0])


class Cluster(Process):
    """A running cluster; what it has left behind is found by its session."""

    def members(self) -> list[Stat]:
        """Return the processes that run, of whatever role."""
        return [each for each in stats() if each.session == self.pid and each.state != "Z"]

    def children_of(self, pid: int) -> list[int]:
        """Return the children of a process."""
        return [each.pid for each in self.members() if each.parent == pid]

    @property
    def leaders(self) -> list[int]:
        """The PIDs of leaders: what the supervisor has started and what has no event loop."""
        return [pid for pid in self.children_of(self.pid) if "anon_inode:[eventpoll]" not in open_files(pid)]

    @property
    def workers(self) -> list[int]:
        """The PIDs of workers: they have an event loop."""
        others = [each.pid for each in self.members() if each.pid != self.pid]
        return [pid for pid in others if "anon_inode:[eventpoll]" in open_files(pid)]

    def wait_until(self, is_so: Callable[[], bool], what: str) -> None:
        """Wait for a state; fails after a long while."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not is_so():
            assert time.monotonic() < deadline, f"{what} never came: {self.stderr.text}"
            time.sleep(0.005)

    def wait_for_workers(self, count: int, but: set[int] = frozenset()) -> list[int]:  # type: ignore[assignment]
        """Wait until so many workers run, none of them of a set."""
        self.wait_until(
            lambda: len(self.workers) == count and not but & set(self.workers), f"{count} workers but {but}"
        )
        return self.workers

    def tree_cpu_seconds(self) -> float:
        """Return the CPU time that all processes have used together."""
        ticks = 0
        for each in self.members():
            with suppress(OSError):
                fields = Path(f"/proc/{each.pid}/stat").read_text("latin-1").rpartition(")")[2].split()
                ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def is_port_free(self) -> bool:
        """Tell whether another server could bind the port."""
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind(("127.0.0.1", self.port))
            except OSError:
                return False
            return True

    def end(self) -> None:
        """Leave nothing behind, whatever the test has done."""
        for _ in range(20):
            members = self.members()
            for each in members:
                with suppress(OSError):
                    os.kill(each.pid, signal.SIGKILL)
            if not members:
                break
            time.sleep(0.05)
        super().end()


def open_files(pid: int) -> set[str]:
    """Return what a process has open, by the names of /proc."""
    found = set()
    with suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                found.add(os.readlink(f"/proc/{pid}/fd/{name}"))
    return found


@contextmanager
def running_cluster(
    folder: Path,
    more: str = "",
    *arguments: str,
    source: str = "",
    environment: Mapping[str, str] | None = None,
    version: str = "VERSION = 1\n",
) -> Iterator[Cluster]:
    """Run the script above with more arguments of ClusterConfig; all is gone when the block ends."""
    (folder / "part.py").write_text(version)
    (folder / "app.py").write_text(source or APP + RUN.replace("{more}", more))
    cluster = Cluster([sys.executable, "app.py", *arguments], folder, environment or {}, has_own_session=True)
    try:
        yield cluster
    finally:
        cluster.end()
