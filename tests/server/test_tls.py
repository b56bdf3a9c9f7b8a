"""HTTPS on real sockets: handshakes, who is let in, renewal, and HTTP/1.1's rules where TLS changes them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from trustme import CA, LeafCert

from cello import App, LimitsConfig, TimeoutConfig, TlsConfig
from cello.testing import LiveServer
from tests.kit.log_watch import watching_log
from tests.kit.process import running_script
from tests.kit.raw import PATIENCE_SECONDS, RawClient, Stopwatch, connected, request
from tests.kit.server import running_server

MIB = 1 << 20
TIMEOUT_SECONDS = 0.3

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


class Bench:
    """The application of this file, and what its handlers tell."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.ended = threading.Event()
        self.app = app = App()
        app.get("/", blocking=False)(lambda request: {"secure": request.is_secure(), "url": request.url})
        app.get("/fast/{name}", blocking=False)(lambda request: request.params["name"])
        app.get("/threaded/{name}", blocking=True)(lambda request: request.params["name"])
        app.get("/stream/{name}")(self.stream)
        app.get("/large", blocking=False)(lambda request: bytes(8 * MIB))
        app.get("/wait")(self.wait)
        app.get("/hold", blocking=False)(self.hold)
        app.post("/echo", blocking=False)(lambda request: request.body())
        app.post("/count", stream=True, max_request_size=1 << 40)(self.count)

    async def stream(self, request: Any) -> AsyncIterator[str]:
        for letter in request.params["name"]:
            yield letter

    async def wait(self, request: Any) -> str:
        self.entered.set()
        try:
            await asyncio.sleep(PATIENCE_SECONDS)
        finally:
            self.ended.set()
        return "never"

    def hold(self, request: Any) -> str:
        """Hold the event loop up, so that nothing is accepted meanwhile."""
        self.entered.set()
        time.sleep(0.5)
        return "let go"

    async def count(self, request: Any) -> str:
        return str(sum([len(chunk) async for chunk in request.stream()]))


@pytest.fixture(scope="module")
def authority() -> CA:
    return CA()


@pytest.fixture(scope="module")
def trust(authority: CA) -> ssl.SSLContext:
    """A client's context that trusts the authority."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
def tls(tmp_path: Path, authority: CA) -> TlsConfig:
    return install(tmp_path, authority.issue_cert("localhost", "127.0.0.1"))


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def server(bench: Bench, tls: TlsConfig) -> Iterator[LiveServer]:
    with running_server(bench.app, tls=tls) as server:
        yield server


def install(folder: Path, leaf: LeafCert) -> TlsConfig:
    """Put a pair in place as renewal tools do: written aside, then renamed."""
    parts = {
        "cert.pem": b"".join(pem.bytes() for pem in leaf.cert_chain_pems),
        "key.pem": leaf.private_key_pem.bytes(),
    }
    for name, content in parts.items():
        (folder / f"{name}.new").write_bytes(content)
        (folder / f"{name}.new").replace(folder / name)
    return TlsConfig(folder / "cert.pem", folder / "key.pem")


def der_of(leaf: LeafCert) -> bytes:
    return ssl.PEM_cert_to_DER_cert(leaf.cert_chain_pems[0].bytes().decode())


def shown_on(port: int) -> bytes:
    """Return the certificate (DER) that a server shows."""
    return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("127.0.0.1", port), timeout=PATIENCE_SECONDS))


class TestHttps:
    def test_httpx_is_answered(self, server: LiveServer, trust: ssl.SSLContext) -> None:
        assert server.url == f"https://127.0.0.1:{server.port}"
        with httpx.Client(verify=trust, base_url=server.url) as client:
            for _ in range(3):
                assert client.get("/").json() == {"secure": True, "url": f"{server.url}/"}
            assert len(server.worker.service.connections) == 1

    @needs_curl
    def test_curl_is_answered(self, server: LiveServer, authority: CA, tmp_path: Path) -> None:
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        command = [
            "curl",
            "-sS",
            "--cacert",
            str(tmp_path / "ca.pem"),
            "-w",
            " %{http_version}",
            f"{server.url}/fast/x",
        ]
        finished = subprocess.run(command, capture_output=True, timeout=PATIENCE_SECONDS, check=True)
        assert finished.stdout == b"x 1.1"

    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
    def test_both_current_versions_are_spoken(
        self, server: LiveServer, authority: CA, version: ssl.TLSVersion
    ) -> None:
        context = ssl.create_default_context()
        authority.configure_trust(context)
        context.minimum_version = context.maximum_version = version
        with connected(server.port, tls=context) as client:
            assert client.ask("/fast/x").body == b"x"

    @needs_curl
    def test_tls_1_1_is_refused(self, server: LiveServer) -> None:
        command = ["curl", "-sS", "-k", "--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0", server.url]
        with watching_log() as log:
            finished = subprocess.run(command, capture_output=True, timeout=PATIENCE_SECONDS)
            assert finished.returncode == 35  # a handshake that failed
            log.wait_for("UNSUPPORTED_PROTOCOL")

    def test_uploads_and_downloads_of_many_megabytes(self, server: LiveServer, trust: ssl.SSLContext) -> None:
        with httpx.Client(verify=trust, base_url=server.url, timeout=PATIENCE_SECONDS) as client:
            assert len(client.get("/large").content) == 8 * MIB
            assert client.post("/count", content=bytes(16 * MIB)).text == str(16 * MIB)
            body = os.urandom(4 * MIB)
            assert client.post("/echo", content=body).content == body

    def test_pipelined_requests_are_answered_in_order(
        self, server: LiveServer, trust: ssl.SSLContext
    ) -> None:
        targets = [f"/{kind}/{number}" for number in range(100) for kind in ("fast", "threaded", "stream")]
        with connected(server.port, tls=trust) as client:
            client.send(b"".join(request(target) for target in targets))
            for target in targets:
                assert client.answer().body.decode() == target.rpartition("/")[2]

    def test_413_is_seen_by_a_client_that_still_sends(
        self, server: LiveServer, trust: ssl.SSLContext
    ) -> None:
        with connected(server.port, tls=trust) as client:
            client.send(request("/echo", "Content-Length: 20000000", method="POST") + bytes(11 * MIB))
            answer = client.answer()
            assert answer.status == 413
            assert answer.options("connection") == ["close"]

    def test_413_by_content_length_comes_before_the_body(
        self, server: LiveServer, trust: ssl.SSLContext
    ) -> None:
        with connected(server.port, tls=trust) as client:
            client.send(request("/echo", "Content-Length: 20000000", method="POST"))
            assert client.answer().status == 413


class TestEnds:
    def test_an_answer_with_close_is_followed_by_the_end(
        self, server: LiveServer, trust: ssl.SSLContext
    ) -> None:
        with connected(server.port, tls=trust) as client:
            assert client.ask("/fast/x", "Connection: close").body == b"x"
            watch = Stopwatch()
            assert client.ends_silently()
            assert watch.seconds < 2

    def test_a_stream_to_http_1_0_ends_in_order(self, server: LiveServer, trust: ssl.SSLContext) -> None:
        with connected(server.port, tls=trust) as client:
            client.send(request("/stream/letters", version="1.0"))
            watch = Stopwatch()
            assert client.answer().body == b"letters"
            assert watch.seconds < 2

    def test_close_notify_is_departure(self, server: LiveServer, bench: Bench, trust: ssl.SSLContext) -> None:
        with connected(server.port, tls=trust) as client:
            client.send(request("/wait"))
            assert bench.entered.wait(PATIENCE_SECONDS)
            assert isinstance(client.sock, ssl.SSLSocket)
            client.sock.setblocking(False)
            with contextlib.suppress(ssl.SSLWantReadError, OSError):
                client.sock.unwrap()
            assert bench.ended.wait(PATIENCE_SECONDS)

    def test_a_fin_is_departure_too(self, server: LiveServer, bench: Bench, trust: ssl.SSLContext) -> None:
        with connected(server.port, tls=trust) as client:
            client.send(request("/wait"))
            assert bench.entered.wait(PATIENCE_SECONDS)
            client.finish_sending()
            assert bench.ended.wait(PATIENCE_SECONDS)

    def test_a_client_that_reads_nothing_is_cut_off(
        self, bench: Bench, tls: TlsConfig, trust: ssl.SSLContext
    ) -> None:
        timeout = TimeoutConfig(None, TIMEOUT_SECONDS, None)
        with (
            running_server(bench.app, tls=tls, timeout=timeout) as server,
            connected(server.port, tls=trust, has_small_buffer=True) as client,
        ):
            client.send(request("/large"))
            assert not client.is_quiet(PATIENCE_SECONDS)  # the answer has begun
            wait_for(lambda: not server.worker.service.connections)

    def test_a_slow_reader_that_makes_progress_is_not_cut_off(
        self, bench: Bench, tls: TlsConfig, trust: ssl.SSLContext
    ) -> None:
        timeout = TimeoutConfig(None, 0.5, None)
        with (
            running_server(bench.app, tls=tls, timeout=timeout) as server,
            connected(server.port, tls=trust, has_small_buffer=True) as client,
        ):
            client.send(request("/large"))
            watch = Stopwatch()
            read_bytes = 0
            while watch.seconds < 1.5:
                read_bytes += len(client.sock.recv(100_000))
                time.sleep(0.005)
            assert read_bytes < 8 * MIB
            while read_bytes < 8 * MIB:
                octets = client.sock.recv(100_000)
                assert octets, f"cut off after {read_bytes} bytes"
                read_bytes += len(octets)

    def test_a_request_that_stops_is_answered_408(
        self, bench: Bench, tls: TlsConfig, trust: ssl.SSLContext
    ) -> None:
        timeout = TimeoutConfig(TIMEOUT_SECONDS, None, None)
        with (
            running_server(bench.app, tls=tls, timeout=timeout) as server,
            connected(server.port, tls=trust) as client,
        ):
            client.send(request("/")[:-2])
            assert client.answer().status == 408


class TestClientCertificates:
    @pytest.fixture
    def strict(self, tmp_path: Path, tls: TlsConfig, authority: CA) -> TlsConfig:
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        return TlsConfig(tls.cert_path, tls.key_path, client_ca_path=tmp_path / "ca.pem")

    def test_one_of_the_authority_is_let_in(self, bench: Bench, strict: TlsConfig, authority: CA) -> None:
        context = ssl.create_default_context()
        authority.configure_trust(context)
        authority.issue_cert("client@example.org").configure_cert(context)
        with running_server(bench.app, tls=strict) as server, connected(server.port, tls=context) as client:
            assert client.ask("/fast/x").body == b"x"

    @pytest.mark.parametrize("has_foreign", [False, True])
    def test_none_and_another_authoritys_are_refused(
        self, bench: Bench, strict: TlsConfig, authority: CA, has_foreign: bool
    ) -> None:
        context = ssl.create_default_context()
        authority.configure_trust(context)
        if has_foreign:
            CA().issue_cert("client@example.org").configure_cert(context)
        with running_server(bench.app, tls=strict) as server:
            # With TLS 1.3 a client learns only after its own part of the handshake that it was refused.
            with (
                contextlib.suppress(ssl.SSLError, ConnectionError),
                connected(server.port, tls=context) as client,
            ):
                client.send(request("/wait"))
                assert client.rest() == b""
            wait_for(lambda: server.worker._gate.count() == 0)
            assert not bench.entered.is_set()


class TestHandshakes:
    def test_plain_http_is_turned_away_without_noise(
        self, server: LiveServer, trust: ssl.SSLContext, capfd: pytest.CaptureFixture[str]
    ) -> None:
        with watching_log() as log:
            with connected(server.port) as client:
                client.send(request("/"))
                with contextlib.suppress(ConnectionResetError):
                    assert not client.rest().startswith(b"HTTP/1.1 2")
            with connected(server.port, tls=trust) as client:
                assert client.ask("/fast/x").body == b"x"
            assert all(line.startswith("DEBUG") for line in log.lines)
        assert capfd.readouterr().err == ""

    def test_tls_to_the_plain_port_is_400(self, bench: Bench) -> None:
        hello, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        side = ssl.create_default_context().wrap_bio(hello, outgoing, server_hostname="localhost")
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
        with running_server(bench.app) as server, connected(server.port) as client:
            client.send(outgoing.read())
            assert client.answer().status == 400
            assert client.ends_silently()

    def test_one_that_never_ends_is_cut_off(self, bench: Bench, tls: TlsConfig) -> None:
        timeout = TimeoutConfig(TIMEOUT_SECONDS, None, None)
        with running_server(bench.app, tls=tls, timeout=timeout) as server:
            for octets in (b"", b"\x16\x03\x01"):
                with connected(server.port) as client:
                    watch = Stopwatch()
                    client.send(octets)
                    with contextlib.suppress(ConnectionResetError):
                        assert client.rest() == b""
                    assert TIMEOUT_SECONDS <= watch.seconds + 0.05 < 5

    def test_those_that_do_not_end_count_as_connections(
        self, bench: Bench, tls: TlsConfig, trust: ssl.SSLContext
    ) -> None:
        limits, timeout = LimitsConfig(max_connections=2), TimeoutConfig(1.5, None, None)
        with (
            contextlib.ExitStack() as stack,
            running_server(bench.app, tls=tls, limits=limits, timeout=timeout) as server,
        ):
            for _ in range(40):
                stack.enter_context(connected(server.port))
            wait_for(lambda: server.worker._gate.count() >= 2)
            time.sleep(0.2)
            assert server.worker._gate.count() <= 2 + 20
            wait_for(lambda: server.worker._gate.count() == 0)
            with connected(server.port, tls=trust) as client:
                assert client.ask("/fast/x").body == b"x"

    def test_at_the_cap_idle_ones_make_room_and_busy_ones_do_not(
        self, bench: Bench, tls: TlsConfig, trust: ssl.SSLContext
    ) -> None:
        limits = LimitsConfig(max_connections=1)
        with running_server(bench.app, tls=tls, limits=limits) as server:
            with connected(server.port, tls=trust) as idle:
                assert idle.ask("/fast/x").status == 200
                with connected(server.port, tls=trust) as busy:
                    busy.send(request("/wait"))
                    assert bench.entered.wait(PATIENCE_SECONDS)
                    with contextlib.suppress(ConnectionResetError, ssl.SSLEOFError):
                        assert idle.ends_silently()
                    with connected(server.port, tls=trust) as newcomer:
                        assert newcomer.answer().status == 503
                    busy.reset()
            wait_for(lambda: server.worker._gate.count() == 0)

    def test_a_slow_one_holds_up_nobody(self, server: LiveServer, trust: ssl.SSLContext) -> None:
        with connected(server.port), connected(server.port, tls=trust) as client:
            assert client.ask("/fast/x").body == b"x"

    def test_one_that_never_ends_does_not_hold_up_the_stop(self, bench: Bench, tls: TlsConfig) -> None:
        with contextlib.ExitStack() as stack:
            with running_server(bench.app, tls=tls) as server:
                stack.enter_context(connected(server.port))
                wait_for(lambda: server.worker._gate.count() == 1)
                watch = Stopwatch()
            assert watch.seconds < 2.5

    def test_those_in_the_accept_queue_are_served_at_the_stop(
        self, bench: Bench, tls: TlsConfig, trust: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("cello.server.tls_acceptor.ACCEPT_BATCH", 4)
        with contextlib.ExitStack() as stack, running_server(bench.app, tls=tls) as server:
            holder = stack.enter_context(connected(server.port, tls=trust))
            holder.send(request("/hold"))
            assert bench.entered.wait(PATIENCE_SECONDS)
            waiting = [stack.enter_context(connected(server.port)) for _ in range(10)]
            server.worker.stop_from_thread()
            for client in waiting:
                with trust.wrap_socket(client.sock, server_hostname="localhost") as secured:
                    answer = RawClient(secured).ask("/fast/x")
                    assert (answer.body, answer.options("connection")) == (b"x", ["close"])
            assert holder.answer().body == b"let go"


class TestRenewal:
    def test_files_that_change_are_taken_up_and_open_connections_live_on(
        self,
        bench: Bench,
        trust: ssl.SSLContext,
        authority: CA,
        tls: TlsConfig,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("cello.server.worker.CERTIFICATE_CHECK_SECONDS", 0.2)
        renewed = authority.issue_cert("localhost", "127.0.0.1")
        with running_server(bench.app, tls=tls) as server, connected(server.port, tls=trust) as client:
            assert client.ask("/fast/x").body == b"x"
            assert shown_on(server.port) != der_of(renewed)
            install(Path(tls.cert_path).parent, renewed)
            wait_for(lambda: shown_on(server.port) == der_of(renewed))
            assert client.ask("/fast/x").body == b"x"

    def test_sighup_takes_them_up_at_once(self, tmp_path: Path, tls: TlsConfig, authority: CA) -> None:
        renewed = authority.issue_cert("localhost", "127.0.0.1")
        with running_script(tmp_path, TLS_APP) as server:
            assert server.urls[0].startswith("https://127.0.0.1:")
            assert shown_on(server.port) != der_of(renewed)
            install(tmp_path, renewed)
            watch = Stopwatch()
            server.signal(signal.SIGHUP)
            server.stderr.wait_for("was loaded anew")
            assert watch.seconds < 1.5
            assert shown_on(server.port) == der_of(renewed)
            (tmp_path / "key.pem").write_text("damaged")
            server.signal(signal.SIGHUP)
            server.stderr.wait_for("certificate not renewed, the one in use stays: .*key.pem")
            assert shown_on(server.port) == der_of(renewed)
            assert server.stop() == 0


TLS_APP = """
from cello import App, TlsConfig
app = App()
app.get("/")(lambda request: "home")
app.run(port=0, env="production", tls=TlsConfig("cert.pem", "key.pem"))
"""


def wait_for(condition: Any) -> None:
    """Wait until something holds."""
    watch = Stopwatch()
    while not condition():
        assert watch.seconds < PATIENCE_SECONDS
        time.sleep(0.02)


def test_a_port_that_is_scanned_says_nothing(server: LiveServer, trust: ssl.SSLContext) -> None:
    with watching_log() as log:
        for _ in range(10):
            with socket.create_connection((server.host, server.port)):
                pass
        with connected(server.port, tls=trust) as client:
            assert client.ask("/fast/x").body == b"x"
        wait_for(lambda: server.worker._gate.count() == 0)
        assert all(line.startswith("DEBUG") for line in log.lines)
