"""Servers for tests: an application on a real socket of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cello.testing import LiveServer, live_server


@contextmanager
def running_server(app: Any, **run_options: Any) -> Iterator[LiveServer]:
    """Serve an application on a free port, by default as in production."""
    with live_server(app, **{"env": "production", **run_options}) as server:
        yield server
