"""A server that root starts, and the files that it makes: PID file, socket, certificates."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from trustme import CA

from tests.kit.process import Process, running_script
from tests.kit.raw import RawClient, connected, connected_at
from tests.kit.script import APP, PRODUCTION

needs_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give up its privileges"
)

WHO = (
    APP
    + """
@app.get("/who")
def who(request):
    regained = []
    for attempt in (os.setuid, os.seteuid):
        try:
            attempt(0)
            regained.append(attempt.__name__)
        except PermissionError:
            pass
    return {"users": os.getresuid(), "groups": os.getresgid(), "others": os.getgroups(), "regained": regained}

@app.on_startup
def hook():
    print("the hook runs as", os.geteuid(), flush=True)

"""
)


@pytest.fixture
def nobody() -> Any:
    return pwd.getpwnam("nobody")


@pytest.fixture
def folder(nobody: Any) -> Iterator[Path]:
    """A directory of nobody's that it can reach, which pytest's own are not."""
    path = Path(tempfile.mkdtemp())
    os.chown(path, nobody.pw_uid, nobody.pw_gid)
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def readable_by_all(path: Path) -> bool:
    """Tell whether everybody may read a file, and go where it is."""
    return bool(path.stat().st_mode & 0o004) and all(each.stat().st_mode & 0o001 for each in path.parents)


def who(client: RawClient) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(client.ask("/who").body)
    return answer


BECOMES_NOBODY = """
# What is imported later may be out of nobody's sight, where root's home has the interpreter.
import cello.cli, cello.cluster.handover, cello.server.process, grp, pwd, uvloop
cello.cli.parse_overrides([])
os.setgroups([])
os.setgid(GID)
os.setuid(UID)
app.run(port=0)
"""


def said_of(server: Process) -> list[str]:
    """Return what a server said on stderr, but of an interpreter that only root can read."""
    return [line for line in server.stderr.lines if "may not read Python's library" not in line]


def assert_one_line(script: Process, line: str) -> None:
    assert script.wait() == 1
    assert said_of(script) == [f"cello: {line}"]
    assert script.stdout.text == ""


@needs_root
class TestUser:
    def test_it_becomes_the_user_for_good_before_any_hook(self, folder: Path, nobody: Any) -> None:
        source = WHO + 'app.run(port=0, env="production", user="nobody")\n'
        with running_script(folder, source) as server, connected(server.port) as client:
            found = who(client)
            assert found["users"] == [nobody.pw_uid] * 3
            assert found["groups"] == [nobody.pw_gid] * 3
            assert sorted(found["others"]) == sorted(os.getgrouplist("nobody", nobody.pw_gid))
            assert found["regained"] == []
            assert f"the hook runs as {nobody.pw_uid}" in server.stdout.lines
            assert server.stop() == 0
            assert len(said_of(server)) == 2  # where it serves, and that it stops

    def test_numbers_that_are_nobodys_on_the_command_line(self, folder: Path) -> None:
        source = WHO + 'app.run(port=0, env="production", user="root")\n'
        arguments = ("--user", "3999999999", "--group", "3999999998")
        with running_script(folder, source, *arguments) as server, connected(server.port) as client:
            assert who(client) == {
                "users": [3999999999] * 3, "groups": [3999999998] * 3, "others": [3999999998], "regained": [],
            }  # fmt: skip

    def test_a_low_port_is_taken_before(self, folder: Path) -> None:
        with socket.socket() as probe:
            for port in range(900, 1000):
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    continue
                break
            else:
                pytest.skip("no port below 1024 is free")
        source = WHO + f'app.run(port={port}, env="production", user="nobody")\n'
        with running_script(folder, source) as server, connected(server.port) as client:
            assert server.port == port
            assert who(client)["regained"] == []

    def test_an_interpreter_that_it_may_not_read_is_said(self, folder: Path) -> None:
        source = WHO + 'app.run(port=0, env="production", user="nobody")\n'
        with running_script(folder, source) as server:
            assert server.port
            is_private = not readable_by_all(Path(os.__file__))
            assert (len(said_of(server)) < len(server.stderr.lines)) == is_private

    def test_serve_inside_a_loop(self, folder: Path, nobody: Any) -> None:
        source = WHO + 'asyncio.run(app.serve(port=0, env="production", user="nobody"))\n'
        with running_script(folder, source) as server, connected(server.port) as client:
            assert who(client)["users"] == [nobody.pw_uid] * 3

    def test_its_socket_and_pid_file_go_at_the_end(self, folder: Path, nobody: Any) -> None:
        source = WHO + 'app.run(uds="s", pid_file="app.pid", env="production", user="nobody")\n'
        with running_script(folder, source) as server:
            assert server.urls == ["unix:s"]
            assert (folder / "app.pid").read_text() == f"{server.pid}\n"
            assert os.stat(folder / "app.pid").st_uid == 0  # whom others signal is not for it to say
            assert (os.stat(folder / "s").st_uid, os.stat(folder / "s").st_gid) == (
                nobody.pw_uid,
                nobody.pw_gid,
            )
            with connected_at(folder / "s") as client:
                assert who(client)["users"] == [nobody.pw_uid] * 3
            assert server.stop() == 0
            assert len(said_of(server)) == 2
        assert os.listdir(folder) == ["app.py"]

    def test_what_it_may_not_remove_is_said(self, folder: Path) -> None:
        os.chown(folder, 0, 0)
        source = WHO + 'app.run(uds="s", pid_file="app.pid", env="production", user="nobody")\n'
        with running_script(folder, source) as server:
            assert server.urls
            told = "user 'nobody' may not write to its directory"
            server.stderr.wait_for(rf"pid_file='app.pid' is emptied at the end, not removed: {told}$")
            server.stderr.wait_for(rf"uds='s' stays behind at the end: {told}$")
            assert server.stop() == 0
        assert (folder / "app.pid").read_text() == ""
        with running_script(folder, source) as server:  # neither keeps the next one from starting
            assert server.urls == ["unix:s"]

    def test_a_key_that_it_may_not_read(self, folder: Path) -> None:
        pair = CA().issue_cert("localhost")
        pair.cert_chain_pems[0].write_to_path(folder / "cert.pem")
        pair.private_key_pem.write_to_path(folder / "key.pem")
        (folder / "cert.pem").chmod(0o644)
        (folder / "key.pem").chmod(0o600)
        tls = 'tls=TlsConfig("cert.pem", "key.pem")'
        with running_script(folder, APP + f'app.run(port=0, {tls}, user="nobody")\n') as script:
            told = "user 'nobody' may not read it, which is needed again when it is renewed"
            way_out = "give the user or its group the permission"
            assert_one_line(script, f"TlsConfig(key_path='key.pem'): {told}; {way_out}")

    @pytest.mark.parametrize(
        ("arguments", "line"),
        [
            (("--user", "nobody-at-all"), "user='nobody-at-all': there is no such user on this machine"),
            (
                ("--user", "nobody", "--group", "no-group"),
                "group='no-group': there is no such group on this machine",
            ),
        ],
    )
    def test_an_unknown_name_is_one_line_and_nothing_is_opened(
        self, tmp_path: Path, arguments: tuple[str, ...], line: str
    ) -> None:
        with running_script(tmp_path, PRODUCTION, *arguments, "--uds", "s") as script:
            assert_one_line(script, line)
        assert os.listdir(tmp_path) == ["app.py"]

    def test_who_is_not_root_cannot_become_another(self, folder: Path, nobody: Any) -> None:
        source = APP + BECOMES_NOBODY
        source = source.replace("GID", str(nobody.pw_gid)).replace("UID", str(nobody.pw_uid))
        with running_script(folder, source, "--user", "root") as script:
            assert script.wait() == 1
            assert len(script.stderr.lines) == 1, script.stderr.text
            assert (
                "user='root': only root can become another, and this process runs as user"
                in script.stderr.text
            )
        if readable_by_all(Path(os.__file__)):
            with (
                running_script(folder, source, "--user", "nobody") as server,
                connected(server.port) as client,
            ):
                assert client.ask("/").body == b"home"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may become anybody")
def test_an_ordinary_user_cannot_become_root(tmp_path: Path) -> None:
    with running_script(tmp_path, PRODUCTION, "--user", "root") as script:
        assert script.wait() == 1
        assert "only root can become another" in script.stderr.text


class TestPidFile:
    def test_it_is_there_while_it_serves(self, tmp_path: Path) -> None:
        source = (
            APP
            + """
@app.on_startup
def look():
    print("read", open("app.pid").read().strip(), os.getpid(), flush=True)

app.run(port=0, env="production", pid_file="app.pid")
"""
        )
        with running_script(tmp_path, source) as server:
            assert server.port
            server.stdout.wait_for(f"^read {server.pid} {server.pid}$")
            assert server.stop() == 0
        assert not (tmp_path / "app.pid").exists()

    def test_a_second_server_is_refused_and_leaves_it(self, tmp_path: Path) -> None:
        with running_script(tmp_path, PRODUCTION, "--pid-file", "app.pid") as server:
            assert server.port
            with running_script(tmp_path, PRODUCTION, "--pid-file", "app.pid", "--uds", "s") as second:
                told = f"process {server.pid} is running; stop it, or choose another path with --pid-file"
                assert_one_line(second, f"pid_file='app.pid': {told}")
            assert sorted(os.listdir(tmp_path)) == ["app.pid", "app.py"]
            assert (tmp_path / "app.pid").read_text() == f"{server.pid}\n"

    def test_it_goes_when_a_startup_hook_fails(self, tmp_path: Path) -> None:
        source = APP + "@app.on_startup\ndef broken():\n    raise OSError\n\n"
        with running_script(tmp_path, source + 'app.run(port=0, pid_file="app.pid")\n') as script:
            assert script.wait() == 1
        assert os.listdir(tmp_path) == ["app.py"]

    def test_files_go_also_when_a_second_signal_ends_it(self, tmp_path: Path) -> None:
        arguments = ("--pid-file", "app.pid", "--uds", "s")
        with running_script(tmp_path, PRODUCTION, *arguments) as server:
            assert server.urls
            with connected_at(tmp_path / "s") as client:
                client.send(b"GET /sleep/60 HTTP/1.1\r\nHost: x\r\n\r\n")
                server.stdout.wait_for("asleep")
                server.signal(signal.SIGTERM)
                server.stderr.wait_for("^stopping")
                server.signal(signal.SIGTERM)
                assert server.wait() == 143
        assert os.listdir(tmp_path) == ["app.py"]

    def test_what_a_killed_server_left_is_replaced(self, tmp_path: Path) -> None:
        with running_script(tmp_path, PRODUCTION, "--pid-file", "app.pid") as server:
            assert server.port
            server.signal(signal.SIGKILL)
            server.wait()
        with running_script(tmp_path, PRODUCTION, "--pid-file", "app.pid") as second:
            assert second.port
            assert (tmp_path / "app.pid").read_text() == f"{second.pid}\n"
