"""Cello: a Python web framework that owns its server."""

from ._speedups import IMPLEMENTATION
from ._version import __version__
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
