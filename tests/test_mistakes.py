"""The mistakes that newcomers make: each is really made, and each ends in one line that says how to mend it.

The line names the file and the line of the application wherever these can be known, and the nearest known
name where one is misspelt. tests/kit/mistakes.toml has the table; each row is an application, started as its
developer would start it.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from trustme import CA, LeafCert

from tests.kit.mistakes import HEAD, Mistake, all_mistakes, mistakes
from tests.kit.process import PATIENCE_SECONDS, Process, running_script

FORGOTTEN = mistakes("forgotten")[0]
PRIVILEGED = 81


@contextmanager
def made(mistake: Mistake, folder: Path) -> Iterator[Process]:
    """Start the application that has a mistake in it."""
    for name, text in mistake.others.items():
        (folder / name).write_text(text, "utf-8")
    with running_script(folder, mistake.source, *mistake.arguments) as process:
        yield process


def each(kind: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "mistake", mistakes(kind), ids=lambda mistake: mistake.name.replace(" ", "-")
    )


@pytest.fixture(scope="module")
def leaves() -> tuple[LeafCert, LeafCert]:
    authority = CA()
    return authority.issue_cert("localhost"), authority.issue_cert("localhost")


@pytest.fixture
def folder(tmp_path: Path, leaves: tuple[LeafCert, LeafCert]) -> Path:
    """A folder with a certificate, its key, an encrypted one and one of another certificate."""
    leaf, other = leaves
    leaf.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    leaf.private_key_pem.write_to_path(tmp_path / "key.pem")
    other.private_key_pem.write_to_path(tmp_path / "other-key.pem")
    key = serialization.load_pem_private_key(leaf.private_key_pem.bytes(), None)
    locked = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"correct horse"),
    )
    (tmp_path / "locked-key.pem").write_bytes(locked)
    return tmp_path


def test_the_table_is_what_it_says() -> None:
    rows = all_mistakes()
    assert len(rows) >= 30
    assert len({row.name for row in rows}) == len({(row.source, row.arguments) for row in rows}) == len(rows)
    for row in rows:
        assert row.names_its_line != bool(row.unplaced), row.name


@each("command_line")
def test_a_bad_command_line_is_one_line_and_2(folder: Path, mistake: Mistake) -> None:
    with made(mistake, folder) as process:
        assert process.wait() == 2
        assert len(process.stderr.lines) == 1
        assert re.fullmatch(mistake.pattern, process.stderr.text), process.stderr.text
        assert process.stdout.text == ""


@each("ended")
def test_it_ends_with_one_clear_line(folder: Path, mistake: Mistake) -> None:
    with made(mistake, folder) as process:
        assert process.wait() == 1
        lines = process.stderr.lines
        assert re.fullmatch(mistake.pattern, lines[-1]), process.stderr.text
        if mistake.unplaced:
            assert len(lines) == 1, process.stderr.text
        else:
            # Above it stands Python's traceback, whose last step in the application is the line at fault.
            steps = re.findall(
                rf'File "{re.escape(str(folder / "app.py"))}", line (\d+)', process.stderr.text
            )
            assert int(steps[-1]) == mistake.line
        assert "serves on" not in process.stderr.text


@each("warned")
def test_it_is_warned_of_and_served(folder: Path, mistake: Mistake) -> None:
    with made(mistake, folder) as process:
        assert process.port
        process.stderr.wait_for(f"^{mistake.pattern}$")
        assert process.stop() == 0


@each("asked")
def test_a_request_shows_it_in_one_line(folder: Path, mistake: Mistake) -> None:
    with made(mistake, folder) as process:
        status, members = ask(process.port, mistake)
        assert status == mistake.answer, members
        assert re.fullmatch(mistake.pattern, members["detail"]), members["detail"]
        if status == 500:
            process.stderr.wait_for(
                rf" ERROR cello: {mistake.method} {mistake.target} failed in app\.py:\d+ in \w+, "
                rf"request id \w+: {mistake.pattern}$"
            )


def test_a_forgotten_return_is_noted_once(folder: Path) -> None:
    with made(FORGOTTEN, folder) as process:
        for _ in range(3):
            assert ask(process.port, FORGOTTEN)[0] == 204
        process.stderr.wait_for(f"^{FORGOTTEN.pattern}$")
        assert process.stop() == 0
        assert process.stderr.text.count("returned None") == 1


def test_a_forgotten_return_is_nobodys_business_in_production(folder: Path) -> None:
    with running_script(folder, FORGOTTEN.source, "--env", "production") as process:
        assert ask(process.port, FORGOTTEN)[0] == 204
        assert process.stop() == 0
        assert "returned None" not in process.stderr.text


def test_a_port_that_is_taken_names_who_has_it(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        with running_script(folder, f"{HEAD}app.run(port={port})\n") as process:
            assert process.wait() == 1
            named = rf"another program( \(.+, PID {os.getpid()}\))?"
            line = rf"cello: port {port} on 127\.0\.0\.1 is taken by {named}; stop it or choose another with"
            assert re.fullmatch(f"{line} --port", process.stderr.text), process.stderr.text
            if os.path.exists("/proc/net/tcp"):
                assert f"PID {os.getpid()}" in process.stderr.text


# Root keeps all privileges but this one: capset(2) with the bit of CAP_NET_BIND_SERVICE cleared.
UNPRIVILEGED = f"""
import ctypes

head = (ctypes.c_uint32 * 2)(0x20080522, 0)
held = (ctypes.c_uint32 * 6)()
libc = ctypes.CDLL(None, use_errno=True)
assert libc.capget(head, held) == 0
for number in range(3):
    held[number] &= ~(1 << 10)
assert libc.capset(head, held) == 0
app.run(port={PRIVILEGED})
"""


def is_privileged(port: int) -> bool:
    limit = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
    return not limit.exists() or port < int(limit.read_text("ascii"))


@pytest.mark.skipif(sys.platform != "linux", reason="capabilities are Linux's")
@pytest.mark.skipif(not is_privileged(PRIVILEGED), reason="this system lets everybody listen on any port")
def test_a_privileged_port_says_how_to_get_it(folder: Path) -> None:
    with running_script(folder, HEAD + UNPRIVILEGED) as process:
        assert process.wait() == 1
        assert process.stderr.text == (
            f"cello: port {PRIVILEGED} needs privileges: choose one of 1024 or above with --port, "
            "or give the process the capability CAP_NET_BIND_SERVICE"
        )


def ask(port: int, mistake: Mistake) -> tuple[int, dict[str, str]]:
    """Send the request of a mistake; returns the status and the members of its answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
    try:
        connection.request(mistake.method, mistake.target, mistake.body)
        answer = connection.getresponse()
        body = answer.read()
        return answer.status, json.loads(body) if body else {}
    finally:
        connection.close()
