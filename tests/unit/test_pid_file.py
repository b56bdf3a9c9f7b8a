"""The PID file: what it replaces, what it leaves alone, who removes it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cello.errors import StartError
from cello.server.pid_file import PidFile, is_running


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "app.pid"


def ended_pid() -> int:
    """Return the number of a process that has just ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def refusal(path: Path) -> str:
    with pytest.raises(StartError) as caught:
        PidFile(path).write()
    return str(caught.value)


def test_it_holds_the_number_and_goes(path: Path) -> None:
    pid_file = PidFile(path)
    pid_file.write()
    assert path.read_text() == f"{os.getpid()}\n"
    assert os.listdir(path.parent) == ["app.pid"]
    assert os.stat(path).st_mode & 0o777 == 0o644
    pid_file.remove()
    assert os.listdir(path.parent) == []
    pid_file.remove()


def test_nobody_reads_half_of_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace = os.replace

    def look(source: str, target: str) -> None:
        assert not path.exists()
        assert Path(source).read_text() == f"{os.getpid()}\n"
        replace(source, target)

    monkeypatch.setattr(os, "replace", look)
    PidFile(path).write()
    assert path.exists()


@pytest.mark.parametrize("content", ["", "\n", "ended", "own"])
def test_a_stale_one_is_replaced(path: Path, content: str) -> None:
    numbers = {"ended": f"{ended_pid()}\n", "own": f"{os.getpid()}"}
    path.write_text(numbers.get(content, content))
    pid_file = PidFile(path)
    pid_file.write()
    assert path.read_text() == f"{os.getpid()}\n"
    pid_file.remove()
    assert not path.exists()


def test_that_of_a_process_that_runs_is_refused(path: Path) -> None:
    path.write_text(f" {os.getppid()} \n")
    told = f"process {os.getppid()} is running; stop it, or choose another path with --pid-file"
    assert refusal(path) == f"pid_file={str(path)!r}: {told}"
    assert path.read_text() == f" {os.getppid()} \n"


@pytest.mark.parametrize("content", ["key = value\n", "-5", "0", "12 13", "١٢"])
def test_what_is_none_is_left_alone(path: Path, content: str) -> None:
    path.write_text(content)
    assert "this is no PID file, and is left alone" in refusal(path)
    assert path.read_text() == content


def test_a_directory_is_left_alone(path: Path) -> None:
    path.mkdir()
    assert "this is not a regular file" in refusal(path)
    assert path.is_dir()


def test_a_directory_that_is_missing(path: Path) -> None:
    assert (
        refusal(path / "x") == f"pid_file={str(path / 'x')!r}: cannot be written: No such file or directory"
    )


def test_what_a_crash_left_beside_it_is_replaced(path: Path) -> None:
    Path(f"{path}.{os.getpid()}").write_text("half")
    PidFile(path).write()
    assert os.listdir(path.parent) == ["app.pid"]


def test_another_ones_file_stays(path: Path) -> None:
    pid_file = PidFile(path)
    pid_file.write()
    path.unlink()
    path.write_text(f"{os.getpid()}\n")
    pid_file.remove()
    assert path.exists()


def test_a_file_that_was_written_to_stays(path: Path) -> None:
    pid_file = PidFile(path)
    pid_file.write()
    path.write_text("1\n")
    pid_file.remove()
    assert path.read_text() == "1\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_leaves_it(path: Path) -> None:
    pid_file = PidFile(path)
    pid_file.write()
    pid = os.fork()
    if pid == 0:
        pid_file.remove()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert path.exists()
    pid_file.remove()
    assert not path.exists()


def test_one_that_may_not_be_removed_is_emptied(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        raise PermissionError(13, "Permission denied")

    pid_file = PidFile(path)
    pid_file.write()
    with monkeypatch.context() as patched:
        patched.setattr(os, "unlink", refuse)
        pid_file.remove()
    assert path.read_text() == ""
    PidFile(path).write()  # and stands in nobody's way


def test_from_another_working_directory(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    pid_file = PidFile("app.pid")
    pid_file.write()
    monkeypatch.chdir("/")
    pid_file.remove()
    assert not path.exists()


def test_who_runs() -> None:
    assert is_running(os.getpid())
    assert is_running(1)
    assert not is_running(ended_pid())
    assert not is_running(10**30)
