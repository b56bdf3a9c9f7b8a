"""Sockets that another program has opened: what is taken over, what is refused and left open."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cello.config import RunArguments
from cello.errors import StartError
from cello.options import resolve_options
from cello.server import inherited
from cello.server.inherited import take_fd, take_listen_fds
from cello.server.sockets import UNSENT_BYTES, open_listeners
from cello.server.unix_sockets import UnixListener

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows hands no sockets down")


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


class TestFd:
    def test_a_tcp_listener_is_taken_over(self, listening: socket.socket) -> None:
        fd = os.dup(listening.fileno())
        os.set_inheritable(fd, True)
        with take_fd(fd) as taken:
            assert taken.getsockname() == listening.getsockname()
            assert taken.getblocking() is False
            assert os.get_inheritable(fd) is False
        assert not is_open(fd)

    def test_a_unix_listener_is_taken_over_and_its_file_is_its_makers(self, tmp_path: Path) -> None:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(tmp_path / "s"))
            sock.listen()
            with take_fd(os.dup(sock.fileno())) as taken:
                assert isinstance(taken, UnixListener)
                taken.remove_file()
                assert (tmp_path / "s").is_socket()

    @pytest.mark.parametrize(
        ("family", "kind", "fault"),
        [
            (socket.AF_INET, socket.SOCK_STREAM, "a socket that does not listen"),
            (socket.AF_INET, socket.SOCK_DGRAM, "a datagram socket"),
            (socket.AF_UNIX, socket.SOCK_DGRAM, "a datagram socket"),
            (socket.AF_UNIX, socket.SOCK_SEQPACKET, "a socket of another type"),
        ],
    )
    def test_what_cannot_be_served_on_is_refused_and_left_open(
        self, family: int, kind: int, fault: str
    ) -> None:
        with socket.socket(family, kind) as sock:
            fd = sock.fileno()
            with pytest.raises(StartError) as caught:
                take_fd(fd)
            expected = "expected a listening TCP or unix stream socket"
            assert str(caught.value) == f"fd={fd}: descriptor {fd} is {fault}, {expected}"
            assert is_open(fd)

    def test_a_file_is_refused(self, tmp_path: Path) -> None:
        with (
            open(tmp_path / "f", "w") as file,
            pytest.raises(StartError, match="is not a socket, expected a"),
        ):
            take_fd(file.fileno())

    def test_a_number_that_nobody_has_opened_is_refused(self) -> None:
        with pytest.raises(StartError) as caught:
            take_fd(9999)
        assert str(caught.value) == "fd=9999: descriptor 9999 is not open, expected a listening socket"


@pytest.fixture
def first_fd(listening: socket.socket, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Three descriptors in a row, of which the first two listen, standing where systemd's begin."""
    first = 500
    monkeypatch.setattr(inherited, "FIRST_FD", first)
    for fd in (first, first + 1):
        os.dup2(listening.fileno(), fd)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram:
        os.dup2(datagram.fileno(), first + 2)
    yield first
    for fd in range(first, first + 3):
        if is_open(fd):
            os.close(fd)


def told(pid: int | str, count: int | str) -> dict[str, str]:
    return {"LISTEN_PID": str(pid), "LISTEN_FDS": str(count), "LISTEN_FDNAMES": "web:api", "HOME": "/"}


class TestListenFds:
    def test_all_are_taken_and_the_variables_removed(
        self, first_fd: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        environment = told(os.getpid(), 2)
        with caplog.at_level(logging.INFO, "cello"):
            taken = take_listen_fds(environment)
        assert [sock.fileno() for sock in taken] == [first_fd, first_fd + 1]
        assert [os.get_inheritable(sock.fileno()) for sock in taken] == [False, False]
        assert environment == {"HOME": "/"}
        said = (
            f"LISTEN_FDS: serving on descriptor {first_fd}, {first_fd + 1}; host, port and uds are not used"
        )
        assert caplog.messages == [said]
        for sock in taken:
            sock.close()

    @pytest.mark.parametrize("pid", [os.getppid(), "", "self"])
    def test_another_process_s_are_left(self, first_fd: int, pid: int | str) -> None:
        environment = told(pid, 2)
        assert take_listen_fds(environment) == []
        assert environment == told(pid, 2)
        assert os.get_inheritable(first_fd)

    @pytest.mark.parametrize("count", ["0", "", "-1", "two", "٢", "1e3"])
    def test_none_are_none(self, first_fd: int, count: str) -> None:
        assert take_listen_fds(told(os.getpid(), count)) == []

    def test_one_that_is_bad_refuses_all(self, first_fd: int) -> None:
        with pytest.raises(
            StartError, match=rf"^LISTEN_FDS=3: descriptor {first_fd + 2} is a datagram socket"
        ):
            take_listen_fds(told(os.getpid(), 3))
        assert not is_open(first_fd)
        assert is_open(first_fd + 2)


class TestOpenListeners:
    def test_what_is_handed_down_comes_before_uds(
        self, first_fd: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
        monkeypatch.setenv("LISTEN_FDS", "1")
        options = resolve_options(RunArguments(uds=tmp_path / "s"))
        [sock] = open_listeners(options)
        with sock:
            assert sock.fileno() == first_fd
        assert "LISTEN_FDS" not in os.environ
        [sock] = open_listeners(options)  # and once only
        with sock:
            assert isinstance(sock, UnixListener)

    def test_a_number_that_is_given_comes_before_all(
        self, listening: socket.socket, first_fd: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
        monkeypatch.setenv("LISTEN_FDS", "1")
        fd = os.dup(listening.fileno())
        [sock] = open_listeners(resolve_options(RunArguments(fd=fd)))
        with sock:
            assert sock.fileno() == fd

    @pytest.mark.skipif(not hasattr(socket, "TCP_NOTSENT_LOWAT"), reason="this system has no such option")
    def test_an_inherited_tcp_socket_holds_as_little_unsent_as_an_own(self, listening: socket.socket) -> None:
        [sock] = open_listeners(resolve_options(RunArguments(fd=os.dup(listening.fileno()))))
        with sock:
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == UNSENT_BYTES
