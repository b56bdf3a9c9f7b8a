"""The blows that a cluster must survive: each hurts it, asserts what must hold, and returns figures.

Figures are counts of what was lost and seconds; ``worst`` runs them many times and keeps the worst of each.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

from tests.kit.cluster import APP, RUN, Cluster, running_cluster
from tests.kit.load import Load, Loss

CAP = 200
Figures = dict[str, float]
Blow = Callable[[Path, str], Figures]


def settings(strategy: str, more: str = "") -> str:
    """Return more arguments of ClusterConfig."""
    return f', strategy="{strategy}"' + (f", {more}" if more else "")


def in_flight_at(load: Load, moment: float) -> int:
    """Count the losses that were under way at a moment: the hurt worker had them."""
    return sum(loss.began_at <= moment for loss in load.lost)


def lost_at_a_stop(load: Load) -> list[Loss]:
    """Return what a stop has lost, without new connections that were reset as the listener closed.

    Between the look into its queue that finds nothing and the close the kernel may let another one in. It
    counts as refused, which it would have been a moment later; more than two are no such moment.
    """
    reset = [loss for loss in load.lost if loss.kind == "fresh" and "ConnectionResetError" in loss.reason]
    return [loss for loss in load.lost if loss not in reset] if len(reset) <= 2 else load.lost


def kill_a_worker(folder: Path, strategy: str) -> Figures:
    """SIGKILL: lost are at most 3 and those in flight; a new worker serves soon."""
    with running_cluster(folder, settings(strategy)) as cluster, Load(cluster.port) as load:
        load.wait_for(200)
        before = set(cluster.workers)
        victim = min(before)
        moment = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        cluster.wait_for_workers(2, but={victim})
        load.wait_for(300)
        load.stop()
        load.check()
        new = set(load.pids) - before
        assert len(new) == 1
        later = len(load.lost) - in_flight_at(load, moment)
        assert later <= 3, load.lost
        assert not load.refused
        assert cluster.stop() == 0
        return {
            "lost": later,
            "in flight": in_flight_at(load, moment),
            "seconds to serve": load.seconds_until_answer(moment, new),
        }


def kill_a_frozen_worker(folder: Path, strategy: str) -> Figures:
    """SIGSTOP for 300 ms, then SIGKILL: no new connection is reset."""
    with running_cluster(folder, settings(strategy)) as cluster, Load(cluster.port, kept=0, fresh=40) as load:
        load.wait_for(200)
        victim = min(cluster.workers)
        frozen = time.monotonic()
        os.kill(victim, signal.SIGSTOP)
        time.sleep(0.3)
        os.kill(victim, signal.SIGKILL)
        cluster.wait_for_workers(2, but={victim})
        load.wait_for(200)
        load.stop()
        load.check()
        assert not load.refused
        # What the frozen process had accepted is lost with it; who came after it froze is not.
        new = [loss for loss in load.lost if loss.began_at > frozen + 0.01]
        assert not new, new
        assert cluster.stop() == 0
        return {"lost": len(new), "in flight": len(load.lost), "slowest": load.slowest(frozen)}


def term_a_worker(folder: Path, strategy: str, times: int = 1) -> Figures:
    """SIGTERM to a worker: it is replaced, and nothing is lost."""
    with running_cluster(folder, settings(strategy)) as cluster, Load(cluster.port) as load:
        load.wait_for(100)
        victim = min(cluster.workers)
        os.kill(victim, signal.SIGTERM)
        for _ in range(times - 1):
            time.sleep(0.005)
            os.kill(victim, signal.SIGTERM)
        cluster.wait_for_workers(2, but={victim})
        load.wait_for(200)
        load.stop()
        load.check()
        assert not load.losses, load.losses
        assert cluster.stop() == 0
        return {"lost": len(load.losses)}


def term_a_worker_twice(folder: Path, strategy: str) -> Figures:
    """SIGTERM twice: it drains at once, and nothing is lost either."""
    return term_a_worker(folder, strategy, times=2)


def reload_under_load(folder: Path, strategy: str) -> Figures:
    """SIGHUP: new processes with the new code, nothing lost."""
    with running_cluster(folder, settings(strategy)) as cluster, Load(cluster.port) as load:
        load.wait_for(100)
        before = set(cluster.workers)
        cluster.signal(signal.SIGHUP)
        began = time.monotonic()
        cluster.wait_for_workers(2, but=before)
        seconds = time.monotonic() - began
        load.wait_for(200)
        load.stop()
        load.check()
        assert not load.losses, load.losses
        assert set(load.pids) > before
        assert cluster.stop() == 0
        return {"lost": len(load.losses), "seconds to reload": seconds}


def reload_twice_and_stop(folder: Path, strategy: str) -> Figures:
    """SIGHUP, SIGHUP, SIGTERM: all that was let in is answered; only who comes after the stop is refused."""
    with running_cluster(folder, settings(strategy)) as cluster, Load(cluster.port) as load:
        load.wait_for(100)
        cluster.signal(signal.SIGHUP)
        time.sleep(0.1)
        cluster.signal(signal.SIGHUP)
        time.sleep(0.1)
        cluster.signal(signal.SIGTERM)
        assert cluster.wait() == 0
        load.stop()
        load.check()
        assert not lost_at_a_stop(load), load.lost
        assert not cluster.members()
        return {"lost": len(lost_at_a_stop(load)), "reset at the close": len(load.lost)}


def reload_broken_code(folder: Path, strategy: str) -> Figures:
    """SIGHUP with code that does not import: the old workers serve on, and the next good SIGHUP heals."""
    with running_cluster(folder, settings(strategy)) as cluster, Load(cluster.port) as load:
        load.wait_for(100)
        before = set(cluster.workers)
        (folder / "part.py").write_text("VERSION = (\n")
        cluster.signal(signal.SIGHUP)
        cluster.stderr.wait_for("reload failed")
        load.wait_for(100)
        assert set(cluster.workers) == before
        (folder / "part.py").write_text("VERSION = 2\n")
        cluster.signal(signal.SIGHUP)
        cluster.wait_for_workers(2, but=before)
        load.wait_for(200)
        load.stop()
        load.check()
        assert not load.losses, load.losses
        assert cluster.stderr.text.count("SyntaxError") == 1
        assert cluster.stop() == 0
        return {"lost": len(load.losses)}


def respawn_while_code_is_broken(folder: Path, strategy: str) -> Figures:
    """SIGKILL while the code on disk is half deployed: nothing more is lost than by the kill."""
    with running_cluster(folder, settings(strategy)) as cluster, Load(cluster.port) as load:
        load.wait_for(100)
        (folder / "part.py").write_text("VERSION = (\n")
        victim = min(cluster.workers)
        moment = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        cluster.wait_for_workers(2, but={victim})
        load.wait_for(200)
        load.stop()
        load.check()
        later = len(load.lost) - in_flight_at(load, moment)
        assert later <= 3, load.lost
        assert not load.refused
        assert cluster.stop() == 0
        return {"lost": later}


def kill_the_leader(folder: Path, strategy: str) -> Figures:
    """SIGKILL to the leader: the workers serve on, and there is a new one that can replace them."""
    with running_cluster(folder, settings(strategy)) as cluster, Load(cluster.port) as load:
        load.wait_for(100)
        leader = cluster.leaders[0]
        os.kill(leader, signal.SIGKILL)
        cluster.wait_until(lambda: bool(cluster.leaders) and leader not in cluster.leaders, "a new leader")
        load.wait_for(100)
        assert not load.losses, load.losses
        victim = min(cluster.workers)
        os.kill(victim, signal.SIGKILL)
        cluster.wait_for_workers(2, but={victim})
        load.wait_for(100)
        load.stop()
        load.check()
        assert not load.refused
        assert cluster.stop() == 0
        assert not cluster.members()
        return {"lost": 0}


def stop_with_requests_in_flight(folder: Path, strategy: str) -> Figures:
    """SIGTERM with 10 requests in flight: all finish; refused is only who comes after the listener closed."""
    with running_cluster(folder, settings(strategy)) as cluster:
        slow = Load(cluster.port, kept=5, fresh=5, rate=2000, slow_share=1)
        with slow, Load(cluster.port, slow_share=0) as load:
            load.wait_for(100)
            cluster.wait_until(lambda: len(slow.in_flight) == 10, "10 requests in flight")
            time.sleep(0.1)
            cluster.signal(signal.SIGTERM)
            moment = time.monotonic()
            slow._stopping = True
            assert cluster.wait() == 0
            seconds = time.monotonic() - moment
            load.stop()
            slow.stop()
            slow.check()
            load.check()
        assert not slow.lost, slow.lost
        assert not lost_at_a_stop(load), load.lost
        assert not cluster.members()
        return {"lost": 0, "reset at the close": len(load.lost), "seconds to exit": seconds}


def stop_with_idle_and_half_sent(folder: Path, strategy: str) -> Figures:
    """SIGTERM with idle and half-sent connections: they have one second, and hold nothing up."""
    with running_cluster(folder, settings(strategy)) as cluster:
        connections = []
        for sent in (b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n") * 4:
            connection = socket.create_connection(("127.0.0.1", cluster.port))
            connection.sendall(sent)
            connections.append(connection)
        time.sleep(0.2)
        moment = time.monotonic()
        assert cluster.stop() == 0
        seconds = time.monotonic() - moment
        for connection in connections:
            connection.close()
        assert seconds < 10
        assert not cluster.members()
        return {"seconds to exit": seconds}


def hold_the_loop(folder: Path, strategy: str, target: str = "/hold") -> Figures:
    """A handler that holds the event loop for ever: replaced at the limit, its stack in the log."""
    with running_cluster(folder, settings(strategy, "hang_timeout=2")) as cluster, Load(cluster.port) as load:
        load.wait_for(100)
        before = set(cluster.workers)
        moment = time.monotonic()
        with socket.create_connection(("127.0.0.1", cluster.port)) as connection:
            connection.sendall(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            cluster.stderr.wait_for("hangs, for")
            cluster.wait_until(lambda: len(set(cluster.workers) - before) == 1, "a replacement")
        load.wait_for(100)
        load.stop()
        load.check()
        cluster.stderr.wait_for(f"in {target[1:].replace('-', '_')}")
        # Whom the held worker had accepted waits for nothing; who came later was served by its sibling.
        late = [loss for loss in load.lost if loss.began_at > moment + 1 and loss.kind == "fresh"]
        assert not late, late
        assert not load.refused
        assert cluster.stop() == 0
        return {"lost": len(late), "in flight": len(load.lost)}


def hold_the_gil(folder: Path, strategy: str) -> Figures:
    """The same by a call that keeps the interpreter's lock, so that no thread of the worker can see it."""
    return hold_the_loop(folder, strategy, "/hold-gil")


def leak(folder: Path, strategy: str) -> Figures:
    """A leak of some 25 MB a second with max_rss: nothing lost, two workers at all times."""
    more = settings(strategy, "max_rss=75_000_000")
    with running_cluster(folder, more) as cluster:
        target = "/leak?bytes=125000"
        with Load(cluster.port, target=target, slow_share=0) as load:
            fewest = 2
            replaced = set(cluster.workers)
            deadline = time.monotonic() + 60
            while len(set(load.pids)) < 4 and time.monotonic() < deadline:
                fewest = min(fewest, len(cluster.workers))
                time.sleep(0.01)
            load.stop()
        load.check()
        assert len(set(load.pids) - replaced) >= 2, load.pids
        assert not load.losses, load.losses
        assert fewest == 2
        assert cluster.stop() == 0
        return {"lost": len(load.losses), "replaced": len(set(load.pids)) - 2}


def more_and_fewer(folder: Path, strategy: str) -> Figures:
    """SIGTTIN and SIGTTOU under load: a worker more, a worker less, nothing lost."""
    with running_cluster(folder, settings(strategy)) as cluster, Load(cluster.port) as load:
        load.wait_for(100)
        cluster.signal(signal.SIGTTIN)
        cluster.wait_for_workers(3)
        load.wait_for(200)
        cluster.signal(signal.SIGTTOU)
        cluster.wait_for_workers(2)
        load.wait_for(200)
        load.stop()
        load.check()
        assert not load.losses, load.losses
        assert len(load.pids) == 3
        assert cluster.stop() == 0
        return {"lost": len(load.losses)}


def flood(folder: Path, strategy: str) -> Figures:
    """1000 connects at once over max_connections: new clients are served, the CPU rests, the log is quiet."""
    limits = f"max_connections={CAP}"
    with running_cluster(folder, settings(strategy) + f"), limits=LimitsConfig({limits}") as cluster:
        return survive_flood(cluster, CAP)


def flood_with_few_descriptors(folder: Path, strategy: str) -> Figures:
    """The same with 64 descriptors to a process."""
    few = "import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\n"
    source = few + APP + RUN.replace("{more}", settings(strategy))
    with running_cluster(folder, source=source) as cluster:
        return survive_flood(cluster, 2 * 24)


def survive_flood(cluster: Cluster, cap: int) -> Figures:
    """Connect 1000 times to a cluster that takes fewer, and see that it serves, rests, and keeps quiet."""
    address = ("127.0.0.1", cluster.port)
    assert len(cluster.wait_for_workers(2)) == 2
    connections = [socket.create_connection(address) for _ in range(1000)]
    served = 0
    for _ in range(20):
        with socket.create_connection(address) as client:
            client.settimeout(20)
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            served += client.recv(4096).startswith(b"HTTP/1.1 200")
    assert served == 20
    assert len(cluster.stderr.lines) <= 6, cluster.stderr.text  # two a process, and that it serves
    cpu, lines, began = cluster.tree_cpu_seconds(), len(cluster.stderr.lines), time.monotonic()
    time.sleep(2)
    seconds = time.monotonic() - began
    used = cluster.tree_cpu_seconds() - cpu
    open_count = sum(is_open(connection) for connection in connections)
    for connection in connections:
        connection.close()
    assert open_count <= cap
    assert used / seconds < 0.5
    assert (len(cluster.stderr.lines) - lines) / seconds < 1, cluster.stderr.text
    assert cluster.stop() == 0
    return {"CPU of a core": used / seconds, "log lines": len(cluster.stderr.lines)}


def is_open(connection: socket.socket) -> bool:
    """Tell whether the server has left a connection that it was sent nothing on open."""
    connection.setblocking(False)
    try:
        return bool(connection.recv(4096))
    except BlockingIOError:
        return True
    except OSError:
        return False


def kill_the_supervisor(folder: Path, strategy: str) -> Figures:
    """SIGKILL to the supervisor: what is in flight finishes, then no orphan is left and the port is free."""
    with running_cluster(folder, settings(strategy)) as cluster:
        slow = Load(cluster.port, kept=5, fresh=5, rate=2000, slow_share=1)
        with slow:
            cluster.wait_until(lambda: len(slow.in_flight) == 10, "10 requests in flight")
            time.sleep(0.1)
            slow._stopping = True
            os.kill(cluster.pid, signal.SIGKILL)
            slow.stop()
        slow.check()
        assert not slow.lost, slow.lost
        moment = time.monotonic()
        cluster.wait_until(lambda: not cluster.members(), "the end of all orphans")
        seconds = time.monotonic() - moment
        assert cluster.is_port_free()
        return {"lost": len(slow.lost), "seconds to end": seconds}


def interrupt_twice(folder: Path, strategy: str) -> Figures:
    """Ctrl-C twice with a request in flight: all gone at once, status 130."""
    with running_cluster(folder, settings(strategy)) as cluster:
        with socket.create_connection(("127.0.0.1", cluster.port)) as connection:
            connection.sendall(b"GET /block HTTP/1.1\r\nHost: a\r\n\r\n")
            time.sleep(0.1)
            moment = time.monotonic()
            os.killpg(cluster.pid, signal.SIGINT)
            time.sleep(0.05)
            os.killpg(cluster.pid, signal.SIGINT)
            assert cluster.wait() == 130
        seconds = time.monotonic() - moment
        assert not cluster.members()
        assert cluster.is_port_free()
        assert "Traceback" not in cluster.stderr.text
        return {"seconds to exit": seconds}


def stop_during_a_slow_import(folder: Path, strategy: str) -> Figures:
    """SIGTERM while a reload imports slowly: gone soon, nothing left over."""
    with running_cluster(folder, settings(strategy)) as cluster:
        cluster.wait_for_workers(2)
        before = {each.pid for each in cluster.members()}
        (folder / "part.py").write_text("import time\ntime.sleep(60)\nVERSION = 2\n")
        cluster.signal(signal.SIGHUP)
        cluster.wait_until(lambda: len({each.pid for each in cluster.members()} - before) == 1, "the import")
        time.sleep(0.2)
        moment = time.monotonic()
        assert cluster.stop() == 0
        seconds = time.monotonic() - moment
        assert seconds < 10
        assert not cluster.members()
        return {"seconds to exit": seconds}


def start_that_fails(folder: Path, strategy: str) -> Figures:
    """An application that does not import: its traceback once, not a process more."""
    with running_cluster(folder, settings(strategy), version="VERSION = (\n") as cluster:
        moment = time.monotonic()
        assert cluster.wait() == 1
        assert cluster.stderr.text.count("Traceback") == 1
        assert not cluster.members()
        return {"seconds to exit": time.monotonic() - moment}


def hooks_that_fail(folder: Path, strategy: str) -> Figures:
    """Startup hooks that fail three times with no worker ever ready: exit 1."""
    hook = '@app.on_startup\ndef fail():\n    raise RuntimeError("no database")\n'
    with running_cluster(folder, source=APP + hook + RUN.replace("{more}", settings(strategy))) as cluster:
        assert cluster.wait() == 1
        assert "failed to start, none ever did" in cluster.stderr.text
        assert "no database" in cluster.stderr.text
        assert not cluster.members()
        return {}


ALL: tuple[Blow, ...] = (
    kill_a_worker,
    kill_a_frozen_worker,
    term_a_worker,
    term_a_worker_twice,
    reload_under_load,
    reload_twice_and_stop,
    reload_broken_code,
    respawn_while_code_is_broken,
    kill_the_leader,
    stop_with_requests_in_flight,
    stop_with_idle_and_half_sent,
    hold_the_loop,
    hold_the_gil,
    leak,
    more_and_fewer,
    flood,
    flood_with_few_descriptors,
    kill_the_supervisor,
    interrupt_twice,
    stop_during_a_slow_import,
    start_that_fails,
    hooks_that_fail,
)
FORK_ONLY = {respawn_while_code_is_broken, kill_the_leader}
