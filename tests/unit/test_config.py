"""The config classes and the resolution of run()'s arguments."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cello.checks import nearest
from cello.config import (
    ClusterConfig,
    Http2Config,
    Http3Config,
    LimitsConfig,
    RunArguments,
    RunOptions,
    TimeoutConfig,
    TlsConfig,
)
from cello.cpus import count_cpus
from cello.errors import ConfigError
from cello.options import refuse_unbuilt, resolve_options, shutdown_delay_seconds
from cello.sources.layers import Given, lay_over

TLS = TlsConfig(cert_path="cert.pem", key_path="key.pem")
SECONDS = "expected a number of seconds above 0 and at most 2147483647"
QUOTED = "; leave the quotes out"
PEM = "expected the path of a PEM file (str or os.PathLike)"
HOST = "expected an IP address or a host name, without spaces, scheme, port or path (str)"

INT_RANGES = [
    (Http2Config, "max_concurrent_streams", 1, 2**32 - 1),
    (Http2Config, "initial_window_size", 0, 2**31 - 1),
    (Http2Config, "max_frame_size", 2**14, 2**24 - 1),
    (ClusterConfig, "processes", 1, 1024),
    (LimitsConfig, "max_connections", 1, 2**31 - 1),
    (LimitsConfig, "max_request_size", 0, 2**63 - 1),
    (LimitsConfig, "max_headers", 1, 2**31 - 1),
    (RunArguments, "port", 0, 65535),
    (RunArguments, "workers", 1, 1024),
]
TIMEOUTS = ("request_timeout", "response_timeout", "keep_alive_timeout")


def with_flags(arguments: RunArguments, flags: dict[str, Any]) -> RunArguments:
    """Lay parameters over run()'s arguments, as the command line's flags are."""
    return lay_over(arguments, {(name, ""): Given(value, "a flag") for name, value in flags.items()}, [])


def values_of(config: object) -> dict[str, object]:
    return {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}  # type: ignore[arg-type]


class TestDefaults:
    """Every name and default of the configuration page."""

    @pytest.mark.parametrize(
        ("config", "expected"),
        [
            (
                TLS,
                {
                    "cert_path": "cert.pem",
                    "key_path": "key.pem",
                    "key_password": None,
                    "client_ca_path": None,
                    "min_version": "1.2",
                },
            ),
            (
                Http2Config(),
                {
                    "enabled": True,
                    "max_concurrent_streams": 100,
                    "initial_window_size": 65535,
                    "max_frame_size": 16384,
                },
            ),
            (Http3Config(), {"enabled": False, "max_idle_timeout": 30}),
            (
                ClusterConfig(),
                {
                    "processes": 1,
                    "strategy": "auto",
                    "hang_timeout": 30,
                    "graceful_timeout": 30,
                    "shutdown_delay": None,
                    "max_requests": None,
                    "max_rss": None,
                    "max_lifetime": None,
                },
            ),
            (
                TimeoutConfig(),
                {
                    "request_timeout": 30,
                    "response_timeout": 30,
                    "keep_alive_timeout": 75,
                    "stall_timeout": 1,
                },
            ),
            (LimitsConfig(), {"max_connections": 10000, "max_request_size": 10485760, "max_headers": 100}),
        ],
    )
    def test_a_class_has_the_defaults_of_the_page(self, config: object, expected: dict[str, object]) -> None:
        assert values_of(config) == expected

    @pytest.mark.parametrize("config", [TLS, Http2Config(), Http3Config(), ClusterConfig(), TimeoutConfig()])
    def test_a_config_is_frozen_and_has_equality(self, config: object) -> None:
        name = dataclasses.fields(config)[0].name  # type: ignore[arg-type]
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(config, name, getattr(config, name))
        assert dataclasses.replace(config) == config  # type: ignore[type-var]

    def test_both_paths_of_tls_are_required(self) -> None:
        with pytest.raises(TypeError, match=r"cert_path.*key_path"):
            TlsConfig()  # type: ignore[call-arg]

    def test_a_repr_shows_the_values_but_never_the_password(self) -> None:
        config = TlsConfig("c.pem", "k.pem", key_password="hush")
        assert repr(config) == (
            "TlsConfig(cert_path='c.pem', key_path='k.pem', client_ca_path=None, min_version='1.2')"
        )
        assert repr(ClusterConfig(processes=4)).startswith("ClusterConfig(processes=4, strategy='auto', ")


class TestRanges:
    @pytest.mark.parametrize(("kind", "name", "low", "high"), INT_RANGES)
    def test_both_ends_of_a_range_belong_to_it(self, kind: type, name: str, low: int, high: int) -> None:
        assert getattr(kind(**{name: low}), name) == low
        assert getattr(kind(**{name: high}), name) == high

    @pytest.mark.parametrize(("kind", "name", "low", "high"), INT_RANGES)
    @given(data=st.data())
    def test_an_int_outside_is_refused_with_its_range(
        self, kind: type, name: str, low: int, high: int, data: st.DataObject
    ) -> None:
        value = data.draw(st.one_of(st.integers(max_value=low - 1), st.integers(min_value=high + 1)))
        owner = "app.run" if kind is RunArguments else kind.__name__
        with pytest.raises(ConfigError) as caught:
            kind(**{name: value})
        assert caught.value.message.startswith(f"{owner}({name}=")
        assert f"expected an int from {low} to {high}" in caught.value.message

    @pytest.mark.parametrize(("kind", "name", "low", "high"), INT_RANGES)
    @pytest.mark.parametrize("value", [True, False, 20000.0, "20000", [1], b"1"])
    def test_what_is_no_int_is_refused(
        self, kind: type, name: str, low: int, high: int, value: object
    ) -> None:
        owner = "app.run" if kind is RunArguments else kind.__name__
        with pytest.raises(ConfigError) as caught:
            kind(**{name: value})
        message = f"{owner}({name}={value!r}): expected an int from {low} to {high}"
        end = QUOTED if isinstance(value, str) else ""
        found = caught.value.message.replace(" (bytes)", "").replace(", or 'auto'", "")
        assert found == message + end

    @pytest.mark.parametrize(
        ("kind", "name", "low", "high"), [case for case in INT_RANGES if case[1] != "workers"]
    )
    def test_none_is_no_int_either(self, kind: type, name: str, low: int, high: int) -> None:
        with pytest.raises(ConfigError, match=rf"\({name}=None\): expected an int"):
            kind(**{name: None})

    @pytest.mark.parametrize("kind", [Http2Config, Http3Config])
    @pytest.mark.parametrize("value", [None, 0, 1, "yes"])
    def test_enabled_is_a_bool(self, kind: type, value: object) -> None:
        with pytest.raises(ConfigError) as caught:
            kind(enabled=value)
        assert caught.value.message == f"{kind.__name__}(enabled={value!r}): expected True or False"

    def test_a_long_value_is_cut_in_the_message(self) -> None:
        with pytest.raises(ConfigError) as caught:
            LimitsConfig(max_headers="9" * 5000)  # type: ignore[arg-type]
        assert len(caught.value.message) < 200
        assert "...): expected an int" in caught.value.message


class TestTimeouts:
    @pytest.mark.parametrize("name", TIMEOUTS)
    @pytest.mark.parametrize("value", [1, 0.25, 2**31 - 1, None])
    def test_ints_floats_and_none_are_taken(self, name: str, value: float | None) -> None:
        assert getattr(TimeoutConfig(**{name: value}), name) == value

    @pytest.mark.parametrize("name", TIMEOUTS)
    @pytest.mark.parametrize(
        "value", [0, -1, -0.5, 0.0, math.nan, math.inf, -math.inf, True, False, "30", 10**400]
    )
    def test_the_rest_is_refused(self, name: str, value: object) -> None:
        with pytest.raises(ConfigError) as caught:
            TimeoutConfig(**{name: value})  # type: ignore[arg-type]
        assert caught.value.message.startswith(f"TimeoutConfig({name}={repr(value)[:90]}")
        end = QUOTED if isinstance(value, str) else ""
        assert caught.value.message.endswith(f"): {SECONDS}, or None for no timeout{end}")

    @pytest.mark.parametrize("value", [0, -3, math.nan, True, None, "30"])
    def test_the_idle_timeout_of_http3_cannot_be_switched_off(self, value: object) -> None:
        with pytest.raises(ConfigError) as caught:
            Http3Config(max_idle_timeout=value)  # type: ignore[arg-type]
        end = QUOTED if isinstance(value, str) else ""
        assert caught.value.message == f"Http3Config(max_idle_timeout={value!r}): {SECONDS}{end}"


class TestTls:
    def test_paths_may_be_path_objects(self) -> None:
        config = TlsConfig(Path("c.pem"), Path("k.pem"), client_ca_path=Path("ca.pem"))
        assert config.cert_path == Path("c.pem")

    @pytest.mark.parametrize("name", ["cert_path", "key_path", "client_ca_path"])
    @pytest.mark.parametrize("value", ["", b"c.pem", 3, "a\0b", True])
    def test_what_is_no_path_is_refused(self, name: str, value: object) -> None:
        with pytest.raises(ConfigError) as caught:
            TlsConfig(**{"cert_path": "c.pem", "key_path": "k.pem", name: value})  # type: ignore[arg-type]
        assert caught.value.message == f"TlsConfig({name}={value!r}): {PEM}"

    @pytest.mark.parametrize("name", ["cert_path", "key_path"])
    def test_none_is_refused_where_a_file_is_required(self, name: str) -> None:
        with pytest.raises(ConfigError) as caught:
            TlsConfig(**{"cert_path": "c.pem", "key_path": "k.pem", name: None})  # type: ignore[arg-type]
        assert caught.value.message == f"TlsConfig({name}=None): {PEM}"

    @pytest.mark.parametrize(
        ("value", "hint"),
        [
            (1.2, " (str)"),
            (None, " (str)"),
            (["1.2"], " (str)"),
            ("TLSv1.2", " (did you mean '1.2'?)"),
            ("SSL", ""),
        ],
    )
    def test_another_tls_version_is_refused(self, value: object, hint: str) -> None:
        with pytest.raises(ConfigError) as caught:
            TlsConfig("c.pem", "k.pem", min_version=value)  # type: ignore[arg-type]
        assert caught.value.message == f"TlsConfig(min_version={value!r}): expected '1.2' or '1.3'{hint}"

    @pytest.mark.parametrize("value", ["", "s3cret" * 200, "\ud800s3cret"])
    def test_a_password_that_openssl_cannot_take_is_refused_unshown(self, value: str) -> None:
        with pytest.raises(ConfigError) as caught:
            TlsConfig("c.pem", "k.pem", key_password=value)
        assert caught.value.message == (
            "TlsConfig(key_password=...): expected 1 to 1024 bytes of UTF-8, or None for a key without "
            "a password (the value is not shown)"
        )

    def test_a_password_of_another_type_is_refused_unshown(self) -> None:
        with pytest.raises(ConfigError) as caught:
            TlsConfig("c.pem", "k.pem", key_password=b"s3cret")  # type: ignore[arg-type]
        assert caught.value.message == (
            "TlsConfig(key_password=...): expected a str or None, got a value of type bytes"
        )


class TestRunArguments:
    @pytest.mark.parametrize(
        "host", ["127.0.0.1", "::", "[::1]", "localhost", "fe80::1%eth0", "büro.example"]
    )
    def test_addresses_and_names_are_hosts(self, host: str) -> None:
        assert RunArguments(host=host).host == host

    @pytest.mark.parametrize("host", ["", " ", "a b", "a\0", "a\n", "a\\b", "a b:80", "/x", None, 1, b"x"])
    def test_what_is_no_host_is_refused(self, host: object) -> None:
        with pytest.raises(ConfigError) as caught:
            RunArguments(host=host)  # type: ignore[arg-type]
        assert caught.value.message == f"app.run(host={host!r}): {HOST}"

    @pytest.mark.parametrize(
        ("host", "meant"),
        [
            ("http://x", "'x'"),
            ("https://x/", "'x'"),
            ("x/path", "'x'"),
            ("x:80", "host 'x' and port 80"),
            ("http://127.0.0.1:8000/", "host '127.0.0.1' and port 8000"),
        ],
    )
    def test_the_host_in_a_url_is_named(self, host: str, meant: str) -> None:
        with pytest.raises(ConfigError) as caught:
            RunArguments(host=host)
        assert caught.value.message == f"app.run(host={host!r}): {HOST} (did you mean {meant}?)"

    @pytest.mark.parametrize(
        ("env", "hint"),
        [
            ("prod", " (did you mean 'production'?)"),
            ("PRODUCTION", " (did you mean 'production'?)"),
            ("dev", " (did you mean 'development'?)"),
            ("developement", " (did you mean 'development'?)"),
            ("staging", ""),
            ("", ""),
            (1, " (str)"),
            (True, " (str)"),
        ],
    )
    def test_an_unknown_environment_is_refused_with_the_nearest(self, env: object, hint: str) -> None:
        with pytest.raises(ConfigError) as caught:
            RunArguments(env=env)  # type: ignore[arg-type]
        assert caught.value.message == f"app.run(env={env!r}): expected 'development' or 'production'{hint}"

    @pytest.mark.parametrize("name", ["debug", "reload", "logs"])
    @pytest.mark.parametrize("value", [0, 1, "true"])
    def test_switches_are_bools(self, name: str, value: object) -> None:
        with pytest.raises(ConfigError) as caught:
            RunArguments(**{name: value})  # type: ignore[arg-type]
        assert caught.value.message == f"app.run({name}={value!r}): expected True or False"

    @pytest.mark.parametrize(
        ("name", "kind"),
        [
            ("tls", "TlsConfig"),
            ("http2", "Http2Config"),
            ("http3", "Http3Config"),
            ("cluster", "ClusterConfig"),
            ("timeout", "TimeoutConfig"),
            ("limits", "LimitsConfig"),
        ],
    )
    def test_a_config_of_another_type_is_refused_unshown(self, name: str, kind: str) -> None:
        for value, got in (({"key_password": "hush"}, "a dict"), (True, "a bool"), (int, "the class int")):
            with pytest.raises(ConfigError) as caught:
                RunArguments(**{name: value})  # type: ignore[arg-type]
            assert caught.value.message == f"app.run({name}=...): expected a {kind}(...) or None, got {got}"


class TestStop:
    @pytest.mark.parametrize(
        ("name", "value", "expected"),
        [
            ("graceful_timeout", 0, SECONDS),
            ("graceful_timeout", None, SECONDS),
            ("graceful_timeout", "soon", SECONDS),
            ("shutdown_delay", -0.1, SECONDS + ", 0, or None"),
            ("shutdown_delay", math.nan, SECONDS + ", 0, or None"),
            ("shutdown_delay", math.inf, SECONDS + ", 0, or None"),
            ("shutdown_delay", True, SECONDS + ", 0, or None"),
        ],
    )
    def test_a_time_that_is_none_is_refused(self, name: str, value: object, expected: str) -> None:
        with pytest.raises(ConfigError) as caught:
            ClusterConfig(**{name: value})  # type: ignore[arg-type]
        assert caught.value.message == f"ClusterConfig({name}={value!r}): {expected}"

    @pytest.mark.parametrize(
        ("given", "environment", "seconds"),
        [
            (None, {}, 0),
            (None, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, 5),
            (0, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, 0),
            (0.5, {}, 0.5),
            (12, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, 12),
        ],
    )
    def test_the_delay_is_five_seconds_under_kubernetes(
        self, given: float | None, environment: dict[str, str], seconds: float
    ) -> None:
        assert shutdown_delay_seconds(ClusterConfig(shutdown_delay=given), environment) == seconds


class TestResolve:
    def test_the_defaults_are_those_of_the_page(self) -> None:
        assert resolve_options(RunArguments()) == RunOptions(
            host="127.0.0.1",
            port=8000,
            debug=True,
            env="development",
            workers=count_cpus(),
            reload=False,
            logs=True,
            tls=None,
            http2=None,
            http3=None,
            cluster=None,
            timeout=TimeoutConfig(),
            limits=LimitsConfig(),
            warnings=(),
        )

    def test_what_is_given_is_kept(self) -> None:
        given = {
            "host": "0.0.0.0",
            "port": 443,
            "debug": True,
            "env": "production",
            "workers": 8,
            "reload": False,
            "logs": True,
            "tls": TLS,
            "http2": Http2Config(enabled=True),
            "http3": Http3Config(enabled=True),
            "cluster": ClusterConfig(processes=4),
            "timeout": TimeoutConfig(request_timeout=60),
            "limits": LimitsConfig(max_headers=7),
            "log_format": "json",
            "reload_dirs": ("src",),
            "reload_includes": ("*.html",),
            "reload_excludes": ("generated",),
            "uds": None,
            "fd": None,
            "pid_file": "run/app.pid",
            "user": "www-data",
            "group": 33,
        }
        options = resolve_options(RunArguments(**given))  # type: ignore[arg-type]
        assert values_of(options) == {**given, "warnings": ()}

    @pytest.mark.parametrize(
        ("given", "named"),
        [
            ({"uds": "/a", "port": 80}, "uds='/a' and port=80"),
            ({"uds": "/a", "host": "::1", "port": 80}, "uds='/a' and host='::1'"),
            ({"fd": 3, "host": "::1"}, "fd=3 and host='::1'"),
            ({"fd": 3, "uds": "/a"}, "uds='/a' and fd=3"),
        ],
    )
    def test_two_places_to_listen_on_are_refused(self, given: dict[str, Any], named: str) -> None:
        line = f"{named} exclude each other: the server listens in one place"
        with pytest.raises(ConfigError) as caught:
            resolve_options(RunArguments(**given))
        assert caught.value.message == line
        with pytest.raises(ConfigError) as caught:
            resolve_options(with_flags(RunArguments(), given))
        assert caught.value.message == line

    def test_a_host_and_port_left_at_their_defaults_exclude_nothing(self) -> None:
        options = resolve_options(RunArguments(host="127.0.0.1", port=8000, uds=Path("/a")))
        assert (options.uds, options.fd) == (Path("/a"), None)

    @pytest.mark.parametrize(
        ("arguments", "overrides", "place"),
        [
            ({"port": 80, "host": "::1"}, {"uds": "/a"}, ("127.0.0.1", 8000, "/a", None)),
            ({"port": 80}, {"fd": 0}, ("127.0.0.1", 8000, None, 0)),
            ({"fd": 3}, {"uds": "/a"}, ("127.0.0.1", 8000, "/a", None)),
            ({"uds": "/a"}, {"port": 80}, ("127.0.0.1", 80, None, None)),
            ({"uds": "/a"}, {"port": 8000}, ("127.0.0.1", 8000, None, None)),
            ({"port": 80}, {"host": "::1"}, ("::1", 80, None, None)),
            ({"uds": "/a"}, {"workers": 2}, ("127.0.0.1", 8000, "/a", None)),
        ],
    )
    def test_a_place_of_the_command_line_displaces_that_of_the_arguments(
        self, arguments: dict[str, Any], overrides: dict[str, Any], place: tuple[object, ...]
    ) -> None:
        options = resolve_options(with_flags(RunArguments(**arguments), overrides))
        assert (options.host, options.port, options.uds, options.fd) == place

    @pytest.mark.parametrize("value", ["", "a\0b", 3, b"/a"])
    def test_a_path_that_is_none_is_refused(self, value: object) -> None:
        with pytest.raises(ConfigError) as caught:
            RunArguments(uds=value)  # type: ignore[arg-type]
        expected = "expected the path of a unix domain socket (str or os.PathLike)"
        assert caught.value.message == f"app.run(uds={value!r}): {expected}"

    @pytest.mark.parametrize("name", ["user", "group"])
    @pytest.mark.parametrize("value", ["", "a:b", "a\nb", True, -1, 2**32 - 1, 1.5, b"www"])
    def test_an_account_that_is_none_is_refused(self, name: str, value: object) -> None:
        with pytest.raises(ConfigError) as caught:
            RunArguments(**{name: value})  # type: ignore[arg-type]
        expected = f"expected a {name}'s name (str) or number (int)"
        assert caught.value.message == f"app.run({name}={value!r}): {expected}"

    def test_a_group_needs_its_user(self) -> None:
        with pytest.raises(ConfigError) as caught:
            resolve_options(RunArguments(group="www-data"))
        assert caught.value.message == "group='www-data' without user: give the user to run as, too"
        assert resolve_options(with_flags(RunArguments(group=33), {"user": "www-data"})).group == 33

    @pytest.mark.parametrize("value", ["", "a\0b", 3, b"/a"])
    def test_a_pid_file_that_is_no_path_is_refused(self, value: object) -> None:
        with pytest.raises(ConfigError) as caught:
            RunArguments(pid_file=value)  # type: ignore[arg-type]
        expected = "expected the path of a PID file (str or os.PathLike)"
        assert caught.value.message == f"app.run(pid_file={value!r}): {expected}"

    @pytest.mark.parametrize("value", [-1, True, "three", 2**31])
    def test_a_descriptor_that_is_none_is_refused(self, value: object) -> None:
        with pytest.raises(ConfigError) as caught:
            RunArguments(fd=value)  # type: ignore[arg-type]
        assert caught.value.message == f"app.run(fd={value!r}): expected an int from 0 to 2147483647"

    @pytest.mark.parametrize(
        ("env", "debug", "expected"),
        [
            ("development", None, True),
            ("development", False, False),
            ("production", None, False),
            ("production", True, True),
        ],
    )
    def test_debug_follows_the_environment(self, env: str, debug: bool | None, expected: bool) -> None:
        assert resolve_options(RunArguments(env=env, debug=debug)).debug is expected

    @pytest.mark.parametrize(
        ("env", "logs", "enable_logging", "no_logs", "expected"),
        [
            ("development", None, False, False, True),
            ("development", False, False, False, False),
            ("development", None, True, True, False),
            ("development", True, True, True, False),
            ("production", None, False, False, False),
            ("production", None, True, False, True),
            ("production", True, False, False, True),
            ("production", False, True, False, False),
            ("production", None, True, True, False),
        ],
    )
    def test_requests_are_logged(
        self, env: str, logs: bool | None, enable_logging: bool, no_logs: bool, expected: bool
    ) -> None:
        overrides = {"logs": False} if no_logs else {}
        arguments = with_flags(RunArguments(env=env, logs=logs), overrides)
        options = resolve_options(arguments, enable_logging=enable_logging)
        assert options.logs is expected

    def test_the_command_line_wins(self) -> None:
        overrides = {"host": "::1", "port": 81, "env": "production", "workers": 3, "debug": True}
        arguments = RunArguments(port=80, env="development", workers=9, debug=False)
        options = resolve_options(with_flags(arguments, overrides))
        assert (options.host, options.port, options.env) == ("::1", 81, "production")
        assert (options.workers, options.debug, options.logs) == (3, True, False)

    def test_overrides_are_checked_too(self) -> None:
        with pytest.raises(ConfigError, match=r"^app\.run\(port=70000\): expected an int from 0 to 65535 \("):
            resolve_options(with_flags(RunArguments(), {"port": 70000}))

    def test_reload_is_on_in_development_when_asked_for(self) -> None:
        options = resolve_options(RunArguments(reload=True))
        assert (options.reload, options.warnings) == (True, ())

    def test_reload_is_off_in_production_with_a_warning(self) -> None:
        options = resolve_options(with_flags(RunArguments(env="production"), {"reload": True}))
        assert options.reload is False
        assert options.warnings == (
            "reload=True has no effect with env='production': hot reload is for development",
        )

    @pytest.mark.parametrize(
        ("name", "config", "title"),
        [("http2", Http2Config(), "HTTP/2"), ("http3", Http3Config(enabled=True), "HTTP/3")],
    )
    def test_http2_and_http3_require_tls(
        self, name: str, config: Http2Config | Http3Config, title: str
    ) -> None:
        with pytest.raises(ConfigError) as caught:
            resolve_options(RunArguments(**{name: config}))  # type: ignore[arg-type]
        assert caught.value.message == (
            f"{name}={type(config).__name__}(enabled=True): {title} requires TLS; give "
            f"tls=TlsConfig(cert_path=..., key_path=...) as well, or leave {name} out"
        )
        assert resolve_options(RunArguments(tls=TLS, **{name: config})).tls is TLS  # type: ignore[arg-type]

    def test_what_is_switched_off_needs_no_tls(self) -> None:
        options = resolve_options(RunArguments(http2=Http2Config(enabled=False), http3=Http3Config()))
        assert options.http2 == Http2Config(enabled=False)


def test_workers_are_no_more_than_may_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cello.options.count_cpus", lambda: 5000)
    assert resolve_options(RunArguments()).workers == 1024


class TestRefuseUnbuilt:
    @pytest.mark.parametrize(
        ("given", "warning"),
        [
            (
                {"tls": TLS, "http2": Http2Config()},
                "Http2Config(enabled=True): HTTP/2 {}: clients get HTTP/1.1",
            ),
            (
                {"tls": TLS, "http3": Http3Config(enabled=True)},
                "Http3Config(enabled=True): HTTP/3 {}: clients get HTTP/1.1",
            ),
        ],
    )
    def test_what_else_is_not_built_is_a_warning(self, given: dict[str, Any], warning: str) -> None:
        options = refuse_unbuilt(resolve_options(RunArguments(**given)))
        assert options.warnings == (warning.format("is not built yet in this version of Cello"),)
        assert (options.http2, options.http3) == (None, None)

    @pytest.mark.parametrize(
        "given",
        [
            {},
            {"tls": TLS},
            {"cluster": ClusterConfig(processes=4)},
            {"reload": True},
            {"reload": True, "env": "production"},
            {"http2": Http2Config(enabled=False), "http3": Http3Config()},
            {"timeout": TimeoutConfig(None, None, None), "limits": LimitsConfig(1, 0, 1)},
        ],
    )
    def test_what_is_built_passes(self, given: dict[str, object]) -> None:
        options = resolve_options(RunArguments(**given))  # type: ignore[arg-type]
        assert refuse_unbuilt(options) == options


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("--prot", "--port"),
        ("-p", "--port"),
        ("--PORT", "--port"),
        ("--no-log", "--no-logs"),
        ("--xyz", None),
        ("--no", "--no-logs"),
        ("--n", None),
        ("", None),
    ],
)
def test_nearest_finds_what_was_meant(word: str, expected: str | None) -> None:
    assert nearest(word, ("--host", "--port", "--no-logs", "--numbers")) == expected
