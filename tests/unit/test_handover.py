"""What an executed process is handed over: through the environment, once, and to nobody else."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cello.cluster import handover
from cello.cluster.handover import (
    VARIABLE,
    WORKER_VARIABLE,
    Handover,
    command,
    is_executed_by_supervisor,
    read_handover,
    signals_blocked,
    unblock_signals,
)
from cello.errors import StartError

ROOT = Path(__file__).resolve().parents[2]
on_unix = pytest.mark.skipif(sys.platform == "win32", reason="descriptors are inherited on Unix alone")


@pytest.fixture(autouse=True)
def _no_handover(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.delenv(WORKER_VARIABLE, raising=False)


def enter(given: Handover, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this process the one that was executed with a handover."""
    for name in (VARIABLE, WORKER_VARIABLE):
        if name in given.environment():
            monkeypatch.setenv(name, given.environment()[name])


@on_unix
@pytest.mark.parametrize("role", ["leader", "worker"])
def test_what_is_handed_over_arrives_whole(role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(6)]
    given = Handover(
        role,
        control=opened[0],
        board=opened[1],
        listeners={"0": opened[2:4], "11": opened[4:5]},
        stacks=opened[5],
        worker=7,
        slot=11,
        row=3,
    )
    assert sorted(given.descriptors()) == sorted(opened)
    for descriptor in opened:
        os.set_inheritable(descriptor, True)
    enter(given, monkeypatch)
    assert is_executed_by_supervisor()
    assert read_handover() == given
    assert not any(os.get_inheritable(descriptor) for descriptor in opened)
    assert VARIABLE not in os.environ  # what this process starts is no worker of that supervisor
    for descriptor in opened:
        os.close(descriptor)


def test_a_leader_has_no_stacks_and_its_environment_names_no_worker() -> None:
    given = Handover("leader", control=5, board=6, listeners={"0": [7]})
    assert given.descriptors() == [5, 6, 7]
    environment = given.environment()
    assert WORKER_VARIABLE not in environment
    assert json.loads(environment[VARIABLE])["role"] == "leader"
    assert {name: environment[name] for name in os.environ} == dict(os.environ)


def test_a_worker_is_told_from_the_script_run_by_hand() -> None:
    given = Handover("worker", control=5, board=6, listeners={})
    assert given.environment()[WORKER_VARIABLE] == "1"


def test_a_program_that_nobody_executed_has_no_handover() -> None:
    assert not is_executed_by_supervisor()
    assert read_handover() is None


@pytest.mark.parametrize("value", ["1", "yes"])
def test_the_workers_variable_is_refused_from_anyone_else(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(WORKER_VARIABLE, value)
    assert is_executed_by_supervisor()  # so that it comes to reading it
    with pytest.raises(StartError) as caught:
        read_handover()
    assert str(caught.value) == (
        "CELLO_WORKER is set, which Cello does for the workers that it starts: unset it"
    )


def test_the_workers_variable_may_be_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WORKER_VARIABLE, "")
    assert not is_executed_by_supervisor()
    assert read_handover() is None


@on_unix
def test_an_executed_process_has_the_listeners() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_server(("127.0.0.1", 0)) as other:
        descriptors = [listener.fileno(), other.fileno()]
        given = Handover(
            "worker",
            control=descriptors[0],
            board=descriptors[1],
            listeners={"0": descriptors[:1], "1": descriptors[1:]},
        )
        code = (
            "from cello.cluster.handover import read_handover\n"
            "control, listeners = read_handover().sockets()\n"
            "for slot, [each] in sorted(listeners.items()):\n"
            "    print(slot, each.getsockname()[1], each.get_inheritable(), each.family.name)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env=given.environment(),
            pass_fds=given.descriptors(),
            capture_output=True,
            text=True,
            check=True,
        )
        ports = [each.getsockname()[1] for each in (listener, other)]
    assert done.stdout.splitlines() == [f"{n} {port} False AF_INET" for n, port in enumerate(ports)]


# --- the command ---


def test_the_command_keeps_the_interpreters_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover.sys, "orig_argv", ["python3", "-X", "dev", "-m", "shop", "--port", "80"])
    assert command() == [sys.executable, "-X", "dev", "-m", "shop", "--port", "80"]


def test_the_command_runs_the_same_program_again(tmp_path: Path) -> None:
    script = tmp_path / "app with space.py"
    script.write_text(
        "import os, subprocess, sys\n"
        "from cello.cluster.handover import command\n"
        "print(sys.argv[1:], sys.flags.optimize, __name__, flush=True)\n"
        "if os.environ.get('AGAIN') is None:\n"
        "    subprocess.run(command(), check=True, env={**os.environ, 'AGAIN': '1'})\n"
    )
    done = subprocess.run(
        [sys.executable, "-O", str(script), "a b", "--c"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == ["['a b', '--c'] 1 __main__"] * 2


# --- the terminal's signals ---


@on_unix
def test_signals_are_blocked_for_what_is_started_inside() -> None:
    code = (
        "import os, signal\n"
        "os.kill(os.getpid(), signal.SIGINT)\n"  # stays pending: the program expects it only later
        "print(sorted(each.name for each in signal.pthread_sigmask(signal.SIG_BLOCK, [])))\n"
        "for name in ('SIGINT', 'SIGHUP', 'SIGQUIT'):\n"
        "    signal.signal(getattr(signal, name), signal.SIG_IGN)\n"
        "from cello.cluster.handover import unblock_signals\n"
        "unblock_signals()\n"
        "print(signal.pthread_sigmask(signal.SIG_BLOCK, []))\n"
    )
    import signal

    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    with signals_blocked():
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
        )
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before
    assert done.stdout.splitlines() == [
        "['SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2']",
        "set()",
    ]


@on_unix
def test_unblocking_what_is_not_blocked_does_nothing() -> None:
    import signal

    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    unblock_signals()
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before
