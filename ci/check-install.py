"""Serves an example with the Cello that is installed, and asks it: python ci/check-install.py compiled|pure

Uses the standard library alone, so that it runs in an environment that holds nothing but Cello. The example
answers a request over a real socket, by the implementation that was named, and ends gracefully.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import sysconfig
import threading
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "hello.py"
PATIENCE_SECONDS = 30.0
BANNER = re.compile(r"Cello \S+ \((\w+)\) serves on (http://\S+) ")


def ask(url: str) -> object:
    """Return the JSON document that the example answers with."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=PATIENCE_SECONDS)
    try:
        connection.request("GET", "/hello/wheel")
        answer = connection.getresponse()
        if answer.status != 200:
            raise SystemExit(f"check-install: the answer's status is {answer.status}")
        return json.load(answer)
    finally:
        connection.close()


def check(server: subprocess.Popen[str], implementation: str) -> None:
    """Ask a server that is starting; raises SystemExit with what is wrong."""
    assert server.stderr is not None
    line = server.stderr.readline()
    banner = BANNER.search(line)
    if banner is None:
        raise SystemExit(f"check-install: the server did not start: {line}{server.stderr.read()}")
    if banner[1] != implementation:
        raise SystemExit(
            f"check-install: the {banner[1]} implementation serves, not the {implementation} one"
        )
    document = ask(banner[2])
    if document != {"message": "Hello, wheel!"}:
        raise SystemExit(f"check-install: unexpected answer: {document}")
    server.send_signal(signal.SIGTERM)
    status = server.wait(PATIENCE_SECONDS)
    if status != 0:
        raise SystemExit(f"check-install: the server ended with status {status}: {server.stderr.read()}")


def check_command(implementation: str) -> None:
    """Ask the script that was installed with Cello for its version; raises SystemExit with what is wrong."""
    script = Path(sysconfig.get_path("scripts")) / ("cello.exe" if os.name == "nt" else "cello")
    if not script.exists():
        raise SystemExit(f"check-install: the command is not installed: there is no {script}")
    environment = {name: value for name, value in os.environ.items() if name != "CELLO_NO_EXTENSIONS"}
    arguments = [str(script), "version"]
    done = subprocess.run(
        arguments, env=environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS
    )
    if done.returncode != 0 or f", {implementation}" not in done.stdout.partition("\n")[0]:
        raise SystemExit(f"check-install: cello version says: {done.stdout}{done.stderr}")


def main(implementation: str) -> None:
    """Check the command, start the example, check it and leave no process behind."""
    check_command(implementation)
    environment = {name: value for name, value in os.environ.items() if name != "CELLO_NO_EXTENSIONS"}
    arguments = [sys.executable, "-I", str(EXAMPLE), "--port", "0", "--no-logs"]
    with subprocess.Popen(arguments, env=environment, stderr=subprocess.PIPE, text=True) as server:
        watchdog = threading.Timer(2 * PATIENCE_SECONDS, server.kill)
        watchdog.start()
        try:
            check(server, implementation)
        finally:
            watchdog.cancel()
            server.kill()
    print(f"check-install: the {implementation} wheel serves")


if __name__ == "__main__":
    main(sys.argv[1])
