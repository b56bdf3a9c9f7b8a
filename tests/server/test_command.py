"""The command ``cello`` as users type it: processes, signals, exit statuses."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.kit.cluster import Cluster
from tests.kit.process import PATIENCE_SECONDS, ROOT, Process
from tests.kit.raw import connected
from tests.kit.script import APP, STOPPING, asking

GUARDED = APP + 'if __name__ == "__main__":\n    app.run(port=0, env="production", workers=3)\n'
UNGUARDED = APP + 'app.run(port=0, env="production", workers=3)\n'
SCRIPT = "import sys\nfrom cello.__main__ import main\nsys.exit(main())\n"
ROUTE = '@app.get("/about")\ndef about(request):\n    return [__name__, sys.argv, sys.path[0]]\n'


@contextmanager
def cello(
    folder: Path, *arguments: str, environment: Mapping[str, str] | None = None, as_script: bool = False
) -> Iterator[Process]:
    """Run the command in a folder, as ``python -m cello`` or as pip's script does; it is gone at the end."""
    command = [sys.executable, "-m", "cello"]
    if as_script:
        (folder / "bin").mkdir()
        (folder / "bin" / "cello").write_text(SCRIPT)
        command = [sys.executable, "bin/cello"]
    process = Cluster([*command, *arguments], folder, environment or {}, has_own_session=True)
    try:
        yield process
    finally:
        process.end()


def write(folder: Path, source: str, name: str = "shop.py") -> Path:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(source, "utf-8")
    return folder


def ask(server: Process, target: str) -> object:
    with connected(server.port) as client:
        answer = client.ask(target)
    assert answer.status == 200
    return json.loads(answer.body)


class TestRun:
    @pytest.mark.parametrize("as_script", [False, True], ids=["module", "script"])
    @pytest.mark.parametrize("target", ["shop.py", "shop.py:app", "shop", "shop:app"])
    def test_every_form_serves(self, tmp_path: Path, target: str, as_script: bool) -> None:
        arguments = ("run", target, "--port", "0", "--env", "production")
        with cello(write(tmp_path, GUARDED), *arguments, as_script=as_script) as server:
            with connected(server.port) as client:
                assert client.ask("/").body == b"home"
            assert server.stop() == 0
            assert server.stdout.lines == ["startup", "shutdown"]
            assert server.stderr.lines[1:] == [STOPPING]

    def test_a_file_runs_as_python_runs_it(self, tmp_path: Path) -> None:
        """With its guarded run(), its folder in front of the path, and the arguments behind ``--``."""
        write(
            tmp_path,
            APP + "import part\n" + ROUTE + 'if __name__ == "__main__":\n    app.run(port=0)\n',
            "in/shop.py",
        )
        write(tmp_path, "", "in/part.py")
        with cello(tmp_path, "run", "in/shop.py", "--workers", "2", "--", "--own", "x") as server:
            name, argv, folder = ask(server, "/about")  # type: ignore[misc]
            server.stderr.wait_for(r"\(development, 2 workers\)")
        assert (name, argv, folder) == ("__main__", ["in/shop.py", "--own", "x"], str(tmp_path / "in"))

    def test_a_module_is_imported_from_the_current_directory(self, tmp_path: Path) -> None:
        write(tmp_path, "", "shop/__init__.py")
        write(tmp_path, APP + ROUTE, "shop/web.py")
        with cello(tmp_path, "run", "shop.web", "--port", "0", as_script=True) as server:
            assert ask(server, "/about") == ["shop.web", ["shop.web"], str(tmp_path)]

    @pytest.mark.parametrize("target", ["shop.py", "shop.py:app", "shop", "shop:app"])
    def test_an_unguarded_run_gives_its_arguments(self, tmp_path: Path, target: str) -> None:
        with cello(write(tmp_path, UNGUARDED), "run", target) as server:
            server.stderr.wait_for(r"serves on .* \(production, 3 workers\)")
            assert server.stop() == 0
            assert server.stdout.lines == ["startup", "shutdown"]

    def test_what_a_file_does_around_its_run_is_done_around_it(self, tmp_path: Path) -> None:
        source = APP + 'try:\n    app.run(port=0)\nfinally:\n    print("finally")\nprint("after")\n'
        with cello(write(tmp_path, source), "run", "shop.py") as server:
            assert server.port
            assert server.stop() == 0
            assert server.stdout.lines == ["startup", "shutdown", "finally", "after"]

    def test_a_module_is_whole_before_it_serves(self, tmp_path: Path) -> None:
        """A handler in a thread imports it again, which waits for an import that has not ended."""
        late = (
            '@app.get("/late", blocking=True)\ndef late(request):\n    import shop\n    return shop.AFTER\n'
        )
        source = f"{APP}{late}app.run(port=0)\nAFTER = 7\n"
        with cello(write(tmp_path, source), "run", "shop") as server:
            assert ask(server, "/late") == 7

    def test_a_file_that_names_another_app_than_it_runs(self, tmp_path: Path) -> None:
        source = (
            f"{APP}app.run(port=1)\nother = App()\n@other.get('/')\ndef own(request):\n    return 'other'\n"
        )
        with (
            cello(write(tmp_path, source), "run", "shop.py:other", "--port", "0") as server,
            connected(server.port) as client,
        ):
            assert client.ask("/").body == b"other"

    def test_an_app_that_only_run_knows(self, tmp_path: Path) -> None:
        body = textwrap.indent(f"{APP}app.run(port=0)\n", "    ")
        source = f"def main():\n{body}main()\n"
        with cello(write(tmp_path, source), "run", "shop.py", "--env", "production") as server:
            server.stderr.wait_for(r"\(production, ")

    def test_an_application_that_serves_in_its_own_loop_has_the_flags(self, tmp_path: Path) -> None:
        source = f"{APP}asyncio.run(app.serve(port=1))\n"
        with cello(write(tmp_path, source), "run", "shop.py", "--port", "0", "--workers", "5") as server:
            server.stderr.wait_for(r"serves on .*, 5 workers\)")

    def test_precedence(self, tmp_path: Path) -> None:
        """Command line, run(), variables, file: each has what nobody above it names."""
        write(tmp_path, 'port = 1\nworkers = 2\nenv = "production"\nlogs = true\n', "cello.toml")
        write(tmp_path, APP + "app.run(port=2, workers=3)\n")
        environment = {
            "CELLO_WORKERS": "4",
            "CELLO_ENV": "development",
            "CELLO_LOGS": "off",
            "CELLO_PROT": "5",
        }
        arguments = ("run", "shop.py", "--port", "0", "--config", "cello.toml")
        with cello(tmp_path, *arguments, environment=environment) as server:
            server.stderr.wait_for(r"\(development, 3 workers\)")
            assert server.stderr.lines[0] == (
                "cello run: unknown variable CELLO_PROT ignored (did you mean CELLO_PORT?)"
            )
            with connected(server.port) as client:
                assert client.ask("/").status == 200
            assert server.stop() == 0
            assert "GET /" not in server.stdout.text


class TestPythonAppPy:
    """Variables hold without the command, too."""

    @contextmanager
    def running(self, folder: Path, environment: Mapping[str, str], *arguments: str) -> Iterator[Process]:
        process = Cluster([sys.executable, "shop.py", *arguments], folder, environment, has_own_session=True)
        try:
            yield process
        finally:
            process.end()

    def test_variables_are_below_run_and_flags(self, tmp_path: Path) -> None:
        write(tmp_path, APP + "app.run(port=0, workers=3)\n")
        environment = {"CELLO_WORKERS": "9", "CELLO_ENV": "production", "CELLO_PORT": "1", "CELLO_ZZ": "1"}
        with self.running(tmp_path, environment, "--port", "0") as server:
            server.stderr.wait_for(r"\(production, 3 workers\)")
            assert server.stderr.lines[0] == "python shop.py: unknown variable CELLO_ZZ ignored"

    def test_web_concurrency(self, tmp_path: Path) -> None:
        write(tmp_path, APP + 'app.run(port=0, env="production", workers=1)\n')
        environment = {"WEB_CONCURRENCY": "2", "CELLO_CLUSTER_STRATEGY": "spawn", "CELLO_ZZ": "1"}
        with self.running(tmp_path, environment) as server:
            server.stderr.wait_for(r"\(production, 2 x 1 workers\)")
            assert server.stop() == 0
            assert server.stderr.text.count("CELLO_ZZ") == 1

    def test_a_bad_one_is_one_line_and_2(self, tmp_path: Path) -> None:
        with self.running(write(tmp_path, UNGUARDED), {"CELLO_LIMITS_MAX_HEADERS": "lots"}) as script:
            assert script.wait() == 2
            assert script.stderr.text == (
                "python shop.py: CELLO_LIMITS_MAX_HEADERS: expected an int from 1 to 2147483647, got 'lots'"
            )


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs fork")
class TestProcesses:
    @pytest.mark.parametrize("as_script", [False, True], ids=["module", "script"])
    @pytest.mark.parametrize("strategy", ["fork", "spawn"])
    @pytest.mark.parametrize("target", ["shop.py", "shop"])
    def test_a_cluster_and_its_reload(
        self, tmp_path: Path, target: str, strategy: str, as_script: bool
    ) -> None:
        """The supervisor executes the command again, in the form in which it was typed."""
        write(tmp_path, GUARDED.replace('return "home"', 'return "before"'))
        arguments = ("run", target, "--port", "0", "--processes", "2", "--strategy", strategy)
        with cello(tmp_path, *arguments, "--", "own", as_script=as_script) as server:
            assert isinstance(server, Cluster)
            server.stderr.wait_for(r", 2 x \d+ workers\)")
            before = set(server.wait_for_workers(2))
            with connected(server.port) as client:
                assert client.ask("/").body == b"before"
            write(tmp_path, GUARDED.replace('return "home"', 'return "after"'))
            server.signal(signal.SIGHUP)
            server.wait_for_workers(2, but=before)
            with connected(server.port) as client:
                assert client.ask("/").body == b"after"
            assert server.stop() == 0
            assert "Traceback" not in server.stderr.text

    @pytest.mark.parametrize("target", ["shop.py", "shop:app"])
    def test_dev_reloads_and_shows_tracebacks(self, tmp_path: Path, target: str) -> None:
        """Also where run() says production; the new code may be bad for a while."""
        write(tmp_path, UNGUARDED)
        with cello(tmp_path, "dev", target) as server:
            server.stderr.wait_for(r"serves on .* \(development, 3 workers\)")
            with connected(server.port) as client:
                assert b"the secret of the traceback" in client.ask("/error").body
            write(tmp_path, "import nonesuch\n" + UNGUARDED)
            server.stderr.wait_for("ModuleNotFoundError: No module named 'nonesuch'")
            with connected(server.port) as client:
                assert client.ask("/").body == b"home"
            server.stderr.wait_for("exit status 3|ended with status 3|status 3")
            write(tmp_path, UNGUARDED.replace('return "home"', 'return "again"'))
            assert isinstance(server, Cluster)
            server.wait_until(lambda: self.home(server) == b"again", "the new code")
            assert server.stop() == 0

    def home(self, server: Process) -> bytes:
        with connected(server.port) as client:
            return bytes(client.ask("/").body)

    def test_flags_win_over_dev(self, tmp_path: Path) -> None:
        with cello(write(tmp_path, UNGUARDED), "dev", "shop.py", "--no-reload", "--no-debug") as server:
            with connected(server.port) as client:
                assert b"secret" not in client.ask("/error").body
            assert server.stop() == 0


class TestExitStatus:
    def assert_one_line(self, process: Process, status: int, said: str) -> None:
        assert process.wait() == status
        assert process.stderr.lines == [process.stderr.text]
        assert said in process.stderr.text
        assert process.stdout.text == ""

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (("run", "shop.py", "--prot", "1"), "cello run: unknown flag --prot (did you mean --port?)"),
            (
                ("run", "shop.py", "--port", "x"),
                "cello run: --port: expected an int from 0 to 65535, got 'x'",
            ),
            (("dev",), "cello dev: expected what to run: module:app or file.py"),
            (("run", "shop.py", "--config", "none.toml"), "cello run: none.toml: no such file in "),
            (("rnu",), "cello: unknown command rnu (did you mean run?)"),
            (
                ("run", "shop.py", "--http2", "--port", "0"),
                "cello run: http2=Http2Config(enabled=True): HTTP/2 requires TLS",
            ),
            (
                ("run", "shop", "--tls-min-version", "1.3"),
                "cello run: TlsConfig needs cert_path: --tls-cert-path",
            ),
        ],
    )
    def test_a_bad_command_line_is_2(self, tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
        with cello(write(tmp_path, UNGUARDED), *arguments) as process:
            self.assert_one_line(process, 2, said)

    def test_a_bad_variable_is_2(self, tmp_path: Path) -> None:
        with cello(write(tmp_path, UNGUARDED), "run", "shop", environment={"CELLO_ENV": "prod"}) as process:
            self.assert_one_line(process, 2, "cello run: CELLO_ENV: expected 'development' or 'production'")

    def test_a_bad_file_is_2(self, tmp_path: Path) -> None:
        write(tmp_path, "[timout]\n", "cello.toml")
        with cello(write(tmp_path, UNGUARDED), "run", "shop", "--config", "cello.toml") as process:
            self.assert_one_line(process, 2, "cello.toml: unknown key 'timout' (did you mean 'timeout'?)")

    @pytest.mark.parametrize(
        ("target", "said"),
        [
            ("shpo", "cello run: there is no module shpo in "),
            ("shop.web", "cello run: there is no module shop.web in "),
            ("shpo.py", "cello run: there is no file shpo.py in "),
            ("bin/", "cello run: bin/ is a folder: name a file in it, or a module"),
            ("shop:ap", "cello run: there is no 'ap' in shop (did you mean 'app'?)"),
            ("shop.py:zzz", "cello run: there is no 'zzz' in shop.py; its Apps: app"),
            ("shop:home", "cello run: shop:home is no App but a function: its result is one only when"),
            ("shop:os", "cello run: shop:os is no App but a module"),
            ("two", "cello run: two has several Apps, one, other: name one, as in two:one"),
            ("two.py", "cello run: two.py has several Apps, one, other: name one, as in two.py:one"),
            ("none", "cello run: none has no App at its top level: app = App()"),
        ],
    )
    def test_no_application_is_3(self, tmp_path: Path, target: str, said: str) -> None:
        write(tmp_path, GUARDED.replace("if __name__ ==", "if 0 and __name__ =="))
        write(tmp_path, "from cello import App\none = App()\nother = App()\nsame = one\n", "two.py")
        write(tmp_path, "x = 1\n", "none.py")
        (tmp_path / "bin").mkdir()
        with cello(tmp_path, "run", target, "--port", "0") as process:
            self.assert_one_line(process, 3, said)

    @pytest.mark.parametrize("target", ["shop.py", "shop", "shop:app"])
    @pytest.mark.parametrize(
        ("source", "last"),
        [
            ("import json\nimport nonesuch\n", "ModuleNotFoundError: No module named 'nonesuch'"),
            ("x = (\n", "SyntaxError: '(' was never closed"),
            ("def f():\n    1 / 0\n\nf()\n", "ZeroDivisionError: division by zero"),
            (
                "from cello import App\napp = App()\n@app.get('/{')\ndef home(request): ...\n",
                r"cello.errors.RouteError: route '/{': the brace",
            ),
        ],
    )
    def test_an_application_that_does_not_import_is_3(
        self, tmp_path: Path, target: str, source: str, last: str
    ) -> None:
        """Its traceback once, with its own frames alone, and nothing is bound."""
        with socket.create_server(("127.0.0.1", 0)) as holder:  # were it bound, that would be said first
            arguments = ("run", target, "--port", str(holder.getsockname()[1]))
            with cello(write(tmp_path, source), *arguments) as process:
                assert process.wait() == 3
                text = process.stderr.text
        assert text.count("Traceback (most recent call last)") == (0 if "SyntaxError" in last else 1)
        assert last in process.stderr.lines[-1]
        assert text.count("  File ") == text.count('shop.py", line ') > 0

    def test_a_port_that_is_taken_is_1(self, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as holder:
            arguments = ("run", "shop.py", "--port", str(holder.getsockname()[1]))
            with cello(write(tmp_path, UNGUARDED), *arguments) as process:
                self.assert_one_line(process, 1, "is taken by another program")

    @pytest.mark.parametrize("target", ["shop.py", "shop"])
    def test_what_run_alone_is_wrong_with_is_1(self, tmp_path: Path, target: str) -> None:
        source = APP + "app.run(http2=Http2Config())\n"
        with cello(write(tmp_path, source), "run", target, "--port", "0") as process:
            self.assert_one_line(process, 1, "HTTP/2 requires TLS")

    def test_the_applications_own_exit_is_its_own(self, tmp_path: Path) -> None:
        with cello(write(tmp_path, "raise SystemExit(7)\n"), "run", "shop") as process:
            assert process.wait() == 7

    def test_what_fails_after_it_has_served_is_1(self, tmp_path: Path) -> None:
        source = APP + "app.run(port=0)\n1 / 0\n"
        with cello(write(tmp_path, source), "run", "shop.py") as server:
            assert server.port
            assert server.stop() == 1
            assert server.stderr.lines[-1] == "ZeroDivisionError: division by zero"

    @pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
    def test_a_second_signal_ends_at_once(self, tmp_path: Path, number: signal.Signals, status: int) -> None:
        with (
            cello(write(tmp_path, UNGUARDED), "run", "shop") as server,
            asking(server, "/sleep/60", "asleep"),
        ):
            server.signal(number)
            server.stderr.wait_for("stopping: ")
            server.signal(number)
            assert server.wait() == status

    @pytest.mark.parametrize("target", ["shop.py", "shop"])
    def test_control_c_while_it_imports_is_130(self, tmp_path: Path, target: str) -> None:
        source = "import time\nprint('importing', flush=True)\ntime.sleep(60)\n"
        with cello(write(tmp_path, source), "run", target) as process:
            process.stdout.wait_for("importing")
            process.signal(signal.SIGINT)
            assert process.wait() == 130
            assert process.stderr.text == ""


class TestLooking:
    """Commands that do not serve."""

    @pytest.mark.parametrize("target", ["shop.py", "shop"])
    @pytest.mark.parametrize("source", [GUARDED, UNGUARDED], ids=["guarded", "unguarded"])
    def test_routes(self, tmp_path: Path, target: str, source: str) -> None:
        source = source.replace("app = App()", 'app = App()\nprint("noise")')
        with cello(write(tmp_path, source + "time.sleep(0)\n"), "routes", target, "--json") as process:
            assert process.wait() == 0
            rows = json.loads(process.stdout.text)
            assert process.stderr.text == "noise"
        assert rows[0] == {
            "method": "GET", "path": "/", "handler": "home", "file": "shop.py", "line": 8,
            "lane": "loop (pinned)",
        }  # fmt: skip
        assert len(rows) == 6

    def test_routes_of_what_serves_in_a_loop_of_its_own(self, tmp_path: Path) -> None:
        source = APP + "asyncio.run(app.serve(port=0))\n"
        for target in ("shop.py", "shop"):
            with cello(write(tmp_path, source), "routes", target) as process:
                assert process.wait() == 0
                assert process.stdout.lines[0].startswith("METHOD")

    def test_a_reader_that_leaves_is_no_traceback(self, tmp_path: Path) -> None:
        """As in ``cello routes shop.py | head -1``."""
        ours, theirs = os.pipe()
        os.close(ours)
        done = subprocess.run(
            [sys.executable, "-m", "cello", "routes", "shop.py"],
            cwd=write(tmp_path, UNGUARDED), env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=theirs, stderr=subprocess.PIPE, text=True, timeout=PATIENCE_SECONDS, check=False,
        )  # fmt: skip
        os.close(theirs)
        assert (done.returncode, done.stderr) == (1, "")

    def test_check_of_what_is_well(self, tmp_path: Path) -> None:
        with cello(
            write(tmp_path, UNGUARDED), "check", "shop.py", environment={"CELLO_HOST": "::1"}
        ) as process:
            assert process.wait() == 0
            assert process.stdout.lines == [
                "ok       imports: shop.py",
                "ok       configuration: production, 1 process",
                "ok       configuration: host = '::1' (CELLO_HOST)",
                "ok       configuration: port = 0 (run(port=...))",
                "ok       configuration: env = 'production' (run(env=...))",
                "ok       configuration: workers = 3 (run(workers=...))",
                "ok       certificates: none, plain http",
                "ok       routes: all 6 routes are reached by requests of their own",
            ]

    def test_check_of_what_is_wrong(self, tmp_path: Path) -> None:
        routes = "".join(
            f"@app.get('{path}')\ndef f{at}(request): ...\n"
            for at, path in enumerate(["/f/{n}", "/f/{n}/", "/f/{n}/{r:path}", "/f/{p:path}"])
        )
        run = 'app.run(port=0, tls=TlsConfig("no.pem", "no.pem", key_password="hunter2"))\n'
        head = "@app.head('/f/{n}')\ndef h(request): ...\n"
        source = f"from cello import App, TlsConfig\napp = App()\n{routes}{head}{run}"
        with cello(write(tmp_path, source), "check", "shop") as process:
            assert process.wait() == 1
            text = process.stdout.text
        assert "wrong    certificates: TlsConfig(cert_path='no.pem'): no such file" in text
        assert (
            "wrong    routes: shop.py:9: GET /f/{p:path} is shadowed, others take its requests: GET " in text
        )
        assert "ok       routes: shop.py:11: HEAD /f/{n} replaces GET's answer without its body" in text
        assert "hunter2" not in text

    def test_check_of_what_does_not_go_together(self, tmp_path: Path) -> None:
        with cello(write(tmp_path, UNGUARDED), "check", "shop", "--http3") as process:
            assert process.wait() == 1
            assert (
                "wrong    configuration: http3=Http3Config(enabled=True): HTTP/3 requires"
                in process.stdout.text
            )
