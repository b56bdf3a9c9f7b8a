"""Starting workers on Windows, where a process inherits no socket: each is shared with it by its PID.

What has to be shared is known only when the process runs, so it is written to its standard input, as a line
of JSON, and read there by ``app.run()``. Written from the documentation of socket.share(), subprocess and
mmap; no test of the project runs these lines.
"""

from __future__ import annotations

import base64
import json
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence

IS_WINDOWS = sys.platform == "win32"


def execute(
    command: Sequence[str], folder: str, environment: Mapping[str, str], sockets: Sequence[socket.socket]
) -> subprocess.Popen[bytes]:
    """Run a command and share sockets with it; raises OSError."""
    if sys.platform == "win32":
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            creationflags=subprocess.CREATE_NEW_PROCESS_GROUP,  # Ctrl-C is for the supervisor
        )
        shares = [base64.b64encode(each.share(process.pid)).decode("ascii") for each in sockets]
        assert process.stdin is not None
        with process.stdin:
            process.stdin.write(json.dumps(shares).encode() + b"\n")
        return process
    raise OSError("only Windows shares sockets by PID")


def receive() -> list[socket.socket]:
    """Return the sockets that the process that started this one has shared."""
    if sys.platform == "win32":
        return [socket.fromshare(base64.b64decode(each)) for each in json.loads(sys.stdin.readline())]
    raise OSError("only Windows shares sockets by PID")
