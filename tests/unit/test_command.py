"""The command ``cello``: its command lines, targets, listings and checks, without a server."""

from __future__ import annotations

import datetime
import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from cello import App, RouteError, TlsConfig
from cello.command.certificates import look_at
from cello.command.findings import Level
from cello.command.flags import parse, rows
from cello.command.listing import rows_of
from cello.command.main import COMMANDS, main
from cello.command.reach import unreachable
from cello.command.routes import as_json, as_table
from cello.command.targets import BadTarget, Target, parse_target
from cello.command.tracebacks import trimmed
from cello.errors import StartError
from cello.routing import RouteTable
from cello.sources.layers import Given
from cello.sources.names import all_places

ROOT = Path(__file__).resolve().parent.parent.parent


class TestTargets:
    @pytest.mark.parametrize(
        ("text", "target"),
        [
            ("app", Target("app", module="app")),
            ("app:app", Target("app:app", module="app", name="app")),
            ("shop.web:state.app", Target("shop.web:state.app", module="shop.web", name="state.app")),
            ("app.py", Target("app.py", path="app.py")),
            ("app.py:app", Target("app.py:app", path="app.py", name="app")),
            ("src/app", Target("src/app", path="src/app")),
            ("./app.py", Target("./app.py", path="./app.py")),
            ("a b/c d.py:x", Target("a b/c d.py:x", path="a b/c d.py", name="x")),
            (r"C:\shop\app.py", Target(r"C:\shop\app.py", path=r"C:\shop\app.py")),
            (r"C:\shop\app.py:app", Target(r"C:\shop\app.py:app", path=r"C:\shop\app.py", name="app")),
        ],
    )
    def test_parts(self, text: str, target: Target) -> None:
        assert parse_target(text) == target

    @pytest.mark.parametrize(
        "text", ["", "a b", "app:", ":app", "app:1", "app:a b", "a..b", "app:a:b", "app.py:"]
    )
    def test_what_is_neither(self, text: str) -> None:
        with pytest.raises(BadTarget, match=r"module:app or file\.py"):
            parse_target(text)


def flags_of(line: str) -> dict[str, Any]:
    parsed = parse("cello run", "Serve.", ["app:app", *line.split()])
    return {all_places()[key].dotted: given.value for key, given in parsed.flags.items()}


class TestFlags:
    @pytest.mark.parametrize(
        ("line", "expected"),
        [
            ("", {}),
            ("--port 0", {"port": 0}),
            ("--host ::1 --port=81", {"host": "::1", "port": 81}),
            ("--debug --no-reload --no-logs", {"debug": True, "reload": False, "logs": False}),
            ("--request-timeout 2.5", {"timeout.request_timeout": 2.5}),
            ("--timeout-request-timeout none", {"timeout.request_timeout": None}),
            ("--processes auto", {"cluster.processes": "auto"}),
            ("--no-http2 --http3-enabled", {"http2.enabled": False, "http3.enabled": True}),
            ("--max-request-size 2MiB", {"limits.max_request_size": 2 * 2**20}),
            ("--reload-dirs a --reload-dirs b", {"reload_dirs": ["a", "b"]}),
            ("--cert-path c --tls-key-path k", {"tls.cert_path": "c", "tls.key_path": "k"}),
            ("--port 1 --port 2", {"port": 2}),
        ],
    )
    def test_values(self, line: str, expected: dict[str, Any]) -> None:
        assert flags_of(line) == expected

    def test_a_value_names_the_flag_that_gave_it(self) -> None:
        assert parse("p", "", ["a", "--processes", "2"]).flags == {
            ("cluster", "processes"): Given(2, "--cluster-processes")
        }

    def test_the_rest_is_the_applications(self) -> None:
        parsed = parse("p", "", ["--port", "1", "app.py", "--", "--port", "2", "--", "x"])
        assert parsed.rest == ["--port", "2", "--", "x"]
        assert parsed.flags == {("port", ""): Given(1, "--port")}
        assert parsed.target.path == "app.py"

    @pytest.mark.parametrize(
        ("line", "said"),
        [
            ("", "expected what to run: module:app or file.py"),
            ("--port 1", "expected what to run: module:app or file.py"),
            ("app --prot 1", "unknown flag --prot (did you mean --port?)"),
            ("app --request-timout=1", "unknown flag --request-timout (did you mean --request-timeout?)"),
            ("app --no-log", "unknown flag --no-log (did you mean --no-logs?)"),
            ("app -p 1", "unknown flag -p"),
            ("app -host x", "unknown flag -host (did you mean --host?)"),
            ("app --zzzz", "unknown flag --zzzz"),
            ("app --timeout 5", "unknown flag --timeout"),
            ("app other", "unexpected argument 'other': the application's own stand behind --"),
            ("app --port", "--port: expected one argument"),
            ("app --port x", "--port: expected an int from 0 to 65535, got 'x'"),
            (
                "app --env prod",
                "--env: expected 'development' or 'production', or 'none', got 'prod' (did you mean",
            ),
            ("app --processes 0", "--processes: expected an int from 1 to 1024, or 'auto', got '0'"),
            ("app --debug=1", "--debug/--no-debug: ignored explicit argument '1'"),
            ("a..b", "expected module:app or file.py, got 'a..b'"),
            ("app --json", "unknown flag --json"),
        ],
    )
    def test_a_mistake_is_one_line_and_2(
        self, line: str, said: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as caught:
            parse("cello run", "Serve.", line.split())
        out, err = capsys.readouterr()
        assert (caught.value.code, out, err.count("\n")) == (2, "", 1)
        assert err.startswith("cello run: ")
        assert said in err

    def test_a_flag_is_not_known_by_its_beginning(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            parse("cello run", "Serve.", ["app", "--por", "1"])
        assert "unknown flag --por (did you mean --port?)" in capsys.readouterr().err

    @pytest.mark.parametrize("flag", ["--help", "-h"])
    def test_help_has_every_flag(
        self, flag: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("COLUMNS", "300")
        with pytest.raises(SystemExit) as caught:
            parse("cello run", "Serve.", [flag])
        assert caught.value.code == 0
        out = capsys.readouterr().out
        for place, shown in rows():
            assert shown in out
            assert place.setting.meaning in out
        assert "--config FILE" in out


class TestMain:
    @pytest.mark.parametrize(
        ("argv", "said"),
        [
            ([], "expected a command: run, dev, routes, check or version; cello --help tells more"),
            (["rnu"], "unknown command rnu (did you mean run?)"),
            (["app.py"], "unknown command app.py (expected run, dev, routes, check or version)"),
            (["--port"], "unknown flag --port (expected run, dev, routes, check or version)"),
            (["--versoin"], "unknown flag --versoin (did you mean version?)"),
        ],
    )
    def test_a_mistake_is_one_line_and_2(
        self, argv: list[str], said: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(argv) == 2
        assert capsys.readouterr() == ("", f"cello: {said}\n")

    @pytest.mark.parametrize("flag", ["--help", "-h"])
    def test_help_names_every_command(self, flag: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert main([flag]) == 0
        out = capsys.readouterr().out
        assert all(f"\n  {name} " in out for name in COMMANDS)

    @pytest.mark.parametrize("name", COMMANDS)
    def test_every_command_has_help(self, name: str, capsys: pytest.CaptureFixture[str]) -> None:
        try:
            status: Any = main([name, "--help"])
        except SystemExit as exc:
            status = exc.code
        assert status == 0
        assert capsys.readouterr().out.startswith(f"usage: cello {name}")

    def test_version(self, capsys: pytest.CaptureFixture[str]) -> None:
        import cello

        assert main(["--version"]) == 0
        assert capsys.readouterr().out == f"{cello.__version__}\n"
        assert main(["version"]) == 0
        out = capsys.readouterr().out
        why = " (CELLO_NO_EXTENSIONS is set)" if cello.IMPLEMENTATION == "pure" else ""
        assert out.startswith(f"cello          {cello.__version__}, {cello.IMPLEMENTATION}{why}\n")
        for name in ("python", "platform", "openssl", "httptools", "uvloop", "brotli", "zstandard", "isal"):
            assert f"\n{name} " in out
        assert main(["version", "x"]) == 2


class TestStartup:
    PROBE = "import sys\nprint(*sorted(sys.modules), sep='\\n')\nraise SystemExit(0)\n"

    @pytest.mark.parametrize("target", ["probe.py", "probe"])
    def test_the_application_is_imported_before_all_that_serves(self, tmp_path: Path, target: str) -> None:
        """Flags, a variable and a file have been read by then."""
        (tmp_path / "probe.py").write_text(self.PROBE)
        (tmp_path / "cello.toml").write_text("[timeout]\nrequest_timeout = 5\n")
        done = subprocess.run(
            [sys.executable, "-m", "cello", "run", target, "--processes", "2", "--config", "cello.toml"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "CELLO_WORKERS": "3"},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        loaded = set(done.stdout.split())
        assert "cello.sources.reading" in loaded
        assert (
            loaded
            & {
                *("asyncio", "ssl", "socket", "uvloop", "httptools", "msgspec", "multidict", "h2", "aioquic"),
                *("cello.app", "cello._speedups", "cello.server", "cello.cluster", "cello.dispatch"),
                *("subprocess", "concurrent.futures", "importlib.metadata", "email", "http.client"),
            }
            == set()
        )


def handler(request: Any) -> None:
    """Answer."""


async def async_handler(request: Any) -> None:
    """Answer on the loop."""


async def stream_handler(request: Any) -> Any:
    """Stream."""
    yield b""


class TestRoutes:
    def app(self) -> App:
        app = App()
        app.get("/a")(handler)
        app.route("/b/{id:int}", methods=["POST", "PUT"], blocking=True)(handler)
        app.get("/c", blocking=False)(handler)
        app.get("/d")(async_handler)
        app.get("/e")(stream_handler)
        app.get("/f")(functools.partial(handler))
        return app

    def test_rows(self) -> None:
        line = handler.__code__.co_firstlineno
        file = os.path.relpath(__file__)
        file = __file__ if file.startswith("..") else file
        rows = [(row.method, row.path, row.handler, row.lane) for row in rows_of(self.app().routes)]
        assert rows == [
            ("GET", "/a", "handler", "auto"),
            ("POST", "/b/{id:int}", "handler", "thread (pinned)"),
            ("PUT", "/b/{id:int}", "handler", "thread (pinned)"),
            ("GET", "/c", "handler", "loop (pinned)"),
            ("GET", "/d", "async_handler", "loop"),
            ("GET", "/e", "stream_handler", "loop"),
            ("GET", "/f", "handler", "auto"),
        ]
        first, *_, last = rows_of(self.app().routes)
        assert (first.file, first.line, first.place) == (file, line, f"{file}:{line}")
        assert last.place == first.place

    def test_a_handler_without_python_code(self) -> None:
        app = App()
        app.get("/")(len)
        (row,) = rows_of(app.routes)
        assert (row.handler, row.place, row.line) == ("len", "built in", None)

    def test_table(self) -> None:
        lines = as_table(list(rows_of(self.app().routes))).splitlines()
        assert lines[0].split() == ["METHOD", "PATH", "HANDLER", "FILE", "LANE"]
        assert len(lines) == 8
        start = lines[0].index("PATH")
        assert [line[start:].split()[0] for line in lines[1:4]] == ["/a", "/b/{id:int}", "/b/{id:int}"]
        assert not any(line.endswith(" ") for line in lines)

    def test_json(self) -> None:
        rows = json.loads(as_json(list(rows_of(self.app().routes))))
        assert set(rows[0]) == {"method", "path", "handler", "file", "line", "lane"}
        assert [row["method"] for row in rows][:3] == ["GET", "POST", "PUT"]

    def test_no_routes(self) -> None:
        assert as_table([]) == "no routes"
        assert json.loads(as_json([])) == []


SEGMENTS = ("a", "b", "{x}", "{x:int}", "{x:float}", "{x:uuid}", "")
LAST = (*SEGMENTS, "{p:path}")
TEMPLATES = st.builds(
    lambda inner, last: (
        "/" + "/".join([*(each.replace("x", f"x{at}") for at, each in enumerate(inner)), last])
    ),
    st.lists(st.sampled_from(SEGMENTS[:-1]), max_size=2),
    st.sampled_from(LAST),
)


def table_of(templates: list[str], methods: tuple[str, ...] = ("GET",)) -> App:
    app = App()
    for template in templates:
        try:
            app.route(template, methods=list(methods))(handler)
        except RouteError:
            continue  # the same pattern twice
    return app


def reports(app: App) -> list[str]:
    table = RouteTable()
    for route in app.routes:
        table.add(route)
    return list(unreachable(app.routes, table.match))


class TestReach:
    def test_a_wildcard_whose_requests_others_take_together(self) -> None:
        app = table_of(
            ["/f/{name}", "/f/{name}/", "/f/{name}/{rest:path}", "/f/{path:path}", "/g/{path:path}"]
        )
        (report,) = reports(app)
        assert f"test_command.py:{handler.__code__.co_firstlineno}: " in report
        assert ": GET /f/{path:path} is shadowed, others take its requests: GET /f/{name} (" in report

    @pytest.mark.parametrize("left_out", ["/f/{name}", "/f/{name}/", "/f/{name}/{rest:path}"])
    def test_each_of_the_others_is_needed_for_that(self, left_out: str) -> None:
        templates = ["/f/{name}", "/f/{name}/", "/f/{name}/{rest:path}", "/f/{path:path}"]
        assert reports(table_of([each for each in templates if each != left_out])) == []

    def test_another_method_takes_nothing(self) -> None:
        app = table_of(["/f/{name}", "/f/{name}/", "/f/{name}/{rest:path}"])
        app.post("/f/{path:path}")(handler)
        assert reports(app) == []

    @pytest.mark.parametrize("template", ["/a/../b", "/./a", "/a/%2E%2E"])
    def test_dot_segments_are_resolved_by_clients(self, template: str) -> None:
        (report,) = reports(table_of([template]))
        assert "is never asked for: clients resolve '.'" in report.replace("'..'", "'.'")

    def test_a_table_that_gives_a_request_to_another_route_is_seen(self) -> None:
        """What the router itself never does."""
        app = table_of(["/a", "/b"])
        first, second = app.routes
        (report,) = unreachable(app.routes, lambda method, path: (first, None))
        assert f"GET /b is shadowed, others take its requests: {first}" in report
        assert second.template == "/b"

    @given(st.lists(TEMPLATES, min_size=1, max_size=9))
    def test_it_agrees_with_trying_all_paths_there_are(self, templates: list[str]) -> None:
        app = table_of(templates)
        table = RouteTable()
        for route in app.routes:
            table.add(route)
        # One text of every kind that the templates above can tell apart, and paths deeper than any of them.
        kinds = ("a", "b", "zz", "12", "1.5", "00000000-0000-4000-8000-000000000000")
        paths = [""]
        reached: set[int] = set()
        for _ in range(4):
            paths = [f"{path}/{text}" for path in paths for text in kinds]
            for path in ("/", *paths, *(f"{each}/" for each in paths)):
                found = table.match("GET", path.encode())
                if found is not None:
                    reached.add(id(found[0]))
        unreached = {route.template for route in app.routes if id(route) not in reached}
        reported = {report.split(" is shadowed")[0].rpartition(" ")[2] for report in reports(app)}
        assert reported == unreached


DAY = 86400.0


@pytest.fixture
def tls_files(tmp_path: Path) -> Callable[[int], TlsConfig]:
    """Return what makes a TlsConfig whose certificate is good for so many days."""

    def make(days: int) -> TlsConfig:
        authority = trustme.CA()
        until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days, hours=1)
        leaf = authority.issue_cert("shop.example", "10.0.0.7", not_after=until)
        leaf.private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")
        return TlsConfig(tmp_path / "both.pem", tmp_path / "both.pem")

    return make


class TestCertificates:
    def now(self) -> float:
        return datetime.datetime.now(datetime.UTC).timestamp()

    @pytest.mark.parametrize(("days", "level"), [(90, Level.FINE), (30, Level.FINE), (29, Level.WARNING)])
    def test_how_long_it_is_good(
        self, tls_files: Callable[[int], TlsConfig], days: int, level: Level
    ) -> None:
        found = look_at(tls_files(days), self.now())
        assert found.level is level
        assert f"for shop.example, 10.0.0.7, expires in {days} days, on " in found.text

    def test_one_that_has_expired(self, tls_files: Callable[[int], TlsConfig]) -> None:
        found = look_at(tls_files(10), self.now() + 11 * DAY)
        assert (found.level, "expired on" in found.text) == (Level.WRONG, True)

    def test_one_that_has_expired_for_all_clients(
        self, tls_files: Callable[[int], TlsConfig], caplog: pytest.LogCaptureFixture
    ) -> None:
        found = look_at(tls_files(-1), self.now())
        assert (found.level, "expired on" in found.text) == (Level.WRONG, True)
        assert caplog.text == ""

    def test_one_that_is_not_valid_yet(self, tls_files: Callable[[int], TlsConfig]) -> None:
        found = look_at(tls_files(10), self.now() - 40000 * DAY)
        assert (found.level, "is not valid before" in found.text) == (Level.WRONG, True)

    def test_one_that_does_not_load(self, tmp_path: Path) -> None:
        with pytest.raises(StartError, match="no such file"):
            look_at(TlsConfig(tmp_path / "none.pem", tmp_path / "none.pem"), self.now())


def test_a_traceback_has_the_applications_frames_alone() -> None:
    def wrong() -> None:
        App().get("/x/{")(handler)

    try:
        try:
            wrong()
        except RouteError as cause:
            raise RuntimeError("outer") from cause
    except RuntimeError as exc:
        text = trimmed(exc)
    assert text.count("Traceback (most recent call last)") == 2
    assert text.count('  File "') == text.count(os.path.basename(__file__) + '", line ') == 3
    assert f"{os.sep}cello{os.sep}app.py" not in text
    assert f"{os.sep}cello{os.sep}routing.py" not in text
    assert text.rstrip().endswith("RuntimeError: outer")
