"""Listening sockets: what is opened, what is said when it cannot be, and the last accept."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from cello.errors import StartError
from cello.server.sockets import accept_remaining, bind, explain, find_holder, url_of


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


NOT_OURS = (
    "host {!r} is not an address of this machine; use one of its own, 127.0.0.1 for clients on this machine "
    "alone, or 0.0.0.0 for all interfaces"
)
NO_IPV6 = "host {!r} needs IPv6, which this machine lacks; choose another with --host"
NOT_RESOLVED = (
    "host {!r} cannot be resolved ({}); use an IP address of this machine, such as 127.0.0.1, or 0.0.0.0 for "
    "all interfaces"
)
TAKEN = "port {} on {} is taken by {}; stop it or choose another with --port"
PRIVILEGED = (
    "port 80 needs privileges: choose one of 1024 or above with --port, or give the process the capability "
    "CAP_NET_BIND_SERVICE"
)

needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="the machine has no IPv6")
needs_proc = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="the holder is found on Linux alone"
)


@contextlib.contextmanager
def closing(sockets: list[socket.socket]) -> Iterator[list[socket.socket]]:
    try:
        yield sockets
    finally:
        for sock in sockets:
            sock.close()


def port_of(sock: socket.socket) -> int:
    port = sock.getsockname()[1]
    assert isinstance(port, int)
    return port


class Stage:
    """The kernel's refusals, played: every bind to a host fails with the next errno of its list."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, hosts: list[str]) -> None:
        self.refusals: dict[str, list[int]] = {}
        self.made: list[socket.socket] = []
        stage = self

        class Socket(socket.socket):
            def __init__(self, *args: int, **kwargs: int) -> None:
                super().__init__(*args, **kwargs)
                stage.made.append(self)

            def bind(self, address: tuple[str, int]) -> None:  # type: ignore[override]
                refusals = stage.refusals.get(address[0])
                if refusals:
                    number = refusals.pop(0)
                    raise OSError(number, os.strerror(number))
                super().bind(address)

        def getaddrinfo(*args: object, **kwargs: object) -> list[object]:
            families = [(socket.AF_INET6, (0, 0)) if ":" in host else (socket.AF_INET, ()) for host in hosts]
            return [
                (family, socket.SOCK_STREAM, 6, "", (host, 0, *rest))
                for host, (family, rest) in zip(hosts, families, strict=True)
            ]

        monkeypatch.setattr(socket, "socket", Socket)
        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    def is_swept(self) -> bool:
        return bool(self.made) and all(sock.fileno() == -1 for sock in self.made)


class TestBind:
    def test_a_socket_listens_without_blocking_and_is_not_inherited(self) -> None:
        with closing(bind("127.0.0.1", 0)) as [sock]:
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
            assert sock.getblocking() is False
            assert sock.get_inheritable() is False

    @pytest.mark.skipif(sys.platform == "win32", reason="Windows has SO_EXCLUSIVEADDRUSE instead")
    def test_the_address_is_reusable_and_the_port_is_not(self) -> None:
        with closing(bind("127.0.0.1", 0)) as [sock]:
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR) != 0
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT) == 0

    def test_a_given_port_is_taken(self) -> None:
        with closing(bind("127.0.0.1", 0)) as [sock]:
            port = port_of(sock)
        with closing(bind("127.0.0.1", port)) as [sock]:
            assert sock.getsockname() == ("127.0.0.1", port)

    def test_localhost_is_served_on_every_address_that_it_has(self) -> None:
        with closing(bind("localhost", 0)) as sockets:
            assert len({port_of(sock) for sock in sockets}) == 1
            for sock in sockets:
                assert sock.getsockname()[0] in ("127.0.0.1", "::1")

    @needs_ipv6
    @pytest.mark.parametrize("host", ["::1", "[::1]"])
    def test_ipv6_is_taken_with_and_without_brackets(self, host: str) -> None:
        with closing(bind(host, 0)) as [sock]:
            assert sock.getsockname()[0] == "::1"
            assert sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1

    @needs_ipv6
    @pytest.mark.parametrize("client", ["127.0.0.1", "::1"])
    def test_all_interfaces_of_ipv6_serve_ipv4_too(self, client: str) -> None:
        with closing(bind("::", 0)) as sockets:
            assert [sock.getsockname()[0] for sock in sockets] == ["::", "0.0.0.0"]
            with socket.create_connection((client, port_of(sockets[0])), timeout=5):
                ready, _, _ = select.select(sockets, [], [], 5)
                connection, address = ready[0].accept()
                connection.close()
        assert address[0] == client  # never ::ffff:127.0.0.1

    @needs_ipv6
    def test_a_name_with_several_addresses_has_one_port(self, monkeypatch: pytest.MonkeyPatch) -> None:
        Stage(monkeypatch, ["127.0.0.1", "::1", "127.0.0.1"])
        with closing(bind("name", 0)) as sockets:
            assert [sock.getsockname()[0] for sock in sockets] == ["127.0.0.1", "::1"]
            assert port_of(sockets[0]) == port_of(sockets[1])

    @needs_ipv6
    def test_a_free_port_that_clashes_is_drawn_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        stage = Stage(monkeypatch, ["127.0.0.1", "::1"])
        stage.refusals["::1"] = [errno.EADDRINUSE] * 4
        with closing(bind("name", 0)) as sockets:
            assert len(sockets) == 2
            assert len(stage.made) == 10
            assert [sock for sock in stage.made if sock.fileno() != -1] == sockets

    def test_drawing_ends(self, monkeypatch: pytest.MonkeyPatch) -> None:
        stage = Stage(monkeypatch, ["127.0.0.1", "::1"])
        stage.refusals["::1"] = [errno.EADDRINUSE] * 9
        with pytest.raises(
            StartError, match=r"^port \d+ on ::1 is taken by another program; stop it or choose"
        ):
            bind("name", 0)
        assert len(stage.refusals["::1"]) == 4
        assert stage.is_swept()

    def test_a_given_port_is_tried_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        stage = Stage(monkeypatch, ["127.0.0.1"])
        stage.refusals["127.0.0.1"] = [errno.EADDRINUSE]
        with pytest.raises(StartError, match=r"^port 8000 on 127\.0\.0\.1 is taken by "):
            bind("name", 8000)
        assert len(stage.made) == 1

    @pytest.mark.parametrize("number", [errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT])
    @pytest.mark.parametrize("hosts", [["::1", "127.0.0.1"], ["127.0.0.1", "::1"]])
    def test_a_family_that_the_machine_lacks_is_skipped(
        self, monkeypatch: pytest.MonkeyPatch, hosts: list[str], number: int
    ) -> None:
        stage = Stage(monkeypatch, hosts)
        stage.refusals["::1"] = [number]
        with closing(bind("localhost", 0)) as sockets:
            assert [sock.getsockname()[0] for sock in sockets] == ["127.0.0.1"]

    @pytest.mark.parametrize(
        ("number", "message"), [(errno.EADDRNOTAVAIL, NOT_OURS), (errno.EAFNOSUPPORT, NO_IPV6)]
    )
    def test_no_address_left_is_an_error(
        self, monkeypatch: pytest.MonkeyPatch, number: int, message: str
    ) -> None:
        stage = Stage(monkeypatch, ["::1"])
        stage.refusals["::1"] = [number]
        with pytest.raises(StartError) as caught:
            bind("::1", 8000)
        assert str(caught.value) == message.format("::1")
        assert stage.is_swept()

    @pytest.mark.parametrize("number", [errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES, errno.EINVAL])
    def test_a_failure_closes_what_was_opened(self, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
        stage = Stage(monkeypatch, ["127.0.0.1", "192.0.2.1"])
        stage.refusals["192.0.2.1"] = [number] * 5
        with pytest.raises(StartError, match=r"192\.0\.2\.1"):
            bind("name", 0)
        assert stage.is_swept()

    def test_an_address_of_another_machine_is_refused(self) -> None:
        with pytest.raises(StartError) as caught:
            bind("192.0.2.1", 0)  # RFC 5737: nobody's
        assert str(caught.value) == NOT_OURS.format("192.0.2.1")

    def test_a_name_that_does_not_resolve_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def getaddrinfo(*args: object, **kwargs: object) -> list[object]:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        with pytest.raises(StartError) as caught:
            bind("nowhere", 8000)
        assert str(caught.value) == NOT_RESOLVED.format("nowhere", "Name or service not known")

    @pytest.mark.parametrize("host", ["a..b", "x" * 70 + ".invalid"])
    def test_a_name_that_cannot_be_one_is_refused(self, host: str) -> None:
        with pytest.raises(StartError, match=r"^host '.*' cannot be resolved \(.*label"):
            bind(host, 8000)


FOREIGN_SERVER = """
import socket, sys
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
sys.stdin.read()
"""


@pytest.fixture
def foreign() -> Iterator[tuple[int, int]]:
    """A server of another process: its port and its PID."""
    command = [sys.executable, "-c", FOREIGN_SERVER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline()), process.pid
        process.communicate()


class TestTakenPort:
    @needs_proc
    @pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
    def test_the_holder_is_named(self, foreign: tuple[int, int], host: str) -> None:
        port, pid = foreign
        with open(f"/proc/{pid}/comm", encoding="ascii") as file:
            name = file.read().strip()
        with pytest.raises(StartError) as caught:
            bind(host, port)
        assert str(caught.value) == TAKEN.format(port, host, f"another program ({name}, PID {pid})")
        assert caught.value.exit_status == 1

    @needs_proc
    def test_this_process_recognises_itself(self) -> None:
        with closing(bind("127.0.0.1", 0)) as [sock]:
            port = port_of(sock)
            with pytest.raises(StartError) as caught:
                bind("127.0.0.1", port)
        holder = f"this very process (PID {os.getpid()})"
        assert str(caught.value) == TAKEN.format(port, "127.0.0.1", holder)

    @needs_proc
    @needs_ipv6
    def test_the_holder_of_an_ipv6_address_is_found(self) -> None:
        with closing(bind("::1", 0)) as [sock]:
            holder = find_holder("::1", port_of(sock))
        assert holder is not None
        assert holder[1] == os.getpid()

    @needs_proc
    def test_the_holder_of_all_interfaces_holds_each(self) -> None:
        with closing(bind("0.0.0.0", 0)) as [sock]:
            holder = find_holder("127.0.0.1", port_of(sock))
        assert holder is not None
        assert holder[1] == os.getpid()

    def test_a_connection_from_the_port_is_no_holder(self) -> None:
        with contextlib.ExitStack() as stack:
            [listener] = stack.enter_context(closing(bind("127.0.0.1", 0)))
            client = stack.enter_context(socket.create_connection(listener.getsockname()))
            assert find_holder("127.0.0.1", port_of(client)) is None

    def test_a_holder_of_the_same_port_elsewhere_is_not_blamed(self) -> None:
        with closing(bind("127.0.0.1", 0)) as [sock]:
            assert find_holder("192.0.2.1", port_of(sock)) is None

    def test_nobody_is_found_on_a_port_that_was_closed(self) -> None:
        with closing(bind("127.0.0.1", 0)) as [sock]:
            port = port_of(sock)
        assert find_holder("127.0.0.1", port) is None


@pytest.mark.parametrize(
    ("number", "host", "port", "message"),
    [
        (
            errno.EACCES,
            "0.0.0.0",
            80,
            PRIVILEGED,
        ),
        (
            errno.EACCES,
            "::1",
            8000,
            "port 8000 on ::1 is not permitted by the system; choose another with --port",
        ),
        (
            errno.EAFNOSUPPORT,
            "127.0.0.1",
            8000,
            "host '127.0.0.1' needs IPv4, which this machine lacks; choose another with --host",
        ),
        (errno.EMFILE, "::1", 8000, f"cannot listen on port 8000 of ::1: {os.strerror(errno.EMFILE)}"),
    ],
)
def test_an_error_is_explained(number: int, host: str, port: int, message: str) -> None:
    assert str(explain(OSError(number, os.strerror(number)), host, port)) == message


class TestUrl:
    def test_the_url_is_the_bound_address(self) -> None:
        with closing(bind("127.0.0.1", 0)) as [sock]:
            assert url_of(sock, "http") == f"http://127.0.0.1:{port_of(sock)}"

    def test_all_interfaces_are_shown_as_they_are(self) -> None:
        with closing(bind("0.0.0.0", 0)) as [sock]:
            assert url_of(sock, "https") == f"https://0.0.0.0:{port_of(sock)}"

    @needs_ipv6
    def test_ipv6_stands_in_brackets(self) -> None:
        with closing(bind("::1", 0)) as [sock]:
            assert url_of(sock, "http") == f"http://[::1]:{port_of(sock)}"

    def test_the_zone_of_a_link_local_address_is_escaped(self) -> None:
        class LinkLocal(socket.socket):
            def getsockname(self) -> tuple[str, int, int, int]:
                return ("fe80::1%eth0", 80, 0, 2)

        with closing([LinkLocal(socket.AF_INET6)]) as [sock]:
            assert url_of(sock, "http") == "http://[fe80::1%25eth0]:80"


class Scripted(socket.socket):
    """A listener whose first accepts fail with the errors of a list."""

    script: list[int]

    def accept(self) -> tuple[socket.socket, object]:
        if self.script:
            number = self.script.pop(0)
            raise OSError(number, os.strerror(number))
        return super().accept()


def scripted_listener(script: list[int]) -> Scripted:
    listener = Scripted(socket.AF_INET)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    listener.script = script
    return listener


class TestAcceptRemaining:
    def test_every_connection_that_waits_is_accepted(self) -> None:
        with contextlib.ExitStack() as stack:
            [listener] = stack.enter_context(closing(bind("127.0.0.1", 0)))
            clients = [
                stack.enter_context(socket.create_connection(listener.getsockname())) for _ in range(5)
            ]
            accepted: list[socket.socket] = stack.enter_context(closing([]))
            while len(accepted) < len(clients) and select.select([listener], [], [], 5)[0]:
                accepted += accept_remaining(listener)
            peers = {connection.getpeername() for connection in accepted}
            assert peers == {client.getsockname() for client in clients}
            assert not any(connection.getblocking() for connection in accepted)
            assert list(accept_remaining(listener)) == []

    def test_a_listener_that_blocks_does_not_block_it(self) -> None:
        with closing([scripted_listener([])]) as [listener]:
            assert listener.getblocking() is True
            assert list(accept_remaining(listener)) == []

    def test_a_connection_that_is_gone_is_passed_over(self) -> None:
        with contextlib.ExitStack() as stack:
            listener = scripted_listener([errno.ECONNABORTED, errno.EPROTO])
            stack.enter_context(listener)
            stack.enter_context(socket.create_connection(listener.getsockname()))
            assert select.select([listener], [], [], 5)[0] == [listener]
            [connection] = stack.enter_context(closing(list(accept_remaining(listener))))
            assert connection.fileno() != -1

    @pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
    def test_it_ends_where_no_descriptor_is_left(self, number: int) -> None:
        with closing([scripted_listener([number])]) as [listener]:
            assert list(accept_remaining(listener)) == []

    def test_a_closed_listener_is_an_error(self) -> None:
        with closing([scripted_listener([errno.EBADF])]) as [listener], pytest.raises(OSError) as caught:
            list(accept_remaining(listener))
        assert caught.value.errno == errno.EBADF
