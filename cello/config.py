"""The public config classes, and the types of what run() is given and of what it does.

Nothing here opens a socket, reads a file or a clock. Each field says what it means and may be (settings.py),
and that is the one place: validation, the command line's --help and the tables of docs/configuration.md
(ci/make_reference.py) are made from it. A value is checked when it is given, so that the traceback ends at
the line that gave it. What cannot be right on its own is refused by the class, all else by options.py.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from .checks import named_fields
from .settings import (
    Account,
    Choice,
    Duration,
    FilePath,
    Group,
    Host,
    Password,
    PemPath,
    RequestLog,
    Switch,
    Texts,
    Whole,
    check_settings,
    described,
)
from .types import LogFormat

ENVIRONMENTS = ("development", "production")
LOG_FORMATS = ("auto", "json", "combined")
_STRATEGIES = ("auto", "fork", "spawn")

_PORTS = range(65536)
_FDS = range(2**31)
WORKERS = range(1, 1025)
PROCESSES = range(1, 1025)
_COUNTS = range(1, 2**31)
_COUNTS_OR_BYTES = range(1, 2**63)
_BODY_BYTES = range(2**63)  # a Content-Length over this is refused on the wire
_H2_STREAMS = range(1, 2**32)  # RFC 9113 6.5.2, without 0: a server that takes no stream serves nothing
_H2_WINDOWS = range(2**31)  # RFC 9113 6.5.2
_H2_FRAMES = range(2**14, 2**24)  # RFC 9113 6.5.2
_TIMEOUT = Duration(way_out=", or None for no timeout")

Path = str | os.PathLike[str]
Seconds = int | float


@named_fields
@dataclass(frozen=True, slots=True)
class TlsConfig:
    """Certificate and key that the server shows, as PEM files.

    The files are read at the start, and again when they change. Raises ConfigError.
    """

    cert_path: Path = field(metadata=described("PEM file with the certificate, then its chain", PemPath()))
    key_path: Path = field(metadata=described("PEM file with the private key", PemPath()))
    key_password: str | None = field(
        default=None,
        repr=False,
        metadata=described(
            "opens an encrypted key; never shown", Password(), none="the key is not encrypted"
        ),
    )
    client_ca_path: Path | None = field(
        default=None,
        metadata=described(
            "PEM file with authorities, one of which must have signed the client's certificate",
            PemPath(),
            none="clients need no certificate",
        ),
    )
    min_version: Literal["1.2", "1.3"] = field(
        default="1.2", metadata=described("oldest TLS version that is spoken", Choice(("1.2", "1.3")))
    )

    def __post_init__(self) -> None:
        check_settings("TlsConfig", self)


@named_fields
@dataclass(frozen=True, slots=True)
class Http2Config:
    """HTTP/2 and the settings that it announces (RFC 9113 6.5.2). Raises ConfigError."""

    enabled: bool = field(
        default=True,
        metadata=described("serve HTTP/2; not built yet: a warning, and HTTP/1.1 is served", Switch()),
    )
    max_concurrent_streams: int = field(
        default=100, metadata=described("streams that a client may have open at once", Whole(_H2_STREAMS))
    )
    initial_window_size: int = field(
        default=65535,
        metadata=described(
            "what a client may send on a new stream before the server makes room for more",
            Whole(_H2_WINDOWS, "bytes"),
        ),
    )
    max_frame_size: int = field(
        default=16384,
        metadata=described("largest payload of a frame that a client may send", Whole(_H2_FRAMES, "bytes")),
    )

    def __post_init__(self) -> None:
        check_settings("Http2Config", self)


@named_fields
@dataclass(frozen=True, slots=True)
class Http3Config:
    """HTTP/3 over QUIC. Raises ConfigError."""

    enabled: bool = field(
        default=False,
        metadata=described("serve HTTP/3; not built yet: a warning, and HTTP/1.1 is served", Switch()),
    )
    max_idle_timeout: Seconds = field(  # RFC 9000 10.1
        default=30, metadata=described("for a connection on which nothing comes", Duration())
    )

    def __post_init__(self) -> None:
        check_settings("Http3Config", self)


@named_fields
@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """How many worker processes serve, and when the supervisor replaces one. Raises ConfigError.

    A worker that has reached ``max_requests``, ``max_rss`` or ``max_lifetime`` is replaced, some of them up
    to 10% sooner, so that not all are at once. The replacement serves before the old worker begins to finish.
    ``graceful_timeout`` and ``shutdown_delay`` hold for one process, too.
    """

    processes: int | Literal["auto"] = field(
        default=1,
        metadata=described(
            "worker processes; auto: as many as there are CPUs to use, by affinity and by the cgroup's quota",
            Whole(PROCESSES, word="auto"),
        ),
    )
    strategy: Literal["auto", "fork", "spawn"] = field(
        default="auto",
        kw_only=True,
        metadata=described(
            "how workers start: forked from a process that has imported the application, or by executing the "
            "script again; auto forks where that can be done",
            Choice(_STRATEGIES),
        ),
    )
    hang_timeout: Seconds | None = field(
        default=30,
        kw_only=True,
        metadata=described(
            "after which a worker whose event loop does not run is aborted and replaced; not in debug mode",
            Duration(", or None for never"),
            none="never",
        ),
    )
    graceful_timeout: Seconds = field(
        default=30,
        kw_only=True,
        metadata=described("that requests which run have to finish at a stop", Duration()),
    )
    shutdown_delay: Seconds | None = field(
        default=None,
        kw_only=True,
        metadata=described(
            "to go on serving after a SIGTERM, while the readiness check says no",
            Duration(", 0, or None", or_zero=True),
            none="5 under Kubernetes, else 0",
        ),
    )
    max_requests: int | None = field(
        default=None,
        kw_only=True,
        metadata=described(
            "answers after which a worker is replaced", Whole(_COUNTS_OR_BYTES), none="no limit"
        ),
    )
    max_rss: int | None = field(
        default=None,
        kw_only=True,
        metadata=described(
            "memory at which a worker is replaced", Whole(_COUNTS_OR_BYTES, "bytes"), none="no limit"
        ),
    )
    max_lifetime: Seconds | None = field(
        default=None,
        kw_only=True,
        metadata=described(
            "after which a worker is replaced", Duration(", or None for no limit"), none="no limit"
        ),
    )

    def __post_init__(self) -> None:
        check_settings("ClusterConfig", self)


@named_fields
@dataclass(frozen=True, slots=True)
class TimeoutConfig:
    """How long the server waits, in seconds; None switches a timeout off. Raises ConfigError."""

    request_timeout: Seconds | None = field(
        default=30,
        metadata=described(
            "to receive a whole request, from the accept for a connection's first, later from a request's "
            "first octet; then 408, and the connection closes",
            _TIMEOUT,
            none="no timeout",
        ),
    )
    response_timeout: Seconds | None = field(
        default=30,
        metadata=described(
            "for the handler to answer, then 504; also how long a client may take no octet of an answer "
            "before it is cut off",
            _TIMEOUT,
            none="no timeout",
        ),
    )
    keep_alive_timeout: Seconds | None = field(
        default=75,
        metadata=described("for an idle connection between two requests", _TIMEOUT, none="no timeout"),
    )
    stall_timeout: Seconds | None = field(
        default=1,
        metadata=described("before the log names what holds the event loop", _TIMEOUT, none="no watchdog"),
    )

    def __post_init__(self) -> None:
        check_settings("TimeoutConfig", self)


@named_fields
@dataclass(frozen=True, slots=True)
class LimitsConfig:
    """How much the server takes. Raises ConfigError."""

    max_connections: int = field(
        default=10_000,
        metadata=described(
            "open connections; at the limit the one that is idle longest is closed for a new one",
            Whole(_COUNTS),
        ),
    )
    max_request_size: int = field(
        default=10_485_760,
        metadata=described("size of a request's body; over it 413", Whole(_BODY_BYTES, "bytes")),
    )
    max_headers: int = field(
        default=100,
        metadata=described("header and trailer fields of a request; over it 431", Whole(_COUNTS)),
    )

    def __post_init__(self) -> None:
        check_settings("LimitsConfig", self)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunArguments:
    """What run() was given, with run()'s defaults. Raises ConfigError."""

    host: str = field(
        default="127.0.0.1",
        metadata=described(
            "address or name to listen on; 0.0.0.0 or :: for all interfaces (:: with IPv4 as well)", Host()
        ),
    )
    port: int = field(
        default=8000, metadata=described("TCP port to listen on; 0 takes a free one", Whole(_PORTS))
    )
    debug: bool | None = field(
        default=None,
        metadata=described("errors show their traceback", Switch(), none="on in development"),
    )
    env: str | None = field(
        default=None,
        metadata=described(
            "environment that sets the defaults of debug and logs", Choice(ENVIRONMENTS), none="development"
        ),
    )
    workers: int | None = field(
        default=None,
        metadata=described(
            "most def handlers that run at once, in threads started as needed",
            Whole(WORKERS),
            none="the CPUs that the process may use",
        ),
    )
    reload: bool = field(
        default=False,
        metadata=described("load the code anew when a file changes; in development alone", Switch()),
    )
    logs: bool | None = field(
        default=None,
        metadata=described("log requests", Switch(), none="in development, or after app.enable_logging()"),
    )
    tls: TlsConfig | None = field(
        default=None,
        metadata=described("certificate and key, for https", Group(TlsConfig), none="plain http"),
    )
    http2: Http2Config | None = field(
        default=None, metadata=described("HTTP/2; not built yet", Group(Http2Config), none="no HTTP/2")
    )
    http3: Http3Config | None = field(
        default=None, metadata=described("HTTP/3; not built yet", Group(Http3Config), none="no HTTP/3")
    )
    cluster: ClusterConfig | None = field(
        default=None,
        metadata=described("worker processes", Group(ClusterConfig), none="one process"),
    )
    timeout: TimeoutConfig | None = field(
        default=None,
        metadata=described("how long the server waits", Group(TimeoutConfig), none="the defaults below"),
    )
    limits: LimitsConfig | None = field(
        default=None,
        metadata=described("how much the server takes", Group(LimitsConfig), none="the defaults below"),
    )
    log_format: LogFormat = field(
        default="auto", metadata=described("how requests are logged", RequestLog(LOG_FORMATS))
    )
    reload_dirs: Sequence[Path] = field(
        default=(),
        metadata=described(
            "folders that reload watches, in place of the script's and of those of the modules it imports",
            Texts("folders", can_be_paths=True),
        ),
    )
    reload_includes: Sequence[str] = field(
        default=(), metadata=described("names of files that reload watches, beside *.py", Texts("patterns"))
    )
    reload_excludes: Sequence[str] = field(
        default=(), metadata=described("names of files and folders that reload leaves out", Texts("patterns"))
    )
    uds: Path | None = field(
        default=None,
        metadata=described(
            "unix domain socket to listen on, in place of a host and port",
            FilePath("a unix domain socket"),
            none="a host and port",
        ),
    )
    fd: int | None = field(
        default=None,
        metadata=described(
            "descriptor of an inherited listening socket to serve on",
            Whole(_FDS),
            none="the server opens its own",
        ),
    )
    pid_file: Path | None = field(
        default=None,
        metadata=described("file for the process's number", FilePath("a PID file"), none="no file"),
    )
    user: str | int | None = field(
        default=None,
        metadata=described(
            "user to run as, once the sockets are open", Account("user"), none="whoever starts it"
        ),
    )
    group: str | int | None = field(
        default=None, metadata=described("group to run as", Account("group"), none="the user's own")
    )

    def __post_init__(self) -> None:
        check_settings("app.run", self)


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
    reload_dirs: tuple[Path, ...] = ()
    reload_includes: tuple[str, ...] = ()
    reload_excludes: tuple[str, ...] = ()
    uds: Path | None = None
    fd: int | None = None
    pid_file: Path | None = None
    user: str | int | None = None
    group: str | int | None = None
    warnings: tuple[str, ...] = ()

    @property
    def is_supervised(self) -> bool:
        """Whether a supervisor serves, and not this process itself."""
        return self.reload or self.process_count > 1

    @property
    def process_count(self) -> int:
        """How many processes serve."""
        processes = 1 if self.cluster is None else self.cluster.processes
        assert isinstance(processes, int), "resolve_options() makes a number of 'auto'"
        return processes
