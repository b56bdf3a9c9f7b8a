"""Servers as users start them: a script of their own in a process of its own.

Every wait is bounded, and a process that outlives its test is killed by its PID.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent.parent
PATIENCE_SECONDS = 20.0
BANNER = re.compile(
    r"^Cello \S+ \((?:pure|compiled)\) serves on (.*) \((\w+), ((?:\d+ x )?\d+) workers?\); Ctrl-C stops it$"
)


class Output:
    """One output stream of a process, collected by a thread."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._changed = threading.Condition()
        self._lines: list[str] = []
        self._is_complete = False
        self._thread = threading.Thread(target=self._collect, daemon=True)
        self._thread.start()

    def _collect(self) -> None:
        for line in self._stream:
            with self._changed:
                self._lines.append(line.decode("utf-8", "replace").rstrip("\r\n"))
                self._changed.notify_all()
        with self._changed:
            self._is_complete = True
            self._changed.notify_all()

    @property
    def lines(self) -> list[str]:
        """The lines so far, without their ends."""
        with self._changed:
            return list(self._lines)

    @property
    def text(self) -> str:
        """All so far."""
        return "\n".join(self.lines)

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Return the match of the first line that has one, as soon as there is one."""

        def find() -> re.Match[str] | None:
            return next((found for line in self._lines if (found := re.search(pattern, line))), None)

        with self._changed:
            self._changed.wait_for(lambda: find() is not None or self._is_complete, PATIENCE_SECONDS)
            found = find()
        assert found is not None, f"no line matches {pattern!r} in: {self.text or 'nothing'}"
        return found

    def finish(self) -> None:
        """Read to the end of a process that has ended."""
        self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive(), "another process still holds this one's output"
        self._stream.close()


class Process:
    """A Python script that runs, by its PID and its output."""

    def __init__(
        self,
        arguments: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        *,
        has_own_session: bool = False,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self._process = subprocess.Popen(
            arguments,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error", **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=has_own_session,
            pass_fds=pass_fds,
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self.pid = self._process.pid
        self.stdout = Output(self._process.stdout)
        self.stderr = Output(self._process.stderr)

    @property
    def urls(self) -> list[str]:
        """The URLs of the banner, which is waited for."""
        return str(self.stderr.wait_for(BANNER.pattern)[1]).split(" and ")

    @property
    def port(self) -> int:
        """The port of the banner, which is waited for."""
        return int(self.urls[0].rpartition(":")[2])

    @property
    def is_running(self) -> bool:
        """Tell whether the process has not ended yet."""
        return self._process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to this one process."""
        self._process.send_signal(number)

    def wait(self) -> int:
        """Wait for the end; returns the exit status, negative for a signal."""
        try:
            status = self._process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise AssertionError(f"the process did not end; it said: {self.stderr.text}") from None
        self.stdout.finish()
        self.stderr.finish()
        return status

    def stop(self) -> int:
        """Ask for the graceful stop and return the exit status."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def end(self) -> None:
        """Leave nothing behind."""
        if self.is_running:
            self._process.kill()
        self.wait()

    def rss_bytes(self) -> int:
        """Return the memory that the process holds, on Linux."""
        status = Path(f"/proc/{self.pid}/status").read_text("ascii")
        return int(re.findall(r"^VmRSS:\s*(\d+) kB", status, re.MULTILINE)[0]) * 1024

    def cpu_seconds(self) -> float:
        """Return the CPU time that the process has used, on Linux."""
        fields = Path(f"/proc/{self.pid}/stat").read_text("ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def running_script(
    folder: Path, source: str, *arguments: str, environment: Mapping[str, str] | None = None
) -> Iterator[Process]:
    """Run a script as ``python app.py`` with these arguments; it is gone when the block ends."""
    (folder / "app.py").write_text(source, "utf-8")
    process = Process([sys.executable, "app.py", *arguments], folder, environment or {})
    try:
        yield process
    finally:
        process.end()
