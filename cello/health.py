"""Health checks: the two questions of those who start and stop servers and send them their clients.

``live``: does the process work at all? An answer by itself says yes; who gets none in time starts it anew.
``ready``: should clients be sent here? Not any more once a stop has begun, which is why a server serves on
for a while then (``shutdown_delay``): until its clients' balancer has asked.

Both run on the event loop: full handler threads are no reason to kill a process, a held loop is one.
"""

from __future__ import annotations

from typing import Any

LIVE_PATH = "/-/live"
READY_PATH = "/-/ready"

_FIELDS = {"Cache-Control": "no-store"}


class HealthChecks:
    """The handlers of both routes, and what they answer from."""

    def __init__(self) -> None:
        self.is_stopping = False

    def live(self, request: Any) -> Any:
        """Say that the process works."""
        return {"status": "live"}, 200, _FIELDS

    def ready(self, request: Any) -> Any:
        """Say whether requests should be sent here."""
        if self.is_stopping:
            return {"status": "stopping"}, 503, _FIELDS
        return {"status": "ready"}, 200, _FIELDS
