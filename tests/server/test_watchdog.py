"""The stall watchdog of a server that is held up for real."""

from __future__ import annotations

import http.client
import threading
from typing import Any

import pytest

from cello import App, TimeoutConfig
from cello.testing import live_server
from tests.kit.log_watch import LogWatch, watching_log

SOON = TimeoutConfig(stall_timeout=0.05)
PATIENCE_SECONDS = 10.0


@pytest.fixture
def log() -> Any:
    with watching_log() as watch:
        yield watch


def get(server: Any, path: str) -> str:
    connection = http.client.HTTPConnection(server.host, server.port, timeout=PATIENCE_SECONDS)
    connection.request("GET", path)
    body = connection.getresponse().read().decode()
    connection.close()
    return body


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("kind", ["async", "pinned"])
def test_who_holds_the_loop_is_named(log: LogWatch, kind: str, debug: bool) -> None:
    app = App()
    told = threading.Event()

    def hold() -> None:
        assert told.wait(PATIENCE_SECONDS)

    log.addFilter(lambda record: told.set() or True if "has been held" in record.getMessage() else True)

    @app.get("/async")
    async def asynchronous(request: Any) -> str:
        hold()
        return "held"

    @app.get("/pinned", blocking=False)
    def pinned(request: Any) -> str:
        hold()
        return "held"

    with live_server(app, timeout=SOON, debug=debug) as server:
        assert get(server, f"/{kind}") == "held"
        line = log.wait_for("has been held for")
        log.wait_for("the event loop goes on after")
    assert f"by GET /{kind} (" in line
    assert "in hold" in line
    assert "hold()" in line
    advice = {"async": "await what waits", "pinned": "blocking=False"}[kind]
    assert (advice in line) is debug


def test_it_can_be_switched_off(log: LogWatch) -> None:
    app = App()

    @app.get("/", blocking=False)
    def pinned(request: Any) -> str:
        threading.Event().wait(0.5)
        return "held"

    with live_server(app, timeout=TimeoutConfig(stall_timeout=None)) as server:
        assert get(server, "/") == "held"
    assert "has been held" not in log.text
