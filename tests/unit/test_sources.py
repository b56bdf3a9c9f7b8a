"""Settings from several sources: reading each of them, and which of them holds."""

from __future__ import annotations

import dataclasses
import os
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from cello.config import (
    ClusterConfig,
    Http2Config,
    LimitsConfig,
    RunArguments,
    TimeoutConfig,
    TlsConfig,
)
from cello.errors import ConfigError
from cello.settings import Choice, Duration, Host, Password, PemPath, Setting, Switch, Texts, Whole
from cello.sources.file import read_file
from cello.sources.layers import Given, lay_over
from cello.sources.names import alias_of, all_places, groups
from cello.sources.reading import Sources, read_sources
from cello.sources.texts import BadText, read_text
from cello.sources.variables import RESERVED, read_variables

PLACES = list(all_places().values())
TEXT = Whole(range(100))


def setting(kind: Any, none: str | None = None) -> Setting:
    return Setting("x", None, "it", kind, none)


class TestPlaces:
    def test_every_parameter_and_every_field_has_a_place(self) -> None:
        expected = []
        for each in dataclasses.fields(RunArguments):
            config = groups().get(each.name)
            fields = [field.name for field in dataclasses.fields(config)] if config else [""]
            expected += [(each.name, name) for name in fields]
        assert list(all_places()) == expected
        assert ("timeout", "request_timeout") in expected

    def test_names(self) -> None:
        place = all_places()["timeout", "request_timeout"]
        assert place.flag == "--timeout-request-timeout"
        assert place.alias == "--request-timeout"
        assert place.variable == "CELLO_TIMEOUT_REQUEST_TIMEOUT"
        assert place.dotted == "timeout.request_timeout"
        port = all_places()["port", ""]
        assert (port.flag, port.alias, port.variable, port.dotted) == ("--port", None, "CELLO_PORT", "port")

    def test_what_names_two_things_is_no_alias(self) -> None:
        assert all_places()["http2", "enabled"].alias == "--http2"
        assert all_places()["http3", "enabled"].alias == "--http3"
        names = Counter(["port", "size", "size", "depth"])
        assert alias_of(("one", "size"), names) is None
        assert alias_of(("one", "port"), Counter(["port", "port"])) is None
        assert alias_of(("one", "depth"), names) == "--depth"

    @pytest.mark.parametrize("name", ["variable", "dotted"])
    def test_no_name_is_there_twice(self, name: str) -> None:
        names = [getattr(place, name) for place in PLACES]
        assert len(set(names)) == len(names)

    def test_no_flag_is_there_twice(self) -> None:
        flags = [flag for place in PLACES for flag in (place.flag, place.alias) if flag]
        assert len(set(flags)) == len(flags)

    def test_no_setting_has_a_reserved_variable(self) -> None:
        assert not {place.variable for place in PLACES} & set(RESERVED)


class TestTexts:
    @pytest.mark.parametrize(
        ("kind", "text", "value"),
        [
            (TEXT, "7", 7),
            (TEXT, "007", 7),
            (Whole(range(9), word="auto"), "auto", "auto"),
            (Whole(range(2**63), "bytes"), "1000", 1000),
            (Whole(range(2**63), "bytes"), "2K", 2048),
            (Whole(range(2**63), "bytes"), "10MB", 10 * 2**20),
            (Whole(range(2**63), "bytes"), "10mib", 10 * 2**20),
            (Whole(range(2**63), "bytes"), "3g", 3 * 2**30),
            (Whole(range(2**63), "bytes"), "5B", 5),
            (Duration(), "5", 5),
            (Duration(), "0.25", 0.25),
            (Duration(or_zero=True), "0", 0),
            (Switch(), "true", True),
            (Switch(), "ON", True),
            (Switch(), "1", True),
            (Switch(), "No", False),
            (Switch(), "off", False),
            (Choice(("a", "b")), "b", "b"),
            (Host(), "::1", "::1"),
            (PemPath(), "a b.pem", "a b.pem"),
            (Password(), "none such", "none such"),
            (Texts("patterns"), "a, b,c", ["a", "b", "c"]),
        ],
    )
    def test_values(self, kind: Any, text: str, value: object) -> None:
        read = read_text(setting(kind), text)
        assert read == value
        assert type(read) is type(value)

    @pytest.mark.parametrize("text", ["none", "None", "NONE"])
    def test_none_is_a_value_where_none_is_one(self, text: str) -> None:
        assert read_text(setting(TEXT, none="no limit"), text) is None
        with pytest.raises(BadText):
            read_text(setting(TEXT), text)

    @pytest.mark.parametrize(
        ("kind", "text", "said"),
        [
            (TEXT, "100", "expected an int from 0 to 99, got '100'"),
            (TEXT, "-1", "expected an int from 0 to 99, got '-1'"),
            (TEXT, "1_0", "expected an int from 0 to 99, got '1_0'"),
            (TEXT, " 1", "expected an int from 0 to 99, got ' 1'"),
            (TEXT, "٨", "expected an int from 0 to 99, got '٨'"),
            (TEXT, "", "expected an int from 0 to 99, got ''"),
            (Whole(range(9), word="auto"), "atuo", "expected an int from 0 to 8, or 'auto', got 'atuo'"),
            (
                Whole(range(9), "bytes"),
                "1T",
                "expected an int from 0 to 8 of bytes, or a size such as 512K or 10MiB, got '1T'",
            ),
            (Whole(range(9), "bytes"), "1K", "expected an int from 0 to 8 (bytes), got '1K'"),
            (Duration(), "0", "expected a number of seconds above 0 and at most 2147483647, got '0'"),
            (Duration(), "5s", "expected a number of seconds above 0, got '5s'"),
            (Duration(), "nan", "expected a number of seconds above 0, got 'nan'"),
            (Duration(), "1e3", "expected a number of seconds above 0, got '1e3'"),
            (Switch(), "maybe", "expected true or false, got 'maybe'"),
            (
                Choice(("blue", "green")),
                "geen",
                "expected 'blue' or 'green', got 'geen' (did you mean 'green'?)",
            ),
            (Texts("patterns"), "a,,b", "expected a list of patterns (str), got 'a,,b'"),
        ],
    )
    def test_refusals(self, kind: Any, text: str, said: str) -> None:
        with pytest.raises(BadText) as caught:
            read_text(setting(kind), text)
        assert str(caught.value) == said

    def test_a_refusal_names_none_where_it_is_a_value(self) -> None:
        with pytest.raises(BadText, match=r"above 0 and at most \d+, or 'none', got '0'$"):
            read_text(setting(Duration(", or None for no timeout"), none="no timeout"), "0")

    def test_a_password_is_never_shown(self) -> None:
        with pytest.raises(BadText) as caught:
            read_text(setting(Password(), none="no key"), "hunter2" * 200)
        assert "hunter2" not in str(caught.value)


class TestVariables:
    def test_settings_are_read(self) -> None:
        found = read_variables(
            {
                "CELLO_PORT": "81",
                "CELLO_TIMEOUT_KEEP_ALIVE_TIMEOUT": "none",
                "CELLO_DEBUG": "yes",
                "PORT": "9",
            }
        )
        assert found.layer == {
            ("port", ""): Given(81, "CELLO_PORT"),
            ("timeout", "keep_alive_timeout"): Given(None, "CELLO_TIMEOUT_KEEP_ALIVE_TIMEOUT"),
            ("debug", ""): Given(True, "CELLO_DEBUG"),
        }
        assert found.warnings == ()

    def test_an_empty_one_is_not_set(self) -> None:
        assert read_variables({"CELLO_PORT": "", "WEB_CONCURRENCY": "", "CELLO_NONSENSE": ""}) == ({}, ())

    @pytest.mark.parametrize("name", RESERVED)
    def test_reserved_ones_are_no_settings(self, name: str) -> None:
        assert read_variables({name: "1"}) == ({}, ())

    def test_an_unknown_one_is_a_warning_with_the_nearest(self) -> None:
        found = read_variables({"CELLO_PROT": "1", "CELLO_ZZZ": "2"})
        assert found.layer == {}
        assert found.warnings == (
            "unknown variable CELLO_PROT ignored (did you mean CELLO_PORT?)",
            "unknown variable CELLO_ZZZ ignored",
        )

    def test_a_bad_value_names_the_variable(self) -> None:
        with pytest.raises(ConfigError) as caught:
            read_variables({"CELLO_PORT": "http"})
        assert str(caught.value) == "CELLO_PORT: expected an int from 0 to 65535, got 'http'"

    def test_web_concurrency_counts_as_processes_and_loses_to_our_own(self) -> None:
        key = ("cluster", "processes")
        assert read_variables({"WEB_CONCURRENCY": "3"}).layer == {key: Given(3, "WEB_CONCURRENCY")}
        both = {"WEB_CONCURRENCY": "3", "CELLO_CLUSTER_PROCESSES": "2"}
        assert read_variables(both).layer == {key: Given(2, "CELLO_CLUSTER_PROCESSES")}
        with pytest.raises(
            ConfigError, match=r"^WEB_CONCURRENCY: expected an int from 1 to 1024, or 'auto', got"
        ):
            read_variables({"WEB_CONCURRENCY": "many"})

    def test_what_kubernetes_sets_for_a_service_named_cello_is_ignored_once(self) -> None:
        """The variables are those of a Service with one port, as the kubelet makes them."""
        found = read_variables(
            {
                "CELLO_SERVICE_HOST": "10.0.0.11",
                "CELLO_SERVICE_PORT": "80",
                "CELLO_SERVICE_PORT_HTTP": "80",
                "CELLO_PORT": "tcp://10.0.0.11:80",
                "CELLO_PORT_80_TCP": "tcp://10.0.0.11:80",
                "CELLO_PORT_80_TCP_ADDR": "10.0.0.11",
                "CELLO_PORT_80_TCP_PORT": "80",
                "CELLO_PORT_80_TCP_PROTO": "tcp",
            }
        )
        assert found.layer == {}
        assert len(found.warnings) == 1
        assert "CELLO_PORT and 7 more ignored: Kubernetes" in found.warnings[0]


class TestFile:
    def read(self, folder: Path, text: str) -> Any:
        (folder / "cello.toml").write_text(text, "utf-8")
        return read_file(str(folder / "cello.toml"))

    def test_keys_and_tables(self, tmp_path: Path) -> None:
        layer = self.read(
            tmp_path,
            'port = 81\nenv = "production"\npid_file = "shop.pid"\nuser = 33\n'
            'reload_dirs = ["src"]\ndebug = "none"\n'
            '[timeout]\nrequest_timeout = 2.5\nstall_timeout = "none"\n'
            '[limits]\nmax_request_size = "2M"\n[tls]\ncert_path = "a.pem"\nkey_path = "/b.pem"\n',
        )
        values = {key: given.value for key, given in layer.items()}
        assert values == {
            ("port", ""): 81,
            ("env", ""): "production",
            ("pid_file", ""): str(tmp_path / "shop.pid"),
            ("user", ""): 33,
            ("reload_dirs", ""): [str(tmp_path / "src")],
            ("debug", ""): None,
            ("timeout", "request_timeout"): 2.5,
            ("timeout", "stall_timeout"): None,
            ("limits", "max_request_size"): 2 * 2**20,
            ("tls", "cert_path"): str(tmp_path / "a.pem"),
            ("tls", "key_path"): "/b.pem",
        }
        assert layer["timeout", "request_timeout"].source.endswith("cello.toml: timeout.request_timeout")

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("prot = 1", "unknown key 'prot' (did you mean 'port'?)"),
            ("[timout]\nx = 1", "unknown key 'timout' (did you mean 'timeout'?)"),
            (
                "[timeout]\nrequest_timout = 1",
                "unknown key 'request_timout' in [timeout] (did you mean 'request_timeout'?)",
            ),
            ("port = 99999", "port: expected an int from 0 to 65535, got 99999"),
            ("port = '80'", "port: expected an int from 0 to 65535, got '80'"),
            ("port = true", "port: expected an int from 0 to 65535, got True"),
            ("reload = 1", "reload: expected True or False, got 1"),
            ("timeout = 5", "timeout: expected a table, [timeout], got 5"),
            ("[port]\nx = 1", "port: expected 0 to 65535, got {'x': 1}"),
            (
                "[timeout]\nrequest_timeout = '5'",
                "expected a number of seconds above 0 and at most 2147483647",
            ),
            (
                "env = 'prod'",
                "env: expected 'development' or 'production', or 'none', got 'prod' (did you mean",
            ),
            ("reload_dirs = 'src'", "reload_dirs: expected a list of folders (paths)"),
            ("port = ", "this is not TOML: "),
        ],
    )
    def test_refusals_name_file_and_key(self, tmp_path: Path, text: str, said: str) -> None:
        with pytest.raises(ConfigError) as caught:
            self.read(tmp_path, text)
        message = str(caught.value)
        assert message.startswith(f"{tmp_path / 'cello.toml'}: ")
        assert said in message
        assert "\n" not in message

    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"no such file$"):
            read_file(str(tmp_path / "cello.toml"))

    def test_a_password_is_not_shown(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError) as caught:
            self.read(tmp_path, "[tls]\nkey_password = 271828182845")
        assert "271828" not in str(caught.value)


class TestLayers:
    def test_a_group_is_laid_over_field_by_field(self) -> None:
        arguments = RunArguments(timeout=TimeoutConfig(request_timeout=60, keep_alive_timeout=None))
        flags = {("timeout", "request_timeout"): Given(5, "--request-timeout")}
        below = {
            ("timeout", "keep_alive_timeout"): Given(9, "a variable"),
            ("timeout", "stall_timeout"): Given(3, "a variable"),
        }
        made = lay_over(arguments, flags, [below])
        assert made.timeout == TimeoutConfig(request_timeout=5, keep_alive_timeout=None, stall_timeout=3)

    def test_what_nobody_touches_stays_the_object_that_was_given(self) -> None:
        class Own(TimeoutConfig):
            pass

        own = Own(request_timeout=60)
        assert lay_over(RunArguments(timeout=own), {}, []).timeout is own
        changed = lay_over(
            RunArguments(timeout=own), {("timeout", "stall_timeout"): Given(3, "")}, []
        ).timeout
        assert isinstance(changed, Own)
        assert (changed.request_timeout, changed.stall_timeout) == (60, 3)

    def test_a_group_comes_into_being_with_its_first_field(self) -> None:
        made = lay_over(RunArguments(), {}, [{("cluster", "processes"): Given(3, "WEB_CONCURRENCY")}])
        assert made.cluster == ClusterConfig(processes=3)
        assert made.limits is None

    def test_a_default_given_to_run_is_not_given(self) -> None:
        below = {("port", ""): Given(81, ""), ("limits", "max_headers"): Given(7, "")}
        made = lay_over(RunArguments(port=8000, limits=LimitsConfig(max_headers=100)), {}, [below])
        assert (made.port, made.limits) == (81, LimitsConfig(max_headers=7))

    def test_none_above_wins_over_a_value_below(self) -> None:
        made = lay_over(RunArguments(debug=True), {("debug", ""): Given(None, "")}, [])
        assert made.debug is None

    @pytest.mark.parametrize(
        ("given_field", "lacking"), [("cert_path", "key_path"), ("min_version", "cert_path")]
    )
    def test_half_a_tls_names_what_is_missing(self, given_field: str, lacking: str) -> None:
        value = "1.3" if given_field == "min_version" else "a.pem"
        with pytest.raises(ConfigError) as caught:
            lay_over(RunArguments(), {("tls", given_field): Given(value, "")}, [])
        flag, variable = f"--tls-{lacking.replace('_', '-')}", f"CELLO_TLS_{lacking.upper()}"
        assert str(caught.value) == (
            f"TlsConfig needs {lacking}: {flag}, {variable}, or tls.{lacking} in the configuration file"
        )

    def test_two_halves_make_a_whole(self) -> None:
        made = lay_over(
            RunArguments(),
            {("tls", "cert_path"): Given("a", "")},
            [{("tls", "key_path"): Given("b", "")}, {("tls", "cert_path"): Given("lost", "")}],
        )
        assert made.tls == TlsConfig("a", "b")

    @pytest.mark.parametrize(
        ("run", "variables", "file", "place"),
        [
            ({"uds": "/a"}, {"port": 81}, {"host": "::1"}, ("127.0.0.1", 8000, "/a", None)),
            ({"port": 80}, {"uds": "/a"}, {"fd": 3}, ("127.0.0.1", 80, None, None)),
            ({"port": 80}, {"host": "::1"}, {"uds": "/a"}, ("::1", 80, None, None)),
            ({}, {"fd": 3}, {"uds": "/a", "port": 1}, ("127.0.0.1", 8000, None, 3)),
            ({}, {"uds": None}, {"uds": "/a"}, ("127.0.0.1", 8000, None, None)),
            ({}, {}, {"uds": "/a"}, ("127.0.0.1", 8000, "/a", None)),
        ],
    )
    def test_the_highest_that_names_a_place_to_listen_on_displaces_all_others(
        self,
        run: dict[str, Any],
        variables: dict[str, Any],
        file: dict[str, Any],
        place: tuple[object, ...],
    ) -> None:
        below = [{(name, ""): Given(value, "") for name, value in each.items()} for each in (variables, file)]
        made = lay_over(RunArguments(**run), {}, below)
        assert (made.host, made.port, made.uds, made.fd) == place

    def test_two_places_of_one_source_are_refused(self) -> None:
        variables = {("uds", ""): Given("/a", ""), ("port", ""): Given(8000, "")}
        with pytest.raises(ConfigError, match="uds='/a' and port=8000 exclude each other"):
            lay_over(RunArguments(), {}, [variables])

    def test_the_winners_name_their_sources(self) -> None:
        sources = Sources(
            flags={("port", ""): Given(1, "--port")},
            variables={("port", ""): Given(2, "CELLO_PORT"), ("workers", ""): Given(3, "CELLO_WORKERS")},
        )
        arguments = RunArguments(port=4, http2=Http2Config(max_frame_size=20000))
        assert sources.winners(arguments) == {
            ("port", ""): Given(1, "--port"),
            ("workers", ""): Given(3, "CELLO_WORKERS"),
            ("http2", "max_frame_size"): Given(20000, "run(http2=...)"),
        }


def test_a_variable_names_the_file_and_config_wins(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("port = 1")
    (tmp_path / "b.toml").write_text("port = 2")
    environment = {"CELLO_CONFIG": str(tmp_path / "a.toml")}
    assert read_sources("x", {}, environment).lay_over(RunArguments()).port == 1
    assert read_sources("x", {}, environment, str(tmp_path / "b.toml")).lay_over(RunArguments()).port == 2


def test_no_file_is_read_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cello.toml").write_text("port = 1")
    monkeypatch.chdir(tmp_path)
    assert read_sources("x", {}, {}).lay_over(RunArguments()).port == 8000


def test_the_environment_of_this_run_has_no_setting() -> None:
    """Tests call run(), which reads it."""
    assert not [name for name in os.environ if re.match("CELLO_(?!NO_EXTENSIONS|DISPATCH)", name)]
