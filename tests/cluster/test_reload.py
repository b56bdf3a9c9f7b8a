"""Hot reload as a developer meets it: save a file, and the new code answers."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.kit.cluster import Cluster, running_cluster
from tests.kit.raw import connected

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")

APP = """
import asyncio
import part
from cello import App

app = App()


@app.get("/")
def index(request):
    return f"version {part.VERSION}"


@app.get("/stream")
async def stream(request):
    while True:
        yield f"version {part.VERSION}\\n"
        await asyncio.sleep(0.05)


if __name__ == "__main__":
    app.run(port=0, reload=True, logs=False)
"""


@contextmanager
def developing(folder: Path, *arguments: str, source: str = APP) -> Iterator[Cluster]:
    """Run the script above in development, until it serves."""
    with running_cluster(folder, "", *arguments, source=source) as cluster:
        assert cluster.port
        yield cluster


def ask(cluster: Cluster) -> bytes:
    """Ask for the version on a connection of its own."""
    with connected(cluster.port) as client:
        return client.ask("/").body


def save(path: Path, text: str) -> None:
    """Write a file as editors do: whole, under another name, then in its place."""
    path.with_suffix(".tmp").write_text(text)
    path.with_suffix(".tmp").rename(path)


def await_version(cluster: Cluster, version: int) -> None:
    """Wait until new connections are served by the new code alone."""
    cluster.wait_until(lambda: ask(cluster) == b"version %d" % version, f"version {version}")


def test_a_changed_module_is_served_and_open_streams_do_not_hold_it_up(tmp_path: Path) -> None:
    with developing(tmp_path) as cluster, socket.create_connection(("127.0.0.1", cluster.port)) as stream:
        assert ask(cluster) == b"version 1"
        stream.sendall(b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"version 1" in stream.recv(4096) + stream.recv(4096)
        for version in (2, 3):  # the old process may still be draining when the next change comes
            save(tmp_path / "part.py", f"VERSION = {version}\n")
            await_version(cluster, version)
        stream.settimeout(20)
        while stream.recv(65536):  # it is cut off in the end, and not kept for ever
            pass
        cluster.wait_for_workers(1)
        cluster.signal(signal.SIGINT)
        assert cluster.wait() == 0
        assert not cluster.members()
        assert cluster.is_port_free()
        assert "Traceback" not in cluster.stderr.text


def test_a_syntax_error_is_shown_once_and_the_old_code_serves_until_it_is_mended(tmp_path: Path) -> None:
    with developing(tmp_path) as cluster:
        save(tmp_path / "part.py", "VERSION = (\n")
        cluster.stderr.wait_for("reload failed: the new code did not load")
        time.sleep(0.3)
        assert cluster.stderr.text.count("SyntaxError") == 1
        assert ask(cluster) == b"version 1"
        save(tmp_path / "part.py", "VERSION = 2\n")
        await_version(cluster, 2)
        assert cluster.stop() == 0


def test_a_startup_hook_that_fails_leaves_the_old_code(tmp_path: Path) -> None:
    hooked = APP.replace(
        "if __name__",
        "@app.on_startup\ndef check():\n    assert part.VERSION != 2, 'version 2 is bad'\n\n\nif __name__",
    )
    with developing(tmp_path, source=hooked) as cluster:
        save(tmp_path / "part.py", "VERSION = 2\n")
        cluster.stderr.wait_for("reload failed: a worker of the new code failed to start")
        assert ask(cluster) == b"version 1"
        save(tmp_path / "part.py", "VERSION = 3\n")
        await_version(cluster, 3)
        assert cluster.stderr.text.count("version 2 is bad") >= 1
        assert cluster.stop() == 0


def test_a_new_folder_is_watched_and_what_is_left_out_is_not(tmp_path: Path) -> None:
    (tmp_path / "generated").mkdir()
    (tmp_path / ".hidden").mkdir()
    arguments = ("--reload-includes", "*.html", "--reload-excludes", "generated")
    with developing(tmp_path, *arguments) as cluster:
        (tmp_path / "generated" / "a.py").write_text("x = 1\n")
        (tmp_path / ".hidden" / "a.py").write_text("x = 1\n")
        (tmp_path / "notes.txt").write_text("no code\n")
        package = tmp_path / "package"
        package.mkdir()
        time.sleep(0.5)  # for the folder to be noticed; nothing has to have happened by then
        assert "reloading" not in cluster.stderr.text
        (package / "a.py").write_text("x = 1\n")
        cluster.stderr.wait_for(r"reloading: package/a\.py has changed")
        cluster.stderr.wait_for("reloaded: all workers")
        (tmp_path / "page.html").write_text("<p>\n")
        cluster.stderr.wait_for(r"reloading: page\.html has changed")
        assert cluster.stop() == 0


def test_a_package_is_reloaded_as_it_was_started(tmp_path: Path) -> None:
    package = tmp_path / "shop"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "part.py").write_text("VERSION = 1\n")
    (package / "__main__.py").write_text(APP.replace("import part", "from . import part"))
    cluster = Cluster([sys.executable, "-m", "shop"], tmp_path, {}, has_own_session=True)
    try:
        assert ask(cluster) == b"version 1"
        save(package / "part.py", "VERSION = 2\n")
        await_version(cluster, 2)
        assert cluster.stop() == 0
    finally:
        cluster.end()


def test_a_folder_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with running_cluster(tmp_path, "", "--reload-dirs", "nowhere", source=APP) as cluster:
        assert cluster.wait() == 1
        assert cluster.stderr.lines == [f"cello: reload_dirs: there is no folder {tmp_path / 'nowhere'}"]


def test_ctrl_c_while_the_new_code_imports_leaves_nothing_and_shows_no_traceback(tmp_path: Path) -> None:
    with developing(tmp_path) as cluster:
        before = {each.pid for each in cluster.members()}
        save(tmp_path / "part.py", "import time\ntime.sleep(60)\n")
        cluster.wait_until(lambda: len({each.pid for each in cluster.members()} - before) == 1, "the import")
        time.sleep(0.3)
        os.killpg(cluster.pid, signal.SIGINT)
        assert cluster.wait() == 0
        assert not cluster.members()
        assert "Traceback" not in cluster.stderr.text


def test_production_has_no_reload(tmp_path: Path) -> None:
    with running_cluster(tmp_path, "", "--env", "production", source=APP) as cluster:
        assert ask(cluster) == b"version 1"
        assert len(cluster.members()) == 1
        warnings = [line for line in cluster.stderr.lines if re.search("hot reload is for development", line)]
        assert len(warnings) == 1
        assert cluster.stop() == 0
