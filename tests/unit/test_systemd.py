"""The protocol of sd_notify: what is sent, where, and to nobody."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cello.server.systemd import notify, reloading, watchdog_seconds

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no unix domain sockets here")


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(10)
        yield sock


def test_a_state_is_one_datagram(manager: socket.socket) -> None:
    environment = {"NOTIFY_SOCKET": manager.getsockname()}
    assert notify("READY=1\nSTATUS=serving on the märket", environment)
    assert notify("STOPPING=1", environment)
    assert manager.recv(4096) == "READY=1\nSTATUS=serving on the märket".encode()
    assert manager.recv(4096) == b"STOPPING=1"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="abstract names are Linux's")
def test_an_abstract_name() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(f"\0cello-notify-{os.getpid()}")
        sock.settimeout(10)
        assert notify("READY=1", {"NOTIFY_SOCKET": f"@cello-notify-{os.getpid()}"})
        assert sock.recv(4096) == b"READY=1"


@pytest.mark.parametrize(
    "path", [None, "", "relative", "/nowhere/notify", "@nobody", "vsock:2:1234", "/" * 200]
)
def test_nobody_to_tell_is_no_error(path: str | None) -> None:
    assert notify("READY=1", {} if path is None else {"NOTIFY_SOCKET": path}) is False


def test_a_reload_has_its_time() -> None:
    before = time.monotonic_ns() // 1000
    name, _, stamp = reloading().partition("\n")
    assert name == "RELOADING=1"
    assert stamp.startswith("MONOTONIC_USEC=")
    assert before <= int(stamp.partition("=")[2]) <= time.monotonic_ns() // 1000


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": str(os.getpid())}, 0.5),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": str(os.getppid())}, None),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": ""}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
        ({"WATCHDOG_USEC": "30s"}, None),
        ({"WATCHDOG_USEC": "٣"}, None),
    ],
)
def test_when_the_watchdog_wants_to_hear(environment: dict[str, str], seconds: float | None) -> None:
    assert watchdog_seconds(environment) == seconds
