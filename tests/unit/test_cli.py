"""The command line of ``python app.py``."""

from __future__ import annotations

import dataclasses
import sys

import pytest

from cello.cli import FLAGS, Overrides, UnknownFlag, default_prog, parse_overrides

PROG = "python app.py"


def parse(line: str) -> Overrides:
    return parse_overrides(line.split(), PROG)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", Overrides()),
        ("--host 0.0.0.0", Overrides(host="0.0.0.0")),
        ("--port 80", Overrides(port=80)),
        ("--port=80", Overrides(port=80)),
        ("--port 0", Overrides(port=0)),
        ("--port 80 --port 81", Overrides(port=81)),
        ("--env production", Overrides(env="production")),
        ("--env=development", Overrides(env="development")),
        ("--workers 1024", Overrides(workers=1024)),
        ("--uds run/app.sock", Overrides(uds="run/app.sock")),
        ("--fd 0", Overrides(fd=0)),
        (
            "--pid-file /run/a.pid --user www-data --group 33",
            Overrides(pid_file="/run/a.pid", user="www-data", group="33"),
        ),
        ("--debug --reload --no-logs", Overrides(debug=True, reload=True, logs=False)),
        (
            "--host ::1 --port 8080 --env production --workers 8 --debug --reload --no-logs",
            Overrides("::1", 8080, "production", 8, True, True, False),
        ),
    ],
)
def test_every_flag_of_the_page_is_read(line: str, expected: Overrides) -> None:
    assert parse(line) == expected


@pytest.mark.parametrize(
    ("line", "parameters"),
    [
        ("", {}),
        ("--port 0", {"port": 0}),
        ("--debug --no-logs", {"debug": True, "logs": False}),
        (
            "--host h --env production --workers 2 --reload",
            {"host": "h", "env": "production", "workers": 2, "reload": True},
        ),
    ],
)
def test_parameters_hold_only_what_was_given(line: str, parameters: dict[str, object]) -> None:
    assert parse(line).parameters() == parameters


PORT = "expected an int from 0 to 65535"
HOST = "expected an IP address or a host name, without spaces, scheme, port or path (str)"


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["--port", "abc"], f"--port: {PORT}, got 'abc'"),
        (["--port", "99999"], f"--port: {PORT}, got '99999'"),
        (["--port", "-1"], f"--port: {PORT}, got '-1'"),
        (["--port=1_0"], f"--port: {PORT}, got '1_0'"),
        (["--port", "٨٠"], f"--port: {PORT}, got '٨٠'"),
        (["--port="], f"--port: {PORT}, got ''"),
        (["--port", "8" * 5000], f"--port: {PORT}, got '{'8' * 5000}'"),
        (["--port"], "--port: expected one argument"),
        (["--port", "--debug"], "--port: expected one argument"),
        (["--port", "--", "80"], "--port: expected one argument"),
        (["--workers", "0"], "--workers: expected an int from 1 to 1024, got '0'"),
        (["--workers", "2.5"], "--workers: expected an int from 1 to 1024, got '2.5'"),
        (["--host", ""], f"--host: {HOST}, got ''"),
        (["--host", "http://x"], f"--host: {HOST}, got 'http://x' (did you mean 'x'?)"),
        (
            ["--env", "prod"],
            "--env: expected 'development' or 'production', got 'prod' (did you mean 'production'?)",
        ),
        (
            ["--env", "dev"],
            "--env: expected 'development' or 'production', got 'dev' (did you mean 'development'?)",
        ),
        (["--env", "blue"], "--env: expected 'development' or 'production', got 'blue'"),
        (["--debug=1"], "--debug: ignored explicit argument '1'"),
    ],
)
def test_a_bad_value_is_one_line_and_status_2(
    argv: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_overrides(argv, PROG)
    assert caught.value.code == 2
    assert capsys.readouterr() == ("", f"{PROG}: {line}\n")


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_names_every_flag_and_default(
    flag: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    with pytest.raises(SystemExit) as caught:
        parse_overrides([flag], PROG)
    out, err = capsys.readouterr()
    assert (caught.value.code, err) == (0, "")
    assert out.startswith(f"usage: {PROG} ")
    for flag_line in (
        "--host HOST",
        "--port PORT",
        "--env ENV",
        "--workers N",
        "--debug",
        "--reload",
        "--no-logs",
        "(default: 127.0.0.1)",
        "(default: 8000)",
        "(default: development)",
        "(default: the CPUs that the process may use)",
        "development  debug mode on",
        "production   debug mode off",
        *(flag.help for flag in FLAGS),
    ):
        assert flag_line in out


def test_help_may_have_a_percent_sign(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = dataclasses.replace(FLAGS[0].setting, meaning="100% of it")
    monkeypatch.setattr("cello.cli.FLAGS", (dataclasses.replace(FLAGS[0], setting=setting),))
    with pytest.raises(SystemExit):
        parse_overrides(["--help"], PROG)
    assert "100% of it (default: 127.0.0.1)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "unknown"),
    [
        ("--prot 80", [("--prot", "--port")]),
        ("--prot=80", [("--prot", "--port")]),
        ("--verbose", [("--verbose", None)]),
        ("--por 80", [("--por", "--port")]),
        ("-p 80", [("-p", None)]),
        ("-po 80", [("-po", "--port")]),
        ("-host x", [("-host", "--host")]),
        ("--no_logs", [("--no_logs", "--no-logs")]),
        ("--x --x --x=3", [("--x", None)]),
        ("migrate -1 -0.5 - 8", []),
        ("-- --prot --port 80", []),
    ],
)
def test_an_unknown_flag_is_reported_and_takes_nothing(
    line: str, unknown: list[tuple[str, str | None]]
) -> None:
    assert parse(line) == Overrides(unknown=tuple(UnknownFlag(*flag) for flag in unknown))


def test_known_flags_around_an_unknown_one_are_read() -> None:
    overrides = parse("seed --debug --prot 9000 --port 80 --tag=v1 more")
    assert overrides.parameters() == {"debug": True, "port": 80}
    assert [unknown.flag for unknown in overrides.unknown] == ["--prot", "--tag"]


def test_a_text_that_begins_with_a_dash_is_no_flag() -> None:
    assert parse_overrides(["--title", "-- a title --"], PROG).unknown == (UnknownFlag("--title", None),)


@pytest.mark.parametrize(
    ("flag", "line"),
    [
        (UnknownFlag("--prot", "--port"), "unknown flag --prot ignored by Cello (did you mean --port?)"),
        (UnknownFlag("--verbose", None), "unknown flag --verbose ignored by Cello"),
    ],
)
def test_an_unknown_flag_has_a_warning(flag: UnknownFlag, line: str) -> None:
    assert flag.warning(PROG) == f"{PROG}: {line}"


def test_the_process_s_own_arguments_are_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/srv/site/main.py", "--port", "81"])
    assert default_prog() == "python main.py"
    assert parse_overrides() == Overrides(port=81)
    assert parse_overrides([]) == Overrides()
