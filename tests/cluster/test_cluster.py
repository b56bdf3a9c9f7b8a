"""A cluster as its operator meets it: what serves, what is said, what its signals and settings do."""

from __future__ import annotations

import json
import os
import re
import signal
import ssl
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.kit.cluster import APP, RUN, Cluster, running_cluster
from tests.kit.process import ROOT
from tests.kit.raw import connected

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")

THREAD = "import threading, time\nthreading.Thread(target=time.sleep, args=(99,), daemon=True).start()\n"
SLOW = b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n"
STRATEGIES = pytest.mark.parametrize("strategy", ["fork", "spawn"])


def pids_of(cluster: Cluster, count: int) -> Counter[int]:
    """Ask on so many connections of their own which process answers."""
    pids: Counter[int] = Counter()
    for _ in range(count):
        with connected(cluster.port) as client:
            pids[json.loads(client.ask("/").body)["pid"]] += 1
    return pids


@STRATEGIES
def test_connections_are_spread_over_all_processes(tmp_path: Path, strategy: str) -> None:
    with running_cluster(tmp_path, f', strategy="{strategy}"') as cluster:
        workers = cluster.wait_for_workers(2)
        pids = pids_of(cluster, 200)
        assert set(pids) == set(workers)
        assert min(pids.values()) > 40
        assert cluster.stop() == 0
        assert len(cluster.stderr.lines) == 2, cluster.stderr.text  # that it serves, and that it stops


def test_the_fork_strategy_keeps_one_leader_and_spawn_none(tmp_path: Path) -> None:
    with running_cluster(tmp_path) as cluster:
        cluster.wait_for_workers(2)
        (leader,) = cluster.leaders
        assert sorted(cluster.children_of(leader)) == sorted(cluster.workers)
    with running_cluster(tmp_path, ', strategy="spawn"') as cluster:
        cluster.wait_for_workers(2)
        assert cluster.leaders == []
        assert sorted(cluster.children_of(cluster.pid)) == sorted(cluster.workers)


def test_one_process_has_no_supervisor(tmp_path: Path) -> None:
    with running_cluster(tmp_path, source=APP + RUN.replace("=2{more}", "=1")) as cluster:
        assert list(pids_of(cluster, 3)) == [cluster.pid]
        assert len(cluster.members()) == 1
        assert cluster.stop() == 0


def test_the_command_line_reaches_workers_that_are_executed(tmp_path: Path) -> None:
    with running_cluster(tmp_path, ', strategy="spawn"', "--log-format", "json", "--debug") as cluster:
        cluster.wait_for_workers(2)
        with connected(cluster.port) as client:
            assert client.ask("/nowhere").status == 404
            assert client.ask("/").values("server")[0].startswith("cello/")


def test_threads_before_the_start_are_executed_and_not_forked(tmp_path: Path) -> None:
    with running_cluster(
        tmp_path, source=THREAD + APP + RUN.replace("{more}", ', strategy="fork"')
    ) as cluster:
        cluster.wait_for_workers(2)
        assert cluster.leaders == []
        cluster.stderr.wait_for("strategy='fork'.: the application has threads or an event loop")
        assert cluster.stop() == 0


def test_threads_that_a_reload_brings_are_told_and_executed(tmp_path: Path) -> None:
    with running_cluster(tmp_path) as cluster:
        before = set(cluster.wait_for_workers(2))
        (tmp_path / "part.py").write_text(THREAD + "VERSION = 2\n")
        cluster.signal(signal.SIGHUP)
        cluster.stderr.wait_for("has threads or an event loop when app.run")
        cluster.wait_for_workers(2, but=before)
        cluster.wait_until(lambda: cluster.leaders == [], "the end of the leaders")
        (tmp_path / "part.py").write_text("VERSION = 3\n")
        before = set(cluster.workers)
        cluster.signal(signal.SIGHUP)
        cluster.wait_for_workers(2, but=before)
        cluster.wait_until(lambda: len(cluster.leaders) == 1, "a leader that can fork")
        assert cluster.stop() == 0


@STRATEGIES
def test_max_requests_replaces_workers_one_by_one(tmp_path: Path, strategy: str) -> None:
    with running_cluster(tmp_path, f', strategy="{strategy}", max_requests=100') as cluster:
        before = set(cluster.wait_for_workers(2))
        while not set(cluster.workers).isdisjoint(before):
            pids_of(cluster, 20)
        cluster.stderr.wait_for(r"will be replaced: it has answered (9\d|\d\d\d) requests \(max_requests\)")
        assert cluster.stop() == 0


def test_max_lifetime_replaces_workers(tmp_path: Path) -> None:
    with running_cluster(tmp_path, ", max_lifetime=1") as cluster:
        before = set(cluster.wait_for_workers(2))
        cluster.stderr.wait_for(r"will be replaced: it has lived long enough \(max_lifetime\)")
        cluster.wait_until(lambda: set(cluster.workers).isdisjoint(before), "new workers")
        assert cluster.stop() == 0


def test_max_connections_is_the_whole_servers(tmp_path: Path) -> None:
    source = APP + RUN.replace("{more}", "), limits=LimitsConfig(max_connections=10")
    with running_cluster(tmp_path, source=source) as cluster:
        cluster.wait_for_workers(2)
        with connected(cluster.port) as asking:
            assert asking.ask("/").status == 200
            asking.send(SLOW)
            time.sleep(0.1)
            clients = [connected(cluster.port) for _ in range(40)]
            entered = [client.__enter__() for client in clients]
            try:
                cluster.wait_until(lambda: sum(client.is_quiet() for client in entered) < 10, "the cap")
                assert asking.answer().status == 200  # who is busy is never the one to make room
            finally:
                for client in clients:
                    client.__exit__(None, None, None)
        assert cluster.stop() == 0


@STRATEGIES
def test_usr2_writes_the_stacks_of_all_workers(tmp_path: Path, strategy: str) -> None:
    with running_cluster(tmp_path, f', strategy="{strategy}"') as cluster:
        workers = cluster.wait_for_workers(2)
        assert set(pids_of(cluster, 50)) == set(workers)
        cluster.signal(signal.SIGUSR2)
        for pid in workers:
            cluster.stderr.wait_for(rf"worker \d \(PID {pid}\): its stacks")
        assert set(pids_of(cluster, 50)) == set(workers)
        assert cluster.stop() == 0


def test_usr1_opens_log_files_anew(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    logging = f"import logging\nlogging.basicConfig(filename={str(log)!r}, level=logging.INFO)\n"
    source = (
        logging + APP + '@app.get("/note")\ndef note(request):\n    logging.warning("noted")\n    return 1\n'
    )
    with running_cluster(tmp_path, source=source + RUN.replace("{more}", "")) as cluster:
        workers = set(cluster.wait_for_workers(2))
        log.rename(tmp_path / "app.log.1")
        cluster.signal(signal.SIGUSR1)
        cluster.wait_until(log.exists, "a new log file")
        for _ in range(20):
            with connected(cluster.port) as client:
                assert client.ask("/note").status == 200
        cluster.wait_until(lambda: log.read_text().count("noted") == 20, "all notes in the new file")
        assert "noted" not in (tmp_path / "app.log.1").read_text()
        assert set(cluster.workers) == workers
        for worker in workers:  # those that come have the new file too, and the supervisor speaks of it there
            os.kill(worker, signal.SIGKILL)
        cluster.wait_for_workers(2, but=workers)
        cluster.wait_until(lambda: log.read_text().count("killed by SIGKILL") == 2, "the supervisor's lines")
        with connected(cluster.port) as client:
            assert client.ask("/note").status == 200
        cluster.wait_until(lambda: log.read_text().count("noted") == 21, "the note of a new worker")
        assert "noted" not in (tmp_path / "app.log.1").read_text()
        assert cluster.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2], ids=lambda number: number.name)
def test_what_is_passed_on_ends_no_worker_that_still_imports(tmp_path: Path, number: signal.Signals) -> None:
    slow = "import pathlib, time\npathlib.Path(f'{time.monotonic_ns()}.seen').touch()\ntime.sleep(0.5)\n"
    source = slow + APP + RUN.replace("{more}", ', strategy="spawn"')
    with running_cluster(tmp_path, source=source) as cluster:
        before = set(cluster.wait_for_workers(2))
        seen = len(list(tmp_path.glob("*.seen")))
        os.kill(min(before), signal.SIGKILL)
        cluster.wait_until(lambda: len(list(tmp_path.glob("*.seen"))) > seen, "a worker that imports")
        cluster.signal(number)
        cluster.wait_until(lambda: len(set(cluster.workers) - before) == 1, "the new worker")
        assert cluster.stop() == 0
        assert number.name not in cluster.stderr.text


@STRATEGIES
def test_renewed_certificates_and_https_in_a_cluster(tmp_path: Path, strategy: str) -> None:
    make = [sys.executable, str(ROOT / "ci" / "make-certificates.py"), str(tmp_path / "tls")]
    subprocess.run(make, check=True, capture_output=True)
    tls = 'TlsConfig(cert_path="tls/cert.pem", key_path="tls/key.pem")'
    more = f', strategy="{strategy}"), tls={tls}'
    source = "from cello import TlsConfig\n" + APP + RUN.replace("{more})", more)
    with running_cluster(tmp_path, source=source) as cluster:
        before = set(cluster.wait_for_workers(2))
        trust = ssl.create_default_context(cafile=str(tmp_path / "tls" / "ca.pem"))
        with connected(cluster.port, tls=trust) as client:
            assert json.loads(client.ask("/").body)["pid"] in before
        subprocess.run(make, check=True, capture_output=True)
        cluster.signal(signal.SIGHUP)
        cluster.wait_for_workers(2, but=before)
        trust = ssl.create_default_context(cafile=str(tmp_path / "tls" / "ca.pem"))
        with connected(cluster.port, tls=trust) as client:
            assert client.ask("/").status == 200
        assert cluster.stop() == 0


def test_a_missing_certificate_is_one_line_and_no_process(tmp_path: Path) -> None:
    more = ', tls=TlsConfig(cert_path="no.pem", key_path="no.pem")'
    source = "from cello import TlsConfig\n" + APP + RUN.replace("{more})", ")" + more)
    with running_cluster(tmp_path, source=source) as cluster:
        assert cluster.wait() == 1
        assert len(cluster.stderr.lines) == 1
        assert "no such file" in cluster.stderr.text


def test_lines_of_the_request_log_are_never_mixed(tmp_path: Path) -> None:
    source = APP + RUN.replace("{more})", '), logs=True, log_format="json"')
    with running_cluster(tmp_path, source=source) as cluster:
        workers = cluster.wait_for_workers(2)
        count = 0
        for _ in range(40):
            with connected(cluster.port) as client:
                for _ in range(25):
                    client.ask("/nowhere-" + "x" * 200)
                    count += 1
        cluster.wait_until(lambda: len(cluster.stdout.lines) == count, "all lines")
        assert {json.loads(line)["worker"] for line in cluster.stdout.lines} == set(workers)
        assert cluster.stop() == 0


def test_a_port_that_is_taken_is_found_and_not_joined(tmp_path: Path) -> None:
    with running_cluster(tmp_path) as cluster:
        second = tmp_path / "second"
        second.mkdir()
        source = APP + RUN.replace("{more}", "").replace("port=0", f"port={cluster.port}")
        with running_cluster(second, source=source) as other:
            assert other.wait() == 1
            assert len(other.stderr.lines) == 1
            assert f"port {cluster.port} on 127.0.0.1 is taken by another program" in other.stderr.text
        assert cluster.stop() == 0


def test_the_reserved_variable_is_refused(tmp_path: Path) -> None:
    with running_cluster(tmp_path, environment={"CELLO_WORKER": "1"}) as cluster:
        assert cluster.wait() == 1
        assert cluster.stderr.lines == [
            "cello: CELLO_WORKER is set, which Cello does for the workers that it starts: unset it"
        ]


def test_quit_ends_at_once(tmp_path: Path) -> None:
    with running_cluster(tmp_path) as cluster, connected(cluster.port) as client:
        client.send(SLOW)
        time.sleep(0.1)
        cluster.signal(signal.SIGQUIT)
        assert cluster.wait() == 131
        assert not cluster.members()


def test_what_is_behind_run_is_executed_by_the_supervisor_alone(tmp_path: Path) -> None:
    source = APP + RUN.replace("{more}", "") + '    print("after", os.getpid())\n'
    with running_cluster(tmp_path, source=source) as cluster:
        cluster.wait_for_workers(2)
        assert cluster.stop() == 0
        assert cluster.stdout.lines == [f"after {cluster.pid}"]


@STRATEGIES
def test_hooks_run_in_every_worker_and_nowhere_else(tmp_path: Path, strategy: str) -> None:
    hooks = '@app.on_startup\ndef up():\n    os.write(1, b"up %d\\n" % os.getpid())\n\n\n'
    hooks += '@app.on_shutdown\ndef down():\n    os.write(1, b"down %d\\n" % os.getpid())\n\n\n'
    source = APP + hooks + RUN.replace("{more}", f', strategy="{strategy}"')
    with running_cluster(tmp_path, source=source) as cluster:
        workers = cluster.wait_for_workers(2)
        assert cluster.stop() == 0
        assert sorted(cluster.stdout.lines) == sorted(
            f"{what} {pid}" for what in ("up", "down") for pid in workers
        )


def test_what_a_handler_forks_does_not_keep_the_server(tmp_path: Path) -> None:
    forks = '@app.get("/child")\ndef child(request):\n    import subprocess\n'
    forks += (
        '    subprocess.Popen(["sleep", "99"], stdout=-3, stderr=-3)\n    return {"pid": os.getpid()}\n\n\n'
    )
    with running_cluster(tmp_path, source=APP + forks + RUN.replace("{more}", "")) as cluster:
        cluster.wait_for_workers(2)
        with connected(cluster.port) as client:
            assert client.ask("/child").status == 200
        assert cluster.stop() == 0
        assert cluster.is_port_free()


def test_processes_auto_is_a_number_of_cpus(tmp_path: Path) -> None:
    source = APP + RUN.replace("=2{more}", '="auto"')
    with running_cluster(tmp_path, source=source) as cluster:
        cluster.stderr.wait_for("serves on")
        found = re.search(r"(?:(\d+) x )?4 workers", cluster.stderr.text)
        assert found is not None
        assert int(found[1] or 1) <= len(os.sched_getaffinity(0))
        assert cluster.stop() == 0


def test_a_leader_that_is_stopped_holds_up_neither_the_slot_nor_the_end(tmp_path: Path) -> None:
    with running_cluster(tmp_path) as cluster:
        before = cluster.wait_for_workers(2)
        (leader,) = cluster.leaders
        os.kill(leader, signal.SIGSTOP)
        os.kill(before[0], signal.SIGKILL)  # a zombie from now on, which nobody reaps
        cluster.wait_until(lambda: len(set(cluster.workers) - {before[0]}) == 2, "another worker")
        assert leader not in cluster.leaders
        (leader,) = cluster.leaders
        os.kill(leader, signal.SIGSTOP)
        assert cluster.stop() == 0
        assert cluster.members() == []


EARLY = """
import os, signal

really_fork = os.fork


def fork():
    pid = really_fork()
    if pid == 0:  # Ctrl-C goes to the whole group, also in the middle of a fork
        os.kill(os.getpid(), signal.SIGINT)
    return pid


os.fork = fork
"""


def test_a_signal_to_a_process_that_is_just_forked_is_not_the_supervisors(tmp_path: Path) -> None:
    with running_cluster(tmp_path, source=EARLY + APP + RUN.replace("{more}", "")) as cluster:
        cluster.wait_for_workers(2)
        cluster.signal(signal.SIGINT)
        assert cluster.wait() == 0
        assert cluster.stderr.text.count("stopping") == 1


CHILDREN = """
import multiprocessing, signal, subprocess


def stay(started):
    started.set()
    time.sleep(99)


@app.get("/terminated")
def terminated(request):
    forking = multiprocessing.get_context("fork")
    started = forking.Event()  # Python forgets signals that come before a fork is complete
    child = forking.Process(target=stay, args=(started,))
    child.start()
    started.wait(10)
    child.terminate()
    child.join(10)
    return {"status": child.exitcode}


@app.get("/interrupted")
def interrupted(request):
    child = subprocess.Popen(["sleep", "99"])
    child.send_signal(signal.SIGINT)
    return {"status": child.wait(10)}


@app.get("/left")
def left(request):
    multiprocessing.get_context("fork").Process(target=time.sleep, args=(99,), daemon=True).start()
    return {"status": 0}
"""


@pytest.mark.parametrize("processes", [1, 2])
def test_signals_mean_what_they_mean_to_what_a_handler_starts(tmp_path: Path, processes: int) -> None:
    run = RUN.replace("{more}", "").replace("processes=2", f"processes={processes}")
    with running_cluster(tmp_path, source=APP + CHILDREN + run) as cluster:
        with connected(cluster.port) as client:
            assert json.loads(client.ask("/terminated").body) == {"status": -signal.SIGTERM}
            assert json.loads(client.ask("/interrupted").body) == {"status": -signal.SIGINT}
        assert cluster.stop() == 0
        assert cluster.stderr.text.count("stopping") == 1


def test_a_server_ends_that_has_a_daemonic_child(tmp_path: Path) -> None:
    run = RUN.replace("{more}", "").replace("processes=2", "processes=1")
    with running_cluster(tmp_path, source=APP + CHILDREN + run) as cluster:
        with connected(cluster.port) as client:
            assert client.ask("/left").status == 200
        assert cluster.stop() == 0
        assert cluster.members() == []
        assert cluster.stderr.text.count("stopping") == 1


@STRATEGIES
def test_a_script_may_change_its_folder(tmp_path: Path, strategy: str) -> None:
    source = f"{APP}\nos.chdir('/')\n" + RUN.replace("{more}", f', strategy="{strategy}"')
    with running_cluster(tmp_path, source=source) as cluster:
        before = set(cluster.wait_for_workers(2))
        cluster.signal(signal.SIGHUP)
        cluster.wait_for_workers(2, but=before)
        assert cluster.stop() == 0
        assert "failed" not in cluster.stderr.text


def test_a_reload_follows_the_link_that_the_shell_went_through(tmp_path: Path) -> None:
    source = APP + RUN.replace("{more}", "")
    link = tmp_path / "current"
    for number in (1, 2):
        release = tmp_path / f"release{number}"
        release.mkdir()
        (release / "app.py").write_text(source)
        (release / "part.py").write_text(f"VERSION = {number}\n")
    link.symlink_to("release1")
    with running_cluster(link, source=source, environment={"PWD": str(link)}) as cluster:
        before = set(cluster.wait_for_workers(2))
        link.unlink()
        link.symlink_to("release2")
        cluster.signal(signal.SIGHUP)
        cluster.wait_for_workers(2, but=before)
        with connected(cluster.port) as client:
            assert json.loads(client.ask("/").body)["version"] == 2
        assert cluster.stop() == 0


@STRATEGIES
def test_a_second_run_serves_its_own_application(tmp_path: Path, strategy: str) -> None:
    first = """
from cello import App as First
first = First()
first.run(port=0, workers=1, argv=[]%s)
"""
    source = first % f", cluster=ClusterConfig(processes=2, strategy={strategy!r})" + RUN.replace(
        "{more}", f", strategy={strategy!r}"
    )
    with running_cluster(tmp_path, source=APP + source) as cluster:
        cluster.wait_for_workers(2)
        cluster.signal(signal.SIGTERM)
        cluster.wait_until(lambda: cluster.stderr.text.count("serves on") == 2, "the second run")
        before = set(cluster.wait_for_workers(2))
        port = int(re.findall(r"http://[^ ]*:(\d+)", cluster.stderr.text)[-1])
        cluster.signal(signal.SIGHUP)
        cluster.wait_for_workers(2, but=before)
        with connected(port) as client:
            assert client.ask("/").status == 200
        assert cluster.stop() == 0


@STRATEGIES
def test_processes_of_multiprocessing_do_not_outlive_the_cluster(tmp_path: Path, strategy: str) -> None:
    """They have inherited the listeners: the port would not be free."""
    hook = """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor


@app.on_startup
def start():
    app.state.pool = ProcessPoolExecutor(2, multiprocessing.get_context("fork"))
    app.state.pool.submit(os.getpid).result()


"""
    source = APP + hook + RUN.replace("{more}", f", strategy={strategy!r}")
    with running_cluster(tmp_path, source=source) as cluster:
        cluster.stderr.wait_for("serves on")
        port = cluster.port
        assert cluster.stop() == 0
        cluster.wait_until(lambda: not cluster.members(), "the end of all")
        assert port
        assert cluster.is_port_free()


def test_what_a_startup_hook_says_with_sys_exit_is_said(tmp_path: Path) -> None:
    hook = '@app.on_startup\ndef start():\n    import sys\n    sys.exit("no database")\n\n\n'
    with running_cluster(tmp_path, source=APP + hook + RUN.replace("{more}", "")) as cluster:
        assert cluster.wait() == 1
        assert "no database" in cluster.stderr.text
