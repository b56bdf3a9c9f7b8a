"""The log as text: entries of the request log in their formats, and the "cello" logger's own lines."""

from __future__ import annotations

import logging
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ._speedups import escape
from .json_codec import encode
from .places import importing_line
from .types import LogFormat

logger = logging.getLogger("cello")
access_logger = logging.getLogger("cello.access")


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One answered request, as a function that is run()'s ``log_format`` gets it.

    ``time`` is seconds since the epoch, when the answer ended; ``target`` is path and query as they came and
    ``path`` the same without the query, both escaped; ``route`` the template that matched, or None; ``bytes``
    counts the body's octets; ``worker`` is the process's id. ``client`` and ``method`` are "-" where nothing
    of a request was read.
    """

    time: float
    client: str
    method: str
    target: str
    path: str
    route: str | None
    status: int
    seconds: float
    bytes: int
    protocol: str
    request_id: str
    worker: int
    referer: str | None = None
    user_agent: str | None = None

    @property
    def level(self) -> int:
        """The level of the logging module: ERROR for 5xx, else INFO."""
        return logging.ERROR if self.status >= 500 else logging.INFO


def entry_of(raw: Any, wall_offset: float) -> LogEntry:
    """Make an entry of what was collected; ``wall_offset`` is added to its time."""
    at, seconds, client, method, target, status, size, route, version, request_id, agents = raw
    referer, user_agent = agents if agents is not None else (None, None)
    shown = escape(target)
    return LogEntry(
        time=at + wall_offset,
        client=client,
        method=method,
        target=shown,
        path=shown.partition("?")[0],
        route=route.template if route is not None else None,
        status=status,
        seconds=seconds,
        bytes=size,
        protocol=f"HTTP/{version}",
        request_id=request_id.decode("ascii"),
        worker=os.getpid(),
        referer=None if referer is None else escape(referer),
        user_agent=None if user_agent is None else escape_words(user_agent),
    )


def escape_words(octets: bytes) -> str:
    """Render octets with spaces in them for a quoted field."""
    return _quotable(" ".join(escape(word) for word in octets.split(b" ")))


def _quotable(text: str) -> str:
    return text.replace('"', "\\x22")


def render_combined(entry: LogEntry) -> str:
    """Render an entry in the Combined Log Format, which log analysers read."""
    at = time.localtime(entry.time)
    stamp = f"{at.tm_mday:02d}/{_MONTHS[at.tm_mon - 1]}/{at.tm_year}:{time.strftime('%H:%M:%S %z', at)}"
    line = _quotable(f"{entry.method} {entry.target} {entry.protocol}")
    referer, agent = _quotable(entry.referer or "-"), entry.user_agent or "-"
    return f'{entry.client} - - [{stamp}] "{line}" {entry.status} {entry.bytes or "-"} "{referer}" "{agent}"'


# In English whatever the locale is: that is the format.
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def as_record(entry: LogEntry) -> logging.LogRecord:
    """Return an entry as a record of the logging module, with the entry as its ``request``."""
    record = logging.LogRecord(
        access_logger.name,
        entry.level,
        "",
        0,
        "%s %s %d %.1fms %dB %s",
        (entry.method, entry.target, entry.status, entry.seconds * 1000, entry.bytes, entry.client),
        None,
    )
    record.created = entry.time
    record.msecs = entry.time % 1 * 1000
    record.request = entry
    return record


def configure_logging(log_format: LogFormat = "auto") -> None:
    """Give the "cello" logger a handler on stderr, unless the application has configured logging itself."""
    if logger.handlers or logging.getLogger().handlers:
        return
    handler = logging.StreamHandler()
    text = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler.setFormatter(JsonFormatter() if log_format == "json" else text)
    logger.addHandler(handler)
    access_logger.propagate = False  # else what the application attaches there would be shown twice
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)


def warn_of_import() -> None:
    """Log that app.run() is called by the import of a module, if it is: the import never ends."""
    place = importing_line()
    if place:
        logger.warning(
            "app.run() is called while its module is imported (%s), and the import waits until the server "
            'stops; put it under `if __name__ == "__main__":`',
            place,
        )


class JsonFormatter(logging.Formatter):
    """Renders a record of the log as a JSON object on a line of its own."""

    def format(self, record: logging.LogRecord) -> str:
        """Render a record, with its traceback where it has one."""
        members = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            members["exception"] = self.formatException(record.exc_info)
        return encode(members).decode()
