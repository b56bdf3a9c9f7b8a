"""Cello: a Python web framework that owns its server.

Names are imported when they are first asked for: the command ``cello`` reads its command line, and says what
is wrong with it, without the event loop, TLS and all that the application will need.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from ._speedups import IMPLEMENTATION
    from .app import App
    from .config import ClusterConfig, Http2Config, Http3Config, LimitsConfig, TimeoutConfig, TlsConfig
    from .errors import (
        CelloError,
        ClientDisconnected,
        ConfigError,
        HTTPError,
        ResponseError,
        RouteError,
        StartError,
    )
    from .logs import LogEntry
    from .request import Request
    from .response import Response

__all__ = [
    "IMPLEMENTATION",
    "App",
    "CelloError",
    "ClientDisconnected",
    "ClusterConfig",
    "ConfigError",
    "HTTPError",
    "Http2Config",
    "Http3Config",
    "LimitsConfig",
    "LogEntry",
    "Request",
    "Response",
    "ResponseError",
    "RouteError",
    "StartError",
    "TimeoutConfig",
    "TlsConfig",
    "__version__",
]

_HOMES = {
    "_speedups": ("IMPLEMENTATION",),
    "app": ("App",),
    "config": ("ClusterConfig", "Http2Config", "Http3Config", "LimitsConfig", "TimeoutConfig", "TlsConfig"),
    "errors": (
        *("CelloError", "ClientDisconnected", "ConfigError", "HTTPError"),
        *("ResponseError", "RouteError", "StartError"),
    ),
    "logs": ("LogEntry",),
    "request": ("Request",),
    "response": ("Response",),
}
_MODULES = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a public name from its module (PEP 562); what was asked for once is found without this."""
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{module}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
