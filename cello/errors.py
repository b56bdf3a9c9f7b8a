"""The one tree of errors.

Misuse by the application's code (``ConfigError``, ``RouteError``, ``ResponseError``), failures to start
(``StartError``), answers that a handler raises on purpose (``HTTPError``) and faults of the peer
(``ProtocolError``, ``ClientDisconnected``) are different classes, because different people mend them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from .places import caller
from .status import phrase_of


class CelloError(Exception):
    """Root of every error that Cello raises."""


class MisuseError(CelloError, ValueError):
    """The application's code asks for what cannot be; shown with the line of it that asks.

    ``message`` says what was got and what was expected, ``place`` is the file and line, as "app.py:12".
    """

    def __init__(self, message: str, place: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.place = caller() if place is None else place

    def __str__(self) -> str:
        """Return the message, and the place unless the message has it."""
        if not self.place or re.search(rf"{re.escape(self.place)}(?!\d)", self.message):
            return self.message
        return f"{self.message} ({self.place})"


class ConfigError(MisuseError):
    """An argument of run() or of a config class is wrong; the message names it, its value and its range."""


class ArgumentError(ConfigError, TypeError):
    """A call of Cello does not fit: an argument is unknown, missing or too many.

    It is a TypeError, as from any function, and a ConfigError, as from any wrong argument.
    """


class RouteError(MisuseError):
    """A route cannot be registered or a URL cannot be built; the message names both places that clash."""


class ResponseError(CelloError, ValueError):
    """A handler or middleware made a response that HTTP cannot carry."""


class StartError(CelloError):
    """The server cannot start: the port is taken, a certificate is unreadable, a startup hook failed.

    ``exit_status`` is what the process ends with.
    """

    exit_status = 1


class HTTPError(CelloError):
    """An answer with an error status, raised from a handler, a hook or middleware.

    ``status`` is an integer from 400 to 599, ``detail`` the text for the client (the status's phrase when
    omitted), ``headers`` are added to the answer.
    """

    def __init__(
        self, status: int, detail: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        if not isinstance(status, int) or not 400 <= status <= 599:
            raise ResponseError(f"HTTPError takes a status from 400 to 599, got {status!r}")
        super().__init__(f"{status} {detail or phrase_of(status)}")
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})


class ProtocolError(CelloError):
    """The peer broke the protocol: ``status`` is the answer it gets before the connection closes."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


class ClientDisconnected(CelloError):
    """The client left before the exchange was over."""
