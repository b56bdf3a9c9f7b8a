"""What run() makes of its arguments, with all sources laid over each other (sources/): defaults filled in.

What cannot be right together (HTTP/2 without TLS, two places to listen in) is refused here, since no class by
itself can see it; what this version cannot do yet by ``refuse_unbuilt``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from .checks import refusal
from .config import (
    ENVIRONMENTS,
    PROCESSES,
    WORKERS,
    ClusterConfig,
    LimitsConfig,
    RunArguments,
    RunOptions,
    TimeoutConfig,
)
from .cpus import count_cpus, count_usable_cpus
from .errors import ConfigError

KUBERNETES_DELAY_SECONDS = 5.0


def shutdown_delay_seconds(cluster: ClusterConfig, environment: Mapping[str, str]) -> float:
    """Return how long requests are taken after SIGTERM.

    Kubernetes takes a pod out of its services while it sends the signal, and some seconds pass until all its
    nodes know.
    """
    if cluster.shutdown_delay is not None:
        return cluster.shutdown_delay
    return KUBERNETES_DELAY_SECONDS if "KUBERNETES_SERVICE_HOST" in environment else 0.0


def resolve_options(given: RunArguments, *, enable_logging: bool = False) -> RunOptions:
    """Fill in the defaults of what run() and the other sources say.

    ``enable_logging`` says that the application asked for request logging. Raises ConfigError for values that
    do not go together.
    """
    at = {name: getattr(given, name) for name in PLACES}
    check_one_place({name: value for name, value in at.items() if value != _DEFAULT_PLACES[name]})
    _check_tls_is_there(given)
    if given.group is not None and given.user is None:
        raise ConfigError(f"group={given.group!r} without user: give the user to run as, too")
    env = given.env or ENVIRONMENTS[0]
    is_development = env == "development"
    warnings = []
    cluster = _resolve_cluster(given, is_development)
    if given.reload and not is_development:
        warnings.append("reload=True has no effect with env='production': hot reload is for development")
    return RunOptions(
        host=given.host,
        port=given.port,
        debug=is_development if given.debug is None else given.debug,
        env=env,
        workers=min(count_cpus(), WORKERS[-1]) if given.workers is None else given.workers,
        reload=given.reload and is_development,
        logs=is_development or enable_logging if given.logs is None else given.logs,
        tls=given.tls,
        http2=given.http2,
        http3=given.http3,
        cluster=cluster,
        timeout=given.timeout or TimeoutConfig(),
        limits=given.limits or LimitsConfig(),
        log_format=given.log_format,
        reload_dirs=tuple(given.reload_dirs),
        reload_includes=tuple(given.reload_includes),
        reload_excludes=tuple(given.reload_excludes),
        uds=given.uds,
        fd=given.fd,
        pid_file=given.pid_file,
        user=given.user,
        group=given.group,
        warnings=tuple(warnings),
    )


def _resolve_cluster(given: RunArguments, is_development: bool) -> ClusterConfig | None:
    cluster = given.cluster
    is_reloading = given.reload and is_development
    if cluster is None:
        return ClusterConfig() if is_reloading else None
    if cluster.processes == "auto":
        cluster = replace(cluster, processes=min(count_usable_cpus(), PROCESSES[-1]))
    if cluster.processes == 1 and not is_reloading:
        for name in ("max_requests", "max_rss", "max_lifetime"):
            if getattr(cluster, name) is not None:
                raise refusal(
                    "ClusterConfig",
                    name,
                    getattr(cluster, name),
                    "None where one process serves, since nothing could replace it; processes=2 or more",
                )
    return cluster


def check_one_process(options: RunOptions, who: str) -> None:
    """Check that this process is to serve by itself; raises ConfigError."""
    if options.is_supervised:
        asked = "reload=True" if options.reload else f"ClusterConfig(processes={options.process_count})"
        raise ConfigError(f"{asked}: {who} serves in this very process; app.run() can start others")


PLACES = ("uds", "fd", "host", "port")
"""The parameters that say where to listen: host and port are one place, each of the others is another."""

_DEFAULT_PLACES: dict[str, Any] = {name: RunArguments.__dataclass_fields__[name].default for name in PLACES}


def check_one_place(given: Mapping[str, Any]) -> None:
    """Refuse more than one place to listen on; raises ConfigError."""
    names = [name for name in PLACES if name in given]
    if len(names) > 1 and names[0] in ("uds", "fd"):
        one, other = (f"{name}={given[name]!r}" for name in names[:2])
        raise ConfigError(f"{one} and {other} exclude each other: the server listens in one place")


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

    Protocols that are missing leave a server that does the same more slowly, so each is a warning; returns
    the options as they are served.
    """
    missing = "is not built yet in this version of Cello"
    warnings = list(options.warnings)
    http2, http3 = options.http2, options.http3
    if http2 is not None and http2.enabled:
        warnings.append(f"Http2Config(enabled=True): HTTP/2 {missing}: clients get HTTP/1.1")
        http2 = None
    if http3 is not None and http3.enabled:
        warnings.append(f"Http3Config(enabled=True): HTTP/3 {missing}: clients get HTTP/1.1")
        http3 = None
    return replace(options, http2=http2, http3=http3, warnings=tuple(warnings))
