"""A cluster under what deploys it: sockets by path and from systemd, PID files, users, managers, probes."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from pathlib import Path

import pytest

from tests.kit.cluster import APP, RUN, Cluster, open_files, running_cluster
from tests.kit.load import Load
from tests.kit.raw import connected, connected_at

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")

STRATEGIES = pytest.mark.parametrize("strategy", ["fork", "spawn"])


def script(strategy: str, more: str, before_run: str = "") -> str:
    """Return the script with a strategy and more arguments of run()."""
    return APP + before_run + RUN.replace("{more})", f', strategy="{strategy}"), {more}')


def pids_at(path: Path, count: int) -> set[int]:
    """Ask on so many connections to a socket file which process answers."""
    pids = set()
    for _ in range(count):
        with connected_at(path) as client:
            pids.add(json.loads(client.ask("/").body)["pid"])
    return pids


@STRATEGIES
def test_all_processes_share_a_socket_by_its_path(tmp_path: Path, strategy: str) -> None:
    path = tmp_path / "app.sock"
    source = script(strategy, f"uds={str(path)!r}").replace("port=0, ", "")
    with running_cluster(tmp_path, source=source) as cluster:
        cluster.stderr.wait_for("serves on")
        before = set(cluster.wait_for_workers(2))
        assert pids_at(path, 60) <= before
        os.kill(min(before), signal.SIGKILL)
        cluster.wait_for_workers(2, but={min(before)})
        assert pids_at(path, 20)
        cluster.signal(signal.SIGHUP)
        cluster.wait_for_workers(2, but=before)
        assert path.exists()
        assert pids_at(path, 20) <= set(cluster.workers)
        assert cluster.stop() == 0
        assert not path.exists()


@STRATEGIES
def test_a_socket_of_systemd_is_shared_and_outlives_the_cluster(tmp_path: Path, strategy: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        (tmp_path / "part.py").write_text("VERSION = 1\n")
        (tmp_path / "app.py").write_text(script(strategy, "logs=False"))
        # systemd execs the service with LISTEN_PID set to its PID: so does this line of shell.
        shell = f'exec env LISTEN_PID=$$ LISTEN_FDS=1 "{sys.executable}" app.py 3<&{listener.fileno()}'
        os.set_inheritable(listener.fileno(), True)
        cluster = Cluster(
            ["bash", "-c", shell], tmp_path, {}, has_own_session=True, pass_fds=[listener.fileno()]
        )
        try:
            cluster.wait_for_workers(2)
            port = listener.getsockname()[1]
            with Load(port) as load:
                load.wait_for(100)
                before = set(cluster.workers)
                cluster.signal(signal.SIGHUP)
                cluster.wait_for_workers(2, but=before)
                load.wait_for(50)
                load.stop()
                load.check()
            assert not load.losses, load.losses
            assert cluster.stop() == 0
            with socket.create_connection(listener.getsockname()):
                pass  # it waits in the queue for the next start
        finally:
            cluster.end()


@STRATEGIES
def test_the_pid_file_is_the_supervisors(tmp_path: Path, strategy: str) -> None:
    source = script(strategy, 'pid_file="app.pid"')
    with running_cluster(tmp_path, source=source) as cluster:
        before = set(cluster.wait_for_workers(2))
        assert int((tmp_path / "app.pid").read_text()) == cluster.pid
        cluster.signal(signal.SIGHUP)
        cluster.wait_for_workers(2, but=before)
        assert int((tmp_path / "app.pid").read_text()) == cluster.pid
        with running_cluster(tmp_path, source=source) as second:
            assert second.wait() == 1
            assert str(cluster.pid) in second.stderr.lines[-1]
        assert cluster.stop() == 0
        assert not (tmp_path / "app.pid").exists()


def can_be_executed_by_others() -> bool:
    """Tell whether another user can run this interpreter, as a reload and the strategy spawn have to."""
    return all(folder.stat().st_mode & 0o001 for folder in Path(sys.executable).resolve().parents)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
@STRATEGIES
def test_all_processes_are_the_user_also_after_a_reload(tmp_path: Path, strategy: str) -> None:
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    can_execute = can_be_executed_by_others()
    if strategy == "spawn" and not can_execute:
        pytest.skip(f"another user cannot run {sys.executable}")
    with running_cluster(tmp_path, source=script(strategy, 'user="nobody"')) as cluster:
        before = set(cluster.wait_for_workers(2))
        if can_execute:
            cluster.signal(signal.SIGHUP)
            cluster.wait_for_workers(2, but=before)
        for each in cluster.members():
            status = Path(f"/proc/{each.pid}/status").read_text()
            assert "\nUid:\t65534\t65534\t65534\t65534\n" in status
        with connected(cluster.port) as client:
            assert client.ask("/").status == 200
        assert cluster.stop() == 0


@STRATEGIES
def test_a_service_manager_hears_of_start_reload_and_stop(tmp_path: Path, strategy: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(20)

        def hear() -> list[str]:
            while (lines := manager.recv(4096).decode().split("\n")) == ["WATCHDOG=1"]:
                pass
            return lines

        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "400000"}
        with running_cluster(
            tmp_path, source=script(strategy, "logs=False"), environment=environment
        ) as cluster:
            assert hear()[0] == "READY=1"
            assert len(cluster.workers) == 2
            assert manager.recv(4096) == b"WATCHDOG=1"
            cluster.signal(signal.SIGHUP)
            told = hear()
            assert told[0] == "RELOADING=1"
            assert told[1].startswith("MONOTONIC_USEC=")
            assert hear()[0] == "READY=1"
            assert cluster.stop() == 0
            assert hear()[0] == "STOPPING=1"


def test_ready_says_no_and_all_is_served_during_the_shutdown_delay(tmp_path: Path) -> None:
    source = script("fork", "logs=False", "app.enable_health_checks()\n")
    source = source.replace('strategy="fork"', "shutdown_delay=1")
    with running_cluster(tmp_path, source=source) as cluster:
        cluster.wait_for_workers(2)
        with connected(cluster.port) as client:
            assert client.ask("/-/ready").status == 200
            cluster.signal(signal.SIGTERM)
            began = time.monotonic()
            cluster.wait_until(lambda: client.ask("/-/ready").status == 503, "not ready any more")
            answered = 0
            while time.monotonic() - began < 0.5:
                with connected(cluster.port) as other:
                    assert other.ask("/").status == 200
                    assert other.ask("/-/ready").status == 503
                    assert other.ask("/-/live").status == 200
                answered += 1
            assert answered
        assert cluster.wait() == 0
        assert time.monotonic() - began >= 1


def test_workers_hold_no_end_of_each_others_channels(tmp_path: Path) -> None:
    """Or the end of the supervisor, or of a leader, would be heard by nobody."""
    with running_cluster(tmp_path) as cluster:
        cluster.wait_for_workers(2)
        held = [{name for name in open_files(pid) if name.startswith("socket:")} for pid in cluster.workers]
        listeners = {name for name in open_files(cluster.leaders[0]) if name.startswith("socket:")}
        assert held[0] & held[1] <= listeners
        assert cluster.stop() == 0
