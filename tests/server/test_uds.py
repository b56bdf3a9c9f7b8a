"""Serving on a unix domain socket, and on sockets that another program has opened."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from trustme import CA

from cello import App, LimitsConfig, TlsConfig
from cello.testing import live_server
from tests.kit.process import PATIENCE_SECONDS, Process, running_script
from tests.kit.raw import Stopwatch, connected, connected_at, is_refused, request
from tests.kit.script import APP, STOPPING
from tests.kit.server import running_server

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="Windows has no unix domain sockets for Python"
)


def make_app() -> App:
    app = App()

    @app.get("/who", blocking=False)
    def who(request: Any) -> dict[str, Any]:
        return {
            "client_ip": request.client_ip, "remote_addr": request.remote_addr, "host": request.host,
            "url": request.url, "is_secure": request.is_secure(),
        }  # fmt: skip

    @app.get("/thread", blocking=True)
    def thread(request: Any) -> str:
        return "from a thread"

    return app


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """The path of a socket that make_app() is served on, gone when the test is over."""
    path = tmp_path / "app.sock"
    with running_server(make_app(), uds=path) as server:
        assert (server.url, server.host, server.port) == (f"unix:{path}", "", 0)
        yield path
    assert not path.exists()


class TestRequests:
    def test_a_client_has_no_address_and_the_rest_is_as_ever(self, path: Path) -> None:
        with connected_at(path) as client:
            client.send(b"GET /who?a=1 HTTP/1.1\r\nHost: shop.example\r\n\r\n")
            assert client.answer().body == (
                b'{"client_ip":"","remote_addr":"","host":"shop.example","url":"http://shop.example/who?a=1",'
                b'"is_secure":false}'
            )

    def test_a_connection_is_kept_and_pipelined_on(self, path: Path) -> None:
        with connected_at(path) as client:
            assert client.ask("/thread").body == b"from a thread"
            client.send(request("/thread") * 3 + request("/none"))
            assert [client.answer().status for _ in range(4)] == [200, 200, 200, 404]
            assert client.is_quiet()

    def test_a_client_that_ends_its_side_is_answered(self, path: Path) -> None:
        with connected_at(path) as client:
            client.send(request("/thread"))
            client.finish_sending()
            assert client.answer().body == b"from a thread"
            assert client.ends_silently()

    @pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
    def test_curl(self, path: Path) -> None:
        command = ["curl", "--silent", "--show-error", "--noproxy", "*", "--unix-socket", str(path)]
        done = subprocess.run(
            [*command, "http://localhost/who", "http://localhost/thread"],
            capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        assert '"url":"http://localhost/who"' in done.stdout
        assert done.stdout.endswith("from a thread")

    def test_at_the_cap_what_is_idle_makes_room(self, tmp_path: Path) -> None:
        path = tmp_path / "s"
        limits = LimitsConfig(max_connections=1)
        with running_server(make_app(), uds=path, limits=limits), connected_at(path) as idle:
            assert idle.ask("/thread").status == 200
            with connected_at(path) as newcomer:
                assert newcomer.ask("/thread").status == 200
                assert idle.ends_silently()

    def test_on_asyncio_s_own_loop(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        import asyncio

        monkeypatch.setattr("cello.testing.new_event_loop", asyncio.new_event_loop)
        with running_server(make_app(), uds=tmp_path / "s"), connected_at(tmp_path / "s") as client:
            assert client.ask("/thread").body == b"from a thread"
            assert json.loads(client.ask("/who").body)["client_ip"] == ""
        assert os.listdir(tmp_path) == []

    def test_over_tls(self, tmp_path: Path) -> None:
        authority = CA()
        pair = authority.issue_cert("localhost")
        pair.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
        pair.private_key_pem.write_to_path(tmp_path / "key.pem")
        trust = ssl.create_default_context()
        authority.configure_trust(trust)
        path = tmp_path / "s"
        tls = TlsConfig(tmp_path / "cert.pem", tmp_path / "key.pem")
        with running_server(make_app(), uds=path, tls=tls), connected_at(path, tls=trust) as client:
            assert json.loads(client.ask("/who").body) == {
                "client_ip": "", "remote_addr": "", "host": "test", "url": "https://test/who",
                "is_secure": True,
            }  # fmt: skip
            assert client.ask("/thread").body == b"from a thread"
        assert not path.exists()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Process, Path]]:
    """The script of tests/kit/script.py on a socket of its folder, serving."""
    with running_script(tmp_path, APP + 'app.run(uds="app.sock", env="production", logs=True)\n') as server:
        assert server.urls == ["unix:app.sock"]
        yield server, tmp_path / "app.sock"


class TestProcess:
    def test_it_stops_gracefully_and_leaves_no_file(self, served: tuple[Process, Path]) -> None:
        server, path = served
        with connected_at(path) as client:
            client.send(request("/sleep/3"))
            server.stdout.wait_for("asleep")
            server.signal(signal.SIGTERM)
            watch = Stopwatch()
            while path.exists():  # at once, and not with the last answer: a new server may take its place
                assert watch.seconds < PATIENCE_SECONDS
                time.sleep(0.01)
            assert client.is_quiet()
            answer = client.answer()
            assert (answer.body, answer.options("connection")) == (b"slept", ["close"])
        assert server.wait() == 0
        assert server.stderr.lines[1:] == [STOPPING]

    def test_what_waits_in_the_queue_is_served(self, served: tuple[Process, Path]) -> None:
        server, path = served
        with contextlib.ExitStack() as stack:
            holder = stack.enter_context(connected_at(path))
            holder.send(request("/hold/1"))
            server.stdout.wait_for("held")
            waiting = [stack.enter_context(connected_at(path)) for _ in range(20)]
            for each in waiting:
                each.send(request("/"))
            server.signal(signal.SIGTERM)
            assert holder.answer().body == b"let go"
            assert [each.answer().body for each in waiting] == [b"home"] * 20
        assert server.wait() == 0

    def test_the_request_log_has_a_dash_for_the_client(self, served: tuple[Process, Path]) -> None:
        server, path = served
        with connected_at(path) as client:
            client.ask("/")
        server.stdout.wait_for(r" GET / 200 \d+\.\dms 4B -$")

    @pytest.mark.parametrize("log_format", ["json", "combined"])
    def test_in_every_format(self, tmp_path: Path, log_format: str) -> None:
        source = APP + f'app.run(uds="s", env="production", logs=True, log_format={log_format!r})\n'
        with running_script(tmp_path, source) as server:
            assert server.urls
            with connected_at(tmp_path / "s") as client:
                client.ask("/")
            server.stdout.wait_for({"json": '"client":"-"', "combined": "^- - - "}[log_format])

    def test_a_second_server_is_one_line_and_1(self, served: tuple[Process, Path]) -> None:
        _, path = served
        with running_script(path.parent, APP + 'app.run(uds="app.sock", env="production")\n') as second:
            assert second.wait() == 1
            taken = "uds='app.sock' is taken by another server; stop it or choose another path with --uds"
            assert second.stderr.lines == [f"cello: {taken}"]
        with connected_at(path) as client:
            assert client.ask("/").body == b"home"

    def test_what_a_killed_server_left_is_replaced(self, served: tuple[Process, Path]) -> None:
        server, path = served
        server.signal(signal.SIGKILL)
        assert server.wait() == -signal.SIGKILL
        assert path.is_socket()
        with running_script(path.parent, APP + "app.run(port=1)\n", "--uds", "app.sock") as second:
            assert second.urls == ["unix:app.sock"]
            with connected_at(path) as client:
                assert client.ask("/").body == b"home"
            assert second.stop() == 0
        assert not path.exists()

    def test_a_startup_hook_that_fails_leaves_no_file(self, tmp_path: Path) -> None:
        source = APP + '@app.on_startup\ndef broken():\n    raise OSError("no database")\n\n'
        with running_script(tmp_path, source + 'app.run(uds="s", env="production")\n') as script:
            assert script.wait() == 1
        assert not (tmp_path / "s").exists()

    def test_a_file_that_is_no_socket_stays(self, tmp_path: Path) -> None:
        (tmp_path / "precious").write_text("data")
        with running_script(tmp_path, APP + 'app.run(uds="precious")\n') as script:
            assert script.wait() == 1
            assert len(script.stderr.lines) == 1
            assert "a file that is no socket in its place, which is left alone" in script.stderr.text
        assert (tmp_path / "precious").read_text() == "data"

    def test_serve_inside_a_loop(self, tmp_path: Path) -> None:
        source = APP + 'asyncio.run(app.serve(uds="s", env="production"))\n'
        with running_script(tmp_path, source) as server:
            assert server.urls == ["unix:s"]
            with connected_at(tmp_path / "s") as client:
                assert client.ask("/").body == b"home"

    def test_two_places_are_refused(self, tmp_path: Path) -> None:
        with running_script(tmp_path, APP + "app.run()\n", "--uds", "s", "--port", "8000") as script:
            assert script.wait() == 2
            told = "uds='s' and port=8000 exclude each other: the server listens in one place"
            assert script.stderr.lines == [f"python app.py: {told}"]


INHERITED = """
import socket
listener = socket.create_server(("127.0.0.1", 0))
"""
BY_NUMBER = APP + INHERITED + 'app.run(fd=listener.detach(), env="production")\n'
ACTIVATED = (
    APP
    + INHERITED
    + """
second = socket.create_server(("127.0.0.1", 0))
for fd, sock in ((3, listener), (4, second)):
    if sock.fileno() != fd:
        os.dup2(sock.fileno(), fd)
        sock.close()
    else:
        sock.detach()
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="2")

@app.get("/left")
def left(request):
    return {"variables": [name for name in os.environ if name.startswith("LISTEN_")],
            "inherited": [fd for fd in (3, 4) if os.get_inheritable(fd)]}

app.run(port=1, env="production")
"""
)


class TestInherited:
    def test_a_socket_by_its_number(self, tmp_path: Path) -> None:
        with running_script(tmp_path, BY_NUMBER) as server:
            with connected(server.port) as client:
                assert client.ask("/").body == b"home"
            assert server.stop() == 0
            assert is_refused(server.port)

    def test_a_number_of_the_command_line_that_is_no_socket(self, tmp_path: Path) -> None:
        with running_script(tmp_path, APP + "app.run(port=1)\n", "--fd", "0") as script:
            assert script.wait() == 1
            told = "cello: fd=0: descriptor 0 is not a socket, expected a listening socket"
            assert script.stderr.lines == [told]

    def test_what_systemd_hands_down(self, tmp_path: Path) -> None:
        with running_script(tmp_path, ACTIVATED) as server:
            ports = [int(url.rpartition(":")[2]) for url in server.urls]
            assert len(set(ports)) == 2
            for port in ports:
                with connected(port) as client:
                    assert json.loads(client.ask("/left").body) == {"variables": [], "inherited": []}
            said = "LISTEN_FDS: serving on descriptor 3, 4; host, port and uds are not used"
            assert re.search(rf" INFO cello: {re.escape(said)}$", server.stderr.lines[0])
            assert server.stop() == 0

    def test_a_socket_file_of_another_maker_stays(self, tmp_path: Path) -> None:
        path = tmp_path / "s"
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(path))
            sock.listen()
            with running_server(make_app(), fd=os.dup(sock.fileno())) as server:
                assert server.url == f"unix:{path}"
                with connected_at(path) as client:
                    assert client.ask("/thread").body == b"from a thread"
        assert path.is_socket()


def test_a_stop_takes_no_time(tmp_path: Path) -> None:
    with live_server(make_app(), uds=tmp_path / "s"):
        watch = Stopwatch()
    assert watch.seconds < 5
