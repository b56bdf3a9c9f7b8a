"""Listening at a path: what is replaced, what is left alone, who may connect, who removes the file."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from cello.errors import StartError
from cello.server import unix_sockets
from cello.server.unix_sockets import UnixListener, listen_at, mode_for, name_of

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no unix domain sockets here")


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def listen(stack: ExitStack, path: Path) -> UnixListener:
    return stack.enter_context(listen_at(path, 5, None))


def leave_stale(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        sock.listen()


def refusal(path: Path) -> str:
    with pytest.raises(StartError) as caught:
        listen_at(path, 5, None)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_it_listens_without_blocking_and_is_not_inherited(stack: ExitStack, tmp_path: Path) -> None:
    listener = listen(stack, tmp_path / "s")
    assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
    assert listener.getblocking() is False
    assert listener.get_inheritable() is False
    assert name_of(listener) == f"unix:{tmp_path / 's'}"


def test_a_stale_socket_is_replaced(stack: ExitStack, tmp_path: Path) -> None:
    leave_stale(tmp_path / "s")
    listener = listen(stack, tmp_path / "s")
    client = stack.enter_context(socket.socket(socket.AF_UNIX))
    client.connect(str(tmp_path / "s"))
    listener.accept()[0].close()
    assert os.listdir(tmp_path) == ["s"]


def test_a_live_one_is_not(stack: ExitStack, tmp_path: Path) -> None:
    path = tmp_path / "s"
    listener = listen(stack, path)
    taken = f"uds={str(path)!r} is taken by another server; stop it or choose another path with --uds"
    assert refusal(path) == taken
    client = stack.enter_context(socket.socket(socket.AF_UNIX))
    client.connect(str(path))
    assert listener.accept()[0].close() is None


def test_one_whose_queue_is_full_lives(
    stack: ExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unix_sockets, "_PROBE_SECONDS", 0.05)
    path = tmp_path / "s"
    stack.enter_context(listen_at(path, 0, None))
    for _ in range(4):
        client = stack.enter_context(socket.socket(socket.AF_UNIX))
        client.setblocking(False)
        client.connect_ex(str(path))
    assert "is taken by another server" in refusal(path)


@pytest.mark.parametrize("kind", ["a file that is no socket", "a directory", "a symbolic link"])
def test_what_is_no_socket_is_left_alone(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "s"
    if kind == "a directory":
        path.mkdir()
    elif kind == "a symbolic link":
        path.symlink_to(tmp_path / "elsewhere")
    else:
        path.write_text("precious")
    before = os.lstat(path)
    assert f"there is {kind} in its place, which is left alone" in refusal(path)
    assert os.lstat(path) == before


def test_a_socket_of_another_type_is_left_alone(stack: ExitStack, tmp_path: Path) -> None:
    sock = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
    sock.bind(str(tmp_path / "s"))
    assert "whether it is in use cannot be found" in refusal(tmp_path / "s")
    assert (tmp_path / "s").is_socket()


def test_a_server_that_starts_at_the_same_moment_keeps_its_place(
    stack: ExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have seen the stale socket; the other has replaced it before this one moves it aside."""
    path = tmp_path / "s"
    leave_stale(path)
    looked = unix_sockets._checked
    others: list[UnixListener] = []

    def look_then_lose(name: str) -> object:
        found = looked(name)
        os.unlink(path)
        monkeypatch.setattr(unix_sockets, "_checked", looked)
        others.append(listen(stack, path))
        return found

    monkeypatch.setattr(unix_sockets, "_checked", look_then_lose)
    assert "is taken by another server" in refusal(path)
    client = stack.enter_context(socket.socket(socket.AF_UNIX))
    client.connect(str(path))
    others[0].accept()[0].close()
    assert os.listdir(tmp_path) == ["s"]
    others[0].remove_file()
    assert os.listdir(tmp_path) == []


def test_a_path_that_is_too_long_says_so(tmp_path: Path) -> None:
    path = tmp_path / ("é" * 100)
    size = len(os.fsencode(path))
    assert f"the path has {size} bytes, and the system takes at most 10" in refusal(path)


def test_the_longest_path_is_taken(stack: ExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    longest = "s" * unix_sockets._limit_bytes()
    listen(stack, Path(longest))
    assert "too" not in longest
    assert "bytes, and the system takes at most" in refusal(Path(longest + "s"))


def test_a_directory_that_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "none" / "s"
    assert refusal(path) == f"uds={str(path)!r}: there is no directory {str(path.parent)!r}"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_may_not_be_written_to(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert "may not be written to" in refusal(tmp_path / "s")


@pytest.mark.parametrize(
    ("umask", "mode"),
    [(0o022, 0o666), (0o002, 0o666), (0, 0o666), (0o007, 0o660), (0o027, 0o660), (0o077, 0o600)],
)
def test_who_may_connect(stack: ExitStack, tmp_path: Path, umask: int, mode: int) -> None:
    assert mode_for(0o777 & ~umask) == mode
    before = os.umask(umask)
    try:
        listen(stack, tmp_path / "s")
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(tmp_path / "s").st_mode) == mode


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_the_file_is_given_to_its_owner(stack: ExitStack, tmp_path: Path) -> None:
    stack.enter_context(listen_at(tmp_path / "s", 5, (12345, 54321)))
    found = os.stat(tmp_path / "s")
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (12345, 54321, 0o666)


class TestRemoval:
    def test_the_file_goes(self, stack: ExitStack, tmp_path: Path) -> None:
        listener = listen(stack, tmp_path / "s")
        listener.remove_file()
        assert os.listdir(tmp_path) == []
        listener.remove_file()

    def test_also_from_another_working_directory(
        self, stack: ExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        listener = listen(stack, Path("s"))
        monkeypatch.chdir("/")
        listener.remove_file()
        assert os.listdir(tmp_path) == []

    def test_closing_leaves_it(self, tmp_path: Path) -> None:
        listen_at(tmp_path / "s", 5, None).close()
        assert os.listdir(tmp_path) == ["s"]

    def test_a_copy_leaves_it(self, stack: ExitStack, tmp_path: Path) -> None:
        copy = stack.enter_context(listen(stack, tmp_path / "s").dup())
        assert isinstance(copy, UnixListener)
        copy.remove_file()
        assert os.listdir(tmp_path) == ["s"]

    def test_another_one_s_file_stays(self, stack: ExitStack, tmp_path: Path) -> None:
        listener = listen(stack, tmp_path / "s")
        os.unlink(tmp_path / "s")
        listen(stack, tmp_path / "s")
        listener.remove_file()
        assert os.listdir(tmp_path) == ["s"]

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
    def test_a_child_leaves_it(self, stack: ExitStack, tmp_path: Path) -> None:
        listener = listen(stack, tmp_path / "s")
        pid = os.fork()
        if pid == 0:
            listener.remove_file()
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        assert os.listdir(tmp_path) == ["s"]
        listener.remove_file()
        assert os.listdir(tmp_path) == []


@pytest.mark.skipif(not os.path.exists("/proc/self"), reason="abstract names are Linux's")
def test_an_abstract_name_begins_with_an_at_sign() -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(f"\0cello-test-{os.getpid()}")
        assert name_of(sock) == f"unix:@cello-test-{os.getpid()}"


def test_a_signal_in_the_middle_of_the_removal_still_removes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its handler removes the file again, and then the process ends: what it interrupted never goes on."""
    path = tmp_path / "s"
    identity_of = unix_sockets._identity
    with listen_at(path, 1, None) as listener:

        def interrupted(name: str) -> tuple[int, int, int]:
            monkeypatch.setattr(unix_sockets, "_identity", identity_of)
            listener.remove_file()
            raise SystemExit(name)

        monkeypatch.setattr(unix_sockets, "_identity", interrupted)
        with pytest.raises(SystemExit):
            listener.remove_file()
        assert not path.exists()
