"""What is said at the start: on a terminal, and elsewhere."""

from __future__ import annotations

import io
import os
from typing import Any

import pytest

from cello import ClusterConfig, TlsConfig
from cello._speedups import IMPLEMENTATION
from cello._version import __version__
from cello.config import RunArguments, RunOptions
from cello.options import resolve_options
from cello.server.banner import announce, banner, is_for_people, line

HERE = "http://127.0.0.1:8000"


class Terminal(io.StringIO):
    """An output that says that people read it."""

    def isatty(self) -> bool:
        return True


def options_of(**given: Any) -> RunOptions:
    return resolve_options(RunArguments(**{"workers": 4, **given}))


def shown(url: str = HERE, *, is_uvloop: bool = True, **given: Any) -> str:
    return banner([url], options_of(**given), is_uvloop=is_uvloop)


def test_it_is_short_and_says_what_is_served() -> None:
    text = shown()
    assert f"Cello {__version__} {IMPLEMENTATION}, on uvloop" in text
    assert HERE in text
    assert "development, 1 process x 4 workers, HTTP/1.1" in text
    assert text.endswith("Ctrl-C stops it\n")
    assert len(text.splitlines()) <= 9
    assert "\033" not in text


def test_one_worker_and_several_processes() -> None:
    assert "3 processes x 1 worker, HTTP/1.1" in shown(workers=1, cluster=ClusterConfig(processes=3))


def test_tls_is_named_with_its_oldest_version() -> None:
    tls = TlsConfig(cert_path="cert.pem", key_path="key.pem", min_version="1.3")
    assert "HTTP/1.1 over TLS 1.3 or later" in shown("https://127.0.0.1:8443", tls=tls)


@pytest.mark.parametrize(
    ("bound", "opened"),
    [("http://0.0.0.0:8000", HERE), ("http://[::]:8000", "http://[::1]:8000")],
)
def test_a_wildcard_address_is_shown_as_a_browser_opens_it(bound: str, opened: str) -> None:
    text = shown(bound)
    assert f"{opened}  (and every other address of this machine" in text
    assert "note  debug mode shows source and values" in text


@pytest.mark.parametrize("url", [HERE, "http://[::1]:8000"])
def test_nobody_is_warned_of_their_own_machine(url: str) -> None:
    assert "note" not in shown(url)


def test_debug_that_was_asked_for_in_production_is_not_said_to_be_hidden_by_it() -> None:
    text = shown("http://0.0.0.0:8000", env="production", debug=True)
    assert "note  debug mode shows" in text
    assert "leave out debug=True, or --debug" in text
    assert "--env production" not in text


def test_the_line_counts_in_english() -> None:
    assert "(development, 1 worker)" in line([HERE], options_of(workers=1))
    assert "(development, 2 workers)" in line([HERE], options_of(workers=2))


def test_production_on_every_address_needs_no_warning() -> None:
    assert "note" not in shown("http://0.0.0.0:8000", env="production")


def test_what_is_off_is_said_with_its_reason() -> None:
    text = shown(env="production", reload=True, is_uvloop=False)
    assert "off   reload=True has no effect with env='production'" in text
    assert (
        "off   request log: app.enable_logging() turns it on, where neither logs=False nor --no-logs is given"
    ) in text
    assert "on asyncio" in text
    assert "off   request log: logs=False, or --no-logs" in shown(logs=False)
    assert "off   request log" not in shown()


def test_pure_python_is_said_with_its_reason() -> None:
    asked = os.environ.get("CELLO_NO_EXTENSIONS", "") not in ("", "0")
    assert asked or IMPLEMENTATION == "compiled"
    assert ("off   compiled modules: CELLO_NO_EXTENSIONS is set" in shown()) == asked


def test_a_terminal_gets_the_banner_and_a_journal_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    options = options_of()
    terminal, journal = Terminal(), io.StringIO()
    announce([HERE], options, is_uvloop=True, output=terminal)
    announce([HERE], options, is_uvloop=True, output=journal)
    assert journal.getvalue() == line([HERE], options) + "\n"
    assert f"\033[1m{HERE}\033[0m" in terminal.getvalue()


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_colors_are_left_out_where_they_are_not_wanted(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    terminal = Terminal()
    announce([HERE], options_of(), is_uvloop=True, output=terminal)
    assert "\033" not in terminal.getvalue()


def test_an_output_that_is_closed_or_none_at_all_is_nobodys_terminal() -> None:
    closed = io.StringIO()
    closed.close()
    assert not is_for_people(closed)
    assert not is_for_people(None)  # type: ignore[arg-type] - what sys.stderr is under pythonw
    assert is_for_people(Terminal())
