"""The public config classes, and what run() makes of its arguments.

Validation only: nothing here opens a socket, reads a file or a clock. A value is checked when it is given, so
that the traceback ends at the line that gave it. What cannot be right on its own is refused by the class;
what cannot be right together (HTTP/2 without TLS) by ``resolve_options``; what this version cannot do yet by
``refuse_unbuilt``.
"""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from .checks import check_bool, check_int, check_seconds, did_you_mean, named_fields, refusal
from .errors import ConfigError
from .types import LogFormat

ENVIRONMENTS = ("development", "production")
LOG_FORMATS = ("auto", "json", "combined")
LOG_FORMATS_IN_WORDS = "'auto', 'json' or 'combined'"
PORTS = range(65536)
WORKERS = range(1, 1025)

_PROCESSES = range(1, 1025)
_COUNTS = range(1, 2**31)
_BODY_BYTES = range(2**63)  # a Content-Length over this is refused on the wire
_H2_STREAMS = range(1, 2**32)  # RFC 9113 6.5.2, without 0: a server that takes no stream serves nothing
_H2_WINDOWS = range(2**31)  # RFC 9113 6.5.2
_H2_FRAMES = range(2**14, 2**24)  # RFC 9113 6.5.2
_PASSWORD_BYTES = 1024  # OpenSSL's PEM_BUFSIZE
_TLS_VERSIONS = ("1.2", "1.3")

Path = str | os.PathLike[str]
Seconds = int | float


def _check_path(owner: str, name: str, value: object) -> None:
    path = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(path, str) or not path or "\0" in path:
        raise refusal(owner, name, value, "the path of a PEM file (str or os.PathLike)")


def _check_password(owner: str, name: str, value: object) -> None:
    """Check a password without ever showing it."""
    if not isinstance(value, str):
        got = f"a value of type {type(value).__name__}"
        raise ConfigError(f"{owner}({name}=...): expected a str or None, got {got}")
    try:
        size = len(value.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:
        size = 0
    if not 0 < size <= _PASSWORD_BYTES:
        raise ConfigError(
            f"{owner}({name}=...): expected 1 to {_PASSWORD_BYTES} bytes of UTF-8, or None for a key without "
            "a password (the value is not shown)"
        )


def _check_host(owner: str, name: str, value: object) -> None:
    if not isinstance(value, str) or not is_host(value):
        raise refusal(owner, name, value, HOST_IN_WORDS + host_hint(value))


HOST_IN_WORDS = "an IP address or a host name, without spaces, scheme, port or path (str)"


def is_host(text: str) -> bool:
    """Tell whether a text can be an address or a name; whether it exists is for the resolver to say."""
    has_port = text.count(":") == 1
    return bool(text) and not has_port and not any(c.isspace() or c in "/\\" or ord(c) < 32 for c in text)


def host_hint(text: object) -> str:
    """Render the end of a message for a URL, or a host with its port, that is given as a host."""
    if not isinstance(text, str):
        return ""
    host, _, port = text.rpartition("://")[2].partition("/")[0].partition(":")
    if not is_host(host):
        return ""
    return f" (did you mean host {host!r} and port {port}?)" if port else f" (did you mean {host!r}?)"


def _check_log_format(value: object) -> None:
    is_function = callable(value) and not isinstance(value, type) and not inspect.iscoroutinefunction(value)
    is_object = isinstance(value, logging.Handler) or is_function
    if is_object or (isinstance(value, str) and value in LOG_FORMATS):
        return
    hint = did_you_mean(value, LOG_FORMATS) if isinstance(value, str) else ""
    raise refusal(
        "app.run",
        "log_format",
        value,
        f"{LOG_FORMATS_IN_WORDS}, a function of a LogEntry that returns a line, or a logging.Handler{hint}",
    )


def _check_kind(owner: str, name: str, value: object, kind: type) -> None:
    # The type alone is shown: a dict given by mistake may hold a password.
    if value is not None and not isinstance(value, kind):
        got = f"the class {value.__name__}" if isinstance(value, type) else f"a {type(value).__name__}"
        got += f": write {kind.__name__}()" if value is kind else ""
        raise ConfigError(f"app.run({name}=...): expected a {kind.__name__}(...) or None, got {got}")


@named_fields
@dataclass(frozen=True, slots=True)
class TlsConfig:
    """Certificate and key that the server shows, as PEM files.

    ``cert_path`` holds the certificate and then its chain, ``key_path`` the private key; ``key_password``
    opens an encrypted key. With ``client_ca_path`` every client must show a certificate that one of these
    authorities signed. ``min_version`` is the oldest TLS version that is spoken. The files are read at the
    start, and again when they change. Raises ConfigError.
    """

    cert_path: Path
    key_path: Path
    key_password: str | None = field(default=None, repr=False)
    client_ca_path: Path | None = None
    min_version: Literal["1.2", "1.3"] = "1.2"

    def __post_init__(self) -> None:
        _check_path("TlsConfig", "cert_path", self.cert_path)
        _check_path("TlsConfig", "key_path", self.key_path)
        if self.key_password is not None:
            _check_password("TlsConfig", "key_password", self.key_password)
        if self.client_ca_path is not None:
            _check_path("TlsConfig", "client_ca_path", self.client_ca_path)
        if not isinstance(self.min_version, str) or self.min_version not in _TLS_VERSIONS:
            raise refusal("TlsConfig", "min_version", self.min_version, "'1.2' or '1.3' (str)")


@named_fields
@dataclass(frozen=True, slots=True)
class Http2Config:
    """HTTP/2 and the settings that it announces (RFC 9113 6.5.2).

    ``initial_window_size`` and ``max_frame_size`` are in bytes. Raises ConfigError.
    """

    enabled: bool = True
    max_concurrent_streams: int = 100
    initial_window_size: int = 65535
    max_frame_size: int = 16384

    def __post_init__(self) -> None:
        check_bool("Http2Config", "enabled", self.enabled)
        check_int("Http2Config", "max_concurrent_streams", self.max_concurrent_streams, _H2_STREAMS)
        check_int("Http2Config", "initial_window_size", self.initial_window_size, _H2_WINDOWS, " (bytes)")
        check_int("Http2Config", "max_frame_size", self.max_frame_size, _H2_FRAMES, " (bytes)")


@named_fields
@dataclass(frozen=True, slots=True)
class Http3Config:
    """HTTP/3 over QUIC; ``max_idle_timeout`` is in seconds (RFC 9000 10.1). Raises ConfigError."""

    enabled: bool = False
    max_idle_timeout: Seconds = 30

    def __post_init__(self) -> None:
        check_bool("Http3Config", "enabled", self.enabled)
        check_seconds("Http3Config", "max_idle_timeout", self.max_idle_timeout)


@named_fields
@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """How many worker processes serve. Raises ConfigError."""

    processes: int = 1

    def __post_init__(self) -> None:
        check_int("ClusterConfig", "processes", self.processes, _PROCESSES)


@named_fields
@dataclass(frozen=True, slots=True)
class TimeoutConfig:
    """How long the server waits, in seconds; None switches a timeout off.

    ``request_timeout`` is for receiving a whole request, ``response_timeout`` for the handler to answer,
    ``keep_alive_timeout`` for an idle connection. After ``stall_timeout`` the watchdog says what holds the
    event loop. Raises ConfigError.
    """

    request_timeout: Seconds | None = 30
    response_timeout: Seconds | None = 30
    keep_alive_timeout: Seconds | None = 75
    stall_timeout: Seconds | None = 1

    def __post_init__(self) -> None:
        for name in ("request_timeout", "response_timeout", "keep_alive_timeout", "stall_timeout"):
            value = getattr(self, name)
            if value is not None:
                check_seconds("TimeoutConfig", name, value, ", or None for no timeout")


@named_fields
@dataclass(frozen=True, slots=True)
class LimitsConfig:
    """How much the server takes: connections, bytes of a request's body, its header fields.

    Raises ConfigError.
    """

    max_connections: int = 10_000
    max_request_size: int = 10_485_760
    max_headers: int = 100

    def __post_init__(self) -> None:
        check_int("LimitsConfig", "max_connections", self.max_connections, _COUNTS)
        check_int("LimitsConfig", "max_request_size", self.max_request_size, _BODY_BYTES, " (bytes)")
        check_int("LimitsConfig", "max_headers", self.max_headers, _COUNTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunArguments:
    """The arguments of run(), as they were given, with run()'s defaults. Raises ConfigError."""

    host: str = "127.0.0.1"
    port: int = 8000
    debug: bool | None = None
    env: str | None = None
    workers: int | None = None
    reload: bool = False
    logs: bool | None = None
    tls: TlsConfig | None = None
    http2: Http2Config | None = None
    http3: Http3Config | None = None
    cluster: ClusterConfig | None = None
    timeout: TimeoutConfig | None = None
    limits: LimitsConfig | None = None
    log_format: LogFormat = "auto"

    def __post_init__(self) -> None:
        _check_host("app.run", "host", self.host)
        check_int("app.run", "port", self.port, PORTS)
        self._check_environment()
        if self.workers is not None:
            check_int("app.run", "workers", self.workers, WORKERS)
        for name in ("debug", "logs"):
            if getattr(self, name) is not None:
                check_bool("app.run", name, getattr(self, name))
        check_bool("app.run", "reload", self.reload)
        _check_log_format(self.log_format)
        for name, kind in _CONFIG_KINDS.items():
            _check_kind("app.run", name, getattr(self, name), kind)

    def _check_environment(self) -> None:
        if self.env is None or self.env in ENVIRONMENTS:
            return
        hint = did_you_mean(self.env, ENVIRONMENTS) if isinstance(self.env, str) else ""
        raise refusal("app.run", "env", self.env, f"'development' or 'production'{hint}")


_CONFIG_KINDS: dict[str, type] = {
    "tls": TlsConfig,
    "http2": Http2Config,
    "http3": Http3Config,
    "cluster": ClusterConfig,
    "timeout": TimeoutConfig,
    "limits": LimitsConfig,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What run() does: every parameter with its default resolved.

    ``warnings`` are lines for the log about arguments that have no effect here.
    """

    host: str
    port: int
    debug: bool
    env: str
    workers: int
    reload: bool
    logs: bool
    tls: TlsConfig | None
    http2: Http2Config | None
    http3: Http3Config | None
    cluster: ClusterConfig | None
    timeout: TimeoutConfig
    limits: LimitsConfig
    log_format: LogFormat = "auto"
    warnings: tuple[str, ...] = ()


def count_cpus() -> int:
    """Count the CPUs that this process may use, which is what ``workers`` defaults to."""
    process_cpu_count = getattr(os, "process_cpu_count", None)  # Python 3.13
    if process_cpu_count is not None:
        count = process_cpu_count()
    elif hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count()
    return min(count or 1, WORKERS[-1])


def resolve_options(
    arguments: RunArguments, overrides: Mapping[str, Any] | None = None, *, enable_logging: bool = False
) -> RunOptions:
    """Lay the command line over run()'s arguments and fill in the defaults.

    ``overrides`` maps names of parameters to values and wins; ``enable_logging`` says that the application
    asked for request logging. Raises ConfigError for values that do not go together.
    """
    given = replace(arguments, **(overrides or {}))
    _check_tls_is_there(given)
    env = given.env or ENVIRONMENTS[0]
    is_development = env == "development"
    warnings = []
    if given.reload and not is_development:
        warnings.append("reload=True has no effect with env='production': hot reload is for development")
    return RunOptions(
        host=given.host,
        port=given.port,
        debug=is_development if given.debug is None else given.debug,
        env=env,
        workers=count_cpus() if given.workers is None else given.workers,
        reload=given.reload and is_development,
        logs=is_development or enable_logging if given.logs is None else given.logs,
        tls=given.tls,
        http2=given.http2,
        http3=given.http3,
        cluster=given.cluster,
        timeout=given.timeout or TimeoutConfig(),
        limits=given.limits or LimitsConfig(),
        log_format=given.log_format,
        warnings=tuple(warnings),
    )


def _check_tls_is_there(given: RunArguments) -> None:
    if given.tls is not None:
        return
    for name, title, config in (("http2", "HTTP/2", given.http2), ("http3", "HTTP/3", given.http3)):
        if config is not None and config.enabled:
            raise ConfigError(
                f"{name}={type(config).__name__}(enabled=True): {title} requires TLS; give "
                f"tls=TlsConfig(cert_path=..., key_path=...) as well, or leave {name} out"
            )


def refuse_unbuilt(options: RunOptions) -> RunOptions:
    """Say what this version of Cello cannot do yet: nothing is accepted and then ignored without a word.

    Hot reload is refused: raises ConfigError with the way out. Protocols and processes that are missing leave
    a server that does the same more slowly, so each is a warning; returns the options as they are served.
    """
    missing = "is not built yet in this version of Cello"
    if options.reload:
        raise ConfigError(f"reload=True: hot reload {missing}; leave reload and --reload out")
    warnings = list(options.warnings)
    cluster, http2, http3 = options.cluster, options.http2, options.http3
    if cluster is not None and cluster.processes > 1:
        warnings.append(f"{cluster!r}: the cluster {missing}: one process serves")
        cluster = None
    if http2 is not None and http2.enabled:
        warnings.append(f"Http2Config(enabled=True): HTTP/2 {missing}: clients get HTTP/1.1")
        http2 = None
    if http3 is not None and http3.enabled:
        warnings.append(f"Http3Config(enabled=True): HTTP/3 {missing}: clients get HTTP/1.1")
        http3 = None
    return replace(options, cluster=cluster, http2=http2, http3=http3, warnings=tuple(warnings))
